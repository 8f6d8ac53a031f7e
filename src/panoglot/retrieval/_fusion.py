"""Several rankings into one: reciprocal ranks, each part's share shown.

`score = sum_p w_p (K + 1) / (K + rank_p) / sum_p w_p` over the parts that were asked (Cormack et al. 2009), without
those that cannot know the image, for they have no vector of it: an image that is first in all has 1, and its parts add
up to its score. A share of `lexical` is multiplied by its BM25 over the best one's, for a caption may have nothing but
an article of the text. One part alone keeps its own scores.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.checks import several
from panoglot.errors import UserError, did_you_mean
from panoglot.retrieval._gallery import Ranked

__all__ = ["PARTS", "WEIGHTS", "Fused", "fuse", "part_names", "part_weights"]

#: The parts of a search: words that stand in captions, captions token by token, their meaning, pictures.
PARTS = ("lexical", "passage", "caption", "picture")
#: How much each counts: chosen on the stamps in 25 languages, `benchmarks/bench_hybrid_stamps.py`.
WEIGHTS = {"lexical": 1.0, "passage": 1.0, "caption": 1.0, "picture": 0.25}
#: How much the first ranks stand out: 60 in the paper, where 10 of 100 documents are wanted; here one picture is.
K = 5


@dataclass
class Fused:
    """An image with its score and the parts of it."""

    image_id: str
    score: float
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)


def part_names(given: str | Sequence[str]) -> list[str]:
    """Names of parts, in order.

    >>> part_names("picture,lexical")
    ['lexical', 'picture']

    Raises:
        UserError: none, or an unknown one.
    """
    names = several(given)
    for name in names:
        if name not in PARTS:
            raise UserError(f"a search has no part '{name}'.{did_you_mean(name, PARTS)}")
    if not names:
        raise UserError(f"name at least one part: {', '.join(PARTS)}.")
    return [name for name in PARTS if name in names]


def part_weights(given: Mapping[str, float] | None, chosen: Sequence[str]) -> dict[str, float]:
    """Weights of the parts that are asked.

    Raises:
        UserError: of an unknown part, below 0, none above 0.
    """
    weights = {**WEIGHTS, **(given or {})}
    for name, value in weights.items():
        if name not in PARTS:
            raise UserError(f"a search has no part '{name}'.{did_you_mean(name, PARTS)}")
        if not value >= 0:
            raise UserError(f"the weight of {name} is {value}; it must be 0 or more.")
    found = {name: float(weights[name]) for name in chosen}
    if not sum(found.values()):
        raise UserError("all parts that are asked have the weight 0.")
    return found


def fuse(
    ranked: Mapping[str, Sequence[Ranked]],
    weights: Mapping[str, float],
    unheard: Mapping[str, Collection[str]] | None = None,
) -> list[Fused]:
    """Join rankings; best first, ties by id.

    Args:
        ranked: by part.
        weights: of the parts.
        unheard: images that a part cannot rank at all, for it has no vector of theirs: its weight is not of their sum.

    >>> one, two = [Ranked("a", 0.9), Ranked("b", 0.8)], [Ranked("b", 7.0)]
    >>> [(f.image_id, round(f.score, 3)) for f in fuse({"picture": one, "lexical": two}, {"picture": 1, "lexical": 1})]
    [('b', 0.929), ('a', 0.5)]
    """
    found: dict[str, Fused] = {}
    deaf = {name: images for name, images in (unheard or {}).items() if name in ranked and images}
    whole = sum(weights[name] for name in ranked) or 1.0
    for name, row in ranked.items():
        rank, before = 0, float("nan")
        for place, one in enumerate(row, 1):
            if abs(one.score - before) > 1e-6 or not rank:  # equals share the better rank: the other parts decide
                rank, before = place, one.score
            total = whole
            if deaf:
                total = sum(weights[part] for part in ranked if one.image_id not in deaf.get(part, ())) or 1.0
            share = one.score if len(ranked) == 1 else weights[name] * (K + 1) / (K + rank) / total
            if name == "lexical" and len(ranked) > 1:  # "a" and "the" alone are no find beside the whole text
                share *= one.score / row[0].score if row[0].score > 0 else 0.0
            into = found.setdefault(one.image_id, Fused(one.image_id, 0.0))
            into.score += share
            into.parts[name] = {"score": share, "rank": rank, "value": one.score, "terms": dict(one.parts)}
    return sorted(found.values(), key=lambda one: (-one.score, one.image_id))
