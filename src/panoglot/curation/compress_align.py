"""Preset `compress-align`: the best tenth by a score that stands for people's judgement."""

from __future__ import annotations

from collections.abc import Sequence

from panoglot.curation._contract import SENTENCES, Steps, preset

__all__ = ["compress_align"]


@preset("compress-align")
def compress_align(
    *,
    score: str = "alignment",
    scorer: str = "",
    top_fraction: float | None = 0.119,
    threshold: float | None = None,
    calibrate: bool = True,
    mean: float | None = None,
    std: float | None = None,
    per_group: Sequence[str] = (),
    best_caption: bool = False,
    deduplicate: bool = True,
    kinds: Sequence[str] = SENTENCES,
) -> Steps:
    """Compress & Align (2023): the best 11.9 % of the texts by a reward score.

    Copies of pictures and texts go first, so that no rank is lost to them; then the texts are ranked by the score,
    which a reward model (`scorer`) or any earlier step wrote. The published share is 15.5 of 130 million.

    Differences: without a reward model the score is a cosine (`alignment`), which the paper compares itself with. One
    share for all languages keeps few of those that the scorer knows little of: `per_group: [lang]`.

    Args:
        score: name of the score.
        scorer: model that writes it: a reward model (`panoglot train compress-align` makes one, `pano:FOLDER` names it;
            its score is called otherwise than `alignment`) or an encoder.
        top_fraction: part that stays; None for all above the threshold.
        threshold: least score, in standard deviations from the mean when calibrated.
        calibrate: measure mean and standard deviation now; off when they are given.
        mean: of an earlier run, for the same threshold.
        std: of an earlier run.
        per_group: columns (`lang`, `kind`, `recipe`, `model`) in each group of which the share holds.
        best_caption: then keep one text an image, the best.
        deduplicate: drop copies first.
        kinds: kinds of captions that are ranked.

    Source: arXiv 2312.06726.
    """
    rank = {
        "name": score,
        "share": top_fraction,
        "minimum": threshold,
        "calibrate": calibrate and mean is None and std is None,
        "mean": mean,
        "std": std,
        "per": per_group,
        "scorer": scorer,
        "kinds": kinds,
    }
    return (
        *(["near_duplicate", ("duplicate_text", {"kinds": kinds})] if deduplicate else []),
        ("top_score", rank),
        *([("best_caption", {"name": score, "kinds": kinds})] if best_caption else []),
    )
