"""How much a model server may be asked: concurrency, requests and tokens a minute, and when to give up on it.

Own code: the limiters on offer (aiolimiter, asyncio.Semaphore) belong to one event loop, and a run has several.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from panoglot.providers.roles import Prompt

__all__ = ["Health", "Limits", "Rate", "Slots", "estimate_tokens", "shared_limits"]

#: Tokens that a picture is counted as before the server has said what it was.
TOKENS_PER_IMAGE = 1500


def estimate_tokens(prompt: Prompt) -> tuple[int, int]:
    """Return (tokens in, tokens out) that `prompt` may need: on the high side, for reservations.

    A token is rarely fewer than 3 bytes of UTF-8, in any script.

    >>> from panoglot.providers.roles import Prompt
    >>> estimate_tokens(Prompt("Describe the picture.", max_tokens=64))
    (39, 64)
    """
    size = len(prompt.text.encode("utf-8", "replace")) + len((prompt.system or "").encode("utf-8", "replace"))
    return 32 + size // 3 + TOKENS_PER_IMAGE * len(prompt.images), prompt.max_tokens


class Slots:
    """A counting semaphore for coroutines of any event loop in any thread of the process (first come, first served)."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._limit = count
        self._used = 0
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    def __reduce__(self) -> tuple[type[Slots], tuple[int]]:
        return Slots, (self._limit,)  # in another process all are free

    def limit(self, count: int) -> None:
        """Lower the number of slots to `count`; it never rises."""
        with self._lock:
            self._limit = min(self._limit, count)

    async def __aenter__(self) -> None:
        with self._lock:
            if self._used < self._limit and not self._waiting:
                self._used += 1
                return
            loop = asyncio.get_running_loop()
            place = (loop, loop.create_future())
            self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            with self._lock:
                granted = place not in self._waiting
                if not granted:
                    self._waiting.remove(place)
            if granted:
                self._release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        with self._lock:
            self._used -= 1
            while self._waiting and self._used < self._limit:
                loop, future = self._waiting.popleft()
                try:
                    loop.call_soon_threadsafe(_grant, future)
                except RuntimeError:  # that loop is closed: nobody waits there any more
                    continue
                self._used += 1


def _grant(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Rate:
    """At most `per_minute` in any 60 seconds, evenly spread, in bursts of at most one second's worth.

    The generic cell rate algorithm; an amount larger than the burst goes through alone and is paid off afterwards.

    >>> rate = Rate(60)
    >>> [round(rate.take(1, now=100.0), 2) for _ in range(3)]
    [0.0, 1.02, 2.03]
    """

    def __init__(self, per_minute: float) -> None:
        burst = max(1.0, per_minute / 60)
        per_second = (per_minute - burst) / 60 if per_minute > burst else per_minute / 60
        self._cost, self._ahead = 1 / per_second, (burst - 1) / per_second
        self._next = 0.0
        self._lock = threading.Lock()

    def take(self, amount: float, now: float | None = None) -> float:
        """Reserve `amount`; return the seconds to wait before using it."""
        now = time.monotonic() if now is None else now
        with self._lock:
            start = max(now, self._next - self._ahead)
            self._next = max(self._next, now) + amount * self._cost
            return start - now

    def give_back(self, amount: float) -> None:
        """Return what was reserved too much (negative: take what was reserved too little)."""
        with self._lock:
            self._next -= amount * self._cost


@dataclass
class Health:
    """Is the server there at all? Shared by all calls to it.

    Attributes:
        answered: it has answered at least once in this process.
        down_since: monotonic time of the first failed connection since the last answer.
        failed_calls: calls in a row that failed for a reason of the server's.
    """

    answered: bool = False
    down_since: float | None = None
    failed_calls: int = 0

    def seen(self) -> None:
        """Note that the server said something, if only that it cannot."""
        self.answered, self.down_since = True, None

    def good(self) -> None:
        """Note that a call came to its end as it should."""
        self.failed_calls = 0

    def unreachable(self) -> float:
        """Note a failed connection; return for how many seconds none has worked."""
        now = time.monotonic()
        if self.down_since is None:
            self.down_since = now
        return now - self.down_since


@dataclass
class Limits:
    """The limits of one model on one server, for this whole process."""

    slots: Slots
    requests: Rate | None = None
    tokens: Rate | None = None
    health: Health = field(default_factory=Health)
    numbers: tuple[float, float] = (0, 0)
    paused_until: float = 0.0

    def pause(self, seconds: float) -> None:
        """Let nobody ask for so long: the server said so."""
        self.paused_until = max(self.paused_until, time.monotonic() + seconds)

    async def turn(self, tokens: int) -> None:
        """Wait for permission to send a request of about `tokens` tokens."""
        waits = [rate.take(n) for rate, n in ((self.requests, 1), (self.tokens, tokens)) if rate]
        if waits and max(waits) > 0:
            await asyncio.sleep(max(waits))
        while (rest := self.paused_until - time.monotonic()) > 0:
            await asyncio.sleep(rest)

    def settle(self, reserved: int, used: int | None) -> None:
        """Correct the reservation of `reserved` tokens once the real number is known."""
        if self.tokens and used is not None:
            self.tokens.give_back(reserved - used)


_SHARED: weakref.WeakValueDictionary[tuple[str, str], Limits] = weakref.WeakValueDictionary()
_SHARED_LOCK = threading.Lock()


def shared_limits(url: str, model: str, concurrency: int, rpm: float = 0, tpm: float = 0) -> Limits:
    """Return the limits of `model` at `url`: one object for all instances in the process, the strictest numbers win.

    Args:
        url: base URL of the server.
        model: the model's name there.
        concurrency: most requests at once.
        rpm: most requests a minute; 0 means no limit.
        tpm: most tokens a minute; 0 means no limit.
    """
    with _SHARED_LOCK:
        limits = _SHARED.get((url, model))
        if limits is None:
            limits = _SHARED[url, model] = Limits(Slots(concurrency))
        limits.slots.limit(concurrency)
        old_rpm, old_tpm = limits.numbers
        if rpm and (not old_rpm or rpm < old_rpm):
            limits.requests, old_rpm = Rate(rpm), rpm
        if tpm and (not old_tpm or tpm < old_tpm):
            limits.tokens, old_tpm = Rate(tpm), tpm
        limits.numbers = (old_rpm, old_tpm)
        return limits
