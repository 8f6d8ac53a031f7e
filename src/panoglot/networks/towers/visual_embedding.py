"""Stored region features as tokens of a language model (VL-Adapter)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["VisualEmbedding"]


class VisualEmbedding(nn.Module):
    """Feature → width and box → width, each normalised, plus which picture it is, and the how manieth of its regions.

    Args:
        features: numbers a region.
        width: of the language model.
        images: pictures a prompt may have.

    Source: VL-Adapter arXiv 2112.06825 (VL-T5's embedding; its object order is the language model's own table).

    >>> sum(p.numel() for p in VisualEmbedding(2048, 768).parameters())
    1582848
    """

    def __init__(self, features: int = 2048, width: int = 768, images: int = 2) -> None:
        super().__init__()
        self.feature = nn.Sequential(nn.Linear(features, width), nn.LayerNorm(width))
        self.box = nn.Sequential(nn.Linear(5, width), nn.LayerNorm(width))
        self.image = nn.Embedding(images, width)

    def forward(self, x: Tensor, boxes: Tensor, image: Tensor | None = None, words: Tensor | None = None) -> Tensor:
        """Return tokens [B, N, width].

        Args:
            x: features [B, N, F].
            boxes: [B, N, 4] (x0, y0, x1, y1 in 0..1).
            image: [B, N] which picture a region is of; None: all of the first.
            words: [V, width], the language model's embeddings, whose last ones say the order of a picture's regions:
                V - 1 the first. None: no order.
        """
        area = ((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))[..., None]
        which = torch.zeros(x.shape[:2], dtype=torch.long, device=x.device) if image is None else image
        found: Tensor = self.feature(x) + self.box(torch.cat([boxes, area], -1)) + self.image(which)
        if words is not None:
            same = (which[:, :, None] == which[:, None]).tril(-1)  # regions of the same picture before
            found = found + words[len(words) - 1 - same.sum(-1)]
        return found
