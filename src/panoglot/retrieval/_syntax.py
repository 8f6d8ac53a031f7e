"""What a person types into one field: words, "words that stand together", +must and -must-not."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["Typed", "says_nothing", "typed"]

#: A sign before a word or before quotes, at the beginning or after a space: `-zoo`, `+"red bird"`; not `Jean-Luc`.
_PART = re.compile(r"(?:(?<=\s)|^)(?P<sign>[+\-−])?(?:[\"“„«](?P<quoted>[^\"”“»]+)[\"”“»]|(?P<word>\S+))")


@dataclass(frozen=True)
class Typed:
    """A text taken apart.

    Attributes:
        text: the words to look for: what was typed without what must not be there.
        must: words that must stand in a caption.
        must_not: words that must not.
        phrases: words that must stand together.
    """

    text: str
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


def typed(text: str) -> Typed:
    """Take apart what was typed.

    >>> typed("red kangaroo -zoo +jumping")
    Typed(text='red kangaroo jumping', must=('jumping',), must_not=('zoo',), phrases=())
    >>> typed('"Eileen Collins" T-38 - 5')
    Typed(text='Eileen Collins T-38 - 5', must=(), must_not=(), phrases=('Eileen Collins',))
    """
    words: list[str] = []
    must: list[str] = []
    never: list[str] = []
    phrases: list[str] = []
    for found in _PART.finditer(text):
        sign, quoted, word = found["sign"], found["quoted"], found["word"]
        said = (quoted or word).strip()
        if sign and not any(map(str.isalnum, said)):
            words.append(found[0])  # a dash between words
        elif sign in ("-", "−"):
            never.append(said)
        else:
            words.append(said)
            if sign:
                must.append(said)
            elif quoted:
                phrases.append(said)
    return Typed(" ".join(words), tuple(must), tuple(never), tuple(phrases))


def says_nothing(text: str) -> bool:
    """Whether a text has no letter, digit or symbol of a thing (emoji) in it.

    >>> [says_nothing(t) for t in ("?!…", "\\u200b\\u202e", "🐦", "42", "鳥")]
    [True, True, False, False, False]
    """
    return not any(unicodedata.category(char)[0] in "LN" or unicodedata.category(char) == "So" for char in text)
