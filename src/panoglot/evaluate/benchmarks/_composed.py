"""Composed retrieval: CIRCO, CIRR, FashionIQ. Scores ranked lists, and reads and writes the official submission files.

Files (annotations are not shipped):
- CIRCO `annotations/val.json` (github.com/miccunifi/CIRCO, CC BY-NC 4.0): `id, reference_img_id, target_img_id,
  gt_img_ids, semantic_aspects`;
- CIRR `cap.rc2.val.json` (github.com/Cuberick-Orion/CIRR): `pairid, reference, target_hard, img_set.members`;
- FashionIQ `cap.<category>.val.json` (github.com/XiaoxiaoGuo/fashion-iq): `candidate, target, captions`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.checks import check_option, offenders
from panoglot.errors import UserError
from panoglot.formats.triples import fashion_iq_text
from panoglot.metrics._results import ResultSet
from panoglot.metrics.ranking._metrics import metric_name
from panoglot.metrics.ranking.rankings import rankings, subset_recall

__all__ = ["circo", "cirr", "fashion_iq", "fashion_iq_text", "read_submission", "write_submission"]

_HEADERS = ("version", "metric")
#: Benchmark (and CIRR's subset) to the number of names in a list of the official server.
_DEPTH = {"circo": 50, "cirr": 50, "cirr-subset": 3}


def _load(path: str | os.PathLike[str], what: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {what} at {path}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}).") from None


def read_submission(path: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, list[str]]:
    """Read ranked lists by query id; CIRR's two headers are left out, ids and names are strings.

    Raises:
        UserError: not an object of lists.
    """
    data = path if isinstance(path, Mapping) else _load(path, "file of rankings")
    if not isinstance(data, Mapping):
        raise UserError("rankings must be one JSON object: query id to a list of names, best first.")
    rows = {str(query): row for query, row in data.items() if query not in _HEADERS}
    odd = [query for query, row in rows.items() if not isinstance(row, Sequence) or isinstance(row, str)]
    if odd or not rows:
        raise UserError(f"{len(odd)} rankings are not lists of names: {offenders(odd)}.")
    return {query: [str(name) for name in row] for query, row in rows.items()}


def write_submission(ranked: Mapping[Any, Sequence[Any]], path: str | os.PathLike[str], benchmark: str) -> Path:
    """Write a submission file for the official server.

    Args:
        ranked: names by query id, best first (CIRR: the reference taken out already).
        path: of the file.
        benchmark: `circo` (50 ids, as numbers), `cirr` (50 names), `cirr-subset` (3 names).

    Raises:
        UserError: lists that are too short, or hold a name twice.
    """
    check_option("benchmark", benchmark, _DEPTH)
    depth = _DEPTH[benchmark]
    bad = [query for query, row in ranked.items() if len(row) < depth or len(set(row[:depth])) < depth]
    if bad:
        raise UserError(f"{len(bad)} lists have fewer than {depth} different names: {offenders(bad)}.")
    data: dict[str, Any] = {}
    if benchmark != "circo":
        data = {"version": "rc2", "metric": "recall" if benchmark == "cirr" else "recall_subset"}
    for query, row in ranked.items():
        data[str(query)] = [int(name) if benchmark == "circo" else str(name) for name in row[:depth]]
    target = Path(path)
    target.write_text(json.dumps(data), encoding="utf-8")
    return target


def _asked(metrics: Sequence[str], own: Sequence[str]) -> list[str]:
    return [metric_name(name) for name in metrics] or list(own)


def circo(ranked: Any, annotations: Any, *, metrics: Sequence[str] = (), confidence: float | None = None) -> ResultSet:
    """CIRCO: mAP@5, 10, 25, 50 over all ground truths, R@k of the one target, mAP@10 by semantic aspect.

    Args:
        ranked: a submission file or mapping.
        annotations: `val.json`, or its rows.
        metrics: names; recall is that of the one target, others take all ground truths. Without any the benchmark's.
        confidence: level of a bootstrap interval.
    """
    lists = read_submission(ranked)
    rows = {str(row["id"]): row for row in _rows(annotations, ("id", "target_img_id", "gt_img_ids"))}
    truth = {query: [str(name) for name in row["gt_img_ids"]] for query, row in rows.items()}
    asked = _asked(metrics, [f"{kind}@{k}" for kind in ("map", "recall") for k in (5, 10, 25, 50)])
    of_target = [name for name in asked if name.startswith("recall")]
    of_all = [name for name in asked if name not in of_target]
    target = {query: str(row["target_img_id"]) for query, row in rows.items()}
    found = ResultSet()
    if of_all:
        found["mAP"] = rankings(lists, truth, metrics=of_all, name="circo", confidence=confidence)
    if of_target:
        found["recall"] = rankings(lists, target, metrics=of_target, name="circo", confidence=confidence)
    aspects: dict[str, list[str]] = {}
    for query, row in rows.items():
        for aspect in row.get("semantic_aspects") or ():
            aspects.setdefault(str(aspect), []).append(query)
    for aspect, queries in sorted(aspects.items()):
        mine = {query: lists[query] for query in queries}
        result = rankings(mine, {query: truth[query] for query in queries}, metrics=["map@10"])
        found.summary[f"mAP@10/{aspect}"] = result.value
    return found


def cirr(
    ranked: Any,
    annotations: Any,
    *,
    subset: Any = None,
    metrics: Sequence[str] = (),
    confidence: float | None = None,
) -> ResultSet:
    """CIRR: R@1, 5, 10, 50 without the reference picture, Rsub@1, 2, 3, and the mean of R@5 and Rsub@1.

    Args:
        ranked: a submission file or mapping.
        annotations: `cap.rc2.val.json`, or its rows.
        subset: the submission of the subset; None takes the group's order from `ranked`.
        metrics: names, of the whole gallery; without any the benchmark's.
        confidence: level of a bootstrap interval.
    """
    lists = read_submission(ranked)
    groups = read_submission(subset) if subset is not None else lists
    rows = {str(row["pairid"]): row for row in _rows(annotations, ("pairid", "reference", "target_hard"))}
    target = {query: row["target_hard"] for query, row in rows.items()}
    reference = {query: row["reference"] for query, row in rows.items()}
    found = ResultSet(
        {
            "recall": rankings(
                lists, target, metrics=_asked(metrics, [f"recall@{k}" for k in (1, 5, 10, 50)]), name="cirr",
                exclude={query: [name] for query, name in reference.items()}, confidence=confidence,
            )
        }
    )  # fmt: skip
    if all("members" in (row.get("img_set") or {}) for row in rows.values()):
        members = {query: row["img_set"]["members"] for query, row in rows.items()}
        found["subset"] = subset_recall(groups, target, members, references=reference, confidence=confidence)
        at5, sub1 = found["recall"].parts.get("recall@5"), found["subset"].parts["recall@1"]
        if "recall@5" in found["recall"].parts:
            found.summary["mean(R@5, Rsub@1)"] = None if at5 is None or sub1 is None else (at5 + sub1) / 2
    else:
        found.notes = ("the annotations have no groups (img_set.members): no subset recall",)
    return found


def fashion_iq(
    ranked: Mapping[str, Any],
    annotations: Mapping[str, Any],
    *,
    metrics: Sequence[str] = (),
    confidence: float | None = None,
) -> ResultSet:
    """FashionIQ: R@10 and R@50 of each category and their means over categories.

    Args:
        ranked: for each category (`dress`, `shirt`, `toptee`) ranked lists by query number (row of the annotations).
        annotations: for each category the file `cap.<category>.val.json`, or its rows.
        metrics: names; R@10 and R@50 without any.
        confidence: level of bootstrap intervals.
    """
    asked = _asked(metrics, ["recall@10", "recall@50"])
    if set(ranked) != set(annotations) or not ranked:
        raise UserError(
            f"rankings are of {offenders(sorted(ranked))}, annotations of {offenders(sorted(annotations))}."
        )
    found = ResultSet()
    for category in ranked:
        rows = _rows(annotations[category], ("target", "candidate"))
        truth = {str(n): row["target"] for n, row in enumerate(rows)}
        lists = read_submission(ranked[category])
        found[category] = rankings(lists, truth, metrics=asked, name=f"fashion-iq/{category}", confidence=confidence)
    for metric in asked:
        values = [result.parts[metric] for result in found.values()]
        found.summary[f"mean/{metric}"] = (
            sum(value or 0.0 for value in values) / len(values) if None not in values else None
        )
    return found


def _rows(annotations: Any, columns: Sequence[str]) -> list[dict[str, Any]]:
    rows = _load(annotations, "annotations") if isinstance(annotations, str | os.PathLike) else list(annotations)
    odd = [f"row {n}" for n, row in enumerate(rows) if any(column not in row for column in columns)]
    if odd or not rows:
        raise UserError(f"{len(odd)} rows of the annotations lack {', '.join(columns)}: {offenders(odd)}.")
    return rows


def category_of(path: str | os.PathLike[str]) -> str:
    """The category in a FashionIQ file's name.

    >>> category_of("captions/cap.dress.val.json")
    'dress'
    """
    match = re.search(r"\b(dress|shirt|toptee)\b", Path(path).name)
    if match is None:
        raise UserError(f"{path}: the file's name says no category (dress, shirt, toptee).")
    return match[1]
