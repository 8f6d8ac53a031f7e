"""Leases: who holds what in a place that knows no processes.

A process that holds anything in a dataset of an object store has a *session* there: an object that it renews. Locks and
claims are objects that name the session of their holder, written only where none is (put-if-absent). They may be taken
over when the session is gone: its object is not there; or a lock of its machine says that its process has ended; or it
was not renewed for `EXPIRES` seconds by the server's clock. Who finds that last writes so into the session first, and
only if it is still as it was seen: a session that is renewed in the same moment goes on, and one that was given up
finds out with its next renewal and takes nothing any more.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from panoglot.errors import StoreError
from panoglot.storage._bucket import RETRY_SECONDS, Bucket

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCKS", "POLL", "Reads", "Session", "machine_folder"]

#: Seconds between renewals of a session, and after which it counts as gone where its machine cannot be asked.
RENEWED, EXPIRES = 5.0, 30.0
#: Name of the folder of a dataset in which sessions, locks and claims lie.
LOCKS = ".panoglot-locks"
#: Seconds between two looks at a lock that is waited for.
POLL = (0.05, 1.0)
#: Seconds in which what is given up is gathered, to be deleted in one request.
GATHERED = 0.02

_GONE = b"gone"


def machine_folder() -> Path:
    """Where this machine keeps copies of what lies in stores, and locks that say which of its processes live."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for folder in (Path(home, "panoglot", "stores"), Path(tempfile.gettempdir(), f"panoglot-stores-{_user()}")):
        with contextlib.suppress(OSError):
            folder.mkdir(0o700, parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return Path(tempfile.mkdtemp(prefix="panoglot-stores-"))


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _machine() -> str:
    """Eight hex digits of this machine since it was started."""
    with contextlib.suppress(OSError):
        return hashlib.sha256(Path("/proc/sys/kernel/random/boot_id").read_bytes()).hexdigest()[:8]
    return hashlib.sha256(os.uname().nodename.encode() if hasattr(os, "uname") else b"").hexdigest()[:8]


def _clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Reads:
    """Which versions of which tables this process reads now."""

    _all: ClassVar[dict[tuple[str, str], Reads]] = {}

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, bucket: Bucket, root: str) -> Reads:
        """Those of one dataset."""
        return cls._all.setdefault((bucket.root, root), cls())

    def begin(self, table: str, version: int) -> Callable[[], None]:
        """Count a reader; what takes it back."""
        with self._lock:
            self._counts[table, version] = self._counts.get((table, version), 0) + 1
        return functools.partial(self._end, (table, version))

    def _end(self, key: tuple[str, int]) -> None:
        # called by the garbage collector, in any thread at any time: never waits for the lock
        self._counts[key] = self._counts.get(key, 0) - 1

    def now(self) -> dict[str, set[int]]:
        """Versions by table."""
        found: dict[str, set[int]] = {}
        for (table, version), count in list(self._counts.items()):
            if count > 0:
                found.setdefault(table, set()).add(version)
        return found


class Session:
    """What this process holds in one dataset of an object store. Get it from `session_of`.

    Args:
        bucket: of the dataset.
        root: its key.
    """

    def __init__(self, bucket: Bucket, root: str) -> None:
        self.bucket = bucket
        self.folder = f"{root}/{LOCKS}".lstrip("/")
        self.key = f"{self.folder}/sessions/{_machine()}-{secrets.token_hex(8)}"
        self.reads = Reads.of(bucket, root)
        self._held: set[str] = set()
        self._leaving: dict[str, None] = {}  # given up, still there
        self._deleted: list[str] = []  # of these: being deleted now
        self._dead: set[str] = set()
        self._seen: dict[str, float] = {}  # sessions that lived, and when that was found
        self._holders: dict[str, str] = {}  # by the tag of what names them
        self._lock = threading.RLock()
        self._turn = threading.Condition(self._lock)
        self._lost = self._closed = False
        self._number, self._used = 0, _clock()
        self._alive = self._hold_here()
        self._tag = bucket.create(self.key, self._content()) or ""
        self._renewed = _clock()
        found = bucket.head(self.key)
        self._ahead = (found.changed if found else time.time()) - _clock()
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def _content(self) -> bytes:
        self._number += 1
        reads = {table: sorted(versions) for table, versions in self.reads.now().items()}
        return json.dumps({"n": self._number, "by": secrets.token_hex(4), "reads": reads}).encode()

    def _hold_here(self) -> int | None:
        """Hold a file of this machine as long as the process lives."""
        if fcntl is None:
            return None
        try:
            fd = os.open(_life(self.key), os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        return fd

    # -- going on --------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since 1970 by the clock of the server."""
        return _clock() + self._ahead

    @property
    def over(self) -> bool:
        """Whether another one is needed: it was closed, or lost and nothing is held any more."""
        return self._closed or (self._lost and not self._held)

    def _keep(self) -> None:
        while not self._closed:
            with self._turn:
                self._turn.wait(RENEWED / 2)
            if self._leaving:
                time.sleep(GATHERED)
            self.renew()
            if not self._held and not self.reads.now() and _clock() - self._used > 2 * EXPIRES:
                self.close()  # nobody works there any more

    def renew(self) -> None:
        """Say that the process lives, and what it reads; delete what was given up."""
        self._delete_leaving()
        if self._closed or self._lost or _clock() - self._renewed < RENEWED:
            return
        content, tag = self._content(), None
        began = _clock()
        with contextlib.suppress(OSError):  # the next time
            tag = self.bucket.replace(self.key, content, self._tag)
            if tag is None:  # somebody wrote it off, or an answer got lost on its way and it is ours
                there, seen = self.bucket.get(self.key)
                tag = seen if there == content else None
                self._lost = tag is None
        if tag is not None:
            self._tag, self._renewed = tag, began

    def _delete_leaving(self) -> None:
        with self._lock:
            if self._deleted or not self._leaving or not self.valid:
                return
            self._deleted = list(self._leaving)
        try:
            with contextlib.suppress(OSError):  # the next time
                self.bucket.delete(self._deleted)
                with self._lock:
                    for key in self._deleted:
                        del self._leaving[key]
        finally:
            with self._turn:
                self._deleted = []
                self._turn.notify_all()

    @property
    def valid(self) -> bool:
        """Whether nobody can have taken over what is held."""
        return not self._lost and not self._closed and _clock() - self._renewed < 0.8 * EXPIRES

    def check(self) -> None:
        """Raise where what is held may be somebody else's by now."""
        if not self.valid:
            self.renew()
        if not self.valid:
            raise StoreError(
                f"the lease in {self.bucket.root} was not renewed for {EXPIRES:.0f} s (a machine that slept, or a "
                "network that was away): run the same command again; what was stored stays."
            )

    def close(self) -> None:
        """Give everything up."""
        with self._lock:
            if self._closed:
                return
            keys = [*self._held, *self._leaving, self.key] if self.valid else []
            self._closed = True
            self._turn.notify_all()
        with contextlib.suppress(OSError):
            self.bucket.delete(keys)
        self.let_go(gone=True)

    def let_go(self, *, gone: bool = False) -> None:
        """Close the file of this machine; `gone`: the process holds nothing any more, so it is deleted."""
        if self._alive is not None:
            with contextlib.suppress(OSError):
                if gone:
                    os.unlink(_life(self.key))
                os.close(self._alive)
            self._alive = None

    # -- others ----------------------------------------------------------------------------------------------------

    def gone(self, key: str) -> bool:
        """Say whether the session `key` is gone for good; one that expired is written off first."""
        if key == self.key or key in self._dead:
            return key in self._dead
        if _clock() - self._seen.get(key, -1e9) < POLL[1] and not _ended_here(key):
            return False
        if self._is_gone(key):
            self._dead.add(key)
            return True
        self._seen[key] = _clock()
        return False

    def _is_gone(self, key: str) -> bool:
        try:
            content, tag = self.bucket.get(key)
            found = self.bucket.head(key)
        except FileNotFoundError:
            return True
        if content == _GONE or found is None:
            return True
        if not _ended_here(key) and self.now - found.changed < EXPIRES:
            return False
        if self.bucket.replace(key, _GONE, tag) is None:
            return False  # it was renewed just now
        with contextlib.suppress(OSError):
            os.unlink(_life(key))
        return True

    def read_by_all(self) -> dict[str, set[int]]:
        """Versions of tables that living sessions say they read, by table."""
        found = self.reads.now()
        for page in self.bucket.under(f"{self.folder}/sessions"):
            for one in page:
                try:
                    content, _ = self.bucket.get(one.key)
                    said = {} if content == _GONE else json.loads(content)["reads"]
                except (FileNotFoundError, ValueError, KeyError):
                    continue
                if said and not self.gone(one.key):
                    for table, versions in said.items():
                        found.setdefault(table, set()).update(versions)
        return found

    def sweep(self, folder: str, older: float) -> None:
        """Delete what sessions that are gone left in a folder of locks, when it is older than so many seconds.

        Their objects stay as long again: who slept meanwhile finds out there that it was written off.
        """
        left = []
        for page in self.bucket.under(folder):
            for one in page:
                age = self.now - one.changed
                if age <= older or one.key == self.key:
                    continue
                if one.key.startswith(f"{self.folder}/sessions/"):
                    left += [one.key] if age > 2 * older and self.gone(one.key) else []
                elif self.take([one.key])[0]:  # nobody else may take it while it is deleted
                    self.drop(one.key)
        if left:
            self.bucket.delete(left)

    # -- holding ---------------------------------------------------------------------------------------------------

    def take(self, keys: Sequence[str]) -> list[bool]:
        """Take those of some locks or claims, which lie in one folder, that nobody has, this process included."""
        self.check()
        self._used = _clock()
        won: dict[str, bool] = {}
        asked: list[str] = []
        with self._turn:
            # what was just given up is being deleted: it is nobody's in a moment, not somebody's
            self._turn.wait_for(lambda: not any(key in self._deleted for key in keys), timeout=RETRY_SECONDS)
            for key in dict.fromkeys(keys):
                if key in self._held or key in self._deleted:
                    won[key] = False
                    continue
                self._held.add(key)
                if key in self._leaving:  # still ours
                    del self._leaving[key]
                    won[key] = True
                else:
                    asked.append(key)
        try:
            won |= zip(asked, self._ask(asked))
        finally:
            with self._lock:
                self._held -= {key for key in asked if not won.get(key)}
        return [won[key] for key in keys]

    def _ask(self, keys: list[str]) -> list[bool]:
        there: dict[str, str] = {}
        if len(keys) > 3:  # one look at all that are held, not two requests for each
            for page in self.bucket.under(keys[0].rpartition("/")[0]):
                there.update((one.key, one.tag) for one in page)
        mine = self.key.encode()

        def take(key: str) -> bool:
            for _ in range(2):
                if key not in there and self.bucket.create(key, mine) is not None:
                    return True
                try:
                    holder, tag = self._holder(key, there.pop(key, ""))
                except FileNotFoundError:  # given up in between
                    continue
                # ours: of a request whose answer got lost
                return holder == self.key or (self.gone(holder) and self.bucket.replace(key, mine, tag) is not None)
            return False

        return self.bucket.all(take, keys)

    def _holder(self, key: str, tag: str) -> tuple[str, str]:
        """The session that holds a key, and the tag of what says so; `tag`: as a listing gave it."""
        holder = self._holders.get(tag)
        if holder is None:
            content, tag = self.bucket.get(key)
            holder = content.decode("utf-8", "replace")
            if tag:
                self._holders[tag] = holder
        return holder, tag

    def held(self, key: str) -> bool:
        """Say whether anybody has a lock or claim."""
        if key in self._held:
            return True
        try:
            holder, _ = self._holder(key, "")
        except FileNotFoundError:
            return False
        return holder != self.key and not self.gone(holder)

    def drop(self, key: str) -> None:
        """Give one up. It is deleted in a moment, together with others."""
        with self._turn:
            if key in self._held:
                self._held.discard(key)
                if self.valid:  # else it is somebody else's
                    self._leaving[key] = None
                    self._turn.notify_all()

    def share(self, key: str) -> None:
        """Write an object that says that this process holds something together with others; `drop` gives it up."""
        self.check()
        self.bucket.put(key, self.key.encode())
        with self._lock:
            self._held.add(key)

    def shared(self, folder: str, but: str) -> bool:
        """Say whether anybody who lives shares what a folder stands for, beside the key `but`."""
        for page in self.bucket.under(folder):
            for one in page:
                if one.key == but or one.key in self._leaving:
                    continue
                try:
                    holder, _ = self._holder(one.key, one.tag)
                except FileNotFoundError:
                    continue
                if holder == self.key or not self.gone(holder):
                    return True
                self.bucket.delete([one.key])  # nobody writes it again: its name is made up
        return False


def _life(key: str) -> str:
    return str(machine_folder() / f"{key.rpartition('/')[2]}.lives")


def _ended_here(key: str) -> bool:
    """Say whether the process of a session ran on this machine and has ended; False where that cannot be known."""
    if fcntl is None or not key.rpartition("/")[2].startswith(f"{_machine()}-"):
        return False
    try:
        fd = os.open(_life(key), os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
