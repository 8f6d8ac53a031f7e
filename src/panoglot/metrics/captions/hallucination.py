"""FOIL and HAT: does a metric notice the wrong word in a caption?

FOIL (Shekhar et al., ACL 2017; nocaps-FOIL of ALOHa, NAACL 2024): the same caption with one noun replaced. A metric
should score the foil lower, and a metric that scores words should point at the foil word. HAT (ALOHa, NAACL 2024):
captions with words marked by people as wrong. A metric should rank captions with a wrong word below the others, and
point at one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Unpack

from panoglot.checks import item_ids
from panoglot.errors import UserError
from panoglot.metrics._inputs import Resampled, with_options
from panoglot.metrics._result import Interval, MetricResult, mean_result, resample_weights

__all__ = ["average_precision", "foil", "hat", "localisation", "roc_area"]


def average_precision(scores: Any, positive: Any) -> float | None:
    """Average precision of ranking positives first; tied scores enter together (as in scikit-learn). None without both.

    >>> round(average_precision([.9, .8, .7, .6], [True, False, True, False]), 4)
    0.8333
    """
    import numpy as np

    value, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if not truth.any() or truth.all():
        return None
    order = np.argsort(-value, kind="stable")
    value, truth = value[order], truth[order]
    last = np.r_[np.flatnonzero(np.diff(value)), len(value) - 1]  # the last of each run of equal scores
    hits = np.cumsum(truth)[last]
    precision, recall = hits / (last + 1), hits / truth.sum()
    return float(np.sum(np.diff(np.r_[0.0, recall]) * precision))


def roc_area(scores: Any, positive: Any) -> float | None:
    """Chance that a positive scores above a negative, ties counting half. None without both.

    >>> roc_area([.9, .8, .8, .6], [True, True, False, False])
    0.875
    """
    import numpy as np

    value, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if not truth.any() or truth.all():
        return None
    ordered = np.sort(value[~truth])
    below = np.searchsorted(ordered, value[truth], "left")
    upto = np.searchsorted(ordered, value[truth], "right")
    return float((below + upto).mean() / 2 / len(ordered))


def _no_nan(values: Sequence[float | None]) -> Any:
    import numpy as np

    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


@with_options
def foil(
    true_scores: Sequence[float | None],
    foil_scores: Sequence[float | None],
    *,
    metric: str = "",
    **how: Unpack[Resampled],
) -> MetricResult:
    """Pairwise accuracy: how often the true caption scores above its foil; a tie counts half.

    Args:
        true_scores: score of each true caption; None could not be scored.
        foil_scores: score of its foil.
        metric: name of the metric under test, recorded.
        **how: pair ids, and a bootstrap interval: see `Resampled`.

    Returns:
        `parts`: `ties`, and `average_precision` and `roc_area` of finding the foils among all captions.

    Raises:
        UserError: different numbers of scores.

    >>> foil([.9, .5, .4], [.1, .5, .6]).value
    0.5
    """
    import numpy as np

    if len(true_scores) != len(foil_scores):
        raise UserError(f"{len(true_scores)} true captions but {len(foil_scores)} foils: they must be pairs.")
    good, bad = _no_nan(true_scores), _no_nan(foil_scores)
    kept = ~np.isnan(good) & ~np.isnan(bad)
    values = np.where(kept, (good > bad) + 0.5 * (good == bad), np.nan)
    both = -np.r_[bad[kept], good[kept]]
    is_foil = np.r_[np.ones(kept.sum(), dtype=bool), np.zeros(kept.sum(), dtype=bool)]
    return mean_result(
        "foil-accuracy",
        values.tolist(),
        version="1",
        **how,
        parts={
            "ties": float((good == bad)[kept].mean()) if kept.any() else None,
            "average_precision": average_precision(both, is_foil),
            "roc_area": roc_area(both, is_foil),
        },
        options={"metric": metric},
    )


def hat(
    scores: Sequence[float | None],
    hallucinated: Sequence[bool],
    *,
    metric: str = "",
    ids: Sequence[Any] | None = None,
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Average precision of finding captions with a wrong word by their low scores.

    Args:
        scores: the metric's score of each caption, high for good; None could not be scored.
        hallucinated: whether people marked a word of it.
        metric: name of the metric under test, recorded.
        ids: caption ids.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        `parts`: `roc_area`, and `chance` (the share of hallucinated captions).

    Raises:
        UserError: different numbers.

    >>> result = hat([.2, .9, .4, .8], [True, False, True, False])
    >>> result.value, result.parts["chance"]
    (1.0, 0.5)
    """
    import numpy as np

    if len(scores) != len(hallucinated):
        raise UserError(f"{len(scores)} scores but {len(hallucinated)} labels.")
    names = item_ids(ids, len(scores))
    value, truth = _no_nan(scores), np.asarray(hallucinated, dtype=bool)
    kept = ~np.isnan(value)
    interval = None
    if confidence is not None and kept.sum() > 1:
        by_id = sorted(np.flatnonzero(kept), key=lambda n: names[n])
        values, truths = -value[by_id], truth[by_id]
        drawn = [
            average_precision(np.repeat(values, row), np.repeat(truths, row))
            for block in resample_weights([names[n] for n in by_id], resamples, seed)
            for row in block
        ]
        found = [ap for ap in drawn if ap is not None]
        if found:
            low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
            interval = Interval(float(low), float(high), confidence, resamples, seed)
    return MetricResult(
        metric="hat-average-precision",
        version="1",
        value=average_precision(-value[kept], truth[kept]),
        n=len(names),
        unscored=int((~kept).sum()),
        parts={
            "roc_area": roc_area(-value[kept], truth[kept]),
            "chance": float(truth[kept].mean()) if kept.any() else None,
        },
        per_item=tuple(None if np.isnan(item) else float(item) for item in value),
        ids=names,
        interval=interval,
        options={"metric": metric},
    )


@with_options
def localisation(
    word_scores: Sequence[Sequence[float] | None],
    wrong_words: Sequence[Collection[int]],
    *,
    metric: str = "",
    **how: Unpack[Resampled],
) -> MetricResult:
    """How often the lowest-scored word of a caption is a wrong one; ties share the hit. Captions without one are left
    out.

    Args:
        word_scores: a score for each word of each caption, low for suspicious; None could not be scored.
        wrong_words: positions of the words that are wrong.
        metric: name of the metric under test, recorded.
        **how: caption ids, and a bootstrap interval: see `Resampled`.

    Raises:
        UserError: positions outside a caption, different numbers.

    >>> localisation([[.9, .1, .8], [.2, .2], [.5, .6]], [{1}, {0}, set()]).per_item
    (1.0, 0.5, None)
    """
    if len(word_scores) != len(wrong_words):
        raise UserError(f"word scores of {len(word_scores)} captions but labels of {len(wrong_words)}.")
    values: list[float | None] = []
    for name, scores, wrong in zip(item_ids(how.get("ids"), len(word_scores)), word_scores, wrong_words):
        if scores is None or not scores or not wrong:
            values.append(None)
            continue
        if max(wrong) >= len(scores) or min(wrong) < 0:
            raise UserError(f"caption {name} has {len(scores)} words, but word {max(wrong)} is marked as wrong.")
        low = min(scores)
        lowest = {n for n, score in enumerate(scores) if score == low}
        values.append(len(lowest & set(wrong)) / len(lowest))
    return mean_result(
        "localisation-accuracy",
        values,
        version="1",
        **how,
        options={"metric": metric},
    )
