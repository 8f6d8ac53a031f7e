"""One picture: header facts without decoding, and safe, small, upright decoding for models.

Formats: JPEG, PNG, WebP, GIF (first frame), TIFF (first page), BMP, AVIF, SVG (drawn at a useful size); HEIC where
`pillow-heif` is installed.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError
from panoglot.geometry import Region
from panoglot.pictures._svg import is_svg, render_svg, svg_size
from panoglot.table import Caption, image_id

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

__all__ = ["FORMATS", "MAX_PIXELS", "SUFFIXES", "Header", "Image", "read_header"]

#: Most pixels a picture may have before it is decoded (a decompression bomb is refused by its header).
#: Just under the point where Pillow itself refuses to open a file, so that header check and decoding agree.
MAX_PIXELS = 178_000_000
#: Most bytes an encoded picture may have.
MAX_BYTES = 512 * 2**20

#: Formats that are read, as Pillow names them. What else Pillow knows stays closed: fewer parsers, less risk.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
#: File name endings that a folder is searched for.
SUFFIXES = frozenset(
    f".{ending}" for ending in "jpg jpeg jpe jfif png webp gif tif tiff bmp avif heic heif svg".split()
)

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")
_HEIC_BRANDS = tuple(
    b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes say.

    Attributes:
        width: pixels, as stored (before EXIF orientation).
        height: pixels, as stored.
        format: lower case: `jpeg`, `png`, `webp`, `gif`, `tiff`, `bmp`, `avif`, `heif`, `svg`.
        orientation: EXIF orientation 1..8; 1 when absent.
    """

    width: int
    height: int
    format: str
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height after EXIF orientation."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


@lru_cache(maxsize=1)
def _heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _open(data: bytes) -> PIL.Image.Image:
    """Open lazily with only our formats, with Pillow's own guards turned into row errors."""
    import PIL.Image

    if not data:
        raise RowError("empty_file", "0 bytes")
    if len(data) > MAX_BYTES:
        raise RowError("too_many_bytes", f"{len(data):,} bytes, the limit is {MAX_BYTES:,}")
    formats = FORMATS if _heif() else FORMATS[:-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PIL.Image.open(io.BytesIO(data), formats=formats)
    except PIL.Image.DecompressionBombError as error:
        raise RowError("too_many_pixels", str(error)) from None
    except PIL.UnidentifiedImageError:
        if data[4:12] in _HEIC_BRANDS:
            if _heif():
                raise RowError("bad_header", "a HEIC that its library cannot open") from None
            raise RowError("unsupported_format", "HEIC: pip install pillow-heif") from None
        reason = "bad_header" if data.startswith(_MAGIC) else "not_an_image"
        raise RowError(reason, f"starts with {data[:12]!r}") from None
    except Exception as error:  # Pillow's parsers raise many kinds on hostile headers
        raise RowError("bad_header", f"{type(error).__name__}: {error}") from None


def _jpeg_header(data: bytes) -> Header | None:
    """Walk the markers up to the frame header; None when anything is unusual (Pillow then decides)."""
    orientation, at, end = 0, 2, len(data)
    while at + 9 < end:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        size = (data[at + 2] << 8) | data[at + 3]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header(width, height, "jpeg", orientation or 1) if width and height else None
        if marker == 0xE1 and not orientation and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _exif_orientation(data[at + 10 : at + 2 + size])
        if size < 2 or marker == 0xDA:
            return None
        at += 2 + size
    return None


def _png_header(data: bytes) -> Header | None:
    """Size from IHDR, orientation from an `eXIf` chunk anywhere (Pillow would decode every pixel to look for it)."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    at = 33
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"eXIf":
            return Header(width, height, "png", _exif_orientation(data[at + 8 : at + 8 + size]))
        at += 12 + size
    return Header(width, height, "png")


def _webp_header(data: bytes) -> Header | None:
    """Walk the RIFF chunks (Pillow would allocate the canvas first, which a hostile header makes gigabytes)."""
    kind, at, orientation, size = data[12:16], 12, 1, (0, 0)
    if kind == b"VP8X" and len(data) >= 30:
        size = (int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1)
        while at + 8 <= len(data):
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            if data[at : at + 4] == b"EXIF":
                orientation = _exif_orientation(data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
                break
            at += 8 + length + length % 2
    elif kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a" and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        size = (width & 0x3FFF, height & 0x3FFF)
    elif kind == b"VP8L" and len(data) >= 25 and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        size = ((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
    return Header(*size, "webp", orientation) if all(size) else None


def _fast_header(data: bytes) -> Header | None:
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg_header(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png_header(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_header(data)
    return None  # Pillow opens the others cheaply (and enlarges a GIF to its first frame)


def _exif_orientation(tiff: bytes) -> int:
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


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read size, format and orientation from the encoded bytes, without decoding a pixel.

    Args:
        data: the encoded bytes, whole.
        max_pixels: refuse pictures that would decode to more.

    Raises:
        RowError: `empty_file`, `not_an_image`, `unsupported_format`, `bad_header`, `too_many_bytes` or
            `too_many_pixels`; `truncated` when the file's end is missing and what is there does not decode.
    """
    header = _fast_header(data) if len(data) <= MAX_BYTES else None
    if header is None and is_svg(data):
        header = Header(*svg_size(data), "svg")
        if not data.rstrip().endswith(b">"):
            raise RowError("truncated", "the drawing's end is missing")
    if header is None:
        header = _slow_header(_open(data))
    if header.width * header.height > max_pixels:
        raise RowError("too_many_pixels", f"{header.width} x {header.height}, the limit is {max_pixels:,} pixels")
    if header.width < 1 or header.height < 1:
        raise RowError("bad_header", f"{header.width} x {header.height}")
    if header.format != "svg" and not _looks_whole(data, header.format):
        try:  # only decoding can tell whether what is missing matters
            _load(_open(data))
        except RowError as error:
            reason = error.reason if header.format in ("tiff", "bmp") else "truncated"
            raise RowError(reason, error.message) from None
    return header


def _looks_whole(data: bytes, name: str) -> bool:
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
        while at + 8 <= len(data):
            size = int.from_bytes(data[at : at + 4])
            if size == 1:
                size = int.from_bytes(data[at + 8 : at + 16])
            at = len(data) if size == 0 else at + max(size, 8)
        return at == len(data)
    return False  # TIFF and BMP: rare, and the data may lie anywhere


def _load(opened: PIL.Image.Image) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened.load()
    except Exception as error:
        torn = any(
            word in str(error).lower() for word in ("truncated", "not enough", "end of file", "buffer is not large")
        )
        raise RowError("truncated" if torn else "undecodable", f"{type(error).__name__}: {error}") from None


def _slow_header(opened: PIL.Image.Image) -> Header:
    name = (opened.format or "").lower()
    width, height = opened.size
    try:
        if name == "tiff":  # Pillow already swaps the size of a turned TIFF
            tags: Any = opened.tag_v2  # type: ignore[attr-defined]
            width, height, orientation = int(tags[256]), int(tags[257]), tags.get(0x0112, 1)
        elif name == "png":  # `getexif` would decode it
            orientation = 1
        else:
            orientation = opened.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block is no reason to lose the picture
        orientation = 1
    orientation = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return Header(width, height, {"mpo": "jpeg"}.get(name, name), orientation)


@dataclass(eq=False)
class Image:
    """A picture as methods and models see it: encoded bytes and facts; pixels are decoded when asked for.

    >>> import PIL.Image
    >>> picture = Image.from_pil(PIL.Image.new("RGBA", (4, 2), (255, 0, 0, 0)))
    >>> picture.width, picture.height, picture.pixels()[0, 0].tolist()  # transparent: white for a model
    (4, 2, [255, 255, 255])

    Attributes:
        data: the encoded bytes as they came.
        id: `image_id` of the bytes.
        width: pixels of the upright picture.
        height: pixels of the upright picture.
        format: lower case format name.
        uri: where it came from.
        group: video or document it belongs to, or None.
        time: seconds or page inside the group, or None.
        context: page title, surrounding text, EXIF …: whatever a method may read.
        captions: the captions that are stored for it and kept, when the method asked for them.
        parent: id of the picture that it was made of (a crop, a picture with a mark), or empty.
        region: where in its parent it is, or None.
        recipe: the method that made it, with its version; empty for what was given.
        model: the model that made it.
    """

    data: bytes
    id: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    uri: str = ""
    group: str | None = None
    time: float | None = None
    context: dict[str, Any] = field(default_factory=dict)
    captions: Sequence[Caption] = ()
    parent: str = ""
    region: Region | None = None
    recipe: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            self.id = image_id(self.data)
        if not self.width:
            header = read_header(self.data)
            (self.width, self.height), self.format = header.upright, header.format
        if isinstance(self.context, str):
            self.context = json.loads(self.context or "{}")

    @classmethod
    def from_pil(cls, picture: PIL.Image.Image) -> Image:
        """Wrap a Pillow picture (encoded as PNG)."""
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return cls(buffer.getvalue())

    @classmethod
    def from_path(cls, path: str) -> Image:
        """Read a file."""
        with open(path, "rb") as file:
            return cls(file.read(), uri=str(path))

    def pixels(self, min_side: int | None = None) -> np.ndarray:
        """Decode to RGB, upright, alpha over white.

        Args:
            min_side: decode no larger than needed for a shorter side of `min_side` pixels (JPEG is decoded at 1/2, 1/4
                or 1/8 of its size in the frequency domain: not the very same pixels, several times faster). The result
                is at least that large where the picture is; resizing to the exact size is the caller's.

        Returns:
            uint8 `[height, width, 3]`.

        Raises:
            RowError: `truncated` or `undecodable`.
        """
        import numpy as np

        return np.asarray(self.pil(min_side))

    def pil(self, min_side: int | None = None) -> PIL.Image.Image:
        """The same as `pixels`, as a Pillow picture in mode RGB."""
        import PIL.Image

        header = read_header(self.data)
        if header.format == "svg":
            return render_svg(self.data, min_side)
        opened = _open(self.data)
        if opened.width * opened.height > MAX_PIXELS:  # a JPEG's preview or a GIF's frame larger than its header says
            raise RowError("too_many_pixels", f"{opened.width} x {opened.height}")
        try:
            if min_side and opened.format == "JPEG":
                opened.draft(None, (min_side, min_side))
        except Exception as error:
            raise RowError("undecodable", f"{type(error).__name__}: {error}") from None
        _load(opened)
        # turned by the orientation that `read_header` saw, so that both always agree; TIFF is turned while it loads
        turn = _TURNS.get(header.orientation) if header.format != "tiff" else None
        upright = opened if turn is None else opened.transpose(PIL.Image.Transpose(turn))
        return _rgb_over_white(upright)

    def thumbnail(self, side: int) -> np.ndarray:
        """Decode and resize (area average) to exactly `side` x `side`, aspect not kept: uint8 `[side, side, 3]`.

        The input of hashes and small classifiers.
        """
        import numpy as np
        import PIL.Image

        small = self.pil(min_side=side).resize((side, side), PIL.Image.Resampling.BOX, reducing_gap=None)
        return np.asarray(small)

    def opacity(self, side: int) -> np.ndarray:
        """Return how opaque the picture is: float `[side, side]`, 0 (nothing there) to 1, aspect not kept.

        Raises:
            RowError: `undecodable`.
        """
        import numpy as np
        import PIL.Image
        import PIL.ImageOps

        if self.format == "svg":
            picture = render_svg(self.data, side, white=False)
        elif self.format in ("jpeg", "bmp"):
            return np.ones((side, side))
        else:
            opened = _open(self.data)
            try:
                if not opened.has_transparency_data:
                    return np.ones((side, side))
                picture = PIL.ImageOps.exif_transpose(opened).convert("RGBA")
            except Exception as error:  # Pillow's decoders raise many kinds on broken data
                raise RowError("undecodable", f"{type(error).__name__}: {error}") from None
        return np.asarray(picture.getchannel("A").resize((side, side), PIL.Image.Resampling.BOX)) / 255

    def small(self, side: int = 320) -> bytes:
        """Return a PNG whose longer side is at most `side` pixels, aspect kept: a thumbnail to look at.

        Raises:
            RowError: `truncated` or `undecodable`.
        """
        import PIL.Image

        picture = self.pil(min_side=side)
        picture.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows; nothing for a picture that cannot be decoded."""
        try:
            return self.small()
        except RowError:
            return None

    @cached_property
    def data_uri(self) -> str:
        """The bytes as a `data:` URI, for a server that takes pictures in JSON."""
        import base64

        return f"data:image/{self.format or 'jpeg'};base64,{base64.b64encode(self.data).decode()}"


#: EXIF orientation -> `PIL.Image.Transpose`.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


def _rgb_over_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    import numpy as np
    import PIL.Image

    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I") or picture.mode == "F":  # 16-bit and float: scale to 8 bit, never clip to white
        values = np.asarray(picture, dtype=np.float64)
        highest = values.max(initial=0, where=np.isfinite(values))
        top = 65535.0 if picture.mode.startswith("I;16") or highest > 255 else 255.0
        if picture.mode == "F" and highest <= 1:  # floating point TIFF in 0..1
            top = 1.0
        values = np.clip(np.nan_to_num(values) / top * 255.0, 0, 255).astype(np.uint8)
        return PIL.Image.fromarray(values, "L").convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return PIL.Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")
