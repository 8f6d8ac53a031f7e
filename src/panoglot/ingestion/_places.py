"""What each place of a source gave when it was read last; what it no longer gives is superseded, never deleted."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from panoglot.errors import UserError
from panoglot.formats.folder import with_texts
from panoglot.storage import in_objects, is_object
from panoglot.table import Dataset, sql_in

__all__ = ["SUPERSEDED", "Given", "drop_texts", "files_of", "is_gone", "record_places"]

#: Why a text or picture is dropped that its place no longer gives.
SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Given:
    """What a place gives now.

    Attributes:
        place: a file, a member of an archive, a row of a table.
        image_id: the picture there.
        captions: ids of the texts that came with it.
    """

    place: str
    image_id: str
    captions: Sequence[str]


def is_gone(uri: str) -> bool:
    """Say whether what a uri names, on this machine or in an object store, is no longer there: the file, or the archive
    or table it is in.

    What cannot be looked at (a folder that may not be read, a network folder or a store that fails) is not gone.
    """
    there = in_objects(uri)
    if not there and (not os.path.isabs(uri) or "\\x" in uri):  # a name that is not UTF-8 is written with escapes
        return False
    return all(map(_no_object if there else _nowhere, files_of(uri)))


def files_of(uri: str) -> list[str]:
    """The names that the file of a place may have: of a WARC a page's address stands behind it, with more `#` perhaps.

    >>> files_of("a#1.tar#2.jpg")
    ['a#1.tar#2.jpg', 'a#1.tar', 'a']
    """
    pieces = uri.split("#")
    return ["#".join(pieces[:n]) for n in range(len(pieces), 0, -1)]


def _no_object(uri: str) -> bool:
    try:
        return not is_object(uri)
    except UserError:  # no address that an object can have, no right, no server
        return False


def _nowhere(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def record_places(
    data: Dataset, given: Sequence[Given], run_id: str, moved: Collection[str] = ()
) -> tuple[int, dict[str, int]]:
    """Write what places give now, and drop what they gave before and give no longer (`superseded`).

    A text stays kept while any other place that is there gives it, and so does a picture; what was superseded and is
    given again is kept again. Texts that were made of superseded ones alone go and come with them.

    Args:
        data: the dataset.
        given: what places give.
        run_id: the run that read them.
        moved: pictures whose old places are gone: what a place of the same name gives takes the place of theirs.

    Returns:
        How many places are new or give something else, and counts for the notes of the stage: `superseded_captions`,
        `superseded_images`.
    """
    if not given:
        return 0, {}
    old = {row["place"]: row for row in data.places.get([one.place for one in given]).to_pylist()}
    changed = [
        one
        for one in given
        if (before := old.get(one.place)) is None
        or before["image_id"] != one.image_id
        or set(before["captions"] or ()) != set(one.captions)
    ]
    texts = {text for one in given for text in one.captions}
    pictures = {one.image_id for one in given}
    before = [old[one.place] for one in changed if one.place in old]
    if moved:
        names = {(one.image_id, os.path.basename(one.place)) for one in given}
        rows = data.places.rows(["place", "image_id", "captions"], sql_in("image_id", moved))
        old_ones = [r for r in rows if (r["image_id"], os.path.basename(r["place"])) in names and is_gone(r["place"])]
        told = with_texts([row["place"] for row in old_ones])  # moved without its text files: its texts stay
        before += [row for row in old_ones if row["place"] not in told]
    gone_texts = {text for row in before for text in row["captions"] or ()} - texts
    gone_pictures = {row["image_id"] for row in before} - pictures
    notes: dict[str, int] = {}
    if gone_texts or gone_pictures:
        here = {one.place for one in given}
        where = sql_in("image_id", {row["image_id"] for row in before})
        for row in data.places.rows(["place", "image_id", "captions"], where):
            if row["place"] not in here and not is_gone(row["place"]):
                gone_texts -= set(row["captions"] or ())
                gone_pictures.discard(row["image_id"])
        drop_texts(data, gone_texts, SUPERSEDED)
        data.score("marks", {picture: ({}, SUPERSEDED) for picture in sorted(gone_pictures)}, run_id)
        found = {"superseded_captions": len(gone_texts), "superseded_images": len(gone_pictures)}
        notes = {name: count for name, count in found.items() if count}
    if changed:
        _keep_again(data, texts, pictures)
    # last: a crash before it does all of this again
    data.places.upsert(
        [
            {"place": one.place, "image_id": one.image_id, "captions": list(one.captions), "run_id": run_id}
            for one in changed
        ]
    )
    return len(changed), notes


def _keep_again(data: Dataset, texts: set[str], pictures: set[str]) -> None:
    where = f"dropped = '{SUPERSEDED}'"
    back = data.captions.read(["caption_id"], f"{where} and {sql_in('caption_id', sorted(texts))}")
    drop_texts(data, set(back["caption_id"].to_pylist()), None)
    marks = data.marks.read(["image_id"], f"{where} and {sql_in('image_id', sorted(pictures))}")
    data.marks.change([{"image_id": picture, "dropped": None} for picture in marks["image_id"].to_pylist()])


def drop_texts(data: Dataset, texts: set[str], reason: str | None) -> None:
    """Set `dropped` of texts and of what was made of them alone (translations)."""
    if not texts:
        return
    rows: list[dict[str, Any]] = data.captions.get(sorted(texts), ["image_id"]).to_pylist()
    where = sql_in("image_id", {row["image_id"] for row in rows})
    family = data.captions.rows(["caption_id", "recipe", "parents", "dropped"], where)
    chosen = set(texts)
    while more := {
        row["caption_id"]
        for row in family
        if row["caption_id"] not in chosen
        and row["recipe"] not in ("human", "web")  # an answer came with its picture as its question did
        and row["parents"]
        and set(row["parents"]) <= chosen
        and (reason is not None or row["dropped"] == SUPERSEDED)
        and row["dropped"] != "draft"
    }:
        chosen |= more
    known = {row["caption_id"] for row in family}
    data.captions.change([{"caption_id": text, "dropped": reason} for text in sorted(chosen & known)])
