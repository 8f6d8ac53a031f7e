"""When to stop: the epoch that did best on what is held out is what is kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError
from panoglot.networks._checkpoint import read_state, write_state
from panoglot.networks._streams import make_data
from panoglot.networks.parts import Part

if TYPE_CHECKING:
    from panoglot.networks._records import Batch, Record
    from panoglot.training._trainer import Trainer

__all__ = ["Best", "batches_of", "close", "judged"]

FILE = "best.pt"


class Best:
    """Of a run whose row says `stop: {patience: n}`.

    Args:
        trainer: the run.
        held_out: what its losses that judge are asked about after every epoch.

    Attributes:
        value: the best one so far; None before the first epoch.
        waited: epochs since then.
        values: of every epoch so far.
    """

    def __init__(self, trainer: Trainer, held_out: Sequence[Record]) -> None:
        self.patience = int(trainer.row.stop.get("patience", 2))
        self.trainer, self.value, self.waited = trainer, float("-inf"), 0
        self.values: list[float] = []
        self._held_out: list[Record] = list(held_out)
        self._data: Any = None
        self._kept: dict[str, Any] = {}
        self._part: Any = next((p for p in trainer.model.parts.values() if hasattr(p, "judge")), None)
        if self._part is None:
            raise UserError(f"stop: no loss of '{trainer.row.method}' can say how well it does on what is held out.")

    def look(self) -> bool:
        """Judge an epoch that ended, and keep it where it is the best; returns whether to stop."""
        trainer, part = self.trainer, self._part
        if self._data is None:
            try:
                row = trainer.stage.row
                self._data = make_data(self._held_out, trainer.model, trainer.seed, augment=False, row=_small(row))
            except UserError:
                self._data = False
                trainer.notes.append(
                    "no early stopping: nothing held out can be judged (--held-out, or a split, keeps some of the data)"
                )
        if self._data is False:
            return False
        found = part.judge(trainer.model, batches_of(trainer, self._data))
        if found is None:
            return False
        self.values.append(found)
        self.waited = 0 if found > self.value else self.waited + 1
        if not self.waited:
            self.value = found
            state = trainer.processes.state(trainer.model, trainer.optimiser)["model"]
            if trainer.run is None:
                self._kept = copy.deepcopy(state)
            elif trainer.processes.main:
                trainer.run.mkdir(parents=True, exist_ok=True)
                write_state(trainer.run / FILE, {"model": state})
        return self.waited >= self.patience

    def restore(self) -> None:
        """Give the model what it had learnt in the best epoch."""
        if not self.values:
            return
        run = self.trainer.run
        state = {"model": self._kept} if run is None else read_state(run / FILE, None)
        self.trainer.processes.load(self.trainer.model, None, state)

    def said(self) -> dict[str, Any]:
        """Return what is stored with a checkpoint."""
        return {"values": self.values, "value": self.value if self.values else None, "waited": self.waited}

    def take(self, said: dict[str, Any]) -> None:
        """Go on from what was stored."""
        self.values, self.waited = list(said["values"]), int(said["waited"])
        self.value = float("-inf") if said["value"] is None else float(said["value"])


def _small(row: Any) -> Any:
    """The row with steps of one item: nothing of what is held out is left over."""
    from dataclasses import replace

    return replace(row, batch=1, accumulate=1, languages={})


def judged(trainer: Trainer, held_out: Sequence[Record]) -> dict[str, Any]:
    """Return the share of pairs of held-out captions that the reward has in people's order, and the cosine.

    Returns:
        `pairs`: `reward`, and `cosine` where the towers came with a common space; nothing where nothing can be judged.
    """
    judges = (p for p in trainer.model.parts.values() if hasattr(p, "judge") and "score" in p.gives)
    part: Any = next(judges, None)
    if part is None or not held_out:
        return {}
    try:
        data = make_data(held_out, trainer.model, trainer.seed, augment=False, row=_small(trainer.row))
    except UserError:
        return {}
    found = {"reward": part.judge(trainer.model, batches_of(trainer, data))}
    if trainer.row.head.get("kind") == "own":
        found["cosine"] = part.judge(trainer.model, batches_of(trainer, data), cosine=True)
    return {"pairs": found}


def batches_of(trainer: Trainer, data: Any) -> Iterator[Batch]:
    """Yield all of some items, in the order of their first epoch."""
    for step in data.plan(0):
        batch, _, _ = data.load(step, 0)
        if len(batch):
            yield batch.to(trainer.processes.device)


def close(trainer: Trainer) -> None:
    """After the last step: what the best epoch had learnt, and what losses do with a model that has learnt."""
    if trainer.best is not None:
        trainer.best.restore()
    for part in trainer.model.active.values():
        if type(part).finish is not Part.finish:
            part.finish(trainer.model, batches_of(trainer, trainer.data))
