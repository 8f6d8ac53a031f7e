"""Which rows a step of a method takes: options of every method in a recipe, `where` and `kinds`.

They are no part of what the step is: what is done stays done when another run takes other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from panoglot.errors import UserError, did_you_mean
from panoglot.retrieval._where import ids_where, read_where
from panoglot.running import Method, Stage
from panoglot.table import KINDS, Dataset, sql_in

__all__ = ["apart", "check_narrowing", "narrowed"]

#: Options of every step that is a method, unless the method has one of that name itself.
NARROWING = ("where", "kinds")


def apart(chosen: Method, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the options of a step apart: those of the method, and those that say which rows it takes."""
    ours = [key for key in NARROWING if key in options and key not in chosen.options()]
    return {key: value for key, value in options.items() if key not in ours}, {key: options[key] for key in ours}


def check_narrowing(chosen: Method, narrowing: Mapping[str, Any]) -> None:
    """Refuse a condition that is none.

    Raises:
        UserError: with the place of the mistake; kinds where a method takes no captions.
    """
    if narrowing.get("where"):
        read_where(str(narrowing["where"]))
    for kind in narrowing.get("kinds") or ():
        if chosen.unit != "caption":
            raise UserError(
                f"method '{chosen.name}' works on pictures, not on captions of some kinds: leave kinds out."
            )
        if kind not in KINDS:
            raise UserError(f"there is no kind of caption '{kind}'.{did_you_mean(kind, KINDS)}")


def narrowed(stage: Stage, where: str | None = None, kinds: Sequence[str] = ()) -> Stage:
    """Let a stage take some of its rows alone.

    Args:
        stage: the stage of a method.
        where: pictures (and captions of pictures) of which this holds, as in `panoglot.search`.
        kinds: captions of these kinds.
    """
    if not where and not kinds:
        return stage
    return replace(stage, prepare=partial(_narrow, where, tuple(kinds), stage.prepare))


def _narrow(
    where: str | None,
    kinds: tuple[str, ...],
    then: Callable[[Stage, Dataset, str], Stage] | None,
    stage: Stage,
    dataset: Dataset,
    run_id: str,
) -> Stage:
    """What is asked when the step begins: an earlier step may have written what the condition reads."""
    said = [sql_in("kind", kinds)] if kinds else []
    if where:
        found = ids_where(dataset, where)
        said.append(sql_in("image_id", found) if found else "false")
    stage = replace(stage, only=" and ".join(said), prepare=then)
    return then(stage, dataset, run_id) if then else stage
