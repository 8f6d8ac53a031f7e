"""Pictures of what a model looks at, for its card: whatever its losses have to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from panoglot.training._boxes import draw_boxes
from panoglot.training._patches import draw_groups, draw_masks

__all__ = ["DRAWINGS", "draw"]

#: File of a run's folder -> what it is, as the card says it.
DRAWINGS = {
    "boxes.svg": "Boxes of the regions nearest to descriptions",
    "masks.svg": "Patches that were hidden, and what was painted there from the rest and the text",
    "patches.svg": "The patches that each sentence pulls",
}


def draw(model: Any, reading: Any, name: str) -> dict[str, str]:
    """Draw what there is to see of a model, on pictures that were held out where there are any.

    Args:
        model: that was trained.
        reading: of its dataset: `records`, each of a `split`.
        name: of the run.

    Returns:
        File of `DRAWINGS` -> its SVG; nothing for methods that have nothing to show.
    """
    pictures = [r for r in reading.records if r.image is not None and r.texts]
    regions = any("regions" in part.needs for part in model.parts.values())
    found: dict[str, str | None] = {}
    if regions:
        some = [r for r in reading.records if r.regions]
        found["boxes.svg"] = _of(draw_boxes, model, some, f"{name}: what is found where")
    if "inpaint" in model.parts:
        found["masks.svg"] = _of(draw_masks, model, pictures, f"{name}: what is hidden and painted")
    if "group_patches" in model.parts:
        found["patches.svg"] = _of(draw_groups, model, pictures, f"{name}: the patches of each sentence")
    return {file: svg for file, svg in found.items() if svg is not None}


_How = Callable[[Any, Sequence[Any], str], "str | None"]


def _of(how: _How, model: Any, some: Sequence[Any], title: str) -> str | None:
    return how(model, [r for r in some if r.split != "train"] or some, title)
