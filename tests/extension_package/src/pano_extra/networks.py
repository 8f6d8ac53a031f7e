"""A loss, a tower and a sampler of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.networks import Batch, Record, Term
from panoglot.networks.parts import Features, Part, Widths
from panoglot.networks.samplers import Sample


class Pull(Part):
    """The squared distance of a picture and its texts."""

    needs, reads, gives = (), ("picture", "text"), ()

    def __init__(self, widths: Widths, power: float = 2.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the mean over texts."""
        assert f.x is not None
        assert f.y is not None
        apart = (f.x[batch.owner] - f.y).abs() ** self.power
        return Term(apart.sum(1).mean(), len(f.y))


class Flat(nn.Module):
    """The mean colour of a picture, through one layer."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.layer = nn.Linear(3, width)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode [B, 3, H, W]; returns [B, width] and [B, 1, width]."""
        pooled: Tensor = self.layer(pixels.mean(dim=(2, 3)))
        return pooled, torch.unsqueeze(pooled, 1)


@dataclass(frozen=True)
class Last:
    """The last text of a record."""

    def items(self, record: Record) -> int:
        """1 when there is a text."""
        return int(bool(record.texts))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return it."""
        return Sample([record.texts[-1]], lang=record.texts[-1].lang)
