"""Queries of several parts a batch at a time: their vectors, and how sure a model is that pictures answer them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.networks._views import shown_of
from panoglot.providers._batches import chunks

if TYPE_CHECKING:
    import numpy as np

    from panoglot.networks._model import Model
    from panoglot.pictures import Image

__all__ = ["doubt_of", "encode_many", "match_pairs"]


def doubt_of(run: Path) -> str:
    """Say why a run's order of the best is worse than the search's own, as its held-out queries told; empty: it is not.

    Args:
        run: the folder, whose `figures.json` has `first@1` and `reranked@1` where the run has a reranker.
    """
    try:
        told = json.loads((run / "figures.json").read_text(encoding="utf-8"))["queries"]
        before, after = (float(told[name][0]) for name in ("first@1", "reranked@1"))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return ""
    return (
        f"on its held-out queries {after:.2f} came first by its order, {before:.2f} without" if after < before else ""
    )


def encode_many(
    queries: Sequence[Sequence[Any]], row: Any, dim: int, batch_size: int, join: Callable[..., np.ndarray]
) -> np.ndarray:
    """Encode queries of any number of texts and pictures in their order: unit rows `[N, dim]`.

    A query without any part, or with a picture that cannot be decoded, is a NaN row.

    Args:
        queries: lists of texts and pictures.
        row: whose model it is.
        dim: of the vectors.
        batch_size: queries at a time.
        join: from what one model makes of a batch to the vectors of all.

    Raises:
        UserError: a part is of another kind; pictures that do not fit into the tower's length.
    """
    from panoglot.providers._batches import encode_rows

    def read(query: Sequence[Any]) -> Any:
        if any(not isinstance(part, str) and not hasattr(part, "data") for part in query):
            raise UserError("a query is a list of texts and pictures.")
        parts = [part for part in query if not isinstance(part, str) or part.strip()]
        try:
            shown = [part if isinstance(part, str) else shown_of(part, row) for part in parts]
        except RowError as error:
            return error
        return shown or RowError("empty_query")

    return encode_rows(
        [read(query) for query in queries],
        lambda some: join(lambda model: model.encode_interleaved(some)),
        dim,
        batch_size,
    )


def match_pairs(
    models: Sequence[Model], queries: Sequence[Any], candidates: Sequence[Image], batch_size: int
) -> list[float | None]:
    """Return for each query how sure the models are, 0..1, that its candidate answers it; None: something is missing.

    Args:
        models: of one row; of several the mean counts.
        queries: (picture, text) each, or a `RowError`.
        candidates: one a query.
        batch_size: pairs at a time.

    Raises:
        UserError: the row has no loss that matches, or the numbers differ.
    """
    import torch

    if len(queries) != len(candidates):
        raise UserError(f"{len(queries)} queries, but {len(candidates)} pictures.")
    row, good = models[0].row, list[tuple[int, Any, str, Any]]()
    squares: dict[int, Any] = {}

    def shown(picture: Image) -> Any:
        if id(picture) not in squares:
            squares[id(picture)] = shown_of(picture, row)
        return squares[id(picture)]

    for n, (query, candidate) in enumerate(zip(queries, candidates, strict=True)):
        if isinstance(query, RowError) or None in query:
            continue
        try:
            good.append((n, shown(query[0]), query[1], shown(candidate)))
        except RowError:
            continue
    found: list[float | None] = [None] * len(queries)
    for some in chunks(good, batch_size):
        at, first, texts, last = zip(*some, strict=True)
        given = torch.stack(first), list(texts), torch.stack(last)
        values = torch.stack([model.match_queries(*given).float() for model in models]).mean(0)
        for n, value in zip(at, values.tolist(), strict=True):
            found[n] = value if value == value else None
    return found
