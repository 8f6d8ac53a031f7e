"""Exact selection by score, of any number of rows, in bounded memory: the best of each group, ties by id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from panoglot.curation._spill import Spill

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RANKED", "falling", "last_of_best", "score_of"]

#: A row: its group, its score (as `falling` writes it) and its id's halves. Rows that come first are better.
RANKED = [("group", "<u8"), ("score", "<u4"), ("high", "<u8"), ("low", "<u8")]
#: Most rows that are sorted in memory.
PART = 1 << 22


def falling(scores: Any) -> np.ndarray:
    """Write finite float32 scores as uint32 that sort the other way round: the best score is the smallest number.

    >>> falling([1.5, 0.0, -0.0, -2.0]).argsort(kind="stable").tolist()
    [0, 1, 2, 3]
    """
    import numpy as np

    bits = (np.asarray(scores, np.float32) + np.float32(0)).view(np.uint32)  # -0 + 0 is 0: they are equal
    rising = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    return ~rising


def score_of(rank: Any) -> Any:
    """What `falling` wrote, back as a score."""
    import numpy as np

    rising = ~np.asarray(rank, np.uint32)
    found = np.where(rising >> np.uint32(31), rising & np.uint32(0x7FFFFFFF), ~rising).view(np.float32)
    return found.astype(np.float64) if found.ndim else float(found)


def last_of_best(rows: Spill, wanted: Mapping[int, int]) -> dict[int, tuple[int, int, int]]:
    """Find the row that is the `wanted[group]`-th best of its group, by falling score, then by id.

    A radix search: every pass over the file fixes 16 more bits of the score, then of the id, of the rows looked for,
    until those still in question fit into memory. At most 10 passes, usually one or two.

    Args:
        rows: of type `RANKED`; ids differ.
        wanted: group to rank, 1 up to the size of the group.

    Returns:
        Group to `(score, high, low)` of that row.
    """
    import numpy as np

    prefix: dict[int, list[int]] = {group: [] for group in wanted}
    left = dict(wanted)
    groups = sorted(wanted)
    total = len(rows)
    for level in range(10):
        if total <= PART:
            break
        counts: Counter[int] = Counter()  # place of the group and digit in one number
        for place, some in _in_question(rows, groups, prefix):
            keys, n = np.unique((place << 16) | _digit(some, level).astype(np.int64), return_counts=True)
            counts.update(dict(zip(keys.tolist(), n.tolist())))
        total = 0
        for key in sorted(counts):
            group, digit, count = groups[key >> 16], key & 0xFFFF, counts[key]
            if len(prefix[group]) > level:
                continue
            if left[group] <= count:
                prefix[group].append(digit)
                total += count
            else:
                left[group] -= count
    found = np.concatenate([np.empty(0, RANKED), *(some for _, some in _in_question(rows, groups, prefix))])
    found = found[np.lexsort((found["low"], found["high"], found["score"], found["group"]))]
    present, starts = np.unique(found["group"], return_index=True)
    result = {}
    for group, start in zip(present.tolist(), starts.tolist()):
        row = found[start + left[group] - 1]
        result[group] = (int(row["score"]), int(row["high"]), int(row["low"]))
    return result


def _digit(rows: np.ndarray, level: int) -> np.ndarray:
    """The `level`-th 16 bits of score and id."""
    import numpy as np

    name, place = [("score", 2), ("high", 4), ("low", 4)][0 if level < 2 else 1 if level < 6 else 2]
    digit = level - (0 if level < 2 else 2 if level < 6 else 6)
    return (rows[name].astype(np.uint64) >> np.uint64(16 * (place - 1 - digit))) & np.uint64(0xFFFF)


def _in_question(
    rows: Spill, groups: list[int], prefix: Mapping[int, list[int]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows whose first digits are those of their group's prefix, and the places of their groups, in chunks."""
    import numpy as np

    if not groups:
        return
    known = np.array(groups, np.uint64)
    digits = np.array([prefix[group] for group in groups], np.uint64)
    for some in rows:
        place = np.minimum(np.searchsorted(known, some["group"]), len(known) - 1)
        keep = known[place] == some["group"]
        for level in range(digits.shape[1]):
            keep &= _digit(some, level) == digits[place, level]
        yield place[keep], some[keep]
