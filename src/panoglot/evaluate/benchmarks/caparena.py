"""CapArena: a metric's, or a judge's, verdicts against 6,523 votes of people (arXiv 2503.12329)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._human import rows_of, texts_scored
from panoglot.evaluate._stored import read_numbers
from panoglot.metrics._results import ResultSet
from panoglot.metrics.preference.arena import audit

__all__ = ["CAPARENA"]

_SIDES = {"caption 1 is better": "source1", "caption 2 is better": "source2"}


def _read(human: str) -> list[dict[str, Any]]:
    return rows_of(human, ("source1", "source2", "winner", "caption1", "caption2"))


def _run(
    rows: list[dict[str, Any]],
    score: Any,
    metric: Sequence[str],
    *,
    ties: bool = True,
    confidence: float | None = None,
) -> ResultSet:
    """Verdicts of metrics, and of the judge in the file where `judge` is among their names.

    Args:
        ties: count votes that either side calls a tie; without them they are left out.
    """
    notes: dict[str, None] = {}
    verdicts: dict[str, Sequence[Any]] = {}
    if "judge" in metric:
        said = [str(row.get("judge") or "").strip().rstrip(".").lower() for row in rows]
        verdicts["judge"] = [
            row[_SIDES[text]] if text in _SIDES else ("tie" if text == "tie" else None) for row, text in zip(rows, said)
        ]
    if score.names:
        one = texts_scored(score, [row["caption1"] for row in rows], rows, notes)
        two = texts_scored(score, [row["caption2"] for row in rows], rows, notes)
        verdicts |= {name: list(zip(one[name], two[name])) for name in one}
    return ResultSet(_audited(rows, verdicts, ties, confidence), notes=tuple(notes))


def _stored(
    rows: list[dict[str, Any]], scores: str, *, ties: bool = True, confidence: float | None = None
) -> ResultSet:
    """Verdicts by stored scores.

    Args:
        ties: count votes that either side calls a tie; without them they are left out.
    """
    pairs = read_numbers(scores, range(len(rows)), ("caption1", "caption2"))
    return ResultSet(_audited(rows, {Path(scores).stem: pairs}, ties, confidence))


def _audited(
    rows: Sequence[Mapping[str, Any]], verdicts: Mapping[str, Sequence[Any]], ties: bool, confidence: float | None
) -> dict[str, Any]:
    levels = [row.get("cluster", "") for row in rows]
    # "anything else means tie" in the file; a model that is not in the row stays an error
    models = {str(row[side]) for row in rows for side in ("source1", "source2")}
    votes = [(row["source1"], row["source2"], row["winner"] if str(row["winner"]) in models else "tie") for row in rows]
    return {
        name: audit(votes, said, levels=levels, ties=ties, confidence=confidence) for name, said in verdicts.items()
    }


CAPARENA = Benchmark(
    "caparena", "agreement", "a metric's (or judge's) verdicts against 6,523 votes, and the rankings of both",
    "`caparena_annots_eval.json`: `source1, source2, caption1, caption2, ref, winner, cluster[, judge]`; stored scores "
    "as pairs, or rows of `caption1, caption2`",
    "github.com/njucckevin/CapArena", {"score": Way(_run, _read), "scores": Way(_stored, _read)},
)  # fmt: skip
