"""`densefusion`: tags, boxes, writing and alternative text as hints to one captioner.

DenseFusion-1M (NeurIPS 2024; arXiv 2407.08303).
"""

from __future__ import annotations

from dataclasses import replace

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer
from panoglot.captioning._evidence_block import Evidence, gather_evidence, serialise
from panoglot.captioning._evidence_text import with_article
from panoglot.captioning._fusing import BY_RULE, fuse
from panoglot.captioning._guards import first_sentences, lint, without_coordinates
from panoglot.errors import RowError
from panoglot.geometry import box_iou
from panoglot.pictures import Image
from panoglot.running import DetectorName, GeneratorName, LanguageIdentifierName, ReaderName, TaggerName, method
from panoglot.table import Caption, Fact

__all__ = ["densefusion", "told"]

PROMPT = (
    "Describe the image as fully as you can for somebody who cannot see it, in plain text of at most {words} words: "
    "every part of it, textures, places, numbers, relations, composition. Name what you know by name. Copy writing in "
    "its own language and do not explain it. State facts only: no mood, no guesses, no reasoning; do not begin with "
    "words such as "
    '"The image shows". What other programs found is below. It may be wrong or beside the point: then pass over it in '
    "silence, and never print coordinates.\n\n{evidence}"
)


def told(evidence: Evidence) -> str:
    """Evidence as English sentences: what stands in for a captioner.

    >>> told(Evidence("Rex", ("dog",), (), ("OPEN",)))
    'Rex. There is a dog. The writing says "OPEN".'
    """
    names: dict[str, int] = {}
    for thing in evidence.things:
        name = " ".join((*thing.attributes, thing.name))
        names[name] = names.get(name, 0) + 1
    for tag in evidence.tags:
        names.setdefault(tag, 1)
    said = [with_article(name) if count == 1 else f"{count} × {name}" for name, count in names.items()]
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}" if said else ""
    sentences = [evidence.knowledge.strip().rstrip(".") + "."] if evidence.knowledge.strip() else []
    sentences += [f"There {'is' if len(said) == 1 else 'are'} {listed}."] if listed else []
    sentences += [f'The writing says "{" ".join(evidence.lines)}".'] if evidence.lines else []
    return " ".join(sentences)


@method(
    verb="caption",
    captions=True,
    paper="DenseFusion-1M",
    year=2024,
    about="tags, boxes, OCR and alt text as hints to one captioner",
)
async def densefusion(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    tagger: TaggerName = "embedded:efficientnet-lite2",
    detector: DetectorName = "",
    open_detector: DetectorName = "",
    reader: ReaderName = "",
    knowledge: bool = True,
    prompt: str = PROMPT,
    min_tag: float = 0.2,
    min_box: float = 0.3,
    min_line: float = 0.5,
    most_things: int = 40,
    most_lines: int = 40,
    evidence_characters: int = 4000,
    words: int = 192,
    max_tokens: int = 512,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> list[Caption | Fact]:
    """Describe a picture with what specialists found as text beside it.

    The paper lets a strong model write 100,000 captions so, tunes a LLaVA-1.6-7B on them and lets that write a million;
    here one captioner is asked. `evidence` needs no language model, `fusecap` enriches a caption that exists.

    Args:
        image: the picture, with its stored captions.
        m: the models.
        captioner: sees picture and evidence; empty: the evidence is told by rule, in English (dropped as
            `wrong_language` where another `lang` is asked for).
        tagger: a `Tagger`; empty: no tags.
        detector: a `Detector` with classes of its own; empty: none.
        open_detector: a `Detector` that is asked for the tags; empty: none.
        reader: a `Reader` of writing; empty: nobody reads.
        knowledge: the alternative text is evidence.
        prompt: with `{evidence}` and `{words}`.
        min_tag: least score of a tag.
        min_box: least score of a box (the paper gives none).
        min_line: least score of a line.
        most_things: most boxes in the prompt; small things are not left out for large ones.
        most_lines: most lines of writing in it.
        evidence_characters: most characters of evidence in it.
        words: most words of the caption; whole sentences beyond are left out.
        max_tokens: of the answer.
        lang: language of the caption, and of the headers of the evidence.
        identifier: names it.

    Returns:
        A `dense` caption and the evidence as facts. Scores: `style` (offences: opening, hedge, coordinates),
        `evidence_left_out`, `fallback`.

    Raises:
        RowError: `no_evidence`: no captioner, and nothing was found either.
    """
    writer = Writer(m, lang, identifier)
    evidence = await gather_evidence(
        image,
        writer,
        tagger=tagger,
        detectors=[detector] if detector else [],
        reader=reader,
        knowledge=knowledge,
        min_tag=min_tag,
        min_box=min_box,
        min_line=min_line,
        by_tags=False,
    )
    if open_detector:
        more = await gather_evidence(
            image, writer, tagger=tagger, detectors=[open_detector], knowledge=False, min_tag=min_tag, min_box=min_box
        )
        evidence = _with_more(evidence, more)
    block, left_out = serialise(
        evidence,
        "en" if lang == AUTO else lang,
        most_things=most_things,
        most_lines=most_lines,
        most_characters=evidence_characters,
    )
    by_rule = told(evidence)
    if not captioner and not by_rule:
        raise RowError("no_evidence", "no captioner, and no tag, box, writing or alternative text either")
    values = {"evidence": block, "words": words}
    text, model, scores = await fuse(
        writer, captioner, prompt, values, by_rule, step="captioner", words=words, parts=(image,), max_tokens=max_tokens
    )
    if not text:
        raise RowError("no_evidence", "the captioner failed, and no tag, box, writing or alternative text is there")
    style = lint(text)
    style += ["coordinates"] if "boxes" in scores and "coordinates" not in style else []
    text = without_coordinates(text) if "coordinates" in style else text
    text = first_sentences(text, words) or text
    flags: dict[str, float | None] = {"style": float(len(style)), "evidence_left_out": float(left_out)}
    parents = [c for c in image.captions if knowledge and c.kind == "alt" and c.text == evidence.knowledge]
    told_by_rule = "en" if evidence.tags or evidence.things or evidence.lines else next((c.lang for c in parents), None)
    tag = told_by_rule if model == BY_RULE else None
    caption = await writer.finish(text, parents=parents, model=model, lang=tag, scores={**scores, **flags})
    return [caption, *evidence.facts()]


def _with_more(evidence: Evidence, more: Evidence) -> Evidence:
    """The things of two detectors: where both found one, the surer says what it is."""
    kept = list(evidence.things)
    for thing in more.things:
        near = next((k for k in kept if box_iou(k.box, thing.box) > 0.5), None)
        if near is None:
            kept.append(thing)
        elif near.score < thing.score:
            kept[kept.index(near)] = thing
    return replace(evidence, things=tuple(sorted(kept, key=lambda t: (-t.score, t.name, t.box))))
