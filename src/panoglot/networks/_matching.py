"""How sure a trained model is that pictures answer queries, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.networks._views import shown_of
from panoglot.providers._batches import chunks

if TYPE_CHECKING:
    from panoglot.networks._model import Model
    from panoglot.pictures import Image

__all__ = ["match_pairs"]


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
