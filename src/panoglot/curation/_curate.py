"""The engine of curation: reads the tables in batches, asks the filters, writes what changed."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.curation._carry import carry
from panoglot.curation._contract import Step, resolve
from panoglot.curation._explain import Explained, Watch
from panoglot.curation._memory import recall, remember, rules_of, table_versions
from panoglot.curation._of_captions import judge_captions
from panoglot.curation._of_images import judge_images
from panoglot.errors import verb
from panoglot.running._runs import finish_run, how_it_ended, running
from panoglot.table import Dataset, Table, find_image, open_dataset
from panoglot.vectors import ImageIndex

if TYPE_CHECKING:
    from panoglot.running import Stage, StageResult

__all__ = ["CurateResult", "curate"]


@dataclass
class CurateResult:
    """What curation decided.

    Attributes:
        images: images in the dataset.
        images_kept: those without a reason to drop.
        images_dropped: reason to count; `duplicate_of` stands for every `duplicate_of:…`. The counts sum to all drops.
        captions: captions in the dataset, drafts and all; what was measured (kind `fact`) is none.
        measured: measurements in the dataset.
        captions_kept: those without a reason to drop.
        captions_dropped: reason to count.
        by_methods: drops (of images and captions) that others made and that were left alone: reason to count.
        unscored: filter to how many it could not judge; they are kept.
        not_applied: filters that could judge nothing at all: what they need is not there.
        statistics: filter to what it found out about the whole: thresholds, means, sizes of tables.
        kept_apart: images that a finder held for copies and that stay: captions or pixels differ.
        carried: captions of copies that were written beside the picture that stays, now.
        without_vectors: vectors to how many kept images have none of them (of a run of its own): search does not find
            those until `panoglot build` or an `encode` step runs again.
        mend: where nothing is kept: a command that leaves out the rule that dropped most.
        hashed: images hashed now.
        judged: captions that were judged now; the others were judged before by the same rules.
        changed: rows written.
        seconds: wall seconds.
        explained: of the image that was asked about: every rule's verdict, with what it measured.
    """

    images: int = 0
    images_kept: int = 0
    images_dropped: Counter[str] = field(default_factory=Counter)
    captions: int = 0
    measured: int = 0
    captions_kept: int = 0
    captions_dropped: Counter[str] = field(default_factory=Counter)
    by_methods: Counter[str] = field(default_factory=Counter)
    unscored: Counter[str] = field(default_factory=Counter)
    not_applied: list[str] = field(default_factory=list)
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept_apart: int = 0
    carried: int = 0
    without_vectors: dict[str, int] = field(default_factory=dict)
    mend: str = ""
    hashed: int = 0
    judged: int = 0
    changed: int = 0
    seconds: float = 0.0
    explained: Explained | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; of an image that was asked about, those of `explained` alone."""
        if self.explained is not None:
            return self.explained.to_dict()
        plain = {k: dict(v) if isinstance(v, Counter) else v for k, v in vars(self).items()}
        return {k: v for k, v in plain.items() if k != "explained"}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> CurateResult:
        """Read what `to_dict` wrote."""
        made = cls()
        for name, value in plain.items():
            setattr(made, name, Counter(value) if isinstance(getattr(made, name), Counter) else value)
        return made

    @property
    def nothing_kept(self) -> str | None:
        """What was dropped to the last, and by which reasons; None when some images and captions are kept, or none
        came.

        >>> CurateResult(images=3, images_dropped=Counter(too_small=3)).nothing_kept
        'no image is kept: 3 too_small'
        """
        for what in ("image", "caption"):
            if getattr(self, f"{what}s") and not getattr(self, f"{what}s_kept"):
                reasons = getattr(self, f"{what}s_dropped") or self.by_methods
                return f"no {what} is kept: " + ", ".join(f"{count:,} {name}" for name, count in reasons.most_common())
        return None

    def stage(self) -> StageResult:
        """The same as what a stage of a run did, for `runs.stages`."""
        from panoglot.running import StageResult

        done = self.images + self.captions
        notes = {**self.to_dict(), "nothing_kept": self.nothing_kept}
        return StageResult("curate", done=done, rows=self.changed, seconds=self.seconds, notes=notes)


@verb
def curate(
    dataset: Dataset | str | os.PathLike[str],
    *,
    steps: str | Iterable[str | Sequence[Any] | Mapping[str, Any]] | None = None,
    run_id: str = "",
    dry_run: bool = False,
    explain: str | None = None,
    quiet: bool | None = None,
    processes: int = 0,
) -> CurateResult:
    """Decide which images and captions to keep, and write the reason beside those that are not.

    Every filter judges every row by itself; the reason written is that of the first step that has one. What an earlier
    curation dropped is decided anew, so the result is a function of the tables and the steps alone: the same call again
    changes nothing (and judges nothing that was judged by the same rules), other thresholds bring rows back, a looser
    threshold never keeps fewer. Drops by methods (`draft`, checks of a translation …) are left alone. Captions of a
    dropped image are left as they are: search and export leave the image out. Nothing is deleted.

    Of images that show the same one stays: the largest that all other filters keep. The captions that its copies came
    with are written beside it, in their languages, with the originals as parents. Images that people described in
    different words are copies only if their pixels agree.

    Args:
        dataset: a dataset, or its path.
        steps: filters in order: names, `(name, options)`, `{name: options}`, or presets (`default`, `align`,
            `compress-align`, `tldr`, `wit`); None for `default`. `filters()` and `presets()` list them, with
            their options.
        run_id: of the run this belongs to; without one it is a run of its own, unless it is a dry one.
        dry_run: only count; nothing is written, not even a lock.
        explain: an image (its id, the beginning of its id, its file name or uri): say every rule's verdict on it and on
            each of its captions, with what was measured and the bounds. Nothing is written, as in a dry run.
        quiet: no progress bar; None = when standard error is no terminal.
        processes: worker processes for hashing.

    Raises:
        UserError: an unknown step, option or preset (with what is meant), vectors or scores that are not there, no such
            image to explain, or several; nothing was decided then.

    Example:
        curate(dataset, steps=["size", ("length", {"min_words": 3}), "near_duplicate"])
    """
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    chosen = resolve(steps)
    if dry_run or explain is not None:
        watch = _watch(data, explain, chosen)
        return _curate(data, chosen, "", dry_run=True, alone=True, quiet=quiet, processes=processes, watch=watch)
    with contextlib.ExitStack() as held:
        held.enter_context(data.writer())
        if run_id:
            return _curate(data, chosen, run_id, dry_run=False, alone=False, quiet=quiet, processes=processes)
        data.mend_kinds()
        run_id = _start(data, chosen)
        held.enter_context(running(data, run_id))
        try:
            result = _curate(data, chosen, run_id, dry_run=False, alone=True, quiet=quiet, processes=processes)
        except BaseException as error:
            status, why = how_it_ended(error)
            with contextlib.suppress(Exception):  # the disk that is full: the first error is the one to tell
                finish_run(data, run_id, status, [CurateResult().stage()], message=why)
            raise
        finish_run(data, run_id, "done", [result.stage()], seconds=result.seconds)
    return result


def _watch(data: Dataset, explain: str | None, steps: list[Step]) -> Watch:
    if explain is None:
        return Watch()
    key = find_image(data, explain)
    return Watch(key, data.images.get([key], ["uri"])["uri"][0].as_py() or "", steps)


def _curate(
    data: Dataset,
    steps: list[Step],
    run_id: str,
    *,
    dry_run: bool,
    alone: bool,
    quiet: bool | None,
    processes: int,
    watch: Watch | None = None,
) -> CurateResult:
    started = time.monotonic()
    watch = watch or Watch()
    rules = rules_of(steps)
    known = recall(data, rules) if watch.image_id is None else None
    if known is not None:
        result = CurateResult.from_dict(known)
    else:
        result = CurateResult()
        _prepare(data, steps, result, run_id, dry_run, quiet, processes)
        before = table_versions(data)
        gone, keepers, marked = judge_images(data, steps, result, run_id, dry_run, quiet, watch)
        carried, result.carried, counts = carry(data, keepers, run_id, dry_run=dry_run)
        if counts:
            result.statistics["copies"] = counts
        written = judge_captions(data, steps, gone, carried, rules, result, dry_run, quiet, watch)
        if not dry_run:
            commits = {"marks": marked, "captions": written + bool(result.carried)}
            again = {**result.to_dict(), "carried": 0, "changed": 0, "hashed": 0, "judged": 0}
            remember(data, rules, before, commits, again)
    result.mend = _mend(data, steps, result) if result.nothing_kept else ""
    if watch.image_id is not None:
        result.explained = watch.explained()
    elif alone:
        result.without_vectors = _without_vectors(data)
    result.seconds = time.monotonic() - started
    return result


def _mend(data: Dataset, steps: list[Step], result: CurateResult) -> str:
    """What to run where nothing is kept: the same without the rule that dropped most, or that one with its defaults."""
    import yaml

    dropped = result.images_dropped if not result.images_kept else result.captions_dropped
    path = shlex.quote(data.address)
    if not dropped:
        return f"methods dropped them, and curation leaves that alone: panoglot report {path}"
    (reason, _), *_ = dropped.most_common(1)
    worst = next((n for n, step in enumerate(steps) if step.filter.says(reason)), None)
    others = [step for n, step in enumerate(steps) if n != worst]
    if others or worst is None:
        named = [_named(step) for step in others]
    else:
        named = [steps[worst].name if _named(steps[worst]) != steps[worst].name else "size"]
    plain = ",".join(name for name in named if isinstance(name, str))
    written = [
        yaml.safe_dump(name, default_flow_style=True, width=9999).strip()[1:-1]
        for name in named
        if isinstance(name, dict)
    ]
    options = "".join(f" --steps {shlex.quote(one)}" for one in [plain, *written] if one)
    return f"nothing is lost, other rules bring them back: panoglot curate {path}{options}"


def _named(step: Step) -> str | dict[str, dict[str, Any]]:
    """A step as a recipe writes it: its name, with the options that are not the defaults."""
    defaults = step.filter.options
    options = {
        key: list(value) if isinstance(value, tuple | frozenset | set) else value
        for key, value in step.options.items()
        if value != defaults[key]
    }
    return {step.name: options} if options else step.name


def _without_vectors(data: Dataset) -> dict[str, int]:
    """Vectors to how many kept images have none of them."""
    found: dict[str, int] = {}
    names = data.vector_names()
    if names:
        gone = _index(data.marks, "image_id", "dropped is not null")
    for name in names:
        encoded = _index(data.vectors(name), "id", "of = 'image'")
        for batch in data.images.batches(["image_id"], size=65_536) if len(encoded) else ():
            missing = (encoded.find(batch["image_id"]) < 0) & (gone.find(batch["image_id"]) < 0)
            found[name] = found.get(name, 0) + int(missing.sum())
    return {name: count for name, count in found.items() if count}


def _index(table: Table, column: str, where: str) -> ImageIndex:
    return ImageIndex(lambda: (batch[column] for batch in table.batches([column], where, size=65_536)))


def _start(dataset: Dataset, steps: list[Step]) -> str:
    """Write the row of a run that is nothing but this; its recipe does the same again."""
    from panoglot._version import __version__

    recipe = {"output": dataset.address, "steps": [{"curate": {"steps": [_named(step) for step in steps]}}]}
    versions = {f"filter {step.name}": str(step.filter.version) for step in steps if step.filter.version > 1}
    return dataset.start_run(recipe, {"panoglot": __version__, **versions})


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

    def run(stage: Stage | Callable[[], Stage]) -> None:
        if dry_run or not dataset.images.exists():
            return
        from panoglot.running import run_stage

        stage = stage() if callable(stage) else stage
        done = run_stage(dataset, replace(stage, processes=stage.processes or processes), run_id, quiet=quiet)
        result.hashed += done.done if stage.name == "curate.pdq" else 0

    for step in steps:
        if step.filter.prepare:
            step.filter.prepare(dataset, step.options, run)
