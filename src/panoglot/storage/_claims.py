"""Claims of a folder: locks on single bytes of a file, over all processes and hosts that share it."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

from panoglot.storage._contract import Claims

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["claims_of"]

_NOTE = (
    "no file locks here ({why}): two runs at once on this dataset may pay twice for one question. "
    "Answers are still stored safely."
)


class LocalClaims:
    """One-byte POSIX locks on a file, at offsets made from the keys.

    The kernel drops them when the process ends, however it ends, so nothing has to be cleaned up after a kill -9. POSIX
    locks belong to the process, and closing *any* descriptor of the file drops all of them: so the file is opened once
    a process and never closed, and what the process itself holds is kept in a set (its own threads and event loops do
    not conflict in the kernel). Without `fcntl` (Windows), or on a file system without locks, claims hold within the
    process only.
    """

    near = True

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, set[int]()
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        self.shared = fcntl is not None
        if not self.shared:
            warnings.warn(_NOTE.format(why="this system has no fcntl"), stacklevel=3)

    def take(self, key: bytes) -> bool:
        offset = int.from_bytes(key[:8], "big") >> 2
        with self._lock:
            if offset in self._held:
                return False
            if self.shared:
                try:
                    fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
                except (BlockingIOError, PermissionError):
                    return False
                except OSError as error:
                    self.shared = False
                    warnings.warn(_NOTE.format(why=f"{self._path}: {error.strerror}"), stacklevel=3)
            self._held.add(offset)
            return True

    def take_many(self, keys: Sequence[bytes]) -> list[bool]:
        return [self.take(key) for key in keys]

    def held(self, key: bytes) -> bool:
        if not self.take(key):
            return True
        self.drop(key)
        return False

    def drop(self, key: bytes) -> None:
        offset = int.from_bytes(key[:8], "big") >> 2
        with self._lock:
            if offset in self._held:
                self._held.discard(offset)
                if self.shared:
                    fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, offset)


_ALL: dict[tuple[int, int], Claims] = {}
_ALL_LOCK = threading.Lock()


def claims_of(path: Path) -> Claims:
    """This process's claims on a lock file: one object a file, however the path is spelled."""
    with _ALL_LOCK:
        if not path.exists():  # never open and close an existing one: that would drop our own locks
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
        facts = os.stat(path)
        identity = (facts.st_dev, facts.st_ino)
        if identity not in _ALL:
            _ALL[identity] = LocalClaims(path)
        return _ALL[identity]


def _forget() -> None:
    """After a fork the parent's locks are not the child's, and a mutex may be held by a thread that is not here."""
    global _ALL_LOCK
    _ALL_LOCK = threading.Lock()
    _ALL.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
