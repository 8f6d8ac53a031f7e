"""Between a picture tower and a language model."""

from __future__ import annotations

from torch import Tensor, nn

from panoglot.networks.towers.heads import unit

__all__ = ["Projector", "grid_boxes"]


class Projector(nn.Module):
    """Linear, GELU, Linear: the picture's tokens become those of a language model (Croc, LLaVA).

    Args:
        width: of the picture's tokens.
        out: of the language model.
        hidden: between; None is `out`.
        normalise: to unit length (Croc).
    """

    def __init__(self, width: int, out: int, hidden: int | None = None, normalise: bool = False) -> None:
        super().__init__()
        hidden = hidden or out
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out))
        self.normalise = normalise

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens [..., out] of x [..., width]."""
        x = self.mlp(x)
        return unit(x) if self.normalise else x


def grid_boxes(n: int, like: Tensor) -> Tensor:
    """Return the boxes [n, 4] (x0, y0, x1, y1 in 0..1) of the cells of a square grid, row by row; else whole pictures.

    >>> import torch
    >>> grid_boxes(4, torch.zeros(())).tolist()[1]
    [0.5, 0.0, 1.0, 0.5]
    """
    side = round(n**0.5)
    if side * side != n:
        return like.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(n, 4)
    cells = [(c / side, r / side, (c + 1) / side, (r + 1) / side) for r in range(side) for c in range(side)]
    return like.new_tensor(cells)
