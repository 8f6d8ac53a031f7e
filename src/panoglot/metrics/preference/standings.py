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
from panoglot.evaluate._read import read_json
from panoglot.metrics._load import load_results
from panoglot.metrics._result import FORMAT
from panoglot.metrics.preference.agreement import average_ranks

__all__ = ["Standing", "Standings", "read_standings", "standings"]


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
    """

    model: str
    rank: int
    points: float
    mean: float | None
    mean_by_type: float | None
    tasks: int


@dataclass(frozen=True)
class Standings:
    """All models, best first.

    Attributes:
        rows: a line a model.
        tasks: names of the tasks.
        scores: by task, by model.
    """

    rows: tuple[Standing, ...]
    tasks: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    def to_json(self) -> str:
        """JSON with sorted keys, one value a line."""
        data = {"format": FORMAT, "metric": "borda", "version": "1", **asdict(self)}
        return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False)

    def table(self) -> str:
        """A line a model."""
        wide = max(len(row.model) for row in self.rows)
        lines = [f"      {'model':<{wide}}   points     mean  by type  tasks"]
        for row in self.rows:
            means = [f"{value:8.4f}" if value is not None else "    null" for value in (row.mean, row.mean_by_type)]
            lines.append(
                f"{row.rank:>4}  {row.model:<{wide}} {row.points:8.1f} {' '.join(means)} "
                f"{row.tasks:>4}/{len(self.tasks)}"
            )
        return "\n".join(lines)


def standings(scores: Mapping[str, Mapping[str, float | None]], types: Mapping[str, str] | None = None) -> Standings:
    """Rank models.

    A model that lacks a task gets no points there, and no mean: means over different tasks do not compare.

    Args:
        scores: by task, by model; larger is better; None is missing. A task's score is the mean over its languages.
        types: type of each task, for `mean_by_type`; None takes all as one.

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
        mean = sum(have[model].values()) / len(scores) if whole else None
        by_type = sum(means) / len(means) if whole else None
        rank = 1 + sum(points[other] > points[model] for other in models)
        rows.append(Standing(model, rank, points[model], mean, by_type, len(have[model])))
    return Standings(tuple(sorted(rows, key=lambda row: (row.rank, row.model))), tuple(scores), scores)


def read_standings(paths: Sequence[str | os.PathLike[str]], *, lang: Sequence[str] = ()) -> Standings:
    """Rank the models of result files, one a model, called as the file.

    Each result of a file (a language, a direction, a metric) is a task. Files of Babel-ImageNet's repository
    (`{"meta": …, "results": [{lang, prompt, accuracy}]}`) are read too: a language's task is its accuracy with prompts
    where it has some, else with bare labels.

    Args:
        paths: files.
        lang: languages that count; all without any. A result belongs to the language that it is called by.

    Raises:
        UserError: results of different metrics or versions, two files of one name, nothing in common.
    """
    tables: dict[str, dict[str, float | None]] = {}
    kinds: dict[str, dict[str, str]] = {}
    for path in paths:
        model = Path(path).stem
        if model in tables:
            raise UserError(f"two files are called '{model}': a model is called as its file.")
        data = read_json(path) if not Path(path).is_dir() else None
        rows = data.get("results") if isinstance(data, dict) else None
        kinds[model] = {}
        if isinstance(rows, list):
            tables[model] = _published(rows, path)
            continue
        results = load_results(path)
        tables[model] = {name: result.value for name, result in results.items()}
        kinds[model] = {name: f"{result.metric}/{result.version}" for name, result in results.items()}
    scores: dict[str, dict[str, float | None]] = {}
    for model, table in tables.items():
        for task, value in table.items():
            if not lang or task.split("/")[0] in lang:
                scores.setdefault(task, {})[model] = value
    for task in scores:
        said = sorted({kinds[model][task] for model in kinds if task in kinds[model]})
        if len(said) > 1:
            raise UserError(f"'{task}' is of different metrics or versions: {offenders(said)}.")
    if not scores:
        raise UserError(f"there are no results in {offenders(lang or paths)}.")
    return standings(scores)


def _published(rows: Sequence[Mapping[str, Any]], path: Any) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    try:
        for row in sorted(rows, key=lambda row: row["prompt"] != "label"):  # prompts come last and win
            found[str(row["lang"]).lower()] = float(row["accuracy"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no results ({type(error).__name__}: {error}).") from None
    return found
