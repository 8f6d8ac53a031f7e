"""The formats by name: detection, and the way from a source to its parts and samples."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from importlib import import_module
from typing import Any

from panoglot.errors import UserError, did_you_mean
from panoglot.formats._checked import checked
from panoglot.formats._files import check_exists
from panoglot.formats._sample import Format, Part, Sample
from panoglot.table import Reject

__all__ = ["FORMAT_NAMES", "detect", "find_format", "format_options", "read_part", "read_source"]

#: The formats, in the order in which they are asked whether a source is theirs.
FORMAT_NAMES = ("pano", "img2dataset", "hf_datasets", "coco", "webdataset", "tabular", "parquet", "folder")
#: Names that people use -> our names.
_ALIASES = {
    "csv": "tabular",
    "tsv": "tabular",
    "jsonl": "tabular",
    "imagefolder": "tabular",
    "hf": "hf_datasets",
    "huggingface": "hf_datasets",
    "tar": "webdataset",
    "wds": "webdataset",
}
_LISTS = ("text_columns", "class_names")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_REMOTE = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def _module(name: str) -> Any:
    return import_module(f"panoglot.io.{name}")


def detect(source: str | os.PathLike[str]) -> str:
    """Return the name of the format of a source.

    Raises:
        UserError: nothing there, a web address, or nothing that is read.
    """
    source = os.fspath(source)
    if _REMOTE.match(source):
        raise UserError(f"'{source}' is remote; copy or mount it, or download pictures by address with img2dataset.")
    check_exists(source)
    try:
        for name in FORMAT_NAMES:
            if _module(name).detect(source):
                return name
    except OSError as error:
        raise UserError(f"'{source}' cannot be read: {error.strerror or error}.") from None
    if source.lower().endswith(".json"):
        raise UserError(f"'{source}' is no COCO file; write rows as JSON lines (jq -c '.[]' {source} > rows.jsonl).")
    raise UserError(
        f"'{source}' is nothing that is read: a folder of pictures, tar shards, Parquet, CSV, TSV, JSONL, COCO JSON, "
        f"img2dataset output, a Hugging Face dataset on disk or a .pano. Name it with format= if it is one of "
        f"{', '.join(FORMAT_NAMES)}."
    )


def find_format(
    source: str | os.PathLike[str], format: str | None = None, options: dict[str, Any] | None = None
) -> tuple[str, partial[Iterator[Part]]]:
    """Find the format of a source, check the options, and return its name and a picklable way to list its parts.

    Args:
        source: a file, folder, glob or brace range.
        format: a name out of `FORMAT_NAMES` (or csv, tsv, jsonl, hf, …) when detection should not decide.
        options: keyword arguments of the format's `parts`; see `format_options`.

    Raises:
        UserError: no such source, format or option.
    """
    source = os.fspath(source)
    if format is None:
        name = detect(source)
    else:
        name = _ALIASES.get(format, format)
        if name not in FORMAT_NAMES:
            raise UserError(f"'{format}' is not a format.{did_you_mean(format, (*FORMAT_NAMES, *_ALIASES))}")
        check_exists(source)
    known = format_options(name)
    for option in options or {}:
        if option not in known:
            raise UserError(f"format '{name}' has no option '{option}'.{did_you_mean(option, known)}")
    typed = {option: _typed(option, value, known[option]) for option, value in (options or {}).items()}
    return name, partial(_module(name).parts, source, **typed)


def _typed(option: str, value: Any, default: Any) -> Any:
    """Turn a word of the command line into what an option takes."""
    if not isinstance(value, str):
        return value
    if option in _LISTS:
        return [piece.strip() for piece in value.split(",") if piece.strip()]
    if isinstance(default, bool):
        if value.lower() not in _BOOLEANS:
            raise UserError(f"{option} is '{value}'; it must be true or false.")
        return _BOOLEANS[value.lower()]
    if isinstance(default, int):
        if not value.isascii() or not value.isdigit():
            raise UserError(f"{option} is '{value}'; it must be a whole number.")
        return int(value)
    return value


def format_options(name: str) -> dict[str, Any]:
    """Return the options of a format with their defaults.

    >>> sorted(format_options("folder"))
    ['captions', 'follow_symlinks', 'kind', 'lang']
    """
    found: dict[str, Any] = {}
    for parameter in inspect.signature(_module(name).parts).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            found[parameter.name] = parameter.default
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            from panoglot.formats._rows import Options

            found.update({option.name: option.default for option in fields(Options)})
    return found


def read_part(part: Part) -> Iterator[Sample | Reject]:
    """Read a part, streaming; nothing that is in the data raises."""
    format: Format = _module(part.format)
    for found in format.read(part):
        yield from checked(found)


def read_source(source: str | os.PathLike[str], format: str | None = None, **options: Any) -> Iterator[Sample | Reject]:
    """Read a whole source: its parts in order.

    Args:
        source: a file, folder, glob or brace range.
        format: its format when detection should not decide.
        **options: options of the format.

    Raises:
        UserError: no such source, format or option.
    """
    _, parts = find_format(source, format, options)
    for part in parts():
        yield from read_part(part)
