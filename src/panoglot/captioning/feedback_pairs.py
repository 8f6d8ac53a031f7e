"""`feedback-pairs`: a picture's captions compared unit by unit, for truth and for how much they say.

FeedQuill of Painting with Words (ICLR 2025; arXiv 2503.07906), which released no code of it: prompts are ours.
"""

from __future__ import annotations

import re
from asyncio import gather
from collections.abc import Mapping, Sequence
from typing import Annotated

from panoglot.asking import Models
from panoglot.captioning._candidates import Writer, fill
from panoglot.captioning._claims import read_lines, split_claims
from panoglot.errors import RowError
from panoglot.identity import Added
from panoglot.pictures import Image
from panoglot.running import GeneratorName, GeneratorNames, Scored, method
from panoglot.table import Caption, Rating

__all__ = ["feedback_pairs", "preference_pairs"]

SPLIT = (
    "Split the caption into its smallest statements, one a line: each has one subject and says one thing of it. Leave "
    "nothing out and add nothing.\n\nCaption: A black cat sleeps beside two dogs.\nThe cat is black.\nThe cat sleeps.\n"
    "There are two dogs.\nThe cat is beside the dogs.\n\nCaption: {caption}"
)
CHECK = "Is this true of the picture? Answer yes or no.\n\n{unit}"
#: What captions are compared by.
CRITERIA = ("unit_truth", "true_units")
_YES = re.compile(r"\W*(?:(?:yes|true|ja|oui|sí|да|نعم|ndiyo)(?!\w)|是|はい|हाँ|ใช่)", re.I)
_NO = re.compile(r"\W*(?:(?:no|false|not|nein|non|нет|لا|hapana)(?!\w)|不|否|いいえ|नहीं|ไม่)", re.I)


def preference_pairs(scores: Mapping[str, float | None], gap: float = 0.0) -> list[tuple[str, str]]:
    """Pairs (better, worse) of captions whose score differs by more than `gap`; those without a score make none.

    Args:
        scores: caption's id → `unit_truth` or `true_units` of the captions of one picture.
        gap: least difference, not included.

    >>> preference_pairs({"a": 0.5, "b": 0.9, "c": None, "d": 0.5})
    [('b', 'a'), ('b', 'd')]
    """
    known = [(name, score) for name, score in scores.items() if score is not None]
    return [(one, other) for one, high in known for other, low in known if high - low > gap]


@method(
    verb="caption", captions=True, about="score captions unit by unit for truth and coverage, for preferences (DCScore)"
)
async def feedback_pairs(
    image: Image,
    m: Models,
    *,
    llm: GeneratorName = "llm",
    verifiers: GeneratorNames = ("captioner",),
    kinds: tuple[str, ...] = ("short", "dense"),
    split_prompt: str = SPLIT,
    check_prompt: str = CHECK,
    most_units: int = 60,
    ratings: Annotated[bool, Added(False)] = True,
    gap: Annotated[float, Added(0.0)] = 0.0,
) -> list[Scored | Rating]:
    """Score a picture's captions for a reward model: the share of their units that hold, and the number.

    Several captions of one picture are wanted (a captioner sampled with several seeds). Pairs of them, one set for
    truth and one for how much is said, as the paper trains a reward model of each, are stored as ratings of one caption
    against another, which `panoglot train`, `evaluate arena` and `show` read.

    Args:
        image: the picture, with its stored captions.
        m: the models.
        llm: splits captions into units; empty: sentences and clauses stand for them.
        verifiers: several generators that see; a unit holds when more than half of those that answer say yes.
        kinds: captions to score.
        split_prompt: with `{caption}`.
        check_prompt: with `{unit}`.
        most_units: most units of a caption that are checked; the number of those beyond is a score.
        ratings: store the pairs.
        gap: least difference of the scores of a pair, not included.

    Returns:
        Scores for every caption: `unit_truth` (None where no verifier answered), `true_units`, `units`,
        `units_unchecked`, and `fallback`. A rating for every pair and criterion (`unit_truth`, `true_units`): the
        better caption against the worse one, scale `preference`, value 1, rated by the verifiers.

    Raises:
        RowError: `one_caption`: there are no two captions to compare.
    """
    writer = Writer(m)
    captions = [c for c in image.captions if c.kind in kinds and c.region is None]
    if len(captions) < 2:
        raise RowError("one_caption", f"{len(captions)} captions of the kinds {', '.join(kinds)}: nothing to compare")
    found = await gather(
        *(_scored(image, writer, c, llm, verifiers, split_prompt, check_prompt, most_units) for c in captions)
    )
    scored = [Scored({**scores, **writer.scores()}, of=caption) for caption, scores in zip(captions, found)]
    if not ratings:
        return [*scored]
    by_id = {caption.caption_id: (caption, scores) for caption, scores in zip(captions, found)}
    rater = ", ".join(m[name].name for name in verifiers)
    pairs = [
        Rating(better, 1.0, "captions", worse, "preference", criterion, rater, lang=by_id[better][0].lang)
        for criterion in CRITERIA
        for better, worse in preference_pairs({key: own[criterion] for key, (_, own) in by_id.items()}, gap)
    ]
    return [*scored, *pairs]


async def _scored(
    image: Image,
    writer: Writer,
    caption: Caption,
    llm: str,
    verifiers: Sequence[str],
    split_prompt: str,
    check_prompt: str,
    most: int,
) -> dict[str, float | None]:
    units = await _units(writer, caption, llm, split_prompt)
    values = await gather(*(_holds(image, writer, unit, verifiers, check_prompt) for unit in units[:most]))
    known = [value for value in values if value is not None]
    return {
        "unit_truth": sum(known) / len(known) if known else None,
        "true_units": float(sum(known)) if known else None,
        "units": float(len(units)),
        "units_unchecked": float(len(units) - len(known)),
    }


async def _units(writer: Writer, caption: Caption, llm: str, prompt: str) -> list[str]:
    """The units of a caption, each once."""
    if llm:
        asked = writer.m[llm].generate(fill(prompt, {"caption": caption.text}), max_tokens=2000)
        answer = await writer.attempt("splitter", asked)
        if answer is not None and (units := read_lines(answer.text)):
            return units
        if answer is not None:
            writer.fall_back("splitter")
    else:
        writer.fall_back("splitter")
    return list(dict.fromkeys(claim.text for claim in split_claims(caption.text, "statement")))


async def _holds(image: Image, writer: Writer, unit: str, verifiers: Sequence[str], prompt: str) -> bool | None:
    """Whether a unit holds; None where nobody answered yes or no."""
    asked = fill(prompt, {"unit": unit})
    found = await gather(
        *(writer.attempt("verifier", writer.m[name].generate(asked, image, max_tokens=8)) for name in verifiers)
    )
    said = [True if _YES.match(a.text) else False if _NO.match(a.text) else None for a in found if a is not None]
    known = [value for value in said if value is not None]
    return sum(known) * 2 > len(known) if known else None
