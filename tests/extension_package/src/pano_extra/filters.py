"""A filter and a preset."""

from __future__ import annotations

from panoglot import Caption
from panoglot.curation import Facts, Steps, Verdict, caption_filter, preset


@caption_filter("shouts")
def shouting(caption: Caption, facts: Facts, *, share: float = 0.5) -> Verdict:
    """Drop texts of which more than a share of the letters are capitals."""
    letters = [letter for letter in caption.text if letter.isalpha()]
    return "shouts" if letters and sum(map(str.isupper, letters)) > share * len(letters) else None


@preset("quiet")
def quiet(*, share: float = 0.3) -> Steps:
    """No shouting, and the usual length."""
    return [("shouting", {"share": share}), "length"]
