"""The same picture without what its file says beside it: no pixel changes, nothing is encoded again."""

from __future__ import annotations

import re
import struct
import zlib

from panoglot.errors import RowError
from panoglot.pictures._metadata import read_metadata
from panoglot.pictures._parse import parse

__all__ = ["without_metadata", "without_private"]

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
#: EXIF that says how a picture lies, and nothing else.
_LIES = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01%b\0\0\0\0\0\0"


def without_private(data: bytes) -> bytes | None:
    """The same picture without place, serial numbers and owner; the very same bytes where it says none of them.

    Where such a thing is said, all that the file says beside the picture goes: it is repeated in many ways.

    Args:
        data: the encoded bytes.

    Returns:
        The bytes; None where it cannot be told: it has to be encoded again.

    >>> without_private(b"GIF89a")
    b'GIF89a'
    """
    return without_metadata(data) if read_metadata(data).private else data


def without_metadata(data: bytes) -> bytes | None:
    """The same JPEG, PNG or WebP without EXIF, XMP, IPTC, comments, and what stands behind its end.

    How it lies, colour profiles and pixels stay.

    Args:
        data: the encoded bytes.

    Returns:
        The new bytes; None for another format, and where it cannot be told: it has to be encoded again.

    >>> without_metadata(b"GIF89a") is None
    True
    """
    try:
        found = parse(data)
    except RowError:
        return None
    if found is None:
        return None
    lies = b"" if found.orientation == 1 else _LIES % bytes([0, found.orientation])
    write = {"jpeg": _jpeg, "png": _png, "webp": _webp}.get(found.format)
    return None if write is None else write(data, lies)


def _jpeg(data: bytes, lies: bytes) -> bytes | None:
    kept = [data[:2]]
    if lies:
        block = b"Exif\0\0" + lies
        kept.append(b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block)
    at, end = 2, len(data)
    while at + 4 <= end:
        found = _MARKER.search(data, at)
        if found is None:
            return None
        if found.start() > at:  # lines of the picture
            kept.append(data[at : found.start()])
        at, marker = found.start(), data[found.start() + 1]
        if marker == 0xD9:
            return b"".join([*kept, data[at : at + 2]])
        size = int.from_bytes(data[at + 2 : at + 4])
        profile = marker == 0xE2 and data[at + 4 : at + 16] == b"ICC_PROFILE\0"
        if not (0xE1 <= marker <= 0xED or marker == 0xEF or marker == 0xFE) or profile:
            kept.append(data[at : at + 2 + size])
        at += 2 + size
    return None


def _png(data: bytes, lies: bytes) -> bytes | None:
    kept, at = [data[:8]], 8
    block = b"eXIf" + lies
    block = struct.pack(">I", len(lies)) + block + struct.pack(">I", zlib.crc32(block)) if lies else b""
    while at + 12 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind not in (b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME"):
            kept.append(data[at : at + 12 + size])
        if kind == b"IHDR":
            kept.append(block)
        if kind == b"IEND":
            return b"".join(kept)
        at += 12 + size
    return None


def _webp(data: bytes, lies: bytes) -> bytes | None:
    kept, at, end = [], 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end:
        size, kind = int.from_bytes(data[at + 4 : at + 8], "little"), data[at : at + 4]
        chunk = data[at : at + 8 + size + size % 2]
        if kind == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~0x0C | (0x08 if lies else 0)]) + chunk[9:]
        if kind not in (b"EXIF", b"XMP "):
            kept.append(chunk)
        at += 8 + size + size % 2
    if lies:
        kept.append(b"EXIF" + struct.pack("<I", len(lies)) + lies + b"\0" * (len(lies) % 2))
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body
