"""Retrieval from vectors: any queries against any gallery, or images and texts both ways."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from panoglot.checks import OnError, check_option, item_ids, offenders
from panoglot.errors import UserError
from panoglot.metrics._result import MetricResult
from panoglot.metrics.ranking._metrics import metric_name, parse_metric, rank_result
from panoglot.metrics.ranking._ranks import Ties, check_positions, check_vectors, positive_ranks, ranks_both_ways

if TYPE_CHECKING:
    import numpy as np

__all__ = ["image_text_retrieval", "retrieval"]

RECALLS = ("recall@1", "recall@5", "recall@10")
#: Metrics for which the first positive's rank is enough.
_FIRST = ("recall@", "mrr", "rank")


def _bad_rows(rows: np.ndarray, names: Sequence[str], what: str, on_error: OnError) -> list[int]:
    """Rows with NaN, zero or infinite vectors.

    Raises:
        UserError: there are some and `on_error="raise"`.
    """
    import numpy as np

    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist()
    if bad and on_error == "raise":
        raise UserError(
            f"{len(bad)} {what} have no usable vector (NaN, infinite or all zero): {offenders(names[n] for n in bad)}. "
            "Encode them again, or leave them unscored with on_error='null'."
        )
    rows[bad] = np.nan
    return bad


def _only_first(metrics: Sequence[str]) -> bool:
    return all(metric_name(metric).startswith(_FIRST) for metric in metrics)


def _folded(pictures: Any, words: Any, owner: Sequence[int], folds: int, ties: Ties, best: bool) -> tuple[Any, Any]:
    """Ranks both ways, of every query within its fold."""
    size = len(pictures) // folds
    by_image: list[Any] = []
    by_text: list[Any] = [None] * len(words)
    for first in range(0, len(pictures), max(1, size)):
        mine = [n for n, image in enumerate(owner) if first <= image < first + size]
        part = pictures[first : first + size]
        images, texts = ranks_both_ways(part, words[mine], [owner[n] - first for n in mine], ties=ties, best=best)
        by_image += list(images)
        for n, ranks in zip(mine, texts, strict=True):
            by_text[n] = ranks
    return by_image, by_text


def retrieval(
    queries: Any,
    gallery: Any,
    positives: Sequence[int] | Sequence[Sequence[int]],
    *,
    metrics: Sequence[str] = RECALLS,
    similarity: str = "cosine",
    ties: Ties = "mean",
    ignore: Sequence[Sequence[int]] | Mapping[int, Sequence[int]] | None = None,
    candidates: Sequence[Sequence[int] | None] | None = None,
    ids: Sequence[Any] | None = None,
    name: str = "",
    lang: str = "",
    on_error: OnError = "raise",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Search a gallery with queries and rank what should be found.

    Args:
        queries: `[N, dim]`, any floats.
        gallery: `[G, dim]`.
        positives: gallery row (or rows) of each query.
        metrics: names, for example `recall@10`, `map@5`, `ndcg@10`, `mrr`, `r_precision`; the first is `value`.
        similarity: `cosine`, or `dot` for vectors as they are.
        ties: rank among equal scores: `mean` (expected in random order), `optimistic`, `pessimistic`.
        ignore: gallery rows that do not compete, for each query: the reference picture, other versions of the target.
        candidates: gallery rows each query is confined to (CIRR's subset, candidate lists); None for all.
        ids: query ids.
        name: prefix of the result's name.
        lang: language of the queries.
        on_error: queries without positives or without a usable vector: `raise`, or leave them `null` and counted. A
            gallery row without a usable vector is then never found; a query that has no other positive is null too.
        confidence: level of a bootstrap interval of `value`.
        resamples: of the interval.
        seed: of the interval.

    Raises:
        UserError: naming the first offenders and how many.

    >>> found = retrieval([[1, 0], [0, 1]], [[1, 0], [1, 1], [0, 1]], [0, 1], metrics=["recall@1", "mrr"])
    >>> found.value, found.parts["mrr"], found.details
    (0.5, 0.75, (1.0, 2.0))
    """
    check_option("on_error", on_error, ("raise", "null"))
    items = check_vectors(gallery, "gallery vectors", similarity=similarity)
    asked = check_vectors(queries, "query vectors", dim=items.shape[1], similarity=similarity)
    names = item_ids(ids, len(asked))
    wanted = check_positions(positives, len(asked), len(items), "positives")
    if candidates is not None and len(candidates) != len(asked):
        raise UserError(f"candidates for {len(candidates)} queries, but there are {len(asked)}.")
    if ignore is not None and not isinstance(ignore, Mapping) and len(ignore) != len(asked):
        raise UserError(f"ignore for {len(ignore)} queries, but there are {len(asked)}.")
    without = [n for n, row in enumerate(wanted) if not row]
    if without and on_error == "raise":
        raise UserError(f"{len(without)} queries have no positives: {offenders(names[n] for n in without)}.")
    lost = _bad_rows(items, list(map(str, range(len(items)))), "gallery rows", on_error)
    unscored = {*without, *_bad_rows(asked, names, "queries", on_error)}
    gone = set(lost)
    unscored.update(n for n, row in enumerate(wanted) if gone.issuperset(row))  # nothing of it could be found
    ranks = positive_ranks(
        asked, items, wanted, ties=ties, ignore=ignore, candidates=candidates, best=_only_first(metrics)
    )
    return rank_result(
        [None if n in unscored else row for n, row in enumerate(ranks)],
        [len(row) for row in wanted],
        metrics=metrics,
        ids=names,
        name=name,
        language=lang,
        options={"similarity": similarity, "ties": ties, "gallery": len(items)},
        notes=[f"{len(lost)} gallery rows have no vector and were never found"] if lost else [],
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def image_text_retrieval(
    images: Any,
    texts: Any,
    owners: Sequence[int],
    *,
    metrics: Sequence[str] = RECALLS,
    similarity: str = "cosine",
    ties: Ties = "mean",
    image_ids: Sequence[Any] | None = None,
    text_ids: Sequence[Any] | None = None,
    lang: str = "",
    on_error: OnError = "raise",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    folds: int = 1,
) -> dict[str, MetricResult]:
    """Recall both ways, from one matrix product where it fits in memory (600 MB of scores), else one for each way.

    Args:
        images: `[I, dim]`.
        texts: `[T, dim]`.
        owners: the image of every text, `[T]`.
        metrics: names; the first is `value`.
        similarity: `cosine` or `dot`.
        ties: `mean`, `optimistic`, `pessimistic`.
        image_ids: ids of the images.
        text_ids: ids of the texts.
        lang: language of the texts.
        on_error: images without texts, and what has no usable vector: `raise`, or `null` and counted.
        confidence: level of bootstrap intervals.
        resamples: of the intervals.
        seed: of the intervals.
        folds: the images are cut into so many equal parts, in order, and every query searches its own part only: 5 is
            the usual way on COCO's 5,000 test images (the mean over five times 1,000).

    Returns:
        `text_to_image` (a text's one image) and `image_to_text` (a hit is any of the image's texts).

    >>> both = image_text_retrieval([[1, 0], [0, 1]], [[1, 0], [1, 0.1], [0.9, 1]], [0, 0, 1], metrics=["recall@1"])
    >>> {way: result.value for way, result in both.items()}
    {'image_to_text': 1.0, 'text_to_image': 1.0}
    """
    check_option("on_error", on_error, ("raise", "null"))
    pictures = check_vectors(images, "image vectors", similarity=similarity)
    words = check_vectors(texts, "text vectors", dim=pictures.shape[1], similarity=similarity)
    names, text_names = item_ids(image_ids, len(pictures)), item_ids(text_ids, len(words))
    owner = [row[0] for row in check_positions([[o] for o in owners], len(words), len(pictures), "owners")]
    counts = [0] * len(pictures)
    for n in owner:
        counts[n] += 1
    without = [n for n, count in enumerate(counts) if not count]
    if without and on_error == "raise":
        raise UserError(f"{len(without)} images have no text: {offenders(names[n] for n in without)}.")
    lost = set(_bad_rows(pictures, names, "images", on_error))
    mute = set(_bad_rows(words, text_names, "texts", on_error))
    if folds < 1 or len(pictures) % folds:
        raise UserError(f"{len(pictures)} images cannot be cut into {folds} equal folds.")
    by_image, by_text = _folded(pictures, words, owner, folds, ties, _only_first(metrics))
    rest = {
        "metrics": metrics,
        "language": lang,
        "options": {"similarity": similarity, "ties": ties, "images": len(pictures), "texts": len(words)}
        | ({"folds": folds} if folds > 1 else {}),
        "confidence": confidence,
        "resamples": resamples,
        "seed": seed,
    }
    heard = {image for n, image in enumerate(owner) if n not in mute}
    no_image = {n for n in range(len(pictures)) if n in lost or n not in heard}
    no_text = {n for n, image in enumerate(owner) if n in mute or image in lost}
    found = {
        "image_to_text": rank_result(
            [None if n in no_image else row for n, row in enumerate(by_image)],
            counts,
            ids=names,
            name="image_to_text",
            notes=[f"{len(mute)} texts have no vector and were never found"] if mute else [],
            **rest,  # type: ignore[arg-type]
        ),
        "text_to_image": rank_result(
            [None if n in no_text else row for n, row in enumerate(by_text)],
            [1] * len(words),
            ids=text_names,
            name="text_to_image",
            notes=[f"{len(lost)} images have no vector and were never found"] if lost else [],
            **rest,  # type: ignore[arg-type]
        ),
    }
    of_image = [counts[n] for n in range(len(pictures)) if n not in no_image]
    of_text = [1] * (len(words) - len(no_text))
    return {
        "image_to_text": _with_chance(found["image_to_text"], of_image, len(words)),
        "text_to_image": _with_chance(found["text_to_image"], of_text, len(pictures)),
    }


def _with_chance(found: MetricResult, positives: Sequence[int], gallery: int) -> MetricResult:
    """Add what a random order would reach at the first metric, where that is a recall.

    >>> from panoglot.metrics.ranking._metrics import rank_result
    >>> one = rank_result([[1.0]], [2], metrics=["recall@2"])
    >>> round(_with_chance(one, [2], 4).parts["chance"], 4)  # 1 - 2/4 * 1/3
    0.8333
    """
    kind, k = parse_metric(found.metric.rpartition("/")[2])
    if kind != "recall" or not positives or k is None:
        return found
    missed = {
        own: math.prod(max(gallery - own - n, 0) / (gallery - n) for n in range(min(k, gallery)))
        for own in set(positives)
    }
    chance = 1 - math.fsum(missed[own] for own in positives) / len(positives)
    return replace(found, parts={**found.parts, "chance": chance})
