"""A locator: a set of things at once, each with a box, a mask where wanted, and whether it is there at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, require
from panoglot.networks.towers._block import Block, initialise

__all__ = ["Located", "SetLocator", "match_sets"]


@dataclass
class Located:
    """What a locator found. B pictures, Q queries, N tokens of a picture.

    Attributes:
        queries: [B, Q, width] what is known of each thing.
        boxes: [B, Q, 4] cx, cy, w, h in 0..1, or [B, Q, 6] centre and size in the units of the scene.
        there: [B, Q] logits: is it a thing.
        masks: [B, Q, N] logits over the picture's tokens, or None.
    """

    queries: Tensor
    boxes: Tensor
    there: Tensor
    masks: Tensor | None = None


@torch.no_grad()
def match_sets(cost: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Assign queries to targets at the least total cost, picture by picture.

    Args:
        cost: [B, Q, R].
        real: [B, R] bool, which targets exist.

    Returns:
        (picture, query, target) of the matches, by picture, then by target; targets beyond Q stay without.

    >>> cost = torch.tensor([[[1., 9, 0], [0, 2, 0]]])
    >>> [i.tolist() for i in match_sets(cost, torch.tensor([[True, True, False]]))]
    [[0, 0], [0, 1], [0, 1]]
    """
    solve = require("scipy.optimize", "scipy", "matching sets").linear_sum_assignment
    found: list[tuple[int, int, int]] = []
    for i in real.any(1).nonzero()[:, 0].tolist():
        at = real[i].nonzero()[:, 0]
        query, place = solve(cost[i][:, at].double().cpu().numpy())
        found += [(i, int(q), int(at[k])) for q, k in zip(query, place, strict=True)]
    found.sort(key=lambda m: (m[0], m[2]))
    table = torch.tensor(found, dtype=torch.long, device=cost.device).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


class SetLocator(nn.Module):
    """Learned queries read the picture's tokens (DETR's way); each gives a box, a mask, and whether it is there.

    Args:
        widths: of the model.
        queries: most things of a picture.
        width: inner.
        layers: depth.
        heads: of the attention.
        masks: give masks over the tokens.
        box: 4 numbers in a picture, 6 in a room.

    Source: DETR arXiv 2005.12872, MaskFormer arXiv 2107.06278 (masks as products of queries and places).
    """

    gives = ("locator",)
    needs = ("patches",)

    def __init__(
        self,
        widths: Any,
        queries: int = 100,
        width: int = 256,
        layers: int = 6,
        heads: int = 8,
        masks: bool = False,
        box: int = 4,
    ) -> None:
        super().__init__()
        if box not in (4, 6):
            raise UserError(f"locator set: box={box} must be 4 (a picture) or 6 (a room).")
        self.width, self.size = width, box
        self.memory = nn.Sequential(nn.Linear(widths.image, width), nn.LayerNorm(width))
        self.queries = nn.Parameter(torch.randn(queries, width) * width**-0.5)
        self.blocks = nn.ModuleList(Block(width, heads, memory_width=width) for _ in range(layers))
        initialise(self.blocks, width)
        self.after = nn.LayerNorm(width)
        self.box = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, box))
        self.there = nn.Linear(width, 1)
        self.mask = nn.Linear(width, width) if masks else None

    def forward(self, tokens: Tensor, places: Tensor | None = None) -> Located:
        """Find things in tokens [B, N, ·]; `places` [B, N, 3] of a room's, which its boxes are counted from."""
        memory = self.memory(tokens)
        x = self.queries.expand(len(tokens), -1, -1)
        for block in self.blocks:
            x = block(x, memory=memory)
        x = self.after(x)
        raw = self.box(x)
        if self.size == 4:
            boxes = raw.sigmoid()
        else:
            middle = raw[..., :3]
            if places is not None:  # where the query looks: at the tokens that are most like it
                look = (x @ memory.transpose(1, 2) / self.width**0.5).softmax(-1)
                middle = middle + look @ places.to(x.dtype)
            boxes = torch.cat([middle, nn.functional.softplus(raw[..., 3:])], -1)
        masks = None if self.mask is None else self.mask(x) @ memory.transpose(1, 2) / self.width**0.5
        return Located(x, boxes, self.there(x)[..., 0], masks)
