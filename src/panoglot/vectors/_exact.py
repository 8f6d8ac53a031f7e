"""Exact nearest rows over float16 vectors in memory, at the speed of reading them, or a copy of half their size."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from panoglot.vectors._coarse import Coarse, Rough

__all__ = ["dots", "first_scores", "gather", "threads", "top_rows"]

#: Rows a thread takes at a time.
_CHUNK = 16_384
#: Groups whose largest scores give a floor, at least, and for each of the rows that are wanted.
_GROUPS, _GROUPS_EACH = 1024, 4
#: From this many candidates on, for each row that is wanted, they are scored a second time before the last.
_MANY = 8


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
    coarse: Sequence[Coarse | None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the `k` rows with the largest dot product, and every row that ties with the last of them.

    A first pass scores all rows roughly, each with a bound of its error: with the query rounded to float16 (rounding
    moves no score by more than the length of what was rounded away), or over int8 copies (see `Coarse`). Rows whose
    score cannot reach what the k-th has at least are left out; the others are scored again in full. What comes back is
    the same whatever the first pass reads.

    Args:
        parts: float16 `[n, dim]` each; rows are numbered through. Unit vectors; a row with NaN is never found.
        query: float32 `[dim]`.
        k: how many.
        masks: bool `[n]` each: rows that may be found; None for all.
        pool: threads; None scans in this one.
        coarse: int8 copies of parts; None for those that have none.

    Returns:
        `(rows, scores)`: int64 and float64, best first, equal scores by row.
    """
    import numpy as np

    half = query.astype(np.float16)
    slack = float(np.linalg.norm(query - half.astype(np.float32))) * 1.01 + 2e-6
    near = np.empty(sum(map(len, parts)), np.float32)
    copies = list(coarse or [None] * len(parts)) if np.isfinite(query).all() else [None] * len(parts)
    asked = [None if copy is None else copy.ask(query) for copy in copies]
    jobs: list[tuple[int, int, int, int]] = []  # which part, its first row, the first and the last here
    start = 0
    for n, part in enumerate(parts):
        share = max(_CHUNK, -(-len(part) // (4 * threads()))) if pool else max(1, len(part))
        jobs += [(n, start, low, min(low + share, len(part))) for low in range(0, len(part), share)]
        start += len(part)

    def scan(job: tuple[int, int, int, int]) -> None:
        n, first, low, high = job
        out, rough = near[first + low : first + high], asked[n]
        if rough is None:
            first_scores(parts[n][low:high], half, out)
        else:
            rough.scores(low, high, out)
        if (mask := masks[n] if masks is not None else None) is not None:
            out[~mask[low:high]] = np.nan

    list(pool.map(scan, jobs) if pool is not None and len(jobs) > 1 else map(scan, jobs))
    rows = _reaching(near, asked, parts, slack, k)
    if any(rough is not None for rough in asked) and len(rows) > _MANY * k:
        again = np.empty(len(rows), np.float32)
        first_scores(gather(parts, rows), half, again)
        rows = rows[again >= _kth(again, k) - 2 * slack]
    scores = dots(gather(parts, rows), query)
    rows, scores = rows[~np.isnan(scores)], scores[~np.isnan(scores)]
    order = np.lexsort((rows, -scores))
    rows, scores = rows[order], scores[order]
    if len(rows) > k:
        last = int(np.searchsorted(-scores, -scores[k - 1], side="right"))
        rows, scores = rows[:last], scores[:last]
    return rows, scores


def _reaching(
    near: np.ndarray, roughs: Sequence[Rough | None], parts: Sequence[np.ndarray], slack: float, k: int
) -> np.ndarray:
    """Rows that may be among the best `k`, ascending, by rough scores (NaN: not to be found) and what these are off by.

    Args:
        near: float32 `[N]`.
        roughs: of each part: the query before its coarse copy, None where `slack` is what scores are off by.
        parts: the rows.
        slack: see above.
        k: how many.
    """
    import numpy as np

    most = max((slack if rough is None else rough.most for rough in roughs), default=0.0)

    def margins(rows: np.ndarray) -> np.ndarray:
        found, start = np.full(len(rows), slack), 0
        for rough, part in zip(roughs, parts):
            mine = slice(*np.searchsorted(rows, (start, start + len(part))))
            if rough is not None:
                found[mine] = rough.margins(rows[mine] - start)
            start += len(part)
        return found

    with np.errstate(invalid="ignore"):
        best = np.flatnonzero(near >= _floor(near, k))
        least = _kth(near[best] - margins(best), k)
        rows = np.flatnonzero(near >= least - most)
        if any(rough is not None for rough in roughs):
            rows = rows[near[rows] + margins(rows) >= least]
    return rows


def _floor(near: np.ndarray, k: int) -> float:
    """What at least `k` scores reach, and few more: the k-th of the largest of groups."""
    import numpy as np

    groups = max(_GROUPS, _GROUPS_EACH * k)
    each = len(near) // groups
    if each < 2:
        return -np.inf
    return _kth(np.fmax.reduce(near[: each * groups].reshape(each, groups), axis=0), k)


def _kth(scores: np.ndarray, k: int) -> float:
    """The k-th largest, NaN aside; -inf where there are fewer."""
    import numpy as np

    known = scores[~np.isnan(scores)]
    return float(np.partition(known, len(known) - k)[len(known) - k]) if len(known) >= k else -np.inf


def gather(parts: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The rows of these numbers, ascending, of parts that are numbered through."""
    import numpy as np

    if len(parts) == 1:
        found: np.ndarray = parts[0][rows]
        return found
    edges = np.cumsum([0] + [len(part) for part in parts])
    picked = [part[rows[(rows >= low) & (rows < high)] - low] for part, low, high in zip(parts, edges[:-1], edges[1:])]
    return np.concatenate(picked)
