"""How near made-up words come to captions and pictures, by encoder: what is not nearer is no find."""

from __future__ import annotations

import contextlib
import json
import random
import secrets
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from panoglot.languages import script_of_character
from panoglot.providers import finish
from panoglot.retrieval._composer import answered_rows
from panoglot.retrieval._folding import spaceless, words_of
from panoglot.table import Dataset

__all__ = ["calibrate", "familiar", "floors", "made_up", "name_things"]

#: Consonants and vowels of five scripts.
_LETTERS = {
    "Latn": ("bcdfghjklmnpqrstvwxz", "aeiou"),
    "Cyrl": ("бвгджзклмнпрстфхцчш", "аеиоуыэюя"),
    "Arab": ("بتثجحخدذرزسشصضطظعغفقكلمن", "اوي"),
    "Deva": ("कखगघचछजझटठडढतथदधनपफबभमयरलवशसह", "ािीुूेो"),
    "Thai": ("กขคงจชซญดตถทนบปผพฟมยรลวสห", "าีูะ"),
}
#: Shares of made-up words that come less near than a part's two floors.
SHARES = {"low": 0.75, "high": 1.0}


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


Floors = dict[str, dict[str, float]]


def calibrate(dataset: Dataset, name: str, encoder: Any, gallery: Any, *, words: int = 200) -> Floors:
    """Measure how near made-up words come, and store it.

    Args:
        dataset: the dataset.
        name: of its vectors.
        encoder: that made them.
        gallery: the vectors, opened.
        words: how many made-up words.

    Returns:
        Part to its floors: below `low` lie three quarters of the made-up words, below `high` all.
    """
    import numpy as np

    asked = made_up(words, seed=7)
    rows = answered_rows(finish(encoder.encode_texts(asked, ["und"] * len(asked))), "made-up words")
    found: Floors = {}
    for part, over in (("picture", "images"), ("caption", "captions")):
        if over == "captions" and not gallery.has_captions():
            continue
        best = [gallery.nearest(row, 1, over=over) for row in rows if np.isfinite(row).all()]
        scores = [hit[0][1] for hit in best if hit]
        if scores:
            found[part] = {floor: float(np.quantile(scores, share)) for floor, share in SHARES.items()}
    path = dataset.store.scratch("cache") / f"calibrated-{name}.json"
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    temporary.write_text(json.dumps(found))
    temporary.replace(path)
    return found


def floors(dataset: Dataset, name: str) -> Floors:
    """The floors that were stored with the index; empty without."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads((dataset.store.scratch("cache") / f"calibrated-{name}.json").read_text())
        measured = [part for part in ("picture", "caption") if part in found]
        return {part: {floor: float(found[part][floor]) for floor in SHARES} for part in measured}
    return {}


def familiar(encoder: Any, words: Sequence[str]) -> str:
    """How well a vocabulary has the best known of some words.

    A run of Chinese or Japanese is never taken for made up: characters are words. Of other scripts without spaces,
    made-up runs are cut into pieces of up to two letters, real ones into longer ones.

    Returns:
        `whole`, `half` (a word in two tokens of the encoder's vocabulary: of 100 made-up Latin ones 20 too), or
        nothing; an encoder that does not say how it cuts texts knows none.
    """
    if any(script_of_character(word[0]) in ("Hani", "Hira", "Kana") for word in words):
        return "whole"
    count = getattr(encoder, "pieces", None)
    counts = count(list(words)) if count is not None else []
    if any(n == 1 or (spaceless(word) and len(word) > 2 * n) for word, n in zip(words, counts)) or name_things(words):
        return "whole"
    return "half" if any(n == 2 and not spaceless(word) for word, n in zip(words, counts)) else ""


def name_things(words: Sequence[str]) -> bool:
    """Whether one of the words stands in a name of an everyday thing, in some fifteen languages."""
    return not _things().isdisjoint(words)


@lru_cache(maxsize=1)
def _things() -> frozenset[str]:
    from panoglot.providers.embedded._words import thing_names

    return frozenset(word for name in thing_names() for word in words_of(name))
