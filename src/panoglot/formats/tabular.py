"""CSV, TSV and JSON lines whose rows name pictures (paths) or hold them (base64), with captions in columns.

A folder with `metadata.jsonl` or `metadata.csv` (Hugging Face's `imagefolder`) is one too, and what `Writer` writes.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from panoglot.errors import RowError, UserError
from panoglot.formats._checked import encodable
from panoglot.formats._files import check_regular, find_files, join_uri, open_regular, part_key, reject, suffix_of
from panoglot.formats._record import flat
from panoglot.formats._rows import Options, Roles, pick_roles, samples
from panoglot.formats._sample import Part, Sample
from panoglot.formats._texts import load_json
from panoglot.pictures import SUFFIXES
from panoglot.table import Reject

__all__ = ["Writer", "detect", "parts", "read"]

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
_METADATA = ("metadata.jsonl", "metadata.csv")
_ROWS = 1000  # rows of a part
_LINE = 64 * 2**20  # longest line: base64 pictures are long
_QUOTED = 4 * 2**20  # most bytes of further lines that a quoted text may span


def detect(source: str) -> bool:
    """A file or pattern named so; or a folder with `metadata.jsonl` or `metadata.csv`."""
    if not os.path.isdir(source):
        return source.lower().endswith(_SUFFIXES)
    return any(os.path.isfile(os.path.join(source, name)) for name in _METADATA)


def parts(source: str, **options: Any) -> Iterator[Part]:
    """List parts of 1000 rows.

    Args:
        source: a file, a folder with `metadata.jsonl` or `metadata.csv`, a glob or a brace range.
        **options: see `Options`.
    """
    chosen = Options(**options)
    if os.path.isdir(source):
        paths = [os.path.join(source, name) for name in _METADATA if os.path.isfile(os.path.join(source, name))][:1]
        paths = paths or find_files(source, lambda name: name.lower().endswith(_SUFFIXES), "CSV, TSV or JSONL files")
    else:
        paths = find_files(source, lambda name: name.lower().endswith(_SUFFIXES), "CSV, TSV or JSONL files")
    for path in paths:
        try:
            check_regular(path)
        except RowError as error:
            if len(paths) == 1:
                raise UserError(f"{path} cannot be read: {error.message}.") from None
            items = {"path": path, "problem": [error.reason, error.message]}
            yield Part("tabular", join_uri(path), part_key("tabular", path, error.reason), items, 0)
            continue
        yield from _parts(path, chosen)


def _parts(path: str, options: Options) -> Iterator[Part]:
    roles = _roles(path, options)
    uri, header = join_uri(path), _header(path)
    start, first, count, end = header[1], 0, 0, header[1]
    base = {"path": os.path.abspath(path), "roles": roles, "header": header[0]}

    def part() -> Part:
        key = part_key("tabular", path, asdict(options), start)
        return Part("tabular", uri, key, {**base, "start": start, "first": first}, count)

    for _, after, rows in _rows(path, start, header[0]):
        count, end = count + rows, after
        if count >= _ROWS:
            yield part()
            start, first, count = end, first + count, 0
    if count:
        yield part()


def _roles(path: str, options: Options) -> Roles:
    """Look at the header, or the first rows of JSON lines, and decide what the columns are."""
    names, start = _header(path)
    if names is not None:
        kinds = dict.fromkeys(names, "text")
    else:
        kinds = {}
        for n, (row, _, _) in enumerate(_rows(path, start, None)):
            if n >= 100:
                break
            for name, value in row.items() if isinstance(row, dict) else ():
                if not encodable(name):
                    continue
                kind = "image" if isinstance(value, dict) and "bytes" in value else "text"
                if isinstance(value, str | list | dict):
                    kinds[name] = kind
                kinds.setdefault(name, "other")
        if not kinds:
            raise UserError(f"{path} has no JSON object in its first lines.")
    return pick_roles(kinds, path, options)


def _delimiter(path: str) -> str | None:
    return {".csv": ",", ".tsv": "\t"}.get(os.path.splitext(path)[1].lower())


def _header(path: str) -> tuple[list[str] | None, int]:
    """Column names of a CSV or TSV file, and the byte where its rows begin."""
    delimiter = _delimiter(path)
    try:
        with io.BufferedReader(open_regular(path)) as file:
            start = 3 if file.read(3) == b"\xef\xbb\xbf" else 0
            if delimiter is None:
                return None, start
            file.seek(start)
            line = file.readline(2**20)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error.message}.") from None
    text = line.decode("utf-8", "replace")
    if delimiter == "," and ";" in text and "," not in text:
        raise UserError(f"{path} is separated by semicolons; write it with commas.")
    try:
        names = [name.strip() for name in next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter), [])]
    except csv.Error:
        names = []
    if not names or len(set(names)) != len(names):
        raise UserError(f"{path} must begin with a line of distinct column names; it begins with {text[:80]!r}.")
    return names, start + len(line)


def _rows(path: str, start: int, header: list[str] | None) -> Iterator[tuple[dict[str, Any] | RowError, int, int]]:
    """Yield (row or why there is none, byte after it, how many rows it stands for) from byte `start` on.

    Neighbours that fail alike, word for word, are one failure: after a quote left open there may be millions.
    """
    with io.BufferedReader(open_regular(path)) as file:
        file.seek(start)
        found = _json_rows(file) if header is None else _csv_rows(file, header, _delimiter(path) or ",")
        failed: tuple[RowError, int, int] | None = None
        for row, after in found:
            alike = failed is not None and isinstance(row, RowError) and str(row) == str(failed[0])
            if failed is not None and alike:
                failed = (failed[0], after, failed[2] + 1)
                continue
            if failed is not None:
                yield failed
            failed = (row, after, 1) if isinstance(row, RowError) else None
            if not isinstance(row, RowError):
                yield row, after, 1
        if failed is not None:
            yield failed


def _lines(file: BinaryIO) -> Iterator[tuple[bytes | RowError, int]]:
    """Lines of bounded length with the byte after each; a longer one is an error, and skipped."""
    while line := file.readline(_LINE):
        if line.endswith(b"\n") or len(line) < _LINE:
            yield line, file.tell()
            continue
        while (more := file.readline(_LINE)) and not more.endswith(b"\n"):
            pass
        yield RowError("too_many_bytes", f"a line of more than {_LINE:,} bytes"), file.tell()


def _json_rows(file: BinaryIO) -> Iterator[tuple[dict[str, Any] | RowError, int]]:
    for line, after in _lines(file):
        if isinstance(line, RowError):
            yield line, after
        elif line.strip():
            try:
                # what is not UTF-8 becomes surrogates: the row's picture is kept, the text is told
                row = load_json(line.decode("utf-8", "surrogateescape"))
                yield (row if isinstance(row, dict) else RowError("bad_json", "not an object")), after
            except RowError as error:
                yield error, after


def _csv_rows(file: BinaryIO, header: list[str], delimiter: str) -> Iterator[tuple[dict[str, Any] | RowError, int]]:
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
            while (item := queue.popleft() if queue else next(_lines(file), None)) is not None:
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
                if (end := _field_end(_lines(file), used, delimiter, len(header))) is not None:
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


def read(part: Part) -> Iterator[Sample | Reject]:
    """Read the rows of a part."""
    items = part.items
    if "problem" in items:
        yield reject(part.uri, *items["problem"])
        return
    row = items["first"]
    try:
        for value, _, rows in _rows(items["path"], items["start"], items["header"]):
            if row >= items["first"] + (part.count or 0):
                return
            uri = f"{part.uri}#{row}"
            if isinstance(value, RowError) and rows > 1:
                yield reject(f"{uri}-{row + rows - 1}", value.reason, f"{rows:,} rows in a row: {value.message}")
            elif isinstance(value, RowError):
                yield reject(uri, value.reason, value.message)
            else:
                yield from samples(value, uri, items["roles"])
            row += rows
    except RowError as error:
        yield reject(f"{part.uri}#{row}-", error.reason, error.message)
    except OSError as error:
        yield reject(f"{part.uri}#{row}-", "missing_file", error.strerror or str(error))


class Writer:
    """Write `metadata.jsonl` and the pictures under `images/`, by the first digits of their ids."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder, self.count = folder, 0
        self._file = open(folder / "metadata.jsonl", "w", encoding="utf-8")  # noqa: SIM115

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> None:
        """Write one picture with its record."""
        name = f"images/{record['image_id'][:2]}/{record['image_id']}{suffix}"
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._file.write(json.dumps({"file_name": name, **flat(record)}, ensure_ascii=False) + "\n")
        self.count += 1

    def close(self) -> dict[str, Any]:
        """Finish."""
        self._file.close()
        return {"shards": {"metadata.jsonl": self.count}}
