"""`describe`: one prompt, one captioner."""

from __future__ import annotations

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO, ask_for, check_answer, sound
from panoglot.captioning._filled import filled
from panoglot.pictures import Image
from panoglot.running import GeneratorName, LanguageIdentifierName, method
from panoglot.table import Caption

__all__ = ["PROMPT", "describe"]

PROMPT = "Describe this picture in one or two plain sentences: what is there, how it looks, what happens."


@method(verb="caption", captions=True)
async def describe(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    prompt: str = PROMPT,
    system: str | None = None,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
    kind: str = "short",
    max_tokens: int = 200,
    temperature: float = 0.0,
    seed: int = 0,
) -> Caption:
    """Ask one captioner one question about each picture.

    The simplest method and the base of the others. `rank-and-fuse` asks several captioners; `evidence` needs no
    language model at all.

    Args:
        image: the picture.
        m: the models.
        captioner: a `Generator` that sees pictures.
        prompt: the question; `{title}` and other keys of the picture's context may stand in it, and what earlier steps
            wrote: `{ocr}`, `{alt}` (a kind of caption), `{evidence}` (a method).
        system: the system turn.
        lang: language of the answer: asked for, and dropped as `wrong_language` when it surely is in another; `auto`
            asks for none and names the one that comes, or that of the prompt when the answer is too short to say.
        identifier: names the language of the answer.
        kind: `short`, `dense`, … as in the table of captions.
        max_tokens: most tokens of the answer; an answer cut there is marked with the score `cut` = 1.
        temperature: 0 is greedy.
        seed: for sampling.

    Returns:
        One caption, with the probability of its language among its scores (`lid`); captions that the prompt reads are
        its parents.

    Raises:
        RowError: `not_in_picture`: the prompt reads what this picture does not have; or the answer is no caption
            (`leaked_prompt`, `endless_answer`, `no_description` …).
    """
    asked = await ask_for(prompt, lang, m, identifier)
    text, read = filled(asked, image, lang="" if lang == AUTO else lang)
    answer = await m[captioner].generate(
        text, image, system=system, max_tokens=max_tokens, temperature=temperature, seed=seed
    )
    said, flags = sound(answer.text, asked, m[captioner].name)
    tag, scores, dropped = await check_answer(said, prompt, lang, m, identifier)
    if answer.finish == "length":
        scores["cut"] = 1.0
    return Caption(said, tag, kind, m[captioner].name, read, scores={**scores, **flags}, dropped=dropped)
