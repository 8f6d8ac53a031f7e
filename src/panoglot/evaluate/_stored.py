"""Answers and scores that are there already: in the order of the questions, or by id."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from panoglot.checks import meet_ids, offenders
from panoglot.errors import UserError
from panoglot.evaluate._read import CAPTIONS, IDS, field, is_lines
from panoglot.formats._json import read_json, read_lines

__all__ = ["numbered", "one_or_more", "read_answers", "read_numbers"]


def _table(path: str | os.PathLike[str]) -> Any:
    """Rows in order, or values by id."""
    if is_lines(path):
        return read_lines(path)
    data = read_json(path)
    if isinstance(data, dict) and isinstance(data.get("results"), dict) and len(data["results"]) == 1:
        data = next(iter(data["results"].values()))
    if isinstance(data, dict) and isinstance(data.get("per_item"), dict):
        return data["per_item"]
    return data


def _id_of(row: Any) -> str:
    return str(next((row[name] for name in IDS if name in row), "")) if isinstance(row, dict) else ""


def _by_id(path: Any, data: Any, ids: Sequence[str], read: Any, what: str) -> list[Any]:
    """One value for each id."""
    if isinstance(data, dict):
        found = {str(key): read(value) for key, value in data.items()}
    elif isinstance(data, list):
        keys = [_id_of(row) for row in data]
        named = all(keys) and len(set(keys)) == len(keys)
        if not named or not set(ids) & set(keys):  # in the order of the questions
            if len(data) != len(ids):
                raise UserError(f"{path} has {len(data)} {what}, but there are {len(ids)} questions.")
            return [read(row) for row in data]
        found = dict(zip(keys, map(read, data)))
    else:
        raise UserError(f"{path} is neither a list of {what} nor {what} by id.")
    found, _ = meet_ids(ids, found, what)
    missing, extra = [key for key in ids if key not in found], [key for key in found if key not in set(ids)]
    if missing or extra:
        said = [f"{len(missing)} questions have none: {offenders(missing)}"] if missing else []
        said += [f"{len(extra)} are of no question: {offenders(extra)}"] if extra else []
        raise UserError(f"{path}: {'; '.join(said)}. Ids look like {ids[0] if ids else '…'}.")
    return [found[key] for key in ids]


def read_answers(path: str | os.PathLike[str], ids: Sequence[Any]) -> list[str | None]:
    """What a model said to each question: lines of text, a list, `{id: answer}`, rows of `answer`, with or without id.

    Args:
        path: the file.
        ids: of the questions, in order.

    Raises:
        UserError: another number of answers, or ids that are no question's.
    """

    def read(row: Any) -> str | None:
        value = field(row, ("answer", "response", *CAPTIONS), path) if isinstance(row, Mapping) else row
        if value is not None and not isinstance(value, str | int | float):
            raise UserError(f"{path}: an answer is no text: {str(value)[:60]}")
        return None if value is None else str(value)

    return _by_id(path, _table(path), [str(one) for one in ids], read, "answers")


def read_numbers(path: str | os.PathLike[str], ids: Sequence[Any], names: Sequence[str]) -> list[list[float | None]]:
    """Stored scores of each item: one for each of `names`.

    Args:
        path: a list, `{id: score}`, or rows with the fields `names`; several scores of an item as a list too.
        ids: of the items, in order.
        names: of the scores, for example `baseline`, `foil`.

    Raises:
        UserError: another number of rows, ids of no item, no numbers.
    """

    def read(row: Any) -> list[float | None]:
        if isinstance(row, Mapping):
            named = names if len(names) > 1 else ("score", "value", *names)
            values = [field(row, [name], path) for name in names] if len(names) > 1 else [field(row, named, path)]
        else:
            values = list(row) if isinstance(row, list) else [row]
        if len(values) != len(names) or any(
            isinstance(one, bool) or not isinstance(one, int | float | None) for one in values
        ):
            raise UserError(f"{path}: {str(row)[:60]} is not {len(names)} numbers ({', '.join(names)}).")
        return [None if one is None else float(one) for one in values]

    return _by_id(path, _table(path), [str(one) for one in ids], read, "scores")


def numbered(names: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Numbers of questions; with several languages they are told apart.

    >>> numbered(["de"], [2]), numbered(["de", "th"], [1, 1])
    (['0', '1'], ['de/0', 'th/0'])
    """
    if len(names) == 1:
        return [str(n) for n in range(counts[0])]
    return [f"{name}/{n}" for name, count in zip(names, counts) for n in range(count)]


def one_or_more(lang: Sequence[str]) -> list[str]:
    """The languages.

    Raises:
        UserError: there is none.
    """
    if not lang:
        raise UserError("--lang names no language.")
    return list(lang)
