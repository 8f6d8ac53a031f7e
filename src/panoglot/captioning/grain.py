"""`grain`: what the main subject looks like, each feature found in the picture; regions for training.

GRAIN (2024; arXiv 2412.04429), its annotation. The prompts are ours.
"""

from __future__ import annotations

from asyncio import gather

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer
from panoglot.captioning._claims import read_lines
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.providers.roles import Box
from panoglot.running import DetectorName, GeneratorName, LanguageIdentifierName, method
from panoglot.table import Caption

__all__ = ["grain"]

FEATURES = (
    "What does the main subject of this picture look like? List its visual features, one a line, each as a short "
    "phrase that names the part and what it is like. Nothing else."
)
CAPTION = "Describe this picture in one sentence."
#: Leading marks of a list, as the release strips them.
_MARKS = ".,!?-* "


@method(
    verb="caption",
    paper="GRAIN",
    year=2024,
    about="a caption, and features of the main subject where a detector finds them",
)
async def grain(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    detector: DetectorName = "detector",
    features: str = FEATURES,
    prompt: str = CAPTION,
    min_score: float = 0.1,
    most: int = 5,
    max_tokens: int = 192,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> list[Caption]:
    """Write a caption and list features; an open-vocabulary detector says where each is.

    `panoglot train grain` learns from what it writes. `describe-crops` describes parts that a segmenter found.

    Args:
        image: the picture.
        m: the models.
        captioner: writes both.
        detector: open-vocabulary (OWL in the paper); is asked for all features at once.
        features: the question for features, one a line.
        prompt: the question for the caption.
        min_score: a box less sure than this is none.
        most: regions kept, those with the highest score.
        max_tokens: of an answer.
        lang: language of the texts; `auto`: that of the caption.
        identifier: names it.

    Returns:
        A `short` caption, and `region` captions with their boxes (their score is `detector`). Scores of the caption:
        `features` that were listed, `found` of them.

    Raises:
        RowError: the captioner failed, or listed nothing.
    """
    writer = Writer(m, lang, identifier)
    caption, listed = await gather(
        writer.draft(captioner, prompt, image, kind="short", max_tokens=max_tokens),
        writer.draft(captioner, features, image, kind="short", max_tokens=max_tokens),
    )
    lines = [line.lstrip(_MARKS).strip() for line in read_lines(listed.text)]
    phrases = list(dict.fromkeys(line for line in lines if line))
    if not phrases:
        raise RowError("no_features", "the captioner listed no features")
    best: dict[str, Box] = {}
    for box in await m[detector].detect(image, phrases):
        known = best.get(box.name)
        if box.name in phrases and box.score >= min_score and (known is None or box.score > known.score):
            best[box.name] = box
    kept = sorted(best.values(), key=lambda box: (-box.score, phrases.index(box.name)))[:most]
    scores: dict[str, float | None] = {"features": len(phrases), "found": len(best)}
    whole = Caption(caption.text, caption.lang, "short", model=caption.model, scores={**caption.scores, **scores})
    regions = [
        Caption(box.name, listed.lang, "region", model=caption.model, region=box.region, scores={"detector": box.score})
        for box in kept
    ]
    return [whole, *regions]
