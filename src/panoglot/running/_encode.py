"""The stage that runs an encoder over images (or captions) and stores the vectors."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from panoglot.asking import Spent
from panoglot.errors import RowError, UserError
from panoglot.providers import finish, load_model
from panoglot.running._stage import Emit, Item, Outcome, Stage, Worker, worker_processes
from panoglot.table import Caption, Dataset, sql_in

if TYPE_CHECKING:
    import numpy as np

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
    model, name = _vectors_of(dataset, encoder)
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


def align_stage(dataset: Dataset, encoder: str, *, where: str | None = "dropped is null") -> Stage:
    """Make the stage that scores how well captions fit their pictures: `alignment`, the cosine under an encoder.

    Vectors of images must be stored before (`encode_stage`); only texts are encoded here. A caption whose picture has
    none yet stays pending: a later call scores it.
    """
    model, name = _vectors_of(dataset, encoder)
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


def _vectors_of(dataset: Dataset, encoder: str) -> tuple[Any, str]:
    """The encoder, and the name of its vectors, for which there is room now."""
    model = load_model(encoder, "encoder")
    return model, dataset.add_vectors(encoder, model.fingerprint, model.dim)


@dataclass
class _EncoderOperator:
    """Has an encoder while it is open."""

    encoder: str

    def open(self, worker: Worker) -> None:
        """Load the encoder."""
        self._model: Any = load_model(self.encoder, "encoder")

    def close(self) -> None:
        """Release the model."""
        self._model = None

    def _texts(self, captions: Sequence[Caption]) -> Sequence[np.ndarray]:
        """Vectors of captions, a batch of the encoder at a time; NaN where there is none."""
        if hasattr(self._model, "encode_facets"):  # as many vectors as a caption of its kind has
            found: list[np.ndarray] = self._model.encode_facets([c.text for c in captions], [c.kind for c in captions])
            return found
        return [*self._vectors(self._model.encode_texts, [c.text for c in captions], [c.lang for c in captions])]

    def _vectors(self, method: Any, *batch: Any) -> np.ndarray:
        """What the encoder answers, lists too, as unit vectors `[N, …, dim]`; NaN where there is none.

        Raises:
            UserError: not a vector of the encoder's size for each.
        """
        import numpy as np

        from panoglot.vectors import unit_rows

        answer = finish(method(*batch))
        try:
            vectors = np.asarray(answer, np.float32)
        except (TypeError, ValueError):
            vectors = np.zeros(0, np.float32)
        if vectors.ndim not in (2, 3) or len(vectors) != len(batch[0]) or vectors.shape[-1] != self._model.dim:
            raise UserError(
                f"encoder '{self.encoder}' must answer with one vector of {self._model.dim} numbers for each of "
                f"{len(batch[0])}, or with as many vectors for each; it gave {_shape(answer)}."
            )
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        off = np.isfinite(lengths) & (np.abs(lengths - 1) > 1e-3)
        return np.where(off, unit_rows(vectors), vectors) if off.any() else vectors


def _shape(answer: Any) -> str:
    """Say what a model answered."""
    if hasattr(answer, "shape"):
        return f"an array {list(answer.shape)}"
    if isinstance(answer, list | tuple):
        return f"{len(answer)} of sizes {sorted({len(one) if hasattr(one, '__len__') else 0 for one in answer})}"
    return f"a {type(answer).__name__}"


@dataclass
class EncodeOperator(_EncoderOperator):
    """Encodes items in the model's batches."""

    of: str

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Encode; a row without a vector is a reject."""
        import numpy as np

        while batch := list(itertools.islice(items, self._model.batch_size)):
            started = time.perf_counter()
            vectors: Sequence[np.ndarray]
            if self.of == "images":
                vectors = [*self._vectors(self._model.encode_images, [item.image for item in batch])]
            else:
                vectors = self._texts([item.caption for item in batch if item.caption])
            spent = (time.perf_counter() - started) / len(batch)
            for item, vector in zip(batch, vectors):
                if not np.isfinite(vector).all():
                    emit(item.key, Outcome(reject=RowError("not_encodable", "the encoder gave no vector")))
                    continue
                lang = item.caption.lang if item.caption else "und"
                rows = [(self.of[:-1], n, lang, row) for n, row in enumerate(vector.reshape(-1, vector.shape[-1]))]
                emit(item.key, Outcome(vectors=rows, spent=Spent(seconds=spent)))


@dataclass
class AlignOperator(_EncoderOperator):
    """Scores captions against the stored vectors of their images."""

    vectors: str

    def open(self, worker: Worker) -> None:
        """Load the encoder, find the vectors."""
        super().open(worker)
        self._table = worker.dataset.vectors(self.vectors)

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Score; None where the text has no vector."""
        import numpy as np

        while batch := list(itertools.islice(items, 256)):
            started = time.perf_counter()
            pictures = self._pictures([item.caption.image_id for item in batch if item.caption])
            # the others get no outcome, hence no row in the ledger: they stay pending
            scored = [(i.key, i.caption) for i in batch if i.caption and i.caption.image_id in pictures]
            if not scored:
                continue
            texts = self._texts([caption for _, caption in scored])
            spent = (time.perf_counter() - started) / len(scored)
            for (key, caption), text in zip(scored, texts):
                cosine = None
                if np.isfinite(text).all():
                    cosine = float((pictures[caption.image_id] @ text.reshape(-1, text.shape[-1]).T).max())
                emit(key, Outcome(scores={"alignment": cosine}, spent=Spent(seconds=spent)))

    def _pictures(self, images: Sequence[str]) -> dict[str, np.ndarray]:
        """Stored vectors of images, float32 `[views, dim]` each."""
        import numpy as np

        rows = self._table.read(["id", "vector"], sql_in("id", dict.fromkeys(images)) + " and of = 'image'")
        if not rows.num_rows:
            return {}
        stored = rows["vector"].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, -1)
        found: dict[str, list[np.ndarray]] = {}
        for key, vector in zip(rows["id"].to_pylist(), stored):
            found.setdefault(key, []).append(vector.astype(np.float32))
        return {key: np.stack(views) for key, views in found.items()}
