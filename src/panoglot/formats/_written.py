"""Texts that we wrote into an export or beside pictures: who wrote each, so that no model's becomes a person's.

A hidden file `.panoglot-texts.jsonl` in the folder has a line a text: the picture (the id of its bytes as they lie
there) and the caption as a record has it; and one for each prompt that asks for a caption in a conversation. Whatever
format the folder is read with, a text that stands there for its picture is that caption; a text that somebody has
changed since is not, and is theirs. A prompt of ours is nobody's question.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from panoglot.formats._record import captions_from
from panoglot.formats._texts import without_marks
from panoglot.table import Caption

__all__ = ["WRITTEN", "Notes", "Written"]

WRITTEN = ".panoglot-texts.jsonl"
#: Folders above a picture in which an export's file may lie: a split, `images`, two digits of an id.
_ABOVE = 4
_FIELDS = ("caption_id", "text", "lang", "kind", "recipe", "model", "parents", "region")
#: Recipes of texts that came with pictures: they are read as any, with the kind that they had.
_GIVEN = ("human", "web")


class Notes:
    """Adds to a folder's file what was written there; a context manager. Without a note there is no file.

    Args:
        folder: which is written.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._file = folder / WRITTEN, contextlib.ExitStack()
        self._write: Callable[[bytes], Any] | None = None
        self._encode = msgspec.json.Encoder().encode

    def add(self, image: str, captions: Iterable[Mapping[str, Any]]) -> None:
        """Note captions of a picture.

        Args:
            image: id of its bytes as they lie there.
            captions: of its record.
        """
        self._lines([{"image": image, **{name: one[name] for name in _FIELDS}} for one in captions])

    def prompts(self, prompts: Iterable[str]) -> None:
        """Note what conversations ask for captions with."""
        self._lines([{"prompt": prompt} for prompt in prompts])

    def _lines(self, rows: Sequence[dict[str, str]]) -> None:
        if rows and self._write is None:
            self._write = self._file.enter_context(open(self._path, "ab")).write  # noqa: SIM115
        if self._write is not None:
            self._write(b"".join(self._encode(row) + b"\n" for row in rows))

    def __enter__(self) -> Notes:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _key(image: str, text: str) -> int:
    return hash((image, " ".join(text.split())))


class Written:
    """What the files of folders say, each read once; of a text its place in the file is kept alone."""

    def __init__(self) -> None:
        self._near: dict[str, list[str]] = {}
        self._places: dict[str, dict[int, int]] = {}
        self._prompts: dict[str, set[str]] = {}

    def recognised(self, captions: Sequence[Caption], image: str, place: str) -> list[Caption]:
        """The captions, those of ours with who wrote them, without what we asked for them with.

        Args:
            captions: as they were read; one that has an id is settled.
            image: id of the picture.
            place: the file that gave it, on this machine.
        """
        files = self._files(place) if captions else ()
        if not files:
            return list(captions)
        found = {id(one): one if one.caption_id else self._of(one, image, files) for one in captions}
        for one in found.values():
            if one is None or not one.parents:
                continue
            parents = [found.get(id(parent), parent) for parent in one.parents]
            if None in parents and one.kind == "answer":  # somebody's own words where a caption was asked for
                one.kind = "human"
            one.parents = tuple(parent for parent in parents if parent is not None)
        return [one for one in found.values() if one is not None]

    def _of(self, caption: Caption, image: str, files: Sequence[str]) -> Caption | None:
        """A caption with who wrote it; None of a prompt of ours."""
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
        asked = caption.kind == "question" and " ".join(caption.text.split())
        return None if asked and any(asked in self._prompts[path] for path in files) else caption

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
                    self._places[path], self._prompts[path] = _read(path)
        return self._near[folder]


def _read(path: str) -> tuple[dict[int, int], set[str]]:
    """The lines of a file: hash of picture and text to where the line begins; and the prompts."""
    found: dict[int, int] = {}
    prompts: set[str] = set()
    at = 0
    try:
        with open(path, "rb") as file:
            for line in file:
                row = _parsed(line)
                if row is not None and isinstance(row.get("image"), str) and isinstance(row.get("text"), str):
                    found[_key(row["image"], row["text"])] = at
                elif row is not None and isinstance(row.get("prompt"), str):
                    prompts.add(" ".join(without_marks(row["prompt"]).split()))
                at += len(line)
    except OSError:
        return {}, set()
    return found, prompts


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
