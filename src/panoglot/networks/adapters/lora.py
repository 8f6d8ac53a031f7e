"""Low-rank updates of linear layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError

__all__ = ["LoRA"]


class LoRA(nn.Module):
    """W·x + (alpha/rank)·B·A·x beside a linear layer, which keeps its own weight and name. B starts at 0.

    Args:
        linear: the layer; not copied, not owned.
        rank: of the update.
        alpha: its size.
        dropout: on the input of the update, in training.

    Source: LoRA arXiv 2106.09685; VL-Adapter uses rank 128, alpha 32, dropout .1 on query and value.
    """

    def __init__(self, linear: nn.Linear, rank: int = 4, alpha: float = 32.0, dropout: float = 0.0) -> None:
        super().__init__()
        if not isinstance(linear, nn.Linear):
            raise UserError(f"lora: needs a linear layer, got {type(linear).__name__}.")
        weight = linear.weight
        self.a = nn.Parameter(weight.new_empty(rank, linear.in_features).normal_(std=linear.in_features**-0.5))
        self.b = nn.Parameter(weight.new_zeros(linear.out_features, rank))
        self.factor, self.dropout, self.merged = alpha / rank, dropout, False
        self._linear = [linear]  # in a list: not a submodule

    def update(self, x: Tensor) -> Tensor:
        """Return what is added to the layer's output; 0 while merged."""
        x = F.dropout(x, self.dropout, self.training)
        return self.factor * F.linear(F.linear(x, self.a), self.b)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the update to the layer's weight (inference at no cost).

        Raises:
            UserError: merged already, or in training mode: either would corrupt the weights.
        """
        if self.merged or self.training:
            raise UserError("lora: merge once, in evaluation mode." if self.training else "lora: is merged already.")
        self._linear[0].weight += self.factor * self.b @ self.a
        self.merged = True

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take the update out again."""
        if not self.merged:
            raise UserError("lora: is not merged.")
        self._linear[0].weight -= self.factor * self.b @ self.a
        self.merged = False
