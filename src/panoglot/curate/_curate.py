"""The engine of curation: reads the tables in batches, asks the filters, writes what changed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.curate._contract import Facts, Step, Unscored, Verdict, owns, resolve
from panoglot.curate._count import counted, key64
from panoglot.curate._groups import Groups
from panoglot.curate._images import ImageIndex, id_bytes
from panoglot.curate._presets import PRESETS
from panoglot.errors import UserError, did_you_mean
from panoglot.table import Caption, Dataset, caption_from_row, open_dataset, plain_rows, sql_in

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["CurateResult", "curate"]

_BATCH = 8192
#: Rows of a commit.
_COMMIT = 65_536
_FACTS = ("image_id", "width", "height", "format", "size", "uri", "group", "time")


@dataclass
class CurateResult:
    """What curation decided.

    Attributes:
        images: images in the dataset.
        images_kept: those without a reason to drop.
        images_dropped: reason to count; `duplicate_of` stands for every `duplicate_of:…`. The counts sum to all drops.
        captions: captions in the dataset, drafts and all.
        captions_kept: those without a reason to drop.
        captions_dropped: reason to count.
        by_methods: drops (of images and captions) that others made and that were left alone: reason to count.
        unscored: filter to how many it could not judge; they are kept.
        hashed: images hashed now.
        changed: rows written.
        seconds: wall seconds.
    """

    images: int = 0
    images_kept: int = 0
    images_dropped: Counter[str] = field(default_factory=Counter)
    captions: int = 0
    captions_kept: int = 0
    captions_dropped: Counter[str] = field(default_factory=Counter)
    by_methods: Counter[str] = field(default_factory=Counter)
    unscored: Counter[str] = field(default_factory=Counter)
    hashed: int = 0
    changed: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `runs.stages`."""
        return {k: dict(v) if isinstance(v, Counter) else v for k, v in vars(self).items()}


def curate(
    dataset: Dataset | str | os.PathLike[str],
    *,
    steps: str | Iterable[str | Sequence[Any] | Mapping[str, Any]] | None = None,
    run_id: str = "",
    dry_run: bool = False,
    quiet: bool | None = None,
    processes: int = 0,
) -> CurateResult:
    """Decide which images and captions to keep, and write the reason beside those that are not.

    Every filter judges every row by itself; the reason written is that of the first step that has one. What an earlier
    curation dropped is decided anew, so the result is a function of the tables and the steps alone: the same call again
    changes nothing, other thresholds bring rows back, a looser threshold never keeps fewer. Drops by methods (`draft`,
    checks of a translation …) are left alone. Captions of a dropped image are left as they are: search and export leave
    the image out. Nothing is deleted.

    Of images that show the same one stays: the largest that all other filters keep.

    Args:
        dataset: a dataset, or its path.
        steps: filters in order: names, `(name, options)`, `{name: options}`, or presets (`default`, `align`, `wit`);
            None for `default`. `FILTERS` lists them with their options.
        run_id: of the run this belongs to; one is started for `hashes` if needed.
        dry_run: only count.
        quiet: no progress bar; None = when standard error is no terminal.
        processes: worker processes for hashing.

    Raises:
        UserError: an unknown step, option or preset (with what is meant), vectors that are not there.

    Example:
        curate(dataset, steps=["size", ("length", {"min_words": 3}), "near_duplicate"])
    """
    started = time.monotonic()
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    chosen = resolve(_expand(steps))
    result = CurateResult()
    with data.writer():
        if any(step.name == "near_duplicate" for step in chosen) and not dry_run:
            result.hashed = _hash(data, run_id, quiet, processes)
        _images(data, chosen, result, run_id, dry_run, quiet)
        _captions(data, chosen, result, dry_run, quiet)
    result.seconds = time.monotonic() - started
    return result


def _expand(steps: str | Iterable[Any] | None) -> Iterator[Any]:
    """Put the steps of a preset in the place of its name."""
    if isinstance(steps, str) and steps not in PRESETS:
        raise UserError(f"there is no preset '{steps}' for curate.{did_you_mean(steps, PRESETS)}")
    for step in ["default"] if steps is None else [steps] if isinstance(steps, str) else steps:
        yield from PRESETS[step] if isinstance(step, str) and step in PRESETS else [step]


def _hash(dataset: Dataset, run_id: str, quiet: bool | None, processes: int) -> int:
    from panoglot.curate.pdq import pdq_stage
    from panoglot.run import run_stage

    if not dataset.images.exists():
        return 0
    return run_stage(dataset, pdq_stage(processes), run_id, quiet=quiet).done


def _first(verdicts: Iterable[tuple[Step, Verdict]], unscored: Counter[str]) -> str | None:
    """The first reason; filters that could not judge before it are counted."""
    for step, verdict in verdicts:
        if isinstance(verdict, Unscored):
            unscored[step.name] += 1
        elif verdict is not None:
            return verdict
    return None


def _base(reason: str) -> str:
    return reason.partition(":")[0]


# -- images ------------------------------------------------------------------------------------------------------------


def _images(
    dataset: Dataset, steps: list[Step], result: CurateResult, run_id: str, dry_run: bool, quiet: bool | None
) -> None:
    filters = [step for step in steps if step.filter.unit == "image"]
    finders = [step for step in steps if step.filter.unit == "pairs"]
    drops = dataset.marks.read(["image_id", "dropped"], "dropped is not null")
    before = dict(zip(drops["image_id"].to_pylist(), drops["dropped"].to_pylist()))
    group_of = _groups(dataset, finders, before)
    needs = {need for step in filters for need in step.filter.needs}
    texts = _text_counts(dataset) if "texts" in needs else None
    waiting: dict[int, list[tuple[int, str]]] = {}  # group -> (pixels, id) of the members that all filters keep
    write = _Writer(lambda rows: _mark(dataset, rows, run_id), dry_run)

    def settle(image: str, reason: str | None) -> None:
        if reason is None:
            result.images_kept += 1
        else:
            result.images_dropped[_base(reason)] += 1
        if before.get(image) != reason:
            write(image, reason)

    judge = [(step, step.bind()) for step in filters]
    for batch in _progress(dataset.images.batches(_FACTS, size=_BATCH), dataset.images.count(), "curate images", quiet):
        scores = _scores(dataset, batch) if "scores" in needs else {}
        for facts in batch.to_pylist():
            image = facts["image_id"]
            result.images += 1
            old = before.get(image)
            if old is not None and not owns(old):
                result.by_methods[_base(old)] += 1
                continue
            if texts is not None:
                facts["texts"] = texts(image)
            facts["scores"] = scores.get(image, {})
            reason = _first(((step, function(facts)) for step, function in judge), result.unscored)
            group = group_of.get(image)
            if group is None or reason is not None:
                settle(image, reason)
            else:
                waiting.setdefault(group, []).append((-(facts["width"] or 0) * (facts["height"] or 0), image))
    for _, members in sorted(waiting.items()):
        members.sort()
        keeper = members[0][1]
        for _, image in members:
            settle(image, None if image == keeper else f"duplicate_of:{keeper}")
    write.flush()
    result.changed += write.count


def _groups(dataset: Dataset, finders: list[Step], before: dict[str, str]) -> dict[str, int]:
    """Image id to group, for images that have company."""
    import numpy as np

    if not finders or not dataset.images.exists():
        return {}
    theirs = {image for image, reason in before.items() if not owns(reason)}

    def batches() -> Iterator[pa.Array]:
        for batch in dataset.images.batches(["image_id"], size=65_536):
            ids = batch["image_id"]
            if theirs:
                import pyarrow as pa

                ids = pa.array([image for image in ids.to_pylist() if image not in theirs], pa.string())
            yield ids

    images = ImageIndex(batches)
    groups = Groups(len(images))
    for step in finders:
        for left, right in step.bind(dataset, images):
            groups.join(left, right)
    roots = groups.roots()
    company = np.flatnonzero(np.bincount(roots, minlength=len(roots))[roots] > 1)
    return dict(zip(images.names(company), roots[company].tolist()))


def _text_counts(dataset: Dataset) -> Callable[[str], int]:
    """How many different given texts an image came with."""
    import numpy as np

    from panoglot.curate._text import same_text

    where = "kind in ('alt', 'human')"

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in dataset.captions.batches(["image_id", "text"], where, size=_BATCH):
            values = np.array([key64(same_text(text)) for text in batch["text"].to_pylist()], np.uint64)
            yield id_bytes(batch["image_id"])[:, 0], values

    found = list(counted(pairs, dataset.captions.count(where)))
    keys, counts = (np.concatenate([part[n] for part in found]) for n in range(2))
    order = np.argsort(keys)
    keys, counts = keys[order], counts[order]

    def count(image: str) -> int:
        key = np.uint64(int(image[:16], 16))
        at = int(np.searchsorted(keys, key))
        return int(counts[at]) if at < len(keys) and keys[at] == key else 0

    return count


def _scores(dataset: Dataset, batch: pa.RecordBatch) -> dict[str, dict[str, float | None]]:
    found = dataset.marks.get(batch["image_id"].to_pylist(), ["scores"])
    return {row["image_id"]: row["scores"] for row in plain_rows(found)}


def _mark(dataset: Dataset, rows: dict[str, str | None], run_id: str) -> None:
    new = [
        {"image_id": image, "scores": {}, "dropped": reason, "run_id": run_id}
        for image, reason in rows.items()
        if reason is not None
    ]
    dataset.marks.insert(new)  # those without a row yet; then all of them, so that rows of others keep their scores
    dataset.marks.change([{"image_id": image, "dropped": reason} for image, reason in rows.items()])


# -- captions ----------------------------------------------------------------------------------------------------------


class _Texts:
    """The captions of some kinds that no method dropped, in batches, as often as asked for."""

    def __init__(self, dataset: Dataset, kinds: frozenset[str]) -> None:
        self.dataset, self.where = dataset, sql_in("kind", sorted(kinds))
        self.total = dataset.captions.count(self.where)

    def __call__(self) -> Iterator[list[Caption]]:
        names = [name for name in self.dataset.captions.schema.names if name not in ("scores", "parents")]
        for batch in self.dataset.captions.batches(names, self.where, size=_BATCH):
            rows = batch.to_pylist()
            yield [
                caption_from_row({**row, "scores": None, "parents": None})
                for row in rows
                if row["dropped"] is None or owns(row["dropped"])
            ]


def _captions(dataset: Dataset, steps: list[Step], result: CurateResult, dry_run: bool, quiet: bool | None) -> None:
    judge: list[tuple[Step, frozenset[str], Callable[[Caption, Facts], Verdict]]] = []
    for step in steps:
        if step.filter.unit == "caption":
            judge.append((step, step.kinds, step.bind()))
        elif step.filter.unit == "text_group":
            judge.append((step, step.kinds, step.bind(_Texts(dataset, step.kinds))))
    with_facts = any("image" in step.filter.needs for step, _, _ in judge)
    write = _Writer(lambda rows: _drop(dataset, rows), dry_run)
    owned: dict[str, bool] = {}
    batches = _progress(dataset.captions.batches(size=_BATCH), dataset.captions.count(), "curate captions", quiet)
    for batch in batches:
        facts_of = _facts(dataset, batch) if with_facts else {}
        for row in _rows(batch):
            result.captions += 1
            old = row["dropped"]
            if old is not None and not owned.setdefault(_base(old), owns(old)):
                result.by_methods[_base(old)] += 1
                continue
            caption = caption_from_row(row)
            facts = facts_of.get(caption.image_id, {})
            verdicts = ((step, function(caption, facts)) for step, kinds, function in judge if caption.kind in kinds)
            reason = _first(verdicts, result.unscored)
            if reason is None:
                result.captions_kept += 1
            else:
                result.captions_dropped[_base(reason)] += 1
            if old != reason:
                write(caption.caption_id, reason)
    write.flush()
    result.changed += write.count


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    import pyarrow as pa

    return plain_rows(pa.Table.from_batches([batch]))


def _facts(dataset: Dataset, batch: pa.RecordBatch) -> dict[str, Facts]:
    ids = list(dict.fromkeys(batch["image_id"].to_pylist()))
    return {row["image_id"]: row for row in dataset.images.get(ids, _FACTS).to_pylist()}


def _drop(dataset: Dataset, rows: dict[str, str | None]) -> None:
    dataset.captions.change([{"caption_id": caption, "dropped": reason} for caption, reason in rows.items()])


# -- both --------------------------------------------------------------------------------------------------------------


class _Writer:
    """Gathers changed rows and commits them in chunks."""

    def __init__(self, commit: Callable[[dict[str, str | None]], None], dry_run: bool) -> None:
        self._commit, self._dry, self._rows, self.count = commit, dry_run, dict[str, str | None](), 0

    def __call__(self, key: str, reason: str | None) -> None:
        self._rows[key] = reason
        if len(self._rows) >= _COMMIT:
            self.flush()

    def flush(self) -> None:
        """Commit what waits."""
        if self._rows and not self._dry:
            self._commit(self._rows)
            self.count += len(self._rows)
        self._rows = {}


def _progress(batches: Iterable[pa.RecordBatch], total: int, name: str, quiet: bool | None) -> Iterator[pa.RecordBatch]:
    from panoglot.run import StageResult
    from panoglot.run._progress import Progress

    result = StageResult(name)
    with Progress(name, total, quiet=quiet) as bar:
        for batch in batches:
            yield batch
            result.done += batch.num_rows
            bar.update(batch.num_rows, result)
