"""A format, in and out: `*.notes`, a line a picture: its path, a tab, its caption."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from panoglot import Caption
from panoglot.formats import Part, Sample
from panoglot.table import Reject


def detect(source: str) -> bool:
    """Say whether a source is such a file."""
    return source.endswith(".notes")


def parts(source: str, *, lang: str = "und") -> Iterator[Part]:
    """One part: the file."""
    facts = os.stat(source)
    key = f"notes {os.path.abspath(source)} {facts.st_size} {facts.st_mtime_ns} {lang}"
    yield Part("notes", source, key, items={"lang": lang})


def read(part: Part) -> Iterator[Sample | Reject]:
    """Read the pictures; one that is not there is a reject."""
    for line in Path(part.uri).read_text(encoding="utf-8").splitlines():
        name, _, text = line.partition("\t")
        path = Path(part.uri).parent / name
        if not path.is_file():
            yield Reject(item=str(path), stage="ingest", reason="no_such_file")
            continue
        yield Sample(path.read_bytes(), str(path), [Caption(text, part.items["lang"], kind="human", recipe="human")])


class Writer:
    """Writes `pictures.notes` and the pictures beside it."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self._folder, self._lines = folder, list[str]()

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> None:
        """Write one picture with its caption."""
        name = f"{record['image_id']}{suffix}"
        (self._folder / name).write_bytes(data)
        self._lines.append(f"{name}\t{record['caption'] or ''}\n")

    def close(self) -> dict[str, Any]:
        """Finish."""
        (self._folder / "pictures.notes").write_text("".join(self._lines), encoding="utf-8")
        return {"shards": {"pictures.notes": len(self._lines)}}
