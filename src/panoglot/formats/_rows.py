"""Rows of a table (Parquet, Arrow, CSV, TSV, JSONL): which column is what, and a row as samples."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.formats._checked import encodable
from panoglot.formats._decoder import MAX_BYTES
from panoglot.formats._files import MAX_TEXT, inside, read_bytes, reject, suffix_of
from panoglot.formats._record import is_record, restore
from panoglot.formats._sample import Sample
from panoglot.formats._texts import Given, clean_context, from_json, given, text_role
from panoglot.pictures import SUFFIXES
from panoglot.table import Caption, Reject

__all__ = ["Options", "Roles", "pick_roles", "samples"]

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
_PATHS = ("file_name", "filename", "file_path", "filepath", "image_path", "img_path", "image_file", "path", "file")
_URLS = ("url", "image_url", "img_url", "image_link", "uri", "src", "link")
_LANGS = ("lang", "language", "lang_code", "language_code", "locale")
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


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are; made by `pick_roles`, picklable.

    Attributes:
        image: column of the picture, or None when there are only addresses.
        url: column of web addresses, or None.
        texts: (column, language or None, is alt text).
        lang: column of the language, or None.
        labels: class names of integer columns.
        folder: where paths are relative to.
        options: what the user said.
    """

    image: str | None
    url: str | None
    texts: list[tuple[str, str | None, bool]]
    lang: str | None
    folder: str
    options: Options
    labels: dict[str, list[str]] = field(default_factory=dict)

    @property
    def given(self) -> Given:
        """What is known of the texts."""
        return given(self.options.lang, self.options.kind, web=(self.url or "").lower() in _URLS[:4])


def pick_roles(
    columns: dict[str, str], path: str, options: Options, labels: dict[str, list[str]] | None = None
) -> Roles:
    """Decide what the columns of a table are.

    Args:
        columns: name -> `bytes`, `text`, `image` (a struct of bytes and path), `other`.
        path: the file, for messages and paths.
        options: what the user said.
        labels: class names of integer columns.

    Raises:
        UserError: a named column is not there, or no column can be the picture.
    """
    labels = labels or {}
    given(options.lang, options.kind)
    for option in ("image_column", "lang_column", "group_column", "time_column"):
        name = getattr(options, option)
        if name is not None and name not in columns:
            raise UserError(f"{path} has no column '{name}' ({option}).{did_you_mean(name, columns)}")
    texts: list[tuple[str, str | None, bool]] = []
    for wanted in options.text_columns if options.text_columns is not None else ():
        name, _, tag = (wanted, "", "") if wanted in columns else wanted.rpartition("=")
        if name not in columns:
            raise UserError(f"{path} has no column '{name or wanted}' (text_columns).{did_you_mean(wanted, columns)}")
        lang = given(tag, None).lang if tag else (text_role(name) or (None,))[0]
        texts.append((name, lang, bool((text_role(name) or (None, False))[1])))
    if options.text_columns is None:
        roles = {name: text_role(name) for name, kind in columns.items() if kind != "bytes"}
        texts = [(name, *role) for name, role in roles.items() if role]
    image = options.image_column or _image_column(columns)
    url = _first(columns, _URLS, ("text",))
    if image is None and url is None:
        raise UserError(
            f"{path} has no column that can be the picture; name it with image_column. "
            f"Its columns: {', '.join(list(columns)[:30])}."
        )
    folder = os.path.abspath(options.image_dir or os.path.dirname(path) or ".")
    return Roles(
        image,
        url,
        texts,
        options.lang_column or _first(columns, _LANGS, ("text",)),
        folder,
        options,
        {name: names for name, names in labels.items() if name != image},
    )


def _image_column(columns: dict[str, str]) -> str | None:
    structs = [name for name, kind in columns.items() if kind == "image"]
    binary = [name for name, kind in columns.items() if kind == "bytes"]
    return (
        _first(columns, _IMAGES, ("image",))
        or (structs[0] if structs else None)
        or _first(columns, _IMAGES, ("bytes",))
        or (binary[0] if len(binary) == 1 else None)
        or _first(columns, _PATHS, ("text",))
        or _first(columns, _IMAGES, ("text",))
    )


def _first(columns: dict[str, str], names: Sequence[str], kinds: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(list(columns)) if columns[name] in kinds}
    return next((by_lower[name] for name in names if name in by_lower), None)


def samples(row: dict[str, Any], uri: str, roles: Roles) -> Iterator[Sample | Reject]:
    """Make the samples of a row: usually one; several when the picture column holds a list; none with a reject."""
    value = row.get(roles.image) if roles.image is not None else None
    if value is None or value == "":
        url = row.get(roles.url) if roles.url else None
        if isinstance(url, str) and url:
            yield reject(
                uri, "remote_url", f"{url[:200]} is not fetched; download it with img2dataset and read its output"
            )
        else:
            yield reject(uri, "no_image", f"nothing in column '{roles.image}'")
        return
    values = value if isinstance(value, list) else [value]
    captions: list[Caption] | None = None
    for n, one in enumerate(values):
        place = uri if len(values) == 1 else f"{uri}/{n}"
        try:
            data = _data(one, roles)
        except RowError as error:
            yield reject(place, error.reason, error.message)
            continue
        if is_record(row):
            yield restore(row, data, place)
            continue
        if captions is None:
            captions = []
            for found in _captions(row, uri, roles):
                if isinstance(found, Reject):
                    yield found
                else:
                    captions.append(found)
            context, group, time = _around(row, roles)
        yield Sample(data, place, list(captions), group=group, time=time, context=dict(context))


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
        raise RowError("remote_url", f"{value[:200]} is not fetched; download it with img2dataset and read its output")
    if not encodable(value):
        raise RowError("bad_encoding", "the path is not UTF-8")
    if roles.options.allow_outside:
        return read_bytes(os.path.join(roles.folder, value))
    return read_bytes(inside(roles.folder, value))


def _base64(value: str) -> bytes:
    try:
        return base64.b64decode(value.partition(",")[2] if value[:5].lower() == "data:" else value, validate=True)
    except (binascii.Error, ValueError):
        raise RowError("bad_base64", f"starts with {value[:40]!r}") from None


def _captions(row: dict[str, Any], uri: str, roles: Roles) -> Iterator[Caption | Reject]:
    said = row.get(roles.lang) if roles.lang else None
    texts = roles.given
    for column, lang, alt in roles.texts:
        value = row.get(column)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "surrogateescape")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            yield reject(f"{uri}:{column}", "too_many_bytes", f"a text of {len(value):,} characters")
            continue
        if isinstance(value, str) and not encodable(value):
            yield reject(f"{uri}:{column}", "bad_encoding", f"not UTF-8: {value[:40]!a}")
            continue
        if not isinstance(value, str | list | dict):
            continue
        yield from from_json(value, texts.said(said if isinstance(said, str) else None).said(lang).web(alt))[0]
    for column, names in roles.labels.items():
        number = row.get(column)
        if isinstance(number, int) and 0 <= number < len(names):
            yield Caption(names[number], lang=texts.lang or "und", kind="label", recipe="human")


def _around(row: dict[str, Any], roles: Roles) -> tuple[dict[str, Any], str | None, float | None]:
    """The context, group and time of a row."""
    known = {roles.image, roles.lang, *(name for name, _, _ in roles.texts)}
    context = clean_context({name: value for name, value in row.items() if name not in known and value != ""})
    group = row.get(roles.options.group_column) if roles.options.group_column else None
    time = row.get(roles.options.time_column) if roles.options.time_column else None
    try:
        seconds = float(time) if time not in (None, "") else None
    except (TypeError, ValueError):
        seconds = None
    return context, None if group in (None, "") else str(group), seconds
