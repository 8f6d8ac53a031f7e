"""Filter `in_test_set`: pictures of a test set, and near-copies of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from panoglot.curation._contract import image_group_filter
from panoglot.curation._measure import measured, watched
from panoglot.curation.pdq import pdq, pdq_stage
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.table import open_dataset
from panoglot.vectors import near_others

if TYPE_CHECKING:
    import numpy as np

    from panoglot.running import Stage
    from panoglot.table import Dataset
    from panoglot.vectors import ImageIndex

__all__ = ["in_test_set"]


def _prepare(dataset: Dataset, options: Mapping[str, Any], run: Callable[[Stage], None]) -> None:
    if options["test"]:
        open_dataset(options["test"])
        run(pdq_stage())


@image_group_filter("in_test_set", prepare=_prepare)
def in_test_set(
    dataset: Dataset, images: ImageIndex, *, test: str = "", distance: int = 31, min_quality: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Drop pictures that are in a test set, or nearly: what is trained on them cannot be tested on it.

    Every picture is compared with every one of the test set: 32 bytes and some 10 ns a pair. Without `test` the rule is
    reported as not applied. A picture without a hash is compared by its bytes alone, and counted.

    Args:
        dataset: the dataset.
        images: the images that take part.
        test: a dataset of the pictures to keep out (`panoglot ingest TEST_PICTURES -o test.pano`); it is only read.
        distance: most bits of 256 in which PDQ hashes of copies differ.
        min_quality: pictures with a lower PDQ quality (flat ones) are compared by their bytes alone.

    Source: ALIGN (Jia et al. 2021), section 3: near-duplicates of the test images of all evaluation sets are removed.
    """
    import numpy as np
    import pyarrow.compute as pc

    reasons, unscored = np.full(len(images), -1, np.int8), np.ones(len(images), bool)
    if not test:
        measured("test set", None)
        return reasons, unscored
    codes, same = [np.empty((0, 32), np.uint8)], []
    for ids, some in _test_hashes(open_dataset(test), min_quality):
        codes.append(some)
        same.append(images.find(ids))
    tested = np.concatenate(codes)
    for batch in dataset.hashes.batches(["image_id", "pdq", "quality"], size=65_536):
        place = images.find(batch["image_id"])
        known = (place >= 0) & batch["pdq"].is_valid().to_numpy(zero_copy_only=False)
        unscored[place[known]] = False
        known &= batch["quality"].fill_null(0).to_numpy(zero_copy_only=False) >= min_quality
        raw = b"".join(code for code, use in zip(batch["pdq"].to_pylist(), known) if use)
        if (asked := watched()) and len(tested):
            for code in batch.filter(pc.equal(batch["image_id"], asked))["pdq"].drop_null().to_pylist():
                bits = np.bitwise_count(tested ^ np.frombuffer(code, np.uint8)).sum(axis=1, dtype=np.int64)
                measured("bits from the nearest test image", int(bits.min()), least=distance + 1)
        near = near_others(np.frombuffer(raw, np.uint8).reshape(-1, 32), tested, distance)
        reasons[place[known][near]] = 0
    for place in same:
        reasons[place[place >= 0]] = 0
        unscored[place[place >= 0]] = False
    images.statistics |= {"test_images": int(sum(map(len, same))), "hashed": len(tested)}
    return reasons, unscored


def _test_hashes(test: Dataset, min_quality: int) -> Iterator[tuple[Any, np.ndarray]]:
    """Ids of the test set's images, and hashes of those that have enough structure; made here where none is stored."""
    import numpy as np

    for batch in test.images.batches(["image_id"], size=4096):
        ids = batch["image_id"].to_pylist()
        stored = {row["image_id"]: row for row in test.hashes.get(ids).to_pylist()}
        found = [row["pdq"] for row in stored.values() if row["pdq"] and (row["quality"] or 0) >= min_quality]
        missing = [image for image in ids if image not in stored]
        for start in range(0, len(missing), 64):
            for data in test.images.get(missing[start : start + 64], ["data"])["data"].to_pylist():
                try:
                    code, quality = pdq(Image(data))
                except RowError:  # what cannot be decoded has no near-copies
                    continue
                found += [code] if quality >= min_quality else []
        yield batch["image_id"], np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)
