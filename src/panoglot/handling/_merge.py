"""Rows of datasets into another: all of several (`merge`), or those that are wanted of one (`subset`)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from panoglot.checks import several
from panoglot.errors import UserError, many, verb
from panoglot.languages import meeting
from panoglot.languages._tags import canonical_language
from panoglot.retrieval._where import ids_where
from panoglot.running import Progress
from panoglot.table import (
    FORGOTTEN,
    KEPT_CAPTION,
    NO_FACT,
    Dataset,
    Table,
    byte_spans,
    create_dataset,
    find_plan,
    id_spans,
    open_dataset,
    plain_rows,
    sql_in,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Copied", "merge", "subset"]

#: Tables whose rows belong to a picture by `image_id`; `images` is apart, as its rows are large.
_OF_PICTURES = ("captions", "marks", "hashes", "facts", "places")
#: Tables of their own, whole; what is made again from the others (splits, fits, ledgers, rejects) is not taken.
_WHOLE = ("documents", "triples", "ratings", "assets", "edits", "runs")
_CHUNK_ROWS, _CHUNK_BYTES, _SPAN_ROWS = 256, 64 * 2**20, 100_000


@dataclass
class Copied:
    """What was put into a dataset.

    Attributes:
        dataset: where.
        images: pictures that were new there.
        met: pictures that were there already; their captions came to the first one's.
        captions: captions that were new there and are kept; what was measured (kind `fact`) is none.
        dropped: captions that were new there and are dropped.
        measured: measurements that were new there.
        languages: tag to captions of the dataset now.
        forgotten: pictures that were not taken, as one of the datasets was told to forget them.
        notes: what was not taken, and what to do.
    """

    dataset: str
    images: int = 0
    met: int = 0
    captions: int = 0
    dropped: int = 0
    measured: int = 0
    languages: dict[str, int] = field(default_factory=dict)
    forgotten: int = 0
    notes: list[str] = field(default_factory=list)


@verb
def merge(
    dataset: Dataset | str | os.PathLike[str],
    *more: str,
    output: str | os.PathLike[str],
    quiet: bool | None = None,
) -> Copied:
    """Make one dataset of several: pictures, captions with ids and provenance, marks, facts, vectors, runs.

    A picture that several hold is there once, with the captions of all; where two say something else of the same row,
    the dataset named first counts. What one of them was told to forget is not taken from the others. The same command
    again, after a kill too, goes on and adds nothing twice.

    Args:
        dataset: the first one.
        more: the others.
        output: the dataset to make, or one that these are added to.
        quiet: no progress bar.

    Raises:
        UserError: only one dataset, one that is not there, or an output that is one of them.
    """
    sources = [open_dataset(dataset), *(open_dataset(one) for one in more)]
    if len(sources) < 2:
        raise UserError("give two datasets or more to merge, and -o for the new one.")
    target = _target(output, sources)
    copied, before = Copied(target.address), _texts(target)
    gone = {key for data in (*sources, target) for key in _forgotten(data)}
    marks = [{"image_id": key, "scores": {}, "dropped": FORGOTTEN} for key in sorted(gone)]
    total = sum(len(data.images) for data in sources)
    with target.writer(), Progress("merge", total, quiet=quiet) as bar:
        target.marks.upsert(marks)  # first: from here on nobody takes them in
        for data in sources:
            _copy(data, target, copied, bar, None, None, gone)
            for name in _WHOLE:
                _copy_whole(getattr(data, name), getattr(target, name))
            _copy_vectors(data, target)
    if any(len(data.splits) for data in sources):
        copied.notes.append(f"splits are not merged, as they could leak: panoglot split {target.address}")
    return _finished(target, copied, before)


@verb
def subset(
    dataset: Dataset | str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    where: str | None = None,
    lang: str | Sequence[str] = (),
    kinds: str | Sequence[str] = (),
    split: str | None = None,
    plan: str | None = None,
    include_dropped: bool = False,
    quiet: bool | None = None,
) -> Copied:
    """Put a part of a dataset into another: pictures that fit, with their captions, provenance and vectors.

    Args:
        dataset: where from.
        output: the dataset to make, or one that these are added to.
        where: only pictures of which this holds, as in search: "lang='de' and width>800".
        lang: languages of captions, `zh` takes `zh-Hant` too; none for all.
        kinds: kinds of captions; none for all.
        split: only the pictures of this split.
        plan: only the captions that this plan or mix chose, and their pictures.
        include_dropped: take what was dropped as well.
        quiet: no progress bar.

    Raises:
        UserError: a filter that is none, a language or split that is not there, or nothing fits; then nothing is made.
    """
    data = open_dataset(dataset)
    pictures = None if where is None else set(ids_where(data, where))
    terms: list[str] = []
    notes: list[str] = []
    if lang:
        have = _languages(data)
        met, notes = meeting([canonical_language(tag) for tag in several(lang)], have)
        terms.append(sql_in("lang", met))
    if several(kinds):
        terms.append(sql_in("kind", several(kinds)))
    narrowed = bool(terms)
    if not include_dropped:
        terms.append("dropped is null")
    ids = _chosen(data, pictures, " and ".join(terms) if narrowed else None, split, include_dropped)
    texts: set[str] | None = None
    if plan is not None:
        mine = sql_in("plan", [find_plan(data, plan)])
        chosen = data.choices.read(["image_id", "caption_id"], mine)
        ids = sorted(set(ids) & set(chosen["image_id"].to_pylist()))
        texts = set(chosen["caption_id"].to_pylist())
    if not ids:
        raise UserError(f"nothing in {data.address} fits; see what there is: panoglot info {data.address}")
    target = _target(output, [data])
    copied, before = Copied(target.address, notes=notes), _texts(target)
    if left_out := len(data.images) - len(ids):
        dropped = 0 if include_dropped else len(data.dropped_images())
        which = f", {dropped:,} of them as dropped" if dropped else ""
        copied.notes.append(f"{many(left_out, 'image{s} of the dataset {was}')} left out{which}")
    with target.writer(), Progress("subset", len(ids), quiet=quiet) as bar:
        _copy(data, target, copied, bar, ids, " and ".join(terms) or None, set(_forgotten(target)), texts)
        _copy_whole(data.runs, target.runs)
        _copy_vectors(data, target, whole=False)
    left = [name for name in _WHOLE if name != "runs" and len(getattr(data, name))]
    if left:
        copied.notes.append(f"not taken, as they speak of several pictures: {', '.join(left)}")
    return _finished(target, copied, before)


def _target(output: str | os.PathLike[str], sources: Sequence[Dataset]) -> Dataset:
    target = create_dataset(output)
    if any(target.store.absolute == data.store.absolute for data in sources):
        raise UserError(f"{target.address} is one of the datasets that are read; give another output.")
    return target


def _texts(data: Dataset) -> tuple[int, int, int]:
    """Captions that are kept, those that are dropped, measurements."""
    kept, told = data.captions.count(KEPT_CAPTION), data.captions.count(NO_FACT)
    return kept, told - kept, data.captions.count() - told


def _finished(target: Dataset, copied: Copied, before: tuple[int, int, int]) -> Copied:
    new = (now - was for now, was in zip(_texts(target), before, strict=True))
    copied.captions, copied.dropped, copied.measured = new
    target.mend_kinds()
    target.tidy()
    copied.languages = _languages(target)
    return copied


def _languages(data: Dataset) -> dict[str, int]:
    found: dict[str, int] = {}
    for batch in data.captions.batches(["lang"], KEPT_CAPTION, size=65_536):
        for one in batch.column(0).value_counts().to_pylist():
            found[one["values"]] = found.get(one["values"], 0) + one["counts"]
    return dict(sorted(found.items()))


def _forgotten(data: Dataset) -> list[str]:
    found: list[str] = data.marks.read(["image_id"], f"dropped = '{FORGOTTEN}'")["image_id"].to_pylist()
    return found


def _chosen(
    data: Dataset, pictures: set[str] | None, captions: str | None, split: str | None, include_dropped: bool
) -> list[str]:
    """Ids of the pictures that fit, in order."""
    ids = set(data.images.read(["image_id"])["image_id"].to_pylist())
    if pictures is not None:
        ids &= pictures
    if captions is not None:
        with_such: set[str] = set()
        where = captions if include_dropped else f"{captions} and dropped is null"
        for batch in data.captions.batches(["image_id"], where, size=65_536):
            with_such.update(batch.column(0).to_pylist())
        ids &= with_such
    if split is not None:
        ids &= set(data.splits.read(["image_id"], sql_in("split", [split]))["image_id"].to_pylist())
    return sorted(ids if include_dropped else ids - data.dropped_images())


def _spans(data: Dataset, ids: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """(name, filter on `image_id`) of one span after the other: chosen ids, or ranges of all of them."""
    if ids is not None:
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            yield hashlib.sha256("".join(some).encode()).hexdigest()[:16], sql_in("image_id", some)
        return
    yield from id_spans(max(len(data.images), len(data.captions) // 4), _SPAN_ROWS)


def _copy(
    data: Dataset,
    target: Dataset,
    copied: Copied,
    bar: Progress,
    ids: Sequence[str] | None,
    texts: str | None,
    gone: set[str],
    only: set[str] | None = None,
) -> None:
    """Put pictures and what belongs to them into a dataset, a span of ids at a time; what is done is not done again."""
    versions = [table.lance().version if table.exists() else 0 for table in (data.images, data.captions, data.marks)]
    name = hashlib.sha256(
        f"{data.store.absolute} {versions} {texts} {sorted(gone)} {sorted(only or ())}".encode()
    ).hexdigest()[:16]
    done = target.work(f"copy-{name}")
    seen = set(done.read(["item"])["item"].to_pylist())
    for span, where in _spans(data, ids):
        if span in seen:
            continue
        for table in _pictures(data.images, where):
            kept = [row for row in table["image_id"].to_pylist() if row not in gone]
            copied.forgotten += table.num_rows - len(kept)
            rows = _with_ids(table, kept)
            new = target.images.insert(rows)
            copied.images, copied.met = copied.images + new, copied.met + len(kept) - new
            bar.reach(copied.images + copied.met + copied.forgotten)
        for other in _OF_PICTURES:
            source: Table = getattr(data, other)
            terms = f"{where} and ({texts})" if texts and other == "captions" else where
            for batch in source.batches(None, terms, size=8192):
                rows = [row for row in plain_rows(batch) if row["image_id"] not in gone]
                if only is not None and other == "captions":
                    rows = [row for row in rows if row["caption_id"] in only]
                getattr(target, other).insert(rows)
        done.insert([{"item": span, "outputs": 1}])


def _pictures(images: Table, where: str) -> Iterator[pa.Table]:
    """Rows of pictures, some 64 MB at a time."""
    if not images.exists():
        return
    data = images.lance()
    index = data.scanner(columns=["size"], filter=where, with_row_address=True).to_table()
    addresses = index["_rowaddr"].to_pylist()
    for span in byte_spans(index["size"].to_pylist(), _CHUNK_BYTES, _CHUNK_ROWS):
        yield data._take_rows(addresses[span], columns=images.schema.names)


def _with_ids(table: pa.Table, ids: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.is_in(table["image_id"], value_set=pa.array(ids, pa.string())))


def _copy_whole(source: Table, target: Table) -> None:
    """Put all rows of a table into another."""
    for batch in source.batches(size=8192):
        target.insert(plain_rows(batch))


def _copy_vectors(data: Dataset, target: Dataset, whole: bool = True) -> None:
    """Put vectors into another dataset: all, or those of pictures and captions that are there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    searched = data.searched_vectors()  # first: what is searched without a choice is what was made first
    for name in sorted(data.vector_names(), key=lambda name: (name != searched, name)):
        model = data.vector_model(name)
        place = target.add_vectors(model["model"], model["fingerprint"], model["dim"])
        if whole:
            _copy_whole(data.vectors(name), target.vectors(place))
            continue
        for batch in data.vectors(name).batches(size=8192):
            ids = pc.unique(batch["id"]).to_pylist()
            here = [table.get(ids, [table.key])[table.key].to_pylist() for table in (target.images, target.captions)]
            known = pa.array([key for keys in here for key in keys], batch["id"].type)
            target.vectors(place).insert(plain_rows(batch.filter(pc.is_in(batch["id"], value_set=known))))
