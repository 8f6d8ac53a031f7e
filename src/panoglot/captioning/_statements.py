"""What several descriptions of one thing state: together, against each other, alone (Patch Matters, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from panoglot.captioning._claims import split_claims
from panoglot.text import grams, read_json_object

__all__ = ["SORT", "SORT_SCHEMA", "Sorted", "read_sorted", "sort_statements"]

#: The question to a language model, with `{texts}`.
SORT = (
    "Below are numbered descriptions of the same thing. Sort what they state. shared: statements that at least two of "
    "them make, each once. contradictions: lists of statements that cannot be true together: the same property of the "
    "same thing with another value. unique: statements that one of them makes and no other contradicts. Every "
    "statement is a "
    'sentence of its own. Answer as JSON: {"shared": ["..."], "contradictions": [["...", "..."]], "unique": ["..."]}.'
    "\n\n{texts}"
)
#: The form of its answer.
SORT_SCHEMA = {
    "type": "object",
    "properties": {
        "shared": {"type": "array", "items": {"type": "string"}},
        "contradictions": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        "unique": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["shared", "contradictions", "unique"],
}
_COLOURS = frozenset("black white grey gray red orange yellow green blue purple violet pink brown".split())
_NUMBERS = frozenset("no one two three four five six seven eight nine ten many".split())


@dataclass
class Sorted:
    """What several descriptions of one patch state.

    Attributes:
        shared: what at least two state.
        contradictions: groups of which one at most is true.
        unique: what one states.
    """

    shared: list[str] = field(default_factory=list)
    contradictions: list[list[str]] = field(default_factory=list)
    unique: list[str] = field(default_factory=list)


def sort_statements(texts: Sequence[str], same: float = 0.6) -> Sorted:
    """Sort the sentences of some descriptions without a language model.

    Two sentences are the same when the Jaccard index of their words is at least `same`; they contradict when all that
    sets them apart is a colour or a number (English).

    >>> found = sort_statements(["A red car. A tree.", "A blue car. A tree.", "A tree."])
    >>> found.shared, found.contradictions, found.unique
    (['A tree.'], [['A red car.', 'A blue car.']], [])
    """
    groups: list[tuple[str, set[int]]] = []
    for number, text in enumerate(texts):
        for claim in split_claims(text):
            near = next((g for g in groups if _alike(g[0], claim.text, same) and not _clash(g[0], claim.text)), None)
            if near is None:
                groups.append((claim.text, {number}))
            else:
                near[1].add(number)
    found = Sorted(shared=[text for text, who in groups if len(who) > 1])
    for text, _ in (group for group in groups if len(group[1]) == 1):
        rivals = next((group for group in found.contradictions if any(_clash(text, other) for other in group)), None)
        rival = next((other for other in found.unique if _clash(text, other)), None)
        if rivals is not None:
            rivals.append(text)
        elif rival is not None:
            found.unique.remove(rival)
            found.contradictions.append([rival, text])
        else:
            found.unique.append(text)
    return found


def _alike(one: str, other: str, same: float) -> bool:
    a, b = set(grams(one)), set(grams(other))
    return len(a & b) >= same * len(a | b) if a | b else True


def _clash(one: str, other: str) -> bool:
    a, b = set(grams(one)), set(grams(other))
    apart = a ^ b
    return bool(a - b and b - a) and any(apart <= values for values in (_COLOURS, _NUMBERS)) and bool(a & b)


def read_sorted(text: str) -> Sorted | None:
    """The statements that a language model sorted; None where they are not in the form asked for."""
    try:
        found = read_json_object(text)
        shared, unique = list(map(str, found["shared"])), list(map(str, found["unique"]))
        groups = [list(map(str, group)) for group in found["contradictions"] if group]
    except (ValueError, TypeError, KeyError):
        return None
    return Sorted(
        [one.strip() for one in shared if one.strip()],
        [[one.strip() for one in group if one.strip()] for group in groups],
        [one.strip() for one in unique if one.strip()],
    )
