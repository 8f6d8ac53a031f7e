"""The stored vectors of a dataset's pictures and texts, given to its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from panoglot.errors import UserError
from panoglot.networks._records import Record
from panoglot.table import Dataset

if TYPE_CHECKING:
    import numpy as np

__all__ = ["add_image_vectors", "add_many_vectors", "add_question_vectors", "add_text_vectors"]

#: Vectors beyond this are kept in a temporary file that is mapped into memory.
MAPPED = 512 * 2**20


def _room(count: int, dim: int) -> np.ndarray:
    """Return float16 [count, dim] of zeros, in memory or in a file that is mapped."""
    import tempfile

    import numpy as np

    if count * dim * 2 <= MAPPED:
        return np.zeros((count, dim), np.float16)
    with tempfile.TemporaryFile() as file:
        file.truncate(count * dim * 2)
        mapped: np.ndarray = np.memmap(file, np.float16, "r+", shape=(count, dim))
        return mapped


def _load_vectors(data: Dataset, name: str, of: str, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors [N, dim] of ids as they are stored (float16), and which are there [N]."""
    import numpy as np

    table = data.vectors(name)
    dim = table.schema.field("vector").type.list_size
    out = _room(len(ids), dim)
    keys = np.array(ids, "S")
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    seen = np.zeros(len(ids), np.int32)
    for batch in table.batches(["id", "vector"], f"of = '{of}'", size=8192):
        names = np.array(batch["id"].to_pylist(), "S")
        at = np.minimum(np.searchsorted(ranked, names), len(ranked) - 1)
        mine = ranked[at] == names
        place = order[at[mine]]
        out[place] = batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)[mine]
        np.add.at(seen, place, 1)
    if (seen > 1).any():
        raise UserError(f"The vectors '{name}' are several a {of}; a tower of stored vectors needs one.")
    return out, seen > 0


def add_image_vectors(data: Dataset, name: str, records: Sequence[Record]) -> None:
    """Give every record the vector of its picture, and composed queries those of the pictures that answer them."""
    own = [getattr(r.image, "id", r.id) for r in records]
    others = [[getattr(p, "id", "") for p in r.pictures] if r.loader == "triples" else [] for r in records]
    ids = sorted({*own, *(id_ for some in others for id_ in some)})
    vectors, there = _load_vectors(data, name, "image", ids)
    place = {id_: n for n, id_ in enumerate(ids) if there[n]}
    for record, id_, some in zip(records, own, others, strict=True):
        if id_ in place:
            record.vectors = {**record.vectors, "image": vectors[place[id_]]}
        if some and all(one in place for one in some):
            record.vectors = {**record.vectors, "others": vectors[[place[one] for one in some]]}


def add_question_vectors(encoder: str, records: Sequence[Record]) -> None:
    """Give the texts of composed queries their vectors: they are no captions, so nothing keeps them."""
    from panoglot.providers import finish, load_model

    asked = [r for r in records if r.loader == "triples" and r.texts]
    texts = sorted({(t.text, t.lang) for r in asked for t in r.texts})
    if not texts:
        return
    import numpy as np

    model, rows = load_model(encoder, "encoder"), []
    for start in range(0, len(texts), 256):
        some = texts[start : start + 256]
        rows.append(np.asarray(finish(model.encode_texts([t for t, _ in some], [lang for _, lang in some]))))
    place, vectors = {one: n for n, one in enumerate(texts)}, np.concatenate(rows).astype(np.float16)
    for record in asked:
        record.vectors = {**record.vectors, "text": vectors[[place[t.text, t.lang] for t in record.texts]]}


def add_text_vectors(
    data: Dataset, name: str, records: Sequence[Record], owners: Sequence[tuple[str, ...]], left_out: Counter[str]
) -> None:
    """Give every text its vector; texts without one are left out."""
    vectors, there = _load_vectors(data, name, "caption", [id_ for ids in owners for id_ in ids])
    start = 0
    for record, ids in zip(records, owners, strict=True):
        if not ids:
            continue
        mine, has = vectors[start : start + len(ids)], there[start : start + len(ids)]
        start += len(ids)
        if not has.all():
            left_out["caption: no_vector"] += int((~has).sum())
            place = {old: new for new, old in enumerate(has.nonzero()[0].tolist())}
            record.texts = [
                replace(t, of=None if t.of is None else place.get(t.of))
                for n, t in enumerate(record.texts)
                if n in place
            ]
            mine = mine[has]
        record.vectors = {**record.vectors, "text": mine}


def add_many_vectors(
    data: Dataset, name: str, records: Sequence[Record], owners: Sequence[tuple[str, ...]], left_out: Counter[str]
) -> None:
    """Give every record the vectors of all its texts, however many each has."""
    import numpy as np

    table = data.vectors(name)
    place = {id_: n for n, ids in enumerate(owners) for id_ in ids}
    rows: list[tuple[int, str]] = []  # record and vector
    seen: set[str] = set()
    for batch in table.batches(["vector_id", "id"], "of = 'caption'", size=8192):
        for key, id_ in zip(batch["vector_id"].to_pylist(), batch["id"].to_pylist(), strict=True):
            if id_ in place:
                rows.append((place[id_], key))
                seen.add(id_)
    rows.sort()
    at = {key: n for n, (_, key) in enumerate(rows)}
    out = _room(len(rows), table.schema.field("vector").type.list_size)
    for batch in table.batches(["vector_id", "vector"], "of = 'caption'", size=8192):
        keys = batch["vector_id"].to_pylist()
        vectors = batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(len(keys), -1)
        mine = [n for n, key in enumerate(keys) if key in at]
        out[[at[keys[n]] for n in mine]] = vectors[mine]
    edges = np.searchsorted([owner for owner, _ in rows], np.arange(len(records) + 1)).tolist()
    for n, record in enumerate(records):
        if edges[n] < edges[n + 1]:
            record.vectors = {**record.vectors, "text": out[edges[n] : edges[n + 1]]}
    left_out["caption: no_vector"] += len(place) - len(seen)
    left_out += Counter()
