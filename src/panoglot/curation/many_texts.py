"""Filter `many_texts`: pictures that too many texts came with."""

from __future__ import annotations

from panoglot.curation._contract import Facts, Verdict, image_filter
from panoglot.curation._measure import measured

__all__ = ["many_texts"]


@image_filter("too_many_texts", needs=("texts",))
def many_texts(facts: Facts, *, maximum: int = 1000) -> Verdict:
    """Drop images with more than `maximum` different given texts (kinds `alt` and `human`): icons, flags.

    Source: ALIGN (Jia et al. 2021), section 3: images with more than 1000 associated alt-texts.

    >>> many_texts({"texts": 1001}), many_texts({"texts": 1000})
    ('too_many_texts', None)
    """
    return "too_many_texts" if measured("texts", facts.get("texts", 0), most=maximum) > maximum else None
