"""Filter `top_score`: the best part of the texts by a score, or those above a threshold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any

from panoglot.curation._contract import SENTENCES, Facts, Verdict, text_group_filter
from panoglot.curation._count import key64
from panoglot.curation._measure import measured
from panoglot.curation._scores import has_score, run_scorer
from panoglot.curation._select import RANKED, falling, last_of_best, score_of
from panoglot.curation._spill import Spill
from panoglot.curation._texts import Texts
from panoglot.errors import UserError, did_you_mean
from panoglot.table import KINDS, Caption, Dataset

__all__ = ["ranked_rows", "top_score"]

_GROUPS = ("lang", "kind", "recipe", "model")
#: Groups whose thresholds stand in the statistics.
_SHOWN = 50


def _prepare(dataset: Dataset, options: Mapping[str, Any], run: Any) -> None:
    for key in ("share", "minimum", "mean", "std"):
        value = options[key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value)):
            raise UserError(f"filter top_score: {key}={value!r} must be a number.")
    share, std = options["share"], options["std"]
    if share is not None and not 0 <= share <= 1:
        raise UserError(f"filter top_score: share={share}: give a share from 0 to 1, for example 0.119.")
    if std is not None and not std > 0:
        raise UserError(f"filter top_score: std={std} must be above 0.")
    if options["ties"] not in ("id", "keep"):
        raise UserError(f"filter top_score: ties='{options['ties']}': use id or keep.")
    if isinstance(options["per"], str):
        raise UserError(f"filter top_score: per is a list: [{options['per']}].")
    for column in options["per"]:
        if column not in _GROUPS:
            raise UserError(
                f"filter top_score: per='{column}'.{did_you_mean(column, _GROUPS)} Use {', '.join(_GROUPS)}."
            )
    if options["scorer"]:
        run_scorer(dataset, options["scorer"], options["name"], options["kinds"] or KINDS, run)
    else:
        has_score(dataset, options["name"], options["kinds"] or KINDS)


@text_group_filter("no_score", "low_rank", "low_*", kinds=SENTENCES, prepare=_prepare, models={"scorer": None})
def top_score(
    texts: Texts,
    *,
    name: str = "alignment",
    share: float | None = None,
    minimum: float | None = None,
    calibrate: bool = False,
    mean: float | None = None,
    std: float | None = None,
    per: Sequence[str] = (),
    ties: str = "id",
    of_kept: bool = True,
    scorer: str = "",
) -> Callable[[Caption, Facts], Verdict]:
    """Drop all but the best by a score: the top share, those above a threshold, or both; never keep what has no score.

    Of n texts with a score, the `⌊share · n⌋` best stay. The choice is exact, however many texts there are (a temporary
    file takes 28 bytes a text), and does not depend on their order.

    Args:
        texts: the texts.
        name: the score. Texts without it, or with one that is no number, are dropped as `no_score`.
        share: the part that stays.
        minimum: least score, in units of `std` from `mean`: as it stands unless one of the next three is given.
        calibrate: measure mean and standard deviation on these texts; the statistics say them, for the next run.
        mean: what counts as 0.
        std: what counts as 1.
        per: columns, of `lang`, `kind`, `recipe` and `model`: `share` then holds in every group, so that no language or
            source is lost.
        ties: `id`: of equal scores the smaller ids stay, so that exactly as many stay as wanted. `keep`: all that are
            as good as the last one stay, and that is the `⌈share · n⌉`-th: with a share of a half, what is at or above
            the median.
        of_kept: rank only what earlier steps, and the filters on images, keep: no rank is lost to a duplicate.
        scorer: a model that writes the score before it is read: an encoder (`alignment`), or a reward model, such as a
            trained `compress-align` (`pano:FOLDER`).

    Source: Compress & Align (arXiv 2312.06726), steps 4 and 5; with `ties: keep` the matching filter of TL;DR (arXiv
    2305.20087).
    """
    spill = Spill(RANKED)
    sizes: Counter[int] = Counter()
    names: dict[int, str] = {}
    without = 0
    for batch in texts(kept=of_kept, scores=True):
        scored = [c for c in batch if _finite(c.scores.get(name))]
        without += len(batch) - len(scored)
        groups = [_group(c, per) for c in scored]
        sizes.update(groups)
        for caption, group in zip(scored, groups):
            if group not in names:
                names[group] = " ".join(str(getattr(caption, column)) for column in per) or "all"
        spill.add(ranked_rows(scored, groups, name))
    if calibrate:
        mean = _mean(_values(spill), len(spill))
        std = math.sqrt(_mean(((x - mean) ** 2 for x in _values(spill)), len(spill)))
    centre, unit = mean or 0.0, std or 1.0
    wanted = {group: _part(share, n, ties) for group, n in sizes.items()} if share is not None else {}
    last = last_of_best(spill, {group: k for group, k in wanted.items() if k})
    texts.statistics |= {"texts": len(spill), "no_score": without}
    if calibrate:
        texts.statistics |= {"mean": mean, "std": std}
    if share is not None:
        texts.statistics["thresholds"] = {
            names[group]: {"texts": sizes[group], "threshold": (score_of(last[group][0]) - centre) / unit}
            for group in sorted(last, key=lambda group: (-sizes[group], group))[:_SHOWN]
        }

    def decide(caption: Caption, facts: Facts) -> Verdict:
        value = caption.scores.get(name)
        if value is None or not math.isfinite(value):
            measured(f"score {name}", None)
            return "no_score"
        score = measured(f"score {name}", (value - centre) / unit, least=minimum)
        if minimum is not None and score < minimum:
            return f"low_{name}"
        group = _group(caption, per) if share is not None else 0
        if group not in wanted:  # of an image that is dropped
            return None
        if group in last:
            worst = (score_of(last[group][0]) - centre) / unit
            measured(f"score {name}, the last of {wanted[group]:,} that stay", score, least=worst)
        if group not in last:
            return "low_rank"
        rank = (int(falling([value])[0]), int(caption.caption_id[:16], 16), int(caption.caption_id[16:], 16))
        better = rank[:1] <= last[group][:1] if ties == "keep" else rank <= last[group]
        return None if better else "low_rank"

    return decide


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _group(caption: Caption, per: Sequence[str]) -> int:
    return key64(*(str(getattr(caption, column)) for column in per)) if per else 0


def _part(share: float, n: int, ties: str) -> int:
    exact = Fraction(str(share)) * n  # 0.29 of 100 is 29, not 28.999…
    return math.ceil(exact) if ties == "keep" else math.floor(exact)


def ranked_rows(captions: Sequence[Caption], groups: Sequence[int], name: str) -> Any:
    """Captions with their group and score as rows to select from."""
    import numpy as np

    rows = np.empty(len(captions), RANKED)
    rows["group"] = np.array(groups, np.uint64)
    rows["score"] = falling([c.scores[name] for c in captions])
    ids = np.frombuffer(bytes.fromhex("".join(c.caption_id for c in captions)), ">u8").reshape(-1, 2)
    rows["high"], rows["low"] = ids[:, 0], ids[:, 1]
    return rows


def _values(spill: Spill) -> Iterator[float]:
    return chain.from_iterable(score_of(rows["score"]).tolist() for rows in spill)


def _mean(values: Iterator[float], n: int) -> float:
    return math.fsum(values) / n if n else 0.0  # fsum: the order of the texts makes no difference, to the last bit
