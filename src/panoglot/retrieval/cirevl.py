"""CIReVL: the reference is captioned, a language model rewrites the caption by the instruction, text finds pictures."""

from __future__ import annotations

from panoglot.asking import Models
from panoglot.errors import RowError
from panoglot.providers.roles import Prompt
from panoglot.retrieval._answers import after_prefix
from panoglot.retrieval._pictures import picture_of
from panoglot.retrieval._records import Plan, Query, Term
from panoglot.running import GeneratorName, method
from panoglot.text import same_text

__all__ = ["cirevl"]

CAPTION = "Describe this picture in one sentence: what is there, how it looks, where it is."
REWRITE = """You rewrite picture descriptions. You get what a picture shows and a change that somebody asks for, and you
describe the picture as it is after the change. Respect numbers, additions, removals, comparisons, several changes at
once, things that are spoken of directly ("make it", "he"), places, backgrounds and points of view. Leave out what is
removed: never write "without" or "no". Imagine nothing else, keep it short, describe only the result.
Answer with one line that begins with "Edited:".

Picture: a man walks a dog on a beach
Change: remove the dog and make it night
Edited: a man walks on a beach at night

Picture: two red cars in front of a house
Change: only one of them, seen from above
Edited: one red car in front of a house, seen from above

Picture: {caption}
Change: {instruction}"""


@method(verb="search", unit="query", name="cirevl", paper="CIReVL", year=2023, version=2)
async def cirevl(
    query: Query,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    llm: GeneratorName = "llm",
    caption: str = CAPTION,
    rewrite: str = REWRITE,
    picture: float = 0.0,
) -> Plan:
    """Caption the reference, have a language model rewrite the caption by the instruction, search with the text.

    Args:
        query: the query.
        m: the models.
        captioner: describes the reference; not asked without one.
        llm: rewrites.
        caption: the captioner's prompt.
        rewrite: the language model's prompt; `{caption}` and `{instruction}` are filled in.
        picture: weight of the reference itself (GeneCIS's focus on an attribute: as much as the text).
    """
    instruction = query.text.strip()
    images = [Term("image", value, picture, "reference") for value in query.images if picture]
    if not query.images:
        return Plan((Term("text", instruction, 1.0, "instruction"),), explain=("no reference",), preset="cirevl")
    explain: list[str] = []
    base = edited = problem = ""
    try:
        base = (await m[captioner].generate(Prompt(caption, (picture_of(query.images[0]),)))).text.strip()
        explain.append(f"the reference: {base}")
        if instruction and base:
            asked = rewrite.replace("{caption}", base).replace("{instruction}", instruction)
            edited = after_prefix((await m[llm].generate(Prompt(asked))).text, "Edited")
    except RowError as error:
        problem = str(error)
    if not instruction:
        text = base
    else:
        text = edited
        if not edited or same_text(edited) == same_text(base):
            problem = problem or (
                "the caption came back as it was" if edited else "no edited description in the answer"
            )
            text = instruction
    if not text:
        return Plan(
            tuple(Term("image", value, 1.0, "reference") for value in query.images),
            explain=(*explain, f"{problem or 'no caption'}: the picture itself"), fallback_used=True, preset="cirevl",
        )  # fmt: skip
    explain.append(f"{problem}: the instruction as it stands" if problem else f"after the change: {text}")
    return Plan(
        (Term("text", text, 1.0, "edited" if edited and not problem else "instruction"), *images),
        explain=tuple(explain), fallback_used=bool(problem), preset="cirevl",
    )  # fmt: skip
