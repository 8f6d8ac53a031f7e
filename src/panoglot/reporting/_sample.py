"""Which images, captions and failures the page shows: the same ones for the same dataset, however its rows lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.reporting._counts import MOST_DISTINCT, base_reason
from panoglot.table import LEFT_OUT, Caption, Dataset, caption_from_row, plain_rows, sql_in

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Example", "by_id", "captions_of", "choose_images", "dropped_captions", "dropped_images", "rejects"]

_BATCH = 16_384
#: Most captions of one image that are read for the page.
MOST_CAPTIONS = 400
#: Most distinct reasons of one kind that get examples.
MOST_REASONS = 60
#: Columns whose every value the sample shows.
_STRATA = ("lang", "kind", "recipe")


@dataclass(slots=True)
class Example:
    """Something dropped or failed.

    Attributes:
        image_id: the image, or empty.
        reason: in full, with what follows the colon.
        caption: the caption that was dropped, or None.
        scores: scores of the image, when it was the image.
        other: the image that it duplicates, or empty.
        row: the row of `rejects`.
    """

    image_id: str = ""
    reason: str = ""
    caption: Caption | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    other: str = ""
    row: dict[str, Any] = field(default_factory=dict)


def first_of_each(table: pa.Table, by: str, order: list[str], most: int) -> pa.Table:
    """Return the first `most` rows, in `order`, of each value of column `by`."""
    import numpy as np

    table = table.sort_by([(name, "ascending") for name in [by, *order]])
    if not len(table):
        return table
    codes = table[by].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    return table.filter(place < most)


def _smallest(parts: Any, by: str, order: list[str], most: int, groups: int | None = None) -> list[dict[str, Any]]:
    """The same over a stream of tables; with `groups`, of the first so many values only."""
    import pyarrow as pa

    best: pa.Table | None = None
    for part in parts:
        best = first_of_each(part if best is None else pa.concat_tables([best, part]), by, order, most)
        if groups is not None and len(best) > groups * most:
            names = sorted(set(best[by].to_pylist()))[:groups]
            best = best.filter(pa.compute.is_in(best[by], pa.array(names)))
    return [] if best is None else best.to_pylist()


def choose_images(dataset: Dataset, samples: int) -> list[str]:
    """Choose images that are kept: first so few that every language, kind and method has one, then by id.

    An id is a hash of the bytes, so its order is a fair and lasting lot.
    """
    lot = _lot(dataset, samples)
    candidates = set(lot)
    for stratum in _STRATA:
        rows = _smallest(_values_of(dataset, stratum), "value", ["dropped", "image_id"], 3)
        candidates.update(row["image_id"] for row in rows)
    kept = _kept(dataset, sorted(candidates))
    found = captions_of(dataset, kept, ["image_id", "caption_id", "dropped", *_STRATA])
    has = {image: {(s, getattr(c, s)) for c in captions for s in _STRATA} for image, captions in found.items()}
    chosen: list[str] = []
    missing = set().union(*has.values()) if has else set()
    while missing and len(chosen) < samples:
        best = min(has, key=lambda image: (-len(has[image] & missing), image))
        chosen.append(best)
        missing -= has[best]
    rest = [image for image in lot if image not in set(chosen)]
    return sorted([*chosen, *rest[: samples - len(chosen)]])


def _values_of(dataset: Dataset, name: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    for rows in dataset.captions.batches(["image_id", name, "dropped"], size=_BATCH):
        dropped = pc.cast(pc.is_valid(rows["dropped"]), pa.int8())
        value = pc.fill_null(rows[name], "")
        table = pa.table({"value": value, "dropped": dropped, "image_id": rows["image_id"]})
        least = table.group_by(["value", "image_id"]).aggregate([("dropped", "min")])
        yield least.rename_columns(["value", "image_id", "dropped"])


def _lot(dataset: Dataset, samples: int) -> list[str]:
    """The kept images with the smallest ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total, most = dataset.images.count(), 4 * samples + 16
    while True:
        best = pa.array([], pa.string())
        for rows in dataset.images.batches(["image_id"], size=_BATCH):
            best = pa.concat_arrays([best, rows["image_id"]])
            best = best.take(pc.bottom_k_unstable(best, min(most, len(best))))
        kept = _kept(dataset, sorted(best.to_pylist()))
        if len(kept) >= samples or len(best) >= total:
            return kept[:samples]
        most *= 8  # nearly all are dropped: look further


def _kept(dataset: Dataset, ids: list[str]) -> list[str]:
    dropped: set[str] = set()
    for start in range(0, len(ids), 500):
        where = f"{sql_in('image_id', ids[start : start + 500])} and dropped is not null"
        dropped.update(dataset.marks.read(["image_id"], where)["image_id"].to_pylist())
    return [image for image in ids if image not in dropped]


def captions_of(
    dataset: Dataset, image_ids: list[str], columns: list[str] | None = None, most: int = MOST_CAPTIONS
) -> dict[str, list[Caption]]:
    """Read the captions of some images, dropped ones last, at most `most` an image: kept before dropped, then by id."""

    found: dict[str, list[Caption]] = {image: [] for image in image_ids}

    def order(caption: Caption) -> tuple[bool, str]:
        return caption.dropped is not None, caption.caption_id

    for start in range(0, len(image_ids), 50):
        where = sql_in("image_id", image_ids[start : start + 50])
        for rows in dataset.captions.batches(columns, where, size=4096):
            for row in plain_rows(rows):
                captions = found[row["image_id"]]
                captions.append(caption_from_row({**_BLANK, **row}))
                if len(captions) >= 4 * most:
                    captions[:] = sorted(captions, key=order)[:most]
    return {image: sorted(captions, key=order)[:most] for image, captions in found.items()}


_BLANK: dict[str, Any] = dict.fromkeys(("text", "kind", "lang", "recipe"), "") | dict.fromkeys(
    ("model", "parents", "region", "scores", "dropped", "run_id")
)


def dropped_captions(dataset: Dataset, most: int) -> dict[str, list[Example]]:
    """Examples of dropped captions by reason, of different images where there are."""
    import pyarrow as pa

    def parts() -> Any:
        names = ["caption_id", "image_id", "dropped"]
        for rows in dataset.captions.batches(names, "dropped is not null and dropped != 'draft'", size=_BATCH):
            base = base_reason(rows["dropped"])
            yield pa.table({"reason": base, "image_id": rows["image_id"], "caption_id": rows["caption_id"]})

    picked: dict[str, list[dict[str, Any]]] = {}
    for row in _smallest(parts(), "reason", ["caption_id"], 8 * most, MOST_REASONS):
        some = picked.setdefault(row["reason"], [])
        if len(some) < most and all(row["image_id"] != other["image_id"] for other in some):
            some.append(row)
    ids = [row["caption_id"] for rows in picked.values() for row in rows]
    captions = {row["caption_id"]: caption_from_row(row) for row in plain_rows(dataset.captions.get(ids))}
    return {
        reason: [Example(row["image_id"], c.dropped or "", c) for row in rows if (c := captions.get(row["caption_id"]))]
        for reason, rows in picked.items()
    }


def dropped_images(dataset: Dataset, most: int) -> dict[str, list[Example]]:
    """Examples of dropped images by reason; `other` is what a duplicate duplicates."""
    import pyarrow as pa

    def parts() -> Any:
        for rows in dataset.marks.batches(["image_id", "dropped"], LEFT_OUT, size=_BATCH):
            base = base_reason(rows["dropped"])
            yield pa.table({"reason": base, "image_id": rows["image_id"], "dropped": rows["dropped"]})

    rows = _smallest(parts(), "reason", ["image_id"], most, MOST_REASONS)
    marks = plain_rows(dataset.marks.get([row["image_id"] for row in rows], ["scores"]))
    scores = {row["image_id"]: row["scores"] for row in marks}
    found: dict[str, list[Example]] = {}
    for row in rows:
        _, _, rest = row["dropped"].partition(":")
        other = rest.strip() if row["reason"].endswith("duplicate_of") else ""
        example = Example(row["image_id"], row["dropped"], scores=scores.get(row["image_id"], {}), other=other)
        found.setdefault(row["reason"], []).append(example)
    return found


def rejects(dataset: Dataset, most: int) -> list[dict[str, Any]]:
    """Failures by stage and reason: `stage`, `reason`, `failing`, `resolved` and `examples` (rows of `rejects`)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    counts: dict[tuple[str, str], list[int]] = {}

    def parts() -> Any:
        for rows in dataset.rejects.batches(["reject_id", "stage", "reason", "resolved"], size=_BATCH):
            stage = pc.replace_substring_regex(pc.fill_null(rows["stage"], ""), "-[0-9a-f]{16}$", "")
            reason = pc.fill_null(rows["reason"], "")
            open_ = pc.cast(pc.is_null(rows["resolved"]), pa.int8())
            table = pa.table({"stage": stage, "reason": reason, "open": open_})
            for row in table.group_by(["stage", "reason", "open"]).aggregate([([], "count_all")]).to_pylist():
                key = (row["stage"], row["reason"])
                if len(counts) < MOST_DISTINCT or key in counts:
                    counts.setdefault(key, [0, 0])[row["open"]] += row["count_all"]
            both = pc.binary_join_element_wise(stage, reason, "\n")
            solved = pc.subtract(pa.scalar(1, pa.int8()), open_)  # what still fails comes first
            yield pa.table({"both": both, "solved": solved, "reject_id": rows["reject_id"]})

    best = _smallest(parts(), "both", ["solved", "reject_id"], most, MOST_REASONS)
    rows = {row["reject_id"]: row for row in dataset.rejects.get([row["reject_id"] for row in best]).to_pylist()}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in best:
        stage, _, reason = row["both"].partition("\n")
        groups.setdefault((stage, reason), []).append(rows[row["reject_id"]])
    found = [
        {
            "stage": stage,
            "reason": reason,
            "failing": n[1],
            "resolved": n[0],
            "examples": groups.get((stage, reason), []),
        }
        for (stage, reason), n in counts.items()
    ]
    return sorted(found, key=lambda group: (-group["failing"], -group["resolved"], group["stage"], group["reason"]))


def by_id(dataset: Dataset, ids: list[str]) -> list[Caption]:
    """Read captions by id; unknown ids are left out."""
    return [caption_from_row(row) for row in plain_rows(dataset.captions.get(ids))]
