"""What a picture's file says of people beside its pixels: where it was taken, by which device, for whom; taken out."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

__all__ = ["without_private"]

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
#: Tags of EXIF: place; the maker's note, which has serial numbers; owner, serial numbers of body, lens, camera.
_GPS, _SUB = 0x8825, 0x8769
_PRIVATE = frozenset((0x927C, 0xA430, 0xA431, 0xA435, 0xC62F, 0xC65A))
_SAID = re.compile(rb"gps|serial|ownername|latitude|longitude|makernote", re.IGNORECASE)


def without_private(data: bytes) -> bytes:
    """The same picture without place, serial numbers and owner; the very same bytes where it says none of them.

    Pixels, colour profile and orientation stay. Where such a thing is said, all EXIF but the orientation goes, and XMP
    and IPTC go: they repeat it in many ways.

    Args:
        data: an encoded picture; other formats than JPEG, PNG and WebP come back as they are.

    >>> without_private(b"GIF89a")
    b'GIF89a'
    """
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    return data


def _says_private(tiff: bytes) -> bool:
    """Whether an EXIF block has a private tag; one that cannot be read counts as one that has."""
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        first = dict(_tags(tiff, order, at))
        below = dict(_tags(tiff, order, first[_SUB])) if _SUB in first else {}
    except (KeyError, struct.error):
        return True
    return _GPS in first or bool(_PRIVATE & (first.keys() | below.keys()))


def _tags(tiff: bytes, order: str, at: int) -> Iterator[tuple[int, int]]:
    (count,) = struct.unpack_from(order + "H", tiff, at)
    for n in range(count):
        tag, _, _, value = struct.unpack_from(order + "HHII", tiff, at + 2 + 12 * n)
        yield tag, value


def _upright(tiff: bytes) -> bytes:
    """An EXIF block with the orientation alone, or nothing where the picture lies as it is stored."""
    from panoglot.pictures._parse import exif_orientation

    turned = exif_orientation(tiff)
    if turned == 1:
        return b""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, turned, 0, 0)


def _jpeg(data: bytes) -> bytes:
    segments, at = list[tuple[int, int, int]](), 2  # marker, start, end
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill
            at += 1
            continue
        marker, size = data[at + 1], (data[at + 2] << 8) | data[at + 3]
        if marker == 0xDA or size < 2:
            break
        segments.append((marker, at, at + 2 + size))
        at += 2 + size
    exif = [data[a + 10 : b] for m, a, b in segments if m == 0xE1 and data[a + 4 : a + 10] == _EXIF]
    others = [(m, a, b) for m, a, b in segments if m in (0xE1, 0xED) and data[a + 4 : a + 10] != _EXIF]
    if not any(map(_says_private, exif)) and not any(_SAID.search(data, a, b) for _, a, b in others):
        return data
    gone = {a for m, a, _ in segments if m in (0xE1, 0xED)}
    kept = b"".join(data[a:b] for _, a, b in segments if a not in gone)
    tiff = _upright(exif[0]) if exif else b""
    turned = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + _EXIF + tiff if tiff else b""
    return data[:2] + turned + kept + data[at:]


def _png(data: bytes) -> bytes:
    chunks, at, tiff, private = list[bytes](), 8, b"", False
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : end - 4]
        if kind == b"eXIf":
            tiff = tiff or body
            private |= _says_private(body)
        elif kind in (b"tEXt", b"iTXt", b"zTXt") and (b"profile type" in body[:80] or b"xmp" in body[:80].lower()):
            private |= kind == b"zTXt" or b"profile" in body[:80] or _SAID.search(body) is not None
        else:
            chunks.append(data[at:end])
        at = end
    if not private:
        return data
    turned = _upright(tiff) if tiff else b""
    if turned:
        check = struct.pack(">I", zlib.crc32(b"eXIf" + turned))
        chunks.insert(1, struct.pack(">I", len(turned)) + b"eXIf" + turned + check)
    return data[:8] + b"".join(chunks) + data[at:]


def _webp(data: bytes) -> bytes:
    chunks, at = list[tuple[bytes, bytes]](), 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    exif = [body.removeprefix(_EXIF) for kind, body in chunks if kind == b"EXIF"]
    xmp = [body for kind, body in chunks if kind == b"XMP "]
    if not any(map(_says_private, exif)) and not any(map(_SAID.search, xmp)):
        return data
    turned = _upright(exif[0]) if exif else b""
    kept = [(kind, body) for kind, body in chunks if kind not in (b"EXIF", b"XMP ")]
    if kept and kept[0][0] == b"VP8X" and kept[0][1]:
        flags = kept[0][1][0] & ~0x0C | (0x08 if turned else 0)
        kept[0] = (b"VP8X", bytes([flags]) + kept[0][1][1:])
    kept += [(b"EXIF", turned)] if turned else []
    body = b"".join(kind + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2) for kind, part in kept)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
