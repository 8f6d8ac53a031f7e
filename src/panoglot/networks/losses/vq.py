"""Vector quantisation of visual tokens (the codebook captioner of TL;DR)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from panoglot.networks._records import Term
from panoglot.networks.losses._nothing import nothing

__all__ = ["Codebook", "vq"]


def vq(z: Tensor, codes: Tensor, *, beta: float = 0.25, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Term]:
    """Replace vectors by their nearest codes.

    Args:
        z: [..., D].
        codes: [C, D].
        beta: weight of the commitment term.
        mask: z.shape[:-1] bool, which positions count in the loss.

    Returns:
        The quantised vectors (straight-through: their gradient is z's), the indices (ties: the lower one), and
        ‖sg(z) - e‖² + β‖z - sg(e)‖², mean over elements.

    Source: TL;DR arXiv 2305.20087; VQ-VAE.

    >>> import torch
    >>> _, index, term = vq(torch.tensor([[.2, 0], [.9, 1]]), torch.tensor([[0., 0], [1, 1]]))
    >>> index.tolist(), round(float(term.value), 6)
    ([0, 1], 0.015625)
    """
    flat = z.detach().reshape(-1, z.shape[-1])
    distance = flat.square().sum(1, keepdim=True) - 2 * flat @ codes.detach().T + codes.detach().square().sum(1)
    index = distance.argmin(1).reshape(z.shape[:-1])
    chosen = codes[index]
    through = z + (chosen - z).detach()
    a, b = (z, chosen) if mask is None else (z[mask], chosen[mask])
    if not a.numel():
        return through, index, nothing(z, codes)
    value = (a.detach() - b).square().mean() + beta * (a - b.detach()).square().mean()
    return through, index, Term(value, a.numel() // a.shape[-1])


class Codebook(nn.Module):
    """`size` learned codes of `dim` numbers; calling it quantises, see `vq`."""

    def __init__(self, size: int = 1024, dim: int = 768, beta: float = 0.25) -> None:
        super().__init__()
        self.beta = beta
        self.codes = nn.Parameter(torch.empty(size, dim).uniform_(-1 / size, 1 / size))

    def forward(self, z: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Term]:
        """Quantise z [..., D]."""
        return vq(z, self.codes, beta=self.beta, mask=mask)
