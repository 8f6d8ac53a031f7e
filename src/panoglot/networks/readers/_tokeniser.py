"""Pictures as grids of codes: the nearest colour of a palette in every cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._views import MEAN, STD

__all__ = ["Palette"]


class Palette(nn.Module):
    """Every cell of a square grid is the nearest colour of a palette: an image tokeniser that needs no training.

    A learnt one (VQGAN, MAGVIT) is a class with the same names.

    Args:
        grid: cells a side.
        colours: [R, G, B] in 0..1 each; empty: the eight corners of the colour cube.

    Attributes:
        codes: how many there are.
        cells: of a picture, grid².

    >>> palette = Palette(2)
    >>> palette.encode(palette.decode(torch.tensor([[0, 7, 3, 4]]), 8)).tolist()
    [[0, 7, 3, 4]]
    """

    gives = ("tokeniser",)

    colours: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, grid: int = 16, colours: Sequence[Sequence[float]] = ()) -> None:
        super().__init__()
        corners = [[n >> 2 & 1, n >> 1 & 1, n & 1] for n in range(8)]
        table = torch.tensor([list(c) for c in colours] or corners, dtype=torch.float32)
        if grid < 1 or table.dim() != 2 or table.shape[1] != 3 or len(table) < 2:
            raise UserError("tokeniser palette: needs grid ≥ 1, and two colours or more of three numbers each.")
        self.grid, self.cells, self.codes = grid, grid**2, len(table)
        self.register_buffer("colours", table, persistent=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(STD).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Return codes [B, cells] of normalised pictures [B, 3, H, W]."""
        small = F.adaptive_avg_pool2d(pixels * self.deviation + self.mean, self.grid).flatten(2).transpose(1, 2)
        return torch.cdist(small, self.colours.expand(len(small), -1, -1).to(small.dtype)).argmin(-1)

    @torch.no_grad()
    def decode(self, codes: Tensor, side: int) -> Tensor:
        """Return normalised pictures [B, 3, side, side] of codes [B, cells]."""
        pixels = self.colours[codes].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return (F.interpolate(pixels, (side, side), mode="nearest") - self.mean) / self.deviation
