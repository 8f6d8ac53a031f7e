"""What img2dataset wrote, in its tar, Parquet or files flavour; rows that it could not download are rejects."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats import parquet, webdataset
from panoglot.formats._files import join_uri, part_key, read_bytes, reject
from panoglot.formats._names import text_role
from panoglot.formats._rows import Options, Roles, samples
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import given, load_json
from panoglot.identity import counted
from panoglot.table import Reject

__all__ = ["detect", "parts", "read"]

_STATS = re.compile(r"(\d+)_stats\.json")
_PICTURES = ("jpg", "png", "webp")


def detect(source: str) -> bool:
    """A folder with `00000_stats.json`."""
    return os.path.isdir(source) and any(_STATS.fullmatch(name) for name in os.listdir(source))


def parts(
    source: str, *, lang: str | None = None, kind: str | None = None, verify_hash: bool = False
) -> Iterator[Part]:
    """List shards: one part each.

    Args:
        source: the output folder of img2dataset.
        lang: language of the captions; None to identify it.
        kind: kind of the captions; `alt` unless given.
        verify_hash: reject pictures whose `sha256` is not that of their bytes. img2dataset hashes what it downloaded,
            so this fits only pictures that it did not resize or encode again; a hash that fits is noted in any case.
    """
    given(lang, kind, web=True)
    if not os.path.isdir(source):
        raise UserError(f"'{source}' is no folder; img2dataset writes one.")
    for name in sorted(os.listdir(source)):
        match = _STATS.fullmatch(name)
        if match is None:
            continue
        base = os.path.join(source, match[1])
        flavour = next((f for f in (".tar", "", ".parquet") if _is_there(base, f)), None)
        if flavour is None:
            if os.path.exists(base + ".tfrecord"):
                raise UserError(
                    f"{base}.tfrecord: TFRecord is not read; run img2dataset with output_format webdataset."
                )
            flavour = ".tar"  # gone: `read` says so
        count = None
        with suppress(RowError, TypeError, AttributeError):
            count = load_json(read_bytes(os.path.join(source, name), 2**20)).get("count")
        options = {"lang": lang, "kind": kind, "verify_hash": verify_hash}
        key = part_key("img2dataset", base + flavour, part_key("", base + ".parquet"), counted(parts, options))
        items = {"base": os.path.abspath(base), "flavour": flavour, **options}
        yield Part("img2dataset", join_uri(base + flavour), key, items, count if isinstance(count, int) else None)


def _is_there(base: str, flavour: str) -> bool:
    return os.path.isfile(base + flavour) if flavour else os.path.isdir(base)


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read a shard: its pictures, and a reject for every row that has none."""
    items = part.items
    flavour = items["flavour"]
    stated: dict[str, tuple[str, str]] = {}
    table = items["base"] + ".parquet"
    if flavour != ".parquet" and os.path.isfile(table):
        try:
            stated = _statuses(table)
        except Exception as error:
            shown = os.path.splitext(part.uri)[0] if flavour else part.uri
            yield reject(f"{shown}.parquet", "bad_archive", f"{type(error).__name__}: {error}; failures are unknown")
    if flavour == ".tar":
        found = webdataset.read_shard(items["base"] + ".tar", part.uri, given(items["lang"], items["kind"], web=True))
    elif flavour == ".parquet":
        found = _table_rows(table, part.uri, items)
    else:
        found = _folder_rows(items["base"], part.uri, items, stated)
    seen = set()
    for one in found:
        if isinstance(one, Sample):
            seen.add(str(one.context.get("key")))
            problem = _check_hash(one, items["verify_hash"])
            yield reject(one.uri, "hash_mismatch", problem) if problem else one
        elif isinstance(one, Unused):
            yield one
        else:
            seen.add(one.item.rpartition("#")[2].partition(".")[0])
            yield one
    for key, (status, message) in stated.items():
        if status != "success":
            yield reject(f"{part.uri}#{key}", status, message)
        elif key not in seen:
            yield reject(
                f"{part.uri}#{key}", "missing_file", "its row says success, but the picture is not in the shard"
            )


def _statuses(path: str) -> dict[str, tuple[str, str]]:
    import pyarrow.parquet as pq

    rows = pq.read_table(path, columns=["key", "status", "error_message"]).to_pylist()
    return {str(row["key"]): (_status(row["status"]), str(row["error_message"] or "")) for row in rows}


def _status(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[a-z][a-z_]{0,40}", value) else "failed_to_download"


def _check_hash(sample: Sample, verify: bool) -> str:
    """Note whether the stated SHA-256 is that of the bytes; say what is wrong if it must be."""
    stated = sample.context.get("sha256")
    if not isinstance(stated, str):
        return ""
    fits = hashlib.sha256(sample.data).hexdigest() == stated.lower()
    sample.context["sha256_verified"] = fits
    return "" if fits or not verify else f"the row says {stated[:64]}"


def _roles(names: list[str], folder: str, items: dict[str, Any], image: str) -> Roles:
    texts = [(n, role) for n in names if n != "txt" and (role := text_role(n))]
    lang = next((n for n in names if n.lower() in ("lang", "language")), None)
    return Roles(image, "url", texts, lang, folder, Options(lang=items["lang"], kind=items["kind"]))


def _table_rows(path: str, uri: str, items: dict[str, Any]) -> Iterator[Sample | Reject | Unused]:
    """The Parquet flavour: a row with its picture in the column named by its format."""
    row = "0"
    try:
        file = parquet.open_file(path)
        names = list(file.schema_arrow.names)
        image = next((n for n in _PICTURES if n in names), None)
        if image is None:
            yield reject(
                uri, "no_image", f"no column {', '.join(_PICTURES)}; was img2dataset run with output_format dummy?"
            )
            return
        roles = _roles(names, os.path.dirname(path), items, image)
        for group in range(file.num_row_groups):
            for values in parquet.rows_within_limits(file, path, group, image):
                if isinstance(values, RowError):
                    yield reject(f"{uri}#{row}-:{values.reason}", "bad_column", values.message)
                    continue
                row = str(values.get("key"))
                place = f"{uri}#{row}"
                if values.get("status") != "success":
                    yield reject(place, _status(values.get("status")), str(values.get("error_message") or ""))
                else:
                    yield from samples(values, place, roles)
    except RowError as error:
        yield reject(uri, error.reason, error.message)
    except Exception as error:
        yield reject(uri, "bad_archive", f"{type(error).__name__}: {error}; read up to {row}")


def _folder_rows(
    folder: str, uri: str, items: dict[str, Any], stated: dict[str, tuple[str, str]]
) -> Iterator[Sample | Reject | Unused]:
    """The files flavour: `key.jpg` and `key.json` in a folder."""
    for name in sorted(os.listdir(folder)):
        key, _, suffix = name.rpartition(".")
        if suffix not in _PICTURES:
            continue
        try:
            data = read_bytes(os.path.join(folder, name))
            value = load_json(read_bytes(os.path.join(folder, key + ".json"), 2**20))
            row = value if isinstance(value, dict) else {}
        except RowError as error:
            yield reject(f"{uri}#{name}", error.reason, error.message)
            continue
        yield from samples({**row, "key": key, suffix: data}, f"{uri}#{name}", _roles(list(row), folder, items, suffix))
