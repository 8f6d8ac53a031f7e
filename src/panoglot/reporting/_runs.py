"""What ran: the rows of `runs` as the page tells them, and the sum of every step over all runs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from panoglot.errors import many
from panoglot.formats import Unused
from panoglot.providers._secrets import redact
from panoglot.reporting._text import number
from panoglot.running._runs import GONE, is_running, paid_stages
from panoglot.table import Dataset

__all__ = ["Run", "Step", "read_runs", "steps_of_all", "unused_of"]

#: Runs whose details the page shows, the newest; sums are over all of them.
MOST_RUNS = 20
#: Counts of an ingest's notes: with them what was done adds up to what is there.
_OTHER = {
    "duplicates": "exact duplicate{s} of a picture that was there, whose texts are kept with it",
    "read_again": "picture{s} {was} read again",
    "forgotten": "picture{s} {was} forgotten before and {is} not read again",
    "gone": "picture{s} {is} gone from the source, and {is} forgotten",
    "superseded_images": "picture{s} {was} replaced in the source: what was there is dropped as superseded",
}


@dataclass(slots=True)
class Step:
    """A stage of a run, or of all runs together. Attributes as in `StageResult`; `price` None is not known.

    Of curation's notes: `not_applied`, filters that could judge nothing; `statistics`, filter to what it measured.
    Of the ingest's: `unused`, what the source holds that was not used, and `other`, what was read and made no picture.
    Of captioning's: `fell`, what fell back.
    """

    name: str
    done: int = 0
    skipped: int = 0
    rejected: int = 0
    pending: int = 0
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    asked: int = 0
    recalled: int = 0
    price: float | None = 0.0
    not_applied: list[str] = field(default_factory=list)
    statistics: dict[str, str] = field(default_factory=dict)
    unused: list[Unused] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    fell: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float | None:
        """Items a second, or None when nothing was done."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    def add(self, other: Step) -> None:
        """Add another run's share; what was skipped there was done here before."""
        for name in ("done", "rejected", "seconds", "tokens_in", "tokens_out", "asked", "recalled"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.fell.update(other.fell)
        self.pending = other.pending  # what the latest run left
        self.price = None if self.price is None or other.price is None else self.price + other.price


@dataclass(slots=True)
class Run:
    """One run.

    Attributes:
        run_id: its id; sorts by time.
        started: when, in UTC.
        status: `running`, `done`, `stopped`, `failed`.
        seconds: wall seconds, or None while it runs.
        price: US dollars, or None when not known.
        message: why it failed.
        steps: its stages.
        recipe: as YAML.
        versions: package to version.
    """

    run_id: str
    started: datetime | None
    status: str
    seconds: float | None
    price: float | None
    message: str
    steps: list[Step] = field(default_factory=list)
    recipe: str = ""
    versions: dict[str, str] = field(default_factory=dict)


def _json(text: str | None, kind: type) -> Any:
    try:
        value = json.loads(text or "")
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()


def _amount(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value == value else 0


def _plain(found: Any) -> str:
    """What a filter measured, on a line.

    >>> _plain({"texts": 1204, "mean": 0.31271, "thresholds": {"en": {"texts": 3, "threshold": 0.5}}})
    'texts 1,204, mean 0.313, thresholds (en (texts 3, threshold 0.5))'
    """
    if isinstance(found, dict):
        return ", ".join(f"{k} ({_plain(v)})" if isinstance(v, dict) else f"{k} {_plain(v)}" for k, v in found.items())
    numeric = isinstance(found, int | float) and not isinstance(found, bool)
    return number(found) if numeric else str(found)


def _step(stage: Any) -> Step:
    stage = stage if isinstance(stage, dict) else {}
    spent = stage.get("spent") if isinstance(stage.get("spent"), dict) else {}
    step = Step(str(stage.get("name") or "?"))
    for name in ("done", "skipped", "rejected", "pending", "seconds"):
        setattr(step, name, _amount(stage.get(name)))
    for name in ("tokens_in", "tokens_out", "asked", "recalled"):
        setattr(step, name, _amount(spent.get(name)))
    notes = stage.get("notes") if isinstance(stage.get("notes"), dict) else {}
    if isinstance(notes.get("not_applied"), list):
        step.not_applied = [str(name) for name in notes["not_applied"]]
    if isinstance(notes.get("statistics"), dict):
        step.statistics = {str(name): _plain(found) for name, found in notes["statistics"].items()}
    if isinstance(notes.get("unused"), list):
        step.unused = [Unused.from_dict(one) for one in notes["unused"] if isinstance(one, dict)]
    step.other = [many(n, text) for name, text in _OTHER.items() if (n := int(_amount(notes.get(name))))]
    step.fell = Counter({str(k): _amount(v) for k, v in notes.items() if str(k).startswith(("fallback", "failed_"))})
    step.price = None if spent.get("price", 0) is None else float(_amount(spent.get("price")))
    return step


def read_runs(dataset: Dataset) -> list[Run]:
    """Read the runs, oldest first; broken JSON in a row costs that part of the row. Keys in recipes are blacked out."""
    import yaml

    found = []
    for row in sorted(dataset.runs.rows(), key=lambda row: row["run_id"]):
        if row["status"] == "running" and not is_running(dataset, row["run_id"]):
            stages = paid_stages(dataset, row["run_id"], [])
            prices = [stage.spent.price for stage in stages]
            row |= {
                "status": "stopped",
                "message": GONE,
                "stages": json.dumps([stage.to_dict() for stage in stages]),
                "price": None if None in prices else sum(price or 0.0 for price in prices),
            }
        recipe = _json(row["recipe"], dict)
        text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100) if recipe else ""
        versions = {str(k): str(v) for k, v in sorted(_json(row["versions"], dict).items())}
        run = Run(
            row["run_id"],
            row["started"],
            row["status"] or "?",
            row["seconds"],
            row["price"] if row["status"] != "running" else 0.0,
            redact(row["message"] or ""),
            [_step(stage) for stage in _json(row["stages"], list)],
            redact(text),
            versions,
        )
        found.append(run)
    return found


def unused_of(runs: list[Run]) -> list[Unused]:
    """What the newest run that found anything unused said of it."""
    for run in reversed(runs):
        found = [one for step in run.steps for one in step.unused]
        if found:
            return found
    return []


def steps_of_all(runs: list[Run]) -> list[Step]:
    """Sum every step over all runs, in the order in which steps first appeared."""
    found: dict[str, Step] = {}
    for run in runs:
        for step in run.steps:
            found.setdefault(step.name, Step(step.name)).add(step)
    return list(found.values())
