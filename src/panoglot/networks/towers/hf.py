"""Towers of the transformers library: any text or image model by name or local path."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, did_you_mean, require
from panoglot.identity import Added
from panoglot.networks.adapters import attach
from panoglot.networks.towers._pretrained import load_pretrained
from panoglot.networks.towers._tokens import spliced

__all__ = ["HfImage", "HfText", "HfTokens", "timm_image"]


class HfTokens:
    """A transformers tokeniser that counts what it cuts."""

    def __init__(self, tokenizer: Any, length: int) -> None:
        self.tokenizer, self.length, self.cut = tokenizer, length, 0
        self.size = len(tokenizer)
        ids = (getattr(tokenizer, name, None) for name in ("mask_token_id", "pad_token_id"))
        self.mask = next((int(id_) for id_ in ids if id_ is not None), 0)

    def whole(self, text: str) -> int:
        """Return how many tokens the whole text has."""
        return len(self.tokenizer(text, truncation=False)["input_ids"])

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask [M, L], padded to the longest."""
        whole = self.tokenizer(list(texts), truncation=False, padding=False)["input_ids"]
        self.cut += sum(len(ids) > self.length for ids in whole)
        out = self.tokenizer(list(texts), truncation=True, max_length=self.length, padding=True, return_tensors="pt")
        return out["input_ids"], out["attention_mask"].bool()


def _language(tag: str, codes: Sequence[str]) -> int:
    """Return the place of a language among a model's codes, such as en_XX, zh_CN, zh_TW.

    >>> [_language(tag, ["en_XX", "zh_CN", "zh_TW"]) for tag in ("en-GB", "zh", "zh-Hans", "zh-Hant")]
    [0, 1, 1, 2]
    """
    base, *rest = tag.split("-")
    found = [i for i, code in enumerate(codes) if code.split("_")[0] == base]
    if not found:
        known = [code.split("_")[0] for code in codes]
        raise UserError(f"No adapter for the language '{tag}'.{did_you_mean(tag, known)} It has: {', '.join(known)}.")
    wanted = {"Hant": ("TW", "HK"), "Hans": ("CN",)}
    ends = [end for part in rest for end in wanted.get(part, (part,))]
    return next((i for i in found if codes[i].partition("_")[2] in ends), found[0])


class HfText(nn.Module):
    """A text encoder.

    Args:
        name: on the hub, or a local folder.
        pool: `mean` of the real tokens, `cls`, the first, or `last`, the last of them (embedding language models).
        length: most tokens; what is cut is counted (`tokens.cut`).
        model: a ready model instead of a name (with `tokenizer`).
        tokenizer: for it.
        adapters: options of `attach`: `{method: lora, where: ["*.q_proj"], rank: 64}`.
        project: width of the joint space, which two layers with a GELU between (open_clip's head of such towers) bring
            the vector into; 0: none.
    """

    gives = ("text", "tokens", "words")

    def __init__(
        self,
        name: str = "",
        pool: str = "mean",
        length: int | None = None,
        model: Any = None,
        tokenizer: Any = None,
        adapters: Annotated[Mapping[str, Any] | None, Added(None)] = None,
        project: Annotated[int, Added(0)] = 0,
    ) -> None:
        super().__init__()
        hf = require("transformers", "panoglot[train]", f"the tower hf:{name}")
        if pool not in ("mean", "cls", "last"):
            raise UserError(f"hf: pool={pool!r} must be 'mean', 'cls' or 'last'.")
        self.model = model if model is not None else load_pretrained(hf.AutoModel, name)
        self.model = getattr(self.model, "text_model", self.model)  # the half of a model of both sides: AltCLIP, CLIP
        tokenizer = tokenizer if tokenizer is not None else load_pretrained(hf.AutoTokenizer, name)
        most = min(int(tokenizer.model_max_length), int(getattr(self.model.config, "max_position_embeddings", 512)) - 2)
        if length is not None and length > most:
            raise UserError(f"hf:{name} reads at most {most} tokens; length={length} is too long.")
        self.tokens, self.pool = HfTokens(tokenizer, length or most), pool
        joint = hasattr(self.model, "transformation")  # AltCLIP's tokens are in the joint space
        self.width = self.model.config.project_dim if joint else self.model.config.hidden_size
        #: of a model with a set of adapters a language (X-MOD): every text passes through its own
        self.languages: list[str] = list(getattr(self.model.config, "languages", None) or [])
        self.adapters = None if adapters is None else attach(self.model, **dict(adapters))
        #: whether its vector is in the joint space
        self.joint = project > 0
        self.token_width = inner = self.width
        self.project: nn.Module = nn.Identity()
        if project:
            middle = (inner + project) // 2
            self.project = nn.Sequential(
                nn.Linear(inner, middle, bias=False), nn.GELU(), nn.Linear(middle, project, bias=False)
            )
            self.width = project

    def knows(self, lang: str) -> bool:
        """Whether it has adapters for a language; one without any adapters reads all."""
        return not self.languages or lang.split("-")[0] in {code.split("_")[0] for code in self.languages}

    def _adapters(self, langs: Sequence[str], device: Any) -> Tensor:
        return torch.tensor([_language(tag, self.languages) for tag in langs], dtype=torch.long, device=device)

    def forward(
        self, ids: Tensor, mask: Tensor, langs: Sequence[str] = (), soft: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L] with mask [M, L]; returns [M, width] and [M, L, width]. `soft` as in `TextTransformer`."""
        more: dict[str, Any] = {"input_ids": ids}
        if soft is not None:
            more = {"inputs_embeds": spliced(self.model.get_input_embeddings()(ids), soft)}
        if self.languages:
            if len(langs) != len(ids):
                raise UserError(f"{len(ids)} texts, but {len(langs)} languages: this tower has adapters a language.")
            more["lang_ids"] = self._adapters(langs, ids.device)
        x = self.model(attention_mask=mask.long(), **more).last_hidden_state
        return self.project(self._pooled(x, mask)), x

    def _pooled(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.pool == "cls":
            return x[:, 0]
        if self.pool == "last":
            at = mask.shape[1] - 1 - mask.flip(1).long().argmax(1)
            return x[torch.arange(x.shape[0], device=x.device), at]
        real = mask[..., None].to(x.dtype)
        return (x * real).sum(1) / real.sum(1).clamp(min=1)


class HfImage(nn.Module):
    """An image encoder (ViT, DeiT, DINOv2, CLIP's vision model; Swin; convolutional ones such as ALIGN's).

    Args:
        name: on the hub, or a local folder.
        model: a ready model instead of a name.
        layer: whose tokens are given, counted from the end; -1 is the last (Croc and LLaVA read -2).
        adapters: options of `attach`, as of `HfText`.
    """

    gives = ("picture", "patches")

    def __init__(
        self,
        name: str = "",
        model: Any = None,
        layer: int = -1,
        adapters: Annotated[Mapping[str, Any] | None, Added(None)] = None,
    ) -> None:
        super().__init__()
        hf = require("transformers", "panoglot[train]", f"the tower hf:{name}")
        whole_model = model if model is not None else load_pretrained(hf.AutoModel, name)
        self.model = getattr(whole_model, "vision_model", whole_model)
        self._projection = [getattr(whole_model, "visual_projection", None)]  # in a list: not a part of the tower
        config = self.model.config
        self.width = int(getattr(config, "hidden_size", 0) or config.hidden_dim)
        self._interpolates = "interpolate_pos_encoding" in inspect.signature(self.model.forward).parameters
        self.layer, self.registers = layer, int(getattr(config, "num_register_tokens", 0) or 0)
        self.adapters = None if adapters is None else attach(self.model, **dict(adapters))

    def take_projection(self) -> nn.Module | None:
        """Return the linear layer that the model has behind its vector (CLIP's), for `head: {kind: own}`."""
        return self._projection[0]

    def _other_size(self, image: Tensor) -> bool:
        """Whether the pictures have another size than the model's positions, and it interpolates when it is told to."""
        side = getattr(self.model.config, "image_size", None)
        sides = tuple(side) if isinstance(side, (list, tuple)) else (side, side)
        return self._interpolates and None not in sides and tuple(image.shape[-2:]) != sides

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode [B, 3, H, W], of any size; returns [B, width] and [B, N, width]."""
        more = {"interpolate_pos_encoding": True} if self._other_size(image) else {}
        out = self.model(pixel_values=image, output_hidden_states=self.layer != -1, **more)
        x = out.last_hidden_state if self.layer == -1 else out.hidden_states[self.layer]
        if x.dim() == 4:  # a convolutional map
            x = x.flatten(2).transpose(1, 2)
            return x.mean(1), x
        pooled = getattr(out, "pooler_output", None)
        pooled = None if pooled is None or pooled.shape[-1] != self.width else pooled
        n = x.shape[1]
        if math.isqrt(n) ** 2 == n and n > 1:  # a square grid: no class token
            return x.mean(1) if pooled is None else pooled, x
        return x[:, 0] if pooled is None else pooled, x[:, 1 + self.registers :]


def timm_image(name: str, pretrained: bool = True) -> nn.Module:
    """Return a timm model as a tower: pooled vector and feature tokens."""
    require("torchvision", "timm torchvision", f"the tower timm:{name}")  # timm itself cannot be imported without
    timm = require("timm", "timm torchvision", f"the tower timm:{name}")

    class TimmImage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = timm.create_model(name, pretrained=pretrained, num_classes=0)
            self.width = self.model.num_features

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            x = self.model.forward_features(image)
            pooled = self.model.forward_head(x, pre_logits=True)
            tokens = (
                x.flatten(2).transpose(1, 2) if x.dim() == 4 else x[:, getattr(self.model, "num_prefix_tokens", 0) :]
            )
            return pooled, tokens

    return TimmImage()
