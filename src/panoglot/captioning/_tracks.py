"""Things followed through the frames of a clip: what a detector finds in each, joined where name and place agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from panoglot.geometry import Region, box_iou
from panoglot.providers.roles import Box

__all__ = ["Track", "tracks"]


@dataclass
class Track:
    """A thing, and where it is in the frames that show it.

    Attributes:
        name: as the detector calls it.
        places: number of the frame → place.
    """

    name: str
    places: dict[int, Region] = field(default_factory=dict)

    def region(self, times: Mapping[int, float]) -> Region:
        """The interval in which it is seen, with its boxes; `times` are seconds of frames."""
        at = [(times[n], *self.places[n].box) for n in sorted(self.places)]
        return Region(start=at[0][0], end=at[-1][0], track=tuple(at))


def tracks(frames: Sequence[Sequence[Box]], *, overlap: float = 0.3, gap: int = 2) -> list[Track]:
    """Follow things from frame to frame: the best overlaps of boxes of one name are joined first.

    Args:
        frames: what was found in every frame, in order of time.
        overlap: least IoU of the boxes of one thing in two frames.
        gap: most frames in which a thing may be missed in between.

    Returns:
        Things in order of their first frame; each box belongs to one of them.

    >>> cat, dog = Box("cat", 0.9, Region(0, 0, 0.5, 0.5)), Box("dog", 0.9, Region(0, 0, 0.5, 0.5))
    >>> [(track.name, sorted(track.places)) for track in tracks([[cat], [cat, dog], [dog]])]
    [('cat', [0, 1]), ('dog', [1, 2])]
    """
    found: list[Track] = []
    for n, boxes in enumerate(frames):
        alive = [track for track in found if max(track.places) >= n - 1 - gap]
        pairs = sorted(
            (
                (box_iou(track.places[max(track.places)].box, box.region.box), -t, -b)
                for t, track in enumerate(alive)
                for b, box in enumerate(boxes)
                if track.name == box.name
            ),
            reverse=True,
        )
        taken: set[int] = set()
        for iou, t, b in pairs:
            if iou >= overlap and n not in alive[-t].places and -b not in taken:
                alive[-t].places[n] = boxes[-b].region
                taken.add(-b)
        found += [Track(box.name, {n: box.region}) for b, box in enumerate(boxes) if b not in taken]
    return found
