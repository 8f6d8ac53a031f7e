"""Forgetting pictures: all rows about them go, a mark under their id stays, what lies on disk is erased."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from panoglot.identity import hash_parts
from panoglot.table._dataset import Dataset
from panoglot.table._records import NO_FACT
from panoglot.table._table import Table, plain_rows, sql_in

__all__ = ["FORGOTTEN", "LEFT_OUT", "edit_row", "erase", "forget_images", "forgotten", "take_back"]

#: The mark of a picture that somebody had forgotten: it stays away, whatever gives it again.
FORGOTTEN = "forgotten"
#: SQL on marks for pictures that are here and dropped: those that were forgotten are not here.
LEFT_OUT = f"dropped is not null and dropped <> '{FORGOTTEN}'"
_MADE = "array_length(parents) > 0"
#: So many ids a statement.
_MANY = 500


def forgotten(data: Dataset, ids: Iterable[str]) -> set[str]:
    """Those of the pictures that were forgotten."""
    some = list(dict.fromkeys(ids))
    if not some or not data.marks.exists():
        return set()
    where = f"dropped = '{FORGOTTEN}' and {sql_in('image_id', some)}"
    return set(data.marks.read(["image_id"], where)["image_id"].to_pylist())


def edit_row(
    item: str, action: str, before: str = "", after: str = "", author: str = "", of: str = "captions"
) -> dict[str, Any]:
    """A row of `edits`, now.

    Args:
        item: the caption or picture.
        action: `add`, `correct`, `drop`, `forget` …
        before: the text that was.
        after: the text that is, or the reason.
        author: who.
        of: the table of the item.
    """
    now = datetime.now(UTC)
    row = {"item": item, "of": of, "action": action, "before": before, "after": after, "author": author or None}
    return {**row, "edit_id": hash_parts("edit", item, action, now.isoformat(), after), "time": now, "run_id": ""}


def forget_images(data: Dataset, ids: Sequence[str], author: str = "") -> tuple[int, int]:
    """Delete every row about pictures and about what was made of them (crops, frames), and mark them.

    Call `erase` afterwards: until then the bytes lie on the disk.

    Args:
        data: the dataset.
        ids: pictures.
        author: who wants it.

    Returns:
        How many pictures and captions are gone.
    """
    made = _made_of(data, ids)
    keys = [*ids, *made]
    told = sum(data.captions.count(f"{sql_in('image_id', some)} and {NO_FACT}") for some in _many(keys))
    captions, assets = _column(data.captions, "caption_id", keys), set(_column(data.images, "asset_id", keys))
    owners = [*keys, *captions]
    with data.writer():
        # first: from here on nobody finds them
        data.marks.upsert([{"image_id": key, "scores": {}, "dropped": FORGOTTEN, "run_id": ""} for key in keys])
        places = [uri for uri in _column(data.images, "uri", keys) if uri] + _column(data.places, "place", keys)
        for name in data.vector_names():
            _delete(data.vectors(name), "id", owners)
        for table in (data.captions, data.hashes, data.facts, data.places, data.splits, data.choices, data.images):
            _delete(table, "image_id", keys)
        _delete(data.ratings, "item", owners)
        _delete(data.ratings, "against", owners)
        _delete(data.rejects, "item", [*owners, *places])
        _unlink(data, keys)
        left = set(_column(data.images, "asset_id", sorted(filter(None, assets)), "asset_id"))
        _delete(data.assets, "asset_id", sorted(set(filter(None, assets)) - left))
        # rows that say what somebody wrote are replaced whole: what was changed in place would leave the old text
        rows = [row for some in _many(owners) for row in data.edits.rows(None, sql_in("item", some))]
        data.edits.upsert(
            [{**row, "before": "", "after": ""} for row in rows]
            # of what was made of them the row says of which, so that it is taken back with them
            + [edit_row(key, "forget", "", " ".join(made.get(key, ())), author, "images") for key in keys]
        )
    data.store.remove("report.html")  # it may show them, and so may what it is made of
    for shown in data.store.scratch("cache").glob("shown-*.json"):
        shown.unlink(missing_ok=True)
    return len(keys), told


def _made_of(data: Dataset, ids: Sequence[str]) -> dict[str, list[str]]:
    """Pictures that were made of these, through any number of parents, to those of these that they were made of."""
    left = {row["image_id"]: row["parents"] for row in data.images.rows(["image_id", "parents"], _MADE)}
    roots = {key: {key} for key in ids}
    changed = True
    while changed:
        changed = False
        for key, parents in left.items():
            found = set[str]().union(*(roots[one] for one in parents if one in roots))
            if key not in ids and not found <= roots.get(key, set()):
                roots[key] = found | roots.get(key, set())
                changed = True
    return {key: sorted(of) for key, of in sorted(roots.items()) if key not in ids}


def take_back(data: Dataset, ids: Sequence[str]) -> int:
    """Take away the marks of pictures that were forgotten, and of what was made of them alone.

    Nobody knows any more where they were and what was done with them: sources are read anew, and nothing that a ledger
    holds of a row that is not here counts as done. The journal gives answers that were paid for once more.

    Args:
        data: the dataset.
        ids: pictures that are marked.

    Returns:
        How many marks are gone.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    edits = data.edits.rows(["item", "after"], "action = 'forget' and after <> ''")
    made = {row["item"]: set(row["after"].split()) for row in edits}
    others = forgotten(data, set[str]().union(*made.values())) - set(ids)
    back = forgotten(data, [*ids, *(key for key, of in made.items() if of & set(ids) and not of & others)])
    with data.writer():
        for some in _many(sorted(back)):
            data.marks.delete(sql_in("image_id", some))
        data.edits.insert([edit_row(key, "undo", of="images") for key in sorted(back)])
        here = [table.read([table.key])[table.key].cast(pa.string()) for table in (data.images, data.captions)]
        known = pa.chunked_array([chunk for column in here for chunk in column.chunks], pa.string())
        for name in data.store.tables("work"):
            ledger = data.work(name.removeprefix("work/"))
            if name.startswith(("work/ingest-", "work/copy-")):
                ledger.delete("true")
                continue
            # groups are no rows: each may have had one of these pictures
            items = ledger.read(["item"])["item"].cast(pa.string())
            _delete(ledger, "item", items.filter(pc.invert(pc.is_in(items, value_set=known))).to_pylist())
    return len(back)


def _unlink(data: Dataset, keys: Sequence[str]) -> None:
    """Delete documents that show pictures, and triples that are about them or have nothing else that answers."""
    chosen = set(keys)
    _delete(data.documents, "document_id", list(_showing(data.documents, "parts", keys)))
    _delete(data.triples, "image_id", keys)
    found = {key for column in ("positives", "negatives") for key in _showing(data.triples, column, keys)}
    rows = plain_rows(data.triples.get(sorted(found)))
    for row in rows:
        for column in ("positives", "negatives"):
            row[column] = [one for one in row[column] or () if one not in chosen]
    _delete(data.triples, "triple_id", [row["triple_id"] for row in rows if not row["positives"]])
    data.triples.upsert([row for row in rows if row["positives"]])


def _showing(table: Table, column: str, keys: Sequence[str]) -> Iterator[str]:
    """Keys of the rows whose list `column` has one of the pictures."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(keys, pa.string())
    for rows in table.batches([table.key, column]):
        items = rows[column].flatten()
        ids = items.field("image_id") if pa.types.is_struct(items.type) else items
        at = pc.unique(pc.list_parent_indices(rows[column]).filter(pc.is_in(ids, wanted)))
        yield from rows[table.key].take(at).to_pylist()


def _many(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[at : at + _MANY] for at in range(0, len(ids), _MANY)]


def _delete(table: Table, column: str, values: Sequence[str]) -> None:
    for some in _many(values):
        where = sql_in(column, some)
        if table.count(where):  # no commit for nothing
            table.delete(where)


def _column(table: Table, column: str, values: Sequence[str], by: str = "image_id") -> list[str]:
    return [one for some in _many(values) for one in table.read([column], sql_in(by, some))[column].to_pylist()]


def erase(data: Dataset) -> bool:
    """Rewrite what holds deleted rows and remove older versions, so that nothing of them lies in the dataset's tables.

    Fragments without a deleted row stay as they lie: what it costs grows with what was touched. Copies for searching go
    too; they are made again when they are needed.

    Returns:
        Whether all of it is gone. It is not while somebody writes, or reads an older version.
    """
    with data.alone() as mine:
        if not mine:
            return False
        for path in data.store.scratch("cache").glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif not path.name.startswith("calibrated-"):  # four numbers, of no picture: without them all is answered
                path.unlink(missing_ok=True)
        for name in data.store.names("work"):  # hashes of pictures that were compared
            if name.startswith("near-"):
                data.store.remove(f"work/{name}")
        # what ledgers know is ids alone
        tables = [table for table in data._tables() if not table.name.startswith("work/")]
        return len(tables) == sum(table.erase() for table in tables)
