"""Scripts: which one a text is in, which ones a language has, which way they run. A script is its ISO 15924 code."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

from panoglot.languages._tags import UNKNOWN_LANGUAGE, parsed

__all__ = [
    "RIGHT_TO_LEFT",
    "chinese_script",
    "direction",
    "main_script",
    "script_of",
    "script_of_character",
    "scripts_of",
    "with_script",
    "written_as",
]

#: Letters of a script, by the first word of their Unicode names, where ISO 15924 has another word for them.
_SCRIPTS = dict(
    pair.split("=")
    for pair in """
ADLAM=Adlm AHOM=Ahom ARABIC=Arab ARMENIAN=Armn BALINESE=Bali BAMUM=Bamu BATAK=Batk BENGALI=Beng BOPOMOFO=Bopo
BUGINESE=Bugi BUHID=Buhd CANADIAN=Cans CHAKMA=Cakm CHAM=Cham CHEROKEE=Cher CJK=Hani COPTIC=Copt CYRILLIC=Cyrl
DEVANAGARI=Deva ETHIOPIC=Ethi GEORGIAN=Geor GOTHIC=Goth GREEK=Grek GUJARATI=Gujr GURMUKHI=Guru HANGUL=Hang
HANIFI=Rohg HANUNOO=Hano HEBREW=Hebr HIRAGANA=Hira IDEOGRAPHIC=Hani JAVANESE=Java KANNADA=Knda KATAKANA=Kana
KAYAH=Kali KHMER=Khmr LAO=Laoo LATIN=Latn LEPCHA=Lepc LIMBU=Limb LISU=Lisu MALAYALAM=Mlym MANDAIC=Mand MEETEI=Mtei
MENDE=Mend MIAO=Plrd MONGOLIAN=Mong MYANMAR=Mymr NEWA=Newa NKO=Nkoo NYIAKENG=Hmnp OGHAM=Ogam OL=Olck ORIYA=Orya
OSAGE=Osge OSMANYA=Osma RUNIC=Runr SAMARITAN=Samr SAURASHTRA=Saur SINHALA=Sinh SUNDANESE=Sund SYLOTI=Sylo SYRIAC=Syrc
TAGALOG=Tglg TAI=Lana TAMIL=Taml TELUGU=Telu THAANA=Thaa THAI=Thai TIBETAN=Tibt TIFINAGH=Tfng VAI=Vaii WANCHO=Wcho
YEZIDI=Yezi YI=Yiii
""".split()
)
#: First words of names of forms of letters.
_FORMS = ("HALFWIDTH", "FULLWIDTH", "MODIFIER", "SUPERSCRIPT", "SUBSCRIPT", "MATHEMATICAL")
#: Scripts that run from right to left.
RIGHT_TO_LEFT = frozenset("Adlm Arab Hebr Mand Mend Nkoo Rohg Samr Syrc Thaa Yezi".split())
#: Scripts whose texts mix the letters of several.
_MIXED = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hani Hira Kana", "Kore": "Hang Hani", "Hrkt": "Hira Kana"}
_MIXED |= {"Aran": "Arab", "Latf": "Latn", "Latg": "Latn", "Cyrs": "Cyrl", "Bopo": "Bopo Hani"}
#: Languages in daily use in more than one script, with what they are written in; a tag may name one.
_SEVERAL = {
    "az": "Latn Cyrl Arab", "ber": "Latn Tfng Arab", "bm": "Latn Nkoo", "bs": "Latn Cyrl", "cnr": "Latn Cyrl",
    "crh": "Latn Cyrl", "doi": "Deva Arab", "ff": "Latn Adlm", "ha": "Latn Arab", "iu": "Cans Latn",
    "kab": "Latn Tfng", "kk": "Cyrl Latn Arab", "ks": "Arab Deva", "ku": "Latn Arab Cyrl", "kok": "Deva Latn",
    "ky": "Cyrl Latn Arab", "mn": "Cyrl Mong", "mni": "Beng Mtei", "ms": "Latn Arab", "pa": "Guru Arab",
    "sat": "Olck Deva Beng Orya", "sd": "Arab Deva", "sr": "Cyrl Latn", "su": "Latn Sund", "tg": "Cyrl Latn Arab",
    "tk": "Latn Cyrl Arab", "tt": "Cyrl Latn", "ug": "Arab Cyrl Latn", "uz": "Latn Cyrl Arab", "yi": "Hebr Latn",
    "zgh": "Tfng Latn",
}  # fmt: skip
#: Tags that are no language.
_NO_SCRIPT = frozenset([UNKNOWN_LANGUAGE, "mul", "zxx"])
#: What `langcodes` guesses wrongly or not at all.
_WRITTEN = {"grc": "Grek", "hbo": "Hebr", "arc": "Syrc", "no": "Latn", "gom": "Deva"}


@lru_cache(maxsize=1 << 16)
def script_of_character(char: str) -> str:
    """Return the ISO 15924 code of the script of a letter or of a mark on letters; empty for all else.

    >>> [script_of_character(char) for char in "aж字かアह्한ก1!"]
    ['Latn', 'Cyrl', 'Hani', 'Hira', 'Kana', 'Deva', 'Deva', 'Hang', 'Thai', '', '']
    """
    if not char.isalpha() and unicodedata.category(char) not in ("Mc", "Mn"):
        return ""
    words = unicodedata.name(char, "").replace("-", " ").split(" ")
    first = words[0]
    if first in _FORMS:  # FULLWIDTH LATIN …, MODIFIER LETTER …; ª and º have no script's name
        first = words[1] if len(words) > 1 and words[1] in _SCRIPTS else ""
    return _SCRIPTS.get(first, "")


def script_of(text: str) -> tuple[str, float]:
    """Return the script that most letters are in, and their share. Japanese is Han and kana together: `Jpan`.

    >>> script_of("ビーチを走る犬"), script_of("東京"), script_of("42 !")
    (('Jpan', 1.0), ('Hani', 1.0), ('', 0.0))
    """
    if text.isascii():
        return ("Latn", 1.0) if any(map(str.isalpha, text)) else ("", 0.0)
    counts = Counter(script for char in text if (script := script_of_character(char)))
    if not counts:
        return "", 0.0
    total = counts.total()
    kana = counts["Hira"] + counts["Kana"]
    if kana:
        counts["Jpan"] = kana + (counts["Hani"] if counts["Hani"] <= 8 * kana else 0)
        del counts["Hira"], counts["Kana"]
    if counts["Hang"]:
        counts["Hang"] += counts["Hani"] if counts["Hani"] <= counts["Hang"] else 0
    script, count = min(counts.items(), key=lambda item: (-item[1], item[0] not in ("Jpan", "Hang"), item[0]))
    return script, count / total


@lru_cache(maxsize=4096)
def main_script(tag: str) -> str:
    """Return the ISO 15924 code of what texts of a language are usually written in; empty when it is not known.

    >>> main_script("sr"), main_script("sr-Latn"), main_script("zh-TW"), main_script("ja"), main_script("und")
    ('Cyrl', 'Latn', 'Hant', 'Jpan', '')
    """
    of = parsed(tag)
    if (of.language or UNKNOWN_LANGUAGE) in _NO_SCRIPT:
        return of.script or ""
    return of.script or _WRITTEN.get(of.language) or of.maximize().script or ""


@lru_cache(maxsize=4096)
def scripts_of(tag: str) -> frozenset[str]:
    """Return the scripts whose letters texts of a language have, as `script_of_character` names them; empty: not known.

    >>> [sorted(scripts_of(tag)) for tag in ("de", "ja", "sr", "sr-Latn", "zh-Hant", "und")]
    [['Latn'], ['Hani', 'Hira', 'Kana'], ['Cyrl', 'Latn'], ['Latn'], ['Hani'], []]
    """
    of = parsed(tag)
    if not of.script and of.language in _SEVERAL:
        return frozenset(_SEVERAL[of.language].split())
    script = main_script(tag)
    return frozenset(_MIXED.get(script, script).split())


@lru_cache(maxsize=4096)
def with_script(tag: str, script: str) -> str:
    """Return the tag of a language as it is written in a script: the script is said when it is not the usual one.

    >>> with_script("sr", "Latn"), with_script("sr", "Cyrl"), with_script("de", "Cyrl"), with_script("ko", "Hang")
    ('sr-Latn', 'sr', 'de', 'ko')
    """
    if script not in scripts_of(tag) or script in _usual(tag):
        return tag
    return f"{tag}-{script}"


@lru_cache(maxsize=1024)
def direction(tag: str) -> str:
    """Return `ltr`, `rtl`, or `auto` when the language is not known: the `dir` attribute of a text.

    >>> [direction(tag) for tag in ("de", "ar", "ff-Adlm", "az-Arab", "sd-Deva", "und")]
    ['ltr', 'rtl', 'rtl', 'rtl', 'ltr', 'auto']
    """
    script = main_script(tag)
    return "rtl" if script in RIGHT_TO_LEFT else "ltr" if script else "auto"


@lru_cache(maxsize=1 << 14)
def _chinese(char: str) -> int:
    """+1 for a character of traditional spelling alone, -1 for one of simplified spelling alone, else 0."""

    def has(encoding: str) -> bool:
        try:
            char.encode(encoding)
        except UnicodeEncodeError:
            return False
        return True

    return int(has("big5")) - int(has("gb2312"))


def chinese_script(text: str) -> str:
    """Return `Hans` or `Hant` by the characters that only one of the two spellings has, or an empty string.

    The national character sets know: a character of Big5 that GB 2312 lacks is traditional, and the reverse.

    >>> chinese_script("一只狗在海滩上奔跑"), chinese_script("一隻狗在海灘上奔跑"), chinese_script("山水")
    ('Hans', 'Hant', '')
    """
    balance = sum(_chinese(char) for char in text if "\u3400" <= char <= "\u9fff")
    return "Hant" if balance > 0 else "Hans" if balance < 0 else ""


def written_as(tag: str, text: str) -> str:
    """Return the tag of a language with the script that a text is in, where that is not the usual one.

    Of Chinese by its characters, of languages with several scripts by their letters. A script that the tag names goes
    where the text is not in it.

    >>> [written_as("zh", text) for text in ("一只狗在海滩上奔跑", "一隻狗在海灘上奔跑", "山水")]
    ['zh', 'zh-Hant', 'zh']
    >>> written_as("zh-Hant", "一只狗在海滩上奔跑"), written_as("sr-Latn", "Пас трчи"), written_as("uz", "Кўчада ит")
    ('zh-Hans', 'sr', 'uz-Cyrl')
    """
    base = parsed(tag).language or tag
    script = script_of(text)[0]
    if script == "Hani" and "Hani" in scripts_of(tag) and main_script(tag) in ("Hans", "Hant"):
        found = chinese_script(text)
        if not found or found == main_script(tag):
            return tag
        return f"{base}-{found}"
    if script not in scripts_of(base) or script in scripts_of(tag) & _usual(tag):
        return tag
    return with_script(base, script)


def _usual(tag: str) -> frozenset[str]:
    script = main_script(tag)
    return frozenset(_MIXED.get(script, script).split())
