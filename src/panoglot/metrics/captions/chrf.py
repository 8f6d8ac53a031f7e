"""chrF and chrF++ through sacrebleu: character n-grams, so no tokeniser and every language.

Source: Popović, WMT 2015 and 2017. Sibling: `bleu` (words).
"""

from __future__ import annotations

from typing import Any, Unpack

from panoglot.checks import check_option
from panoglot.errors import require
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import Given, Predictions, References, prepare, with_options
from panoglot.metrics._result import MetricResult
from panoglot.text._letters import LETTERS, same_letters

__all__ = ["CHRF", "chrf"]


@with_options
def chrf(
    preds: Predictions,
    refs: References,
    *,
    char_order: int = 6,
    word_order: int = 0,
    beta: float = 2.0,
    level: str = "corpus",
    letters: bool = True,
    lowercase: bool = False,
    **how: Unpack[Given],
) -> MetricResult:
    """chrF (0..100) of the corpus, with a value for every item; the best reference of each item counts.

    Args:
        preds: a caption for each item.
        refs: references of each item; their numbers may differ.
        char_order: highest character n-gram.
        word_order: highest word n-gram: 0 is chrF, 2 is chrF++.
        beta: weight of recall.
        level: `corpus` (counts are summed, as sacrebleu and the literature have it) or `sentence` (mean of the item
            values, which is what comparisons and agreement are made of).
        letters: write letters that are the same in one form first (see `panoglot.text._letters`); False takes
            texts as they stand, as sacrebleu does.
        lowercase: compare in lower case.
        **how: language, ids, empty captions, interval: see `Given`.

    Raises:
        UserError: bad input; MissingPackage: sacrebleu is not installed.
    """
    import numpy as np

    check_option("level", level, ("corpus", "sentence"))
    module = require("sacrebleu.metrics.chrf", "panoglot[metrics]", "chrF")
    given = prepare(preds, refs, read=False, **how)
    scorer = module.CHRF(char_order=char_order, word_order=word_order, beta=beta, lowercase=lowercase)
    # sentence statistics of the best reference add up to the corpus score: sacrebleu's own definition
    base = given.language.split("-")[0]

    def plain(text: str) -> str:
        return same_letters(text, base, compatibility=False) if letters else text

    rows = [
        scorer._extract_corpus_statistics([plain(text)], [[plain(ref)] for ref in item])[0]
        for text, item in zip(given.texts, given.ref_texts)
    ]

    def score(row: Any) -> float:
        return float(scorer._compute_f_score([float(number) for number in row]))

    import sacrebleu

    name = "chrf" if word_order == 0 else "chrf" + "+" * word_order
    values = [score(row) for row in rows]
    options = {
        "char_order": char_order, "word_order": word_order, "beta": beta, "lowercase": lowercase, "level": level,
        "letters": LETTERS if letters else "as they stand", "sacrebleu": sacrebleu.__version__,
    }  # fmt: skip
    fields = {"tokenizer": "characters of sacrebleu", "version": "2"}
    if level == "sentence":
        return given.mean(name, values, options, **fields)
    table = np.array(rows, dtype=np.float64)
    return given.corpus(
        name,
        score(table.sum(axis=0)) if rows else None,
        values,
        options,
        statistics=table,
        reduce=lambda means: np.array([score(row) for row in means * len(rows)]),
        parts={"mean_of_items": sum(values) / len(values) if values else None},
        **fields,
    )


CHRF = Metric(
    "chrf", chrf,
    "F-score of character n-grams (0 to 100), of the corpus",
    needs="refs", source="Popović, WMT 2015", parity="sacrebleu",
)  # fmt: skip
