"""Bad input is refused by naming the first offenders and how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from panoglot.errors import UserError, did_you_mean

__all__ = ["OnError", "check_option", "item_ids", "offenders", "same_ids"]

#: What to do with an item that cannot be scored: stop, or leave it null, counted and out of every mean.
OnError = Literal["raise", "null"]


def offenders(items: Iterable[object], show: int = 5) -> str:
    """Write the first few of many.

    >>> offenders(["a", "b", "c"], show=2)
    'a, b … (3 in all)'
    """
    listed = [str(item) for item in items]
    return ", ".join(listed[:show]) + (f" … ({len(listed)} in all)" if len(listed) > show else "")


def check_option(name: str, value: str, choices: Iterable[str]) -> str:
    """Return `value` when it is one of `choices`.

    Raises:
        UserError: with a "did you mean".
    """
    choices = list(choices)
    if value not in choices:
        raise UserError(f"{name}={value!r} is not known.{did_you_mean(str(value), choices)}")
    return value


def item_ids(ids: Sequence[Any] | None, count: int) -> tuple[str, ...]:
    """Ids as strings, or positions.

    Raises:
        UserError: another number of ids than items, or duplicates.
    """
    if ids is None:
        return tuple(map(str, range(count)))
    found = tuple(map(str, ids))
    if len(found) != count:
        raise UserError(f"{len(found)} ids for {count} items.")
    if len(set(found)) != count:
        seen: set[str] = set()
        twice = [item for item in found if item in seen or seen.add(item)]  # type: ignore[func-returns-value]
        raise UserError(f"{len(twice)} duplicate ids: {offenders(twice)}. Keep one prediction for each.")
    return found


def same_ids(preds: Mapping[Any, Any], refs: Mapping[Any, Any], what: str = "references") -> list[Any]:
    """Return the ids of `preds` in order, when `refs` has exactly the same.

    Raises:
        UserError: naming the missing and the extra ids.
    """
    missing = [key for key in preds if key not in refs]
    extra = [key for key in refs if key not in preds]
    if missing or extra:
        parts = []
        if missing:
            parts.append(f"{len(missing)} predictions have no {what}: {offenders(missing)}")
        if extra:
            parts.append(f"{len(extra)} {what} have no prediction: {offenders(extra)}")
        raise UserError("; ".join(parts) + ".")
    return list(preds)
