"""Is B better than A? Paired bootstrap over the same items, for every language and over all of them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.checks import check_option, offenders
from panoglot.errors import UserError
from panoglot.metrics._load import load_results
from panoglot.metrics._result import FORMAT, MetricResult, resample_weights
from panoglot.metrics._results import ResultSet

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Comparison", "Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """B minus A on the items that both could score.

    Attributes:
        name: language or other name of the result; `all` for the mean over names.
        metric: the metric.
        n: items compared.
        unscored: items that either side could not score, left out.
        a: mean of A's item values.
        b: mean of B's.
        difference: b - a.
        low: lower bound of the paired bootstrap interval; None with fewer than two items.
        high: upper bound.
        p: two-sided bootstrap p-value, at least 1 / (resamples + 1).
        better: items on which B scores higher.
        worse: lower.
        equal: the same.
        items: B minus A of each item, on request.
    """

    name: str
    metric: str
    n: int
    unscored: int
    a: float | None
    b: float | None
    difference: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    better: int = 0
    worse: int = 0
    equal: int = 0
    items: dict[str, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """Differences by name, and over all names.

    Attributes:
        rows: one for each result that both files have.
        overall: unweighted mean over the rows, when there are several of one metric.
        level: coverage of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        notes: what a reader must know.
        names: what A and B are called.
        made: what it was made of, see `ResultSet`.
    """

    rows: tuple[Difference, ...]
    overall: Difference | None
    level: float
    resamples: int
    seed: int
    notes: tuple[str, ...] = field(default=())
    names: tuple[str, str] = ("A", "B")
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether there is any difference."""
        return any(row.difference is not None for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {"format": FORMAT, "metric": "comparison", "version": "1", **asdict(self)}

    def to_json(self) -> str:
        """JSON with sorted keys, one value a line."""
        return json.dumps(self.as_dict(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)

    def table(self) -> str:
        """A line a row; `*` where the interval leaves out 0."""
        rows = [*self.rows, *([self.overall] if self.overall else [])]
        wide = max(len(row.name) for row in rows)
        lines = [f"A: {self.names[0]}   B: {self.names[1]}"] if self.names != ("A", "B") else []
        lines += [
            f"{'':<{wide}}  {'A':>9} {'B':>9} {'B - A':>9}   {100 * self.level:.0f} % interval       p        n   "
            "better/worse/equal"
        ]
        for row in rows:
            if row.difference is None or row.a is None or row.b is None:
                lines.append(f"{row.name:<{wide}}  null: no item that both could score")
                continue
            shown = f"{row.name:<{wide}}  {row.a:9.4f} {row.b:9.4f} {row.difference:+9.4f}"
            if row.low is not None and row.high is not None:
                mark = "*" if row.low > 0 or row.high < 0 else " "
                shown += f"{mark} [{row.low:+.4f}, {row.high:+.4f}]  {row.p:.4f}"
            lines.append(f"{shown}  {row.n:>6}   {row.better}/{row.worse}/{row.equal}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def compare(
    a: Any,
    b: Any,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    split: str | None = None,
    revisions: str = "refuse",
    per_item: bool = False,
) -> Comparison:
    """Compare two results by a paired bootstrap, for every language and over all.

    They are of the same metric on the same items. Languages that share their item ids (parallel test sets) are
    resampled together.

    Args:
        a: result file with item values (`--per-item`); in Python also a result, or results by name.
        b: the other system's.
        level: coverage of the intervals.
        resamples: of the paired bootstrap.
        seed: of the bootstrap.
        split: of `mteb`'s results: the split that counts, where a task has several.
        revisions: of `mteb`'s results: tasks whose data are of different revisions are named and `refuse`d, left out
            (`leave-out`), or compared all the same (`keep`).
        per_item: keep every item's difference.

    Raises:
        UserError: other metrics, versions, tokenisers or options; other items; no item values.

    >>> from panoglot.metrics._result import mean_result
    >>> found = compare(mean_result("m", [1, 2, 3], version="1"), mean_result("m", [2, 3, 5], version="1"))
    >>> round(found.rows[0].difference, 4), found.rows[0].better
    (1.3333, 3)
    """
    if not 0 < level < 1 or resamples < 1:
        raise UserError(f"level={level} must lie between 0 and 1, and resamples={resamples} be at least 1.")
    check_option("revisions", revisions, ("refuse", "leave-out", "keep"))
    one, two = load_results(a, split), load_results(b, split)
    one, two, remarks = _same_tasks(one, two, revisions)
    common = [name for name in one if name in two]
    if not common:
        raise UserError(f"A has {offenders(one)} and B has {offenders(two)}: nothing to compare.")
    notes = [*remarks, *_corpus_notes(one, two), *_data_notes(one, two)]
    for side, left in (("A", [n for n in one if n not in two]), ("B", [n for n in two if n not in one])):
        if left:
            notes.append(f"only in {side}, left out: {offenders(left)}")
    rows, draws = [], []
    for name in common:
        _same_kind(name, one[name], two[name])
        row, drawn = _row(name, one[name], two[name], level, resamples, seed, per_item)
        rows.append(row)
        draws.append(drawn)
    few = [f"{row.name} ({row.n})" for row in rows if 0 < row.n < _FEW]
    if few:
        notes.append(f"too few items for a bootstrap, do not trust its interval and p: {offenders(few)}")
    scored = [(row, drawn) for row, drawn in zip(rows, draws) if row.difference is not None]
    overall = None
    if len(scored) > 1 and len({row.metric for row, _ in scored}) == 1:
        overall = _overall([row for row, _ in scored], [d for _, d in scored if d is not None], level)
        if len(scored) < len(rows):
            notes.append(f"all: mean over {len(scored)} of {len(rows)}; the others have no item that both could score")
    return Comparison(tuple(rows), overall, level, resamples, seed, tuple(notes), _side_names(a, b))


def _side_names(a: Any, b: Any) -> tuple[str, str]:
    """What the two systems are called: their files, by what tells them apart."""
    if not all(isinstance(side, str | os.PathLike) for side in (a, b)):
        return "A", "B"
    one, two = Path(os.fspath(a)), Path(os.fspath(b))
    for left, right in zip(reversed(one.with_suffix("").parts), reversed(two.with_suffix("").parts)):
        if left != right:
            return left, right
    return "A", "B"


def _corpus_notes(one: ResultSet, two: ResultSet) -> list[str]:
    """Say that a corpus metric's own value is not the mean of its items, which is what can be compared in pairs."""
    notes = []
    for name in [name for name in one if name in two]:
        for side in (one[name], two[name]):
            values = [value for value in side.per_item or () if value is not None]
            if side.value is None or not values or side.metric == "mteb":
                continue
            scale = side.value / mean if (mean := math.fsum(values) / len(values)) else 1.0
            if abs(scale - 1) > 1e-6 and abs(scale - 100) > 1e-3:
                notes.append(
                    f"{name}: A and B here are means of item values; of the corpus {side.metric} is "
                    f"{_four(one[name].value)} and {_four(two[name].value)}"
                )
                break
    return notes


def _four(value: float | None) -> str:
    return "null" if value is None else f"{value:.4f}"


def _data_notes(one: ResultSet, two: ResultSet) -> list[str]:
    """Say when both were not scored against the same data, where the results know it."""
    said = [
        {name: mark for name, mark in (side.made.get("data") or {}).items() if name not in _predictions(side)}
        for side in (one, two)
    ]
    odd = sorted(name for name in said[0].keys() & said[1].keys() if said[0][name] != said[1][name])
    return [f"A and B were made with files that differ though they are called alike: {offenders(odd)}"] if odd else []


def _predictions(side: ResultSet) -> set[str]:
    options = side.made.get("options") or {}
    given = [options.get(name) for name in ("preds", "answers", "rankings", "detections")]
    return {Path(str(one)).name for value in given for one in (value if isinstance(value, list) else [value])}


def _same_tasks(one: ResultSet, two: ResultSet, revisions: str) -> tuple[ResultSet, ResultSet, list[str]]:
    """Results of `mteb` with the tasks that both have on equal subsets; notes on the others, and on revisions."""
    notes: list[str] = []
    found = (ResultSet(one, made=one.made), ResultSet(two, made=two.made))
    for name in [name for name in one if name in two]:
        a, b = one[name], two[name]
        if a.metric != "mteb" or b.metric != "mteb":
            continue
        said = [dict(side.options.get("revisions") or {}) for side in (a, b)]
        odd = sorted(task for task in said[0].keys() & said[1].keys() if said[0][task] != said[1][task])
        if odd and revisions == "refuse":
            raise UserError(
                f"'{name}': {len(odd)} tasks have data of different revisions: {offenders(odd)}. Leave them out "
                "with revisions='leave-out', or compare them all the same with revisions='keep'."
            )
        if odd:
            kept = "left out" if revisions == "leave-out" else "compared all the same"
            notes.append(f"{len(odd)} tasks have data of different revisions, {kept}: {offenders(odd)}")
        out = set(odd) if revisions == "leave-out" else set()
        if out and a.options.get("by") == "task":  # its items are subsets
            out = {*a.ids, *b.ids}
        if a.details and b.details:
            parts = [dict(zip(side.ids, side.details or ())) for side in (a, b)]
            part = sorted(t for t in parts[0].keys() & parts[1].keys() if parts[0][t] != parts[1][t])
            if part:
                notes.append(f"{len(part)} tasks stand for different subsets or splits, left out: {offenders(part)}")
            out |= set(part)
            only = sorted(set(a.ids) ^ set(b.ids))
            if only:
                notes.append(f"{len(only)} tasks are of one side only, left out: {offenders(only)}")
            out |= set(only)
        for side, result in zip(found, (a, b)):
            side[name] = replace(_without(result, out), options={**result.options, "revisions": {}})
    return *found, notes


def _without(result: MetricResult, out: set[str]) -> MetricResult:
    rows = [row for row in zip(result.ids, result.per_item or (), result.details or result.ids) if row[0] not in out]
    if not out or not rows:
        return result if not out else replace(result, ids=(), per_item=(), details=None, n=0)
    ids, values, details = zip(*rows)
    return replace(result, ids=ids, per_item=values, details=details if result.details else None, n=len(ids))


def _same_kind(name: str, a: MetricResult, b: MetricResult) -> None:
    for what in ("metric", "version", "language", "tokenizer"):
        mine, theirs = getattr(a, what), getattr(b, what)
        if mine != theirs:
            raise UserError(f"'{name}': A has {what} '{mine}', B has '{theirs}'; score both in the same way.")
    left = json.loads(json.dumps(dict(a.options))), json.loads(json.dumps(dict(b.options)))
    system = _SYSTEM - {"encoder"} if a.metric.startswith(_BY_ENCODER) else _SYSTEM
    odd = [key for key in sorted({*left[0], *left[1]}) if left[0].get(key) != left[1].get(key) and key not in system]
    if odd:
        raise UserError(f"'{name}': the options {offenders(odd)} differ; score both in the same way.")
    for side, result in (("A", a), ("B", b)):
        if result.per_item is None:
            raise UserError(f"'{name}': {side} has no item values; write it again with item values (--per-item).")
    mine, theirs = set(a.ids), set(b.ids)
    if mine != theirs:
        only = [
            f"{len(s)} items only in {side}: {offenders(sorted(s))}"
            for side, s in (("A", mine - theirs), ("B", theirs - mine))
            if s
        ]
        raise UserError(f"'{name}': {'; '.join(only)}. Score both on the same items.")


#: With fewer items that all favour one side the bootstrap's p is far below an exact test's (sign test of 7: 0.016).
_FEW = 8
#: Metrics of captions that an encoder judges: there it is how, not who.
_BY_ENCODER = ("clipscore", "refclipscore", "capture", "self-retrieval")
#: Options that say which system was scored, not how.
_SYSTEM = frozenset(["model", "encoder", "encoder_fingerprint", "judge_answers"])


def _row(
    name: str, a: MetricResult, b: MetricResult, level: float, resamples: int, seed: int, per_item: bool
) -> tuple[Difference, np.ndarray | None]:
    import numpy as np

    x, y = dict(zip(a.ids, a.per_item or ())), dict(zip(b.ids, b.per_item or ()))
    pairs = {key: (x[key], y[key]) for key in sorted(x)}
    kept = {key: (p, q) for key, (p, q) in pairs.items() if p is not None and q is not None}
    lost = len(pairs) - len(kept)
    if not kept:
        return Difference(name, a.metric, 0, lost, None, None, None), None
    values = np.array(list(kept.values()))
    gaps = values[:, 1] - values[:, 0]
    low = high = p = drawn = None
    if len(gaps) > 1:
        drawn = np.concatenate([w @ gaps / len(gaps) for w in resample_weights(list(kept), resamples, seed)])
        low, high, p = _bounds(drawn, level)
    mean_a, mean_b = values.mean(axis=0).tolist()
    return (
        Difference(
            name, a.metric, len(gaps), lost, mean_a, mean_b, float(gaps.mean()), low, high, p,
            int((gaps > 0).sum()), int((gaps < 0).sum()), int((gaps == 0).sum()),
            dict(zip(kept, gaps.tolist())) if per_item else None,
        ),
        drawn,
    )  # fmt: skip


def _bounds(drawn: np.ndarray, level: float) -> tuple[float, float, float]:
    import numpy as np

    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
    return float(low), float(high), min(1.0, 2 * (1 + min(below, above)) / (1 + len(drawn)))


def _overall(rows: Sequence[Difference], draws: Sequence[np.ndarray], level: float) -> Difference:
    import numpy as np

    low = high = p = None
    if len(draws) == len(rows):
        low, high, p = _bounds(np.mean(draws, axis=0), level)

    def mean(values: Sequence[float | None]) -> float:
        return math.fsum(value for value in values if value is not None) / len(values)

    return Difference(
        "all", rows[0].metric, sum(row.n for row in rows), sum(row.unscored for row in rows),
        mean([row.a for row in rows]), mean([row.b for row in rows]), mean([row.difference for row in rows]),
        low, high, p, sum(row.better for row in rows), sum(row.worse for row in rows), sum(row.equal for row in rows),
    )  # fmt: skip
