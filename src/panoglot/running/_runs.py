"""Runs that are gone: who holds a run's lock is running, whatever its row says; what it paid is in the journal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from panoglot.asking import MEMORY, Spent
from panoglot.asking._spend import paid_by_stage
from panoglot.running._stage import StageResult
from panoglot.storage import Claims
from panoglot.table import Dataset

__all__ = ["GONE", "answers_folder", "close_gone_runs", "finish_run", "is_running", "paid_stages", "running"]

#: What is written beside a run that ended without a word.
GONE = "killed, or its machine went away; the same command goes on"


def _lock(dataset: Dataset) -> Claims | None:
    try:
        return dataset.store.claims("runs.lock")
    except OSError:  # a dataset that may only be read
        return None


def _key(run_id: str) -> bytes:
    return hashlib.sha256(run_id.encode()).digest()[:8]


@contextmanager
def running(dataset: Dataset, run_id: str) -> Iterator[None]:
    """Hold the run's lock while it runs; it vanishes with the process, however that ends.

    As long, its processes share what frozen models said.
    """
    lock, key = _lock(dataset), _key(run_id)
    if lock is not None:
        lock.take(key)
    folder = answers_folder(dataset, run_id)
    with contextlib.suppress(OSError):  # a full disk: every process asks for itself
        os.makedirs(folder, 0o700)
    try:
        yield
    finally:
        MEMORY.share(None)
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.drop(key)


def answers_folder(dataset: Dataset, run_id: str) -> Path:
    """Where the processes of a run share what frozen models said."""
    return dataset.store.scratch(f".answers-{run_id}")


def is_running(dataset: Dataset, run_id: str) -> bool:
    """Say whether a process holds the lock of a run."""
    lock = _lock(dataset)
    return lock is not None and lock.held(_key(run_id))


def paid_stages(dataset: Dataset, run_id: str, stages: list[StageResult]) -> list[StageResult]:
    """Return the stages of a run with what their answers really cost; those that ended early are added.

    Args:
        dataset: the dataset.
        run_id: the run.
        stages: what its stages said of themselves.
    """
    paid = paid_by_stage(dataset.journal, run_id)
    for stage in stages:
        if stage.id in paid:
            _settle(stage.spent, paid.pop(stage.id))
    extra = []
    for stage_id, one in paid.items():
        extra.append(StageResult(stage_id.rpartition("-")[0] or stage_id, stage_id))
        _settle(extra[-1].spent, one)
    return [*stages, *extra]


def _settle(spent: Spent, paid: Spent) -> None:
    spent.tokens_in, spent.tokens_out = paid.tokens_in, paid.tokens_out
    spent.price, spent.asked = paid.price, paid.asked


def finish_run(
    dataset: Dataset,
    run_id: str,
    status: str,
    stages: list[StageResult],
    *,
    seconds: float | None = None,
    message: str | None = None,
) -> None:
    """Write how a run ended, with what it paid, into its row."""
    total = Spent()
    for stage in stages:
        total.add(stage.spent)
    row: dict[str, Any] = {
        "run_id": run_id,
        "finished": datetime.now(UTC),
        "status": status,
        "stages": json.dumps([stage.to_dict() for stage in stages]),
        "seconds": seconds,
        "price": total.price,
        "message": message,
    }
    dataset.runs.change([row])


def how_it_ended(error: BaseException) -> tuple[str, str]:
    """Return (status, message) of a run that this ended: `stopped` by a person, else `failed`."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped", str(error) or "stopped by a person"
    return "failed", f"{type(error).__name__}: {error}"


def close_gone_runs(dataset: Dataset) -> list[str]:
    """Write `stopped`, and what was paid, into the rows of runs that nobody runs any more; return their ids."""
    closed = []
    for row in dataset.runs.rows(["run_id"], "status = 'running'"):
        if not is_running(dataset, row["run_id"]):
            finish_run(dataset, row["run_id"], "stopped", paid_stages(dataset, row["run_id"], []), message=GONE)
            shutil.rmtree(answers_folder(dataset, row["run_id"]), ignore_errors=True)
            closed.append(row["run_id"])
    return closed
