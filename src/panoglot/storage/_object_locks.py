"""Locks and claims of an object store, made of what a session holds there."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence

from panoglot.storage._bucket import Bucket
from panoglot.storage._lease import POLL, Session

__all__ = ["ObjectClaims", "close_leases", "object_lock", "session_of"]


@contextlib.contextmanager
def object_lock(session: Session, folder: str, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a lock that is a folder of objects: `alone` is there once, `shared-…` for each who shares it.

    Both write first and look then, so that of two who come at once at least one sees the other: who wants to be alone
    gives up, who shares waits.
    """
    alone, pause = f"{folder}/alone", POLL[0]
    if shared:
        mine = f"{folder}/shared-{secrets.token_hex(8)}"
        session.share(mine)
    else:
        mine = alone
        while True:
            if session.take([alone])[0]:
                if not session.shared(folder, but=alone):
                    break
                session.drop(alone)
            if not wait:
                raise BlockingIOError(11, "it is held", folder)
            time.sleep(pause)
            pause = min(2 * pause, POLL[1])
    try:
        while shared and session.held(alone):
            time.sleep(pause)
            pause = min(2 * pause, POLL[1])
        yield
    finally:
        session.drop(mine)


class ObjectClaims:
    """Claims as objects: `near` is False, as to take one is a request."""

    shared, near = True, False

    def __init__(self, bucket: Bucket, root: str, folder: str) -> None:
        self._of, self._folder = (bucket, root), folder

    def _key(self, key: bytes) -> str:
        return f"{self._folder}/{int.from_bytes(key[:8], 'big') >> 2:016x}"

    def take(self, key: bytes) -> bool:
        return self.take_many([key])[0]

    def take_many(self, keys: Sequence[bytes]) -> list[bool]:
        return session_of(*self._of).take([self._key(key) for key in keys])

    def held(self, key: bytes) -> bool:
        return session_of(*self._of).held(self._key(key))

    def drop(self, key: bytes) -> None:
        session_of(*self._of).drop(self._key(key))


_ALL: dict[tuple[int, str], Session] = {}
_ALL_LOCK = threading.Lock()


def session_of(bucket: Bucket, root: str) -> Session:
    """This process's session in the dataset with the key `root`; begun when it is first needed."""
    with _ALL_LOCK:
        found = _ALL.get((id(bucket), root))
        if found is None or found.over:
            found = _ALL[id(bucket), root] = Session(bucket, root)
        return found


@atexit.register
def close_leases() -> None:
    """Give up all that this process holds in object stores, and delete what says so. It is done at exit by itself."""
    for session in list(_ALL.values()):
        session.close()


def _forget() -> None:
    """After a fork the parent's sessions are not the child's."""
    global _ALL_LOCK
    _ALL_LOCK = threading.Lock()
    for session in list(_ALL.values()):
        session.let_go()
    _ALL.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
