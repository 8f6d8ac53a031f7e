"""Of which image and caption the rows of the table of words are: by address, mapped from beside the table."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from panoglot.languages import base_language

if TYPE_CHECKING:
    import lance
    import numpy as np

__all__ = ["WordRows"]

#: What is known of a row: its image, its caption, the number of the stems that it has (0: none).
_KIND = [("image", "S32"), ("caption", "S32"), ("stems", "u1")]


class WordRows:
    """Image, caption and stems of every row, so that a search reads no row of the table for its candidates."""

    def __init__(self, table: lance.LanceDataset, folder: Path, stems: Sequence[str]) -> None:
        """Open what was kept, or read the table once and keep it.

        Args:
            table: the words.
            folder: where it is kept; what cannot be written is held in memory.
            stems: the languages of its columns `text_…`, in order.
        """
        import numpy as np

        fragments = [one.metadata for one in table.get_fragments()]
        sizes = [one.physical_rows for one in fragments]
        self._first = np.zeros(max((one.id for one in fragments), default=0) + 1, np.int64)
        self._first[[one.id for one in fragments]] = np.cumsum([0, *sizes])[:-1]
        path = folder / f"rows-{table.version}.npy"
        with contextlib.suppress(OSError, ValueError):  # none there, or damaged
            self._rows = np.load(path, mmap_mode="r")
            if self._rows.shape == (sum(sizes),) and self._rows.dtype == np.dtype(_KIND):
                return
        self._rows = self._read(table, sum(sizes), stems)
        temporary = folder / f".rows-{secrets.token_hex(4)}.npy"
        with contextlib.suppress(OSError):
            try:
                np.save(temporary, self._rows)
                for old in folder.glob("rows-*.npy"):
                    old.unlink(missing_ok=True)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def _read(self, table: lance.LanceDataset, count: int, stems: Sequence[str]) -> np.ndarray:
        import numpy as np

        rows = np.zeros(count, _KIND)
        numbers: dict[str, int] = {}
        for batch in table.scanner(columns=["image_id", "caption_id", "lang"], with_row_id=True).to_batches():
            langs = batch["lang"].dictionary_encode()
            for lang in langs.dictionary.to_pylist():
                base = base_language(lang)
                numbers[lang] = stems.index(base) + 1 if base in stems else 0
            at = self.places(batch["_rowid"].to_numpy())
            rows["image"][at], rows["caption"][at] = batch["image_id"].to_pylist(), batch["caption_id"].to_pylist()
            by_code = np.array([numbers[lang] for lang in langs.dictionary.to_pylist()], np.uint8)
            rows["stems"][at] = by_code[langs.indices.to_numpy()]
        return rows

    def places(self, addresses: np.ndarray) -> np.ndarray:
        """Where rows of these addresses, uint64, stand, int64."""
        import numpy as np

        found: np.ndarray = self._first[addresses >> np.uint64(32)] + (addresses & np.uint64(2**32 - 1)).astype(
            np.int64
        )
        return found

    def of(self, addresses: np.ndarray) -> np.ndarray:
        """Image, caption and stems of rows, `[n]` with these fields."""
        found: np.ndarray = self._rows[self.places(addresses)]
        return found
