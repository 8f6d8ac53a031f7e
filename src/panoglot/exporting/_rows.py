"""Pictures with their captions in order of image id, in bounded memory: every table is read once, as it lies."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from panoglot.formats._record import FACTS
from panoglot.formats._spans import Span, Spans
from panoglot.table import Dataset, Table, byte_spans, id_spans, plain_rows, sql_in

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["Picture", "Wanted", "What", "pictures_of"]

#: Rows of a range of ids (captions: twice as many); bytes of rows that wait to be written.
_RANGE, _WAITING = 65_536, 32 * 2**20
#: Pictures whose captions become rows of Python at once, and captions; bytes of pictures read at once.
_AT_ONCE, _TEXTS, _PICTURE_BYTES = 1024, 8192, 8 * 2**20
#: What nobody prefers.
_NONE = 2**31 - 1
_CAPTION = ("caption_id", "image_id", "text", "lang", "kind", "recipe", "model", "parents", "region", "scores")


class What(NamedTuple):
    """What a caption is, apart from its text."""

    lang: str
    kind: str
    recipe: str
    model: str
    licence: str


@dataclass
class Wanted:
    """Which pictures and captions are taken, and which caption stands first.

    Attributes:
        where: of captions, as SQL.
        include_dropped: pictures that are dropped, too.
        plan: only captions that this plan chose.
        rank: the place of a caption in the order of preference, None where it is none for a plain reader.
    """

    where: str | None
    include_dropped: bool
    plan: str | None
    rank: Callable[[What], Any]
    whats: list[What] = field(default_factory=list)
    _numbers: dict[What, int] = field(default_factory=dict)
    _ranks: list[Any] = field(default_factory=list)

    def numbered(self, spans: Spans) -> np.ndarray:
        """What each caption is, as a number in `whats`."""
        import numpy as np

        columns = [spans.column("lang"), spans.kinds, *(spans.column(n) for n in ("recipe", "model", "licence"))]
        codes, names = np.zeros(len(columns[0]), np.int64), []
        for column in columns:
            coded = column.fill_null("").dictionary_encode()
            names.append(coded.dictionary.to_pylist())
            codes = codes * max(1, len(names[-1])) + coded.indices.to_numpy(zero_copy_only=False)
        found, places = np.unique(codes, return_inverse=True)
        numbers = []
        for code in found.tolist():
            said = []
            for some in reversed(names):
                code, place = divmod(code, len(some))
                said.append(some[place])
            numbers.append(self._number(What(*reversed(said))))
        return np.array(numbers, np.int64)[places.ravel()]

    def _number(self, what: What) -> int:
        if what not in self._numbers:
            self._numbers[what] = len(self.whats)
            self.whats.append(what)
            self._ranks.append(self.rank(what))
        return self._numbers[what]

    def ranks(self, numbers: np.ndarray) -> np.ndarray:
        """The place of each caption in the order of preference, by what it is."""
        import numpy as np

        ranked = enumerate(zip(self._ranks, self.whats))
        order = sorted((rank, what.lang, n) for n, (rank, what) in ranked if rank is not None)
        places = np.full(len(self.whats), _NONE)
        for place, (_, _, n) in enumerate(order):
            same = place and order[place - 1][:2] == order[place][:2]
            places[n] = places[order[place - 1][2]] if same else place
        chosen: np.ndarray = places[numbers]
        return chosen


class Picture(NamedTuple):
    """A picture, its captions, and what they are.

    Attributes:
        row: of `images`, with `data`.
        captions: all of them that are wanted, by id.
        whats: for each, its number in `Wanted.whats`.
        first: text and language for a plain reader, or None twice.
        authors: who wrote the captions, as far as it is known.
    """

    row: dict[str, Any]
    captions: Span
    whats: list[int]
    first: tuple[str | None, str | None]
    authors: Sequence[str]


class _Ranges:
    """The rows of a table by ranges of their image ids: read once, and kept in a temporary file where there are many.

    Args:
        table: what is read.
        columns: of it, with `image_id`.
        where: which rows.
        digits: of the beginning of an id that make a range; none: all rows are one.
        room: the folder of the temporary file, which has no name there.
        address: keep Lance's address of the rows, as `_rowaddr`.
    """

    def __init__(
        self, table: Table, columns: Sequence[str], where: str | None, digits: int, room: Path, address: bool = False
    ) -> None:
        self._file = tempfile.TemporaryFile(dir=room) if digits else None  # noqa: SIM115 - closed with this object
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._waiting: list[pa.RecordBatch] = []
        self._schema: pa.Schema | None = None
        if not table.exists():
            return
        self.version = table.lance()  # it stays while rows are asked for by their address
        found = self.version.scanner(columns=list(columns), filter=where, with_row_address=address, batch_size=_TEXTS)
        size = 0
        for batch in found.to_batches():
            self._schema = self._schema or batch.schema
            self._waiting.append(batch)
            size += batch.nbytes
            if digits and size >= _WAITING:
                self._write(digits)
                size = 0
        if digits and self._waiting:
            self._write(digits)

    def _write(self, digits: int) -> None:
        """Write what waits, a piece a range."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        assert self._file is not None
        rows = pa.Table.from_batches(self._waiting)
        self._waiting = []
        begins = pc.utf8_slice_codeunits(rows["image_id"].combine_chunks(), 0, digits).dictionary_encode()
        codes = begins.indices.to_numpy()
        order = np.argsort(codes, kind="stable")
        rows = rows.take(order).combine_chunks()
        ends = np.searchsorted(codes[order], np.arange(len(begins.dictionary) + 1)).tolist()
        for n, low in enumerate(begins.dictionary.to_pylist()):
            for batch in rows.slice(ends[n], ends[n + 1] - ends[n]).to_batches():
                data = batch.serialize()
                self._places.setdefault(low, []).append((self._file.tell(), data.size))
                self._file.write(data)

    def of(self, low: str) -> pa.Table | None:
        """The rows of a range, None where there are none."""
        import pyarrow as pa

        if self._file is None:
            found = self._waiting
        else:
            found = []
            for start, size in self._places.get(low, ()):
                self._file.seek(start)
                found.append(pa.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), self._schema))
        return pa.Table.from_batches(found) if found else None


def pictures_of(data: Dataset, wanted: Wanted, room: Path) -> Iterator[Picture]:
    """Stream the pictures of a dataset in order of image id; a range of ids is in memory at a time.

    Args:
        data: the dataset.
        wanted: what is taken.
        room: a folder with room for the captions of a large dataset: where the export is written.
    """
    count = max(len(data.images), len(data.captions) // 2)
    lows = [low for low, _ in id_spans(count, _RANGE)]
    digits = len(lows[0])
    images = _Ranges(data.images, [*FACTS, "size"], None, digits, room, address=True)
    columns = (*_CAPTION, "dropped", "author", "licence")
    texts = _Ranges(data.captions, columns, wanted.where, digits, room)
    marks = choices = None
    if not wanted.include_dropped:
        marks = _Ranges(data.marks, ["image_id"], "dropped is not null", digits, room)
    if wanted.plan is not None:
        choices = _Ranges(data.choices, ["image_id", "caption_id"], sql_in("plan", [wanted.plan]), digits, room)
    for low in lows:
        some = images.of(low)
        if some is None:
            continue
        said = texts.of(low)
        if marks is not None and (dropped := marks.of(low)) is not None:
            some = _those(some, "image_id", dropped, here=False)
        if said is not None and choices is not None:
            plan = choices.of(low)
            said = _those(said, "caption_id", plan, here=True) if plan is not None else said.slice(0, 0)
        if said is not None:
            said = _sorted(_those(said, "image_id", some, here=True), "image_id", "caption_id")
        some = _sorted(some, "image_id")
        yield from _joined(images.version, some, said, wanted)


def _joined(stored: Any, images: pa.Table, captions: pa.Table | None, wanted: Wanted) -> Iterator[Picture]:
    """Pictures of a range, both tables in order."""
    import numpy as np

    ids, sizes, addresses = (images[name].to_pylist() for name in ("image_id", "size", "_rowaddr"))
    ends = [0] * (len(ids) + 1)
    if captions is not None:
        owners = captions["image_id"].dictionary_encode().combine_chunks()
        counts = np.bincount(owners.indices.to_numpy(), minlength=len(owners.dictionary)).tolist()
        many = dict(zip(owners.dictionary.to_pylist(), counts, strict=True))
        ends = np.cumsum([0, *(many.get(one, 0) for one in ids)]).tolist()
    table = images.drop_columns(["size", "_rowaddr"])
    data = _pictures(stored, addresses, sizes)  # whatever the captions: many small ones are read at once
    for some in byte_spans([b - a for a, b in pairwise(ends)], _TEXTS, _AT_ONCE):
        start, stop = some.start, some.stop
        rows = plain_rows(table.slice(start, stop - start))
        first, last = ends[start], ends[stop]
        spans = Spans(captions.slice(first, last - first)) if captions is not None else None
        at = [end - first for end in ends[start : stop + 1]]
        said = _said(spans, at, wanted)
        for row, picture, one in zip(rows, islice(data, len(rows)), said, strict=True):
            yield Picture({**row, "data": picture}, *one)


def _said(spans: Spans | None, ends: list[int], wanted: Wanted) -> Iterator[tuple[Any, ...]]:
    """What `Picture` holds beside the row, for one picture after the other."""
    import numpy as np
    import pyarrow as pa

    if spans is None or not ends[-1]:
        nothing = Spans(pa.table({}))
        yield from ((Span(nothing, 0, 0), [], (None, None), ()) for _ in ends[1:])
        return
    numbers = wanted.numbered(spans)
    ranks = wanted.ranks(numbers)
    dropped = spans.column("dropped")
    if dropped.null_count < len(dropped):
        ranks = np.where(dropped.is_null().to_numpy(zero_copy_only=False), ranks, _NONE)
    authors = spans.column("author")
    who = authors.to_pylist() if authors.null_count < len(authors) else None
    whats, places = numbers.tolist(), ranks.tolist()
    firsts = []
    for a, b in pairwise(ends):
        least = min(places[a:b], default=_NONE)
        firsts.append(None if least == _NONE else a + places[a:b].index(least))
    at = pa.array(firsts, pa.int32())
    texts, langs = (spans.column(name).take(at).to_pylist() for name in ("text", "lang"))
    for (a, b), text, lang in zip(pairwise(ends), texts, langs):
        yield Span(spans, a, b), whats[a:b], (text, lang), [one for one in who[a:b] if one] if who else ()


def _pictures(images: Any, addresses: list[int], sizes: list[int | None]) -> Iterator[bytes]:
    """The pictures at some addresses, a few megabytes at a time; Lance reads them as they lie."""
    for span in byte_spans(sizes, _PICTURE_BYTES):
        some = addresses[span]
        order = sorted(range(len(some)), key=some.__getitem__)
        rows = images._take_rows([some[n] for n in order], columns=["data"])["data"].to_pylist()
        yield from (data for _, data in sorted(zip(order, rows, strict=True), key=lambda one: one[0]))


def _sorted(rows: pa.Table, *columns: str) -> pa.Table:
    """The rows in order, in one piece."""
    return rows.combine_chunks().sort_by([(name, "ascending") for name in columns]).combine_chunks()


def _those(rows: pa.Table, column: str, others: pa.Table, *, here: bool) -> pa.Table:
    """The rows whose `column` is one of the others', or those where it is none."""
    import pyarrow.compute as pc

    among = pc.is_in(rows[column], value_set=others[column].combine_chunks())
    return rows.filter(among if here else pc.invert(among))
