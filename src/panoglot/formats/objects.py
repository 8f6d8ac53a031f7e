"""Pictures in an object store, `s3://bucket/photos`: read as a folder is, or a table or archive there.

A folder is listed in pages and its pictures are fetched where they are read; texts beside them are theirs by the same
names as in a folder of this machine. A file that is no picture is copied to this machine, once for each content, and
read by the format that it is in.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from panoglot.errors import RowError, StoreError, UserError
from panoglot.formats._files import is_hidden, reject, suffix_of
from panoglot.formats._pairing import pair
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import given
from panoglot.formats.folder import MANIFEST, MOST, TEXTS, UNREAD, read_entries, tell_unused
from panoglot.identity import canonical_bytes, counted
from panoglot.pictures import MAX_BYTES, SUFFIXES
from panoglot.storage import Bucket, Object, copy_here, in_objects, open_bucket
from panoglot.table import Reject

__all__ = ["Copied", "detect", "look", "parts", "read"]

#: Pictures that are fetched at once, and their bytes together at most.
AHEAD, AHEAD_BYTES = 16, 64 * 2**20
#: Files that are read by themselves where no pictures lie.
_ARCHIVES = frozenset(".tar .parquet .csv .tsv .jsonl .ndjson".split())


def detect(source: str) -> bool:
    """An address of an object store."""
    return in_objects(source)


def look(source: str) -> Object | None:
    """What is known of the object at an address; None where there is none, but objects below it.

    Raises:
        UserError: there is neither.
    """
    bucket, key = open_bucket(source)
    found = bucket.head(key) if key and not source.endswith("/") else None
    if found is None and not any(bucket.under(key)):
        raise UserError(f"there is nothing at '{source}' and below.")
    return found


def parts(source: str, *, captions: bool = True, lang: str | None = None, kind: str | None = None) -> Iterator[Part]:
    """List what lies below an address, in parts of at most 256 pictures; or a picture.

    Args:
        source: `s3://bucket/folder`, or one picture.
        captions: read the texts beside the pictures.
        lang: language of texts that do not say theirs; None to identify it.
        kind: kind of the captions; `human` unless they say otherwise.
    """
    given(lang, kind)
    options = {"captions": captions, "lang": lang, "kind": kind}
    bucket, key = open_bucket(source)
    root = f"{bucket.root}/{key}".rstrip("/")
    one = bucket.head(key) if suffix_of(key) in SUFFIXES | UNREAD else None
    unused: list[list[str]] = []
    archives: list[Object] = []
    found = False
    entries: Iterator[list[Any]]
    if one is not None:
        root, _, name = root.rpartition("/")
        near = _entries([one, *_beside(bucket, key)], key.rpartition("/")[0], [], [])
        entries = (entry for entry in near if entry[0] == name)
    else:
        entries = _walk(bucket, key, unused, archives)
    waiting: list[list[Any]] = []
    for entry in entries:
        found = True
        if waiting and (len(waiting) >= MOST or zlib.crc32(entry[0].encode()) % (MOST // 2) == 0):
            yield _part(root, waiting, options)
            waiting = []
        waiting.append(entry)
    if waiting:
        yield _part(root, waiting, options)
    if not found:
        for archive in archives:
            yield from _copied(f"{bucket.root}/{archive.key}", archive, options)
    for start in range(0, len(unused) if captions and found else 0, 10_000):
        some = unused[start : start + 10_000]
        yield Part("objects", root, _hash(root, some), {"root": root, "unused": some}, 0)
    if not found and not archives:
        raise UserError(f"'{source}' has no pictures ({', '.join(sorted(SUFFIXES))}).")


def _beside(bucket: Bucket, key: str) -> Iterator[Object]:
    """The objects beside a picture whose names begin as its own does: a listing is in order."""
    folder, _, name = key.rpartition("/")
    start = f"{folder}/{name.partition('.')[0]}".lstrip("/")
    for page in bucket.under(folder, start):
        for obj in page:
            if not obj.key.startswith(start):
                return
            if obj.key != key and obj.key.rpartition("/")[0] == folder:
                yield obj


def _walk(bucket: Bucket, top: str, unused: list[list[str]], archives: list[Object]) -> Iterator[list[Any]]:
    """Entries of all folders below a key: a folder's when the listing, which is in order, has passed it."""
    stack: list[tuple[str, list[Object]]] = []
    for page in bucket.under(top):
        for obj in page:
            if obj.key.endswith("/") or any(_left_alone(one) for one in obj.key[len(top) :].strip("/").split("/")):
                continue
            folder = obj.key.rpartition("/")[0]
            while stack and not f"{folder}/".startswith(f"{stack[-1][0]}/"):
                yield from _entries(stack.pop()[1], top, unused, archives)
            if not stack or stack[-1][0] != folder:
                stack.append((folder, []))
            stack[-1][1].append(obj)
    while stack:
        yield from _entries(stack.pop()[1], top, unused, archives)


def _left_alone(name: str) -> bool:
    return is_hidden(name) or name.endswith(".pano") or name == MANIFEST


def _entries(
    objects: Sequence[Object], top: str, unused: list[list[str]], archives: list[Object]
) -> Iterator[list[Any]]:
    """`[path, texts beside it, reason or None, what each of these files was]` of a folder, paths relative to `top`."""
    cut = len(top) + 1 if top else 0
    by_name = {obj.key.rpartition("/")[2]: obj for obj in objects}
    start = objects[0].key.rpartition("/")[0][cut:]
    start = f"{start}/" if start else ""
    pictures = sorted(name for name in by_name if suffix_of(name) in SUFFIXES)
    texts = sorted(name for name in by_name if suffix_of(name) in TEXTS)
    beside, left = pair(pictures, texts)
    archives += [by_name[name] for name in sorted(by_name) if suffix_of(name) in _ARCHIVES]
    read = SUFFIXES | UNREAD | set(TEXTS)
    tell_unused(unused, start, [*left, *(name for name in by_name if suffix_of(name) not in read)])
    for name in sorted(by_name):
        if suffix_of(name) in UNREAD:
            yield [start + name, [], "unsupported_format", [_state(by_name[name])]]
        elif suffix_of(name) in SUFFIXES:
            own = beside.get(name, ())
            states = [_state(by_name[one]) for one in (name, *(text for text, _ in own))]
            yield [start + name, [[start + text, *role] for text, role in own], None, states]


def _state(obj: Object) -> list[Any]:
    return [obj.size, obj.tag or obj.changed]


def _part(root: str, entries: list[list[Any]], options: Mapping[str, Any]) -> Part:
    key = _hash(root, entries, counted(parts, options))
    above = f"{root}/{entries[0][0]}".rpartition("/")[0]
    return Part("objects", above, key, {"root": root, "entries": entries, **options}, len(entries))


def _hash(*said: Any) -> str:
    return hashlib.sha256(canonical_bytes(["objects", *said])).hexdigest()[:32]


# -- tables and archives -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copied:
    """The parts of a file of an object store, as the format lists them that its copy on this machine is in.

    Attributes:
        uri: of the object.
        object: what was known of it.
        parts: lists the parts of the copy.
    """

    uri: str
    object: Object
    parts: Callable[..., Iterator[Part]]

    def __call__(self, **options: Any) -> Iterator[Part]:
        """List them, with options of the format."""
        copy = str(copy_here(open_bucket(self.uri)[0], self.object))
        for number, part in enumerate(self.parts(**options)):
            key = _hash(self.uri, _state(self.object), part.format, number, sorted(options.items()))
            items = {"part": part, "copy": copy, "object": tuple(self.object), "uri": self.uri}
            yield Part("objects", _renamed(part.uri, copy, self.uri), key, items, part.count)


def _copied(uri: str, obj: Object, options: Mapping[str, Any]) -> Iterator[Part]:
    from panoglot.formats._formats import find_format, format_options

    copy = str(copy_here(open_bucket(uri)[0], obj))
    name, _ = find_format(copy)
    known = {key: value for key, value in options.items() if key in format_options(name) and value is not None}
    _, found = find_format(copy, name, known)
    yield from Copied(uri, obj, partial(found.func, *found.args))(**found.keywords)


def _renamed(said: Any, old: str, new: str) -> Any:
    """A path of the copy, or what lies in it, as one of the object; also in lists and mappings."""
    if isinstance(said, str):
        inside = said == old or said.startswith((f"{old}#", f"{old}/", f"{old}:"))
        return new + said[len(old) :] if inside else said
    if isinstance(said, dict):
        return {key: _renamed(value, old, new) for key, value in said.items()}
    if isinstance(said, list | tuple):
        return type(said)(_renamed(one, old, new) for one in said)
    return said


def _read_copy(items: dict[str, Any]) -> Iterator[Sample | Reject | Unused]:
    from panoglot.formats._formats import load_format

    part, uri, old = items["part"], items["uri"], items["copy"]
    copy = str(copy_here(open_bucket(uri)[0], Object(*items["object"])))
    if copy != old:  # another machine
        part = replace(part, uri=_renamed(part.uri, old, copy), items=_renamed(part.items, old, copy))
    for found in load_format(part.format).read(part):
        if isinstance(found, Sample):
            found.uri, found.place = _renamed(found.uri, copy, uri), _renamed(found.place, copy, uri)
            found.group = _renamed(found.group, copy, uri)
            yield found
        elif isinstance(found, Unused):
            yield replace(found, source=_renamed(found.source, copy, uri), names=_renamed(found.names, copy, uri))
        else:
            yield replace(found, item=_renamed(found.item, copy, uri))


# -- pictures ----------------------------------------------------------------------------------------------------------


class _Fetched:
    """Files of some entries, fetched a few at a time and forgotten when they were given."""

    def __init__(self, root: str, entries: Sequence[Sequence[Any]], captions: bool) -> None:
        self._bucket, self._key = open_bucket(root)
        self._coming: list[tuple[str, int]] = []
        for name, beside, reason, states in entries:
            if not reason:
                names = [name, *(text[0] for text in beside if captions)]
                self._coming += [(one, state[0]) for one, state in zip(names, states, strict=False)]
        self._coming.reverse()
        self._have: dict[str, bytes | RowError] = {}

    def __call__(self, name: str, limit: int = MAX_BYTES) -> bytes:
        if name not in self._have:
            some: list[tuple[str, int]] = []
            while self._coming and len(some) < AHEAD and (not some or sum(s for _, s in some) < AHEAD_BYTES):
                some.append(self._coming.pop())
            self._have.update(zip((one for one, _ in some), self._bucket.all(self._get, some), strict=True))
        found = self._have.pop(name)
        if isinstance(found, RowError):
            raise found
        if len(found) > limit:
            raise RowError("too_many_bytes", f"{len(found):,} bytes, the limit is {limit:,}")
        return found

    def _get(self, what: tuple[str, int]) -> bytes | RowError:
        name, size = what
        if size > MAX_BYTES:
            return RowError("too_many_bytes", f"{size:,} bytes, the limit is {MAX_BYTES:,}")
        key = f"{self._key}/{name}".lstrip("/")
        try:
            return self._bucket.get(key)[0]
        except FileNotFoundError:
            return RowError("missing_file", f"{self._bucket.root}/{key}")
        except StoreError as error:
            if not error.denied:
                raise
            return RowError("unreadable", str(error))


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read the pictures of a part, or a part of a copied file."""
    items = part.items
    if "part" in items:
        yield from _read_copy(items)
        return
    root = items["root"]
    fetch = _Fetched(root, items.get("entries", ()), items.get("captions", True))
    try:
        yield from read_entries(part, fetch, lambda name: f"{root}/{name}")
    except FileNotFoundError as error:
        yield reject(part.uri, "missing_file", os.strerror(2) + f": {error.filename}")


def covers(part: Part, of_copy: Callable[[Part], Callable[[str], bool]]) -> Callable[[str], bool]:
    """Say which items that were rejected before a part reads anew; `of_copy` says so of a part of a copy."""
    items = part.items
    if "part" in items:
        inner = of_copy(items["part"])
        return lambda item: inner(_renamed(item, items["uri"], items["copy"]))
    entries = items.get("entries", ())
    names = {one for name, beside, *_ in entries for one in (name, *(text[0] for text in beside))}
    return {f"{items['root']}/{name}" for name in names}.__contains__
