"""The vectors of a dataset in memory: read once, kept as a file to be mapped, added to as rows are added."""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from panoglot.vectors._coarse import Coarse
from panoglot.vectors._flat import flat_runs, read_runs
from panoglot.vectors._sums import check, facts_of

if TYPE_CHECKING:
    import lance
    import numpy as np
    import pyarrow as pa

    from panoglot.table import Table

__all__ = ["Part", "Vectors", "stamp"]

#: From this many rows on a copy is kept that is mapped into memory: reading the table takes seconds a million rows.
KEEP = 20_000
#: The arrays of a part, and their types.
ARRAYS, KINDS = ("vectors", "owners", "captions"), ("f2", "S32", "?")
#: Rows that are read at a time, to be held and to be written; bytes that Lance reads ahead: what is read is written
#: while it is in the processor's cache, which costs a quarter less than Lance's own two gigabytes.
HELD, COPIED, BUFFER = 16_384, 2_048, 4 * 2**20
#: Seconds after which a copy that nobody writes on is one whose writer was killed.
LEFT = 600.0


def stamp(table: Table) -> int:
    """A number that changes with every commit to a table; costs microseconds."""
    return table.store.stamp(table.name)


@dataclass
class Part:
    """Some rows.

    Attributes:
        vectors: float16 `[n, dim]`.
        owners: id of the image or caption of every row, `S32` `[n]`.
        captions: which rows are of captions, bool `[n]`.
        fragments: which fragments of the table it holds, and in what state.
        folder: where it is mapped from; None in memory.
        coarse: a copy of half the bytes, where one was made.
    """

    vectors: np.ndarray
    owners: np.ndarray
    captions: np.ndarray
    fragments: frozenset[str]
    folder: Path | None = None
    coarse: Coarse | None = None


@dataclass
class Vectors:
    """All rows of a vectors table, kept up to date by `refresh`."""

    table: Table
    parts: list[Part] = field(default_factory=list)
    _stamp: int = -1

    def __post_init__(self) -> None:
        self.cache: Path = self.table.store.scratch("cache")
        self._name = self.table.name.rpartition("/")[2]

    def __len__(self) -> int:
        return sum(len(part.vectors) for part in self.parts)

    def refresh(self) -> bool:
        """Look for commits; read new rows only, or all again when rows went away. Say whether anything changed."""
        now = stamp(self.table)
        if now == self._stamp:
            return False
        data = self.table.lance()
        state = {_state(fragment): fragment for fragment in data.get_fragments()}
        held = [part.fragments for part in self.parts]
        if not self.parts or not all(known <= state.keys() for known in held):
            self.parts = [self._load(data)]
        elif new := state.keys() - frozenset().union(*held):
            self.parts.append(_read(data, [state[key] for key in sorted(new)], frozenset(new)))
            if len(self.parts) > 9:  # many small commits: join them, but leave the big first part
                self.parts = [self.parts[0], _join(self.parts[1:])]
        self._stamp = now
        return True

    def make_coarse(self) -> bool:
        """Make the copy of half the bytes that exact search reads first; say whether there is one.

        Only of what is mapped, and where it can be written.
        """
        self.refresh()
        for part in self.parts:
            if part.folder is not None and part.coarse is None:
                with contextlib.suppress(OSError):  # a read-only or full disk: all bytes are read
                    Coarse.of(part.vectors).keep(part.folder)
                part.coarse = Coarse.kept(part.folder, part.vectors.shape)
        return any(part.coarse is not None for part in self.parts)

    def _load(self, data: lance.LanceDataset) -> Part:
        fragments = data.get_fragments()
        states = frozenset(map(_state, fragments))
        folder = self.cache / f"{self._name}.{data.version}"
        with contextlib.suppress(OSError, ValueError):  # none there, or damaged
            return _mapped(folder, states)
        if data.count_rows() >= KEEP:
            with contextlib.suppress(OSError):  # a read-only or full disk costs only the next start
                self._sweep()
                if _room(self.cache) > 1.1 * sum(map(_size, _shapes(data, fragments), KINDS)):
                    self._keep(data, fragments, states, folder)
            with contextlib.suppress(OSError, ValueError):  # ours, or of somebody who was first
                return _mapped(folder, states)
        return _read(data, fragments, states)

    def _sweep(self) -> None:
        """Remove what writers that were killed have left."""
        for left in self.cache.glob(f".{self._name}.*"):
            written = [left.stat().st_mtime, *(path.stat().st_mtime for path in left.iterdir())]
            if max(written) < time.time() - LEFT:
                shutil.rmtree(left, ignore_errors=True)

    def _keep(
        self, data: lance.LanceDataset, fragments: list[lance.LanceFragment], states: frozenset[str], folder: Path
    ) -> None:
        """Write the rows as they are read: a million are not held in memory twice."""
        import numpy as np

        temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
        temporary.mkdir(parents=True)
        try:
            with contextlib.ExitStack() as opened:
                files = [_Summed(opened.enter_context(open(temporary / f"{name}.npy", "wb"))) for name in ARRAYS]
                for file, kind, shape in zip(files, KINDS, _shapes(data, fragments), strict=True):
                    head = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, head)
                runs = flat_runs(data, fragments)
                for block in read_runs(runs or ()):
                    files[0].write(block)
                of_lance = files if runs is None else files[1:]
                for arrays in _batches(data, fragments, COPIED if runs is None else HELD, vectors=runs is None):
                    for file, array in zip(of_lance, arrays, strict=True):
                        file.write(np.ascontiguousarray(array).data)
            sums = {name: [file.sum, *facts_of(temporary / f"{name}.npy")] for name, file in zip(ARRAYS, files)}
            (temporary / "state.json").write_text(json.dumps({"states": sorted(states), "files": sums}))
            for old in self.cache.glob(f"{self._name}.*"):
                shutil.rmtree(old, ignore_errors=True)
            temporary.rename(folder)  # complete or not there
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


class _Summed:
    """A file with the sum of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.sum = file, 0

    def write(self, data: bytes | memoryview) -> int:
        self.sum = zlib.crc32(data, self.sum)
        return self._file.write(data)


def _room(folder: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _size(shape: tuple[int, ...], kind: str) -> int:
    import numpy as np

    return math.prod(shape) * np.dtype(kind).itemsize


def _mapped(folder: Path, states: frozenset[str]) -> Part:
    """A copy that was kept; one that was touched since is read through once.

    Raises:
        OSError: there is none.
        ValueError: it is damaged, or of another state of the table.
    """
    import numpy as np

    said = json.loads((folder / "state.json").read_text())
    if not isinstance(said, dict) or said.get("states") != sorted(states):
        raise ValueError(f"{folder} is of another state")
    files = said.get("files")
    if not isinstance(files, dict):
        raise ValueError(f"{folder} does not say what is in it")
    for name in ARRAYS:
        check(folder / f"{name}.npy", files.get(name))
    vectors, owners, captions = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    return Part(vectors, owners, captions, states, folder, Coarse.kept(folder, vectors.shape))


def _state(fragment: lance.LanceFragment) -> str:
    """What a fragment holds: changes when rows are deleted or columns rewritten."""
    data = fragment.metadata
    return json.dumps([data.id, [file.path for file in data.files], str(data.deletion_file)])


def _read(data: lance.LanceDataset, fragments: list[lance.LanceFragment], states: frozenset[str]) -> Part:
    """Rows in memory."""
    import numpy as np

    arrays = [np.empty(shape, kind) for shape, kind in zip(_shapes(data, fragments), KINDS, strict=True)]
    vectors, owners, captions = arrays
    at = 0
    for batch in _batches(data, fragments, HELD):
        if len(batch[0]) == len(vectors):  # few rows: as they lie in Arrow's memory
            vectors, owners, captions = batch
            break
        for array, some in zip(arrays, batch, strict=True):
            array[at : at + len(some)] = some
        at += len(batch[0])
    return Part(vectors, owners, captions, states)


def _shapes(data: lance.LanceDataset, fragments: list[lance.LanceFragment]) -> list[tuple[int, ...]]:
    """Shapes of `ARRAYS`."""
    count = sum(fragment.count_rows() for fragment in fragments)
    return [(count, data.schema.field("vector").type.list_size), (count,), (count,)]


def _batches(
    data: lance.LanceDataset, fragments: list[lance.LanceFragment], size: int, *, vectors: bool = True
) -> Iterator[list[np.ndarray]]:
    """Rows in their order, `size` at a time: `ARRAYS` of them, or those but the vectors."""
    import pyarrow.compute as pc

    if not fragments:
        return
    dim = data.schema.field("vector").type.list_size
    columns = ["id", "of", *(["vector"] if vectors else [])]
    scanner = data.scanner(columns=columns, fragments=fragments, batch_size=size, io_buffer_size=BUFFER)
    for batch in scanner.to_batches():
        captions = pc.equal(batch["of"], "caption").fill_null(False).to_numpy(zero_copy_only=False)
        arrays = [_ids(batch["id"]).astype("S32", copy=False), captions]
        yield [batch["vector"].flatten().to_numpy().reshape(-1, dim), *arrays] if vectors else arrays


def _ids(column: pa.Array) -> np.ndarray:
    """Ids as `S32` `[n]`: as they lie in Arrow's buffer, where all are of 32 bytes, as ours are.

    >>> import pyarrow as pa
    >>> _ids(pa.array(["a" * 32, "b" * 32, "c" * 32])[1:]).tolist() == [b"b" * 32, b"c" * 32]
    True
    >>> _ids(pa.array(["i1", "i2"])).tolist()
    [b'i1', b'i2']
    """
    import numpy as np
    import pyarrow as pa

    if pa.types.is_string(column.type) and not column.null_count and len(column):
        _, offsets, values = column.buffers()
        places = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset)
        if (np.diff(places) == 32).all():
            return np.frombuffer(values, "S32", len(column), int(places[0]))
    return np.array(column.to_pylist(), "S32")


def _join(parts: list[Part]) -> Part:
    import numpy as np

    return Part(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.owners for part in parts]),
        np.concatenate([part.captions for part in parts]),
        frozenset().union(*(part.fragments for part in parts)),
    )
