"""Counting unigrams and bigrams of any number of texts, exactly, in bounded memory; the table of the frequent ones."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from panoglot.curation._spill import Spill
from panoglot.errors import UserError
from panoglot.text import grams

if TYPE_CHECKING:
    import numpy as np

__all__ = ["NgramTable", "count_ngrams", "load_table", "mix", "ngram_keys", "save_table"]

#: Most n-grams that are sorted at a time.
PART = 1 << 22
#: First number of a table's file; changes with the way texts are split and hashed.
_MAGIC = 0x70616E6F_6E677201


@lru_cache(maxsize=1 << 18)
def _unigram(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def ngram_keys(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hash the unigrams and bigrams of texts to 64 bits.

    Returns:
        Keys, uint64 `[n]`, and the number of n-grams of each text, int64 `[texts]`; in the order of the texts, of each
        its unigrams and then its bigrams.

    >>> keys, counts = ngram_keys(["a red car", "", "car"])
    >>> counts.tolist(), bool(keys[2] == keys[5]), len(set(keys.tolist()))
    ([5, 0, 1], True, 5)
    """
    import numpy as np

    words = [[_unigram(token) for token in grams(text)] for text in texts]
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    single = np.fromiter((key for some in words for key in some), np.uint64, int(lengths.sum()))
    ends = np.cumsum(lengths)
    inside = np.ones(len(single), bool)
    inside[ends[lengths > 0] - 1] = False  # a text's last word begins no bigram
    left = np.flatnonzero(inside)
    double = _bigrams(single[left], single[np.minimum(left + 1, len(single) - 1)])
    owner = np.repeat(np.arange(len(words)), lengths)
    order = np.argsort(np.concatenate([owner, owner[left]]), kind="stable")
    return np.concatenate([single, double])[order], lengths + np.maximum(lengths - 1, 0)


def _bigrams(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    import numpy as np

    return mix(left * np.uint64(0x9E3779B97F4A7C15) + right)


def mix(keys: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every bit of the result depends on every bit of the key."""
    import numpy as np

    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = keys ^ (keys >> np.uint64(31))
    return mixed


class NgramTable:
    """The frequent n-grams.

    Attributes:
        keys: their hashes, sorted, uint64; read from a file as they are touched. None: every n-gram is frequent.
        min_count: how often the rarest of them was counted.
        distinct: different n-grams that were counted.
    """

    def __init__(self, keys: np.ndarray | None, min_count: int, distinct: int) -> None:
        import numpy as np

        self.keys = None if keys is None else np.asarray(keys)  # a plain array over the file
        self.min_count, self.distinct = min_count, distinct

    def has_rare(self, text: str) -> bool:
        """Say whether a text has an n-gram that is not in the table."""
        import numpy as np

        if self.keys is None:
            return False
        words = np.array([_unigram(token) for token in grams(text)], np.uint64)
        if not len(words) or not len(self.keys):
            return len(words) > 0
        return self._lacks(words) or self._lacks(_bigrams(words[:-1], words[1:]))

    def _lacks(self, keys: np.ndarray) -> bool:
        assert self.keys is not None
        place = self.keys.searchsorted(keys)
        return bool((self.keys.take(place, mode="clip") != keys).any())


def count_ngrams(batches: Iterable[Sequence[str]], top_n: int, *, keep_all: bool = False) -> NgramTable:
    """Count the n-grams of all texts and keep the `top_n` most frequent.

    Counts are exact (of 64-bit hashes: of 10⁹ different n-grams about 0.03 share a hash with another). N-grams that are
    equally frequent are all in the table or none, so it may hold fewer than `top_n`; nothing depends on the order of
    the texts.

    Memory is that of `PART` n-grams, however many texts there are; a temporary file takes 12 bytes a different n-gram
    of each `PART`.

    Args:
        batches: the texts.
        top_n: most n-grams in the table.
        keep_all: hold the keys even when all are frequent (a table for other texts).
    """
    import numpy as np

    runs: list[tuple[int, int]] = []
    spill = Spill([("key", "<u8"), ("count", "<u4")])

    def flush() -> None:
        keys, counts = np.unique(np.concatenate(held), return_counts=True)
        rows = np.empty(len(keys), spill.dtype)
        rows["key"], rows["count"] = keys, counts
        runs.append((len(spill), len(spill) + len(rows)))
        spill.add(rows)

    held: list[np.ndarray] = []
    waiting = 0
    for texts in batches:
        keys, _ = ngram_keys(texts)
        held.append(keys)
        waiting += len(keys)
        if waiting >= PART:
            flush()
            held, waiting = [], 0
    if waiting:
        flush()

    frequency: Counter[int] = Counter()
    for _, counts in _merged(spill, runs):
        frequency.update(dict(zip(*(a.tolist() for a in np.unique(counts, return_counts=True)))))
    distinct, room = sum(frequency.values()), top_n
    least = max(frequency, default=0) + 1
    for count in sorted(frequency, reverse=True):
        room -= frequency[count]
        if room < 0:
            break
        least = count
    if least <= min(frequency, default=1) and not keep_all:
        return NgramTable(None, least, distinct)
    chosen = Spill(np.uint64)
    for keys, counts in _merged(spill, runs):
        chosen.add(keys[counts >= least])
    return NgramTable(chosen.mapped(), least, distinct)


def _merged(spill: Spill, runs: list[tuple[int, int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All keys with their sums, in order; hashes are even, so equal ranges of keys are about equally many rows."""
    import numpy as np

    parts = max(1, -(-len(spill) // PART))
    arrays = [spill.mapped(start, end) for start, end in runs]
    starts = [0] * len(arrays)
    for part in range(1, parts + 1):
        pieces = []
        for n, run in enumerate(arrays):
            end = len(run) if part == parts else int(np.searchsorted(run["key"], np.uint64((part << 64) // parts)))
            pieces.append(np.array(run[starts[n] : end]))
            starts[n] = end
        rows = np.concatenate(pieces) if pieces else np.empty(0, spill.dtype)
        rows = rows[np.argsort(rows["key"], kind="stable")]
        keys, first = np.unique(rows["key"], return_index=True)
        yield keys, np.add.reduceat(rows["count"].astype(np.int64), first) if len(keys) else np.empty(0, np.int64)


def save_table(path: str | os.PathLike[str], table: NgramTable) -> None:
    """Write a table to a file (numpy, uint64): magic, least count, different n-grams counted, then the sorted keys."""
    import numpy as np

    assert table.keys is not None
    temporary = Path(f"{path}.{os.getpid()}.part")
    file = np.lib.format.open_memmap(temporary, "w+", np.uint64, (3 + len(table.keys),))
    file[:3] = (_MAGIC, table.min_count, table.distinct)
    file[3:] = table.keys
    file.flush()
    del file
    temporary.rename(path)


def load_table(path: str | os.PathLike[str]) -> NgramTable:
    """Read a table that `save_table` wrote.

    Raises:
        UserError: it is none.
    """
    import numpy as np

    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        good = rows.dtype == np.uint64 and rows.ndim == 1 and len(rows) >= 3 and int(rows[0]) == _MAGIC
    except (OSError, ValueError, EOFError):
        good = False
    if not good:
        raise UserError(
            f"'{path}' is not a table of n-grams: give a new file name, and it is counted and written there."
        )
    return NgramTable(rows[3:], int(rows[1]), int(rows[2]))
