"""Which rows of a table are wanted, by their uids, as DataComp says it."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from panoglot.errors import UserError

__all__ = ["wanted"]


def wanted(path: str, uid: Any) -> bool:
    """Say whether a uid stands in a file of uids.

    Args:
        path: DataComp's subset (`.npy` of the high and low half of 128-bit uids, any order), or a text with one a line.
        uid: 32 hexadecimal digits; whatever else is in a text file is compared as it stands.

    Raises:
        UserError: no such file, or none of uids.
    """
    try:
        facts = os.stat(path)
    except OSError as error:
        raise UserError(f"uids={path} cannot be read: {error.strerror}.") from None
    held = _held(path, facts.st_size, facts.st_mtime_ns)
    if isinstance(held, frozenset):
        return str(uid) in held
    try:
        number = int(str(uid), 16)
    except ValueError:
        return False
    return _find(held, number >> 64, number & (2**64 - 1))


def _find(held: Any, high: int, low: int) -> bool:
    import numpy as np

    if not 0 <= high < 2**64:
        return False
    first, last = (np.searchsorted(held[0], np.uint64(high), side) for side in ("left", "right"))
    return bool(np.isin(np.uint64(low), held[1][first:last]).item()) if first < last else False


@lru_cache(maxsize=2)
def _held(path: str, size: int, changed: int) -> Any:
    """The uids: a set of texts, or both halves sorted by the high one (16 bytes a uid)."""
    import numpy as np

    if not path.lower().endswith(".npy"):
        try:
            with open(path, encoding="utf-8-sig") as file:
                return frozenset(line.strip() for line in file if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"uids={path} is no text with a uid a line: {error}.") from None
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"uids={path} is no array of uids: {error}.") from None
    if rows.dtype.names is None or len(rows.dtype.names) != 2 or rows.ndim != 1:
        raise UserError(f"uids={path} is no array of uids: its type is {rows.dtype}, DataComp writes u8,u8.")
    high, low = (rows[name].astype(np.uint64) for name in rows.dtype.names)
    order = np.argsort(high, kind="stable")
    return high[order], low[order]
