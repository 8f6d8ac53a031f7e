"""Pictures of an export: as they are where every common reader takes them, else in a form that it takes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from panoglot.errors import UserError, did_you_mean, many
from panoglot.pictures import Image, without_private
from panoglot.pictures._parse import parse
from panoglot.table import image_id

__all__ = ["IMAGE_FORMATS", "Fitter"]

#: What `image=` takes.
IMAGE_FORMATS = ("original", "jpg", "png", "webp")
_LOSSY = ("jpeg", "webp", "avif", "heif")
_SAVED: dict[str, tuple[str, dict[str, Any]]] = {
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"quality": 95}),
}
#: Markers of a JPEG's frame, which says how many components there are.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_FORMAT = {"jpg": "jpeg", "png": "png", "webp": "webp"}
_SHOWN = {"jpg": "JPEG", "png": "PNG", "webp": "WebP"}


class Fitter:
    """Decides for one picture after the other what is written, and counts what was changed.

    Where a picture was taken, by which device and for whom is left out of what is written, but for `original`.

    Args:
        image: `original` keeps every byte; `jpg`, `png`, `webp` write all pictures so; None keeps what readers of JPEG,
            PNG and WebP take as it is, and writes the rest as JPEG (what was lossy) or PNG.
        max_side: longest side in pixels of what is written, or None.

    Raises:
        UserError: no such format, a size below 1, or a size with `original`.
    """

    def __init__(self, image: str | None, max_side: int | None) -> None:
        if image is not None and image not in IMAGE_FORMATS:
            raise UserError(f"'{image}' is not a format of pictures.{did_you_mean(image, IMAGE_FORMATS)}")
        if max_side is not None and max_side < 1:
            raise UserError(f"max_side is {max_side}; it must be at least 1.")
        if max_side is not None and image == "original":
            raise UserError("image='original' keeps every byte, so max_side changes nothing; leave one of them out.")
        self.image, self.max_side = image, max_side
        self.converted: Counter[str] = Counter()
        self.resized = 0
        self.cleaned = 0

    def fit(self, record: dict[str, Any], data: bytes) -> bytes:
        """The bytes to write; `record` is changed to say what they are, and what they were.

        Raises:
            RowError: the picture cannot be decoded.
        """
        large = self.max_side is not None and max(record["width"], record["height"]) > self.max_side
        target = self._target(record["format"], data, large)
        was = record["converted"] or {name: record[name] for name in ("format", "width", "height")}
        if target is None:
            kept = data if self.image == "original" else without_private(data)
            if kept is not None:
                if kept is not data:  # where, with what and by whom it was taken is nobody's business
                    record["converted"] = {**was, "image_id": image_id(kept)}
                    self.cleaned += 1
                return kept
            target = "jpg" if record["format"] == "jpeg" else record["format"]
            self.cleaned += 1
        written, size = self._encode(data, record, target)
        record["format"], (record["width"], record["height"]) = _FORMAT[target], size
        record["converted"] = {**was, "image_id": image_id(written)}
        if large:
            self.resized += 1
        if record["format"] != was["format"] or not large:
            self.converted[_SHOWN[target]] += 1
        return written

    def notes(self) -> list[str]:
        """What is to be said of it."""
        if not self.cleaned:
            return []
        what = "written without what their files say of places, serial numbers and owners"
        return [f"{many(self.cleaned, 'picture{s} {is}')} {what}; --image original keeps every byte."]

    def _target(self, name: str, data: bytes, large: bool) -> str | None:
        """The format to write, None to keep the bytes."""
        if self.image == "original":
            return None
        if self.image is not None:
            same = name == _FORMAT[self.image]
            return None if same and not large and _plain(data) else self.image
        if not large and _plain(data):
            return None
        if name == "webp":
            return "webp"
        return "jpg" if name in _LOSSY else "png"

    def _encode(self, data: bytes, record: dict[str, Any], target: str) -> tuple[bytes, tuple[int, int]]:
        import PIL.Image

        size = (record["width"], record["height"])
        if self.max_side is not None and max(size) > self.max_side:
            scale = self.max_side / max(size)
            size = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        drawing = record["format"] == "svg"
        smaller = drawing or size[0] < record["width"]
        picture = Image(data, id=record["image_id"]).pil(min_side=min(size) if smaller else None)
        if picture.size != size and not (drawing and self.max_side is None):
            picture = picture.resize(size, PIL.Image.Resampling.BICUBIC, reducing_gap=3.0)
        name, options = _SAVED[target]
        buffer = io.BytesIO()
        picture.save(buffer, name, **options)
        return buffer.getvalue(), picture.size


def _plain(data: bytes) -> bool:
    """Say whether any reader sees in these bytes what we see: a still JPEG, PNG or WebP of 8 bits in grey or colour."""
    found = parse(data)
    if found is None or found.odd:
        return False
    if found.format == "png":
        depth, colour = data[24], data[25]
        return (depth <= 8 or colour == 3) and b"acTL" not in data[:4096]
    if found.format == "jpeg":
        return _components(data, found.pieces or ()) in (1, 3)
    return found.format == "webp" and not (data[12:16] == b"VP8X" and data[20] & 2)


def _components(data: bytes, pieces: Sequence[tuple[int, int]]) -> int:
    """How many a JPEG has: four are inks, which readers take for something else."""
    frame = (data[start + 9] for start, _ in pieces if data[start + 1] in _FRAMES)
    return next(frame, 0)
