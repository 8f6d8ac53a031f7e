"""ColBERT: late interaction of a query with passages; slot 0 is the query, 1 the positive, the rest negatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from panoglot.errors import UserError
from panoglot.networks._contrast import ContrastOptions
from panoglot.networks._pool import pooled_queries, pooled_share
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses import n_way
from panoglot.networks.parts._base import Features, Part, Widths

__all__ = ["ColbertPart"]


class ColbertPart(Part):
    """Choice among the query's own passages, and with `in_batch` also among all passages of the batch (v1.5).

    Args:
        widths: of the model.
        dim: of the token vectors.
        in_batch: False is v1.
    """

    needs, reads = ("tokens",), ("triple",)
    across = "own"

    def __init__(self, widths: Widths, dim: int = 128, in_batch: bool = True) -> None:
        super().__init__()
        self.project, self.in_batch = nn.Linear(widths.text, dim, bias=False), in_batch
        self.pool: Any = None

    def in_processes(self, name: str, processes: Any, batch: int) -> None:
        """Queries meet the passages of all processes, whose tokens are gathered with gradient."""
        self.pool = processes.group

    def vectors(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return unit token vectors [M, L, dim]."""
        return nn.functional.normalize(self.project(tokens), dim=-1)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the sum of the two losses."""
        if f.tokens is None or f.token_mask is None or batch.slot_mask is None:
            raise UserError("colbert: needs a text tower and sampler: {kind: triples}.")
        z, owner, slot = self.vectors(f.tokens), batch.owner, batch.slot
        query, passage = slot == 0, slot > 0
        order = owner[query]
        q, q_mask = z[query], f.token_mask[query]
        p, p_mask, p_owner, p_slot = z[passage], f.token_mask[passage], owner[passage], slot[passage]
        width = int(batch.slot_mask.shape[1]) - 1
        place = torch.full((len(batch),), -1, device=owner.device).index_put(
            (order,), torch.arange(len(order), device=owner.device)
        )
        row = place[p_owner]
        each = torch.einsum("pkd,pld->pkl", q[row], p).masked_fill(~p_mask[:, None], float("-inf")).amax(-1)
        each = each.masked_fill(~q_mask[row], 0.0).sum(1)
        scores = each.new_zeros(len(order), width).index_put((row, p_slot - 1), each)
        term, _ = pooled_share(n_way(scores, batch.slot_mask[order, 1:]), self.pool)
        if not self.in_batch:
            return term
        key = torch.where(p_slot == 1, p_owner, -1)
        ids, lone = batch.pair_id, -1 - torch.arange(len(p_owner), device=owner.device)
        all_ = pooled_queries(
            q,
            p,
            order,
            key,
            ContrastOptions(scorer="maxsim", reduce="one_way"),
            a_mask=q_mask,
            b_mask=p_mask,
            pair_id=None if ids is None else ids[order],
            pair_id_b=None if ids is None else torch.where(p_slot == 1, ids[p_owner], lone),
            group=self.pool,
        )
        return Term(term.value + all_.value, term.count)
