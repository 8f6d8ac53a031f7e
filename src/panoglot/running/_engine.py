"""The thin adapter to Daft: pending rows out of Lance, operators into workers, on this machine or on Ray.

Work is chosen by anti-join against the stage's ledger (and its rejects). Workers read their rows themselves and commit
themselves: pictures never travel through the engine, and a kill costs only what a worker holds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import re
import sys
import threading
import time
from collections.abc import Generator, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DAFT_PROGRESS_BAR", "0")  # before Daft looks at it

import daft
import daft.pickle  # Daft ships cloudpickle: operators defined in a script or notebook travel too
from daft import DataType, col

from panoglot.errors import PanoglotError, UserError, mendable
from panoglot.providers._memory import MEMORY
from panoglot.providers._stop import stopping
from panoglot.running._commit import Committer, Pace
from panoglot.running._pending import table_of, todo
from panoglot.running._progress import Progress
from panoglot.running._rows import image_of_row
from panoglot.running._runs import answers_folder
from panoglot.running._signals import graceful, mind_the_run
from panoglot.running._stage import Item, Stage, StageResult, Worker, add_notes
from panoglot.running._tend import tended
from panoglot.storage import Store
from panoglot.table import Dataset, caption_from_row, few_arenas, open_dataset, plain_rows

if TYPE_CHECKING:
    from daft import DataFrame

__all__ = ["run_stage", "use_cluster"]

#: Daft logs what it raises as well: once is enough.
logging.getLogger("daft_local_execution").setLevel(logging.CRITICAL)

#: Below this many items a stage runs inside this process: starting workers would cost more.
SMALL = 48
#: Busy seconds that are worth starting workers for.
WORTH_WORKERS = 4.0
#: Most items that a worker takes at a time, where there are many.
LARGEST = 8192


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
    _on_this_machine_by_default()
    clustered = daft.get_or_infer_runner_type() == "ray"
    if not clustered:
        _let_the_engine_listen_first()
    if stage.prepare is not None:
        with graceful():  # a first pass asks, too
            stage = stage.prepare(stage, dataset, run_id)
    found = todo(dataset, stage, retry)
    result = StageResult(stage.name, stage.id, skipped=found.skipped)
    expected, left = found.expected, limit
    processes = stage.processes if (expected is None or expected > SMALL) else 0
    retrying = frozenset(found.failing) if retry else frozenset()
    fatal: Exception | None = None
    counted = None if retry or stage.of == "parts" else (dataset.work(stage.id), found.skipped)
    with graceful() as stop, Progress(stage.name, expected, quiet=quiet) as bar, tended(dataset, counted, bar):

        def drive(frame: DataFrame, processes: int) -> float:
            nonlocal fatal
            workers = max(1, processes)
            max_each = None if max_cost is None else max_cost / workers
            parent = os.getpid() if processes and not clustered else None
            job = _Job(dataset.store, found.version, stage, run_id, retrying, on_error, max_each, parent, stop)
            options: dict[str, Any] = {"use_process": True, "max_concurrency": processes} if processes else {}
            busy, fatal = _drive(frame.into_batches(_batch_size(stage, expected, workers)), options, job, result, bar)
            return busy

        if processes and not clustered and max_cost is None and not retry and (limit is None or limit > SMALL):
            # a few first, here: where models answer from memory, or are quick, starting workers would cost more
            busy = drive(found.frame.limit(SMALL), 0)
            few = stage.of != "parts" and result.done + result.rejected < SMALL  # that was all, whatever was expected
            if few or (expected is not None and busy / SMALL * (expected - SMALL) < WORTH_WORKERS):
                processes = 0
            if fatal is None and not result.pending and not stopping():
                found, left = todo(dataset, stage, retry), None if limit is None else limit - SMALL
        if fatal is None and not result.pending and not stopping():
            frame = found.frame if left is None else found.frame.limit(left)
            drive(frame, max(1, processes) if clustered else processes)
    result.seconds = time.monotonic() - started
    if fatal is not None:
        raise fatal
    return result


def _batch_size(stage: Stage, expected: int | None, workers: int) -> int:
    """How many items a worker takes at a time."""
    if expected is None:
        return stage.batch
    # fewer than a batch for each worker: share them out
    batch = stage.batch if workers == 1 else max(1, min(stage.batch, -(-expected // (workers * 4))))
    return max(
        batch, min(LARGEST, expected // (workers * 16))
    )  # a batch ends in a commit: many are taken in large ones


def _on_this_machine_by_default() -> None:
    """Choose Daft's own runner where nothing speaks for Ray: to find that out, Daft would import Ray (0.4 s)."""
    if "ray" in sys.modules or "RAY_JOB_ID" in os.environ or os.environ.get("DAFT_RUNNER", "native") != "native":
        return
    if daft.runners._get_runner() is None:
        daft.set_runner_native()


@cache
def _let_the_engine_listen_first() -> None:
    """Let Daft take Ctrl-C once, so that `graceful` can take it back.

    With the first query of a process Daft puts its own handler of SIGINT before Python's and from then on gives up
    whatever runs, answers under way too. It does so once: a handler that is set afterwards stays.
    """
    next(daft.from_pydict({"n": [0]}).select(col("n") + 1).iter_partitions())


def _drive(
    frame: DataFrame, options: dict[str, Any], job: _Job, result: StageResult, bar: Progress
) -> tuple[float, Exception | None]:
    """Let workers do the job and add up what they say; their busy seconds, and the error that ended it, if one did."""
    operator = daft.cls(**options)(_DaftOperator)(daft.pickle.dumps(job))
    query = frame.select(operator.run(col("item"), col("address"), col("payload")).alias("r"))
    fatal: Exception | None = None
    busy = 0.0
    with contextlib.closing(_partitions(query)) as partitions:
        for part, fatal, seconds in partitions:
            busy += seconds
            result.done += part.done
            result.rejected += part.rejected
            result.pending += part.pending
            result.rows += part.rows
            result.spent.add(part.spent)
            add_notes(result.notes, part.notes)
            bar.update(part.done + part.rejected, result)
            if fatal is not None or part.pending or stopping():
                break  # what is left stays pending
    return busy, fatal


def _partitions(query: DataFrame) -> Generator[tuple[StageResult, Exception | None, float], None, None]:
    for partition in _watched(query.iter_partitions()):
        column = partition.to_pydict()["r"] if hasattr(partition, "to_pydict") else _fetch(partition)
        for payload in column:
            if payload is not None:
                yield pickle.loads(payload)  # our own worker's bytes


def _watched(partitions: Iterator[Any]) -> Iterator[Any]:
    """The partitions; a worker that was killed is a line, and so is what a source says of itself while it is listed."""
    try:
        yield from partitions
    except daft.exceptions.DaftCoreException as error:
        said = re.search(r"^\s*\d+: UserError: (.*)", str(error), re.M)
        if said is None:
            raise
        raise UserError(said[1]) from None
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


# -- in the worker -----------------------------------------------------------------------------------------------------


class _Job:
    """All that a worker needs to know, picklable."""

    def __init__(
        self,
        store: Store,
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

        self.store, self.version, self.run_id = store, version, run_id
        self.retrying, self.on_error = retrying, on_error
        self.stage = replace(stage, parts=None, prepare=None)
        self.max_cost, self.parent, self.stop = max_cost, parent, stop


class _DaftOperator:
    """What Daft runs. It answers with one pickled (result, error, busy seconds) a batch; other rows are null."""

    def __init__(self, job: bytes) -> None:
        self._bytes = job
        self._job: _Job | None = None
        self._fatal: Exception | None = None
        self._turn = threading.Lock()
        self._pace = Pace()

    def _open(self) -> _Job:
        if self._job is None:
            job: _Job = daft.pickle.loads(self._bytes)
            if job.parent is not None:
                mind_the_run(job.parent, job.stop)
                few_arenas()
            self._worker = Worker(open_dataset(job.store), job.run_id, job.stage.id, job.max_cost, job.retrying)
            # the driver holds the dataset's lock while it lives; a worker that outlives it must hold it too
            self._lock = contextlib.ExitStack()
            self._lock.enter_context(self._worker.dataset.writer())
            MEMORY.share(answers_folder(self._worker.dataset, job.run_id))
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
            started = time.process_time()
            if job.parent is not None and os.getppid() != job.parent:
                os._exit(1)  # the run was killed: spend nothing more
            commit = Committer(job.stage, self._worker, self._pace)
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
            answer[0] = pickle.dumps((commit.result, None, time.process_time() - started))
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
        return pickle.dumps((StageResult(""), error, 0.0))

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
    table = table_of(dataset, stage)
    data = table.lance(job.version)
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
