"""What is pending of a stage: rows out of Lance by anti-join against its ledger and its rejects, as a Daft frame."""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DAFT_PROGRESS_BAR", "0")  # before Daft looks at it

import daft
import pyarrow as pa
import pyarrow.compute as pc
from daft.io.source import DataSource, DataSourceTask
from daft.recordbatch import RecordBatch
from daft.schema import Schema

from panoglot.running._stage import Stage
from panoglot.table import Dataset, Table, sql_in

if TYPE_CHECKING:
    from daft import DataFrame

__all__ = ["Todo", "made_from", "table_of", "todo"]


@dataclass
class Todo:
    """What is pending of a stage.

    Attributes:
        frame: the pending items.
        held: the table that they are rows of: as long as it is held, its version is not cleaned away.
        version: of that table.
        failing: items that failed before.
        skipped: how many items are done.
        expected: how many are pending, where that is known.
    """

    frame: DataFrame
    held: Any
    version: int | None
    failing: set[str]
    skipped: int
    expected: int | None


def todo(dataset: Dataset, stage: Stage, retry: bool) -> Todo:
    """Find out what is pending: what is in neither the ledger of the stage nor, but for a retry, its rejects."""
    work = dataset.work(stage.id).ensure()
    # a part of a source holds many rows: its rejects are known by their own names, a retry reads the whole part again
    parts = stage.of == "parts" and not stage.groups
    failing = _failing(dataset, stage)
    done = work.read(["item"], "rejected = 0" if parts and retry else None)
    made = made_from(dataset, stage.not_from) if stage.not_from and stage.of == "captions" else []
    total = _total(dataset, stage, made)
    ledger = daft.from_arrow(done)
    if not retry and not parts and failing:
        ledger = ledger.union_all(daft.from_pydict({"item": sorted(failing)}))
    table = table_of(dataset, stage)
    held = table.lance() if table.exists() else None
    version = held.version if held is not None else None
    dropped = dataset.marks.read(["image_id"], "dropped is not null")["image_id"]
    frame = _source(dataset, stage, version, dropped).join(ledger, on="item", how="anti")
    if len(made):
        frame = frame.join(daft.from_arrow(pa.table({"item": made})), on="item", how="anti")
    skipped, known = done.num_rows, 0 if retry else len(failing)
    if stage.only and total is not None:  # the ledger and the rejects hold others too
        ids = table.read([table.key], stage.taken)[table.key]
        skipped = pc.sum(pc.is_in(ids, done["item"].cast(ids.type))).as_py() or 0
        known = 0 if retry else len(failing.intersection(ids.to_pylist()))
    if stage.of == "images" and len(dropped):  # those that were dropped before their turn came are not taken
        left = dropped.filter(pc.invert(pc.is_in(dropped, done["item"].cast(dropped.type))))
        out = set(left.to_pylist()).difference(() if retry else failing)
        if stage.taken:
            out.intersection_update(table.read([table.key], stage.taken)[table.key].to_pylist())
        known += len(out)
    expected = None if total is None else max(0, total - skipped - known)
    return Todo(frame, held, version, failing, skipped, expected)


def _failing(dataset: Dataset, stage: Stage) -> set[str]:
    where = (
        sql_in("stage", ["ingest" if stage.of == "parts" and not stage.groups else stage.id]) + " and resolved is null"
    )
    return set(dataset.rejects.read(["item"], where)["item"].to_pylist())


def _total(dataset: Dataset, stage: Stage, made: pa.Array) -> int | None:
    if stage.of == "parts":
        return None
    if len(made):
        ids = dataset.captions.read(["caption_id"], stage.taken)["caption_id"]
        return len(ids) - (pc.sum(pc.is_in(ids, made)).as_py() or 0)
    return table_of(dataset, stage).count(stage.taken)


def made_from(dataset: Dataset, recipe: str) -> pa.Array:
    """Ids of the captions whose recipe begins with `recipe`, and of all that were made from them, through any number of
    parents."""
    found = dataset.captions.read(["caption_id"], f"starts_with(recipe, '{recipe}')")["caption_id"].combine_chunks()
    rows = dataset.captions.read(["caption_id", "parents"], "array_length(parents) > 0") if len(found) else None
    while rows is not None and rows.num_rows:
        mine = pc.is_in(rows["caption_id"], found)
        rows = rows.filter(pc.invert(mine))
        parents = rows["parents"].combine_chunks()
        places = pc.unique(pc.list_parent_indices(parents).filter(pc.is_in(parents.flatten(), found)))
        new = rows["caption_id"].take(places).combine_chunks()
        if not len(new):
            break
        found = pa.concat_arrays([found, new])
    return found


_ARROW = pa.schema(
    [
        ("item", pa.large_string()),
        ("image", pa.large_string()),
        ("address", pa.uint64()),
        ("payload", pa.large_binary()),
    ]
)
_COLUMNS = Schema.from_pyarrow_schema(_ARROW)


def _batch(item: Any, image: Any, address: Any, payload: Any) -> RecordBatch:
    columns = {"item": item, "image": image, "address": address, "payload": payload}
    return RecordBatch.from_arrow_table(pa.table(columns).cast(_ARROW))


class _Fragment(DataSourceTask):
    """The rows of one Lance fragment: keys and addresses, no pictures."""

    def __init__(self, table: Table, version: int, fragment: int, where: str | None) -> None:
        self.table, self.version, self.fragment, self.where = table, version, fragment, where

    @property
    def schema(self) -> Schema:
        return _COLUMNS

    async def read(self) -> AsyncIterator[RecordBatch]:
        fragment = self.table.lance(self.version).get_fragment(self.fragment)
        assert fragment is not None  # a version keeps its fragments
        names = list(dict.fromkeys([self.table.key, "image_id"]))
        scanner = fragment.scanner(columns=names, filter=self.where, with_row_address=True, batch_size=65_536)
        for rows in scanner.to_batches():
            if rows.num_rows:
                nothing = pa.nulls(rows.num_rows, pa.large_binary())
                yield _batch(rows[self.table.key], rows["image_id"], rows["_rowaddr"], nothing)


class _Parts(DataSourceTask):
    """The parts of a source, listed as they are found."""

    def __init__(self, parts: Any) -> None:
        self.parts = parts

    @property
    def schema(self) -> Schema:
        return _COLUMNS

    async def read(self) -> AsyncIterator[RecordBatch]:
        listing = iter(self.parts())
        while some := list(itertools.islice(listing, 64)):
            keys = [part.key for part in some]
            yield _batch(keys, [""] * len(some), [0] * len(some), [pickle.dumps(part) for part in some])


class _Pending(DataSource):
    def __init__(self, label: str, tasks: list[DataSourceTask]) -> None:
        self.label, self.tasks = label, tasks

    @property
    def name(self) -> str:
        return self.label

    @property
    def schema(self) -> Schema:
        return _COLUMNS

    async def get_tasks(self, pushdowns: Any) -> AsyncIterator[DataSourceTask]:
        for task in self.tasks:
            yield task


def _source(dataset: Dataset, stage: Stage, version: int | None, dropped: pa.ChunkedArray) -> DataFrame:
    """The items of a stage as a Daft frame of (item, address, payload), streaming, without those of dropped images."""
    if stage.of == "parts":
        return _Pending(stage.name, [_Parts(stage.parts)]).read().select("item", "address", "payload")
    table = table_of(dataset, stage)
    fragments = table.lance(version).get_fragments() if version is not None else []
    tasks: list[DataSourceTask] = [_Fragment(table, version, f.fragment_id, stage.taken) for f in fragments]  # type: ignore[arg-type]
    frame: DataFrame = _Pending(stage.name, tasks).read()
    if len(dropped):
        frame = frame.join(daft.from_arrow(pa.table({"image": dropped})), on="image", how="anti")
    return frame.select("item", "address", "payload")


def table_of(dataset: Dataset, stage: Stage) -> Table:
    """The table whose rows are the items of a stage."""
    return dataset.captions if stage.of == "captions" else dataset.images
