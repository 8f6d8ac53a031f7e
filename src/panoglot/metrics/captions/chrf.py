"""chrF and chrF++ through sacrebleu: character n-grams, so no tokeniser and every language.

Source: Popović, WMT 2015 and 2017. Sibling: `bleu` (words).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panoglot.errors import require
from panoglot.metrics._inputs import OnEmpty, Predictions, References, prepare
from panoglot.metrics._result import MetricResult

__all__ = ["chrf"]


def chrf(
    preds: Predictions,
    refs: References,
    *,
    lang: str | Sequence[str] = "en",
    ids: Sequence[Any] | None = None,
    char_order: int = 6,
    word_order: int = 0,
    beta: float = 2.0,
    lowercase: bool = False,
    references: int | None = None,
    on_error: OnEmpty = "raise",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Corpus chrF (0..100); the best reference of each item counts.

    Args:
        preds: a caption for each item.
        refs: references of each item; their numbers may differ.
        lang: language of all captions (recorded and checked; the score does not use it).
        ids: item ids.
        char_order: highest character n-gram.
        word_order: highest word n-gram: 0 is chrF, 2 is chrF++.
        beta: weight of recall.
        lowercase: compare in lower case.
        references: number of references every item must have.
        on_error: what empty captions do: `raise`, `null`, `score`.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    Raises:
        UserError: bad input; MissingPackage: sacrebleu is not installed.
    """
    import numpy as np

    module = require("sacrebleu.metrics.chrf", "panoglot[metrics]", "chrF")
    given = prepare(
        preds, refs, lang=lang, ids=ids, references=references, on_error=on_error, read=False, confidence=confidence,
        resamples=resamples, seed=seed,
    )  # fmt: skip
    scorer = module.CHRF(char_order=char_order, word_order=word_order, beta=beta, lowercase=lowercase)
    # sentence statistics of the best reference add up to the corpus score: sacrebleu's own definition
    rows = [
        scorer._extract_corpus_statistics([text], [[ref] for ref in item])[0]
        for text, item in zip(given.texts, given.ref_texts)
    ]

    def score(row: Any) -> float:
        return float(scorer._compute_f_score([float(number) for number in row]))

    table = np.array(rows, dtype=np.float64)
    import sacrebleu

    return given.corpus(
        "chrf" if word_order == 0 else "chrf" + "+" * word_order,
        score(table.sum(axis=0)) if rows else None,
        [score(row) for row in rows],
        {
            "char_order": char_order, "word_order": word_order, "beta": beta, "lowercase": lowercase,
            "sacrebleu": sacrebleu.__version__,
        },
        statistics=table,
        reduce=lambda means: np.array([score(row) for row in means * len(rows)]),
        tokenizer="characters of sacrebleu",
    )  # fmt: skip
