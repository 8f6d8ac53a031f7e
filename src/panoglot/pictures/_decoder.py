"""Decoding: encoded bytes to pixels. Runs in this process for ordinary pictures, and as a program apart for others.

As a program it answers jobs on its standard input until that ends, each within limits on memory and processor time;
`panoglot.pictures._guard` is the side that asks. It imports nothing heavy: it is started often.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

from panoglot.errors import RowError

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["BIG", "FORMATS", "MAX_BYTES", "MAX_PIXELS", "facts", "has_heif", "opacity", "to_rgb"]

#: Most pixels a picture may have before it is decoded (a decompression bomb is refused by its header).
#: Just under the point where Pillow itself refuses to open a file, so that header check and decoding agree.
MAX_PIXELS = 178_000_000
#: Most bytes an encoded picture may have.
MAX_BYTES = 512 * 2**20
#: Pictures with more pixels are decoded apart, and no larger than asked for.
BIG = 64_000_000

#: Formats that are read, as Pillow names them. What else Pillow knows stays closed: fewer parsers, less risk.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")
_HEIC_BRANDS = tuple(
    b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
)
_BAND = 4_000_000  # pixels that are converted at once


@lru_cache(maxsize=1)
def has_heif() -> bool:
    """Say whether `pillow-heif` is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def open_picture(data: bytes) -> PIL.Image.Image:
    """Open lazily with only our formats, with Pillow's own guards turned into row errors."""
    import PIL.Image

    if not data:
        raise RowError("empty_file", "0 bytes")
    if len(data) > MAX_BYTES:
        raise RowError("too_many_bytes", f"{len(data):,} bytes, the limit is {MAX_BYTES:,}")
    formats = FORMATS if has_heif() else FORMATS[:-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PIL.Image.open(io.BytesIO(data), formats=formats)
    except PIL.Image.DecompressionBombError as error:
        raise RowError("too_many_pixels", str(error)) from None
    except PIL.UnidentifiedImageError:
        if data[4:12] in _HEIC_BRANDS:
            if has_heif():
                raise RowError("bad_header", "a HEIC that its library cannot open") from None
            raise RowError("unsupported_format", "HEIC: pip install pillow-heif") from None
        reason = "bad_header" if data.startswith(_MAGIC) else "not_an_image"
        raise RowError(reason, f"starts with {data[:12]!r}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's parsers raise many kinds on hostile headers
        raise RowError("bad_header", f"{type(error).__name__}: {error}") from None


def load(opened: PIL.Image.Image) -> None:
    """Decode; what goes wrong is a row error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened.load()
    except MemoryError:
        raise
    except Exception as error:
        torn = any(
            word in str(error).lower() for word in ("truncated", "not enough", "end of file", "buffer is not large")
        )
        raise RowError("truncated" if torn else "undecodable", f"{type(error).__name__}: {error}") from None


def facts(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int, str, int]:
    """Width, height, format and orientation by Pillow; TIFF and BMP, whose end cannot be told, are decoded whole."""
    opened = open_picture(data)
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
    except MemoryError:
        raise
    except Exception:  # a broken EXIF block is no reason to lose the picture
        orientation = 1
    orientation = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    if name in ("tiff", "bmp") and 0 < width * height <= max_pixels:
        load(opened)
    return width, height, {"mpo": "jpeg"}.get(name, name), orientation


def to_rgb(data: bytes, orientation: int = 1, min_side: int | None = None) -> PIL.Image.Image:
    """Decode to RGB, upright, alpha over white.

    Args:
        data: encoded bytes.
        orientation: EXIF orientation to undo; 1 for TIFF, which is turned while it loads.
        min_side: a JPEG is decoded at 1/2, 1/4 or 1/8, and any picture of more than `BIG` pixels is averaged down by a
            whole number, as long as the shorter side keeps this many pixels.
    """
    import PIL.Image

    opened = open_picture(data)
    if opened.width * opened.height > MAX_PIXELS:  # a GIF's frame larger than its header says
        raise RowError("too_many_pixels", f"{opened.width} x {opened.height}")
    try:
        if min_side and opened.format == "JPEG":
            opened.draft(None, (min_side, min_side))
    except Exception as error:
        raise RowError("undecodable", f"{type(error).__name__}: {error}") from None
    load(opened)
    factor = 1
    if min_side and opened.width * opened.height > BIG:
        factor = max(1, min(opened.size) // min_side)
    small = _rgb_over_white(opened, factor)
    turn = _TURNS.get(orientation)
    return small if turn is None else small.transpose(PIL.Image.Transpose(turn))


#: EXIF orientation -> `PIL.Image.Transpose`.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


def opacity(data: bytes, side: int) -> PIL.Image.Image:
    """How opaque a picture is, as a grey picture of `side` x `side`, upright."""
    import PIL.Image
    import PIL.ImageOps

    opened = open_picture(data)
    try:
        if not opened.has_transparency_data:
            return PIL.Image.new("L", (side, side), 255)
        alpha = PIL.ImageOps.exif_transpose(opened).convert("RGBA").getchannel("A")
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on broken data
        raise RowError("undecodable", f"{type(error).__name__}: {error}") from None
    return alpha.resize((side, side), PIL.Image.Resampling.BOX)


def _rgb_over_white(picture: PIL.Image.Image, factor: int = 1) -> PIL.Image.Image:
    """Convert in bands: a large picture costs its own size and that of the result, and no copies beside them."""
    import PIL.Image

    if picture.mode == "RGB" and "transparency" not in picture.info and factor == 1:
        return picture
    top = _highest(picture)
    if factor == 1 and picture.width * picture.height <= _BAND:
        return _band_over_white(picture, top)
    width, height = -(-picture.width // factor), -(-picture.height // factor)
    done = PIL.Image.new("RGB", (width, height))
    for start, end in _bands(picture.width, picture.height, factor):
        band = picture.crop((0, start, picture.width, end))
        band.info = {name: value for name, value in picture.info.items() if name == "transparency"}
        band = _band_over_white(band, top)
        done.paste(band.reduce(factor) if factor > 1 else band, (0, start // factor))
    return done


def _bands(width: int, height: int, factor: int = 1) -> Iterator[tuple[int, int]]:
    step = max(1, _BAND // max(width, 1) // factor) * factor
    for start in range(0, height, step):
        yield start, min(start + step, height)


def _highest(picture: PIL.Image.Image) -> float:
    """The value that becomes white, for pictures of 16 bits or floating point; 0 for others."""
    if not (picture.mode.startswith("I") or picture.mode == "F"):
        return 0
    if picture.mode.startswith("I;16"):
        return 65535.0
    import numpy as np

    highest = 0.0
    for start, end in _bands(picture.width, picture.height):
        values = np.asarray(picture.crop((0, start, picture.width, end)))
        highest = max(highest, float(values.max(initial=0, where=np.isfinite(values))))
    if picture.mode == "F" and highest <= 1:  # floating point TIFF in 0..1
        return 1.0
    return 65535.0 if highest > 255 else 255.0


def _band_over_white(picture: PIL.Image.Image, top: float) -> PIL.Image.Image:
    import PIL.Image

    if top:  # 16-bit and float: scale to 8 bit, never clip to white
        import numpy as np

        values = np.nan_to_num(np.asarray(picture, dtype=np.float64)) / top * 255.0
        return PIL.Image.fromarray(np.clip(values, 0, 255).astype(np.uint8), "L").convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return PIL.Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


# -- drawings ----------------------------------------------------------------------------------------------------------

# every character is looked at a bounded number of times: no part of these can begin again inside what it took
_HREF = re.compile(rb"""(href\s*+=\s*+)(?:"(?!\s*+(?:#|data:))[^"]*+"|'(?!\s*+(?:#|data:))[^']*+')""", re.I)
_URL = re.compile(rb"""url\(\s*+["']?+\s*+(?!#|data:|\s)[^()]*+\)""", re.I)
_URL_OPEN = re.compile(rb"""url\((?=\s*+["']?+\s*+(?!#|data:|\s))""", re.I)
_IMPORT = re.compile(rb"@(?=import)", re.I)


def without_references(svg: bytes) -> bytes:
    """Cut every reference to anything outside a drawing.

    >>> without_references(b'<a href="http://x"/><a href="#y" fill="url(#z)"/><style>@import "u"; a{b:url(c)}</style>')
    b'<a href=""/><a href="#y" fill="url(#z)"/><style>@-import "u"; a{b:none}</style>'
    """
    svg = _HREF.sub(rb'\1""', svg)
    return _IMPORT.sub(b"@-", _URL_OPEN.sub(b"none(", _URL.sub(b"none", svg)))


def draw(svg: bytes, width: int, height: int, white: bool) -> PIL.Image.Image:
    """Render a drawing at a size."""
    import PIL.Image
    import resvg_py

    text = without_references(svg).decode("utf-8", "replace")
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=text, width=width, height=height, background="#fff" if white else None, dpi=96.0
        )
    except MemoryError:
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise RowError("undecodable", f"{type(error).__name__}: {error}") from None
    return PIL.Image.open(io.BytesIO(bytes(png)), formats=("PNG",)).convert("RGB" if white else "RGBA")


# -- the program -------------------------------------------------------------------------------------------------------


def _answer(job: dict[str, Any], data: bytes) -> Any:
    kind = job.pop("job")
    if kind == "facts":
        return facts(data, **job)
    if kind == "rgb":
        return to_rgb(data, **job)
    if kind == "opacity":
        return opacity(data, **job)
    if kind == "svg":
        return draw(data, **job)
    load(open_picture(data))
    return None


def _limit(bytes_: int, seconds: float) -> None:
    """Limits on what the next job may take; none where the system knows none."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))
        most = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))  # it writes nothing but a last word


def main() -> None:
    """Answer jobs: a line of JSON and the picture in, a line of JSON and the pixels in bands out."""
    source: BinaryIO = sys.stdin.buffer
    target: BinaryIO = sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints must not end up between pixels
    while line := source.readline():
        job = json.loads(line)
        data = source.read(job.pop("size"))
        _limit(job.pop("bytes"), job.pop("seconds"))
        found: Any = None
        try:
            found = _answer(job, data)
            said: dict[str, Any] = {"value": found}
            if hasattr(found, "tobytes"):
                said = {"mode": found.mode, "width": found.width, "height": found.height}
        except RowError as error:
            said = {"reason": error.reason, "message": error.message[:500]}
        except MemoryError:
            said = {"reason": "decode_memory", "message": ""}
        target.write(json.dumps(said).encode("ascii") + b"\n")
        if "mode" in said:
            for start, end in _bands(found.width, found.height):
                pixels = found.crop((0, start, found.width, end)).tobytes()
                target.write(struct.pack(">I", len(pixels)))
                target.write(pixels)
        target.flush()
        del found, data


if __name__ == "__main__":
    main()
