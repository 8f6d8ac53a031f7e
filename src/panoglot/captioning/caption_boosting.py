"""`caption-boosting`: the captions of people blended, a free description fused in.

Visual Caption Boosting of No Detail Left Behind (TMLR 2024; arXiv 2409.03025): BlendCap and HolisticCap.
"""

from __future__ import annotations

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer
from panoglot.captioning._fusing import BY_RULE, append_sentences, fuse, language_of
from panoglot.captioning._selection import cover
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.running import GeneratorName, LanguageIdentifierName, method
from panoglot.table import Caption
from panoglot.text import grams

__all__ = ["caption_boosting"]

BLEND = (
    "Several people captioned one picture. Blend what they say into one sentence: nothing twice, nothing new. Answer "
    "with the sentence alone.\n\n{captions}"
)
DESCRIBE = "Describe the picture in detail."
FUSE = (
    "Fuse two texts about one picture into a concise description. The first is what people wrote and is right: where "
    "the second disagrees, the first wins. Add nothing. Answer with the description alone, at most {words} words.\n\n"
    "First: {blend}\n\nSecond: {description}"
)


@method(verb="caption", captions=True, about="blend the captions of people, fuse a free description in (NDLB)")
async def caption_boosting(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    llm: GeneratorName = "llm",
    human_kinds: tuple[str, ...] = ("human",),
    prompt: str = DESCRIBE,
    blend_prompt: str = BLEND,
    fuse_prompt: str = FUSE,
    words: int = 59,
    max_tokens: int = 200,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> list[Caption]:
    """Make two richer captions of what people wrote: BlendCap, and HolisticCap with a description fused in.

    Args:
        image: the picture, with its stored captions.
        m: the models.
        captioner: describes the picture freely.
        llm: blends and fuses; empty: the captions of people that say most, then the sentences that add something.
        human_kinds: kinds of captions that people wrote.
        prompt: the question to the captioner.
        blend_prompt: with `{captions}`.
        fuse_prompt: with `{blend}`, `{description}` and `{words}`.
        words: most words of HolisticCap: 59 are about the 77 tokens that CLIP's text tower reads.
        max_tokens: of an answer.
        lang: language of the results; `auto`: that of the captions.
        identifier: names it.

    Returns:
        BlendCap (`short`, `blend` = 1 among its scores) and HolisticCap (`dense`, `holistic` = 1), in this order.

    Raises:
        RowError: `no_caption`: nobody captioned it.
    """
    writer = Writer(m, lang, identifier)
    human = [c for c in image.captions if c.kind in human_kinds and c.region is None]
    if not human:
        raise RowError("no_caption", f"no stored caption of the kinds {', '.join(human_kinds)}")
    tag = language_of(human)
    chosen = [human[n].text for n in cover([set(grams(c.text)) for c in human], len(human))]
    by_rule = append_sentences(chosen[0], chosen[1:]) if chosen else human[0].text
    if len(human) == 1:
        blend, model = human[0].text, human[0].model or BY_RULE
    else:
        values = {"captions": "\n".join(f"{n}. {c.text}" for n, c in enumerate(human, 1))}
        blend, model, _ = await fuse(
            writer, llm, blend_prompt, values, by_rule, lang=tag, step="blend", max_tokens=max_tokens
        )
    first = await writer.finish(blend, parents=human, model=model, lang=tag, kind="short", scores={"blend": 1.0})
    asked = writer.draft(captioner, prompt, image, lang=tag if lang == AUTO else None, max_tokens=max_tokens)
    free = await writer.attempt("captioner", asked)
    if free is None:
        return [first]
    values = {"blend": blend, "description": free.text, "words": str(words)}
    by_rule = append_sentences(blend, [free.text])
    text, model, scores = await fuse(
        writer, llm, fuse_prompt, values, by_rule, lang=tag, words=words, max_tokens=max_tokens
    )
    flags: dict[str, float | None] = {**scores, "holistic": 1.0}
    return [first, await writer.finish(text, parents=[first, free], model=model, lang=tag, scores=flags)]
