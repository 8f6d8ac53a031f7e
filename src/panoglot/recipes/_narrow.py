"""Which rows a step takes: `where` and `kinds`, options of every method in a recipe; in a retry, what failed.

They are no part of what the step is: what is done stays done when another run takes other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from panoglot.errors import UserError, did_you_mean
from panoglot.retrieval._where import ids_where, read_where
from panoglot.running import Method, Stage
from panoglot.running._rows import group_parts
from panoglot.table import KINDS, Dataset, sql_in

__all__ = ["apart", "check_narrowing", "failed_images", "followed", "images_of_run", "narrowed"]

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
    said = [stage.only] if stage.only else []
    if kinds:
        said.append(sql_in("kind", kinds))
    if where:
        said.append(sql_in("image_id", ids_where(dataset, where)))
    stage = replace(stage, only=" and ".join(said), prepare=then)
    return then(stage, dataset, run_id) if then else stage


def failed_images(dataset: Dataset) -> set[str]:
    """Ids of the images that open rejects are about: of the image itself, of a caption, of a group.

    What an ingest rejected has no id yet: it is an image of the run that gets it through.
    """
    read = dataset.rejects.read(["item"], "resolved is null and stage != 'ingest'")
    items = sorted(set(read["item"].to_pylist()))
    if not items:
        return set()
    found: set[str] = set()
    for table, names in ((dataset.images, ("image_id", "group", "asset_id")), (dataset.captions, ("caption_id",))):
        where = " or ".join(sql_in(name, items) for name in names)
        found.update(table.read(["image_id"], where)["image_id"].to_pylist())
    found.update(key for item in items for key in item.split(">") if ">" in item)  # pairs
    for unit in ("group", "video"):
        for part in group_parts(dataset, unit=unit):
            found.update(part.ids if part.key in items else ())
    return found


def images_of_run(dataset: Dataset, run_id: str) -> set[str]:
    """Ids of the images that a run brought in."""
    return set(dataset.images.read(["image_id"], sql_in("run_id", [run_id]))["image_id"].to_pylist())


def followed(stage: Stage, failed: Collection[str]) -> Stage:
    """Let a stage take what failed alone, and what follows from it: images that this run read, and the rows of both.

    Args:
        stage: any but one that reads a source.
        failed: from `failed_images`, before the run resolved any.
    """
    return replace(stage, prepare=partial(_follow, failed, stage.prepare))


def _follow(
    failed: Collection[str],
    then: Callable[[Stage, Dataset, str], Stage] | None,
    stage: Stage,
    dataset: Dataset,
    run_id: str,
) -> Stage:
    taken = sorted({*failed, *images_of_run(dataset, run_id)})
    stage = replace(stage, only=sql_in("image_id", taken), prepare=then)
    return then(stage, dataset, run_id) if then else stage
