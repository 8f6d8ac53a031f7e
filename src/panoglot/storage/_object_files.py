"""Files that are objects, and files that grow: numbered objects, which never change, one behind the other."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import io
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import BinaryIO, NamedTuple

from panoglot.errors import StoreError
from panoglot.storage._bucket import KEPT_MOST, Bucket, Object
from panoglot.storage._lease import machine_folder

__all__ = ["Grown", "ObjectAppender", "Piece", "copy_here", "open_pieces"]

#: Bytes that are fetched at least; who asks for as many at a time reads on, and small pieces are fetched ahead for him.
LEAST, READ_ON, AHEAD = 1 << 16, 1 << 18, 16
#: Bytes of copies on this machine above which those that were not used for an hour are deleted.
COPIES_MOST, COPIES_SECONDS = 20 * 2**30, 3600.0


class Piece(NamedTuple):
    """An object that is a part of a file: key, where in the file it begins, bytes, when it was written."""

    key: str
    start: int
    size: int
    changed: float


class Grown:
    """The pieces of a growing file, as far as they are known: what is known never changes, only more comes.

    Args:
        bucket: where it lies.
        key: of the file: its pieces are `key/0000000000` and so on.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key = bucket, key
        self._pieces: list[Piece] = []
        self._lock = threading.Lock()

    def look(self) -> list[Piece]:
        """Learn of new pieces, and return all."""
        with self._lock:
            last = self._pieces[-1] if self._pieces else None
            end = last.start + last.size if last else 0
            for page in self._bucket.under(self._key, last.key if last else None):
                for one in page:
                    self._pieces.append(Piece(one.key, end, one.size, one.changed))
                    end += one.size
            return list(self._pieces)


class _Pieces(io.RawIOBase):
    """Pieces as one file to read."""

    def __init__(self, bucket: Bucket, pieces: list[Piece], *, unchanging: bool, ahead: bool) -> None:
        self._bucket, self._pieces = bucket, [piece for piece in pieces if piece.size]
        self._starts = [piece.start for piece in self._pieces]
        self._size = pieces[-1].start + pieces[-1].size if pieces else 0
        self._unchanging, self._ahead, self._at = unchanging, ahead, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at >= self._size:
            return 0
        number = bisect.bisect_right(self._starts, self._at) - 1
        piece, view = self._pieces[number], memoryview(buffer)
        inside = self._at - piece.start
        wanted = min(len(view), piece.size - inside)
        if self._unchanging and piece.size <= KEPT_MOST:
            if self._ahead:
                near = self._pieces[number : number + AHEAD]
                self._bucket.all(self._bucket.kept, [one.key for one in near if one.size <= KEPT_MOST])
            data = self._bucket.kept(piece.key)[inside : inside + wanted]
        else:
            data = self._bucket.range(piece.key, inside, wanted)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_pieces(bucket: Bucket, pieces: list[Piece], buffer: int, *, unchanging: bool) -> BinaryIO:
    """Open pieces as one file.

    Args:
        bucket: where they lie.
        pieces: in order.
        buffer: bytes that are read at a time.
        unchanging: what is fetched may be kept.
    """
    raw = _Pieces(bucket, pieces, unchanging=unchanging, ahead=buffer >= READ_ON)
    return io.BufferedReader(raw, max(buffer, LEAST))


class ObjectAppender:
    """The one writer of a file that grows: every write is a piece.

    Args:
        bucket: where it lies.
        key: of the file.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key, self._number, self._failed = bucket, key, 0, False
        if bucket.create(self._piece(), b"") is None:
            raise FileExistsError(17, "File exists", f"{bucket.root}/{key}")

    def _piece(self) -> str:
        return f"{self._key}/{self._number:010d}"

    def write(self, data: bytes) -> None:
        if self._failed:  # whether the last piece is there nobody knows: what stands behind it could move
            raise StoreError(f"{self._bucket.root}/{self._key}: a write before failed")
        self._number += 1
        try:
            self._bucket.put(self._piece(), data)
        except BaseException:
            self._failed = True
            raise
        self._bucket.keep(self._piece(), data)

    def close(self) -> None:
        pass


def copy_here(bucket: Bucket, found: Object) -> Path:
    """A copy of an object on this machine, made once for each content.

    Args:
        bucket: where it lies.
        found: what is known of it.
    """
    said = f"{bucket.root}/{found.key} {found.size} {found.tag or found.changed}"
    folder = machine_folder() / "copies" / hashlib.sha256(said.encode()).hexdigest()[:16]
    path = folder / found.key.rpartition("/")[2]
    if path.exists():
        with contextlib.suppress(OSError):
            os.utime(folder)  # it was used
        return path
    _make_room(folder.parent, found.size)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".half-", delete=False) as file:
        for start in range(0, found.size, 1 << 23):
            file.write(bucket.range(found.key, start, min(1 << 23, found.size - start)))
    os.replace(file.name, path)
    return path


def _make_room(folder: Path, wanted: int) -> None:
    """Delete copies that were not used for a while where there are too many."""
    known = []
    for one in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            known.append((one.stat().st_mtime, sum(file.stat().st_size for file in one.iterdir()), one))
    room = COPIES_MOST - wanted - sum(size for _, size, _ in known)
    for used, size, one in sorted(known):
        if room >= 0 or time.time() - used < COPIES_SECONDS:
            return
        shutil.rmtree(one, ignore_errors=True)
        room += size
