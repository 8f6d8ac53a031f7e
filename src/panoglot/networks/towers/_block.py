"""The transformer block that the small towers and decoders share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError

__all__ = ["Attention", "Block", "causal_mask", "initialise"]


def causal_mask(length: int, prefix: Tensor | int = 0, device: torch.device | None = None) -> Tensor:
    """Return who may see whom, bool [B, L, L]: earlier positions, and all see the whole prefix.

    Args:
        length: L.
        prefix: [B] length of the part that sees itself in both directions (Croc's mixed mask); 0 is plain causal.
        device: where.

    >>> causal_mask(5, 3).int()[0, 2:].tolist()
    [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    """
    at = torch.arange(length, device=device)
    prefix = torch.as_tensor(prefix, device=device).reshape(-1, 1, 1)
    return (at[:, None] >= at) | (at < prefix)


class Attention(nn.Module):
    """Multi-head attention of x on `memory` (itself when None)."""

    def __init__(self, width: int, heads: int, memory_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"A width of {width} cannot be cut into {heads} heads.")
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(memory_width or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, see: Tensor | None = None, place: Tensor | None = None
    ) -> Tensor:
        """Attend. `see` is bool [B, L, M]; a row that may see nothing gives exactly 0, not NaN.

        `place` [L, width] is added to what asks, and in self-attention to the keys; never to the values.
        """
        own = memory is None
        asks = x if place is None else x + place
        keys, values = self.kv(x if memory is None else memory).chunk(2, -1)
        if own and place is not None:
            keys = self.kv(asks).chunk(2, -1)[0]
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in (self.q(asks), keys, values))
        if see is None:
            out = F.scaled_dot_product_attention(q, k, v)
            seen: Tensor = self.out(out.transpose(1, 2).flatten(2))
            return seen
        blind = ~see.any(-1, keepdim=True)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=(see | blind)[:, None])
        found: Tensor = self.out(out.transpose(1, 2).flatten(2)).masked_fill(blind, 0.0)
        return found


class Block(nn.Module):
    """Pre-norm self-attention, optional cross-attention, feed-forward; dropout on each."""

    def __init__(
        self, width: int, heads: int, *, memory_width: int | None = None, ratio: float = 4.0, drop: float = 0.0
    ):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm_memory = nn.LayerNorm(width) if memory_width else None
        self.cross = Attention(width, heads, memory_width) if memory_width else None
        self.norm2 = nn.LayerNorm(width)
        hidden = int(width * ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.drop = nn.Dropout(drop)

    def forward(
        self,
        x: Tensor,
        see: Tensor | None = None,
        memory: Tensor | None = None,
        see_memory: Tensor | None = None,
        place: Tensor | None = None,
    ) -> Tensor:
        """Run x [B, L, width]; `see` [B, L, L], `memory` [B, M, ·], `see_memory` [B, L, M], `place` of `Attention`."""
        x = x + self.drop(self.attention(self.norm1(x), see=see, place=place))
        if self.cross is not None and self.norm_memory is not None and memory is not None:
            x = x + self.drop(self.cross(self.norm_memory(x), memory, see_memory, place))
        found: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return found


def initialise(blocks: nn.ModuleList, width: int) -> None:
    """CLIP's initialisation: projections into the residual stream shrink with its depth."""
    inner, outer = width**-0.5, width**-0.5 * (2 * max(1, len(blocks))) ** -0.5
    for name, p in blocks.named_parameters():
        if p.dim() < 2:
            continue
        last = name.endswith(("out.weight", "mlp.2.weight"))
        nn.init.normal_(p, std=outer if last else (2 * width) ** -0.5 if "mlp.0" in name else inner)
