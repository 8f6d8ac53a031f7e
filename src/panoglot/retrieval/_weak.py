"""Texts that nothing fits: no caption has their words, no vocabulary either, and nothing is near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from panoglot.languages import script_of_character
from panoglot.retrieval._calibration import familiar, floors
from panoglot.retrieval._folding import covered, matched
from panoglot.retrieval._gallery import Ranked
from panoglot.retrieval._lexical import Lexicon
from panoglot.retrieval._notes import Note
from panoglot.retrieval._records import Plan, Query
from panoglot.table import Dataset

__all__ = ["VOCABULARY", "made_up", "missing_words", "only_texts", "share_said"]

#: Words of a script from which on its captions are a vocabulary: a word that none of them has is not of this dataset.
VOCABULARY = 200


def only_texts(plan: Plan, query: Query) -> bool:
    """Whether the words of the query are all that is looked for."""
    return plan.preset == "identity" and all(part.kind == "text" for part in query.parts)


def missing_words(lexicon: Lexicon, words: Sequence[str], best: str | None) -> list[str]:
    """Those of a text's words that no caption has.

    Args:
        lexicon: the captions' words.
        words: folded.
        best: the caption that has most of them, None without one: if it has all, nothing is asked.
    """
    said = set() if best is None else {word for word in matched(words, best) if covered(word, best) >= 0.5}
    left = [word for word in words if word not in said]
    known = set(lexicon.known(left)) if left else set()
    return [word for word in left if word not in known]


def share_said(words: Sequence[str], missing: Sequence[str]) -> float:
    """How much of a text its captions have, by letters: an article says less than a noun.

    >>> round(share_said(("eine", "katze"), ("katze",)), 2), share_said((), ())
    (0.44, 1.0)
    """
    return 1 - sum(map(len, missing)) / (sum(map(len, words)) or 1)


def made_up(
    dataset: Dataset,
    name: str,
    encoder: Any,
    lexicon: Lexicon,
    missing: Sequence[str],
    ranked: Mapping[str, list[Ranked]],
) -> tuple[str, str]:
    """Say why a text finds nothing, or why what it finds is weak.

    Nothing is found when no caption has its words and they are probably none: no name of a thing has one, the encoder's
    vocabulary neither, and the nearest caption and picture come no nearer than 200 made-up words came (where a word is
    two pieces of that vocabulary: than three quarters of them); only where captions in the text's script are many
    enough to be a vocabulary, and where the index has measured (`panoglot index --captions`). A word of a language is
    answered with what is nearest, and said to be weak.

    Args:
        dataset: the dataset.
        name: of the vectors.
        encoder: that made them, None where none was needed.
        lexicon: the captions' words.
        missing: the words that no caption has; most of the text.
        ranked: what the parts found.

    Returns:
        `(why nothing is found, why it is weak)`, one of them empty.
    """
    if len(ranked) == 1:
        none = Note(f"no caption has {listed(missing)}.", "word_missing", words=list(missing))
        return ("", "") if ranked["lexical"] else (none, "")
    line = f"weak: no caption has {listed(missing)}; what is shown is what is nearest."
    weak = Note(line, "weak_words", words=list(missing))
    measured = {part: floor for part, floor in floors(dataset, name).items() if part in ranked}
    near = {part: max((one.score for one in ranked[part]), default=0.0) for part in measured}
    if not measured or any(near[part] >= floor["high"] for part, floor in measured.items()):
        return "", weak
    scripts = lexicon.scripts()  # from here on what costs a little more
    if any(scripts.get(script_of_character(word[0]), 0) < VOCABULARY for word in missing):
        return "", weak
    known = familiar(encoder, missing)
    if known == "whole" or (known and any(near[part] >= floor["low"] for part, floor in measured.items())):
        return "", weak
    said = ", ".join(
        f"the nearest {part} is {near[part]:.2f} where made-up words come up to {floor['high']:.2f}"
        for part, floor in measured.items()
    )
    line = f"nothing found: no caption has {listed(missing)}; {said}; --parts picture shows what is nearest."
    nearest = {part: round(near[part], 2) for part in measured}
    floor = {part: round(one["high"], 2) for part, one in measured.items()}
    return Note(line, "made_up", words=list(missing), nearest=nearest, floor=floor), ""


def listed(words: Sequence[str]) -> str:
    """Words for a message.

    >>> listed(["a"]), listed(["a", "b"])
    ("'a'", "any of 'a', 'b'")
    """
    shown = ", ".join(f"'{word}'" for word in words[:4]) + (" …" if len(words) > 4 else "")
    return shown if len(words) == 1 else f"any of {shown}"
