"""FineCapEval: captions of 1,000 pictures against what annotators named in them (Cho et al., 2022).

File `FineCapEval.csv` (github.com/j-min/CLIP-Caption-Reward): rows of `image, caption, background, object, relation`.
"""

from __future__ import annotations

from typing import Any

from panoglot.checks import meet_ids, same_ids
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._read import read_predictions
from panoglot.evaluate._score import Scorer
from panoglot.metrics._results import ResultSet
from panoglot.metrics.captions.finecapeval import finecapeval, read_finecapeval

__all__ = ["FINECAPEVAL"]


def _read(preds: str, data: str, *, model: str | None = None) -> tuple[Any, Any]:
    """Captions, and the phrases.

    Args:
        model: whose captions to take from a file or dataset of several models.
    """
    truth = read_finecapeval(data)
    return read_predictions(preds, model=model), truth


def _run(
    inputs: Any,
    *,
    lang: str = "en",
    tokenizer: str | None = None,
    on_error: str = "raise",
    confidence: float | None = None,
) -> ResultSet:
    given, (phrases, references) = inputs
    given, note = meet_ids(phrases, given, "captions")
    said = {name: given.get(name) for name in phrases}
    same_ids(phrases, {name: text for name, text in said.items() if text is not None}, "caption")
    found = ResultSet({"finecapeval": finecapeval(said, phrases, confidence=confidence)})  # type: ignore[arg-type]
    score = Scorer(
        ["bleu", "rouge-l", "cider"], lang=lang, on_error=on_error, confidence=confidence, tokenizer=tokenizer
    )
    scored = score(said, references)
    found.update(scored)
    found.notes = (*scored.notes, *([note] if note else []))
    return found


FINECAPEVAL = Benchmark(
    "finecapeval", "captions",
    "coverage of people's background, object and relation phrases, and CIDEr (1,000 pictures)",
    "--data: `FineCapEval.csv`", "github.com/j-min/CLIP-Caption-Reward", Way(_run, _read),
)  # fmt: skip
