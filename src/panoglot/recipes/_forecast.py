"""What the methods of a recipe would do and cost: `--dry-run`."""

from __future__ import annotations

from dataclasses import dataclass, field

from panoglot.recipes._narrow import apart, narrowed
from panoglot.recipes._recipe import Recipe
from panoglot.running import Estimate, estimate, get_method, method_stage
from panoglot.table import Dataset

__all__ = ["Forecast", "forecast"]


@dataclass
class Forecast:
    """What would be done; nothing was asked or written.

    Attributes:
        dataset: the dataset.
        steps: what every step would do.
        limit: rows a step at most, or None.
    """

    dataset: Dataset
    steps: list[Estimate] = field(default_factory=list)
    limit: int | None = None

    def rows(self, step: Estimate) -> int:
        """How many rows a step would take."""
        return step.pending if self.limit is None else min(step.pending, self.limit)

    @property
    def price(self) -> float | None:
        """US dollars for all steps, at most; None when a price is not known."""
        prices = [None if one.price is None else one.price * self.rows(one) / 1000 for one in self.steps]
        return None if None in prices else sum(one or 0.0 for one in prices)

    @property
    def seconds(self) -> float | None:
        """Wall seconds for all steps; None where one was never measured here."""
        seconds = [None if one.seconds is None else one.seconds * self.rows(one) / 1000 for one in self.steps]
        return None if None in seconds else sum(one or 0.0 for one in seconds)


def forecast(data: Dataset, recipe: Recipe, *, limit: int | None = None) -> Forecast:
    """Count what the methods of a recipe would do, each as if those before it had been run or not: as the rows are now.

    Args:
        data: the dataset.
        recipe: with steps that are methods; already checked.
        limit: rows a step at most.
    """
    found = Forecast(data, limit=limit)
    for step, options in recipe.steps:
        own, narrowing = apart(get_method(step), options)
        stage = narrowed(method_stage(step, own, recipe.models, prices=recipe.prices), **narrowing)
        found.steps.append(estimate(data, stage, prices=recipe.prices))
    return found
