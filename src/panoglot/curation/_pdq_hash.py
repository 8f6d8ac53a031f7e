"""The arithmetic of PDQ after its reduction to 64 x 64: a cosine transform, a median, a sum of gradients.

Equal to the reference implementation bit for bit, which takes its order of additions in single precision: where many
coefficients are nearly equal (flat pictures, ramps), rounding decides which lie above the median.

Source: "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm", Facebook 2019, the sections on the
discrete cosine transform, the hash and the quality metric.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["GRID", "hash_grid"]

#: Side of the grid that is hashed.
GRID = 64
_KEPT = 16  # lowest frequencies a side, without the constant one
_PER_QUALITY = 90  # gradients that make a point of quality


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """Rows 1 to 16 of the transform, transposed: float32 `[64, 16]`."""
    import numpy as np

    frequency = np.arange(1, _KEPT + 1)
    place = 2 * np.arange(GRID)[:, None] + 1
    scale = float(np.float32(np.sqrt(2 / GRID)))  # rounded before it is multiplied, as in the reference
    found: np.ndarray = (scale * np.cos(np.pi / 2 / GRID * frequency * place)).astype(np.float32)
    return found


def hash_grid(grid: np.ndarray) -> tuple[bytes, int]:
    """Hash grey values.

    Args:
        grid: uint8 `[64, 64]`.

    Returns:
        32 bytes, and the quality 0..100.

    >>> import numpy as np
    >>> code, quality = hash_grid(np.add.outer(3 * np.arange(64), np.arange(64)).astype(np.uint8))
    >>> code.hex()[:16], quality
    ('035aac8c52fb2ba2', 44)
    """
    import numpy as np

    cosines, values = _cosines(), grid.astype(np.float32)
    # sums over the first axis add one row after the other
    columns = np.add.reduce(cosines[:, :, None] * values[:, None, :], axis=0)  # [16, 64]
    spectrum = np.add.reduce(np.ascontiguousarray(columns.T)[:, :, None] * cosines[:, None, :], axis=0).ravel()
    above = spectrum > np.partition(spectrum, spectrum.size // 2 - 1)[spectrum.size // 2 - 1]
    levels = grid.astype(np.int32)
    steps = sum(int((np.abs(np.diff(levels, axis=axis)) * 100 // 255).sum()) for axis in (0, 1))
    return np.packbits(above[::-1]).tobytes(), min(100, steps // _PER_QUALITY)
