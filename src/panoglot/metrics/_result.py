"""What every metric answers with, and confidence intervals by bootstrap."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.checks import item_ids
from panoglot.errors import UserError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Interval", "MetricResult", "bootstrap", "mean_result", "resample_weights"]

#: Version of the JSON layout of a result.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile bootstrap interval.

    Attributes:
        low: lower bound.
        high: upper bound.
        level: coverage, for example 0.95.
        resamples: how many resamples.
        seed: of the resamples, which are a function of (seed, ids) alone.
    """

    low: float
    high: float
    level: float = 0.95
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class MetricResult:
    """A metric's answer: diffable, with everything that its value depends on.

    Attributes:
        metric: name, for example `cider-d`.
        version: version of our definition; values of different versions are not comparable.
        value: the corpus value, or None when nothing could be scored.
        n: items given.
        unscored: items whose value is null; they are counted here and left out of the means.
        parts: named companions of `value` (BLEU-1..3, precision, recall …).
        per_item: one value or None for each item, in the order of `ids`; None when the metric has no item values.
        ids: item ids.
        interval: confidence interval of `value`.
        language: BCP-47 tag, or empty where language plays no role.
        tokenizer: name and version, or empty.
        options: every option the value depends on.
        notes: what a reader must know, one sentence each.
        details: per-item tables (facts, matched words …), JSON-able, in the order of `ids`.

    >>> result = mean_result("length", [3.0, None, 5.0], version="1")
    >>> result.value, result.n, result.unscored
    (4.0, 3, 1)
    """

    metric: str
    version: str
    value: float | None
    n: int
    unscored: int = 0
    parts: Mapping[str, float | None] = field(default_factory=dict)
    per_item: tuple[float | None, ...] | None = None
    ids: tuple[str, ...] = ()
    interval: Interval | None = None
    language: str = ""
    tokenizer: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    details: tuple[Any, ...] | None = None

    def __float__(self) -> float:
        """The value; NaN when nothing could be scored."""
        return math.nan if self.value is None else self.value

    def as_dict(self, per_item: bool = False) -> dict[str, Any]:
        """Plain JSON-able data; item values only on request."""
        data = dataclasses.asdict(self)
        values, ids, details = data.pop("per_item"), data.pop("ids"), data.pop("details")
        if per_item and values is not None:
            data["per_item"] = dict(zip(ids, values))
        if per_item and details is not None:
            data["details"] = dict(zip(ids, details))
        return {"format": FORMAT, **data}

    def to_json(self, per_item: bool = False) -> str:
        """JSON with sorted keys, one value a line: made for `diff`."""
        return json.dumps(self.as_dict(per_item), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> MetricResult:
        """Read back what `to_json` wrote; items come in the order of their ids.

        Raises:
            UserError: not a result, or of a newer format.
        """
        try:
            data = json.loads(text)
            if data.pop("format") > FORMAT:
                raise UserError("this result was written by a newer version: update panoglot.")
            items, details = data.pop("per_item", None), data.pop("details", None)
            if items is not None or details is not None:
                data["ids"] = tuple(items if items is not None else details)
            data["per_item"] = None if items is None else tuple(items.values())
            data["details"] = None if details is None else tuple(details.values())
            data["interval"] = Interval(**data["interval"]) if data["interval"] else None
            data["notes"] = tuple(data["notes"])
            found = cls(**data)
            numbers = [found.value, *(found.per_item or ()), *dict(found.parts).values()]
            if any(one is not None and not math.isfinite(one) for one in numbers):
                raise UserError("this result holds NaN or infinity; what has no value is null.")
            dict(found.options)
            return found
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(
                f"this is not a metric result ({type(error).__name__}: {error}): give a file that -o FILE wrote."
            ) from None

    def asked(self) -> dict[str, float | None]:
        """Values that were asked for beside the first: the other metrics of a ranking, the lower orders of BLEU."""
        names = list(self.options.get("metrics") or ())[1:]
        if not names and self.metric.startswith("bleu"):
            names = [name for name in self.parts if name.startswith("bleu") and name != self.metric]
        return {name: self.parts[name] for name in names if name in self.parts}

    def table(self) -> str:
        """A small table for people.

        >>> print(mean_result("length", [3.0, None, 5.0], version="1", language="de").table())
        length   4.0000   n 3 (1 unscored)   de
        """
        shown = "null" if self.value is None else f"{self.value:.4f}"
        if self.interval:
            shown += f" [{self.interval.low:.4f}, {self.interval.high:.4f}]"
        count = f"n {self.n}" + (f" ({self.unscored} unscored)" if self.unscored else "")
        lines = ["   ".join(filter(None, [self.metric, shown, count, self.language, self.tokenizer]))]
        width = max(map(len, self.parts), default=0)
        for name, value in self.parts.items():
            lines.append(f"  {name:<{width}}   " + ("null" if value is None else f"{value:.4f}"))
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def bootstrap(
    statistics: Sequence[float | None] | np.ndarray,
    reduce: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    ids: Sequence[Any] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """Percentile bootstrap over items.

    The draws are a function of `seed` and the *set* of ids: reordering items changes nothing, and two systems scored on
    the same ids meet the same resamples (so their difference is a paired one).

    Args:
        statistics: `[N]` item values (None and NaN are left out), or `[N, K]` item statistics that add up.
        reduce: `[R, K]` resampled *means* of the statistics to `[R]` values; None takes the mean itself.
        ids: item ids; positions when None.
        level: coverage.
        resamples: number of resamples R.
        seed: seed.

    Returns:
        The interval, or None when fewer than two items have a value.

    >>> bootstrap([1.0, 2.0, 3.0, 4.0], ids="abcd") == bootstrap([4.0, 2.0, 3.0, 1.0], ids="dbca")
    True
    """
    import numpy as np

    if not 0 < level < 1:
        raise UserError(f"level={level} must lie between 0 and 1, for example 0.95.")
    values = np.asarray(statistics, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    names = np.array(item_ids(ids, len(values)), dtype=object)
    kept = ~np.isnan(values).any(axis=1)
    if kept.sum() < 2:
        return None
    order = np.argsort(names[kept].astype(str), kind="stable")
    values = values[kept][order]
    drawn = [weights @ values / len(values) for weights in resample_weights(list(names[kept][order]), resamples, seed)]
    means = np.concatenate(drawn)
    finals = means[:, 0] if reduce is None else reduce(means)
    low, high = np.quantile(finals, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, resamples, seed)


def resample_weights(ids: Sequence[str], resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each item is drawn in each resample: blocks `[up to 64, N]`, a function of (seed, ids) alone.

    Args:
        ids: sorted ids.
        resamples: number of resamples.
        seed: seed.
    """
    import numpy as np

    digest = hashlib.sha256("\x1f".join([str(seed), *ids]).encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    count = len(ids)
    for start in range(0, resamples, 64):
        size = min(64, resamples - start)
        picks = random.integers(0, count, (size, count)) + np.arange(size)[:, None] * count
        yield np.bincount(picks.ravel(), minlength=size * count).reshape(size, count)


def mean_result(
    metric: str,
    per_item: Sequence[float | None],
    *,
    version: str,
    ids: Sequence[Any] | None = None,
    scale: float = 1.0,
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    **rest: Any,
) -> MetricResult:
    """A result whose value is `scale` times the mean of the item values that are not null.

    Args:
        metric: name.
        per_item: item values; None or NaN could not be scored.
        version: version of the definition.
        ids: item ids.
        scale: factor of the mean (100 for percentages).
        confidence: level of a bootstrap interval, or None for none.
        resamples: of the interval.
        seed: of the interval.
        **rest: further fields of `MetricResult`.
    """
    values = tuple(None if value is None or math.isnan(value) else float(value) for value in per_item)
    names = item_ids(ids, len(values))
    scored = [value for value in values if value is not None]
    interval = None
    if confidence is not None:
        scaled = [None if value is None else scale * value for value in values]
        interval = bootstrap(scaled, ids=names, level=confidence, resamples=resamples, seed=seed)
    return MetricResult(
        metric=metric,
        version=version,
        value=scale * math.fsum(scored) / len(scored) if scored else None,
        n=len(values),
        unscored=len(values) - len(scored),
        per_item=values,
        ids=names,
        interval=interval,
        **rest,
    )
