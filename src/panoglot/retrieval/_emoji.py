"""Emoji in a query, read as the things that they are: captions have names, not signs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Protocol

from panoglot.retrieval._folding import words_of
from panoglot.retrieval._notes import Note

__all__ = ["read_emoji"]


class _Words(Protocol):
    def known(self, words: Iterable[str]) -> list[str]: ...


def read_emoji(text: str, lexicon: _Words) -> tuple[str, list[str]]:
    """Write the emoji of a text as their names: the first, English before others, whose words stand in captions.

    Args:
        text: what was typed.
        lexicon: the captions' words.

    Returns:
        The text, and what is to be said of it.
    """
    if text.isascii() or not any(unicodedata.category(char) == "So" for char in text):
        return text, []
    from panoglot.providers.embedded._words import emoji_names

    notes: dict[str, None] = {}
    for sign, names in emoji_names(text):
        if name := _of_captions(names, lexicon):
            text = _put(text, sign, name)
            notes[Note(f"{sign} is read as '{name}'.", "emoji", sign=sign, name=name)] = None
    if not words_of(text) and any(unicodedata.category(char) == "So" for char in text):
        line = "weak: a sign without a name is in no caption's words; what is shown is what is nearest."
        notes[Note(line, "emoji_unnamed")] = None
    return text, list(notes)


def _of_captions(names: Sequence[str], lexicon: _Words) -> str:
    """The first name all of whose words a caption has, else the first."""
    for name in names:
        words = words_of(name)
        if words and len(lexicon.known(words)) == len(words):
            return name
    return names[0] if names else ""


def _put(text: str, sign: str, name: str) -> str:
    """Put a name in the place of a sign: a word of its own, together where it must be or must not be there."""
    before, _, after = text.partition(sign)
    if before[-1:] in ("+", "-", "\u2212") and " " in name:
        name = f'"{name}"'
    before += "" if not before or before[-1] in '+-\u2212 "' else " "
    after = after.lstrip("\ufe0f")
    return before + name + ("" if not after or after[0] in ' "' else " ") + after
