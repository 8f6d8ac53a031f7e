"""Pair finder `near_duplicate`: pictures whose perceptual hashes are within a few bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from panoglot.curation._contract import UNSCORED, Verdict, pair_finder
from panoglot.curation._measure import measured
from panoglot.curation._memory import keep_pairs, kept_pairs
from panoglot.curation.pdq import pdq_stage
from panoglot.vectors import near_pairs

if TYPE_CHECKING:
    import numpy as np

    from panoglot.running import Stage
    from panoglot.table import Dataset
    from panoglot.vectors import ImageIndex

__all__ = ["near_duplicate"]


def _prepare(dataset: Dataset, options: Mapping[str, Any], run: Callable[[Stage], None]) -> None:
    run(pdq_stage())


def _compare(dataset: Dataset, image: str, other: str | None, options: Mapping[str, Any]) -> Verdict:
    """Measure how far an image is from another that it is put together with."""
    import numpy as np

    codes = {row["image_id"]: row for row in dataset.hashes.get([image, *([other] if other else [])]).to_pylist()}
    mine = codes.get(image, {}).get("pdq")
    if mine is None:
        measured("hash", None)
        return UNSCORED
    quality = codes[image]["quality"] or 0
    if measured("quality of the hash", quality, least=options["min_quality"]) < options["min_quality"]:
        return UNSCORED
    theirs = codes.get(other or "", {}).get("pdq")
    if theirs is not None:
        bits = np.bitwise_count(np.frombuffer(mine, np.uint8) ^ np.frombuffer(theirs, np.uint8)).sum()
        measured(f"bits from {str(other)[:12]}", int(bits), least=options["distance"] + 1)
    return None


@pair_finder("duplicate_of", prepare=_prepare, compare=_compare)
def near_duplicate(
    dataset: Dataset, images: ImageIndex, *, distance: int = 31, min_quality: int = 50, look: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Drop copies of a picture: other sizes, other compression, slight changes. Of a group one image stays.

    Two images belong together when their PDQ hashes differ in at most `distance` of 256 bits (exact search, see
    `near_pairs`), directly or through others. The one with the most pixels stays, of equals the one with the smallest
    id. Images without a hash, or of a quality below `min_quality` (flat pictures, whose hashes say nothing), stay.

    The hash sees grey values of 64 x 64 pixels: a brown and a green eye are the same to it. So pictures that people
    described in different words are copies only when their pixels agree too, and what came with a copy is written
    beside the picture that stays (`docs/recipes.md`, "Copies").

    Pictures are compared once: those that come later with all, not all with all again. Memory: 150 bytes an image with
    a hash, and 16 a pair.

    Args:
        dataset: the dataset.
        images: the images that take part.
        distance: most bits in which copies differ.
        min_quality: least quality of a hash.
        look: compare the pixels of every pair, not only where captions differ: 2 ms a copy more, and pictures without
            captions are told apart as well.

    Source: PDQ, Facebook 2019: distance 31 and quality 50 are its recommendations.
    """
    import os

    import numpy as np

    codes: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    for batch in dataset.hashes.batches(["image_id", "pdq", "quality"], size=65_536):
        good = batch["quality"].fill_null(0).to_numpy(zero_copy_only=False) >= min_quality
        places = images.find(batch["image_id"])
        good &= (places >= 0) & batch["pdq"].is_valid().to_numpy(zero_copy_only=False)
        raw = b"".join(code for code, use in zip(batch["pdq"].to_pylist(), good) if use)
        codes.append(np.frombuffer(raw, np.uint8).reshape(-1, 32))
        rows.append(places[good])
    if not rows:
        return
    place, known = np.concatenate(rows), kept_pairs(dataset, distance)
    before = known.codes
    for left, right in near_pairs(np.concatenate(codes), distance, os.cpu_count() or 1, known):
        yield place[left], place[right]
    if not images.dry_run and not np.array_equal(known.codes, before):
        keep_pairs(dataset, distance, known)
