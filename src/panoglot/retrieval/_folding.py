"""The words of a text as they are compared: one form of every letter, words of any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from panoglot.languages import script_of_character
from panoglot.text._letters import same_letters

__all__ = ["covered", "folded", "matched", "spaceless", "words_of"]

#: What only some writers write: the dot that a small İ leaves behind; points, vowel signs, tatweel; an Indic joiner.
_UNWRITTEN: dict[int, str | None] = dict.fromkeys(
    [0x0307, *range(0x0591, 0x05BE), 0x05BF, 0x05C1, 0x05C2, 0x05C4, 0x05C5, 0x05C7, *range(0x0610, 0x061B), 0x0640,
     *range(0x064B, 0x0653), *range(0x0656, 0x0660), 0x0670, *range(0x06D6, 0x06DD), *range(0x06DF, 0x06E5), 0x200D]
)  # fmt: skip
_UNWRITTEN[0x05BE] = " "  # maqaf
_AFTER_VERBS = re.compile("(?<=\\bمی)\u200c|(?<=\\bنمی)\u200c")
_BEFORE_ENDINGS = re.compile("(?<=[\u0600-\u06ff])\u200c(?=[\u0600-\u06ff])")
#: Letters, digits, and the marks that a word of its script is written with.
_WORD = re.compile(
    "[\\w\u0300-\u036f\u0711-\u074a\u07a6-\u07b0\u07eb-\u07f3\u0900-\u0dff\u0e00-\u0eff\u0f71-\u0f84\u0f8d-\u0fbc\u1000-\u109f"
    "\u1712-\u1734\u17b4-\u17d3\u18a9\u1920-\u193b\u1a17-\u1a7f\u1b00-\u1bf3\u1c24-\u1c37\uabe3-\uabed]+"
)


def folded(text: str) -> str:
    """A text as it is compared: one form of every letter, small, without what only some writers write.

    Points of Hebrew, vowel signs of Arabic and tatweel are such, and so is the joiner that Indic ligatures are written
    without. That of Persian parts a word from its ending (گربه‌ی), but is none after the verb's می.

    >>> folded("İstanbul, STRASSE"), folded("straße"), folded("قِطَّة"), folded("חָתוּל")
    ('istanbul, strasse', 'strasse', 'قطة', 'חתול')
    >>> folded("می\\u200cخوابد گربه\\u200cی")
    'میخوابد گربه ی'
    """
    small = unicodedata.normalize("NFKC", same_letters(text)).casefold().translate(_UNWRITTEN)
    if "\u200c" in small:
        small = _BEFORE_ENDINGS.sub(" ", _AFTER_VERBS.sub("", small)).replace("\u200c", "")
    return small


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, folded; runs of scripts without spaces stay whole.

    >>> words_of("Ein rotes Känguru!"), words_of("赤い鳥 fliegt"), words_of("… !!")
    (('ein', 'rotes', 'känguru'), ('赤い鳥', 'fliegt'), ())
    """
    return tuple(_WORD.findall(folded(text).replace("_", " ")))


def _plain(word: str) -> str:
    """A word without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", word) if not "\u0300" <= c <= "\u036f")


def matched(words: Iterable[str], caption: str) -> list[str]:
    """Which words stand in a caption, as they are or with another ending.

    >>> matched(("red", "kangaroos", "zoo"), "A red kangaroo.")
    ['red', 'kangaroos']
    """
    said = [_plain(word) for word in words_of(caption)]
    whole = _plain(folded(caption))
    found = []
    for word in words:
        bare = _plain(word)
        if (spaceless(bare) and any(g in whole for g in _runs(bare))) or any(_alike(bare, one) for one in said):
            found.append(word)
    return found


def covered(word: str, caption: str) -> float:
    """How much of a word a caption has: of one whose script sets no spaces, the share of its runs of two letters.

    >>> round(covered("红色的鸟", "红色的袋鼠"), 2), covered("bird", "A bird.")
    (0.67, 1.0)
    """
    if not spaceless(word):
        return float(bool(matched([word], caption)))
    whole, runs = _plain(folded(caption)), _runs(_plain(word))
    return sum(run in whole for run in runs) / len(runs)


_SPACELESS = frozenset("Hani Hira Kana Thai Khmr Laoo Mymr Tibt Yiii".split())


def _runs(word: str) -> list[str]:
    """The word, and its runs of two letters."""
    return [word] if len(word) < 3 else [word[n : n + 2] for n in range(len(word) - 1)]


def _alike(one: str, other: str) -> bool:
    if one == other:
        return True
    if not one.isalpha() or min(len(one), len(other)) < 3:
        return False
    same = 0
    for a, b in zip(one, other):
        if a != b:
            break
        same += 1
    return same >= 3 and max(len(one), len(other)) - same <= 3 and same >= 0.6 * max(len(one), len(other))


def spaceless(word: str) -> bool:
    """Whether dictionaries cut a word: its script sets no spaces."""
    return any(script_of_character(char) in _SPACELESS for char in word)
