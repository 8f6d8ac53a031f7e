"""`describe`: one prompt, one captioner."""

from __future__ import annotations

from panoglot.asking import Models
from panoglot.languages import canonical_language
from panoglot.pictures import Image
from panoglot.running import GeneratorName, method
from panoglot.table import Caption

__all__ = ["PROMPT", "describe"]

PROMPT = "Describe this picture in one or two plain sentences: what is there, how it looks, what happens."


@method(verb="caption")
async def describe(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    prompt: str = PROMPT,
    system: str | None = None,
    lang: str = "en",
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
        prompt: the question; `{title}`, `{alt}` and other keys of the picture's context may stand in it.
        system: the system turn.
        lang: the language that the prompt asks for; written to the caption.
        kind: `short`, `dense`, … as in the table of captions.
        max_tokens: most tokens of the answer; an answer cut there is marked with the score `cut` = 1.
        temperature: 0 is greedy.
        seed: for sampling.

    Returns:
        One caption.
    """
    text = prompt
    for key, value in image.context.items():
        text = text.replace("{" + key + "}", str(value))  # not str.format: context is data, never a template
    answer = await m[captioner].generate(
        text, image, system=system, max_tokens=max_tokens, temperature=temperature, seed=seed
    )
    scores: dict[str, float | None] = {"cut": 1.0} if answer.finish == "length" else {}
    return Caption(answer.text, lang=canonical_language(lang), kind=kind, model=m[captioner].name, scores=scores)
