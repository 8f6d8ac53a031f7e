"""Where the pictures that were found came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from panoglot.table import Dataset
from panoglot.vectors import stamp

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["Uris"]

#: Up to this many pictures all are read at the first look-up, which costs no more; up to this many at the third.
AT_ONCE, MOST = 20_000, 200_000


class Uris:
    """Uris by image, as the table has them now: looked up in it, or held, where they are asked for again and again."""

    def __init__(self, dataset: Dataset) -> None:
        self._data = dataset
        self._asked = (-1, 0)
        self._held: tuple[int, np.ndarray, pa.Array] | None = None

    def __call__(self, ids: Sequence[str]) -> dict[str, str]:
        """Image to uri, of those images that are there; empty for one that came from nowhere."""
        if not ids:
            return {}
        now = stamp(self._data.images)
        asked = self._asked[1] + 1 if self._asked[0] == now else 1
        self._asked = (now, asked)
        held = self._held
        if held is None or held[0] != now:
            count = self._data.images.count()
            if count > (MOST if asked > 2 else AT_ONCE):
                rows = self._data.images.get(ids, ["uri"])
                return dict(zip(rows["image_id"].to_pylist(), _plain(rows["uri"])))
            held = self._held = (now, *self._read())
        return _found(ids, *held[1:])

    def _read(self) -> tuple[np.ndarray, pa.Array]:
        """All ids, sorted, `S32`, and their uris."""
        import numpy as np
        import pyarrow as pa

        rows = self._data.images.read(["image_id", "uri"])
        keys = np.array(rows["image_id"].to_pylist(), "S32")
        order = np.argsort(keys)
        return keys[order], rows["uri"].combine_chunks().take(pa.array(order))


def _found(ids: Sequence[str], keys: np.ndarray, uris: pa.Array) -> dict[str, str]:
    import numpy as np

    wanted = np.array(ids, "S32")
    at = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
    there = (keys[at] == wanted).tolist() if len(keys) else [False] * len(ids)
    return {one: uris[n].as_py() or "" for one, n, here in zip(ids, at.tolist(), there) if here}


def _plain(column: pa.ChunkedArray) -> list[str]:
    return [uri or "" for uri in column.to_pylist()]
