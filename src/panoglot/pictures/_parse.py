"""Walks through the structure of encoded pictures: size, orientation, what decoding needs, and what it might cost.

Nothing here decodes. A walk looks at every piece of a file at most once and gives up after many pieces, so that no
file makes it long. What a picture says beside its pixels (texts, profiles, thumbnails, later frames) is left out of
what is decoded: it changes no pixel, and every decoder has limits of its own on it at which it refuses the whole.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from panoglot.errors import RowError

__all__ = ["Parsed", "exif_orientation", "looks_whole", "may_be_picture", "parse"]

#: Pieces (segments, chunks, blocks) after which a walk gives up.
_MOST_PIECES = 200_000
#: Passes over all pixels that a JPEG may ask for; usual ones have up to 14.
_USUAL_SCANS = 32
#: A run of fill bytes in which decoders begin again and again.
_FILL = b"\xff" * 65_536

_FILLED = re.compile(rb"\xff*+")
#: Bits a sample of a PNG by its kind of colour.
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SCAN = re.compile(rb"\xff\xda")
_EXIF = b"Exif\0\0"
#: Segments that decoding needs: quantisation, Huffman and arithmetic tables, lines, restart intervals.
_NEEDED = frozenset((0xDB, 0xC4, 0xCC, 0xDC, 0xDD))


class Parsed(NamedTuple):
    """What a walk found.

    Attributes:
        width: pixels, as stored.
        height: pixels, as stored.
        format: `jpeg`, `png`, `webp`, `gif`.
        orientation: EXIF orientation 1..8.
        pieces: (start, end) of what decoding needs; None for the whole.
        odd: decoding may take much longer than the number of pixels tells.
    """

    width: int
    height: int
    format: str
    orientation: int = 1
    pieces: list[tuple[int, int]] | None = None
    odd: bool = False

    def lean(self, data: bytes) -> bytes:
        """The picture's bytes without what decoding does not need."""
        if self.pieces is None:
            return data
        view = memoryview(data)
        found = b"".join([view[start:end] for start, end in self.pieces])
        if self.format == "jpeg" and _FILL in found:  # any number of fill bytes means the same as one
            return re.sub(rb"\xff{1000,}+", b"\xff", found)
        return found


def parse(data: bytes) -> Parsed | None:
    """Walk through a JPEG, PNG, WebP or GIF; None for others, and for what is unusual or broken.

    Raises:
        RowError: `bad_header` or `truncated`: nothing that could be decoded.

    >>> parse(b"GIF89a" + bytes([2, 0, 1, 0, 0, 0, 0]) + b"," + bytes(4) + bytes([2, 0, 1, 0, 0, 2, 0]) + b";")[:3]
    (2, 1, 'gif')
    """
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return _gif(data)
    return None


def _jpeg(data: bytes) -> Parsed | None:
    orientation, at, end = 0, 2, len(data)
    frame: tuple[int, int, int, int] | None = None  # marker, height, width, components
    pieces = [(0, 2)]
    for _ in range(_MOST_PIECES):
        if at + 4 > end or data[at] != 0xFF:
            return None
        if data[at + 1] == 0xFF:  # fill bytes
            at = _FILLED.match(data, at).end() - 1  # type: ignore[union-attr]
            if at + 4 > end:
                raise RowError("bad_header", "a JPEG that ends before its first line")
        marker, size = data[at + 1], (data[at + 2] << 8) | data[at + 3]
        if size < 2:
            return None
        if marker == 0xDA:
            if frame is None or at + 5 > end:
                return None
            # one pass over all components reads every pixel once; more passes are counted
            odd = frame[0] in (0xC2, 0xC6, 0xCA, 0xCE) or data[at + 4] < frame[3]
            odd = odd and _many_scans(data, at)
            return Parsed(frame[2], frame[1], "jpeg", orientation or 1, [*pieces, (at, end)], odd)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame is not None or at + 10 > end:
                return None
            frame = (marker, *struct.unpack_from(">HHB", data, at + 5))
            if not frame[1] or not frame[2]:
                return None
            pieces.append((at, at + 2 + size))
        elif marker == 0xE1 and not orientation and data[at + 4 : at + 10] == _EXIF:
            orientation = exif_orientation(data[at + 10 : at + 2 + size])
        elif marker in _NEEDED or (marker == 0xE0 and data[at + 4 : at + 8] == b"JFIF") or marker == 0xEE:
            pieces.append((at, at + 2 + size))
        at += 2 + size
    return None


def _many_scans(data: bytes, at: int) -> bool:
    return any(count >= _USUAL_SCANS for count, _ in enumerate(_SCAN.finditer(data, at)))


def _png(data: bytes) -> Parsed | None:
    """Size from IHDR, orientation from an `eXIf` chunk anywhere (Pillow would decode every pixel to look for it)."""
    if data[8:16] != b"\0\0\0\rIHDR" or len(data) < 33:
        return None
    width, height, depth, colour, *methods = struct.unpack_from(">IIBBBBB", data, 16)
    if depth not in _DEPTHS.get(colour, ()) or methods[:2] != [0, 0] or not _sum_fits(data, 12, 13):
        return None
    at, end, orientation, seen = 33, len(data), 1, {b"IHDR"}
    pieces = [(0, 33)]
    for _ in range(_MOST_PIECES):
        if at + 8 > end:
            break
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        after = min(at + 12 + size, end)
        if kind == b"eXIf":
            orientation = exif_orientation(data[at + 8 : at + 8 + size])
        elif kind == b"tRNS" and (size > 256 or not _sum_fits(data, at + 4, size)):
            pass  # its own check sum says that it is broken
        elif kind == b"tRNS" or not kind[0] & 0x20:  # what is not ancillary
            if kind == b"PLTE" and not _sum_fits(data, at + 4, size):
                return None
            seen.add(kind)
            if pieces[-1][1] == at:
                pieces[-1] = (pieces[-1][0], after)
            else:
                pieces.append((at, after))
        at = after
        if kind == b"IEND":
            break
    else:
        return None
    if b"IDAT" not in seen or (colour == 3 and b"PLTE" not in seen):
        raise RowError("truncated" if b"IEND" not in seen else "bad_header", "a PNG without pixels or without colours")
    return Parsed(width, height, "png", orientation, pieces)


def _sum_fits(data: bytes, at: int, size: int) -> bool:
    """Say whether the check sum behind a chunk is that of its kind and content."""
    end = at + 4 + size
    return zlib.crc32(data[at:end]) == int.from_bytes(data[end : end + 4])


def _webp(data: bytes) -> Parsed | None:
    """Walk the RIFF chunks (Pillow would allocate the canvas first, which a hostile header makes gigabytes)."""
    kind, at, orientation, size = data[12:16], 12, 1, (0, 0)
    end, seen = int.from_bytes(data[4:8], "little") + 8, set()
    if kind == b"VP8X" and len(data) >= 30:
        size = (int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1)
        for _ in range(_MOST_PIECES):
            if at + 8 > len(data):
                break
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            seen.add(data[at : at + 4])
            if data[at : at + 4] == b"EXIF":
                orientation = exif_orientation(data[at + 8 : at + 8 + length].removeprefix(_EXIF))
                break
            at += 8 + length + length % 2
        else:
            return None
        if end <= len(data) and not seen & {b"VP8 ", b"VP8L", b"ANMF"}:
            return None
    elif end <= len(data) and 20 + (int.from_bytes(data[16:20], "little") + 1) // 2 * 2 != end:
        return None  # the picture is the only piece of a simple file
    elif kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a" and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        size = (width & 0x3FFF, height & 0x3FFF)
    elif kind == b"VP8L" and len(data) >= 25 and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        size = ((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
    return Parsed(*size, "webp", orientation) if all(size) else None


def _gif(data: bytes) -> Parsed | None:
    """The screen, enlarged to the first frame as Pillow does; comments and other extensions are left out."""
    if len(data) < 13:
        return None
    width, height = struct.unpack_from("<HH", data, 6)
    at, end = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0), len(data)
    pieces = [(0, at)]
    for _ in range(_MOST_PIECES):
        if at + 10 > end:
            return None
        if data[at] == 0x2C:
            left, top, wide, high = struct.unpack_from("<4H", data, at + 1)
            return Parsed(max(width, left + wide), max(height, top + high), "gif", 1, [*pieces, (at, end)])
        if data[at] != 0x21:
            return None
        start, label, at = at, data[at + 1], at + 2
        while at < end and data[at]:
            at += 1 + data[at]
        at += 1
        if label == 0xF9:  # which colour is transparent
            pieces.append((start, min(at, end)))
    return None


def exif_orientation(tiff: bytes) -> int:
    """Orientation 1..8 from an EXIF block; 1 when it does not say or is broken."""
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, offset)
        for n in range(min(count, 200)):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, offset + 2 + 12 * n)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return 1


_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"<", b"\xef\xbb\xbf")


def may_be_picture(head: bytes, size: int) -> bool:
    """Say whether a file of `size` bytes may be a picture by its first ones, and none that is far too large for itself.

    >>> may_be_picture(bytes(100), 10**9), may_be_picture(b"BM" + bytes(100), 10**6)
    (False, True)
    """
    if not head.startswith(_STARTS) and head[4:8] != b"ftyp" and not head[:4096].lstrip().startswith(b"<"):
        return False
    if size < 64 * 2**20:
        return True
    try:
        found = parse(head)
    except RowError:
        return False
    # sixteen bytes a pixel are more than any encoding takes; animations hold many pictures
    return found is None or found.format in ("gif", "webp") or size < 64 * 2**20 + 16 * found.width * found.height


def looks_whole(data: bytes, name: str) -> bool:
    """Say whether the file's own end or size fits, without decoding; a torn picture never looks whole for long."""
    if name == "jpeg":
        if data.find(b"\xff\xd9", max(len(data) - 64, 2)) >= 0:  # nearly always: no need to look further
            return True
        near = max(len(data) - 65536, 2)
        return data.find(b"\xff\xd9", near) >= 0 or data.rfind(b"\xff\xd9", data.rfind(b"\xff\xda")) >= 0
    if name == "png":
        return data.rfind(b"IEND", 33) >= 0
    if name == "gif":
        return data.rstrip(b"\0")[-1:] == b";"
    if name == "webp":
        return int.from_bytes(data[4:8], "little") <= len(data) - 8
    if name in ("avif", "heif"):  # ISO base media: boxes up to the end
        at = 0
        for _ in range(_MOST_PIECES):
            if at + 8 > len(data):
                break
            size = int.from_bytes(data[at : at + 4])
            if size == 1:
                size = int.from_bytes(data[at + 8 : at + 16])
            at = len(data) if size == 0 else at + max(size, 8)
        return at == len(data)
    return False  # TIFF and BMP: rare, and the data may lie anywhere
