"""Bottleneck adapters: x + U·gelu(D·x), plain or with Kronecker-factored projections (Compacter)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError

__all__ = ["Adapter", "Compacter", "KroneckerLinear"]


class Adapter(nn.Module):
    """Down to width/reduction, GELU, up again, added to the input.

    Args:
        width: of the model.
        reduction: how many times narrower the bottleneck is.
        zero: start with U = 0, the identity. False starts like an ordinary linear layer (as the release does).

    Source: VL-Adapter arXiv 2112.06825.

    >>> sum(p.numel() for p in Adapter(768, 8).parameters())       # 2·768·96 + 96 + 768
    148320
    """

    down: nn.Module
    up: nn.Module

    def __init__(self, width: int, reduction: int = 16, *, zero: bool = True) -> None:
        super().__init__()
        if width % reduction:
            raise UserError(f"adapter: a width of {width} cannot be reduced {reduction} times.")
        self.down = nn.Linear(width, width // reduction)
        self.up = nn.Linear(width // reduction, width)
        if zero:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt x [..., width]."""
        found: Tensor = x + self.up(F.gelu(self.down(x)))
        return found


class KroneckerLinear(nn.Module):
    """A linear layer whose weight is Σ_i A_i ⊗ B_i, with A_i [n, n] and B_i [out/n, in/n].

    Args:
        inputs: features in.
        outputs: features out.
        n: number of products; 1 is an ordinary linear layer (times a scalar).
        rank: factorise every B_i to this rank; None keeps it whole.
        shared: use these A [n, n, n] instead of own ones.
        zero: start with weight 0.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        n: int = 4,
        *,
        rank: int | None = None,
        shared: nn.Parameter | None = None,
        zero: bool = False,
    ) -> None:
        super().__init__()
        if inputs % n or outputs % n:
            raise UserError(f"compacter: {inputs} and {outputs} must be multiples of n={n}.")
        self.left = nn.Parameter(torch.eye(n).expand(n, n, n).clone() / n) if shared is None else shared
        a, b = outputs // n, inputs // n
        self.right = nn.Parameter(torch.zeros(n, a, b if rank is None else rank))
        self.thin = None if rank is None else nn.Parameter(torch.empty(n, rank, b).normal_(std=inputs**-0.5))
        if not zero:
            nn.init.normal_(self.right, std=inputs**-0.5 if rank is None else 1.0)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def weight(self) -> Tensor:
        """Return the dense weight [outputs, inputs]."""
        b = self.right if self.thin is None else self.right @ self.thin
        n, a, c = b.shape
        return torch.einsum("ipq,iab->paqb", self.left, b).reshape(n * a, n * c)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x [..., inputs]."""
        return F.linear(x, self.weight(), self.bias)


class Compacter(Adapter):
    """An adapter with Kronecker projections.

    Args:
        width: of the model; a multiple of n, and so its bottleneck.
        reduction: as in `Adapter`.
        n: products a projection.
        rank: of the factorised B_i (Compacter: 1); None keeps them whole (VL-Adapter's image script).
        shared: the A of all adapters.
        zero: start as the identity.

    Source: Compacter arXiv 2106.04647; VL-Adapter uses n=2, reduction 8, nothing shared or factorised.
    """

    def __init__(
        self,
        width: int,
        reduction: int = 16,
        n: int = 4,
        *,
        rank: int | None = 1,
        shared: nn.Parameter | None = None,
        zero: bool = True,
    ) -> None:
        super().__init__(width, reduction, zero=zero)
        middle = width // reduction
        self.down = KroneckerLinear(width, middle, n, rank=rank, shared=shared)
        self.up = KroneckerLinear(middle, width, n, rank=rank, shared=shared, zero=zero)
