"""CoTMR: a model that sees reasons at two scales, the whole picture and its objects; wanted and unwanted are scored."""

from __future__ import annotations

import re
from typing import Annotated, Any

from panoglot.asking import Asker, Models
from panoglot.errors import RowError
from panoglot.identity import Added
from panoglot.providers.roles import Prompt
from panoglot.retrieval._answers import phrases, read_object
from panoglot.retrieval._pictures import picture_of
from panoglot.retrieval._records import Plan, Query, Term
from panoglot.running import GeneratorName, method

__all__ = ["cotmr", "without_overlap"]

IMAGE = """Somebody shows this picture and wants another one: "{instruction}"
Work in steps. A: describe what matters of this picture for the wish. B: say what is added, removed, changed, kept.
C: apply each change to the description. D: write one short caption of the wanted picture: what is seen in it, and
nothing about this picture or about what is not there.
Answer as JSON: {"steps": [texts of A to C], "target_caption": "text of D"}"""
OBJECTS = """Somebody shows this picture and wants another one: "{instruction}"
Work in steps. A: list the main objects of this picture with their looks. B: say of each whether it is kept, changed or
removed. C: list what is new. D: list what must be seen in the wanted picture, and what must not.
Each a short phrase that can be understood alone, one to {most} of them; what was only in the background is not needed.
Answer as JSON: {"steps": [texts of A to C], "existent": [phrases], "nonexistent": [phrases]}"""


def without_overlap(unwanted: list[str], wanted: list[str]) -> list[str]:
    """Leave out what is part of something wanted: `dog` beside `black dog` would punish what is looked for.

    >>> without_overlap(["dog", "a cat"], ["a black dog"])
    ['a cat']
    """

    def words(text: str) -> set[str]:
        return set(re.findall(r"\w+", text.casefold())) - {"a", "an", "the"}

    return [one for one in unwanted if not any(words(one) and words(one) <= words(other) for other in wanted)]


async def _asked(model: Asker, prompt: str, instruction: str, most: int, seen: list[Any]) -> tuple[dict[str, Any], str]:
    """The object that the model answered with, and why there is none."""
    filled = prompt.replace("{most}", str(most)).replace("{instruction}", instruction)
    try:
        answer = await model.generate(Prompt(filled, tuple(seen), max_tokens=768))
    except RowError as error:
        return {}, str(error)
    found = read_object(answer.text)
    return found, "" if found else "no JSON in the answer"


@method(verb="search", unit="query", name="cotmr", paper="CoTMR", year=2025)
async def cotmr(
    query: Query,
    m: Models,
    *,
    lvlm: GeneratorName = "lvlm",
    image_prompt: str = IMAGE,
    object_prompt: str = OBJECTS,
    wanted: float = 0.5,
    unwanted: float = 0.2,
    picture: float = 0.0,
    most: int = 5,
    normalise: Annotated[bool, Added(False)] = False,
) -> Plan:
    """Have a model that sees reason about the whole and about objects; score caption, wanted and unwanted objects.

    Args:
        query: the query.
        m: the models.
        lvlm: sees the reference and reads the instruction.
        image_prompt: asks for the target caption; `{instruction}` is filled in.
        object_prompt: asks for the objects; `{most}` too.
        wanted: weight of all objects that must be seen, together.
        unwanted: weight of those that must not.
        picture: weight of the reference itself, for wishes that keep it.
        most: most objects of each kind.
        normalise: bring each term's scores to mean 0 and deviation 1 over the gallery before they are joined.
    """
    instruction = query.text.strip() or "the same picture"
    seen = [picture_of(value) for value in query.images]
    whole, lost = await _asked(m[lvlm], image_prompt, instruction, most, seen)
    objects, lost_objects = await _asked(m[lvlm], object_prompt, instruction, most, seen)
    caption = str(whole.get("target_caption") or "").strip()
    explain = [str(step) for step in phrases(whole.get("steps"), 20)]
    must = phrases(objects.get("existent", objects.get("existent_objects")), most)
    never = phrases(objects.get("nonexistent", objects.get("nonexistent_objects")), most)
    never = without_overlap(never, [*must, caption])
    if caption:
        explain.append(f"target: {caption}")
    else:
        explain.append(f"{lost or 'no target caption in the answer'}: the instruction as it stands")
    if lost_objects:
        explain.append(f"{lost_objects}: no objects")
    positives = [Term("text", caption or instruction, 1.0, "target" if caption else "instruction")]
    if wanted:
        positives += [Term("text", one, wanted / len(must), "existent") for one in must]
    if picture:
        positives += [Term("image", value, picture, "reference") for value in query.images]
    negatives = [Term("text", one, unwanted / len(never), "nonexistent") for one in never] if unwanted else []
    return Plan(
        tuple(positives), tuple(negatives), explain=tuple(explain),
        fallback_used=not caption or bool(lost_objects), preset="cotmr",
        normalise=normalise,
    )  # fmt: skip
