"""The formats by name: detection, and the way from a source to its parts and samples."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from panoglot.errors import RowError, UserError, command, did_you_mean
from panoglot.extensions import find_entries, load_entry
from panoglot.formats._checked import checked
from panoglot.formats._download import Downloads
from panoglot.formats._files import ARCHIVES, PAGES, WARCS, check_exists, join_uri, read_bytes, suffix_of
from panoglot.formats._opt_out import OptOut
from panoglot.formats._sample import Format, Part, Sample, Unused
from panoglot.identity import counted
from panoglot.pictures import SUFFIXES
from panoglot.storage import copy_here, in_objects, open_bucket
from panoglot.table import Reject, Triple, is_dataset

#: Entry points of this group are formats: modules with `detect`, `parts` and `read`, and a `Writer` if they can write.
GROUP = "panoglot.formats"
#: Our formats, in the order in which they are asked whether a source is theirs; those of other packages come before
#: `folder`, which takes any folder.
FORMAT_NAMES = (
    *(
        "pano",
        "img2dataset",
        "hf_datasets",
        "lance",
        "mds",
        "croissant",
        "label_studio",
        "fiftyone",
        "visual_genome",
        "refcoco",
    ),
    *(
        "triples",
        "wit",
        "lgs",
        "pdf",
        "epub",
        "coco",
        "webdataset",
        "tabular",
        "parquet",
        "listing",
        "video",
        "objects",
    ),
    "folder",
)
#: Names that people use -> our names.
_ALIASES = {
    "csv": "tabular",
    "tsv": "tabular",
    "jsonl": "tabular",
    "json": "tabular",
    "llava": "tabular",
    "imagefolder": "tabular",
    "hf": "hf_datasets",
    "huggingface": "hf_datasets",
    "tar": "webdataset",
    "wds": "webdataset",
}
#: So much of a JSON file is looked at for rows.
_MOST_JSON = 64 * 2**20
_LISTS = ("text_columns", "class_names")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_REMOTE = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def format_names() -> tuple[str, ...]:
    """The formats by name, ours and those of other packages, in the order in which they are asked."""
    others = sorted(find_entries(GROUP).keys() - set(FORMAT_NAMES))
    return (*FORMAT_NAMES[:-1], *others, FORMAT_NAMES[-1])


def load_format(name: str) -> Any:
    return load_entry(GROUP, name, "format")


def _as_rows(path: str) -> str:
    """The line that writes the rows inside a JSON object as JSON lines beside it, where it has rows with pictures."""
    try:
        value = json.loads(read_bytes(path, _MOST_JSON))
    except (OSError, RowError, ValueError, RecursionError):
        value = None
    for key, rows in value.items() if isinstance(value, dict) else ():
        row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
        if any(isinstance(one, str) and suffix_of(one) in SUFFIXES for one in row.values()):
            target = os.path.join(os.path.dirname(path), "rows.jsonl")
            line = f"jq -c {shlex.quote(f'.[{json.dumps(key)}][]')} {shlex.quote(path)} > {shlex.quote(target)}"
            return f"; write its rows as JSON lines: {line}"
    return ", and has no list of rows with pictures. Rows are read as JSON lines, an object a line."


def detect(source: str | os.PathLike[str]) -> str:
    """Return the name of the format of a source.

    Raises:
        UserError: nothing there, a web address, or nothing that is read.
    """
    source = os.fspath(source)
    if in_objects(source) and not is_dataset(source):
        return "objects"
    if _REMOTE.match(source) and not is_dataset(source):
        raise UserError(
            f"'{source}' is remote; copy or mount it. Pictures by address: a text file with an address a line."
        )
    check_exists(source)
    try:
        for name in format_names():
            if load_format(name).detect(source):
                return name
    except OSError as error:
        raise UserError(f"'{source}' cannot be read: {error.strerror or error}.") from None
    if source.lower().endswith(".json"):
        raise UserError(f"'{source}' is neither a COCO file nor a JSON array of rows{_as_rows(source)}")
    if source.lower().endswith(PAGES + WARCS):
        line = command("ingest", source, "-o", "X.pano", "--extract", "wit")
        raise UserError(f"'{source}' holds web pages: {line} (pictures with captions), or lgs (products of shops)")
    if source.lower().endswith(ARCHIVES):
        folder = re.sub(r"(\.tar)?\.\w+$", "", source)
        line = f"unzip {shlex.quote(source)} -d {shlex.quote(folder)}"
        line = line if source.lower().endswith(".zip") else "7z x " + shlex.quote(source)
        raise UserError(f"'{source}' is an archive that is not looked into; unpack it: {line}")
    raise UserError(
        f"'{source}' is nothing that is read: a folder of pictures, tar shards, Parquet, CSV, TSV, JSONL, COCO JSON, "
        f"PDF, EPUB, img2dataset output, a Hugging Face dataset on disk or a .pano. Name it (--format) if it is one "
        f"of {', '.join(format_names())}."
    )


def find_format(
    source: str | os.PathLike[str], format: str | None = None, options: dict[str, Any] | None = None
) -> tuple[str, partial[Iterator[Part]]]:
    """Find the format of a source, check the options, and return its name and a picklable way to list its parts.

    Args:
        source: a file, folder, glob or brace range.
        format: a name out of `FORMAT_NAMES` (or csv, tsv, jsonl, hf, …) when detection should not decide.
        options: keyword arguments of the format's `parts`; see `format_options`.

    Raises:
        UserError: no such source, format or option.
    """
    source = os.fspath(source)
    if in_objects(source) and not is_dataset(source):
        copied = _copied(source, format, options)
        if copied is not None:
            return copied
        if format not in (None, "folder", "objects"):
            raise UserError(
                f"'{source}' is no single file, and {format} wants its files on this machine: copy them, for example "
                f"aws s3 sync {shlex.quote(source)} copy, then give the copy."
            )
        name = "objects"
    elif format is None:
        name = detect(source)
    else:
        name = _ALIASES.get(format, format)
        if name not in format_names():
            raise UserError(f"'{format}' is not a format.{did_you_mean(format, (*format_names(), *_ALIASES))}")
        check_exists(source)
    known = format_options(name)
    for option in options or {}:
        if option == "text_columns" and option not in known:
            raise UserError(f"'{source}' is no table but {name}: --caption-column is for CSV, JSON and Parquet files.")
        if option not in known:
            raise UserError(f"format '{name}' has no option '{option}'.{did_you_mean(option, known)}")
    typed = {option: _typed(option, value, known[option]) for option, value in (options or {}).items()}
    return name, partial(load_format(name).parts, source, **typed)


def _copied(
    source: str, format: str | None, options: dict[str, Any] | None
) -> tuple[str, partial[Iterator[Part]]] | None:
    """The same for a file of an object store that is no picture: its copy here is asked. None: a folder, a picture."""
    from panoglot.formats import objects

    found = objects.look(source)
    if found is None or (format in (None, "folder") and load_format("folder").detect(os.path.basename(found.key))):
        return None
    name, inner = find_format(copy_here(open_bucket(source)[0], found), format, options)
    return name, partial(objects.Copied(source, found, partial(inner.func, *inner.args)), **inner.keywords)


def _typed(option: str, value: Any, default: Any) -> Any:
    """Turn a word of the command line into what an option takes."""
    if not isinstance(value, str):
        return value
    if option in _LISTS:
        return [piece.strip() for piece in value.split(",") if piece.strip()]
    if isinstance(default, bool):
        if value.lower() not in _BOOLEANS:
            raise UserError(f"{option} is '{value}'; it must be true or false.")
        return _BOOLEANS[value.lower()]
    if isinstance(default, int):
        if not value.isascii() or not value.isdigit():
            raise UserError(f"{option} is '{value}'; it must be a whole number.")
        return int(value)
    return value


def format_options(name: str) -> dict[str, Any]:
    """Return the options of a format with their defaults.

    >>> sorted(format_options("folder"))
    ['captions', 'follow_symlinks', 'kind', 'lang']
    """
    found: dict[str, Any] = {}
    for parameter in inspect.signature(load_format(name).parts).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            found[parameter.name] = parameter.default
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            from panoglot.formats._rows import Options

            found.update({option.name: option.default for option in fields(Options)})
    return found


def counted_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some options of a format that are part of an identity."""
    parts = load_format(name).parts
    said = counted(parts, options)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(parts).parameters.values()):
        from panoglot.formats._rows import Options

        said = counted(Options, said)
    return said


def read_part(
    part: Part, downloads: Downloads | None = None, opt_out: OptOut | None = None
) -> Iterator[Sample | Reject | Unused | Triple]:
    """Read a part, streaming; nothing that is in the data raises.

    Args:
        part: a part of a source.
        downloads: what fetches pictures that are given by their addresses; one for several parts counts over them.
        opt_out: who does not want their pictures used; theirs are not fetched.
    """
    format: Format = load_format(part.format)
    listed = opt_out or OptOut()
    fetching = downloads or Downloads(opt_out=listed)
    try:
        yield from fetching.of(listed.without(one for found in format.read(part) for one in checked(found)))
    finally:
        if downloads is None:
            fetching.close()


def covers(part: Part) -> Callable[[str], bool]:
    """Return what says whether an item that was rejected before is read anew by this part."""
    items = part.items if isinstance(part.items, dict) else {}
    if part.format == "folder":
        names = [path for name, beside, _ in items.get("entries", ()) for path in (name, *(text[0] for text in beside))]
        uris = {join_uri(items["root"], name) for name in names}
        uris |= {join_uri(items["root"], *up) for name in names for up in _above(name)}  # a folder that can be read now
        return uris.__contains__
    if part.format == "objects":
        from panoglot.formats.objects import covers as of_objects

        return of_objects(part, covers)
    if part.format == "coco":
        rows = [row for row in items["rows"] if isinstance(row[0], dict)]
        ids = [str(said.get("id"))[:100] for _, texts in rows for said in texts]
        places = {f"{part.uri}#annotation-{name}" for name in [*ids, *(orphan[:100] for orphan in items["orphans"])]}
        names = [load_format("coco").file_name_of(image) for image, _ in rows]
        return ({join_uri(items["shown"], name) for name in names} | places).__contains__
    if part.format == "pano":
        return {f"{part.uri}#{image}" for image in items["ids"]}.__contains__
    if "paths" in items:  # pages: their own items, and those of what a WARC holds
        pages = {join_uri(path) for path in items["paths"]}
        return lambda item: any(piece in pages for piece in (item, item.rpartition("#")[0], item.partition("#")[0]))

    def is_row(item: str) -> bool:
        if item == part.uri:
            return True
        start, hash_, rest = item.rpartition("#")
        number = re.match(r"\d+", rest)
        if not hash_ or start != part.uri or "first" not in items:
            return bool(hash_) and start == part.uri
        return number is not None and items["first"] <= int(number[0]) < items["first"] + (part.count or 0)

    return is_row


def _above(name: str) -> Iterator[tuple[str, ...]]:
    pieces = name.split(os.sep)
    return (tuple(pieces[:n]) for n in range(1, len(pieces)))


def read_source(
    source: str | os.PathLike[str], format: str | None = None, **options: Any
) -> Iterator[Sample | Reject | Unused | Triple]:
    """Read a whole source: its parts in order; what was not used is told where it was found.

    Args:
        source: a file, folder, glob or brace range.
        format: its format when detection should not decide.
        **options: options of the format.

    Raises:
        UserError: no such source, format or option.
    """
    _, parts = find_format(source, format, options)
    for part in parts():
        yield from read_part(part)
