"""Texts that we wrote into an export or beside pictures: who wrote each, so that no model's becomes a person's.

A hidden file `.panoglot-texts.jsonl` in the folder has a line a text: the picture (the id of its bytes as they lie
there) and the caption as a record has it. Whatever format the folder is read with, a text that stands there for its
picture is that caption; a text that somebody has changed since is not, and is theirs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.formats._record import captions_from
from panoglot.table import Caption

__all__ = ["WRITTEN", "Written", "note_written"]

WRITTEN = ".panoglot-texts.jsonl"
#: Folders above a picture in which an export's file may lie: a split, `images`, two digits of an id.
_ABOVE = 4
_FIELDS = ("caption_id", "text", "lang", "kind", "recipe", "model", "parents", "region")
#: Recipes of texts that came with pictures: they are read as any, with the kind that they had.
_GIVEN = ("human", "web")


def note_written(folder: Path, image: str, captions: Iterable[Mapping[str, Any]]) -> None:
    """Add to a folder's file which captions were written there about a picture.

    Args:
        folder: which is written.
        image: id of the picture's bytes as they lie there.
        captions: of its record.
    """
    lines = [json.dumps({"image": image, **{name: one[name] for name in _FIELDS}}) + "\n" for one in captions]
    with open(folder / WRITTEN, "a", encoding="ascii") as file:
        file.write("".join(lines))


def _key(image: str, text: str) -> int:
    return hash((image, " ".join(text.split())))


class Written:
    """What the files of folders say, each read once; of a text its place in the file is kept alone."""

    def __init__(self) -> None:
        self._near: dict[str, list[str]] = {}
        self._places: dict[str, dict[int, int]] = {}

    def recognised(self, captions: Sequence[Caption], image: str, place: str) -> list[Caption]:
        """The captions, those of ours with who wrote them.

        Args:
            captions: as they were read; one that has an id is settled.
            image: id of the picture.
            place: the file that gave it, on this machine.
        """
        files = self._files(place) if captions else ()
        return [self._of(one, image, files) if files and not one.caption_id else one for one in captions]

    def _of(self, caption: Caption, image: str, files: Iterable[str]) -> Caption:
        for path in files:
            at = self._places[path].get(_key(image, caption.text))
            row = None if at is None else _line(path, at)
            if row is None or row.get("image") != image or _key(image, str(row.get("text"))) != _key(
                image, caption.text
            ):  # fmt: skip
                continue
            for found in captions_from([row], image):
                if found.recipe not in _GIVEN:
                    return found
                caption.kind, caption.recipe = found.kind, found.recipe
        return caption

    def _files(self, place: str) -> list[str]:
        folder = os.path.dirname(place)
        if "#" in place and not os.path.isdir(folder):  # a row of a table in a folder whose own name has none
            folder = os.path.dirname(place.partition("#")[0])
        if folder not in self._near:
            above = [os.path.abspath(folder)]
            while len(above) <= _ABOVE and os.path.dirname(above[-1]) != above[-1]:
                above.append(os.path.dirname(above[-1]))
            paths = [os.path.join(one, WRITTEN) for one in above]
            self._near[folder] = [path for path in paths if os.path.isfile(path)]
            for path in self._near[folder]:
                if path not in self._places:
                    self._places[path] = _read(path)
        return self._near[folder]


def _read(path: str) -> dict[int, int]:
    """The lines of a file: hash of picture and text to where the line begins."""
    found: dict[int, int] = {}
    at = 0
    try:
        with open(path, "rb") as file:
            for line in file:
                row = _parsed(line)
                if row is not None and isinstance(row.get("image"), str) and isinstance(row.get("text"), str):
                    found[_key(row["image"], row["text"])] = at
                at += len(line)
    except OSError:
        return {}
    return found


def _line(path: str, at: int) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            file.seek(at)
            return _parsed(file.readline())
    except OSError:
        return None


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
