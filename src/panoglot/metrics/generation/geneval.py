"""GenEval and m-GenEval: does a generated image hold what its prompt asks for, checked by a detector?

Source: Ghosh et al., NeurIPS 2023, rules read in its code; m-GenEval (NeoBabel, 2025) translates the prompts only, so
class names stay English. The overall value is the mean over tags, not over images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.checks import offenders
from panoglot.errors import UserError
from panoglot.metrics._result import MetricResult, mean_result

if TYPE_CHECKING:
    from panoglot.providers.roles import Box

__all__ = ["geneval", "geneval_image", "relative_position"]

ColorOf = Callable[["Box"], str]
_MOST = 16


def relative_position(one: Box, other: Box, size: tuple[int, int] = (1, 1)) -> set[str]:
    """Where `one` stands seen from `other`: up to two of left of, right of, above, below.

    Args:
        one: a box.
        other: another box.
        size: width and height of the image (regions are shares of them).
    """
    offset, beyond = [], []
    for low, high, side in (("x0", "x1", size[0]), ("y0", "y1", size[1])):
        a, b = (
            (getattr(one.region, low) * side, getattr(one.region, high) * side),
            (
                getattr(other.region, low) * side,
                getattr(other.region, high) * side,
            ),
        )
        shift = (sum(a) - sum(b)) / 2
        slack = 0.1 * (a[1] - a[0] + b[1] - b[0])
        offset.append(shift)
        beyond.append(max(abs(shift) - slack, 0.0) * (1 if shift >= 0 else -1))
    length = sum(value * value for value in offset) ** 0.5
    # nearly the same place: no relation (a thousandth of a pixel, or of the image when its size is not known)
    if max(map(abs, beyond)) < 1e-3 * (1 if size != (1, 1) else 1e-3) or not length:
        return set()
    x, y = (value / length for value in beyond)
    found = {"left of": x < -0.5, "right of": x > 0.5, "above": y < -0.5, "below": y > 0.5}
    return {name for name, holds in found.items() if holds}


def geneval_image(
    spec: Mapping[str, Any], boxes: Sequence[Box], color_of: ColorOf | None = None, size: tuple[int, int] = (1, 1)
) -> bool:
    """Judge one image.

    Args:
        spec: `tag`, `include` (rows of class, count, and maybe color, position [relation, index of an earlier row]),
            maybe `exclude` (class, count).
        boxes: detections, any order; below 0.3 they do not count, below 0.9 not for the tag `counting`.
        color_of: names the colour of a box; needed by specs with colours.
        size: width and height of the image.

    Raises:
        UserError: a colour is asked for without `color_of`.
    """
    least = 0.9 if spec["tag"] == "counting" else 0.3
    by_class: dict[str, list[Box]] = {}
    for box in sorted(boxes, key=lambda box: -box.score):
        if box.score > least:
            by_class.setdefault(box.name, []).append(box)
    by_class = {name: found[:_MOST] for name, found in by_class.items()}
    groups: list[list[Box] | None] = []
    for row in spec.get("include", ()):
        found = by_class.get(row["class"], [])[: row["count"]]
        good = len(found) == row["count"]
        if good and "color" in row:
            if color_of is None:
                raise UserError("this prompt asks for a colour: give color_of=, a function of a box to a colour name.")
            good = all(color_of(box) == row["color"] for box in found)
        if good and "position" in row:
            relation, at = row["position"]
            target = groups[at]
            good = target is not None and all(
                relation in relative_position(box, other, size) for box in found for other in target
            )
        groups.append(found if good else None)
    if None in groups:
        return False
    return all(len(by_class.get(row["class"], ())) < row["count"] for row in spec.get("exclude", ()))


def geneval(
    specs: Sequence[Mapping[str, Any]],
    boxes: Sequence[Sequence[Box] | None],
    color_of: Callable[[int, Box], str] | None = None,
    *,
    sizes: Sequence[tuple[int, int]] | None = None,
    classes: Collection[str] | None = None,
    ids: Sequence[Any] | None = None,
    lang: str = "en",
    confidence: float | None = None,
    seed: int = 0,
) -> MetricResult:
    """Mean over tags of the share of correct images.

    Args:
        specs: the prompt's row of each image (repeat it for several images a prompt).
        boxes: detections of each image; None could not be detected and is null.
        color_of: (image number, box) to a colour name.
        sizes: width and height of each image.
        classes: class names the detector knows: a prompt that needs another one is an error, not a silent zero.
        ids: image ids.
        lang: language of the prompts, recorded.
        confidence: level of a bootstrap interval (of the mean over images).
        seed: of the interval.

    Raises:
        UserError: different numbers of rows, unknown classes.
    """
    if len(specs) != len(boxes) or (sizes is not None and len(sizes) != len(specs)):
        raise UserError(f"{len(specs)} prompts but detections of {len(boxes)} images.")
    if classes is not None:
        asked = {row["class"] for spec in specs for key in ("include", "exclude") for row in spec.get(key, ())}
        if missing := sorted(asked - set(classes)):
            raise UserError(f"the detector does not know {len(missing)} classes of the prompts: {offenders(missing)}.")
    values: list[float | None] = []
    for n, (spec, found) in enumerate(zip(specs, boxes)):
        judge = (lambda box, n=n: color_of(n, box)) if color_of is not None else None
        size = sizes[n] if sizes is not None else (1, 1)
        values.append(None if found is None else float(geneval_image(spec, found, judge, size)))
    parts: dict[str, float | None] = {}
    for tag in sorted({spec["tag"] for spec in specs}):
        mine = [value for spec, value in zip(specs, values) if spec["tag"] == tag and value is not None]
        parts[tag] = sum(mine) / len(mine) if mine else None
    over_images = mean_result(
        "geneval", values, version="1", ids=ids, confidence=confidence, seed=seed, language=lang, parts=parts
    )  # fmt: skip
    scored = [value for value in parts.values() if value is not None]
    import dataclasses

    return dataclasses.replace(
        over_images,
        value=sum(scored) / len(scored) if scored else None,
        parts={**parts, "over_images": over_images.value},
        notes=("the interval is that of the mean over images.",) if confidence is not None else (),
    )
