"""Rows of a table (Parquet, Arrow, CSV, TSV, JSON): which column is what, and a row as samples."""

from __future__ import annotations

import ast
import base64
import binascii
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.formats._checked import encodable, shown
from panoglot.formats._files import MAX_TEXT, find_named, read_named, reject, suffix_of
from panoglot.formats._names import Role, bare_language, doubtful_role, is_running_text, pair_role, text_role
from panoglot.formats._record import is_record, restore
from panoglot.formats._sample import Address, Sample, Unused, own_copies
from panoglot.formats._subset import wanted
from panoglot.formats._texts import LANG_NAMES, Given, clean_context, from_json, given, is_talk
from panoglot.identity import Added
from panoglot.languages._tags import parse_language
from panoglot.pictures import MAX_BYTES, SUFFIXES
from panoglot.table import Caption, Reject

__all__ = ["Options", "Roles", "are_pictures", "image_column", "pick_roles", "samples"]

_IMAGES = (
    "image",
    "images",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "img",
    "image_bytes",
    "img_bytes",
    "picture",
    "photo",
    "bytes",
    "data",
)
_PATHS = (
    "file_name",
    "file_names",
    "filename",
    "file_path",
    "filepath",
    "image_path",
    "img_path",
    "image_file",
    "image_name",
    "path",
    "file",
)
_URLS = ("url", "image_url", "img_url", "image_link", "uri", "src", "link")
#: Columns that hold the captions when no other does, if they read like texts.
_NEXT_BEST = ("title", "titles", "prompt", "comment", "summary", "phrase", "expression", "utterance")
#: Columns of texts that are not about the picture, whatever they read like.
_NOT_CAPTIONS = re.compile(
    r".*(author|artist|photographer|credit|licen[cs]e|copyright|attribution|source|provider|owner|user|name|address|"
    r"location|place|path|file|url|uri|link|domain|query|tag|categor|class|label|split|hash|exif|date|time|html|ocr|"
    r"error|status|context|title)s?.*",
    re.IGNORECASE,
)
_FETCH = "make a table of the addresses alone, or download them with img2dataset and read its output"
_WEB = re.compile(r"https?://", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """What a user may say about a table. Every field is a keyword of the table formats' `parts`.

    Attributes:
        image_column: column of the picture: encoded bytes, `{bytes, path}`, or a path.
        text_columns: columns of captions; `name=lang` gives a column's language.
        lang_column: column of the captions' language.
        group_column: column of the video or document a picture belongs to.
        time_column: column of the seconds or page inside the group.
        image_dir: folder that paths are relative to; that of the file unless given.
        allow_outside: read paths that lead out of that folder.
        lang: language of captions that do not say theirs; None to identify it.
        kind: kind of the captions; `human`, or `alt` where the rows have a web address.
        uids: a file of the rows that are wanted, by their column `uid`: DataComp's `.npy`, or a text with one a line.
        download: fetch the pictures of tables that give addresses instead of pictures.
        allow_private: hosts of private networks and of this machine may be asked.
        per_host: requests to one host at once.
    """

    image_column: str | None = None
    text_columns: Sequence[str] | None = None
    lang_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    image_dir: str | None = None
    allow_outside: bool = False
    lang: str | None = None
    kind: str | None = None
    uids: Annotated[str | None, Added(None)] = None
    download: Annotated[bool, Added(True)] = True
    allow_private: Annotated[bool, Added(False)] = False
    per_host: Annotated[int, Added(4)] = 4


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are; made by `pick_roles`, picklable.

    Attributes:
        image: column of the picture, or None when there are only addresses.
        url: column of web addresses, or None.
        texts: columns of captions, and what they are.
        lang: column of the language, or None.
        labels: class names of integer columns.
        folder: where paths are relative to.
        options: what the user said.
        others: columns that read like texts and are none of these, or, where there are no captions, all others.
        readable: the first of these holds words.
    """

    image: str | None
    url: str | None
    texts: list[tuple[str, Role]]
    lang: str | None
    folder: str
    options: Options
    labels: dict[str, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    readable: bool = True

    @property
    def given(self) -> Given:
        """What is known of the texts."""
        return given(self.options.lang, self.options.kind, web=(self.url or "").lower() in _URLS[:4])

    def pictures_of(self, row: Mapping[str, Any]) -> list[str]:
        """The files that a row names as its pictures."""
        value = row.get(self.image) if self.image is not None else None
        names = [v.get("path") if isinstance(v, dict) else v for v in (value if isinstance(value, list) else [value])]
        return [
            os.path.join(self.folder, name)
            for name in names
            if isinstance(name, str) and 0 < len(name) < 4096 and "\0" not in name and encodable(name)
        ]

    def unused(self, source: str) -> Iterator[Unused]:
        """Say which columns of the table at `source` were not read as captions though they may be."""
        if not self.others:
            return
        hint = f"name one that holds captions: --caption-column {shlex.quote(self.others[0])}" if self.readable else ""
        if self.texts or self.labels:
            yield Unused.of(source, "column{s} with texts", self.others, hint)
        else:
            yield Unused.of(source, "column{s} of a table that gave no captions", self.others, hint)


def pick_roles(
    columns: dict[str, str],
    path: str,
    options: Options,
    labels: dict[str, list[str]] | None = None,
    examples: Mapping[str, Sequence[Any]] | None = None,
) -> Roles:
    """Decide what the columns of a table are: by their names, and where these leave doubt by what they hold.

    Args:
        columns: name -> `bytes`, `text`, `image` (a struct of bytes and path), `other`.
        path: the file, for messages and paths.
        options: what the user said.
        labels: class names of integer columns.
        examples: some values of the columns that are not bytes.

    Raises:
        UserError: a named column is not there, or no column can be the picture.
    """
    labels, examples = labels or {}, examples or {}
    given(options.lang, options.kind)
    if options.uids:
        wanted(options.uids, "")  # a mistake in the file, before anything is read
    for option in ("image_column", "lang_column", "group_column", "time_column"):
        name = getattr(options, option)
        if name is not None and name not in columns:
            raise UserError(f"{path} has no column '{name}' ({option}).{did_you_mean(name, columns)}")
    image = options.image_column or image_column(columns, examples)
    url = _first(columns, _URLS, ("text",))
    if image is None and url is None:
        raise UserError(
            f"{path} has no column that can be the picture; name it: --option image_column=NAME. "
            f"Its columns: {', '.join(list(columns)[:30])}."
        )
    lang = options.lang_column or _first(columns, LANG_NAMES, ("text",))
    taken = {image, url, lang, options.group_column, options.time_column}
    others: list[str]
    if options.text_columns is not None:
        texts, others = _named_texts(columns, path, options.text_columns), []
    else:
        texts, others = _text_columns({n: k for n, k in columns.items() if n not in taken}, examples, bool(labels))
    folder = os.path.abspath(options.image_dir or _folder_of(path, examples.get(image or "", ())))
    kept = {name: names for name, names in labels.items() if name != image}
    readable = any(isinstance(value, str) for value in examples.get(others[0], ())) if others else True
    return Roles(image, url, texts, lang, folder, options, kept, others, readable)


def _folder_of(path: str, values: Sequence[Any]) -> str:
    """The folder that paths are relative to: the file's, or one in it where the first of them are (kohya)."""
    here = os.path.dirname(path) or "."
    flat = [one for value in values[:20] for one in (value if isinstance(value, list) else [value])]
    names = [one for one in flat if isinstance(one, str) and len(one) < 300 and suffix_of(one) in SUFFIXES]
    return find_named(here, names, above=False) if names else here


def _named_texts(columns: dict[str, str], path: str, wanted: Sequence[str]) -> list[tuple[str, Role]]:
    """The columns that the user named: `name` or `name=lang`."""
    texts = []
    for one in wanted:
        name, _, tag = (one, "", "") if one in columns else one.rpartition("=")
        if name not in columns:
            raise UserError(f"{path} has no column '{name or one}' (text_columns).{did_you_mean(one, columns)}")
        role = text_role(name) or pair_role(name, columns) or Role(bare_language(name))
        texts.append((name, role._replace(lang=given(tag, None).lang) if tag else role))
    return texts


def _text_columns(
    columns: dict[str, str], examples: Mapping[str, Sequence[Any]], labelled: bool
) -> tuple[list[tuple[str, Role]], list[str]]:
    """Columns of captions, and columns that may be some and are not taken."""
    found: dict[str, Role] = {}
    seen = {name: [v for v in examples.get(name, ()) if v not in (None, "")] for name in columns}
    reading = {name: [v for v in values if isinstance(v, str)] for name, values in seen.items()}
    for name, kind in columns.items():
        if kind == "bytes":
            continue
        role = text_role(name) or pair_role(name, columns)
        if role is None and any(is_talk(_listed(v) if isinstance(v, str) else v) for v in seen[name]):
            role = Role()
        if role is None and is_running_text(reading[name]):
            role = doubtful_role(name) or (Role(lang) if (lang := bare_language(name)) else None)
        if role is not None:
            found[name] = role
    if any(role.lang for role in found.values()):  # an empty column among languages is one of them
        for name in columns:
            if name not in found and not seen[name] and (lang := bare_language(name)) and len(name) != 3:
                found[name] = Role(lang)
    left = {name: texts for name, texts in reading.items() if name not in found and columns[name] != "bytes"}
    telling = [name for name, texts in left.items() if is_running_text(texts, 4) and not _NOT_CAPTIONS.match(name)]
    if found or labelled:
        return list(found.items()), telling
    by_name = {name.lower(): name for name in reversed(list(left)) if is_running_text(left[name])}
    best = next((by_name[name] for name in _NEXT_BEST if name in by_name), None)
    if best is None and len(telling) == 1:
        best = telling[0]
    if best is not None:
        return [(best, Role())], [name for name in telling if name != best]
    return [], telling or sorted(left, key=lambda name: not left[name])  # those with words first


def image_column(columns: dict[str, str], examples: Mapping[str, Sequence[Any]]) -> str | None:
    """Find the column of the picture, by its name, or by values that are names of pictures."""
    structs = [name for name, kind in columns.items() if kind == "image"]
    binary = [name for name, kind in columns.items() if kind == "bytes"]
    return (
        _first(columns, _IMAGES, ("image",))
        or (structs[0] if structs else None)
        or _first(columns, _IMAGES, ("bytes",))
        or (binary[0] if len(binary) == 1 else None)
        or _first(columns, _PATHS, ("text",))
        or _first(columns, _IMAGES, ("text",))
        or next((name for name, kind in columns.items() if kind == "text" and name.lower().endswith(_PATHS)), None)
        or next((name for name in _by_values(columns) if are_pictures(examples.get(name, ()))), None)
    )


def _by_values(columns: dict[str, str]) -> list[str]:
    """Columns that may be the picture's by what they hold: a caption may be the name of a file, beside an address."""
    address = _first(columns, _URLS, ("text",)) is not None
    return [name for name in columns if not (address and text_role(name))]


def are_pictures(values: Sequence[Any]) -> bool:
    """Say whether values are names of pictures."""
    names = [value for value in values if value not in (None, "")]
    return bool(names) and all(
        isinstance(name, str) and suffix_of(name.partition("#")[0]) in SUFFIXES and not _URL.match(name)
        for name in names
    )


def _first(columns: dict[str, str], names: Sequence[str], kinds: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(list(columns)) if columns[name] in kinds}
    return next((by_lower[name] for name in names if name in by_lower), None)


def samples(row: dict[str, Any], uri: str, roles: Roles) -> Iterator[Sample | Reject | Unused]:
    """Make the samples of a row: usually one; several when the picture column holds a list; none with a reject."""
    if roles.options.uids and not wanted(roles.options.uids, row.get("uid")):
        yield Unused(uri.rpartition("#")[0], "row{s} outside of the uids that were asked for", (uri,))
        return
    value = row.get(roles.image) if roles.image is not None else None
    if value is None or value == "":
        url = row.get(roles.url) if roles.url else None
        if isinstance(url, str) and url and roles.image is None and roles.options.download:
            value = url
        elif isinstance(url, str) and url:
            why = "the table has pictures" if roles.image is not None else "download=false"
            yield reject(uri, "remote_url", f"{url[:200]} is not fetched: {why}; {_FETCH}")
            return
        else:
            yield reject(uri, "no_image", f"nothing in column '{roles.image or roles.url}'")
            return
    values = value if isinstance(value, list) else [value]
    captions: list[Caption] | None = None
    for n, one in enumerate(values):
        place = uri if len(values) == 1 else f"{uri}/{n}"
        address = _address(one, roles)
        try:
            data = b"" if address else _data(one, roles)
        except RowError as error:
            yield reject(place, error.reason, error.message)
            continue
        if is_record(row) and not address:
            yield restore(row, data, place)
            continue
        if captions is None:
            captions = []
            for found in _captions(row, uri, roles):
                if isinstance(found, Caption):
                    captions.append(found)
                else:
                    yield found
            context, group, time = _around(row, roles)
        about = {**context, "url": address.url} if address else dict(context)
        if name := _named(one):
            about.setdefault("file", name)
        told = captions if len(values) == 1 else own_copies(captions)
        yield Sample(data, place, told, group=group, time=time, context=about, address=address)


def _address(value: Any, roles: Roles) -> Address | None:
    """The address that a cell holds instead of a picture, if addresses are fetched."""
    if isinstance(value, dict) and value.get("bytes") is None:
        value = value.get("path") or value.get("url") or value.get("src")
    if not roles.options.download or not isinstance(value, str) or not _WEB.match(value):
        return None
    return Address(value, roles.options.allow_private, roles.options.per_host)


def _named(value: Any) -> str:
    """The name that a cell gives its picture: people know it by that, not by the number of its row."""
    if isinstance(value, dict):
        value = value.get("path")
    return (
        value
        if isinstance(value, str) and 0 < len(value) < 1000 and not _URL.match(value) and suffix_of(value) in SUFFIXES
        else ""
    )


def _data(value: Any, roles: Roles) -> bytes:
    """The encoded bytes of a picture cell."""
    if isinstance(value, dict):
        inner = value.get("bytes")
        value = inner if inner is not None else value.get("path") or value.get("url")
    if isinstance(value, bytes | bytearray | memoryview):
        if len(value) > MAX_BYTES:
            raise RowError("too_many_bytes", f"{len(value):,} bytes, the limit is {MAX_BYTES:,}")
        return bytes(value)
    if not isinstance(value, str) or not value:
        raise RowError("no_image", f"nothing readable in column '{roles.image}'")
    if value[:64].lower().startswith("data:image/") or (len(value) > 200 and suffix_of(value) not in SUFFIXES):
        return _base64(value)
    if _URL.match(value):
        raise RowError("remote_url", f"{value[:200]} is not fetched; {_FETCH}")
    if not encodable(value):
        raise RowError("bad_encoding", "the path is not UTF-8")
    return read_named(roles.folder, value, outside=roles.options.allow_outside)


def _base64(value: str) -> bytes:
    try:
        return base64.b64decode(value.partition(",")[2] if value[:5].lower() == "data:" else value, validate=True)
    except (binascii.Error, ValueError):
        raise RowError("bad_base64", f"starts with {value[:40]!r}") from None


def _listed(text: str) -> Any:
    """A cell that writes a list of texts, as JSON or as Python does, as that list.

    >>> _listed('["Ein Hund", "A dog"]'), _listed("['a', 'b']"), _listed("[sic]")
    (['Ein Hund', 'A dog'], ['a', 'b'], '[sic]')
    """
    stripped = text.strip()
    if not (stripped[:1] == "[" and stripped[-1:] == "]" and len(stripped) < 2**16):
        return text
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(stripped)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list) and all(isinstance(item, str | dict) for item in value):
            return value
    return text


def _captions(row: dict[str, Any], uri: str, roles: Roles) -> Iterator[Caption | Reject | Unused]:
    said = row.get(roles.lang) if roles.lang else None
    if isinstance(said, str) and said.strip() and parse_language(said) is None:
        what = "value{s} of the column of languages (no such language; identified instead)"
        yield Unused(uri.rpartition("#")[0], what, (shown(said[:40]),))
    texts = roles.given
    for column, role in roles.texts:
        value = row.get(column)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "surrogateescape")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            yield reject(f"{uri}:{column}", "too_many_bytes", f"a text of {len(value):,} characters")
            continue
        if isinstance(value, str) and not encodable(value):
            yield reject(f"{uri}:{column}", "bad_encoding", f"not UTF-8: {value[:40]!a}")
            continue
        if isinstance(value, str):
            value = _listed(value)
        if value is None or value == "" or value != value:  # nothing, or pandas' nothing
            continue
        said_here = texts.said(said if isinstance(said, str) else None).of(role)
        found = from_json(value, said_here)[0]
        if not found and value not in ([], {}) and not (isinstance(value, str) and not value.strip()):
            yield Unused(uri.rpartition("#")[0], "cell{s} of caption columns without a text", (f"{uri}:{column}",))
        for caption in found:
            if encodable(caption.text):
                yield caption
            else:
                yield reject(f"{uri}:{column}", "bad_encoding", f"not UTF-8: {ascii(caption.text)[:60]}")
    for column, names in roles.labels.items():
        number = row.get(column)
        if isinstance(number, int) and 0 <= number < len(names):
            yield Caption(names[number], lang=texts.lang or "und", kind="label", recipe="human")


def _around(row: dict[str, Any], roles: Roles) -> tuple[dict[str, Any], str | None, float | None]:
    """The context, group and time of a row."""
    known = {roles.image, roles.lang, *(name for name, _ in roles.texts)}
    context = clean_context({name: value for name, value in row.items() if name not in known and value != ""})
    group = row.get(roles.options.group_column) if roles.options.group_column else None
    time = row.get(roles.options.time_column) if roles.options.time_column else None
    try:
        seconds = float(time) if time not in (None, "") else None
    except (TypeError, ValueError):
        seconds = None
    return context, None if group in (None, "") else str(group), seconds
