"""`retry`: take up what failed."""

from __future__ import annotations

import json
from typing import Any

from panoglot.errors import verb
from panoglot.recipes._build import run_recipe
from panoglot.recipes._narrow import images_of_run
from panoglot.recipes._recipe import Recipe
from panoglot.recipes._result import RunResult
from panoglot.table import Dataset, open_dataset

__all__ = ["retry"]


@verb
def retry(
    dataset: str | Dataset,
    *,
    max_cost: float | None = None,
    cluster: str | None = None,
    on_error: str = "reject",
    quiet: bool | None = None,
) -> RunResult | None:
    """Take up exactly the rows that failed, with the recipes that they failed in; what passes now goes on as any other.

    What nobody tried yet, after a trial or a stop, stays pending: the command that made the dataset goes on with it.

    Args:
        dataset: the dataset.
        max_cost: stop cleanly after so many US dollars.
        cluster: local, auto or ray://HOST:PORT.
        on_error: reject or raise.
        quiet: no progress bars.

    Returns:
        What the last recipe's run did, or None when nothing is rejected.
    """
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    failed_in = set(data.rejects.read(["run_id"], "resolved is null")["run_id"].to_pylist())
    runs = [row for row in data.runs.rows(["run_id", "recipe"]) if row["run_id"] in failed_in]
    recipes = {row["recipe"]: json.loads(row["recipe"]) for row in sorted(runs, key=lambda row: str(row["run_id"]))}
    result: RunResult | None = None
    asked: dict[str, Any] = {"max_cost": max_cost, "cluster": cluster, "on_error": on_error, "quiet": quiet}
    read: set[str] = set()
    for plain in recipes.values():
        recipe = Recipe.from_dict({**plain, "output": data.address})
        result = run_recipe(recipe, retry=True, retried=read, **asked)
        read |= images_of_run(data, result.run_id)
    return result
