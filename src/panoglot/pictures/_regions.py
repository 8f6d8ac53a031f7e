"""Places in pictures, as pixels: crops, outlines, what is around blurred, a mask as alpha channel."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from panoglot.checks import check_option
from panoglot.errors import RowError
from panoglot.geometry import Region

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

    from panoglot.pictures._image import Image

__all__ = ["HIGHLIGHTS", "decode_mask", "draw_region", "encode_mask", "highlight_region", "pixel_box"]

#: What may be done around a thing, or about it, to point it out (`highlight_region`).
HIGHLIGHTS = ("blur", "grey", "contour")


def pixel_box(region: Region, width: int, height: int) -> tuple[int, int, int, int]:
    """The box in pixels, at least one pixel wide and high, inside the picture: left, top, right, bottom.

    >>> pixel_box(Region(0.25, 0.5, 0.75, 1.0), 100, 10)
    (25, 5, 75, 10)
    """
    x0, x1 = sorted((min(max(region.x0, 0.0), 1.0), min(max(region.x1, 0.0), 1.0)))
    y0, y1 = sorted((min(max(region.y0, 0.0), 1.0), min(max(region.y1, 0.0), 1.0)))
    left, top = min(int(x0 * width), width - 1), min(int(y0 * height), height - 1)
    return left, top, max(left + 1, round(x1 * width)), max(top + 1, round(y1 * height))


def draw_region(image: Image, region: Region, how: str = "crop") -> Image:
    """Make a picture that shows a place: a derived picture with an id of its own and its parent.

    The id is a function of the picture's id, the place and `how`, not of the bytes, which an encoder's version changes.

    Args:
        image: the picture.
        region: where; a mask is used where there is one.
        how: `crop` (nothing else), `outline` (a red line around it), `blur` (the rest blurred), `alpha` (a fourth
            channel that is opaque inside).

    Raises:
        RowError: `empty_region`; or the picture cannot be decoded.
    """
    picture = image.pil()
    box, inside = _placed(region, picture)
    if how == "crop":
        drawn = picture.crop(box)
    elif how == "outline":
        drawn = _outlined(picture, box, inside)
    elif how == "blur":
        drawn = _blurred(picture, box, inside)
    elif how == "alpha":
        drawn = _with_alpha(picture, box, inside)
    else:
        raise ValueError(f"a region cannot be drawn as {how!r}")
    return _derived(image, region, drawn, how)


def highlight_region(
    image: Image, region: Region, parts: Sequence[str] = HIGHLIGHTS, *, blur: float = 10.0, line: int = 2
) -> Image:
    """Make a picture that points a thing out: what is around it blurred and without colour, a red line along its edge.

    Off the line the thing's pixels are those of the picture.

    Args:
        image: the picture.
        region: where the thing is; its mask is used where there is one.
        parts: which of `HIGHLIGHTS` are done.
        blur: radius of the Gaussian, in pixels.
        line: how far the line reaches to either side of the edge, in pixels.

    Raises:
        RowError: `empty_region`; or the picture cannot be decoded.
        UserError: no such part.

    Source: 4D LangSplat (arXiv 2503.10437), object-wise prompting.
    """
    import PIL.ImageChops
    import PIL.ImageFilter

    for part in parts:
        check_option("visual", part, HIGHLIGHTS)
    picture = image.pil()
    thing = _sharp(picture.size, *_placed(region, picture))
    drawn = picture.filter(PIL.ImageFilter.GaussianBlur(blur)) if "blur" in parts else picture.copy()
    if "grey" in parts:
        drawn = drawn.convert("L").convert("RGB")
    drawn.paste(picture, mask=thing)
    if "contour" in parts:
        edge = PIL.ImageChops.subtract(thing, thing.filter(PIL.ImageFilter.MinFilter(3)))
        drawn.paste((255, 0, 0), mask=edge.filter(PIL.ImageFilter.MaxFilter(2 * line + 1)))
    return _derived(image, region, drawn, f"highlight {','.join(parts)} {blur} {line}")


def _placed(region: Region, picture: PIL.Image.Image) -> tuple[tuple[int, int, int, int], np.ndarray | None]:
    """The box in pixels, and the mask where there is one."""
    inside = _inside(region, *picture.size)
    if inside is not None and not inside.any():
        raise RowError("empty_region", "the mask has no pixel")
    return pixel_box(region, *picture.size), inside


def _derived(image: Image, region: Region, drawn: PIL.Image.Image, how: str) -> Image:
    from panoglot.pictures._image import Image

    buffer = io.BytesIO()
    drawn.save(buffer, "PNG")
    own = hashlib.sha256(f"{how}\0{image.id}\0{region.key()}".encode()).hexdigest()[:32]
    return Image(buffer.getvalue(), id=own, uri=image.uri, group=image.group, parent=image.id, region=region)


def _inside(region: Region, width: int, height: int) -> np.ndarray | None:
    return None if region.mask is None else decode_mask(region.mask, width, height)


def _outlined(picture: PIL.Image.Image, box: tuple[int, int, int, int], inside: np.ndarray | None) -> PIL.Image.Image:
    import numpy as np
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFilter

    wide = max(2, round(min(picture.size) / 100))
    drawn = picture.copy()
    if inside is None:
        left, top, right, bottom = box
        PIL.ImageDraw.Draw(drawn).rectangle((left, top, right - 1, bottom - 1), outline=(255, 0, 0), width=wide)
        return drawn
    mask = PIL.Image.fromarray(inside.astype(np.uint8) * 255)
    grown = mask.filter(PIL.ImageFilter.MaxFilter(2 * wide + 1))
    edge = (np.asarray(grown) > 0) & ~inside
    drawn.paste((255, 0, 0), mask=PIL.Image.fromarray(edge.astype(np.uint8) * 255))
    return drawn


def _sharp(size: tuple[int, int], box: tuple[int, int, int, int], inside: np.ndarray | None) -> PIL.Image.Image:
    import numpy as np
    import PIL.Image

    if inside is not None:
        return PIL.Image.fromarray(inside.astype(np.uint8) * 255)
    mask = PIL.Image.new("L", size, 0)
    mask.paste(255, box)
    return mask


def _blurred(picture: PIL.Image.Image, box: tuple[int, int, int, int], inside: np.ndarray | None) -> PIL.Image.Image:
    import PIL.ImageFilter

    drawn = picture.filter(PIL.ImageFilter.GaussianBlur(max(4, min(picture.size) / 30)))
    drawn.paste(picture, mask=_sharp(picture.size, box, inside))
    return drawn


def _with_alpha(picture: PIL.Image.Image, box: tuple[int, int, int, int], inside: np.ndarray | None) -> PIL.Image.Image:
    drawn = picture.convert("RGBA")
    drawn.putalpha(_sharp(picture.size, box, inside))
    return drawn


# -- run-length masks --------------------------------------------------------------------------------------------------


def encode_mask(mask: np.ndarray) -> str:
    """Write a mask, bool `[height, width]`, as COCO's compressed run-length string (down the columns).

    >>> import numpy as np
    >>> encode_mask(np.array([[0, 1, 0], [1, 1, 0]], bool))
    '132'

    Source: the format of pycocotools (`rleToString`): runs of zeros and ones in turn, each from the third on less the
    one before the last, five bits a character, the sixth bit set while more follow, plus 48.
    """
    import numpy as np

    flat = np.asarray(mask, bool).T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate([[0], ends, [flat.size]])
    runs = np.diff(bounds).tolist()
    if flat.size and flat[0]:
        runs = [0, *runs]
    letters = []
    for n, run in enumerate(runs):
        left = run - (runs[n - 2] if n > 2 else 0)
        more = True
        while more:
            bits = left & 0x1F
            left >>= 5
            more = left != -1 if bits & 0x10 else left != 0
            letters.append(chr((bits | (0x20 if more else 0)) + 48))
    return "".join(letters)


def decode_mask(text: str, width: int, height: int) -> np.ndarray:
    """Read a compressed run-length string: bool `[height, width]`.

    >>> decode_mask("132", 3, 2).astype(int).tolist()
    [[0, 1, 0], [1, 1, 0]]

    Raises:
        RowError: `bad_mask`: not such a string, or not of this size.
    """
    import numpy as np

    runs: list[int] = []
    at = 0
    while at < len(text):
        value = shift = 0
        more = True
        while more:
            if at >= len(text) or not 48 <= ord(text[at]) < 112:
                raise RowError("bad_mask", "not a run-length string")
            bits = ord(text[at]) - 48
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            at += 1
            shift += 5
            if not more and bits & 0x10:
                value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    if min(runs, default=0) < 0 or sum(runs) != width * height:
        raise RowError("bad_mask", f"{sum(runs):,} pixels, the picture has {width * height:,}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T
