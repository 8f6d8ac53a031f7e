"""A step that mixes streams: pairs, pictures alone, texts alone, each with a sampler of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from panoglot.errors import UserError
from panoglot.networks._data import Data, Loading
from panoglot.networks._model import Model
from panoglot.networks._needs import streams_of
from panoglot.networks._records import Batch, Record
from panoglot.networks._row import Row
from panoglot.networks.samplers import batches, mix, shares

__all__ = ["Streams", "make_data"]


def make_data(
    records: Sequence[Record], model: Model, seed: int = 0, *, augment: bool = True, row: Row | None = None
) -> Data | Streams:
    """Return the items of a run: of one stream, or of as many as the row names; the arguments are those of `Data`."""
    row = model.row if row is None else row
    kind = Streams if row.streams else Data
    return kind(records, model, seed, augment=augment, row=row)


class Streams(Loading):
    """The items of a row with streams; what `Data` is for one.

    A record belongs to the first stream whose `loaders` name its loader, or, where none does, to the first without
    `loaders` that its picture and texts fit; where none does, to the first that takes less: of a pair its
    picture. The shares hold in every stretch of an epoch within one item; a stream that is used up begins anew.

    Args:
        records: what there is.
        model: for its row and its tokenisers.
        seed: of everything random.
        augment: random crops.
        row: a stage of the model's row.

    Attributes:
        each: stream → its items.
    """

    def __init__(
        self, records: Sequence[Record], model: Model, seed: int = 0, *, augment: bool = True, row: Row | None = None
    ) -> None:
        self.row = row = model.row if row is None else row
        model.learn_tokens(records)
        self.seed, self.each = seed, {}
        sees = streams_of(row.losses, row.streams)
        total = sum(float(spec.get("share", 1.0)) for spec in row.streams.values())
        taken: dict[str, list[Record]] = {name: [] for name in row.streams}
        self.skipped: Counter[str] = Counter()
        self.fallbacks = self.lost = 0
        for r in records:
            name = self._stream(r)
            if name is None:
                self.skipped["in_no_stream"] += 1
            else:
                taken[name].append(r)
        for name, spec in row.streams.items():
            losses = {n: o for n, o in row.losses.items() if name in sees[n]}
            if not losses:
                raise UserError(f"stream {name}: no loss learns from it; losses: {{…: {{streams: [{name}]}}}}.")
            has = spec.get("has", ("picture", "text"))
            share = max(1, int(row.batch * float(spec.get("share", 1.0)) / total))
            changes: dict[str, Any] = {"losses": losses, "streams": {}, "batch": share}
            changes |= {key: spec[key] for key in ("sampler", "select") if key in spec}
            if "picture" not in has:
                changes["image"] = None
            if "text" not in has:
                changes |= {"text": None, "sampler": spec.get("sampler", {"kind": "pictures"})}
            try:
                self.each[name] = Data(taken[name], model, seed, augment=augment, row=replace(row, **changes))
            except UserError as error:
                raise UserError(f"Stream '{name}': {error}") from None
            for reason, count in self.each[name].skipped.items():
                self.skipped[f"{name}: {reason}"] += count
        self.records = {id_: r for data in self.each.values() for id_, r in data.records.items()}
        self.items = [item for data in self.each.values() for item in data.items]
        self._of = {id_: name for name, data in self.each.items() for id_ in data.records}

    def _stream(self, r: Record) -> str | None:
        there = {"picture"} if r.image is not None or r.asset is not None or "image" in r.vectors else set()
        there |= {"text"} if r.texts or r.turns or "text" in r.vectors else set()
        for name, spec in self.row.streams.items():
            if r.loader in spec.get("loaders", ()):
                return name
        has = {n: set(s.get("has", ("picture", "text"))) for n, s in self.row.streams.items() if not s.get("loaders")}
        fits = [name for name, asked in has.items() if asked == there]
        return next(iter([*fits, *(name for name, asked in has.items() if asked <= there)]), None)

    def plan(self, epoch: int) -> list[list[tuple[str, int]]]:
        """Return the steps of an epoch; a function of (seed, epoch) and the items."""
        pools = {name: data.items for name, data in self.each.items()}
        weights = {name: float(spec.get("share", 1.0)) for name, spec in self.row.streams.items()}
        share = shares({n: len(p) for n, p in pools.items()}, weights)
        order = [item for _, item in mix(pools, share, self.seed, epoch, length=len(self.items))]
        return batches(order, self.row.batch)

    def load(
        self, step: Sequence[tuple[str, int]], epoch: int, each: Callable[..., Iterable[Any]] = map
    ) -> tuple[Batch, Counter[str], int]:
        """Make the tensors of a step, stream by stream; see `Data.load`."""
        out, skipped, fallbacks = Batch(), Counter[str](), 0
        for name, data in self.each.items():
            part, broken, fell = data.load([item for item in step if self._of[item[0]] == name], epoch, each)
            skipped += broken
            fallbacks += fell
            if len(part):
                out.streams[name] = part
        out.ids = [id_ for part in out.streams.values() for id_ in part.ids]
        out.lost = sum(part.lost for part in out.streams.values())
        return out, skipped, fallbacks
