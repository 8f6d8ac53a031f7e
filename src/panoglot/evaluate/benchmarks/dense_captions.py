"""Dense captioning from files: rows of `image_id, box, caption[, score]`, boxes as lower and upper corner."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from panoglot.checks import meet_ids, offenders
from panoglot.errors import UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._read import CAPTIONS, IDS, field
from panoglot.formats._json import read_rows
from panoglot.metrics._results import ResultSet
from panoglot.metrics.captions.dense import RegionCaption, captions_at_iou, dense_map
from panoglot.metrics.captions.meteor import meteor_exact_stem_synonym

__all__ = ["DENSE_CAPTIONS", "dense_captions", "read_regions"]


def read_regions(path: str | os.PathLike[str]) -> dict[str, list[RegionCaption]]:
    """Read captions of boxes, by picture.

    Raises:
        UserError: rows without a box or a caption, numbers that are none.
    """
    found: dict[str, list[RegionCaption]] = {}
    odd = []
    for n, row in enumerate(read_rows(path)):
        box, score = field(row, ("box", "bbox"), path), row.get("score", 1.0)
        text = field(row, CAPTIONS, path)
        numbers = [*box, score] if isinstance(box, list) else [None]
        if len(numbers) not in (5, 7) or any(not isinstance(v, int | float) or v != v for v in numbers) or not text:
            odd.append(f"row {n}")
            continue
        region = RegionCaption(tuple(map(float, box)), str(text), float(score))
        found.setdefault(str(field(row, IDS, path)), []).append(region)
    if odd:
        raise UserError(f"{path}: {len(odd)} rows have no caption or no box of numbers: {offenders(odd)}.")
    return found


def dense_captions(
    preds: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    *,
    lang: str = "en",
    tokenizer: str | None = None,
    synonyms: str = "auto",
    overlap: float = 0.5,
    confidence: float | None = None,
) -> ResultSet:
    """Mean average precision, and the caption score at an overlap, both with METEOR (exact, stem, synonym).

    Args:
        preds: predictions.
        truth: ground truth; a box with several captions comes several times.
        lang: language of the captions.
        tokenizer: name of a tokeniser; None is the language's own.
        synonyms: see `meteor_exact_stem_synonym`.
        overlap: of the caption score.
        confidence: level of a bootstrap interval of the caption score.
    """

    def similarity(text: str, others: Sequence[str]) -> float:
        found: Any = meteor_exact_stem_synonym(
            [text], [list(others)], lang=lang, tokenizer=tokenizer, synonyms=synonyms, on_error="null"
        )
        return found.value or 0.0

    mine, theirs = read_regions(preds), read_regions(truth)
    mine, note = meet_ids(theirs, mine, "captions")
    name = "meteor-exact-stem-synonym"
    at_overlap = captions_at_iou(mine, theirs, similarity, overlap=overlap, name=name, confidence=confidence)
    whole = dense_map(mine, theirs, similarity, name=name)
    return ResultSet({"map": whole, f"@{overlap:g}iou": at_overlap}, notes=(note,) if note else ())


def _run(
    preds: str, data: str, *, lang: str = "en", tokenizer: str | None = None, confidence: float | None = None
) -> ResultSet:
    return dense_captions(preds, data, lang=lang, tokenizer=tokenizer, confidence=confidence)


DENSE_CAPTIONS = Benchmark(
    "dense-captions", "captions", "dense-captioning mAP over overlaps and METEOR, and METEOR at 0.5 IoU",
    "captions and --data: rows of `image_id, box, caption[, score]`, boxes as x0, y0, x1, y1",
    "Visual Genome, Pix2Cap-COCO, your own", Way(_run),
)  # fmt: skip
