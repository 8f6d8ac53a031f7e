"""Queries of a picture and a text together, against the pictures that answer them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from panoglot.errors import UserError
from panoglot.networks._contrast import ContrastOptions
from panoglot.networks._pool import pooled_contrast, pooled_queries, pooled_share
from panoglot.networks._records import Batch, Term
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.towers import Scale

__all__ = ["ComposedPart", "PromptedPart"]


def _first(batch: Batch) -> tuple[Tensor, Tensor]:
    """The records [n] that have a change, and the rows [n] of their first texts, the change."""
    if batch.slot_mask is None or (batch.others is None and batch.others_vec is None):
        raise UserError("this loss learns from composed queries: sampler: {kind: composed}.")
    rows = (batch.slot == 0).nonzero()[:, 0]
    return batch.owner[rows], rows


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
        pictures, texts = _first(batch)
        query = step.model.reader("composer").query(step.model, f, pictures, texts)
        target = step.model.gallery(step.model.answers(batch))
        if target.dim() != 2:
            raise UserError("composed: the composer makes several vectors a picture: the loss is 'prompted'.")
        more = {"scale": self.scale()[0], "group": self.pool, "pair_id": batch.pair_id}
        return pooled_contrast(target, query, pictures, ContrastOptions(), **more)


class PromptedPart(Part):
    """SPRC's sum: the query finds its picture, the text behind the common prompt does, and both prompts agree.

    Only from query to picture, among the pictures of the step; a picture counts with its nearest vector. Queries that
    are answered by the same picture are no negatives of each other.

    Args:
        widths: of the model.
        text: weight of the text alone behind the common prompt.
        align: weight of the distance between the query's prompt and the common one, which does not move for it.
        scale: of `Scale`.

    Source: SPRC arXiv 2310.05473, equations 3 to 6.
    """

    needs, reads, gives = ("composer", "patches", "tokens"), ("picture", "text", "others"), ("encode", "compose")
    across = "own"

    def __init__(
        self, widths: Widths, text: float = 0.4, align: float = 0.4, scale: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.text, self.align = text, align
        self.scale = Scale(**(scale or {}))
        self.pool: Any = None

    def in_processes(self, name: str, processes: Any, batch: int) -> None:
        """Queries meet the pictures of all processes."""
        self.pool = processes.group

    def find(self, query: Tensor, target: Tensor, key: Tensor, pair_id: Tensor | None) -> Term:
        """Return the contrast of queries [n, D] with pictures of several vectors [B, V, D], one way.

        Args:
            query: unit vectors.
            target: unit vectors.
            key: [n] which picture answers a query.
            pair_id: [B] equal for pictures that are the same.
        """
        return pooled_queries(
            query[:, None],
            target,
            key,
            torch.arange(len(target), device=target.device),
            ContrastOptions(scorer="maxsim", reduce="one_way"),
            a_mask=torch.ones(len(query), 1, dtype=torch.bool, device=query.device),
            b_mask=torch.ones(target.shape[:2], dtype=torch.bool, device=target.device),
            pair_id=None if pair_id is None else pair_id[key],
            pair_id_b=pair_id,
            scale=self.scale()[0],
            group=self.pool,
        )

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the weighted sum of the three."""
        composer = step.model.reader("composer")
        if f.patches is None or f.tokens is None or f.token_mask is None or not hasattr(composer, "fuse"):
            raise UserError("prompted: needs readers: {composer: {kind: qformer}}, and towers with tokens.")
        pictures, texts = _first(batch)
        words, mask = f.tokens[texts], f.token_mask[texts]
        target = step.model.gallery(step.model.answers(batch))
        prompt = composer.fuse(f.patches[pictures], words, mask)
        term = self.find(composer.read(prompt, words, mask), target, pictures, batch.pair_id)
        value = term.value
        if self.text:
            value = value + self.text * self.find(composer.say(words, mask), target, pictures, batch.pair_id).value
        if self.align:
            apart = torch.nn.functional.mse_loss(
                prompt.mean(1), composer.prompt.mean(0).detach().expand(len(prompt), -1)
            )
            value = value + self.align * pooled_share(Term(apart, len(prompt)), self.pool)[0].value
        return Term(value, term.count)
