"""`evidence`: the captioner that needs no language model; it writes down what it can show."""

from __future__ import annotations

from asyncio import gather
from typing import Annotated

from panoglot.asking import Models
from panoglot.captioning._evidence_text import count_faces, english_caption, fact_caption, named_caption, written_text
from panoglot.identity import Named
from panoglot.languages import matches
from panoglot.languages._tags import UNKNOWN_LANGUAGE, canonical_language
from panoglot.pictures import Image
from panoglot.providers.embedded._facts import picture_facts
from panoglot.running import DetectorName, LanguageIdentifierName, ReaderName, TaggerName, method
from panoglot.table import Caption

__all__ = ["evidence"]


@method(verb="caption")
async def evidence(
    image: Image,
    m: Models,
    *,
    tagger: TaggerName = "embedded:efficientnet-lite2",
    reader: ReaderName = "",
    detector: DetectorName = "",
    identifier: LanguageIdentifierName = "embedded:langid",
    lang: Annotated[tuple[str, ...], Named("languages")] = (),
    sure: float = 0.5,
    maybe: float = 0.2,
) -> list[Caption]:
    """Caption a picture from evidence: class, faces, writing, colours, size.

    Honest and short. A class is stated from the probability `sure`, offered as "perhaps" from `maybe`, and else left
    out. `describe` asks a real captioner; `label` gives the class names alone, in every language that has them.

    Args:
        image: the picture.
        m: the models.
        tagger: a `Tagger`; with WordNet keys its classes have names in other languages.
        reader: a `Reader` of writing, such as `embedded:ocr`; empty: nobody reads.
        detector: a `Detector` of faces, such as `embedded:faces`; empty: nobody looks.
        identifier: names the language of the writing.
        lang: also a caption in these, where the class is sure and has a name in them.
        sure: see above, 0..1.
        maybe: see above, 0..1.

    Returns:
        A `short` caption in English and in each `lang`, a `fact` (colours, size, shape), and what is written (`ocr`).

    Raises:
        RowError: the picture cannot be decoded.
    """
    facts = picture_facts(image)
    tags, boxes, lines = await gather(
        m[tagger].tag(image),
        m[detector].detect(image, ["face"]) if detector else _nothing(),
        m[reader].read(image) if reader else _nothing(),
    )
    faces = count_faces(boxes) if detector else None
    text, probability = english_caption(tags, faces, facts, sure=sure, maybe=maybe)
    scores: dict[str, float | None] = {"probability": probability}
    if faces is not None:
        scores["faces"] = float(faces)
    first = Caption(text, "en", model=_names(m, tagger, detector if faces else ""), scores=scores)
    captions = [first, Caption(fact_caption(facts), "en", kind="fact", model="panoglot:facts")]
    if probability is not None and probability >= sure:
        captions += _translated(tags[0].key, lang, probability, m[tagger].name)
    if written := written_text(lines):
        found, confidence = await m[identifier].identify(written)
        captions.append(
            Caption(
                written,
                found if confidence >= 0.5 else UNKNOWN_LANGUAGE,  # "STOP" is no Slovenian
                kind="ocr",
                model=m[reader].name,
                scores={"ocr": min(line.score for line in lines), "lid": confidence},
            )
        )
    return captions


async def _nothing() -> tuple[()]:
    return ()


def _names(m: Models, *aliases: str) -> str:
    return " + ".join(m[alias].name for alias in aliases if alias)


def _translated(key: str, languages: tuple[str, ...], probability: float, model: str) -> list[Caption]:
    if not languages:
        return []
    from panoglot.providers.embedded._labels import translations

    captions = []
    names = translations(key)
    for wanted in map(canonical_language, languages):
        for lang, name in names.items():
            if lang != "en" and matches(wanted, lang):
                text = named_caption(name.text, lang)
                if text:
                    source = f"{model} + {name.source}/{name.link}"
                    captions.append(Caption(text, lang, model=source, scores={"probability": probability}))
    return captions
