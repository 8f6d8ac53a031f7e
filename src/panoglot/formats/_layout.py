"""How a file of rows is written: JSON or separated values, its encoding, separator and columns; found by looking."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from panoglot.errors import RowError, UserError
from panoglot.formats._files import find_named, open_regular, suffix_of
from panoglot.formats._rows import are_pictures, image_column
from panoglot.pictures import SUFFIXES

__all__ = ["Layout", "encoding_of", "find_layout", "is_table", "names_pictures", "open_rows"]

_HEAD = 2**18  # bytes that are looked at
_SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe"}
_NAME = re.compile(
    r"[^\x00-\x1f\"',;|<>:]{1,300}\.(?:" + "|".join(sorted(name[1:] for name in SUFFIXES)) + r")(?=[\"',;|\s])",
    re.IGNORECASE,
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Layout:
    """How rows are written; picklable.

    Attributes:
        kind: `csv`, `lines` (JSON lines), `array` (one JSON array) or `object` (one JSON object, a picture a key).
        start: byte where the rows begin, of the file in UTF-8.
        names: columns of separated values.
        delimiter: what separates them.
        encoding: of the file.
        recode: it is read through a copy in UTF-8 with line feeds.
    """

    kind: str
    start: int = 0
    names: tuple[str, ...] | None = None
    delimiter: str = ","
    encoding: str = "utf-8"
    recode: bool = False


def find_layout(path: str, delimiter: str | None = None, encoding: str | None = None) -> Layout:
    """Find out how the rows of a file are written.

    Args:
        path: the file.
        delimiter: a character, or `comma`, `tab`, `semicolon`, `pipe`; None to find out.
        encoding: a name that Python knows; None to find out.

    Raises:
        UserError: not readable, no such encoding, or no columns.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path} is no file but a folder, device or pipe.")
    try:
        with io.BufferedReader(open_regular(path)) as file:
            raw = file.read(_HEAD)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error.message}.") from None
    found, mark = encoding_of(raw)
    if encoding is not None:
        try:
            found = codecs.lookup(encoding).name.removesuffix("-sig")
        except LookupError:
            raise UserError(
                f"encoding '{encoding}' is not known; for example utf-8, utf-16, cp1252, gb18030."
            ) from None
    text = raw[mark:].decode(found, "surrogateescape" if found == "utf-8" else "replace")
    old_lines = "\r" in text and "\n" not in text  # as a Mac wrote them once
    recode = found != "utf-8" or old_lines
    if recode:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    start = 0 if recode else mark
    if suffix_of(path) in (".jsonl", ".ndjson", ".json"):
        return Layout(_json_kind(path, text), start, None, ",", found, recode)
    first, _, _ = text.partition("\n")
    said = re.fullmatch(r"sep=(.)\r?", first)  # as Excel writes it
    skip = len((first + "\n").encode("utf-8", "surrogateescape")) if said else 0
    chosen = _separator(delimiter) or (said[1] if said else None)
    body = text.partition("\n")[2] if said else text
    names, chosen, header = _columns(path, _whole_lines(body, len(raw) < _HEAD), chosen)
    if any("\ud800" <= character <= "\udfff" for name in names or () for character in name):
        raise UserError(
            f"the names of {path}'s columns are not UTF-8; say what they are, for example --option encoding=cp1252"
        )
    size = len((body.partition("\n")[0] + "\n").encode("utf-8", "surrogateescape")) if header else 0
    return Layout("csv", start + skip + size, names, chosen, found, recode)


def _json_kind(path: str, text: str) -> str:
    """`array`; `object`, where the keys are names of pictures; else JSON lines."""
    begin = text.lstrip()
    if begin[:1] == "[":
        return "array"
    key = re.match(r'\{\s*("(?:[^"\\]|\\.)*")\s*:', begin)
    if key is None or suffix_of(path) != ".json":
        return "lines"
    try:
        return "object" if are_pictures([json.loads(key[1])]) else "lines"
    except ValueError:
        return "lines"


def is_table(path: str) -> bool:
    """Say whether a text file is a table whose rows name pictures: its first lines have columns, and one holds them."""
    try:
        layout = find_layout(path)
    except UserError:
        return False
    return layout.kind == "csv" and len(layout.names or ()) > 1 and _score(path, layout) > 0


def names_pictures(path: str) -> list[str]:
    """Pictures in a folder that the first bytes of a file there name, as paths from its folder or one below it."""
    try:
        with io.BufferedReader(open_regular(path)) as file:
            raw = file.read(_HEAD)
    except (OSError, RowError):
        return []
    encoding, mark = encoding_of(raw)
    text = raw[mark:].decode(encoding, "replace")
    kind = _json_kind(path, text) if suffix_of(path) == ".json" else ""
    if kind == "lines":  # one JSON object of another kind: COCO, settings …
        return []
    names = list(itertools.islice((match[0].strip().replace("\\/", "/") for match in _NAME.finditer(text)), 20))
    folder = find_named(os.path.dirname(path) or ".", names, above=False)
    return [os.path.join(folder, name) for name in names if os.path.isfile(os.path.join(folder, name))]


def _score(path: str, layout: Layout) -> int:
    with open_rows(path, layout) as file:
        file.seek(layout.start)
        lines = [line.decode("utf-8", "replace") for _ in range(20) if (line := file.readline(_HEAD))]
    rows = _read(lines, layout.delimiter)
    return int(_has_pictures(list(layout.names or ()), rows))


def encoding_of(raw: bytes) -> tuple[str, int]:
    """The encoding of a file by its first bytes, and the length of its byte order mark."""
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return name, len(mark)
    if len(raw) > 3 and raw[:2000].count(0) > len(raw[:2000]) // 4:  # UTF-16 without a mark: a zero beside most letters
        return ("utf-16-le" if raw[1] == 0 else "utf-16-be"), 0
    return "utf-8", 0


def _separator(name: str | None) -> str | None:
    if name is None:
        return None
    named = {word: mark for mark, word in _SEPARATORS.items()} | {"\\t": "\t"}
    mark = named.get(name.lower(), name)
    if len(mark) != 1 or mark in '\r\n"':
        raise UserError(f"delimiter '{name}': give one character, or {', '.join(_SEPARATORS.values())}.")
    return mark


def _whole_lines(text: str, whole: bool) -> list[str]:
    lines = text.splitlines(keepends=True)
    return lines if whole or len(lines) < 2 else lines[:-1]


def _read(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        try:
            return [row for row in itertools.islice(csv.reader(lines, delimiter=delimiter, quoting=quoting), 50) if row]
        except csv.Error:
            continue
    return []


def _has_pictures(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    columns = dict.fromkeys(names, "text")
    examples = {name: [row[n] for row in rows if n < len(row)] for n, name in enumerate(names)}
    return image_column(columns, examples) is not None


def _columns(path: str, lines: list[str], delimiter: str | None) -> tuple[tuple[str, ...], str, bool]:
    """The columns, the separator with which the file makes most sense, and whether the first line names the columns."""
    order = "\t,;|" if suffix_of(path) == ".tsv" else ",\t;|"
    best: tuple[Any, tuple[str, ...], str, bool] | None = None
    for mark in [delimiter] if delimiter else order:
        rows = _read(lines[:200], mark)
        if not rows or not any(name.strip() for name in rows[0]):
            continue
        header = not any(are_pictures([field.strip()]) for field in rows[0])
        names = _distinct([name.strip() for name in rows[0]]) if header else _made_up(rows[0])
        body = rows[1:] if header else rows
        fit = sum(len(row) == len(names) for row in body) / len(body) if body else 1.0
        score = (_has_pictures(names, body), len(names) > 1 and fit >= 0.5, round(fit, 1) if len(names) > 1 else 0)
        if best is None or score > best[0]:
            best = (score, names, mark, header)
    if best is None:
        shown = lines[0][:80] if lines else ""
        raise UserError(f"{path} must begin with a line of column names; it begins with {shown!r}.")
    return best[1:]


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Give columns of one name, and of none, names of their own: five columns `caption` are five.

    >>> _distinct(["image", "caption", "caption", ""])
    ('image', 'caption', 'caption_2', 'column_4')
    """
    found: list[str] = []
    for n, name in enumerate(names):
        name = name or f"column_{n + 1}"
        tries = (name if k == 1 else f"{name}_{k}" for k in itertools.count(1))
        found.append(next(one for one in tries if one not in found))
    return tuple(found)


def _made_up(row: Sequence[str]) -> tuple[str, ...]:
    """Names for the columns of a file that begins with its first row."""
    image = next(n for n, field in enumerate(row) if are_pictures([field.strip()]))
    other = "caption" if len(row) == 2 else ""
    return _distinct(["image" if n == image else other for n in range(len(row))])


@contextmanager
def open_rows(path: str, layout: Layout) -> Iterator[BinaryIO]:
    """Open a file of rows as UTF-8 with line feeds, whatever it is written in."""
    facts = os.stat(path)
    name = _copy(path, layout.encoding, facts.st_size, facts.st_mtime_ns).name if layout.recode else path
    with io.BufferedReader(open_regular(name)) as file:
        yield file


@lru_cache(maxsize=2)
def _copy(path: str, encoding: str, size: int, changed: int) -> Any:
    """A copy in UTF-8 in a temporary file that goes with this process; made once."""
    copy = tempfile.NamedTemporaryFile(prefix="panoglot-")  # noqa: SIM115
    with io.BufferedReader(open_regular(path)) as file:
        mark = encoding_of(file.read(4))[1]
        file.seek(mark)
        reader = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline=None)
        while piece := reader.read(2**20):
            copy.write(piece.encode("utf-8", "replace"))
    copy.flush()
    return copy
