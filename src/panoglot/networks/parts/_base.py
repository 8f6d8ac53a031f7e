"""What parts see and what they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Term
from panoglot.networks.towers import Scale

__all__ = ["Features", "Part", "Widths"]


@dataclass
class Features:
    """What the towers made of a batch. B pictures, M texts, D of the joint space.

    Attributes:
        x: [B, D] unit picture vectors; y: [M, D] unit text vectors; x2, y2: the same at the second tap.
        patches: [B, N, width] the tower's tokens; local: [B, N, D] the same in the joint space, unit.
        tokens: [M, L, width] the text tower's tokens; token_mask: [M, L].
        regions: [B, Q, D], boxes: [B, Q, 4] of the query decoder.
        logits: [B, L, vocabulary] of a language model; seen: [B, N, width] its hidden states at the picture's tokens.
    """

    x: Tensor | None = None
    y: Tensor | None = None
    x2: Tensor | None = None
    y2: Tensor | None = None
    patches: Tensor | None = None
    local: Tensor | None = None
    tokens: Tensor | None = None
    token_mask: Tensor | None = None
    regions: Tensor | None = None
    boxes: Tensor | None = None
    logits: Tensor | None = None
    seen: Tensor | None = None


@dataclass(frozen=True)
class Widths:
    """The sizes a part is built for."""

    dim: int
    image: int = 0
    text: int = 0
    vocabulary: int = 0
    size: int = 0
    patch: int = 0


class Part(nn.Module):
    """A loss with its parameters.

    Attributes:
        across: what several processes make of it. `mean`: it is a mean over `count` items, and the trainer makes it the
            mean over the items of all processes. `own`: the part pools the items itself. '': it cannot be, and a run of
            several processes is refused.
        by_features: it needs nothing but x, y, and may be computed on the features of many micro-batches.
    """

    across, by_features = "mean", False

    def forward(self, f: Features, batch: Batch, model: Any) -> Term:
        """Return the loss of the batch."""
        raise NotImplementedError

    def check(self, records: Iterable[Any]) -> None:
        """Refuse records that this loss cannot learn from: called before the first step.

        Raises:
            UserError: with what is missing.
        """

    def start(self, model: Any) -> None:
        """Copy what is needed of the model: called when it is whole, and again when a stage takes this loss up."""

    def replace(self, media: Tensor, real: Tensor, batch: Batch, model: Any) -> Tensor:
        """Return the picture's tokens [B, T, N, ·] (`real` [B, T, N]) as the language model is to see them."""
        return media

    def in_processes(self, name: str, processes: Any, batch: int) -> None:
        """Called at the start of a stage in a run of several processes; `batch` items are in a step of all of them."""
        if not self.across:
            raise UserError(
                f"The loss '{name}' compares items with all others of a step, which works within one process only; "
                "use one process, with accumulate for a larger batch."
            )

    def after_step(self, model: Any, step: int, total: int) -> None:
        """What happens after the optimiser's step: limits, moving averages."""
        for module in self.modules():
            if isinstance(module, Scale):
                module.after_step()
