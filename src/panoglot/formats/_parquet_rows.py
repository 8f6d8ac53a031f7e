"""Rows of Parquet and Arrow files that nobody has checked, within limits on what reading them takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError
from panoglot.formats._files import check_regular
from panoglot.formats._parquet_limits import columns_of, without_stored_schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["batches_of", "open_file", "rows_of", "rows_within_limits"]

_BATCH_BYTES = 32 * 2**20
_MOST_DECODED = 2 * 2**30  # most bytes of a column in a row group, beside 20 times what the file holds


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


def rows_within_limits(file: pq.ParquetFile, path: str, group: int, image: str) -> Iterator[dict[str, Any] | RowError]:
    """Rows of a row group; a column that cannot be read, or not within limits, is said and left out.

    That is a `RowError` whose reason is the column's name; the column `image` of the pictures raises instead.
    """
    columns = columns_of(path, file, group)
    for column in columns:
        if column.problem:
            if column.name == image:
                raise ValueError(f"the column '{image}' of pictures: {column.problem}")
            yield RowError(column.name, f"it is not read: {column.problem}; the others are")
    columns = [column for column in columns if not column.problem]
    stored = file.metadata.row_group(group).total_byte_size
    done = 0
    while True:
        names, most = [column.name for column in columns], max([column.value for column in columns], default=0)
        taken: Counter[str] = Counter()
        try:
            skip = done
            for batch in batches_of(file, group, names, most):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                batch, skip = batch.slice(skip), 0
                _check_taken(batch, taken, stored)
                for values in rows_of(batch):
                    yield values
                    done += 1
            return
        except Exception as error:
            bad = [error.args[0]] if isinstance(error, _TooMuch) else _unreadable(file, group, names, most)
            if not bad or image in bad:
                raise
            for name in bad:
                yield RowError(name, f"it cannot be read from here on ({error}); the others are")
            columns = [column for column in columns if column.name not in bad]


def batches_of(
    file: pq.ParquetFile, group: int, names: Sequence[str], largest: int = 0, most: int = 256
) -> Iterator[pa.RecordBatch]:
    """Batches of some columns of a row group, of about 32 MB.

    Args:
        file: the file.
        group: the row group.
        names: the columns.
        largest: most bytes that one value may have because a dictionary holds it.
        most: most rows of a batch.
    """
    facts = file.metadata.row_group(group)
    size = max(1, min(most, _BATCH_BYTES * facts.num_rows // max(facts.total_byte_size, 1)))
    if largest:
        size = max(1, min(size, 4 * _BATCH_BYTES // largest))
    yield from file.iter_batches(batch_size=size, row_groups=[group], columns=list(names), use_threads=False)


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


def _unreadable(file: pq.ParquetFile, group: int, names: list[str], largest: int) -> list[str]:
    """Which columns fail when they are read alone."""
    bad = []
    for name in names:
        try:
            for batch in batches_of(file, group, [name], largest):
                for _ in rows_of(batch):
                    pass
        except Exception:
            bad.append(name)
    return bad


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
    # one value in many rows is one object, however large it is
    caches: dict[str, dict[int, Any]] = {name: {} for name, one, _ in good if isinstance(one, pa.DictionaryArray)}
    for n in range(batch.num_rows):
        row: dict[str, Any] = {}
        for name, column, text in good:
            try:
                value = _of_dictionary(column, n, caches[name]) if name in caches else column[n].as_py()
            except UnicodeDecodeError:  # inside a list or struct
                value = {"bytes": column.field("bytes")[n].as_py()} if _has_bytes(column.type) else "\udcff"
            except (ValueError, OverflowError, RecursionError, TypeError, KeyError, pa.ArrowException):
                value = None  # a date that Python cannot say, two fields of one name …
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

    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
