"""Filter `rare_words`: texts with a word, or two words in a row, that hardly anybody else writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from panoglot.curation._contract import Facts, Verdict, text_group_filter
from panoglot.curation._measure import measured
from panoglot.curation._ngrams import count_ngrams, load_table, save_table
from panoglot.curation._texts import Texts
from panoglot.errors import UserError
from panoglot.table import Caption, Dataset

__all__ = ["rare_words"]


def _prepare(dataset: Dataset, options: Mapping[str, Any], run: Any) -> None:
    table = options["table"]
    if table and os.path.exists(table):
        load_table(table)
    elif table and not os.path.isdir(os.path.dirname(table) or "."):
        raise UserError(f"filter rare_words: there is no folder for the table '{table}'.")
    if options["top_n"] < 1:
        raise UserError(f"filter rare_words: top_n={options['top_n']}: give a number of n-grams from 1 up.")


@text_group_filter("rare_words", kinds=("alt", "human"), prepare=_prepare)
def rare_words(texts: Texts, *, top_n: int = 100_000_000, table: str = "") -> Callable[[Caption, Facts], Verdict]:
    """Drop texts with a unigram or bigram that is not among the `top_n` most frequent of all the texts.

    Counted on all texts, kept or not by other filters. Letter case, white space and outer punctuation make no
    difference; in scripts without spaces a unigram is a letter. A corpus with fewer than `top_n` different n-grams has
    no rare ones: nothing is dropped then, and the statistics say so (`distinct`, `min_count`).

    Args:
        texts: the texts.
        top_n: size of the table. Equally frequent n-grams are all in it or none.
        table: a file that keeps the table: counted and written if it is not there, else read, so that the same words
            are rare in the next run, or in another part of the data.

    Source: ALIGN (Jia et al. 2021), section 3: 100 million unigrams and bigrams of the raw data.
    """
    if table and os.path.exists(table):
        found = load_table(table)
    else:
        found = count_ngrams(([c.text for c in batch] for batch in texts()), top_n, keep_all=bool(table))
        if table and not texts.dry_run:
            save_table(table, found)
    texts.statistics |= {"distinct": found.distinct, "min_count": found.min_count, "top_n": top_n}
    if found.keys is None:
        texts.statistics["note"] = "no more different n-grams than top_n: none is rare"

    def decide(caption: Caption, facts: Facts) -> Verdict:
        rare = found.has_rare(caption.text)
        measured(f"words and pairs all written {found.min_count:,} times or more", "no" if rare else "yes")
        return "rare_words" if rare else None

    return decide
