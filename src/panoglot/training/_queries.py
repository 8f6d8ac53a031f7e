"""What a trained composer does on queries that it has not seen, beside what each of their parts finds alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from panoglot.networks._records import Record
from panoglot.networks._views import shown_of
from panoglot.networks.encoder import TrainedEncoder

__all__ = ["measure_queries"]

_KS = (1, 5, 10)
#: Most queries that are measured: the first by id, which is a hash.
MOST = 5_000


def measure_queries(
    encoder: TrainedEncoder,
    records: Sequence[Record],
    *,
    shows: Mapping[str, str] | None = None,
    twins: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure how often a composed query finds the picture that answers it among those that answer any of them.

    A query's own picture is not in its gallery. Equal scores count against the model. Intervals (95 %) are of a
    bootstrap over queries.

    Args:
        encoder: trained.
        records: with a picture, a text, and the first of `pictures` as the answer; `pair_id` names the answer.
        shows: record → name of the answer that its own picture is; None: by the ids of pictures.
        twins: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        `queries` and `gallery`, how many; of `both`, and of `picture`, `text` and their `sum` alone, `@1`, `@5`, `@10`
        as [value, low, high]: a composer that reads one part only is no better than that part.
    """
    chosen = sorted((r for r in records if r.pictures and r.texts), key=lambda r: r.id)[:MOST]
    answers: dict[str, Record] = {}
    for record in chosen:
        answers.setdefault(record.pair_id or record.id, record)
    names = sorted(answers)
    own = [(shows or {}).get(r.id, getattr(r.image, "id", "")) for r in chosen]
    gallery = _gallery(encoder, [answers[name] for name in names])
    views = gallery.reshape(len(names), -1, gallery.shape[-1])
    asked = [_parts(encoder, record) for record in chosen]
    picture = encoder.encode_query_parts([(x, None) for x, _ in asked])
    text = (
        encoder.encode_query_parts([(None, t) for _, t in asked]) if encoder.model.speaks else _texts(encoder, chosen)
    )
    found = {"both": encoder.encode_query_parts(asked), "picture": picture, "text": text, "sum": picture + text}
    weights = np.random.default_rng(seed).multinomial(len(chosen), [1 / max(1, len(chosen))] * len(chosen), twins)
    out: dict[str, Any] = {"queries": len(chosen), "gallery": len(names)}
    right = np.array([names.index(r.pair_id or r.id) for r in chosen])
    hidden = np.array([[name == mine for name in names] for mine in own])
    hidden[np.arange(len(chosen)), right] = False
    for name, vectors in found.items():
        scores = np.einsum("qd,nvd->nvq", np.nan_to_num(vectors), np.nan_to_num(views)).max(1).T
        scores[hidden] = -np.inf
        ranks = (scores >= scores[np.arange(len(chosen)), right][:, None]).sum(1) - 1
        for k in _KS:
            hits = (ranks < k).astype(float)
            low, high = np.quantile(weights @ hits / len(chosen), [0.025, 0.975])
            out[f"{name}@{k}"] = [round(float(v), 6) for v in (hits.mean(), low, high)]
    return out


def _gallery(encoder: TrainedEncoder, records: Sequence[Record]) -> np.ndarray:
    if encoder.base("image") is not None:
        return encoder.encode_image_vectors(np.stack([r.vectors["others"][0] for r in records]))
    return encoder.encode_pixels([shown_of(r.pictures[0], encoder.row) for r in records])


def _parts(encoder: TrainedEncoder, record: Record) -> tuple[Any, Any]:
    """The picture and the text of a query as the model takes them."""
    x: Any = record.vectors["image"] if encoder.base("image") is not None else None
    text: Any = record.texts[0].text
    if encoder.base("text") is not None:
        text = np.asarray(record.vectors["text"][0], np.float32)
    return (shown_of(record.image, encoder.row) if x is None else np.asarray(x, np.float32)), text


def _texts(encoder: TrainedEncoder, records: Sequence[Record]) -> np.ndarray:
    if encoder.base("text") is not None:
        return encoder.encode_text_vectors(np.stack([r.vectors["text"][0] for r in records]))
    return encoder.encode_texts([r.texts[0].text for r in records], [r.texts[0].lang for r in records])
