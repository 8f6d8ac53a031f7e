"""The half of curation that judges images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from panoglot.curation._contract import UNSCORED, Facts, Step, Verdict
from panoglot.curation._count import counted, key64
from panoglot.curation._explain import Watch
from panoglot.curation._judge import FACTS, Judge, Owned, Writer, base, note, progress
from panoglot.curation._same import OWN, Same
from panoglot.table import Dataset, plain_rows
from panoglot.text import same_text
from panoglot.vectors import ImageIndex, id_bytes

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from panoglot.curation._curate import CurateResult

__all__ = ["judge_images"]

_BATCH = 8192


def judge_images(
    dataset: Dataset,
    steps: list[Step],
    result: CurateResult,
    run_id: str,
    dry_run: bool,
    quiet: bool | None,
    watch: Watch,
) -> tuple[ImageIndex, dict[str, str], int]:
    """Judge the images.

    Returns:
        Those that are dropped, by whomever; of the copies among them, which image stays; and how many versions were
        made of the table of marks.
    """
    import pyarrow as pa

    owned = Owned()
    drops = dataset.marks.read(["image_id", "dropped"], "dropped is not null")
    before = dict(zip(drops["image_id"].to_pylist(), drops["dropped"].to_pylist()))
    judge, finders, index = Judge(), [step for step in steps if step.filter.unit == "pairs"], None
    for step in steps:
        if step.filter.unit == "image":
            judge.add(step, step.bind())
        elif step.filter.unit == "image_group":
            index = index or _index(dataset, before, owned)
            with watch.group(step):
                judge.add(step, _looked_up(step, *step.bind(dataset, index)))
            note(result, step, index.statistics)
            index.statistics = {}
    if finders:
        index = index or _index(dataset, before, owned)
        index.dry_run = dry_run
    same = Same(dataset, finders, index, dry_run=dry_run) if finders and index is not None else None
    group_of = same.group_of if same else {}
    keepers: dict[str, str] = {}
    texts = _text_counts(dataset) if judge.needs("texts") else None
    waiting: dict[int, list[tuple[int, str]]] = {}  # group -> (pixels, id) of the members that all filters keep
    write = Writer(lambda rows: _mark(dataset, rows, run_id), dry_run)
    gone: list[pa.Array] = []
    going: list[str] = []

    def settle(image: str, reason: str | None) -> None:
        if reason is None:
            result.images_kept += 1
        else:
            result.images_dropped[base(reason)] += 1
            going.append(image)
        if before.get(image) != reason:
            write(image, reason)

    for batch in progress(dataset.images.batches(FACTS, size=_BATCH), dataset.images.count(), "curate images", quiet):
        scores = _scores(dataset, batch) if judge.needs("scores") else {}
        places = index.find(batch["image_id"]).tolist() if index is not None else [-1] * batch.num_rows
        given = texts(batch["image_id"]) if texts is not None else [0] * batch.num_rows
        for facts, place, count in zip(batch.to_pylist(), places, given):
            image, facts["place"] = facts["image_id"], place
            result.images += 1
            old = before.get(image)
            if old is not None and not owned[base(old)]:
                result.by_methods[base(old)] += 1
                going.append(image)
                if image == watch.image_id:
                    watch.image_of_method(old)
                continue
            if texts is not None:
                facts["texts"] = count
            facts["scores"] = scores.get(image, {})
            reason = judge(facts)
            if image == watch.image_id:
                watch.image(judge.asked, facts, old, reason)
            group = group_of.get(image)
            if group is None or reason is not None:
                settle(image, reason)
            else:
                waiting.setdefault(group, []).append((-(facts["width"] or 0) * (facts["height"] or 0), image))
        gone.append(pa.array(going, pa.string()))
        going = []
    for _, members in sorted(waiting.items()):
        for image, keeper in same.settle([image for _, image in sorted(members)]) if same else ():
            settle(image, keeper and f"duplicate_of:{keeper}")
            if keeper:
                keepers[image] = keeper
    company = waiting.get(group_of.get(watch.image_id or "", -1), [])
    watch.pairs(dataset, finders, [image for _, image in sorted(company)], keepers)
    result.kept_apart = same.apart if same else 0
    write.flush()
    result.changed += write.count
    judge.tell(result)
    return ImageIndex(lambda: [*gone, pa.array(going, pa.string())]), keepers, write.commits


def _looked_up(step: Step, reasons: np.ndarray, unscored: np.ndarray) -> Callable[[Facts], Verdict]:
    """What a filter over all images decided, asked for one of them."""

    def decide(facts: Facts) -> Verdict:
        at = facts["place"]
        if unscored[at]:
            return UNSCORED
        return step.filter.reasons[reasons[at]] if reasons[at] >= 0 else None

    return decide


def _index(dataset: Dataset, before: dict[str, str], owned: Owned) -> ImageIndex:
    """The images that no method dropped."""
    theirs = {image for image, reason in before.items() if not owned[base(reason)]}

    def batches() -> Iterator[pa.Array]:
        for batch in dataset.images.batches(["image_id"], size=65_536):
            ids = batch["image_id"]
            if theirs:
                import pyarrow as pa

                ids = pa.array([image for image in ids.to_pylist() if image not in theirs], pa.string())
            yield ids

    return ImageIndex(batches)


def _text_counts(dataset: Dataset) -> Callable[[pa.Array], list[int]]:
    """How many different given texts images came with."""
    import numpy as np

    where = f"kind in ('alt', 'human') and {OWN}"

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in dataset.captions.batches(["image_id", "text"], where, size=_BATCH):
            values = np.array([key64(same_text(text)) for text in batch["text"].to_pylist()], np.uint64)
            yield id_bytes(batch["image_id"])[:, 0], values

    found = list(counted(pairs, dataset.captions.count(where)))
    keys, counts = (np.concatenate([part[n] for part in found]) for n in range(2))
    order = np.argsort(keys)
    keys, counts = keys[order], counts[order]

    def count(images: pa.Array) -> list[int]:
        wanted = id_bytes(images)[:, 0]
        if not len(keys):
            return [0] * len(wanted)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found: list[int] = np.where(keys[at] == wanted, counts[at], 0).tolist()
        return found

    return count


def _scores(dataset: Dataset, batch: pa.RecordBatch) -> dict[str, dict[str, float | None]]:
    found = dataset.marks.get(batch["image_id"].to_pylist(), ["scores"])
    return {row["image_id"]: row["scores"] for row in plain_rows(found)}


def _mark(dataset: Dataset, rows: dict[str, str | None], run_id: str) -> int:
    """Write reasons; returns the versions that were made of the table."""
    new = [
        {"image_id": image, "scores": {}, "dropped": reason, "run_id": run_id}
        for image, reason in rows.items()
        if reason is not None
    ]
    made = (not dataset.marks.exists()) + bool(new) + 1
    dataset.marks.insert(new)  # those without a row yet; then all of them, so that rows of others keep their scores
    dataset.marks.change([{"image_id": image, "dropped": reason} for image, reason in rows.items()])
    return made
