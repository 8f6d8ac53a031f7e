"""A picture that is a grid of codes, to one vector and to tokens; some of the codes may be hidden."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from panoglot.networks.towers._block import Block, initialise

__all__ = ["CodeTower"]


class CodeTower(nn.Module):
    """A transformer over the codes of a row's tokeniser.

    Args:
        codes: of the tokeniser.
        cells: of the tokeniser.
        width: of the tokens.
        layers: depth.
        heads: of the attention.

    Source: ITIT arXiv 2310.03734 (image tokens of a VQ model as the encoder's input).
    """

    gives = ("picture", "patches")
    of_codes = True

    def __init__(self, codes: int, cells: int, width: int = 512, layers: int = 6, heads: int = 8) -> None:
        super().__init__()
        self.width, self.grid = width, round(cells**0.5)
        self.code, self.hidden = nn.Embedding(codes, width), nn.Parameter(torch.randn(width) * 0.02)
        nn.init.normal_(self.code.weight, std=0.02)
        self.cell = nn.Parameter(torch.randn(cells, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        initialise(self.blocks, width)
        self.after = nn.LayerNorm(width)

    def forward(self, codes: Tensor, hide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode codes [B, cells], or shares [B, cells, codes]; `hide` [B, cells] bool is not seen."""
        x = self.code(codes) if codes.dim() == 2 else codes.to(self.code.weight.dtype) @ self.code.weight
        if hide is not None:
            x = torch.where(hide[..., None], self.hidden.to(x.dtype), x)
        x = x + self.cell
        for block in self.blocks:
            x = block(x)
        x = self.after(x)
        return x.mean(1), x
