"""A folder of pictures, or one picture, with captions in files beside them.

Beside `a.jpg` these are read: `a.txt`, `a.caption`, `a.json`, `a.jpg.txt`, `a.jpg.json`, and with a language
`a.de.txt`. Text: a caption a line, or the tuxpaint form (see `from_text`). JSON: any usual shape (see `from_json`), or
our own record.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats._files import MAX_TEXT, is_hidden, join_uri, part_key, read_bytes, reject, suffix_of
from panoglot.formats._record import is_record, restore
from panoglot.formats._sample import Part, Sample
from panoglot.formats._texts import Given, clean_context, decode, from_json, from_text, given, load_json
from panoglot.identity import counted
from panoglot.languages import language_in_name
from panoglot.pictures import SUFFIXES
from panoglot.table import Caption, Reject

__all__ = ["detect", "parts", "read"]

_TEXTS = (".txt", ".caption", ".json")
#: Pictures by their names that are not read: said, not passed over.
_UNREAD = frozenset(
    ".svgz .psd .ai .eps .ico .jp2 .jxl .tga .ppm .pgm .pbm .exr .hdr .xcf".split()
    + ".cr2 .cr3 .nef .arw .dng .raf .orf".split()
)
_FIXES = {
    "outside_folder": "a link out of the folder; follow_symlinks reads it",
    "unreadable": "no permission",
    "unsupported_format": "{} is not read; convert it to PNG or JPEG",
}
_MOST = 256


def detect(source: str) -> bool:
    """Any folder; or a file that is named like a picture."""
    return os.path.isdir(source) or suffix_of(source) in SUFFIXES | _UNREAD


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
    given(lang, kind)
    options = {"captions": captions, "lang": lang, "kind": kind}
    waiting: list[list[Any]] = []
    found = False
    root = source if os.path.isdir(source) else os.path.dirname(source) or "."
    entries = _walk(source, follow_symlinks) if os.path.isdir(source) else _file(root, source)
    for entry in entries:
        found = True
        if waiting and (len(waiting) >= _MOST or zlib.crc32(os.fsencode(entry[0])) % (_MOST // 2) == 0):
            yield _part(root, waiting, options)
            waiting = []
        waiting.append(entry)
    if waiting:
        yield _part(root, waiting, options)
    if not found:
        raise UserError(f"'{source}' has no pictures ({', '.join(sorted(SUFFIXES))}).")


def _part(root: str, entries: list[list[Any]], options: dict[str, Any]) -> Part:
    states = []
    start = root.rstrip(os.sep) + os.sep
    for name, beside, _ in entries:
        for path in (name, *beside):
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
    if suffix_of(name) in _UNREAD:
        yield [name, [], "unsupported_format"]
    else:
        yield [name, _beside([name], [n for n in names if suffix_of(n) in _TEXTS]).get(name, []), None]


def _walk(root: str, follow: bool) -> Iterator[list[Any]]:
    """Yield `[path, texts beside it, reason or None]`, paths relative to `root`, sorted, loops and escapes refused."""
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
        pictures: list[str] = []
        texts: list[str] = []
        folders: list[tuple[str, str, tuple[str, ...]]] = []
        found: list[list[Any]] = []
        for name, link, is_dir in entries:
            if is_hidden(name):
                continue
            path = f"{folder}{os.sep}{name}" if folder else name
            suffix = suffix_of(name)
            target = os.path.realpath(os.path.join(root, path)) if link else ""
            outside = link and not (target + os.sep).startswith(top)
            if outside and not follow:
                if suffix in SUFFIXES or suffix in _UNREAD or os.path.isdir(target):
                    found.append([path, [], "outside_folder"])
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
            elif suffix in _UNREAD:
                found.append([path, [], "unsupported_format"])
            elif suffix in _TEXTS:
                texts.append(name)
        beside = _beside(pictures, texts)
        start = folder + os.sep if folder else ""
        found += [[start + name, [start + text for text in beside.get(name, ())], None] for name in pictures]
        yield from sorted(found)
        stack.extend(reversed(folders))


def _beside(pictures: list[str], texts: list[str]) -> dict[str, list[str]]:
    """Map pictures to the text files that are theirs; several pictures may share a stem and its texts."""
    owners: dict[str, list[str]] = defaultdict(list)
    for name in pictures if texts else ():
        owners[name].append(name)
        owners[os.path.splitext(name)[0]].append(name)
    beside: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        stem = os.path.splitext(text)[0]
        if stem not in owners and language_in_name(os.path.splitext(stem)[1][1:]):
            stem = os.path.splitext(stem)[0]
        for name in owners.get(stem, ()):
            beside[name].append(text)
    return beside


def read(part: Part) -> Iterator[Sample | Reject]:
    """Read the pictures of a part, one at a time."""
    items = part.items
    texts = given(items["lang"], items["kind"])
    above = join_uri(items["root"], "x")[:-1]
    for name, beside, reason in items["entries"]:
        uri = above + name if name.isascii() and os.sep == "/" else join_uri(items["root"], name)
        if reason:
            yield reject(uri, reason, _FIXES[reason].format(suffix_of(name)))
            continue
        try:
            data = read_bytes(items["folder"] + os.sep + name)
        except RowError as error:
            yield reject(uri, error.reason, error.message)
            continue
        sample = Sample(data, uri)
        for text in beside if items["captions"] else ():
            try:
                _add(sample, os.path.join(items["folder"], text), texts)
            except RowError as error:  # the picture is kept, its text is not
                yield reject(join_uri(items["root"], text), error.reason, error.message)
        yield sample


def _add(sample: Sample, path: str, texts: Given) -> None:
    """Add what a text file says to the sample."""
    raw = read_bytes(path, MAX_TEXT)
    stem, suffix = os.path.splitext(os.path.basename(path))
    lang = os.path.splitext(stem)[1][1:]
    if lang and language_in_name(lang) and os.path.basename(sample.uri).rpartition(".")[0] != stem:
        texts = texts.said(language_in_name(lang))
    if suffix.lower() != ".json":
        sample.captions = [*sample.captions, *from_text(decode(raw), texts)]
        return
    value = load_json(raw)
    if is_record(value):
        ours = restore(value, sample.data, sample.uri)
        sample.uri, sample.group, sample.time, sample.context = ours.uri, ours.group, ours.time, ours.context
        captions: list[Caption] = list(ours.captions)
    else:
        captions, rest = from_json(value, texts)
        sample.context = {**sample.context, **clean_context(rest)}
    sample.captions = [*sample.captions, *captions]
