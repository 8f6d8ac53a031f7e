"""Your own filter: drop captions that speak of the picture as a picture ("an image of …").

    python examples/my_filter.py photos.pano

A filter answers with a reason, or None to keep. The reason is written to `dropped`; nothing is deleted, and curating
again decides anew.
"""

from __future__ import annotations

import sys
from typing import Any

import panoglot
from panoglot import Caption
from panoglot.curation import caption_filter


@caption_filter("speaks_of_picture")
def plain_speech(
    caption: Caption,
    facts: dict[str, Any],
    *,
    openings: tuple[str, ...] = ("a picture of", "an image of", "this picture", "the image shows"),
) -> str | None:
    """Drop captions that begin with one of the `openings`."""
    return "speaks_of_picture" if caption.text.lower().startswith(tuple(openings)) else None


if __name__ == "__main__":
    steps = ["length", ("plain_speech", {"openings": ["this is a picture"]})]
    result = panoglot.curate(sys.argv[1], steps=steps, quiet=True)
    print(f"{result.captions_kept} of {result.captions} captions kept")
    for reason, count in result.captions_dropped.most_common():
        print(count, reason)
