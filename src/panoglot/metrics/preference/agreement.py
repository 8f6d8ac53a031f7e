"""How well a metric agrees with people: Pearson, Spearman, Kendall b and c, pairwise accuracy with ties.

numpy only; equal to scipy where scipy has it. Pairwise accuracy with ties is that of Deutsch et al., EMNLP 2023: a pair
counts when both say the same of it, "equal" included.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.checks import check_option, item_ids, offenders, same_ids
from panoglot.errors import UserError
from panoglot.metrics._result import Interval, MetricResult, resample_weights

if TYPE_CHECKING:
    import numpy as np

__all__ = ["STATISTICS", "agreement", "average_ranks", "kendall", "pairwise_accuracy", "pearson", "spearman"]

STATISTICS = ("kendall_b", "kendall_c", "spearman", "pearson", "pairwise_accuracy", "pairwise_accuracy_no_ties")


def pearson(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's r; None when one side is constant or there are fewer than two items.

    >>> pearson([1, 2, 3], [2, 4, 6]), pearson([1, 1, 1], [1, 2, 3])
    (1.0, None)
    """
    import numpy as np

    if len(x) < 2:
        return None
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    # what is constant up to rounding is constant
    if size <= 1e-14 * (1 + float(np.abs(x).max()) * float(np.abs(y).max())):
        return None
    return max(-1.0, min(1.0, float(a @ b) / size))


def average_ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 1; equal values share their mean rank.

    >>> average_ranks([10, 20, 20, 5]).tolist()
    [2.0, 3.5, 3.5, 1.0]
    """
    import numpy as np

    _, place, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's rho: Pearson of average ranks; None when one side is constant.

    >>> spearman([1, 2, 3, 4], [1, 3, 2, 9])
    0.8
    """
    found = pearson(average_ranks(x).tolist(), average_ranks(y).tolist())
    return None if found is None else round(found, 15)


def _pairs(x: Sequence[float], y: Sequence[float]) -> tuple[int, int, int, int, int]:
    """All pairs, tied in x, tied in y, tied in both, discordant. Knight's method, exact integers."""
    import numpy as np

    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    order = np.lexsort((b, a))
    seen: list[float] = []
    discordant = 0
    for value in b[order].tolist():
        place = bisect.bisect_right(seen, value)
        discordant += len(seen) - place
        seen.insert(place, value)

    def tied(rows: np.ndarray) -> int:
        counts = np.unique(rows, axis=0, return_counts=True)[1]
        return int((counts * (counts - 1) // 2).sum())

    return len(a) * (len(a) - 1) // 2, tied(a), tied(b), tied(np.stack([a, b], axis=1)), discordant


def kendall(x: Sequence[float], y: Sequence[float], variant: str = "b") -> float | None:
    """Kendall's tau-b or tau-c (Stuart); None when one side is constant.

    >>> kendall([1, 2, 3, 4], [1, 3, 2, 4]), round(kendall([1, 2, 2, 3], [1, 2, 3, 3], "c"), 4)
    (0.6666666666666666, 0.75)
    """
    check_option("variant", variant, ("b", "c"))
    if len(x) < 2:
        return None
    every, in_x, in_y, both, discordant = _pairs(x, y)
    if every in (in_x, in_y):
        return None
    surplus = every - in_x - in_y + both - 2 * discordant
    if variant == "b":
        return surplus / math.sqrt((every - in_x) * (every - in_y))
    least = min(len(set(x)), len(set(y)))
    return 2 * surplus / (len(x) ** 2 * (least - 1) / least)


def pairwise_accuracy(x: Sequence[float], y: Sequence[float], ties: bool = True) -> float | None:
    """Share of pairs on which both agree.

    Args:
        x: the metric's scores.
        y: the people's.
        ties: count pairs that people call equal (right only when the metric does too); False leaves them out, and a
            metric's tie on the others is wrong.

    >>> pairwise_accuracy([1, 2, 2], [1, 2, 3]), pairwise_accuracy([1, 2, 2], [1, 2, 2])
    (0.6666666666666666, 1.0)
    """
    if len(x) < 2:
        return None
    every, in_x, in_y, both, discordant = _pairs(x, y)
    concordant = every - in_x - in_y + both - discordant
    total = every if ties else every - in_y
    return (concordant + (both if ties else 0)) / total if total else None


_FUNCTIONS: dict[str, Callable[[Sequence[float], Sequence[float]], float | None]] = {
    "kendall_b": kendall,
    "kendall_c": lambda x, y: kendall(x, y, "c"),
    "spearman": spearman,
    "pearson": pearson,
    "pairwise_accuracy": pairwise_accuracy,
    "pairwise_accuracy_no_ties": lambda x, y: pairwise_accuracy(x, y, ties=False),
}


def agreement(
    scores: Sequence[float | None] | Mapping[Any, float | None],
    human: Sequence[float | None] | Mapping[Any, float | None],
    *,
    statistic: str = "kendall_b",
    groups: Sequence[Any] | Mapping[Any, Any] | None = None,
    ids: Sequence[Any] | None = None,
    metric: str = "",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Agreement of a metric's item scores with people's.

    Args:
        scores: of the metric, in a list or by id; None or NaN could not be scored: left out and counted.
        human: of people, in the same form.
        statistic: the one that becomes `value`: `kendall_b`, `kendall_c`, `spearman`, `pearson`, `pairwise_accuracy`,
            `pairwise_accuracy_no_ties`. `parts` hold them all.
        groups: for example the picture of each caption: statistics are then means over groups that have one (captions
            of different pictures are not compared).
        ids: ids of list items.
        metric: name of the metric under test.
        confidence: level of a bootstrap interval of `value` (over items, or over groups).
        resamples: of the interval.
        seed: of the interval.

    Raises:
        UserError: other ids on one side, infinite scores, fewer than two items.

    >>> result = agreement([0.1, 0.4, 0.3, None], [1, 3, 2, 5])
    >>> result.value, result.n, result.unscored
    (1.0, 4, 1)
    """
    check_option("statistic", statistic, STATISTICS)
    if isinstance(scores, Mapping) != isinstance(human, Mapping):
        raise UserError("scores come by id on one side only: give both as mappings, or both as lists.")
    if isinstance(scores, Mapping) and isinstance(human, Mapping):
        ids = same_ids(scores, human, "human score")
        groups = [groups[key] for key in ids] if isinstance(groups, Mapping) else groups
        scores, human = [scores[key] for key in ids], [human[key] for key in ids]
    names = item_ids(ids, len(scores))
    if len(human) != len(scores) or (groups is not None and len(groups) != len(scores)):
        raise UserError(f"{len(scores)} scores need as many human scores (and groups), not {len(human)}.")
    x = [math.nan if value is None else float(value) for value in scores]
    y = [math.nan if value is None else float(value) for value in human]
    odd = [name for name, a, b in zip(names, x, y) if math.isinf(a) or math.isinf(b)]
    if odd:
        raise UserError(f"{len(odd)} scores are infinite: {offenders(odd)}.")
    kept = [n for n in range(len(x)) if not (math.isnan(x[n]) or math.isnan(y[n]))]
    if len(kept) < 2:
        raise UserError(f"{len(kept)} items have both scores; agreement needs at least two.")
    buckets: dict[Any, list[int]] = {}
    for n in kept:
        buckets.setdefault(str(groups[n]) if groups is not None else "", []).append(n)

    def over(name: str, rows: Sequence[int]) -> float | None:
        return _FUNCTIONS[name]([x[n] for n in rows], [y[n] for n in rows])

    found = {name: [over(name, rows) for rows in buckets.values()] for name in STATISTICS}
    parts = {name: _mean(values) for name, values in found.items()}
    interval = None
    if confidence is not None:
        if groups is None:
            kept.sort(key=lambda n: names[n])  # the draws are of the set of ids
            draws = [
                over(statistic, [n for n, times in zip(kept, row) for _ in range(times)])
                for block in resample_weights([names[n] for n in kept], resamples, seed)
                for row in block.tolist()
            ]
        else:
            values = dict(sorted(zip(buckets, found[statistic])))
            draws = [
                _mean([value for value, times in zip(values.values(), row) for _ in range(times)])
                for block in resample_weights(list(values), resamples, seed)
                for row in block.tolist()
            ]
        interval = _interval(draws, confidence, resamples, seed)
    empty = sum(value is None for value in found[statistic]) if groups is not None else 0
    return MetricResult(
        metric=f"agreement/{statistic}",
        version="1",
        value=parts[statistic],
        n=len(names),
        unscored=len(names) - len(kept),
        parts=parts,
        interval=interval,
        options={"statistic": statistic, "metric": metric, "groups": len(buckets) if groups is not None else None},
        notes=[f"{empty} of {len(buckets)} groups have no {statistic} (one item, or all equal)"] if empty else (),  # type: ignore[arg-type]
    )


def _mean(values: Sequence[float | None]) -> float | None:
    have = [value for value in values if value is not None]
    return math.fsum(have) / len(have) if have else None


def _interval(draws: Sequence[float | None], level: float, resamples: int, seed: int) -> Interval | None:
    import numpy as np

    if not 0 < level < 1:
        raise UserError(f"confidence={level} must lie between 0 and 1, for example 0.95.")
    have = [value for value in draws if value is not None]
    if not have:
        return None
    low, high = np.quantile(have, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, resamples, seed)
