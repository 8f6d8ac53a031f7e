"""One form for letters that are the same: what looks alike on the page is alike to every metric.

A text and its NFKC form, and the several ways of typing one syllable, score the same. `LETTERS` is the version of the
rules below; it is part of every tokeniser's version (`clusters/2` …), so figures of other rules do not compare.

| script | the same letters |
|---|---|
| all | canonical and compatibility forms (NFKC): full and half width, ligatures, presentation forms; invisible marks |
| Thai | ํ + า is ำ, with a tone mark before or after; เ + เ is แ |
| Lao | ໍ + າ is ຳ, with a tone mark before or after; ເ + ເ is ແ; ຫ + ນ is ໜ, ຫ + ມ is ໝ |
| Khmer | េ + ា is ោ, េ + ី is ើ |
| Devanagari, Bengali, Gurmukhi, Gujarati | letters with nukta in one or two characters; अ + ा is आ and its like |
| Bengali | ত + virama + joiner is ৎ |
| Malayalam | chillu letters in one or three characters; ൻ + virama + റ is ന്റ |
| Tamil | ஶ்ரீ is ஸ்ரீ |
| Arabic | isolated, initial, medial and final forms, lam-alef in one character |
| Hebrew | presentation forms; geresh and gershayim as people type them, ' and " |
| Latin | ʼ, ʻ and ’ inside a word are ' ; Romanian ş, ţ (cedilla) are ș, ț (comma) |

Persian and Urdu yeh, kaf and heh, vowel signs and tatweel are the business of the tokeniser `words`.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["LETTERS", "same_letters"]

#: Version of the rules.
LETTERS = "letters/1"

_CHILLU = {"ണ": "ൺ", "ന": "ൻ", "ര": "ർ", "ല": "ൽ", "ള": "ൾ", "ക": "ൿ"}
_SEQUENCES = {
    "เเ": "แ", "ເເ": "ແ", "ຫນ": "ໜ", "ຫມ": "ໝ",
    "\u17c1\u17b6": "\u17c4", "\u17c1\u17b8": "\u17be",
    "अा": "आ", "अो": "ओ", "अौ": "औ", "अॉ": "ऑ", "अॅ": "ॲ", "एे": "ऐ", "एॅ": "ऍ",
    "অা": "আ", "ত\u09cd\u200d": "ৎ",
    "ਅਾ": "ਆ", "ੲਿ": "ਇ", "ੲੀ": "ਈ", "ੲੇ": "ਏ", "ੳੁ": "ਉ", "ੳੂ": "ਊ", "ਅੈ": "ਐ", "ਅੌ": "ਔ",
    "અા": "આ", "અે": "એ", "અૈ": "ઐ", "અો": "ઓ", "અૌ": "ઔ", "અૅ": "ઍ", "અૉ": "ઑ",
    **{f"{base}\u0d4d\u200d": chillu for base, chillu in _CHILLU.items()},
    "ൻ\u0d4dറ": "ന\u0d4dറ", "ஶ\u0bcdரீ": "ஸ\u0bcdரீ",
}  # fmt: skip
_SEQUENCE = re.compile("|".join(sorted(map(re.escape, _SEQUENCES), key=len, reverse=True)))
_THAI_AM = re.compile("([\u0e48-\u0e4b]?)\u0e4d([\u0e48-\u0e4b]?)\u0e32")
_LAO_AM = re.compile("([\u0ec8-\u0ecb]?)\u0ecd([\u0ec8-\u0ecb]?)\u0eb2")
_LATE_TONE = re.compile("\u0e33([\u0e48-\u0e4b])|\u0eb3([\u0ec8-\u0ecb])")
_GERSHAYIM = re.compile('(?<=[\u05d0-\u05ea])"(?=[\u05d0-\u05ea])')
_GERESH = {0x05F3: "'"}
_ROMANIAN = str.maketrans("şţŞŢ", "șțȘȚ")
_APOSTROPHES = {0x02BC: "'", 0x02BB: "'"}
#: Soft hyphen, joiner of graphemes, marks of direction, word joiner, byte order mark, selectors of variants.
_UNSEEN = dict.fromkeys(
    [0x00AD, 0x034F, 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x206A),
     0xFEFF, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]
)  # fmt: skip


def same_letters(text: str, language: str = "", *, compatibility: bool = True) -> str:
    """Write letters that are the same in one form.

    Args:
        text: any text.
        language: base language; only Romanian matters.
        compatibility: full width, ligatures and such too (NFKC); False keeps them (NFC), as a metric of characters
            wants that counts punctuation.

    >>> same_letters("น\u0e49\u0e4d\u0e32") == same_letters("น\u0e49\u0e33") == "น\u0e49\u0e33"
    True
    >>> same_letters("ക\u0d7bറ"), same_letters("ﻛﺘﺎﺏ"), same_letters("Ｔｅｅ")
    ('കൻറ', 'كتاب', 'Tee')
    """
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC" if compatibility else "NFC", text.translate(_UNSEEN))
    if not compatibility:
        text = "".join(unicodedata.normalize("NFKC", c) if _is_form(c) else c for c in text)
        text = unicodedata.normalize("NFC", text)  # half-width kana bring their voicing marks apart
    if "\u0e4d" in text:
        text = _THAI_AM.sub("\\1\\2\u0e33", text)
    if "\u0ecd" in text:
        text = _LAO_AM.sub("\\1\\2\u0eb3", text)
    text = _LATE_TONE.sub(lambda found: (found[1] or found[2]) + found[0][0], text)
    text = _SEQUENCE.sub(lambda found: _SEQUENCES[found[0]], text)
    text = text.translate(_APOSTROPHES)
    if any("\u05d0" <= c <= "\u05ea" for c in text):
        text = _GERSHAYIM.sub("\u05f4", text.translate(_GERESH))
    return text.translate(_ROMANIAN) if language in ("ro", "mo") else text


def _is_form(character: str) -> bool:
    """A letter in another shape: ligatures, presentation forms, full and half width."""
    at = ord(character)
    return (0xFB00 <= at <= 0xFDFF or 0xFE70 <= at <= 0xFEFC or 0xFF10 <= at <= 0xFFDC) and character.isalnum()
