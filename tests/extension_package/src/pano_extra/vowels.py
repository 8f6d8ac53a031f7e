"""A metric of captions: the share of vowels among the letters."""

from __future__ import annotations

from collections.abc import Sequence

from panoglot.metrics import Metric, MetricResult, mean_result


def vowels(preds: Sequence[str]) -> MetricResult:
    """Score captions."""
    shares = [sum(letter in "aeiou" for letter in text.lower()) / max(1, len(text)) for text in preds]
    return mean_result("vowels", shares, version="1")


VOWELS = Metric("vowels", vowels, "share of vowels among the characters")
