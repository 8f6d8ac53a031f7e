"""k-means and PCA whitening of vectors, the draw seeded: the same centres for the same vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["k_means", "nearest", "whitening"]

_BLOCK = 8192
#: Least vectors that the first centres are drawn from: k-means++ reads them once a centre.
_DRAWN = 16_384


def whitening(vectors: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """PCA of vectors: `((x - mean) @ matrix)` has variance 1 in each of its at most `dim` directions.

    Args:
        vectors: float32 `[n, d]`.
        dim: most directions. Those without variance are left out.

    Returns:
        `mean`, float32 `[d]`, and `matrix`, float32 `[d, m]`.
    """
    import numpy as np

    mean = vectors.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(vectors), _BLOCK):
        some = vectors[start : start + _BLOCK] - mean
        covariance += some.T @ some
    variance, directions = np.linalg.eigh(covariance / len(vectors))
    order = np.argsort(-variance)[:dim]
    order = order[variance[order] > max(variance.max(), 0.0) * 1e-6]
    return mean.astype(np.float32), (directions[:, order] / np.sqrt(variance[order])).astype(np.float32)


def nearest(vectors: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find each vector's nearest centre, of equally near ones the first.

    Args:
        vectors: float32 `[n, d]`.
        centres: float32 `[k, d]`.

    Returns:
        Number of the centre, int32 `[n]`, and the squared distance to it, float32 `[n]`.

    >>> import numpy as np
    >>> centre, distance = nearest(np.float32([[0.2, 0], [0.9, 1]]), np.float32([[0, 0], [1, 1]]))
    >>> centre.tolist(), round(float(distance.mean()) / 2, 4)
    ([0, 1], 0.0125)
    """
    import numpy as np

    number, distance = np.empty(len(vectors), np.int32), np.empty(len(vectors), np.float32)
    half = (centres**2).sum(axis=1) / 2
    for start in range(0, len(vectors), _BLOCK):
        some = vectors[start : start + _BLOCK]
        found = np.argmin(half - some @ centres.T, axis=1)
        number[start : start + len(some)] = found
        distance[start : start + len(some)] = ((some - centres[found]) ** 2).sum(axis=1)
    return number, distance


def k_means(vectors: np.ndarray, k: int, iterations: int, seed: int = 0) -> np.ndarray:
    """Lloyd's algorithm from the centres that k-means++ draws among the first vectors.

    A centre that no vector is nearest to stays where it is.

    Args:
        vectors: float32 `[n, d]`, in an order that means nothing.
        k: centres; as many as there are different vectors if that is fewer.
        iterations: most of them; it ends when no vector changes its centre.
        seed: of the draw.

    Source: Lloyd 1982; Arthur and Vassilvitskii 2007.

    Returns:
        Centres, float32 `[k, d]`.
    """
    import numpy as np

    centres = _draw_centres(vectors[: max(_DRAWN, 8 * k)], k, seed)
    before = None
    for _ in range(iterations):
        number, _ = nearest(vectors, centres)
        if before is not None and (number == before).all():
            break
        before = number
        order = np.argsort(number, kind="stable")
        present, starts, sizes = np.unique(number[order], return_index=True, return_counts=True)
        sums = np.stack([vectors[order[s : s + n]].sum(axis=0, dtype=np.float64) for s, n in zip(starts, sizes)])
        centres[present] = (sums / sizes[:, None]).astype(np.float32)
    return centres


def _draw_centres(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The first vector, and then such that are likely to be far from those drawn before."""
    import numpy as np

    random = np.random.default_rng(seed)
    chosen = [0]
    square = (vectors**2).sum(axis=1)
    far = np.full(len(vectors), np.inf, np.float32)
    while len(chosen) < k:
        last = chosen[-1]
        far = np.minimum(far, np.maximum(square + square[last] - 2 * (vectors @ vectors[last]), 0))
        far[far <= 1e-6 * square.max()] = 0  # rounding: the same vector
        total = np.cumsum(far, dtype=np.float64)
        if total[-1] <= 0:
            break
        chosen.append(int(np.searchsorted(total, random.random() * total[-1], side="right")))
    return vectors[chosen].copy()
