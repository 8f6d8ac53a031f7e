"""CSV, TSV, JSON and JSON lines whose rows name pictures (paths) or hold them (base64), with captions in columns.

A folder with `metadata.jsonl`, `metadata.csv` or `metadata.parquet` in it or in its folders (Hugging Face's
`imagefolder`, with or without splits) is one too, a folder with a table whose rows name pictures in it (LLaVA,
LLaMA-Factory, ms-swift), and what `Writer` writes.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from panoglot.errors import RowError, UserError
from panoglot.formats._checked import check_elements, decoded, encodable
from panoglot.formats._csv_rows import csv_rows, lines_of, together
from panoglot.formats._files import check_regular, find_files, is_hidden, join_uri, part_key, reject, states_of
from panoglot.formats._layout import Layout, find_layout, is_table, names_pictures, open_rows
from panoglot.formats._picture_files import PictureFiles
from panoglot.formats._record import flat
from panoglot.formats._rows import Options, Roles, pick_roles, samples
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import load_json
from panoglot.formats.folder import parts_but
from panoglot.formats.parquet import parts as parquet_parts
from panoglot.formats.parquet import pictures_named
from panoglot.identity import counted
from panoglot.table import Reject

__all__ = ["Writer", "detect", "parts", "read", "table_rows"]

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
_METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_BESIDE = (".txt", ".caption", ".json")
_MOST_TABLES = 100  # files of a folder that are looked into for names of its pictures
_ROWS = 1000  # rows of a part
_ENCODING = "name the file's encoding: --option encoding=cp1252"
_MOST_FOLDERS = 2000  # folders that are looked into for a metadata file
_MOST_JSON = 4 * 2**30  # bytes of a JSON array, which is read at once


def detect(source: str) -> bool:
    """A file or pattern named so, a JSON array, a text file of such rows; or a folder with a metadata file."""
    if os.path.isdir(source):
        return next(_tables(source, _MOST_FOLDERS), None) is not None
    if source.lower().endswith(".json") and os.path.isfile(source):
        return find_layout(source).kind in ("array", "object")
    if source.lower().endswith(".txt") and os.path.isfile(source):
        return is_table(source)
    return source.lower().endswith(_SUFFIXES)


def _tables(source: str, most: int | None = None) -> Iterator[str]:
    """The metadata files of a folder; where it has none, tables in it whose rows name its pictures (LLaVA, CSV …).

    Where texts lie beside the pictures that a table names, the texts are read and the table is not.
    """
    found = False
    for path in _metadata(source, most):
        found = True
        yield path
    if found:
        return
    names = sorted(name for name in os.listdir(source) if name.lower().endswith((*_SUFFIXES, ".json")))[:_MOST_TABLES]
    for name in names:
        named = [] if is_hidden(name) else names_pictures(os.path.join(source, name))
        if named and not any(os.path.exists(os.path.splitext(one)[0] + end) for one in named for end in _BESIDE):
            yield os.path.join(source, name)


def _metadata(source: str, most: int | None = None) -> Iterator[str]:
    """The metadata files of a folder and of the folders in it; in one folder the first by name of format."""
    for n, (folder, folders, names) in enumerate(os.walk(source)):
        if most is not None and n >= most:
            return
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        here = next((name for name in _METADATA if name in names), None)
        if here:
            yield os.path.join(folder, here)


def parts(source: str, *, delimiter: str | None = None, encoding: str | None = None, **options: Any) -> Iterator[Part]:
    """List parts of 1000 rows; of a folder with metadata files also the pictures that these do not name.

    Args:
        source: a file, a folder with metadata files, a glob or a brace range.
        delimiter: what separates the values: a character, `comma`, `tab`, `semicolon` or `pipe`; None to find out.
        encoding: encoding of the file; found out unless given.
        **options: see `Options`.
    """
    chosen = Options(**options)
    said = {"delimiter": delimiter, "encoding": encoding}
    tables = list(_tables(source)) if os.path.isdir(source) else []
    if not tables:
        paths = find_files(source, lambda name: name.lower().endswith(_SUFFIXES), "CSV, TSV or JSONL files")
        for path in paths:
            if len(paths) > 1 and (problem := _problem(path)):
                yield _unreadable(path, problem)
            else:
                yield from _parts(path, chosen, said, None)
        return
    lenient = chosen == Options(lang=chosen.lang, kind=chosen.kind)  # nobody said what its columns are
    tables = [path for path in tables if not lenient or _problem(path) or _names_pictures(path, chosen, said)]
    named: set[str] = {os.path.realpath(path) for path in tables}
    for path in tables:
        if problem := _problem(path):
            yield _unreadable(path, problem)
        elif path.endswith(".parquet"):
            yield from parquet_parts(path, **options)
            named |= pictures_named(path, chosen)
        else:
            yield from _parts(path, chosen, said, named)
    yield from parts_but(source, named, lang=chosen.lang, kind=chosen.kind)


def _problem(path: str) -> RowError | None:
    """Why a file cannot be opened: a pipe, no permission."""
    try:
        check_regular(path)
    except RowError as error:
        return error
    return None


def _unreadable(path: str, problem: RowError) -> Part:
    items = {"path": path, "problem": [problem.reason, problem.message]}
    return Part("tabular", join_uri(path), part_key("tabular", path, problem.reason), items, 0)


def _names_pictures(path: str, options: Options, said: dict[str, Any]) -> bool:
    """Say whether a metadata file is a table of pictures; one that is none stands among what was not used."""
    try:
        next(parquet_parts(path) if path.endswith(".parquet") else _parts(path, options, said, None), None)
    except UserError:
        return False
    return True


def _parts(path: str, options: Options, said: dict[str, Any], named: set[str] | None) -> Iterator[Part]:
    """The parts of one file; the real paths of the pictures that it names are added to `named`."""
    layout = find_layout(path, **said)
    uri = join_uri(path)
    if layout.kind in ("array", "object"):
        yield from _array_parts(path, uri, layout, options, named)
        return
    roles = _roles(path, layout, options)
    start, first, count, end = layout.start, 0, 0, layout.start
    base = {"path": os.path.abspath(path), "roles": roles, "layout": layout}
    files: list[str] = []

    def part() -> Part:
        key = part_key("tabular", path, options, said, start, states_of(files))
        return Part("tabular", uri, key, {**base, "start": start, "first": first}, count)

    for row, after, rows in table_rows(path, layout, start):
        count, end = count + rows, after
        files += roles.pictures_of(row) if isinstance(row, dict) else []
        if count >= _ROWS:
            yield part()
            start, first, count = end, first + count, 0
            files = _note(files, named)
    if count:
        yield part()
        _note(files, named)


def _note(files: list[str], named: set[str] | None) -> list[str]:
    """Add the real paths of files to those that tables name, and begin anew."""
    if named is not None:
        named |= set(map(os.path.realpath, files))
    return []


def _array_parts(
    path: str, uri: str, layout: Layout, options: Options, named: set[str] | None = None
) -> Iterator[Part]:
    """The parts of one JSON array or object: their rows travel with them, as text."""
    import msgspec

    array = layout.kind == "array"
    try:
        with open_rows(path, layout) as file:
            file.seek(layout.start)
            raw = file.read(_MOST_JSON + 1)
        check_elements(raw)
        if len(raw) > _MOST_JSON:
            raise UserError(f"{path} is larger than {_MOST_JSON:,} bytes; write JSON lines (jq -c '.[]').")
        rows = [_text_of(one) for one in decoded(raw, list[msgspec.Raw])] if array else _keyed(raw)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error.message}.") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    roles = _roles_of(path, (_json_row(row) for row in rows[:100]), options)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        items = {"rows": some, "roles": roles, "first": start}
        good = (row for row in map(_json_row, some) if isinstance(row, dict))
        files = [name for row in good for name in roles.pictures_of(row)]
        key = part_key("tabular", path, counted(Options, asdict(options)), start, states_of(files))
        _note(files, named)
        yield Part("tabular", uri, key, items, len(some))


def _text_of(raw: Any) -> str:
    return bytes(raw).decode("utf-8", "surrogateescape")


def _keyed(raw: bytes) -> list[str]:
    """The rows of an object whose keys are pictures, as kohya and ai-toolkit write them: the key is a column too."""
    import msgspec

    rows = []
    for name, value in decoded(raw, dict[str, msgspec.Raw]).items():
        text = _text_of(value).strip()
        start = f'{{"file_name": {json.dumps(name)}'
        rows.append(
            f"{start}, {text[1:]}" if text[:1] == "{" and text[1:].strip() != "}" else f'{start}, "text": {text}}}'
        )
    return rows


def _roles(path: str, layout: Layout, options: Options) -> Roles:
    """Look at the first rows and decide what the columns are."""
    rows = (row for row, _, _ in itertools.islice(table_rows(path, layout, layout.start), 100))
    if layout.names is None:
        return _roles_of(path, rows, options)
    good = [row for row in rows if isinstance(row, dict)]
    examples = {name: [row[name][:65_536] for row in good if name in row] for name in layout.names}
    return pick_roles(dict.fromkeys(layout.names, "text"), path, options, examples=examples)


def _roles_of(path: str, rows: Iterable[dict[str, Any] | RowError], options: Options) -> Roles:
    """The same for JSON, whose rows have their own keys."""
    kinds: dict[str, str] = {}
    examples: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        for name, value in row.items() if isinstance(row, dict) else ():
            if not encodable(name):
                continue
            kind = "image" if isinstance(value, dict) and "bytes" in value else "text"
            if isinstance(value, str | list | dict):
                kinds[name] = kind
            kinds.setdefault(name, "other")
            examples[name].append(value[:65_536] if isinstance(value, str) else value)
    if not kinds:
        raise UserError(f"{path} has no JSON object in its first lines.")
    return pick_roles(kinds, path, options, examples=examples)


def table_rows(path: str, layout: Layout, start: int) -> Iterator[tuple[dict[str, Any] | RowError, int, int]]:
    """Yield (row or why there is none, byte after it, how many rows it stands for) from byte `start` on."""
    with open_rows(path, layout) as file:
        file.seek(start)
        if layout.names is None:
            yield from together(_json_rows(file))
        else:
            yield from together(csv_rows(file, list(layout.names), layout.delimiter))


def _json_rows(file: BinaryIO) -> Iterator[tuple[dict[str, Any] | RowError, int]]:
    for line, after in lines_of(file):
        if isinstance(line, RowError):
            yield line, after
        elif line.strip():
            # what is not UTF-8 becomes surrogates: the row's picture is kept, the text is told
            yield _json_row(line.decode("utf-8", "surrogateescape")), after


def _json_row(text: str) -> dict[str, Any] | RowError:
    try:
        row = load_json(text)
    except RowError as error:
        return error
    return row if isinstance(row, dict) else RowError("bad_json", "not an object")


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read the rows of a part."""
    items = part.items
    if "problem" in items:
        yield reject(part.uri, *items["problem"])
        return
    row = items["first"]
    if row == 0:
        yield from items["roles"].unused(part.uri)
    try:
        rows: Iterable[tuple[dict[str, Any] | RowError, int, int]]
        if "rows" in items:
            rows = together((_json_row(text), 0) for text in items["rows"])
        else:
            rows = table_rows(items["path"], items["layout"], items["start"])
        for value, _, count in rows:
            if row >= items["first"] + (part.count or 0):
                return
            uri = f"{part.uri}#{row}"
            if isinstance(value, RowError):
                place, said = (f"{uri}-{row + count - 1}", f"{count:,} rows in a row: ") if count > 1 else (uri, "")
                yield reject(place, value.reason, said + value.message)
            else:
                for one in samples(value, uri, items["roles"]):
                    if isinstance(one, Reject) and one.reason == "bad_encoding" and "layout" in items:
                        yield replace(one, message=f"{one.message}; {_ENCODING}")
                    else:
                        yield one
            row += count
    except RowError as error:
        yield reject(f"{part.uri}#{row}-", error.reason, error.message)
    except OSError as error:
        yield reject(f"{part.uri}#{row}-", "missing_file", error.strerror or str(error))


class Writer:
    """Write `metadata.jsonl` and the pictures under `images/`, by the first digits of their ids."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self._pictures, self._encode, self.count = PictureFiles(folder), msgspec.json.Encoder().encode, 0
        self._file = open(folder / "metadata.jsonl", "wb")  # noqa: SIM115

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> None:
        """Write one picture with its record."""
        name = self._pictures.add(record, data, suffix)
        self._file.write(self._encode({"file_name": name, **flat(record)}) + b"\n")
        self.count += 1

    def close(self) -> dict[str, Any]:
        """Finish."""
        self._file.close()
        return {"shards": {"metadata.jsonl": self.count}}
