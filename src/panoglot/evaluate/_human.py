"""Metrics against people, from files: scores that are given or computed, and the benchmarks of metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoglot.checks import meet_ids, offenders
from panoglot.errors import UserError
from panoglot.evaluate._read import CAPTIONS, IDS, read_column, read_references, texts, writer_of
from panoglot.evaluate._read import field as field_of
from panoglot.evaluate._score import Scorer
from panoglot.evaluate._stored import read_numbers
from panoglot.formats._json import read_json, read_rows
from panoglot.metrics._load import load_results
from panoglot.metrics._results import ResultSet
from panoglot.metrics.captions.hallucination import foil, hat
from panoglot.metrics.preference.agreement import agreement
from panoglot.metrics.preference.arena import audit

__all__ = ["BENCHMARKS", "HumanRows", "computed", "given", "read_detailcaps_rows", "read_human"]

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


def _number(value: Any, path: Any, n: int) -> float | None:
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
        found.add(caption, _number(field_of(row, SCORES, path), path, n), writer_of(row), picture, listed, group)
    if bare:
        raise UserError(f"{len(bare)} rows of {path} have no references: {offenders(bare)}.")
    if groups and all(group == "None" for group in found.groups):
        raise UserError(f"{path}: no row has the field '{groups}'.")
    return found


def read_detailcaps_rows(path: str) -> HumanRows:
    """The candidates of DetailCaps with the scores that the file brings."""
    from panoglot.evaluate.benchmarks.detailcaps import read_detailcaps

    data = read_detailcaps(path)
    found = HumanRows()
    for model, scores in data.scores.items():
        for picture, score in scores.items():
            caption = data.candidates.get(model, {}).get(picture)
            found.add(caption, score, model, picture, data.references[picture], picture)
    if not found.captions:
        raise UserError(f"{path} has no scores of candidates (GPT4_Eval).")
    return found


def stored_detailcaps(path: str, data: str, *, statistic: str, grouped: bool, confidence: float | None) -> ResultSet:
    """Agreement of stored scores, `{model: {picture: score}}`, with those that DetailCaps' file brings.

    Raises:
        UserError: another form, models or pictures that lack a score.
    """
    rows = read_detailcaps_rows(data)
    table = read_json(path)
    if not isinstance(table, dict) or not all(isinstance(one, dict) for one in table.values()):
        raise UserError(f"{path} must be one JSON object: {{model: {{picture: score}}}}.")
    lacking = sorted({writer for writer in rows.writers if writer not in table})
    if lacking:
        raise UserError(f"{path} has no scores of {len(lacking)} models: {offenders(lacking)}.")
    values: list[float | None] = []
    met: dict[str, Mapping[str, Any]] = {}
    for writer, picture in zip(rows.writers, rows.pictures):
        if writer not in met:
            mine = [one for one, other in zip(rows.pictures, rows.writers) if other == writer]
            met[writer], _ = meet_ids(mine, table[writer], "scores")
        if picture not in met[writer]:
            raise UserError(f"{path}: '{writer}' has no score of {picture}.")
        values.append(_number(met[writer][picture], path, len(values)))
    name, groups = Path(path).stem, rows.groups if grouped else None
    found = agreement(values, rows.scores, statistic=statistic, groups=groups, metric=name, confidence=confidence)
    return ResultSet({name: found})


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


def _rows_of(path: str, wanted: Sequence[str]) -> list[dict[str, Any]]:
    rows = read_rows(path)
    odd = [n for n, row in enumerate(rows) if not set(wanted) <= set(row)]
    if odd:
        raise UserError(f"{path}: {len(odd)} rows lack one of {', '.join(wanted)}: {offenders(odd)}.")
    return rows


def _texts_scored(
    score: Scorer | None, captions: Sequence[str], rows: Sequence[Mapping[str, Any]], notes: dict[str, None]
) -> dict[str, list[Any]]:
    if score is None or not score.names:
        raise UserError("name a metric, or give a file of stored scores.")
    found = HumanRows()
    for n, (caption, row) in enumerate(zip(captions, rows)):
        picture = str(row.get("image_path", row.get("img", n)))
        references = row.get("references", row.get("ref"))
        found.add(caption, None, "", picture, texts(references, n, "references"), "")
    return _scores(score, found, notes)


def foil_file(
    score: Scorer | None, path: str, *, judge: bool, confidence: float | None, stored: str | None = None
) -> ResultSet:
    """How often metrics prefer the true caption to its foil."""
    rows = _rows_of(path, ("references", "baseline", "foil"))
    notes: dict[str, None] = {}
    if stored is not None:
        pairs = read_numbers(stored, range(len(rows)), ("baseline", "foil"))
        good: dict[str, list[Any]] = {Path(stored).stem: [one for one, _ in pairs]}
        bad: dict[str, list[Any]] = {Path(stored).stem: [two for _, two in pairs]}
    else:
        good = _texts_scored(score, [row["baseline"] for row in rows], rows, notes)
        bad = _texts_scored(score, [row["foil"] for row in rows], rows, notes)
    found = {name: foil(good[name], bad[name], metric=name, confidence=confidence) for name in good}
    return ResultSet(found, notes=tuple(notes))


def hat_file(
    score: Scorer | None, path: str, *, judge: bool, confidence: float | None, stored: str | None = None
) -> ResultSet:
    """How well metrics find captions with a wrong word."""
    rows = _rows_of(path, ("caption", "references", "contains_hallucination"))
    labels = [bool(row["contains_hallucination"]) for row in rows]
    notes: dict[str, None] = {}
    if stored is not None:
        values = read_numbers(stored, range(len(rows)), ("score",))
        scores: dict[str, list[Any]] = {Path(stored).stem: [one for (one,) in values]}
    else:
        scores = _texts_scored(score, [row["caption"] for row in rows], rows, notes)
    found = {name: hat(values, labels, metric=name, confidence=confidence) for name, values in scores.items()}
    return ResultSet(found, notes=tuple(notes))


def caparena_file(
    score: Scorer | None, path: str, *, judge: bool, confidence: float | None, stored: str | None = None
) -> ResultSet:
    """How often metrics, or the judge in the file, give people's verdict."""
    rows = _rows_of(path, ("source1", "source2", "winner", "caption1", "caption2"))
    levels = [row.get("cluster", "") for row in rows]
    # "anything else means tie" in the file; a model that is not in the row stays an error
    models = {str(row[side]) for row in rows for side in ("source1", "source2")}
    votes = [(row["source1"], row["source2"], row["winner"] if str(row["winner"]) in models else "tie") for row in rows]
    verdicts: dict[str, Sequence[Any]] = {}
    notes: dict[str, None] = {}
    if judge:
        sides = {"1": "source1", "2": "source2"}
        said = [str(row.get("judge") or "").strip().rstrip(".").lower() for row in rows]
        verdicts["judge"] = [
            row[sides[text[8]]] if text in ("caption 1 is better", "caption 2 is better") else
            ("tie" if text == "tie" else None)
            for row, text in zip(rows, said)
        ]  # fmt: skip
    if stored is not None:
        verdicts[Path(stored).stem] = read_numbers(stored, range(len(rows)), ("caption1", "caption2"))
    elif score is not None and score.names:
        one = _texts_scored(score, [row["caption1"] for row in rows], rows, notes)
        two = _texts_scored(score, [row["caption2"] for row in rows], rows, notes)
        verdicts |= {name: list(zip(one[name], two[name])) for name in one}
    found = {name: audit(votes, said, levels=levels, confidence=confidence) for name, said in verdicts.items()}
    return ResultSet(found, notes=tuple(notes))


BENCHMARKS: dict[str, Callable[..., ResultSet]] = {"foil": foil_file, "hat": hat_file, "caparena": caparena_file}
