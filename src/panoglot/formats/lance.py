"""Any Lance table with pictures in a column, as bytes or as blobs, or with paths to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from panoglot.errors import UserError
from panoglot.formats import parquet
from panoglot.formats._files import is_hidden, join_uri, part_key, reject, states_of
from panoglot.formats._rows import Options, pick_roles, samples
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.pictures import MAX_BYTES
from panoglot.table import Reject, is_dataset

__all__ = ["detect", "parts", "read"]

_BATCH = 64  # rows that are read at once: pictures are large


def detect(source: str) -> bool:
    """A folder `X.lance`, or a folder with some that is no dataset of ours."""
    return bool(_tables(source))


def _tables(source: str) -> list[str]:
    if not os.path.isdir(source):
        return []
    if _is_table(source):
        return [source]
    if is_dataset(source):
        return []
    return [
        path
        for name in sorted(os.listdir(source))
        if not is_hidden(name) and _is_table(path := os.path.join(source, name))
    ]


def _is_table(path: str) -> bool:
    return path.rstrip("/").lower().endswith(".lance") and os.path.isdir(os.path.join(path, "_versions"))


def parts(source: str, **options: Any) -> Iterator[Part]:
    """List fragments: one part each.

    Args:
        source: the table, or a folder of tables.
        **options: see `Options`.
    """
    import lance

    chosen = Options(**options)
    for path in _tables(source):
        uri = join_uri(path)
        try:
            data = lance.dataset(path)
            kinds, labels = _kinds(data.schema), parquet.class_names(data.schema)
            plain = [name for name, kind in kinds.items() if kind not in ("bytes", "image")]
            first = data.scanner(plain, limit=100).to_table().combine_chunks() if plain else None
            batches = first.to_batches() if first is not None else []
            examples = parquet.examples_of(batches[0]) if batches else {}
            fragments = [(fragment.fragment_id, fragment.count_rows()) for fragment in data.get_fragments()]
        except Exception as error:
            raise UserError(f"'{path}' cannot be read as a Lance table: {_short(error)}") from None
        roles = pick_roles(kinds, os.path.join(path, "x"), chosen, labels, examples)
        files = {fragment.fragment_id: fragment.data_files() for fragment in data.get_fragments()}
        start = 0
        for number, count in fragments:
            state = states_of(os.path.join(path, "data", file.path) for file in files[number])
            items = {"path": os.path.abspath(path), "fragment": number, "roles": roles, "first": start}
            # deletions and rewrites make other files: the fragment is another part then
            key = part_key("lance", path + "/data", chosen, number, count, state)
            yield Part("lance", uri, key, items, count)
            start += count


def _kinds(schema: Any) -> dict[str, str]:
    return {**parquet.column_kinds(schema), **dict.fromkeys(_blobs(schema), "bytes")}


def _blobs(schema: Any) -> list[str]:
    """Columns that are stored as blobs: a scan gives where they lie, not what they are."""
    found = []
    for field in schema:
        marked = (field.metadata or {}).get(b"lance-encoding:blob") == b"true"
        if marked or "lance.blob" in str(field.type):
            found.append(field.name)
    return found


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read a fragment in batches; the bytes of blobs are fetched row by row."""
    import lance

    items, row = part.items, part.items["first"]
    roles = items["roles"]
    if row == 0:
        yield from roles.unused(part.uri)
    try:
        data = lance.dataset(items["path"])
        blobs = [name for name in _blobs(data.schema) if name == roles.image]
        columns = [name for name in data.schema.names if name not in _blobs(data.schema)]
        unread = [name for name in _blobs(data.schema) if name not in blobs]
        if unread and row == 0:
            yield Unused.of(part.uri, "column{s} of blobs that are no picture", unread)
        fragment = data.get_fragment(items["fragment"])
        if fragment is None:
            yield reject(part.uri, "missing_file", f"the fragment {items['fragment']} is gone: the table was rewritten")
            return
        for batch in data.scanner(columns, fragments=[fragment], batch_size=_BATCH, with_row_address=True).to_batches():
            addresses = batch.column("_rowaddr").to_pylist()
            for values, address in zip(parquet.rows_of(batch.drop_columns(["_rowaddr"])), addresses, strict=True):
                place = f"{part.uri}#{row}"
                row += 1
                try:
                    for name in blobs:
                        values[name] = _blob(data, name, address)
                except Exception as error:
                    yield reject(place, "no_image", f"the blob cannot be read: {_short(error)}")
                    continue
                yield from samples(values, place, roles)
    except Exception as error:
        yield reject(f"{part.uri}#{row}-", "bad_archive", f"{_short(error)}; the rows before are read")


def _blob(data: Any, column: str, address: int) -> bytes | None:
    files = data.take_blobs(column, addresses=[address])
    if not files or files[0] is None:
        return None
    size = files[0].size()  # a buffer of the limit's size would cost more than the reading
    if size > MAX_BYTES:
        raise ValueError(f"{size:,} bytes, the limit is {MAX_BYTES:,}")
    raw: bytes = files[0].read(size)
    return raw or None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
