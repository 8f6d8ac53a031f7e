"""A stage of a run: what holds in it, its data, and where it lies among the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from panoglot.errors import UserError
from panoglot.networks._data import Data
from panoglot.networks._freeze import FreezePlan, freeze
from panoglot.networks._model import Model
from panoglot.networks._optimiser import make_optimiser
from panoglot.networks._records import Record
from panoglot.networks._row import Row
from panoglot.networks._schedule import schedule
from panoglot.networks._streams import Streams, make_data

__all__ = ["Stage", "begin", "make_schedule", "make_stages"]


@dataclass(frozen=True)
class Stage:
    """What `make_stages` makes of a row.

    Attributes:
        name: '' where the row has no stages.
        row: what holds.
        data: its items.
        first: its first step, counted from the start of the run; first_epoch likewise.
        per_epoch: steps an epoch.
        factor: step of the stage → factor of the learning rate.
        period: steps between two snapshots; 0: none are kept.
        plan: what learns.
    """

    name: str
    row: Row
    data: Data | Streams
    first: int
    first_epoch: int
    per_epoch: int
    factor: Callable[[int], float]
    period: int
    plan: FreezePlan

    @property
    def total(self) -> int:
        """Its steps."""
        return self.per_epoch * self.row.epochs

    def freeze(self, model: Model) -> FreezePlan:
        """Make the model compute the losses of this stage, and learn what it lets learn."""
        return begin(model, self.row)


def begin(model: Model, row: Row) -> FreezePlan:
    """Make the model compute the losses of a stage's row, and learn what it lets learn."""
    model.begin(row.losses, row.streams)
    idle = [
        name for name, part in model.parts.items() if name not in model.active and any(True for _ in part.parameters())
    ]
    return freeze(model, [*row.freeze, *({"freeze": f"parts.{name}.*"} for name in idle)])


def make_stages(row: Row, records: Sequence[Record], model: Model, seed: int, augment: bool) -> list[Stage]:
    """Make every stage of a row, so that a mistake in the last one is found before the first step.

    Raises:
        UserError: settings that do not fit, or too little data for a stage.
    """
    out: list[Stage] = []
    step = epoch = 0
    for name, r in row.each_stage():
        try:
            plan = begin(model, r)
            data = make_data(records, model, seed, augment=augment, row=r)
            for part in model.active.values():
                part.check(data.records.values())
            per_epoch = len(data.plan(0))
            factor, period = make_schedule(r, per_epoch)
            parts = model.active.values()
            if r.streams:
                _refuse_streams(model, r)
            by_features = len(parts) == 1 and all(p.by_features for p in parts)
            if r.accumulate > 1 and not by_features and any(p.across != "mean" for p in parts):
                raise UserError("accumulate: a loss that compares items with each other can be accumulated alone only.")
            make_optimiser([{"params": [next(model.parameters())], "lr": 1.0}], r.optimiser)
        except UserError as error:
            raise UserError(f"Stage '{name}': {error}") if name else error from None
        out.append(Stage(name, r, data, step, epoch, per_epoch, factor, period, plan))
        step, epoch = step + per_epoch * r.epochs, epoch + r.epochs
    return out


def _refuse_streams(model: Model, row: Row) -> None:
    """Refuse what cannot be computed stream by stream."""
    for name, part in model.active.items():
        if part.across != "mean" and len(model.sees[name]) > 1:
            raise UserError(
                f"the loss '{name}' compares items with each other, within one stream: "
                f"losses: {{{name}: {{streams: [{model.sees[name][0]}]}}}}."
            )
        if part.across != "mean" and row.accumulate > 1:
            raise UserError(f"accumulate: the loss '{name}' cannot be accumulated where a step mixes streams.")


def make_schedule(row: Row, per_epoch: int) -> tuple[Callable[[int], float], int]:
    """Return the schedule of a stage with shares of the run and numbers of epochs turned into steps, and its period."""
    total, options = per_epoch * row.epochs, dict(row.schedule)
    kind: Any = options.pop("kind", "cosine")
    for key in ("warmup", "period", "every"):  # below 1: a share of the run; of an epoch with the suffix _epochs
        if isinstance(options.get(key), float) and options[key] < 1:
            options[key] = max(1, round(options[key] * total))
        if f"{key}_epochs" in options:
            options[key] = max(1, round(options.pop(f"{key}_epochs") * per_epoch))
    factor = schedule(kind, total, **options)
    if row.snapshots and kind != "cyclic_cosine":
        raise UserError("snapshots: are taken at the end of every period; use schedule: {kind: cyclic_cosine, …}.")
    return factor, int(options["period"]) if row.snapshots else 0
