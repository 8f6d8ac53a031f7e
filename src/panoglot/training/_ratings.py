"""What people said of captions, as scores of texts."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from statistics import fmean
from typing import Any

from panoglot.metrics.preference.agreement import kendall
from panoglot.table import Dataset, plain_rows

__all__ = ["rated"]


def rated(
    data: Dataset,
    records: Sequence[Any],
    owners: Sequence[tuple[str, ...]],
    left_out: Counter[str],
    digest: Any,
    criteria: Mapping[str, float] | None = None,
    raters: int = 1,
) -> list[str]:
    """Give texts what was said of their captions, as `score`; returns what is to be said of the raters.

    Without criteria, ratings of one criterion on one scale are taken, the most frequent, and a score is their mean.
    With criteria every one ranks the captions of a picture: a caption's rank is the share of the others that it is
    better than, ties as a half; its score is the mean of its ranks by the criteria's weights. Where there are
    comparisons only, what a caption got in them is its rating.

    Args:
        data: the dataset.
        records: are changed.
        owners: caption ids of the texts of every record.
        left_out: is added to.
        digest: of what was read; is updated.
        criteria: name, or pattern (`*`), of a criterion → its weight; 0 leaves it out.
        raters: least number of people for a caption and criterion.
    """
    if not data.ratings.exists():
        return []
    rows = [row for row in plain_rows(data.ratings.read(None, "of = 'captions'")) if row["value"] is not None]
    rows = [row for row in rows if not row["against"]] or rows
    weights = _weights(rows, criteria)
    left_out["rating: of another criterion or scale"] += sum(_kind(row) not in weights for row in rows)
    said: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if _kind(row) in weights:
            for item, value in ((row["item"], row["value"]), (row["against"], 1.0 - row["value"])):
                if item:
                    said[_kind(row)][item].setdefault(row["rater"] or "", []).append(float(value))
    agreed: list[float] = []
    for record, ids in zip(records, owners, strict=True):
        found: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for kind, weight in weights.items():
            mine = {n: said[kind][id_] for n, id_ in enumerate(ids) if id_ in said[kind]}
            agreed += _agreement(mine)
            few = [n for n, by in mine.items() if len(by) < raters]
            left_out["rating: of too few raters"] += len(few)
            means = {n: fmean(itertools.chain(*by.values())) for n, by in mine.items() if n not in few}
            for n, value in (means if criteria is None else _ranks(means)).items():
                found[n].append((value, weight))
        scores = {n: sum(v * w for v, w in some) / sum(w for _, w in some) for n, some in found.items()}
        if scores:
            record.texts = [replace(t, score=scores.get(n, t.score)) for n, t in enumerate(record.texts)]
            digest.update(f"rating {record.id} {sorted(scores.items())}\n".encode())
    left_out += Counter()
    if not agreed:
        return []
    return [
        f"raters of the same captions agree with Kendall's tau {fmean(agreed):.2f} ({len(agreed):,} pairs of raters)"
    ]


def _kind(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["criterion"] or "", row["scale"] or ""


def _weights(rows: Sequence[Mapping[str, Any]], criteria: Mapping[str, float] | None) -> dict[tuple[str, str], float]:
    """The criteria and scales that count, and how much: by the first pattern that fits."""
    kinds = Counter(map(_kind, rows))
    if criteria is None:
        return {min(kinds, key=lambda kind: (-kinds[kind], kind)): 1.0} if kinds else {}
    out = {}
    for kind in sorted(kinds):
        weight = next((float(w) for name, w in criteria.items() if fnmatchcase(kind[0], name)), 0.0)
        if weight > 0:
            out[kind] = weight
    return out


def _ranks(means: Mapping[int, float]) -> dict[int, float]:
    """The share of the others that each is better than, ties as a half; one alone has no rank.

    >>> _ranks({0: 5.0, 1: 3.0, 2: 3.0})
    {0: 1.0, 1: 0.25, 2: 0.25}
    """
    if len(means) < 2:
        return {}
    values = list(means.values())
    share = {n: sum((v > w) + (v == w) / 2 for w in values) - 0.5 for n, v in means.items()}
    return {n: worse / (len(means) - 1) for n, worse in share.items()}


def _agreement(by_caption: Mapping[int, Mapping[str, Sequence[float]]]) -> list[float]:
    """Kendall's tau-b of every two raters of a picture, over the captions that both rated."""
    names = sorted({name for by in by_caption.values() for name in by if name})
    out = []
    for a, b in itertools.combinations(names, 2):
        both = [by for by in by_caption.values() if a in by and b in by]
        tau = kendall([fmean(by[a]) for by in both], [fmean(by[b]) for by in both])
        if tau is not None:
            out.append(tau)
    return out
