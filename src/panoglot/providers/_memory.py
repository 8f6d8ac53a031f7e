"""What frozen models said, kept in memory while there is room, and for the processes of a run in a folder of files.

No model is asked the same thing twice: not by two stages, nor by two models that are made of a third.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import struct
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

__all__ = ["MEMORY", "Memory"]

_ABSENT = object()
#: Of an answer in a file: its key, and how long it is.
_HEAD = struct.Struct("<16sI")
#: Most bytes of one answer, and of all that a process writes, in files.
_LONGEST, _MOST = 16 * 2**10, 256 * 2**20


class Memory:
    """Answers by key, the least recently used forgotten first. Keys are the journal's: model, method, question.

    >>> memory = Memory(limit=10_000)
    >>> memory.put("a", "an answer")
    >>> memory.get("a"), memory.get("b", None)
    ('an answer', None)

    Args:
        limit: most bytes, roughly.
    """

    def __init__(self, limit: int = 64 * 2**20) -> None:
        self.limit, self.size = limit, 0
        self._found: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._files: _Files | None = None

    def get(self, key: str, default: Any = _ABSENT) -> Any:
        """Return the answer under `key`, or `default`.

        Raises:
            KeyError: it is not there, and no default was given.
        """
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key][0]
            answer = _ABSENT if self._files is None else self._files.get(key)
            if answer is not _ABSENT:
                self._keep(key, answer)
                return answer
        if default is _ABSENT:
            raise KeyError(key)
        return default

    def put(self, key: str, answer: Any) -> None:
        """Keep an answer; one larger than a tenth of the room is not kept."""
        with self._lock:
            self._keep(key, answer)
            if self._files is not None:
                self._files.put(key, answer)

    def share(self, folder: Path | None) -> None:
        """Share answers with the other processes of a run, through files in a folder of its own; None ends that.

        Args:
            folder: nobody but the run's processes writes there (answers are pickled); if it is not there (another
                machine, a run that shares nothing) this process keeps its answers to itself.
        """
        with self._lock:
            if self._files is not None and self._files.folder == folder:
                self._files.look()
                return
            if self._files is not None:
                self._files.close()
            self._files = None
            with contextlib.suppress(OSError):
                self._files = _Files(folder) if folder is not None and folder.is_dir() else None

    def clear(self) -> None:
        """Forget everything."""
        self.share(None)
        with self._lock:
            self._found.clear()
            self.size = 0

    def _keep(self, key: str, answer: Any) -> None:
        size = _bytes(answer) + 200
        if size > self.limit // 10:
            return
        self.size += size - self._found.pop(key, (None, 0))[1]
        self._found[key] = (answer, size)
        while self.size > self.limit:
            _, (_, freed) = self._found.popitem(last=False)
            self.size -= freed


class _Files:
    """Answers in the files of a folder: every process appends to one of its own and reads those that there are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        name = folder / f"{os.getpid()}-{secrets.token_hex(4)}.answers"
        self._own = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._pid, self._end = os.getpid(), 0
        self._where: dict[bytes, tuple[int, int, int]] = {}  # key → descriptor, place, length
        self._others: dict[str, tuple[int, int]] = {name.name: (self._own, -1)}  # name → descriptor, read so far
        self.look()

    def look(self) -> None:
        """Find what other processes have written since."""
        for path in sorted(self.folder.glob("*.answers")):
            held, at = self._others.get(path.name) or (os.open(path, os.O_RDONLY | os.O_CLOEXEC), 0)
            while at >= 0:
                head = os.pread(held, 1 << 20, at)
                begin = 0
                while begin + _HEAD.size <= len(head):
                    key, length = _HEAD.unpack_from(head, begin)
                    if begin + _HEAD.size + length > len(head):
                        break  # the rest of it is in the next piece, or is being written
                    self._where.setdefault(key, (held, at + begin + _HEAD.size, length))
                    begin += _HEAD.size + length
                at += begin
                if not begin:
                    break
            self._others[path.name] = held, at

    def get(self, key: str) -> Any:
        """The answer, or `_ABSENT`."""
        found = self._where.get(_digest(key))
        if found is None:
            return _ABSENT
        held, at, length = found
        try:
            return pickle.loads(os.pread(held, length, at))  # written by a process of this run
        except (OSError, EOFError, pickle.UnpicklingError):
            return _ABSENT

    def put(self, key: str, answer: Any) -> None:
        """Write an answer down, if it is short and there is room."""
        name = _digest(key)
        if name in self._where or self._end >= _MOST or os.getpid() != self._pid:
            return
        try:
            raw = pickle.dumps(answer, protocol=5)
            if len(raw) <= _LONGEST:
                os.pwrite(self._own, _HEAD.pack(name, len(raw)) + raw, self._end)
                self._where[name] = self._own, self._end + _HEAD.size, len(raw)
                self._end += _HEAD.size + len(raw)
        except (OSError, pickle.PicklingError, TypeError, AttributeError):
            return  # a full disk, an answer that is not to be pickled: the next process asks again

    def close(self) -> None:
        """Close the files."""
        for held, _ in self._others.values():
            with contextlib.suppress(OSError):
                os.close(held)


def _digest(key: str) -> bytes:
    """A key of 32 hex digits as bytes; any other by its hash."""
    import hashlib

    if len(key) == 32:
        with contextlib.suppress(ValueError):
            return bytes.fromhex(key)
    return hashlib.sha256(key.encode()).digest()[:16]


def _bytes(value: Any) -> int:
    nbytes = getattr(value, "nbytes", None)
    if nbytes is not None:
        return int(nbytes) + 100
    if isinstance(value, list | tuple):
        return sys.getsizeof(value) + sum(map(_bytes, value))
    if isinstance(value, str | bytes | int | float) or value is None:
        return sys.getsizeof(value)
    names = getattr(value, "__slots__", None) or list(getattr(value, "__dict__", {}))
    total = 64
    for name in names:
        total += _bytes(getattr(value, name, None))
    return total


#: Of this process: the stages of a run that ask the same models share it.
MEMORY = Memory()
