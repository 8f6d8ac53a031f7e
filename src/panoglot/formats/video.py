"""Videos: clips at shots, and frames of every clip as pictures that share a group. Needs the extra `video`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from panoglot.errors import RowError, UserError, require
from panoglot.formats._files import FILMS, check_regular, has_all, join_uri, part_key, reject
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._shots import chosen_frames, read_film, take_frames
from panoglot.geometry import Region
from panoglot.table import Reject

__all__ = ["detect", "parts", "read"]


def detect(source: str) -> bool:
    """A video file, or a folder of which all that is not hidden is video files."""
    return has_all(source, FILMS)


def parts(
    source: str, *, frames: int = 3, threshold: int = 27, min_frames: int = 15, longest: int = 7, piece: int = 5
) -> Iterator[Part]:
    """List the videos: one part each.

    Args:
        source: a file or a folder of them.
        frames: frames of every clip, evenly from 5 % to 95 % of it; one is the middle.
        threshold: how much a frame differs from the one before at a cut, 0..255; PySceneDetect's 27, Panda-70M has 25.
        min_frames: shortest shot, in frames.
        longest: seconds from which on a shot is cut into pieces (Panda-70M); 0 cuts none.
        piece: seconds of a piece.

    Raises:
        MissingPackage: the extra `video` is not installed.
        UserError: an option out of its range.
    """
    require("av", "panoglot[video]", f"'{source}'")
    require("scenedetect", "panoglot[video]", f"'{source}'")
    for name, value, least in (("frames", frames, 1), ("min_frames", min_frames, 1), ("piece", piece, 1)):
        if value < least:
            raise UserError(f"{name}={value}: give a whole number from {least} up.")
    options = {"frames": frames, "threshold": threshold, "min_frames": min_frames, "longest": longest, "piece": piece}
    names = [source] if os.path.isfile(source) else [os.path.join(source, n) for n in sorted(os.listdir(source))]
    for path in names:
        if path.lower().endswith(FILMS):
            items = {"path": os.path.abspath(path), "options": options}
            yield Part("video", join_uri(os.path.abspath(path)), part_key("video", path, options), items)


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read a video: frames in order, `group` is the clip, `time` the seconds, `region` the interval of the clip."""
    path, options = part.items["path"], part.items["options"]
    try:
        check_regular(path)
        film = read_film(
            path,
            threshold=options["threshold"],
            min_frames=options["min_frames"],
            longest=options["longest"] or float("inf"),
            piece=options["piece"],
        )
        clip_of = {
            n: k for k, clip in enumerate(film.clips) for n in chosen_frames(clip.first, clip.last, options["frames"])
        }
        for n, data in take_frames(path, list(clip_of)):
            clip, time = film.clips[clip_of[n]], film.times[n]
            number = clip_of[n] + 1
            context = {"video": os.path.basename(part.uri), "clip": number, "clips": len(film.clips), "frame": n}
            if film.title:
                context["title"] = film.title
            yield Sample(
                data,
                f"{part.uri}#t={time:.3f}",
                group=f"{part.uri}#clip={number:04}",
                time=time,
                context=context,
                region=Region(start=clip.start, end=clip.end),
            )
    except RowError as error:
        yield reject(part.uri, error.reason, error.message)
        return
    lasts = film.times[-1] - film.times[0] + film.missing
    if film.problem or len(film.times) < film.expected * 0.98 or film.missing > max(0.5, 0.05 * lasts):
        of = f" of {film.expected:,}" if film.expected else ""
        why = film.problem or (f"{film.missing:.1f} s are missing" if film.missing else "")
        said = f"{len(film.times):,}{of} frames could be read" + (f" ({why})" if why else "")
        yield reject(part.uri, "truncated", said)
