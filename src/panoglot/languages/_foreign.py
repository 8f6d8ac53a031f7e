"""Texts that are not in the language they are said to be in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from panoglot.languages._scripts import script_of_character, scripts_of
from panoglot.languages._tags import UNKNOWN_LANGUAGE, base_language

__all__ = ["alike", "count_foreign", "is_foreign"]

#: Languages that an identifier confuses in a short text: one of a group is never evidence against another.
_ALIKE = tuple(
    frozenset(group.split())
    for group in (
        "da nb nn no sv fo is",
        "es gl ca ast an oc pt ext lad",
        "it co scn lmo vec pms fur rm la",
        "fr oc wa",
        "hr sr bs sl cnr sh",
        "cs sk pl szl hsb dsb",
        "id ms jv su min ban mad bjn",
        "ru uk be bg mk rue sr",
        "hi mr ne bh bho mai sa kok gom new",
        "bn as",
        "zh yue wuu lzh ja cdo hak nan gan hsn",
        "fa ps ckb ku ur sd pnb ar mzn arz azb ug",
        "af nl fy li nds lb de gsw bar ksh pdc",
        "et fi vro",
        "az tr tk crh gag uz kk ky tt ba",
        "ga gd gv",
        "xh zu ss nr st tn nso ve ts sn",
        "sw rw rn lg",
        "tl fil ceb ilo war",
        "th lo",
        "am ti",
        "en sco pcm jam",
    )
)


def alike(one: str, other: str) -> bool:
    """Say whether two languages are one, or relatives that nobody can tell apart in a short text.

    >>> alike("da", "nb"), alike("pt-BR", "pt"), alike("de", "fr")
    (True, True, False)
    """
    one, other = base_language(one), base_language(other)
    return one == other or any(one in group and other in group for group in _ALIKE)


def is_foreign(text: str, tag: str, *, share: float = 0.25, min_letters: int = 4) -> bool:
    """Say whether a text can surely not be in a language, by its letters: less than `share` are of its scripts.

    Names and brands in other letters are usual, so a part of them is enough. A text of fewer letters, and a language
    whose scripts are not known, are never foreign.

    >>> is_foreign("собака бежит", "de"), is_foreign("Собака с iPhone", "ru"), is_foreign("犬が走る", "zh")
    (True, False, True)
    """
    scripts = scripts_of(tag)
    if not scripts or (text.isascii() and "Latn" in scripts):
        return False
    letters = Counter(script for char in text if char.isalpha() and (script := script_of_character(char)))
    total = letters.total()
    if total < min_letters:
        return False
    if scripts == {"Hani"} and 4 * (letters["Hira"] + letters["Kana"]) >= total:
        return True  # kana: Han characters beside them make it Japanese
    return sum(letters[script] for script in scripts) < share * total


def count_foreign(
    texts: Sequence[str],
    tag: str,
    identified: Sequence[tuple[str, float]] | None = None,
    *,
    min_confidence: float = 0.95,
) -> list[int]:
    """Return the places of texts that are plausibly not in the language stated.

    By their letters surely; by an identifier only where it is confident, and of a language that is no relative of the
    one stated.

    Args:
        texts: the texts.
        tag: the language they are said to be in.
        identified: (tag, probability) of each text, of a model of the role `language_identifier`; None: letters alone.
        min_confidence: least probability that counts.

    >>> count_foreign(["ein Hund", "собака бежит", "a dog"], "de", [("de", 0.9), ("ru", 1.0), ("en", 0.97)])
    [1, 2]
    """
    if tag == UNKNOWN_LANGUAGE:
        return []

    def other(place: int) -> bool:
        found, sure = identified[place] if identified is not None else (UNKNOWN_LANGUAGE, 0.0)
        return found != UNKNOWN_LANGUAGE and sure >= min_confidence and not alike(tag, found)

    return [place for place, text in enumerate(texts) if is_foreign(text, tag) or other(place)]
