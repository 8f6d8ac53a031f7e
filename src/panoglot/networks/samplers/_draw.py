"""Random numbers that are a function of what they are for, never of who asks first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from panoglot.errors import UserError

__all__ = ["Draw"]

T = TypeVar("T")


class Draw:
    """A stream of numbers in [0, 1) that depends on its key alone: (seed, epoch, id, purpose, …).

    Hashes in counter mode: the same on every machine, Python version and number of workers.

    >>> Draw(0, 1, "img7").number() == Draw(0, 1, "img7").number() != Draw(0, 2, "img7").number()
    True
    """

    def __init__(self, *key: Any) -> None:
        self._key = "\x1f".join(str(k) for k in key).encode("utf-8", "surrogatepass")
        self._count = 0

    def number(self) -> float:
        """Return the next number in [0, 1)."""
        self._count += 1
        digest = hashlib.blake2b(self._key, digest_size=8, salt=self._count.to_bytes(8, "little")).digest()
        return (int.from_bytes(digest, "big") >> 11) / (1 << 53)

    def below(self, n: int) -> int:
        """Return one of 0 … n-1."""
        return int(self.number() * n)

    def choice(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """Return k items in random order, each at most once while there are enough; else all, and again from all."""
        out: list[T] = []
        while len(out) < k:
            pool = list(items)
            for i in range(min(len(pool), k - len(out))):
                j = i + self.below(len(pool) - i)
                pool[i], pool[j] = pool[j], pool[i]
                out.append(pool[i])
        return out

    def weighted(self, weights: Mapping[T, float]) -> T:
        """Return a key, with probability in proportion to its weight."""
        total = sum(weights.values())
        if not total > 0:
            raise UserError(f"The weights {dict(weights)} add up to nothing.")
        rest = self.number() * total
        for item, weight in weights.items():
            rest -= weight
            if rest < 0:
                return item
        return next(item for item, weight in reversed(list(weights.items())) if weight > 0)
