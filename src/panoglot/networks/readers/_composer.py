"""A composer: one vector of a query that is a picture, a text, or both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks.towers._block import Block, initialise
from panoglot.networks.towers.heads import unit

__all__ = ["JointComposer"]


class JointComposer(nn.Module):
    """A transformer over [the picture's vector; the text's tokens], read at a token of its own.

    What a query does not have is not there: no token stands for it.

    Args:
        widths: of the model.
        width: inner.
        layers: depth.
        heads: of the attention.

    Source: CoLLM arXiv 2503.19910 (the picture's vector as a token before the text, one vector of both).
    """

    gives = ("composer",)
    needs = ("picture", "tokens")

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
