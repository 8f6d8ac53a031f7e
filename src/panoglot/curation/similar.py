"""Pair finder `similar`: pictures whose vectors of an encoder point the same way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from panoglot.curation._contract import UNSCORED, Verdict, pair_finder
from panoglot.curation._measure import measured
from panoglot.errors import UserError
from panoglot.table import sql_in
from panoglot.vectors import stored_vectors, take_vectors, vector_rows

if TYPE_CHECKING:
    import lance
    import numpy as np

    from panoglot.table import Dataset
    from panoglot.vectors import ImageIndex

__all__ = ["similar"]

_BLOCK = 2048


def _compare(dataset: Dataset, image: str, other: str | None, options: Mapping[str, Any]) -> Verdict:
    """Measure how far an image is from another that it is put together with."""
    import numpy as np

    table = stored_vectors(dataset, options["encoder"], "similar")
    wanted = sql_in("id", [image, *([other] if other else [])])
    found = {row["id"]: row["vector"] for row in table.rows(["id", "vector"], wanted)} if table.exists() else {}
    if image not in found:
        measured("vector", None)
        return UNSCORED
    if other is not None and other in found:
        cosine = float(np.dot(np.asarray(found[image], np.float32), np.asarray(found[other], np.float32)))
        measured(f"cosine to {other[:12]}", cosine, below=options["minimum"])
    return None


@pair_finder("duplicate_of", compare=_compare)
def similar(
    dataset: Dataset,
    images: ImageIndex,
    *,
    minimum: float = 0.95,
    encoder: str = "",
    exact_up_to: int = 50_000,
    probes: int = 3,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Drop pictures that show the same as another, by the cosine of their stored vectors: crops, turns, re-takes.

    Grouping and the image that stays are those of `near_duplicate`; use it after it, with vectors that are stored.

    Args:
        dataset: the dataset.
        images: the images that take part.
        minimum: least cosine of a pair.
        encoder: whose vectors (one an image): model or vector name; empty when there are those of one encoder only.
        exact_up_to: up to so many images all are compared with all. Beyond, an image is compared with those that share
            one of its `probes` nearest of sqrt(N) pivots (the images with the smallest ids, so that the order of the
            rows makes no difference); a pair that is nearly alike shares one almost surely, and memory stays bounded.
        probes: pivots of an image; more find more.

    Raises:
        UserError: no such vectors, several encoders to choose from, or several vectors an image.

    Source: semantic de-duplication within clusters, SemDeDup (Abbas et al. 2023).
    """
    import numpy as np

    table = stored_vectors(dataset, encoder, "similar")
    if not table.exists():
        return
    data = table.lance()
    rows, places = vector_rows(data, images)
    if len(np.unique(places)) != len(places):
        name = table.name.removeprefix("vectors/")
        raise UserError(f"{name} has several vectors an image: filter similar needs an encoder with one.")
    order = np.argsort(places)  # order of ids
    rows, places = rows[order], places[order]
    if len(rows) <= exact_up_to:
        vectors = take_vectors(data, rows)
        for left, right in _alike(vectors, minimum):
            yield places[left], places[right]
        return
    for cluster in _clusters(data, rows, math.isqrt(len(rows)), probes):
        for left, right in _alike(take_vectors(data, rows[cluster]), minimum):
            yield places[cluster[left]], places[cluster[right]]


def _alike(vectors: np.ndarray, minimum: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (i < j) of rows whose dot product is at least `minimum`, block by block."""
    import numpy as np

    for top in range(0, len(vectors), _BLOCK):
        for left in range(top, len(vectors), _BLOCK):
            i, j = np.nonzero(vectors[top : top + _BLOCK] @ vectors[left : left + _BLOCK].T >= minimum)
            i, j = i + top, j + left
            yield i[i < j], j[i < j]


def _clusters(data: lance.LanceDataset, rows: np.ndarray, pivots: int, probes: int) -> Iterator[np.ndarray]:
    """Lists of positions in `rows` that have a pivot in common."""
    import numpy as np

    centres = take_vectors(data, rows[:pivots])  # ids are hashes: the smallest are a random sample
    probes = min(probes, pivots)
    nearest = np.empty((len(rows), probes), np.int32)
    for start in range(0, len(rows), 16 * _BLOCK):
        some = take_vectors(data, rows[start : start + 16 * _BLOCK])
        nearest[start : start + len(some)] = np.argpartition(-(some @ centres.T), probes - 1, axis=1)[:, :probes]
    order = np.argsort(nearest.ravel(), kind="stable")
    edges = np.searchsorted(nearest.ravel()[order], np.arange(pivots + 1))
    for start, end in pairwise(edges):
        yield np.sort(order[start:end] // probes)
