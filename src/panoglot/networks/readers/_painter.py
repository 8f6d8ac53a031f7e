"""A painter: a picture's codes from a text, many at once, the surest first."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks.towers._block import Block, initialise

__all__ = ["MaskedPainter", "committed"]


def committed(cells: int, steps: int) -> list[int]:
    """Return how many cells each step of painting settles: few at first, by a cosine; all of them in the end.

    >>> committed(256, 4), sum(committed(256, 24)), committed(2, 4)
    ([20, 55, 84, 97], 256, [1, 0, 1, 0])
    """
    left = [math.floor(cells * math.cos(math.pi / 2 * t / steps) + 1e-9) for t in range(steps + 1)]
    left[-1] = 0
    return [before - after for before, after in itertools.pairwise(left)]


class MaskedPainter(nn.Module):
    """A transformer over [codes of the picture, some of them hidden; a text] that says what the hidden ones are.

    Args:
        widths: of the model: `codes` and `cells` of its tokeniser, `vocabulary` of its texts.
        width: inner.
        layers: depth.
        heads: of the attention.
        length: most tokens of a text.

    Source: MaskGIT arXiv 2202.04200, ITIT arXiv 2310.03734.
    """

    gives = ("painter",)
    needs = ("tokeniser",)

    def __init__(self, widths: Any, width: int = 512, layers: int = 6, heads: int = 8, length: int = 64) -> None:
        super().__init__()
        if not widths.codes or not widths.vocabulary:
            raise UserError("painter: needs readers: {tokeniser: …}, and a text tower with tokens.")
        self.codes, self.cells, self.length = widths.codes, widths.cells, length
        self.code = nn.Embedding(widths.codes, width)
        self.word = nn.Embedding(widths.vocabulary, width)
        self.hidden, self.empty = nn.Parameter(torch.randn(width) * 0.02), nn.Parameter(torch.randn(width) * 0.02)
        self.cell = nn.Parameter(torch.randn(widths.cells, width) * 0.02)
        self.place = nn.Parameter(torch.randn(length, width) * 0.02)
        for table in (self.code, self.word):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        initialise(self.blocks, width)
        self.after, self.out = nn.LayerNorm(width), nn.Linear(width, widths.codes)

    def forward(
        self, codes: Tensor, hide: Tensor, text: Tensor | None = None, text_mask: Tensor | None = None
    ) -> Tensor:
        """Return logits [B, cells, codes].

        Args:
            codes: [B, cells], or shares [B, cells, codes], as a straight-through choice has them.
            hide: [B, cells] bool: what is not seen.
            text: [B, L] ids, or shares [B, L, vocabulary]; None: painted freely.
            text_mask: [B, L] bool.
        """
        x = _looked_up(self.code, codes, 2)
        x = torch.where(hide[..., None], self.hidden.to(x.dtype), x) + self.cell
        if text is None:
            y, there = self.empty.expand(len(x), 1, -1), torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        else:
            text = text[:, : self.length]
            there = torch.ones_like(text[..., :1].flatten(1), dtype=torch.bool) if text.dim() == 3 else text >= 0
            there = there if text_mask is None else text_mask[:, : self.length].bool()
            y = _looked_up(self.word, text, 2) + self.place[: text.shape[1]]
        see = torch.cat([torch.ones_like(hide), there], 1)[:, None].expand(-1, x.shape[1] + y.shape[1], -1)
        z = torch.cat([x, y], 1)
        for block in self.blocks:
            z = block(z, see)
        found: Tensor = self.out(self.after(z[:, : self.cells]))
        return found

    @torch.no_grad()
    def generate(
        self,
        text: Tensor | None,
        text_mask: Tensor | None = None,
        *,
        count: int = 1,
        steps: int = 24,
        temperature: float = 0.0,
    ) -> Tensor:
        """Paint codes [B, cells]: every step settles the cells that it is surest of, see `committed`.

        Args:
            text: [B, L] ids; None: `count` pictures of nothing in particular.
            text_mask: [B, L] bool.
            count: pictures without a text.
            steps: of painting.
            temperature: of the choice of codes; 0: the likeliest.
        """
        n, device = count if text is None else len(text), self.cell.device
        codes = torch.zeros(n, self.cells, dtype=torch.long, device=device)
        hide = torch.ones(n, self.cells, dtype=torch.bool, device=device)
        for settle in committed(self.cells, steps):
            if not settle:
                continue
            shares = (self(codes, hide, text, text_mask).float() / (temperature or 1.0)).softmax(-1)
            found = torch.multinomial(shares.flatten(0, 1), 1).view(n, -1) if temperature else shares.argmax(-1)
            sure = shares.gather(2, found[..., None])[..., 0].masked_fill(~hide, -1.0)
            at = sure.topk(settle, 1).indices
            codes.scatter_(1, at, found.gather(1, at))
            hide.scatter_(1, at, False)
        return codes


def _looked_up(table: nn.Embedding, given: Tensor, ids: int) -> Tensor:
    """Embeddings of ids, or of shares of the vocabulary."""
    if given.dim() == ids:
        found: Tensor = table(given.clamp(min=0))
        return found
    return given.to(table.weight.dtype) @ table.weight
