"""A folder of pictures, or one picture, with captions in files beside them.

A file without a suffix is a picture when it begins like one. Beside `a.jpg` these are read: `a.txt`, `a.caption`,
`a.json`, `a.jpg.txt`, `a.jpg.json`, and with a language `a.de.txt` (see `pair`). Text: a caption a line, or the
tuxpaint form (see `from_text`). JSON: any usual shape (see `from_json`), or our own record. Texts of no picture, and
files of other kinds, are told.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shlex
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from panoglot.errors import RowError, UserError, command, many
from panoglot.formats._files import (
    ARCHIVES,
    FILMS,
    MAX_TEXT,
    PAGES,
    WARCS,
    is_hidden,
    join_uri,
    part_key,
    read_bytes,
    reject,
    starts_like_picture,
    suffix_of,
)
from panoglot.formats._names import Role
from panoglot.formats._pairing import pair
from panoglot.formats._record import is_record, restore
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import Given, clean_context, decode, from_json, from_text, given, load_json
from panoglot.identity import counted
from panoglot.pictures import MAX_BYTES, SUFFIXES
from panoglot.storage import in_objects, open_bucket
from panoglot.table import Caption, Reject

__all__ = ["detect", "parts", "parts_but", "read", "read_entries", "tell_unused", "with_texts"]

TEXTS = (".txt", ".text", ".caption", ".captions", ".json")
#: Other files that may hold texts about pictures: said when they lie among pictures, not passed over.
TABLES = frozenset(".csv .tsv .jsonl .ndjson .parquet .xml .xmp .yaml .yml .srt .vtt .npy .npz .tar".split())
#: Those of them that no format reads; and files that describe a dataset to a tool.
_NEVER_READ = frozenset(".xml .xmp .yaml .yml .srt .vtt .npy .npz".split())
_DESCRIPTIONS = frozenset(("dataset_info.json", "dataset_infos.json"))
#: What an export of ours says of itself.
MANIFEST, EXPORT = "panoglot-export.json", {"panoglot-export.json", "README.md"}
#: Files with pictures of their own, which are read by their names: said, not passed over.
DOCUMENTS = frozenset((".pdf", ".epub", *FILMS))
#: Pictures by their names that are not read: said, not passed over.
UNREAD = frozenset(
    ".svgz .psd .ai .eps .ico .jp2 .jxl .tga .ppm .pgm .pbm .exr .hdr .xcf".split()
    + ".cr2 .cr3 .nef .arw .dng .raf .orf".split()
)
_FIXES = {
    "outside_folder": "a link out of the folder; follow_symlinks reads it",
    "unreadable": "no permission",
    "unsupported_format": "{} is not read; convert it to PNG or JPEG",
}
_NO_PICTURE = "text file{s} of no picture"
_NO_TABLE = "file{s} beside pictures that may hold texts of theirs"
_NO_READER = "file{s} beside pictures that nothing reads and that may hold texts of theirs"
_NO_DOCUMENT = "document{s} or film{s} among pictures"
_NO_ARCHIVE = "archive{s} among pictures"
_NO_PAGE = "web page{s} among pictures"
_NO_LINK = "link{s} out of the folder that may be texts"
_NO_KIND = "file{s} of other kinds"
_HINTS = {
    _NO_DOCUMENT: "each is read by its own name, or a folder of nothing else: panoglot ingest {} -o X.pano",
    _NO_ARCHIVE: "unpack what holds pictures or texts: {} is not looked into",
    _NO_PAGE: "pages and their pictures: panoglot ingest {} -o X.pano --extract wit (or lgs: products of shops)",
    _NO_LINK: "--option follow_symlinks=true reads them",
    _NO_KIND: "",
    _NO_PICTURE: "a text has the name of its picture, with a language after it where it has one: a.de.txt of a.jpg",
    _NO_TABLE: "",  # see `_table_hint`
    _NO_READER: "texts are read from CSV, TSV, JSON lines and Parquet, and from files named as their pictures",
}
MOST = 256
#: So many files that may be tables are opened to see whether they are.
_LOOKED_AT = 8


def detect(source: str) -> bool:
    """Any folder; or a file that is named like a picture."""
    return os.path.isdir(source) or suffix_of(source) in SUFFIXES | UNREAD


def parts(
    source: str,
    *,
    captions: bool = True,
    lang: str | None = None,
    kind: str | None = None,
    follow_symlinks: bool = False,
) -> Iterator[Part]:
    """List a folder, recursively and sorted, in parts of at most 256 pictures.

    A part begins where the checksum of a path says so, so a new file changes one part or two, not all that follow.

    Args:
        source: folder or picture.
        captions: read the texts beside the pictures.
        lang: language of texts that do not say theirs; None to identify it.
        kind: kind of the captions; `human` unless they say otherwise.
        follow_symlinks: follow links that lead outside the folder.
    """
    yield from parts_but(source, set(), captions=captions, lang=lang, kind=kind, follow_symlinks=follow_symlinks)


def parts_but(
    source: str,
    described: set[str],
    *,
    captions: bool = True,
    lang: str | None = None,
    kind: str | None = None,
    follow_symlinks: bool = False,
) -> Iterator[Part]:
    """List a folder without the files (real paths) that a table in it describes. Options as in `parts`."""
    given(lang, kind)
    options = {"captions": captions, "lang": lang, "kind": kind}
    unused: list[list[str]] = []
    waiting: list[list[Any]] = []
    found = False
    root = source if os.path.isdir(source) else os.path.dirname(source) or "."
    entries = _walk(source, follow_symlinks, described, unused) if os.path.isdir(source) else _file(root, source)
    for entry in entries:
        found = True
        if waiting and (len(waiting) >= MOST or zlib.crc32(os.fsencode(entry[0])) % (MOST // 2) == 0):
            yield _part(root, waiting, options)
            waiting = []
        waiting.append(entry)
    if waiting:
        yield _part(root, waiting, options)
    for start in range(0, len(unused) if captions else 0, 10_000):  # said whenever it changes
        some = unused[start : start + 10_000]
        key = hashlib.sha256(repr([os.path.abspath(root), some]).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        yield Part("folder", join_uri(root), key, {"root": root, "unused": some}, 0)
    if not found and not described:
        raise _no_pictures(source, unused)


def _no_pictures(source: str, unused: list[list[str]]) -> UserError:
    """Say what a folder without a picture holds, and how its first file that may hold some is read."""
    by_kind = {what: sorted(name for kind, name in unused if kind == what) for what in _HINTS}
    held = [
        many(len(names), what.partition(" among ")[0])
        + f" ({', '.join(map(join_uri, names[:3]))}{', …' if len(names) > 3 else ''})"
        for what, names in by_kind.items()
        if names
    ]
    line = f"'{source}' has no pictures ({', '.join(sorted(SUFFIXES))}){', but ' if held else ''}{', '.join(held)}"
    for what, how in (
        (_NO_DOCUMENT, "documents and films are read by their names, or in a folder of nothing else"),
        (_NO_TABLE, "a table of rows is read by its own name"),
        (_NO_PICTURE, "a list of pictures is read by its own name"),
    ):
        for name in by_kind[what]:
            path = os.path.join(source, name)
            if {_NO_PICTURE: _lists_pictures, _NO_TABLE: _has_rows}.get(what, bool)(path):
                return UserError(f"{line}; {how}: {command('ingest', os.path.join(source, name))} -o X.pano")
    return UserError(f"{line}.")


def _lists_pictures(path: str) -> bool:
    """Whether a text begins with a line that is the name of a picture."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return suffix_of(file.readline(4096).decode("utf-8", "replace").strip()) in SUFFIXES
    return False


def _has_rows(path: str) -> bool:
    """Whether a file is read by its own name: its rows have pictures."""
    from panoglot.formats._formats import find_format

    with contextlib.suppress(UserError, RowError, OSError, ValueError):
        return next(iter(find_format(path)[1]()), None) is not None
    return False


def _table_hint(paths: Iterable[str]) -> str:
    """The line that reads the first file of rows, if any of the first few is one; else what a table needs."""
    for path in itertools.islice(paths, _LOOKED_AT):
        if in_objects(path) or _has_rows(path):
            return f"a table of rows is read by its own name: panoglot ingest {shlex.quote(path)} -o X.pano"
    return "a table is read by its own name, where a column has pictures or names of them; none of these has"


def _part(root: str, entries: list[list[Any]], options: dict[str, Any]) -> Part:
    states = []
    start = root.rstrip(os.sep) + os.sep
    for name, beside, _ in entries:
        for path in (name, *(text[0] for text in beside)):
            try:
                facts = os.stat(start + path)
                states.append((path, facts.st_size, facts.st_mtime_ns))
            except (OSError, ValueError):
                states.append((path, -1, 0))
    uri = join_uri(root, os.path.dirname(entries[0][0]))
    items = {"root": root, "folder": os.path.abspath(root), "entries": entries, **options}
    key = part_key("folder", os.path.join(os.path.abspath(root), entries[0][0]), states, counted(parts, options))
    return Part("folder", uri, key, items, len(entries))


def _file(root: str, source: str) -> Iterator[list[Any]]:
    name = os.path.basename(source)
    names = [n for n in os.listdir(root) if os.path.isfile(os.path.join(root, n))]
    if suffix_of(name) in UNREAD:
        yield [name, [], "unsupported_format"]
    else:
        pictures = [other for other in names if suffix_of(other) in SUFFIXES]
        yield [name, _beside(pictures, [n for n in names if suffix_of(n) in TEXTS]).get(name, []), None]


def with_texts(paths: Iterable[str]) -> set[str]:
    """Those of some paths of pictures, there or gone, beside which text files lie that are theirs by their names."""
    folders: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folders[os.path.dirname(path)].append(os.path.basename(path))
    found = set()
    for folder, wanted in folders.items():
        try:
            names = _names_in(folder)
        except (OSError, ValueError, UserError):
            continue
        texts = [name for name in names if suffix_of(name) in TEXTS and not is_hidden(name)]
        if texts:
            pictures = {name for name in names if suffix_of(name) in SUFFIXES} | set(wanted)
            told = _beside(sorted(pictures), sorted(texts))
            found |= {os.path.join(folder, name) for name in wanted if told.get(name)}
    return found


def _names_in(folder: str) -> list[str]:
    if not in_objects(folder):
        return os.listdir(folder)
    bucket, key = open_bucket(folder)
    return [one.key.rpartition("/")[2] for one in bucket.listed(key)[1]]


def _beside(pictures: list[str], texts: list[str]) -> dict[str, list[list[Any]]]:
    """Map pictures to their texts as an entry of a part has them: `[name, language, is alt text, kind]`."""
    return {name: [[text, *role] for text, role in ours] for name, ours in pair(pictures, texts)[0].items()}


def _walk(root: str, follow: bool, described: set[str], unused: list[list[str]]) -> Iterator[list[Any]]:
    """Yield `[path, texts beside it, reason or None]`, paths relative to `root`, sorted, loops and escapes refused.

    A text is `[path, language, is alt text, kind]`. What is not used is added to `unused` as `[what, path]`.
    """
    here = os.path.realpath(root)
    top = here.rstrip(os.sep) + os.sep
    # a folder, where it really is, and where the links really were that led to it
    stack: list[tuple[str, str, tuple[str, ...]]] = [("", here, ())]
    while stack:
        folder, real, above = stack.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as scan:
                entries = sorted((e.name, e.is_symlink(), e.is_dir(follow_symlinks=False)) for e in scan)
        except OSError:
            yield [folder, [], "unreadable"]
            continue
        if folder and {"panoglot.json", "images.lance"} <= {name for name, _, _ in entries}:
            continue  # a dataset of ours is no folder of pictures: it may be the one that is being made
        pictures: list[str] = []
        texts: list[str] = []
        others: list[str] = []
        folders: list[tuple[str, str, tuple[str, ...]]] = []
        found: list[list[Any]] = []
        ours = EXPORT if {name for name, _, _ in entries} >= EXPORT else {MANIFEST}
        for name, link, is_dir in entries:
            if is_hidden(name) or name in ours:
                continue
            path = f"{folder}{os.sep}{name}" if folder else name
            suffix = suffix_of(name)
            target = os.path.realpath(os.path.join(root, path)) if link else ""
            outside = link and not (target + os.sep).startswith(top)
            if outside and not follow:
                if suffix in SUFFIXES or suffix in UNREAD or os.path.isdir(target):
                    found.append([path, [], "outside_folder"])
                elif suffix in TEXTS or suffix in TABLES:
                    unused.append([_NO_LINK, path])
            elif link and os.path.isdir(target):
                # a folder inside the source is read where it really is; a loop leads to a folder above
                if outside and not any(
                    (up + os.sep).startswith(target.rstrip(os.sep) + os.sep) for up in (real, *above)
                ):
                    folders.append((path, target, (*above, real)))
            elif is_dir:
                folders.append((path, os.path.join(real, name), above))
            elif suffix in SUFFIXES:
                pictures.append(name)
            elif suffix in UNREAD:
                found.append([path, [], "unsupported_format"])
            elif suffix in TEXTS:
                texts.append(name)
            elif not suffix and starts_like_picture(os.path.join(real, name)):
                pictures.append(name)
            elif os.path.join(real, name) not in described:
                others.append(name)
        start = folder + os.sep if folder else ""
        beside, left = pair(pictures, texts)
        if described:
            left = [name for name in left if os.path.join(real, name) not in described]
            there = [name for name in pictures if os.path.join(real, name) in described]
            left += sorted({text for name in there for text, _ in beside.pop(name, ())})
            pictures = [name for name in pictures if os.path.join(real, name) not in described]
        tell_unused(unused, start, [*left, *others])
        found += [
            [start + name, [[start + text, *role] for text, role in beside.get(name, ())], None] for name in pictures
        ]
        yield from sorted(found)
        stack.extend(reversed(folders))


def tell_unused(unused: list[list[str]], start: str, names: Iterable[str]) -> None:
    """Add to what is not used some files of the folder `start`, each by its kind."""
    unused += [[_kind_of(name), start + name] for name in names]


def _kind_of(name: str) -> str:
    if name.lower().endswith(PAGES + WARCS):
        return _NO_PAGE
    suffix = suffix_of(name)
    kinds = {
        _NO_DOCUMENT: DOCUMENTS,
        _NO_ARCHIVE: ARCHIVES,
        _NO_READER: _NEVER_READ,
        _NO_TABLE: TABLES | {".json"},
        _NO_PICTURE: TEXTS,
    }
    return (
        _NO_KIND if name in _DESCRIPTIONS else next((what for what, some in kinds.items() if suffix in some), _NO_KIND)
    )


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read the pictures of a part, one at a time."""
    root = part.items["root"]
    above = join_uri(root, "x")[:-1]

    def fetch(name: str, limit: int = MAX_BYTES) -> bytes:
        return read_bytes(part.items["folder"] + os.sep + name, limit)

    def uri_of(name: str) -> str:
        return above + name if name.isascii() and os.sep == "/" else join_uri(root, name)

    yield from read_entries(part, fetch, uri_of)


def read_entries(
    part: Part, fetch: Callable[..., bytes], uri_of: Callable[[str], str]
) -> Iterator[Sample | Reject | Unused]:
    """Read the pictures of a part with their texts, one at a time, wherever they lie.

    Args:
        part: its entries are `[path, texts beside it, reason or None, …]`.
        fetch: gives the bytes of a path, at most so many, or raises `RowError`.
        uri_of: gives the address of a path.
    """
    items = part.items
    if "unused" in items:
        for what in _HINTS:
            names = [join_uri(name) for kind, name in items["unused"] if kind == what]
            if names:
                hint = _HINTS[what].format(shlex.quote(uri_of(names[0])))
                yield Unused.of(part.uri, what, names, _table_hint(map(uri_of, names)) if what == _NO_TABLE else hint)
        return
    silent: list[str] = []
    keys: Counter[str] = Counter()
    texts = given(items["lang"], items["kind"])
    for name, beside, reason, *_ in items["entries"]:
        uri = uri_of(name)
        if reason:
            yield reject(uri, reason, _FIXES[reason].format(suffix_of(name)))
            continue
        try:
            data = fetch(name)
        except RowError as error:
            yield reject(uri, error.reason, error.message)
            continue
        sample = Sample(data, uri)
        for text, lang, alt, kind in beside if items["captions"] else ():
            try:
                if not _add(sample, text, fetch(text, MAX_TEXT), texts.of(Role(lang, alt, kind)), keys):
                    silent.append(join_uri(text))
            except RowError as error:  # the picture is kept, its text is not
                yield reject(uri_of(text), error.reason, error.message)
        yield sample
    if silent:
        listed = ", ".join(key for key, _ in keys.most_common(8))
        hint = f"their keys: {listed}" if listed else ""
        yield Unused.of(part.uri, "file{s} without a caption beside a picture", silent, hint)


def _add(sample: Sample, path: str, raw: bytes, texts: Given, keys: Counter[str]) -> bool:
    """Add what a text file says to the sample; False if it holds something and no caption: its `keys` are counted."""
    before = len(sample.captions)
    if suffix_of(path) != ".json":
        sample.captions = [*sample.captions, *from_text(decode(raw), texts)]
        return len(sample.captions) > before or not raw.strip()
    value = load_json(raw)
    if is_record(value):
        ours = restore(value, sample.data, sample.uri)
        sample.place = sample.place or sample.uri
        sample.uri, sample.group, sample.time, sample.context = ours.uri, ours.group, ours.time, ours.context
        captions: list[Caption] = list(ours.captions)
    else:
        captions, rest = from_json(value, texts)
        sample.context = {**sample.context, **clean_context(rest)}
        if not captions:
            keys.update(str(key)[:40] for key in rest)
    sample.captions = [*sample.captions, *captions]
    return bool(captions) or is_record(value) or not value
