"""The stored vectors of images, as filters over all images read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from panoglot.errors import UserError
from panoglot.vectors._unit import unit_rows

if TYPE_CHECKING:
    import lance
    import numpy as np

    from panoglot.table import Dataset, Table
    from panoglot.vectors._images import ImageIndex

__all__ = ["stored_vectors", "take_vectors", "vector_rows"]


def stored_vectors(dataset: Dataset, encoder: str, of: str) -> Table:
    """The vectors that an option of filter `of` names, by model or by their own name.

    Raises:
        UserError: there are none, or several to choose from.
    """
    names = dataset.vector_names()
    found = [name for name in names if not encoder or encoder in (name, _model(dataset, name))]
    if len(found) > 1:
        raise UserError(
            f"filter {of}: {dataset.address} has vectors of {', '.join(found)}: name one, encoder={found[0]}."
        )
    if not found and not encoder:
        raise UserError(f"filter {of}: {dataset.address} has no vectors. Make them: panoglot build … --encoder NAME")
    return dataset.vectors(found[0] if found else encoder)


def _model(dataset: Dataset, name: str) -> str | None:
    try:
        return str(dataset.vector_model(name)["model"])
    except OSError:  # vectors that somebody put there by hand
        return None


def vector_rows(data: lance.LanceDataset, images: ImageIndex) -> tuple[np.ndarray, np.ndarray]:
    """Addresses of the image vectors that take part, and the positions of their images."""
    import numpy as np

    rows, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    scanner = data.scanner(columns=["id"], filter="of = 'image'", with_row_address=True, batch_size=65_536)
    for batch in scanner.to_batches():
        place = images.find(batch["id"])
        rows.append(batch["_rowaddr"].to_numpy()[place >= 0])
        places.append(place[place >= 0])
    return np.concatenate(rows), np.concatenate(places)


def take_vectors(data: lance.LanceDataset, rows: np.ndarray) -> np.ndarray:
    """Vectors at row addresses, unit length, float32 `[n, dim]`, in the order asked for."""
    import numpy as np

    if not len(rows):
        return np.empty((0, 1), np.float32)
    order = np.argsort(rows)
    found = data._take_rows(rows[order].tolist(), columns=["vector"])["vector"].combine_chunks()
    sorted_vectors = found.flatten().to_numpy().reshape(len(rows), -1).astype(np.float32)
    vectors = np.empty_like(sorted_vectors)
    vectors[order] = sorted_vectors
    return unit_rows(vectors, without=0.0)  # NaN and 0 are like nothing
