"""The half of curation that judges captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from panoglot.curation._contract import UNSCORED, Facts, Step, Unscored, Verdict
from panoglot.curation._explain import Ruling, Watch, rulings_of
from panoglot.curation._judge import FACTS, Bench, Owned, Writer, base, note, progress
from panoglot.curation._memory import Judgements, Outcome
from panoglot.curation._same import CARRIED
from panoglot.curation._texts import Texts
from panoglot.table import Caption, Dataset, caption_records
from panoglot.vectors import ImageIndex

if TYPE_CHECKING:
    from panoglot.curation._curate import CurateResult

__all__ = ["judge_captions"]

_BATCH = 8192


def judge_captions(
    dataset: Dataset,
    steps: list[Step],
    gone: ImageIndex,
    carried: frozenset[str],
    rules: str | None,
    result: CurateResult,
    dry_run: bool,
    quiet: bool | None,
    watch: Watch,
) -> int:
    """Judge the captions; returns the versions that were made of their table.

    Args:
        dataset: the dataset.
        steps: all steps, in order.
        gone: images that are dropped.
        carried: captions that stand where they are because of a copy that is one still.
        rules: of `rules_of`.
        result: is filled in.
        dry_run: only count.
        quiet: no progress bar.
        watch: for the image that is asked about.
    """
    own = [(n, step, step.bind()) for n, step in enumerate(steps) if step.filter.unit == "caption"]
    judged = Judgements(dataset, own, rules, dry_run=dry_run)
    court = _Court(steps, "image" in {need for _, step, _ in own for need in step.filter.needs})
    for number, step in enumerate(steps):
        if step.filter.unit == "text_group":
            keep = _survivors(dataset, court.before(number), judged, gone)
            texts = Texts(dataset, step.kinds, keep, dry_run=dry_run)
            court.groups[number] = step.bind(texts)
            note(result, step, texts.statistics)
    write = Writer(lambda rows: _drop(dataset, rows), dry_run)
    owned = Owned()
    batches = progress(dataset.captions.batches(size=_BATCH), dataset.captions.count(), "curate captions", quiet)
    for batch in batches:
        captions = []
        for caption in caption_records(batch):
            measured = caption.kind == "fact"  # judged where a step names the kind, and counted apart
            result.measured += measured
            result.captions += not measured
            old = caption.dropped
            if old is not None and not owned[base(old)]:
                result.by_methods[base(old)] += not measured
                if caption.image_id == watch.image_id:
                    watch.caption_of_method(caption)
            else:
                captions.append(caption)
        facts_of = _facts(dataset, captions) if court.needs_image else {}
        for caption, outcome in zip(captions, judged(captions, facts_of, last=True)):
            reason = court(caption, outcome, facts_of.get(caption.image_id, {}))
            if caption.recipe == CARRIED and caption.caption_id not in carried:
                reason = "not_carried"
            if caption.kind == "fact":
                pass
            elif reason is None:
                result.captions_kept += 1
            else:
                result.captions_dropped[base(reason)] += 1
            if caption.image_id == watch.image_id:
                watch.caption(caption, court.explain(steps, caption, facts_of.get(caption.image_id, {})), reason)
            if caption.dropped != reason:
                write(caption.caption_id, reason)
    write.flush()
    result.changed += write.count
    result.judged = judged.judged
    judged.save()
    court.tell(result)
    return write.commits


class _Court(Bench):
    """The filters on captions in order, given what those that judge one by itself said: the first reason speaks."""

    def __init__(self, steps: Sequence[Step], needs_image: bool) -> None:
        super().__init__()
        ours = [(n, step) for n, step in enumerate(steps) if step.filter.unit in ("caption", "text_group")]
        self._steps = [(n, step.name, step.kinds) for n, step in ours]
        self.needs_image = needs_image
        self.groups: dict[int, Callable[[Caption, Facts], Verdict]] = {}

    def before(self, number: int) -> _Court:
        """One with the filters before this one."""
        one = _Court((), self.needs_image)
        one._steps, one.groups = [entry for entry in self._steps if entry[0] < number], dict(self.groups)
        return one

    def __call__(self, caption: Caption, outcome: Outcome, facts: Facts) -> str | None:
        """The reason to drop, or None."""
        said = dict(outcome)
        for number, name, kinds in self._steps:
            if caption.kind not in kinds:
                continue
            self._asked[name] += 1
            if number in self.groups:
                verdict = self.groups[number](caption, facts)
            elif number in said:
                verdict = UNSCORED if said[number] is None else said[number]
            else:
                continue
            if isinstance(verdict, Unscored):
                self._unscored[name] += 1
            elif verdict is not None:
                return verdict
        return None

    def explain(self, steps: Sequence[Step], caption: Caption, facts: Facts) -> list[Ruling]:
        """What every filter says of a caption, those after the first that drops it too."""

        def ask(number: int, step: Step) -> Verdict:
            function = self.groups.get(number) or step.bind()
            return function(caption, facts)

        return rulings_of(steps, ask, caption, caption.image_id)


def _survivors(
    dataset: Dataset, court: _Court, judged: Judgements, gone: ImageIndex
) -> Callable[[list[Caption], bool], list[Caption]]:
    """Leaves out captions that these filters drop, and those of images that are gone."""
    import pyarrow as pa

    def keep(captions: list[Caption], any_image: bool) -> list[Caption]:
        if captions and not any_image:
            alive = gone.find(pa.array([c.image_id for c in captions])) < 0
            captions = [c for c, here in zip(captions, alive.tolist()) if here]
        facts = _facts(dataset, captions) if court.needs_image else {}
        found = zip(captions, judged(captions, facts))
        return [c for c, outcome in found if court(c, outcome, facts.get(c.image_id, {})) is None]

    return keep


def _facts(dataset: Dataset, captions: Sequence[Caption]) -> dict[str, Facts]:
    ids = list(dict.fromkeys(caption.image_id for caption in captions))
    return {row["image_id"]: row for row in dataset.images.get(ids, FACTS).to_pylist()}


def _drop(dataset: Dataset, rows: dict[str, str | None]) -> int:
    dataset.captions.change([{"caption_id": caption, "dropped": reason} for caption, reason in rows.items()])
    return 1
