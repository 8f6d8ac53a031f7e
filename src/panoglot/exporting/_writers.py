"""The writers by name: what `--to` takes, and the options of each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_origin

from panoglot.checks import check_option
from panoglot.errors import UserError, did_you_mean
from panoglot.extensions import load_entry, own_entries
from panoglot.formats import FORMAT_NAMES, format_names, load_format

__all__ = ["EXPORT_FORMATS", "Writer", "find_writer", "writer_names", "writer_options"]

#: Entry points of this group are formats that are only written: modules with a `Writer`.
GROUP = "panoglot.writers"
#: `to=` -> the format whose `Writer` writes it, of those that are read too.
EXPORT_FORMATS = {
    "webdataset": "webdataset",
    "parquet": "parquet",
    "jsonl": "tabular",
    "hf": "hf_datasets",
    "coco": "coco",
}
#: Names that people use -> our names.
_ALIASES = {
    "llamafactory": "messages",
    "llama-factory": "messages",
    "ms-swift": "messages",
    "streaming": "mds",
    "dpo": "preferences",
    "trl": "preferences",
}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Writer(Protocol):
    """What writes one export.

    A class of it may say `IMAGE`, the format of pictures that its tool wants, and `RATINGS` where it reads
    `record["ratings"]`, the comparisons of a picture's captions, and have `takes(record)`, the captions of a record
    that it writes: without it all. `join(folder, splits)` writes what stands over the folders of several splits.
    """

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture; a reason when it was left out."""
        ...

    def close(self) -> dict[str, Any]:
        """Finish, and say what was written."""
        ...


def writer_names() -> list[str]:
    """What `to=` takes: ours, and formats of other packages that have a `Writer`."""
    others = [name for name in format_names() if name not in FORMAT_NAMES]
    return [*EXPORT_FORMATS, *sorted(own_entries(GROUP)), *others]


def find_writer(to: str) -> type[Any]:
    """Return the class that writes `to`.

    Raises:
        UserError: no such format, with "did you mean".
    """
    name = _ALIASES.get(to, to)
    found: Any = None
    if name in EXPORT_FORMATS:
        found = load_format(EXPORT_FORMATS[name])
    elif name in own_entries(GROUP):
        found = load_entry(GROUP, name, "export format")
    elif name in format_names() and name not in FORMAT_NAMES:
        found = load_format(name)
    if not hasattr(found, "Writer"):
        raise UserError(f"'{to}' is not an export format.{did_you_mean(to, [*writer_names(), *_ALIASES])}")
    writer: type[Any] = found.Writer
    return writer


def _parameters(writer: type[Any]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(writer, eval_str=True).parameters.values()
    return {p.name: p for p in found if p.kind is p.KEYWORD_ONLY}


def writer_options(to: str, writer: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check and type the options of a writer.

    Args:
        to: its name, for messages.
        writer: the class.
        given: option to value, or to a word of the command line.

    Raises:
        UserError: an option that it does not have, or a value that is none.
    """
    known = _parameters(writer)
    for name in given:
        if name not in known:
            have = did_you_mean(name, known) if known else " It has none."
            raise UserError(f"--to {to} has no option '{name}'.{have}")
    return {name: _typed(name, value, known[name]) for name, value in given.items()}


def _typed(name: str, value: Any, parameter: inspect.Parameter) -> Any:
    kind = parameter.annotation
    if get_origin(kind) is Literal:
        return check_option(name, str(value), get_args(kind))
    if kind is bool and isinstance(value, str):
        if value.lower() not in _BOOLEANS:
            raise UserError(f"{name} is '{value}'; it must be true or false.")
        return _BOOLEANS[value.lower()]
    if kind is int and not isinstance(value, bool):
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = 0
        if number < 1:
            raise UserError(f"{name} is '{value}'; it must be a whole number of at least 1.")
        return number
    return value


def make_writer(writer: type[Any], folder: Path, shard_size: int, options: Mapping[str, Any]) -> Writer:
    """Make the folder and the writer in it."""
    folder.mkdir(parents=True, exist_ok=True)
    made: Writer = writer(folder, shard_size, **options)
    return made
