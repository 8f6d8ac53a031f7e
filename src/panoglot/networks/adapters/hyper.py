"""Adapters whose weights a small network makes from the task and the place (Hyperformer)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError, did_you_mean

__all__ = ["HyperAdapter", "Hypernet"]


class Hypernet(nn.Module):
    """Makes the weights of all adapters: embeddings of task and place → MLP → linear maps to weights and biases.

    Args:
        width: of the model.
        reduction: how many times narrower the bottleneck is.
        tasks: names of the tasks.
        places: adapters in the model, each with an embedding of its own.
        embed: width of an embedding.
        hidden: of the MLP.
        zero: start with U = 0, the identity.

    Source: Hyperformer arXiv 2106.04489 (section 2); VL-Adapter arXiv 2112.06825.
    """

    def __init__(
        self,
        width: int,
        reduction: int,
        tasks: Sequence[str],
        places: int,
        embed: int = 64,
        hidden: int = 128,
        zero: bool = True,
    ) -> None:
        super().__init__()
        if width % reduction:
            raise UserError(f"hyperformer: a width of {width} cannot be reduced {reduction} times.")
        middle = width // reduction
        self.tasks = list(tasks)
        self.task, self.place = nn.Embedding(len(self.tasks), embed), nn.Embedding(places, embed)
        self.mlp = nn.Sequential(nn.Linear(2 * embed, hidden), nn.ReLU(), nn.Linear(hidden, embed))
        self.down, self.down_bias = nn.Linear(embed, middle * width), nn.Linear(embed, middle)
        self.up, self.up_bias = nn.Linear(embed, width * middle), nn.Linear(embed, width)
        self.shape = (middle, width)
        nn.init.normal_(self.down.weight, std=(embed * width) ** -0.5)
        nn.init.zeros_(self.down.bias)
        for layer in (self.up, self.up_bias):
            nn.init.zeros_(layer.bias)
            nn.init.zeros_(layer.weight) if zero else nn.init.normal_(layer.weight, std=(embed * middle) ** -0.5)

    def forward(self, task: str, place: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return D [middle, width], its bias, U [width, middle], its bias, of a task at a place.

        Raises:
            UserError: an unknown task.
        """
        if task not in self.tasks:
            raise UserError(f"No adapters for the task '{task}'.{did_you_mean(task, self.tasks)}")
        both = torch.cat([self.task.weight[self.tasks.index(task)], self.place.weight[place]])
        z = self.mlp(both)
        down, up = self.down(z).view(self.shape), self.up(z).view(self.shape[::-1])
        return down, self.down_bias(z), up, self.up_bias(z)


class HyperAdapter(nn.Module):
    """The adapter at one place: x + U·gelu(D·x), with the weights of a network that all places share.

    Args:
        net: makes the weights.
        place: its number.
    """

    def __init__(self, net: Hypernet, place: int) -> None:
        super().__init__()
        self.net, self.place = net, place

    def forward(self, x: Tensor, task: str) -> Tensor:
        """Adapt x [..., width] for a task."""
        down, down_bias, up, up_bias = self.net(task, self.place)
        return x + F.linear(F.gelu(F.linear(x, down, down_bias)), up, up_bias)
