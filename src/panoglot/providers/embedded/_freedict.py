"""Names of things in the dictionaries of FreeDict, English first, as Debian packages them: `dict-freedict-eng-…`.

Each stands under its own licence, the GPL or CC BY-SA: they are read where they are installed.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from panoglot.errors import UserError
from panoglot.languages._tags import parse_language
from panoglot.providers.embedded._concepts import Concept

__all__ = ["words_of_freedict"]

_DIGITS = {c: n for n, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
#: What stands beside a word: its grammar, its field, a remark.
_BESIDE = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\([^()]*\)|\{[^{}]*\}")
_NUMBER = re.compile(r"\s*\d+\.\s+")
_KIND = re.compile(r"<([a-zA-Z]+)")
#: Letters that Hungarian does not have: an old encoding stands behind them.
_HUNGARIAN = str.maketrans("ôûÔÛ", "őűŐŰ")
_MOST_WORDS, _MOST_BYTES = 3, 512 * 2**20


def words_of_freedict(folder: str, english: Collection[str]) -> list[Concept]:
    """Return what the dictionaries call things whose English names are given.

    Of an entry the first word is taken, where it is said to be a noun or nothing is said. A word that only one sense of
    an English name has cannot be told here: who reads it takes names of one sense.

    Args:
        folder: with `freedict-eng-XXX.index` and `.dict.dz` (Debian: `/usr/share/dictd`).
        english: names in lower case.

    Raises:
        UserError: a dictionary that cannot be read.
    """
    names: dict[str, dict[str, str]] = defaultdict(dict)
    for index in sorted(Path(folder).glob("freedict-eng-*.index")) if folder else ():
        lang = parse_language(index.stem.rpartition("-")[2])
        if not lang:
            continue
        try:
            for word, entry in _entries(index, english):
                if (name := _written(_first_name(entry), lang)) and name.casefold() != word:
                    names[word].setdefault(lang, name)
        except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
            raise UserError(f"{index} cannot be read as a dictionary of dictd ({error}).") from None
    return [Concept(word, said, "freedict", one_sense=True) for word, said in names.items()]


def _entries(index: Path, wanted: Collection[str]) -> Iterator[tuple[str, str]]:
    """The entries of some words, in their order: the index has word, place and length, in digits of base 64."""
    lines = (line.split("\t") for line in index.read_text("utf-8").splitlines())
    found = [(one[0].casefold(), _number(one[1]), _number(one[2])) for one in lines if one[0].casefold() in wanted]
    with gzip.open(index.with_suffix(".dict.dz")) as file:
        whole = file.read(_MOST_BYTES)
    for word, start, length in found:
        yield word, whole[start : start + length].decode("utf-8", "replace")


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = 64 * value + _DIGITS[digit]
    return value


def _written(name: str, lang: str) -> str:
    """A name as it is usually written: without marks of stress and an article, in the letters of its language.

    >>> _written("пала\u0301тка", "bg"), _written("النعامة", "ar"), _written("ejtôernyô", "hu")
    ('палатка', 'نعامة', 'ejtőernyő')
    """
    if lang in ("bg", "ru"):
        name = name.replace("\u0301", "")
    if lang == "hu":
        name = name.translate(_HUNGARIAN)
    if lang == "ar" and name.startswith("ال") and len(name) > 4 and " " not in name:
        name = name[2:]
    return unicodedata.normalize("NFC", name)


def _first_name(entry: str) -> str:
    """The first word of an entry; "" for what is no noun, and for what explains more than it names.

    >>> _first_name("tiger /taigər/ <n>\\nteigr <n, s, m>, cath\\n"), _first_name("run /rʌn/ <v>\\nkimbia\\n")
    ('teigr', '')
    >>> _first_name("accordion\\n1. एक~वाद्ययंत्र\\n"), _first_name("tiger\\n1. kaplan, (zool.) Panthera tigris\\n")
    ('एक वाद्ययंत्र', 'kaplan')
    """
    head, _, rest = entry.partition("\n")
    line = next((one for one in rest.splitlines() if one.strip()), "")
    kind = _KIND.search(head) or _KIND.match(line.lstrip("0123456789. "))
    if kind and kind[1].lower() not in ("n", "noun", "masc", "fem", "neut"):
        return ""
    line = _BESIDE.sub("", _NUMBER.sub("", line, count=1)).replace("~", " ")
    name = " ".join(re.split(r"[,;،、，；/|]", line, maxsplit=1)[0].split()).strip(" .")
    plain = not re.search(r"[.:!?0-9=<>()\[\]\"]", name)
    return name if plain and name and len(name.split()) <= _MOST_WORDS else ""
