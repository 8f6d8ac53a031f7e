"""What a trained composer does on queries that it has not seen, beside what each of their parts finds alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from panoglot.networks._records import Record
from panoglot.networks._views import shown_of
from panoglot.networks.encoder import TrainedEncoder

__all__ = ["measure_products", "measure_queries"]

_KS = (1, 5, 10)
#: Most queries that are measured: the first by id, which is a hash.
MOST = 5_000
#: Of those so many are reranked, each its best so many.
MATCHED, BEST = 300, 10


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
        as [value, low, high]: a composer that reads one part only is no better than that part. Of a row that matches
        `first@1` and `reranked@1`, see `_reranked`.
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
    right = np.array([names.index(r.pair_id or r.id) for r in chosen])
    hidden = np.array([[name == mine for name in names] for mine in own])
    out = _told(found, views, right, hidden, twins, seed)
    if getattr(encoder, "matches", False):
        pictures = [answers[name].pictures[0] for name in names]
        out |= _reranked(encoder, chosen, found["both"], views, pictures, right, hidden, twins, seed)
    return out


def _reranked(
    encoder: TrainedEncoder,
    chosen: Sequence[Record],
    asked: np.ndarray,
    views: np.ndarray,
    pictures: Sequence[Any],
    right: np.ndarray,
    hidden: np.ndarray,
    twins: int,
    seed: int,
) -> dict[str, Any]:
    """What comes first before (`first@1`) and after (`reranked@1`) the model puts the best ten in its order.

    Of the first `MATCHED` queries, both: where the second is worse, a search leaves the order as it is.
    """
    count = min(len(chosen), MATCHED)
    scores = np.einsum("qd,nvd->nvq", np.nan_to_num(asked[:count]), np.nan_to_num(views)).max(1).T
    scores[hidden[:count]] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :BEST]
    pairs = [(n, k) for n in range(count) for k in best[n].tolist() if scores[n, k] > -np.inf]
    own, shown = [_whole(r.image) for r in chosen[:count]], [_whole(picture) for picture in pictures]
    queries = [[own[n], chosen[n].texts[0].text] for n, _ in pairs]
    sure = dict(zip(pairs, encoder.match_queries(queries, [shown[k] for _, k in pairs]), strict=True))
    order = np.array([[sure.get((n, k)) or 0.0 for k in best[n].tolist()] for n in range(count)])
    weights, out = _drawn(count, twins, seed), {}
    for name, place in (("first", np.zeros(count, int)), ("reranked", order.argmax(1))):
        out[f"{name}@1"] = _interval(best[np.arange(count), place] == right[:count], weights)
    return out


def measure_products(
    encoder: TrainedEncoder,
    records: Sequence[Record],
    *,
    gallery: Mapping[str, tuple[Any, str]] | None = None,
    twins: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure how often a query of several products finds the product that answers it (MERIT).

    A query's own products, known by their pictures, are not in its gallery. Equal scores count against the model.

    Args:
        encoder: trained, with a composer of many parts.
        records: documents with an answer, a picture and its title; `pair_id` names the answer.
        gallery: name → (picture, title) of more products that may be found.
        twins: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        As of `measure_queries`: `picture` is the query's pictures alone, `text` its words alone.
    """
    split = [(r, *_split_turns(r)) for r in sorted(records, key=lambda r: r.id)]
    chosen = [(r, query, answer) for r, query, answer in split if query and answer is not None][:MOST]
    shop = dict(gallery or {})
    for record, _, answer in chosen:
        shop.setdefault(record.pair_id or record.id, answer)
    names = sorted(shop)
    views = encoder.encode_queries([[_whole(one) for one in shop[name] if _some(one)] for name in names])[:, None]
    asked = [[_whole(one) for one in query] for _, query, _ in chosen]
    found = {"both": encoder.encode_queries(asked)}
    for way, texts in (("picture", False), ("text", True)):
        found[way] = encoder.encode_queries(
            [[one for one in query if isinstance(one, str) is texts] for query in asked]
        )
    found["sum"] = found["picture"] + found["text"]
    right = np.array([names.index(r.pair_id or r.id) for r, *_ in chosen])
    kept = [_key(shop[name][0]) for name in names]
    own = [{_key(one) for one in query if not isinstance(one, str)} for _, query, _ in chosen]
    return _told(found, views, right, np.array([[key in mine for key in kept] for mine in own]), twins, seed)


def _whole(part: Any) -> Any:
    """A picture that lies in a dataset, read; anything else as it is."""
    from panoglot.pictures import Image

    return Image(part()) if callable(part) else part


def _some(part: Any) -> bool:
    return not isinstance(part, str) or bool(part.strip())


def _key(picture: Any) -> Any:
    """What two equal pictures share."""
    return getattr(picture, "id", None) or np.asarray(picture).tobytes()


def _split_turns(record: Record) -> tuple[list[Any], tuple[Any, str] | None]:
    """The parts of a query in their order, each picture before its turn's text, and its answer: (picture, title)."""
    query, answer, title = list[Any](), None, list[str]()
    for turn in record.turns:
        picture = None if turn.picture is None else record.pictures[turn.picture]
        if turn.role == "answer":
            answer = answer if picture is None else picture
            title.append(turn.text)
        elif turn.role != "negative":
            query += [one for one in (picture, turn.text) if one is not None and _some(one)]
    return query, None if answer is None else (answer, " ".join(title).strip())


def _told(
    found: Mapping[str, np.ndarray], views: np.ndarray, right: np.ndarray, hidden: np.ndarray, twins: int, seed: int
) -> dict[str, Any]:
    """Recalls with intervals.

    Args:
        found: by way, vectors [Q, D] of the queries.
        views: [N, V, D] of the gallery.
        right: [Q] which of the gallery answers.
        hidden: [Q, N] what is not in a query's gallery; its answer always is.
        twins, seed: of the bootstrap.
    """
    count = len(right)
    weights = _drawn(count, twins, seed)
    out: dict[str, Any] = {"queries": count, "gallery": len(views)}
    hidden[np.arange(count), right] = False
    for name, vectors in found.items():
        scores = np.einsum("qd,nvd->nvq", np.nan_to_num(vectors), np.nan_to_num(views)).max(1).T
        scores[hidden] = -np.inf
        ranks = (scores >= scores[np.arange(count), right][:, None]).sum(1) - 1
        for k in _KS:
            out[f"{name}@{k}"] = _interval(ranks < k, weights)
    return out


def _drawn(count: int, twins: int, seed: int) -> np.ndarray:
    """How often each of some queries is drawn, [twins, count]."""
    return np.random.default_rng(seed).multinomial(count, [1 / max(1, count)] * count, twins)


def _interval(hits: np.ndarray, weights: np.ndarray) -> list[float]:
    """The share of hits, with its 95 % interval over what was drawn."""
    low, high = np.quantile(weights @ hits.astype(float) / max(1, len(hits)), [0.025, 0.975])
    return [round(float(v), 6) for v in (hits.mean(), low, high)]


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
