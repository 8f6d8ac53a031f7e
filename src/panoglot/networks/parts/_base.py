"""What parts see and what they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Record, Term
from panoglot.networks.readers import Located
from panoglot.networks.samplers import Sample
from panoglot.networks.towers import Scale

if TYPE_CHECKING:
    from panoglot.networks._step import Step

__all__ = ["Features", "Part", "Widths", "first_texts"]


def first_texts(batch: Batch) -> Tensor:
    """Return [B] the place, among all texts of a batch, of the first text of every record."""
    owner = batch.owner
    places = torch.arange(len(owner), device=owner.device)
    return torch.full((len(batch),), len(owner), device=owner.device).scatter_reduce(0, owner, places, "amin")


@dataclass
class Features:
    """What the towers made of a batch. B pictures, M texts, D of the joint space.

    Attributes:
        x: [B, D] unit picture vectors; y: [M, D] unit text vectors; x2, y2: the same at the second tap.
        patches: [B, N, width] the tower's tokens; local: [B, N, D] the same in the joint space, unit.
        tokens: [M, L, width] the text tower's tokens; token_mask: [M, L].
        ids: [M, L] of the texts, for a composer that reads them itself; langs: their M languages.
        seen_as, read_as: [B, width] and [M, width] the towers' own vectors, before the joint space.
        regions: [B, Q, D], boxes: [B, Q, 4] of the query decoder.
        logits: [B, L, vocabulary] of a language model; seen: [B, N, width] its hidden states at the picture's tokens.
        located: what the row's locator found.
        towers: name → (pooled [B, width], tokens [B, N, width]) of the row's further towers.
    """

    x: Tensor | None = None
    y: Tensor | None = None
    x2: Tensor | None = None
    y2: Tensor | None = None
    patches: Tensor | None = None
    local: Tensor | None = None
    tokens: Tensor | None = None
    token_mask: Tensor | None = None
    ids: Tensor | None = None
    langs: Sequence[str] = ()
    seen_as: Tensor | None = None
    read_as: Tensor | None = None
    regions: Tensor | None = None
    boxes: Tensor | None = None
    logits: Tensor | None = None
    seen: Tensor | None = None
    located: Located | None = None
    towers: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Widths:
    """The sizes a loss, a reader or a bridge is built for; 0: the row has no such thing.

    Attributes:
        dim: of the joint space.
        image: of the picture tower's tokens.
        text: of the text tower's tokens.
        vocabulary: of the text tower.
        size: side of the pictures.
        patch: of the picture tower.
        codes: of the tokeniser; cells: of a picture.
        media: of the picture's tokens as the language model reads them.
        queries: of what the locator finds.
    """

    dim: int
    image: int = 0
    text: int = 0
    vocabulary: int = 0
    size: int = 0
    patch: int = 0
    codes: int = 0
    cells: int = 0
    media: int = 0
    queries: int = 0


class Part(nn.Module):
    """A loss with its parameters. What it says of itself is written as literals: it is read before anything is built.

    Attributes:
        needs: what the model must have, of `NEEDS`; needs_when: (option, value, need), what an option needs besides.
        reads: what an item must have for this loss to learn from it, of `READS`; others are not counted for it.
        gives: what can be done with the model when it has learnt: `encode` (vectors of pictures and texts that are
            compared), `write`, `score` (pairs, by `reward`), `paint`, `locate`, `compose` (vectors of joint queries),
            `late` (a vector a token of queries and passages, compared by MaxSim: `prepared`, `vectors`).
        in_use: `replace` holds outside of training too.
        across: what several processes make of it. `mean`: it is a mean over `count` items, and the trainer makes it the
            mean over the items of all processes. `own`: the part pools the items itself. '': it cannot be, and a run of
            several processes is refused.
        by_features: it needs nothing but x, y, and may be computed on the features of many micro-batches.
    """

    needs: tuple[str, ...] = ()
    needs_when: tuple[tuple[str, Any, str], ...] = ()
    reads: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    in_use = False
    across, by_features = "mean", False

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()

    def forward(self, f: Features, batch: Batch, step: Step) -> Term:
        """Return the loss of the batch.

        Args:
            f: what the towers and readers made of it.
            batch: with what `collate` put into it.
            step: the model, and what may be done with it inside a step: writing and painting without gradient.
        """
        raise NotImplementedError

    def collate(self, out: Batch, items: Sequence[tuple[Record, Sample]], model: Any) -> None:
        """Put what this loss compares with into the batch: `out.targets[…]`, or what several losses share.

        Called for every batch, in the thread that loads it, before anything is moved to another device.
        """

    def check(self, records: Iterable[Any]) -> None:
        """Refuse records that this loss cannot learn from: called before the first step.

        Raises:
            UserError: with what is missing.
        """

    def start(self, model: Any) -> None:
        """Copy what is needed of the model: called when it is whole, and again when a stage takes this loss up."""

    def finish(self, model: Any, batches: Iterable[Batch]) -> None:
        """What is done once after the last step, over the batches of an epoch; nothing by default."""

    def score(self, model: Any, ids: Tensor, mask: Tensor, langs: Sequence[str], patches: Tensor) -> Tensor:
        """Return [M] how well texts ids [M, L] fit pictures, [M, N, ·] as their tower gives them."""
        tokens = model.text(ids, mask, langs)[1]
        return self.reward(tokens, mask[:, : tokens.shape[1]], patches)

    def reward(self, tokens: Tensor, mask: Tensor, patches: Tensor) -> Tensor:
        """Return [M] how well texts fit pictures: of a loss that gives `score`."""
        raise NotImplementedError

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
