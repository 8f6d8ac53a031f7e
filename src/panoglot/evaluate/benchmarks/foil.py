"""FOIL: does a metric score a caption above the same caption with a wrong noun (Shekhar et al., ACL 2017)?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._human import rows_of, texts_scored
from panoglot.evaluate._stored import read_numbers
from panoglot.metrics._results import ResultSet
from panoglot.metrics.captions.hallucination import foil

__all__ = ["FOIL"]


def _read(human: str) -> list[dict[str, Any]]:
    return rows_of(human, ("references", "baseline", "foil"))


def _run(rows: list[dict[str, Any]], score: Any, *, confidence: float | None = None) -> ResultSet:
    notes: dict[str, None] = {}
    good = texts_scored(score, [row["baseline"] for row in rows], rows, notes)
    bad = texts_scored(score, [row["foil"] for row in rows], rows, notes)
    found = {name: foil(good[name], bad[name], metric=name, confidence=confidence) for name in good}
    return ResultSet(found, notes=tuple(notes))


def _stored(rows: list[dict[str, Any]], scores: str, *, confidence: float | None = None) -> ResultSet:
    pairs, name = read_numbers(scores, range(len(rows)), ("baseline", "foil")), Path(scores).stem
    good, bad = [one for one, _ in pairs], [two for _, two in pairs]
    return ResultSet({name: foil(good, bad, metric=name, confidence=confidence)})


FOIL = Benchmark(
    "foil", "agreement", "how often a metric scores a caption above the same with a wrong noun",
    "rows of `references, baseline, foil`; stored scores as pairs, or rows of `baseline, foil`",
    "github.com/DavidMChan/aloha", {"score": Way(_run, _read), "scores": Way(_stored, _read)},
)  # fmt: skip
