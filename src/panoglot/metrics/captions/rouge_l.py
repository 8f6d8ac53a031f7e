"""ROUGE-L as the COCO caption tools compute it: the best precision and the best recall over the references, beta 1.2.

Source: Lin, 2004; the quirk is that precision and recall may come from different references (`combine="max"`).
The longest common subsequence is found bit-parallel (Hyyrö 2004): one big-integer step a reference word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from panoglot.checks import check_option
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import Predictions, References, Tokenised, prepare, with_options
from panoglot.metrics._result import MetricResult

__all__ = ["ROUGE_L", "lcs_lengths", "rouge_l"]


def lcs_lengths(words: Sequence[str], others: Sequence[Sequence[str]]) -> list[int]:
    """Length of the longest common subsequence of `words` with each of `others`.

    >>> lcs_lengths("a cat sat on a mat".split(), ["the cat on the mat".split(), "a a a".split(), []])
    [3, 2, 0]
    """
    places: dict[str, int] = {}
    for n, word in enumerate(words):
        places[word] = places.get(word, 0) | (1 << n)
    full = (1 << len(words)) - 1
    get = places.get
    found = []
    for other in others:
        row = full
        for word in other:
            mask = get(word)
            if mask:
                hit = row & mask
                row = (row + hit) | (row - hit)
        found.append(len(words) - (row & full).bit_count())
    return found


@with_options
def rouge_l(
    preds: Predictions,
    refs: References,
    *,
    beta: float = 1.2,
    combine: str = "max",
    **how: Unpack[Tokenised],
) -> MetricResult:
    """Mean ROUGE-L.

    Args:
        preds: a caption for each item.
        refs: references of each item.
        beta: weight of recall.
        combine: `max` takes best precision and best recall apart (COCO), `best` the reference with the best score.
        **how: language, tokeniser, ids, empty captions, interval: see `Tokenised`.

    Raises:
        UserError: bad input, naming the first offenders.

    >>> rouge_l(["a cat on a mat"], [["the cat on the mat"]]).value
    0.6
    """
    check_option("combine", combine, ("max", "best"))
    given = prepare(preds, refs, **how)
    square = beta * beta
    values = []
    for words, others in zip(given.preds, given.refs):
        lengths = lcs_lengths(words, others)
        size = len(words)
        if combine == "max":
            # [""] has length 1 in the reference code: an empty caption scores 0 there, not an error
            pairs = [(max(lengths) / max(size, 1), max([lcs / (len(o) or 1) for lcs, o in zip(lengths, others)]))]
        else:
            pairs = [(lcs / max(size, 1), lcs / (len(other) or 1)) for lcs, other in zip(lengths, others)]
        values.append(max([(1 + square) * p * r / (r + square * p) if p and r else 0.0 for p, r in pairs]))
    return given.mean("rouge-l", values, {"beta": beta, "combine": combine})


ROUGE_L = Metric(
    "rouge-l", rouge_l,
    "longest common subsequence, best precision and recall over the references, beta 1.2",
    needs="refs", source="Lin, 2004", parity="equal to pycocoevalcap to 1e-9 on equal tokens",
)  # fmt: skip
