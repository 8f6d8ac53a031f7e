"""The best candidates, looked at: propositions checked one by one, and the first that passes beside the reference.

Both only reorder the candidates that they see. Source: ImageScope (2025), stages 2 and 3; three things differ from the
published code: an answer is read as a word ("eyes" is no yes), the order is by names, and short lists are taken whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from panoglot.asking import Asker
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.providers.roles import Prompt
from panoglot.retrieval._answers import said_yes
from panoglot.retrieval._records import Proposition

__all__ = ["ACCEPT", "accept_first", "side_by_side", "verify"]

QUESTION = "{question} Answer yes or no."
ACCEPT = """Left: a picture that somebody has. Right: a candidate. They asked: {instruction}
This may be a change of the left picture, or say directly what they want. Does the candidate fit?
Begin with "ANSWER: Yes" or "ANSWER: No", then say why."""
_SIDE, _LINE, _HEAD = 800, 8, 40


async def verify(
    ids: Sequence[str],
    propositions: Sequence[Proposition],
    verifier: Asker,
    load: Callable[[str], Image],
    k: int,
) -> tuple[list[str], dict[str, list[bool]], int]:
    """Put the first `k` in order of how many propositions each fulfils; equal ones, and all others, stay.

    Returns:
        `(ids, verdicts, failed)`: for each candidate, whether each proposition holds; questions without an answer,
        which count as not fulfilled.
    """
    failed = 0

    async def one(picture: Image, what: Proposition) -> bool:
        nonlocal failed
        try:
            prompt = Prompt(QUESTION.replace("{question}", what.question), (picture,), max_tokens=256)
            return said_yes((await verifier.generate(prompt)).text) == what.expected
        except RowError:
            failed += 1
            return False

    async def each(key: str) -> list[bool]:
        nonlocal failed
        try:
            picture = load(key)
        except RowError:
            failed += len(propositions)
            return [False] * len(propositions)
        return await asyncio.gather(*(one(picture, what) for what in propositions))

    first = list(ids[:k])
    verdicts = dict(zip(first, await asyncio.gather(*map(each, first))))
    return [*sorted(first, key=lambda key: -sum(verdicts[key])), *ids[k:]], verdicts, failed


async def accept_first(
    reference: Image,
    instruction: str,
    ids: Sequence[str],
    evaluator: Asker,
    load: Callable[[str], Image],
    k: int,
) -> tuple[list[str], str | None]:
    """Walk down the first `k`; the first that the evaluator accepts comes to the front.

    Returns:
        `(ids, accepted)`.
    """
    text = ACCEPT.replace("{instruction}", instruction.strip().lower() or "the same image")
    for key in ids[:k]:
        try:
            prompt = Prompt(text, (side_by_side(reference, load(key)),), max_tokens=128)
            yes = said_yes((await evaluator.generate(prompt)).text)
        except RowError:
            continue
        if yes:
            return [key, *(other for other in ids if other != key)], key
    return list(ids), None


def side_by_side(left: Image, right: Image) -> Any:
    """Two pictures in one, of equal size under their names, a line between them.

    Raises:
        RowError: one cannot be read.
    """
    import PIL.Image
    import PIL.ImageDraw

    both = PIL.Image.new("RGB", (2 * _SIDE + _LINE, _SIDE + _HEAD), "white")
    draw = PIL.ImageDraw.Draw(both)
    for n, (picture, name) in enumerate(((left, "Left: reference"), (right, "Right: candidate"))):
        both.paste(picture.pil().convert("RGB").resize((_SIDE, _SIDE)), (n * (_SIDE + _LINE), _HEAD))
        draw.text((n * (_SIDE + _LINE) + 8, 6), name, "black", font_size=_HEAD - 12)
    draw.rectangle((_SIDE, 0, _SIDE + _LINE - 1, _SIDE + _HEAD), "black")
    return Image.from_pil(both)
