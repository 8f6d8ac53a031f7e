"""Whether files of a copy are what was written: by size and time, and where these differ by a checksum."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

__all__ = ["check", "check_folder", "facts_of", "seal_folder", "sum_of"]

_SUMS = "sums.json"


def facts_of(path: Path) -> tuple[int, int]:
    """Size and time of a file."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def sum_of(path: Path) -> int:
    """The checksum of a file."""
    total = 0
    with open(path, "rb") as file:
        while piece := file.read(2**22):
            total = zlib.crc32(piece, total)
    return total


def check(path: Path, said: Any) -> None:
    """Read a file through once, if it was touched since it was written.

    Args:
        path: the file.
        said: its checksum, size and time when it was written.

    Raises:
        OSError: it is gone.
        ValueError: it is damaged, or nothing was said of it.
    """
    if not isinstance(said, list) or not said:
        raise ValueError(f"nothing is said of {path}")
    total, *facts = said
    if list(facts_of(path)) != facts and sum_of(path) != total:
        raise ValueError(f"{path} is damaged")


def seal_folder(folder: Path) -> None:
    """Write the sums of all files of a folder into it, before it is given its name.

    Raises:
        OSError: there is no room, or nothing may be written.
    """
    said = {path.name: [sum_of(path), *facts_of(path)] for path in sorted(folder.iterdir())}
    (folder / _SUMS).write_text(json.dumps(said))


def check_folder(folder: Path) -> None:
    """Check the files of a sealed folder: those that were touched since are read through once.

    Raises:
        OSError: it, or a file of it, is gone.
        ValueError: a file is damaged, or nothing was said of the folder.
    """
    said = json.loads((folder / _SUMS).read_text())
    if not isinstance(said, dict):
        raise ValueError(f"nothing is said of {folder}")
    for name in {*said, *(path.name for path in folder.iterdir())} - {_SUMS}:
        check(folder / name, said.get(name))
