"""Exact nearest rows over float16 vectors in memory, at the speed of reading them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["dots", "first_scores", "gather", "threads", "top_rows"]

#: Rows at a time: their scores stay in the processor's cache.
_CHUNK = 16_384


def threads() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def dots(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Dot products of float16 rows `[N, dim]` with a float32 query `[dim]`, in float64, the same for equal rows."""
    import numpy as np

    found: np.ndarray = (rows.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return found


def first_scores(rows: np.ndarray, query: np.ndarray, out: np.ndarray) -> None:
    """Fast dot products of float16 with float16, accumulated in float32, into `out` `[n]`."""
    import numpy as np

    try:
        import simsimd
    except ImportError:
        np.einsum("nd,d->n", rows.astype(np.float32), query.astype(np.float32), out=out)
        return
    # its kernel for AVX-512 FP16 sums in float16: errors of 1e-4 and more, where the next one's are 1e-8
    simsimd.disable_capability("sapphire")
    simsimd.cdist(query[None], rows, metric="dot", out=out[None], out_dtype="float32")


def top_rows(
    parts: Sequence[np.ndarray],
    query: np.ndarray,
    k: int,
    masks: Sequence[np.ndarray | None] | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the `k` rows with the largest dot product, and every row that ties with the last of them.

    A first pass takes the query rounded to float16. Rounding moves no score by more than the length of what was rounded
    away, so rows further than twice that below the k-th cannot be among the best; the others are scored again in full.

    Args:
        parts: float16 `[n, dim]` each; rows are numbered through. Unit vectors; a row with NaN is never found.
        query: float32 `[dim]`.
        k: how many.
        masks: bool `[n]` each: rows that may be found; None for all.
        pool: threads; None scans in this one.

    Returns:
        `(rows, scores)`: int64 and float64, best first, equal scores by row.
    """
    import numpy as np

    half = query.astype(np.float16)
    slack = 2 * (float(np.linalg.norm(query - half.astype(np.float32))) * 1.01 + 2e-6)
    jobs: list[tuple[int, np.ndarray, np.ndarray | None]] = []
    start = 0
    for n, part in enumerate(parts):
        mask = masks[n] if masks is not None else None
        share = max(_CHUNK, -(-len(part) // (4 * threads()))) if pool else max(1, len(part))
        for low in range(0, len(part), share):
            jobs.append((start + low, part[low : low + share], None if mask is None else mask[low : low + share]))
        start += len(part)
    run = pool.map if pool is not None and len(jobs) > 1 else map
    found = list(run(lambda job: _candidates(job[0], job[1], job[2], half, k, slack), jobs))
    rows = np.concatenate([r for r, _ in found]) if found else np.empty(0, np.int64)
    near = np.concatenate([s for _, s in found]) if found else np.empty(0, np.float32)
    if len(near) > k:
        floor = np.partition(near, len(near) - k)[len(near) - k] - slack
        rows = rows[near >= floor]
    rows = np.sort(rows)
    scores = dots(gather(parts, rows), query)
    order = np.lexsort((rows, -scores))
    rows, scores = rows[order], scores[order]
    if len(rows) > k:
        last = int(np.searchsorted(-scores, -scores[k - 1], side="right"))
        rows, scores = rows[:last], scores[:last]
    return rows, scores


def _candidates(
    start: int, part: np.ndarray, mask: np.ndarray | None, query: np.ndarray, k: int, slack: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a part that may be among the best `k`, with their scores of the first pass."""
    import numpy as np

    out = np.empty(min(_CHUNK, len(part)), np.float32)
    rows: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    floor, waiting = -np.inf, 0
    for low in range(0, len(part), _CHUNK):
        some = part[low : low + _CHUNK]
        score = out[: len(some)]
        first_scores(some, query, score)
        good = score >= floor
        if mask is not None:
            good &= mask[low : low + _CHUNK]
        at = np.flatnonzero(good)
        if not len(at):
            continue
        rows.append(at + (start + low))
        scores.append(score[at])
        waiting += len(at)
        if waiting > max(4 * k, 1024) or floor == -np.inf:
            every = np.concatenate(scores)
            if len(every) >= k:
                floor = max(floor, np.partition(every, len(every) - k)[len(every) - k] - slack)
                keep = every >= floor
                rows, scores = [np.concatenate(rows)[keep]], [every[keep]]
            waiting = 0
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    return np.concatenate(rows), np.concatenate(scores)


def gather(parts: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The rows of these numbers, ascending, of parts that are numbered through."""
    import numpy as np

    if len(parts) == 1:
        found: np.ndarray = parts[0][rows]
        return found
    edges = np.cumsum([0] + [len(part) for part in parts])
    picked = [part[rows[(rows >= low) & (rows < high)] - low] for part, low, high in zip(parts, edges[:-1], edges[1:])]
    return np.concatenate(picked)
