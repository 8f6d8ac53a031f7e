"""Retrieval metrics of ranked lists of ids: submissions, search logs, other tools' output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from panoglot.checks import OnError, check_option, offenders, same_ids
from panoglot.errors import UserError
from panoglot.metrics._result import MetricResult
from panoglot.metrics.ranking._metrics import rank_result

__all__ = ["condition_recall", "cumulative_hits", "first_rank_scores", "rankings", "subset_recall"]


def rankings(
    ranked: Mapping[Any, Sequence[Any]],
    positives: Mapping[Any, Any],
    *,
    metrics: Sequence[str] = ("recall@1", "recall@5", "recall@10"),
    exclude: Mapping[Any, Collection[Any]] | None = None,
    keep: Mapping[Any, Collection[Any]] | None = None,
    on_error: OnError = "raise",
    name: str = "",
    lang: str = "",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Score ranked lists against what should be found. What a list does not hold was not found.

    Args:
        ranked: best first, by query id.
        positives: of each query: an id, ids, or a mapping of id to gain (for `ndcg`).
        metrics: names, see `retrieval`.
        exclude: ids to take out of each list before counting (the reference picture).
        keep: ids to confine each list to (CIRR's subset).
        on_error: queries without positives: `raise`, or leave them `null` and counted.
        name: prefix of the result's name.
        lang: language of the queries.
        confidence: level of a bootstrap interval of `value`.
        resamples: of the interval.
        seed: of the interval.

    Raises:
        UserError: missing or extra queries, an id twice in one list.

    >>> rankings({"q": ["x", "a", "b", "y", "z"]}, {"q": ["a", "b", "c"]}, metrics=["map@2", "mrr"]).parts
    {'map@2': 0.25, 'mrr': 0.5}
    """
    check_option("on_error", on_error, ("raise", "null"))
    queries = same_ids(ranked, positives, "positives")
    text = [query for query in queries if isinstance(ranked[query], str)]
    if text:
        raise UserError(f"{len(text)} rankings are one string, not a list of ids: {offenders(text)}.")
    twice = [query for query in queries if len(set(ranked[query])) != len(ranked[query])]
    if twice:
        raise UserError(f"{len(twice)} rankings hold an id more than once: {offenders(twice)}.")
    ranks: list[list[float] | None] = []
    totals, grades, none = [], [], []
    for query in queries:
        wanted = positives[query]
        gains = wanted if isinstance(wanted, Mapping) else dict.fromkeys(_ids(wanted), 1.0)
        gains = {item: float(gain) for item, gain in gains.items() if gain > 0}
        if not gains:
            none.append(query)
        drop = set(exclude.get(query, ())) - gains.keys() if exclude else set()
        only = {*keep[query], *gains} if keep and query in keep else None
        listed = [item for item in ranked[query] if item not in drop and (only is None or item in only)]
        found = {item: float(n) for n, item in enumerate(listed, 1) if item in gains}
        ranks.append(list(found.values()) if gains else None)
        totals.append(len(gains))
        grades.append([gains[i] for i in found] + [gain for i, gain in gains.items() if i not in found])
    if none and on_error == "raise":
        raise UserError(f"{len(none)} queries have no positives: {offenders(none)}.")
    short = min((len(ranked[query]) for query in queries), default=0)
    deep = [m for m in metrics if m.rpartition("@")[2].isdigit() and int(m.rpartition("@")[2]) > short]
    return rank_result(
        ranks,
        totals,
        metrics=metrics,
        ids=queries,
        grades=grades,
        name=name,
        language=lang,
        options={"shortest_list": short},
        notes=[f"the shortest list has {short} ids: {', '.join(deep)} may be too low"] if deep and not keep else [],
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def _ids(wanted: Any) -> Collection[Any]:
    return [wanted] if isinstance(wanted, str | int) else list(wanted)


def subset_recall(
    ranked: Mapping[Any, Sequence[Any]],
    targets: Mapping[Any, Any],
    members: Mapping[Any, Collection[Any]],
    *,
    references: Mapping[Any, Any] | None = None,
    ks: Sequence[int] = (1, 2, 3),
    **rest: Any,
) -> MetricResult:
    """CIRR's Recall_subset@k: the list confined to the query's group of look-alikes, the reference taken out.

    Args:
        ranked: lists by pair id, best first, the whole gallery or already the group's.
        targets: target of each pair.
        members: the group of each pair.
        references: reference picture of each pair.
        ks: places.
        **rest: further options of `rankings`.

    >>> subset_recall({7: ["r", "x", "b", "t", "a"]}, {7: "t"}, {7: ["r", "a", "b", "t"]}, references={7: "r"}).parts
    {'recall@1': 0.0, 'recall@2': 1.0, 'recall@3': 1.0}
    """
    gone = {query: [item] for query, item in references.items()} if references else None
    metrics = [f"recall@{k}" for k in ks]
    return rankings(ranked, targets, metrics=metrics, exclude=gone, keep=members, name="subset", **rest)


def first_rank_scores(
    ranks: Mapping[Any, float] | Sequence[float],
    *,
    metrics: Sequence[str] = ("recall@1", "recall@5", "recall@10", "mrr@10"),
    **rest: Any,
) -> MetricResult:
    """MERIT's result file: the rank of each query's first positive, from 1; -1 (or None) where it was not found.

    >>> round(first_rank_scores([-1, -1, 2, -1, 7]).parts["mrr@10"], 6)
    0.128571
    """
    ids = list(ranks) if isinstance(ranks, Mapping) else None
    values = list(ranks.values()) if isinstance(ranks, Mapping) else list(ranks)
    odd = [
        f"{ids[n] if ids else n} ({rank})"
        for n, rank in enumerate(values)
        if rank is not None and rank < 1 and rank != -1
    ]
    if odd:
        raise UserError(f"{len(odd)} ranks are neither -1 nor at least 1: {offenders(odd)}.")
    found = [[] if rank is None or rank == -1 else [float(rank)] for rank in values]
    return rank_result(found, [1] * len(found), metrics=metrics, ids=ids, name="merit", **rest)


def condition_recall(
    ranked: Mapping[Any, Sequence[Any]],
    conditions: Mapping[Any, Sequence[Collection[Any]]],
    *,
    k: int = 10,
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """How many of a query's conditions the results meet (multi-condition search, MERIT).

    `value` is the mean share of its conditions that one result meets, the best of the first k: a model that forgets a
    condition stays below 1 even where it finds near misses. Parts: `all@k`, a result meets every condition (recall with
    "meets all" as positives); `condition<i>@1`, the first result meets the i-th condition.

    Args:
        ranked: lists of ids by query, best first.
        conditions: for each query, for each of its conditions, the ids that meet it.
        k: how many results count.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    >>> condition_recall({"q": ["a", "b"]}, {"q": [{"a", "c"}, {"b", "c"}]}, k=2).value
    0.5
    """
    from panoglot.metrics._result import mean_result

    if k < 1:
        raise UserError(f"k={k} must be at least 1.")
    queries = same_ids(ranked, conditions, "conditions")
    none = [query for query in queries if not conditions[query]]
    if none:
        raise UserError(f"{len(none)} queries have no conditions: {offenders(none)}.")
    best, every = [], []
    first: dict[str, list[float]] = {}
    for query in queries:
        sets = [set(items) for items in conditions[query]]
        shares = [sum(item in items for items in sets) / len(sets) for item in ranked[query][:k]]
        best.append(max(shares, default=0.0))
        every.append(float(1.0 in shares))
        for n, items in enumerate(sets, 1):
            first.setdefault(f"condition{n}@1", []).append(float(bool(ranked[query]) and ranked[query][0] in items))
    parts = {f"all@{k}": sum(every) / len(every)} if every else {}
    parts |= {name: sum(values) / len(values) for name, values in first.items()}
    return mean_result(
        f"condition_recall@{k}",
        best,
        version="1",
        ids=queries,
        parts=parts,
        options={"k": k},
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def cumulative_hits(
    rounds: Mapping[Any, Sequence[float | None]] | Sequence[Sequence[float | None]],
    *,
    k: int = 10,
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Hits@k of dialogues, cumulated: found in this round or any before it (chat-based search).

    Args:
        rounds: for each dialogue the target's rank after each round, from 1; None was not found.
        k: a hit is a rank of at most k.
        confidence: level of a bootstrap interval of the last round's value.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        `parts["round<t>"]`, never falling with t; `value` is the last round's.

    Raises:
        UserError: dialogues of different lengths.

    >>> cumulative_hits([[12, 3, 40], [50, 60, 8], [9, 11, 11]], k=10).parts
    {'round0': 0.3333333333333333, 'round1': 0.6666666666666666, 'round2': 1.0}
    """
    from panoglot.metrics._result import mean_result

    ids = list(rounds) if isinstance(rounds, Mapping) else None
    rows = list(rounds.values()) if isinstance(rounds, Mapping) else list(rounds)
    if not rows or not rows[0]:
        raise UserError("there are no dialogues (or no rounds) to score.")
    odd = [f"{ids[n] if ids else n} ({len(row)})" for n, row in enumerate(rows) if len(row) != len(rows[0])]
    if odd:
        raise UserError(f"{len(odd)} dialogues do not have {len(rows[0])} rounds like the first: {offenders(odd)}.")
    parts: dict[str, float | None] = {}
    hit = [0.0] * len(rows)
    for t in range(len(rows[0])):
        hit = [float(old or (row[t] is not None and row[t] <= k)) for old, row in zip(hit, rows)]  # type: ignore[operator]
        parts[f"round{t}"] = sum(hit) / len(hit)
    return mean_result(
        f"cumulative_hits@{k}",
        hit,
        version="1",
        ids=ids,
        parts=parts,
        options={"k": k},
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
