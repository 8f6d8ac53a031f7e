"""The stage that runs an encoder over images (or captions) and stores the vectors."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.models import finish, load_model
from panoglot.run._stage import Emit, Item, Outcome, Spent, Stage, Worker, worker_processes
from panoglot.table import Dataset, sql_in

__all__ = ["AlignOperator", "EncodeOperator", "align_stage", "encode_stage"]


def encode_stage(dataset: Dataset, encoder: str, *, of: str = "images", where: str | None = None) -> Stage:
    """Make the stage that fills `vectors/<encoder>`.

    Args:
        dataset: where the vectors go.
        encoder: model name.
        of: `images` or `captions`.
        where: SQL filter on them.
    """
    if of not in ("images", "captions"):
        raise UserError(f"encode of='{of}': use images or captions.")
    model = load_model(encoder, "encoder")
    name = dataset.add_vectors(encoder, model.fingerprint, model.dim)
    return Stage(
        name=f"encode.{of}",
        fingerprint=model.fingerprint,
        operator=EncodeOperator(encoder, of),
        of=of,
        where=where,
        vectors=(name, model.dim),
        batch=512,
        commit=256,
        processes=worker_processes([model]),
    )


@dataclass
class EncodeOperator:
    """Encodes items in the model's batches."""

    encoder: str
    of: str
    _model: Any = None

    def open(self, worker: Worker) -> None:
        """Load the encoder."""
        self._model = load_model(self.encoder, "encoder")

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Encode; a row without a vector is a reject."""
        import numpy as np

        while batch := list(itertools.islice(items, self._model.batch_size)):
            started = time.perf_counter()
            if self.of == "images":
                vectors = finish(self._model.encode_images([item.image for item in batch]))
                langs = ["und"] * len(batch)
            else:
                captions = [item.caption for item in batch if item.caption]
                langs = [caption.lang for caption in captions]
                vectors = finish(self._model.encode_texts([caption.text for caption in captions], langs))
            spent = (time.perf_counter() - started) / len(batch)
            for item, lang, vector in zip(batch, langs, np.asarray(vectors)):
                if not np.isfinite(vector).all():
                    emit(item.key, Outcome(reject=RowError("not_encodable", "the encoder gave no vector")))
                    continue
                rows = [(self.of[:-1], n, lang, row) for n, row in enumerate(vector.reshape(-1, vector.shape[-1]))]
                emit(item.key, Outcome(vectors=rows, spent=Spent(seconds=spent)))

    def close(self) -> None:
        """Release the model."""
        self._model = None


def align_stage(dataset: Dataset, encoder: str, *, where: str | None = "dropped is null") -> Stage:
    """Make the stage that scores how well captions fit their pictures: `alignment`, the cosine under an encoder.

    Image vectors that are stored already are used; only texts are encoded then.
    """
    model = load_model(encoder, "encoder")
    name = dataset.add_vectors(encoder, model.fingerprint, model.dim)
    return Stage(
        name="curate.align",
        fingerprint=model.fingerprint,
        operator=AlignOperator(encoder, name),
        of="captions",
        where=where,
        batch=1024,
        commit=1024,
        processes=worker_processes([model]),
    )


@dataclass
class AlignOperator:
    """Scores captions against the stored vectors of their images."""

    encoder: str
    vectors: str
    _model: Any = None

    def open(self, worker: Worker) -> None:
        """Load the encoder."""
        self._table = worker.dataset.vectors(self.vectors)
        self._model = load_model(self.encoder, "encoder")

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Score; None where the text or the picture has no vector."""
        import numpy as np

        while batch := list(itertools.islice(items, 256)):
            started = time.perf_counter()
            captions = [item.caption for item in batch if item.caption]
            ids = list(dict.fromkeys(caption.image_id for caption in captions))
            rows = self._table.read(["id", "vector"], sql_in("id", ids) + " and of = 'image'")
            pictures: dict[str, list[Any]] = {}
            stored = rows["vector"].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, -1)
            for key, vector in zip(rows["id"].to_pylist(), stored):
                pictures.setdefault(key, []).append(vector.astype(np.float32))
            texts = np.asarray(finish(self._model.encode_texts([c.text for c in captions], [c.lang for c in captions])))
            spent = (time.perf_counter() - started) / len(batch)
            for item, caption, text in zip(batch, captions, texts):
                views = pictures.get(caption.image_id)
                cosine = None
                if views and np.isfinite(text).all():
                    cosine = float((np.stack(views) @ text.reshape(-1, text.shape[-1]).T).max())
                emit(item.key, Outcome(scores={"alignment": cosine}, spent=Spent(seconds=spent)))

    def close(self) -> None:
        """Release the model."""
        self._model = None
