"""`veclip`: what can be seen, put into the alternative text; for training on a coin flip of both.

VeCLIP (ECCV 2024; arXiv 2310.07699). Its captioning code was never released: prompts are ours.
"""

from __future__ import annotations

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, alt_text
from panoglot.captioning._fusing import BY_RULE
from panoglot.errors import RowError
from panoglot.languages import UNKNOWN_LANGUAGE, alike
from panoglot.pictures import Image
from panoglot.running import GeneratorName, LanguageIdentifierName, method
from panoglot.table import Caption

__all__ = ["veclip"]

VISUAL = (
    "What can be seen in this picture? Name the objects, what they are like and where they are, in one short sentence."
)
FUSE = (
    "Rewrite a text that was found beside a picture as one short, factual sentence. Add what can be seen; leave out "
    "what is no caption (file names, shops, prices). Change no meaning, make nothing up, give no reasons. Answer with "
    "the sentence alone.\n\nFound beside it: {alt}\nCan be seen: {visual}"
)
SIMPLE = "Write one sentence that says both: {alt} / {visual}\nAnswer with the sentence alone."


@method(
    verb="caption",
    captions=True,
    paper="VeCLIP",
    year=2023,
    about="put visual concepts into captions; train on a coin flip of both",
)
async def veclip(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    llm: GeneratorName = "llm",
    raw_kinds: tuple[str, ...] = ("alt",),
    prompt: str = VISUAL,
    fuse_prompt: str = FUSE,
    simple_prompt: str = SIMPLE,
    words: int = 50,
    max_tokens: int = 120,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> Caption:
    """Rewrite a picture's alternative text with what a captioner sees; the captioner never sees that text.

    The alternative text stays in the dataset: `panoglot train --method veclip` tosses a coin (p = 0.5) between the two
    for every picture and epoch. `capsfusion` starts from a finished caption instead.

    Args:
        image: the picture, with its stored captions.
        m: the models.
        captioner: says what can be seen.
        llm: rewrites; empty: the visual text stands for the rewritten one.
        raw_kinds: kinds of captions that are alternative texts; else the context's `alt` or `title`.
        prompt: the question to the captioner.
        fuse_prompt: with `{alt}` and `{visual}`.
        simple_prompt: asked when the answer to that one is a refusal, leaks or is in another language.
        words: most words; sentences beyond are left out.
        max_tokens: of an answer.
        lang: language of the result; `auto`: that of the visual text.
        identifier: names it.

    Returns:
        A `short` caption; its parents are the alternative and the visual text. The rewritten text, else the visual one
        (`fallback_fuser`), else the alternative one (`fallback_captioner`). `other_language` = 1: the alternative text
        is in another language than the visual one.

    Raises:
        RowError: `no_text`: the captioner failed, and there is no alternative text.
    """
    writer = Writer(m, lang, identifier)
    alt = alt_text(image, raw_kinds, lang)
    asked = writer.draft(captioner, prompt, image, kind="short", max_tokens=max_tokens, words=words)
    visual = await writer.attempt("captioner", asked)
    kept = visual or alt
    if kept is None:
        raise RowError("no_text", "the captioner failed, and there is no alternative text")
    parents = [c for c in (alt, visual) if c is not None]
    flags: dict[str, float | None] = {}
    text, model = kept.text, kept.model or BY_RULE
    if alt and visual:
        apart = UNKNOWN_LANGUAGE not in (alt.lang, visual.lang) and not alike(alt.lang, visual.lang)
        flags = {"other_language": 1.0} if apart else {}
        fused = await _rewritten(writer, llm, (fuse_prompt, simple_prompt), alt, visual, words, max_tokens)
        if fused is not None:
            text, model, flags = fused.text, fused.model, {**fused.scores, **flags}
    return await writer.finish(text, parents=parents, model=model, lang=kept.lang, kind="short", scores=flags)


async def _rewritten(
    writer: Writer, llm: str, prompts: tuple[str, str], alt: Caption, visual: Caption, words: int, max_tokens: int
) -> Caption | None:
    values = {"alt": alt.text, "visual": visual.text}
    lang = visual.lang if writer.lang == AUTO else None
    for prompt in prompts if llm else ():
        try:
            fused = await writer.draft(llm, prompt, values=values, lang=lang, words=words, max_tokens=max_tokens)
        except RowError:
            continue
        writer.steps += 1
        return fused
    writer.fall_back("fuser")
    return None
