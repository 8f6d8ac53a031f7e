"""Preset `tldr`: a few pictures of each cluster, and of their texts the better half."""

from __future__ import annotations

from panoglot.curation._contract import Steps, preset

__all__ = ["tldr"]


@preset("tldr")
def tldr(
    *,
    clusters: int = 1000,
    keep_one_in: int = 5,
    order: str = "distance",
    seed: int = 0,
    encoder: str = "",
    match_quantile: float = 0.5,
    score: str = "alignment",
    scorer: str = "",
) -> Steps:
    """TL;DR (2023): one in five pictures of each of 1000 clusters, and the texts that match at or above the median.

    Both halves look at all pictures and texts, so neither depends on the other. The method `append` is the third part:
    it writes `text; generated caption` beside what is kept.

    The paper's vectors are codes: `encoder="pano:RUN?codes=true"` of a run of `panoglot train tldr`. Any other
    encoder's do as well.

    Differences: how often a picture uses each code, not the indices themselves, which have no distances; the seed is
    fixed; pictures are counted off by their distance from the centre unless `order` says otherwise (the release takes
    them as they stand in its list).

    Args:
        clusters: k of the k-means.
        keep_one_in: pictures of a cluster of which one stays.
        order: see `every_nth`.
        seed: see `every_nth`.
        encoder: whose vectors are clustered, see `every_nth`.
        match_quantile: part of the texts that is dropped for matching worst.
        score: name of the matching score.
        scorer: model that writes it.

    Source: arXiv 2305.20087; showlab/datacentric.vlp.
    """
    pictures = {"clusters": clusters, "n": keep_one_in, "order": order, "seed": seed, "encoder": encoder}
    best = {"name": score, "share": round(1 - match_quantile, 12), "ties": "keep", "of_kept": False, "scorer": scorer}
    return (("every_nth", pictures), ("top_score", {**best, "kinds": ("alt", "human")}))
