"""Pictures as a model server takes them: JPEG, PNG or WebP, upright, opaque, not larger than wanted."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from panoglot.pictures._decoder import open_picture
from panoglot.pictures._image import read_header

if TYPE_CHECKING:
    from panoglot.pictures._image import Image

__all__ = ["data_uri"]

_LOSSY = ("jpeg", "webp", "avif", "heif")


def data_uri(image: Image, max_side: int | None = None) -> str:
    """Return `image` as a `data:` URI that any vision server reads the way this project does.

    The stored bytes go out as they are when they are an upright, opaque, still JPEG, PNG or WebP of at most `max_side`
    pixels. Everything else is decoded (EXIF orientation applied, alpha over white, first frame) and encoded again: JPEG
    at quality 95 for what was lossy, PNG for the rest.

    Args:
        image: the picture.
        max_side: longest side in pixels, or None.

    Raises:
        RowError: the picture cannot be decoded.
    """
    small = max_side is None or max(image.width, image.height) <= max_side
    if small and _plain(image.data, image.format):
        return f"data:image/{image.format};base64,{base64.b64encode(image.data).decode()}"
    if small:
        picture = image.pil()
    else:
        assert max_side is not None
        scale = max_side / max(image.width, image.height)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        picture = image.pil(min_side=min(size)).resize(
            size, resample=3, reducing_gap=3.0
        )  # bicubic, with pre-shrinking
    kind = "jpeg" if image.format in _LOSSY else "png"
    buffer = io.BytesIO()
    if kind == "jpeg":
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
    else:
        picture.save(buffer, "PNG")
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _plain(data: bytes, kind: str) -> bool:
    """Can a server be trusted to see in these bytes what we see?"""
    if kind == "jpeg":
        return read_header(data).orientation == 1
    if kind not in ("png", "webp"):
        return False
    try:
        opened = open_picture(data)
        upright = opened.getexif().get(0x0112, 1) == 1
        still = getattr(opened, "n_frames", 1) == 1
    except Exception:  # a strange header: decode it with all guards, which gives the row its reason
        return False
    return opened.mode in ("RGB", "L") and "transparency" not in opened.info and upright and still
