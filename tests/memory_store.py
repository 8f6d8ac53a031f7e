"""A store that is no folder: files in a dictionary, tables in Lance's memory, appended files in parts as objects are.

Nothing of a dataset in it is on a disk: who takes it for a folder finds nothing. It lives as long as the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import tempfile
import threading
import time
from pathlib import Path

import lance

from panoglot.errors import UserError
from panoglot.storage import FileFacts, TableAddress

_ALL: dict[str, _Place] = {}


class _Place:
    def __init__(self):
        self.files: dict[str, tuple[list[bytes], int]] = {}  # parts, and when the last one came
        self.tables: set[str] = set()
        self.made: set[str] = set()
        self.mutex = threading.RLock()
        self.freed = threading.Condition(self.mutex)
        self.locks: dict[str, int] = {}  # how many share it; -1: exclusive
        self.claims: dict[str, _Claims] = {}
        self.folder = tempfile.TemporaryDirectory()  # the cache of this machine


class MemoryStore:
    """`memory://NAME/below`."""

    folder = None

    def __init__(self, name, below=""):
        # what is no host name, Lance would take for a path
        name = name if re.fullmatch("[a-z0-9]+", name) else hashlib.sha256(name.encode()).hexdigest()[:16]
        self._name, self._below = name, below
        self._place = _ALL.setdefault(name, _Place())

    def __reduce__(self):
        return MemoryStore, (self._name, self._below)

    @property
    def uri(self):
        return f"memory://{self._name}/{self._below}".rstrip("/")

    address = absolute = uri

    def _key(self, name):
        return "/".join(part for part in (self._below, name) if part)

    # -- the place

    def at(self, folder):
        return MemoryStore(self._name, self._key(folder))

    def exists(self):
        return self._below in self._place.made or bool(self.names())

    def make(self):
        if self._below and self._below in self._place.files:
            raise UserError(f"{self.address} is a file")
        self._place.made.add(self._below)

    def refused(self):
        return None

    def beside(self):
        return []

    # -- files

    def names(self, folder=""):
        start = f"{self._key(folder)}/".lstrip("/")
        there = [*self._place.files, *self._place.tables]
        return sorted({key[len(start) :].partition("/")[0] for key in there if key.startswith(start)})

    def _file(self, name):
        try:
            return self._place.files[self._key(name)]
        except KeyError:
            raise FileNotFoundError(self._key(name)) from None

    def has(self, name):
        return self._key(name) in self._place.files

    def facts(self, name):
        parts, changed = self._file(name)
        return FileFacts(sum(map(len, parts)), changed)

    def read(self, name):
        return b"".join(self._file(name)[0])

    def open(self, name, buffer=8192):
        return io.BytesIO(self.read(name))

    def local(self, name):
        path = Path(self._place.folder.name, self._key(name).replace("/", "-"))
        path.write_bytes(self.read(name))
        return path

    def write(self, name, data, *, new=False):
        with self._place.mutex:
            if new and self.has(name):
                return False
            self._place.files[self._key(name)] = ([bytes(data)], time.time_ns())
        return True

    @contextlib.contextmanager
    def writing(self, name):
        file = io.BytesIO()
        yield file
        self.write(name, file.getvalue())

    def append(self, name):
        if not self.write(name, b"", new=True):
            raise FileExistsError(name)
        return _Appender(self, name)

    def remove(self, name):
        self._place.files.pop(self._key(name), None)

    def sweep(self, older):
        pass

    # -- tables

    def table(self, name):
        return TableAddress(f"shared-memory://{self._name}/{self._key(name)}", {"allow_http": "true"})

    def tables(self, folder=""):
        start = f"{self._key(folder)}/".lstrip("/")
        below = sorted(key[len(start) :] for key in self._place.tables if key.startswith(start))
        return [f"{folder}/{name}".lstrip("/") for name in below if "/" not in name]

    def has_table(self, name):
        return self._key(name) in self._place.tables

    def new_table(self, name, make):
        with self._place.mutex:  # where there is no rename: one at a time, or Lance's own commit of the first version
            if not self.has_table(name):
                make(self.table(name))
                self._place.tables.add(self._key(name))

    def stamp(self, name):
        return lance.dataset(self.table(name).uri).version if self.has_table(name) else 0

    def versions(self, name):
        found = lance.dataset(self.table(name).uri).versions() if self.has_table(name) else []
        return sorted(one["version"] for one in found)

    def hold(self, name, version=None, *, alone=False):
        lock = self.lock(f"{name} {version or ''} is read", shared=not alone)
        try:
            lock.__enter__()
        except BlockingIOError:
            return None
        return lambda: lock.__exit__(None, None, None)

    # -- locks

    @contextlib.contextmanager
    def lock(self, name, *, shared=False, wait=False):
        place, key = self._place, self._key(name)
        with place.freed:
            while place.locks.get(key, 0) and not (shared and place.locks[key] > 0):
                if not (shared or wait):
                    raise BlockingIOError(key)
                place.freed.wait()
            place.locks[key] = place.locks.get(key, 0) + 1 if shared else -1
        try:
            yield
        finally:
            with place.freed:
                place.locks[key] -= 1 if shared else -1
                place.freed.notify_all()

    def claims(self, name):
        return self._place.claims.setdefault(self._key(name), _Claims())

    def scratch(self, name):
        return Path(self._place.folder.name) / name


class _Appender:
    def __init__(self, store, name):
        self._store, self._name = store, name

    def write(self, data):
        parts, _ = self._store._file(self._name)
        self._store._place.files[self._store._key(self._name)] = ([*parts, bytes(data)], time.time_ns())

    def close(self):
        pass


class _Claims:
    shared = near = True

    def __init__(self):
        self._held = set()

    def take(self, key):
        if key[:8] in self._held:
            return False
        self._held.add(key[:8])
        return True

    def take_many(self, keys):
        return [self.take(key) for key in keys]

    def held(self, key):
        return key[:8] in self._held

    def drop(self, key):
        self._held.discard(key[:8])
