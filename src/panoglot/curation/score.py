"""Filters `score` and `image_score`: a named score below its threshold."""

from __future__ import annotations

from collections.abc import Mapping

from panoglot.curation._contract import UNSCORED, Facts, Verdict, caption_filter, image_filter
from panoglot.curation._measure import measured
from panoglot.table import KINDS, Caption

__all__ = ["image_score", "score"]


def _judge(scores: Mapping[str, float | None], name: str, minimum: float | None, maximum: float | None) -> Verdict:
    value = measured(f"score {name}", scores.get(name), least=minimum, most=maximum)
    if value is None or value != value:  # not computed, or not a number
        return UNSCORED
    if minimum is not None and value < minimum:
        return f"low_{name}"
    return f"high_{name}" if maximum is not None and value > maximum else None


@caption_filter("low_*", "high_*", kinds=KINDS)
def score(
    caption: Caption,
    facts: Facts,
    *,
    name: str = "alignment",
    minimum: float | None = None,
    maximum: float | None = None,
) -> Verdict:
    """Drop captions whose score `name` is below `minimum` or above `maximum`; a caption without that score is kept.

    Source: score-to-threshold selection as in CLIP filtering (LAION, DataComp) and Compress & Align.

    >>> score(Caption("a dog", scores={"alignment": 0.12}), {}, minimum=0.2), score(Caption("a cat"), {}, minimum=0.2)
    ('low_alignment', <Unscored.UNSCORED: 'unscored'>)
    """
    return _judge(caption.scores, name, minimum, maximum)


@image_filter("low_*", "high_*", needs=("scores",))
def image_score(
    facts: Facts, *, name: str = "aesthetic", minimum: float | None = None, maximum: float | None = None
) -> Verdict:
    """Drop images whose score `name` (in `marks`) is below `minimum` or above `maximum`; without it they are kept.

    >>> image_score({"scores": {"nsfw": 0.9}}, name="nsfw", maximum=0.5)
    'high_nsfw'
    """
    return _judge(facts.get("scores") or {}, name, minimum, maximum)
