"""The response journal: every answer of every model, written durably before it is used, found again by any later run.

One folder, any number of processes and hosts at once, nothing to start. Every writer appends to a segment file of its
own; a segment whose writer is gone gets a sorted index and is looked up on disk, so memory does not grow with the
answers.

    journal = Journal(dataset.journal)
    raw, was_there = await journal.answer(journal_key(model, "generate", prompt), ask)
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import secrets
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any, TypeVar

from panoglot.asking._journal_turns import Turns
from panoglot.asking._segments import Sealed, index_of, joined, pack, read_record, scan, write_index
from panoglot.errors import UserError
from panoglot.identity import canonical
from panoglot.providers._stop import refuse_when_stopping
from panoglot.storage import Address, Appender, Claims, Store, open_store

__all__ = ["Journal", "journal_key"]

T = TypeVar("T")

#: A segment is finished, and a new one begun, after so many records or bytes: its keys are held in memory until then.
SEGMENT_RECORDS, SEGMENT_BYTES = 1 << 16, 128 * 2**20
#: More finished segments than this are merged when a journal is opened; larger ones than `MERGE_BELOW` records stay.
MERGE_ABOVE, MERGE_BELOW = 32, 1 << 20
#: Seconds between two looks at the others' files while waiting for an answer that somebody else has asked for.
POLL = (0.02, 0.5)


def journal_key(model: Any, method: str, question: Any) -> str:
    """Return the key (32 hex digits) of what `model` answers to `question`.

    Args:
        model: anything with a `fingerprint`, or the fingerprint itself.
        method: the role's method, for example `generate`.
        question: its arguments: whatever `panoglot.identity.canonical` takes.

    Raises:
        TypeError: a value that has no stable form (its address would make a new key every time).

    >>> from panoglot.providers.roles import Prompt
    >>> a, b = Prompt("What is this?"), Prompt("What is this?", seed=1)
    >>> journal_key("m", "generate", a) == journal_key("m", "generate", b)
    False
    """
    parts = [getattr(model, "fingerprint", model), method, canonical(question)]
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Live:
    """A segment that somebody is still writing: its keys in memory, read on as it grows."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name, self.keys, self.at = store, name, dict[bytes, int](), 0

    def catch_up(self) -> None:
        with self.store.open(f"{self.name}.seg", 1 << 18) as file:
            end = file.seek(0, 2)
            if end > self.at:
                found: list[tuple[bytes, int]] = []
                self.at = scan(file, self.at, end, found)
                self.keys.update(found)

    def get(self, key: bytes) -> list[bytes]:
        at = self.keys.get(key)
        if at is None:
            return []
        with self.store.open(f"{self.name}.seg") as file:
            record = read_record(file, at)
        return [record[1]] if record is not None and record[0] == key else []


class Journal:
    """Answers by key, in one place.

    Safe to use from threads, event loops, forks, processes and hosts at once. Failures are not kept: what raised is
    asked again by the next who wants it.

    Args:
        address: where they lie: a store, a folder; made when absent.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Journal(folder) as journal:
    ...         journal.put_many({"00" * 16: b'{"text": "ein Hund"}'})
    ...     Journal(folder).get("00" * 16)
    b'{"text": "ein Hund"}'
    """

    def __init__(self, address: Address) -> None:
        self.place = open_store(address)
        self.place.make()
        self._begin()
        _OPEN.add(self)
        self._refresh()
        self._seal_dead()
        self._merge()
        self._sweep()

    def _begin(self) -> None:
        """Start with nothing of our own: at first, and after a fork."""
        self.claims: Claims = self.place.claims("claims.lock")
        self._lock = threading.RLock()
        self._writing = threading.RLock()  # taken before `_lock`, so that nobody who looks waits for the disk
        self._thread: ThreadPoolExecutor | None = None
        self._sealed: dict[str, Sealed] = {}
        self._live: dict[str, _Live] = {}
        self._own: _Live | None = None
        self._file: Appender | None = None
        self._by_loop: dict[asyncio.AbstractEventLoop, Turns] = {}

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def count(self) -> int:
        """Return how many answers are stored, as far as is known here."""
        with self._lock:
            live = [*self._live.values(), *([self._own] if self._own else ())]
            return sum(len(part) for part in self._sealed.values()) + sum(len(part.keys) for part in live)

    # -- looking up ------------------------------------------------------------------------------------------------

    def get(self, key: str, *, fresh: bool = True, sound: Callable[[bytes], bool] | None = None) -> bytes | None:
        """Return the answer under `key`, or None.

        Args:
            key: 32 hex digits.
            fresh: look at what other processes have written since the last look.
            sound: whether an answer can be read; one that cannot counts as none.
        """
        raw = bytes.fromhex(key)
        with self._lock:
            value = self._find(raw, sound)
            if value is None and fresh:
                self._refresh()
                value = self._find(raw, sound)
            return value

    def _find(self, key: bytes, sound: Callable[[bytes], bool] | None) -> bytes | None:
        while True:
            parts: list[Any] = [*([self._own] if self._own else ()), *self._live.values(), *self._sealed.values()]
            try:
                found = (value for part in parts for value in part.get(key))
                return next((value for value in found if sound is None or sound(value)), None)
            except FileNotFoundError:  # merged away by another process: look where it is now
                self._refresh()

    def refresh(self) -> None:
        """Look at what other processes have written."""
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        """Learn of new segments, finished ones, and what the live ones have gained."""
        names = set(self.place.names())
        there = {name.removesuffix(".seg") for name in names if name.endswith(".seg")}
        if self._own is not None and self._own.name not in there:
            self._abandon()  # a lease that ended while this machine slept: others have merged it
        own = self._own.name if self._own else None
        for gone in (self._sealed.keys() | self._live.keys()) - there:
            self._sealed.pop(gone, None)
            self._live.pop(gone, None)
        for name in sorted(there - self._sealed.keys() - {own}):
            try:
                if f"{name}.idx" in names:
                    self._sealed[name] = Sealed(self.place, name)
                    self._live.pop(name, None)
                else:
                    self._live.setdefault(name, _Live(self.place, name)).catch_up()
            except FileNotFoundError:
                self._live.pop(name, None)

    # -- writing ---------------------------------------------------------------------------------------------------

    def put_many(self, answers: Mapping[str, bytes]) -> None:
        """Store answers; they are on disk when this returns (one write and one fsync, however many).

        Raises:
            UserError: the disk is full, or the folder may not be written; nothing of `answers` counts as stored.
        """
        if not answers:
            return
        with self._writing:
            own = self._own or self._writable(self._new_segment)
            at, placed, chunks = own.at, [], []
            for key, value in answers.items():
                record = pack(bytes.fromhex(key), value)
                placed.append((bytes.fromhex(key), at))
                chunks.append(record)
                at += len(record)
            raw, file = b"".join(chunks), self._file
            assert file is not None  # it is there with its segment
            try:
                self._writable(lambda: file.write(raw))
            except BaseException:
                self._abandon()  # what is half written must not precede what is written next
                raise
            with self._lock:
                own.at = at
                own.keys.update(placed)
            if len(own.keys) >= SEGMENT_RECORDS or own.at >= SEGMENT_BYTES:
                self._seal_own()

    def _writable(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG):
                raise
            raise UserError(
                f"the answers of models cannot be written to {self.place.address}: {error.strerror}. Make room, then "
                "run the same command again; what was stored is not asked again."
            ) from error

    def _new_segment(self) -> _Live:
        name = secrets.token_hex(16)
        # the claim on the name says "its writer lives"; it is there before the file, so nobody seals a file in use
        self.claims.take(bytes.fromhex(name))
        self._file = self.place.append(f"{name}.seg")
        own = _Live(self.place, name)
        with self._lock:
            self._live.pop(name, None)  # seen by a look since the file is there
            self._own = own
        return own

    def _abandon(self) -> None:
        """Leave our segment to be sealed by whoever comes next."""
        with self._lock:
            if self._own is not None:
                if self._file is not None:
                    self._file.close()
                self.claims.drop(bytes.fromhex(self._own.name))
                self._own, self._file = None, None

    def _seal_own(self) -> None:
        own = self._own
        if own is None:
            return
        write_index(self.place, own.name, index_of(own.keys.items()), own.at)
        with self._lock:
            self._abandon()
            self._sealed[own.name] = Sealed(self.place, own.name)

    def close(self) -> None:
        """Finish this process's segment. Not closing costs nothing but a scan by the next one to open the journal."""
        with self._writing:
            self._seal_own()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)

    @property
    def thread(self) -> ThreadPoolExecutor:
        """The journal's own thread: an answer never waits behind other work to get onto the disk."""
        with self._lock:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
            return self._thread

    # -- keeping the folder tidy -----------------------------------------------------------------------------------

    def _seal_dead(self) -> None:
        """Index the segments whose writers are gone."""
        for name, live in list(self._live.items()):
            if not self.claims.shared or not self.claims.take(bytes.fromhex(name)):
                continue
            try:
                live.catch_up()
                if live.keys:
                    size = self.place.facts(f"{name}.seg").size
                    write_index(self.place, name, index_of(live.keys.items()), size)
                    self._sealed[name] = Sealed(self.place, name)
                else:
                    self.place.remove(f"{name}.seg")
                del self._live[name]
            except FileNotFoundError:
                self._live.pop(name, None)
            finally:
                self.claims.drop(bytes.fromhex(name))

    def _merge(self) -> None:
        """Make one segment of many small finished ones; readers of the old ones find their way (`_find`)."""
        small = [name for name, part in self._sealed.items() if len(part) < MERGE_BELOW]
        turn = b"\xff" * 8  # one process at a time
        if len(small) <= MERGE_ABOVE or not self.claims.shared or not self.claims.take(turn):
            return
        try:
            self._refresh()
            small = sorted(name for name in small if name in self._sealed)
            merged = secrets.token_hex(16)
            with self.place.writing(f"{merged}.seg") as file:
                index = joined((self._sealed[name] for name in small), file)
                # first the index: a segment with one is never taken for a live one
                write_index(self.place, merged, index, file.tell())
            self._sealed[merged] = Sealed(self.place, merged)
            for old in small:
                del self._sealed[old]
                self.place.remove(f"{old}.seg")  # first the segment: an index alone is nothing
                self.place.remove(f"{old}.idx")
        finally:
            self.claims.drop(turn)

    def _sweep(self) -> None:
        """Delete what a crash left half done: half a file, and indexes without a segment, older than a day."""
        self.place.sweep(86400)
        names = set(self.place.names())
        for name in names:
            if name.endswith(".idx") and f"{name.removesuffix('.idx')}.seg" not in names:
                with suppress(OSError):
                    if time.time() - self.place.facts(name).changed / 1e9 > 86400:
                        self.place.remove(name)

    # -- asking ----------------------------------------------------------------------------------------------------

    def claim(self, key: str) -> bool:
        """Claim the right to ask; False when somebody else, here or elsewhere, is asking. Look up again afterwards."""
        return self.claims.take(bytes.fromhex(key))

    def release(self, key: str) -> None:
        """Give a claim up."""
        self.claims.drop(bytes.fromhex(key))

    async def answer(
        self,
        key: str,
        ask: Callable[[], Awaitable[bytes]],
        *,
        sound: Callable[[bytes], bool] | None = None,
        within: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
    ) -> tuple[bytes, bool]:
        """Return the answer under `key` and whether it was there; if not, `ask`, and store it before returning.

        Of all who want the same answer at once, in any process, one asks and the others wait for it. When that one
        fails, the next asks. Arguments as of `answer_many`.
        """

        async def ask_many(_: list[str]) -> dict[str, bytes]:
            return {key: await ask()}

        return (await self.answer_many([key], ask_many, sound=sound, within=within))[key]

    async def answer_many(
        self,
        keys: Iterable[str],
        ask_many: Callable[[list[str]], Awaitable[Mapping[str, bytes]]],
        *,
        sound: Callable[[bytes], bool] | None = None,
        within: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
    ) -> dict[str, tuple[bytes, bool]]:
        """The same for a batch.

        Args:
            keys: whose answers are wanted.
            ask_many: gets the keys that nobody has answered and gives what it could answer. What it gives under other
                keys is stored with it, in the same write.
            sound: whether a stored answer can be read; one that cannot is asked for again.
            within: held from before asking until the answers are on disk: the slot of a server.

        Returns:
            Key to (answer, was it there); keys without an answer are left out.

        Raises:
            Stopped: the run was told to stop while somebody else's answer was waited for.
        """
        wanted, found = dict.fromkeys(keys), dict[str, tuple[bytes, bool]]()
        turns, wait = self._turns(), POLL[0]
        self._collect(wanted, found, sound)
        while wanted:
            refuse_when_stopping()
            # what is claimed is asked and released before others' answers are waited for: no deadlock
            mine = await turns.claim(list(wanted))
            try:
                await turns.look()  # somebody may have answered between the last look and the claim
                self._collect(wanted, found, sound)
                missing = [key for key in mine if key in wanted]
                if missing:
                    async with within():
                        answers = await ask_many(missing)
                        stored, mine = turns.store(dict(answers), mine), []  # claims end when the answers are on disk
                        await asyncio.shield(stored)  # cancelled now: what was paid for is kept all the same
                    found.update((key, (answers[key], False)) for key in missing if key in answers)
                    for key in missing:
                        del wanted[key]  # what failed is not asked again here
                    wait = POLL[0]
            finally:
                for key in mine:
                    self.release(key)
            if wanted and not missing:
                await asyncio.sleep(wait)
                wait = min(2 * wait, POLL[1])
        return found

    async def store(self, records: Mapping[str, bytes]) -> None:
        """Store records that nobody waits for under a claim; they are on disk when this returns."""
        await asyncio.shield(self._turns().store(dict(records), []))

    async def settled(self) -> None:
        """Wait until all that was handed over in this event loop is on disk."""
        await self._turns().settled()

    def _collect(
        self,
        wanted: dict[str, None],
        found: dict[str, tuple[bytes, bool]],
        sound: Callable[[bytes], bool] | None,
    ) -> None:
        for key in list(wanted):
            value = self.get(key, fresh=False, sound=sound)
            if value is not None:
                found[key] = (value, True)
                del wanted[key]

    def _turns(self) -> Turns:
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._by_loop:
                self._by_loop = {old: turns for old, turns in self._by_loop.items() if not old.is_closed()}
                self._by_loop[loop] = Turns(self)
            return self._by_loop[loop]


_OPEN: weakref.WeakSet[Journal] = weakref.WeakSet()


def _after_fork() -> None:
    for journal in list(_OPEN):
        if journal._file is not None:
            journal._file.close()  # the parent goes on writing there; we begin a segment of our own
        journal._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
