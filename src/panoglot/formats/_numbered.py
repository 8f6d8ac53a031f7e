"""Figures by their number: texts that begin as a caption does (`Abb. 3: …`, `图3`), and sentences that name one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from panoglot.text import split_sentences

__all__ = ["Mentions", "caption_number", "joined_lines", "named_numbers"]

#: What a figure is called, by language; words that are inflected give their stem.
_WORDS = r"""
    figures? figs? plates? exhibits? abbildung(?:en)? abb bild(?:er|es)? tafeln? figur(?:e|en|er|a|as|as?)? fig[ou]ras?
    figuur figuren afb afbeelding(?:en)? rysun\w{1,4} rys obráz\w{1,4} obr kuva\w{0,4} joonis\w{0,3} slika\w{0,2} sl
    рисун\w{1,5} рис мал малюн\w{1,4} илл?юстраци\w фиг фигур\w εικόν\w{1,3} εικ σχήμα\w{0,3} σχ şekil\w{0,3} hình
    gambar kielelezo picha mchoro рисунк\w{0,3} irudia
"""
#: The same where no space stands between words, or where letters are joined to the word.
_JOINED = r"""
    (?:插|附)?[图圖図] 그림 รูปที่ ภาพที่ รูป ภาพ \w{0,3}شكل \w{0,3}صورة شکل تصویر تصویر איור תמונה चित्र आकृति চিত্র படம் చిత్రం
    ചിത്രം ಚಿತ್ರ ਚਿੱਤਰ រូបភាព ຮູບ ပုံ ნახ նկ ምስል
"""
#: Those that stand behind their number: Hungarian, Latvian, Lithuanian, Basque.
_BEHIND = r"ábr\w{1,5}|attēl\w{1,3}|pav|irudi\w{1,3}"
_LABEL = rf"(?:(?<![^\W\d_])(?:{'|'.join(_WORDS.split())})(?![^\W\d_])\.?|(?:{'|'.join(_JOINED.split())})\.?)"
_NUMBER = r"(?:[A-Z]\.?)?\d+(?:[.\-–‑]\d+)*"
_PART = r"(?:[a-z](?!\w))?"  # `3a` is a part of figure 3
_NAMED = re.compile(rf"{_LABEL}[\s\u00a0]*(?:№|no\.|nr\.)?[\s\u00a0]*({_NUMBER}){_PART}", re.IGNORECASE)
_NAMED_BEHIND = re.compile(rf"({_NUMBER})\.?[\s\u00a0]*(?:{_BEHIND})(?!\w)", re.IGNORECASE)
#: Further numbers after the first: `Figs. 2, 3 and 5`, `図2と図5`.
_MORE = re.compile(
    rf"[\s\u00a0]*(?:[,、，،&–—-]|and|und|et|ed?|y|og|och|en|i|та|и|ve|va|و|और|และ|と|和|및|na|or|oder|ou|to|bis)"
    rf"[\s\u00a0]*(?:{_LABEL})?[\s\u00a0]*({_NUMBER}){_PART}(?![\w%])",
    re.IGNORECASE,
)
#: What stands between a number and the caption itself.
_MARK = re.compile(r"\s*(?:[:：.．。|｜–—-]|$)")
_SPACE = re.compile(r"\)?[\s\u00a0\u3000]+(?=(\S))")
_MOST_MENTIONS, _LONGEST_MENTION = 20, 1000


def _key(number: str) -> str:
    """A number as it is compared: digits of every script are one, and so are all hyphens.

    >>> _key("٣"), _key("A.2"), _key("２–１")
    ('3', 'A.2', '2-1')
    """
    plain = "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in number.upper())
    return re.sub("[–‑]", "-", plain)


def caption_number(text: str, *, sure: bool = False) -> str | None:
    """The number of the figure that a text is the caption of, or None for running text.

    Args:
        text: a block of text, or its first line.
        sure: a mark or a capital letter must follow the number: without a picture close by `図3 は` is a sentence.

    >>> caption_number("Abb. 3: Eine Katze"), caption_number("Figure 3 shows a cat"), caption_number("图3 一只猫")
    ('3', None, '3')
    >>> caption_number("شكل ٣ قطة"), caption_number("شكل ٣ قطة", sure=True), caption_number("2. ábra. Macska")
    ('3', None, '2')
    """
    text = text.strip()
    found = _NAMED.match(text) or _NAMED_BEHIND.match(text)
    if found is None:
        return None
    rest = text[found.end() :]
    if _MARK.match(rest):
        return _key(found[1])
    space = _SPACE.match(rest)
    cased = space is not None and space[1].lower() != space[1].upper()
    if space is None or (not space[1].isupper() if cased else sure):
        return None
    return _key(found[1])


def named_numbers(sentence: str) -> list[str]:
    """The numbers of the figures that a sentence names, each once.

    >>> named_numbers("See Figs. 2–4 and 7a."), named_numbers("图2和图5显示了猫。"), named_numbers("A 3.5 ábrán")
    (['2-4', '2', '3', '4', '7'], ['2', '5'], ['3.5'])
    >>> named_numbers("Table 3 configures 4 cats."), named_numbers("как на рисунке 2")
    ([], ['2'])
    """
    found: list[str] = []
    for match in [*_NAMED.finditer(sentence), *_NAMED_BEHIND.finditer(sentence)]:
        found += _range(_key(match[1]))
        at = match.end()
        while more := _MORE.match(sentence, at):
            found += _range(_key(more[1]))
            at = more.end()
    return list(dict.fromkeys(found))


def _range(key: str) -> list[str]:
    """A number, and where it may be a range those in it: `2-4` is one figure of chapter 2, or three."""
    first, dash, last = key.partition("-")
    if not dash or not (first.isdigit() and last.isdigit() and len(last) < 5):
        return [key]
    return [key, *map(str, range(int(first), int(last) + 1))] if 0 < int(last) - int(first) <= 20 else [key]


def _sentences(text: str) -> list[str]:
    """The sentences of a text; a dot before a number ends none (`Fig. 3`, `рис. 3`, `3. ábra`)."""
    found: list[str] = []
    for sentence in split_sentences(text, lower_case=False):
        label = found and re.search(rf"{_LABEL}$|(?<!\w)\d+\.$", found[-1], re.IGNORECASE)
        if label and (sentence[0].isdigit() or not label[0][0].isalpha()):
            found[-1] += " " + sentence
        else:
            found.append(sentence)
    return found


@dataclass
class Mentions:
    """Sentences of a document that name its figures.

    Attributes:
        sentences: number of a figure: (page or chapter, sentence) in their order.
    """

    sentences: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    _figures: dict[str, list[int]] = field(default_factory=dict)

    def read(self, place: int, blocks: Iterable[str]) -> int:
        """Take in the texts of a page or chapter; captions are noted as such.

        Args:
            place: its number.
            blocks: its texts; a caption is one of its own, or begins a line.

        Returns:
            How many of them are no caption and name no figure.
        """
        rest = 0
        for block in blocks:
            if number := caption_number(block, sure=True):
                self._figures.setdefault(number, []).append(place)
                continue
            named = [(n, one) for one in _sentences(block) for n in named_numbers(one)] if _has_digit(block) else []
            for name, sentence in named:
                self.sentences.setdefault(name, []).append((place, sentence[:_LONGEST_MENTION]))
            rest += not named and any(map(str.isalpha, block))
        return rest

    def of(self, number: str, place: int, caption: str) -> list[tuple[int, str]]:
        """The sentences about a figure but its caption; of several with its number, those no other is nearer to."""
        others = [other for other in self._figures.get(number, ()) if other != place]
        found = self.sentences.get(number, ())
        near = (one for one in found if all(abs(one[0] - place) <= abs(one[0] - other) for other in others))
        return list(dict.fromkeys(one for one in near if one[1] not in caption))[:_MOST_MENTIONS]


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))


def joined_lines(lines: Sequence[str]) -> str:
    """Lines of a block as one text: words that a hyphen cuts are whole again, CJK gets no spaces.

    >>> joined_lines(["Eine Kat-", "ze und ein", "Hund."]), joined_lines(["一只", "猫"])
    ('Eine Katze und ein Hund.', '一只猫')
    """
    return "".join(_pieces(lines)).strip()


def _pieces(lines: Sequence[str]) -> Iterator[str]:
    last = ""
    for line in lines:
        line = " ".join(line.split())
        if not line:
            continue
        if last and last[-1] in "-\ufffe\u00ad\x02" and last[-2:-1].isalpha() and line[0].islower():
            yield last[:-1]
        elif last:
            yield last + ("" if _wide(last[-1]) and _wide(line[0]) else " ")
        last = line
    yield last.rstrip("\ufffe\u00ad\x02")


def _wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF" and unicodedata.name(char, "").partition(" ")[0] != "HANGUL"
