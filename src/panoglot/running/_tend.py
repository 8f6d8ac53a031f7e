"""Upkeep of the tables while a stage writes to them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from panoglot.running._progress import Progress
from panoglot.table import Dataset, Table

__all__ = ["tended"]

#: Seconds between looks at the tables while a stage runs; longer, by ten times, than the last look took.
EVERY = 5.0


@contextlib.contextmanager
def tended(dataset: Dataset, counted: tuple[Table, int] | None, bar: Progress) -> Iterator[None]:
    """Keep the tables tidy in a thread while a stage runs, so that a commit costs the same however much is done.

    Args:
        dataset: whose tables.
        counted: the ledger, and how many items it held at first, where these are what the bar shows.
        bar: shows how many items more there are now.
    """
    done = threading.Event()

    def tend() -> None:
        cost = 0.0
        while not done.wait(max(EVERY, 10 * cost)):
            started = time.monotonic()
            with contextlib.suppress(OSError, RuntimeError):  # a full disk, or the like: the stage itself will say so
                if counted is not None:
                    bar.reach(counted[0].count() - counted[1])
                dataset.tend()
            cost = time.monotonic() - started

    keeper = threading.Thread(target=tend, name="tend", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
