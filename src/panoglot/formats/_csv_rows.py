"""Lines of bounded length, rows of separated values, and rows that fail alike."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from panoglot.errors import RowError
from panoglot.formats._files import suffix_of
from panoglot.pictures import SUFFIXES

__all__ = ["csv_rows", "lines_of", "together"]

_LINE = 64 * 2**20  # longest line: base64 pictures are long
_QUOTED = 4 * 2**20  # most bytes of further lines that a quoted text may span


def together(
    found: Iterable[tuple[dict[str, Any] | RowError, int]],
) -> Iterator[tuple[dict[str, Any] | RowError, int, int]]:
    """Yield (row or why there is none, byte after it, how many rows it stands for).

    Neighbours that fail alike, word for word, are one failure: after a quote left open there may be millions.

    >>> torn = RowError("bad_row", "torn")
    >>> [(str(row), count) for row, _, count in together([({}, 1), (torn, 2), (torn, 3), ({}, 4)])]
    [('{}', 1), ('bad_row: torn', 2), ('{}', 1)]
    """
    failed: tuple[RowError, int, int] | None = None
    for row, after in found:
        if failed is not None and isinstance(row, RowError) and str(row) == str(failed[0]):
            failed = (failed[0], after, failed[2] + 1)
            continue
        if failed is not None:
            yield failed
        failed = (row, after, 1) if isinstance(row, RowError) else None
        if not isinstance(row, RowError):
            yield row, after, 1
    if failed is not None:
        yield failed


def lines_of(file: BinaryIO) -> Iterator[tuple[bytes | RowError, int]]:
    """Lines of bounded length, with the byte after each; a longer one is an error, and skipped."""
    while line := file.readline(_LINE):
        if line.endswith(b"\n") or len(line) < _LINE:
            yield line, file.tell()
            continue
        while (more := file.readline(_LINE)) and not more.endswith(b"\n"):
            pass
        yield RowError("too_many_bytes", f"a line of more than {_LINE:,} bytes"), file.tell()


def csv_rows(file: BinaryIO, header: list[str], delimiter: str) -> Iterator[tuple[dict[str, Any] | RowError, int]]:
    """CSV rows. A quote that never closes costs the line it is in: reading goes on at the next one.

    A line is read again at most once: lines that a quote left open ran over open no quote of their own, or they would
    have closed it.
    """
    csv.field_size_limit(max(csv.field_size_limit(), 2 * _LINE))
    queue: deque[tuple[bytes | RowError, int]] = deque()  # lines to be read again
    astray = False  # after a quote left open, until a row is whole again
    while True:
        used: list[tuple[bytes | RowError, int]] = []

        def feed(used: list[tuple[bytes | RowError, int]] = used) -> Iterator[str]:
            while (item := queue.popleft() if queue else next(lines_of(file), None)) is not None:
                used.append(item)
                if isinstance(item[0], RowError):
                    return
                yield item[0].decode("utf-8", "surrogateescape")
                if used[-1][1] - used[0][1] > _QUOTED:
                    return

        try:
            fields = next(csv.reader(feed(), delimiter=delimiter, strict=True), None)
        except csv.Error as error:  # a quote left open or in the wrong place
            if used[-1][1] - used[0][1] > _QUOTED and not queue:
                if (end := _field_end(lines_of(file), used, delimiter, len(header))) is not None:
                    yield RowError("too_many_bytes", f"a quoted text of more than {_QUOTED:,} bytes"), end
                    continue
                file.seek(used[-1][1])
            broken: RowError | None = RowError("bad_row", str(error))
            astray = len(used) > 1
            try:  # many files have plain quotes in texts: read the line as it stands if that fits the columns
                fields = next(csv.reader([_text(used[0])], delimiter=delimiter, quoting=csv.QUOTE_NONE), [])
            except csv.Error:
                fields = []
            queue.extendleft(reversed(used[1:]))
            used = used[:1]
            if len(fields) == len(header):
                broken = None
        else:
            broken = None
            astray = astray and (fields is None or len(fields) != len(header))
        if not used:
            return
        after = used[-1][1]
        if isinstance(used[-1][0], RowError):
            yield used[-1][0], after
        elif broken is not None:
            yield broken, after
        elif fields and astray and len(fields) < len(header):
            yield RowError("bad_row", "too few fields, after a quote that was left open"), after
        elif fields and (len(fields) == len(header) or any(fields[len(header) :]) is False):
            yield dict(zip(header, fields, strict=False)), after
        elif fields:
            yield RowError("bad_row", f"{len(fields)} fields, the header has {len(header)}"), after


def _field_end(
    source: Iterator[tuple[bytes | RowError, int]],
    used: list[tuple[bytes | RowError, int]],
    delimiter: str,
    columns: int,
) -> int | None:
    """The byte after a quoted text that is too long; None when the quote was left open and rows follow it."""
    rows = [_text(line).rstrip("\r\n").split(delimiter) for line in used[1:21]]
    alike = sum(
        len(row) == columns and any(suffix_of(field) in SUFFIXES or "://" in field for field in row) for row in rows
    )
    if 2 * alike > len(rows):
        return None
    ends = (delimiter.encode(), b"\r", b"\n", b"")
    for line, after in source:
        if isinstance(line, bytes) and line.count(b'"') % 2:
            bare = line.replace(b'""', b"")
            at = bare.find(b'"') + 1
            return after if bare[at : at + 1] in ends else None
    return None


def _text(line: tuple[bytes | RowError, int]) -> str:
    return line[0].decode("utf-8", "surrogateescape") if isinstance(line[0], bytes) else ""
