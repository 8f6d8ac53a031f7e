"""ColBERT: late interaction of a query with passages; slot 0 is the query, 1 the positive, the rest negatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.identity import Added
from panoglot.networks._contrast import ContrastOptions
from panoglot.networks._pool import pooled_queries, pooled_share
from panoglot.networks._records import Batch, Record, Term
from panoglot.networks.losses import n_way
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.samplers import Sample
from panoglot.networks.towers import punctuation_of

__all__ = ["ColbertPart"]


class ColbertPart(Part):
    """Choice among the query's own passages, and with `in_batch` also among all passages of the batch (v1.5).

    Queries are as long as each other: mask tokens behind the short ones attend and score (query augmentation). Tokens
    of passages that are nothing but punctuation attend, and do not score.

    Args:
        widths: of the model.
        dim: of the token vectors.
        in_batch: False is v1.
        query: tokens of every query; longer ones are cut and counted. 0: queries are as they are.
        punctuation: it scores too.

    Source: ColBERT arXiv 2004.12832, section 3.2; ColBERT-XM arXiv 2402.15059.
    """

    needs, reads, gives = ("tokens",), ("triple",), ("late",)
    across = "own"

    def __init__(
        self,
        widths: Widths,
        dim: int = 128,
        in_batch: bool = True,
        query: Annotated[int, Added(0)] = 32,
        punctuation: Annotated[bool, Added(True)] = False,
    ) -> None:
        super().__init__()
        if query < 0 or query in (1, 2):
            raise UserError(f"colbert: query={query} must be 0, or at least 3 tokens.")
        self.project, self.in_batch = nn.Linear(widths.text, dim, bias=False), in_batch
        self.query, self.punctuation = query, punctuation
        self.pool: Any = None

    def in_processes(self, name: str, processes: Any, batch: int) -> None:
        """Queries meet the passages of all processes, whose tokens are gathered with gradient."""
        self.pool = processes.group

    def vectors(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return unit token vectors [M, L, dim]."""
        return nn.functional.normalize(self.project(tokens), dim=-1)

    def prepared(self, ids: Tensor, mask: Tensor, asks: Sequence[bool], tokens: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids [M, L], what attends and what scores, both [M, L], of texts as the tokeniser gave them.

        Args:
            ids: of the texts [M, L].
            mask: which are real; texts without any stay without.
            asks: which texts are queries.
            tokens: the tokeniser.
        """
        more = max(0, self.query - ids.shape[1]) if any(asks) else 0
        ids, mask = nn.functional.pad(ids, (0, more)), nn.functional.pad(mask, (0, more))
        for i, asked in enumerate(asks):
            real = int(mask[i].sum())
            if not asked or not self.query or not real:
                continue
            if real > self.query:  # its last token ends a text
                tokens.cut += 1
                ids[i, self.query - 1] = ids[i, real - 1]
            ids[i, real : self.query] = int(getattr(tokens, "mask", 0))
            mask[i] = torch.arange(mask.shape[1]) < self.query
        scores = mask.clone()
        if not self.punctuation:
            marks = torch.isin(ids, punctuation_of(tokens))
            scores &= ~marks | torch.tensor(list(asks), dtype=torch.bool)[:, None]
        return ids, mask, scores

    def collate(self, out: Batch, items: Sequence[tuple[Record, Sample]], model: Any) -> None:
        """Pad queries with mask tokens, and say which tokens score."""
        if out.tokens is None or out.token_mask is None:
            return
        count, slots, _ = out.tokens.shape
        asks = [slot == 0 for _ in range(count) for slot in range(slots)]
        made = self.prepared(out.tokens.flatten(0, 1), out.token_mask.flatten(0, 1), asks, model.text.tokens)
        out.tokens, out.token_mask, out.targets["scores"] = (z.unflatten(0, (count, slots)) for z in made)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the sum of the two losses."""
        if f.tokens is None or f.token_mask is None or batch.slot_mask is None:
            raise UserError("colbert: needs a text tower and sampler: {kind: triples}.")
        z, owner, slot = self.vectors(f.tokens), batch.owner, batch.slot
        scored = f.token_mask
        if "scores" in batch.targets:
            scored = batch.targets["scores"][batch.slot_mask][:, : z.shape[1]]
        query, passage = slot == 0, slot > 0
        order = owner[query]
        q, q_mask = z[query], scored[query]
        p, p_mask, p_owner, p_slot = z[passage], scored[passage], owner[passage], slot[passage]
        width = int(batch.slot_mask.shape[1]) - 1
        place = torch.full((len(batch),), -1, device=owner.device).index_put(
            (order,), torch.arange(len(order), device=owner.device)
        )
        row, there = place[p_owner], p_mask.any(1)  # a passage of punctuation alone has no vector: it is not there
        each = torch.einsum("pkd,pld->pkl", q[row], p).masked_fill(~p_mask[:, None], float("-inf")).amax(-1)
        each = each.masked_fill(~(q_mask[row] & there[:, None]), 0.0).sum(1)
        scores = each.new_zeros(len(order), width).index_put((row, p_slot - 1), each)
        own = batch.slot_mask[order, 1:] & torch.zeros_like(scores, dtype=torch.bool).index_put(
            (row, p_slot - 1), there
        )
        term, _ = pooled_share(n_way(scores, own), self.pool)
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
