"""Your own captioning method: ask twice, keep both drafts, and write down how much they agree.

    PYTHONPATH=examples python examples/my_method.py photos photos.pano

A method is an async function of one picture and the models. It never batches, retries, journals or saves: the runtime
does. A method that should ship with Panoglot is such a file in `src/panoglot/captioning/`, see docs/add-a-method.md.
"""

from __future__ import annotations

import sys
from asyncio import gather

import panoglot
from panoglot import Caption, Image, RowError
from panoglot.asking import Models
from panoglot.running import GeneratorName, method


@method(verb="caption", name="ask-twice")
async def ask_twice(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    questions: tuple[str, str] = ("Describe this picture.", "What would you tell a blind friend about this picture?"),
    min_agreement: float = 0.0,
) -> Caption:
    """Ask one captioner two questions and keep the longer answer.

    Args:
        image: the picture.
        m: the models.
        captioner: a `Generator` that sees pictures.
        questions: the two questions.
        min_agreement: share of common words, 0..1, below which the picture is rejected.

    Raises:
        RowError: `answers_disagree`.
    """
    answers = await gather(*(m[captioner].generate(question, image) for question in questions))
    drafts = [Caption(answer.text, lang="en", model=m[captioner].name) for answer in answers]
    words = [set(draft.text.lower().split()) for draft in drafts]
    agreement = len(words[0] & words[1]) / max(1, len(words[0] | words[1]))
    if agreement < min_agreement:
        raise RowError("answers_disagree", f"agreement {agreement:.2f}")  # this picture's reject; the run goes on
    best = max(drafts, key=lambda draft: len(draft.text))
    # parents that are not returned themselves are stored as drafts: the provenance of the caption
    return Caption(best.text, lang="en", model=best.model, parents=drafts, scores={"agreement": agreement})


if __name__ == "__main__":
    source, output = sys.argv[1:3]
    panoglot.build(source, output, method="ask-twice", captioner="python:my_captioner:local", quiet=True)
    for row in panoglot.open(output).captions.rows(["text", "scores"], "dropped is null and kind = 'short'"):
        print(row["text"], row["scores"])
