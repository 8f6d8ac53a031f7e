"""Does the picture support a text: match and cosine, what the picture adds to its tokens, what a detector finds."""

from __future__ import annotations

import math
import re
from asyncio import gather
from collections.abc import Sequence

from panoglot.asking import Asker
from panoglot.captioning._claims import Claim
from panoglot.checks import check_option
from panoglot.errors import RowError, UserError
from panoglot.pictures import Image

__all__ = [
    "MEASURES",
    "blip_score",
    "claim_support",
    "content_tokens",
    "contrast",
    "contrasts",
    "find_objects",
    "match_score",
]

#: How the tokens of a text are measured, with the picture less without it.
MEASURES = ("probability", "log-probability")
#: English words of closed classes: they say nothing of the picture.
_FUNCTION = frozenset(
    """a an the this that these those some any each every no and or but nor so yet for of in on at by with from to into
    onto over under above below between among through across along around near beside behind against within without
    about as than is are was were be been being am has have had do does did can could may might must shall should will
    would it its itself he him his she her hers they them their theirs we us our you your i me my who whom whose which
    what where when while if because although there not 's""".split()
)
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")


def blip_score(no: float, yes: float, cosine: float, weight: float = 0.5) -> float:
    """Return BLIPScore: the matching head's probability and the cosine, averaged. Between -0.5 and 1 at weight 0.5.

    Args:
        no: matching head's logit for "does not fit".
        yes: its logit for "fits".
        cosine: cosine of image and text embedding.
        weight: share of the matching head.

    >>> round(blip_score(0, 2, 0.30), 6), blip_score(0, 0, 0.50), round(blip_score(1, 0, 0.40), 6)
    (0.590399, 0.5, 0.334471)
    """
    return weight / (1 + math.exp(no - yes)) + (1 - weight) * cosine


async def match_score(scorer: Asker, image: Image, text: str, lang: str = "und", weight: float = 0.5) -> float | None:
    """How well a text fits a picture: matching head and cosine, weighed; the cosine alone without such a head.

    None where it could not be scored, never 0.
    """
    try:
        (cosine,) = await scorer.similarity(image, [text], [lang])
        fits = await scorer.match(image, text)
    except RowError:
        return None
    return cosine if fits is None else weight * fits + (1 - weight) * cosine


def contrasts(
    seen: Sequence[tuple[str, float]], blind: Sequence[tuple[str, float]], measure: str = "probability"
) -> list[tuple[str, float]]:
    """What the picture adds to each token of a text (ScaleCap, 2).

    Args:
        seen: tokens with their natural-log probabilities, after picture and prompt.
        blind: the same after the prompt alone.
        measure: `probability` (the paper), or `log-probability`, which is blind to what both have in common.

    Raises:
        RowError: `other_tokens`: the two are not the same text.

    >>> contrasts([("a", 0.0), (" dog", -0.1)], [("a", 0.0), (" dog", -3.1)], "log-probability")
    [('a', 0.0), (' dog', 3.0)]
    """
    check_option("measure", measure, MEASURES)
    if [token.strip() for token, _ in seen] != [token.strip() for token, _ in blind]:
        raise RowError("other_tokens", "the model cut the text in other tokens without the picture")
    of = math.exp if measure == "probability" else float
    return [(token, of(with_) - of(without)) for (token, with_), (_, without) in zip(seen, blind)]


async def contrast(
    scorer: Asker, prompt: str, image: Image, text: str, measure: str = "probability"
) -> list[tuple[str, float]]:
    """Ask a generator for the tokens of a text with and without the picture, and return what the picture adds.

    Raises:
        RowError: it could not be scored.
        UserError: the model gives no log-probabilities of a given text.
    """
    if not hasattr(scorer.model, "score"):
        raise UserError(
            f"{scorer.name} gives no log-probabilities of a given text: name one that does as the option scorer "
            "(hf:…, vllm:… models do)."
        )
    seen, blind = await gather(scorer.score(prompt, text, image), scorer.score(prompt, text))
    return contrasts(seen, blind, measure)


def content_tokens(text: str, tokens: Sequence[str], lang: str = "und") -> list[tuple[int, bool]]:
    """Where each token begins in the text, and whether it is part of a word that says something of the picture.

    Words of closed classes say nothing (articles, prepositions, auxiliaries, pronouns, conjunctions; known of English),
    nor does punctuation. A piece of a word is what its word is.

    >>> [says for _, says in content_tokens("A dog sits, on it.", ["A", " do", "g", " sits", ",", " on", " it", "."])]
    [False, True, True, True, False, False, False, False]
    """
    english = lang.partition("-")[0] in ("en", "und")
    says = [False] * (len(text) + 1)
    for word in _WORD.finditer(text):
        if not (english and word[0].lower() in _FUNCTION):
            says[word.start() : word.end()] = [True] * (word.end() - word.start())
    found: list[tuple[int, bool]] = []
    at = 0
    for token in tokens:
        bare = token.strip()
        start = text.find(bare, at) if bare else at
        if start < 0 or start > at + 8:  # a piece of a character, or a token that the text does not show
            found.append((at, False))
            continue
        found.append((start, any(says[start : start + len(bare)])))
        at = start + len(bare)
    return found


def claim_support(
    text: str,
    claims: Sequence[Claim],
    tokens: Sequence[tuple[str, float]],
    lang: str = "und",
    *,
    content_only: bool = True,
) -> list[float]:
    """The support of each claim: the most that the picture adds to one of its tokens; 0 for words that say nothing.

    Args:
        text: the caption.
        claims: pieces of it.
        tokens: those of the caption with what the picture adds to each.
        lang: of the caption.
        content_only: weigh words of closed classes with 0 (the paper); False weighs all alike.
    """
    places = content_tokens(text, [token for token, _ in tokens], lang)
    if not content_only:
        places = [(start, any(map(str.isalnum, token))) for (start, _), (token, _) in zip(places, tokens)]
    values = [(start, value if says else 0.0) for (start, says), (_, value) in zip(places, tokens)]
    return [
        max((value for start, value in values if claim.start <= start < claim.end), default=-math.inf)
        for claim in claims
    ]


async def find_objects(detector: Asker, image: Image, names: Sequence[str]) -> dict[str, float | None]:
    """Ask a detector for things by name: the best score of each, 0 where it finds none.

    None for what a detector with a fixed list of classes (`classes`) was not made to find: that it finds none says
    nothing.

    Raises:
        RowError: the detector failed.
    """
    known = getattr(detector.model, "classes", None)
    known = None if known is None else {str(name).lower() for name in known}
    asked = [name for name in names if known is None or name.lower() in known]
    boxes = await detector.detect(image, asked) if asked else ()
    best: dict[str, float] = {}
    for box in boxes:
        best[box.name.lower()] = max(best.get(box.name.lower(), 0.0), box.score)
    return {name: best.get(name.lower(), 0.0) if name in asked else None for name in names}
