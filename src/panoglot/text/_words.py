"""Words and characters of any script."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from panoglot.languages import script_of_character

__all__ = ["SPACELESS", "grams", "is_spaceless", "letters", "same_text", "tokens", "word_count"]

#: Scripts that do not put spaces between words (ISO 15924): Chinese, Japanese, Thai, Khmer, Lao, Burmese, Tibetan and
#: their neighbours. Texts in them are counted in characters.
SPACELESS = frozenset("Hani Hira Kana Thai Khmr Laoo Mymr Tibt Yiii".split())
#: Letters of such a script that say as much as one English word. Measured on sentences and captions that exist in both:
#: Chinese 1.4 (captions of XTD-10) and 1.6 (SIB-200), Japanese 2.4, Thai 4.3, Lao 4.0 (SIB-200). The others, which we
#: have no such texts of, are taken to be between.
LETTERS_A_WORD = {"Hani": 1.5, "Yiii": 1.5, "Hira": 3.0, "Kana": 3.0}
LETTERS_A_WORD |= {"Thai": 4.0, "Laoo": 4.0, "Khmr": 3.0, "Mymr": 3.0, "Tibt": 3.0}


@lru_cache(maxsize=1 << 16)
def _class(char: str) -> str:
    """`s` a letter of a script without spaces, `l` another letter, `d` a digit, empty for all else (marks too)."""
    category = unicodedata.category(char)
    if category[0] == "N":
        return "d"
    if category[0] != "L":
        return ""
    return "s" if script_of_character(char) in SPACELESS else "l"


@lru_cache(maxsize=1 << 16)
def _share(char: str) -> float:
    """Words that a letter of a script without spaces stands for."""
    return 1 / LETTERS_A_WORD[script_of_character(char)]


def letters(text: str) -> int:
    """Count letters of any script; combining marks belong to their letter.

    >>> letters("Öl 42!"), letters("สุนัข"), letters("कुत्ता")
    (2, 3, 3)
    """
    if text.isascii():
        return sum(map(str.isalpha, text))
    return sum(_class(char) in ("s", "l") for char in text)


def is_spaceless(text: str) -> bool:
    """Say whether most letters of `text` are of scripts that do not put spaces between words.

    >>> is_spaceless("一只狗在海滩上"), is_spaceless("สุนัขวิ่ง"), is_spaceless("개가 달린다")
    (True, True, False)
    """
    if text.isascii():
        return False
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


def word_count(text: str) -> int:
    """Count words in any script, several in one text too.

    Words are what stands between white space; letters of scripts without spaces count as `LETTERS_A_WORD` of them a
    word, rounded. A text without any letter or digit has no words.

    >>> [word_count(t) for t in ("ein roter Hund", "一只狗在海滩上奔跑", "สุนัขวิ่งบนชายหาด", "iPhone 的照片", "… !! ?")]
    [3, 6, 3, 3, 0]
    """
    if text.isascii():
        return len(text.split()) if any(map(str.isalnum, text)) else 0
    words, shares, said = 0, 0.0, False
    for chunk in text.split():
        classes = [_class(char) for char in chunk]
        said = said or any(classes)
        if "s" in classes:
            shares += sum(_share(char) for char, kind in zip(chunk, classes) if kind == "s")
            words += "l" in classes or "d" in classes
        else:
            words += 1
    return words + (max(1, int(shares + 0.5)) if shares else 0) if said else 0


def grams(text: str) -> list[str]:
    """Split a text into what n-grams are made of: words without case and outer punctuation, and the letters of scripts
    without spaces.

    >>> grams("The cat’s “Mat”."), grams("iPhone 的照片")
    (['the', 'cat’s', 'mat'], ['iphone', '的', '照', '片'])
    """
    found: list[str] = []
    for chunk in same_text(text).split():
        again = len(chunk) <= 24 and _class(chunk[0]) != "s"  # a word; whole sentences do not come again
        found += _grams_of(chunk) if again else _grams_of.__wrapped__(chunk)
    return found


@lru_cache(maxsize=1 << 17)
def _grams_of(chunk: str) -> tuple[str, ...]:
    if chunk.isalnum() and chunk.isascii():
        return (chunk,)
    found: list[str] = []
    word = ""
    for char in chunk:
        if _class(char) == "s":
            found += [bare] if (bare := _bare(word)) else []
            found.append(char)
            word = ""
        elif not word and found and unicodedata.category(char)[0] == "M":
            found[-1] += char
        else:
            word += char
    found += [bare] if (bare := _bare(word)) else []
    return tuple(found)


def _bare(word: str) -> str:
    """A word without the punctuation and symbols around it."""
    start, end = 0, len(word)
    while start < end and unicodedata.category(word[start])[0] in "PS":
        start += 1
    while start < end and unicodedata.category(word[end - 1])[0] in "PS":
        end -= 1
    return word[start:end]
