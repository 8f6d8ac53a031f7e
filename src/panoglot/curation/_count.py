"""Counting by 64-bit keys in bounded memory: the keys come in several passes, a part of them each time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PART", "counted", "key64"]

#: Most keys of a pass: 16 million pairs of 16 bytes.
PART = 1 << 24


def key64(*parts: str) -> int:
    """Return 64 bits of a hash of texts (of 100 million different ones, two collide in one corpus of 3,600).

    >>> key64("a", "b") == key64("ab"), key64("a") == key64("a")
    (False, True)
    """
    raw = "\x00".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


def counted(
    scan: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]], total: int, part: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Count distinct values per key.

    Args:
        scan: yields `(keys, values)`, uint64 arrays `[n]`; called once a pass.
        total: about how many pairs it yields: decides the number of passes.
        part: most pairs of a pass.

    Yields:
        `(keys, counts)` of a part of the keys, sorted: how many distinct values each key came with.
    """
    import numpy as np

    passes = max(1, -(-total // (part or PART)))
    for turn in range(passes):
        found: list[np.ndarray] = []
        for keys, values in scan():
            mine = keys % np.uint64(passes) == turn if passes > 1 else slice(None)
            found.append(np.stack([keys[mine], values[mine]], axis=1))
        pairs = np.concatenate(found) if found else np.empty((0, 2), np.uint64)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs = pairs[order]
        new = np.ones(len(pairs), bool)
        new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
        yield np.unique(pairs[new, 0], return_counts=True)
