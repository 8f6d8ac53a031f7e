"""`revisit-captions`: four formats of one picture's caption, by length, for the mix that a model wants.

Revisit Large-Scale Image-Caption Data (ICLR 2025; arXiv 2410.02740). Its captioner and prompts are not public.
"""

from __future__ import annotations

import math
from asyncio import gather
from dataclasses import dataclass

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, alt_text
from panoglot.captioning._claims import assertions, join_sentences
from panoglot.captioning._fusing import add_names, fuse
from panoglot.captioning._guards import is_finished
from panoglot.checks import check_option
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.running import GeneratorName, LanguageIdentifierName, ParserName, method
from panoglot.table import Caption
from panoglot.text import split_sentences, word_count

__all__ = ["FORMATS", "Format", "count_tokens", "format_of", "revisit_captions", "trimmed"]

FUSE = (
    "Rewrite the description of a picture so that it also says the names and facts of the text that came with the "
    "picture, where they fit what the description says. Add nothing else. Answer with the description alone.\n\n"
    "Text: {alt}\n\nDescription: {description}"
)


@dataclass(frozen=True, slots=True)
class Format:
    """A format: how it is asked for, and the window of tokens that it must lie in, both ends inside.

    Attributes:
        ask: the instruction.
        least: least tokens.
        most: most tokens.
    """

    ask: str
    least: int
    most: float


#: Short, descriptive (never above CLIP's 77 + 1 tokens) and dense synthetic captions. `afc`, the alternative text fused
#: into the descriptive one, has no window of its own.
FORMATS = {
    "ssc": Format("Describe the picture in one short sentence of about ten words.", 5, 20),
    "dsc": Format("Describe the picture in two or three sentences, about forty words in all.", 30, 78),
    "dsc+": Format("Describe everything in the picture in detail, in at least a hundred words.", 100, math.inf),
}


def count_tokens(text: str) -> int:
    """Tokens of a text, about: 1.3 a word (letters of scripts without spaces count as the part of a word they are).

    >>> count_tokens("a brown dog runs on the sand and barks at it"), count_tokens("一只狗在海滩上奔跑")
    (14, 8)
    """
    return round(1.3 * word_count(text))


def format_of(tokens: int) -> str | None:
    """The format whose window a text lies in, whatever it was asked as; None between the windows.

    >>> [format_of(n) for n in (12, 78, 79, 100, 25)]
    ['ssc', 'dsc', None, 'dsc+', None]
    """
    return next((name for name, form in FORMATS.items() if form.least <= tokens <= form.most), None)


def trimmed(text: str, most: float) -> str:
    """As many whole, finished sentences from the beginning as lie within `most` tokens.

    >>> trimmed("A dog runs. It barks at", 50), trimmed("A dog runs. A cat sits.", 5)
    ('A dog runs.', 'A dog runs.')
    """
    kept: list[str] = []
    for sentence in split_sentences(text):
        if not is_finished(sentence) or count_tokens(join_sentences([*kept, sentence])) > most:
            break
        kept.append(sentence)
    return join_sentences(kept)


@method(
    verb="caption",
    captions=True,
    paper="Revisit Large-Scale Image-Caption Data",
    year=2024,
    about="four formats from one captioner",
)
async def revisit_captions(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    llm: GeneratorName = "llm",
    parser: ParserName = "embedded:parser",
    formats: tuple[str, ...] = ("ssc", "dsc", "dsc+", "afc"),
    fuse_prompt: str = FUSE,
    retries: int = 2,
    max_tokens: int = 512,
    seed: int = 0,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> list[Caption]:
    """Write a short, a descriptive and a dense caption, and one fused with the alternative text.

    Length is judged by tokens, not by what was asked: what lies outside of its window is asked for again with another
    seed, then trimmed at the end of a sentence, else left out and counted.

    Args:
        image: the picture, with its stored captions.
        m: the models.
        captioner: writes the formats.
        llm: fuses the alternative text into the descriptive caption; empty: names are set beside it.
        parser: counts assertions (English).
        formats: which of `ssc`, `dsc`, `dsc+`, `afc`.
        fuse_prompt: with `{alt}` and `{description}`.
        retries: how often a format is asked for again.
        max_tokens: of an answer.
        seed: of the first try; the next ones have the next seeds, at temperature 0.7.
        lang: language of the captions.
        identifier: names it.

    Returns:
        A caption for each format, `short` for `ssc` and `dense` for the others, with the format's name as a score of 1,
        `tokens`, and `assertions`, its richness. Without alternative text `afc` is the descriptive caption.

    Raises:
        RowError: `no_format`: no answer fits its window.
    """
    for name in formats:
        check_option("formats", name, (*FORMATS, "afc"))
    writer = Writer(m, lang, identifier)
    wanted = [name for name in FORMATS if name in formats or (name == "dsc" and "afc" in formats)]
    found = dict(
        zip(wanted, await gather(*(_written(image, writer, captioner, n, retries, max_tokens, seed) for n in wanted)))
    )
    made = {name: caption for name, caption in found.items() if caption is not None}
    if "afc" in formats and (descriptive := made.get("dsc")) is not None:
        made["afc"] = await _fused(image, writer, llm, fuse_prompt, descriptive, max_tokens)
    if not made or not any(name in formats for name in made):
        raise RowError("no_format", f"no answer of {writer.m[captioner].name} fits the windows of {', '.join(formats)}")
    captions: list[Caption] = []
    for name, caption in made.items():
        graph = await writer.attempt("parser", m[parser].parse(caption.text, caption.lang))
        caption.scores |= {name: 1.0, "tokens": float(count_tokens(caption.text))}
        caption.scores["assertions"] = float(assertions(graph)) if graph else None
        if name in formats:
            captions.append(caption)
    for caption in captions:
        caption.scores |= writer.scores()
    return captions


async def _written(
    image: Image, writer: Writer, captioner: str, name: str, retries: int, max_tokens: int, seed: int
) -> Caption | None:
    """A caption inside of its window, perhaps trimmed; None where no answer can be made to fit."""
    form, last = FORMATS[name], None
    kind = "short" if name == "ssc" else "dense"
    for n in range(retries + 1):
        heat = 0.7 if n else 0.0
        asked = writer.draft(
            captioner, form.ask, image, kind=kind, max_tokens=max_tokens, seed=seed + n, temperature=heat
        )
        draft = await writer.attempt("captioner", asked)
        if draft is None:
            continue
        tokens = count_tokens(draft.text)
        if form.least <= tokens <= form.most and (is_finished(draft.text) or "cut" not in draft.scores):
            return draft
        last = draft if tokens > form.most or "cut" in draft.scores else last
    if last is not None and count_tokens(short := trimmed(last.text, form.most)) >= form.least:
        last.text, last.scores["trimmed"] = short, 1.0
        return last
    writer.fall_back("window")
    return None


async def _fused(image: Image, writer: Writer, llm: str, prompt: str, descriptive: Caption, max_tokens: int) -> Caption:
    alt = alt_text(image)
    if alt is None:
        return Caption(descriptive.text, descriptive.lang, "dense", descriptive.model, (descriptive,))
    values = {"alt": alt.text, "description": descriptive.text}
    by_rule = add_names(alt.text, descriptive.text)
    text, model, scores = await fuse(writer, llm, prompt, values, by_rule, lang=descriptive.lang, max_tokens=max_tokens)
    parents = tuple(c for c in (alt, descriptive))
    return Caption(text, descriptive.lang, "dense", model, parents, None, dict(scores))
