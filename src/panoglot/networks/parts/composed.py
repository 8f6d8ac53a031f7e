"""Queries of a picture and a text together, against the pictures that answer them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from panoglot.errors import UserError
from panoglot.networks._contrast import ContrastOptions
from panoglot.networks._pool import pooled_contrast
from panoglot.networks._records import Batch, Term
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.towers import Scale

__all__ = ["ComposedPart"]


class ComposedPart(Part):
    """Contrast both ways of composed queries and the pictures that answer them.

    Args:
        widths: of the model.
        scale: of `Scale`.

    Source: CoLLM arXiv 2503.19910, the composed loss of stage 2.
    """

    needs, reads, gives = ("composer",), ("picture", "text", "others"), ("encode", "compose")
    across = "own"

    def __init__(self, widths: Widths, scale: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.scale = Scale(**(scale or {}))
        self.pool: Any = None

    def in_processes(self, name: str, processes: Any, batch: int) -> None:
        """Queries meet the pictures of all processes."""
        self.pool = processes.group

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss of the batch's queries; the first text of an item is its change."""
        if f.x is None or f.tokens is None or batch.others is None or batch.slot_mask is None:
            raise UserError("composed: needs sampler: {kind: composed}, a picture tower and a text tower with tokens.")
        first = batch.slot == 0
        query = step.model.reader("composer")(f.x[batch.owner[first]], f.tokens[first], f.token_mask[first])  # type: ignore[index]
        target = step.model.picture_vectors(batch.others[:, 0])
        owner = torch.arange(len(target), device=target.device)
        more = {"scale": self.scale()[0], "group": self.pool, "pair_id": batch.pair_id}
        return pooled_contrast(target, query, owner, ContrastOptions(), **more)
