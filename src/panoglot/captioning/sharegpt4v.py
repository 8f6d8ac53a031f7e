"""`sharegpt4v`: rich captions by instructions that fit where a picture is from.

ShareGPT4V (ECCV 2024; arXiv 2311.12793). Its instructions are not public in full: these are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, alt_text
from panoglot.captioning._guards import is_finished
from panoglot.captioning.revisit_captions import trimmed
from panoglot.errors import RowError, UserError
from panoglot.pictures import Image
from panoglot.running import GeneratorName, LanguageIdentifierName, method
from panoglot.table import Caption

__all__ = ["BASE", "GENERIC", "SOURCES", "instruction", "sharegpt4v", "swap_captions"]

BASE = (
    "Describe the picture as fully as you can in one paragraph: objects, what they are like, how many, how they "
    "relate, where they are, the style, what is known of them, how it looks."
)
GENERIC = "Describe the picture in detail."
#: What is added by source.
SOURCES = {
    "art": "It is a work of art: say what is known of the work, its style and how it is made.",
    "celebrity": "Name the person if you know who it is for certain, and say what the person is known for.",
    "landmark": "Name the landmark if you know it for certain, and say what is known of it.",
    "text": "Copy the writing in it, in its own language.",
    "web": "The text found beside it may help: {alt}",
}
_NAMELESS = "Name no person."


def instruction(
    source: str, alt: str, base: str, sources: Mapping[str, str], names: bool
) -> tuple[str, dict[str, str]]:
    """The instruction for a picture of a source, and what stands for its placeholder.

    >>> instruction("text", "", "Describe.", {"text": "Copy the writing."}, True)
    ('Describe. Copy the writing.', {})
    """
    more = "" if (source == "celebrity" and not names) else sources.get(source, "")
    if "{alt}" in more and not alt:
        more = ""
    said = " ".join(filter(None, (base, more, "" if names else _NAMELESS)))
    return said, {"alt": alt} if "{alt}" in said else {}


def swap_captions(
    records: Sequence[Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]], is_description: Any
) -> tuple[list[Mapping[str, Any]], int]:
    """Put seed captions in the place of detailed descriptions in an instruction mix, one for one, in order (use A).

    Args:
        records: of the mix; each has an `id`.
        seeds: records of seed captions; each has an `id`.
        is_description: says of a record whether it is a detailed description.

    Returns:
        As many records as before, and how many seeds were not used.

    Raises:
        UserError: an id twice, in either or both; fewer seeds than descriptions.

    >>> swap_captions([{"id": 1, "d": 1}, {"id": 2, "d": 0}], [{"id": 9}], lambda record: record["d"])
    ([{'id': 9}, {'id': 2, 'd': 0}], 0)
    """
    ids = [record["id"] for record in (*records, *seeds)]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise UserError(f"the id {twice!r} stands twice: a picture would be learnt from twice.")
    places = [n for n, record in enumerate(records) if is_description(record)]
    if len(places) > len(seeds):
        raise UserError(f"{len(places)} descriptions and only {len(seeds)} seed captions.")
    found = list(records)
    for place, seed in zip(places, seeds):
        found[place] = seed
    return found, len(seeds) - len(places)


@method(
    verb="caption",
    captions=True,
    paper="ShareGPT4V",
    year=2023,
    about="buy few rich captions, train a captioner, caption many",
)
async def sharegpt4v(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    base: str = BASE,
    sources: Mapping[str, str] = SOURCES,
    generic: bool = False,
    names: bool = True,
    max_tokens: int = 500,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> Caption:
    """Describe a picture by an instruction that fits its source.

    The paper buys 100,000 such captions of a strong model, tunes a captioner on them with one instruction for all, and
    lets that write 1.2 million: `generic: true` asks so. (It samples three beams at temperature 1 with a repetition
    penalty of 1.5, which distorts numbers and writing; here the answer is greedy.)

    Args:
        image: the picture; its context's `source` says where it is from.
        m: the models.
        captioner: a strong model, or with `generic` the one that was tuned on its captions.
        base: the instruction for all sources.
        sources: source → what is added for it; `{alt}` is the alternative text.
        generic: one instruction for all.
        names: False asks to name nobody.
        max_tokens: of the caption.
        temperature: 0 is greedy.
        top_p: sample among the likeliest tokens that make up this share.
        seed: for sampling.
        lang: language of the caption.
        identifier: names it.

    Returns:
        A `dense` caption that ends with a sentence; what the token limit cut off goes (`trimmed` = 1).

    Raises:
        RowError: the captioner failed; `unfinished_answer`: not one sentence was finished.
    """
    writer = Writer(m, lang, identifier)
    alt = alt_text(image)
    source = str(image.context.get("source") or "")
    said, values = instruction(source, alt.text if alt else "", base, sources, names)
    draft = await writer.draft(
        captioner,
        GENERIC if generic else said,
        image,
        values=values,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    writer.steps += 1
    text, flags = draft.text, dict(draft.scores)
    if "cut" in flags and not is_finished(text):
        text = trimmed(text, float("inf"))
        flags |= {"trimmed": 1.0}
        if not text:
            raise RowError("unfinished_answer", f"no sentence within {max_tokens} tokens: raise max_tokens")
    return Caption(text, draft.lang, "dense", draft.model, (), None, {**flags, **writer.scores()})
