"""CLIPScore and RefCLIPScore with any encoder, in any language it knows.

Source: Hessel et al., EMNLP 2021: CLIPScore = 2.5 max(0, cos(image, caption)); RefCLIPScore = harmonic mean of
CLIPScore and max(0, best cos(caption, reference)). "CLIP reward" (2022) scales the reference side by 2.5 as well
(`reference_weight=2.5`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_images, encode_texts, unit
from panoglot.checks import offenders
from panoglot.errors import UserError
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import OnEmpty, Predictions, References, prepare
from panoglot.metrics._result import MetricResult

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = ["CLIPSCORE", "REFCLIPSCORE", "clipscore", "clipscore_from_vectors"]

#: What the paper puts before an English caption; other languages get nothing.
ENGLISH_PREFIX = "A photo depicts "


def clipscore(
    preds: Predictions,
    images: Sequence[Image] | np.ndarray,
    encoder: Encoder,
    *,
    refs: References | None = None,
    lang: str | Sequence[str] = "en",
    ids: Sequence[Any] | None = None,
    w: float = 2.5,
    reference_weight: float = 1.0,
    prefix: str | None = None,
    on_error: OnEmpty = "raise",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Mean CLIPScore, or RefCLIPScore when `refs` are given.

    Args:
        preds: a caption for each item.
        images: a picture for each item, or its vectors `[N, dim]` (encode once, evaluate in many languages).
        encoder: any encoder; it sees every distinct text once.
        refs: references of each item.
        lang: language of all captions.
        ids: item ids.
        w: weight of the cosine.
        reference_weight: weight of the reference cosine.
        prefix: put before every caption and reference; None is the paper's for English, else nothing.
        on_error: what empty captions do: `raise`, `null`, `score`.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        Item values are null where a vector could not be made; `parts` hold the share of captions cut by the encoder
        when it says where it cuts.

    Raises:
        UserError: bad input, naming the first offenders.
    """
    given = prepare(
        preds, refs, lang=lang, ids=ids, on_error=on_error, read=False, confidence=confidence, resamples=resamples,
        seed=seed,
    )  # fmt: skip
    if len(images) != len(given.ids):
        raise UserError(f"{len(given.ids)} captions but {len(images)} images.")
    if prefix is None:
        prefix = ENGLISH_PREFIX if given.language.split("-")[0] == "en" else ""
    kept = given.kept
    texts = encode_texts(encoder, [prefix + text for text in given.texts], given.language) if kept else None
    pictures: np.ndarray | None = None
    if hasattr(images, "ndim"):
        pictures = unit(images)[list(kept)]
    elif kept:
        pictures = encode_images(encoder, [images[n] for n in kept])
    references = None
    if refs is not None and kept:
        flat = [prefix + text for item in given.ref_texts for text in item]
        vectors = encode_texts(encoder, flat, given.language)
        references, at = [], 0
        for item in given.ref_texts:
            references.append(vectors[at : at + len(item)])
            at += len(item)
    values = (
        clipscore_from_vectors(texts, pictures, references, w=w, reference_weight=reference_weight)
        if texts is not None and pictures is not None
        else []
    )
    options = {"w": w, "prefix": prefix, "encoder": getattr(encoder, "fingerprint", type(encoder).__name__)}
    if refs is not None:
        options["reference_weight"] = reference_weight
    return given.mean("clipscore" if refs is None else "refclipscore", values, options)


def clipscore_from_vectors(
    texts: np.ndarray,
    images: np.ndarray,
    references: Sequence[np.ndarray] | None = None,
    *,
    w: float = 2.5,
    reference_weight: float = 1.0,
) -> list[float | None]:
    """Scores from vectors; null where one is NaN or zero.

    Args:
        texts: `[N, dim]`, of any length; scaled to unit length here.
        images: `[N, dim]`.
        references: for RefCLIPScore, `[R_i, dim]` for each item.
        w: weight of the image cosine.
        reference_weight: weight of the reference cosine.

    Raises:
        UserError: shapes that do not fit.

    >>> clipscore_from_vectors([[1, 0], [0, 1], [0, 0]], [[0.6, 0.8], [0, -1], [1, 0]])
    [1.5, 0.0, None]
    >>> clipscore_from_vectors([[1, 0]], [[0.6, 0.8]], [[[0.5, 0], [0, 1]]])
    [1.2]
    """
    import numpy as np

    ours, theirs = unit(texts), unit(images)
    if ours.shape != theirs.shape:
        raise UserError(f"text vectors {list(ours.shape)} and image vectors {list(theirs.shape)} do not fit.")
    scores = w * np.maximum((ours * theirs).sum(axis=1), 0.0)
    if references is not None:
        if len(references) != len(ours):
            raise UserError(f"{len(ours)} captions but references for {len(references)}.")
        wrong = [n for n, item in enumerate(references) if np.ndim(item) != 2 or np.shape(item)[1] != ours.shape[1]]
        if wrong:
            raise UserError(f"reference vectors must be [R, {ours.shape[1]}]; not so for items {offenders(wrong)}.")
        best = np.full(len(ours), np.nan)
        for n, item in enumerate(references):
            cosines = unit(item) @ ours[n]
            if np.isfinite(cosines).any():
                best[n] = reference_weight * max(float(np.nanmax(cosines)), 0.0)
        total = scores + best
        scores = np.divide(2 * scores * best, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0)
    return [None if np.isnan(score) else float(score) for score in scores]


_ABOUT: dict[str, Any] = {
    "languages": "those of the encoder", "source": "Hessel et al., EMNLP 2021", "parity": "definition",
}  # fmt: skip
CLIPSCORE = Metric(
    "clipscore", clipscore, "2.5 max(0, cosine) of picture and caption", needs="images encoder", **_ABOUT
)
REFCLIPSCORE = Metric(
    "refclipscore", clipscore, "harmonic mean of CLIPScore and the best cosine with a reference",
    needs="refs images encoder", **_ABOUT,
)  # fmt: skip
