"""Places that annotations give in pixels: boxes, polygons, run lengths; as a `Region` of the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from panoglot.geometry import Region
from panoglot.pictures import encode_mask
from panoglot.table import Caption

__all__ = ["label", "mask_of", "region_of"]

_MOST_PIXELS = 50_000_000  # of a mask that is drawn
_MOST_CORNERS = 100_000


def region_of(box: Any, size: tuple[Any, Any], mask: str | None = None) -> Region | None:
    """The place of a box; None where it is none: no numbers, no area, or outside of the picture.

    Args:
        box: `[x, y, width, height]` in pixels.
        size: `(width, height)` of the picture in pixels.
        mask: COCO compressed run-length string.

    >>> region_of([8, 8, 16, 40], (32, 32))
    Region(x0=0.25, y0=0.25, x1=0.75, y1=1.0, mask=None, points=(), start=None, end=None, track=(), box3=None)
    >>> region_of([8, 8, 0, 4], (32, 32)) is None, region_of([8, "a"], (32, 32)) is None
    (True, True)
    """
    if not isinstance(box, Sequence) or len(box) != 4 or not all(map(_is_number, (*box, *size))) or min(size) <= 0:
        return None
    width, height = size
    edges = box[0] / width, box[1] / height, (box[0] + box[2]) / width, (box[1] + box[3]) / height
    x0, y0, x1, y1 = (min(max(float(edge), 0.0), 1.0) for edge in edges)
    return Region(x0, y0, x1, y1, mask=mask) if x0 < x1 and y0 < y1 else None


def mask_of(segmentation: Any, size: tuple[Any, Any]) -> str | None:
    """A COCO segmentation (polygons, run lengths plain or compressed) as a compressed run-length string, or None.

    >>> mask_of({"size": [2, 3], "counts": [2, 1, 3]}, (3, 2)) == mask_of([[1, 0, 1, 0, 1, 0]], (3, 2))
    True
    """
    import numpy as np

    if not all(map(_is_number, size)) or not 0 < size[0] * size[1] <= _MOST_PIXELS:
        return None
    width, height = int(size[0]), int(size[1])
    if isinstance(segmentation, dict) and segmentation.get("size") == [height, width]:
        counts = segmentation.get("counts")
        if isinstance(counts, str):
            return counts if counts.isascii() and len(counts) < 2**20 else None
        if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
            return None
        if sum(counts) != width * height:
            return None
        runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        return encode_mask(runs.reshape(width, height).T)
    if isinstance(segmentation, list) and segmentation:
        return _drawn(segmentation, width, height)
    return None


def _drawn(polygons: list[Any], width: int, height: int) -> str | None:
    import numpy as np
    from PIL import Image, ImageDraw

    canvas = Image.new("1", (width, height))
    draw, corners = ImageDraw.Draw(canvas), 0
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or not all(map(_is_number, polygon)):
            return None
        corners += len(polygon)
        if corners > _MOST_CORNERS or max(map(abs, polygon)) > 1e6:
            return None
        draw.polygon([(x, y) for x, y in zip(polygon[::2], polygon[1::2], strict=False)], fill=1)
    return encode_mask(np.asarray(canvas, dtype=bool))


def label(text: Any, region: Region | None, lang: str | None = None) -> Caption | None:
    """The name of a class as a caption, of all of the picture or of a place in it; None where it is no text."""
    if not isinstance(text, str) or not text.strip():
        return None
    return Caption(text.strip(), lang=lang or "und", kind="label", region=region, recipe="human")


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float is
        return False
