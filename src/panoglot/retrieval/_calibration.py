"""How near made-up words come to captions and pictures, by encoder: what is not nearer is no find."""

from __future__ import annotations

import contextlib
import json
import random
import secrets
from collections.abc import Iterator
from typing import Any

from panoglot.providers import finish
from panoglot.retrieval._composer import answered_rows
from panoglot.table import Dataset

__all__ = ["calibrate", "made_up", "thresholds"]

#: Consonants and vowels of five scripts.
_LETTERS = {
    "Latn": ("bcdfghjklmnpqrstvwxz", "aeiou"),
    "Cyrl": ("бвгджзклмнпрстфхцчш", "аеиоуыэюя"),
    "Arab": ("بتثجحخدذرزسشصضطظعغفقكلمن", "اوي"),
    "Deva": ("कखगघचछजझटठडढतथदधनपफबभमयरलवशसह", "ािीुूेो"),
    "Thai": ("กขคงจชซญดตถทนบปผพฟมยรลวสห", "าีูะ"),
}
#: Share of made-up words that the threshold keeps out.
SHARE = 0.95


def made_up(count: int, seed: int = 0) -> list[str]:
    """Made-up words in five scripts, the same for the same seed.

    >>> made_up(5) == made_up(5), len(set(made_up(100)))
    (True, 100)
    """
    draw = random.Random(seed)

    def words() -> Iterator[str]:
        scripts = list(_LETTERS.values())
        while True:
            for consonants, vowels in scripts:
                yield "".join(draw.choice(consonants) + draw.choice(vowels) for _ in range(draw.choice((3, 4))))

    found: dict[str, None] = {}
    for word in words():
        found.setdefault(word)
        if len(found) >= count:
            break
    return list(found)


def calibrate(dataset: Dataset, name: str, encoder: Any, gallery: Any, *, words: int = 100) -> dict[str, float]:
    """Measure how near made-up words come, and store it.

    Args:
        dataset: the dataset.
        name: of its vectors.
        encoder: that made them.
        gallery: the vectors, opened.
        words: how many made-up words.

    Returns:
        Thresholds by part: below it lie 95 of 100 made-up words.
    """
    import numpy as np

    asked = made_up(words, seed=7)
    rows = answered_rows(finish(encoder.encode_texts(asked, ["und"] * len(asked))), "made-up words")
    found: dict[str, float] = {}
    for part, over in (("picture", "images"), ("caption", "captions")):
        if over == "captions" and not gallery.has_captions():
            continue
        best = [gallery.nearest(row, 1, over=over) for row in rows if np.isfinite(row).all()]
        scores = [hit[0][1] for hit in best if hit]
        if scores:
            found[part] = float(np.quantile(scores, SHARE))
    path = dataset.store.scratch("cache") / f"calibrated-{name}.json"
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    temporary.write_text(json.dumps(found))
    temporary.replace(path)
    return found


def thresholds(dataset: Dataset, name: str) -> dict[str, float]:
    """The thresholds that were stored with the index; empty without."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((dataset.store.scratch("cache") / f"calibrated-{name}.json").read_text())
        return {part: float(found[part]) for part in ("picture", "caption") if part in found}
    return {}
