"""Metrics against people, from files: scores that are given or computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.checks import meet_ids, offenders
from panoglot.errors import UserError
from panoglot.evaluate._read import CAPTIONS, IDS, read_column, read_references, texts, writer_of
from panoglot.evaluate._read import field as field_of
from panoglot.evaluate._score import Scorer
from panoglot.formats._json import read_json, read_rows
from panoglot.metrics._load import load_results
from panoglot.metrics._results import ResultSet
from panoglot.metrics.preference.agreement import agreement

__all__ = ["HumanRows", "computed", "given", "number", "read_human", "rows_of", "texts_scored"]

SCORES = ("human_score", "human", "score", "rating")


@dataclass
class HumanRows:
    """Captions that people scored, row by row.

    Attributes:
        captions: texts.
        scores: of people; None is missing.
        writers: who wrote each caption, empty where unknown.
        pictures: the picture of each.
        references: of each row, empty where there are none.
        groups: what groups the rows, where asked for.
    """

    captions: list[str | None] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    writers: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    references: list[list[str]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def add(
        self, caption: str | None, score: Any, writer: str, picture: str, references: list[str], group: str
    ) -> None:
        """Add a row."""
        self.captions.append(caption)
        self.scores.append(score)
        self.writers.append(writer)
        self.pictures.append(picture)
        self.references.append(references)
        self.groups.append(group)


def number(value: Any, path: Any, n: int) -> float | None:
    """A score of people; NaN is none.

    Raises:
        UserError: no number.
    """
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        try:
            return None if value is None or math.isnan(value) else float(value)
        except OverflowError:
            raise UserError(f"{path}: the score of row {n} is too large a number.") from None
    raise UserError(f"{path}: the score of row {n} is no number: {value!r}.")


def given(path: str, human: str, *, statistic: str, groups: str | None, confidence: float | None) -> ResultSet:
    """Agreement of the scores in a file (each result of it) with people's."""
    people = read_column(human, SCORES)
    of = {str(field_of(row, IDS, human)): str(row.get(groups)) for row in read_rows(human)} if groups else None
    data = read_json(path)
    tables: dict[str, Mapping[str, float | None]] = {}
    if isinstance(data, dict) and isinstance(data.get("results"), dict) and len(data["results"]) > 1:
        for name, result in load_results(path).items():
            if result.per_item is not None:
                tables[name] = dict(zip(result.ids, result.per_item))
        if not tables:
            raise UserError(f"{path} has no item values; write it again with item values (--per-item).")
    else:
        named = next(iter(data["results"])) if isinstance(data, dict) and isinstance(data.get("results"), dict) else ""
        name = named or (str(data["metric"]) if isinstance(data, dict) and "metric" in data else "metric")
        tables[name] = read_column(path, ("score", "value"))
    found, notes = ResultSet(), []
    for name, scores in tables.items():
        met, note = meet_ids(people, scores, "scores")
        notes.append(note)
        found[name] = agreement(met, people, statistic=statistic, groups=of, metric=name, confidence=confidence)
    found.notes = tuple(dict.fromkeys(note for note in notes if note))
    return found


def read_human(path: str, refs: str | Sequence[str] | None, groups: str | None) -> HumanRows:
    """Read captions with people's scores, and the references of each.

    Raises:
        UserError: rows without a caption or a score, captions without references where others have some.
    """
    rows = read_rows(path)
    paths = [refs] if isinstance(refs, str) else list(refs or ())
    table = read_references(paths) if paths else {}
    found = HumanRows()
    bare = []
    for n, row in enumerate(rows):
        keys = [str(row[name]) for name in IDS if row.get(name) is not None]
        own = row.get("references", row.get("refs"))
        key = next((key for key in keys if key in table), None)
        if own is None and table and key is None:
            bare.append(keys[0] if keys else f"row {n}")
            continue
        picture = str(row.get("image") or row.get("image_path") or row.get("image_id") or (keys[0] if keys else n))
        caption = field_of(row, CAPTIONS, path)
        if caption is not None and not isinstance(caption, str):
            raise UserError(f"{path}: the caption of row {n} is not a text.")
        listed = texts(own, n, path) if own is not None else list(table.get(key or "", ()))
        group = str(row.get(groups)) if groups else ""
        found.add(caption, number(field_of(row, SCORES, path), path, n), writer_of(row), picture, listed, group)
    if bare:
        raise UserError(f"{len(bare)} rows of {path} have no references: {offenders(bare)}.")
    if groups and all(group == "None" for group in found.groups):
        raise UserError(f"{path}: no row has the field '{groups}'.")
    return found


def _scores(score: Scorer, rows: HumanRows, notes: dict[str, None] | None = None) -> dict[str, list[float | None]]:
    """Item scores of every metric, each writer's captions on their own; what the metrics remark goes into `notes`."""
    found: dict[str, list[float | None]] = {name: [None] * len(rows.captions) for name in score.names}
    for writer in sorted(set(rows.writers)):
        mine = [n for n, one in enumerate(rows.writers) if one == writer]
        preds = {str(n): rows.captions[n] for n in mine}
        refs = {str(n): rows.references[n] for n in mine} if score.wants_references() else None
        results = score(preds, refs, {str(n): rows.pictures[n] for n in mine})
        for remark in (*results.notes, *(note for result in results.values() for note in result.notes)):
            if notes is not None:
                notes[remark] = None
        for name, result in results.items():
            if result.per_item is None or len(result.per_item) != len(mine):
                raise UserError(f"'{name}' has no value for each caption: it cannot be compared with people.")
            values = dict(zip(result.ids, result.per_item))
            for n in mine:
                found[name][n] = values[str(n)]
    return found


def computed(score: Scorer, rows: HumanRows, *, statistic: str, grouped: bool, confidence: float | None) -> ResultSet:
    """Agreement of metrics, computed on the captions, with people's scores."""
    notes: dict[str, None] = {}
    groups = rows.groups if grouped else None
    found = {
        name: agreement(values, rows.scores, statistic=statistic, groups=groups, metric=name, confidence=confidence)
        for name, values in _scores(score, rows, notes).items()
    }
    return ResultSet(found, notes=tuple(notes))


def rows_of(path: str, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Rows that have all the fields `wanted`.

    Raises:
        UserError: naming those that lack one.
    """
    rows = read_rows(path)
    odd = [n for n, row in enumerate(rows) if not set(wanted) <= set(row)]
    if odd:
        raise UserError(f"{path}: {len(odd)} rows lack one of {', '.join(wanted)}: {offenders(odd)}.")
    return rows


def texts_scored(
    score: Scorer | None, captions: Sequence[str], rows: Sequence[Mapping[str, Any]], notes: dict[str, None]
) -> dict[str, list[Any]]:
    """Item scores of every metric, of captions whose rows have the picture and the references.

    Raises:
        UserError: no metric is named.
    """
    if score is None or not score.names:
        raise UserError("name a metric, or give a file of stored scores.")
    found = HumanRows()
    for n, (caption, row) in enumerate(zip(captions, rows)):
        picture = str(row.get("image_path", row.get("img", n)))
        references = row.get("references", row.get("ref"))
        found.add(caption, None, "", picture, texts(references, n, "references"), "")
    return _scores(score, found, notes)
