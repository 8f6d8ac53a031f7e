"""Queries of several products against products; what the vector of each must still know: its pictures, its words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses._nothing import nothing
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.samplers import PICTURE
from panoglot.networks.towers import Scale
from panoglot.networks.towers._block import Block, initialise

__all__ = ["InterleavedPart", "hidden_of"]


class _Rebuilder(nn.Module):
    """A layer that looks at one vector, and fills in what is hidden of a sequence."""

    def __init__(self, width: int, dim: int, inner: int, heads: int) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(width, inner), nn.Linear(inner, width)
        self.hidden = nn.Parameter(torch.randn(inner) * 0.02)
        self.blocks = nn.ModuleList([Block(inner, heads, memory_width=dim)])
        self.after = nn.LayerNorm(inner)
        initialise(self.blocks, inner)

    def forward(self, x: Tensor, hide: Tensor, real: Tensor, vector: Tensor) -> Tensor:
        """Return [n, L, width] of sequences [n, L, width]; what is hidden, what is real [n, L]; a vector [n, dim]."""
        z = torch.where(hide[..., None], self.hidden.to(x.dtype), self.into(x)) + _waves(x.shape[1], self.hidden)
        z = self.blocks[0](z, real[:, None].expand(-1, x.shape[1], -1), vector[:, None])
        found: Tensor = self.out(self.after(z))
        return found


def _waves(length: int, like: Tensor) -> Tensor:
    """Places [length, width] as sines and cosines: any length."""
    width = len(like)
    at = torch.arange(length, device=like.device)[:, None]
    speed = torch.exp(torch.arange(0, width, 2, device=like.device) * (-9.21 / width))
    waves = torch.stack([(at * speed).sin(), (at * speed).cos()], -1).flatten(1)
    return waves[:, :width].to(like.dtype)


def hidden_of(real: Tensor, share: float, seed: int) -> Tensor:
    """Return [n, L] bool, a share of what is real (at least one of each row that has any), drawn by a seed.

    >>> hidden_of(torch.tensor([[True, True, True, False], [False, False, False, False]]), 0.5, 0).sum(1).tolist()
    [2, 0]
    """
    dice = torch.rand(real.shape, generator=torch.Generator().manual_seed(seed)).to(real.device)
    rank = dice.masked_fill(~real, 2.0).argsort(1).argsort(1)
    count = (real.sum(1) * share + 0.5).long().clamp(min=1)
    return (rank < count[:, None]) & real


class InterleavedPart(Part):
    """Coral's sum: a query finds its product among all of the step; its vector and the product's rebuild what was read.

    Products that do not answer (`sampler: {negatives: …}`) are negatives of every query. Queries of one product are no
    negatives of each other. The layers that rebuild are not used when queries and products are embedded.

    Args:
        widths: of the model.
        visual: weight of rebuilding hidden tokens of the pictures, as their tower made them: mean squared error.
        textual: weight of rebuilding hidden words: cross-entropy over the vocabulary, by the text tower's own table.
        hide: share of a picture's tokens that is hidden.
        hide_words: share of the words that is hidden.
        inner: width of the layers that rebuild.
        heads: of their attention.
        scale: of `Scale`; 1/.02 where it begins.

    Source: Coral arXiv 2506.03144 (three losses, query and product rebuilt); the layers and all numbers are remembered,
    not confirmed.
    """

    needs, reads, gives = ("composer", "patches", "words"), ("document", "picture", "text"), ("encode", "compose")
    across = ""

    def __init__(
        self,
        widths: Widths,
        visual: float = 0.1,
        textual: float = 0.1,
        hide: float = 0.5,
        hide_words: float = 0.3,
        inner: int = 512,
        heads: int = 8,
        scale: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < hide < 1 or not 0 < hide_words < 1:
            raise UserError(f"interleaved: hide={hide} and hide_words={hide_words} must be between 0 and 1.")
        self.visual, self.textual, self.hide, self.hide_words = visual, textual, hide, hide_words
        self.scale = Scale(**{"start": 50.0, **(scale or {})})
        self.pictures = _Rebuilder(widths.image, widths.dim, inner, heads) if visual else None
        self.words = _Rebuilder(widths.text, widths.dim, inner, heads) if textual else None

    def read(self, f: Features, batch: Batch, model: Any) -> tuple[list[list[Any]], list[list[Any]], list[int], Tensor]:
        """Return the sequences of the queries, those of the products, whose each product is, and all pictures' tokens.

        Products come answer by answer, then those that answer nothing.
        """
        if batch.image is None or batch.others is None or batch.others_mask is None:
            raise UserError("interleaved: learns from documents with an answer: sampler: {kind: products}.")
        there = batch.picture_mask
        there = torch.ones(batch.image.shape[:2], dtype=torch.bool) if there is None else there.cpu()
        shown = torch.cat([batch.image[there.to(batch.image.device)], batch.others[batch.others_mask]])
        patches = model.look_at(model.image, shown)[1]
        numbers, mark = iter(range(len(patches))), f"({re.escape(PICTURE)})"
        queries = [
            [next(numbers) if piece == PICTURE else piece for piece in re.split(mark, texts[0]) if piece]
            for texts in batch.texts
        ]
        products: list[tuple[int, int, list[Any]]] = []
        for i, exists in enumerate(batch.others_mask.tolist()):
            for t in range(sum(exists)):
                title = batch.texts[i][t + 1] if t + 1 < len(batch.texts[i]) else ""
                products.append((min(t, 1), i, [next(numbers), *([title] if title else [])]))
        products.sort(key=lambda one: one[:2])
        return queries, [parts for *_, parts in products], [-1 if t else i for t, i, _ in products], patches

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the contrast, and what rebuilding adds to it."""
        model, n = step.model, len(batch)
        queries, products, whose, patches = self.read(f, batch, model)
        made = model.reader("composer").sequences(model, [*queries, *products], patches)
        q, p = made.vectors[:n], made.vectors[n:]
        scores = self.scale()[0] * q @ p.T
        if batch.pair_id is not None:
            ids = batch.pair_id.tolist()
            twin = [[k not in (i, -1) and ids[k] == ids[i] for k in whose] for i in range(n)]
            scores = scores.masked_fill(torch.tensor(twin, device=scores.device), float("-inf"))
        value = F.cross_entropy(scores, torch.arange(n, device=scores.device))
        last = n + sum(k >= 0 for k in whose)  # queries and answers
        if self.pictures is not None:
            value = (
                value + self.visual * self.seen(patches, [*queries, *products][:last], made.vectors, batch.seed).value
            )
        if self.words is not None:
            some = made.ids[:last], made.words[:last], made.vectors[:last]
            value = value + self.textual * self.said(model, *some, batch.seed + 1).value
        return Term(value, n)

    def seen(self, patches: Tensor, sequences: list[list[Any]], vectors: Tensor, seed: int) -> Term:
        """Return the mean squared error of hidden tokens [P, N, ·] of pictures, each by the vector of its sequence."""
        at = [(picture, k) for k, parts in enumerate(sequences) for picture in parts if isinstance(picture, int)]
        if not at or self.pictures is None:
            return nothing(vectors)
        picture, owner = (torch.tensor(z, device=patches.device) for z in zip(*at, strict=True))
        target = patches[picture].detach()
        real = torch.ones(target.shape[:2], dtype=torch.bool, device=target.device)
        hide = hidden_of(real, self.hide, seed)
        found = self.pictures(target, hide, real, vectors[owner])
        return Term(F.mse_loss(found[hide], target[hide]), int(hide.sum()))

    def said(self, model: Any, ids: Tensor, words: Tensor, vectors: Tensor, seed: int) -> Term:
        """Return the cross-entropy of hidden words of sequences ids [n, L], where `words` [n, L], by their vectors."""
        text = model.text
        table = text.embed.weight if hasattr(text, "embed") else text.model.get_input_embeddings().weight
        hide = hidden_of(words, self.hide_words, seed)
        if self.words is None or not bool(hide.any()):
            return nothing(vectors)
        found = self.words(table.detach()[ids], hide, words, vectors)
        return Term(F.cross_entropy(found[hide] @ table.detach().T, ids[hide]), int(hide.sum()))
