"""The ids of a dataset's images in 16 bytes each, and where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["ImageIndex", "id_bytes"]


def id_bytes(ids: pa.Array) -> np.ndarray:
    """Image ids (32 hex digits) as the halves of 128-bit numbers, uint64 `[n, 2]`, which sort as the ids do.

    >>> import pyarrow as pa
    >>> id_bytes(pa.array(["0" * 15 + "1" + "0" * 14 + "ff"])).tolist()
    [[1, 255]]
    """
    import numpy as np

    return np.frombuffer(bytes.fromhex("".join(ids.to_pylist())), ">u8").reshape(-1, 2).astype(np.uint64)


class ImageIndex:
    """The images that take part, in order of id; pairs and groups are spoken of by position.

    Attributes:
        ids: big-endian halves of the ids, uint64 `[N, 2]`, sorted.
        statistics: what the filter that is at work found out; comes back in the result.
        dry_run: nothing is to be written.
    """

    def __init__(self, batches: Callable[[], Iterable[pa.Array]]) -> None:
        import numpy as np

        parts = [id_bytes(ids) for ids in batches()]
        ids = np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)
        self.ids = ids[np.lexsort((ids[:, 1], ids[:, 0]))]
        self.statistics: dict[str, Any] = {}
        self.dry_run = False

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: pa.Array) -> np.ndarray:
        """Positions of `ids`, int64; -1 where an id takes no part."""
        import numpy as np

        wanted = id_bytes(ids)
        if not len(self.ids):
            return np.full(len(wanted), -1, np.int64)
        # first halves are 64 random bits: equal ones are the same id but for a freak, which the second half settles
        at = np.searchsorted(self.ids[:, 0], wanted[:, 0])
        at = np.minimum(at, len(self.ids) - 1)
        for _ in range(4):
            step = (self.ids[at, 0] == wanted[:, 0]) & (self.ids[at, 1] < wanted[:, 1]) & (at + 1 < len(self.ids))
            if not step.any():
                break
            at = at + step
        return np.where((self.ids[at] == wanted).all(axis=1), at, -1)

    def names(self, positions: Iterable[int]) -> Iterator[str]:
        """The ids at positions, as hex digits."""
        for at in positions:
            high, low = self.ids[at].tolist()
            yield f"{high:016x}{low:016x}"
