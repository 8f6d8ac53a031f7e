"""What came with a copy goes over to the picture that stays: new captions there, made from those of the copy.

Nothing is moved: the copy keeps its captions, and if it is no copy any more under other rules, what came over is
dropped as `not_carried`. What models wrote about the copy is not carried (they are asked about the picture that stays),
nor what is said of a region (copies may be cropped); the latter is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from panoglot.curation._contract import owns
from panoglot.curation._count import key64
from panoglot.curation._same import CARRIED, OWN
from panoglot.table import Caption, Dataset, caption_from_row, caption_to_row, given_caption_id, plain_rows
from panoglot.text import same_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["carry"]

_BATCH = 8192


def carry(
    dataset: Dataset, keepers: Mapping[str, str], run_id: str, *, dry_run: bool
) -> tuple[frozenset[str], int, dict[str, int]]:
    """Write the captions that came with copies beside the pictures that stay, where the same is not said already.

    Args:
        dataset: the dataset.
        keepers: image id of a copy to that of the picture that stays.
        run_id: written into new captions.
        dry_run: write nothing.

    Returns:
        Ids of all captions that stand there because of these copies; how many are new; and counts for the statistics.
    """
    if not keepers or not dataset.captions.exists():
        return frozenset(), 0, {}
    said = {_key(row["image_id"], row) for row in _given(dataset, set(keepers.values()))}
    new: dict[str, Caption] = {}
    regions = 0
    for row in sorted(_given(dataset, set(keepers)), key=lambda row: row["caption_id"]):
        if row["region"] is not None:
            regions += 1
            continue
        keeper = keepers[row["image_id"]]
        key = _key(keeper, row)
        if key in said:
            continue
        said.add(key)
        caption = caption_from_row({**row, "scores": None, "dropped": None})
        caption.parents, caption.image_id, caption.recipe, caption.run_id = (
            (row["caption_id"],),
            keeper,
            CARRIED,
            run_id,
        )
        caption.caption_id = given_caption_id(keeper, f"{CARRIED} {row['kind']}", caption.lang, None, caption.text)
        new[caption.caption_id] = caption
    there = set(dataset.captions.read(["caption_id"], f"recipe = '{CARRIED}'")["caption_id"].to_pylist())
    missing = [caption_to_row(caption) for key, caption in new.items() if key not in there]
    if missing and not dry_run:
        dataset.captions.insert(missing)
    counts = {"captions_of_copies_carried": len(new), "captions_of_regions_left_with_copies": regions}
    return frozenset(new), len(missing), {name: count for name, count in counts.items() if count}


def _given(dataset: Dataset, images: set[str]) -> Iterator[dict[str, Any]]:
    """The captions that these images came with and that no method dropped."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array(sorted(images), pa.string())
    where = f"(model is null or model = '') and {OWN} and kind != 'fact'"
    for batch in dataset.captions.batches(where=where, size=_BATCH):
        some: pa.RecordBatch = batch.filter(pc.is_in(batch["image_id"], ids))
        for row in plain_rows(some):
            if (row["dropped"] is None or owns(row["dropped"])) and not row["parents"]:
                yield row


def _key(image: str, row: Mapping[str, Any]) -> int:
    return key64(image, row["lang"], row["kind"], same_text(row["text"]))
