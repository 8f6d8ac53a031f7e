"""Gated cross-attention: lets a frozen language model look at pictures (Flamingo, COSMO)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GatedCrossAttention", "media_of_tokens"]


def media_of_tokens(is_placeholder: Tensor) -> Tensor:
    """Return which picture each token may look at, [B, L]: the latest one before it, -1 for none.

    Args:
        is_placeholder: [B, L] bool, where the picture tokens stand; the placeholder itself looks at its own picture.

    >>> media_of_tokens(torch.tensor([[0, 1, 0, 0, 1, 0]]).bool()).tolist()
    [[-1, 0, 0, 0, 1, 1]]
    """
    return is_placeholder.long().cumsum(1) - 1


class GatedCrossAttention(nn.Module):
    """x + tanh(g₁)·attention(x, pictures), then x + tanh(g₂)·feed-forward(x). Both gates start at 0: nothing changes.

    Args:
        width: of the language model.
        media_width: of the picture tokens.
        heads: of the attention.
        compress: the inner widths are divided by this.

    Source: Flamingo arXiv 2204.14198; COSMO 2401.00849 (compress 2).
    """

    def __init__(self, width: int, media_width: int, heads: int = 8, compress: int = 2) -> None:
        super().__init__()
        inner = max(heads, width // compress // heads * heads)
        self.heads = heads
        self.norm, self.norm_ff = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q = nn.Linear(width, inner, bias=False)
        self.kv = nn.Linear(media_width, 2 * inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)
        hidden = 4 * width // compress
        self.feed = nn.Sequential(nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, width, bias=False))
        self.gate, self.gate_ff = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, media: Tensor, which: Tensor) -> Tensor:
        """Look.

        Args:
            x: [B, L, width].
            media: [B, T, N, media_width] tokens of T pictures.
            which: [B, L] index of the picture each token looks at; -1: none, its attention output is exactly 0.
        """
        b, length, _ = x.shape
        pictures, tokens = media.shape[1:3]

        def split(z: Tensor) -> Tensor:
            found: Tensor = z.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, ·, d]
            return found

        q = split(self.q(self.norm(x)))
        k, v = (split(z) for z in self.kv(media.flatten(1, 2)).chunk(2, -1))
        owner = torch.arange(pictures, device=x.device).repeat_interleave(tokens)
        see = which[:, :, None] == owner  # [B, L, T·N]
        blind = ~see.any(-1)
        # a row that sees nothing would be 0/0: let it see everything, and wipe what comes out
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=(see | blind[..., None])[:, None])
        attended = self.out(attended.transpose(1, 2).reshape(b, length, -1)).masked_fill(blind[..., None], 0.0)
        x = x + self.gate.tanh() * attended
        fed = self.feed(self.norm_ff(x)).masked_fill(blind[..., None], 0.0)
        found: Tensor = x + self.gate_ff.tanh() * fed
        return found
