"""Coral's composer: texts and any number of pictures in their order, read by one language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks.readers._composer import Composer
from panoglot.networks.readers._spliced import ends_of, splice
from panoglot.networks.towers._tokens import pad_tokens
from panoglot.networks.towers.heads import unit

if TYPE_CHECKING:
    from panoglot.networks.parts import Features

__all__ = ["InterleavedComposer", "Sequences"]


@dataclass(frozen=True)
class Sequences:
    """What was read. n sequences of at most L tokens, D of the joint space.

    Attributes:
        vectors: [n, D] unit vectors.
        ids: [n, L] of the words; 0 where a picture's tokens stand.
        words: [n, L] bool, where words stand.
    """

    vectors: Tensor
    ids: Tensor
    words: Tensor


class InterleavedComposer(Composer):
    """Every picture stands as its tokens among the words, wherever it comes; the last token's vector speaks for all.

    A picture of the gallery, with a title or without, is read in the same way.

    Args:
        widths: of the model.
        adapter: bring the picture tower's tokens into the words' space by a linear layer; False: they lie in it.
        project: bring the last token's vector into the joint space by a linear layer; False: it is the vector.
        before, behind: words at both sides of every picture.
        end: words at the end of every sequence.

    Source: Coral arXiv 2506.03144, section 4 (embedding of an interleaved sequence at its end token).
    """

    needs = ("patches", "words")
    reads, speaks = "ids", True
    #: queries of any number of pictures and texts, in order
    many = True

    def __init__(
        self,
        widths: Any,
        adapter: bool = True,
        project: bool = True,
        before: str = "",
        behind: str = "",
        end: str = "",
    ) -> None:
        super().__init__()
        for what, given, size, want in (
            ("adapter", adapter, widths.image, widths.text), ("project", project, widths.text, widths.dim)
        ):  # fmt: skip
            if not given and size != want:
                raise UserError(f"composer interleaved: {what}=false needs one width, but has {size} and {want}.")
        self.adapter: nn.Module = nn.Linear(widths.image, widths.text) if adapter else nn.Identity()
        self.out: nn.Module = nn.Linear(widths.text, widths.dim) if project else nn.Identity()
        self.before, self.behind, self.end = before, behind, end

    def sequences(self, model: Any, parts: Sequence[Sequence[Any]], patches: Tensor | None) -> Sequences:
        """Read sequences.

        Args:
            model: whose text tower reads.
            parts: of each: texts (or ids of words), and numbers of pictures.
            patches: [P, N, ·] tokens of the pictures, as their tower gives them.

        Raises:
            UserError: one without parts, or whose pictures do not fit into the tower's length.
        """
        if any(not row for row in parts):
            raise UserError("a query needs a picture, a text, or both.")
        tokens, rows, at, order = model.text.tokens, [], [], list[int]()
        for row in parts:
            pieces: list[Any] = []
            for one in row:
                if isinstance(one, int) and patches is not None:
                    pieces += [self.before, len(patches[one]), self.behind]
                else:
                    pieces.append(one)
            pieces = [piece for piece in [*pieces, self.end] if piece != ""]
            ids, soft, cut = splice(tokens, pieces, getattr(tokens, "length", 0))
            tokens.cut += cut
            rows.append(ids)
            at.append(soft)
            order += [one for one in row if isinstance(one, int)]
        here = next(model.parameters()).device
        ids_, mask = (z.to(here) for z in pad_tokens(rows))
        where = torch.zeros_like(mask)
        for k, places in enumerate(at):
            where[k, places] = True
        more = {}
        if order and patches is not None:
            more = {"soft": (where, self.adapter(patches[order]).flatten(0, 1))}
        pooled = model.text(ids_, mask, ["und"] * len(rows), **more)[0]
        return Sequences(unit(self.out(pooled)), ids_, mask & ~where)

    def query(self, model: Any, f: Features, pictures: Tensor | None, texts: Tensor | None) -> Tensor:
        """Return unit vectors [n, dim] of queries of one picture, one text, or the picture before the text."""
        given = pictures if pictures is not None else texts
        if given is None:
            raise UserError("a query needs a picture, a text, or both.")
        parts: list[list[Any]] = [[] for _ in given]
        if pictures is not None:
            parts = [[k] for k in pictures.tolist()]
        if texts is not None:
            if f.ids is None or f.token_mask is None:
                raise UserError("a composer that reads words needs a text tower with tokens.")
            (before, behind), said, there = map(len, ends_of(model.text.tokens)), f.ids, f.token_mask
            for row, k in zip(parts, texts.tolist(), strict=True):
                ids = said[k][there[k]].tolist()
                row.append(ids[before : len(ids) - behind])
        return self.sequences(model, parts, f.patches).vectors
