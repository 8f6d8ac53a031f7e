"""Texts that nothing fits: no caption has their words, and nothing is nearer than made-up words come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from panoglot.languages import script_of_character
from panoglot.retrieval._calibration import thresholds
from panoglot.retrieval._gallery import Ranked
from panoglot.retrieval._lexical import Lexicon, spaceless
from panoglot.retrieval._records import Plan, Query
from panoglot.table import Dataset

__all__ = ["VOCABULARY", "made_up", "only_texts"]

#: Words of a script from which on its captions are a vocabulary: a word that none of them has is not of this dataset.
VOCABULARY = 200


def only_texts(plan: Plan, query: Query) -> bool:
    """Whether the words of the query are all that is looked for."""
    return plan.preset == "identity" and all(part.kind == "text" for part in query.parts)


def made_up(
    dataset: Dataset, name: str, lexicon: Lexicon, words: Sequence[str], ranked: Mapping[str, list[Ranked]]
) -> tuple[str, str]:
    """Say why a text finds nothing, or why what it finds is weak.

    Nothing is found when no caption has any of its words and the nearest caption (without vectors of captions: picture)
    is not nearer than 95 of 100 made-up words come; only where captions in the text's script are many enough to be a
    vocabulary, and where the index has measured (`panoglot index --captions`).

    Returns:
        `(why nothing is found, why it is weak)`, empty where that is not so.
    """
    if ranked["lexical"] and not any(map(spaceless, words)):
        return "", ""
    if not words or lexicon.known(words):
        return "", ""
    if len(ranked) == 1:
        return f"no caption has {listed(words)}.", ""
    weak = f"weak: no caption has {listed(words)}; what is shown is what is nearest."
    scripts = lexicon.scripts()
    if any(scripts.get(script_of_character(word[0]), 0) < VOCABULARY for word in words):
        return "", weak
    floors = thresholds(dataset, name)
    for part, shown in (("caption", "captions"), ("picture", "pictures")):
        if part in ranked and part in floors:
            near = max((one.score for one in ranked[part]), default=0.0)
            if near >= floors[part]:
                return "", weak
            return (
                f"nothing found: no caption has {listed(words)}, and the nearest of the {shown} is {near:.2f} where "
                f"made-up words come up to {floors[part]:.2f}; --parts picture shows what is nearest all the same."
            ), ""
    return "", weak


def listed(words: Sequence[str]) -> str:
    """Words for a message.

    >>> listed(["a"]), listed(["a", "b"])
    ("'a'", "any of 'a', 'b'")
    """
    shown = ", ".join(f"'{word}'" for word in words[:4]) + (" …" if len(words) > 4 else "")
    return shown if len(words) == 1 else f"any of {shown}"
