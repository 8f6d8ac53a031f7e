"""What a trained model does on pictures that it has not seen: recall per language, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from panoglot.errors import RowError
from panoglot.networks._records import Record
from panoglot.networks._views import shown_frames
from panoglot.networks.encoder import TrainedEncoder
from panoglot.pictures import Image
from panoglot.training._measure import ranks

__all__ = ["measure"]

#: Most pictures of the gallery: the first by id, which is a hash.
MOST = 5_000
_KINDS = ("raw", "short", "long", "translation")
_KS = (1, 5, 10)


def measure(encoder: TrainedEncoder, records: Sequence[Record], *, twins: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Measure recall at 1, 5 and 10 of every language, text to picture and back, among the same pictures.

    Equal scores count against the model. Intervals (95 %) are of a bootstrap over pictures: the texts of a picture are
    drawn together.

    Args:
        encoder: trained.
        records: that it has not seen.
        twins: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        `pictures`: of the gallery; `languages`: tag → `texts`, `pictures` (that have a text in it), `t2i@k` and `i2t@k`
        as [value, low, high]; `mean`: over languages, without intervals.
    """
    chosen = sorted(records, key=lambda r: r.id)[:MOST]
    chosen = [r for r in chosen if any(t.kind in _KINDS for t in r.texts)]
    stored_images, stored_texts = (encoder.base(side) is not None for side in ("image", "text"))
    stored_texts = stored_texts and not hasattr(encoder.base("text"), "encode_facets")  # a query has one vector
    rows = []
    for start in range(0, len(chosen), 256):
        part = chosen[start : start + 256]
        if stored_images:
            blank = np.full(encoder.row.image["width"], np.nan, np.float32)
            rows.append(encoder.encode_image_vectors([r.vectors.get("image", blank) for r in part]))
        else:
            rows.append(_pictures(encoder, part))
    x = np.concatenate(rows) if rows else np.empty((0, encoder.dim), np.float32)
    seen = np.isfinite(x).all(1)
    x, chosen = x[seen], [r for r, ok in zip(chosen, seen.tolist(), strict=True) if ok]
    gallery = torch.from_numpy(x)
    by_lang: dict[str, list[tuple[int, int]]] = {}
    for n, record in enumerate(chosen):
        for k, text in enumerate(record.texts):
            if text.kind in _KINDS:
                by_lang.setdefault(text.lang, []).append((n, k))
    weights = np.random.default_rng(seed).multinomial(len(chosen), [1 / max(1, len(chosen))] * len(chosen), twins)
    found: dict[str, Any] = {}
    for lang in sorted(by_lang, key=lambda tag: (-len(by_lang[tag]), tag)):
        pairs = by_lang[lang]
        if stored_texts:
            y = encoder.encode_text_vectors([chosen[n].vectors["text"][k] for n, k in pairs])
        else:
            y = encoder.encode_texts([chosen[n].texts[k].text for n, k in pairs], [lang] * len(pairs))
        there = np.isfinite(y).all(1)
        owner = torch.tensor([n for n, _ in pairs], dtype=torch.long)[torch.from_numpy(there)]
        if not len(owner):
            continue
        t2i, i2t, has = ranks(gallery, torch.from_numpy(y[there]), owner)
        found[lang] = {"texts": len(owner), "pictures": len(has)}
        for way, rank, of in (("t2i", t2i, owner), ("i2t", i2t, has)):
            for k in _KS:
                found[lang][f"{way}@{k}"] = _interval((rank < k).numpy(), of.numpy(), weights)
    names = [f"{way}@{k}" for way in ("t2i", "i2t") for k in _KS]
    mean = {name: float(np.mean([one[name][0] for one in found.values()])) for name in names} if found else {}
    return {"pictures": len(chosen), "languages": found, "mean": mean}


def _pictures(encoder: TrainedEncoder, records: Sequence[Record]) -> np.ndarray:
    """Vectors of pictures; of a video the mean over frames that are spread evenly over it (COSMO: three)."""
    frames = [shown_frames(r.pictures, 3) if r.loader == "pair_video" else [r.image] for r in records]
    found = encoder.encode_images([_image(one) for some in frames for one in some])
    edges = np.cumsum([0, *map(len, frames)])
    mean = np.stack([found[low:high].mean(0) for low, high in pairwise(edges)])
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    out: np.ndarray = (mean / np.where(length > 0, length, 1)).astype(np.float32)
    return out


def _image(image: Any) -> Image:
    """A picture; one that is gone or broken is a row of NaN, as for any encoder."""
    try:
        raw = image() if callable(image) else image
        return Image.from_path(raw) if isinstance(raw, str) else Image(bytes(raw))
    except RowError:
        return Image(b"", "broken", 1, 1)


def _interval(hits: np.ndarray, of: np.ndarray, weights: np.ndarray) -> list[float]:
    """Return the mean of hits and its interval, when the pictures they belong to are drawn again."""
    total = np.bincount(of, hits, weights.shape[1])
    count = np.bincount(of, minlength=weights.shape[1])
    counts = weights @ count
    means = (weights @ total)[counts > 0] / counts[counts > 0]
    low, high = np.quantile(means, [0.025, 0.975]) if len(means) else (0.0, 1.0)
    return [round(float(v), 6) for v in (hits.mean(), low, high)]
