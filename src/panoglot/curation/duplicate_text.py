"""Filters over all texts: `duplicate_text` (twice at one image) and `common_text` (the same at many images)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from panoglot.curation._contract import Facts, Verdict, text_group_filter
from panoglot.curation._count import counted, key64
from panoglot.curation._measure import measured, watched
from panoglot.curation._texts import Texts
from panoglot.table import Caption
from panoglot.text import same_text

if TYPE_CHECKING:
    import numpy as np

__all__ = ["common_text", "duplicate_text"]

Decide = Callable[[Caption, Facts], Verdict]


def _own_key(caption: Caption) -> int:
    return key64(caption.image_id, caption.lang, caption.kind, same_text(caption.text))


def _text_key(caption: Caption) -> int:
    return key64(same_text(caption.text))


def _frequent(
    texts: Texts, key: Callable[[Caption], int], value: Callable[[Caption], int], least: int, *, regions: bool = True
) -> frozenset[int]:
    """The keys that come with at least `least` distinct values."""
    import numpy as np

    def arrays() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in texts():
            some = [c for c in batch if regions or c.region is None]
            keys = np.fromiter((key(c) for c in some), np.uint64, len(some))
            yield keys, np.fromiter((value(c) for c in some), np.uint64, len(some))

    return frozenset(k for keys, counts in counted(arrays, texts.total) for k in keys[counts >= least].tolist())


@text_group_filter("duplicate_text", kinds=("alt", "human", "short", "dense", "question", "answer", "ocr", "label"))
def duplicate_text(texts: Texts) -> Decide:
    """Drop a text that its image already has in that language and kind; the one with the smallest id stays.

    Letter case and white space make no difference. Texts about a region are left alone: two dogs are two regions.
    """
    several = _frequent(texts, _own_key, lambda c: key64(c.caption_id), 2, regions=False)
    first: dict[int, str] = {}
    for batch in texts() if several else ():
        for caption in batch:
            if caption.region is None and (key := _own_key(caption)) in several:
                first[key] = min(caption.caption_id, first.get(key, caption.caption_id))

    def decide(caption: Caption, facts: Facts) -> Verdict:
        if not several or caption.region is not None:
            return None
        stays = first.get(_own_key(caption), caption.caption_id)
        measured("the first with this text", "yes" if stays == caption.caption_id else f"no: {stays[:12]}")
        return "duplicate_text" if stays != caption.caption_id else None

    return decide


@text_group_filter("common_text", kinds=("alt", "human"))
def common_text(texts: Texts, *, max_images: int = 10) -> Decide:
    """Drop texts that stand at more than `max_images` different images: they say nothing about any of them.

    Counted on all texts, kept or not by other filters, so that no filter depends on another.

    Source: ALIGN (Jia et al. 2021), section 3: alt-texts shared by more than 10 images.
    """
    common = _frequent(texts, _text_key, lambda c: key64(c.image_id), max_images + 1)

    def decide(caption: Caption, facts: Facts) -> Verdict:
        if watched():
            same = {c.image_id for batch in texts() for c in batch if _text_key(c) == _text_key(caption)}
            measured("images with this text", len(same), most=max_images)
        return "common_text" if common and _text_key(caption) in common else None

    return decide
