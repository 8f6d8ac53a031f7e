"""Vectors as they lie in Lance's files, where that is number after number: read straight, at a tenth of the cost.

Files since format 2.1 hold fixed-size lists of numbers without nulls as one run of bytes a page, and say so in their
metadata. What says anything else, in any word, is read by Lance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lance

__all__ = ["Run", "flat_runs", "read_runs"]

#: A page of numbers without nulls that are not compressed, as the metadata has it.
_FLAT = (
    "PageLayout {{ layout: Some( FullZipLayout( FullZipLayout {{ bits_rep: 0, bits_def: 0, num_items: {rows}, "
    "num_visible_items: {rows}, value_compression: Some( CompressiveEncoding {{ compression: Some( FixedSizeList( "
    "FixedSizeList {{ items_per_value: {dim}, has_validity: false, values: Some( CompressiveEncoding {{ compression: "
    "Some( Flat( Flat {{ bits_per_value: 16, data: None, }}, ), ), }}, ), }}, ), ), }}, ), layers: [ "
    "RepdefAllValidItem, ], details: Some( BitsPerValue( {bits}, ), ), }}, ), ), }}"
)
#: Bytes that are read at a time: they are written while they are in the processor's cache.
_AT_ONCE = 2**20


@dataclass(frozen=True)
class Run:
    """Some rows of float16 vectors in a file.

    Attributes:
        path: the file.
        start: its first byte.
        size: bytes.
    """

    path: Path
    start: int
    size: int


def flat_runs(data: lance.LanceDataset, fragments: Sequence[lance.LanceFragment]) -> list[Run] | None:
    """Where the column `vector` of fragments lies, in the order of their rows; None where Lance must read it."""
    from lance.file import LanceFileReader

    folder, dim = Path(data.uri) / "data", data.schema.field("vector").type.list_size
    (number,) = [field.id() for field in data.lance_schema.fields() if field.name() == "vector"]
    found: list[Run] = []
    for fragment in fragments:
        files = [one for one in fragment.metadata.files if number in one.fields]
        if fragment.num_deletions or len(files) != 1 or not (folder / files[0].path).is_file():
            return None
        meta = LanceFileReader(str(folder / files[0].path)).metadata()
        rows = 0
        for page in meta.columns[files[0].column_indices[list(files[0].fields).index(number)]].pages:
            sizes = [(buffer.position, buffer.size) for buffer in page.buffers]
            if len(sizes) != 1 or sizes[0][1] % (2 * dim):
                return None
            count = sizes[0][1] // (2 * dim)
            if " ".join(page.encoding.split()) != _FLAT.format(rows=count, dim=dim, bits=16 * dim):
                return None
            found.append(Run(folder / files[0].path, *sizes[0]))
            rows += count
        if rows != fragment.physical_rows:
            return None
    return found


def read_runs(runs: Sequence[Run]) -> Iterator[memoryview]:
    """The bytes of runs, some at a time; what is yielded holds until the next.

    Raises:
        OSError: a file is gone or shorter than it was.
    """
    held = memoryview(bytearray(_AT_ONCE))
    for run in runs:
        with open(run.path, "rb", buffering=0) as file:
            file.seek(run.start)
            left = run.size
            while left:
                count = file.readinto(held[: min(left, _AT_ONCE)])
                if not count:
                    raise OSError(f"{run.path} ends {left} bytes too early")
                yield held[:count]
                left -= count
