"""Ranks of the positives, by counting what scores higher: no sorting, one matrix product in chunks.

The positive's own score is read from the same product as its rivals', so rounding never counts it against itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from panoglot.checks import check_option, offenders
from panoglot.errors import UserError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "TIES",
    "RankOptions",
    "Ties",
    "check_vectors",
    "positive_ranks",
    "ranks_both_ways",
    "ranks_of_scores",
    "score_rows",
    "tied_ranks",
]

#: Rank of positives among rivals with the same score: expected rank in random order, before them, or after them.
Ties = Literal["mean", "optimistic", "pessimistic"]
TIES: tuple[Ties, ...] = ("mean", "optimistic", "pessimistic")

#: Bytes of scores held at a time, and the most for which the whole matrix is kept to serve both directions.
CHUNK, WHOLE = 32 << 20, 600 << 20


def check_vectors(vectors: Any, what: str, *, dim: int | None = None, similarity: str = "cosine") -> np.ndarray:
    """Return float32 rows `[N, dim]`, of length 1 for cosines; a zero row becomes NaN (it has no direction).

    Raises:
        UserError: not a matrix, empty, or another dimension than `dim`.
    """
    import numpy as np

    check_option("similarity", similarity, ("cosine", "dot"))
    found = np.asarray(vectors)
    if found.ndim != 2 or not found.shape[0] or not found.shape[1]:
        raise UserError(f"{what} must be a matrix [N, dim] with at least one row, not of shape {list(found.shape)}.")
    if dim is not None and found.shape[1] != dim:
        raise UserError(
            f"{what} have {found.shape[1]} dimensions, the others {dim}: encode both with the same encoder."
        )
    rows = np.ascontiguousarray(found, dtype=np.float32)
    if similarity == "dot":
        return rows
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64)).astype(np.float32)[:, None]
    out: np.ndarray = np.divide(rows, length, out=np.full_like(rows, np.nan), where=(length > 0) & np.isfinite(length))
    return out


def score_rows(queries: np.ndarray, gallery: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first query, scores `[n, G]`) in chunks that stay small."""
    size = max(1, CHUNK // (4 * len(gallery)))
    for start in range(0, len(queries), size):
        yield start, queries[start : start + size] @ gallery.T


def tied_ranks(above: float, positives: int, rivals: int, ties: Ties) -> list[float]:
    """Ranks of `positives` items that score the same as `rivals` others, with `above` items before them all.

    >>> tied_ranks(2, 1, 3, "mean"), tied_ranks(2, 1, 3, "optimistic"), tied_ranks(2, 1, 3, "pessimistic")
    ([4.5], [3.0], [6.0])
    """
    if ties == "mean":  # order statistics of a random order
        return [above + i * (positives + rivals + 1) / (positives + 1) for i in range(1, positives + 1)]
    return [float(above + i + (rivals if ties == "pessimistic" else 0)) for i in range(1, positives + 1)]


def _row_ranks(row: np.ndarray, own: np.ndarray, ties: Ties, best: bool) -> list[float]:
    """Ranks of the positives (scores `own`, not NaN) in a row of scores that holds them; ascending."""
    import numpy as np

    found: list[float] = []
    for level in (own.max(),) if best else np.unique(own)[::-1]:
        above = int(np.count_nonzero(row > level))
        same = int(np.count_nonzero(row == level))
        many = int((own == level).sum())
        found += tied_ranks(above, many, same - many, ties)
    return found[:1] if best else found


class RankOptions(TypedDict, total=False):
    """Options of ranks.

    Attributes:
        ties: how equal scores count.
        ignore: gallery rows that do not compete with each query's positives.
        candidates: gallery rows that each query is confined to.
        best: only the first positive's rank.
    """

    ties: Ties
    ignore: Sequence[Sequence[int]] | Mapping[int, Sequence[int]] | None
    candidates: Sequence[Sequence[int] | None] | None
    best: bool


def positive_ranks(
    queries: np.ndarray,
    gallery: np.ndarray,
    positives: Sequence[Sequence[int]],
    **how: Unpack[RankOptions],
) -> list[list[float]]:
    """Ranks (1 is best) of the positives of every query, ascending; options as `ranks_of_scores`.

    Args:
        queries: float32 `[N, dim]`. A row with NaN has no ranks.
        gallery: float32 `[G, dim]`. A row with NaN is never found: a positive there has no rank.
        positives: gallery rows of each query.
        **how: see `RankOptions`.
    """
    return ranks_of_scores(score_rows(queries, gallery), positives, **how)


def ranks_of_scores(
    scores: Iterable[tuple[int, np.ndarray]],
    positives: Sequence[Sequence[int]],
    *,
    ties: Ties = "mean",
    ignore: Sequence[Sequence[int]] | Mapping[int, Sequence[int]] | None = None,
    candidates: Sequence[Sequence[int] | None] | None = None,
    best: bool = False,
) -> list[list[float]]:
    """Ranks of the positives of every query in rows of scores.

    Args:
        scores: (first query, scores `[n, G]`), in order; changed in place. NaN is never found.
        positives: gallery rows of each query.
        ties: how equal scores count.
        ignore: gallery rows that do not compete with each query's positives (itself, other versions of the same).
        candidates: gallery rows that each query is confined to (its positives among them); None for all.
        best: only the first positive's rank.
    """
    import numpy as np

    check_option("ties", ties, TIES)
    found: list[list[float]] = []
    for start, block in scores:
        for n, row in enumerate(block, start):
            items = np.asarray(positives[n], dtype=np.intp)
            own = row[items]
            own = own[~np.isnan(own)]
            drop = (ignore.get(n) if isinstance(ignore, Mapping) else ignore[n]) if ignore is not None else None
            if drop is not None and len(drop):
                rivals = np.setdiff1d(np.asarray(drop, dtype=np.intp), items)
                row[rivals] = np.nan
            some = candidates[n] if candidates is not None else None
            if some is not None:
                row = row[np.union1d(np.asarray(some, dtype=np.intp), items)]
            found.append(_row_ranks(row, own, ties, best) if len(own) else [])
    return found


def ranks_both_ways(
    images: np.ndarray, texts: np.ndarray, owners: Sequence[int], *, ties: Ties = "mean", best: bool = True
) -> tuple[list[list[float]], list[list[float]]]:
    """Ranks of each image's texts, and of each text's image, from one product when it fits in memory.

    Args:
        images: float32 `[I, dim]`.
        texts: float32 `[T, dim]`.
        owners: the image of every text, `[T]`.
        ties: how equal scores count.
        best: only the first positive's rank.

    Returns:
        `(image_to_text, text_to_image)`, as `positive_ranks`.
    """
    import numpy as np

    check_option("ties", ties, TIES)
    owner = np.asarray(owners, dtype=np.intp)
    order = np.argsort(owner, kind="stable")
    texts_of: list[Any] = np.split(order, np.searchsorted(owner[order], np.arange(1, len(images))))
    if 4 * len(images) * len(texts) > WHOLE:
        return (
            positive_ranks(images, texts, texts_of, ties=ties, best=best),
            positive_ranks(texts, images, owner[:, None].tolist(), ties=ties, best=best),
        )
    scores = images @ texts.T
    level = scores[owner, np.arange(len(texts))]
    above, same = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    by_image = []
    for start in range(0, len(images), 128):  # a block stays in the cache for all that is asked of it
        block = scores[start : start + 128]
        for row, items in zip(block, texts_of[start : start + 128]):
            own = row[items]
            own = own[~np.isnan(own)]
            by_image.append(_row_ranks(row, own, ties, best) if len(own) else [])
        # up to 255 rows: a byte holds the count
        above += np.add.reduce((block > level).view(np.uint8), axis=0, dtype=np.uint8)
        same += np.add.reduce((block == level).view(np.uint8), axis=0, dtype=np.uint8)
    by_text = [tied_ranks(high, 1, tied - 1, ties) if tied else [] for high, tied in zip(above.tolist(), same.tolist())]
    return by_image, by_text


def check_positions(positions: Sequence[Any], count: int, size: int, what: str) -> list[list[int]]:
    """Return each query's gallery rows as a list without repeats.

    Raises:
        UserError: another number than queries, or rows outside the gallery.
    """
    if len(positions) != count:
        raise UserError(f"{what} for {len(positions)} queries, but there are {count} queries.")
    found = [[int(p)] if not hasattr(p, "__len__") else list(dict.fromkeys(map(int, p))) for p in positions]
    odd = [f"query {n} ({p})" for n, row in enumerate(found) for p in row if not 0 <= p < size]
    if odd:
        raise UserError(f"{what} outside the gallery of {size}: {offenders(odd)}.")
    return found
