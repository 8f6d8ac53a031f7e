"""Words as they are compared: one rule for the table of words, for what was typed, and for what is said to match.

Letters first (`folded`): one form of each, small, without marks that only some writers set. Then, in scripts whose
words carry articles and particles and that no stemmer takes apart, and in Swahili, the forms of a word (`forms`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from panoglot.languages import base_language, script_of_character
from panoglot.retrieval._korean import verbs
from panoglot.retrieval._swahili import singulars
from panoglot.text._letters import same_letters

__all__ = ["FOLDING", "covered", "folded", "forms", "matched", "spaceless", "words_of"]

#: Version of the rules: a table of words that was made by others is made anew.
FOLDING = "folding/2"

#: Marks that only some writers set: the points and accents of Hebrew; harakat, Koranic marks and tatweel.
_MARKS = [*range(0x0591, 0x05BE), 0x05BF, 0x05C1, 0x05C2, 0x05C4, 0x05C5, 0x05C7]
_MARKS += [*range(0x0610, 0x061B), 0x0640, *range(0x064B, 0x0660), 0x0670, *range(0x06D6, 0x06DD)]
_MARKS += [
    *range(0x06DF, 0x06E5),
    0x06E7,
    0x06E8,
    *range(0x06EA, 0x06EE),
    *range(0x08D3, 0x08E2),
    *range(0x08E3, 0x0900),
]
#: Letters of one sound that writers and keyboards exchange.
_SAME = {ord(a): b for a, b in zip("آأإٱىیکہۀۂەёѐѝ", "اااايي" + "كهههه" + "ееи")}
_GREEK = {
    at: unicodedata.normalize("NFD", chr(at))[0]
    for at in (*range(0x0370, 0x0400), *range(0x1F00, 0x2000))
    if len(unicodedata.normalize("NFD", chr(at))) > 1 and unicodedata.normalize("NFD", chr(at))[0].isalpha()
}
#: The dot that İ leaves behind goes too; the maqaf of Hebrew joins words as a hyphen does.
_FOLDS = {**dict.fromkeys([0x0307, *_MARKS]), **_SAME, **_GREEK, 0x05BE: "-"}
_STRESS = re.compile("(?<=[\u0400-\u052f])[\u0300\u0301]")
#: Set between letters that do not join: part of no word's spelling for whoever leaves it out.
_JOINERS = dict.fromkeys([0x200C, 0x200D])
#: The plural of Persian as a word of its own: at the end of a text, or where a letter says that it is Persian.
_APART = re.compile(r"(?<=\w) (?=(?:ها|های|هایی)(?:$|\s))")
_APART_AT_END = re.compile(r"(?<=\w) (?=ها\s*$)")
_PERSIAN = re.compile("[پچژگکی]")


def folded(text: str) -> str:
    """A text as it is compared: one form of every letter, small, without what only some writers write.

    >>> folded("İstanbul, STRASSE"), folded("straße")
    ('istanbul, strasse', 'strasse')
    >>> folded("הַחָתוּל"), folded("السَّوْداءُ"), folded("می‌خوابد") == folded("ميخوابد"), folded("ΓΆΤΑ ёлка")
    ('החתול', 'السوداء', True, 'γατα елка')
    """
    return _letters(text).translate(_JOINERS)


def _letters(text: str) -> str:
    """The same with the joiners that tell a word from its endings."""
    if " ها" in text:
        text = (_APART if _PERSIAN.search(text) else _APART_AT_END).sub("\u200c", text)
    small = unicodedata.normalize("NFKC", same_letters(text)).casefold()
    return small if small.isascii() else _STRESS.sub("", small.translate(_FOLDS))


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, folded; runs of scripts without spaces stay whole.

    >>> words_of("Ein rotes Känguru!"), words_of("赤い鳥 fliegt"), words_of("… !!"), words_of("नीला।")
    (('ein', 'rotes', 'känguru'), ('赤い鳥', 'fliegt'), (), ('नीला',))
    """
    return tuple(_cut(folded(text)))


def _cut(text: str) -> list[str]:
    """Runs of letters, digits and their marks that hold a letter or digit."""
    spaced = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text)
    return [word for word in spaced.split() if any(map(str.isalnum, word))]


# ---- forms ---------------------------------------------------------------------------------------------------------

#: Letters of the three scripts, in whatever form they are typed.
_CARRIES = re.compile("[\u0590-\u08ff\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff\ufb1d-\ufdff\ufe70-\ufefc\uffa0-\uffdc]")

#: Articles of Arabic with what may stand before them; single letters that stand before a word, in captions alone.
_ARABIC = re.compile(r"^[وف]?(?:[بك]?ال|لل)(?=\w{2})")
_ARABIC_BEFORE = re.compile(r"^(?:[وف][بلك]?|[بلك])(?=\w{3})")
_HEBREW = re.compile(r"^ו?(?:כש|ש)?ה(?=\w{2})")
_HEBREW_BEFORE = re.compile(r"^(?:ו?(?:כש|מש|[בלמשכ])ה?|ו)(?=\w{3})")
#: Endings of Persian and Urdu that a joiner sets off, and what it sets off before a verb: no words of their own.
_NO_WORDS = frozenset(
    "مي نمي ها هاي هايي هايم هايت هايش هايمان هايتان هايشان تر ترين اي ام ات اش ان اند ايم ايد".split()
)
#: Plural and owner behind a Persian word, hers behind an Arabic one; words that only look so.
_PLURAL = re.compile(r"(?<=\w{2})ها(?:يي?|يم|يت|يش|يمان|يتان|يشان)?$")
_NO_PLURALS = frozenset("تنها انها انهايي اينها منها فيها عنها كلها عليها اليها بينها عندها لديها حولها".split())
#: Particles of Korean: after a syllable that ends in a consonant, in a vowel (or ㄹ), and after either.
_AFTER_CONSONANT = ("으로", "이랑", "을", "은", "이", "과")
_AFTER_VOWEL = ("랑", "를", "는", "가", "와", "로")
_AFTER_ANY = (
    "에서", "에게", "한테", "까지", "부터", "처럼", "보다", "마다", "밖에", "조차", "하고", "입니다", "이다", "들",
    "에", "의", "도", "만",
)  # fmt: skip
#: Those that end many words too: of what was typed they are not taken off.
_ENDS_WORDS = frozenset("이 과 랑 가 와 로 들 의 도 만 에 하고 보다 이다".split())


def forms(text: str, *, typed: bool = False, lang: str = "") -> list[str]:
    """The words of a text in the Arabic, Hebrew and Korean scripts and in Swahili, in all forms that find them.

    A word of a caption is found as it stands, without its article, particles, plural and single letters before it, by
    the parts that a joiner sets off, a verb by its dictionary form, a noun of Swahili by its singular; of a word that
    was typed only what is surely none of its own letters is taken off.

    Args:
        text: as it was written.
        typed: it is what is looked for.
        lang: its language, or one that captions have: Swahili's nouns are told by it alone.

    >>> forms("القطة"), forms("책을"), forms("고양이가", typed=True), forms("گربه‌ی سیاه"), forms("A cat.")
    (['القطه', 'قطه'], ['책을', '책'], ['고양이가'], ['گربهي', 'گربه', 'سياه'], [])
    >>> forms("گل ها"), forms("달렸다"), forms("watoto", lang="sw")
    (['گلها', 'گل'], ['달렸다', '달리다', '달려다'], ['watoto', 'mtoto', 'mwatoto'])
    """
    swahili = bool(lang) and base_language(lang) == "sw"
    if not swahili and (text.isascii() or not _CARRIES.search(text)):
        return []
    return list(dict.fromkeys(form for word in _letters(text).split() for form in _forms(word, typed, swahili)))


@lru_cache(maxsize=1 << 14)
def _forms(word: str, typed: bool, swahili: bool) -> tuple[str, ...]:
    if word.isascii() and not swahili:
        return ()
    found: list[str] = []
    for one in _cut(word.translate(_JOINERS)):
        script = script_of_character(one[0])
        if script == "Latn" and swahili:
            found += [one, *singulars(one)]
            continue
        if script == "Hang":
            found += _korean(one, typed)
        elif script == "Arab":
            found += map(_heh, _without(one, (_ARABIC,) if typed else (_ARABIC, _ARABIC_BEFORE)))
            if "\u200c" not in word and one not in _NO_PLURALS and (bare := _PLURAL.sub("", one)) != one:
                found.append(bare)
        elif script == "Hebr":
            found += _without(one, (_HEBREW,) if typed else (_HEBREW, _HEBREW_BEFORE))
    if found and "\u200c" in word:
        parts = [part for part in _cut(word.replace("\u200c", " ")) if len(part) > 1 and part not in _NO_WORDS]
        found += map(_heh, parts if not typed else parts[:1])
    return tuple(dict.fromkeys(found))


def _heh(word: str) -> str:
    return word[:-1] + "ه" if word.endswith("ة") else word


def _without(word: str, befores: Iterable[re.Pattern[str]]) -> Iterator[str]:
    yield word
    for before in befores:
        if (bare := before.sub("", word)) != word:
            yield bare


def _korean(word: str, typed: bool) -> list[str]:
    """A word, the verbs of which it may be a form, and without one and two of its particles."""
    found, guessed = [word], verbs(word)
    for _ in range(2):
        for ending in (*_AFTER_ANY, *_AFTER_CONSONANT, *_AFTER_VOWEL):
            bare = found[-1].removesuffix(ending)
            if not bare or bare == found[-1] or (typed and ending in _ENDS_WORDS) or not "가" <= bare[-1] <= "힣":
                continue
            final = (ord(bare[-1]) - ord("가")) % 28  # 0: a vowel, 8: ㄹ
            if ending in _AFTER_ANY or (ending in _AFTER_VOWEL) == (not final or (final == 8 and ending == "로")):
                found.append(bare)
                break
    return [*found, *guessed]


# ---- matching --------------------------------------------------------------------------------------------------------


def _plain(word: str) -> str:
    """A word without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", word) if not "\u0300" <= c <= "\u036f")


def matched(words: Iterable[str], caption: str, lang: str = "") -> list[str]:
    """Which words stand in a caption of a language, as they are or with another ending.

    >>> matched(("red", "kangaroos", "zoo"), "A red kangaroo."), matched(("책", "개"), "책을 읽는다")
    (['red', 'kangaroos'], ['책'])
    """
    said = [_plain(word) for word in words_of(caption)]
    whole, every = _plain(folded(caption)), set(forms(caption, lang=lang))
    found = []
    for word in words:
        bare = _plain(word)
        if (
            (spaceless(bare) and any(g in whole for g in _runs(bare)))
            or any(_alike(bare, one) for one in said)
            or not every.isdisjoint(forms(word, typed=True, lang=lang))
        ):
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


def spaceless(word: str) -> bool:
    """Whether dictionaries cut a word: its script sets no spaces."""
    return any(script_of_character(char) in _SPACELESS for char in word)


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
