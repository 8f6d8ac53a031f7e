"""Vectors of length one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["unit_rows"]


def unit_rows(vectors: Any, *, without: float = math.nan, dtype: Any = "float32") -> np.ndarray:
    """Scale the last axis to length one.

    Args:
        vectors: `[…, dim]`.
        without: what vectors become that have no direction, all zero or not finite in length.
        dtype: of the result, and of the arithmetic.

    >>> unit_rows([[3.0, 4.0], [0.0, 0.0]], without=0.0).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    import numpy as np

    found = np.asarray(vectors, dtype=dtype)
    length = np.linalg.norm(found, axis=-1, keepdims=True)
    out: np.ndarray = np.divide(found, length, out=np.full_like(found, without), where=length > 0)
    return out
