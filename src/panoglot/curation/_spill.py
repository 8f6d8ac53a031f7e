"""Rows that are too many for memory: written to a temporary file once, read again as often as needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Spill"]

#: Rows that are read at a time.
_ROWS = 1 << 20


class Spill:
    """Numpy rows of one type in a temporary file (in `TMPDIR`), which vanishes with this object.

    >>> import numpy as np
    >>> spill = Spill(np.uint64)
    >>> spill.add(np.arange(3, dtype=np.uint64)); spill.add(np.arange(2, dtype=np.uint64))
    >>> len(spill), np.concatenate(list(spill)).tolist(), spill.mapped(3).tolist()
    (5, [0, 1, 2, 0, 1], [0, 1])
    """

    def __init__(self, dtype: Any) -> None:
        import numpy as np

        self.dtype = np.dtype(dtype)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, rows: np.ndarray) -> None:
        """Append rows."""
        import numpy as np

        self._file.write(np.ascontiguousarray(rows, self.dtype).tobytes())
        self._rows += len(rows)

    def __iter__(self) -> Iterator[np.ndarray]:
        import numpy as np

        self._file.flush()
        size = self.dtype.itemsize
        for start in range(0, self._rows, _ROWS):
            count = min(_ROWS, self._rows - start)
            yield np.frombuffer(os.pread(self._file.fileno(), count * size, start * size), self.dtype)

    def mapped(self, start: int = 0, end: int | None = None) -> np.ndarray:
        """Rows `start:end` as an array that the system reads from the file as they are touched."""
        import numpy as np

        self._file.flush()
        end = self._rows if end is None else end
        if start == end:
            return np.empty(0, self.dtype)
        return np.memmap(self._file, self.dtype, "r", offset=start * self.dtype.itemsize, shape=(end - start,))
