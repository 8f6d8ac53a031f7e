"""`retry`: take up what failed."""

from __future__ import annotations

import json
from typing import Any

from panoglot.errors import NothingKept, UserError, many, verb
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
        max_cost: stop cleanly after so many US dollars, of all recipes together.
        cluster: local, auto or ray://HOST:PORT.
        on_error: reject or raise.
        quiet: no progress bars.

    Returns:
        What was done by all recipes together, or None when nothing is rejected. What one of them could not try, as its
        server is gone, is said and stays rejected; the others go on.

    Raises:
        UserError: none of them could try anything.
    """
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    failed_in = set(data.rejects.read(["run_id"], "resolved is null")["run_id"].to_pylist())
    runs = [row for row in data.runs.rows(["run_id", "recipe"]) if row["run_id"] in failed_in]
    recipes = {row["recipe"]: json.loads(row["recipe"]) for row in sorted(runs, key=lambda row: str(row["run_id"]))}
    result: RunResult | None = None
    asked: dict[str, Any] = {"cluster": cluster, "on_error": on_error, "quiet": quiet}
    read: set[str] = set()
    in_the_way: list[UserError] = []
    for plain in recipes.values():
        recipe = Recipe.from_dict({**plain, "output": data.address})
        left = None if max_cost is None else max(0.0, max_cost - (_paid(result) or 0.0))
        try:
            one = run_recipe(recipe, retry=True, retried=read, max_cost=left, **asked)
        except NothingKept:
            raise
        except UserError as error:
            if on_error == "raise":
                raise
            in_the_way.append(error)
            continue
        read |= images_of_run(data, one.run_id)
        result = one.after(result)
    if in_the_way and result is None:
        raise in_the_way[0]
    if in_the_way and result is not None:
        why = " ".join(dict.fromkeys(str(error) for error in in_the_way))
        line = f"{many(len(in_the_way), 'recipe')} of {len(recipes):,} could not be tried: {why}"
        result.problem = " ".join(filter(None, (result.problem, line)))
    return result


def _paid(result: RunResult | None) -> float | None:
    return None if result is None else result.spent.price
