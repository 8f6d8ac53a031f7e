"""Filter `size`: pictures that are too small or too large."""

from __future__ import annotations

from panoglot.curation._contract import UNSCORED, Facts, Verdict, image_filter
from panoglot.curation._measure import measured

__all__ = ["size"]


@image_filter("too_small", "too_large", "unknown_size")
def size(facts: Facts, *, min_side: int = 32, max_pixels: int | None = 100_000_000, unknown: bool = True) -> Verdict:
    """Drop images whose shorter side is below `min_side` or that have more than `max_pixels`; bounds are kept.

    Args:
        facts: width and height.
        min_side: least shorter side, in pixels.
        max_pixels: most pixels; None for any number.
        unknown: keep an image whose size is not known.

    Source: ALIGN keeps a shorter side above 200 pixels (`min_side=201`); WIT 100 and more.

    >>> size({"width": 640, "height": 199}, min_side=200), size({"width": 640, "height": 200}, min_side=200)
    ('too_small', None)
    """
    width, height = facts.get("width"), facts.get("height")
    if not width or not height:
        measured("shorter side", None, least=min_side)
        return UNSCORED if unknown else "unknown_size"
    side = measured("shorter side", min(width, height), least=min_side)
    pixels = measured("pixels", width * height, most=max_pixels)
    if side < min_side:
        return "too_small"
    return "too_large" if max_pixels is not None and pixels > max_pixels else None
