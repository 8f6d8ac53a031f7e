"""The files of the response journal: append-only segments of checked records, and sorted indexes of finished ones.

A record is `magic, crc32, length, key (16 bytes), value`. The magic is no valid UTF-8, so it never occurs inside a JSON
value: after damage the reader finds the next record by it, and one bad byte costs one answer. A torn tail is a record
that is not whole; it is skipped the same way.

An index (`.idx`) holds the first 8 bytes of every key, sorted, and the offsets: 16 bytes an answer, mapped, not loaded.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np

    from panoglot.storage import Store

__all__ = ["MAX_VALUE", "Sealed", "index_of", "joined", "pack", "read_record", "scan", "write_index"]

MAGIC = b"\xf5PJ\xff"
_HEAD = struct.Struct("<4sII16s")
_INDEX = struct.Struct("<8sQQI4x")  # magic, size of the segment, records, crc32 of the arrays
_INDEX_MAGIC = b"PJIDX\x00\x00\x01"
_KEY = struct.Struct(">Q")
#: Largest value in bytes: a longer length is damage, not an answer.
MAX_VALUE = 256 * 2**20
#: Indexes of up to this many records are loaded: a mapping costs an open file.
_LOAD_BELOW = 1 << 16


def _crc(length: int, key: bytes, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key, zlib.crc32(length.to_bytes(4, "little"))))


def pack(key: bytes, value: bytes) -> bytes:
    """Return the record of `value` under the 16-byte `key`."""
    if len(value) > MAX_VALUE:
        raise ValueError(f"a journal value may have {MAX_VALUE:,} bytes, not {len(value):,}")
    return _HEAD.pack(MAGIC, _crc(len(value), key, value), len(value), key) + value


def _parse(head: bytes, rest: bytes) -> tuple[bytes, bytes] | None:
    """Return (key, value), or None for what is no whole, sound record."""
    magic, crc, length, key = _HEAD.unpack(head)
    if magic != MAGIC or len(rest) != length or _crc(length, key, rest) != crc:
        return None
    return key, rest


def _length(head: bytes) -> int | None:
    if len(head) < _HEAD.size or head[:4] != MAGIC:
        return None
    length = _HEAD.unpack(head)[2]
    return length if length <= MAX_VALUE else None


def read_record(file: BinaryIO, at: int) -> tuple[bytes, bytes] | None:
    """Return (key, value) of the record at offset `at`, or None when it is damaged."""
    file.seek(at)
    head = file.read(_HEAD.size)
    length = _length(head)
    return None if length is None else _parse(head, file.read(length))


def scan(file: BinaryIO, at: int, end: int, found: list[tuple[bytes, int]]) -> int:
    """Append (key, offset) of every sound record in `[at, end)` to `found`.

    Returns:
        Where to go on when the file has grown: behind the last sound record, or at one that is not whole yet.
    """
    while at + _HEAD.size <= end:
        record = read_record(file, at)
        if record is not None and at + _HEAD.size + len(record[1]) <= end:
            found.append((record[0], at))
            at += _HEAD.size + len(record[1])
            continue
        after = _next_magic(file, at + 1, end)
        if after is None:
            break
        at = after
    return at


def _next_magic(file: BinaryIO, at: int, end: int) -> int | None:
    file.seek(at)
    tail = b""
    while at < end:
        block = tail + file.read(min(1 << 20, end - at))
        if len(block) == len(tail):
            return None
        place = block.find(MAGIC)
        if place >= 0:
            return at - len(tail) + place
        at += len(block) - len(tail)
        tail = block[-len(MAGIC) + 1 :]
    return None


def index_of(entries: Iterable[tuple[bytes, int]]) -> np.ndarray:
    """Return the sorted index, uint64 `[2, N]` (key prefixes, offsets), of (key, offset) pairs: 16 bytes a pair."""
    import numpy as np

    both = np.dtype([("key", "<u8"), ("at", "<u8")])
    pairs = np.fromiter(((_KEY.unpack_from(key)[0], at) for key, at in entries), dtype=both)
    pairs.sort(order=("key", "at"))
    return np.stack([pairs["key"], pairs["at"]])


def write_index(store: Store, name: str, index: np.ndarray, size: int) -> None:
    """Write the `index` of the segment `name` beside it; it is valid for a segment of `size` bytes."""
    raw = index.tobytes()
    store.write(f"{name}.idx", _INDEX.pack(_INDEX_MAGIC, size, index.shape[1], zlib.crc32(raw)) + raw)


class Sealed:
    """A finished segment with its index.

    Args:
        store: of the journal.
        name: of the segment, without `.seg`; its `.idx` is built again when it is damaged or does not fit.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name
        self.size = store.facts(f"{name}.seg").size
        if not self._map():
            entries: list[tuple[bytes, int]] = []
            with self.open(1 << 20) as file:
                scan(file, 0, self.size, entries)
            write_index(store, name, index_of(entries), self.size)
            if not self._map():
                raise OSError(f"cannot build the index of {name} in {store.address}")

    def open(self, buffer: int = 8192) -> BinaryIO:
        """The records, to be read."""
        return self.store.open(f"{self.name}.seg", buffer)

    def _map(self) -> bool:
        import numpy as np

        name = f"{self.name}.idx"
        try:
            with self.store.open(name) as file:
                magic, size, count, crc = _INDEX.unpack(file.read(_INDEX.size))
                length = self.store.facts(name).size
                if magic != _INDEX_MAGIC or size != self.size or length != _INDEX.size + 16 * count:
                    return False
                if count < _LOAD_BELOW:
                    raw = file.read()
                    if zlib.crc32(raw) != crc:
                        return False
                    both = np.frombuffer(raw, dtype="<u8").reshape(2, count)
                else:  # not read through here: a record is checked when it is used
                    path = self.store.local(name)
                    both = np.memmap(path, dtype="<u8", mode="r", offset=_INDEX.size, shape=(2, count))
        except (OSError, struct.error):
            return False
        self._keys: np.ndarray = both[0]
        self._offsets: np.ndarray = both[1]
        return True

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: bytes) -> list[bytes]:
        """Return the values under `key`, the newest first.

        Raises:
            FileNotFoundError: the segment was merged into another in the meantime.
        """
        return [value for found, value in self.starting(key[:8]) if found == key][::-1]

    def starting(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Return (key, value) of every sound record whose key begins with these 8 bytes, in the order of writing."""
        import numpy as np

        wanted = np.uint64(_KEY.unpack(prefix)[0])
        first, last = (int(np.searchsorted(self._keys, wanted, side=side)) for side in ("left", "right"))
        if first == last:
            return []
        with self.open() as file:
            records = [read_record(file, int(self._offsets[at])) for at in range(first, last)]
        return [record for record in records if record is not None and record[0].startswith(prefix)]


def joined(parts: Iterable[Sealed], file: BinaryIO) -> np.ndarray:
    """Copy finished segments into `file`, one behind the other, and return the index of the whole."""
    import numpy as np

    keys, offsets = [np.empty(0, "<u8")], [np.empty(0, "<u8")]
    for part in parts:
        keys.append(np.asarray(part._keys))
        offsets.append(np.asarray(part._offsets) + np.uint64(file.tell()))
        with part.open() as source:
            shutil.copyfileobj(source, file, 1 << 20)
    both = np.stack([np.concatenate(keys), np.concatenate(offsets)])
    return both[:, np.lexsort((both[1], both[0]))]
