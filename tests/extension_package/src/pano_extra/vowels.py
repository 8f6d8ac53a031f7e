"""A metric of captions: the share of vowels among the letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from panoglot.metrics import Metric, MetricResult, mean_result


def vowels(preds: Sequence[str] | Mapping[str, str]) -> MetricResult:
    """Score captions, in a list or by id."""
    texts = preds.values() if isinstance(preds, Mapping) else preds
    shares = [sum(letter in "aeiou" for letter in text.lower()) / max(1, len(text)) for text in texts]
    return mean_result("vowels", shares, version="1")


VOWELS = Metric("vowels", vowels, "share of vowels among the characters")
