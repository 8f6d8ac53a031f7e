"""Token vectors in a few bits: the nearest of some centres, and what is left over, quantised; searched by probing.

A passage is a candidate where one of its tokens is nearest to a centre that a query's vector probes; candidates are
compared by exact MaxSim with the vectors that the bits give back.

Source: ColBERTv2 and PLAID (Santhanam et al. 2022, arXiv 2112.01488, section 3.3, and 2205.09707): centres by k-means
with 4 iterations, 16 times the root of the number of vectors and a power of two; cuts at the quantiles of residuals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from panoglot.vectors._kmeans import k_means, nearest
from panoglot.vectors._maxsim import maxsim

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Residuals", "learn_residuals"]

#: Iterations of k-means, and vectors a centre that it reads at most.
ITERATIONS, READ = 4, 256
#: Centres that a vector of a query probes, and fewer vectors than this are kept whole and compared one by one.
PROBES, FEW = 4, 1024


@dataclass
class Residuals:
    """Vectors as centre and residual.

    Attributes:
        bits: of a number of a residual: 1, 2, 4, 8; 32: vectors are kept as they are.
        centres: float32 `[C, dim]`; with 32 bits none.
        cuts: float32 `[2**bits - 1]` between the values.
        values: float32 `[2**bits]` that residuals become.
        codes: uint8 `[R, dim * bits / 8]`; with 32 bits float32 `[R, dim]`.
        owners: int32 `[R]`, the nearest centre.
    """

    bits: int
    centres: np.ndarray
    cuts: np.ndarray
    values: np.ndarray
    codes: np.ndarray
    owners: np.ndarray

    def add(self, rows: np.ndarray) -> None:
        """Take in vectors, float32 `[n, dim]`, with the centres that there are."""
        import numpy as np

        if self.bits == 32:
            self.codes = np.concatenate([self.codes, rows.astype(np.float32)])
            self.owners = np.concatenate([self.owners, np.zeros(len(rows), np.int32)])
            return
        owners, _ = nearest(rows, self.centres)
        levels = np.searchsorted(self.cuts, rows - self.centres[owners], side="right").astype(np.uint8)
        shown = (levels[..., None] >> np.arange(self.bits, dtype=np.uint8)) & 1
        packed = np.packbits(shown.reshape(len(rows), -1), axis=1)
        self.codes = np.concatenate([self.codes, packed])
        self.owners = np.concatenate([self.owners, owners])

    def keep(self, at: np.ndarray) -> None:
        """Forget all vectors but those of these numbers."""
        self.codes, self.owners = self.codes[at], self.owners[at]

    def rows(self, at: np.ndarray) -> np.ndarray:
        """Return vectors by their numbers, float32 `[n, dim]`, of unit length."""
        import numpy as np

        codes = self.codes[at]
        if self.bits == 32:
            found: np.ndarray = codes
            return found
        dim = self.centres.shape[1]
        shown = np.unpackbits(codes, axis=1, count=dim * self.bits).reshape(len(codes), dim, self.bits)
        levels = (shown << np.arange(self.bits, dtype=np.uint8)).sum(axis=2)
        rows = self.centres[self.owners[at]] + self.values[levels]
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: np.ndarray = rows / np.where(length > 0, length, 1)
        return unit

    def search(
        self,
        query: np.ndarray,
        starts: np.ndarray,
        depth: int,
        *,
        probes: int = PROBES,
        among: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the passages with the highest MaxSim.

        Args:
            query: float32 `[T, dim]`, unit vectors.
            starts: where the vectors of each passage begin, ascending, `[N]`; every passage has one or more.
            depth: passages.
            probes: centres a query's vector; as many as there are finds all.
            among: bool `[N]`, which passages may be found; None: all.

        Returns:
            (numbers of passages int64, scores float32), best first, equals by number.
        """
        import numpy as np

        count = len(self.owners)
        if not count or not len(query):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        good = np.ones(len(starts), bool) if among is None else among
        if self.bits != 32 and probes < len(self.centres):
            near = np.argpartition(-(query @ self.centres.T), probes - 1, axis=1)[:, :probes]
            probed = np.zeros(len(self.centres), bool)
            probed[near] = True
            good = good & np.logical_or.reduceat(probed[self.owners], starts)
        passages = np.flatnonzero(good)
        if not len(passages):
            return passages, np.empty(0, np.float32)
        ends = np.append(starts[1:], count)
        sizes = ends[passages] - starts[passages]
        first = np.cumsum(sizes) - sizes
        scores = np.empty(len(passages), np.float32)
        step = max(1, int(2**18 // max(1, sizes.max())))  # passages at a time: what is given back fits into the cache
        for low in range(0, len(passages), step):
            some, begin = passages[low : low + step], first[low : low + step] - first[low]
            at = np.repeat(starts[some] - begin, sizes[low : low + step]) + np.arange(sizes[low : low + step].sum())
            scores[low : low + step] = maxsim(query, self.rows(at), begin)
        order = np.lexsort((passages, -scores))[:depth]
        return passages[order], scores[order]


def learn_residuals(rows: np.ndarray, bits: int = 2, *, seed: int = 0, centres: int | None = None) -> Residuals:
    """Learn centres and cuts from vectors; what is returned holds none yet.

    Args:
        rows: unit vectors, float32 `[R, dim]`; a number of bits that 8 has whole times.
        bits: 1, 2, 4, 8, or 32, which keeps vectors as they are. Fewer than 1,024 vectors are kept so, too.
        seed: of the draw.
        centres: how many; None: a power of two near 16 times the root of the number of vectors.

    >>> import numpy as np
    >>> few = learn_residuals(np.eye(4, dtype=np.float32))
    >>> few.add(np.eye(4, dtype=np.float32))
    >>> few.bits, few.rows(np.array([2])).tolist()
    (32, [[0.0, 0.0, 1.0, 0.0]])
    """
    import numpy as np

    if bits not in (1, 2, 4, 8, 32):
        raise ValueError(f"bits={bits} must be 1, 2, 4, 8 or 32")
    dim = rows.shape[1]
    if bits == 32 or len(rows) < FEW or dim * bits % 8:
        none = np.empty((0, dim), np.float32)
        return Residuals(32, none, np.empty(0, np.float32), np.empty(0, np.float32), none, np.empty(0, np.int32))
    wanted = centres or 2 ** int(math.log2(16 * len(rows) ** 0.5))
    wanted = min(wanted, max(1, len(rows) // 8))
    order = np.random.default_rng(seed).permutation(len(rows))
    some = rows[order[: READ * wanted]]
    found = k_means(some, wanted, ITERATIONS, seed)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    found = found / np.where(length > 0, length, 1)
    held = some[: 2**17]
    left = (held - found[nearest(held, found)[0]]).ravel()
    steps = 2**bits
    cuts = np.quantile(left, np.arange(1, steps) / steps).astype(np.float32)
    values = np.quantile(left, (np.arange(steps) + 0.5) / steps).astype(np.float32)
    none = np.empty((0, dim * bits // 8), np.uint8)
    return Residuals(bits, found.astype(np.float32), cuts, values, none, np.empty(0, np.int32))
