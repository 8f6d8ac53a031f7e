"""Many models on many tasks: means, and the Borda count, which does not depend on one lucky task (MMTEB, ICLR 2025)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from panoglot.checks import offenders
from panoglot.errors import UserError
from panoglot.formats._json import read_json
from panoglot.metrics._load import load_results
from panoglot.metrics._mteb_results import is_mteb, read_folder, results_of
from panoglot.metrics._result import FORMAT, MetricResult
from panoglot.metrics.preference.agreement import average_ranks

__all__ = ["Standing", "Standings", "read_standings", "standings", "standings_of"]


@dataclass(frozen=True)
class Standing:
    """A model's line.

    Attributes:
        model: name.
        rank: by Borda points; equal points share the best rank.
        points: Borda points: for each task, models that it beats, ties by half.
        mean: over tasks; None when it lacks any.
        mean_by_type: mean of the means of the task types; None when it lacks any.
        tasks: how many it has.
        zero_shot: percent of the tasks that it was not trained on, cut to a whole number; None where nobody says.
    """

    model: str
    rank: int
    points: float
    mean: float | None
    mean_by_type: float | None
    tasks: int
    zero_shot: int | None = None


@dataclass(frozen=True)
class Standings:
    """All models, best first.

    Attributes:
        rows: a line a model.
        tasks: names of the tasks.
        scores: by task, by model.
        notes: what a reader must know.
        made: what it was made of, see `ResultSet`.
    """

    rows: tuple[Standing, ...]
    tasks: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether any model has a score."""
        return any(row.tasks for row in self.rows)

    def to_json(self) -> str:
        """JSON with sorted keys, one value a line."""
        kind = "borda" if len(self.tasks) > 1 else "order of one task"
        data = {"format": FORMAT, "metric": kind, "version": "2", **asdict(self)}
        return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False)

    def table(self) -> str:
        """A line a model."""
        wide = max(len(row.model) for row in self.rows)
        told = any(row.zero_shot is not None for row in self.rows)
        lines = [f"      {'model':<{wide}}   points     mean  by type  tasks{'  zero-shot' if told else ''}"]
        for row in self.rows:
            means = [f"{value:8.4f}" if value is not None else "    null" for value in (row.mean, row.mean_by_type)]
            lines.append(
                f"{row.rank:>4}  {row.model:<{wide}} {row.points:8.1f} {' '.join(means)} "
                f"{row.tasks:>4}/{len(self.tasks)}"
                + (f"  {row.zero_shot} %" if row.zero_shot is not None else "  unknown" if told else "")
            )
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def standings(
    scores: Mapping[str, Mapping[str, float | None]],
    types: Mapping[str, str] | None = None,
    scales: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    trained: Mapping[str, Sequence[str]] | None = None,
) -> Standings:
    """Rank models.

    A model that lacks a task gets no points there, and no mean: means over different tasks do not compare.

    Args:
        scores: by task, by model; larger is better; None is missing. A task's score is the mean over its languages.
        types: type of each task, for `mean_by_type`; None takes all as one.
        scales: what each task's scores are measured in (its metric): scores of different scales have no mean, ranks
            have. None takes all as one.
        notes: what a reader must know.
        trained: tasks that each model was trained on.

    Raises:
        UserError: no models, or tasks without a type.

    >>> found = standings({"t": {"A": 0.9, "B": 0.8, "C": 0.7}, "u": {"A": 0.5, "B": 0.5, "C": 0.3},
    ...                    "v": {"A": 0.4, "B": 0.6, "C": 0.6}})
    >>> [(row.model, row.points) for row in found.rows]
    [('B', 4.0), ('A', 3.5), ('C', 1.5)]
    """
    models = sorted({model for row in scores.values() for model in row})
    if not models:
        raise UserError("there are no scores to rank.")
    untyped = [task for task in scores if types is not None and task not in types]
    if untyped:
        raise UserError(f"{len(untyped)} tasks have no type: {offenders(untyped)}.")
    remarks = list(notes)
    measured = sorted({scales.get(task, "") for task in scores}) if scales else [""]
    if len(measured) > 1:
        remarks.append(f"tasks are measured in {offenders(measured)}: such scores have no mean; the points hold")
    if len(scores) == 1:
        remarks.append("one task: this is the order of its scores, not a Borda rank, which wants several tasks")
    have: dict[str, dict[str, float]] = {model: {} for model in models}
    points = dict.fromkeys(models, 0.0)
    for task, row in scores.items():
        valid = {model: float(v) for model, v in row.items() if v is not None and not math.isnan(v)}
        for model, place in zip(valid, average_ranks(list(valid.values())).tolist() if valid else []):
            # ranks from the worst, 1; those that lack the task are beaten too
            points[model] += place - 1 + len(models) - len(valid)
            have[model][task] = valid[model]
    rows = []
    for model in models:
        whole = len(have[model]) == len(scores)
        groups: dict[str, list[float]] = {}
        for task, value in have[model].items():
            groups.setdefault(types[task] if types is not None else "", []).append(value)
        means = [sum(group) / len(group) for group in groups.values()]
        whole = whole and len(measured) == 1
        mean = sum(have[model].values()) / len(scores) if whole else None
        by_type = sum(means) / len(means) if whole else None
        rank = 1 + sum(points[other] > points[model] for other in models)
        seen = sum(task in trained[model] for task in scores) if trained and model in trained else None
        fresh = int(100 - 100 * seen / len(scores)) if seen is not None else None
        rows.append(Standing(model, rank, points[model], mean, by_type, len(have[model]), fresh))
    order = tuple(sorted(rows, key=lambda row: (row.rank, row.model)))
    return Standings(order, tuple(scores), scores, tuple(remarks))


def standings_of(
    tables: Mapping[str, MetricResult],
    types: Mapping[str, str] | None = None,
    trained: Mapping[str, Sequence[str]] | None = None,
) -> Standings:
    """Rank models by results whose items are tasks of `mteb`; a task without some subset that others have is missing.

    Args:
        tables: `load_mteb(by="all")["tasks"]` by model.
        types: type of each task.
        trained: tasks that each model was trained on.
    """
    parts: dict[str, set[str]] = {}
    for table in tables.values():
        for task, mine in zip(table.ids, table.details or [()] * len(table.ids)):
            parts.setdefault(task, set()).update(mine or ())
    scores: dict[str, dict[str, float | None]] = {task: dict.fromkeys(tables) for task in parts}
    short: list[str] = []
    revisions: dict[str, set[Any]] = {}
    for name, table in tables.items():
        said = table.options.get("revisions") or {}
        for task, value, mine in zip(table.ids, table.per_item or (), table.details or [()] * len(table.ids)):
            lacks = len(parts[task] - set(mine or ()))
            if lacks:
                short.append(f"{task} of {name} (lacks {lacks} of {len(parts[task])} subsets)")
            else:
                scores[task][name] = value
            revisions.setdefault(task, set()).add(said.get(task))
    notes = [f"{len(short)} scores are missing, for they stand for fewer subsets: {offenders(short)}"] if short else []
    odd = sorted(task for task, seen in revisions.items() if len(seen) > 1)
    if odd:
        notes.append(f"{len(odd)} tasks have data of different revisions: {offenders(odd)}")
    return standings(scores, types, notes=notes, trained=trained)


def read_standings(
    paths: Sequence[str | os.PathLike[str]],
    *,
    lang: Sequence[str] = (),
    split: str | None = None,
    types: Mapping[str, str] | None = None,
    trained: Mapping[str, Sequence[str]] | None = None,
) -> Standings:
    """Rank the models of result files, one a model, called as the file, or as its folder where files are called alike.

    Files and folders of `mteb`'s results are tasks of the model that their folder (`<model>/<revision>`) is called by.

    Each result of a file (a language, a direction, a metric) is a task. Files of Babel-ImageNet's repository
    (`{"meta": …, "results": [{lang, prompt, accuracy}]}`) are read too: a language's task is its accuracy with prompts
    where it has some, else with bare labels.

    Args:
        paths: files, or folders of `mteb`'s.
        lang: languages that count; all without any. A result belongs to the language that it is called by.
        split: of `mteb`'s results: the split that counts, where a task has several.
        types: type of each task, for the mean of the means of types.
        trained: tasks that each model was trained on.

    Raises:
        UserError: results of different metrics, versions, languages or tokenisers, two models of one name, nothing in
            common.
    """
    tasks = _mteb_tables(paths, split)
    if tasks is not None:
        if lang:
            raise UserError("lang= chooses among results of ours; of mteb's, give files of the tasks that count.")
        return standings_of(tasks, types, trained)
    tables: dict[str, dict[str, float | None]] = {}
    kinds: dict[str, dict[str, str]] = {}
    for model, path in _names(paths).items():
        data = read_json(path) if not Path(path).is_dir() else None
        rows = data.get("results") if isinstance(data, dict) else None
        kinds[model] = {}
        if isinstance(rows, list):
            tables[model] = _published(rows, path)
            continue
        results = load_results(path)
        tables[model] = {name: result.value for name, result in results.items()}
        kinds[model] = {
            name: ", ".join(filter(None, [f"{one.metric}/{one.version}", one.language, one.tokenizer]))
            for name, one in results.items()
        }
    scores: dict[str, dict[str, float | None]] = {}
    for model, table in tables.items():
        for task, value in table.items():
            if not lang or task.split("/")[0] in lang:
                scores.setdefault(task, {})[model] = value
    scales: dict[str, str] = {}
    for task in scores:
        said = sorted({kinds[model][task] for model in kinds if task in kinds[model]})
        if len(said) > 1:
            raise UserError(
                f"'{task}' is of different metrics, versions, languages or tokenisers: {offenders(said)}: ranks of "
                "such scores mean nothing. Score all models in the same way."
            )
        scales[task] = said[0].partition("/")[0] if said else ""
    if not scores:
        raise UserError(f"there are no results in {offenders(lang or paths)}.")
    return standings(scores, types, scales=scales, trained=trained)


def _names(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    """Files by the shortest ends of their paths that tell them apart, without the file's ending.

    >>> list(_names(["a/x.json", "b/x.json"])), list(_names(["a/x.json", "b/y.json"]))
    (['a', 'b'], ['x', 'y'])
    """
    files = [Path(path) for path in paths]
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        deep = max(len(file.parts) for file in files)
        parts = [["", *[""] * (deep - len(file.parts)), *file.with_suffix("").parts] for file in files]
        differ = [at for at in range(deep + 1) if len({row[at] for row in parts}) > 1]
        names = ["/".join(row[at] for at in differ if row[at]) for row in parts]
    if len(set(names)) < len(names):
        raise UserError("one file is given twice: a model is called as its file.")
    return dict(zip(names, files))


def _mteb_tables(paths: Sequence[str | os.PathLike[str]], split: str | None) -> dict[str, MetricResult] | None:
    """Tasks by model where all paths are results of `mteb`; else None."""
    folders: dict[Path, list[dict[str, Any]]] = {}
    for path in map(Path, paths):
        if path.is_dir():
            for where, found in read_folder(path).items():
                folders.setdefault((path / where).absolute(), []).extend(found)
        elif path.suffix == ".json" and is_mteb(read_json(path)):
            for found in read_folder(path).values():
                folders.setdefault(path.absolute().parent, []).extend(found)
        else:
            return None
    rows: dict[str, list[dict[str, Any]]] = {}
    for folder, found in folders.items():
        name = _model(folder)
        known = {row["task"] for row in rows.get(name, ())}
        if known & {row["task"] for row in found}:  # another model, or another revision, that is called alike
            name = f"{folder.parent.name}/{folder.name}"
        rows.setdefault(name, []).extend(found)
    return {name: results_of(found, "all", None, name, split)["tasks"] for name, found in rows.items()}


def _model(folder: Path) -> str:
    """The model that a folder of `mteb`'s results is of: `<model>/<revision>/` has its model above it."""
    revision = folder.name
    hexadecimal = len(revision) >= 7 and all(c in "0123456789abcdef" for c in revision.lower())
    named = hexadecimal or revision in ("no_revision_available", "external", "main", "None", "none")
    if (folder / "model_meta.json").is_file() or named:
        return folder.parent.name or revision
    return revision


def _published(rows: Sequence[Mapping[str, Any]], path: Any) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    try:
        for row in sorted(rows, key=lambda row: row["prompt"] != "label"):  # prompts come last and win
            found[str(row["lang"]).lower()] = float(row["accuracy"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no results ({type(error).__name__}: {error}).") from None
    return found
