"""A place in an object store, as a dataset sees it."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from panoglot.errors import UserError
from panoglot.storage._bucket import Bucket, bucket_of, split
from panoglot.storage._contract import Appender, Claims, FileFacts, Store, TableAddress
from panoglot.storage._lease import LOCKS, Reads, Session, machine_folder
from panoglot.storage._local import version_of
from panoglot.storage._object_files import Grown, ObjectAppender, Piece, copy_here, open_pieces
from panoglot.storage._object_locks import ObjectClaims, object_lock, session_of

__all__ = ["ObjectStore"]

#: Seconds that a version stays after the next one came, whoever reads it: longer than a lease lasts.
KEPT_VERSIONS = 600.0
#: Seconds for which it is known which versions may go.
_FREE_FOR = 10.0


class ObjectStore:
    """`s3://bucket/photos.pano` and what lies below.

    A file is an object, a file that grows a folder of them; both are there, durable and seen by all, when a write
    returns. Half a file is nowhere. Tables are Lance's own; locks are leases (`_lease.py`).

    Args:
        uri: of the dataset.
        below: a folder in it.
    """

    folder: Path | None = None

    def __init__(self, uri: str, below: str = "") -> None:
        self._scheme, self._bucket_name, self._root = split(uri)
        self._uri, self._below = uri, below
        self._known: set[str] = set()  # tables that are there
        self._grown: dict[str, Grown] = {}
        self._free: dict[str, tuple[float, set[int]]] = {}

    def __repr__(self) -> str:
        return f"ObjectStore({self.uri!r})"

    def __reduce__(self) -> Any:
        return ObjectStore, (self._uri, self._below)  # no keys: every process takes them from its environment

    @property
    def _bucket(self) -> Bucket:
        return bucket_of(self._scheme, self._bucket_name)

    @property
    def _session(self) -> Session:
        return session_of(self._bucket, self._root)

    def _key(self, *names: str) -> str:
        return "/".join(part for part in (self._root, self._below, *names) if part)

    @property
    def uri(self) -> str:
        return f"{self._scheme}://{self._bucket_name}/{self._key()}".rstrip("/")

    @property
    def address(self) -> str:
        return self.uri

    @property
    def absolute(self) -> str:
        return self.uri

    # -- the place -------------------------------------------------------------------------------------------------

    def at(self, folder: str) -> Store:
        return ObjectStore(self._uri, "/".join(part for part in (self._below, folder) if part))

    def exists(self) -> bool:
        if any(self._bucket.under(self._key())):
            return True
        return bool(self._key()) and self._bucket.head(self._key()) is not None

    def make(self) -> None:
        if self._key() and self._bucket.head(self._key()) is not None:
            raise UserError(f"{self.uri} is a file; give a new name for the dataset, for example {self.uri}.pano")

    def refused(self) -> str | None:
        return None

    def beside(self) -> list[str]:
        return []

    # -- files -----------------------------------------------------------------------------------------------------

    def names(self, folder: str = "") -> list[str]:
        folders, files = self._bucket.listed(self._key(folder))
        start = len(self._key(folder)) + 1 if self._key(folder) else 0
        return sorted({*folders, *(one.key[start:] for one in files)} - {LOCKS})

    def has(self, name: str) -> bool:
        return self._bucket.head(self._key(name)) is not None

    def _pieces(self, name: str) -> tuple[list[Piece], bool]:
        """What a file is made of, and whether that never changes."""
        if name not in self._grown:
            found = self._bucket.head(self._key(name))
            if found is not None:
                return [Piece(found.key, 0, found.size, found.changed)], False
        grown = self._grown.setdefault(name, Grown(self._bucket, self._key(name)))
        pieces = grown.look()
        if not pieces:
            self._grown.pop(name, None)
            raise FileNotFoundError(2, "No such object", f"{self.uri}/{name}")
        return pieces, True

    def facts(self, name: str) -> FileFacts:
        pieces, _ = self._pieces(name)
        return FileFacts(pieces[-1].start + pieces[-1].size, int(max(one.changed for one in pieces) * 1e9))

    def read(self, name: str) -> bytes:
        return self._bucket.get(self._key(name))[0]

    def open(self, name: str, buffer: int = 8192) -> BinaryIO:
        pieces, unchanging = self._pieces(name)
        return open_pieces(self._bucket, pieces, buffer, unchanging=unchanging)

    def local(self, name: str) -> Path:
        found = self._bucket.head(self._key(name))
        if found is None:
            raise FileNotFoundError(2, "No such object", f"{self.uri}/{name}")
        return copy_here(self._bucket, found)

    def write(self, name: str, data: bytes, *, new: bool = False) -> bool:
        if new:
            return self._bucket.create(self._key(name), data) is not None
        self._bucket.put(self._key(name), data)
        return True

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            self._bucket.put(self._key(name), file)

    def append(self, name: str) -> Appender:
        return ObjectAppender(self._bucket, self._key(name))

    def remove(self, name: str) -> None:
        keys = [one.key for page in self._bucket.under(self._key(name)) for one in page]
        self._bucket.delete([self._key(name), *keys])
        self._grown.pop(name, None)

    def sweep(self, older: float) -> None:
        # nothing is ever half written here; what killed processes held is left
        self._session.sweep(self._key(LOCKS), older)

    # -- tables ----------------------------------------------------------------------------------------------------

    def table(self, name: str) -> TableAddress:
        place = quote(self._key(f"{name}.lance"))  # Lance takes it for a URI
        return TableAddress(f"{self._scheme}://{self._bucket_name}/{place}", self._bucket.options)

    def tables(self, folder: str = "") -> list[str]:
        place = f"{folder}/" if folder else ""
        folders, _ = self._bucket.listed(self._key(folder))
        return sorted(f"{place}{one.removesuffix('.lance')}" for one in folders if one.endswith(".lance"))

    def _manifests(self, name: str) -> Iterator[tuple[int, float]]:
        """Versions of a table, and when they were written, as they are listed."""
        for page in self._bucket.under(self._key(f"{name}.lance", "_versions")):
            for one in page:
                if version := version_of(one.key.rpartition("/")[2]):
                    yield version, one.changed

    def has_table(self, name: str) -> bool:
        if name not in self._known and any(self._manifests(name)):
            self._known.add(name)  # nobody takes it away
        return name in self._known

    def new_table(self, name: str, make: Callable[[TableAddress], object]) -> None:
        # nothing can be renamed here, and Lance's own `create` may overwrite what another process made in the meantime
        with self.lock(f"{name}.new", wait=True):
            if not self.has_table(name):
                make(self.table(name))

    def stamp(self, name: str) -> int:
        return max(self._newest(name), default=0)

    def _newest(self, name: str) -> list[int]:
        """The versions on the first page of a listing, where the newest are: Lance counts down."""
        pages = self._bucket.under(self._key(f"{name}.lance", "_versions"))
        return [version_of(one.key.rpartition("/")[2]) for one in next(pages, [])]

    def versions(self, name: str) -> list[int]:
        return sorted(version for version, _ in self._manifests(name))

    def hold(self, name: str, version: int | None = None, *, alone: bool = False) -> Callable[[], None] | None:
        if version is None:
            return None  # who commits holds the version that he began with
        if alone:
            return _nothing if version in self._unread(name) else None
        return Reads.of(self._bucket, self._root).begin(self._key(name), version)

    def _unread(self, name: str) -> set[int]:
        """Versions that nobody reads and that were not the newest for a while."""
        known = self._free.get(name)
        if known is None or time.monotonic() - known[0] > _FREE_FOR:
            found = sorted(self._manifests(name))
            old_enough = self._session.now - KEPT_VERSIONS
            free = {version for (version, _), (_, followed) in pairwise(found) if followed < old_enough}
            if free:
                free -= self._session.read_by_all().get(self._key(name), set())
            known = self._free[name] = (time.monotonic(), free)
        return known[1]

    # -- locks -----------------------------------------------------------------------------------------------------

    def lock(self, name: str, *, shared: bool = False, wait: bool = False) -> AbstractContextManager[None]:
        # beside what they are about, by whatever address that was opened
        return object_lock(self._session, self._key(LOCKS, name), shared=shared, wait=wait)

    def claims(self, name: str) -> Claims:
        return ObjectClaims(self._bucket, self._root, self._key(LOCKS, name))

    def scratch(self, name: str) -> Path:
        mark = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        return machine_folder() / mark / name


def _nothing() -> None:
    """What gives up a version that nobody has to give up."""
