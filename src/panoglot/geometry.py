"""Places: boxes, masks and points in a picture, boxes in a room, intervals of time, tracks; overlap of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Box3", "Region", "box_iou"]


@dataclass(frozen=True, slots=True)
class Box3:
    """A box in a room, in the units of the scene (metres): centre, size along its own axes, turn about the upright.

    Attributes:
        x: centre.
        y: centre.
        z: centre, upwards.
        width: along x before it is turned.
        depth: along y before it is turned.
        height: along z.
        yaw: radians, counter-clockwise seen from above.
    """

    x: float
    y: float
    z: float
    width: float
    depth: float
    height: float
    yaw: float = 0.0


@dataclass(frozen=True, slots=True)
class Region:
    """The part of an item that a text speaks of. What is not said is all of it: `Region()` is the whole picture.

    >>> Region(0.1, 0.2, 0.5, 0.6).area
    0.16
    >>> Region(start=3.0, end=4.5).plain()["start"]
    3.0

    Attributes:
        x0: left edge, in 0..1 of the upright picture.
        y0: top edge.
        x1: right edge.
        y1: bottom edge.
        mask: COCO compressed run-length string over the upright picture, or None.
        points: (x, y, inside): points that are in it (True) or outside it (False).
        start: seconds where an interval of a video begins, or None.
        end: seconds where it ends, or None.
        track: (seconds, x0, y0, x1, y1): where a thing is in the frames of a video.
        box3: a box in a scene.
    """

    x0: float = 0.0
    y0: float = 0.0
    x1: float = 1.0
    y1: float = 1.0
    mask: str | None = None
    points: tuple[tuple[float, float, bool], ...] = ()
    start: float | None = None
    end: float | None = None
    track: tuple[tuple[float, float, float, float, float], ...] = ()
    box3: Box3 | None = None

    @property
    def box(self) -> tuple[float, float, float, float]:
        """`(x0, y0, x1, y1)`."""
        return self.x0, self.y0, self.x1, self.y1

    @property
    def area(self) -> float:
        """Share of the picture that the box covers."""
        return round(max(self.x1 - self.x0, 0.0) * max(self.y1 - self.y0, 0.0), 12)

    def plain(self) -> dict[str, Any]:
        """The row of a table's `region` column."""
        box = self.box3
        return {
            **dict(zip(("x0", "y0", "x1", "y1"), self.box)),
            "mask": self.mask,
            "points": [{"x": x, "y": y, "inside": inside} for x, y, inside in self.points] or None,
            "start": self.start,
            "end": self.end,
            "track": [dict(zip(("time", "x0", "y0", "x1", "y1"), at)) for at in self.track] or None,
            "box3": {name: getattr(box, name) for name in box.__slots__} if box else None,
        }

    @classmethod
    def of(cls, row: Mapping[str, Any] | None) -> Region | None:
        """Read what `plain` wrote; None stays None."""
        if row is None:
            return None
        return cls(
            row["x0"],
            row["y0"],
            row["x1"],
            row["y1"],
            row.get("mask"),
            tuple((p["x"], p["y"], p["inside"]) for p in row.get("points") or ()),
            row.get("start"),
            row.get("end"),
            tuple((t["time"], t["x0"], t["y0"], t["x1"], t["y1"]) for t in row.get("track") or ()),
            Box3(**row["box3"]) if row.get("box3") else None,
        )

    def key(self) -> str:
        """The place as a text, for identities: what is not said is not in it."""
        parts = [",".join(f"{value:.6f}" for value in self.box), self.mask or ""]
        if self.points:
            parts.append("points=" + " ".join(f"{x:.6f},{y:.6f},{inside:d}" for x, y, inside in self.points))
        if self.start is not None or self.end is not None:
            parts.append(f"time={self.start},{self.end}")
        if self.track:
            parts.append("track=" + " ".join(",".join(f"{value:.6f}" for value in at) for at in self.track))
        if self.box3:
            parts.append("box3=" + ",".join(f"{getattr(self.box3, name):.6f}" for name in self.box3.__slots__))
        return ";".join(parts)


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Overlap of two boxes of any dimension, lower corner first: intersection over union; 0 where both are empty.

    >>> round(box_iou((0, 0, 0, 1, 1, 1), (.5, 0, 0, 1.5, 1, 1)), 4)
    0.3333
    >>> box_iou(Region(0, 0, 0.5, 1).box, Region(0.5, 0, 1, 1).box)
    0.0
    """
    half = len(one) // 2
    inside = whole_one = whole_other = 1.0
    for axis in range(half):
        inside *= max(min(one[axis + half], other[axis + half]) - max(one[axis], other[axis]), 0.0)
        whole_one *= one[axis + half] - one[axis]
        whole_other *= other[axis + half] - other[axis]
    union = whole_one + whole_other - inside
    return inside / union if union > 0 else 0.0
