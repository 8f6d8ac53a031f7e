"""Group commit for the response journal: what many coroutines want of the disk is done once for all of them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import compress
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
        self._claims: list[tuple[list[str], asyncio.Future[list[str]]]] = []
        self._storing: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="claims")  # starts when it is needed

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

    async def claim(self, keys: list[str]) -> list[str]:
        """Claim the right to ask for those of some keys that nobody else has; where a claim is a request, together."""
        if self._journal.claims.near:
            return [key for key in keys if self._journal.claim(key)]
        future: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._claims.append((keys, future))
        if self._claiming is None or self._claiming.done():
            self._claiming = asyncio.create_task(self._claim())
        return await future

    async def _claim(self) -> None:
        while self._claims:
            waiting, self._claims = self._claims, []
            keys = list(dict.fromkeys(key for part, _ in waiting for key in part))
            taking = self._thread.submit(self._journal.claims.take_many, [bytes.fromhex(key) for key in keys])
            error: BaseException | None = None
            mine: set[str] = set()
            try:
                mine = set(compress(keys, await asyncio.wrap_future(taking)))
            except (asyncio.CancelledError, Exception) as caught:
                error = caught
                taking.add_done_callback(partial(_give_back, self._journal.release, keys))  # it may go on
            for part, future in waiting:
                if future.done():  # who wanted it was stopped
                    continue
                if error is not None:
                    future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                    continue
                won = [key for key in part if key in mine]  # of two who want the same here, one has it
                mine.difference_update(won)
                future.set_result(won)
            for key in mine:
                self._journal.release(key)
            if error is not None and not isinstance(error, Exception):
                raise error

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


def _give_back(release: Callable[[str], None], keys: list[str], taken: Future[list[bool]]) -> None:
    """Give up what was claimed for somebody who did not wait."""
    if not taken.cancelled() and taken.exception() is None:
        for key in compress(keys, taken.result()):
            release(key)
