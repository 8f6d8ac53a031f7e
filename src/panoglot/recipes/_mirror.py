"""`--mirror`: pictures whose source is gone are forgotten; what looks like a disk that is not there is asked about."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from panoglot.errors import UserError
from panoglot.ingestion import Gone, absolute, find_gone, strike_out
from panoglot.recipes._recipe import Recipe
from panoglot.running import StageResult
from panoglot.storage import in_objects, is_object, open_store
from panoglot.table import Dataset, forget_images, open_dataset

__all__ = ["Mirror"]

#: So many of the pictures are named.
MOST_NAMED = 20


@dataclass(frozen=True)
class Mirror:
    """What a run forgets.

    Attributes:
        source: the folder, absolute, or a place in an object store.
        output: the dataset.
        emptied: folders that are meant to be empty.
        verb: the command, for messages.
    """

    source: str
    output: str
    emptied: Sequence[str] = ()
    verb: str = "build"

    @classmethod
    def of(cls, recipe: Recipe, mirror: bool, emptied: Sequence[str], limit: int | None) -> Mirror | None:
        """What was asked for, or None.

        Raises:
            UserError: a source that is no folder of this machine; options that say nothing without `mirror`.
        """
        if not mirror:
            if emptied:
                raise UserError("emptied is about what --mirror forgets: add --mirror.")
            return None
        there = in_objects(recipe.source)
        if recipe.source is None or ("://" in recipe.source and not there) or any(c in recipe.source for c in "*?[{"):
            raise UserError(f"--mirror compares with a folder, here or in an object store; '{recipe.source}' is none.")
        if os.path.isfile(recipe.source) or (there and is_object(recipe.source)):
            raise UserError(f"--mirror compares with a folder; '{recipe.source}' is a file.")
        if limit is not None:
            raise UserError("--mirror reads the whole folder: leave --limit out.")
        named = (emptied,) if isinstance(emptied, str) else tuple(emptied)
        return cls(recipe.source, recipe.output, named, "build" if recipe.steps else "ingest")

    @property
    def may_be_empty(self) -> bool:
        """Whether the whole folder is named as one that somebody emptied."""
        return any(absolute(one) == absolute(self.source) for one in self.emptied)

    def look(self) -> Gone:
        """Find what would go, before anything is read or written.

        Raises:
            UserError: folders that are empty and not named.
        """
        if not open_store(self.output).exists():
            return Gone()
        return self._gone(open_dataset(self.output), unread=True)

    def _gone(self, data: Dataset, *, unread: bool = False) -> Gone:
        gone = find_gone(data, self.source, unread=unread)
        gone.check(self.emptied, [self.verb, self.source, "-o", self.output, "--mirror"])
        return gone

    def step(self, data: Dataset) -> StageResult:
        """Forget what is gone, after the folder was read; the caller erases the bytes when nobody writes."""
        started = time.monotonic()
        gone = self._gone(data)
        if gone.images:
            forget_images(data, sorted(gone.images), author="mirror")
        texts = strike_out(data, gone.places)
        done = said(gone, "gone", seconds=time.monotonic() - started)
        if texts:
            done.notes["superseded_captions"] = texts
        return done


def said(gone: Gone, note: str, seconds: float = 0.0) -> StageResult:
    """What is told of it: counted under `note`, and some of them named."""
    names = sorted(gone.images.values())[:MOST_NAMED]
    notes: dict[str, Any] = {note: len(gone.images), f"{note}_names": names} if gone.images else {}
    if gone.texts and note == "would_go":
        notes["would_supersede"] = gone.texts
    return StageResult("mirror", done=len(gone.images), seconds=seconds, notes=notes)
