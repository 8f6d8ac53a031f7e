"""The thin adapter to Daft: pending rows out of Lance, operators into workers, on this machine or on Ray.

Work is chosen by anti-join against the stage's ledger (and its rejects). Workers read their rows themselves and commit
themselves: pictures never travel through the engine, and a kill costs only what a worker holds.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DAFT_PROGRESS_BAR", "0")  # before Daft looks at it

import daft
import daft.pickle  # Daft ships cloudpickle: operators defined in a script or notebook travel too
import lance
import pyarrow as pa
import pyarrow.compute as pc
from daft import DataType, col
from daft.io.source import DataSource, DataSourceTask
from daft.recordbatch import RecordBatch
from daft.schema import Schema

from panoglot.errors import PanoglotError, UserError, mendable
from panoglot.providers._stop import stopping
from panoglot.running._commit import Committer
from panoglot.running._progress import Progress
from panoglot.running._rows import image_of_row
from panoglot.running._signals import graceful, mind_the_run
from panoglot.running._stage import Item, Stage, StageResult, Worker, add_notes
from panoglot.table import Dataset, Table, caption_from_row, few_arenas, open_dataset, plain_rows, sql_in

if TYPE_CHECKING:
    from daft import DataFrame

__all__ = ["run_stage", "use_cluster"]

#: Daft logs what it raises as well: once is enough.
logging.getLogger("daft_local_execution").setLevel(logging.CRITICAL)

#: Below this many items a stage runs inside this process: starting workers would cost more.
SMALL = 48
#: After so many new rows the key indexes are brought up to date.
REINDEX = 250_000


def use_cluster(address: str | None) -> None:
    """Run the stages of this process on Ray: `ray://host:port` for a cluster, `local` for one on this machine.

    Raises:
        UserError: not an address, Ray is missing, or the cluster cannot be reached.
    """
    if address is None:
        return
    from panoglot.errors import require

    if address != "local" and not address.startswith("ray://") and address != "auto":
        raise UserError(f"cluster '{address}': use local, auto or ray://HOST:PORT.")
    ray = require("ray", "panoglot[cluster]", "--cluster")
    if not ray.is_initialized():
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {"include_dashboard": False, "num_cpus": max(2, os.cpu_count() or 2)}
        else:
            options["address"] = address
        try:
            ray.init(**options)
        except (ConnectionError, TimeoutError, ValueError) as error:
            raise UserError(f"no Ray cluster at '{address}': {error}") from None
    daft.set_runner_ray(noop_if_initialized=True)


def run_stage(
    dataset: Dataset,
    stage: Stage,
    run_id: str,
    *,
    retry: bool = False,
    max_cost: float | None = None,
    on_error: str = "reject",
    limit: int | None = None,
    quiet: bool | None = None,
) -> StageResult:
    """Run what is pending of a stage; the same call again goes on where it stopped.

    Args:
        dataset: the dataset to work on.
        stage: what to do.
        run_id: from `Dataset.start_run`.
        retry: take the stage's rejects up again as well.
        max_cost: US dollars; when they are spent, what was not asked stays pending.
        on_error: `reject` writes a failed row to `rejects` and goes on; `raise` stops at the first.
        limit: at most this many items.
        quiet: no progress bar; None = when standard error is no terminal.

    Raises:
        UserError: the operator met a mistake that only the user can mend (a wrong key, an unreachable server).
    """
    started = time.monotonic()
    if stage.prepare is not None:
        stage = stage.prepare(stage, dataset, run_id)
    _on_this_machine_by_default()
    work = dataset.work(stage.id).ensure()
    # a part of a source holds many rows: its rejects are known by their own names, a retry reads the whole part again
    parts = stage.of == "parts" and not stage.groups
    failing = _failing(dataset, stage)
    done = work.read(["item"], "rejected = 0" if parts and retry else None)
    skipped = done.num_rows
    made = _made_from(dataset, stage.not_from) if stage.not_from and stage.of == "captions" else []
    total = _total(dataset, stage, made)
    result = StageResult(stage.name, stage.id, skipped=skipped)
    ledger = daft.from_arrow(done)
    if not retry and not parts and failing:
        ledger = ledger.union_all(daft.from_pydict({"item": sorted(failing)}))
    table = _table(dataset, stage)
    version = table.lance().version if table.exists() else None
    frame = _source(dataset, stage, version).join(ledger, on="item", how="anti")
    if len(made):
        frame = frame.join(daft.from_arrow(pa.table({"item": made})), on="item", how="anti")
    if limit is not None:
        frame = frame.limit(limit)

    expected = None if total is None else max(0, total - skipped - (0 if retry else len(failing)))
    processes = stage.processes if (expected is None or expected > SMALL) else 0
    clustered = daft.get_or_infer_runner_type() == "ray"
    if clustered:
        processes = max(1, processes)
    retrying = frozenset(failing) if retry else frozenset()
    workers = max(1, processes)
    # fewer than a batch for each worker: share them out
    batch = stage.batch
    if expected is not None and workers > 1:
        batch = max(1, min(batch, -(-expected // (workers * 4))))
    max_each = None if max_cost is None else max_cost / workers
    with graceful() as stop, Progress(stage.name, expected, quiet=quiet) as bar:
        parent = os.getpid() if processes and not clustered else None
        path = str(dataset.path.resolve())
        job = _Job(path, version, stage, run_id, retrying, on_error, max_each, parent, stop)
        options: dict[str, Any] = {"use_process": True, "max_concurrency": processes} if processes else {}
        fatal = _drive(dataset, frame.into_batches(batch), options, job, result, bar)
    result.seconds = time.monotonic() - started
    if fatal is not None:
        raise fatal
    return result


def _on_this_machine_by_default() -> None:
    """Choose Daft's own runner where nothing speaks for Ray: to find that out, Daft would import Ray (0.4 s)."""
    if "ray" in sys.modules or "RAY_JOB_ID" in os.environ or os.environ.get("DAFT_RUNNER", "native") != "native":
        return
    if daft.runners._get_runner() is None:
        daft.set_runner_native()


def _drive(
    dataset: Dataset, frame: DataFrame, options: dict[str, Any], job: _Job, result: StageResult, bar: Progress
) -> Exception | None:
    """Let workers do the job and add up what they say; the error that ended it, if one did."""
    operator = daft.cls(**options)(_DaftOperator)(daft.pickle.dumps(job))
    query = frame.select(operator.run(col("item"), col("address"), col("payload")).alias("r"))
    fatal: Exception | None = None
    indexed = 0
    with contextlib.closing(_partitions(query)) as partitions:
        for part, fatal in partitions:
            result.done += part.done
            result.rejected += part.rejected
            result.pending += part.pending
            result.rows += part.rows
            result.spent.add(part.spent)
            add_notes(result.notes, part.notes)
            bar.update(part.done + part.rejected, result)
            if fatal is not None or part.pending or stopping():
                break  # what is left stays pending
            if result.rows + result.done - indexed > REINDEX:
                indexed = result.rows + result.done
                dataset.reindex()
    return fatal


def _partitions(query: DataFrame) -> Generator[tuple[StageResult, Exception | None], None, None]:
    for partition in _watched(query.iter_partitions()):
        column = partition.to_pydict()["r"] if hasattr(partition, "to_pydict") else _fetch(partition)
        for payload in column:
            if payload is not None:
                yield pickle.loads(payload)  # our own worker's bytes


def _watched(partitions: Iterator[Any]) -> Iterator[Any]:
    """The partitions; a worker that was killed is a line."""
    try:
        yield from partitions
    except RuntimeError as error:
        if "UDF process closed" not in str(error) and "Broken pipe" not in str(error):
            raise
        raise UserError(
            "a worker process was killed (out of memory?); run the same command again: what was committed stays."
        ) from None


def _fetch(partition: Any) -> list[bytes | None]:
    import ray

    column: list[bytes | None] = ray.get(partition).to_pydict()["r"]
    return column


def _failing(dataset: Dataset, stage: Stage) -> set[str]:
    where = (
        sql_in("stage", ["ingest" if stage.of == "parts" and not stage.groups else stage.id]) + " and resolved is null"
    )
    return set(dataset.rejects.read(["item"], where)["item"].to_pylist())


def _total(dataset: Dataset, stage: Stage, made: pa.Array) -> int | None:
    if stage.of == "parts":
        return None
    if len(made):
        ids = dataset.captions.read(["caption_id"], stage.where)["caption_id"]
        return len(ids) - (pc.sum(pc.is_in(ids, made)).as_py() or 0)
    return _table(dataset, stage).count(stage.where)


def _made_from(dataset: Dataset, recipe: str) -> pa.Array:
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


# -- pending rows ------------------------------------------------------------------------------------------------------


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

    def __init__(self, path: str, version: int, fragment: int, key: str, where: str | None) -> None:
        self.path, self.version, self.fragment, self.key, self.where = path, version, fragment, key, where

    @property
    def schema(self) -> Schema:
        return _COLUMNS

    async def read(self) -> AsyncIterator[RecordBatch]:
        fragment = lance.dataset(self.path, version=self.version).get_fragment(self.fragment)
        assert fragment is not None  # a version keeps its fragments
        names = list(dict.fromkeys([self.key, "image_id"]))
        scanner = fragment.scanner(columns=names, filter=self.where, with_row_address=True, batch_size=65_536)
        for rows in scanner.to_batches():
            if rows.num_rows:
                nothing = pa.nulls(rows.num_rows, pa.large_binary())
                yield _batch(rows[self.key], rows["image_id"], rows["_rowaddr"], nothing)


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


def _source(dataset: Dataset, stage: Stage, version: int | None) -> DataFrame:
    """The items of a stage as a Daft frame of (item, address, payload), streaming, without those of dropped images."""
    if stage.of == "parts":
        return _Pending(stage.name, [_Parts(stage.parts)]).read().select("item", "address", "payload")
    table = _table(dataset, stage)
    path = str(table.path.resolve())
    fragments = lance.dataset(path, version=version).get_fragments() if version is not None else []
    tasks: list[DataSourceTask] = [_Fragment(path, version, f.fragment_id, table.key, stage.where) for f in fragments]  # type: ignore[arg-type]
    frame: DataFrame = _Pending(stage.name, tasks).read()
    dropped = dataset.marks.read(["image_id"], "dropped is not null")
    if dropped.num_rows:
        frame = frame.join(daft.from_arrow(dropped.rename_columns(["image"])), on="image", how="anti")
    return frame.select("item", "address", "payload")


def _table(dataset: Dataset, stage: Stage) -> Table:
    return dataset.captions if stage.of == "captions" else dataset.images


# -- in the worker -----------------------------------------------------------------------------------------------------


class _Job:
    """All that a worker needs to know, picklable."""

    def __init__(
        self,
        path: str,
        version: int | None,
        stage: Stage,
        run_id: str,
        retrying: frozenset[str],
        on_error: str,
        max_cost: float | None,
        parent: int | None,
        stop: str,
    ) -> None:
        from dataclasses import replace

        self.path, self.version, self.run_id = path, version, run_id
        self.retrying, self.on_error = retrying, on_error
        self.stage = replace(stage, parts=None, prepare=None)
        self.max_cost, self.parent, self.stop = max_cost, parent, stop


class _DaftOperator:
    """What Daft runs. It answers with one pickled (result, fatal error) a batch; the other rows are null."""

    def __init__(self, job: bytes) -> None:
        self._bytes = job
        self._job: _Job | None = None
        self._fatal: Exception | None = None
        self._turn = threading.Lock()

    def _open(self) -> _Job:
        if self._job is None:
            job: _Job = daft.pickle.loads(self._bytes)
            if job.parent is not None:
                mind_the_run(job.parent, job.stop)
                few_arenas()
            self._worker = Worker(open_dataset(job.path), job.run_id, job.stage.id, job.max_cost, job.retrying)
            # the driver holds the dataset's lock while it lives; a worker that outlives it must hold it too
            self._lock = contextlib.ExitStack()
            self._lock.enter_context(self._worker.dataset.writer())
            job.stage.operator.open(self._worker)
            self._job = job
        return self._job

    @daft.method.batch(return_dtype=DataType.binary())
    def run(self, items: Any, addresses: Any, payloads: Any) -> list[bytes | None]:
        # inside one process Daft gives batches to the same instance from several threads at once
        with self._turn:
            return self._run(items, addresses, payloads)

    def _run(self, items: Any, addresses: Any, payloads: Any) -> list[bytes | None]:
        keys = items.to_pylist()
        answer: list[bytes | None] = [None] * len(keys)
        if self._fatal is not None or not keys or stopping():
            return answer
        try:
            job = self._open()
            if job.parent is not None and os.getppid() != job.parent:
                os._exit(1)  # the run was killed: spend nothing more
            commit = Committer(job.stage, self._worker)
            source: Iterator[Item]
            if job.stage.of == "parts":
                parts = zip(keys, payloads.to_pylist())
                source = (Item(key, part=pickle.loads(raw)) for key, raw in parts if not stopping())
            else:
                source = _load(self._worker.dataset, job, keys, addresses.to_pylist())

            def emit(key: str, outcome: Any) -> None:
                if outcome.reject is not None and job.on_error == "raise":
                    commit.flush()
                    raise UserError(f"{job.stage.name}: {key}: {outcome.reject} (on_error='raise')")
                commit.emit(key, outcome)

            try:
                job.stage.operator.process(source, emit)
            finally:
                commit.flush()
            answer[0] = pickle.dumps((commit.result, None))
            if stopping():
                self._close()
        except PanoglotError as error:
            answer[0] = self._give_up(error)
        except Exception as error:
            line = mendable(error)
            if line is None:
                self._fatal = error
                raise
            answer[0] = self._give_up(UserError(line))
        return answer

    def _give_up(self, error: Exception) -> bytes:
        """Ask nothing more of this operator; what the driver is told."""
        self._fatal = error
        self._close()
        return pickle.dumps((StageResult(""), error))

    def _close(self) -> None:
        """Release models, connections and the lock; at the end of the worker or as soon as the run cannot go on."""
        if self._job is not None:
            with contextlib.suppress(Exception):
                self._job.stage.operator.close()
                self._lock.close()
            self._job = None

    def __del__(self) -> None:
        if not sys.is_finalizing():  # too late: closing an event loop would wait for threads that are gone
            self._close()


def _load(dataset: Dataset, job: _Job, keys: list[str], addresses: list[int]) -> Iterator[Item]:
    """Load rows a few at a time, as the operator asks for them, at the version that the addresses belong to."""
    stage, chunk = job.stage, 32
    table = _table(dataset, stage)
    data = lance.dataset(str(table.path), version=job.version)
    for start in range(0, len(keys), chunk):
        if stopping():
            return  # what is not begun stays pending
        rows = plain_rows(data._take_rows(addresses[start : start + chunk], columns=table.schema.names))
        by_key = {row[table.key]: row for row in rows}
        if stage.of == "images":
            captions = dataset.captions_of(by_key) if stage.with_captions else {}
            for key in keys[start : start + chunk]:
                if stopping():
                    return
                yield Item(key, image=image_of_row(by_key.pop(key), captions.get(key, ())))
        else:
            images = {}
            if stage.with_images:
                ids = list(dict.fromkeys(row["image_id"] for row in rows))
                images = {row["image_id"]: image_of_row(row) for row in plain_rows(dataset.images.get(ids))}
            for key in keys[start : start + chunk]:
                row = by_key.pop(key)
                yield Item(key, caption=caption_from_row(row), image=images.get(row["image_id"]))
