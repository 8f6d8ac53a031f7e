"""The contract of the runner: a stage is pending rows -> operator -> commit.

An operator is a plain class, pickled to where it runs, opened there once, and given items as an iterator that loads
them when asked (so it decides how many it holds); it hands every outcome to `emit` as soon as it has it:

    @dataclass
    class CountColours:                               # picklable: options only, models are loaded in `open`
        def open(self, worker): ...
        def process(self, items, emit):
            for item in items:                        # an `Image` (stage of images) or a `Caption` (of captions)
                emit(item.key, Outcome(scores={"colours": 3.0}))
        def close(self): ...

The worker commits outcomes in chunks; an item counts as done when its ledger row is committed, after its other rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from panoglot.asking import Spent
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.table import Caption, Dataset, Document, Fact, Rating, Triple

if TYPE_CHECKING:
    import numpy as np

    from panoglot.formats import Part
    from panoglot.running._rows import GroupPart

__all__ = [
    "Emit",
    "Item",
    "Operator",
    "Outcome",
    "Stage",
    "StageResult",
    "Worker",
    "add_notes",
    "worker_processes",
]


@dataclass(slots=True)
class Item:
    """A unit of work.

    Attributes:
        key: what the ledger knows it by: image id, caption id, or the key of a part of a source.
        image: the picture (stages of images; stages of captions that asked for it).
        caption: the caption (stages of captions).
        part: the part of a source (ingest).
    """

    key: str
    image: Image | None = None
    caption: Caption | None = None
    part: Part | GroupPart | None = None


@dataclass(slots=True)
class Outcome:
    """What became of an item.

    Attributes:
        captions: new captions, ids filled in.
        vectors: `(of, ordinal, lang, vector)` for the item, `of` being `image` or `caption`.
        scores: named scores to merge into the item's own; None = could not be computed.
        drop: reason to write into the item's own `dropped`.
        hash: PDQ (32 bytes) and quality.
        reject: why it failed, or None.
        pending: not tried (the budget is spent): it stays pending.
        count: rows it stands for, for the counts of parts.
        rejected: rows of the part that failed (already written by the operator).
        spent: what it cost.
        images: new pictures.
        facts: what models saw, ids filled in.
        documents: ids filled in.
        ratings: ids filled in.
        triples: ids filled in.
        scored: for captions that exist, not the item itself: id to (scores, drop).
        notes: what else is to be said, for the notes of the stage; see `add_notes`.
    """

    captions: Sequence[Caption] = ()
    vectors: Sequence[tuple[str, int, str, np.ndarray]] = ()
    scores: dict[str, float | None] = field(default_factory=dict)
    drop: str | None = None
    hash: tuple[bytes, int] | None = None
    reject: RowError | None = None
    pending: bool = False
    count: int = 1
    rejected: int = 0
    spent: Spent = field(default_factory=Spent)
    images: Sequence[Image] = ()
    facts: Sequence[Fact] = ()
    documents: Sequence[Document] = ()
    ratings: Sequence[Rating] = ()
    triples: Sequence[Triple] = ()
    scored: Mapping[str, tuple[dict[str, float | None], str | None]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


Emit = Callable[[str, Outcome], None]


@dataclass(slots=True)
class Worker:
    """Where an operator runs.

    Attributes:
        dataset: the dataset it works on.
        run_id: the run it works for.
        stage_id: `name-fingerprint` of its stage.
        max_cost: US dollars this worker may still spend, or None.
        retrying: the rejected items that are taken up again.
    """

    dataset: Dataset
    run_id: str
    stage_id: str
    max_cost: float | None = None
    retrying: frozenset[str] = frozenset()


def worker_processes(models: Iterable[Any]) -> int:
    """Say how many worker processes serve these models: one a core if each computes on one thread, else none."""
    chosen = list(models)
    return (os.cpu_count() or 1) if chosen and all(getattr(model, "per_core", False) for model in chosen) else 0


def add_notes(notes: dict[str, Any], more: dict[str, Any]) -> None:
    """Add the notes of some items to those of a stage: numbers are summed, lists are joined, each entry once.

    >>> notes = {"moved": 2, "unused": ["a"]}
    >>> add_notes(notes, {"moved": 1, "unused": ["a", "b"]})
    >>> notes
    {'moved': 3, 'unused': ['a', 'b']}
    """
    for name, value in more.items():
        if isinstance(value, list):
            have = notes.setdefault(name, [])
            have.extend(one for one in value if one not in have)
        else:
            notes[name] = notes.get(name, 0) + value


class Operator(Protocol):
    """What a stage does with its items; see the module's text."""

    def open(self, worker: Worker) -> None:
        """Load models; called once in every worker."""
        ...

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Work through `items`, handing an outcome per item to `emit`, in any order."""
        ...

    def close(self) -> None:
        """Release what `open` took."""
        ...


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        name: for people: `caption.describe`.
        fingerprint: changes with anything that may change the outcome; part of the ledger's name.
        operator: does the work.
        of: `images`, `captions` or `parts`.
        where: SQL filter on the table that `of` names.
        not_from: leave out captions whose recipe begins so, and all that were made from them.
        parts: the parts of a source (for `of="parts"`): called in the engine, lazily.
        with_captions: give images their kept captions.
        with_images: give captions their image.
        vectors: name and size of the vectors it writes.
        batch: items a worker takes at a time; also what a kill can cost beyond the journal.
        commit: outcomes a commit.
        processes: worker processes; 0 = inside this process (servers, tiny jobs).
        prepare: called with itself, the dataset and the run before anything is chosen; returns the stage to run: a
            method's first pass is part of its identity.
        groups: its parts are groups of pictures, not parts of a source.
        only: SQL filter on the same table: of the rows that it takes, this run takes these. It is no part of what the
            stage is: what is done stays done for a run that takes others.
    """

    name: str
    fingerprint: str
    operator: Operator
    of: str = "images"
    where: str | None = None
    parts: Callable[[], Iterator[Part | GroupPart]] | None = None
    not_from: str | None = None
    with_captions: bool = False
    with_images: bool = False
    vectors: tuple[str, int] | None = None
    batch: int = 512
    commit: int = 64
    processes: int = 0
    prepare: Callable[[Stage, Dataset, str], Stage] | None = None
    groups: bool = False
    only: str | None = None

    @property
    def taken(self) -> str | None:
        """SQL filter: the rows that this run takes."""
        both = [one for one in (self.where, self.only) if one]
        return " and ".join(f"({one})" for one in both) if len(both) > 1 else both[0] if both else None

    @property
    def id(self) -> str:
        """`name-fingerprint`: the name of its ledger, and `stage` in `rejects`."""
        return f"{self.name}-{self.fingerprint}"


@dataclass(slots=True)
class StageResult:
    """What a stage did.

    Attributes:
        name: the stage.
        done: items done now.
        skipped: items that were done before.
        rejected: rows that failed now.
        pending: items left for the next run (the budget was spent).
        seconds: wall seconds.
        spent: tokens and price.
        notes: what else it found out, by name (curation: drops by reason, thresholds, rules that were not applied).
    """

    name: str
    id: str = ""
    done: int = 0
    skipped: int = 0
    rejected: int = 0
    pending: int = 0
    rows: int = 0
    seconds: float = 0.0
    spent: Spent = field(default_factory=Spent)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, other: StageResult) -> None:
        """Add what the same stage did in another run."""
        for name in ("done", "rejected", "pending", "rows", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.skipped = max(self.skipped, other.skipped)
        self.spent.add(other.spent)
        add_notes(self.notes, other.notes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `runs.stages`."""
        from dataclasses import asdict

        return asdict(self)
