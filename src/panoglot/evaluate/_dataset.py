"""Retrieval on a dataset of ours: every language against the same pictures, which are encoded once and kept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from panoglot.asking import call, encode_texts
from panoglot.errors import UserError
from panoglot.languages import canonical_language, matches, meeting
from panoglot.metrics._results import ResultSet, mean_over
from panoglot.metrics.ranking.retrieval import image_text_retrieval
from panoglot.providers import load_model
from panoglot.table import Dataset, open_dataset, vector_id

if TYPE_CHECKING:
    import numpy as np

    from panoglot.providers.roles import Encoder

__all__ = ["KINDS", "dataset_retrieval", "image_vectors"]

#: Captions that describe the whole picture.
KINDS = ("human", "alt", "short", "dense")


def image_vectors(dataset: Dataset, encoder: Encoder, *, store: bool = True) -> tuple[list[str], np.ndarray, int]:
    """Vectors of all pictures: those stored under the encoder's fingerprint, and the others encoded now.

    Args:
        dataset: open; pictures that curation dropped are left out.
        encoder: its `fingerprint` says which stored vectors are its own; without one none are stored.
        store: keep new vectors in the dataset.

    Returns:
        `(ids, vectors [N, dim] float32, encoded)`: sorted ids, NaN where a picture cannot be encoded, and how many were
        encoded now.

    Raises:
        UserError: an encoder with several vectors a picture.
    """
    import numpy as np

    from panoglot.pictures import Image

    ids = sorted(set(dataset.images.read(["image_id"])["image_id"].to_pylist()) - dataset.dropped_images())
    place = {key: n for n, key in enumerate(ids)}
    found = np.full((len(ids), encoder.dim), np.nan, dtype=np.float32)
    have = np.zeros(len(ids), dtype=np.int64)
    fingerprint = str(getattr(encoder, "fingerprint", "") or "")
    encoder = getattr(encoder, "encoder", encoder)  # a dataset keeps its pictures' vectors itself
    store = store and bool(fingerprint)
    for name in dataset.vector_names():
        if dataset.vector_model(name)["fingerprint"] != fingerprint:
            continue
        for batch in dataset.vectors(name).batches(["id", "vector"], "of = 'image'", size=8192):
            rows = batch["vector"].flatten().to_numpy().reshape(batch.num_rows, -1)
            for key, row in zip(batch["id"].to_pylist(), rows):
                if key in place:
                    found[place[key]] = row
                    have[place[key]] += 1
    if (have > 1).any():
        raise UserError("this encoder stores several vectors a picture; retrieval here needs one.")
    missing = [key for key, count in zip(ids, have) if not count]
    table = None
    if store and missing:
        named = getattr(encoder, "name", "encoder")
        table = dataset.vectors(dataset.add_vectors(named, fingerprint, encoder.dim))
    for start in range(0, len(missing), 256):
        some = missing[start : start + 256]
        data = dataset.images.get(some, ["data"])
        pictures, keys = [], []
        for key, raw in zip(data["image_id"].to_pylist(), data["data"].to_pylist()):
            keys.append(key)
            pictures.append(Image(raw))
        new = np.asarray(call(encoder, "encode_images", pictures), dtype=np.float32)
        if new.ndim != 2:
            raise UserError("this encoder gives several vectors a picture; retrieval here needs one.")
        found[[place[key] for key in keys]] = new
        if table is not None:
            rows = [
                {"vector_id": vector_id(key, fingerprint, 0), "id": key, "of": "image", "lang": "und",
                 "vector": row.astype(np.float16), "run_id": ""}
                for key, row in zip(keys, new) if np.isfinite(row).all()
            ]  # fmt: skip
            with dataset.writer():
                table.insert(rows)
    # as they are stored: the same numbers whether read or made
    return ids, found.astype(np.float16).astype(np.float32), len(missing)


def dataset_retrieval(
    dataset: str | os.PathLike[str] | Dataset,
    encoder: str | Encoder,
    *,
    lang: Iterable[str] | str | None = None,
    kinds: Sequence[str] = KINDS,
    metrics: Sequence[str] = ("recall@1", "recall@5", "recall@10"),
    ties: Any = "mean",
    store: bool = True,
    confidence: float | None = None,
) -> ResultSet:
    """Recall of every language's kept captions against all pictures, both ways.

    Args:
        dataset: path, or open.
        encoder: name, or an `Encoder`.
        lang: tags (`zh` takes `zh-Hant` too); None for every language that has captions.
        kinds: kinds of captions that count.
        metrics: names, see `retrieval`.
        ties: see `retrieval`.
        store: keep new picture vectors in the dataset.
        confidence: level of bootstrap intervals.

    Returns:
        `<lang>/text_to_image` and `<lang>/image_to_text`; pictures without a caption in a language are in its gallery,
        and null in `image_to_text`. `summary` has the means over languages.

    Raises:
        UserError: no dataset, no captions in a language.
    """
    data = open_dataset(dataset)
    model = load_model(encoder, "encoder") if isinstance(encoder, str) else encoder
    table = data.captions.read(["caption_id", "image_id", "text", "lang", "kind"], "dropped is null and region is null")
    rows = sorted((row for row in table.to_pylist() if row["kind"] in kinds), key=lambda row: row["caption_id"])
    present = sorted({row["lang"] for row in rows})
    if lang is None or lang == "all":
        groups = {tag: [tag] for tag in present}
    else:
        asked = [canonical_language(tag) for tag in ([lang] if isinstance(lang, str) else lang)]
        groups = {tag: [one for one in present if matches(tag, one)] for tag in asked}
    _, met = meeting(list(groups), Counter(row["lang"] for row in rows))
    empty = [tag for tag, mine in groups.items() if not mine]
    if empty or not groups:
        raise UserError(
            f"{data.address} has no kept captions ({', '.join(kinds)}) in {', '.join(empty) or 'any language'}: "
            f"{' '.join(met) or 'it has no captions.'}"
        )
    ids, vectors, encoded = image_vectors(data, model, store=store)
    place = {key: n for n, key in enumerate(ids)}
    notes = [f"{encoded} of {len(ids)} pictures were encoded now, the others' vectors were stored"]
    gone = len(data.dropped_images())
    if gone:
        notes.append(f"{gone} pictures that curation dropped are neither searched nor found")
    if lang not in (None, "all"):
        notes += met
    found = ResultSet(notes=tuple(notes))
    said = {"encoder": getattr(model, "name", ""), "encoder_fingerprint": getattr(model, "fingerprint", "")}
    for tag, mine in groups.items():
        chosen = [row for row in rows if row["lang"] in mine and row["image_id"] in place]
        texts = encode_texts(model, [row["text"] for row in chosen], tag)
        both = image_text_retrieval(
            vectors, texts, [place[row["image_id"]] for row in chosen], metrics=metrics, ties=ties, image_ids=ids,
            text_ids=[row["caption_id"] for row in chosen], lang=tag, on_error="null", confidence=confidence,
        )  # fmt: skip
        for way in ("text_to_image", "image_to_text"):
            found[f"{tag}/{way}"] = replace(both[way], options={**both[way].options, **said})
    for way in ("text_to_image", "image_to_text"):
        found.summary[f"mean/{way}"] = mean_over({n: one for n, one in found.items() if n.endswith(way)})
    return found
