"""Coming steps, loaded while the present one computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

__all__ = ["Loader"]

T = TypeVar("T")


class Loader(Generic[T]):
    """Makes the next step ahead of time: one thread a step, `workers` threads for its pictures.

    What a step holds is a function of its number, so threads change nothing but the time. (Threads and not processes:
    decoding and resizing run outside of Python's lock, and a batch need not be copied between processes.)

    Args:
        make: (number of a step, a `map`) → what it needs. Must change nothing outside.
        workers: threads; 0 loads when asked.
    """

    def __init__(self, make: Callable[[int, Callable[..., Iterable[Any]]], T], workers: int) -> None:
        self._make, self._workers = make, workers
        self._pictures: ThreadPoolExecutor | None = None
        self._ahead: ThreadPoolExecutor | None = None
        self._coming: tuple[int, Future[T]] | None = None

    def get(self, step: int, last: bool = False) -> T:
        """Return a step; begin to load the one after it, unless this is the last."""
        if not self._workers:
            return self._make(step, map)
        if self._ahead is None or self._pictures is None:
            self._ahead = ThreadPoolExecutor(1, "panoglot-step")
            self._pictures = ThreadPoolExecutor(self._workers, "panoglot-picture")
        each = self._pictures.map
        coming, self._coming = self._coming, None
        here = coming[1] if coming and coming[0] == step else self._ahead.submit(self._make, step, each)
        if not last:
            self._coming = step + 1, self._ahead.submit(self._make, step + 1, each)
        return here.result()

    def close(self) -> None:
        """Let go of what was loaded and of the threads."""
        self._coming = None
        for pool in (self._ahead, self._pictures):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)
        self._ahead = self._pictures = None
