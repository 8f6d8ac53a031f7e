"""The engine of curation: reads the tables in batches, asks the filters, writes what changed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from panoglot.curation._contract import UNSCORED, Facts, Step, Unscored, Verdict, owns, resolve
from panoglot.curation._count import counted, key64
from panoglot.curation._groups import Groups
from panoglot.curation._texts import Texts
from panoglot.running._runs import running
from panoglot.table import Caption, Dataset, caption_from_row, open_dataset, plain_rows
from panoglot.vectors import ImageIndex, id_bytes

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from panoglot.running import Stage, StageResult

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
        not_applied: filters that could judge nothing at all: what they need is not there.
        statistics: filter to what it found out about the whole: thresholds, means, sizes of tables.
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
    not_applied: list[str] = field(default_factory=list)
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)
    hashed: int = 0
    changed: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {k: dict(v) if isinstance(v, Counter) else v for k, v in vars(self).items()}

    def stage(self) -> StageResult:
        """The same as what a stage of a run did, for `runs.stages`."""
        from panoglot.running import StageResult

        done = self.images + self.captions
        return StageResult("curate", done=done, rows=self.changed, seconds=self.seconds, notes=self.to_dict())


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
        steps: filters in order: names, `(name, options)`, `{name: options}`, or presets (`default`, `align`,
            `compress-align`, `tldr`, `wit`); None for `default`. `FILTERS` and `PRESETS` list them with their options.
        run_id: of the run this belongs to; without one it is a run of its own, unless it is a dry one.
        dry_run: only count.
        quiet: no progress bar; None = when standard error is no terminal.
        processes: worker processes for hashing.

    Raises:
        UserError: an unknown step, option or preset (with what is meant), vectors or scores that are not there; nothing
            was decided then.

    Example:
        curate(dataset, steps=["size", ("length", {"min_words": 3}), "near_duplicate"])
    """
    started = time.monotonic()
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    chosen = resolve(steps)
    result = CurateResult()
    own = not run_id and not dry_run
    if own:
        run_id = _start(data, chosen)
    with contextlib.ExitStack() as held:
        if not dry_run:
            held.enter_context(data.writer())
        if own:
            held.enter_context(running(data, run_id))
        try:
            _prepare(data, chosen, result, run_id, dry_run, quiet, processes)
            dropped = _images(data, chosen, result, run_id, dry_run, quiet)
            _captions(data, chosen, dropped, result, dry_run, quiet)
        except BaseException as error:
            result.seconds = time.monotonic() - started
            if own:
                with contextlib.suppress(Exception):  # the disk that is full: the first error is the one to tell
                    _finish(data, run_id, result, f"{type(error).__name__}: {error}")
            raise
        result.seconds = time.monotonic() - started
        if own:
            _finish(data, run_id, result)
    return result


def _start(dataset: Dataset, steps: list[Step]) -> str:
    """Write the row of a run that is nothing but this; its recipe does the same again."""
    import panoglot

    filters = []
    for step in steps:
        defaults = step.filter.options
        filters.append({step.name: {key: value for key, value in step.options.items() if value != defaults[key]}})
    recipe = {"output": str(dataset.path), "steps": [{"curate": {"steps": filters}}]}
    return dataset.start_run(recipe, {"panoglot": panoglot.__version__})


def _finish(dataset: Dataset, run_id: str, result: CurateResult, failed: str | None = None) -> None:
    row = {"run_id": run_id, "finished": datetime.now(UTC), "status": "failed" if failed else "done"}
    stages = json.dumps([result.stage().to_dict()])
    dataset.runs.change([{**row, "stages": stages, "seconds": result.seconds, "price": 0.0, "message": failed}])


def _prepare(
    dataset: Dataset,
    steps: list[Step],
    result: CurateResult,
    run_id: str,
    dry_run: bool,
    quiet: bool | None,
    processes: int,
) -> None:
    from dataclasses import replace

    def run(stage: Stage) -> None:
        if dry_run or not dataset.images.exists():
            return
        from panoglot.running import run_stage

        done = run_stage(dataset, replace(stage, processes=stage.processes or processes), run_id, quiet=quiet)
        result.hashed += done.done if stage.name == "curate.pdq" else 0

    for step in steps:
        if step.filter.prepare:
            step.filter.prepare(dataset, step.options, run)


class _Judge:
    """Filters in order: the first reason speaks; filters that could not judge before it are counted."""

    def __init__(self) -> None:
        self._steps: list[tuple[Step, Callable[..., Verdict]]] = []
        self._asked: Counter[str] = Counter()
        self._unscored: Counter[str] = Counter()

    def add(self, step: Step, function: Callable[..., Verdict]) -> None:
        """Ask this filter after the others."""
        self._steps.append((step, function))

    def earlier(self) -> _Judge:
        """One with the filters so far."""
        one = _Judge()
        one._steps = list(self._steps)
        return one

    def needs(self, what: str) -> bool:
        """Say whether a filter needs facts of this name."""
        return any(what in step.filter.needs for step, _ in self._steps)

    def __call__(self, *subject: Any, kind: str | None = None) -> str | None:
        """The reason to drop, or None."""
        for step, function in self._steps:
            if kind is not None and kind not in step.kinds:
                continue
            verdict = function(*subject)
            self._asked[step.name] += 1
            if isinstance(verdict, Unscored):
                self._unscored[step.name] += 1
            elif verdict is not None:
                return verdict
        return None

    def tell(self, result: CurateResult) -> None:
        """Put what could not be judged into the result."""
        result.unscored.update(self._unscored)
        result.not_applied += [name for name, count in self._unscored.items() if count == self._asked[name]]


def _base(reason: str) -> str:
    return reason.partition(":")[0]


# -- images ------------------------------------------------------------------------------------------------------------


def _images(
    dataset: Dataset, steps: list[Step], result: CurateResult, run_id: str, dry_run: bool, quiet: bool | None
) -> ImageIndex:
    """Judge the images; returns those that are dropped, by whomever."""
    import pyarrow as pa

    drops = dataset.marks.read(["image_id", "dropped"], "dropped is not null")
    before = dict(zip(drops["image_id"].to_pylist(), drops["dropped"].to_pylist()))
    judge, finders, index = _Judge(), [step for step in steps if step.filter.unit == "pairs"], None
    for step in steps:
        if step.filter.unit == "image":
            judge.add(step, step.bind())
        elif step.filter.unit == "image_group":
            index = index or _index(dataset, before)
            judge.add(step, _looked_up(step, *step.bind(dataset, index)))
            _note(result, step, index.statistics)
            index.statistics = {}
    group_of = _groups(dataset, finders, index or _index(dataset, before)) if finders else {}
    texts = _text_counts(dataset) if judge.needs("texts") else None
    waiting: dict[int, list[tuple[int, str]]] = {}  # group -> (pixels, id) of the members that all filters keep
    write = _Writer(lambda rows: _mark(dataset, rows, run_id), dry_run)
    gone: list[pa.Array] = []
    going: list[str] = []

    def settle(image: str, reason: str | None) -> None:
        if reason is None:
            result.images_kept += 1
        else:
            result.images_dropped[_base(reason)] += 1
            going.append(image)
        if before.get(image) != reason:
            write(image, reason)

    for batch in _progress(dataset.images.batches(_FACTS, size=_BATCH), dataset.images.count(), "curate images", quiet):
        scores = _scores(dataset, batch) if judge.needs("scores") else {}
        places = index.find(batch["image_id"]).tolist() if index is not None else [-1] * batch.num_rows
        for facts, place in zip(batch.to_pylist(), places):
            image, facts["place"] = facts["image_id"], place
            result.images += 1
            old = before.get(image)
            if old is not None and not owns(old):
                result.by_methods[_base(old)] += 1
                going.append(image)
                continue
            if texts is not None:
                facts["texts"] = texts(image)
            facts["scores"] = scores.get(image, {})
            reason = judge(facts)
            group = group_of.get(image)
            if group is None or reason is not None:
                settle(image, reason)
            else:
                waiting.setdefault(group, []).append((-(facts["width"] or 0) * (facts["height"] or 0), image))
        gone.append(pa.array(going, pa.string()))
        going = []
    for _, members in sorted(waiting.items()):
        members.sort()
        keeper = members[0][1]
        for _, image in members:
            settle(image, None if image == keeper else f"duplicate_of:{keeper}")
    write.flush()
    result.changed += write.count
    judge.tell(result)
    return ImageIndex(lambda: [*gone, pa.array(going, pa.string())])


def _looked_up(step: Step, reasons: np.ndarray, unscored: np.ndarray) -> Callable[[Facts], Verdict]:
    """What a filter over all images decided, asked for one of them."""

    def decide(facts: Facts) -> Verdict:
        at = facts["place"]
        if unscored[at]:
            return UNSCORED
        return step.filter.reasons[reasons[at]] if reasons[at] >= 0 else None

    return decide


def _index(dataset: Dataset, before: dict[str, str]) -> ImageIndex:
    """The images that no method dropped."""
    theirs = {image for image, reason in before.items() if not owns(reason)}

    def batches() -> Iterator[pa.Array]:
        for batch in dataset.images.batches(["image_id"], size=65_536):
            ids = batch["image_id"]
            if theirs:
                import pyarrow as pa

                ids = pa.array([image for image in ids.to_pylist() if image not in theirs], pa.string())
            yield ids

    return ImageIndex(batches)


def _groups(dataset: Dataset, finders: list[Step], images: ImageIndex) -> dict[str, int]:
    """Image id to group, for images that have company."""
    import numpy as np

    groups = Groups(len(images))
    for step in finders if len(images) else ():
        for left, right in step.bind(dataset, images):
            groups.join(left, right)
    roots = groups.roots()
    company = np.flatnonzero(np.bincount(roots, minlength=len(roots))[roots] > 1)
    return dict(zip(images.names(company), roots[company].tolist()))


def _text_counts(dataset: Dataset) -> Callable[[str], int]:
    """How many different given texts an image came with."""
    import numpy as np

    from panoglot.text import same_text

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


def _captions(
    dataset: Dataset, steps: list[Step], gone: ImageIndex, result: CurateResult, dry_run: bool, quiet: bool | None
) -> None:
    judge = _Judge()
    for step in steps:
        if step.filter.unit == "caption":
            judge.add(step, step.bind())
        elif step.filter.unit == "text_group":
            texts = Texts(dataset, step.kinds, _survivors(dataset, judge.earlier(), gone), dry_run=dry_run)
            judge.add(step, step.bind(texts))
            _note(result, step, texts.statistics)
    write = _Writer(lambda rows: _drop(dataset, rows), dry_run)
    owned: dict[str, bool] = {}
    batches = _progress(dataset.captions.batches(size=_BATCH), dataset.captions.count(), "curate captions", quiet)
    for batch in batches:
        facts_of = _facts(dataset, batch["image_id"].to_pylist()) if judge.needs("image") else {}
        for row in _rows(batch):
            result.captions += 1
            old = row["dropped"]
            if old is not None and not owned.setdefault(_base(old), owns(old)):
                result.by_methods[_base(old)] += 1
                continue
            caption = caption_from_row(row)
            reason = judge(caption, facts_of.get(caption.image_id, {}), kind=caption.kind)
            if reason is None:
                result.captions_kept += 1
            else:
                result.captions_dropped[_base(reason)] += 1
            if old != reason:
                write(caption.caption_id, reason)
    write.flush()
    result.changed += write.count
    judge.tell(result)


def _survivors(dataset: Dataset, judge: _Judge, gone: ImageIndex) -> Callable[[list[Caption], bool], list[Caption]]:
    """Leaves out captions that these filters drop, and those of images that are gone."""
    import pyarrow as pa

    def keep(captions: list[Caption], any_image: bool) -> list[Caption]:
        if captions and not any_image:
            alive = gone.find(pa.array([c.image_id for c in captions])) < 0
            captions = [c for c, here in zip(captions, alive.tolist()) if here]
        facts = _facts(dataset, [c.image_id for c in captions]) if judge.needs("image") else {}
        return [c for c in captions if judge(c, facts.get(c.image_id, {}), kind=c.kind) is None]

    return keep


def _note(result: CurateResult, step: Step, statistics: dict[str, Any]) -> None:
    if statistics:
        name, n = step.name, 2
        while name in result.statistics:
            name, n = f"{step.name} {n}", n + 1
        result.statistics[name] = statistics


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    import pyarrow as pa

    return plain_rows(pa.Table.from_batches([batch]))


def _facts(dataset: Dataset, images: list[str]) -> dict[str, Facts]:
    ids = list(dict.fromkeys(images))
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
    from panoglot.running import StageResult
    from panoglot.running._progress import Progress

    result = StageResult(name)
    with Progress(name, total, quiet=quiet) as bar:
        for batch in batches:
            yield batch
            result.done += batch.num_rows
            bar.update(batch.num_rows, result)
