"""Parquet with pictures in a column (bytes, or `{bytes, path}` as Hugging Face writes) or paths to them. Both ways."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError
from panoglot.formats._files import find_files, has_pictures, join_uri, part_key, reject, states_of
from panoglot.formats._record import flat
from panoglot.formats._rows import Options, Roles, pick_roles, samples
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.table import Reject

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
            examples = _first_values(file, kinds)
        except Exception:  # said once, by `read`
            yield Part("parquet", uri, part_key("parquet", path), {**items, "group": None})
            continue
        items["roles"] = pick_roles(kinds, path, chosen, labels, examples)  # mistakes, before anything is read
        first = 0
        for count, n in groups:
            files = _files_named(file, items["roles"], [n]) if kinds.get(items["roles"].image) == "text" else ()
            key = part_key("parquet", path, chosen, n, *([states_of(files)] if files else []))
            yield Part("parquet", uri, key, {**items, "group": n, "first": first}, count)
            first += count


def _first_values(file: pq.ParquetFile, kinds: dict[str, str]) -> dict[str, list[Any]]:
    """The first values of the columns that hold no pictures; a column that cannot be read has none."""
    found: dict[str, list[Any]] = {}
    for name in (name for name, kind in kinds.items() if kind not in ("bytes", "image")):
        with suppress(Exception):
            batch = next(file.iter_batches(batch_size=100, columns=[name], use_threads=False), None)
            if batch is not None:
                found.update(examples_of(batch))
    return found


def examples_of(batch: pa.RecordBatch, most: int = 100) -> dict[str, list[Any]]:
    """Some values of every column, as `pick_roles` wants them."""
    rows = list(rows_of(batch.slice(0, most), set()))
    return {name: [row[name] for row in rows] for name in batch.schema.names}


def pictures_named(path: str, options: Options) -> set[str]:
    """The files (real paths) that the rows of a file name as their pictures."""
    found: set[str] = set()
    with suppress(Exception):  # a broken file is said by `read`
        file = open_file(path)
        roles = pick_roles(column_kinds(file.schema_arrow), path, options)
        if column_kinds(file.schema_arrow).get(roles.image or "") == "text":
            found = {os.path.realpath(name) for name in _files_named(file, roles, range(file.num_row_groups))}
    return found


def _files_named(file: pq.ParquetFile, roles: Roles, groups: Sequence[int]) -> list[str]:
    """The files that the rows of row groups name as their pictures."""
    batches = file.iter_batches(4096, row_groups=list(groups), columns=[roles.image], use_threads=False)
    with suppress(Exception):  # `read` says what is wrong
        return [name for batch in batches for row in rows_of(batch) for name in roles.pictures_of(row)]
    return []


def open_file(path: str) -> pq.ParquetFile:
    """Open a Parquet file so that reading it needs memory for a batch, and its metadata cannot claim gigabytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # a buffer instead of whole column chunks: memory is a batch, not a row group
    limits: dict[str, Any] = {
        "memory_map": False,
        "buffer_size": 2**20,
        "pre_buffer": False,
        "thrift_string_size_limit": 64 * 2**20,
        "thrift_container_size_limit": 16 * 2**20,
    }
    try:
        return pq.ParquetFile(path, **limits)
    except OSError as error:  # Arrow's own copy of the schema cannot hold columns nested 130 deep
        if "flatbuffers" not in str(error):
            raise
    return pq.ParquetFile(pa.PythonFile(_WithoutArrowSchema(path), mode="r"), **limits)


class _WithoutArrowSchema:
    """A Parquet file whose footer does not name Arrow's copy of the schema: Parquet's own is used then."""

    closed = False

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115
        end = self._file.seek(-8, os.SEEK_END)
        self._start = max(0, end - int.from_bytes(self._file.read(4), "little"))
        self._file.seek(self._start)
        self._footer = self._file.read().replace(b"ARROW:schema", b"arrow:schema")
        self._file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Read on from where it stands."""
        at = self._file.tell()
        data = self._file.read(size)
        shared = at + len(data) - self._start
        if shared <= 0:
            return data
        first = max(0, at - self._start)
        return data[: len(data) - (shared - first)] + self._footer[first:shared]

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Say where it stands."""
        return self._file.tell()

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._file.close()


def column_kinds(schema: pa.Schema) -> dict[str, str]:
    """Name the kinds of columns as `pick_roles` knows them."""
    import pyarrow as pa

    def kind(one: pa.DataType) -> str:
        if pa.types.is_list(one) or pa.types.is_large_list(one):
            inner = kind(one.value_type)
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
        names, broken = _readable(file, items["group"], roles)
        for batch in _batches(file, items["group"], names):
            for values in rows_of(batch, broken):
                yield from samples(values, f"{uri}#{row}", roles)
                row += 1
        for name in sorted(broken):
            yield reject(f"{uri}#{items['first']}-{end - 1}:{name}", "bad_column", "it cannot be read; the others are")
    except FileNotFoundError:
        yield reject(uri, "missing_file", "the file is gone")
    except UserError:
        raise
    except Exception as error:
        lost = f"{uri}#{row}-{end - 1}" if end > row else uri
        yield reject(lost, "bad_archive", f"{type(error).__name__}: {error}; the rows before are read")


def _batches(file: pq.ParquetFile, group: int, names: list[str]) -> Iterator[pa.RecordBatch]:
    facts = file.metadata.row_group(group)
    size = max(1, min(256, _BATCH_BYTES * facts.num_rows // max(facts.total_byte_size, 1)))
    yield from file.iter_batches(batch_size=size, row_groups=[group], columns=names, use_threads=False)


def _readable(file: pq.ParquetFile, group: int, roles: Roles) -> tuple[list[str], set[str]]:
    """The columns of a row group that can be read, and those that cannot; nested ones alone are tried."""
    import pyarrow as pa

    names, broken = list(file.schema_arrow.names), set()
    for field in file.schema_arrow:
        if pa.types.is_nested(field.type) and field.name != roles.image:
            try:
                for _ in _batches(file, group, [field.name]):
                    pass
            except Exception:
                broken.add(field.name)
    return [name for name in names if name not in broken], broken


def rows_of(batch: pa.RecordBatch, broken: set[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries, one at a time, from data that nobody has checked.

    A text that is not UTF-8 comes with surrogates (its row is told, the others are not touched). Offsets that lead out
    of their buffers, as a hostile file has them, are found before anything is read through them: the column is left
    out and added to `broken`, or raises `ArrowInvalid` where that is None.
    """
    import pyarrow as pa

    binary = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    columns = [column.view(binary[column.type]) if column.type in binary else column for column in batch.columns]
    was_text = [column.type in binary for column in batch.columns]
    good = []
    for name, column, text in zip(batch.schema.names, columns, was_text, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                if broken is None:
                    raise
                broken.add(name)
                continue
        good.append((name, column, text))
    for n in range(batch.num_rows):
        row: dict[str, Any] = {}
        for name, column, text in good:
            try:
                value = column[n].as_py()
            except UnicodeDecodeError:  # inside a list or struct
                value = {"bytes": column.field("bytes")[n].as_py()} if _has_bytes(column.type) else "\udcff"
            except (ValueError, OverflowError, RecursionError, TypeError, KeyError, pa.ArrowException):
                value = None  # a date that Python cannot say, two fields of one name …
            row[name] = value.decode("utf-8", "surrogateescape") if text and value is not None else value
        yield row


def _has_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


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
