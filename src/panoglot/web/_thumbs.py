"""Pictures re-encoded small, kept in memory and on the disk: by id and height, both bounded, the oldest go first.

On the disk they lie beside the dataset, in its `cache/thumbs`, and go with `forget` as all copies there; of a dataset
that cannot be written, or is served read only, in the user's cache. What was forgotten is kept nowhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from panoglot.storage import machine_folder
from panoglot.table import Dataset
from panoglot.web._routes import SIZES

__all__ = ["Thumbs"]

#: Bytes in memory, and on the disk.
MEMORY, DISK = 64 * 2**20, 512 * 2**20


class Thumbs:
    """The small pictures of a dataset. Safe to use from several threads, and by several servers."""

    def __init__(self, data: Dataset, forgotten: Callable[[str], bool], *, read_only: bool = False) -> None:
        """Open.

        Args:
            data: the dataset.
            forgotten: whether an id was forgotten.
            read_only: nothing is written into the dataset.
        """
        self._forgotten, self._lock = forgotten, threading.Lock()
        self._memory: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._held = 0
        self._folder = _folder(data, read_only)
        self._stored = self._tidied() if self._folder is not None else 0

    def get(self, key: str, height: int) -> bytes | None:
        """One that is there."""
        found = self._memory.get((key, height))
        if found is None and self._folder is not None:
            path = self._path(key, height)
            with contextlib.suppress(OSError):
                data = path.read_bytes()
                if _whole(data):
                    os.utime(path)  # the oldest go first
                    found = data
                    self._remember(key, height, data)
        return found

    def put(self, key: str, height: int, picture: bytes, *, keep: bool = True) -> None:
        """Take one in.

        Args:
            key: id of the image.
            height: one of `SIZES`.
            picture: WebP.
            keep: on the disk too; not what a client sent to search with.
        """
        self._remember(key, height, picture)
        if not keep or self._folder is None:
            return
        path = self._path(key, height)
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):  # full, or gone meanwhile: it is made again
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(picture)
            temporary.replace(path)
            self._count(len(picture))
        if self._forgotten(key):  # while it was made: `forget` had looked here before it was written
            self.forget([key])

    def forget(self, keys: Iterable[str]) -> None:
        """Let go of pictures."""
        for key in keys:
            for height in SIZES:
                with self._lock:
                    self._held -= len(self._memory.pop((key, height), b""))
                if self._folder is not None:
                    with contextlib.suppress(OSError):
                        self._path(key, height).unlink(missing_ok=True)

    def _path(self, key: str, height: int) -> Path:
        assert self._folder is not None
        return self._folder / key[:2] / f"{key}-{height}.webp"

    def _remember(self, key: str, height: int, picture: bytes) -> None:
        with self._lock:
            self._held += len(picture) - len(self._memory.pop((key, height), b""))
            self._memory[key, height] = picture
            while self._held > MEMORY:
                self._held -= len(self._memory.popitem(last=False)[1])

    def _count(self, more: int) -> None:
        with self._lock:
            self._stored += more
            if self._stored > DISK:
                self._stored = self._tidied()

    def _tidied(self) -> int:
        """Bytes on the disk, after what was forgotten went, and above the bound the oldest until a tenth is free."""
        files = sorted(self._files())
        stored = sum(size for _, size, _ in files)
        most = DISK if stored <= DISK else DISK * 0.9
        for _, size, path in files:
            if stored > most or self._forgotten(path.name.partition("-")[0]):
                with contextlib.suppress(OSError):
                    path.unlink()
                    stored -= size
        return stored

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        assert self._folder is not None
        for path in self._folder.glob("??/*.webp"):
            with contextlib.suppress(OSError):
                state = path.stat()
                yield state.st_mtime, state.st_size, path


def _folder(data: Dataset, read_only: bool) -> Path | None:
    """Where they lie; None: nowhere can be written."""
    mark = hashlib.sha256(data.store.uri.encode()).hexdigest()[:16]
    places = [] if read_only else [data.store.scratch("cache") / "thumbs"]
    for folder in [*places, machine_folder() / mark / "thumbs"]:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return None


def _whole(data: bytes) -> bool:
    """Whether a file is a whole WebP: it says how long it is."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and int.from_bytes(data[4:8], "little") + 8 == len(data)
