"""What a folder gave and no longer has, for `--mirror`: pictures to forget, places to strike out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from panoglot.errors import RowError, UserError, command
from panoglot.formats._files import is_hidden, join_uri, read_bytes
from panoglot.formats.folder import with_texts
from panoglot.identity import normal_text
from panoglot.ingestion._places import SUPERSEDED, drop_texts, files_of, is_gone
from panoglot.pictures import SUFFIXES, read_metadata
from panoglot.storage import in_objects, open_bucket
from panoglot.table import Dataset, image_id, sql_in

__all__ = ["Gone", "absolute", "find_gone", "strike_out"]

_MANY = 500


@dataclass(frozen=True)
class Gone:
    """What a folder gave and no longer has.

    Attributes:
        images: picture to where it was; no place gives it any more, in this folder or elsewhere.
        places: places of the folder that are gone, of whatever picture.
        texts: texts of pictures that stay which nothing gives any more: they would be dropped as superseded. It is
            counted where the folder was not read since.
        emptied: folders that are there and have nothing in them, or cannot be reached, to how many of `images` came
            from them: as a disk that is not mounted looks.
    """

    images: dict[str, str] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    texts: int = 0
    emptied: Counter[str] = field(default_factory=Counter)

    def check(self, meant: Sequence[str], call: Sequence[str]) -> None:
        """Refuse to forget what came from folders that are empty now, unless they are named.

        Args:
            meant: folders that are empty because somebody emptied them.
            call: the words of the command that asks.

        Raises:
            UserError: such a folder; nothing was forgotten.
        """
        named = [absolute(one) for one in meant]
        left = {
            folder: count
            for folder, count in self.emptied.items()
            if not any(folder == one or folder.startswith(one.rstrip(os.sep) + os.sep) for one in named)
        }
        if left:
            folder, count = max(left.items(), key=lambda item: (item[1], item[0]))
            more = f", and {len(left) - 1:,} more such folders" if len(left) > 1 else ""
            line = command(*call, "--emptied", os.path.commonpath(list(left)) if len(left) > 1 else folder)
            mount = "" if in_objects(folder) else "Mount it; or if"
            raise UserError(
                f"'{folder}' has nothing in it now, or cannot be reached, and {count:,} of the pictures came from it"
                f"{more}: nothing is forgotten. {mount or 'If'} it is meant to be empty: {line}"
            )


def find_gone(data: Dataset, folder: str, *, unread: bool = False) -> Gone:
    """Find what a folder gave and no longer has.

    A picture stays while any place gives it, in this folder or another, on this machine or not. Archives and tables
    are compared as whole files; a row whose picture was missing when it was read gives none.

    Args:
        data: the dataset.
        folder: absolute path, or a place in an object store, whose objects are listed once.
        unread: look for moved pictures too: the folder was not read since.
    """
    start = join_uri(folder).rstrip("/") + "/"
    quoted = start.replace("'", "''")
    rows = data.places.rows(["place", "image_id", "captions"], f"starts_with(place, '{quoted}')")
    missing = _missing(data, quoted)
    objects = dict(_objects(folder)) if in_objects(folder) else None
    odd = _names(folder) if objects is None and any("\\x" in row["place"] for row in rows) else frozenset()

    def gone(place: str) -> bool:
        if objects is not None and place.startswith(start):
            return place in missing or not any(one in objects for one in files_of(place))
        if "\\x" in place and place.startswith(start):  # a name that is not UTF-8 is written with escapes
            return place not in odd and place.rpartition("#")[0] not in odd
        return is_gone(place) or place in missing

    struck = [row for row in rows if gone(row["place"])]
    found = Gone({row["image_id"]: row["place"] for row in struck}, [row["place"] for row in struck])
    for uri, key in _replaced(data, quoted):
        found.images.setdefault(key, uri)
    for some in _chunks(sorted(found.images)):
        for row in data.places.rows(["place", "image_id"], sql_in("image_id", some)):
            if not gone(row["place"]):
                found.images.pop(row["image_id"], None)
    here = set(data.images.get(sorted(found.images), ["image_id"])["image_id"].to_pylist()) if found.images else set()
    for key in found.images.keys() - here:
        del found.images[key]
    if unread and struck:
        read, own = {}, {}  # pictures that moved: where they are, and what their files say themselves
        for content, path in _moved(data, folder, start, found.images, objects) if found.images else ():
            if found.images.pop(key := image_id(content), None) is not None:
                read[key] = path
                own[key] = {normal_text(text) for text, _ in read_metadata(content).captions}
        told = with_texts(read.values())  # what is beside the new name is taken for what was beside the old one
        left = [r for r in struck if r["image_id"] not in found.images and read.get(r["image_id"]) not in told]
        lost = sorted(_given_no_longer(data, left))
        rows = data.captions.get(lost, ["image_id", "text"]).to_pylist() if lost else []
        found = replace(found, texts=sum(row["text"] not in own.get(row["image_id"], ()) for row in rows))
    if objects is not None:  # there are no folders: one that has nothing in it was deleted
        found.emptied.update({folder: len(found.images)} if found.images and not objects else {})
        return found
    for place in found.images.values():
        if (empty := _emptied(folder, place)) is not None:
            found.emptied[empty] += 1
    return found


def absolute(folder: str) -> str:
    """A folder by its whole path; a place in an object store is one already.

    >>> absolute("s3://bucket/photos/")
    's3://bucket/photos'
    """
    return folder.rstrip("/") if in_objects(folder) else os.path.abspath(folder)


def strike_out(data: Dataset, places: Sequence[str]) -> int:
    """Delete places that are gone; texts that nothing gives any more are dropped as superseded.

    Where the text files of a picture that was renamed lie beside its old name, the texts stay, and the place too: they
    go when the files go.

    Returns:
        How many texts.
    """
    rows = [
        row
        for some in _chunks(places)
        for row in data.places.rows(["place", "image_id", "captions"], sql_in("place", some))
    ]
    texts = _given_no_longer(data, rows)
    drop_texts(data, texts, SUPERSEDED)
    told = with_texts(places)
    for some in _chunks([place for place in places if place not in told]):
        data.places.delete(sql_in("place", some))
    return len(texts)


def _given_no_longer(data: Dataset, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Texts of places that are gone which no other place and no file that was left there gives; they are kept now."""
    told = with_texts([row["place"] for row in rows])
    texts = {text for row in rows if row["place"] not in told for text in row["captions"] or ()}
    for some in _chunks(sorted({row["image_id"] for row in rows})):
        for row in data.places.rows(["place", "captions"], sql_in("image_id", some)):
            if not is_gone(row["place"]) or row["place"] in told:
                texts -= set(row["captions"] or ())
    kept = data.captions.get(sorted(texts), ["caption_id", "dropped"]).to_pylist() if texts else []
    return {row["caption_id"] for row in kept if row["dropped"] is None}


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[at : at + _MANY] for at in range(0, len(values), _MANY))


def _missing(data: Dataset, quoted: str) -> set[str]:
    """Rows of tables that name a picture that was not there."""
    where = f"stage = 'ingest' and resolved is null and reason = 'missing_file' and starts_with(item, '{quoted}')"
    return set(data.rejects.read(["item"], where)["item"].to_pylist())


def _replaced(data: Dataset, quoted: str) -> Iterator[tuple[str, str]]:
    """Pictures of the folder whose place gives another one now."""
    marks = data.marks.read(["image_id"], f"dropped = '{SUPERSEDED}'")["image_id"].to_pylist()
    for some in _chunks(marks):
        where = f"{sql_in('image_id', some)} and starts_with(uri, '{quoted}')"
        for row in data.images.rows(["uri", "image_id"], where):
            yield row["uri"], row["image_id"]


def _files(folder: str) -> Iterator[str]:
    """Files below a folder, hidden ones left alone."""
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (os.path.join(top, name) for name in sorted(names) if not is_hidden(name))


def _names(folder: str) -> frozenset[str]:
    return frozenset(map(join_uri, _files(folder)))


def _objects(folder: str) -> Iterator[tuple[str, int]]:
    """Objects below a place and their sizes, hidden ones left alone."""
    bucket, key = open_bucket(folder)
    for page in bucket.under(key):
        for one in page:
            if not any(map(is_hidden, one.key[len(key) :].strip("/").split("/"))):
                yield f"{bucket.root}/{one.key}", one.size


def _moved(
    data: Dataset, folder: str, start: str, images: dict[str, str], objects: Mapping[str, int] | None
) -> Iterator[tuple[bytes, str]]:
    """What may be one of the pictures in a file of the folder that was not read yet, with its path.

    Only files of their sizes are read.
    """
    quoted = start.replace("'", "''")
    known = set(data.places.read(["place"], f"starts_with(place, '{quoted}')")["place"].to_pylist())
    sizes = set(data.images.get(sorted(images), ["size"])["size"].to_pylist())
    for path in objects if objects is not None else _files(folder):
        if os.path.splitext(path)[1].lower() in SUFFIXES and join_uri(path) not in known:
            try:
                if (objects[path] if objects is not None else os.path.getsize(path)) in sizes:
                    yield _content(path), path
            except (OSError, RowError):
                continue


def _content(path: str) -> bytes:
    if not in_objects(path):
        return read_bytes(path)
    bucket, key = open_bucket(path)
    return bucket.get(key)[0]


def _emptied(root: str, place: str) -> str | None:
    """The nearest folder of a place that is there, when nothing is in it; the root, or a link that leads nowhere.

    Where a folder is gone and the one above it has other things, it was deleted.
    """
    folder = os.path.dirname(place)
    while not os.path.isdir(folder):
        above = os.path.dirname(folder)
        if folder == root or os.path.islink(folder) or above == folder:
            return folder
        folder = above
    try:
        with os.scandir(folder) as entries:
            return None if any(not is_hidden(entry.name) for entry in entries) else folder
    except OSError:
        return folder
