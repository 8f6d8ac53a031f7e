"""The query as it stands: every text and picture is a term; an encoder that composes gets the whole."""

from __future__ import annotations

from typing import Annotated

from panoglot.asking import Models
from panoglot.identity import Added
from panoglot.retrieval._records import Plan, Query, Term
from panoglot.running import method

__all__ = ["identity", "learned", "plain_plan"]


def plain_plan(query: Query, *, preset: str = "identity", fallback: str = "") -> Plan:
    """A plan of the query's own parts; with `fallback`, why no better one could be made."""
    terms = [
        Term("text" if part.kind == "text" else "image", part.value, part.weight, "query")
        for part in query.parts
        if part.weight > 0
    ]
    if not terms:
        terms = [Term("text" if p.kind == "text" else "image", p.value, 1.0, "query") for p in query.parts]
    lines = (f"{fallback}: the query as it stands",) if fallback else ("the query as it stands",)
    return Plan(tuple(terms), explain=lines, fallback_used=bool(fallback), preset=preset)


@method(verb="search", unit="query", name="identity")
async def identity(query: Query, m: Models) -> Plan:
    """Search with the texts and pictures as they stand, without a planner."""
    return plain_plan(query)


@method(verb="search", unit="query", name="learned")
async def learned(query: Query, m: Models, *, rerank: Annotated[int, Added(0)] = 0) -> Plan:
    """Give the whole query to an encoder that composes (`encode_queries`): a trained `pano:` model, or your own.

    Args:
        query: the query.
        m: none are asked.
        rerank: so many of the best the encoder holds beside the query and puts in order, where it can
            (`match_queries`: SPRC's reranker); 0: none.
    """
    more = (f"and looks at the best {rerank} again",) if rerank else ()
    explain = ("the composer reads all parts", *more)
    return Plan((Term("query", None, 1.0, "composer"),), explain=explain, preset="learned", rerank=rerank)
