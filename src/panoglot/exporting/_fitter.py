"""Pictures of an export: as they are where every common reader takes them, else in a form that it takes."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

from panoglot.errors import UserError, did_you_mean
from panoglot.pictures import Image, read_metadata, without_metadata
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
_FORMAT = {"jpg": "jpeg", "png": "png", "webp": "webp"}
_SHOWN = {"jpg": "JPEG", "png": "PNG", "webp": "WebP"}


class Fitter:
    """Decides for one picture after the other what is written, and counts what was changed.

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
        self.resized = self.stripped = 0

    def fit(self, record: dict[str, Any], data: bytes) -> bytes:
        """The bytes to write; `record` is changed to say what they are, and what they were.

        Raises:
            RowError: the picture cannot be decoded.
        """
        large = self.max_side is not None and max(record["width"], record["height"]) > self.max_side
        target = self._target(record["format"], data, large)
        if target is None:
            if self.image == "original" or not read_metadata(data).private:
                return data
            # lies as it lay; where it was taken, with what, and whose it is are nobody's business
            written = without_metadata(data)
            if written is not None:
                self.stripped += 1
                was = {name: record[name] for name in ("format", "width", "height")}
                record["converted"] = {"image_id": image_id(written), **was}
                return written
            target = "jpg" if record["format"] == "jpeg" else record["format"]
        written, size = self._encode(data, record, target)
        was = {name: record[name] for name in ("format", "width", "height")}
        record["format"], (record["width"], record["height"]) = _FORMAT[target], size
        record["converted"] = {"image_id": image_id(written), **was}
        if large:
            self.resized += 1
        if record["format"] != was["format"] or not large:
            self.converted[_SHOWN[target]] += 1
        return written

    def notes(self) -> list[str]:
        """What is to be said of it."""
        if not self.stripped:
            return []
        return [
            f"{self.stripped:,} pictures are written without what their files say of places, serial numbers and "
            "owners; --image original keeps every byte."
        ]

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
        return _components(found.lean(data)) in (1, 3)
    return found.format == "webp" and not (data[12:16] == b"VP8X" and data[20] & 2)


def _components(lean: bytes) -> int:
    """How many a JPEG has: four are inks, which readers take for something else."""
    at = 2
    while at + 9 < len(lean):
        marker = lean[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return lean[at + 9]
        at += 2 + int.from_bytes(lean[at + 2 : at + 4])
    return 0
