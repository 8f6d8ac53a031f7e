"""Scorer `alignment`: how well a caption fits its picture, by stored vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.table import Caption, Dataset, caption_from_row, plain_rows

if TYPE_CHECKING:
    import lance
    import numpy as np

    from panoglot.models.roles import Encoder

__all__ = ["score_alignment"]


def score_alignment(
    dataset: Dataset,
    encoder: str | None = None,
    *,
    model: Encoder | None = None,
    name: str = "alignment",
    run_id: str = "",
    batch: int = 2048,
) -> dict[str, int]:
    """Write the cosine of image and caption vectors into the captions' scores.

    Args:
        dataset: the dataset.
        encoder: whose stored vectors; None when there are those of one encoder only. Of several vectors an image the
            best fitting counts.
        model: the encoder itself; it encodes the texts of captions without a stored vector. Without it they are not
            scored (null).
        name: what the score is called.
        run_id: of the run this belongs to.
        batch: captions at a time.

    Returns:
        `{"scored": …, "unscored": …}`. Captions about a region are not scored.

    Raises:
        UserError: no such vectors, or several encoders to choose from.

    Source: CLIPScore without its rescaling (Hessel et al. 2021), as used for filtering by LAION and DataComp.
    """
    import numpy as np
    import pyarrow as pa

    names = dataset.vector_names()
    if encoder is None and len(names) != 1:
        raise UserError(f"{dataset.path} has vectors of: {', '.join(names) or 'nobody'}. Name one: encoder=NAME.")
    if encoder is not None and encoder not in names and not dataset.vectors(encoder, 1).exists():
        raise UserError(f"{dataset.path} has no vectors '{encoder}'.{did_you_mean(encoder, names)}")
    stored = _Vectors(dataset.vectors(encoder or names[0]).lance())
    counts = {"scored": 0, "unscored": 0}
    for rows in dataset.captions.batches(size=batch):
        captions = [caption_from_row(row) for row in plain_rows(pa.Table.from_batches([rows]))]
        captions = [c for c in captions if c.region is None]
        texts = stored.of([c.caption_id for c in captions])
        if model is not None:
            _encode_missing(model, captions, texts)
        pictures = stored.of(sorted({c.image_id for c in captions}))
        values: dict[str, tuple[dict[str, float | None], None]] = {}
        for caption in captions:
            text, picture = texts.get(caption.caption_id), pictures.get(caption.image_id)
            value = None if text is None or picture is None else float(np.max(picture @ text.T))
            value = None if value is None or value != value else value
            counts["unscored" if value is None else "scored"] += 1
            if name not in caption.scores or not _same(caption.scores[name], value):
                values[caption.caption_id] = ({name: value}, None)
        if values:
            dataset.score("captions", values, run_id)
    return counts


def _same(old: float | None, new: float | None) -> bool:
    return old is new or (old is not None and new is not None and abs(old - new) < 1e-6)


def _encode_missing(model: Any, captions: list[Caption], texts: dict[str, np.ndarray]) -> None:
    import numpy as np

    missing = [c for c in captions if c.caption_id not in texts]
    for start in range(0, len(missing), max(1, model.batch_size)):
        some = missing[start : start + max(1, model.batch_size)]
        found = np.asarray(model.encode_texts([c.text for c in some], [c.lang for c in some]), np.float32)
        for caption, vector in zip(some, found):
            if np.isfinite(vector).all():
                texts[caption.caption_id] = vector.reshape(-1, vector.shape[-1])


class _Vectors:
    """Vectors by owner, read when asked for; in memory are only the owners' ids and where their rows are."""

    def __init__(self, data: lance.LanceDataset) -> None:
        import numpy as np

        self._data = data
        owners: list[np.ndarray] = [np.empty(0, "S32")]
        rows: list[np.ndarray] = [np.empty(0, np.uint64)]
        for batch in data.scanner(columns=["id"], with_row_address=True, batch_size=65_536).to_batches():
            owners.append(np.array(batch["id"].to_pylist(), "S32"))
            rows.append(batch["_rowaddr"].to_numpy())
        every = np.concatenate(owners)
        order = np.argsort(every, kind="stable")
        self._owners, self._rows = every[order], np.concatenate(rows)[order]

    def of(self, ids: list[str]) -> dict[str, np.ndarray]:
        """The vectors of some images or captions: id to float32 `[views, dim]`."""
        import numpy as np

        wanted = np.array(ids, "S32")
        starts, ends = (np.searchsorted(self._owners, wanted, side=side) for side in ("left", "right"))
        found = list(self._read(ids, starts.tolist(), ends.tolist()))
        return dict(found)

    def _read(self, ids: list[str], starts: list[int], ends: list[int]) -> Iterator[tuple[str, np.ndarray]]:
        import numpy as np

        have = [(i, a, b) for i, a, b in zip(ids, starts, ends) if a < b]
        if not have:
            return
        rows = np.concatenate([self._rows[a:b] for _, a, b in have])
        order = np.argsort(rows)
        table = self._data._take_rows(rows[order].tolist(), columns=["vector"])
        flat = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
        vectors = np.empty(flat.shape, np.float32)
        vectors[order] = flat
        at = 0
        for key, a, b in have:
            yield key, vectors[at : at + b - a]
            at += b - a
