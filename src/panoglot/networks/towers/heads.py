"""Heads: what stands between a tower and the losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError

__all__ = ["Blended", "PrototypeHead", "Residual", "Reward", "Scale", "TokenMlp", "unit"]


def unit(x: Tensor) -> Tensor:
    """Return x / ‖x‖ over the last dimension; a zero vector stays zero."""
    return F.normalize(x, dim=-1, eps=1e-12)


class Scale(nn.Module):
    """A learned multiplier exp(p), kept within limits after every step, and a learned bias where one is wanted.

    Args:
        start: of the multiplier (1/0.07 for CLIP, 1 for ALIGN, e^0.2 for COSMO, 10 for FLAME).
        most: upper limit of the multiplier; the lower one is 1 or the start, whichever is less.
        bias: start of the bias; None has none.
    """

    def __init__(self, start: float = 1 / 0.07, most: float = 100.0, bias: float | None = None) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(start)))
        self.limits = (min(0.0, math.log(start)), math.log(most))
        self.bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamp, as CLIP does, after the optimiser's step."""
        self.log.clamp_(*self.limits)

    def forward(self) -> tuple[Tensor, Tensor | float]:
        """Return (scale, bias)."""
        return self.log.exp(), 0.0 if self.bias is None else self.bias


class TokenMlp(nn.Module):
    """An MLP on every token, then their mean (FLAME's head; no class token).

    Args:
        width: of the tokens.
        dim: of the vector.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, dim), nn.GELU(), nn.Linear(dim, dim), nn.LayerNorm(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [B, dim] of tokens [B, N, width]."""
        found: Tensor = self.mlp(tokens).mean(1)
        return found

    def fill(self, pooled: Tensor, patches: Tensor, f: Any) -> None:
        """Fill in the features that come from the patches."""
        f.x = unit(self(patches))


class PrototypeHead(nn.Module):
    """DINO's head: MLP, unit length, weight-normalised prototypes.

    Args:
        width: of the tower.
        prototypes: how many (65,536 in DINO).
        hidden: of the MLP.
        bottleneck: its last width.
    """

    def __init__(self, width: int, prototypes: int = 65536, hidden: int = 2048, bottleneck: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.last = nn.Parameter(torch.randn(prototypes, bottleneck) * 0.02)

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """Return scores [..., prototypes] of x [..., width]; frozen prototypes have no gradient."""
        return unit(self.mlp(x)) @ unit(self.last.detach() if frozen else self.last).T


class Blended(nn.Linear):
    """A linear map that, when it is not training, stands between where it began and where training brought it.

    Weights half-way between a model that was not trained on the data and one that was keep what the first knew; with
    few data they are better than either.

    Args:
        width: of the input.
        dim: of the output.
        blend: 1 is the trained map, 0 the one that it began as.
        weight: [dim, width] to begin with; None: as a linear layer does, and `blend` is 1.
        bias: [dim] likewise; None: zeros.

    Source: WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903.

    >>> layer = Blended(1, 1, 0.25, torch.tensor([[4.0]]))
    >>> _ = layer.weight.data.fill_(8.0)
    >>> float(layer(torch.ones(1, 1))), float(layer.eval()(torch.ones(1, 1)))
    (8.0, 5.0)
    """

    begin_weight: Tensor
    begin_bias: Tensor

    def __init__(
        self, width: int, dim: int, blend: float = 1.0, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> None:
        super().__init__(width, dim)
        if not 0 <= blend <= 1:
            raise UserError(f"head residual: blend={blend} must be in 0..1.")
        self.blend = 1.0 if weight is None else blend
        if weight is None:
            return
        if weight.shape != self.weight.shape:
            raise UserError(
                f"head residual: what is known goes from {weight.shape[1]} numbers to {weight.shape[0]}, "
                f"the row says {width} and {dim}."
            )
        with torch.no_grad():
            self.weight.copy_(weight)
            self.bias.copy_(torch.zeros(dim) if bias is None else bias)
        self.register_buffer("begin_weight", self.weight.detach().clone())
        self.register_buffer("begin_bias", self.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., dim] of x [..., width]."""
        if self.training or self.blend == 1:
            return super().forward(x)
        weight, bias = (
            torch.lerp(a, b, self.blend) for a, b in ((self.begin_weight, self.weight), (self.begin_bias, self.bias))
        )
        return F.linear(x, weight, bias)


class Residual(nn.Module):
    """A linear map of a frozen tower's vector; with a start, what is known without training, plus that map from zero.

    Args:
        width: of the tower; its vectors are brought to unit length.
        dim: of the vector.
        drop: dropout on the tower's vector: few pictures, many features.
        blend: of `Blended`; used where there is a start.
        start: arrays of a ConSE encoder (`Conse.parts`): the probabilities of the tower's classes mix their labels'
            text vectors. None: the map starts as a linear layer does.

    Source of the start: Norouzi et al. 2014, arXiv 1312.5650, section 3.2.
    """

    classes: Tensor
    class_bias: Tensor
    labels: Tensor

    def __init__(
        self, width: int, dim: int, drop: float = 0.0, blend: float = 1.0, start: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.drop, self.known = nn.Dropout(drop), start is not None
        if start is None:
            self.linear = Blended(width, dim)
            return
        classes, bias, labels = (torch.as_tensor(start[k]) for k in ("classes", "class_bias", "labels"))
        self.linear = Blended(width, dim, blend, torch.zeros(labels.shape[1], classes.shape[1]))
        for name, value in (("classes", classes), ("class_bias", bias), ("labels", labels)):
            self.register_buffer(name, value.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, dim] of vectors x [B, width]."""
        x = unit(x)
        y: Tensor = self.linear(self.drop(x))
        if self.known:
            y = y + unit(F.linear(x, self.classes, self.class_bias).softmax(-1) @ self.labels)
        return y


class Reward(nn.Module):
    """A scalar for a pair of picture and text, from their vectors, their product and their difference.

    The score is brought to mean 0 and deviation 1 by `calibrate`, so that thresholds mean the same in every version.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int, hidden: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(4 * dim + 1, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return rewards [M] of pictures x [M, D] and texts y [M, D]."""
        cosine = F.cosine_similarity(x, y, dim=-1)[:, None]
        raw = self.mlp(torch.cat([x, y, x * y, (x - y).abs(), cosine], -1))[:, 0]
        found: Tensor = (raw - self.mean) / self.deviation
        return found

    @torch.no_grad()
    def calibrate(self, x: Tensor, y: Tensor) -> None:
        """Take mean and deviation from a calibration set."""
        self.mean.zero_()
        self.deviation.fill_(1)
        raw = self(x, y)
        self.mean.copy_(raw.mean())
        self.deviation.copy_(raw.std().clamp(min=1e-6))
