"""Where to look in a picture: boxes merged, hulls, quadrants, clusters, what no box covers, which lies in which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from panoglot.geometry import box_iou

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "QUADRANTS",
    "BoxTuple",
    "absorbed",
    "cell",
    "clipped",
    "clusters",
    "free_rectangles",
    "giou",
    "grown",
    "hull",
    "inclusion",
    "largest_rectangle",
    "merged",
    "overlap",
    "patches",
    "slack",
]

#: x0, y0, x1, y1 in any unit.
BoxTuple = tuple[float, float, float, float]
#: Left top, right top, left bottom, right bottom, of the unit square.
QUADRANTS: tuple[BoxTuple, ...] = ((0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0, 0.5, 0.5, 1), (0.5, 0.5, 1, 1))


def _area(box: BoxTuple) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def hull(*boxes: BoxTuple) -> BoxTuple:
    """The smallest box around some.

    >>> hull((0, 0, 1, 1), (2, 3, 4, 5))
    (0, 0, 4, 5)
    """
    x0, y0, x1, y1 = zip(*boxes)
    return min(x0), min(y0), max(x1), max(y1)


def overlap(one: BoxTuple, other: BoxTuple) -> float:
    """Area that two boxes share.

    >>> overlap((0, 0, 2, 2), (1, 1, 3, 3))
    1
    """
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _union(one: BoxTuple, other: BoxTuple) -> float:
    return _area(one) + _area(other) - overlap(one, other)


def slack(one: BoxTuple, other: BoxTuple) -> float:
    """Share of the hull of two boxes that neither covers.

    >>> round(slack((0, 0, 10, 10), (12, 0, 22, 10)), 4)
    0.0909
    """
    around = _area(hull(one, other))
    return (around - _union(one, other)) / around if around else 0.0


def giou(one: BoxTuple, other: BoxTuple) -> float:
    """Generalised intersection over union, -1..1 (Rezatofighi et al., 2019).

    >>> [round(giou((0, 0, 10, 10), (x, 0, x + 10, 10)), 4) for x in (5, 10, 12)]
    [0.3333, 0.0, -0.0909]
    """
    return box_iou(one, other) - slack(one, other)


def clipped(box: BoxTuple) -> BoxTuple | None:
    """A box in the order of its corners and inside the unit square; None when nothing of it is there.

    >>> clipped((0.5, -1, 2, 0.5)), clipped((2, 2, 3, 3)), clipped((0.4, 0.4, 0.4, 0.6))
    ((0.5, 0.0, 1.0, 0.5), None, None)
    """
    x0, x1 = sorted((min(max(box[0], 0.0), 1.0), min(max(box[2], 0.0), 1.0)))
    y0, y1 = sorted((min(max(box[1], 0.0), 1.0), min(max(box[3], 0.0), 1.0)))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def grown(box: BoxTuple, by: float) -> BoxTuple:
    """A box with `by` of the picture's sides more on each side, inside the unit square.

    >>> grown((0.1, 0.0, 0.5, 0.5), 0.02)
    (0.08, 0.0, 0.52, 0.52)
    """
    x0, y0, x1, y1 = box
    sides = max(x0 - by, 0.0), max(y0 - by, 0.0), min(x1 + by, 1.0), min(y1 + by, 1.0)
    return tuple(round(side, 12) for side in sides)  # type: ignore[return-value]


def merged(boxes: Sequence[BoxTuple], threshold: float) -> list[BoxTuple]:
    """Merge boxes into hulls until no two overlap by more than `threshold` (IoU, strictly).

    >>> merged([(0, 0, 2, 2), (5, 5, 6, 6), (0, 1, 2, 3)], 0.3)
    [(0, 0, 2, 3), (5, 5, 6, 6)]
    """
    left = list(boxes)
    while True:
        pairs = ((a, b) for a in range(len(left)) for b in range(a + 1, len(left)))
        near = next((pair for pair in pairs if box_iou(left[pair[0]], left[pair[1]]) > threshold), None)
        if near is None:
            return left
        other = left.pop(near[1])
        left[near[0]] = hull(left[near[0]], other)


def patches(boxes: Sequence[BoxTuple], attach: float = 0.3, whole: BoxTuple = (0, 0, 1, 1)) -> list[BoxTuple]:
    """Four overlapping patches: each quadrant, and the boxes of which more than `attach` lies in it (Patch Matters, 2).

    >>> patches([(40, 40, 70, 60)], whole=(0, 0, 100, 100))
    [(0, 0, 50.0, 50.0), (40, 0, 100, 60), (0, 50.0, 50.0, 100), (40, 40, 100, 100)]
    """
    x0, y0, x1, y1 = whole
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    quadrants: list[BoxTuple] = [(x0, y0, x, y), (x, y0, x1, y), (x0, y, x, y1), (x, y, x1, y1)]
    return [
        hull(quadrant, *(box for box in boxes if _area(box) and overlap(box, quadrant) / _area(box) > attach))
        for quadrant in quadrants
    ]


def clusters(boxes: Sequence[BoxTuple], k: int = 10, seed: int = 0, draws: int = 10) -> list[BoxTuple]:
    """Hulls of the k-means clusters of boxes by corners and centre (CAPTURE, part B, stage 2).

    Args:
        boxes: in 0..1.
        k: clusters; as many as there are boxes if that is fewer.
        seed: of the first centres.
        draws: how often they are drawn; the tightest clustering is taken.
    """
    import numpy as np

    from panoglot.vectors._kmeans import k_means, nearest

    if len(boxes) <= k:
        return list(boxes)
    points = np.array([[*b, (b[0] + b[2]) / 2, (b[1] + b[3]) / 2] for b in boxes], np.float32)
    tries = [nearest(points, k_means(points, k, 100, seed + n)) for n in range(draws)]
    owner, _ = min(tries, key=lambda found: float(found[1].sum()))
    groups = {int(n): [box for box, own in zip(boxes, owner) if own == n] for n in owner}
    return [hull(*group) for _, group in sorted(groups.items())]


def absorbed(boxes: Sequence[BoxTuple], threshold: float = 0.0, most_slack: float = 0.1) -> list[BoxTuple]:
    """Take the smallest box, let it absorb what overlaps or adjoins it, and go on with the rest (CAPTURE, B, stage 2).

    Args:
        boxes: any.
        threshold: a box whose GIoU with the seed is above is absorbed,
        most_slack: and one whose hull with the seed has less than this share uncovered.
    """
    left = sorted(boxes, key=lambda box: (_area(box), box))
    found: list[BoxTuple] = []
    while left:
        seed = left.pop(0)
        near = [box for box in left if giou(box, seed) > threshold or slack(box, seed) < most_slack]
        left = [box for box in left if box not in near]
        found.append(hull(seed, *near))
    return found


def largest_rectangle(free: np.ndarray) -> tuple[int, int, int, int]:
    """The largest all-true rectangle of a map, bool `[rows, columns]`: left, top, right, bottom, the last two past it.

    >>> import numpy as np
    >>> largest_rectangle(np.ones((4, 4), bool)), largest_rectangle(np.zeros((2, 2), bool))
    ((0, 0, 4, 4), (0, 0, 0, 0))
    """
    best, area = (0, 0, 0, 0), 0
    heights = [0] * (free.shape[1] + 1)
    for row in range(free.shape[0]):
        stack: list[int] = []
        for column in range(free.shape[1] + 1):
            inside = column < free.shape[1] and bool(free[row, column])
            heights[column] = heights[column] + 1 if inside else 0
            while stack and heights[stack[-1]] >= heights[column]:
                height = heights[stack.pop()]
                left = stack[-1] + 1 if stack else 0
                if height * (column - left) > area:
                    area, best = height * (column - left), (left, row + 1 - height, column, row + 1)
            stack.append(column)
    return best


def free_rectangles(
    box: BoxTuple, others: Sequence[BoxTuple], most: int = 2, minimum: float = 0.3, cells: int = 64
) -> list[BoxTuple]:
    """The largest parts of a box that no other covers; the box itself where it has no such part.

    The original loses a box that fails the test; ours keeps it (CAPTURE, part B, stage 2).

    Args:
        box: the box.
        others: the boxes that cover it.
        most: rectangles.
        minimum: share of the box that must be free, and share that a rectangle must take.
        cells: the map has so many cells a side.
    """
    import numpy as np

    free = np.ones((cells, cells), bool)
    width, height = (box[2] - box[0]) / cells, (box[3] - box[1]) / cells
    if width <= 0 or height <= 0:
        return []
    x = box[0] + (np.arange(cells) + 0.5) * width
    y = box[1] + (np.arange(cells) + 0.5) * height
    for other in others:
        free[np.ix_((y >= other[1]) & (y < other[3]), (x >= other[0]) & (x < other[2]))] = False
    found: list[BoxTuple] = []
    while len(found) < most and free.mean() >= minimum:
        left, top, right, bottom = largest_rectangle(free)
        if (right - left) * (bottom - top) < minimum * cells * cells:
            break
        free[top:bottom, left:right] = False
        corners = box[0] + left * width, box[1] + top * height, box[0] + right * width, box[1] + bottom * height
        found.append(corners)
    return found or [box]


def inclusion(boxes: Sequence[BoxTuple], share: float = 0.9) -> list[int | None]:
    """For each box the number of the smallest larger one that holds `share` of it, or None: a tree.

    >>> inclusion([(0, 0, 10, 10), (1, 1, 5, 5), (2, 2, 3, 3), (20, 0, 21, 1)])
    [None, 0, 1, None]
    """

    def parent(n: int) -> int | None:
        own = _area(boxes[n])
        around = [
            (_area(other), -k)
            for k, other in enumerate(boxes)
            if (_area(other), -k) > (own, -n) and own and overlap(boxes[n], other) >= share * own
        ]
        return -min(around)[1] if around else None

    return [parent(n) for n in range(len(boxes))]


def cell(box: BoxTuple) -> str:
    """Where the centre of a box lies in the picture, in thirds.

    >>> cell((0, 0, 0.2, 0.2)), cell((0.4, 0.4, 0.6, 0.6)), cell((0.4, 0.8, 0.6, 1.0))
    ('top left', 'centre', 'bottom')
    """
    column = _third((box[0] + box[2]) / 2, ("left", "", "right"))
    row = _third((box[1] + box[3]) / 2, ("top", "", "bottom"))
    return " ".join(filter(None, (row, column))) or "centre"


def _third(value: float, names: tuple[str, str, str]) -> str:
    return names[0] if value < 1 / 3 else names[2] if value > 2 / 3 else names[1]
