"""One picture: header facts without decoding, and safe, small, upright decoding for models.

Formats: JPEG, PNG, WebP, GIF (first frame), TIFF (first page), BMP, AVIF, SVG (drawn at a useful size); HEIC where
`pillow-heif` is installed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError
from panoglot.geometry import Region
from panoglot.pictures._decoder import BIG, MAX_BYTES, MAX_PIXELS, load, opacity, open_picture, to_rgb
from panoglot.pictures._guard import guarded
from panoglot.pictures._parse import Parsed, looks_whole, parse
from panoglot.pictures._svg import is_svg, render_svg, svg_size
from panoglot.table import Caption, image_id

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

__all__ = ["SUFFIXES", "Header", "Image", "plain_jpeg", "read_header"]

#: File name endings that a folder is searched for.
SUFFIXES = frozenset(
    f".{ending}" for ending in "jpg jpeg jpe jfif png webp gif tif tiff bmp avif heic heif svg".split()
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


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read size, format and orientation from the encoded bytes, without decoding a pixel.

    Args:
        data: the encoded bytes, whole.
        max_pixels: refuse pictures that would decode to more.

    Raises:
        RowError: `empty_file`, `not_an_image`, `unsupported_format`, `bad_header`, `too_many_bytes` or
            `too_many_pixels`; `truncated` when the file's end is missing and what is there does not decode.
    """
    return _sound(data, max_pixels)[0]


def _sound(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Header, Parsed | None]:
    """The header, checked, and what our own walk found on the way."""
    header, parsed = _header(data, max_pixels)
    if header.width * header.height > max_pixels:
        raise RowError("too_many_pixels", f"{header.width} x {header.height}, the limit is {max_pixels:,} pixels")
    if header.width < 1 or header.height < 1:
        raise RowError("bad_header", f"{header.width} x {header.height}")
    if header.format not in ("svg", "tiff", "bmp") and not looks_whole(data, header.format):
        try:  # only decoding can tell whether what is missing matters
            _check(data, header, parsed)
        except RowError as error:
            limit = error.reason in ("decode_timeout", "decode_memory")
            raise RowError(error.reason if limit else "truncated", error.message) from None
    return header, parsed


def _header(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Header, Parsed | None]:
    """The header by our own walk where there is one; what it does not understand is opened apart."""
    parsed = parse(data) if len(data) <= MAX_BYTES else None
    if parsed is not None:
        return Header(*parsed[:4]), parsed
    if len(data) <= MAX_BYTES and is_svg(data):
        if not data[-4096:].rstrip().endswith(b">"):
            svg_size(data)
            raise RowError("truncated", "the drawing's end is missing")
        return Header(*svg_size(data), "svg"), None
    if not data or len(data) > MAX_BYTES:
        open_picture(data)  # raises
    return Header(*guarded("facts", data, max_pixels=max_pixels)), None


def _apart(header: Header, parsed: Parsed | None) -> bool:
    """Say whether a picture is decoded in a process apart: rare formats, large ones, what may cost more than usual."""
    return parsed is None or parsed.odd or header.width * header.height > BIG


def _check(data: bytes, header: Header, parsed: Parsed | None) -> None:
    """Decode, for the errors alone."""
    lean = parsed.lean(data) if parsed else data
    if _apart(header, parsed):
        guarded("load", lean, header.width * header.height)
    else:
        load(open_picture(lean))


def _pixels(data: bytes, header: Header, parsed: Parsed | None, min_side: int | None) -> PIL.Image.Image:
    lean = parsed.lean(data) if parsed else data
    # turned by the orientation that the header says, so that both always agree; TIFF is turned while it loads
    orientation = 1 if header.format == "tiff" else header.orientation
    if _apart(header, parsed):
        pixels = header.width * header.height
        found: PIL.Image.Image = guarded("rgb", lean, pixels, orientation=orientation, min_side=min_side)
        return found
    try:
        return to_rgb(lean, orientation, min_side)
    except MemoryError:
        raise RowError("decode_memory", f"{header.width} x {header.height}") from None


def plain_jpeg(data: bytes) -> tuple[bytes, int] | None:
    """A JPEG that any decoder takes in stride: its bytes without metadata, and its orientation; None for all else."""
    parsed = parse(data) if data[:2] == b"\xff\xd8" else None
    if parsed is None or parsed.odd or parsed.width * parsed.height > BIG:
        return None
    return parsed.lean(data), parsed.orientation


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
        header, parsed = _sound(self.data)
        if header.format == "svg":
            return render_svg(self.data, min_side)
        return _pixels(self.data, header, parsed, min_side)

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

        if self.format == "svg":
            drawn = render_svg(self.data, side, white=False).getchannel("A")
            return np.asarray(drawn.resize((side, side), PIL.Image.Resampling.BOX)) / 255
        if self.format in ("jpeg", "bmp"):
            return np.ones((side, side))
        header, parsed = _header(self.data)
        lean = parsed.lean(self.data) if parsed else self.data
        if _apart(header, parsed):
            alpha = guarded("opacity", lean, header.width * header.height, side=side)
        else:
            alpha = opacity(lean, side)
        return np.asarray(alpha) / 255

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
