"""Compressed streams, inflated a piece at a time and with bounded dictionaries, and members read without copies."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import IO, Any, BinaryIO

__all__ = ["PIECE", "inflated", "read_member"]

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


def inflated(file: BinaryIO) -> IO[bytes]:
    """The content of a file that may be compressed (gzip, bzip2, xz, told by its first bytes)."""
    kind = _MAGIC.get(file.read(2))
    file.seek(0)
    return io.BufferedReader(_Inflated(file, kind), PIECE) if kind else file


def read_member(file: Any, size: int) -> bytes:
    """Read `size` bytes, or what there is, in pieces; the whole is never there twice."""
    whole = io.BytesIO()
    while whole.tell() < size and (piece := file.read(min(PIECE, size - whole.tell()))):
        whole.write(piece)
    return whole.getvalue()
