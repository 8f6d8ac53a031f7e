"""Korean verbs and adjectives in the form of a dictionary: their endings are taken off, and 다 is put in their place.

Rules of the regular verbs, and of those whose stem changes (ㅂ, ㄷ, 르, ㄹ, ㅡ): where two stems give one form,
both are meant. A guess ends in 다, so it meets no noun.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["verbs"]

_FIRST, _VOWELS, _FINALS = 0xAC00, 21, 28
_A, _AE, _EO, _E, _YEO, _O, _WA, _WAE, _OE, _U, _WO, _EU, _I = 0, 1, 4, 5, 6, 8, 9, 10, 11, 13, 14, 18, 20
_NG, _H, _R = 11, 18, 5  # ㅇ, ㅎ, ㄹ that begin a syllable
_N, _D, _L, _B, _SS = 4, 7, 8, 17, 20  # ㄴ, ㄷ, ㄹ, ㅂ, ㅆ that end one
#: A vowel that an ending has melted into, and those that stood there.
_MELTED = {
    _YEO: (_I, _YEO), _WA: (_O,), _WO: (_U,), _WAE: (_OE,), _AE: (_AE,), _E: (_E,), _A: (_A, _EU), _EO: (_EO, _EU),
}  # fmt: skip
#: Stems of one syllable: nouns that end in 는 and 고 are many, so of these the stem must be one of a verb.
_SHORT = frozenset(
    "가 오 자 보 먹 타 들 앉 서 걷 뛰 놀 읽 쓰 웃 울 날 입 신 안 잡 찾 씻 마 하 주 사 팔 열 닫 밀 당 걸 굽 찍 그 치 추 "
    "크 작 좋 많 길 짧 높 낮 넓 좁 늙 젊 밝 춥 덥 있 없 되 눕 싸 따 심 캐 끌 업 묶 던 달 살".split()
)
_PLAIN = re.compile("(?:는다|으면서|면서|으며|며|고|는|은|지만)$")
#: Words that look like a short verb.
_NOUNS = frozenset(["사고", "하지만"])


def verbs(word: str) -> list[str]:
    """The dictionary forms of which a word may be a form.

    >>> verbs("달리는"), verbs("달렸다"), verbs("먹고"), verbs("바다"), verbs("고양이")
    (['달리다', '달릴다'], ['달리다', '달려다'], ['먹다'], [], [])
    """
    return [one for one in dict.fromkeys(_dictionary(word)) if one != word]


def _split(syllable: str) -> tuple[int, int, int]:
    """Beginning, vowel and end of a syllable."""
    number = ord(syllable) - _FIRST
    return number // (_VOWELS * _FINALS), number // _FINALS % _VOWELS, number % _FINALS


def _join(first: int, vowel: int, final: int = 0) -> str:
    return chr(_FIRST + (first * _VOWELS + vowel) * _FINALS + final)


def _dictionary(word: str) -> Iterator[str]:
    if len(word) < 2 or word in _NOUNS or not all("가" <= char <= "힣" for char in word):
        return
    if word.endswith(("습니다", "어요", "아요", "세요")) and len(word) > 2:
        bare = word[:-3] if word.endswith("습니다") else word[:-2]
        yield bare + "다"
        yield from _past(bare)
    elif word.endswith("니다") and _ends(word[:-2], _B):
        yield from _without(word[:-2])
    elif word.endswith("요"):
        yield from _melted(word[:-1])
    elif (bare := _PLAIN.sub("", word)) != word:
        if len(bare) > 1 or bare in _SHORT:
            yield bare + "다"
        first, vowel, final = _split(bare[-1])
        long = bare[:-1] + _join(first, vowel, _L)  # 우는: 울다, 만드는: 만들다
        if not final and word.endswith("는") and (len(bare) > 1 or long in _SHORT):
            yield long + "다"
    elif word.endswith("다"):
        yield from _past(word[:-1])
        if _ends(word[:-1], _N):
            yield from _without(word[:-1])


def _ends(stem: str, final: int) -> bool:
    return bool(stem) and _split(stem[-1])[2] == final


def _without(stem: str) -> Iterator[str]:
    """달린 of 달린다: without what ends its last syllable, or with the ㄹ that had to go."""
    first, vowel, _ = _split(stem[-1])
    yield stem[:-1] + _join(first, vowel) + "다"
    yield stem[:-1] + _join(first, vowel, _L) + "다"


def _past(stem: str) -> Iterator[str]:
    """달렸 of 달렸다, 먹었 of 먹었다."""
    if _ends(stem, _SS):
        first, vowel, _ = _split(stem[-1])
        yield from _melted(stem[:-1] + _join(first, vowel))


def _melted(stem: str) -> Iterator[str]:
    """달려 of 달렸 and 달려요, 먹어 of 먹었: a stem with the vowel of its ending."""
    before, (first, vowel, final) = stem[:-1], _split(stem[-1])
    if final or vowel not in _MELTED:
        return
    if first == _NG and vowel in (_A, _EO) and before and _split(before[-1])[2]:  # a syllable of its own
        yield before + "다"
        if _ends(before, _L):  # 걸었다: 걸다, 걷다
            yield before[:-1] + _join(*_split(before[-1])[:2], _D) + "다"
        return
    if vowel == _AE and first == _H:
        yield before + "하다"
        return
    for one in _MELTED[vowel]:
        stem = before + _join(first, one)
        if one != _EU or (before and first != _NG) or stem in _SHORT:
            yield stem + "다"
    if before and first == _NG and vowel in (_WA, _WO) and not _split(before[-1])[2]:  # 도왔다: 돕다
        yield before[:-1] + _join(*_split(before[-1])[:2], _B) + "다"
    if before and first == _R and vowel in (_A, _EO) and _ends(before, _L):  # 올랐다: 오르다
        yield before[:-1] + _join(*_split(before[-1])[:2]) + "르다"
