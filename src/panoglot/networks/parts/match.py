"""Whether a picture answers a query of a picture and a text: what puts the best of a search in order."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses._nothing import nothing
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.parts.composed import first_changes
from panoglot.networks.readers import load_blip2

__all__ = ["MatchPart"]


class MatchPart(Part):
    """SPRC's second stage: a Q-Former of its own reads the change, sees reference and candidate, and says yes or no.

    Each query is shown its answer, a picture that does not answer it, and its answer is shown to another query. What
    does not fit is drawn by what the row's composer, which does not learn meanwhile, takes it for: near misses come
    often. Of a query whose answer is the only one in the step, nothing is drawn.

    Args:
        widths: of the model.
        temperature: of the composer's similarities, by which what does not fit is drawn.
        name: of a BLIP-2 checkpoint for retrieval, on the hub or in a folder, with whose Q-Former and matching head it
            begins; empty: with the row's composer, as it is when a stage takes this loss up, and a fresh head.

    Source: SPRC arXiv 2310.05473 and the code of its reranker (queries, words, tokens of reference and target side by
    side; the mean of the head over queries; one false picture and one false query each). There the text alone draws,
    by BLIP-2's weights; here the whole query does, by the composer that was trained.
    """

    needs, reads, gives = (
        ("composer", "patches", "tokens"),
        ("picture", "text", "others"),
        ("encode", "compose", "match"),
    )

    def __init__(self, widths: Widths, temperature: float = 0.07, name: str = "") -> None:
        super().__init__()
        if temperature <= 0:
            raise UserError(f"match: temperature={temperature} must be above 0.")
        self.temperature, self.name = temperature, name
        self.former: Any = None
        self.queries: Any = None
        self.head = nn.Linear(widths.text, 2)

    def start(self, model: Any) -> None:
        """Copy the composer's Q-Former and queries."""
        composer = model.reader("composer")
        if not hasattr(composer, "fuse"):
            raise UserError("match: needs readers: {composer: {kind: qformer}}.")
        if self.name and self.former is not None:
            return  # what a checkpoint gave stays
        self.former, self.queries = copy.deepcopy(composer.former), copy.deepcopy(composer.queries)
        if self.name:
            whole = load_blip2(self.name)
            self.former.take(whole.qformer.state_dict())
            with torch.no_grad():
                self.queries.copy_(whole.query_tokens[0])
            self.head.load_state_dict(whole.itm_head.state_dict())

    def match(self, words: Tensor, mask: Tensor, reference: Tensor, candidate: Tensor) -> Tensor:
        """Return logits [n, 2], it does not answer and it does, of pictures to queries.

        Args:
            words: [n, L, width] of the changes.
            mask: [n, L] which of them exist.
            reference: [n, N, ·] tokens of the queries' pictures.
            candidate: [n, N, ·] tokens of the pictures that may answer.
        """
        queries = self.queries.expand(len(words), -1, -1)
        seen = self.former(queries, words, mask, torch.cat([reference, candidate], 1))
        found: Tensor = self.head(seen[:, : queries.shape[1]]).mean(1)
        return found

    def drawn(self, scores: Tensor, same: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Return for each row of similarities [n, m] a column that is not the `same` [n, m], and where there is one."""
        there = ~same.all(1)
        shares = (scores / self.temperature).masked_fill(same, float("-inf"))
        shares[~there] = 0.0
        dice = torch.Generator().manual_seed(seed)
        return torch.multinomial(shares.float().softmax(1).cpu(), 1, generator=dice)[:, 0].to(scores.device), there

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the cross-entropy of the batch's pairs: those that fit, then those that do not."""
        model, composer = step.model, step.model.reader("composer")
        if f.patches is None or f.tokens is None or f.token_mask is None:
            raise UserError("match: needs towers with tokens.")
        pictures, texts = first_changes(batch)
        if not len(texts):
            return nothing(f.patches)
        words, mask, answers = f.tokens[texts], f.token_mask[texts], model.answers(batch)
        target = answers.patches
        with torch.no_grad():
            said = composer.query(model, f, pictures, texts)
            scores = torch.einsum("qd,nvd->qnv", said, model.gallery(answers)).amax(-1)
        same = pictures[:, None] == torch.arange(len(target), device=pictures.device)
        if batch.pair_id is not None:
            same = batch.pair_id[pictures][:, None] == batch.pair_id
        picture, some = self.drawn(scores, same, batch.seed)
        query, more = self.drawn(scores[:, pictures].T, same[:, pictures].T, batch.seed + 1)
        every, reference = torch.arange(len(texts), device=pictures.device), f.patches[pictures]
        at = torch.cat([every, every[some], query[more]])
        shown = torch.cat([pictures, picture[some], pictures[more]])
        wanted = (torch.arange(len(at), device=at.device) < len(every)).long()
        logits = self.match(words[at], mask[at], reference[at], target[shown])
        return Term(nn.functional.cross_entropy(logits, wanted), len(at))
