"""Which records and which of their texts a row takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from panoglot.networks._records import Record
from panoglot.networks.samplers._sample import matching
from panoglot.networks.samplers.interleave import Document

__all__ = ["selected"]


def selected(
    record: Record,
    splits: Sequence[str] = (),
    kinds: Sequence[str] = (),
    lang: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> Record | None:
    """Return the record with the wanted texts only; None when its split or none of its texts is wanted.

    Stored text vectors belong to the texts one by one and are selected with them.
    """
    if splits and record.split not in splits:
        return None
    if isinstance(record, Document) or record.turns or not (kinds or lang or sources) or not record.texts:
        return record
    texts = matching(record, kinds, sources, lang)
    place = {i: k for k, i in enumerate(i for i, t in enumerate(record.texts) if any(t is x for x in texts))}
    vectors = dict(record.vectors)
    if "text" in vectors and len(vectors["text"]) == len(record.texts):
        vectors["text"] = vectors["text"][list(place)]
    kept = [replace(t, of=None if t.of is None else place.get(t.of)) for t in texts]
    return replace(record, texts=kept, vectors=vectors) if kept else None
