"""Bad input is refused by naming the first offenders and how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from panoglot.errors import UserError, did_you_mean

__all__ = ["OnError", "check_option", "item_ids", "meet_ids", "offenders", "pairs", "same_ids", "several", "stem_of"]

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


def several(values: str | Iterable[str] | None) -> tuple[str, ...]:
    """Values given in one text with commas or spaces between them, one after the other, or both.

    >>> several("de,en"), several(["de", "pt-BR sw"]), several(None)
    (('de', 'en'), ('de', 'pt-BR', 'sw'), ())
    """
    given = [values] if isinstance(values, str) else values or ()
    return tuple(one for value in given for one in value.replace(",", " ").split())


def pairs(values: str | Iterable[str] | Mapping[str, Any], flag: str, form: str = "NAME=VALUE") -> dict[str, Any]:
    """Read `NAME=VALUE` again and again.

    Args:
        values: such texts, or what they stand for.
        flag: of the command line, for the message.
        form: what to write.

    Raises:
        UserError: not of that form.

    >>> pairs(["prompt=Say what you see."], "--option")
    {'prompt': 'Say what you see.'}
    """
    if isinstance(values, Mapping):
        return dict(values)
    found = {}
    for value in [values] if isinstance(values, str) else values:
        key, equals, rest = value.partition("=")
        if not equals or not key:
            raise UserError(f"{flag} {value}: write {form}.")
        found[key] = rest
    return found


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


_PICTURES = frozenset("jpg jpeg jpe png gif webp bmp tif tiff avif heic heif jxl svg svgz jp2 ppm pgm npy txt".split())


def stem_of(key: Any) -> str:
    """An id without a picture's ending.

    >>> stem_of("cat.JPG"), stem_of("v1.2"), stem_of("train/cat.png")
    ('cat', 'v1.2', 'train/cat')
    """
    root, dot, ending = str(key).rpartition(".")
    return root if dot and root and ending.lower() in _PICTURES else str(key)


def meet_ids(mine: Iterable[Any], theirs: Mapping[Any, Any], what: str) -> tuple[dict[Any, Any], str]:
    """Bring ids together that differ in a picture's ending only: `cat` and `cat.jpg`.

    Args:
        mine: ids.
        theirs: something by id.
        what: what it is called.

    Returns:
        `theirs` by the ids of `mine` where they meet (the others as they are), and a note; empty when all ids are equal
        as they stand, or do not meet in this way either.

    >>> meet_ids(["a", "b"], {"a.jpg": 1, "b.jpg": 2}, "references")
    ({'a': 1, 'b': 2}, "2 ids met without their file's ending, for example references of 'a.jpg' for 'a'")
    """
    keys = list(mine)
    there = set(keys)
    if there <= theirs.keys() and len(there) == len(theirs):
        return dict(theirs), ""
    free = [key for key in theirs if key not in there]
    wanted = [key for key in keys if key not in theirs]
    by_stem: dict[str, list[Any]] = {}
    for key in free:
        by_stem.setdefault(stem_of(key), []).append(key)
    ours = Counter(map(stem_of, keys))
    found = {
        key: by_stem[stem_of(key)][0]
        for key in wanted
        if ours[stem_of(key)] == 1 and len(by_stem.get(stem_of(key), ())) == 1
    }
    if not found:
        return dict(theirs), ""
    back = {other: key for key, other in found.items()}
    key, other = next(iter(found.items()))
    note = f"{len(found)} ids met without their file's ending, for example {what} of '{other}' for '{key}'"
    return {back.get(name, name): value for name, value in theirs.items()}, note


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
