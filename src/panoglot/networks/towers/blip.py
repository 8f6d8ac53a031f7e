"""BLIP's and BLIP-2's towers for retrieval, and what judges whether a text and a picture match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from panoglot.errors import UserError, require
from panoglot.networks.towers._pretrained import load_pretrained
from panoglot.networks.towers._tokens import spliced
from panoglot.networks.towers.hf import HfTokens

__all__ = ["Blip2Image", "BlipImage", "BlipText"]


def _load(name: str, model: Any) -> Any:
    hf = require("transformers", "panoglot[train]", f"the tower blip:{name}")
    return model if model is not None else load_pretrained(hf.BlipForImageTextRetrieval, name)


class _Image(nn.Module):
    """A vision model of transformers whose tokens are the class token and the patches."""

    gives = ("picture", "patches")

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.width = model, int(model.config.hidden_size)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode [B, 3, H, W]; returns [B, width] and [B, 1 + N, width]."""
        x = self.model(pixel_values=image).last_hidden_state
        return x[:, 0], x


class BlipImage(_Image):
    """The picture's side of a BLIP for retrieval; its tokens are the class token and the patches.

    Args:
        name: on the hub, or a local folder.
        model: a ready model instead of a name.

    Source: BLIP arXiv 2201.12086.
    """

    def __init__(self, name: str = "", model: Any = None) -> None:
        whole = _load(name, model)
        super().__init__(whole.vision_model)
        self._projection = [whole.vision_proj]

    def take_projection(self) -> nn.Module:
        """Return the model's own way into the joint space, for `head: {kind: own}`."""
        return self._projection[0]  # type: ignore[no-any-return]


class Blip2Image(_Image):
    """The picture's side of a BLIP-2 for retrieval, without its Q-Former; its tokens are the class token and patches.

    Args:
        name: on the hub, or a local folder.
        model: a ready model instead of a name.

    Source: BLIP-2 arXiv 2301.12597 (EVA-CLIP's ViT-g/14 without its last layer).
    """

    def __init__(self, name: str = "", model: Any = None) -> None:
        hf = require("transformers", "panoglot[train]", f"the tower blip2:{name}")
        whole = model if model is not None else load_pretrained(hf.Blip2ForImageTextRetrieval, name)
        super().__init__(whole.vision_model)


class BlipText(nn.Module):
    """The text's side of a BLIP for retrieval, which reads embeddings too and judges matches.

    Args:
        name: on the hub, or a local folder.
        length: most tokens; what is cut is counted (`tokens.cut`).
        model: a ready model instead of a name (with `tokenizer`).
        tokenizer: for it.

    Source: BLIP arXiv 2201.12086.
    """

    gives = ("text", "tokens", "words")

    def __init__(self, name: str = "", length: int = 64, model: Any = None, tokenizer: Any = None) -> None:
        super().__init__()
        hf = require("transformers", "panoglot[train]", f"the tower blip:{name}")
        whole = _load(name, model)
        tokenizer = tokenizer if tokenizer is not None else load_pretrained(hf.AutoTokenizer, name)
        self.model, self.judge, self._projection = whole.text_encoder, whole.itm_head, [whole.text_proj]
        self.width = int(self.model.config.hidden_size)
        most = int(self.model.config.max_position_embeddings)
        if length > most:
            raise UserError(f"blip:{name} reads at most {most} tokens; length={length} is too long.")
        self.tokens = HfTokens(tokenizer, length)

    def take_projection(self) -> nn.Module:
        """Return the model's own way into the joint space, for `head: {kind: own}`."""
        return self._projection[0]  # type: ignore[no-any-return]

    def _read(self, ids: Tensor, mask: Tensor, soft: tuple[Tensor, Tensor] | None, **more: Any) -> Tensor:
        words = spliced(self.model.embeddings.word_embeddings(ids), soft)
        found: Tensor = self.model(inputs_embeds=words, attention_mask=mask.long(), **more).last_hidden_state
        return found

    def forward(
        self, ids: Tensor, mask: Tensor, langs: Sequence[str] = (), soft: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L] with mask [M, L]; returns [M, width] and [M, L, width]. `soft` as in `TextTransformer`."""
        x = self._read(ids, mask, soft)
        return x[:, 0], x

    def cross(self, ids: Tensor, mask: Tensor, patches: Tensor) -> Tensor:
        """Return tokens [M, L, width] of texts that have read pictures' tokens [M, N, ·]; the first speaks for all."""
        there = patches.new_ones(patches.shape[:2])
        return self._read(ids, mask, None, encoder_hidden_states=patches, encoder_attention_mask=there.long())

    def match(self, ids: Tensor, mask: Tensor, patches: Tensor, soft: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return logits [M, 2] of texts and pictures' tokens [M, N, ·]: they do not match, they do."""
        there = patches.new_ones(patches.shape[:2])
        x = self._read(ids, mask, soft, encoder_hidden_states=patches, encoder_attention_mask=there.long())
        found: Tensor = self.judge(x[:, 0])
        return found
