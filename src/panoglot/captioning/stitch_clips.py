"""`stitch-clips`: adjacent clips of a video whose frames look alike are joined into events, and poor clips left out.

Panda-70M (CVPR 2024; arXiv 2402.19479), semantics-aware splitting: its second half. The first, shots and pieces of
long ones, is the reader of videos.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from panoglot.asking import Asker, Models
from panoglot.checks import check_option
from panoglot.errors import RowError
from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.running import EncoderName, Group, method
from panoglot.table import Document, DocumentPart

__all__ = ["PRESETS", "Clip", "Limits", "stitch", "stitch_clips"]

#: Seconds within which one clip begins where another ends.
_TOUCH = 1e-3


@dataclass(frozen=True)
class Limits:
    """What an event must be like.

    Attributes:
        shortest: seconds; shorter events are left out.
        longest: seconds; longer ones are cut there.
        redundant: least distance between the mean vectors of two events of a video; 0: none is left out.
        trim: share of an event that is taken off each of its ends.
        still: least distance between its first and its last frame.
    """

    shortest: float
    longest: float
    redundant: float
    trim: float
    still: float = 0.15


#: What made the paper's dataset, and the defaults of its released code.
PRESETS = {"dataset": Limits(2.5, 60.0, 0.3, 0.1), "released": Limits(2.0, 1200.0, 0.0, 0.0)}


@dataclass(frozen=True)
class Clip:
    """A clip, or clips that were joined.

    Attributes:
        start: seconds.
        end: seconds.
        vectors: unit vectors [frames, dim] of the anchors in order: two of every clip, the same one twice where a clip
            has one frame; None where a frame could not be encoded.
        parts: which clips it is made of.
        why: the reason why it is left out, or empty.
    """

    start: float
    end: float
    vectors: np.ndarray | None
    parts: tuple[int, ...] = ()
    why: str = ""


def stitch(clips: Sequence[Clip], limits: Limits, *, change: float = 1.0, step: float = 0.6) -> list[Clip]:
    """Join the clips of a video where meaning goes on, and say which are left out.

    Args:
        clips: in order.
        limits: of events.
        change: a clip whose two anchors are farther apart than this is left out.
        step: a clip that is farther than this from the end of the one before begins another event.

    Returns:
        Events and clips that are left out (`why`: `anchor_unreadable`, `clip_changes`, `too_short`, `still`,
        `redundant`), in order; `parts` has the number of every clip once.

    Source: Panda-70M, section 3.1 and the released splitting code.
    """
    out: list[Clip] = []
    events: list[Clip] = []
    for n, clip in enumerate(clips):
        clip = replace(clip, parts=(n,))
        if clip.vectors is None:
            out.append(replace(clip, why="anchor_unreadable"))
        elif _apart(clip.vectors[0], clip.vectors[-1]) > change:
            out.append(replace(clip, why="clip_changes"))
        elif (
            events
            and events[-1].vectors is not None
            and abs(events[-1].end - clip.start) <= _TOUCH
            and _apart(events[-1].vectors[-1], clip.vectors[0]) <= step
        ):
            last = events[-1]
            vectors = np.concatenate([events[-1].vectors, clip.vectors])
            events[-1] = Clip(last.start, clip.end, vectors, (*last.parts, n))
        else:
            events.append(clip)
    means: list[np.ndarray] = []
    for event in events:
        out.append(_verified(event, limits, means))
    return sorted(out, key=lambda one: one.parts)


def _verified(event: Clip, limits: Limits, means: list[np.ndarray]) -> Clip:
    """An event within its limits, or why it is left out; `means` are those of the kept ones, and are added to."""
    assert event.vectors is not None
    first, last, mean = event.vectors[0], event.vectors[-1], event.vectors.mean(0)
    # a single frame says nothing of whether anything moves
    moves = len(event.vectors) > 2 or not np.array_equal(first, last)
    if event.end - event.start < limits.shortest:
        return replace(event, why="too_short")
    if moves and _apart(first, last) < limits.still:
        return replace(event, why="still")
    if any(_apart(mean, other) < limits.redundant for other in means):
        return replace(event, why="redundant")
    means.append(mean)
    end = min(event.end, event.start + limits.longest)
    cut = limits.trim * (end - event.start)
    return replace(event, start=event.start + cut, end=end - cut)


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other))


@method(
    verb="caption",
    name="stitch-clips",
    unit="video",
    about="join the clips of a video whose frames look alike, leave out poor ones (Panda-70M)",
)
async def stitch_clips(
    video: Group,
    m: Models,
    *,
    encoder: EncoderName = "encoder",
    preset: str = "released",
    max_change: float = 1.0,
    max_step: float = 0.6,
    min_still: float = 0.15,
) -> list[Document]:
    """Join adjacent clips of a video into events by the vectors of the frames where one ends and the other begins.

    Methods of groups (`panda-70m`, `langsplat4d`) that run afterwards take events in place of clips. Without this step
    every clip is an event of its own, however alike its neighbours are, and none is left out.

    Distances are of unit vectors. The paper's are of ImageBind's; those of another encoder may be larger or smaller,
    so look at the scores of the events and set `max_step`.

    Args:
        video: frames of all clips of a video; a clip's first and last frame are its anchors (the reader's `frames=2` or
            more puts them at 5 % and 95 %; with one frame a clip has one anchor).
        m: the models.
        encoder: an `Encoder` of pictures.
        preset: `released`, the code's defaults (2 s to 1,200 s, nothing trimmed, none redundant), or `dataset`, what
            made the paper's (2.5 s to 60 s, .3, a tenth trimmed from each end).
        max_change: a clip whose anchors are farther apart is left out (`clip_changes`).
        max_step: a clip farther than this from the end of the one before begins an event.
        min_still: an event whose ends are nearer is left out (`still`).

    Returns:
        A document of kind `event` for every event: its frames in order, its interval as their region, and `clips`,
        `seconds`, `step` (largest distance over a joint) as scores. Frames that were trimmed or cut off are parts that
        are not learnt (`learn` false). What is left out is a dropped document with the reason.

    Raises:
        RowError: `no_clips`: its frames say no interval.

    Source: arXiv 2402.19479.
    """
    check_option("preset", preset, tuple(PRESETS))
    frames: dict[str, list[Image]] = {}
    for image in video.images:
        if image.region is not None and image.region.start is not None and image.region.end is not None:
            frames.setdefault(image.group or "", []).append(image)
    if not frames:
        raise RowError("no_clips", "its frames have no interval: read the video with panoglot ingest")
    groups = sorted(frames.values(), key=lambda own: (own[0].region.start or 0.0) if own[0].region else 0.0)
    clips = await gather(*(_clip(m[encoder], own) for own in groups))
    limits = replace(PRESETS[preset], still=min_still)
    found = stitch(clips, limits, change=max_change, step=max_step)
    return [_event(one, [image for n in one.parts for image in groups[n]], clips) for one in found]


async def _clip(encoder: Asker, own: Sequence[Image]) -> Clip:
    region = own[0].region
    assert region is not None
    try:
        found = await gather(*(encoder.encode_image(image) for image in (own[0], own[-1])))
        vectors = np.stack([one.reshape(-1, one.shape[-1]).mean(0) for one in found])  # of several views the mean
    except RowError:
        return Clip(region.start or 0.0, region.end or 0.0, None)
    return Clip(region.start or 0.0, region.end or 0.0, vectors)


def _event(event: Clip, images: Sequence[Image], clips: Sequence[Clip]) -> Document:
    place = Region(start=event.start, end=event.end)
    inside = [image.time is None or event.start <= image.time <= event.end for image in images]
    if not any(inside):  # the frame nearest to the middle
        middle = (event.start + event.end) / 2
        nearest = min(range(len(images)), key=lambda n: abs((images[n].time or 0.0) - middle))
        inside[nearest] = True
    scores: dict[str, float | None] = {"clips": float(len(event.parts)), "seconds": event.end - event.start}
    joints = [(clips[a].vectors, clips[b].vectors) for a, b in zip(event.parts, event.parts[1:])]
    steps = [_apart(one[-1], other[0]) for one, other in joints if one is not None and other is not None]
    if steps:
        scores["step"] = max(steps)
    return Document(
        tuple(DocumentPart(image_id=image.id, region=place, learn=kept) for image, kept in zip(images, inside)),
        kind="event",
        scores=scores,
        dropped=event.why or None,
    )
