"""Filter `every_nth`: a few pictures of each cluster of similar ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from panoglot.curation._contract import image_group_filter
from panoglot.curation._measure import measured, watched
from panoglot.errors import UserError
from panoglot.running import encode_stage
from panoglot.vectors import k_means, nearest, stored_vectors, take_vectors, unit_rows, vector_rows, whitening

if TYPE_CHECKING:
    import numpy as np

    from panoglot.table import Dataset
    from panoglot.vectors import ImageIndex

__all__ = ["every_nth"]

_BLOCK = 32_768
_ORDERS = ("distance", "random", "record")


def _prepare(dataset: Dataset, options: Mapping[str, Any], run: Any) -> None:
    for key, least in {"clusters": 1, "n": 1, "iterations": 1, "sample": 1, "whiten": 0, "seed": 0}.items():
        if not isinstance(options[key], int) or options[key] < least:
            raise UserError(f"filter every_nth: {key}={options[key]}: give a whole number from {least} up.")
    if options["order"] not in _ORDERS:
        raise UserError(f"filter every_nth: order='{options['order']}': use {', '.join(_ORDERS)}.")
    if ":" in options["encoder"]:
        run(encode_stage(dataset, options["encoder"]))
    if dataset.images.exists() and not stored_vectors(dataset, options["encoder"], "every_nth").exists():
        raise UserError("filter every_nth: the dataset has no vectors yet: put encode before it.")


@image_group_filter("redundant", "no_vector", prepare=_prepare)
def every_nth(
    dataset: Dataset,
    images: ImageIndex,
    *,
    n: int = 5,
    clusters: int = 1000,
    order: str = "distance",
    seed: int = 0,
    whiten: int = 256,
    iterations: int = 20,
    sample: int = 256_000,
    encoder: str = "",
) -> tuple[np.ndarray, np.ndarray]:
    """Drop all but every n-th picture of each cluster of similar pictures: `⌈size / n⌉` of a cluster stay.

    The vectors are whitened by PCA, made unit vectors and clustered by k-means. The result depends on the vectors, ids
    and options alone: not on the order of the rows, unless `order` is `record`. Judged on all pictures, kept or not by
    other filters. Memory: 40 bytes an image beside the sample.

    Args:
        dataset: the dataset.
        images: the images that take part. One without a vector, or with one that is no number, is dropped: `no_vector`.
        n: one in so many stays.
        clusters: k of the k-means; fewer when there are fewer different pictures.
        order: in which the pictures of a cluster are counted off: by their `distance` from the centre (so that the most
            typical one stays, and some of all distances), at `random` (by `seed` and id), or as they stand in the table
            (`record`, as published).
        seed: of the sample, the first centres, and the random order.
        whiten: directions of the PCA; 0 leaves the vectors as they are.
        iterations: of the k-means.
        sample: most pictures that the centres are computed from, the same for the same ids.
        encoder: whose vectors (one an image): model or vector name; empty when there are those of one encoder only.
            Those of a model (`provider:name`) are made first if need be.

    Raises:
        UserError: no such vectors, several encoders to choose from, or several vectors an image.

    Source: TL;DR (arXiv 2305.20087), steps 3 and 4, there on code indices; the released script takes every fifth.
    """
    import numpy as np
    import pyarrow as pa

    table = stored_vectors(dataset, encoder, "every_nth")
    reasons = np.full(len(images), 1, np.int8)
    unscored = np.zeros(len(images), bool)
    if not len(images) or not table.exists():
        return reasons, unscored
    data = table.lance()
    rows, places = vector_rows(data, images)
    by_id = np.argsort(places)  # all that follows is in the order of ids
    rows, places = rows[by_id], places[by_id]
    if len(places) and (places[1:] == places[:-1]).any():
        name = table.name.removeprefix("vectors/")
        raise UserError(f"{name} has several vectors an image: filter every_nth needs an encoder with one.")
    drawn = _draw(images.ids[places], seed)
    training = np.sort(np.argpartition(drawn, sample - 1)[:sample]) if len(drawn) > sample else np.arange(len(drawn))
    raw = take_vectors(data, rows[training])
    usable = np.isfinite(raw).all(axis=1) & (raw != 0).any(axis=1)
    raw, training = raw[usable], training[usable]
    if not len(raw):
        return reasons, unscored
    mean, matrix = whitening(raw, whiten) if whiten else (np.zeros(raw.shape[1], np.float32), None)
    shuffled = np.argsort(drawn[training], kind="stable")
    centres = k_means(_project(raw, mean, matrix)[shuffled], clusters, iterations, seed)
    cluster, distance = np.full(len(rows), -1, np.int32), np.zeros(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):  # blocks of ids: rounding is the same, however the rows lie
        vectors = take_vectors(data, rows[start : start + _BLOCK])
        good = np.flatnonzero(np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1))
        if len(good):
            number, far = nearest(_project(vectors[good], mean, matrix), centres)
            cluster[start + good], distance[start + good] = number, far
    key: dict[str, Callable[[], np.ndarray]] = {
        "distance": lambda: distance,
        "random": lambda: drawn,
        "record": lambda: _standing(dataset, images)[places],
    }
    ranked = np.lexsort((places, key[order](), cluster))
    present, starts, sizes = np.unique(cluster[ranked], return_index=True, return_counts=True)
    position = np.arange(len(ranked)) - np.repeat(starts, sizes)
    if asked := watched():
        for at in np.flatnonzero(places[ranked] == images.find(pa.array([asked]))[0]).tolist():
            size = int(sizes[np.searchsorted(present, cluster[ranked[at]])])
            measured(f"place in a cluster of {size:,}, one in {n:,} stays", int(position[at]) + 1)
    reasons[places[ranked]] = np.where(cluster[ranked] < 0, 1, np.where(position % n == 0, -1, 0))
    sizes = sizes[present >= 0]
    images.statistics |= {"clusters": len(sizes), "smallest": int(sizes.min()), "largest": int(sizes.max())}
    return reasons, unscored


def _draw(ids: np.ndarray, seed: int) -> np.ndarray:
    """A number of each id and the seed that is as good as random, uint64 `[n]`."""
    import numpy as np

    from panoglot.curation._ngrams import mix

    return mix(ids[:, 1] ^ mix(ids[:, 0] ^ np.uint64(seed & (2**64 - 1))))


def _project(vectors: np.ndarray, mean: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    found = vectors if matrix is None or not matrix.shape[1] else (vectors - mean) @ matrix
    return unit_rows(found, without=0.0, dtype=found.dtype)


def _standing(dataset: Dataset, images: ImageIndex) -> np.ndarray:
    """Place of every image in the table, int64."""
    import numpy as np

    found, seen = np.zeros(len(images), np.int64), 0
    for batch in dataset.images.batches(["image_id"], size=65_536):
        place = images.find(batch["image_id"])
        found[place[place >= 0]] = seen + np.flatnonzero(place >= 0)
        seen += batch.num_rows
    return found
