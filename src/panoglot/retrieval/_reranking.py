"""The best of a search beside the whole query, by the encoder that composed it (SPRC's second stage)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.retrieval._composer import query_parts
from panoglot.retrieval._records import Query

__all__ = ["can_rerank", "not_reranked", "reranked"]

_NO_RERANKER = "not reranked: it takes a picture and a text, and an encoder that was trained to: panoglot train sprc."


def can_rerank(encoder: Any, query: Query) -> bool:
    """Whether an encoder can hold pictures beside this query, and what it said of held-out ones was no worse."""
    can = hasattr(encoder, "match_queries") and bool(getattr(encoder, "matches", True))
    return can and not getattr(encoder, "doubt", "") and bool(query.images) and bool(query.text.strip())


def not_reranked(encoder: Any) -> str:
    """Why an encoder that `can_rerank` says no of leaves the order as it is."""
    doubt = getattr(encoder, "doubt", "")
    return f"not reranked: {doubt}. The order is that of the search." if doubt else _NO_RERANKER


def reranked(
    encoder: Any,
    queries: Mapping[str, Query],
    ranked: Mapping[str, Sequence[str]],
    depths: Mapping[str, int],
    picture: Callable[[Any], Image],
) -> dict[str, list[str]]:
    """Put the first of every query in order of how sure the encoder is that they answer it; all others stay.

    Args:
        encoder: has `match_queries`.
        queries: with a picture and a text.
        ranked: ids by query, best first.
        depths: how many of each.
        picture: of a candidate or of a query; those that cannot be read stay behind the others that are looked at.
    """
    found: dict[str, list[str]] = {}
    for name, ids in ranked.items():
        first = list(ids[: depths[name]])
        values: dict[str, float] = {}
        try:
            parts = query_parts(queries[name], picture)
        except RowError:
            found[name] = list(ids)
            continue
        candidates: dict[str, Image] = {}
        for key in first:
            try:
                candidates[key] = picture(key)
            except RowError:
                continue
        told = encoder.match_queries([parts] * len(candidates), list(candidates.values()))
        values = {key: value for key, value in zip(candidates, told, strict=True) if value is not None}
        found[name] = [*sorted(first, key=lambda key: -values.get(key, -1.0)), *ids[depths[name] :]]
    return found
