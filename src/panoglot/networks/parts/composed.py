"""Queries of a picture and a text together, against the pictures that answer them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from panoglot.errors import UserError
from panoglot.identity import Added
from panoglot.networks._contrast import ContrastOptions
from panoglot.networks._freeze import training_mode
from panoglot.networks._pool import pooled_contrast, pooled_queries, pooled_share
from panoglot.networks._records import Batch, Term
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.towers import Scale

__all__ = ["ComposedPart", "PromptedPart", "first_changes"]


def first_changes(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the records [n] that have a change, and the rows [n] of their first texts, the change."""
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
        pictures, texts = first_changes(batch)
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
        ks: the epoch is kept whose mean of recalls at these places is best (with `stop` in the row): CIRR's 1, 5, 10
            and 50; FashionIQ's are 10 and 50. Recalls among CIRR's groups are not in the mean.

    Source: SPRC arXiv 2310.05473, equations 3 to 6; the code for the choice of an epoch.
    """

    needs, reads, gives = ("composer", "patches", "tokens"), ("picture", "text", "others"), ("encode", "compose")
    across = "own"

    def __init__(
        self,
        widths: Widths,
        text: float = 0.4,
        align: float = 0.4,
        scale: Mapping[str, float] | None = None,
        ks: Annotated[Sequence[int], Added((1, 5, 10, 50))] = (1, 5, 10, 50),
    ) -> None:
        super().__init__()
        if not ks or min(ks) < 1:
            raise UserError(f"prompted: ks={list(ks)} must be places from 1 on.")
        self.text, self.align, self.ks = text, align, tuple(ks)
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

    @torch.no_grad()
    def judge(self, model: Any, batches: Iterable[Batch]) -> float | None:
        """Return the mean of recalls at `ks` of queries among all pictures that answer one; None: there are none."""
        model.eval()
        asked, wanted, answers = [], [], dict[int, Tensor]()
        for batch in batches:
            f = model.features(batch)
            pictures, texts = first_changes(batch)
            asked.append(model.reader("composer").query(model, f, pictures, texts))
            ids = (torch.arange(len(batch)) if batch.pair_id is None else batch.pair_id).tolist()
            wanted += [ids[k] for k in pictures.tolist()]
            for id_, views in zip(ids, model.gallery(model.answers(batch)), strict=True):
                answers.setdefault(id_, views)
        training_mode(model)
        if not asked:
            return None
        gallery, places = torch.stack(list(answers.values())), {id_: k for k, id_ in enumerate(answers)}
        right = torch.tensor([places[id_] for id_ in wanted], device=gallery.device)
        scores = torch.einsum("qd,nvd->qnv", torch.cat(asked), gallery).amax(-1)
        ranks = (scores >= scores.gather(1, right[:, None])).sum(1)
        return sum(float((ranks <= k).float().mean()) for k in self.ks) / len(self.ks)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the weighted sum of the three."""
        composer = step.model.reader("composer")
        if f.patches is None or f.tokens is None or f.token_mask is None or not hasattr(composer, "fuse"):
            raise UserError("prompted: needs readers: {composer: {kind: qformer}}, and towers with tokens.")
        pictures, texts = first_changes(batch)
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
