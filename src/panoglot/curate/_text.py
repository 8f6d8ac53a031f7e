"""Words and characters of any script."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["SPACELESS", "is_spaceless", "letters", "same_text", "tokens"]

#: Scripts that do not put spaces between words (first word of Unicode character names): Chinese, Japanese, Thai, Khmer,
#: Lao, Burmese, Tibetan and their neighbours. Texts in them are counted in characters.
SPACELESS = frozenset(("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "THAI", "KHMER", "LAO", "MYANMAR", "TIBETAN", "YI"))


@lru_cache(maxsize=1 << 16)
def _class(char: str) -> str:
    """`s` a letter of a script without spaces, `l` another letter, `d` a digit, empty for all else (marks too)."""
    category = unicodedata.category(char)
    if category[0] == "N":
        return "d"
    if category[0] != "L":
        return ""
    return "s" if unicodedata.name(char, "").partition(" ")[0].partition("-")[0] in SPACELESS else "l"


def letters(text: str) -> int:
    """Count letters of any script; combining marks belong to their letter.

    >>> letters("Öl 42!"), letters("สุนัข"), letters("कुत्ता")
    (2, 3, 3)
    """
    return sum(_class(char) in ("s", "l") for char in text)


def is_spaceless(text: str) -> bool:
    """Say whether most letters of `text` are of scripts that do not put spaces between words.

    >>> is_spaceless("一只狗在海滩上"), is_spaceless("สุนัขวิ่ง"), is_spaceless("개가 달린다")
    (True, True, False)
    """
    classes = [_class(char) for char in text]
    return classes.count("s") > classes.count("l")


def tokens(text: str) -> list[str]:
    """Split at white space, or into letters and digits (each with its marks) when the script has no spaces.

    >>> tokens("ein rotes Känguru."), tokens("狗在跑。"), tokens("หมา")
    (['ein', 'rotes', 'Känguru.'], ['狗', '在', '跑'], ['ห', 'ม', 'า'])
    """
    return list(_clusters(text)) if is_spaceless(text) else text.split()


def _clusters(text: str) -> Iterator[str]:
    held = ""
    for char in text:
        if _class(char):
            if held:
                yield held
            held = char
        elif held and unicodedata.category(char)[0] == "M":
            held += char
        elif held:
            yield held
            held = ""
    if held:
        yield held


def same_text(text: str) -> str:
    """The form in which two texts count as the same: letter case and white space do not matter.

    >>> same_text("A  Dog"), same_text("a dog\\n")
    ('a dog', 'a dog')
    """
    return " ".join(unicodedata.normalize("NFC", text.casefold()).split())
