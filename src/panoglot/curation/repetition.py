"""Filter `repetition`: texts that say the same again and again, in any script."""

from __future__ import annotations

from itertools import groupby

from panoglot.curation._contract import Facts, Verdict, caption_filter
from panoglot.curation._measure import measured
from panoglot.table import Caption
from panoglot.text import is_spaceless, tokens

__all__ = ["repeated_share", "repetition"]


def repeated_share(parts: list[str], size: int) -> float:
    """Return the share of `parts` that lies inside a run of `size` parts that occurred before.

    >>> repeated_share("a dog runs and a dog runs and".split(), 3)
    0.5
    """
    seen: set[tuple[str, ...]] = set()
    covered = [False] * len(parts)
    for at in range(len(parts) - size + 1):
        gram = tuple(parts[at : at + size])
        if gram in seen:
            covered[at : at + size] = [True] * size
        seen.add(gram)
    return sum(covered) / len(parts) if parts else 0.0


@caption_filter("repetition")
def repetition(
    caption: Caption,
    facts: Facts,
    *,
    max_share: float = 0.5,
    words: int = 3,
    characters: int = 6,
    min_words: int = 8,
    min_characters: int = 16,
    max_run: int = 4,
    max_character_run: int = 12,
) -> Verdict:
    """Drop texts that repeat themselves, as a language model stuck in a loop writes them.

    Args:
        caption: the caption.
        facts: not read.
        max_share: most of the text that may lie in n-grams that occurred before.
        words: n of the n-grams in scripts with spaces.
        characters: n of the n-grams in scripts without spaces.
        min_words: shorter texts may repeat themselves ("Fire! Fire! Fire!").
        min_characters: the same in scripts without spaces.
        max_run: most times that one word may follow itself.
        max_character_run: most times that one letter may follow itself.

    Source: the duplicate n-gram rules of Gopher (Rae et al. 2021, table A1), for short texts.

    >>> repetition(Caption("a red car and a red car and a red car"), {}), repetition(Caption("a red car"), {})
    ('repetition', None)
    """
    spaceless = is_spaceless(caption.text)
    parts = [part.casefold() for part in tokens(caption.text)]
    longest = max((sum(1 for _ in run) for _, run in groupby(parts)), default=0)
    most = max_character_run if spaceless else max_run
    if measured("times a word follows itself", longest, most=most) > most:
        return "repetition"
    letter = max((sum(1 for _ in run) for char, run in groupby(caption.text) if char.isalpha()), default=0)
    if measured("times a letter follows itself", letter, most=max_character_run) > max_character_run:
        return "repetition"
    if len(parts) < (min_characters if spaceless else min_words):
        return None
    share = measured("share that repeats", repeated_share(parts, characters if spaceless else words), most=max_share)
    return "repetition" if share > max_share else None
