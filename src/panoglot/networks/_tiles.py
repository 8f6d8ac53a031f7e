"""One budget of tiles over all pictures of a sample (LEOPARD): which picture gets how many, in which grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from panoglot.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Tiling", "allocate", "cut_tiles", "grid_of", "share_tiles"]


@dataclass(frozen=True, slots=True)
class Tiling:
    """How pictures are cut.

    Attributes:
        budget: sub-pictures of a sample, overviews among them.
        side: of a sub-picture in pixels.
        least: tiles that every picture with more than one is left with when the budget is short.
        thin: a side shorter than half a tile counts as one tile, not as none.

    Source: LEOPARD arXiv 2410.01744 (budget 50, side 364; the released code has `least` 0 and `thin` False).
    """

    budget: int = 50
    side: int = 364
    least: int = 0
    thin: bool = False

    def __post_init__(self) -> None:
        if self.budget < 1 or self.side < 1 or self.least < 0:
            raise UserError(f"tiles: budget={self.budget}, side={self.side} must be at least 1, least at least 0.")


def allocate(sizes: Sequence[tuple[int, int]], tiling: Tiling | None = None) -> list[int]:
    """Return how many tiles each picture may have, beside its overview.

    Args:
        sizes: (width, height) of every picture.
        tiling: budget and side.

    Raises:
        UserError: more pictures than the budget has places.

    >>> allocate([(1092, 728), (364, 364), (3640, 1820)])
    [5, 0, 41]
    >>> allocate([(728, 728), (400, 300)]), allocate([(100, 1000)]), allocate([(100, 1000)], Tiling(thin=True))
    ([4, 0], [0], [3])
    """
    how = tiling or Tiling()
    left = how.budget - len(sizes)
    if left < 0:
        raise UserError(
            f"{len(sizes)} pictures do not fit a budget of {how.budget} sub-pictures: tiles: {{budget: …}}."
        )
    floor = 1 if how.thin else 0
    wanted = [max(floor, round(h / how.side)) * max(floor, round(w / how.side)) for w, h in sizes]
    wanted = [0 if n == 1 else n for n in wanted]
    total = sum(wanted)
    if total <= left:
        return wanted
    given = [max(min(how.least, n), n * left // total) for n in wanted]
    while sum(given) > left:  # only a minimum can bring it there
        most = max(range(len(given)), key=lambda i: (given[i], -i))
        given[most] -= 1
    return given


def grid_of(size: tuple[int, int], tiles: int, side: int) -> tuple[int, int] | None:
    """Return (rows, columns) of the grid in which most of a picture's own pixels are seen; None: an overview will do.

    >>> grid_of((1092, 728), 5, 364), grid_of((3640, 1820), 41, 364), grid_of((364, 364), 0, 364)
    ((2, 2), (4, 8), None)
    """
    width, height = size
    best: tuple[int, int, int, int] | None = None
    for rows in range(1, tiles + 1):
        for columns in range(1, tiles // rows + 1):
            if rows * columns < 2:
                continue
            scale = min(columns * side / width, rows * side / height)
            seen = min(int(width * scale) * int(height * scale), width * height)
            rank = (seen, seen - rows * columns * side * side)
            if best is None or rank > best[:2]:
                best = (*rank, rows, columns)
    return None if best is None else best[2:]


def share_tiles(sizes: Sequence[tuple[int, int]], tiling: Tiling | None = None) -> list[tuple[int, int] | None]:
    """Return the grid (rows, columns) of every picture; None: an overview alone.

    >>> share_tiles([(1092, 728), (364, 364), (3640, 1820)])
    [(2, 2), None, (4, 8)]
    """
    how = tiling or Tiling()
    return [grid_of(size, n, how.side) for size, n in zip(sizes, allocate(sizes, how), strict=True)]


def cut_tiles(x: Tensor, grid: tuple[int, int] | None, side: int) -> Tensor:
    """Return the overview of a picture and its tiles, row by row: [1 + rows · columns, 3, side, side] in 0..1.

    Args:
        x: [3, H, W] in 0..1.
        grid: (rows, columns), or None.
        side: of a tile.
    """
    import torch
    import torch.nn.functional as F

    def fitted(height: int, width: int) -> Tensor:
        scale = min(width / x.shape[2], height / x.shape[1])
        h, w = max(1, int(x.shape[1] * scale)), max(1, int(x.shape[2] * scale))
        small = x if (h, w) == tuple(x.shape[1:]) else F.interpolate(x[None], (h, w), mode="bicubic", antialias=True)[0]
        canvas = x.new_zeros(3, height, width)
        top, left = (height - h) // 2, (width - w) // 2
        canvas[:, top : top + h, left : left + w] = small.clamp(0, 1)
        return canvas

    out = fitted(side, side)[None]
    if grid is None:
        return out
    rows, columns = grid
    tiles = fitted(rows * side, columns * side).unflatten(2, (columns, side)).unflatten(1, (rows, side))
    return torch.cat([out, tiles.permute(1, 3, 0, 2, 4).flatten(0, 1)])
