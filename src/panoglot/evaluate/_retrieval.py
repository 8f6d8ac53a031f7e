"""`panoglot evaluate retrieval` without a benchmark: on a dataset of ours, or on vectors in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.errors import UserError
from panoglot.evaluate._declare import Way, benchmark_names
from panoglot.evaluate._options import plain_name
from panoglot.evaluate._read import read_vectors
from panoglot.evaluate._run import Choice, by_benchmark
from panoglot.formats._json import read_json
from panoglot.metrics._results import ResultSet
from panoglot.metrics.ranking.retrieval import image_text_retrieval

__all__ = ["DATASET", "VECTORS", "choose"]


def _dataset(
    source: str,
    encoder: Any = None,
    *,
    lang: Sequence[str] = (),
    metrics: Sequence[str] = ("recall@1", "recall@5", "recall@10"),
    ties: str = "mean",
    confidence: float | None = None,
) -> ResultSet:
    """Every language's captions against all pictures of a dataset, by the encoder that a search of it takes.

    Args:
        ties: rank among equal scores: `mean`, `optimistic`, `pessimistic`.
    """
    from panoglot.evaluate._dataset import dataset_retrieval
    from panoglot.retrieval import choose, loaded_encoder
    from panoglot.table import open_dataset

    data = open_dataset(source)
    if encoder is None:
        encoder = loaded_encoder(data, *choose(data, None))
    return dataset_retrieval(data, encoder, lang=lang or None, metrics=metrics, ties=ties, confidence=confidence)


def _vectors(
    source: str,
    *,
    texts: str | None = None,
    owners: str | None = None,
    lang: Sequence[str] = (),
    metrics: Sequence[str] = ("recall@1", "recall@5", "recall@10"),
    ties: str = "mean",
    on_error: str = "raise",
    folds: int = 1,
    confidence: float | None = None,
) -> ResultSet:
    """Vectors of texts against vectors of pictures.

    Args:
        texts: text vectors `.npy` `[T, dim]`, with image vectors.
        owners: `.npy` or JSON list: the image of every text; without it texts are dealt evenly, in image order.
        ties: rank among equal scores: `mean`, `optimistic`, `pessimistic`.
        folds: equal parts of the images that are searched apart; 5 is usual for COCO's 5,000 test images.
    """
    if texts is None:
        raise UserError("image vectors need --texts, the text vectors (.npy).")
    pictures, rows = read_vectors(source), read_vectors(texts)
    if owners is not None:
        of = read_vectors(owners).ravel().tolist() if owners.endswith(".npy") else read_json(owners)
    elif not len(pictures) or len(rows) % len(pictures):
        raise UserError(f"{len(rows)} texts cannot be dealt evenly to {len(pictures)} images: give --owners.")
    else:
        of = [n // (len(rows) // len(pictures)) for n in range(len(rows))]
    return ResultSet(
        image_text_retrieval(
            pictures, rows, _whole(of, owners), metrics=metrics, ties=ties,  # type: ignore[arg-type]
            lang=",".join(lang), on_error=on_error,  # type: ignore[arg-type]
            confidence=confidence, folds=folds,
        )
    )  # fmt: skip


def _whole(numbers: Any, path: str | None) -> list[int]:
    """Numbers of images."""
    if not isinstance(numbers, list) or not all(
        type(n) is int or (isinstance(n, float) and n.is_integer()) for n in numbers
    ):
        raise UserError(f"{path} must be a list of whole numbers: the image of every text, from 0.")
    return [int(n) for n in numbers]


DATASET, VECTORS = Way(_dataset), Way(_vectors)


def choose(given: Mapping[str, Any]) -> Choice:
    """A benchmark (named, or as the source), vectors, or a dataset."""
    source, rest = str(given.get("source", "")), dict(given)
    mine = {name for verb, name in benchmark_names() if verb == "retrieval"}
    if rest.get("benchmark") is None and plain_name(source) in mine and not Path(source).exists():
        rest["benchmark"] = rest.pop("source")
    elif rest.get("benchmark") is not None:
        rest["data"] = rest.get("data") or rest.pop("source")
        rest.pop("source", None)
    if rest.get("benchmark") is not None:
        return by_benchmark("retrieval", rest)
    rest.pop("benchmark", None)
    if source.endswith(".npy"):
        return Choice("retrieval with vectors (.npy)", VECTORS, rest)
    return Choice("retrieval on a dataset", DATASET, rest)
