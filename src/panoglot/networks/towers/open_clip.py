"""Towers of open_clip, by its names of architectures and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError, did_you_mean, require

__all__ = ["OpenClipImage", "OpenClipText"]


def _load(name: str, pretrained: str) -> tuple[Any, Any]:
    what = f"the tower open_clip:{name}"
    require("torchvision", "open_clip_torch torchvision", what)
    package: Any = require("open_clip", "open_clip_torch torchvision", what)
    if name not in package.list_models():
        raise UserError(f"open_clip has no architecture '{name}'.{did_you_mean(name, package.list_models())}")
    return package, package.create_model(name, pretrained=pretrained or None)


class OpenClipImage(nn.Module):
    """An image encoder of open_clip; its vector is that before the joint space's normalisation.

    Args:
        name: of the architecture, `ViT-B-32`.
        pretrained: name of the weights or a local file; '' starts anew.
    """

    gives = ("picture", "patches")

    def __init__(self, name: str, pretrained: str = "") -> None:
        super().__init__()
        self.model = _load(name, pretrained)[1].visual
        self.width = int(self.model.output_dim)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode [B, 3, H, W]; returns [B, width] and, as its tokens have another width, the vector as one token."""
        pooled = self.model(image)
        pooled = pooled[0] if isinstance(pooled, tuple) else pooled
        return pooled, pooled[:, None]


class _Tokens:
    """An open_clip tokeniser that counts what it cuts."""

    def __init__(self, tokenizer: Any, length: int) -> None:
        self.tokenizer, self.length, self.cut = tokenizer, length, 0
        self.size = int(getattr(tokenizer, "vocab_size", 0))

    def whole(self, text: str) -> int:
        """Return how many tokens the whole text has."""
        if hasattr(self.tokenizer, "encode"):
            return len(self.tokenizer.encode(text)) + 2
        return len(self.tokenizer.tokenizer(text, truncation=False, padding=False)["input_ids"])  # of transformers

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        ids = self.tokenizer(list(texts), context_length=self.length)
        self.cut += sum(self.whole(t) > self.length for t in texts)
        return ids, torch.ones_like(ids, dtype=torch.bool)  # it masks its padding itself


class OpenClipText(nn.Module):
    """A text encoder of open_clip.

    Args:
        name: of the architecture, `ViT-B-32`.
        pretrained: name of the weights or a local file; '' starts anew.
    """

    def __init__(self, name: str, pretrained: str = "") -> None:
        super().__init__()
        package, self.model = _load(name, pretrained)
        self.model.visual = None  # the other side's
        tower = getattr(self.model, "text", self.model)
        length = int(getattr(self.model, "context_length", None) or tower.context_length)
        self.tokens = _Tokens(package.get_tokenizer(name), length)
        with torch.no_grad():
            self.width = int(self.model.encode_text(torch.ones(1, length, dtype=torch.long)).shape[1])

    def forward(self, ids: Tensor, mask: Tensor, langs: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L]; returns [M, width], and the vector as one token."""
        pooled = self.model.encode_text(F.pad(ids, (0, self.tokens.length - ids.shape[1])))
        return pooled, pooled[:, None]
