"""Claims: who is asking which question right now, over all processes and hosts that share the folder.

A claim is a one-byte POSIX lock on a file at an offset made from the key. The kernel drops it when the process ends,
however it ends, so nothing has to be cleaned up after a kill -9. POSIX locks belong to the process, and closing *any*
descriptor of the file drops all of them: so the file is opened once a process and never closed, and what the process
itself holds is kept in a set (its own threads and event loops do not conflict in the kernel).

Without `fcntl` (Windows), or on a file system without locks, claims hold within the process only.
"""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Claims", "claims_of"]

_NOTE = (
    "no file locks here ({why}): two runs at once on this dataset may pay twice for one question. "
    "Answers are still stored safely."
)


class Claims:
    """The claims of this process on one folder. Get it from `claims_of`.

    Attributes:
        shared: claims are seen by other processes.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, set[int]()
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        self.shared = fcntl is not None
        if not self.shared:
            warnings.warn(_NOTE.format(why="this system has no fcntl"), stacklevel=3)

    def take(self, key: bytes) -> bool:
        """Claim `key` (8 bytes or more); False when anybody has it, this process included."""
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

    def held(self, key: bytes) -> bool:
        """Say whether anybody has `key`, without taking it."""
        if not self.take(key):
            return True
        self.drop(key)
        return False

    def drop(self, key: bytes) -> None:
        """Give the claim on `key` up."""
        offset = int.from_bytes(key[:8], "big") >> 2
        with self._lock:
            if offset in self._held:
                self._held.discard(offset)
                if self.shared:
                    fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, offset)


_ALL: dict[tuple[int, int], Claims] = {}
_ALL_LOCK = threading.Lock()


def claims_of(path: Path) -> Claims:
    """Return this process's claims on the lock file `path`: one object a file, however the path is spelled."""
    with _ALL_LOCK:
        if not path.exists():  # never open and close an existing one: that would drop our own locks
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
        facts = os.stat(path)
        identity = (facts.st_dev, facts.st_ino)
        if identity not in _ALL:
            _ALL[identity] = Claims(path)
        return _ALL[identity]


def _forget() -> None:
    """After a fork the parent's locks are not the child's, and a mutex may be held by a thread that is not here."""
    global _ALL_LOCK
    _ALL_LOCK = threading.Lock()
    _ALL.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
