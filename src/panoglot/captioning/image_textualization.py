"""`image-textualization`: a description corrected and made dense by experts.

What a detector does not find is deleted; what it finds is added with place, depth and size.

Image Textualization (2024; arXiv 2406.07502).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, fill, stored
from panoglot.captioning._claims import concrete, read_lines
from panoglot.captioning._evidence_block import Thing, one_of_each
from panoglot.captioning._fusing import BY_RULE, add_objects, fuse, without_objects
from panoglot.captioning._support import find_objects
from panoglot.checks import check_option
from panoglot.geometry import Region, box_iou
from panoglot.pictures import Image, decode_mask, pixel_box
from panoglot.providers.roles import Box
from panoglot.running import (
    DepthEstimatorName,
    DetectorName,
    GeneratorName,
    LanguageIdentifierName,
    ParserName,
    SegmenterName,
    method,
)
from panoglot.table import Caption

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Detail", "details", "image_textualization", "mean_nearness"]

PROMPT = "Describe the image in detail: its objects, what they are like, where they are, what happens."
LIST = (
    "List the concrete objects that the description states for certain, one a line. No moods, no abstract things, "
    "nothing that may be there.\n\nDescription: A dog sleeps by a fire, perhaps at home. It is "
    "cosy.\nObjects:\ndog\nfire\n\n"
    "Description: {description}\nObjects:"
)
EDIT = (
    "Edit a description of an image.\n1. Remove what is said of the objects that are not there: {wrong}\n2. Work in "
    "the objects below that the description lacks; do not say twice what it says already. Each has its place (box, 0 "
    "to 1), its nearness (1 is nearest) and its share of the picture. Say this in words and never write a number of "
    "it; speak of size only where it is unusual.\n3. Keep what the description says of camera, angle and "
    "size.\nAnswer with the new description alone.\n\nDescription: {description}\n\nObjects:\n{objects}"
)
_EVIDENCE = re.compile(r"\b[01]?\.\d+\b|\[[^\]]*\d[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Detail:
    """A thing with where, how near and how large it is.

    Attributes:
        thing: what, and its box rounded to two decimals.
        near: 0 farthest to 1 nearest of the picture's things, two decimals; None where nobody knows or all are alike.
        size: percent of the picture, two decimals.
    """

    thing: Thing
    near: float | None
    size: float

    def line(self) -> str:
        """As it stands in the prompt."""
        near = "" if self.near is None else f", nearness {self.near:.2f}"
        box = ", ".join(f"{value:g}" for value in self.thing.box)
        return f"{self.thing.name}: box [{box}]{near}, size {self.size:.2f} %"


def details(things: Sequence[Thing], nearness: Sequence[float | None], pixels: Sequence[float]) -> list[Detail]:
    """Depth scaled over the things, boxes and sizes rounded (steps 5 and 6).

    Args:
        things: with boxes in 0..1.
        nearness: larger is nearer, on any scale; shifting or scaling all of them changes nothing.
        pixels: share of the picture that each covers, 0..1.

    >>> two = details([Thing("a"), Thing("b")], [40, 200], [0.08, 0.1])
    >>> [(detail.near, detail.size) for detail in two]
    [(0.0, 8.0), (1.0, 10.0)]
    """
    known = [value for value in nearness if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    found: list[Detail] = []
    for thing, value, size in zip(things, nearness, pixels):
        near = None if value is None or high <= low else round((value - low) / (high - low), 2)
        x0, y0, x1, y1 = (round(side, 2) for side in thing.box)
        found.append(Detail(Thing(thing.name, (x0, y0, x1, y1), thing.score), near, round(100 * size, 2)))
    return found


def mean_nearness(depth: np.ndarray, inside: np.ndarray) -> float | None:
    """How near a mask is: the mean depth in it, turned round. None for a mask without pixels, which is not far.

    Args:
        depth: float `[height, width]`, larger is farther.
        inside: bool of the same shape.
    """
    import numpy as np

    some = depth[inside]
    some = some[np.isfinite(some)]
    return -float(some.mean()) if some.size else None


@method(
    verb="caption",
    captions=True,
    paper="Image Textualization",
    year=2024,
    about="correct and densify a description with expert evidence",
)
async def image_textualization(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    detector: DetectorName = "detector",
    regions: DetectorName = "",
    llm: GeneratorName = "llm",
    parser: ParserName = "embedded:parser",
    segmenter: SegmenterName = "",
    depth: DepthEstimatorName = "",
    draft_kinds: tuple[str, ...] = ("dense",),
    prompt: str = PROMPT,
    edit: str = "both",
    min_found: float = 0.20,
    min_region: float = 0.55,
    merge: float = 0.5,
    most_things: int = 10,
    order: str = "score",
    max_tokens: int = 4096,
    temperature: float = 0.75,
    top_p: float = 0.95,
    seed: int = 0,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> Caption:
    """Correct a description with a detector, and add what it lacks.

    Deletion and addition are two edits: where there is nothing to add, what is not there is deleted all the same (the
    released code then returns the draft as it is).

    Args:
        image: the picture, with its stored captions.
        m: the models.
        captioner: writes the description where none is stored.
        detector: is asked for every object of the description (Grounding DINO in the paper).
        regions: finds things by itself (GRiT in the paper); empty: `detector`.
        llm: lists objects and edits; empty: the parser lists (English), sentences are deleted and added by rule.
        parser: finds the objects where there is no `llm`.
        segmenter: outlines the things (SAM in the paper); empty: their boxes are taken for them.
        depth: a `DepthEstimator`; empty: nothing is near or far.
        draft_kinds: kinds of stored captions to edit.
        prompt: the question to the captioner.
        edit: `both`, `delete` or `add`.
        min_found: an object with no box above is not there (0.20 in the guide, 0.40 and 0.30 elsewhere in the code).
        min_region: least score of a thing that is added.
        merge: IoU from which two boxes are one thing.
        most_things: most things for the editor.
        order: which of them: by `score` (the code's order) or by `size`.
        max_tokens: of the edited description.
        temperature: of the editor.
        top_p: of the editor.
        seed: of the editor.
        lang: language of the description.
        identifier: names it.

    Returns:
        A `dense` caption with the draft as parent. Scores: `deleted` and `added`, how many objects; `unchecked`, those
        that the detector cannot find by name.

    Raises:
        RowError: there is no description.
    """
    check_option("edit", edit, ("both", "delete", "add"))
    check_option("order", order, ("score", "size"))
    writer = Writer(m, lang, identifier)
    draft = stored(image, draft_kinds, lang) or await writer.draft(captioner, prompt, image, max_tokens=max_tokens)
    named = await _listed(writer, llm, parser, draft) if edit != "add" else []
    scores = await writer.attempt("detector", find_objects(m[detector], image, named)) if named else {}
    wrong = [name for name, score in (scores or {}).items() if score is not None and score < min_found]
    flags: dict[str, float | None] = {"deleted": float(len(wrong))}
    flags["unchecked"] = float(sum(score is None for score in (scores or {}).values()))
    things: list[Detail] = []
    if edit != "delete":
        things = await _details(
            image, writer, regions or detector, segmenter, depth, min_region, merge, most_things, order
        )
    flags["added"] = float(len(things))
    by_rule = without_objects(draft.text, wrong)
    by_rule = add_objects(by_rule, [(detail.thing, detail.near) for detail in things])
    if not by_rule:
        by_rule = draft.text
        flags["nothing_left"] = 1.0  # every sentence names something that is not there
    if not wrong and not things:
        return await writer.finish(
            draft.text, parents=[draft], model=draft.model or BY_RULE, lang=draft.lang, scores=flags
        )
    values = {
        "wrong": ", ".join(wrong) or "none",
        "description": draft.text,
        "objects": "\n".join(f"{n}. {detail.line()}" for n, detail in enumerate(things, 1)) or "none",
    }
    options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    text, model, more = await fuse(writer, llm, EDIT, values, by_rule, lang=draft.lang, step="editor", **options)
    if model != BY_RULE and _EVIDENCE.search(text) and not _EVIDENCE.search(draft.text):
        writer.fall_back("numbers")  # it quotes what it was given in numbers
        text, model, more = by_rule, BY_RULE, {}
    return await writer.finish(text, parents=[draft], model=model, lang=draft.lang, scores={**more, **flags})


async def _listed(writer: Writer, llm: str, parser: str, draft: Caption) -> list[str]:
    """The objects that a description names, without the list's own words around them."""
    if llm:
        asked = fill(LIST, {"description": draft.text})
        answer = await writer.attempt("lister", writer.m[llm].generate(asked, max_tokens=512))
        if answer is not None:
            lines = [re.sub(r"^objects?\s*:\s*", "", line, flags=re.I) for line in read_lines(answer.text)]
            return list(dict.fromkeys(part.strip() for line in lines for part in line.split(". ") if part.strip()))
    else:
        writer.fall_back("lister")
    graph = await writer.attempt("parser", writer.m[parser].parse(draft.text, draft.lang))
    return concrete(graph)


async def _details(
    image: Image,
    writer: Writer,
    regions: str,
    segmenter: str,
    depth: str,
    min_region: float,
    merge: float,
    most: int,
    order: str,
) -> list[Detail]:
    import numpy as np

    found = await writer.attempt("regions", writer.m[regions].detect(image)) or ()
    boxes = one_of_each([box for box in found if box.score >= min_region], merge)
    if order == "size":
        boxes.sort(key=lambda box: -box.region.area)
    boxes = boxes[:most]
    if not boxes:
        return []
    places = [box.region for box in boxes]
    if segmenter:
        seen = await writer.attempt("segmenter", writer.m[segmenter].segment(image, places))
        places = _matched(places, seen or ())
    far = await writer.attempt("depth", writer.m[depth].depth(image)) if depth else None
    height, width = (256, 256) if far is None else far.shape
    masks = [_inside(place, image, width, height) for place in places]
    nearness = [None if far is None else mean_nearness(far, inside) for inside in masks]
    things = [Thing(box.name, box.region.box, box.score) for box in boxes]
    sizes = [place.area if place.mask is None else float(np.mean(inside)) for place, inside in zip(places, masks)]
    return details(things, nearness, sizes)


def _matched(places: Sequence[Region], seen: Sequence[Box]) -> list[Region]:
    """Of each place the mask that overlaps it best; the place itself where there is none."""
    masks = [box.region for box in seen if box.region.mask is not None]
    return [
        max((mask for mask in masks if box_iou(mask.box, place.box) > 0.5), key=lambda r: box_iou(r.box, place.box),
            default=place)
        for place in places
    ]  # fmt: skip


def _inside(place: Region, image: Image, width: int, height: int) -> np.ndarray:
    """The pixels of a place on a map of another size than the picture."""
    import numpy as np

    if place.mask is not None:
        mask = decode_mask(place.mask, image.width, image.height)
        rows = np.arange(height) * image.height // height
        columns = np.arange(width) * image.width // width
        return mask[np.ix_(rows, columns)]
    inside = np.zeros((height, width), bool)
    left, top, right, bottom = pixel_box(place, width, height)
    inside[top:bottom, left:right] = True
    return inside
