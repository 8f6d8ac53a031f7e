"""n-grams of many captions as sorted integer tables: what BLEU and CIDEr count, in a few array operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["NgramTable", "lookup", "ngram_tables"]


@dataclass(frozen=True)
class NgramTable:
    """Distinct (row, n-gram) pairs of one order n, sorted by row, then n-gram.

    Attributes:
        key: `[P]` row * size + gram, sorted.
        row: `[P]` row (caption) number.
        gram: `[P]` n-gram number, below `size`.
        count: `[P]` how often the n-gram stands in the row.
        size: number of distinct n-grams of this order.
        place: `[size]` position of one occurrence of each n-gram in all tokens, end to end.
    """

    key: np.ndarray
    row: np.ndarray
    gram: np.ndarray
    count: np.ndarray
    size: int
    place: np.ndarray


def ngram_tables(rows: Sequence[Sequence[str]], n: int = 4) -> tuple[list[NgramTable], np.ndarray, list[str]]:
    """Count the n-grams of order 1..n of every row.

    Args:
        rows: tokens of each caption.
        n: highest order.

    Returns:
        A table for each order, the lengths `[len(rows)]` in tokens, and all tokens, end to end.
    """
    import numpy as np

    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    flat = list(chain.from_iterable(rows))
    number = {token: at for at, token in enumerate(dict.fromkeys(flat))}
    words = np.fromiter(map(number.__getitem__, flat), dtype=np.int64, count=len(flat))
    row = np.repeat(np.arange(len(rows)), lengths)
    last = np.repeat(np.cumsum(lengths), lengths)  # where the row of each token ends
    gram, start, size = words, np.arange(len(words)), max(len(number), 1)
    tables: list[NgramTable] = []
    for order in range(1, n + 1):
        if order > 1:
            fits = start + order <= last[start]
            start, gram = start[fits], gram[fits]
            gram, size = _renumber(gram * len(number) + words[start + order - 1])
        place = np.zeros(size, dtype=np.int64)
        place[gram] = start
        key, count = _count(row[start] * size + gram)
        owner, of = np.divmod(key, size)
        tables.append(NgramTable(key, owner, of, count, size, place))
    return tables, lengths, flat


def _renumber(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Replace codes by their rank among the distinct codes."""
    import numpy as np

    order = np.argsort(codes)
    ordered = codes[order]
    fresh = np.empty(len(codes), dtype=np.int64)
    fresh[:1] = 0
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:], casting="unsafe")
    rank = np.cumsum(fresh)
    found = np.empty_like(rank)
    found[order] = rank
    return found, int(rank[-1]) + 1 if len(rank) else 1


def _count(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    ordered = np.sort(keys, kind="stable")  # rows come in order: nearly sorted
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[first], np.diff(first, append=len(ordered))


def lookup(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values of sorted `keys` at `wanted`; 0 where a key is absent."""
    import numpy as np

    if not len(keys):
        return np.zeros(len(wanted), dtype=values.dtype)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
