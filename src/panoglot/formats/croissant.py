"""Croissant: JSON-LD that says which files hold a data set, and which columns are its pictures and texts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats import parquet, tabular
from panoglot.formats._files import inside, join_uri, part_key, read_bytes, reject
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import load_json
from panoglot.table import Reject

__all__ = ["detect", "parts", "read"]

_MOST = 64 * 2**20
_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")


def detect(source: str) -> bool:
    """A JSON file that conforms to Croissant, or a folder with `croissant.json`."""
    path = _file(source)
    if not path.lower().endswith((".json", ".jsonld")) or not os.path.isfile(path):
        return False
    try:
        return b"mlcommons.org/croissant" in read_bytes(path, _MOST)
    except RowError:
        return False


def _file(source: str) -> str:
    return os.path.join(source, "croissant.json") if os.path.isdir(source) else source


def parts(source: str, **options: Any) -> Iterator[Part]:
    """List the parts of the tables that it names; files on the web are named as not used.

    Args:
        source: the JSON file, or a folder with `croissant.json`.
        **options: see `Options`; the picture's column is the one that the file calls an `ImageObject`.
    """
    path = _file(source)
    try:
        value = load_json(read_bytes(path, _MOST))
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error.message}.") from None
    files = [one for one in _list(value, "distribution") if isinstance(one.get("contentUrl"), str)]
    left = []
    for one in files:
        name = one["contentUrl"]
        columns = _columns(value, str(one.get("@id")))
        if "://" in name or not name.lower().endswith(_SUFFIXES):
            left.append(name)
            continue
        try:
            table = inside(os.path.dirname(path) or ".", name)
        except RowError as error:
            yield _said(path, name, error.reason, error.message)
            continue
        if not os.path.isfile(table):
            yield _said(path, name, "missing_file", "named by the description, but not there")
            continue
        shown = os.path.join(os.path.dirname(path), name)
        known = {"image_column": columns["sc:ImageObject"]} if columns.get("sc:ImageObject") else {}
        reader = parquet if name.lower().endswith(".parquet") else tabular
        yield from reader.parts(shown, **{**known, **options})
    if left:
        items = {"unused": left}
        yield Part("croissant", join_uri(path), part_key("croissant", path, "unused"), items, 0)


def _said(path: str, name: str, reason: str, message: str) -> Part:
    items = {"reject": [name, reason, message]}
    return Part("croissant", join_uri(path), part_key("croissant", path, name, reason), items, 0)


def _list(value: Any, name: str) -> list[dict[str, Any]]:
    rows = value.get(name) if isinstance(value, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _columns(value: Any, file: str) -> dict[str, str]:
    """Kind of the field to the column of a file."""
    found: dict[str, str] = {}
    for record in _list(value, "recordSet"):
        for one in _list(record, "field"):
            origin = one.get("source")
            if not isinstance(origin, dict):
                continue
            of = origin.get("fileObject") or origin.get("fileSet")
            extract = origin.get("extract")
            column = extract.get("column") if isinstance(extract, dict) else None
            if isinstance(of, dict) and of.get("@id") == file and isinstance(column, str):
                found.setdefault(str(one.get("dataType")), column)
    return found


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Say what of the description could not be read; its tables are parts of their own formats."""
    if "reject" in part.items:
        name, reason, message = part.items["reject"]
        yield reject(f"{part.uri}#{name}", reason, message)
        return
    yield Unused.of(
        part.uri,
        "file{s} of the description",
        part.items["unused"],
        "download tables and archives first, beside the JSON",
    )
