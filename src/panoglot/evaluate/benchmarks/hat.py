"""HAT: does a metric's score find captions with a wrong word (Petryk et al., ALOHa, NAACL 2024)?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._human import rows_of, texts_scored
from panoglot.evaluate._stored import read_numbers
from panoglot.metrics._results import ResultSet
from panoglot.metrics.captions.hallucination import hat

__all__ = ["HAT"]


def _read(human: str) -> list[dict[str, Any]]:
    return rows_of(human, ("caption", "references", "contains_hallucination"))


def _run(rows: list[dict[str, Any]], score: Any, *, confidence: float | None = None) -> ResultSet:
    notes: dict[str, None] = {}
    found = texts_scored(score, [row["caption"] for row in rows], rows, notes)
    results = {name: hat(values, _labels(rows), metric=name, confidence=confidence) for name, values in found.items()}
    return ResultSet(results, notes=tuple(notes))


def _stored(rows: list[dict[str, Any]], scores: str, *, confidence: float | None = None) -> ResultSet:
    values, name = [one for (one,) in read_numbers(scores, range(len(rows)), ("score",))], Path(scores).stem
    return ResultSet({name: hat(values, _labels(rows), metric=name, confidence=confidence)})


def _labels(rows: list[dict[str, Any]]) -> list[bool]:
    return [bool(row["contains_hallucination"]) for row in rows]


HAT = Benchmark(
    "hat", "agreement", "average precision of finding captions with a wrong word by their score",
    "rows of `caption, references, contains_hallucination`; stored scores as numbers",
    "github.com/DavidMChan/aloha", {"score": Way(_run, _read), "scores": Way(_stored, _read)},
)  # fmt: skip
