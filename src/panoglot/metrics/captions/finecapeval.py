"""FineCapEval: how many background, object and relation words of people's phrases stand in the caption.

Source: "Fine-grained Image Captioning with CLIP Reward" (NAACL Findings 2022), rules read in its evaluation tool.
Phrases are stemmed, captions are not, and a word counts when it is a *substring* of the raw caption: "snowi" misses
"snowy", "man" hits "woman". `matching="published"` keeps that for comparison; `"words"` compares whole stemmed words
in lower case.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from panoglot.checks import check_option, offenders
from panoglot.errors import UserError, require
from panoglot.metrics._result import MetricResult, mean_result

__all__ = ["ASPECTS", "finecapeval", "phrase_coverage", "read_finecapeval"]

ASPECTS = ("background", "object", "relation")
_SEPARATOR = "\\;"


@lru_cache(maxsize=1)
def _porter() -> Any:
    return require("snowballstemmer", "panoglot[metrics]", "FineCapEval").stemmer("porter")


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _porter().stemWord(word))


def _clean(phrase: str) -> str:
    """Stemmed words of a phrase, joined by spaces."""
    words = re.findall(r"n't|'\w+|\w+(?:-\w+)*|[^\w\s]", phrase.lower())
    return " ".join(filter(None, map(_stem, words)))


def read_finecapeval(path: str) -> tuple[dict[str, dict[str, list[str]]], dict[str, list[str]]]:
    r"""Read `FineCapEval.csv` (columns image, caption, background, object, relation; phrases parted by `\;`).

    Returns:
        Stemmed phrases by image and aspect, pooled over annotators, and the captions by image. Rows with a missing
        cell are left out, as in the original.

    Raises:
        UserError: columns are missing.
    """
    phrases: dict[str, dict[str, list[str]]] = {}
    captions: dict[str, list[str]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"image", "caption", *ASPECTS} - set(reader.fieldnames or ())
        if missing:
            raise UserError(f"'{path}' has no column {', '.join(sorted(missing))}: is this FineCapEval.csv?")
        for row in reader:
            if not all(row.get(column) for column in ("caption", *ASPECTS)):
                continue
            captions.setdefault(row["image"], []).append(row["caption"])
            of_image = phrases.setdefault(row["image"], {aspect: [] for aspect in ASPECTS})
            for aspect in ASPECTS:
                pieces = [piece.strip() for piece in row[aspect].lower().split(_SEPARATOR)]
                of_image[aspect] += [_clean(piece) for piece in pieces if len(piece) > 1]
    return phrases, captions


def phrase_coverage(phrases: Sequence[str], caption: str, matching: str = "published") -> float | None:
    """Mean over phrases of the share of words found; None without phrases. Empty phrases count 0, as published.

    >>> phrase_coverage(["snowi field", "dog run"], "a dog run on a snowy field")
    0.75
    >>> phrase_coverage(["snowi field", "dog run"], "A dog runs on a snowy field", matching="words")
    1.0
    """
    if not phrases:
        return None
    known = set(_clean(caption).split()) if matching == "words" else set()
    total = 0.0
    for phrase in phrases:
        words = phrase.split()
        hits = sum(word in known if matching == "words" else word in caption for word in words)
        total += hits / len(words) if words else 0.0
    return total / len(phrases)


def finecapeval(
    preds: Mapping[str, str],
    phrases: Mapping[str, Mapping[str, Sequence[str]]],
    *,
    matching: str = "published",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Coverage in percent: mean of the three aspects, and each of them in `parts`.

    Args:
        preds: caption by image.
        phrases: stemmed phrases by image and aspect, from `read_finecapeval`.
        matching: `published` or `words`.
        confidence: level of a bootstrap interval of the mean.
        resamples: of the interval.
        seed: of the interval.

    Raises:
        UserError: images without a caption.

    >>> finecapeval({"1": "a dog on a snowy field"}, {"1": {"background": ["snowi field"], "object": ["dog"]}}).value
    75.0
    """
    check_option("matching", matching, ("published", "words"))
    missing = [image for image in phrases if image not in preds]
    if missing:
        raise UserError(f"{len(missing)} images have no caption: {offenders(missing)}.")
    rows = {
        image: {a: phrase_coverage(item.get(a, ()), preds[image], matching) for a in ASPECTS}
        for image, item in phrases.items()
    }
    parts: dict[str, float | None] = {}
    for aspect in ASPECTS:
        kept = [row[aspect] for row in rows.values() if row[aspect] is not None]
        parts[aspect] = 100 * sum(kept) / len(kept) if kept else None  # type: ignore[arg-type]
    per_item = []
    for row in rows.values():
        found = [value for value in row.values() if value is not None]
        per_item.append(sum(found) / len(found) if found else None)
    return mean_result(
        "finecapeval",
        per_item,
        version="1",
        ids=list(phrases),
        scale=100.0,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        parts=parts,
        language="en",
        options={"matching": matching, "stemmer": "porter"},
    )
