"""How far every method did what its paper does: steps that fell back, guards that let answers fall, what was paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from panoglot.errors import command
from panoglot.reporting._counts import Counts
from panoglot.reporting._runs import Step
from panoglot.running._results import MUCH, fallback_share, named_notes

__all__ = ["Fallback", "fallbacks"]


@dataclass(frozen=True, slots=True)
class Fallback:
    """A method over all runs.

    Attributes:
        name: its stage, `caption.scalecap`.
        share: of its steps those where something simpler stood in, 0 to 1.
        texts: results of which it is the mean.
        steps: (step, how often it fell back), most first.
        guards: (reason, answers, captions and rows that fell by it), most first.
        price: US dollars paid, or None when not known.
        per_thousand: the same for 1,000 items.
        mend: a command that says which models it asks for, where more than a fifth fell back.
    """

    name: str
    share: float
    texts: int
    steps: list[tuple[str, int]]
    guards: list[tuple[str, int]]
    price: float | None
    per_thousand: float | None
    mend: str


def fallbacks(steps: Iterable[Step], counts: Counts, rejects: Sequence[Mapping[str, Any]]) -> list[Fallback]:
    """Gather it of the steps that count what fell back, the worst first.

    Args:
        steps: of all runs, as `steps_of_all` sums them.
        counts: of the dataset: which captions were dropped by which reason.
        rejects: rows that failed, as `sample.rejects` groups them.
    """
    found = []
    for step in steps:
        share = fallback_share(step.fell)
        if share is None:
            continue
        method = step.name.partition(".")[2]
        guards = Counter(dict(named_notes(step.fell, "failed_")))
        for (recipe, reason), count in counts.dropped_by.items():
            if recipe.partition("/")[0] == method:
                guards[reason] += count
        for group in rejects:
            if group["stage"] == step.name:
                guards[group["reason"]] += group["failing"]
        one = Fallback(
            name=step.name,
            share=share,
            texts=int(step.fell["fallback_of"]),
            steps=named_notes(step.fell, "fallback_"),
            guards=[pair for pair in guards.most_common() if pair[1]],
            price=step.price,
            per_thousand=1000 * step.price / step.done if step.price is not None and step.done else None,
            mend=command("methods", method) if share > MUCH else "",
        )
        found.append(one)
    return sorted(found, key=lambda one: (-one.share, one.name))
