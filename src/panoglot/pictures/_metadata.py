"""What a picture's file says beside the picture: EXIF, IPTC and XMP, as Pillow and defusedxml read them, bounded.

Never read into anything: where it was taken to the metre, serial numbers, names of owners; only whether such is there.
"""

from __future__ import annotations

import contextlib
import math
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from panoglot.pictures._decoder import open_picture

__all__ = ["Metadata", "read_metadata"]

#: Longest XMP packet and IPTC block that are read, longest text, most captions and keywords.
MAX_XMP, MAX_TEXT, MOST_CAPTIONS, MOST_KEYWORDS = 2**19, 4000, 32, 100
#: What shows that a JPEG has a block; most pictures have none, and are not opened.
_MARKS = (b"Exif\0\0", b"http://ns.adobe.com/xap", b"Photoshop 3")
#: Chunks of a PNG that may be or hold one.
_CHUNKS = frozenset((b"eXIf", b"iTXt", b"tEXt", b"zTXt"))
#: Camera makers write these into every picture.
_STOCK = re.compile(
    r"(olympus|minolta|samsung|kodak|konica|nikon|sony)? ?(digital (still )?camera|camera pictures|dsc)|exif[_ ]jpeg.*|"
    r"digital camera|untitled|screenshot|created with gimp|default|img[_ ]?\d*",
    re.IGNORECASE,
)
_XMP_CAPTIONS = ("AltTextAccessibility", "ExtDescrAccessibility", "description", "Headline", "title")
_XMP_PRIVATE = re.compile(r"gps|serial|owner|PersonInImage|CreatorContactInfo|LocationCreated|LocationShown", re.I)
_PLACES = {"City": "city", "State": "state", "Country": "country", "CountryName": "country"}
_RDF, _XML = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://www.w3.org/XML/1998/namespace}"


@dataclass
class Metadata:
    """What a file says of its picture.

    Attributes:
        captions: texts and their languages as they are written there (`und` where it does not say), each once.
        keywords: words for it, each once.
        taken: when it was taken, seconds since 1970; a time without a zone counts as UTC.
        facts: `make`, `camera`, `city`, `state`, `country`.
        has_gps: whether it says where it was taken.
        private: whether it says that, a serial number, an owner, or something that could not be read.
    """

    captions: list[tuple[str, str]] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    taken: float | None = None
    facts: dict[str, str] = field(default_factory=dict)
    has_gps: bool = False
    private: bool = False

    def context(self) -> dict[str, Any]:
        """The same as plain values, without texts: for the context of a picture."""
        plain: dict[str, Any] = dict(self.facts)
        if self.keywords:
            plain["keywords"] = self.keywords
        if self.taken is not None:
            plain["taken"] = datetime.fromtimestamp(self.taken, UTC).isoformat()
        return plain

    def tell(self, text: Any, lang: str = "und") -> None:
        """Add a caption, unless it is there or says nothing."""
        said = _clean(text)
        if not said or _STOCK.fullmatch(said) or len(self.captions) >= MOST_CAPTIONS:
            return
        for n, (other, tag) in enumerate(self.captions):
            if other == said:
                if tag == "und":
                    self.captions[n] = (said, lang)
                if tag == "und" or lang in ("und", tag):
                    return
        self.captions.append((said, lang))

    def word(self, text: Any) -> None:
        """Add a keyword."""
        said = _clean(text)[:200]
        if said and said not in self.keywords and len(self.keywords) < MOST_KEYWORDS:
            self.keywords.append(said)

    def fact(self, name: str, text: Any) -> None:
        """Add a fact; the first stands."""
        if said := _clean(text)[:200]:
            self.facts.setdefault(name, said)


def read_metadata(data: bytes) -> Metadata:
    """Read what a JPEG, PNG, WebP or TIFF says beside its picture; nothing is decoded, nothing is raised.

    Args:
        data: the encoded bytes.
    """
    found = Metadata()
    there = _has_blocks(data)
    if not there:
        return found
    found.private = there > 1  # behind the pixels, where it is not looked for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name, info, opened = _blocks(data)
            for part in (_xmp, _iptc, _exif):  # what is broken in one is no reason to lose another
                try:
                    part(name, info, opened, found)
                except Exception:
                    found.private = True
    except Exception:  # pictures of too many pixels, texts without end …
        found.private = True
    return found


def _has_blocks(data: bytes) -> int:
    """0 where a file says nothing but the picture, 2 where it says something behind it, else 1. Looks at no pixels."""
    at, end = 8, len(data)
    if data[:3] == b"\xff\xd8\xff":
        at = 2
        while at + 4 <= end and data[at] == 0xFF and data[at + 1] != 0xDA:
            at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])
        return int(any(data.find(mark, 0, at) >= 0 for mark in _MARKS))
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        said, behind = 0, False
        while at + 8 <= end and said < 2:
            kind = data[at + 4 : at + 8]
            behind = behind or kind == b"IDAT"
            said = max(said, 1 + behind) if kind in _CHUNKS else said
            at += 12 + int.from_bytes(data[at : at + 4])
        return said
    if data[8:12] == b"WEBP":
        return int(data[12:16] == b"VP8X" and len(data) > 20 and data[20] & 0x0C != 0)
    return int(data[:4] in (b"II*\0", b"MM\0*"))


def _blocks(data: bytes) -> tuple[str, Mapping[Any, Any], Any]:
    """Format, blocks (`exif`, `xmp` …) and Pillow's handle; none of a WebP: Pillow would make room for its pixels."""
    if data[8:12] == b"WEBP":
        info: dict[Any, Any] = {}
        at = 12
        while at + 8 <= len(data) and len(info) < 2:
            size, kind = int.from_bytes(data[at + 4 : at + 8], "little"), data[at : at + 4]
            if kind in (b"EXIF", b"XMP "):
                info["exif" if kind == b"EXIF" else "xmp"] = data[at + 8 : at + 8 + size]
            at += 8 + size + size % 2
        return "WEBP", info, None
    opened = open_picture(data)
    return opened.format or "", opened.info, opened


def _clean(text: Any) -> str:
    """A text as it may be kept: one that people could have written, on one line, of sensible length."""
    if isinstance(text, bytes):
        text = _decoded(text)
    if not isinstance(text, str):
        return ""
    kept = (c if unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn") else " " for c in text[: 2 * MAX_TEXT])
    return " ".join("".join(kept).split())[:MAX_TEXT].strip()


def _decoded(raw: bytes) -> str:
    raw = raw[: 4 * MAX_TEXT].rstrip(b"\0")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        cut = raw.decode("utf-8", "ignore")  # it was cut within a letter: no more than that is wrong
        return cut if len(raw) - len(cut.encode()) <= 3 and not cut.isascii() else raw.decode("latin-1")


def _exif(name: str, info: Mapping[Any, Any], opened: Any, found: Metadata) -> None:
    import PIL.Image

    exif = PIL.Image.Exif()
    if name == "TIFF":
        exif = opened.getexif()
    elif any(str(key).startswith("Raw profile") for key in info):  # as ImageMagick writes EXIF into a PNG
        found.private = True
    elif info.get("exif"):  # not `getexif`, which would decode a PNG to look behind its pixels
        exif.load(info["exif"])
    if not exif:
        return
    inner = exif.get_ifd(0x8769)
    found.has_gps = found.has_gps or any(tag in exif.get_ifd(0x8825) for tag in (2, 4))
    private = (0xA430, 0xA431, 0xA435, 0x927C)  # owner, serial numbers, a maker's own notes, which have them too
    found.private = found.private or bool(exif.get_ifd(0x8825)) or any(tag in inner for tag in private)
    for tag in (0x9C9B, 0x9C9C):  # Windows: title, comment
        found.tell(_utf16(exif.get(tag)))
    found.tell(_latin(exif.get(0x010E)))
    found.tell(_comment(inner.get(0x9286)))
    for word in _utf16(exif.get(0x9C9E)).split(";"):
        found.word(word)
    found.fact("make", _latin(exif.get(0x010F)))
    found.fact("camera", _latin(exif.get(0x0110)))
    taken = _moment(inner.get(0x9003), inner.get(0x9011))
    if taken is None:
        taken = _moment(inner.get(0x9004), inner.get(0x9012))
    found.taken = found.taken if taken is None else taken  # the camera's own word stands before that of others


def _latin(text: Any) -> Any:
    """EXIF texts come as Latin-1, whatever they are."""
    if isinstance(text, str):
        with contextlib.suppress(UnicodeEncodeError):
            return text.encode("latin-1")
    return text


def _utf16(raw: Any) -> str:
    if isinstance(raw, tuple | list):
        raw = bytes(one & 255 for one in raw if isinstance(one, int))
    return raw[: 2 * MAX_TEXT].decode("utf-16-le", "replace").partition("\0")[0] if isinstance(raw, bytes) else ""


def _comment(raw: Any) -> str:
    """`UserComment`: eight bytes say how it is written."""
    if not isinstance(raw, bytes):
        return raw if isinstance(raw, str) else ""
    code, text = raw[:8], raw[8 : 8 + 4 * MAX_TEXT]
    if code.startswith(b"UNICODE"):
        big = text[:1] == b"\0" or text[:2] == b"\xfe\xff"
        return text.decode("utf-16-be" if big else "utf-16-le", "replace").lstrip("\ufeff")
    if code.startswith(b"JIS"):
        return text.decode("iso2022_jp", "replace")
    return _decoded(text) if code.startswith(b"ASCII") or code == bytes(8) else ""


def _moment(text: Any, zone: Any = None) -> float | None:
    """`2024:01:31 12:00:00` or ISO 8601, in seconds since 1970."""
    said = _clean(text)
    parts = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?(?:\.\d+)?\s*(.*)", said)
    if parts is None:
        return None
    offset = re.match(r"([+-])(\d\d):?(\d\d)", _clean(zone) or parts[7])
    try:
        away = (
            timedelta(hours=int(offset[2]), minutes=int(offset[3])) * (-1 if offset[1] == "-" else 1)
            if offset
            else None
        )
        where = UTC if away is None else timezone(away)
        year, month, day, hour, minute, second = (int(one or 0) for one in parts.groups()[:6])
        seconds = datetime(year, month, day, hour, minute, second, tzinfo=where).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds > -2.3e9 else None  # nobody photographed before 1900


def _iptc(name: str, _: Mapping[Any, Any], opened: Any, found: Metadata) -> None:
    from PIL.IptcImagePlugin import getiptcinfo

    if name not in ("JPEG", "MPO", "TIFF"):
        return
    records: Mapping[tuple[int, int], Any] = getiptcinfo(opened) or {}

    def texts(number: int) -> Iterator[str]:
        value = records.get((2, number))
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, bytes):
                yield _decoded(one)

    for number in (120, 105):
        for text in texts(number):
            found.tell(text)
    for text in texts(25):
        found.word(text)
    for number, fact in ((90, "city"), (95, "state"), (101, "country")):
        for text in texts(number):
            found.fact(fact, text)
    for day, hour in zip(texts(55), [*texts(60), ""], strict=False):
        if found.taken is None and len(day) == 8:
            clock = f" {hour[:2]}:{hour[2:4]}:{hour[4:6]}{hour[6:]}" if len(hour) >= 6 else ""
            found.taken = _moment(f"{day[:4]}-{day[4:6]}-{day[6:]}{clock}")


def _xmp(name: str, info: Mapping[Any, Any], opened: Any, found: Metadata) -> None:
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp")
    if packet is None and name == "TIFF":
        packet = opened.tag_v2.get(700)
    if isinstance(packet, str):
        packet = packet.encode("utf-8", "replace")
    if not isinstance(packet, bytes):
        return
    if len(packet) > MAX_XMP:
        found.private = True
        return
    from defusedxml.ElementTree import fromstring

    root = fromstring(packet.rstrip(b"\0 "))
    for element in root.iter():
        tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
        _xmp_value(tag, list(_texts(element)), found)
        for key, value in element.attrib.items():
            _xmp_value(key.rpartition("}")[2], [(value, "und")], found)


def _texts(element: Any) -> Iterator[tuple[str, str]]:
    """Texts of a property and their languages: its own, or those of an array of alternatives or words."""
    items = element.findall(f"*/{_RDF}li")
    for one in items or [element]:
        lang = one.get(f"{_XML}lang", "und")
        yield one.text or "", "und" if lang == "x-default" else lang


def _xmp_value(name: str, texts: list[tuple[str, str]], found: Metadata) -> None:
    if _XMP_PRIVATE.search(name):
        found.private = True
        found.has_gps = found.has_gps or name == "GPSLatitude"
    elif name in _XMP_CAPTIONS:
        for text, lang in sorted(texts, key=lambda one: one[1] == "und"):  # the default is one of the others again
            found.tell(text, lang)
    elif name == "subject":
        for text, _ in texts:
            found.word(text)
    elif name in _PLACES:
        found.fact(_PLACES[name], texts[0][0])
    elif name in ("DateTimeOriginal", "DateCreated") and found.taken is None:
        found.taken = _moment(texts[0][0])
    elif name in ("Make", "Model"):
        found.fact({"Make": "make", "Model": "camera"}[name], texts[0][0])
