"""Self-retrieval over bags: does each caption pick its own image among look-alikes? (TrueMatch protocol)

Source: "No Detail Left Behind" (TMLR 2024): caption i of a bag hits when image i is the most similar of the bag.
Quirk: the original puts the target first, so that a tie counts as a hit and identical captions score 100. Here ties are
shared by default (`ties="mean"`): identical captions score 1/B, as chance does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_texts, unit
from panoglot.checks import check_option, item_ids, offenders
from panoglot.errors import UserError
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import prepare
from panoglot.metrics._result import MetricResult, bootstrap

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SELF_RETRIEVAL", "bag_hits", "random_bags", "self_retrieval"]


def bag_hits(similarity: Any, k: int = 1, ties: str = "mean") -> tuple[np.ndarray, np.ndarray]:
    """Hits and ranks of one bag.

    Args:
        similarity: `[B, B]`, captions by images; the diagonal holds the targets.
        k: a hit is a rank of at most k.
        ties: `mean` (rank in the middle of the tied, hit with the chance of a random order), `target_first`
            (as the original), `target_last`.

    Returns:
        Hits in 0..1 `[B]` and ranks from 1 `[B]`; NaN where the caption or a vector it is compared with is NaN.

    >>> hits, ranks = bag_hits([[.9, .8, .1], [.7, .6, .2], [.1, .2, .3]])
    >>> hits.tolist(), ranks.tolist()
    ([1.0, 0.0, 1.0], [1.0, 2.0, 1.0])
    >>> float(bag_hits([[.5, .5], [.5, .5]])[0].mean())
    0.5
    """
    import numpy as np

    check_option("ties", ties, ("mean", "target_first", "target_last"))
    table = np.asarray(similarity, dtype=np.float64)
    target = np.diag(table)[:, None]
    better = (table > target).sum(axis=1).astype(np.float64)
    equal = np.maximum((table == target).sum(axis=1) - 1.0, 0.0)  # others as good as the target
    if ties == "mean":
        hits = np.clip((k - better) / (equal + 1), 0.0, 1.0)
        ranks = 1 + better + equal / 2
    else:
        ranks = 1 + better + (equal if ties == "target_last" else 0)
        hits = (ranks <= k).astype(np.float64)
    lost = np.isnan(table).any(axis=1)
    hits[lost] = ranks[lost] = np.nan
    return hits, ranks


def self_retrieval(
    texts: Any,
    images: Any,
    bags: Sequence[Sequence[Any]],
    *,
    ids: Sequence[Any] | None = None,
    k: int = 1,
    ties: str = "mean",
    scorer: str = "",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Recall@k of captions over bags of images, in percent, over all bag sizes together and for each size.

    Args:
        texts: caption vectors `[N, dim]` of any length; a caption that could not be encoded is NaN.
        images: image vectors `[N, dim]`, in the same order.
        bags: bags of ids (of any sizes; an image may stand in several bags).
        ids: id of each row; positions when None.
        k: recall at k.
        ties: as in `bag_hits`.
        scorer: name of the encoder, recorded (a captioner tuned on this encoder must be judged by another one).
        confidence: level of a bootstrap interval over bags.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        `value` = R@k in percent; `parts`: `r@k/size`, `mean_rank/size`, `clip_score` (mean of max(0, 100 cos)). An
        item is an image in a bag, called `bag:id`.

    Raises:
        UserError: ids that are not there, duplicates inside a bag, shapes that do not fit.

    >>> result = self_retrieval([[1, 0], [1, 0], [0, 1]], [[1, 0], [1, .1], [0, 1]], [[0, 1], [0, 2]])
    >>> result.value, result.parts["r@1/2"]
    (75.0, 75.0)
    """
    import numpy as np

    ours, theirs = unit(texts), unit(images)
    if ours.shape != theirs.shape:
        raise UserError(f"text vectors {list(ours.shape)} and image vectors {list(theirs.shape)} do not fit.")
    place = {name: n for n, name in enumerate(item_ids(ids, len(ours)))}
    named = [list(map(str, bag)) for bag in bags]
    absent = sorted({name for bag in named for name in bag if name not in place})
    if absent:
        raise UserError(f"{len(absent)} ids of the bags have no caption: {offenders(absent)}.")
    twice = [f"bag {n}" for n, bag in enumerate(named) if len(set(bag)) < len(bag)]
    if twice:
        raise UserError(f"an image stands twice in {offenders(twice)}: it can never be told from itself.")
    hits: list[np.ndarray] = []
    ranks: list[np.ndarray] = []
    names: list[str] = []
    for n, bag in enumerate(named):
        rows = [place[name] for name in bag]
        hit, rank = bag_hits(ours[rows] @ theirs[rows].T, k, ties)
        hits.append(hit)
        ranks.append(rank)
        names += [f"{n}:{name}" for name in bag]
    flat = np.concatenate(hits) if hits else np.zeros(0)
    parts: dict[str, float | None] = {}
    for size in sorted({len(bag) for bag in named}):
        of_size = [n for n, bag in enumerate(named) if len(bag) == size]
        parts[f"r@{k}/{size}"] = _mean(np.concatenate([hits[n] for n in of_size]), 100)
        parts[f"mean_rank/{size}"] = _mean(np.concatenate([ranks[n] for n in of_size]))
        parts[f"chance/{size}"] = 100 * min(k, size) / size
    parts["clip_score"] = _mean(np.maximum(100 * (ours * theirs).sum(axis=1), 0.0))
    interval = None
    if confidence is not None and hits:
        # bags, not images, are drawn: images of one bag share their distractors
        sums = np.array([[100 * np.nansum(hit), np.isfinite(hit).sum()] for hit in hits])
        interval = bootstrap(
            sums,
            lambda means: means[:, 0] / np.maximum(means[:, 1], 1e-12),
            ids=["|".join(bag) + f"#{n}" for n, bag in enumerate(named)],
            level=confidence, resamples=resamples, seed=seed,
        )  # fmt: skip
    lost = int(np.isnan(flat).sum())
    return MetricResult(
        metric=f"self-retrieval-r@{k}",
        version="1",
        value=_mean(flat, 100),
        n=len(flat),
        unscored=lost,
        parts=parts,
        per_item=tuple(None if np.isnan(hit) else float(hit) for hit in flat),
        ids=tuple(names),
        interval=interval,
        options={"k": k, "ties": ties, "scorer": scorer, "bags": len(named)},
    )


def _mean(values: np.ndarray, scale: float = 1.0) -> float | None:
    import numpy as np

    kept = values[np.isfinite(values)]
    return float(scale * kept.mean()) if len(kept) else None


def random_bags(ids: Sequence[Any], size: int, seed: int = 0) -> list[list[str]]:
    """Disjoint bags of `size` ids each (RD100 is size 100), chosen by (seed, id); a rest smaller than `size` is left
    out.

    >>> sorted(map(len, random_bags(range(7), 3)))
    [3, 3]
    """
    import hashlib

    order = sorted(item_ids(ids, len(ids)), key=lambda name: hashlib.sha256(f"{seed}\x1f{name}".encode()).digest())
    return [order[at : at + size] for at in range(0, len(order) - size + 1, size)]


def _of_captions(preds: Any, images: Any, encoder: Any, *, lang: str, on_error: Any, confidence: Any) -> MetricResult:
    """Each caption against its own picture and up to 99 random others."""
    given = prepare(preds, None, lang=lang, tokenizer="whitespace", on_error=on_error)
    texts = encode_texts(encoder, given.texts, given.language)
    bags = random_bags(given.kept_ids, min(100, len(given.kept))) if len(given.kept) > 1 else []
    found = self_retrieval(
        texts, images[list(given.kept)], bags, ids=given.kept_ids, scorer=getattr(encoder, "name", ""),
        confidence=confidence,
    )  # fmt: skip
    alone = () if bags else ("a caption alone has no pictures to be told from",)
    return replace(found, notes=(*given.notes, *found.notes, *alone))


SELF_RETRIEVAL = Metric(
    "self-retrieval", _of_captions,
    "recall@1 of each caption's own picture among up to 100 others, in percent (RD100)",
    needs="images encoder", function="self_retrieval", languages="those of the encoder",
    source="Gaur et al., TMLR 2024", parity="definition; ties are shared",
)  # fmt: skip
