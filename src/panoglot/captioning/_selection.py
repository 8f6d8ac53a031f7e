"""Which claims stay, and which candidates: by support, among contradictions, by rank, by a judge, by what they add."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from panoglot.asking import Asker
from panoglot.providers.roles import Prompt, Rubric
from panoglot.text import grams

__all__ = ["Candidate", "cover", "judged", "kept_of_contradiction", "rank", "supported"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A draft with its score; None or NaN when it could not be scored."""

    text: str
    score: float | None
    source: str = ""


def supported(scores: Sequence[float | None], threshold: float) -> list[bool]:
    """Which claims lie strictly above a threshold; one without a score stays, as nobody spoke against it.

    >>> supported([0.31, 0.30, None], 0.3)
    [True, False, True]
    """
    return [score is None or score > threshold for score in scores]


def kept_of_contradiction(scores: Sequence[float | None], threshold: float) -> int | None:
    """Which of some claims that contradict one another stays: the best, if it is above the threshold; at most one.

    >>> kept_of_contradiction([.25, .45], .3), kept_of_contradiction([.2, .29], .3), kept_of_contradiction([None], .3)
    (1, None, None)
    """
    known = [(score, -n) for n, score in enumerate(scores) if score is not None and not math.isnan(score)]
    best, place = max(known, default=(-math.inf, 0))
    return -place if best > threshold else None


def rank(
    candidates: Sequence[Candidate],
    k: int = 2,
    *,
    min_score: float | None = None,
    diversity: float = 0.0,
    similarity: Sequence[Sequence[float]] | None = None,
) -> list[int]:
    """Return the places of the best `k` distinct candidates, best first; ties by input order, unscored last.

    Args:
        candidates: drafts with scores.
        k: how many.
        min_score: leave out what scores below (the best always stays).
        diversity: take off `diversity` x the greatest similarity to what is chosen already (extension; 0 = the paper).
        similarity: cosine of every pair of candidates, needed for `diversity`.

    >>> a, b, c, d = Candidate("a", 0.590399), Candidate("b", 0.5), Candidate("c", 0.334471), Candidate("d", 0.590399)
    >>> rank([a, b, c, d], 4), rank([a, b, c, Candidate("A", 0.590399)], 2)
    ([0, 3, 1, 2], [0, 1])
    """

    def value(place: int) -> float:
        score = candidates[place].score
        return -math.inf if score is None or math.isnan(score) else score

    chosen: list[int] = []
    left = list(range(len(candidates)))
    while left and len(chosen) < k:

        def gain(place: int) -> float:
            if not diversity or not chosen or similarity is None:
                return value(place)
            return value(place) - diversity * max(similarity[place][other] for other in chosen)

        best = max(left, key=lambda place: (gain(place), -place))
        left.remove(best)
        if any(grams(candidates[best].text) == grams(candidates[other].text) for other in chosen):
            continue
        if chosen and min_score is not None and value(best) < min_score:
            continue
        chosen.append(best)
    return chosen


def cover(said: Sequence[Collection[str]], most: int) -> list[int]:
    """Choose greedily: again and again the candidate that says most of what is not said yet; ties by order.

    >>> cover([{"dog"}, {"dog", "ball", "grass"}, {"sky", "dog"}], 3)
    [1, 2]
    """
    have: set[str] = set()
    chosen: list[int] = []
    while len(chosen) < most:
        adds = [(len(set(words) - have), -n) for n, words in enumerate(said) if n not in chosen]
        gain, place = max(adds, default=(0, 0))
        if not gain:
            break
        chosen.append(-place)
        have |= set(said[-place])
    return chosen


async def judged(judge: Asker, question: str, texts: Sequence[str], *parts: object) -> int:
    """Let a judge choose among candidates that it sees by number alone; returns the place of the chosen one.

    Raises:
        RowError: the judge failed or gave no number.
    """
    listed = "\n".join(f"{n}. {text}" for n, text in enumerate(texts, 1))
    choices = tuple(str(n) for n in range(1, len(texts) + 1))
    verdict = await judge.judge(Rubric(Prompt(f"{question}\n\n{listed}", parts), choices=choices))
    return int(verdict.value) - 1
