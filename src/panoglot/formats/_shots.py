"""Shots of a video: decoded with PyAV, cut where PySceneDetect's content detector says, long ones cut into pieces.

Two passes, so that a video of any length needs the memory of a frame: the first looks at small frames for cuts, the
second takes the frames that were chosen, in full size.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from panoglot.errors import RowError, require

__all__ = ["Clip", "Film", "chosen_frames", "cut_shots", "read_film", "take_frames"]

#: Width of the frames that are looked at for cuts, in pixels; PySceneDetect shrinks to about so many itself.
SMALL = 256
#: Seconds between two frames from which on they say nothing of how many frames a second has.
_PAUSE = 60.0
#: Most pixels of a frame.
MOST_PIXELS = 50_000_000


@dataclass(frozen=True)
class Clip:
    """A piece of a video: frames `[first, last)`.

    Attributes:
        first: its first frame.
        last: the frame after its last.
        start: seconds of its first frame.
        end: seconds where it ends.
    """

    first: int
    last: int
    start: float
    end: float


@dataclass(frozen=True)
class Film:
    """What the first pass found.

    Attributes:
        clips: pieces that tile all frames.
        times: seconds of every frame.
        cuts: frames at which a shot begins, without the first.
        expected: frames that the file says it has; 0 when it does not say.
        missing: seconds at its end that the file says it has and that could not be read.
        problem: why it ended early, or empty.
        title: of its metadata, or empty.
    """

    clips: tuple[Clip, ...]
    times: tuple[float, ...]
    cuts: tuple[int, ...]
    expected: int
    missing: float
    problem: str
    title: str


def cut_shots(ends: Sequence[int], fps: float, *, longest: float = 7.0, piece: float = 5.0) -> list[tuple[int, int]]:
    """Cut shots that are too long into pieces (Panda-70M, code of the splitting).

    Args:
        ends: the frame after the last of every shot, rising.
        fps: frames a second.
        longest: seconds from which on a shot is cut.
        piece: seconds of a piece.

    Returns:
        Frames `[first, last)` that tile `[0, ends[-1])`.

    >>> cut_shots([600], 30), cut_shots([210], 30), cut_shots([211], 30)
    ([(0, 150), (150, 300), (300, 450), (450, 600)], [(0, 210)], [(0, 150), (150, 211)])
    """
    found: list[tuple[int, int]] = []
    last, step = 0, max(1, int(piece * fps))
    for end in ends:
        while end - last > longest * fps and end - last > step:
            found.append((last, last + step))
            last += step
        if end > last:
            found.append((last, end))
            last = end
    return found


def chosen_frames(first: int, last: int, count: int) -> list[int]:
    """Frames of a clip, evenly from 5 % to 95 %; one is the middle.

    >>> chosen_frames(0, 150, 2), chosen_frames(0, 150, 1), chosen_frames(3, 4, 3)
    ([7, 141], [74], [3])
    """
    if count == 1:
        return [first + (last - first - 1) // 2]
    shares = [0.05 + 0.9 * n / (count - 1) for n in range(count)]
    return sorted({first + int(share * (last - 1 - first) + 1e-9) for share in shares})


def read_film(path: str, *, threshold: float, min_frames: int, longest: float, piece: float) -> Film:
    """Find the clips of a video.

    Args:
        path: the file.
        threshold: of the content detector, 0..255: how much a frame differs from the one before at a cut.
        min_frames: shortest shot.
        longest: seconds from which on a shot is cut into pieces.
        piece: seconds of a piece.

    Raises:
        RowError: `not_a_video`, `no_video_stream`, `no_frames`, `too_many_pixels`.
        MissingPackage: the extra `video` is not installed.
    """
    require("scenedetect", "panoglot[video]", "videos")
    from scenedetect import ContentDetector, FrameTimecode

    detector = ContentDetector(threshold=threshold, min_scene_len=max(1, min_frames))
    times: list[float] = []
    cuts: list[int] = []
    problem = ""
    with _opened(path) as (container, stream):
        lasts = _lasts(container, stream)
        expected, title = int(stream.frames or 0), str(container.metadata.get("title") or "")[:1000]
        try:
            for frame in container.decode(stream):
                times.append(float(frame.time) if frame.time is not None else len(times) / 25)
                height = max(2, round(frame.height * SMALL / max(1, frame.width)))
                small = frame.to_ndarray(format="bgr24", width=SMALL, height=min(height, 4 * SMALL))
                # frames are counted, whatever their times: a variable rate changes no cut
                cuts += [cut.frame_num for cut in detector.process_frame(FrameTimecode(len(times) - 1, 25.0), small)]
        except Exception as error:  # PyAV raises what FFmpeg says, under many names
            problem = _said(error)
        if times:
            cuts += [cut.frame_num for cut in detector.post_process(FrameTimecode(len(times) - 1, 25.0))]
    if not times:
        raise RowError("no_frames", problem or "the video stream holds no frame")
    cuts = sorted({cut for cut in cuts if 0 < cut < len(times)})
    times, step = _rising(times)
    tiles = cut_shots([*cuts, len(times)], 1 / step, longest=longest, piece=piece)
    ends = [*times, times[-1] + step]
    clips = tuple(Clip(a, b, max(0.0, times[a]), max(times[a], ends[b])) for a, b in tiles)
    missing = max(0.0, lasts - (times[-1] - times[0] + step))
    return Film(clips, tuple(times), tuple(cuts), expected, missing, problem, title)


def _rising(times: Sequence[float]) -> tuple[list[float], float]:
    """Times of frames in the order in which they are shown, and the seconds of a frame, without its longest pauses.

    Where time stamps go back (films that were joined, broadcasts) what follows goes on a frame later; a single one that
    is out of order stands right after the one before it.

    >>> _rising([0.0, 0.5, 1.0, 0.0, 0.5]), _rising([0.0, 0.5, 0.2, 1.0, 1.2])[0], _rising([7.0])
    (([0.0, 0.5, 1.0, 1.5, 2.0], 0.5), [0.0, 0.5, 0.501, 1.0, 1.2], ([7.0], 0.04))
    """
    steps = [b - a for a, b in pairwise(times) if 0 < b - a < _PAUSE]
    step = sum(steps) / len(steps) if steps else 0.04
    found: list[float] = []
    shift = 0.0
    for n, time in enumerate(times):
        if n and time + shift <= found[-1]:
            alone = n + 1 < len(times) and times[n + 1] + shift > found[-1]
            shift += 0.0 if alone else found[-1] + step - time - shift
            time = found[-1] + 0.001 - shift if alone else time
        found.append(time + shift)
    return found, step


def _lasts(container: Any, stream: Any) -> float:
    """Seconds that the video lasts, as the file says; 0 when it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1  # else the sound may be what is longer
    return (container.duration or 0) / 1e6 if alone else 0.0


def take_frames(path: str, wanted: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Return frames as JPEG, upright, in order: (number, bytes). Fewer come when the file cannot be read further."""
    import io

    left = set(wanted)
    with _opened(path) as (container, stream), contextlib.suppress(*_failures()):
        for n, frame in enumerate(container.decode(stream)):
            if n in left:
                left.discard(n)
                picture = frame.to_image()
                if frame.rotation:
                    picture = picture.rotate(frame.rotation, expand=True)
                buffer = io.BytesIO()
                picture.save(buffer, "JPEG", quality=92)
                yield n, buffer.getvalue()
            if not left:
                return


def _failures() -> tuple[type[Exception], ...]:
    import av.error

    return (av.error.FFmpegError, ValueError, OSError)


def _said(error: Exception) -> str:
    """What FFmpeg says, without its number and the path."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream.

    Raises:
        RowError: `not_a_video`, `no_video_stream`, `too_many_pixels`.
    """
    av = require("av", "panoglot[video]", "videos")
    try:
        container = av.open(path, metadata_errors="replace")
    except Exception as error:
        if os.path.isfile(path) and not os.path.getsize(path):
            raise RowError("empty_file", "it has no bytes") from None
        raise RowError("not_a_video", f"{_said(error)}: another kind of file, or its end is missing") from None
    with container:
        # a cover in an audio file is a picture, no video
        streams = [
            s for s in container.streams.video if "ATTACHED_PIC" not in str(getattr(s, "disposition", "")).upper()
        ]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise RowError("no_video_stream", f"the file holds {kinds}")
        stream = streams[0]
        if stream.width * stream.height > MOST_PIXELS:
            raise RowError("too_many_pixels", f"{stream.width} x {stream.height}, the limit is {MOST_PIXELS:,} pixels")
        stream.thread_type = "AUTO"
        yield container, stream
