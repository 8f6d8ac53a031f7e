"""Clouds of points to tokens with places (3DETR's first step): farthest points, each with its neighbourhood."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from panoglot.errors import RowError
from panoglot.networks.towers._block import Block, initialise

__all__ = ["PointTower", "farthest"]


@torch.no_grad()
def farthest(points: Tensor, count: int) -> Tensor:
    """Return the indices [B, count] of points [B, P, 3], each farthest from all before it; the first is point 0.

    >>> farthest(torch.tensor([[[0., 0, 0], [1, 0, 0], [10, 0, 0], [4, 0, 0]]]), 3).tolist()
    [[0, 2, 3]]
    """
    chosen = torch.zeros(len(points), count, dtype=torch.long, device=points.device)
    nearest = points.new_full(points.shape[:2], float("inf"))
    for k in range(1, count):
        last = points.gather(1, chosen[:, k - 1, None, None].expand(-1, 1, 3))
        nearest = torch.minimum(nearest, (points - last).square().sum(-1))
        chosen[:, k] = nearest.argmax(1)
    return chosen


class PointTower(nn.Module):
    """Points [P, 3 + C] (places in metres, then colours or the like) to one vector and to tokens.

    Args:
        channels: numbers a point beside its place.
        points: of a scene that are read; more are thinned evenly, fewer are repeated.
        tokens: how many places a scene is described at.
        radius: of a place's neighbourhood, in metres.
        width: of the tokens.
        layers: depth.
        heads: of the attention.

    Attributes:
        places: [B, tokens, 3] where the tokens of the last batch are.

    Source: PointNet++ arXiv 1706.02413 (set abstraction), 3DETR arXiv 2109.08141 (transformer over its tokens).
    """

    reads = "asset"
    gives = ("picture", "patches")

    def __init__(
        self,
        channels: int = 0,
        points: int = 1024,
        tokens: int = 64,
        radius: float = 0.4,
        width: int = 256,
        layers: int = 3,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.width, self.points, self.count, self.radius, self.channels = width, points, tokens, radius, channels
        self.near = nn.Sequential(nn.Linear(3 + channels, width), nn.GELU(), nn.Linear(width, width))
        self.place = nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        initialise(self.blocks, width)
        self.after = nn.LayerNorm(width)

    def read(self, record: Any) -> Tensor:
        """Return the points [points, 3 + channels] of a record's asset.

        Raises:
            RowError: no points, of another width, or not finite.
        """
        raw = record.asset() if callable(record.asset) else record.asset
        x = torch.from_numpy(np.asarray(raw, np.float32))
        if x.dim() != 2 or not len(x) or x.shape[1] != 3 + self.channels:
            raise RowError("bad_shape", f"points must be [P, {3 + self.channels}], got {tuple(x.shape)}")
        if not bool(torch.isfinite(x).all()):
            raise RowError("not_finite", "the points have NaN or infinite values")
        return x[torch.linspace(0, len(x) - 1, self.points).round().long()]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode points [B, P, 3 + C]; returns [B, width] and tokens [B, tokens, width] at `places`."""
        at = x[..., :3].gather(1, farthest(x[..., :3], self.count)[..., None].expand(-1, -1, 3))
        offset = x[:, None, :, :3] - at[:, :, None]  # [B, tokens, P, 3]
        inside = offset.square().sum(-1) <= self.radius**2  # a place is always in its own neighbourhood
        near = self.near(torch.cat([offset, x[:, None, :, 3:].expand(-1, self.count, -1, -1)], -1))
        tokens = near.masked_fill(~inside[..., None], float("-inf")).amax(2) + self.place(at)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.after(tokens)
        self.places = at.detach()
        return tokens.mean(1), tokens
