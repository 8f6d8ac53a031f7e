"""A small benchmark out of a large pool: tasks whose scores the others predict are left out (MMTEB, ICLR 2025).

Source: arXiv 2502.13595, and `scripts/task_selection` of github.com/embeddings-benchmark/mteb: every task's scores are
predicted from those of the other tasks by linear regression, one model left out after the other; the task that is
predicted best goes, until the best is no longer good enough or nothing may go. Where there are more tasks than models
the regression is the one of least norm, as there.
"""

from __future__ import annotations

import ast
import csv
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.checks import offenders
from panoglot.errors import UserError
from panoglot.metrics._result import FORMAT
from panoglot.metrics.preference.agreement import pearson, spearman

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Removed", "Selection", "TaskFacts", "predictability", "read_task_facts", "select_tasks"]

#: Ends and names of languages that are none that people speak.
_CODE = frozenset(
    "python javascript typescript java go ruby php c c++ c# rust swift scala shell sql r html css".split()
)
_NO_LICENCE = frozenset(["", "unknown", "not specified", "none"])


@dataclass(frozen=True)
class TaskFacts:
    """What is known of a task.

    Attributes:
        type: for example `Retrieval`.
        langs: languages, as the file has them.
        licence: of its data; `unknown` is none.
    """

    type: str = ""
    langs: tuple[str, ...] = ()
    licence: str = "given by nobody"


def read_task_facts(path: str | os.PathLike[str]) -> dict[str, TaskFacts]:
    """Read a table of tasks: CSV with `Name, Type, Languages, License`, as in mteb's repository.

    Raises:
        UserError: no such file, or other columns.
    """
    found: dict[str, TaskFacts] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                langs = _several(row["Languages"])
                found[row["Name"]] = TaskFacts(row["Type"].strip(), langs, (row.get("License") or "").strip())
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is no table of tasks: CSV with Name, Type, Languages, License ({error}).") from None
    if not found:
        raise UserError(f"{path} has no tasks.")
    return found


def _several(text: str) -> tuple[str, ...]:
    """Languages of a cell: a list or set as Python writes it, or words."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text.replace(",", " ").split()
    return tuple(sorted(map(str, value))) if isinstance(value, list | set | tuple) else (str(value),)


@dataclass(frozen=True)
class Removed:
    """A task that was left out.

    Attributes:
        task: its name.
        why: `predictable`, `constant`, `licence`, `code`, `dropped`, or `incomplete`: not all models have it.
        spearman: of its scores and the predicted ones.
        pearson: of both.
        mse: of both, in standard deviations of its scores, squared.
    """

    task: str
    why: str
    spearman: float | None = None
    pearson: float | None = None
    mse: float | None = None


@dataclass(frozen=True)
class Selection:
    """What is kept, and why the others are not.

    Attributes:
        kept: names.
        removed: in the order in which they went.
        models: whose scores it was decided by.
        types: how many tasks of each type are kept.
        options: the settings.
        notes: what a reader must know.
        made: what it was made of.
    """

    kept: tuple[str, ...]
    removed: tuple[Removed, ...]
    models: tuple[str, ...]
    types: Mapping[str, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """JSON with sorted keys, one value a line."""
        data = {"format": FORMAT, "metric": "task selection", "version": "1", **asdict(self)}
        return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False)

    def table(self) -> str:
        """What went, in order, and what is left."""
        wide = max((len(one.task) for one in self.removed), default=0)
        lines = []
        for one in self.removed:
            figures = f"   rho {one.spearman:.3f}   mse {one.mse:.3f}" if one.mse is not None else ""
            lines.append(f"- {one.task:<{wide}}   {one.why}{figures}")
        kinds = ", ".join(f"{count} {kind or 'tasks'}" for kind, count in self.types.items())
        whole = len(self.kept) + len(self.removed)
        lines.append(f"{len(self.kept)} of {whole} tasks kept, by {len(self.models)} models: {kinds}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def predictability(scores: np.ndarray) -> np.ndarray:
    """Predict every task from the others, each model by the other models: float `[M, T]` as the scores are.

    The least-norm linear regression with an intercept, by its kernel: the products of the models over the other tasks.

    Args:
        scores: float `[M, T]`, a model a row.
    """
    import numpy as np

    scores = np.asarray(scores, np.float64)
    models, tasks = scores.shape
    found = np.empty((models, tasks))
    for left in range(models):
        rest = np.delete(scores, left, axis=0)
        middle = rest.mean(axis=0)
        rest, mine = rest - middle, scores[left] - middle
        # of all tasks, less the one that is predicted
        kernel = (rest @ rest.T)[None] - rest.T[:, :, None] * rest.T[:, None, :]
        near = (rest @ mine)[None] - rest.T * mine[:, None]
        inverse = np.linalg.pinv(kernel, rcond=1e-12, hermitian=True)
        found[left] = middle + np.einsum("tm,tmn,nt->t", near, inverse, rest)
    return found


def _figures(scores: np.ndarray, names: Sequence[str]) -> list[Removed]:
    """How well each task is predicted, best first: by rank correlation, then by error, then by name."""
    predicted = predictability(scores)
    found = []
    for n, name in enumerate(names):
        own, other = scores[:, n], predicted[:, n]
        spread = float(own.std())
        error = float((((own - other) / spread) ** 2).mean()) if spread else None
        x, y = own.tolist(), other.tolist()
        found.append(Removed(name, "predictable", spearman(x, y), pearson(x, y), error))
    return sorted(found, key=lambda one: (-(one.spearman or -2.0), one.mse if one.mse is not None else 9e9, one.task))


def select_tasks(
    scores: Mapping[str, Mapping[str, float | None]],
    facts: Mapping[str, TaskFacts] | None = None,
    *,
    keep: Collection[str] = (),
    drop: Collection[str] = (),
    min_spearman: float = 0.8,
    max_mse: float = 0.5,
) -> Selection:
    """Leave out the tasks that the others predict, one after the other.

    Left out first, unless they are to be kept: those whose scores are the same for all models, whose licence is
    unknown, that are of programming languages, that are to be dropped (too large, say), and those that a model lacks.

    Args:
        scores: by task, by model, as in `standings`.
        facts: of each task; without them all are of one type and no language.
        keep: tasks that stay in any case.
        drop: tasks that go in any case.
        min_spearman: a task goes when scores and predictions correlate so much, by rank,
        max_mse: and when the error is at most this, in standard deviations, squared; and when it is neither the last of
            its type nor the last of its type in one of its languages.

    Raises:
        UserError: fewer than four models or three tasks, names that are not there.
    """
    import numpy as np

    known = facts or {}
    strange = sorted({*keep, *drop} - set(scores))
    if strange:
        raise UserError(f"{len(strange)} tasks have no scores: {offenders(strange)}.")
    if both := sorted(set(keep) & set(drop)):
        raise UserError(f"{len(both)} tasks are to be kept and dropped: {offenders(both)}.")
    models = sorted({model for row in scores.values() for model in row})
    of = {task: known.get(task, TaskFacts()) for task in scores}
    removed = []
    for task, row in scores.items():
        why = "" if task in keep else _unfit(row, models, of[task], task in drop)
        if any(row.get(model) is None for model in models):
            why = "incomplete"
        if why:
            removed.append(Removed(task, why))
    gone = {one.task for one in removed}
    left = [task for task in scores if task not in gone]
    if len(models) < 4 or len(left) < 3:
        raise UserError(f"{len(models)} models and {len(left)} tasks that all of them have; 4 and 3 are needed.")
    table = np.array([[scores[task][model] for task in left] for model in models], np.float64)
    while len(left) > 2:
        good = [
            one for one in _figures(table, left)
            if (one.spearman or 0.0) >= min_spearman and one.mse is not None and one.mse <= max_mse
        ]  # fmt: skip
        best = next((one for one in good if one.task not in keep and _may_go(one.task, left, of)), None)
        if best is None:
            break
        removed.append(best)
        table = np.delete(table, left.index(best.task), axis=1)
        left.remove(best.task)
    kinds = [of[task].type for task in left]
    notes = [f"decided by {len(models)} models: fewer models select for these"] if len(models) < 10 else []
    bare = [task for task in scores if facts is not None and task not in facts]
    notes += [f"{len(bare)} tasks are not in the table of tasks: {offenders(bare)}"] if bare else []
    return Selection(
        tuple(left), tuple(removed), tuple(models), {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        {"min_spearman": min_spearman, "max_mse": max_mse, "keep": sorted(keep), "drop": sorted(drop)}, tuple(notes),
    )  # fmt: skip


def _unfit(row: Mapping[str, float | None], models: Iterable[str], facts: TaskFacts, dropped: bool) -> str:
    if dropped:
        return "dropped"
    if facts.licence.lower() in _NO_LICENCE:
        return "licence"
    if any(lang.lower().endswith("-code") or lang.lower() in _CODE for lang in facts.langs):
        return "code"
    return "constant" if len({row.get(model) for model in models}) == 1 else ""


def _may_go(task: str, left: Sequence[str], of: Mapping[str, TaskFacts]) -> bool:
    """Not the last of its type, nor the last of its type in a language."""
    alike = [of[other] for other in left if other != task and of[other].type == of[task].type]
    return bool(alike) and all(any(lang in other.langs for other in alike) for lang in of[task].langs)
