"""What the columns of a Parquet file would take to read, by the headers of their pages, before anything is decoded.

The footer is read here too: `RowGroupMetaData.column` of pyarrow ends the process where the footer is damaged.

A column that repeats one value, or whose rows hold lists without end, is a few bytes in the file and gigabytes in
memory. Such a column is left out and named; the rows are read without it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from panoglot.pictures import MAX_BYTES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["Column", "columns_of", "without_stored_schema"]

#: Most bytes that one page of a column may inflate to: a page holds at least one value whole.
_PAGE = MAX_BYTES + 64 * 2**20
#: Most values that a row may have in a column, on average over its row group.
_VALUES = 100_000
#: Most levels of lists and structs.
_DEEP = 320
_HEADER, _LONG_HEADER = 256, 2**20  # bytes that are read for the header of a page


class Column:
    """A top-level column of a row group.

    Attributes:
        name: its name.
        value: most bytes that one of its values may have because the dictionary holds it.
        problem: why it cannot be read within limits; empty if it can.
    """

    def __init__(self, name: str) -> None:
        self.name, self.value, self.problem = name, 0, ""


class _Chunk(NamedTuple):
    """Where a leaf column of a row group lies."""

    values: int
    stored: int
    pages: int
    dictionary: int


def columns_of(path: str, file: pq.ParquetFile, group: int) -> list[Column]:
    """Look at the page headers of a row group."""
    import pyarrow as pa

    found: dict[str, Column] = {name: Column(name) for name in file.schema_arrow.names}
    facts = file.metadata.row_group(group)
    for field in file.schema_arrow:
        if _depth(field.type) > _DEEP:
            found[field.name].problem = f"nested more than {_DEEP} deep"
    names = _top_level(file)
    kept = {field.name for field in file.schema_arrow if pa.types.is_dictionary(field.type)}
    with open(path, "rb", buffering=0) as raw:
        about = os.fstat(raw.fileno())
        groups = _chunks(path, about.st_size, about.st_mtime_ns)
        chunks = groups[group] if group < len(groups) else ()
        for unknown in found.values() if len(chunks) != facts.num_columns else ():
            unknown.problem = unknown.problem or "the footer says not where it lies"
        for n, chunk in enumerate(chunks):
            column = found.get(names[n]) if n < len(names) else None
            if column is None or column.problem:
                continue
            rows = max(facts.num_rows, 1)
            if chunk.values > 1_000_000 + _VALUES * rows:
                column.problem = f"{chunk.values:,} values in {rows:,} rows"
                continue
            for kind, inflated in _pages(raw, chunk, about.st_size):
                if inflated > _PAGE:
                    column.problem = f"a page of {inflated:,} bytes"
                    break
                # a dictionary that is not kept as one: every row may take its largest value, as often as it has values
                if kind == 2 and column.name not in kept:
                    column.value = max(column.value, inflated * -(-chunk.values // rows))
    return list(found.values())


def _top_level(file: pq.ParquetFile) -> list[str]:
    """The top-level field of every leaf column, in order; by position, as names may have dots."""
    names: list[str] = []
    for field in file.schema_arrow:
        names += [field.name] * _leaves(field.type)
    return names if len(names) == file.metadata.num_columns else []


def _leaves(kind: pa.DataType) -> int:
    import pyarrow as pa

    count, waiting = 0, [kind]
    while waiting:
        one = waiting.pop()
        if pa.types.is_dictionary(one) or not one.num_fields:
            count += 1
        else:
            waiting += [one.field(n).type for n in range(one.num_fields)]
    return count


def _depth(kind: pa.DataType) -> int:
    level, depth = [kind], 0
    while level and depth <= _DEEP + 1:
        depth += 1
        level = [one.field(n).type for one in level for n in range(one.num_fields)]
    return depth


@lru_cache(maxsize=2)
def _chunks(path: str, size: int, changed: int) -> list[list[_Chunk]]:
    """The leaf columns of every row group, by the footer; none where it makes no sense.

    Args:
        path: the file.
        size: its bytes.
        changed: when; a file that changes is read again.
    """
    with open(path, "rb", buffering=0) as raw:
        raw.seek(max(size - 8, 0))
        tail = raw.read(8) or b""
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or length > size - 8:
            return []
        raw.seek(size - 8 - length)
        footer = raw.readall() or b""
    try:
        groups = _struct(footer, 0)[0][4]
        return [[_chunk(leaf[3]) for leaf in group[1]] for group in groups]
    except (IndexError, KeyError, TypeError, RecursionError):
        return []


def _chunk(facts: dict[int, Any]) -> _Chunk:
    """Of `ColumnMetaData`: fields 5, 7, 9, 11."""
    return _Chunk(int(facts[5]), int(facts[7]), int(facts[9]), int(facts.get(11, 0)))


def _pages(raw: io.FileIO, chunk: _Chunk, size: int) -> Iterator[tuple[int, int]]:
    """Yield (kind, inflated size) of the pages of a column chunk; ends quietly where the headers make no sense."""
    starts = [at for at in (chunk.dictionary, chunk.pages) if at > 0]
    if not starts:
        return
    at = min(starts)
    end = min(at + chunk.stored, size)
    while at < end:
        raw.seek(at)
        data = raw.read(_HEADER) or b""
        header = _page_header(data) or _page_header(data + (raw.read(_LONG_HEADER) or b""))
        if header is None:
            return
        kind, inflated, stored, length = header
        yield kind, inflated
        at += length + stored


def _page_header(data: bytes) -> tuple[int, int, int, int] | None:
    """Kind, inflated and stored size of a page, and the length of its header."""
    try:
        fields, end = _struct(data, 0)
        kind, inflated, stored = int(fields[1]), int(fields[2]), int(fields[3])
    except (IndexError, KeyError, TypeError, RecursionError):
        return None
    return None if min(inflated, stored) < 0 else (kind, inflated, stored, end)


# -- Thrift's compact protocol; IndexError where the bytes end or make no sense ----------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
        if shift > 70:
            raise IndexError(shift)


def _number(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """A struct as field → value, and the place after it."""
    fields: dict[int, Any] = {}
    number = 0
    while data[at]:
        kind, step = data[at] & 0x0F, data[at] >> 4
        if step:
            number, at = number + step, at + 1
        else:
            number, at = _number(data, at + 1)
        if kind > 2:  # truth values lie in the kind itself
            fields[number], at = _value(data, at, kind)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2, 3):
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _number(data, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:
        size, at = _varint(data, at)
        return None, at + size  # texts are of no use here
    if kind == 12:
        return _struct(data, at)
    if kind in (9, 10):
        count, inner, at = data[at] >> 4, data[at] & 0x0F, at + 1
        if count == 15:
            count, at = _varint(data, at)
        values = []
        for _ in range(count):
            value, at = _value(data, at, inner)
            values.append(value)
        return values, at
    raise IndexError(kind)


def without_stored_schema(path: str) -> io.BufferedReader:
    """A Parquet file whose stored Arrow schema is not found: for files in which that alone is broken or too deep."""
    return io.BufferedReader(_Renamed(path, "rb"))


class _Renamed(io.FileIO):
    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        view = memoryview(buffer)
        if (at := bytes(view[:count]).find(b"ARROW:schema")) >= 0:
            view[at : at + 12] = b"arrow-schema"
        return count
