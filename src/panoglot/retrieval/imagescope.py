"""ImageScope: reason in language, check propositions in the best candidates, hold the first beside the reference."""

from __future__ import annotations

from typing import Any

from panoglot.asking import Models
from panoglot.errors import RowError
from panoglot.providers.roles import Prompt
from panoglot.retrieval._answers import phrases, read_object
from panoglot.retrieval._pictures import picture_of
from panoglot.retrieval._records import Plan, Proposition, Query, Term
from panoglot.running import GeneratorName, method

__all__ = ["imagescope"]

CAPTION = "Describe this picture in one sentence: scene, objects, how many, their colours and kinds."
REASON = """A picture shows: {caption}
Somebody wants another picture: {instruction}
Step 1: take the wish apart into single instructions, each with its type: Addition, Removal, Modification, Comparison or
Retention, and the thing that it is about.
Step 2: write {count} of the wanted picture, each richer than the one before: the heart of the wish; with the
looks of the old picture that it needs; with all else that is relevant. Only what is seen.
Answer as JSON: {"step1": [["Addition", "text"]], "step2": ["text"]}"""
CHECK = """Somebody wants a picture: {instruction}
Taken apart: {items}
Write yes/no questions with which a candidate can be checked by looking at it alone, and the answer that the wanted
picture gives. Nothing about changes ("more than before"): the candidate is seen alone.
Answer as JSON: {"step2": [["question?", "True"]]}"""
#: What stands for a reference that is not there.
_BLANK = "A blank image."
#: Questions of these cannot be answered from the candidate alone.
_COMPARING = ("than before", "than the original", "than the reference", "changed", "still ")


@method(verb="search", unit="query", name="imagescope", paper="ImageScope", year=2025, version=2)
async def imagescope(
    query: Query,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    llm: GeneratorName = "llm",
    descriptions: int = 3,
    tau: float = 0.15,
    verify: int = 20,
    judge: int = 3,
    caption: str = CAPTION,
    reason: str = REASON,
    check: str = CHECK,
) -> Plan:
    """Reason in language over caption and instruction, check the best candidates, compare the first with the reference.

    Args:
        query: the query; of a dialogue the last turn is the instruction, what the round before came to the reference.
        m: the models.
        captioner: describes the reference; not asked without one.
        llm: reasons, and writes the questions.
        descriptions: target descriptions of growing detail (a dialogue: one).
        tau: share of the gallery's captions in the score.
        verify: candidates that are checked, 0 for none (stage 2).
        judge: candidates that are held beside the reference, 0 for none (stage 3).
        caption: the captioner's prompt.
        reason: prompt of stage 1; `{caption}`, `{instruction}`, `{count}` are filled in.
        check: prompt of stage 2; `{instruction}`, `{items}` are filled in.
    """
    turns = [part.value for part in query.parts if part.role == "dialogue_turn"]
    instruction = (turns[-1] if turns else query.text).strip() or "the same image"
    said, problem = (_BLANK, "") if not query.images else await _caption(m, captioner, caption, query)
    many = 1 if turns else descriptions
    reason = reason.replace("{count}", "one description" if many == 1 else f"{many} descriptions")
    for before in turns[:-1]:  # these rounds were asked when they were searched, and are remembered
        _, texts, _ = await _reasoned(m, llm, reason, said, before, many)
        said = texts[0] if texts else f"{said} {before}"
    items, texts, lost = await _reasoned(m, llm, reason, said, instruction, many)
    problem = problem or lost
    if not texts:
        problem = problem or "no description in the answer"
        texts = [instruction if said == _BLANK else said]
    explain = [f"the reference: {said}"] if query.images else []
    explain += [f"{kind}: {text}" for kind, text in items] + [f"target: {text}" for text in texts]
    propositions: list[Proposition] = []
    if verify:
        listed = "; ".join(f"{kind}: {text}" for kind, text in items)
        asked = check.replace("{items}", listed).replace("{instruction}", instruction)
        answer, lost = await _object(m, llm, asked)
        pairs = [(q, a) for q, a in _pairs(answer.get("step2")) if not any(word in q.lower() for word in _COMPARING)]
        propositions = [Proposition(q, a.strip().lower() in ("true", "yes")) for q, a in pairs]
        explain += [f"check: {one.question} {'yes' if one.expected else 'no'}" for one in propositions]
        if lost:
            explain.append(f"{lost}: nothing is checked")
            problem = problem or lost
    if problem:
        explain.append(f"{problem}: a simpler rule took its place")
    return Plan(
        tuple(Term("text", text, 1 / len(texts), "description") for text in texts),
        propositions=tuple(propositions), explain=tuple(explain), fallback_used=bool(problem), preset="imagescope",
        tau=tau, verify=verify if propositions else 0, judge=judge if query.images else 0,
    )  # fmt: skip


async def _caption(m: Models, captioner: str, prompt: str, query: Query) -> tuple[str, str]:
    try:
        text = (await m[captioner].generate(Prompt(prompt, (picture_of(query.images[0]),)))).text.strip()
    except RowError as error:
        return _BLANK, str(error)
    return (text, "") if text else (_BLANK, "no caption")


async def _reasoned(
    m: Models, llm: str, reason: str, said: str, instruction: str, many: int
) -> tuple[list[tuple[str, str]], list[str], str]:
    """Stage 1: the wish taken apart, descriptions of what is wanted, and why there are none."""
    found, lost = await _object(m, llm, reason.replace("{caption}", said).replace("{instruction}", instruction))
    listed = found.get("step2")
    texts = phrases(listed if isinstance(listed, list) else [], many)
    return _pairs(found.get("step1")) or [("Modification", instruction)], texts, lost


async def _object(m: Models, llm: str, prompt: str) -> tuple[dict[str, Any], str]:
    try:
        found = read_object((await m[llm].generate(Prompt(prompt, max_tokens=2048))).text)
    except RowError as error:
        return {}, str(error)
    return found, "" if found else "no JSON in the answer"


def _pairs(value: Any) -> list[tuple[str, str]]:
    """The pairs of a list; what is not one is left out."""
    if not isinstance(value, list):
        return []
    return [
        (str(one[0]), str(one[1])) for one in value if isinstance(one, list) and len(one) == 2 and str(one[0]).strip()
    ]
