"""Qwen2.5-VL's two halves as towers: its picture tower, and the language model that reads pictures among words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, require
from panoglot.networks.towers._pretrained import load_pretrained
from panoglot.networks.towers._tokens import spliced
from panoglot.networks.towers.hf import HfTokens

__all__ = ["QwenVlImage", "QwenVlText"]


def _load(name: str, model: Any) -> Any:
    hf = require("transformers", "panoglot[train]", f"the tower qwen_vl:{name}")
    whole = model if model is not None else load_pretrained(hf.Qwen2_5_VLForConditionalGeneration, name)
    return getattr(whole, "model", whole)


class QwenVlImage(nn.Module):
    """The picture's side: tokens as the language model takes them, merged four to one.

    Pictures are squares whose side is a multiple of 28 pixels (two patches).

    Args:
        name: on the hub, or a local folder.
        model: a ready model instead of a name.

    Source: Qwen2.5-VL arXiv 2502.13923.
    """

    gives = ("picture", "patches")

    def __init__(self, name: str = "", model: Any = None) -> None:
        super().__init__()
        self.model = _load(name, model).visual
        config = self.model.config
        self.width = int(config.out_hidden_size)
        self.cell, self.frames, self.merge = config.patch_size, config.temporal_patch_size, config.spatial_merge_size

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode [B, 3, S, S]; returns [B, width] and [B, N, width]."""
        n, channels, height, width = image.shape
        unit = self.cell * self.merge
        if height % unit or width % unit:
            raise UserError(f"qwen_vl: size={height} must be a multiple of {unit}.")
        rows, columns = height // unit, width // unit
        # (rows, in the group, in the patch) and (columns, likewise): groups that are merged lie together
        x = image.reshape(n, channels, rows, self.merge, self.cell, columns, self.merge, self.cell)
        x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None].expand(*(-1,) * 6, self.frames, -1, -1)
        grid = torch.tensor([[1, rows * self.merge, columns * self.merge]] * n, device=image.device)
        found = self.model(x.reshape(n * rows * columns * self.merge**2, -1), grid_thw=grid).pooler_output
        tokens = found.reshape(n, rows * columns, -1)
        return tokens.mean(1), tokens


class QwenVlText(nn.Module):
    """The language model; the vector at the last token. Pictures among the words have places in two dimensions.

    Args:
        name: on the hub, or a local folder.
        length: most tokens, those of pictures among them; what is cut is counted (`tokens.cut`).
        model: a ready model instead of a name (with `tokenizer`).
        tokenizer: for it.

    Source: Qwen2.5-VL arXiv 2502.13923 (rotary places in time, height and width).
    """

    gives = ("text", "tokens", "words")

    def __init__(self, name: str = "", length: int = 1024, model: Any = None, tokenizer: Any = None) -> None:
        super().__init__()
        hf = require("transformers", "panoglot[train]", f"the tower qwen_vl:{name}")
        self.model = _load(name, model).language_model
        tokenizer = tokenizer if tokenizer is not None else load_pretrained(hf.AutoTokenizer, name)
        self.tokens, self.width = HfTokens(tokenizer, length), int(self.model.config.hidden_size)

    def places(self, mask: Tensor, soft: Tensor | None) -> Tensor:
        """Return places [3, M, L] in time, height and width of tokens.

        A picture is a run of soft tokens, a square of them by rows; what follows it comes after its largest place.

        Args:
            mask: [M, L] which tokens exist.
            soft: [M, L] which of them are a picture's; pictures have words between them.
        """
        out = torch.zeros(3, *mask.shape, dtype=torch.long)
        for m, (real, picture) in enumerate(zip(mask.tolist(), (soft if soft is not None else mask & False).tolist())):
            at = k = 0
            while k < len(real):
                run = next((j for j in range(k, len(real)) if not picture[j]), len(real)) - k
                side = math.isqrt(run)
                if run and side**2 != run:
                    raise UserError(
                        f"qwen_vl: {run} tokens of a picture are no square: words must stand between pictures."
                    )
                if run:
                    out[0, m, k : k + run] = at
                    out[1, m, k : k + run] = at + torch.arange(run) // side
                    out[2, m, k : k + run] = at + torch.arange(run) % side
                    at, k = at + side, k + run
                else:
                    out[:, m, k] = at if real[k] else 1
                    at, k = at + int(real[k]), k + 1
        return out.to(mask.device)

    def forward(
        self, ids: Tensor, mask: Tensor, langs: Sequence[str] = (), soft: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L] with mask [M, L]; returns [M, width] and [M, L, width]. `soft` as in `TextTransformer`."""
        words = spliced(self.model.get_input_embeddings()(ids), soft)
        places = self.places(mask, None if soft is None else soft[0])
        x = self.model(inputs_embeds=words, attention_mask=mask.long(), position_ids=places, use_cache=False)
        x = x.last_hidden_state
        last = mask.shape[1] - 1 - mask.flip(1).long().argmax(1)
        return x[torch.arange(len(x), device=x.device), last], x
