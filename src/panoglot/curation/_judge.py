"""What both halves of curation share: filters asked in order, rows written in chunks, progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from panoglot.curation._contract import Facts, Step, Unscored, Verdict, owns

if TYPE_CHECKING:
    import pyarrow as pa

    from panoglot.curation._curate import CurateResult

__all__ = ["FACTS", "Judge", "Owned", "Writer", "base", "note", "progress"]

#: What a filter may know of a picture.
FACTS = ("image_id", "width", "height", "format", "size", "uri", "group", "time")
#: Rows of a commit.
_COMMIT = 65_536


def base(reason: str) -> str:
    """A reason without what it names: `duplicate_of` of `duplicate_of:0f3a`."""
    return reason.partition(":")[0]


class Owned(dict[str, bool]):
    """Whether curation wrote a reason, by its base: a run asks all filters once for each."""

    def __missing__(self, reason: str) -> bool:
        self[reason] = owns(reason)
        return self[reason]


class Bench:
    """Who judges counts how often each filter was asked and how often it could not say."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._unscored: Counter[str] = Counter()

    def tell(self, result: CurateResult) -> None:
        """Put what could not be judged into the result."""
        result.unscored.update(self._unscored)
        result.not_applied += [name for name, count in self._unscored.items() if count == self._asked[name]]


class Judge(Bench):
    """Filters on images in order: the first reason speaks; filters that could not judge before it are counted."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[tuple[Step, Callable[..., Verdict]]] = []

    def add(self, step: Step, function: Callable[..., Verdict]) -> None:
        """Ask this filter after the others."""
        self._steps.append((step, function))

    @property
    def asked(self) -> list[tuple[Step, Callable[..., Verdict]]]:
        """The filters with their functions, in order."""
        return self._steps

    def needs(self, what: str) -> bool:
        """Say whether a filter needs facts of this name."""
        return any(what in step.filter.needs for step, _ in self._steps)

    def __call__(self, facts: Facts) -> str | None:
        """The reason to drop, or None."""
        for step, function in self._steps:
            verdict = function(facts)
            self._asked[step.name] += 1
            if isinstance(verdict, Unscored):
                self._unscored[step.name] += 1
            elif verdict is not None:
                return verdict
        return None


class Writer:
    """Gathers changed rows and commits them in chunks.

    Attributes:
        count: rows written.
        commits: versions that this made of its table, as `commit` says them.
    """

    def __init__(self, commit: Callable[[dict[str, str | None]], int], dry_run: bool) -> None:
        self._commit, self._dry, self._rows = commit, dry_run, dict[str, str | None]()
        self.count = self.commits = 0

    def __call__(self, key: str, reason: str | None) -> None:
        self._rows[key] = reason
        if len(self._rows) >= _COMMIT:
            self.flush()

    def flush(self) -> None:
        """Commit what waits."""
        if self._rows and not self._dry:
            self.commits += self._commit(self._rows)
            self.count += len(self._rows)
        self._rows = {}


def note(result: CurateResult, step: Step, statistics: dict[str, Any]) -> None:
    """Put what a filter found out into the result, under its name."""
    if statistics:
        name, n = step.name, 2
        while name in result.statistics:
            name, n = f"{step.name} {n}", n + 1
        result.statistics[name] = statistics


def progress(batches: Iterable[pa.RecordBatch], total: int, name: str, quiet: bool | None) -> Iterator[pa.RecordBatch]:
    """The batches, with a bar."""
    from panoglot.running import StageResult
    from panoglot.running._progress import Progress

    result = StageResult(name)
    with Progress(name, total, quiet=quiet) as bar:
        for batch in batches:
            yield batch
            result.done += batch.num_rows
            bar.update(batch.num_rows, result)
