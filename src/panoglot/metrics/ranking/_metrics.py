"""Retrieval metrics as functions of the ranks of the positives.

| name | of one query |
|---|---|
| `recall@k` | 1 when any positive is among the first k (the field's R@k of image-text retrieval) |
| `positive_recall@k` | share of the positives among the first k |
| `precision@k` | positives among the first k, over k |
| `r_precision` | share of the positives among the first R, R = number of positives |
| `map@k`, `map` | sum of the precisions at the positives within k, over min(R, k): CIRCO's mAP@k |
| `ndcg@k`, `ndcg` | gains / log2(rank + 1), over the ideal order's |
| `mrr@k`, `mrr` | 1 / rank of the first positive, 0 beyond k |
| `rank` | rank of the first positive |
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from panoglot.checks import item_ids
from panoglot.errors import UserError, did_you_mean
from panoglot.metrics._result import MetricResult, bootstrap

__all__ = ["metric_name", "parse_metric", "rank_result", "rank_value"]

VERSION = "1"
_NAMES = ("recall", "positive_recall", "precision", "r_precision", "map", "ndcg", "mrr", "rank")
_NEEDS_K = ("recall", "positive_recall", "precision")


def metric_name(name: str) -> str:
    """A metric as people write it, as we do: `R@5` is `recall@5`, `mAP@10` is `map@10`.

    >>> [metric_name(name) for name in ("R@5", "mAP@10", "MRR", "nDCG@10")]
    ['recall@5', 'map@10', 'mrr', 'ndcg@10']
    """
    kind, at, k = name.strip().lower().replace("-", "_").partition("@")
    return {"r": "recall", "p": "precision"}.get(kind, kind) + at + k


@lru_cache(256)
def parse_metric(name: str) -> tuple[str, int | None]:
    """Take `map@10` apart.

    Raises:
        UserError: an unknown metric, or a missing or needless k.

    >>> parse_metric("map@10"), parse_metric("mrr")
    (('map', 10), ('mrr', None))
    """
    match = re.fullmatch(r"([a-z_]+)(?:@(\d+))?", name)
    kind = match[1] if match else name.partition("@")[0]
    if match is None or kind not in _NAMES:
        raise UserError(f"retrieval metric '{name}' is not known.{did_you_mean(kind, _NAMES)}")
    k = int(match[2]) if match[2] else None
    if k == 0 or (k is None and kind in _NEEDS_K) or (k is not None and kind in ("r_precision", "rank")):
        raise UserError(f"retrieval metric '{name}': write {kind}{'@10' if kind in _NEEDS_K else ''}.")
    return kind, k


def rank_value(
    metric: str, ranks: Sequence[float], total: int | None = None, grades: Sequence[float] | None = None
) -> float | None:
    """A metric of one query.

    Args:
        metric: a name of the table above.
        ranks: ranks of the positives that were found, ascending, 1 is best.
        total: how many positives there are (found or not); None takes all as found.
        grades: gains of *all* positives for `ndcg`, those of `ranks` first and in their order; 1 each when None.

    Returns:
        None when the query has no positives, or `rank` when none was found.

    >>> round(rank_value("map@5", [2, 3], 3), 4), rank_value("map@2", [2, 3], 3)
    (0.3889, 0.25)
    >>> round(rank_value("ndcg@10", [1, 3]), 4), rank_value("ndcg@10", [3])
    (0.9197, 0.5)
    """
    kind, k = parse_metric(metric)
    count = len(ranks) if total is None else total
    if not count:
        return None
    if kind == "rank":
        return float(ranks[0]) if len(ranks) else None
    inside = [rank for rank in ranks if k is None or rank <= k]
    if kind == "recall":
        return float(bool(inside))
    if kind == "positive_recall":
        return len(inside) / count
    if kind == "precision":
        return len(inside) / (k or 1)
    if kind == "r_precision":
        return sum(rank <= count for rank in ranks) / count
    if kind == "mrr":
        return 1 / inside[0] if inside else 0.0
    if kind == "map":
        # a mean rank of tied positives may be below its place: precision is at most 1
        return sum(min(1.0, i / rank) for i, rank in enumerate(inside, 1)) / (count if k is None else min(count, k))
    gains = [1.0] * count if grades is None else list(grades)
    ideal = sum(gain / math.log2(n + 1) for n, gain in enumerate(sorted(gains, reverse=True), 1) if k is None or n <= k)
    reached = sum(gain / math.log2(rank + 1) for rank, gain in zip(ranks, gains) if k is None or rank <= k)
    return reached / ideal if ideal else None


def rank_result(
    ranks: Sequence[Sequence[float] | None],
    totals: Sequence[int] | None = None,
    *,
    metrics: Sequence[str],
    ids: Sequence[Any] | None = None,
    grades: Sequence[Sequence[float] | None] | None = None,
    name: str = "",
    options: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    language: str = "",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Mean of every metric over the queries; `value` is the first metric's, `parts` hold them all.

    Args:
        ranks: ranks of each query's positives; None could not be scored.
        totals: number of positives of each query.
        metrics: names.
        ids: query ids.
        grades: gains for `ndcg`, as in `rank_value`.
        name: prefix of the result's name, for example `text_to_image`.
        options: recorded.
        notes: recorded.
        language: of the queries.
        confidence: level of a bootstrap interval of `value`.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        Item values are the first metric's; `details` hold the first positive's rank.
    """
    import numpy as np

    metrics = [metric_name(name) for name in metrics]
    if not metrics:
        raise UserError("give at least one retrieval metric, for example recall@10.")
    names = item_ids(ids, len(ranks))
    table: dict[str, list[float | None]] = {}
    for metric in dict.fromkeys(metrics):
        kind, k = parse_metric(metric)
        if kind == "recall" and k and totals is not None and all(totals):  # the common case, at once
            table[metric] = [None if row is None else float(bool(row) and row[0] <= k) for row in ranks]
            continue
        table[metric] = [
            None
            if row is None
            else rank_value(metric, row, totals[n] if totals is not None else None, grades[n] if grades else None)
            for n, row in enumerate(ranks)
        ]
    parts: dict[str, float | None] = {}
    for metric, column in table.items():
        have = [value for value in column if value is not None]
        parts[metric] = math.fsum(have) / len(have) if have else None
    first = table[metrics[0]]
    interval = None
    if confidence is not None:
        values = np.array([np.nan if value is None else value for value in first])
        interval = bootstrap(values, ids=names, level=confidence, resamples=resamples, seed=seed)
    return MetricResult(
        metric=f"{name}/{metrics[0]}" if name else metrics[0],
        version=VERSION,
        value=parts[metrics[0]],
        n=len(names),
        unscored=sum(value is None for value in first),
        parts=parts,
        per_item=tuple(first),
        ids=names,
        interval=interval,
        language=language,
        options={"metrics": list(metrics), **(options or {})},
        notes=tuple(notes),
        details=tuple(None if not row else float(row[0]) for row in ranks),
    )
