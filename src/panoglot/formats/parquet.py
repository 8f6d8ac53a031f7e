"""Parquet with pictures in a column (bytes, or `{bytes, path}` as Hugging Face writes) or paths to them. Both ways."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.formats._files import find_files, has_pictures, join_uri, part_key, reject, states_of
from panoglot.formats._parquet_limits import columns_of
from panoglot.formats._parquet_rows import batches_of, open_file, rows_of, rows_within_limits
from panoglot.formats._record import flat, flat_facts, name_of
from panoglot.formats._rows import Options, Roles, pick_roles, samples
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._spans import Span, joined
from panoglot.table import Reject, no_collection

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "Writer",
    "class_names",
    "column_kinds",
    "detect",
    "examples_of",
    "export_schema",
    "open_file",
    "parts",
    "pictures_named",
    "read",
    "rows_of",
    "rows_within_limits",
    "to_arrow",
]

_SUFFIXES = (".parquet", ".pq", ".parq")
_BATCH_BYTES = 32 * 2**20


def detect(source: str) -> bool:
    """A Parquet file, a pattern of them, or a folder with some (as in a repository of Hugging Face)."""
    if not os.path.isdir(source):
        return source.lower().endswith(_SUFFIXES)
    if has_pictures(source):
        return False
    here = [source, *(os.path.join(source, name) for name in sorted(os.listdir(source))[:1000])]
    return any(
        name.lower().endswith(_SUFFIXES) for folder in here if os.path.isdir(folder) for name in os.listdir(folder)
    )


def parts(source: str, **options: Any) -> Iterator[Part]:
    """List row groups: one part each.

    Args:
        source: a file, a folder (recursive), a glob or a brace range.
        **options: see `Options`.
    """
    chosen = Options(**options)
    for path in find_files(source, lambda name: name.lower().endswith(_SUFFIXES), "Parquet files"):
        uri = join_uri(path)
        items: dict[str, Any] = {"path": os.path.abspath(path), "options": asdict(chosen)}
        try:
            file = open_file(path)
            groups = [(file.metadata.row_group(n).num_rows, n) for n in range(file.num_row_groups)]
            kinds, labels = column_kinds(file.schema_arrow), class_names(file.schema_arrow)
            examples = _first_values(file, path, kinds)
        except Exception:  # said once, by `read`
            yield Part("parquet", uri, part_key("parquet", path), {**items, "group": None})
            continue
        items["roles"] = pick_roles(kinds, path, chosen, labels, examples)  # mistakes, before anything is read
        first = 0
        for count, n in groups:
            files = _files_named(file, path, items["roles"], [n]) if kinds.get(items["roles"].image) == "text" else ()
            key = part_key("parquet", path, chosen, n, *([states_of(files)] if files else []))
            yield Part("parquet", uri, key, {**items, "group": n, "first": first}, count)
            first += count


def _first_values(file: pq.ParquetFile, path: str, kinds: dict[str, str]) -> dict[str, list[Any]]:
    """The first values of the columns that hold no pictures; what cannot be read within limits has none."""
    found: dict[str, list[Any]] = {}
    for column in columns_of(path, file, 0) if file.num_row_groups else ():
        if column.problem or kinds.get(column.name) in ("bytes", "image"):
            continue
        with suppress(Exception):
            batch = next(batches_of(file, 0, [column.name], column.value, 100), None)
            if batch is not None:
                found.update(examples_of(batch))
    return found


def examples_of(batch: pa.RecordBatch, most: int = 100) -> dict[str, list[Any]]:
    """Some values of every column, as `pick_roles` wants them."""
    rows = list(rows_of(batch.slice(0, most), set()))
    return {name: [_short(row.get(name)) for row in rows] for name in batch.schema.names}


def _short(value: Any) -> Any:
    return value[:65_536] if isinstance(value, str) else value


def pictures_named(path: str, options: Options) -> set[str]:
    """The files (real paths) that the rows of a file name as their pictures."""
    found: set[str] = set()
    with suppress(Exception):  # a broken file is said by `read`
        file = open_file(path)
        roles = pick_roles(column_kinds(file.schema_arrow), path, options)
        if column_kinds(file.schema_arrow).get(roles.image or "") == "text":
            found = {os.path.realpath(name) for name in _files_named(file, path, roles, range(file.num_row_groups))}
    return found


def _files_named(file: pq.ParquetFile, path: str, roles: Roles, groups: Sequence[int]) -> list[str]:
    """The files that the rows of row groups name as their pictures."""
    found: list[str] = []
    with suppress(Exception):  # `read` says what is wrong
        for group in groups:
            column = next(one for one in columns_of(path, file, group) if one.name == roles.image)
            if column.problem:
                return []
            for batch in batches_of(file, group, [column.name], column.value, 4096):
                found += [name for row in rows_of(batch) for name in roles.pictures_of(row)]
        return found
    return []


def column_kinds(schema: pa.Schema) -> dict[str, str]:
    """Name the kinds of columns as `pick_roles` knows them."""
    import pyarrow as pa

    def kind(one: pa.DataType, depth: int = 0) -> str:
        if pa.types.is_list(one) or pa.types.is_large_list(one):
            inner = kind(one.value_type, depth + 1) if depth < 8 else "other"
            return inner if inner in ("image", "bytes", "text") else "other"
        if pa.types.is_struct(one) and any(one.field(n).name == "bytes" for n in range(one.num_fields)):
            return "image"
        if pa.types.is_binary(one) or pa.types.is_large_binary(one) or pa.types.is_binary_view(one):
            return "bytes"
        if pa.types.is_dictionary(one):
            return kind(one.value_type)
        is_text = pa.types.is_string(one) or pa.types.is_large_string(one) or pa.types.is_string_view(one)
        return "text" if is_text else "other"

    return {field.name: kind(field.type) for field in schema}


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes of integer columns, from the features that Hugging Face stores in the schema."""
    features: Any = {}
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    found = {}
    for name, feature in features.items() if isinstance(features, dict) else ():
        if (
            isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and isinstance(feature.get("names"), list)
        ):
            found[name] = [str(label) for label in feature["names"][:100_000]]
    return found


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read a row group in batches of about 32 MB; a column that cannot be read costs itself, not its rows."""
    items = part.items
    uri, row = part.uri, items.get("first", 0)
    end = row + (part.count or 0)
    try:
        file = open_file(items["path"])
        if items["group"] is None:
            raise UserError("the file changed while it was read")
        roles: Roles = items["roles"]
        if row == 0:
            yield from roles.unused(uri)
        for found in rows_within_limits(file, items["path"], items["group"], roles.image or roles.url or ""):
            if isinstance(found, RowError):
                yield reject(f"{uri}#{row}-{end - 1}:{found.reason}", "bad_column", found.message)
                continue
            yield from samples(found, f"{uri}#{row}", roles)
            row += 1
    except RowError as error:
        yield reject(uri, error.reason, error.message)
    except UserError:
        raise
    except Exception as error:
        lost = f"{uri}#{row}-{end - 1}" if end > row else uri
        yield reject(lost, "bad_archive", f"{type(error).__name__}: {error}; the rows before are read")


def export_schema() -> pa.Schema:
    """Arrow schema of our rows, with the features that make Hugging Face `datasets` show the pictures."""
    import pyarrow as pa

    text, real, whole = pa.string(), pa.float64(), pa.int32()
    region = pa.struct([("x0", real), ("y0", real), ("x1", real), ("y1", real), ("mask", text), ("other", text)])
    caption = [(name, text) for name in ("caption_id", "text", "lang", "kind", "recipe", "model")]
    caption += [("parents", pa.list_(text)), ("region", region)]
    caption += [("scores", pa.list_(pa.struct([("name", text), ("value", real)]))), ("dropped", text)]
    columns = {
        "image": pa.struct([("bytes", pa.binary()), ("path", text)]),
        **dict.fromkeys(("image_id", "caption", "lang"), text),
        "captions": pa.list_(pa.struct(caption)),
        **{"width": whole, "height": whole, "format": text, "uri": text, "group": text, "time": real, "context": text},
        "converted": text,
    }
    features = {name: {"_type": "Image"} if name == "image" else _feature(kind) for name, kind in columns.items()}
    stated = json.dumps({"info": {"features": features}})
    return pa.schema(list(columns.items()), metadata={"huggingface": stated, "panoglot": "1"})


def _feature(kind: pa.DataType) -> Any:
    import pyarrow as pa

    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {kind.field(n).name: _feature(kind.field(n).type) for n in range(kind.num_fields)}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def to_arrow(rows: list[dict[str, Any]]) -> pa.Table:
    """Make a table of records that have their picture in `image`."""
    import numpy as np
    import pyarrow as pa

    schema = export_schema()
    # pictures joined at once: a builder that grows as they come fills several times their memory with zeros
    pictures = [row["image"]["bytes"] for row in rows]
    ends = np.cumsum([0, *map(len, pictures)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(pictures))]
    paths = pa.array([row["image"]["path"] for row in rows], pa.string())
    kind = schema.field("image").type
    images = pa.StructArray.from_arrays(
        [pa.Array.from_buffers(pa.binary(), len(rows), buffers), paths], fields=[kind.field(0), kind.field(1)]
    )
    spans = [row["captions"] for row in rows]
    as_spans = bool(spans) and all(isinstance(one, Span) for one in spans)
    done = ["image", "captions"] if as_spans else ["image"]
    with no_collection():
        rest = pa.schema([field for field in schema if field.name not in done])
        others = pa.Table.from_pylist([(flat_facts if as_spans else flat)(row) for row in rows], schema=rest)
    columns = {"image": images, **{name: others[name] for name in rest.names}}
    if as_spans:
        columns["captions"] = joined(spans, schema.field("captions").type)
    return pa.table([columns[name] for name in schema.names], schema=schema)


class Writer:
    """Write `00000.parquet`, …: a row an image, its picture as `{bytes, path}`, all captions in a list of structs."""

    ARROW = True

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder, self.shard_size = folder, shard_size
        self.counts: dict[str, int] = {}
        self._file: Any = None
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture with its record."""
        name = f"{len(self.counts) - 1:05d}.parquet"
        if self._file is None or self.counts[name] >= self.shard_size:
            self._close_shard()
            name = f"{len(self.counts):05d}.parquet"
            self._file = self._start(self.folder / name)
            self.counts[name] = 0
        self._rows.append({**record, "image": {"bytes": data, "path": name_of(record) + suffix}})
        self._bytes += len(data)
        self.counts[name] += 1
        if len(self._rows) >= 1000 or self._bytes >= _BATCH_BYTES:
            self._flush()
        return None

    def _start(self, path: Path) -> Any:
        import pyarrow.parquet as pq

        # pictures are compressed already and never repeat
        repeating = [
            "lang",
            "format",
            *(f"captions.list.element.{name}" for name in ("lang", "kind", "recipe", "model")),
        ]
        return pq.ParquetWriter(path, export_schema(), compression="zstd", use_dictionary=repeating)

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(to_arrow(self._rows))
            self._rows, self._bytes = [], 0

    def _close_shard(self) -> None:
        if self._file is not None:
            self._flush()
            self._file.close()
            self._file = None

    def close(self) -> dict[str, Any]:
        """Finish."""
        self._close_shard()
        return {"shards": self.counts}
