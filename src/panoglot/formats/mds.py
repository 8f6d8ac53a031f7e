"""MosaicML's MDS shards (`index.json` and `shard.00000.mds`), read without the package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats._files import inside, join_uri, part_key, read_bytes, reject
from panoglot.formats._rows import Options, Roles, pick_roles, samples
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import load_json
from panoglot.table import Reject

__all__ = ["detect", "parts", "read"]

_BYTES = ("bytes", "jpeg", "png")
_NUMBERS = {
    "int": "<i8",
    "int8": "<i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "uint8": "<u1",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
}
_MOST = 2**31


def detect(source: str) -> bool:
    """A folder whose `index.json` names MDS shards, or that file."""
    path = _index(source)
    if not os.path.isfile(path) or os.path.basename(path) != "index.json":
        return False
    try:
        return b'"mds"' in read_bytes(path, 2**28)
    except RowError:
        return False


def _index(source: str) -> str:
    return os.path.join(source, "index.json") if os.path.isdir(source) else source


def parts(source: str, **options: Any) -> Iterator[Part]:
    """List shards: one part each.

    Args:
        source: the folder with `index.json`, or that file.
        **options: see `Options`.
    """
    chosen = Options(**options)
    path = _index(source)
    try:
        index = load_json(read_bytes(path, 2**28))
        shards = [dict(shard) for shard in index["shards"]]
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error.message}.") from None
    except (TypeError, KeyError, ValueError):
        raise UserError(f"{path} is no index of MDS shards: it has no list 'shards'.") from None
    if not all(map(_sound, shards)):
        raise UserError(f"{path} is no index of MDS shards: a shard of it lacks its file or its columns.")
    for shard in shards:
        raw, packed = shard.get("raw_data") or {}, shard.get("zip_data") or {}
        name = str((packed if shard.get("compression") else raw).get("basename") or "")
        file = os.path.join(os.path.dirname(path), name)
        columns = dict(zip(shard.get("column_names") or (), shard.get("column_encodings") or (), strict=False))
        kinds = {str(column): _kind(str(encoding)) for column, encoding in columns.items()}
        items = {
            "folder": os.path.abspath(os.path.dirname(path)),
            "name": name,
            "columns": {str(column): str(encoding) for column, encoding in columns.items()},
            "sizes": list(shard.get("column_sizes") or ()),
            "compression": shard.get("compression"),
            "roles": pick_roles(kinds, path, chosen),
        }
        count = shard.get("samples")
        key = part_key("mds", file, chosen)
        yield Part("mds", join_uri(file), key, items, count if isinstance(count, int) else None)


def _sound(shard: dict[str, Any]) -> bool:
    """Whether what a shard says of itself is of the types that are read."""
    for name in ("raw_data", "zip_data"):
        about = shard.get(name) or {}
        if not isinstance(about, dict) or not isinstance(about.get("basename") or "", str):
            return False
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in about.get("basename") or ""):
            return False
    return all(isinstance(shard.get(f"column_{name}") or [], list) for name in ("names", "encodings", "sizes"))


def _kind(encoding: str) -> str:
    if encoding in _BYTES or encoding in ("list[jpeg]", "list[png]"):
        return "bytes"
    return "text" if encoding in ("str", "json") else "other"


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read a shard: a count, offsets, what the columns are, and the samples one after the other."""
    items, roles = part.items, part.items["roles"]
    assert isinstance(roles, Roles)
    yield from roles.unused(part.uri)
    unread = [name for name, encoding in items["columns"].items() if _decoder(encoding) is None]
    if unread:
        yield Unused.of(
            part.uri, "column{s} of a kind that is not read", [f"{n} ({items['columns'][n]})" for n in unread]
        )
    row = 0
    try:
        data = _unpacked(read_bytes(inside(items["folder"], items["name"]), _MOST), items["compression"])
        for row, sample in enumerate(_samples(data)):
            try:
                values = _values(sample, items["columns"], items["sizes"])
            except (ValueError, IndexError, RowError) as error:
                yield reject(f"{part.uri}#{row}", "bad_row", str(error))
                continue
            yield from samples(values, f"{part.uri}#{row}", roles)
    except RowError as error:
        yield reject(part.uri, error.reason, error.message)
    except ValueError as error:
        yield reject(f"{part.uri}#{row}-", "truncated_archive", f"{error}; what came before is read")


def _unpacked(data: bytes, compression: Any) -> bytes:
    if not compression:
        return data
    import pyarrow as pa

    name = str(compression).partition(":")[0]
    if name not in ("zstd", "gz", "bz2", "br"):
        raise RowError(
            "unsupported_format", f"the compression '{name}' is not read; write the shards with zstd or none"
        )
    codec = {"gz": "gzip", "br": "brotli"}.get(name, name)
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
            plain: bytes = stream.read(_MOST + 1)
    except OSError as error:
        raise RowError("bad_archive", str(error)) from None
    if len(plain) > _MOST:
        raise RowError("too_many_bytes", f"unpacked it is larger than {_MOST:,} bytes")
    return plain


def _samples(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    count = _number(view, 0)
    if 4 * (count + 2) > len(view):
        raise ValueError(f"{count:,} samples are announced in {len(view):,} bytes")
    for n in range(count):
        start, end = _number(view, 4 + 4 * n), _number(view, 8 + 4 * n)
        if not 4 * (count + 2) <= start <= end <= len(view):
            raise ValueError(f"sample {n} lies outside of the file")
        yield view[start:end]


def _number(view: memoryview, at: int) -> int:
    if at + 4 > len(view):
        raise ValueError("the file ends too early")
    return int.from_bytes(view[at : at + 4], "little")


def _values(sample: memoryview, columns: dict[str, str], fixed: list[Any]) -> dict[str, Any]:
    """A sample: the sizes of the columns that have none of their own, then the columns."""
    sizes = [fixed[n] if n < len(fixed) else None for n in range(len(columns))]
    at = 0
    for n, size in enumerate(sizes):
        if size is None:
            sizes[n] = _number(sample, at)
            at += 4
    found = {}
    for (name, encoding), size in zip(columns.items(), sizes, strict=True):
        if not isinstance(size, int) or size < 0 or at + size > len(sample):
            raise ValueError(f"the column '{name}' is longer than its sample")
        decode = _decoder(encoding)
        if decode is not None:
            found[name] = decode(bytes(sample[at : at + size]))
        at += size
    return found


def _decoder(encoding: str) -> Any:
    """What reads a column; None for kinds that are not read: arrays, and what could run code."""
    if encoding in _BYTES:
        return bytes
    if encoding == "str":
        return lambda raw: raw.decode("utf-8", "surrogateescape")
    if encoding == "json":
        return load_json
    if encoding in _NUMBERS:
        return lambda raw: _plain_number(raw, _NUMBERS[encoding])
    return _listed if encoding in ("list[jpeg]", "list[png]") else None


def _plain_number(raw: bytes, kind: str) -> Any:
    import numpy as np

    return np.frombuffer(raw, kind, count=1)[0].item()


def _listed(raw: bytes) -> list[bytes]:
    """Pictures of a row: their number, their sizes, their bytes."""
    view = memoryview(raw)
    count, at = _number(view, 0), 4
    sizes = [_number(view, at + 4 * n) for n in range(min(count, len(raw) // 4))]
    at += 4 * count
    found = []
    for size in sizes:
        if at + size > len(raw):
            raise ValueError("a list of pictures is longer than its sample")
        found.append(raw[at : at + size])
        at += size
    return found
