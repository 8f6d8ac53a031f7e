"""Filter `aspect`: pictures that are too long and narrow."""

from __future__ import annotations

from panoglot.curation._contract import UNSCORED, Facts, Verdict, image_filter
from panoglot.curation._measure import measured

__all__ = ["aspect"]


@image_filter("bad_aspect")
def aspect(facts: Facts, *, below: float = 8.0) -> Verdict:
    """Drop images whose longer side is `below` times the shorter side or more.

    Source: ALIGN keeps an aspect ratio smaller than 3 (`below=3`): exactly 3 is dropped.

    >>> aspect({"width": 300, "height": 100}, below=3), aspect({"width": 299, "height": 100}, below=3)
    ('bad_aspect', None)
    """
    width, height = facts.get("width"), facts.get("height")
    if not width or not height:
        measured("longer side / shorter side", None, below=below)
        return UNSCORED
    measured("longer side / shorter side", max(width, height) / min(width, height), below=below)
    return "bad_aspect" if max(width, height) >= below * min(width, height) else None
