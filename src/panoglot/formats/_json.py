"""Text and JSON files as people have them: gzipped or not, with a byte order mark or not, JSON or JSON lines."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any

from panoglot.checks import offenders
from panoglot.errors import UserError

__all__ = ["read_json", "read_lines", "read_rows", "read_text"]


def read_text(path: str | os.PathLike[str]) -> str:
    """Read UTF-8 text, with or without a byte order mark, gzipped or not.

    Raises:
        UserError: no file, or not UTF-8; the first bad line is named.
    """
    source = Path(path)
    try:
        raw = source.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except FileNotFoundError:
        raise UserError(f"there is no file {source}.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{source} cannot be read ({error}).") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        hint = " It looks like UTF-16." if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise UserError(
            f"{source}, line {line}, is not UTF-8 (byte 0x{raw[error.start]:02x}).{hint} Save it as UTF-8."
        ) from None


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Read lines of text; only line feeds part them (a caption may hold other separators)."""
    lines = read_text(path).split("\n")
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
        raise ValueError(f"{len(twice)} keys stand twice in one object: {offenders(twice)}")
    return found


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON, or JSONL as a list of its objects.

    Raises:
        UserError: no file, or not JSON; the line is named. A key twice in one object.
    """
    source = Path(path)
    text = read_text(source)
    suffix = Path(source.name.removesuffix(".gz")).suffix
    try:
        if suffix not in (".jsonl", ".ndjson"):
            try:
                return _parse(text)
            except ValueError as error:
                if suffix == ".json" and "Extra data" not in str(error):
                    raise UserError(f"{source} is not JSON ({error}).") from None
        rows = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    rows.append(_parse(line))
                except ValueError as error:
                    raise UserError(f"{source}, line {number}, is not JSON ({error}).") from None
    except RecursionError:
        raise UserError(f"{source} is nested too deeply to be data of ours.") from None
    if not rows:
        raise UserError(f"{source} is empty.")
    return rows


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a list of objects.

    Raises:
        UserError: something else.
    """
    data = read_json(path)
    rows = data.get("annotations") if isinstance(data, dict) and "annotations" in data else data
    if not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows):
        raise UserError(f"{path} must hold a list of objects (JSON or JSONL).")
    return rows
