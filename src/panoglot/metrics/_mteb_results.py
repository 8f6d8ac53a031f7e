"""Result files of `mteb`, of every age, as results of ours. The package itself is not needed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.checks import check_option, offenders
from panoglot.errors import UserError, require
from panoglot.languages._tags import UNKNOWN_LANGUAGE, parse_language
from panoglot.metrics._result import mean_result
from panoglot.metrics._results import ResultSet

__all__ = ["is_mteb", "load_mteb", "read_folder", "read_new", "results_of", "tag_of"]

#: Main scores of results from before mteb 1.11, which do not say them: the first that is there.
_MAIN = ("ndcg_at_10", "v_measure", "cos_sim/spearman", "max/ap", "cos_sim/ap", "map", "accuracy")


def load_mteb(
    path: str | os.PathLike[str],
    *,
    by: str | None = None,
    types: Mapping[str, str] | None = None,
    model: str | None = None,
    split: str | None = None,
) -> ResultSet:
    """Read result files of `mteb`, of before version 1.11 too, so that `compare` can take them. `mteb` is not needed.

    Args:
        path: a task's JSON file, or a folder of them (a model's in `results/<model>/<revision>/`).
        by: what is one result: `all` (items are tasks), `task` (items are its subsets, mostly languages), `type` (items
            are tasks of a type) or `language` (items are tasks with it). None: `task` for a file, `all` for a folder.
        types: type of each task, for `by="type"`; without it `mteb` is asked, if it is installed.
        model: which model, where a folder has several.
        split: the split that counts, where a task has several.

    Returns:
        Main scores. A task's score is the unweighted mean over its subsets; scores that are missing or NaN are null.
        Item details say which split and subsets a score stands for: those of others do not compare.

    Raises:
        UserError: no results there, several models or revisions, several splits of a task, unknown types.
    """
    groups = read_folder(path)
    if model is not None:
        groups = {name: rows for name, rows in groups.items() if model in name.split(os.sep)}
    if len(groups) != 1:
        raise UserError(f"{path} has results of {len(groups)} models or revisions: {offenders(groups)}. Give one.")
    ((where, rows),) = groups.items()
    return results_of(rows, by or ("task" if Path(path).is_file() else "all"), types, model or where, split)


def read_folder(path: str | os.PathLike[str]) -> dict[str, list[dict[str, Any]]]:
    """Tasks of every folder below `path` that holds results of `mteb`, or of one file, by the folder's path.

    Raises:
        UserError: no results there.
    """
    source = Path(path)
    files = [source] if source.is_file() else sorted(source.rglob("*.json")) if source.is_dir() else []
    groups: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read as JSON ({error}).") from None
        if is_mteb(data):
            try:
                row = read_new(data) if "task_name" in data else _old(data)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise UserError(f"{file} is not a result of mteb ({type(error).__name__}: {error}).") from None
            groups.setdefault(str(file.parent.relative_to(source)) if source.is_dir() else "", []).append(row)
    if not groups:
        raise UserError(f"there are no results of mteb at {source}.")
    return groups


def is_mteb(data: Any) -> bool:
    """Whether a JSON object is a task's result of `mteb`."""
    return isinstance(data, dict) and (("task_name" in data and "scores" in data) or "mteb_dataset_name" in data)


def _score(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None


def read_new(data: Mapping[str, Any]) -> dict[str, Any]:
    """Layout since 1.11: `scores: {split: [{hf_subset, languages, main_score, …}]}`."""
    rows = [
        (split, str(one["hf_subset"]), [str(tag) for tag in one["languages"]], _score(one["main_score"]))
        for split, subsets in data["scores"].items()
        for one in subsets
    ]
    return {"task": data["task_name"], "revision": data.get("dataset_revision"), "rows": rows}


def _old(data: Mapping[str, Any]) -> dict[str, Any]:
    """Layout before 1.11: `<split>: {<language>: {…}}` or `<split>: {…}`; the main score has to be found."""
    rows = []
    for split, scores in data.items():
        if not isinstance(scores, dict) or split == "evaluation_phases":
            continue
        inner = {key: value for key, value in scores.items() if isinstance(value, dict) and key not in _KINDS}
        for subset, values in (inner or {"default": scores}).items():
            tags = subset.split("-") if subset != "default" else []
            rows.append((split, subset, tags, _score(_main(values))))
    return {"task": data["mteb_dataset_name"], "revision": data.get("dataset_revision"), "rows": rows}


#: Groups of scores of one subset, not subsets.
_KINDS = frozenset(
    ["cos_sim", "dot", "manhattan", "euclidean", "max", "similarity", "v_measures", "scores_per_experiment"]
)


def _main(values: Mapping[str, Any]) -> Any:
    if "main_score" in values:
        return values["main_score"]
    if "f1" in values and "precision" in values:  # bitext mining
        return values["f1"]
    for name in _MAIN:
        place: Any = values
        for key in name.split("/"):
            place = place.get(key) if isinstance(place, Mapping) else None
        if place is not None:
            return place
    raise ValueError(f"no main score among {offenders(values)}")


def one_split(rows: Sequence[dict[str, Any]], split: str | None) -> list[dict[str, Any]]:
    """Tasks with the scores of one split each.

    Raises:
        UserError: tasks with several splits and none chosen (their mean is a figure of its own), or without the chosen
            one.
    """
    several = [
        f"{row['task']} ({', '.join(sorted({one for one, *_ in row['rows']}))})"
        for row in rows
        if len({one for one, *_ in row["rows"]}) > 1
    ]
    if several and split is None:
        raise UserError(
            f"{len(several)} tasks have results of several splits, which do not mix: {offenders(several)}. Say which: "
            "split='test'."
        )
    if split is None:
        return list(rows)
    found = [{**row, "rows": [one for one in row["rows"] if one[0] == split]} for row in rows]
    bare = [row["task"] for row in found if not row["rows"]]
    if len(bare) == len(found):
        raise UserError(f"no task has results of the split '{split}': {offenders(bare)}.")
    return [row for row in found if row["rows"]]


def results_of(
    rows: Sequence[dict[str, Any]],
    by: str,
    types: Mapping[str, str] | None,
    model: str,
    split: str | None = None,
) -> ResultSet:
    """Results of tasks as results of ours, see `load_mteb`."""
    check_option("by", by, ("all", "task", "type", "language"))
    twice = {row["task"] for row in rows if sum(row["task"] == other["task"] for other in rows) > 1}
    if twice:
        raise UserError(f"{len(twice)} tasks have more than one result: {offenders(sorted(twice))}.")
    given, rows = len(rows), one_split(rows, split)
    means: dict[str, float | None] = {row["task"]: _mean([score for *_, score in row["rows"]]) for row in rows}
    parts = {row["task"]: sorted(f"{one}/{subset}" for one, subset, *_ in row["rows"]) for row in rows}
    groups: dict[str, dict[str, float | None]] = {}
    if by == "all":
        groups["tasks"] = means
    elif by == "type":
        kinds = types if types is not None else _types(list(means))
        untyped = [task for task in means if task not in kinds]
        if untyped:
            raise UserError(f"{len(untyped)} tasks have no type: {offenders(untyped)}.")
        for task, score in sorted(means.items()):
            groups.setdefault(kinds[task], {})[task] = score
    elif by == "task":
        for row in rows:
            groups[row["task"]] = {f"{split}/{subset}": score for split, subset, _, score in row["rows"]}
    else:
        scores: dict[tuple[str, str], list[float | None]] = {}
        for row in rows:
            for _, _, tags, score in row["rows"]:
                for tag in dict.fromkeys(map(tag_of, tags or [UNKNOWN_LANGUAGE])):
                    scores.setdefault((tag, row["task"]), []).append(score)
        for (tag, task), values in sorted(scores.items()):
            groups.setdefault(tag, {})[task] = _mean(values)
    revisions = {row["task"]: row["revision"] for row in rows}
    found = ResultSet()
    for name, items in groups.items():
        mine = [name] if by == "task" else list(items)
        found[name] = mean_result(
            "mteb", list(items.values()), version="2", ids=list(items), language=name if by == "language" else "",
            options={"by": by, "model": model, "revisions": {task: revisions[task] for task in mine}},
            details=None if by in ("task", "language") else tuple(parts[task] for task in items),
        )  # fmt: skip
    whole = [result for result in found.values() if result.value is not None]
    mean = sum(result.value or 0 for result in whole) / len(whole) if len(whole) == len(found) else None
    if by in ("task", "type") and len(found) > 1:
        found.summary[f"mean ({by})"] = mean
    short = [task for task, score in means.items() if score is None]
    if short:
        found.notes += (f"{len(short)} tasks have a null among their scores, and so have no mean: {offenders(short)}",)
    many = [f"{task} {len(parts[task])}" for task in means if len(parts[task]) > 1]
    if many and by in ("all", "type"):
        found.notes += (f"a task's score is the mean of the subsets in its file: {offenders(many)}",)
    if len(rows) < given:
        found.notes += (f"{given - len(rows)} tasks have no results of the split '{split}'",)
    return found


def _mean(scores: Sequence[float | None]) -> float | None:
    """The mean, or None when any is missing: means over different subsets do not compare."""
    have = [score for score in scores if score is not None]
    return sum(have) / len(have) if have and len(have) == len(scores) else None


def _types(tasks: Sequence[str]) -> dict[str, str]:
    package = require("mteb", "panoglot[mteb]", "finding the types of tasks (types= gives them without it)")
    known = {}
    for task in tasks:
        try:
            known[task] = str(package.get_task(task).metadata.type)
        except KeyError:
            continue
    return known


def tag_of(code: str) -> str:
    """Our tag of a code of `mteb`, which has members of macrolanguages and every script.

    >>> [tag_of(code) for code in ("swh-Latn", "cmn-Hant", "arb-Arab", "deu-Latn", "?")]
    ['sw', 'zh-Hant', 'ar', 'de', 'und']
    """
    import langcodes

    try:
        return parse_language(langcodes.standardize_tag(code, macro=True)) or UNKNOWN_LANGUAGE
    except langcodes.tag_parser.LanguageTagError:
        return UNKNOWN_LANGUAGE
