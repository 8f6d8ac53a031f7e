"""A copy of vectors of half their bytes, with a bound of what it is off by: what a first pass over all rows reads.

A row `r` is kept as `m + s c`: the mean `m` of the rows, a scale, and int8. With `e = r - m - s c`, and `f` what the
query `q` loses when it is brought to int8 `t d` too,

    q.r = q.m + s t (d.c) + s (f.c) + q.e,    |s (f.c)| <= |f| |s c|,    |q.e| <= |q| |e|

by Cauchy and Schwarz; the integer product is exact. The lengths `|e|` and `|s c|` are stored for every row, so the
bound holds for any row, however badly it fits; what does not fit is only looked at more often.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.vectors._maxsim import quantised
from panoglot.vectors._sums import check, facts_of, sum_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Coarse", "Rough"]

#: Rows at a time: their copies and scores stay in the processor's cache.
_MAKE, _SCORE = 1024, 16_384
#: Rows, at most, whose mean is taken.
_MEAN_OF = 16_384
#: The arrays of a copy on the disk, and what says their checksums: it is there when all are.
_FILES, _STATE = ("coarse-centre", "coarse-rows", "coarse-facts"), "coarse-state.json"


@dataclass(frozen=True)
class Coarse:
    """Rows as int8.

    Attributes:
        centre: float32 `[dim]`, taken off every row.
        rows: int8 `[n, dim]`.
        facts: float32 `[3, n]`: the scale of each, the length of what it is off by (NaN for a row with NaN: it is never
            found; infinite for one with infinities), the length of what is kept.
    """

    centre: np.ndarray
    rows: np.ndarray
    facts: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Coarse:
        """Make a copy of float16 rows `[n, dim]`."""
        import numpy as np

        some = rows[:: max(1, len(rows) // _MEAN_OF)].astype(np.float32)
        some = some[np.isfinite(some).all(axis=1)]
        centre = some.mean(axis=0, dtype=np.float64).astype(np.float32) if len(some) else np.zeros(rows.shape[1], "f4")
        made = cls(centre, np.empty(rows.shape, np.int8), np.empty((3, len(rows)), np.float32))
        for start in range(0, len(rows), _MAKE):
            part = rows[start : start + _MAKE].astype(np.float32)
            odd = ~np.isfinite(part).all(axis=1)
            part -= centre
            lost = np.where(np.isnan(part[odd]).any(axis=1), np.nan, np.inf)
            part[odd] = 0
            values, scales = quantised(part)
            kept = values * scales[:, None]
            here = slice(start, start + len(part))
            made.rows[here], made.facts[0, here] = values, scales
            made.facts[2, here] = np.linalg.norm(kept, axis=1)
            made.facts[1, here] = np.linalg.norm(part - kept, axis=1)
            made.facts[1, here][odd] = lost
        return made

    def keep(self, folder: Path) -> None:
        """Write it into a folder.

        Raises:
            OSError: there is no room, or nothing may be written.
        """
        import numpy as np

        said = {}
        for name, array in zip(_FILES, (self.centre, self.rows, self.facts), strict=True):
            temporary = folder / f".{name}-{secrets.token_hex(4)}.npy"
            try:
                np.save(temporary, array)
                said[name] = [sum_of(temporary), *facts_of(temporary)]
                temporary.replace(folder / f"{name}.npy")  # two that write at once write the same
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()
        temporary = folder / f".{_STATE}-{secrets.token_hex(4)}"
        temporary.write_text(json.dumps(said))
        temporary.replace(folder / _STATE)

    @classmethod
    def kept(cls, folder: Path, shape: tuple[int, ...]) -> Coarse | None:
        """Map what was kept of rows `[n, dim]`; None where there is none, or it is damaged."""
        import numpy as np

        try:
            said = dict(json.loads((folder / _STATE).read_text()))
            for name in _FILES:
                check(folder / f"{name}.npy", said.get(name))
            centre, rows, facts = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _FILES)
        except (OSError, ValueError, TypeError):
            return None
        right = rows.shape == shape and facts.shape == (3, shape[0]) and centre.shape == shape[1:]
        return cls(centre, rows, facts) if right and rows.dtype == np.int8 else None

    @cached_property
    def most(self) -> tuple[float, float]:
        """The largest lengths of what is lost, and of what is kept."""
        import numpy as np

        if not self.facts.shape[1]:
            return 0.0, 0.0
        return float(np.nan_to_num(np.fmax.reduce(self.facts[1]), posinf=np.inf)), float(self.facts[2].max())

    def ask(self, query: np.ndarray) -> Rough:
        """A query, finite, float32 `[dim]`, as it is compared with these rows."""
        import numpy as np

        values, scales = quantised(query[None])
        exact = query.astype(np.float64)
        lost = float(np.linalg.norm(exact - values[0] * scales.astype(np.float64)))
        shift = float(exact @ self.centre.astype(np.float64))
        return Rough(self, values[0], float(scales[0]), shift, float(np.linalg.norm(exact)), lost)


@dataclass(frozen=True)
class Rough:
    """A query before a coarse copy.

    Attributes:
        copy: the rows.
        values: the query as int8 `[dim]`.
        scale: of it.
        shift: its product with the rows' mean.
        length: of the query.
        lost: length of what the query is off by.
    """

    copy: Coarse
    values: np.ndarray
    scale: float
    shift: float
    length: float
    lost: float

    def scores(self, low: int, high: int, out: np.ndarray) -> None:
        """Rough scores of the rows from `low` to `high`, into `out`, float32."""
        import numpy as np

        for start in range(low, high, _SCORE):
            stop = min(start + _SCORE, high)
            into = out[start - low : stop - low]
            _products(self.values, self.copy.rows[start:stop], into)
            into *= self.copy.facts[0, start:stop]
            into *= np.float32(self.scale)
            into += np.float32(self.shift)

    def margins(self, rows: np.ndarray) -> np.ndarray:
        """How far off the rough scores of these rows are at most, float32 `[n]`."""
        lost, kept = self.copy.facts[1:, rows]
        found: np.ndarray = self._margin(lost, kept)
        return found

    @property
    def most(self) -> float:
        """How far off any is at most."""
        return float(self._margin(*self.copy.most))

    def _margin(self, lost: Any, kept: Any) -> Any:
        """Both shares, and what float32 rounds away; infinite rows are off by anything, from a query of zeros too."""
        return (max(self.length, 1e-9) * lost + self.lost * kept) * 1.0001 + 2e-6 * (1 + self.length) * (1 + kept)


def _products(query: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Dot products of int8 `[dim]` with int8 `[n, dim]` into float32 `[n]`: sums in int32, rounded once."""
    import numpy as np

    try:
        import simsimd
    except ImportError:
        out[:] = rows.astype(np.int32) @ query.astype(np.int32)
        return
    simsimd.cdist(query[None], rows, metric="dot", out=out[None], out_dtype="float32")
