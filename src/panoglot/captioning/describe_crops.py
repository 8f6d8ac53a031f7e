"""`describe-crops`: describe the picture and its salient parts, delete what a detector does not find, merge.

The construction of DetailCaps in CAPTURE (2024; arXiv 2405.19092), part B.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Sequence
from typing import Any

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer
from panoglot.captioning._claims import concrete
from panoglot.captioning._fusing import append_sentences, fuse, without_objects
from panoglot.captioning._regions import QUADRANTS, BoxTuple, absorbed, clipped, free_rectangles, grown
from panoglot.captioning._regions import clusters as clustered
from panoglot.captioning._support import find_objects
from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.providers.roles import RegionPart
from panoglot.running import (
    DetectorName,
    GeneratorName,
    LanguageIdentifierName,
    ParserName,
    SegmenterName,
    method,
)
from panoglot.table import Caption

__all__ = ["describe_crops", "salient_boxes"]

WHOLE = "Describe the image in detail."
CROP = "Describe this part of an image in detail in at most 20 words."
MERGE = (
    "Refine the description of an image with what was seen in parts of it. Do not just join them, pass over what does "
    "not fit, at most {words} words. Answer with the description alone.\n\nDescription: "
    "{description}\n\nSeen:\n{elements}"
)


def salient_boxes(
    boxes: Sequence[BoxTuple],
    *,
    least: float = 0.001,
    most: float = 0.9,
    k: int = 10,
    merge: float = 0.0,
    slack: float = 0.1,
    replace: int = 3,
    seed: int = 0,
) -> list[BoxTuple]:
    """Choose parts of a picture out of a segmenter's boxes (stage 2).

    Args:
        boxes: in 0..1.
        least: least area of a box.
        most: most area of a box.
        k: clusters.
        merge: GIoU above which a cluster is absorbed by a smaller one.
        slack: or share of their hull below which nothing is uncovered.
        replace: of so many of the largest only what no other covers is taken; one that is covered stays as it is.
        seed: of the clusters.

    >>> salient_boxes([(0, 0, 0.2, 0.2), (0.6, 0.6, 0.9, 0.9), (0, 0, 1, 1), (0, 0, 0.01, 0.01)])
    [(0.0, 0.0, 0.2, 0.2), (0.6, 0.6, 0.9, 0.9)]
    """
    inside = [place for box in boxes if (place := clipped(box)) and least <= Region(*place).area <= most]
    found = absorbed(clustered(inside, k, seed), merge, slack)
    found.sort(key=lambda box: (Region(*box).area, box))
    small, large = found[: max(len(found) - replace, 0)], found[max(len(found) - replace, 0) :]
    if not small and len(large) < 2:
        return found
    for n, box in enumerate(large):
        small += free_rectangles(box, [other for other in found if other != box and other not in large[n + 1 :]])
    return list(dict.fromkeys(small))


@method(verb="caption", about="describe salient crops, delete what a detector does not find, merge (CAPTURE, part B)")
async def describe_crops(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    llm: GeneratorName = "llm",
    segmenter: SegmenterName = "",
    boxes: DetectorName = "",
    detector: DetectorName = "",
    parser: ParserName = "embedded:parser",
    prompt: str = WHOLE,
    crop_prompt: str = CROP,
    min_area: float = 0.001,
    max_area: float = 0.9,
    clusters: int = 10,
    merge: float = 0.0,
    dilate: float = 0.02,
    min_found: float = 0.01,
    words: int = 300,
    max_tokens: int = 192,
    crop_tokens: int = 64,
    temperature: float = 0.2,
    seed: int = 0,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> Caption:
    """Describe the whole and its salient parts, verify, merge.

    `patch-matters` looks at fixed quadrants several times; this one at what a segmenter finds, once.

    Args:
        image: the picture.
        m: the models.
        captioner: describes picture and parts.
        llm: merges; empty: sentences are appended.
        segmenter: finds everything (SAM in the paper); or
        boxes: a `Detector` that does; both empty: the four quadrants.
        detector: is asked on the whole picture for the things of all captions (OWLv2 in the paper); empty: nobody
            verifies.
        parser: names those things (English).
        prompt: about the picture.
        crop_prompt: about a part.
        min_area: least share of the picture of a box.
        max_area: most.
        clusters: see `salient_boxes`.
        merge: see `salient_boxes`.
        dilate: crops are larger by this share of the sides.
        min_found: a thing with no score of this is not there; sentences that name it go.
        words: most words.
        max_tokens: of the description.
        crop_tokens: of one of a part.
        temperature: of both.
        seed: of both, and of the clusters.
        lang: language of the caption.
        identifier: names it.

    Returns:
        A `dense` caption; its parents are the description and those of the parts, with their regions. Scores: `crops`,
        `deleted`, `unchecked`, `fallback`.

    Raises:
        RowError: the captioner gave no description.
    """
    writer = Writer(m, lang, identifier)
    options: dict[str, Any] = {"temperature": temperature, "seed": seed}
    first = await writer.draft(captioner, prompt, image, max_tokens=max_tokens, **options)
    found = await _found(image, writer, segmenter, boxes)
    places = salient_boxes(found, least=min_area, most=max_area, k=clusters, merge=merge, seed=seed)
    regions = [Region(*grown(place, dilate)) for place in places or QUADRANTS]
    tag = first.lang if lang == AUTO else None
    asked = (
        writer.draft(
            captioner, crop_prompt, RegionPart(image, r), lang=tag, kind="region", max_tokens=crop_tokens, **options
        )
        for r in regions
    )
    crops = [c for c in await gather(*(writer.attempt("crop", one) for one in asked)) if c is not None]
    wrong, unchecked = await _missing(image, writer, detector, parser, [first, *crops], min_found)
    body = without_objects(first.text, wrong) or first.text
    elements = [text for crop in crops if (text := without_objects(crop.text, wrong))]
    values = {
        "description": body,
        "elements": "\n".join(f"- {text}" for text in elements) or "- nothing",
        "words": words,
    }
    by_rule = append_sentences(body, elements)
    text, model, scores = await fuse(writer, llm, MERGE, values, by_rule, lang=first.lang, words=words, max_tokens=500)
    flags: dict[str, float | None] = {"crops": float(len(crops)), "deleted": float(len(wrong))}
    flags["unchecked"] = float(unchecked)
    return await writer.finish(text, parents=[first, *crops], model=model, lang=first.lang, scores={**scores, **flags})


async def _found(image: Image, writer: Writer, segmenter: str, boxes: str) -> list[BoxTuple]:
    if segmenter:
        found = await writer.attempt("segmenter", writer.m[segmenter].segment(image))
    elif boxes:
        found = await writer.attempt("boxes", writer.m[boxes].detect(image))
    else:
        return []
    return [box.region.box for box in found or ()]


async def _missing(
    image: Image, writer: Writer, detector: str, parser: str, captions: Sequence[Caption], least: float
) -> tuple[list[str], int]:
    """The things that are named and not found, and how many the detector cannot know (stage 4)."""
    if not detector:
        return [], 0
    graphs = await gather(*(writer.attempt("parser", writer.m[parser].parse(c.text, c.lang)) for c in captions))
    names = list(dict.fromkeys(name for graph in graphs for name in concrete(graph)))
    scores = await writer.attempt("detector", find_objects(writer.m[detector], image, names)) if names else {}
    found = scores or {}
    return [n for n, score in found.items() if score is not None and score < least], sum(
        s is None for s in found.values()
    )
