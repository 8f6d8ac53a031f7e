"""How long captions are, and how hard to read. No references.

Readability uses LIX (Björnsson 1968: words a sentence plus the share of words of more than six letters), which needs no
syllables and is used in many languages; Flesch reading ease is added for English. Scripts that write no spaces between
words have lengths but no LIX.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from panoglot.errors import UserError
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import OnEmpty, Predictions, prepare
from panoglot.metrics._result import MetricResult
from panoglot.text import split_sentences

__all__ = ["LENGTH", "READABILITY", "caption_length", "readability"]


def caption_length(
    preds: Predictions,
    *,
    lang: str | Sequence[str] = "en",
    tokenizer: str | Callable[[str], list[str]] | None = None,
    ids: Sequence[Any] | None = None,
    on_error: OnEmpty = "raise",
    confidence: float | None = None,
) -> MetricResult:
    """Mean number of tokens a caption; `parts` hold characters, sentences, shortest, median and longest.

    >>> caption_length(["A cat.", "Two dogs run far away."]).value
    3.5
    """
    import statistics

    given = prepare(preds, None, lang=lang, tokenizer=tokenizer, ids=ids, on_error=on_error, confidence=confidence)
    sizes = [len(words) for words in given.preds]
    parts: dict[str, float | None] = {}
    if sizes:
        parts = {
            "characters": statistics.fmean(len(text) for text in given.texts),
            "sentences": statistics.fmean(len(split_sentences(text, lower_case=False)) for text in given.texts),
            "shortest": float(min(sizes)),
            "median": float(statistics.median(sizes)),
            "longest": float(max(sizes)),
        }
    return given.mean("length", sizes, parts=parts)


def readability(
    preds: Predictions,
    *,
    lang: str | Sequence[str] = "en",
    ids: Sequence[Any] | None = None,
    on_error: OnEmpty = "raise",
    confidence: float | None = None,
) -> MetricResult:
    """Mean LIX (below 30 easy, above 50 hard); for English `parts` also hold Flesch reading ease (higher is easier).

    Raises:
        UserError: bad input, or a language whose script writes no spaces between words.

    >>> result = readability(["The cat sat on the mat."])
    >>> result.value, round(result.parts["flesch_reading_ease"], 1)
    (6.0, 116.1)
    """
    given = prepare(preds, None, lang=lang, tokenizer=None, ids=ids, on_error=on_error, confidence=confidence)
    if given.tokenizer.name.startswith(("characters", "clusters")):
        raise UserError(f"LIX counts words between spaces, which '{given.language}' does not write.")
    values, flesch = [], []
    for text, words in zip(given.texts, given.preds):
        sentences = max(len(split_sentences(text, lower_case=False)), 1)
        values.append(len(words) / sentences + 100 * sum(len(word) > 6 for word in words) / max(len(words), 1))
        if given.language.split("-")[0] == "en" and words:
            syllables = sum(map(_syllables, words)) / len(words)
            flesch.append(206.835 - 1.015 * len(words) / sentences - 84.6 * syllables)
    return given.mean("lix", values, parts={"flesch_reading_ease": sum(flesch) / len(flesch)} if flesch else {})


def _syllables(word: str) -> int:
    """English syllables by vowel groups; a silent final e does not count."""
    groups = len(re.findall(r"[aeiouy]+", word.lower()))
    silent = word.endswith("e") and not word.endswith(("le", "ee")) and groups > 1
    return max(groups - silent, 1)


LENGTH = Metric("length", caption_length, "tokens a caption", parity="definition")
READABILITY = Metric(
    "readability", readability, "LIX; Flesch reading ease beside it for English",
    languages="those that write spaces", source="Björnsson, 1968", parity="definition",
)  # fmt: skip
