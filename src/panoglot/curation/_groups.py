"""Groups of things joined by pairs: union-find over numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Groups"]


class Groups:
    """`count` things, each alone at first.

    >>> import numpy as np
    >>> groups = Groups(5)
    >>> groups.join(np.array([3, 4]), np.array([4, 1]))
    >>> groups.roots().tolist()  # every thing's smallest companion: the order of the pairs makes no difference
    [0, 1, 2, 1, 1]
    """

    def __init__(self, count: int) -> None:
        import numpy as np

        self._up = np.arange(count, dtype=np.int64)

    def join(self, left: np.ndarray, right: np.ndarray) -> None:
        """Put each of `left` into one group with the same element of `right`."""
        up = self._up
        one, other = self._find(left), self._find(right)
        apart = one != other
        for a, b in zip(one[apart].tolist(), other[apart].tolist()):
            while up[a] != a:
                up[a] = up[up[a]]
                a = up[a]
            while up[b] != b:
                up[b] = up[up[b]]
                b = up[b]
            if a != b:
                up[max(a, b)] = min(a, b)

    def _find(self, some: np.ndarray) -> np.ndarray:
        at = self._up[some]
        while (above := self._up[at]).tobytes() != at.tobytes():
            at = above
        self._up[some] = at
        found: np.ndarray = at
        return found

    def roots(self) -> np.ndarray:
        """The smallest member of everybody's group, int64 `[count]`."""
        import numpy as np

        return self._find(np.arange(len(self._up)))
