"""Dense captioning: mAP over overlaps and caption similarities, and caption scores at an overlap (m@kIoU).

Sources: Johnson et al., CVPR 2016: a prediction is right when its box overlaps a free ground-truth box by at least t
and their captions agree by at least s; AP is averaged over t in {.3 … .7} and s in {0 … .25} of METEOR. Ground-truth
boxes that overlap by 0.7 or more are one box with several captions. m@kIoU (ScanRefer): mean over ground truth of the
caption score, 0 where no box overlaps by k. The similarity is any function of two texts: ours is not the Java METEOR,
so say which was used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from panoglot.checks import item_ids, offenders
from panoglot.errors import UserError
from panoglot.metrics._result import MetricResult, mean_result

__all__ = ["RegionCaption", "box_iou", "captions_at_iou", "dense_map"]

OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
SIMILARITIES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
TextSimilarity = Callable[[str, Sequence[str]], float]


@dataclass(frozen=True, slots=True)
class RegionCaption:
    """A caption of a box.

    Attributes:
        box: lower and upper corner: `(x0, y0, x1, y1)`, or `(x0, y0, z0, x1, y1, z1)` in three dimensions.
        text: the caption.
        score: confidence (predictions).
    """

    box: tuple[float, ...]
    text: str
    score: float = 1.0


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Overlap of two boxes of any dimension: intersection over union.

    >>> round(box_iou((0, 0, 0, 1, 1, 1), (.5, 0, 0, 1.5, 1, 1)), 4)
    0.3333
    """
    half = len(one) // 2
    inside = whole_one = whole_other = 1.0
    for axis in range(half):
        inside *= max(min(one[axis + half], other[axis + half]) - max(one[axis], other[axis]), 0.0)
        whole_one *= one[axis + half] - one[axis]
        whole_other *= other[axis + half] - other[axis]
    union = whole_one + whole_other - inside
    return inside / union if union > 0 else 0.0


def _check_boxes(regions: Mapping[Any, Sequence[RegionCaption]], what: str) -> None:
    bad = []
    for image, items in regions.items():
        for item in items:
            half = len(item.box) // 2
            if len(item.box) not in (4, 6) or any(not a < b for a, b in zip(item.box[:half], item.box[half:])):
                bad.append(f"{image} {item.box}")
    if bad:
        raise UserError(
            f"{len(bad)} {what} boxes are empty or turned around: {offenders(bad, 3)}. Give lower, upper corner."
        )


def _merge(items: Sequence[RegionCaption], overlap: float) -> list[tuple[tuple[float, ...], list[str]]]:
    """Join ground-truth boxes that overlap: greedily the box with most partners first, its mean box, all texts."""
    left = list(items)
    merged = []
    while left:
        partners = [[n for n, other in enumerate(left) if box_iou(item.box, other.box) >= overlap] for item in left]
        best = max(range(len(left)), key=lambda n: (len(partners[n]), -n))
        group = [left[n] for n in partners[best] or [best]]
        corners = zip(*(item.box for item in group))
        merged.append((tuple(sum(corner) / len(group) for corner in corners), [item.text for item in group]))
        left = [item for n, item in enumerate(left) if n not in set(partners[best] or [best])]
    return merged


def _interpolated(precision: Any, recall: Any) -> float:
    """AP over 101 recall levels: at each the best precision at that recall or above."""
    import numpy as np

    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101) - 1e-12, "left")
    return float(np.where(at < len(envelope), envelope[np.minimum(at, len(envelope) - 1)], 0.0).mean())


def dense_map(
    preds: Mapping[Any, Sequence[RegionCaption]],
    truth: Mapping[Any, Sequence[RegionCaption]],
    similarity: TextSimilarity | None = None,
    *,
    overlaps: Sequence[float] = OVERLAPS,
    similarities: Sequence[float] = SIMILARITIES,
    merge_overlap: float = 0.7,
    name: str = "meteor-exact-stem-synonym",
) -> MetricResult:
    """Dense-captioning mAP in percent.

    Args:
        preds: predictions of each image, any order.
        truth: ground truth of each image.
        similarity: of a text and the texts of a ground-truth box, 0..1; None is `meteor_exact_stem_synonym` without
            WordNet.
        overlaps: box thresholds.
        similarities: caption thresholds.
        merge_overlap: ground-truth boxes that overlap so much are one.
        name: of the similarity, recorded.

    Returns:
        `parts`: AP of every cell `ap@t/s`, and `detection_map` (captions ignored).

    Raises:
        UserError: images without ground truth, empty boxes.
    """
    import numpy as np

    similarity = similarity or _meteor
    unknown = [image for image in preds if image not in truth]
    if unknown:
        raise UserError(f"{len(unknown)} images have predictions but no ground truth: {offenders(unknown)}.")
    _check_boxes(preds, "predicted")
    _check_boxes(truth, "ground-truth")
    rows: list[tuple[float, float, float]] = []  # confidence, overlap and similarity with its ground-truth box
    found: list[tuple[float, str, int, float, float, bool]] = []
    total = 0
    for image, boxes in truth.items():
        merged = _merge(boxes, merge_overlap)
        total += len(merged)
        taken: set[int] = set()
        for item in sorted(preds.get(image, ()), key=lambda region: -region.score):
            overlap, best = max(
                ((box_iou(item.box, box), -n) for n, (box, _) in enumerate(merged)), default=(0.0, 1)
            )  # fmt: skip
            agree, free = 0.0, False
            if overlap > 0:
                free = -best not in taken
                taken.add(-best)
                agree = similarity(item.text, merged[-best][1])
            found.append((item.score, str(image), len(rows), overlap, agree, free))
            rows.append((item.score, overlap, agree))
    found.sort(key=lambda row: (-row[0], row[1], row[2]))
    if not total:
        raise UserError("there is no ground truth at all.")
    overlap_of = np.array([row[3] for row in found])
    agree_of = np.array([row[4] for row in found])
    free_of = np.array([row[5] for row in found], dtype=bool)

    def ap(t: float, s: float | None) -> float:
        if not found:
            return 0.0
        right = free_of & (overlap_of >= t) & (agree_of >= (s if s is not None else -1))
        hits = np.cumsum(right)
        return 100 * _interpolated(hits / np.arange(1, len(hits) + 1), hits / total)

    parts: dict[str, float | None] = {f"ap@{t:g}/{s:g}": ap(t, s) for t in overlaps for s in similarities}
    value = sum(parts.values()) / len(parts)  # type: ignore[arg-type]
    parts["detection_map"] = sum(ap(t, None) for t in overlaps) / len(overlaps)
    return MetricResult(
        metric="dense-caption-map",
        version="1",
        value=value,
        n=len(truth),
        parts=parts,
        ids=tuple(map(str, truth)),
        options={
            "overlaps": list(overlaps), "similarities": list(similarities), "merge_overlap": merge_overlap,
            "similarity": name,
        },
    )  # fmt: skip


def _meteor(text: str, others: Sequence[str]) -> float:
    from panoglot.metrics.captions.meteor import meteor_exact_stem_synonym

    result = meteor_exact_stem_synonym([text], [list(others)], synonyms="none", on_error="null")
    return result.value or 0.0


def captions_at_iou(
    preds: Mapping[Any, Sequence[RegionCaption]],
    truth: Mapping[Any, Sequence[RegionCaption]],
    score: TextSimilarity,
    *,
    overlap: float = 0.5,
    name: str = "",
    confidence: float | None = None,
    seed: int = 0,
) -> MetricResult:
    """m@kIoU: mean over ground-truth boxes of the score of the best-overlapping prediction, 0 below `overlap`.

    Args:
        preds: predictions of each image or scene.
        truth: ground truth, one caption or more a box (repeat the box).
        score: of a text and the texts of the box.
        overlap: k.
        name: of the score, recorded.
        confidence: level of a bootstrap interval.
        seed: of the interval.

    Raises:
        UserError: empty boxes.

    >>> one = {"scene": [RegionCaption((0, 0, 1, 1), "a chair")]}
    >>> captions_at_iou(one, one, lambda text, others: float(text in others)).value
    1.0
    """
    _check_boxes(preds, "predicted")
    _check_boxes(truth, "ground-truth")
    values, names = [], []
    for image, items in truth.items():
        texts: dict[tuple[float, ...], list[str]] = {}
        for item in items:
            texts.setdefault(item.box, []).append(item.text)
        for n, (box, others) in enumerate(texts.items()):
            best = max(preds.get(image, ()), key=lambda region: box_iou(region.box, box), default=None)
            hit = best is not None and box_iou(best.box, box) >= overlap
            values.append(score(best.text, others) if hit and best is not None else 0.0)
            names.append(f"{image}:{n}")
    return mean_result(
        f"caption-score@{overlap:g}iou",
        values,
        version="1",
        ids=item_ids(names, len(names)),
        confidence=confidence,
        seed=seed,
        options={"overlap": overlap, "score": name},
    )
