"""A teacher that is the moving average of the student."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["Ema"]


class Ema(nn.Module):
    """A copy of a module that follows it: teacher ← m·teacher + (1 - m)·student. It never has gradients.

    Buffers (statistics of norms, counters) are copied, not averaged.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.teacher = copy.deepcopy(student).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Take one step; momentum 1 leaves the teacher as it is."""
        for t, s in zip(self.teacher.parameters(), student.parameters(), strict=True):
            t.lerp_(s.detach().to(t.dtype), 1 - momentum)
        for mine, its in zip(self.teacher.buffers(), student.buffers(), strict=True):
            mine.copy_(its)

    def train(self, mode: bool = True) -> Ema:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, *args: object, **more: object) -> object:
        """Run the teacher without gradient."""
        with torch.no_grad():
            return self.teacher(*args, **more)
