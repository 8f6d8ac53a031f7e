"""`fusecap`: a short caption enriched with what frozen experts see.

FuseCap (WACV 2024; arXiv 2305.17718). Its fusing code was never released: thresholds and prompts are ours.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Sequence
from dataclasses import replace

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, stored
from panoglot.captioning._evidence_block import Thing, one_of_each
from panoglot.captioning._fusing import BY_RULE, add_details, fuse, mentions
from panoglot.captioning._guards import is_junk
from panoglot.captioning._support import match_score
from panoglot.captioning.describe import PROMPT as DESCRIBE
from panoglot.checks import check_option
from panoglot.errors import RowError
from panoglot.geometry import Region
from panoglot.pictures import Image, draw_region
from panoglot.providers.embedded._facts import picture_facts
from panoglot.providers.roles import Line
from panoglot.running import (
    DetectorName,
    EncoderName,
    GeneratorName,
    LanguageIdentifierName,
    ParserName,
    ReaderName,
    TaggerName,
    method,
)
from panoglot.table import Caption

__all__ = ["assign_lines", "clause", "fusecap"]

PROMPT = (
    "Write one natural caption of a picture. Keep what the caption says and work in the details that were seen. Use "
    "nothing else, no list, no coordinates, and do not speak of how they were found. Answer with the caption alone.\n\n"
    "Caption: {caption}\nSeen:\n{evidence}"
)


def assign_lines(things: Sequence[Thing], lines: Sequence[Line]) -> tuple[list[Thing], list[str]]:
    """Give each line of writing to the smallest thing that holds its centre; the others belong to the scene (step 3).

    >>> shirt = Thing("shirt", (0.2, 0.3, 0.8, 0.7))
    >>> assign_lines([Thing("person"), shirt], [Line("NIKE", 1.0, Region(0.4, 0.4, 0.6, 0.6))])[0][1].text
    ('NIKE',)
    """
    held: list[list[str]] = [[] for _ in things]
    scene: list[str] = []
    for line in lines:
        x, y = (line.region.x0 + line.region.x1) / 2, (line.region.y0 + line.region.y1) / 2
        around = [
            (Region(*thing.box).area, n)
            for n, thing in enumerate(things)
            if thing.box[0] <= x <= thing.box[2] and thing.box[1] <= y <= thing.box[3]
        ]
        (held[min(around)[1]] if around else scene).append(line.text)
    return [replace(thing, text=(*thing.text, *texts)) for thing, texts in zip(things, held)], scene


def clause(thing: Thing) -> str:
    """A thing as a clause: attributes, name, writing.

    >>> clause(Thing("shirt", attributes=("red",), text=("NIKE",)))
    'red shirt with the text "NIKE"'
    """
    written = "".join(f' with the text "{line}"' for line in thing.text)
    return " ".join((*thing.attributes, thing.name)) + written


@method(
    verb="caption",
    captions=True,
    paper="FuseCap",
    year=2023,
    about="enrich a short caption with what frozen experts see",
)
async def fusecap(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "",
    llm: GeneratorName = "llm",
    detector: DetectorName = "detector",
    attributes: TaggerName = "",
    colours: bool = True,
    reader: ReaderName = "",
    scorer: EncoderName = "",
    parser: ParserName = "embedded:parser",
    caption_kinds: tuple[str, ...] = ("human", "short", "alt"),
    prompt: str = PROMPT,
    caption_prompt: str = DESCRIBE,
    min_object: float = 0.5,
    nms: float = 0.5,
    min_attribute: float = 0.5,
    min_line: float = 0.5,
    most_objects: int = 10,
    most_attributes: int = 2,
    accept: str = "off",
    max_tokens: int = 200,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> Caption:
    """Enrich a picture's caption with objects, attributes and writing.

    Beside `densefusion`, which describes anew, it keeps the caption that exists.

    Args:
        image: the picture, with its stored captions.
        m: the models.
        captioner: writes the caption where none is stored; empty: such pictures are rejected (`no_caption`).
        llm: fuses; empty: attributes are put before the nouns of the caption and other things named after it (English).
        detector: a `Detector`.
        attributes: a `Tagger` whose classes of a thing's crop are its attributes; empty: none.
        colours: the colour of which a thing's crop has at least `min_attribute` is an attribute.
        reader: a `Reader`; empty: nobody reads.
        scorer: an `Encoder` for `accept: match`.
        parser: names the nouns for `accept: nouns` (English).
        caption_kinds: kinds of captions to enrich, in order of preference.
        prompt: with `{caption}` and `{evidence}`.
        caption_prompt: the question to the captioner.
        min_object: least score of a thing.
        nms: IoU from which two boxes of one name are one thing.
        min_attribute: least score of an attribute.
        min_line: least score of a line.
        most_objects: most things, by area × score.
        most_attributes: most attributes of one.
        accept: `off`; `match`: keep the caption as it was where the enriched one fits worse; `nouns`: where it has a
            noun that is neither in the caption nor seen.
        max_tokens: of the enriched caption.
        lang: language of the result; `auto`: that of the caption.
        identifier: names it.

    Returns:
        A `dense` caption with the one it was made of as parent; that one's text where nothing was seen. Scores:
        `things`, `lines`, `not_accepted`, `fallback`.

    Raises:
        RowError: `no_caption`, or the captioner failed.
    """
    check_option("accept", accept, ("off", "match", "nouns"))
    writer = Writer(m, lang, identifier)
    first = await _caption(image, writer, captioner, caption_kinds, caption_prompt)
    found = await writer.attempt("detector", m[detector].detect(image)) or ()
    boxes = one_of_each([box for box in found if box.score >= min_object], nms, by_class=True)
    boxes = sorted(boxes, key=lambda box: -box.region.area * box.score)[:most_objects]
    things = [Thing(box.name, box.region.box, box.score) for box in boxes]
    things = list(
        await gather(
            *(_attributed(image, writer, t, attributes, colours, min_attribute, most_attributes) for t in things)
        )
    )
    read = (await writer.attempt("reader", m[reader].read(image)) if reader else None) or ()
    things, scene = assign_lines(things, [x for x in read if x.score >= min_line and not is_junk(x.text)])
    clauses = sorted(dict.fromkeys(map(clause, things))) + [f'the text "{line}"' for line in scene]
    flags: dict[str, float | None] = {"things": float(len(things)), "lines": float(len(read))}
    if not clauses:
        return await writer.finish(
            first.text, parents=[first], model=first.model or BY_RULE, lang=first.lang, scores=flags
        )
    by_rule = add_details(first.text, things)
    for line in scene:
        by_rule += "" if line in by_rule else f' The text "{line}" can be read.'
    values = {"caption": first.text, "evidence": "\n".join(clauses)}
    text, model, scores = await fuse(writer, llm, prompt, values, by_rule, lang=first.lang, max_tokens=max_tokens)
    if not await _accepted(accept, image, writer, scorer, parser, first, text, clauses):
        flags["not_accepted"] = 1.0
        text, model = first.text, first.model or BY_RULE
    return await writer.finish(text, parents=[first], model=model, lang=first.lang, scores={**scores, **flags})


async def _caption(image: Image, writer: Writer, captioner: str, kinds: Sequence[str], prompt: str) -> Caption:
    found = stored(image, kinds, writer.lang)
    if found is not None:
        return found
    if not captioner:
        raise RowError("no_caption", f"no stored caption of the kinds {', '.join(kinds)}: name a captioner")
    return await writer.draft(captioner, prompt, image, kind="short")


async def _attributed(
    image: Image, writer: Writer, thing: Thing, tagger: str, colours: bool, least: float, most: int
) -> Thing:
    """A thing with what its crop is like."""
    if not tagger and not colours:
        return thing
    try:
        crop = draw_region(image, Region(*thing.box))
        seen = picture_facts(crop).colours[:1] if colours else ()
    except RowError:
        writer.fall_back("crop")
        return thing
    names = [name for name, share in seen if share >= least]
    tags = (await writer.attempt("attributes", writer.m[tagger].tag(crop)) if tagger else None) or ()
    names += [tag.name for tag in tags if tag.score >= least and tag.name != thing.name]
    return replace(thing, attributes=tuple(dict.fromkeys(names))[:most])


async def _accepted(
    accept: str,
    image: Image,
    writer: Writer,
    scorer: str,
    parser: str,
    first: Caption,
    text: str,
    clauses: Sequence[str],
) -> bool:
    if accept == "match":
        before, after = await gather(
            *(match_score(writer.m[scorer], image, said, first.lang) for said in (first.text, text))
        )
        return before is None or after is None or after >= before
    if accept == "nouns":
        graph = await writer.attempt("parser", writer.m[parser].parse(text, first.lang))
        known = " ".join([first.text, *clauses])
        return graph is None or all(mentions(known, noun) for noun in graph.objects)
    return True
