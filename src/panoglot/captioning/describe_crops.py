"""`describe-crops`: describe the picture and its salient parts, delete what a detector does not find, merge.

The construction of DetailCaps in CAPTURE (2024; arXiv 2405.19092), part B.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Sequence
from typing import Annotated, Any

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer
from panoglot.captioning._claims import concrete, join_sentences
from panoglot.captioning._fusing import append_sentences, fuse, mentions, without_objects, without_phrases
from panoglot.captioning._regions import QUADRANTS, BoxTuple, absorbed, clipped, free_rectangles, grown
from panoglot.captioning._regions import clusters as clustered
from panoglot.captioning._support import find_objects
from panoglot.checks import check_option
from panoglot.geometry import Region
from panoglot.identity import Added
from panoglot.pictures import Image
from panoglot.providers.roles import RegionPart, SceneGraph
from panoglot.running import (
    DetectorName,
    GeneratorName,
    LanguageIdentifierName,
    ParserName,
    SegmenterName,
    method,
)
from panoglot.table import Caption
from panoglot.text import split_sentences

__all__ = ["describe_crops", "phrases_of", "salient_boxes"]

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


def phrases_of(graph: SceneGraph, sentence: str, *, whole: bool) -> dict[str, str]:
    """The phrases of a sentence that a detector is asked for (stage 4), each with its thing.

    Args:
        graph: of the sentence.
        sentence: they stand in it.
        whole: of a description of the whole: things with an attribute before or after them, then bare things; of one of
            a part: only things that have no attribute.

    >>> graph = SceneGraph(("dog", "sofa", "cup"), (("dog", "brown"), ("sofa", "red")))
    >>> phrases_of(graph, "A brown dog on a sofa, red, and a cup.", whole=True)
    {'brown dog': 'dog', 'sofa': 'sofa', 'cup': 'cup'}
    >>> phrases_of(graph, "A brown dog on a sofa, red, and a cup.", whole=False)
    {'cup': 'cup'}
    """
    things = concrete(graph)
    if not whole:
        owners = {owner for owner, _ in graph.attributes}
        return {thing: thing for thing in things if thing not in owners and mentions(sentence, thing)}
    owned = [(owner, word) for owner, word in graph.attributes if owner in things]
    found = {p: owner for owner, word in owned if mentions(sentence, p := f"{word} {owner}")}
    found |= {p: owner for owner, word in owned if mentions(sentence, p := f"{owner} {word}")}
    told = set(found.values())
    return found | {thing: thing for thing in things if thing not in told and mentions(sentence, thing)}


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
    check: Annotated[str, Added("things")] = "phrases",
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
        detector: is asked on the whole picture for what the descriptions name (OWLv2 in the paper); empty: nobody
            verifies.
        parser: names those things (English).
        prompt: about the picture.
        crop_prompt: about a part.
        min_area: least share of the picture of a box.
        max_area: most.
        clusters: see `salient_boxes`.
        merge: see `salient_boxes`.
        dilate: crops are larger by this share of the sides.
        min_found: what has no score of this is not there, and goes.
        words: most words.
        max_tokens: of the description.
        crop_tokens: of one of a part.
        temperature: of both.
        seed: of both, and of the clusters.
        lang: language of the caption.
        identifier: names it.
        check: `phrases` (the paper): those of each sentence, see `phrases_of`; they alone go, or their sentence where
            no `llm` mends what is left. `things`: all things of all descriptions, and every sentence that names one
            goes, which is truer.

    Returns:
        A `dense` caption; its parents are the description and those of the parts, with their regions. Scores: `crops`,
        `deleted`, `unchecked`, `fallback`.

    Raises:
        RowError: the captioner gave no description.
    """
    check_option("check", check, ("phrases", "things"))
    writer = Writer(m, lang, identifier)
    options: dict[str, Any] = {"temperature": temperature, "seed": seed}
    first = await writer.draft(captioner, prompt, image, max_tokens=max_tokens, **options)
    found = await _found(image, writer, segmenter, boxes)
    places = salient_boxes(found, least=min_area, most=max_area, k=clusters, merge=merge, seed=seed)
    regions = [r for place in places or QUADRANTS if _is_seen(r := Region(*grown(place, dilate)), image)]
    tag = first.lang if lang == AUTO else None
    asked = (
        writer.draft(
            captioner, crop_prompt, RegionPart(image, r), lang=tag, kind="region", max_tokens=crop_tokens, **options
        )
        for r in regions
    )
    crops = [c for c in await gather(*(writer.attempt("crop", one) for one in asked)) if c is not None]
    told = _Check(image, writer, detector, parser, min_found, mended=bool(llm))
    verified = await (told.phrases(first, crops) if check == "phrases" else told.things([first, *crops]))
    body, elements = verified[0] or first.text, [text for text in verified[1:] if text]
    values = {
        "description": body,
        "elements": "\n".join(f"- {text}" for text in elements) or "- nothing",
        "words": words,
    }
    by_rule = append_sentences(body, elements)
    text, model, scores = await fuse(writer, llm, MERGE, values, by_rule, lang=first.lang, words=words, max_tokens=500)
    flags: dict[str, float | None] = {"crops": float(len(crops)), "deleted": float(len(told.deleted))}
    flags["unchecked"] = float(len(told.unchecked))
    return await writer.finish(text, parents=[first, *crops], model=model, lang=first.lang, scores={**scores, **flags})


async def _found(image: Image, writer: Writer, segmenter: str, boxes: str) -> list[BoxTuple]:
    if segmenter:
        found = await writer.attempt("segmenter", writer.m[segmenter].segment(image))
    elif boxes:
        found = await writer.attempt("boxes", writer.m[boxes].detect(image))
    else:
        return []
    return [box.region.box for box in found or ()]


def _is_seen(region: Region, image: Image) -> bool:
    """More than two pixels on each side."""
    width, height = image.width, image.height
    x0, y0, x1, y1 = region.box
    return (x1 - x0) * width > 2 and (y1 - y0) * height > 2


class _Check:
    """Stage 4: descriptions without what a detector does not find on the whole picture.

    Args:
        mended: a language model goes over what is left, so phrases are deleted; else the sentences that hold them.
    """

    def __init__(self, image: Image, writer: Writer, detector: str, parser: str, least: float, *, mended: bool) -> None:
        self.image, self.writer, self.least = image, writer, least
        self.detector = writer.m[detector] if detector else None
        self.parser = writer.m[parser] if detector else None
        self.delete = without_phrases if mended else without_objects
        self.deleted: set[str] = set()
        self.unchecked: set[str] = set()

    async def phrases(self, whole: Caption, parts: Sequence[Caption]) -> list[str]:
        """The description of the whole sentence by sentence, then those of parts.

        Of a part the detector is offered all of the text too, or it would have to find its things.
        """
        sentences = (self._check(one, whole.lang, whole=True) for one in split_sentences(whole.text))
        body = join_sentences(await gather(*sentences))
        return [body, *await gather(*(self._check(part.text, part.lang, whole=False) for part in parts))]

    async def things(self, captions: Sequence[Caption]) -> list[str]:
        """All descriptions without the sentences that name a thing which is not found."""
        texts = [caption.text for caption in captions]
        if self.detector is None or self.parser is None:
            return texts
        parsed = (self.writer.attempt("parser", self.parser.parse(c.text, c.lang)) for c in captions)
        names = list(dict.fromkeys(name for graph in await gather(*parsed) for name in concrete(graph)))
        asked = self.writer.attempt("detector", find_objects(self.detector, self.image, names)) if names else None
        scores = (await asked if asked is not None else None) or {}
        self.deleted = {name for name, score in scores.items() if score is not None and score < self.least}
        self.unchecked = {name for name, score in scores.items() if score is None}
        return [without_objects(text, sorted(self.deleted)) for text in texts]

    async def _check(self, text: str, lang: str, *, whole: bool) -> str:
        if self.detector is None or self.parser is None:
            return text
        graph = await self.writer.attempt("parser", self.parser.parse(text, lang))
        asked = phrases_of(graph, text, whole=whole) if graph is not None else {}
        if not asked:
            return text
        known = hasattr(self.detector.model, "classes")
        labels = {phrase: thing if known else phrase for phrase, thing in asked.items()}
        names = list(dict.fromkeys([*labels.values(), *([] if whole else [text])]))
        scores = await self.writer.attempt("detector", find_objects(self.detector, self.image, names))
        if scores is None:
            return text
        found = {phrase: scores[label] for phrase, label in labels.items()}
        wrong = [phrase for phrase, score in found.items() if score is not None and score < self.least]
        self.deleted.update(asked[phrase] for phrase in wrong)
        self.unchecked.update(asked[phrase] for phrase, score in found.items() if score is None)
        return self.delete(text, wrong)
