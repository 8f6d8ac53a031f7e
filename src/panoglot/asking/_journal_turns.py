"""Group commit for the response journal: what many coroutines want of the disk is done once for all of them."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from panoglot.asking._journal import Journal

__all__ = ["Turns"]


class Turns:
    """What many coroutines of one event loop want of the disk, done together: one fsync, one look, for all of them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = weakref.proxy(journal)
        self._stores: list[tuple[dict[str, bytes], list[str], asyncio.Future[None]]] = []
        self._looks: list[asyncio.Future[None]] = []
        self._storing: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    def store(self, answers: dict[str, bytes], claims: list[str]) -> asyncio.Future[None]:
        """Store `answers`, then release `claims`; the future is done when both are."""
        future = asyncio.get_running_loop().create_future()
        self._stores.append((answers, claims, future))
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store())
        return future

    async def _store(self) -> None:
        while self._stores:
            batch, self._stores = self._stores, []
            answers = {key: value for part, _, _ in batch for key, value in part.items()}
            error: BaseException | None = None
            try:
                await asyncio.get_running_loop().run_in_executor(self._journal.thread, self._journal.put_many, answers)
            except asyncio.CancelledError as caught:
                error = caught
                self._journal.put_many(answers)  # was it written? twice does no harm, and the claims end below
            except Exception as caught:
                error = caught
            for _, claims, future in batch:
                for key in claims:
                    self._journal.release(key)
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.set_result(None)
            if isinstance(error, asyncio.CancelledError):
                for part, claims, _ in self._stores:  # nobody comes after us: no answer that was paid for is dropped
                    self._journal.put_many(part)
                    for key in claims:
                        self._journal.release(key)
                self._stores = []
                raise error

    async def settled(self) -> None:
        """Wait for all stores that were asked for."""
        while self._storing is not None and not self._storing.done():
            await asyncio.wait([self._storing])

    async def look(self) -> None:
        """See what the others have written up to now (a look that began earlier does not count)."""
        future = asyncio.get_running_loop().create_future()
        self._looks.append(future)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await future

    async def _look(self) -> None:
        while self._looks:
            waiting, self._looks = self._looks, []
            error: BaseException | None = None
            try:
                await asyncio.to_thread(self._journal.refresh)
            except (asyncio.CancelledError, Exception) as caught:
                error = caught
            for future in waiting:
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.set_result(None)
            if error is not None and not isinstance(error, Exception):
                raise error
