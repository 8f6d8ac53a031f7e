"""The charset of a web page: by its mark, its server, itself; where none of them fits, by its language."""

from __future__ import annotations

import codecs
import re

from panoglot.languages import matches
from panoglot.languages._tags import parse_language

__all__ = ["page_text"]

_META = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([a-zA-Z0-9_:.-]+)", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml[^>]+encoding\s*=\s*[\"']([a-zA-Z0-9_:.-]+)", re.IGNORECASE)
_LANG = re.compile(rb"<(?:html|body)[^>]+lang\s*=\s*[\"']?\s*([a-zA-Z0-9_-]+)", re.IGNORECASE)
_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_LATIN = frozenset(("iso-8859-1", "latin1", "ascii", "us-ascii"))
#: Codecs of Python that no page is in; one of them takes a minute for 300 KB, another reads markup out of letters.
_NONE = frozenset(("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"))
#: What pages in a language are in when they are not in UTF-8 and do not say it: one of each is that of WHATWG's HTML
#: standard (the default encodings by locale); where there are two, the first is hardly valid in bytes of the next.
_OLD = {
    "ja": ("euc_jp", "cp932"),
    "zh-Hant": ("big5hkscs", "gb18030"),
    "zh": ("gb18030", "big5hkscs"),
    "ko": ("cp949",),
    "th": ("cp874",),
    "vi": ("cp1258",),
    **dict.fromkeys(("ar", "fa", "ur", "ps", "ckb", "ug", "sd"), ("cp1256",)),
    **dict.fromkeys(("he", "yi"), ("cp1255",)),
    **dict.fromkeys(("be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "tt", "uk"), ("cp1251", "koi8_u")),
    **dict.fromkeys(("bs", "cs", "hr", "hu", "pl", "ro", "sk", "sl"), ("cp1250",)),
    **dict.fromkeys(("az", "ku", "tr"), ("cp1254",)),
    **dict.fromkeys(("et", "lt", "lv"), ("cp1257",)),
    "el": ("cp1253",),
}


def page_text(raw: bytes, charset: str = "", lang: str | None = None) -> str:
    """A page as text.

    Args:
        raw: the page.
        charset: what its server says, or empty.
        lang: the language that its place suggests; what the page says of itself counts more.

    >>> page_text("<meta charset=utf-8>é".encode("cp1252")), page_text("é".encode(), "iso-8859-1")
    ('<meta charset=utf-8>é', 'é')
    >>> page_text("<html lang=ja>子猫".encode("euc_jp")), page_text("кошка".encode("koi8-r"), lang="ru")
    ('<html lang=ja>子猫', 'кошка')
    """
    for mark, name in _MARKS.items():
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace")
    head = raw[:4096]
    said = [one[1].decode("ascii", "replace") for pattern in (_XML, _META) if (one := pattern.search(head))]
    # who says Latin-1 often sends UTF-8, and hardly anything else is UTF-8 by accident; JIS of seven bits is
    seven = ["iso2022_jp"] if b"\x1b$" in raw or b"\x1b(J" in raw else []
    for name in [*seven, "utf-8", charset, *said]:
        found = None if not name or name.lower() in _LATIN else _decoded(raw, name)
        if found is not None:
            return found
    if stated := _LANG.search(head):  # before Latin-1, which servers say of any page
        lang = parse_language(stated[1].decode("ascii")) or lang
    texts = [text for name in _of(lang) if (text := _decoded(raw, name)) is not None]
    return max(texts, key=_likely, default=raw.decode("cp1252", "replace"))


def _likely(text: str) -> int:
    """More for the right charset: Cyrillic that is read wrong is in capitals, Chinese has signs of no meaning."""
    return sum("а" <= c <= "я" for c in text) - sum("\ue000" <= c <= "\uf8ff" for c in text)


def _decoded(raw: bytes, name: str) -> str | None:
    try:
        return None if codecs.lookup(name).name in _NONE else raw.decode(name)
    except (LookupError, UnicodeError, ValueError):
        return None


def _of(lang: str | None) -> tuple[str, ...]:
    return next((names for tag, names in _OLD.items() if lang and matches(tag, lang)), ())
