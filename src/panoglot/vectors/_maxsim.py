"""MaxSim: several vectors a query against several vectors a picture, over float32, float16 or int8; fewer of them.

The score of a picture is the sum, over the query's vectors, of the largest dot product with one of its own (ColBERT,
Khattab & Zaharia 2020, section 3.2). Token pooling: the most alike vectors of a picture become their mean, until so
many are left (Clavié, Chaffin & Adams 2024, section 3.1, hierarchical, with cosines of means).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

__all__ = ["blocks_of", "maxsim", "pool_tokens", "quantised", "similarities"]

#: Rows that are compared at a time: their similarities stay in the processor's cache.
_ROWS = 16_384


def quantised(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as int8 with a scale each: `rows ≈ scale × int8`, off by half a scale at most.

    Args:
        rows: `[R, dim]`; a row of zeros stays one.

    Returns:
        `(int8 [R, dim], float32 [R])`.

    >>> import numpy as np
    >>> values, scales = quantised(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> values.tolist(), scales.astype(float).round(4).tolist()
    ([[64, -127], [0, 0]], [0.0079, 0.0])
    """
    import numpy as np

    values, scales = np.empty(rows.shape, np.int8), np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS].astype(np.float32)
        most = np.abs(some).max(axis=1) / 127
        values[start : start + len(some)] = np.round(some / np.where(most > 0, most, 1)[:, None])
        scales[start : start + len(some)] = most
    return values, scales


def similarities(query: np.ndarray, rows: np.ndarray, scales: np.ndarray | None = None) -> np.ndarray:
    """Dot products float32 `[T, R]` of a query's vectors with rows.

    Args:
        query: float32 `[T, dim]`.
        rows: float32, float16, or int8 with `scales`, `[R, dim]`.
        scales: of `quantised`.
    """
    import numpy as np

    if rows.dtype != np.int8:
        found: np.ndarray = query @ rows.astype(np.float32, copy=False).T
        return found
    if scales is None:
        raise ValueError("int8 rows have scales")
    whole, own = quantised(query)
    try:
        import simsimd
    except ImportError:
        dots = whole.astype(np.float32) @ rows.astype(np.float32).T  # exact: below 2**24
    else:
        dots = np.asarray(simsimd.cdist(whole, np.ascontiguousarray(rows), metric="dot"), np.float32)
    scaled: np.ndarray = dots.reshape(len(query), len(rows)) * own[:, None] * scales
    return scaled


def blocks_of(starts: np.ndarray, count: int) -> Iterator[tuple[int, int, int, int]]:
    """Runs of whole pictures of some thousand rows: (first picture, after the last, first row, after the last).

    >>> import numpy as np
    >>> list(blocks_of(np.array([0, 3, 5]), 9))
    [(0, 3, 0, 9)]
    """
    import numpy as np

    edges = np.append(starts, count)
    at = 0
    while at < len(starts):
        stop = max(at + 1, int(np.searchsorted(edges, edges[at] + _ROWS, side="right")) - 1)
        yield at, stop, int(edges[at]), int(edges[stop])
        at = stop


def maxsim(query: np.ndarray, rows: np.ndarray, starts: np.ndarray, scales: np.ndarray | None = None) -> np.ndarray:
    """MaxSim of a query with every picture, float32 `[N]`; memory is that of a block.

    Args:
        query: float32 `[T, dim]`, unit vectors.
        rows: float32, float16, or int8 with `scales`, `[R, dim]`; those of a picture stand together.
        starts: where those of each picture begin, ascending, `[N]`; every picture has one or more.
        scales: of `quantised`, `[R]`.

    >>> import numpy as np
    >>> rows = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float16)
    >>> maxsim(np.eye(2, dtype=np.float32), rows, np.array([0, 2])).astype(float).round(2).tolist()
    [2.0, 1.4]
    """
    import numpy as np

    found = np.empty(len(starts), np.float32)
    for first, last, low, high in blocks_of(starts, len(rows)):
        similar = similarities(query, rows[low:high], None if scales is None else scales[low:high])
        found[first:last] = np.maximum.reduceat(similar, starts[first:last] - low, axis=1).sum(axis=0)
    return found


def pool_tokens(rows: np.ndarray, keep: int) -> np.ndarray:
    """Fewer vectors of every picture: the two most alike become their mean, again and again.

    Args:
        rows: unit vectors `[N, V, dim]`.
        keep: how many are left of each, 1 or more.

    Returns:
        Unit vectors float32 `[N, min(V, keep), dim]`, in the order of their first members.

    >>> import numpy as np
    >>> pool_tokens(np.array([[[1, 0], [0, 1], [1, 0]]], np.float32), 2).tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    import numpy as np

    if keep < 1:
        raise ValueError(f"keep={keep} must be at least 1")
    found = []
    for start in range(0, len(rows), 1024):
        found.append(_pooled(rows[start : start + 1024].astype(np.float32), keep))
    return np.concatenate(found) if found else rows.astype(np.float32)


def _pooled(sums: np.ndarray, keep: int) -> np.ndarray:
    """The same of some pictures; `sums` of clusters are changed."""
    import numpy as np

    count, views, _ = sums.shape
    every = np.arange(count)
    alive = np.ones((count, views), bool)
    units = sums.copy()
    similar = np.einsum("nid,njd->nij", units, units)
    similar[:, np.arange(views), np.arange(views)] = -np.inf
    for _ in range(views - keep):
        best = similar.reshape(count, -1).argmax(axis=1)
        one, other = np.minimum(best // views, best % views), np.maximum(best // views, best % views)
        sums[every, one] += sums[every, other]
        length = np.linalg.norm(sums[every, one], axis=1, keepdims=True)
        units[every, one] = sums[every, one] / np.where(length > 0, length, 1)
        alive[every, other] = False
        near = np.einsum("nd,njd->nj", units[every, one], units)
        near[~alive] = -np.inf
        near[every, one] = -np.inf
        similar[every, one], similar[every, :, one] = near, near
        similar[every, other], similar[every, :, other] = -np.inf, -np.inf
    left = units[alive].reshape(count, min(views, max(1, keep)), -1)
    length = np.linalg.norm(left, axis=2, keepdims=True)
    found: np.ndarray = left / np.where(length > 0, length, 1)
    return found
