"""One Lance table with a key: rows go in once, whoever writes them and however often."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean, mendable
from panoglot.table._memory import no_collection

# a join of fragments that a commit came between is given up, and done later: nothing to warn people of
os.environ.setdefault("LANCE_LOG", "error")

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

    from panoglot.storage import Store, TableAddress

__all__ = ["Table", "byte_spans", "id_spans", "plain_rows", "sql_in"]

#: A fragment with fewer rows is small (one of pictures: with fewer bytes, for those are not to be copied).
SMALL_ROWS, SMALL_BYTES = 65_536, 32 * 2**20
#: Columns besides the key that are looked up by value, by the table's key column.
LOOKED_UP = {"caption_id": ("image_id",)}
#: An index is made from so many rows on: of the key, of what else is looked up.
INDEX_KEY, INDEX_OTHER = 20_000, 1_000


@functools.cache
def _session() -> Any:
    """What handles have read of files and indexes, for the next one; the least recently used goes."""
    import lance

    mib = 2**20
    return lance.Session(index_cache_size_bytes=192 * mib, metadata_cache_size_bytes=64 * mib)  # type: ignore[attr-defined]


def byte_spans(sizes: Sequence[int | None], most: int, rows: int = 2**31) -> Iterator[slice]:
    """Take rows in their order, so many bytes at a time; a row that is larger comes alone.

    Args:
        sizes: bytes of every row; None counts as none.
        most: bytes of a span.
        rows: most rows of it.

    >>> list(byte_spans([3, None, 4, 9, 1], 7))
    [slice(0, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    start = room = 0
    for n, size in enumerate(sizes):
        if n > start and (n - start >= rows or room + (size or 0) > most):
            yield slice(start, n)
            start, room = n, 0
        room += size or 0
    if start < len(sizes):
        yield slice(start, len(sizes))


def id_spans(count: int, most: int) -> Iterator[tuple[str, str]]:
    """Ranges of image ids, in order: ids are evenly spread hashes, so each holds about as many.

    Args:
        count: ids in all.
        most: of a range.

    Yields:
        Where it begins, and the range as SQL on `image_id`.

    >>> list(id_spans(10, 100))
    [('', "image_id >= '' and image_id < 'g'")]
    >>> [low for low, _ in id_spans(20, 10)][:3]
    ['0', '1', '2']
    """
    digits = 0
    while count / 16**digits > most:
        digits += 1
    bounds = [f"{n:0{digits}x}" if digits else "" for n in range(16**digits)]
    for low, high in zip(bounds, [*bounds[1:], "g"], strict=True):
        yield low, f"image_id >= '{low}' and image_id < '{high}'"


def sql_in(column: str, values: Iterable[str]) -> str:
    """Return the filter `column in ('a', 'b', …)` with the values quoted.

    >>> sql_in("lang", ["de", "o'x"])
    "lang in ('de', 'o''x')"
    """
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} in ({quoted})" if quoted else "false"


#: What Lance says of a column that is not there, and the place in its source that it adds to what it says.
_NO_COLUMN = re.compile(r"No field named ([^.\s]+)")
_PLACE = re.compile(r",\s+\S+\.rs:\d+:\d+")


class Table:
    """A table of a dataset. Handles are opened fresh at every call, so that a long run sees what others commit.

    Attributes:
        store: where its dataset lies.
        name: within the store, for example `captions` or `vectors/NAME`.
        schema: Arrow schema.
        key: name of the key column.
    """

    def __init__(self, store: Store, name: str, schema: pa.Schema, key: str) -> None:
        self.store, self.name, self.schema, self.key = store, name, schema, key

    def __repr__(self) -> str:
        place = self.store.table(self.name).uri
        return f"Table({place!r}, {self.count()} rows)" if self.exists() else f"Table({place!r})"

    def __len__(self) -> int:
        return self.count()

    def exists(self) -> bool:
        """Say whether anything was ever committed."""
        return self.store.has_table(self.name)

    def ensure(self) -> Table:
        """Create the empty table if it is not there; safe when several processes do so at once."""
        import lance

        def make(address: TableAddress) -> None:
            empty = self.schema.empty_table()
            lance.write_dataset(empty, address.uri, mode="create", storage_options=address.options)

        if not self.exists():
            self.store.new_table(self.name, make)
        return self

    def lance(self, version: int | None = None) -> lance.LanceDataset:
        """Return the newest version as a `lance.LanceDataset`, for everything that Lance can do.

        While the handle, a scanner or a stream of it lives, its version is not cleaned away.

        Args:
            version: an older one.
        """
        import lance

        for _ in range(100):
            address = self.store.table(self.name)
            try:
                data = lance.dataset(address.uri, version=version, storage_options=address.options, session=_session())
            except (OSError, ValueError) as error:
                if version is None and mendable(error) is None and self.exists():
                    continue  # what was the newest version a moment ago has been cleaned away
                if not self.store.exists():
                    where = self.store.address
                    raise UserError(
                        f"there is no dataset at {where} any more: it was moved or deleted meanwhile."
                    ) from None
                raise
            give_up = self.store.hold(self.name, data.version)
            if give_up is not None:
                weakref.finalize(data, give_up).atexit = False
                return data
            if data.version in self.store.versions(self.name):
                return data  # a place without locks: old versions stay for a day there
        return lance.dataset(address.uri, version=version, storage_options=address.options, session=_session())

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep the versions that a commit has to be compared with; whatever commits opens its handle in here."""
        give_up = self.store.hold(self.name)
        try:
            yield
        finally:
            if give_up is not None:
                give_up()

    # -- reading -------------------------------------------------------------------------------------------------

    def read(
        self, columns: Sequence[str] | None = None, where: str | None = None, limit: int | None = None
    ) -> pa.Table:
        """Read rows into memory.

        Args:
            columns: names; None for all.
            where: SQL filter on the columns, for example `"lang = 'de' and dropped is null"`.
            limit: most rows.
        """
        import pyarrow as pa

        if not self.exists():
            fields = [self.schema.field(c) for c in columns] if columns is not None else list(self.schema)
            return pa.schema(fields).empty_table()
        names = list(columns) if columns is not None else None
        with self._understood():
            return self.lance().to_table(columns=names, filter=where, limit=limit)

    def rows(self, columns: Sequence[str] | None = None, where: str | None = None) -> list[dict[str, Any]]:
        """Read rows as dictionaries (small results)."""
        return plain_rows(self.read(columns, where))

    def batches(
        self, columns: Sequence[str] | None = None, where: str | None = None, size: int = 1024
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows."""
        if self.exists():
            names = list(columns) if columns is not None else None
            with self._understood():
                yield from self.lance().scanner(columns=names, filter=where, batch_size=size).to_batches()

    def get(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows with these keys, in the order of `ids`; unknown ids are left out."""
        import pyarrow as pa

        names = None if columns is None else list(dict.fromkeys([self.key, *columns]))
        parts = [
            self.read(names, sql_in(self.key, dict.fromkeys(ids[start : start + 500])))
            for start in range(0, len(ids), 500)
        ]
        found = pa.concat_tables(parts) if parts else self.read(names, "false")
        place = {key: n for n, key in enumerate(found[self.key].to_pylist())}
        return found.take(pa.array([place[key] for key in ids if key in place], pa.int64()))

    def count(self, where: str | None = None) -> int:
        """Count rows."""
        with self._understood():
            return self.lance().count_rows(filter=where) if self.exists() else 0

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Say in our words what is wrong with a filter or a column.

        Raises:
            UserError: no such column, or no filter.
        """
        try:
            yield
        except (ValueError, OSError) as error:
            _, ours, said = _PLACE.sub("", " ".join(str(error).split())).rpartition("Invalid user input: ")
            if not ours:
                raise
            if found := _NO_COLUMN.search(said):
                name = found[1].strip("\"'`")
                raise UserError(f"{self.name} has no column '{name}'.{did_you_mean(name, self.schema.names)}") from None
            raise UserError(f"this is no filter: {said}; write for example \"lang = 'de'\".") from None

    # -- writing -------------------------------------------------------------------------------------------------

    def insert(self, rows: pa.Table | Sequence[dict[str, Any]]) -> int:
        """Insert the rows whose key is not there yet, in one atomic commit; return how many were."""
        return self._merge(rows, update=False, whole=True)

    def upsert(self, rows: pa.Table | Sequence[dict[str, Any]]) -> int:
        """Insert new rows and replace those whose key is there, in one atomic commit; return how many were new."""
        return self._merge(rows, update=True, whole=True)

    def change(self, rows: Sequence[dict[str, Any]]) -> None:
        """Set some columns of rows that are there: every row has the key and the same other columns."""
        self._merge(rows, update=True, whole=False)

    def _merge(self, rows: pa.Table | Sequence[dict[str, Any]], *, update: bool, whole: bool) -> int:
        import pyarrow as pa

        if not len(rows):
            return 0
        if not isinstance(rows, pa.Table):
            names = self.schema.names if whole else list(rows[0])
            fields = [self.schema.field(name) for name in names]
            columns = [
                pa.array([_map_items(row.get(f.name)) for row in rows], f.type)
                if pa.types.is_map(f.type)
                else pa.array([row.get(f.name) for row in rows], f.type)
                for f in fields
            ]
            rows = pa.Table.from_arrays(columns, schema=pa.schema(fields))
        # twice the same key in one merge would insert twice: the first stands
        keys = rows[self.key].to_pylist()
        first = list({key: n for n, key in reversed(list(enumerate(keys)))}.values())
        if len(first) != len(keys):
            rows = rows.take(sorted(first))
        self.ensure()
        with self.writing():
            data = self.lance()  # held until the commit is done
            merge = data.merge_insert(self.key)
            if update:
                merge = merge.when_matched_update_all()
            if whole:
                merge = merge.when_not_matched_insert_all()
            merge = merge.conflict_retries(50).retry_timeout(timedelta(minutes=5))
            return int(merge.execute(rows)["num_inserted_rows"])

    def delete(self, where: str) -> None:
        """Delete rows (only what is derived and can be made again: vectors)."""
        if self.exists():
            with self.writing():
                data = self.lance()
                data.delete(where)

    # -- upkeep --------------------------------------------------------------------------------------------------

    def tend(self, *, most: int = 24) -> None:
        """Keep commits and look-ups cheap while others write and read: join small fragments, index new rows, clean up.

        What it costs does not grow with what is there: a fragment counts as small below a sixteenth of the table, and
        an index is renewed when an eighth is new, so that a row is moved and indexed a few times however many follow.
        """
        if not self.exists():
            return
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # a commit came between: the next time will do
            with self.writing():
                done = self._join_fragments(most)
                done |= self._index()
            if done:
                self._clean()

    def tidy(self, *, small: int = INDEX_KEY) -> None:
        """Join small fragments, index what is looked up, forget old versions unless somebody reads them.

        Never while somebody writes: the dataset's lock sees to it.

        Args:
            small: a table with fewer rows gets no index of its key.
        """
        if not self.exists():
            return
        with self.writing():
            self._join_fragments(8)
            self._index(small)
        self._clean(left_over=True)

    def erase(self) -> bool:
        """Rewrite the fragments that hold deleted rows and remove older versions; the others stay as they lie.

        Never while somebody writes: the dataset's lock sees to it.

        Returns:
            Whether nothing of what was deleted is left: an older version that somebody reads stays until the next time.
        """
        if not self.exists():
            return True
        with self.writing():
            self._rewrite_deleted()
        return self._clean(left_over=True, at_once=True)

    def _rewrite_deleted(self) -> None:
        data = self.lance()
        fragments = data.get_fragments()
        whole = [fragment.fragment_id for fragment in fragments if not fragment.num_deletions]
        if len(whole) == len(fragments):
            return
        # pictures: few at a time, and in files of the usual size
        few: dict[str, Any] = {"batch_size": 64, "max_bytes_per_file": 16 * SMALL_BYTES}
        data.optimize.compact_files(
            materialize_deletions_threshold=0.0,
            excluded_fragment_ids=whole,
            num_threads=1,
            **(few if "data" in self.schema.names else {}),
        )

    def _join_fragments(self, most: int) -> bool:
        """Join the small fragments if there are more than `most`; whether it was done."""
        data = self.lance()
        fragments = [fragment.metadata for fragment in data.get_fragments()]
        pictures = "data" in self.schema.names
        if pictures:
            large = [f.id for f in fragments if sum(file.file_size_bytes or 0 for file in f.files) >= SMALL_BYTES]
            rows = 2**31
        else:
            rows = max(SMALL_ROWS, sum(f.physical_rows for f in fragments) // 16)
            large = [f.id for f in fragments if f.physical_rows >= rows]
        if len(fragments) - len(large) <= most:
            return False
        # pictures are copied as they lie, a few megabytes at a time: memory does not grow with the table. Of all else
        # the pages are made anew: look-ups in pages of a commit each take several times as long
        copied: dict[str, Any] = {"compaction_mode": "try_binary_copy", "binary_copy_read_batch_bytes": 4 * 2**20}
        if pictures:
            copied |= {"excluded_fragment_ids": large, "max_bytes_per_file": 16 * SMALL_BYTES}
        data.optimize.compact_files(target_rows_per_fragment=rows, num_threads=1, **(copied if pictures else {}))
        return True

    def _index(self, small: int = INDEX_KEY) -> bool:
        """Index the columns that are looked up, where an eighth of the rows or more is not in; whether it was done."""
        data, done = self.lance(), False
        count, have = data.count_rows(), {index.name: index for index in data.describe_indices()}
        for column, least in ((self.key, small), *((other, INDEX_OTHER) for other in LOOKED_UP.get(self.key, ()))):
            name = f"{column}_idx"
            if name not in have:
                if count >= max(1, least):
                    self.lance().create_scalar_index(column, "BTREE", name=name)
                    done = True
            elif count - have[name].num_rows_indexed > count // 8:
                self.lance().optimize.optimize_indices(index_names=[name])
                done = True
        return done

    def _clean(self, *, left_over: bool = False, at_once: bool = False) -> bool:
        """Delete the old versions that nobody reads; where there are no locks, those older than a day.

        Args:
            left_over: delete the files of commits that were killed too, unless somebody writes.
            at_once: where there are no locks: of today too.

        Returns:
            Whether no old version is left.
        """
        data = self.lance()
        old = [version for version in self.store.versions(self.name) if version != data.version]
        if not old:
            return True
        free: dict[int, Callable[[], None]] = {}
        unwritten = self.store.hold(self.name, alone=True)
        try:
            for version in old:
                give_up = self.store.hold(self.name, version, alone=True)
                if give_up is not None:
                    free[version] = give_up
                elif unwritten is None:
                    break  # a commit is compared with all versions since the one that it began with
            if free:
                data.cleanup_old_versions(
                    versions=list(free),
                    delete_unverified=left_over and unwritten is not None,
                    error_if_tagged_old_versions=False,
                )
            elif unwritten is None and not self._locks():
                old_enough = timedelta(0 if at_once else 1)
                data.cleanup_old_versions(
                    older_than=old_enough, delete_unverified=at_once, error_if_tagged_old_versions=False
                )
        finally:
            for give_up in (*free.values(), *([] if unwritten is None else [unwritten])):
                give_up()
        return self.store.versions(self.name) == [data.version]

    def _locks(self) -> bool:
        """Whether tables can be held there."""
        give_up = self.store.hold(self.name)
        if give_up is not None:
            give_up()
        return give_up is not None


def _map_items(value: Any) -> Any:
    return list(value.items()) if isinstance(value, dict) else value


def plain_rows(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Arrow rows as dictionaries, with maps as dictionaries too."""
    import pyarrow as pa

    maps = [f.name for f in table.schema if pa.types.is_map(f.type)]
    with no_collection():
        rows: list[dict[str, Any]] = table.to_pylist()
        for row in rows:
            for name in maps:
                row[name] = dict(row[name] or [])
    return rows
