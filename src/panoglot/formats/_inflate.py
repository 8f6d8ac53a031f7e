"""Compressed streams, inflated a piece at a time and with bounded dictionaries, and members read without copies."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import IO, Any, BinaryIO

__all__ = ["PIECE", "Forward", "inflated", "read_member"]

#: Most bytes that are inflated at once.
PIECE = 2**20
_DICTIONARY = 256 * 2**20  # most memory that an xz stream may ask for
_MAGIC = {b"\x1f\x8b": "gz", b"BZ": "bz2", b"\xfd7": "xz", b"]\0": "xz"}


class _Inflated(io.RawIOBase):
    """A compressed file as a stream of its content; several members one after the other are one stream."""

    def __init__(self, file: BinaryIO, kind: str) -> None:
        self._file, self._kind = file, kind
        self._rest, self._engine = b"", self._new()

    def _new(self) -> Any:
        if self._kind == "gz":
            return zlib.decompressobj(31)
        return bz2.BZ2Decompressor() if self._kind == "bz2" else lzma.LZMADecompressor(memlimit=_DICTIONARY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        most = min(len(buffer), PIECE)
        while most:
            if self._engine.eof:
                self._rest = self._engine.unused_data or self._file.read(PIECE)
                if not self._rest.strip(b"\0"):  # padding
                    return 0
                self._engine = self._new()
            if not self._rest and getattr(self._engine, "needs_input", True):
                self._rest = self._file.read(PIECE // 16)
                if not self._rest:
                    raise EOFError("the compressed stream ends early")
            data = self._engine.decompress(self._rest, most)
            self._rest = self._engine.unconsumed_tail if self._kind == "gz" else b""
            if data:
                buffer[: len(data)] = data
                return len(data)
        return 0


class Forward:
    """A stream that is read from one end to the other and knows where it is: what `tarfile` asks of a file.

    `tarfile` has streams of its own (`r|`), which copy half a megabyte for every header that they read.
    """

    def __init__(self, file: IO[bytes], seekable: bool) -> None:
        self._file, self._seekable, self._at = file, seekable, 0

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def read(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        data = self._file.read(size)
        self._at += len(data)
        return data

    def read1(self) -> bytes:
        """What is there at once, nothing at the end: before a break, all that came is given."""
        data: bytes = self._file.read1(PIECE)  # type: ignore[attr-defined]
        self._at += len(data)
        return data

    def seek(self, to: int) -> None:
        """Go on to a place; what lies before it is gone over, where it is compressed by reading it."""
        if self._seekable:
            self._at = self._file.seek(to)
        while self._at < to and self.read(min(PIECE, to - self._at)):
            pass


def inflated(file: BinaryIO) -> Forward:
    """The content of a file that may be compressed (gzip, bzip2, xz, told by its first bytes)."""
    kind = _MAGIC.get(file.read(2))
    file.seek(0)
    if kind:
        return Forward(io.BufferedReader(_Inflated(file, kind), PIECE), seekable=False)
    return Forward(io.BufferedReader(file), seekable=True)  # type: ignore[type-var]


def read_member(file: Forward, size: int, begun: bytes = b"") -> bytes:
    """Read up to `size` bytes, of which some were read already, in pieces; the whole is never there twice."""
    if size <= PIECE:
        return begun or file.read(size)
    whole = io.BytesIO()
    whole.write(begun)
    while whole.tell() < size and (piece := file.read(min(PIECE, size - whole.tell()))):
        whole.write(piece)
    return whole.getvalue()
