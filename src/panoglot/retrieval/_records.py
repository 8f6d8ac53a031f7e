"""What is asked and what is looked for: a query of ordered parts, and the plan that a planner makes of it.

Both are JSON in and out. A plan is the whole answer of the planner: edited and given back, it is searched as it stands,
and no planner is asked again.

>>> plan = Plan(positives=(Term("text", "a red bird"),), negatives=(Term("text", "cage", 0.2),))
>>> Plan.of(plan.plain()) == plan
True
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from panoglot.errors import UserError, did_you_mean

__all__ = [
    "COND_POOLS",
    "POOLS",
    "ROLES",
    "Plan",
    "Proposition",
    "Query",
    "QueryPart",
    "Term",
    "product_part",
    "read_plan",
]

#: What a part of a query is for.
ROLES = ("instruction", "reference", "condition", "dialogue_turn")
#: How the views of a picture become one number.
POOLS = ("max", "mean", "topk_mean", "soft")
#: How the groups of conditions become one number.
COND_POOLS = ("mean", "min", "product")
_KINDS = {"text": "instruction", "image": "reference", "product": "condition"}
#: Kinds of terms: a text, a picture, a vector that stands there, the whole query in one (learned composers).
_TERMS = ("text", "image", "soft", "query")
#: Longest text of a query or plan, in characters.
LONGEST = 10_000


@dataclass(frozen=True)
class QueryPart:
    """One part of a query.

    Attributes:
        kind: `text`, `image`, or `product` (an example that gives one attribute).
        value: the text; the picture: an `Image`, a path, or an image of the dataset.
        role: one of `ROLES`; by kind without it.
        condition: which attribute of a product is meant (`colour`).
        weight: how much it counts.
    """

    kind: str
    value: Any
    role: str = ""
    condition: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise UserError(f"no part of a query is a '{self.kind}'.{did_you_mean(self.kind, _KINDS)}")
        if not self.role:
            object.__setattr__(self, "role", _KINDS[self.kind])
        if self.role not in ROLES:
            raise UserError(f"a part of a query has no role '{self.role}'.{did_you_mean(self.role, ROLES)}")
        _finite("weight", self.weight)
        if self.kind == "text" and (not isinstance(self.value, str) or not self.value.strip()):
            raise UserError("the text to search for is empty.")
        if self.kind == "text" and len(self.value) > LONGEST:
            raise UserError(f"the text to search for has {len(self.value):,} characters; {LONGEST:,} are read.")

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold; a picture is named by its id or path."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "value": _named(self.value)}


@dataclass(frozen=True)
class Query:
    """What is asked: ordered parts.

    Attributes:
        parts: the parts.
        id: id of the query, for rankings.
        lang: language of the texts, where it is known.
        top: how many are wanted.
        exclude: ids that are no candidates.
        subset: the only candidates, or None for all.
    """

    parts: tuple[QueryPart, ...]
    id: str = ""
    lang: str = "und"
    top: int = 10
    exclude: tuple[str, ...] = ()
    subset: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts:
            raise UserError('say what to search for: a text, an image, or both: panoglot search X.pano "a red bird".')
        if self.top < 1:
            raise UserError(f"k={self.top} must be at least 1.")

    @property
    def text(self) -> str:
        """The texts, joined."""
        return " ".join(part.value for part in self.parts if part.kind == "text")

    @property
    def images(self) -> tuple[Any, ...]:
        """The reference pictures, in order."""
        return tuple(part.value for part in self.parts if part.role == "reference")

    @property
    def products(self) -> tuple[QueryPart, ...]:
        """The examples that give one attribute each."""
        return tuple(part for part in self.parts if part.kind == "product")

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**found, "parts": [part.plain() for part in self.parts]}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Query:
        """Read what `plain` wrote.

        Raises:
            UserError: not a query.
        """
        known = {f.name for f in fields(cls)}
        _known("a query", data, known)
        parts = data.get("parts")
        if not isinstance(parts, Sequence) or isinstance(parts, str) or not all(isinstance(p, Mapping) for p in parts):
            raise UserError("a query is an object with a list of parts: {kind, value, role, condition, weight}.")
        for part in parts:
            _known("a part of a query", part, {f.name for f in fields(QueryPart)})
            if "kind" not in part or "value" not in part:
                raise UserError("a part of a query has a kind and a value.")
        rest = {key: value for key, value in data.items() if key != "parts"}
        rest["exclude"] = tuple(rest.get("exclude") or ())
        if rest.get("subset") is not None:
            rest["subset"] = tuple(rest["subset"])
        return cls(tuple(QueryPart(**part) for part in parts), **rest)


@dataclass(frozen=True)
class Term:
    """One vector that pictures are compared with.

    Attributes:
        kind: `text`, `image`, `soft` (a vector that stands in the plan), `query` (all parts at once, by a learned
            composer).
        value: the text, the picture, the numbers; None for a query.
        weight: how much it counts, 0 or more.
        source: which step of the planner wrote it.
    """

    kind: str
    value: Any = None
    weight: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _TERMS:
            raise UserError(f"no term of a plan is a '{self.kind}'.{did_you_mean(self.kind, _TERMS)}")
        _finite("weight", self.weight)
        if self.weight < 0:
            raise UserError(f"weight={self.weight} must not be below 0: what shall not be seen is a negative.")
        if self.kind == "text" and (not isinstance(self.value, str) or not self.value.strip()):
            raise UserError("a text of a plan is empty.")
        if self.kind == "soft":
            object.__setattr__(self, "value", tuple(float(x) for x in self.value))
        if self.kind == "image" and self.value is None:
            raise UserError("a term of kind image names no picture.")

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        value = list(self.value) if self.kind == "soft" else _named(self.value)
        return {"kind": self.kind, "value": value, "weight": self.weight, "source": self.source}


@dataclass(frozen=True)
class Proposition:
    """Something that can be checked in a candidate alone: a question, and whether its answer should be yes."""

    question: str
    expected: bool = True


@dataclass(frozen=True)
class Plan:
    """What is looked for, and by which rule candidates are scored.

    Attributes:
        positives: what shall be seen.
        negatives: what shall not.
        conditions: groups of terms; each group has a score of its own.
        propositions: what is checked in the best candidates, with a verifier.
        explain: how the planner came to it, a line a step.
        fallback_used: the planner did not answer as it should, and a simpler rule took its place.
        preset: who made it.
        tau: share of the captions' vectors in the texts' scores.
        pool: how views become one number, one of `POOLS`.
        cond_pool: how conditions become one, one of `COND_POOLS`.
        cond_weight: share of the conditions where there are other terms too.
        normalise: bring every term to mean 0 and deviation 1 over the gallery before they are weighed.
        verify: how many of the best a verifier looks at, 0 for none.
        judge: how many of the best are held beside the reference, 0 for none.
        rerank: how many of the best the encoder itself holds beside the whole query, 0 for none.
    """

    positives: tuple[Term, ...] = ()
    negatives: tuple[Term, ...] = ()
    conditions: tuple[tuple[Term, ...], ...] = ()
    propositions: tuple[Proposition, ...] = ()
    explain: tuple[str, ...] = ()
    fallback_used: bool = False
    preset: str = "identity"
    tau: float = 0.0
    pool: str = "max"
    cond_pool: str = "mean"
    cond_weight: float = 0.5
    normalise: bool = False
    verify: int = 0
    judge: int = 0
    rerank: int = 0

    def query(self, top: int = 10) -> Query:
        """What a plan that stands alone looks for, as a query.

        Raises:
            UserError: nothing but terms that were made of a query; it must be given too.
        """
        terms = [*self.positives, *(term for group in self.conditions for term in group)]
        parts = [QueryPart(term.kind, term.value) for term in terms if term.kind in ("text", "image")]
        if not parts:
            raise UserError("this plan was made of a query: give its text or picture too.")
        return Query(tuple(parts), top=top)

    def __post_init__(self) -> None:
        for name in ("positives", "negatives", "propositions", "explain"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "conditions", tuple(map(tuple, self.conditions)))
        if not self.positives and not any(self.conditions):
            raise UserError("a plan has nothing to look for: give it a positive, or a condition.")
        for name, known in (("pool", POOLS), ("cond_pool", COND_POOLS)):
            if getattr(self, name) not in known:
                raise UserError(f"{name}='{getattr(self, name)}'.{did_you_mean(str(getattr(self, name)), known)}")
        for name in ("tau", "cond_weight"):
            _finite(name, getattr(self, name))
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)} must be between 0 and 1.")
        for name in ("verify", "judge", "rerank"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 0:
                raise UserError(f"{name}={getattr(self, name)} must be a whole number, 0 or more.")

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms: positives, negatives, those of the conditions."""
        return (*self.positives, *self.negatives, *(term for group in self.conditions for term in group))

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **found,
            "positives": [term.plain() for term in self.positives],
            "negatives": [term.plain() for term in self.negatives],
            "conditions": [[term.plain() for term in group] for group in self.conditions],
            "propositions": [asdict(one) for one in self.propositions],
            "explain": list(self.explain),
        }

    def to_json(self) -> str:
        """Return it as JSON, to be edited and read again by `read_plan`."""
        return json.dumps(self.plain(), ensure_ascii=False, indent=1)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Plan:
        """Read what `plain` wrote.

        Raises:
            UserError: not a plan; an unknown field, with "did you mean".
        """
        if not isinstance(data, Mapping):
            raise UserError("a plan is one JSON object; panoglot search … --explain --json prints one.")
        _known("a plan", data, {f.name for f in fields(cls)})
        given = dict(data)
        for name in ("positives", "negatives"):
            given[name] = tuple(_term(one) for one in _list(data, name))
        given["conditions"] = tuple(
            tuple(map(_term, _items("conditions", group))) for group in _list(data, "conditions")
        )
        given["propositions"] = tuple(
            Proposition(str(one["question"]), bool(one.get("expected", True)))
            for one in _list(data, "propositions")
            if isinstance(one, Mapping) and one.get("question")
        )
        given["explain"] = tuple(map(str, _list(data, "explain")))
        return cls(**given)


def read_plan(path: str | os.PathLike[str] | Mapping[str, Any] | Plan) -> Plan:
    """Read a plan: itself, its plain form, or a file of it.

    Raises:
        UserError: no such file, no JSON, no plan.
    """
    if isinstance(path, Plan):
        return path
    if isinstance(path, Mapping):
        return Plan.of(path)
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the plan {path} cannot be read ({error.strerror or error}).") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"the plan {path} is no JSON ({error}).") from None
    return Plan.of(data)


def _term(data: Any) -> Term:
    if isinstance(data, str):
        return Term("text", data)
    if not isinstance(data, Mapping):
        raise UserError("a term of a plan is a text, or an object: {kind, value, weight, source}.")
    _known("a term of a plan", data, {f.name for f in fields(Term)})
    given = {"kind": "text", **data}
    if given["kind"] == "soft" and not isinstance(given.get("value"), Sequence):
        raise UserError("a soft term of a plan holds its numbers.")
    return Term(**given)


def _items(name: str, value: Any) -> list[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise UserError(f"{name} of a plan must be a list.")
    return list(value)


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    return _items(name, data.get(name) or [])


def _known(what: str, data: Mapping[str, Any], known: set[str]) -> None:
    for key in data:
        if key not in known:
            raise UserError(f"{what} has no field '{key}'.{did_you_mean(str(key), known)}")


def _finite(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{name}={value!r} must be a number.")


def _named(value: Any) -> Any:
    """A picture by its id or path."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(getattr(value, "id", "") or "(picture)")


def product_part(given: Any) -> QueryPart:
    """`a.jpg:colour` as a product of a query."""
    if isinstance(given, QueryPart):
        return given
    if not isinstance(given, str):
        return QueryPart("product", given)
    path, colon, condition = given.rpartition(":")
    if not colon or os.path.exists(given):
        return QueryPart("product", given)
    return QueryPart("product", path, condition=condition)
