"""Composers: one vector of a query that is a picture, a text, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks.towers._block import Block, initialise
from panoglot.networks.towers.heads import unit

if TYPE_CHECKING:
    from panoglot.networks.parts import Features

__all__ = ["Composer", "JointComposer"]


class Composer(nn.Module):
    """What makes queries of pictures and texts, and pictures of the gallery, comparable.

    Attributes:
        needs: of `NEEDS`, what the row must give.
        looks: which towers see a query's picture: `image`, or names of further towers.
        reads: what it takes of texts: `tokens` that the text tower made, or `ids` alone.
        speaks: texts alone are embedded by it too; False: by the text tower and its head.
        views: vectors a picture of the gallery has.
    """

    gives: tuple[str, ...] = ("composer",)
    needs: tuple[str, ...] = ()
    looks: tuple[str, ...] = ("image",)
    reads = "tokens"
    speaks = False
    views = 1

    def query(self, model: Any, f: Features, pictures: Tensor | None, texts: Tensor | None) -> Tensor:
        """Return unit vectors [n, dim] of queries.

        Args:
            model: whose composer it is.
            f: what its towers made.
            pictures: [n] rows of pictures in `f`; None: the queries have none.
            texts: [n] rows of texts in `f`; None: they have none.
        """
        raise NotImplementedError

    def gallery(self, f: Features) -> Tensor:
        """Return unit vectors of pictures that may be found: [n, dim], or several each, [n, V, dim]."""
        if f.x is None:
            raise UserError("the row makes no vectors of pictures.")
        return f.x


class JointComposer(Composer):
    """A transformer over [the picture's vector; the text's tokens], read at a token of its own.

    What a query does not have is not there: no token stands for it. A text of a frozen tower is one token.

    Args:
        widths: of the model.
        width: inner.
        layers: depth.
        heads: of the attention.

    Source: CoLLM arXiv 2503.19910 (the picture's vector as a token before the text, one vector of both).
    """

    needs = ("picture", "text")

    def __init__(self, widths: Any, width: int = 512, layers: int = 4, heads: int = 8) -> None:
        super().__init__()
        self.picture, self.word = nn.Linear(widths.dim, width), nn.Linear(widths.text, width)
        self.read = nn.Parameter(torch.randn(width) * width**-0.5)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        initialise(self.blocks, width)
        self.after, self.out = nn.LayerNorm(width), nn.Linear(width, widths.dim, bias=False)

    def forward(
        self, picture: Tensor | None = None, tokens: Tensor | None = None, token_mask: Tensor | None = None
    ) -> Tensor:
        """Return unit vectors [B, dim] of pictures' vectors [B, dim], texts' tokens [B, L, ·], or both."""
        given = [z for z in (picture, tokens) if z is not None]
        if not given:
            raise UserError("a query needs a picture, a text, or both.")
        n, yes = len(given[0]), torch.ones(len(given[0]), 1, dtype=torch.bool, device=given[0].device)
        x, there = [self.read.expand(n, 1, -1)], [yes]
        if picture is not None:
            x.append(self.picture(picture)[:, None])
            there.append(yes)
        if tokens is not None:
            x.append(self.word(tokens))
            there.append(yes.expand(-1, tokens.shape[1]) if token_mask is None else token_mask)
        z, see = torch.cat(x, 1), torch.cat(there, 1)
        for block in self.blocks:
            z = block(z, see[:, None].expand(-1, z.shape[1], -1))
        return unit(self.out(self.after(z[:, 0])))

    def query(self, model: Any, f: Features, pictures: Tensor | None, texts: Tensor | None) -> Tensor:
        """Return unit vectors [n, dim] of queries."""
        x = None if pictures is None or f.x is None else f.x[pictures]
        if texts is None or f.tokens is None:
            return self(x)  # type: ignore[no-any-return]
        return self(x, f.tokens[texts], None if f.token_mask is None else f.token_mask[texts])  # type: ignore[no-any-return]
