"""What a name says of the texts behind it: columns, JSON keys, and files beside pictures; and what texts look like."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from panoglot.languages import language_name, parse_language

__all__ = ["Role", "bare_language", "doubtful_role", "is_running_text", "label_role", "pair_role", "text_role"]


class Role(NamedTuple):
    """What a column, key or file of texts is.

    Attributes:
        lang: language of the texts, or None when the name does not say it.
        alt: they are alt texts.
        kind: `question` or `answer`, or None for captions.
    """

    lang: str | None = None
    alt: bool = False
    kind: str | None = None


#: Words that make a name one of captions, whatever stands before them: `blip_caption`.
_CAPTION = frozenset("caption captions description descriptions".split())
#: Words that do so alone, and words that may stand beside them.
_CORE = _CAPTION | frozenset("text texts txt alt alttext alttexts desc sentence sentences raw".split())
_BESIDE = _CORE | frozenset("short long dense detailed brief full main top image img picture human gt new".split())
#: `has_caption` is no caption.
_NOT_BEFORE = frozenset("has is n num number count len length no skip use with without hash md5 sha".split())
#: Words that are language codes by accident: `caption_id` is no Indonesian unless its values are texts.
_NO_LANGUAGE = frozenset(
    "id ids no raw len num idx set old new url uri src min max alt img txt key tok std vec emb loc ner pos tag "
    "row col sha md5 gen gpt llm ocr org ori pre ref seq sim sum all one two en1 has was clip blip".split()
)
#: Endings and words of files that are language codes by accident: `a.bak.txt` is no Bashkir.
_NO_FILE_LANGUAGE = (_NO_LANGUAGE - {"id", "no"}) | frozenset(
    "bak tmp cap cop png jpg jpe gif tif bmp svg psd raf arw dng nef orf cls npy npz tar zip bin dat csv tsv xml xmp "
    "yml ini cfg log doc pdf web www mov avi mkv mp3 mp4 ass sub srt vtt idx tok bpe "
    "box seg lab lbl cat obj att det dep map msk nsf wip fix dup ann her his her you hot big low top mid any".split()
)
#: English words before a name of captions that are language codes by accident: `is_caption`, `my_text`.
_NO_HEAD = frozenset("is no my to or as an so am it he id in be at do us".split())
_QUESTIONS = frozenset("question questions query instruction".split())
_ANSWERS = frozenset("answer answers response output".split())

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")
_BRACKET = re.compile(r"(.+?)\s*[\[(]([^\[\]()]{2,40})[\])]")
_SEPARATOR = re.compile(r"[_\-.:\s]+")


def _words(name: str) -> list[str]:
    return [word for word in _SEPARATOR.split(_CAMEL.sub("_", name.strip())) if word]


def _is_captions(words: Sequence[str]) -> bool:
    low = [word.lower() for word in words]
    if not low or low[0] in _NOT_BEFORE:
        return False
    if low[-1].rstrip("0123456789") in _CAPTION:
        return True
    return low[-1].rstrip("0123456789") in _CORE and all(word in _BESIDE for word in low[:-1])


def _split(name: str) -> tuple[list[str], str | None] | None:
    """A name as its words of captions and the tag after or before them; None when it is no name of captions."""
    bracket = _BRACKET.fullmatch(name.strip())
    if bracket:
        words = _words(bracket[1])
        return (words, bracket[2] if parse_language(bracket[2]) else None) if _is_captions(words) else None
    words = _words(name)
    if len(words) > 1 and words[-1].isdigit():  # caption_1
        words.pop()
    if _is_captions(words):
        head = words[0].lower()
        if len(words) > 1 and _is_captions(words[1:]) and len(head) == 2 and head not in _NO_HEAD | _NO_LANGUAGE:
            return (words[1:], head) if parse_language(head) else (words, None)
        return words, None
    for count in (3, 2, 1):
        head_words, tail = words[:-count], "-".join(words[-count:])
        if _is_captions(head_words) and (parse_language(tail) or count == 1):
            return head_words, tail
    return None


def text_role(name: str) -> Role | None:
    """Say what a column or key of captions is, or None when its name does not say that it holds captions.

    >>> text_role("caption_de"), text_role("text[zh-TW]"), text_role("caption_ca@valencia"), text_role("caption_2")
    (Role(lang='de', alt=False, kind=None), Role(lang='zh-Hant', alt=False, kind=None), Role(lang='ca-valencia', alt=False, kind=None), Role(lang=None, alt=False, kind=None))
    >>> text_role("ALT_TEXT").alt, text_role("blip_caption") is not None, text_role("fr_caption").lang
    (True, True, 'fr')
    >>> text_role("caption_id"), text_role("has_caption"), text_role("ocr_text"), text_role("title")
    (None, None, None, None)
    """  # noqa: E501
    found = _split(name)
    if found is None:
        return None
    words, tag = found
    alt = any(word.lower().startswith("alt") for word in words)
    if tag is None:
        return Role(None, alt)
    lang = None if tag.lower() in _NO_LANGUAGE and name.strip()[-1] not in ")]" else parse_language(tag)
    return Role(lang, alt) if lang else None


def doubtful_role(name: str) -> Role | None:
    """Say what a name is that begins like captions and goes on in another way: its values must decide.

    >>> doubtful_role("caption_id"), doubtful_role("caption_llava"), doubtful_role("title")
    (Role(lang='id', alt=False, kind=None), Role(lang=None, alt=False, kind=None), None)
    """
    found = _split(name)
    if found is None or found[1] is None:
        return None
    return Role(parse_language(found[1]) if len(found[1]) == 2 else None, False)


def bare_language(name: str) -> str | None:
    """Return the language that a column or key is named by alone: `de`, `pt_BR`, `German`; its values must be texts.

    >>> [bare_language(name) for name in ("pt_BR", "id", "Swahili", "new", "width")]
    ['pt-BR', 'id', 'sw', None, None]
    """
    name = name.strip()
    if name.lower() in _english_names():
        return _english_names()[name.lower()]
    if name.lower() in _NO_FILE_LANGUAGE or not re.fullmatch(r"[A-Za-z]{2,3}([-_@.][A-Za-z0-9-]{2,8}){0,3}", name):
        return None
    return parse_language(name)


@lru_cache(maxsize=1)
def _english_names() -> dict[str, str]:
    """English names of the languages that have a code of two letters."""
    codes = ("".join(pair) for pair in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=2))
    return {name.lower(): code for code in codes if (name := language_name(code)) != code}


def pair_role(name: str, names: Iterable[str]) -> Role | None:
    """Say whether a column is the questions or the answers of a table that has both.

    >>> pair_role("Question", ["Question", "answer"]), pair_role("question", ["question", "image"])
    (Role(lang=None, alt=False, kind='question'), None)
    """
    have = {other.lower() for other in names}
    for mine, others, kind in ((_QUESTIONS, _ANSWERS, "question"), (_ANSWERS, _QUESTIONS, "answer")):
        if name.lower() in mine and have & others:
            return Role(None, False, kind)
    return None


def label_role(label: str) -> Role | None:
    """Say what a text file is by what stands between its picture's name and its own ending: `de` of `a.de.txt`.

    >>> [label_role(label).lang for label in ("de", "ca@valencia", "sr_RS.UTF-8@latin", "id")]
    ['de', 'ca-valencia', 'sr-Latn-RS', 'id']
    >>> label_role("caption_sw").lang, label_role("3"), label_role("bak"), label_role("png"), label_role("llava")
    ('sw', Role(lang=None, alt=False, kind=None), None, None, None)
    """
    if not label or re.fullmatch(r"\d{1,3}", label):
        return Role()
    if label.lower() in _NO_FILE_LANGUAGE:
        return None
    lang = parse_language(label)
    return Role(lang) if lang else text_role(label)


_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+|data:\S+|\S+@\S+\.\w+", re.IGNORECASE)
_FILE = re.compile(r"\S*[/\\]\S*|\S+\.\w{2,5}")
_CODE = re.compile(r"[\d\s:.,/+TZ-]+|[0-9a-fA-F-]{12,}|\S*\d\S*")
#: Scripts without spaces between words, or with few: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han, Hangul.
_DENSE = re.compile(
    r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
)


def is_running_text(values: Iterable[str], words: float = 2) -> bool:
    """Say whether values read like texts that people write, and not like ids, paths, addresses, numbers or codes.

    Args:
        values: some of them.
        words: mean words that they must have; two letters of a script without spaces count as a word.

    >>> [is_running_text([text]) for text in ("Eine Bank aus Holz.", "猫が寝ている", "แมวนอน")]
    [True, True, True]
    >>> [is_running_text([text]) for text in ("12", "a/b.jpg", "9f86d081884c7d65", "")]
    [False, False, False, False]
    """
    lengths = []
    for value in values:
        text = value[:2000].strip()
        if not text:
            continue
        dense = len(_DENSE.findall(text))
        if dense < 2 and (_ADDRESS.fullmatch(text) or _FILE.fullmatch(text) or _CODE.fullmatch(text)):
            lengths.append(0.0)
        else:
            spaced = [word for word in _DENSE.sub(" ", text).split() if any(c.isalpha() for c in word)]
            lengths.append((dense + 1) // 2 + len(spaced))
    if not lengths:
        return False
    enough = sum(length >= min(words, 2) for length in lengths)
    return enough >= 0.6 * len(lengths) and sum(lengths) / len(lengths) >= words
