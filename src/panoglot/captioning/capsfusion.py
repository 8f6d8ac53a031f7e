"""`capsfusion`: what the web says of a picture and what a captioner says, fused into one sentence.

CapsFusion (CVPR 2024; arXiv 2310.20550).
"""

from __future__ import annotations

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, alt_text, fill, stored
from panoglot.captioning._fusing import BY_RULE, add_names, fuse, language_of
from panoglot.captioning._guards import copies, is_finished
from panoglot.captioning._support import match_score
from panoglot.captioning.describe import PROMPT as DESCRIBE
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.running import EncoderName, GeneratorName, LanguageIdentifierName, method
from panoglot.table import Caption
from panoglot.text import grams, is_spaceless, same_text, tokens

__all__ = ["capsfusion", "coverage", "cut_raw"]

PROMPT = (
    "Two texts speak of one picture. A was found beside it: it knows names, places and things, but it is badly "
    "written. B was written by a captioner: it is well written, but it lacks detail and may be wrong. Write one new "
    "sentence that says what A knows in the form of B. Do not just join the two, and do not speak of them. Answer "
    "with the sentence alone.\n\nA: {raw}\nB: {synthetic}"
)


def cut_raw(raw: str, synthetic: str, limit: int, around: int = 0) -> str:
    """Return the raw text as long as it may be, so that it, the synthetic one and what is around fit; from its end.

    The synthetic text is never cut. At the limit nothing is: the original empties the raw text there.

    Args:
        raw: the text to cut.
        synthetic: the other one.
        limit: most tokens: words, or letters of scripts without spaces.
        around: tokens of the prompt.

    >>> cut_raw("a b c d e f g h i j", "1 2 3 4 5", 12), cut_raw("a b c d e f g", "1 2 3 4 5", 12)
    ('a b c d e f g', 'a b c d e f g')
    """
    have = tokens(raw)
    room = limit - around - len(tokens(synthetic))
    if len(have) <= room:
        return raw
    return ("" if is_spaceless(raw) else " ").join(have[: max(room, 0)])


def coverage(fused: str, raw: str, synthetic: str) -> dict[str, float | None]:
    """How much of both texts a fused one keeps, and how much of it neither has (`new`, what may be made up), 0..1.

    >>> coverage("Rex on grass", "Rex", "A dog on grass")["raw_kept"]
    1.0
    """
    said, of_raw, of_synthetic = set(grams(fused)), set(grams(raw)), set(grams(synthetic))

    def share(part: set[str], whole: set[str]) -> float | None:
        return len(part) / len(whole) if whole else None

    return {
        "raw_kept": share(of_raw & said, of_raw),
        "synthetic_kept": share(of_synthetic & said, of_synthetic),
        "new": share(said - of_raw - of_synthetic, said),
    }


@method(
    verb="caption",
    captions=True,
    paper="CapsFusion",
    year=2023,
    about="fuse noisy alt text with a clean synthetic caption",
)
async def capsfusion(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "",
    llm: GeneratorName = "llm",
    scorer: EncoderName = "",
    raw_kinds: tuple[str, ...] = ("alt",),
    synthetic_kinds: tuple[str, ...] = ("short",),
    prompt: str = PROMPT,
    caption_prompt: str = DESCRIBE,
    limit: int = 256,
    max_tokens: int = 80,
    min_match: float = 0.2,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> Caption:
    """Fuse a picture's alternative text with a caption.

    The paper's fuser is a LLaMA-2-13B that learnt from a million fusions; any language model can stand in its place.
    `rank-and-fuse` fuses captions of several models, `veclip` rewrites the alternative text with what can be seen.

    Args:
        image: the picture, with its stored captions.
        m: the models.
        captioner: writes the synthetic caption where none is stored; empty: the raw text is then kept alone.
        llm: fuses; empty: names of the raw text are set beside the synthetic caption (no sentence is made of them).
        scorer: an `Encoder` that tells whether the texts fit the picture; empty: nobody looks. The paper has none, and
            welds texts about different things into one sentence.
        raw_kinds: kinds of captions that are raw text; else the context's `alt` or `title`.
        synthetic_kinds: kinds that are synthetic captions.
        prompt: with `{raw}` and `{synthetic}`.
        caption_prompt: the question to the captioner.
        limit: most tokens of prompt and texts; the raw text is cut.
        max_tokens: most tokens of the fused sentence.
        min_match: with a scorer: a text below does not belong to the picture and is left out; the better one stays.
        lang: language of the result; `auto`: that of the two texts.
        identifier: names the language of the result.

    Returns:
        One `short` caption with both texts as parents. Scores: `raw_kept`, `synthetic_kept`, `new`; and 1 where it
        applies: `raw_cut`, `raw_emptied`, `copied`, `unfinished`, `contradiction`, `fallback`.

    Raises:
        RowError: `no_text`: there is neither text.
    """
    writer = Writer(m, lang, identifier)
    raw = alt_text(image, raw_kinds, lang)
    synthetic = stored(image, synthetic_kinds, lang)
    if synthetic is None and captioner:
        asked = writer.draft(captioner, caption_prompt, image, kind="short")
        synthetic = await writer.attempt("captioner", asked)
    flags: dict[str, float | None] = {}
    if scorer and raw and synthetic:
        raw_fits, fits = [await match_score(m[scorer], image, c.text, c.lang) for c in (raw, synthetic)]
        flags |= {"raw_match": raw_fits, "synthetic_match": fits}
        if raw_fits is not None and fits is not None and min(raw_fits, fits) < min_match:
            flags["contradiction"] = 1.0
            raw, synthetic = (None, synthetic) if raw_fits <= fits else (raw, None)
    if raw and synthetic:
        around = len(tokens(fill(prompt, {"raw": "", "synthetic": ""}))) if llm else 0
        cut = cut_raw(raw.text, synthetic.text, limit, around)
        if cut != raw.text:
            flags["raw_cut" if cut else "raw_emptied"] = 1.0
        if cut and same_text(cut) != same_text(synthetic.text):
            return await _fused(writer, llm, prompt, raw, cut, synthetic, flags, max_tokens)
    kept = synthetic or raw
    if kept is None:
        raise RowError("no_text", "neither an alternative text nor a caption: name a captioner")
    text = " ".join(kept.text.split())
    return await writer.finish(
        text, parents=[kept], model=kept.model or BY_RULE, lang=kept.lang, kind="short", scores=flags
    )


async def _fused(
    writer: Writer,
    llm: str,
    prompt: str,
    raw: Caption,
    cut: str,
    synthetic: Caption,
    flags: dict[str, float | None],
    max_tokens: int,
) -> Caption:
    values = {"raw": cut, "synthetic": synthetic.text}
    tag = language_of([synthetic]) if synthetic.lang != "und" else language_of([raw])
    text, model, scores = await fuse(
        writer, llm, prompt, values, add_names(cut, synthetic.text), lang=tag, kind="short", max_tokens=max_tokens
    )
    flags = {**scores, **flags, **coverage(text, raw.text, synthetic.text)}
    flags |= {"copied": 1.0} if copies(text, cut, synthetic.text) else {}
    flags |= {} if is_finished(text) else {"unfinished": 1.0}
    return await writer.finish(
        text, parents=[raw, synthetic], model=model, lang=synthetic.lang, kind="short", scores=flags
    )
