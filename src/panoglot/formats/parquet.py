"""Parquet with pictures in a column (bytes, or `{bytes, path}` as Hugging Face writes) or paths to them. Both ways."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.formats._files import check_regular, find_files, has_pictures, join_uri, part_key, reject
from panoglot.formats._parquet_limits import columns_of, without_stored_schema
from panoglot.formats._record import flat
from panoglot.formats._rows import Options, pick_roles, samples
from panoglot.formats._sample import Part, Sample
from panoglot.table import Reject

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["Writer", "class_names", "column_kinds", "detect", "export_schema", "open_file", "parts", "read", "to_arrow"]

_SUFFIXES = (".parquet", ".pq", ".parq")
_BATCH_BYTES = 32 * 2**20
_MOST_DECODED = 2 * 2**30  # most bytes of a column in a row group, beside 20 times what the file holds


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
            kinds = column_kinds(file.schema_arrow)
        except Exception:  # said once, by `read`
            yield Part("parquet", uri, part_key("parquet", path), {**items, "group": None})
            continue
        pick_roles(kinds, path, chosen)  # the user's mistakes, before anything is read
        first = 0
        for count, n in groups:
            key = part_key("parquet", path, asdict(chosen), n)
            yield Part("parquet", uri, key, {**items, "group": n, "first": first}, count)
            first += count


def open_file(path: str) -> pq.ParquetFile:
    """Open a Parquet file so that reading it needs memory for a batch, and its metadata cannot claim gigabytes.

    Raises:
        RowError: `missing_file`, `not_a_file`, `unreadable`.
        OSError, pyarrow.ArrowException: no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_regular(path)
    # a buffer instead of whole column chunks: memory is a batch, not a row group
    options: dict[str, Any] = {
        "memory_map": False,
        "buffer_size": 2**20,
        "pre_buffer": False,
        "thrift_string_size_limit": 64 * 2**20,
        "thrift_container_size_limit": 16 * 2**20,
    }
    try:
        return pq.ParquetFile(path, **options)
    except (OSError, pa.ArrowException) as error:
        if "flatbuffers" not in str(error):
            raise
        return pq.ParquetFile(without_stored_schema(path), **options)


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


def read(part: Part) -> Iterator[Sample | Reject]:
    """Read a row group in batches of about 32 MB."""
    items = part.items
    uri, row = part.uri, items.get("first", 0)
    end = row + (part.count or 0)
    try:
        file = open_file(items["path"])
        if items["group"] is None:
            raise UserError("the file changed while it was read")
        schema = file.schema_arrow
        roles = pick_roles(column_kinds(schema), items["path"], Options(**items["options"]), class_names(schema))
        for found in _rows_within_limits(file, items["path"], items["group"], roles.image or roles.url or ""):
            if isinstance(found, RowError):
                yield reject(f"{uri}#column-{found.reason}", "unreadable_column", found.message)
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


def _rows_within_limits(file: pq.ParquetFile, path: str, group: int, image: str) -> Iterator[dict[str, Any] | RowError]:
    """Rows of a row group; a column that cannot be read, or not within limits, is said (a `RowError`) and left out."""
    facts = file.metadata.row_group(group)
    columns = columns_of(path, file, group)
    for column in columns:
        if column.problem:
            if column.name == image:
                raise ValueError(f"the column '{image}' of pictures: {column.problem}")
            yield RowError(column.name, f"the column '{column.name}' is not read: {column.problem}")
    columns = [column for column in columns if not column.problem]
    done = 0
    while True:
        largest = max([column.value for column in columns], default=0)
        size = max(1, min(256, _BATCH_BYTES * facts.num_rows // max(facts.total_byte_size, 1)))
        if largest:
            size = max(1, min(size, 4 * _BATCH_BYTES // largest))
        names = [column.name for column in columns]
        taken: Counter[str] = Counter()
        try:
            skip = done
            for batch in file.iter_batches(batch_size=size, row_groups=[group], columns=names, use_threads=False):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                batch, skip = batch.slice(skip), 0
                _check_taken(batch, taken, facts.total_byte_size)
                for values in rows_of(batch):
                    yield values
                    done += 1
            return
        except Exception as error:
            bad = [error.args[0]] if isinstance(error, _TooMuch) else _unreadable(file, group, names, size)
            if not bad or image in bad:
                raise
            for name in bad:
                yield RowError(name, f"the column '{name}' is not read from here on: {error}")
            columns = [column for column in columns if column.name not in bad]


class _TooMuch(Exception):
    """A column (the first argument) that decodes to far more than the file holds."""

    def __str__(self) -> str:
        return "it decodes to many times what the file holds"


def _check_taken(batch: pa.RecordBatch, taken: Counter[str], stored: int) -> None:
    import pyarrow as pa

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = column.indices if isinstance(column, pa.DictionaryArray) else column
        taken[name] += values.get_total_buffer_size()
        if taken[name] > _MOST_DECODED + 20 * stored:
            raise _TooMuch(name)


def _unreadable(file: pq.ParquetFile, group: int, names: list[str], size: int) -> list[str]:
    """Which columns fail when they are read alone."""
    bad = []
    for name in names:
        try:
            for batch in file.iter_batches(batch_size=size, row_groups=[group], columns=[name], use_threads=False):
                for _ in rows_of(batch):
                    pass
        except Exception:
            bad.append(name)
    return bad


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries, one at a time, from data that nobody has checked.

    A text that is not UTF-8 comes with surrogates (its row is told, the others are not touched). Offsets that lead out
    of their buffers, as a hostile file has them, raise `ArrowInvalid` before anything is read through them.
    """
    import pyarrow as pa

    binary = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    columns = [column.view(binary[column.type]) if column.type in binary else column for column in batch.columns]
    was_text = [column.type in binary for column in batch.columns]
    for column in columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
    # one value in many rows is one object, however large it is
    caches: dict[str, dict[int, Any]] = {
        name: {} for name, one in zip(batch.schema.names, columns, strict=True) if isinstance(one, pa.DictionaryArray)
    }
    for n in range(batch.num_rows):
        row: dict[str, Any] = {}
        for name, column, text in zip(batch.schema.names, columns, was_text, strict=True):
            try:
                value = _of_dictionary(column, n, caches[name]) if name in caches else column[n].as_py()
            except UnicodeDecodeError:  # inside a list or struct
                value = {"bytes": column.field("bytes")[n].as_py()} if _has_bytes(column.type) else "\udcff"
            except (ValueError, OverflowError, RecursionError, pa.ArrowException):  # a date that Python cannot say
                value = None
            row[name] = value.decode("utf-8", "surrogateescape") if text and value is not None else value
        yield row


def _of_dictionary(column: pa.DictionaryArray, n: int, cache: dict[int, Any]) -> Any:
    index = column.indices[n].as_py()
    if index is None:
        return None
    if index not in cache:
        cache[index] = column.dictionary[index].as_py()
    return cache[index]


def _has_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0


def export_schema() -> pa.Schema:
    """Arrow schema of our rows, with the features that make Hugging Face `datasets` show the pictures."""
    import pyarrow as pa

    text, real, whole = pa.string(), pa.float64(), pa.int32()
    region = pa.struct([("x0", real), ("y0", real), ("x1", real), ("y1", real), ("mask", text)])
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
    import pyarrow as pa

    return pa.Table.from_pylist([flat(row) for row in rows], schema=export_schema())


class Writer:
    """Write `00000.parquet`, …: a row an image, its picture as `{bytes, path}`, all captions in a list of structs."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder, self.shard_size = folder, shard_size
        self.counts: dict[str, int] = {}
        self._file: Any = None
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> None:
        """Write one picture with its record."""
        name = f"{len(self.counts) - 1:05d}.parquet"
        if self._file is None or self.counts[name] >= self.shard_size:
            self._close_shard()
            name = f"{len(self.counts):05d}.parquet"
            self._file = self._start(self.folder / name)
            self.counts[name] = 0
        self._rows.append({**record, "image": {"bytes": data, "path": record["image_id"] + suffix}})
        self._bytes += len(data)
        self.counts[name] += 1
        if len(self._rows) >= 1000 or self._bytes >= _BATCH_BYTES:
            self._flush()

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
