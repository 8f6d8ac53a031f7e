"""BLEU-1..4, counted and smoothed as the COCO caption tools do.

Source: Papineni et al., ACL 2002; the tools' constants: every order's precision is (correct + 1e-15) / (guesses +
1e-9), and the reference length is the closest one (of two equally close, the shorter). Sibling: `chrf` (characters,
no tokeniser), `self_bleu` (captions against each other).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from panoglot.checks import check_option
from panoglot.errors import UserError
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import Predictions, References, Tokenised, prepare, with_options
from panoglot.metrics._result import MetricResult

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BLEU", "BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "bleu", "bleu_from_counts", "bleu_statistics"]

_TINY, _SMALL = 1e-15, 1e-9
#: No n-gram stands more often in one caption (keys and counts share one integer).
_MOST = 2**16
_LENGTHS = ("closest", "shortest", "average")


@with_options
def bleu(
    preds: Predictions,
    refs: References,
    *,
    n: int = 4,
    level: str = "corpus",
    reference_length: str = "closest",
    **how: Unpack[Tokenised],
) -> MetricResult:
    """BLEU of a corpus, with a sentence BLEU for every item.

    Args:
        preds: a caption for each item.
        refs: references of each item.
        n: highest order; `value` is BLEU-n, `parts` hold BLEU-1..n.
        level: `corpus` (counts are summed, as published) or `sentence` (mean of the item values).
        reference_length: `closest` to the prediction, `shortest`, or `average`.
        **how: language, tokeniser, ids, empty captions, interval: see `Tokenised`.

    Raises:
        UserError: bad input, naming the first offenders.

    >>> result = bleu(["a cat sits on the mat"], [["the cat sits on the mat", "a cat is on a mat"]])
    >>> round(result.value, 4), {name: round(value, 4) for name, value in result.parts.items()}
    (0.8409, {'bleu1': 1.0, 'bleu2': 1.0, 'bleu3': 0.9086, 'bleu4': 0.8409})
    """

    check_option("level", level, ("corpus", "sentence"))
    check_option("reference_length", reference_length, _LENGTHS)
    if not 1 <= n <= 9:
        raise UserError(f"n={n} must lie between 1 and 9.")
    given = prepare(preds, refs, **how)
    counts = bleu_statistics(given.preds, given.refs, n, reference_length)
    items = bleu_from_counts(counts)
    finals: np.ndarray | None = None
    if len(items):
        finals = bleu_from_counts(counts.sum(axis=0, keepdims=True))[0] if level == "corpus" else items.mean(axis=0)
    total = len(counts)
    return given.corpus(
        f"bleu{n}",
        None if finals is None else float(finals[-1]),
        items[:, -1],
        {"n": n, "level": level, "reference_length": reference_length},
        statistics=counts if level == "corpus" else items[:, -1],
        reduce=(lambda means: bleu_from_counts(means * total)[:, -1]) if level == "corpus" else None,
        parts={f"bleu{k + 1}": None if finals is None else float(finals[k]) for k in range(n)},
    )


def bleu_statistics(
    preds: Sequence[Sequence[str]], refs: Sequence[Sequence[Sequence[str]]], n: int, reference_length: str
) -> np.ndarray:
    """Count what BLEU adds up: `[N, 2n+2]` with correct 1..n, guesses 1..n, prediction length, reference length."""
    import numpy as np

    from panoglot.metrics.captions._ngrams import lookup, ngram_tables

    items = len(preds)
    found = np.zeros((items, 2 * n + 2))
    if not items:
        return found
    many = np.fromiter(map(len, refs), dtype=np.int64, count=items)
    tables, lengths, _ = ngram_tables([*preds, *(ref for item in refs for ref in item)], n)
    owner = np.repeat(np.arange(items), many)
    size, ref_size = lengths[:items], lengths[items:]
    for order, table in enumerate(tables):
        split = np.searchsorted(table.row, items)
        # the most often that any one reference of the item has the n-gram: the last of each run of (key, count)
        key = owner[table.row[split:] - items] * table.size + table.gram[split:]
        ordered = np.sort(key * _MOST + np.minimum(table.count[split:], _MOST - 1), kind="stable")
        key, count = np.divmod(ordered, _MOST)
        last = np.flatnonzero(np.diff(key, append=-1))
        clipped_to = lookup(key[last], count[last], table.key[:split])
        clipped = np.minimum(table.count[:split], clipped_to)
        found[:, order] = np.bincount(table.row[:split], weights=clipped, minlength=items)
        found[:, n + order] = np.maximum(size - order, 0)
    found[:, 2 * n] = size
    ends = np.cumsum(many)[:-1]
    if reference_length == "average":
        found[:, -1] = [part.mean() for part in np.split(ref_size, ends)]
    else:
        # order by (distance, length): one number, since lengths are far below 2**20
        rank = ref_size if reference_length == "shortest" else np.abs(ref_size - size[owner]) * 2**20 + ref_size
        found[:, -1] = np.minimum.reduceat(rank, np.r_[0, ends]) % 2**20
    return found


def bleu_from_counts(counts: np.ndarray) -> np.ndarray:
    """Turn rows of `bleu_statistics` (or sums of them) into BLEU-1..n: `[R, n]`."""
    import numpy as np

    n = counts.shape[1] // 2 - 1
    precision = (counts[:, :n] + _TINY) / (counts[:, n : 2 * n] + _SMALL)
    ratio = (counts[:, 2 * n] + _TINY) / (counts[:, 2 * n + 1] + _SMALL)
    brevity = np.where(ratio < 1, np.exp(np.minimum(1 - 1 / ratio, 0)), 1.0)
    return np.cumprod(precision, axis=1) ** (1 / np.arange(1, n + 1)) * brevity[:, None]


_ABOUT: dict[str, Any] = {
    "needs": "refs", "source": "Papineni et al., ACL 2002", "parity": "equal to pycocoevalcap to 1e-9 on equal tokens",
}  # fmt: skip
BLEU = Metric("bleu", bleu, "BLEU-1..4 of the corpus, as the COCO tools count and smooth", **_ABOUT)
BLEU_1 = Metric("bleu-1", bleu, "BLEU-1 of the corpus", fixed={"n": 1}, **_ABOUT)
BLEU_2 = Metric("bleu-2", bleu, "BLEU-2 of the corpus", fixed={"n": 2}, **_ABOUT)
BLEU_3 = Metric("bleu-3", bleu, "BLEU-3 of the corpus", fixed={"n": 3}, **_ABOUT)
BLEU_4 = Metric("bleu-4", bleu, "BLEU-4 of the corpus", fixed={"n": 4}, **_ABOUT)
