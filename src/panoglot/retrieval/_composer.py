"""A plan to vectors: every text and picture by an encoder, or the whole query by a learned composer.

An encoder that has `encode_queries` (a `pano:` model, or one of your own) composes; nothing here is trained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.providers import Memory, finish
from panoglot.retrieval._records import Plan, Query, Term
from panoglot.retrieval._scorer import Pack
from panoglot.vectors import unit_rows

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image

__all__ = ["answered_rows", "compose", "compose_all", "query_parts"]

#: From a picture of a query (an `Image`, a path, a name) to its stored vector, or to the picture to encode.
Resolve = Callable[[Any], Any]


def answered_rows(vectors: Any, what: str) -> np.ndarray:
    """Unit vectors float32 `[N, dim]`; several vectors an item become their mean, what has none is NaN.

    Raises:
        UserError: no vectors, all of one size.
    """
    import numpy as np

    try:
        found = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"the encoder did not answer with vectors, all of one size: {error}") from None
    if found.ndim == 3:
        found = found.mean(axis=1)
    if found.ndim != 2:
        raise UserError(f"the encoder did not answer with vectors of {what}: an array {list(found.shape)}.")
    return unit_rows(found)


def query_parts(query: Query, picture: Callable[[Any], Image]) -> list[Any]:
    """The parts of a query as `encode_queries` takes them, in order; before a product stands what is meant of it."""
    found: list[Any] = []
    for part in query.parts:
        if part.kind == "product" and part.condition:
            found.append(f"{part.condition} of ")
        found.append(part.value if part.kind == "text" else picture(part.value))
    return found


def compose(
    plan: Plan,
    query: Query,
    encoder: Any,
    resolve: Resolve,
    picture: Resolve | None = None,
    memory: Memory | None = None,
) -> tuple[Pack, Plan]:
    """Make the vectors of one plan; see `compose_all`."""
    found, plans, lost = compose_all({"": plan}, {"": query}, encoder, resolve, picture, memory)
    if lost:
        raise UserError(lost[""])
    return found[""], plans[""]


def compose_all(
    plans: Mapping[str, Plan],
    queries: Mapping[str, Query],
    encoder: Any,
    resolve: Resolve,
    picture: Resolve | None = None,
    memory: Memory | None = None,
) -> tuple[dict[str, Pack], dict[str, Plan], dict[str, str]]:
    """Make the vectors of many plans; every text and picture is encoded once.

    Args:
        plans: by query id.
        queries: by the same ids.
        encoder: of pictures and texts; what composes queries has `encode_queries`.
        resolve: a picture of a query to its stored unit vector, to the `Image` to encode, or a `RowError` of it.
        picture: the same without stored vectors, for learned composers; None takes `resolve`.
        memory: what texts were encoded lately, by the encoder's fingerprint; what is new goes there.

    Returns:
        `(packs, plans, lost)`: terms without a vector are left out and said in the plan, which is then a fallback;
        queries with none left, with the reason.
    """
    import numpy as np

    texts: dict[tuple[str, str], None] = {}
    pictures: dict[Any, Any] = {}
    for key, plan in plans.items():
        for term in plan.terms:
            if term.kind == "text":
                texts[term.value, queries[key].lang or "und"] = None
            elif term.kind == "image":
                pictures.setdefault(_key(term.value), term.value)
    said = _encode_texts(encoder, list(texts), Memory() if memory is None else memory)
    seen = _encode_pictures(encoder, pictures, resolve)
    whole = _encode_queries(encoder, plans, queries, picture or resolve)
    packs, made, lost = {}, {}, {}
    for key, plan in plans.items():

        def vector(term: Term, key: str = key) -> np.ndarray | None:
            if term.kind == "text":
                return said.get((term.value, queries[key].lang or "und"))
            if term.kind == "image":
                return seen.get(_key(term.value))
            return np.asarray(term.value, np.float32) if term.kind == "soft" else whole.get(key)

        left, rows = _usable(plan, vector)
        if left is None:
            lost[key] = f"the encoder has no vector for {_shown(plan)}."
            continue
        packs[key], made[key] = _pack(left, rows), left
    return packs, made, lost


def _usable(plan: Plan, vector: Callable[[Term], Any]) -> tuple[Plan | None, list[np.ndarray]]:
    """The plan without the terms that have no vector, and the vectors of the others in order."""
    import numpy as np

    gone: list[str] = []
    rows: list[np.ndarray] = []

    def keep(terms: Sequence[Term]) -> tuple[Term, ...]:
        kept = []
        for term in terms:
            found = vector(term)
            if found is None or not np.isfinite(found).all():
                gone.append(_said(term))
            else:
                kept.append(term)
                rows.append(found)
        return tuple(kept)

    positives, negatives = keep(plan.positives), keep(plan.negatives)
    conditions = tuple(group for group in map(keep, plan.conditions) if group)
    if not gone:
        return plan, rows
    if not positives and not conditions:
        return None, []
    notes = tuple(f"no vector for {one}: left out" for one in gone)
    return replace(
        plan, positives=positives, negatives=negatives, conditions=conditions, fallback_used=True,
        explain=(*plan.explain, *notes),
    ), rows  # fmt: skip


def _pack(plan: Plan, rows: list[np.ndarray]) -> Pack:
    import numpy as np

    names: list[str] = []
    signs: list[float] = []
    groups: list[int] = []
    counts: dict[str, int] = {}
    for sign, group, terms in (
        (1.0, -1, plan.positives),
        (-1.0, -1, plan.negatives),
        *((1.0, n, group) for n, group in enumerate(plan.conditions)),
    ):
        for term in terms:
            base = "without" if sign < 0 else f"condition {group + 1}" if group >= 0 else term.kind
            counts[base] = counts.get(base, 0) + 1
            names.append(base if counts[base] == 1 else f"{base} {counts[base]}")
            signs.append(sign * term.weight)
            groups.append(group)
    kinds = [term.kind for term in plan.terms]
    texts = np.array([kind == "text" and sign >= 0 for kind, sign in zip(kinds, signs)])
    if len({len(row) for row in rows}) > 1:
        raise UserError("the terms of the plan have vectors of different sizes: soft ones are of another encoder.")
    return Pack(np.stack(rows).astype(np.float32), np.array(signs), tuple(names), texts, np.array(groups), plan)


def _encode_texts(encoder: Any, texts: list[tuple[str, str]], memory: Memory) -> dict[tuple[str, str], np.ndarray]:
    if not texts:
        return {}
    import numpy as np

    found: dict[tuple[str, str], np.ndarray] = {}
    size = max(1, int(getattr(encoder, "batch_size", 32) or 32))
    for start in range(0, len(texts), size):
        some = texts[start : start + size]
        key = json.dumps([getattr(encoder, "fingerprint", ""), some])  # in another batch some models round otherwise
        known = memory.get(key, None)
        if known is None:
            rows = finish(encoder.encode_texts([text for text, _ in some], [lang for _, lang in some]))
            known = answered_rows(_filled(rows), "the texts")
            if np.isfinite(known).all():  # what failed is asked again
                known.setflags(write=False)
                memory.put(key, known)
        found |= dict(zip(some, known))
    return found


def _encode_pictures(encoder: Any, pictures: Mapping[Any, Any], resolve: Resolve) -> dict[Any, np.ndarray]:
    import numpy as np

    found: dict[Any, np.ndarray] = {}
    held: list[tuple[Any, Any]] = []
    size = max(1, int(getattr(encoder, "batch_size", 32) or 32))

    def settle() -> None:
        if held:
            rows = answered_rows(_filled(finish(encoder.encode_images([image for _, image in held]))), "the pictures")
            found.update(zip((key for key, _ in held), rows))
            held.clear()

    for key, value in pictures.items():
        one = resolve(value)
        if isinstance(one, RowError):
            continue
        if isinstance(one, np.ndarray):
            found[key] = answered_rows(one.reshape(1, *one.shape) if one.ndim == 2 else one[None], "the picture")[0]
            continue
        held.append((key, one))
        if len(held) >= size:
            settle()
    settle()
    return found


def _encode_queries(
    encoder: Any, plans: Mapping[str, Plan], queries: Mapping[str, Query], resolve: Resolve
) -> dict[str, np.ndarray]:
    import numpy as np

    asked = [key for key, plan in plans.items() if any(term.kind == "query" for term in plan.terms)]
    if not asked:
        return {}
    if not hasattr(encoder, "encode_queries"):
        name = getattr(encoder, "name", type(encoder).__name__)
        raise UserError(f"{name} does not compose queries: it has no encode_queries.")

    def picture(value: Any) -> Any:
        found = resolve(value)
        if isinstance(found, np.ndarray):
            raise UserError("a learned composer needs the picture itself, not its vector.")
        return found

    parts, can = [], []
    for key in asked:
        one = query_parts(queries[key], picture)
        if not any(isinstance(part, RowError) for part in one):
            parts.append(one)
            can.append(key)
    if not can:
        return {}
    return dict(zip(can, answered_rows(_filled(finish(encoder.encode_queries(parts))), "the queries")))


def _filled(rows: Any) -> Any:
    """Rows with NaN in the place of errors."""
    import numpy as np

    if not isinstance(rows, list) or not any(isinstance(row, RowError) for row in rows):
        return rows
    size = next((len(row) for row in rows if not isinstance(row, RowError)), 1)
    return [np.full(size, np.nan) if isinstance(row, RowError) else row for row in rows]


def _key(value: Any) -> Any:
    return value if isinstance(value, str) else getattr(value, "id", None) or id(value)


def _said(term: Term) -> str:
    return f"the text '{term.value}'" if term.kind == "text" else f"the {term.kind}"


def _shown(plan: Plan) -> str:
    return " and ".join(dict.fromkeys(map(_said, plan.terms)))
