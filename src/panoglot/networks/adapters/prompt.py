"""Learned tokens before the text (prompt tuning)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Prompt"]


class Prompt(nn.Module):
    """`k` learned tokens: embedding → Linear → tanh → Linear, put before the input embeddings.

    Unlike the other adapters this cannot start as the identity: attention sees the new tokens at once.

    Args:
        width: of the model.
        k: tokens.
        hidden: of the reparametrisation; None learns the tokens themselves.

    Source: VL-Adapter arXiv 2112.06825 (40 tokens, hidden 800).
    """

    def __init__(self, width: int, k: int = 40, hidden: int | None = 800) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(k, width) * 0.02)
        self.mlp = (
            nn.Identity()
            if hidden is None
            else nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings [B, k + L, width] and mask [B, k + L] of x [B, L, width], mask [B, L]."""
        tokens = self.mlp(self.tokens).to(x.dtype).expand(len(x), -1, -1)
        return torch.cat([tokens, x], 1), torch.cat([mask.new_ones(tokens.shape[:2]), mask], 1)
