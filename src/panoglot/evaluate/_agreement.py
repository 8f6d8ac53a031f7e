"""`panoglot evaluate agreement`: metrics against people, computed here or stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.checks import check_option
from panoglot.errors import UserError, did_you_mean
from panoglot.evaluate import _human
from panoglot.evaluate._declare import Way, find_benchmark
from panoglot.evaluate._options import listed, plain_name
from panoglot.evaluate._run import Choice
from panoglot.metrics._declare import metric_names
from panoglot.metrics._results import ResultSet

__all__ = ["COMPUTED", "STORED", "choose"]


def _computed(
    score: Any,
    metric: Sequence[str],
    human: str,
    *,
    refs: Sequence[str] = (),
    statistic: str = "kendall_b",
    groups: str | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """Agreement of metrics that are computed on the captions.

    Args:
        metric: names of metrics, with commas; or stored scores: a result with item values, `{id: score}`, JSONL `id,
            score`. With `benchmark` these are in the order of its rows or by their number.
        statistic: `kendall_b`, `kendall_c`, `spearman`, `pearson`, `pairwise_accuracy`, `pairwise_accuracy_no_ties`.
        groups: field of the human rows that groups items, for example the picture.
    """
    rows = _human.read_human(human, refs, groups)
    return _human.computed(score, rows, statistic=statistic, grouped=groups is not None, confidence=confidence)


def _stored(
    scores: str,
    human: str,
    *,
    statistic: str = "kendall_b",
    groups: str | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """Agreement of scores in a file.

    Args:
        statistic: `kendall_b`, `kendall_c`, `spearman`, `pearson`, `pairwise_accuracy`, `pairwise_accuracy_no_ties`.
        groups: field of the human rows that groups items, for example the picture.
    """
    return _human.given(scores, human, statistic=statistic, groups=groups, confidence=confidence)


COMPUTED, STORED = Way(_computed), Way(_stored)


def choose(given: Mapping[str, Any]) -> Choice:
    """Metrics by name, or scores in a file; against a benchmark's file, or people's scores.

    Raises:
        UserError: neither a metric nor a file.
    """
    rest = {name: value for name, value in given.items() if name not in ("benchmark", "metric")}
    asked, known = given.get("metric") or (), metric_names()
    names = [plain_name(name) for name in listed(asked)]
    name = given.get("benchmark")
    benchmark = find_benchmark("agreement", str(name)) if name is not None else None
    ways = benchmark.each() if benchmark is not None else {"score": COMPUTED, "scores": STORED}
    # `judge` is the judge in a file: for benchmarks that read the names themselves
    own = ["judge"] if benchmark is not None and "metric" in ways["score"].parameters() else []
    if any(one in known or one in own for one in names):
        for one in names:
            check_option("metric", one, [*known, *own])
        rest["score"] = [one for one in names if one not in own]
        if "metric" in ways["score"].parameters():
            rest["metric"] = names
        what = f"'{benchmark.name}'" if benchmark is not None else "agreement"
        return Choice(what, ways["score"], rest, benchmark.need if benchmark is not None else None)
    path = asked if isinstance(asked, str) else " ".join(asked)
    if not Path(path).exists():
        hint = did_you_mean(path, known)
        raise UserError(f"'{path}' is neither a metric nor a file.{hint} All metrics: panoglot evaluate --list")
    rest["scores"] = path
    what = f"'{benchmark.name}' with stored scores" if benchmark is not None else "agreement of stored scores"
    return Choice(what, ways["scores"], rest, benchmark.need if benchmark is not None else None)
