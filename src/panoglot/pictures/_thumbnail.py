"""Small pictures for the page, as data URIs of bounded size."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError
from panoglot.pictures._image import Image, plain_jpeg
from panoglot.table import Dataset, picture_name

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["Picture", "load_pictures"]

#: Most bytes of a thumbnail; a noisy one is encoded again, coarser, until it fits.
MOST_BYTES = 40_000
_DATA_URI = re.compile("data:image/jpeg;base64,[A-Za-z0-9+/]+=*")
_FACTS = ("uri", "context", "width", "height", "format", "size", "group", "time")


@dataclass(slots=True)
class Picture:
    """An image of the page.

    Attributes:
        image_id: its id.
        facts: its row in `images` but the bytes and the context; empty when the image is not in the dataset.
        thumbnail: data URI, or empty when there is nothing to show.
        width: pixels of the thumbnail.
        height: pixels of the thumbnail.
        problem: why there is no thumbnail.
    """

    image_id: str
    facts: dict[str, Any]
    thumbnail: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return picture_name(self.facts.get("uri"), self.facts.get("context")) or self.image_id[:12]


def load_pictures(dataset: Dataset, image_ids: Iterable[str], side: int) -> dict[str, Picture]:
    """Read images and make thumbnails whose longer side is at most `side` pixels; few at a time in memory.

    Those of the last time are kept in the dataset's `cache`: pages that are made again show much the same.
    """
    ids = list(dict.fromkeys(image_ids))
    found = {image: Picture(image, {}, problem="not in this dataset") for image in ids}
    last = _last_time(dataset, side)
    for row in dataset.images.get(ids, _FACTS).to_pylist():
        image = row.pop("image_id")
        found[image] = Picture(image, row, *last.get(image, ()))
    new = [image for image in ids if found[image].facts and not found[image].thumbnail]
    for start in range(0, len(new), 8):
        for row in dataset.images.get(new[start : start + 8], ["data"]).to_pylist():
            image = row["image_id"]
            found[image] = _picture(image, row["data"], found[image].facts, side)
    made = {one.image_id: (one.thumbnail, one.width, one.height) for one in found.values() if one.thumbnail}
    if made.keys() != last.keys():
        _keep(dataset, side, made)
    return found


def _last_time(dataset: Dataset, side: int) -> dict[str, tuple[str, int, int]]:
    """Thumbnails, width and height by image; none where nothing whole was kept."""
    try:
        kept = json.loads(_place(dataset, side).read_bytes())
        sound = {image: (uri, int(width), int(height)) for image, (uri, width, height) in kept.items()}
        return sound if all(_DATA_URI.fullmatch(uri) for uri, *_ in sound.values()) else {}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(dataset: Dataset, side: int, made: dict[str, tuple[str, int, int]]) -> None:
    place = _place(dataset, side)
    temporary = place.with_name(f".{place.name}-{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):  # a read-only or full disk: they are made again
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(made))
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)


def _place(dataset: Dataset, side: int) -> Path:
    return dataset.store.scratch("cache") / f"shown-{side}.json"


def _picture(image_id: str, data: bytes | None, facts: dict[str, Any], side: int) -> Picture:
    import PIL.Image

    picture = Picture(image_id, facts)
    try:
        small = _eighths(data or b"", side) or Image(data or b"", id=image_id).pil(min_side=side)
        small.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    except RowError as error:
        picture.problem = error.reason
        return picture
    for quality in (82, 68, 50, 30, 10):
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    picture.width, picture.height = small.size
    picture.thumbnail = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return picture


def _eighths(data: bytes, side: int) -> PIL.Image.Image | None:
    """A plain JPEG decoded at the least number of eighths of its size whose longer side is at least `side`.

    None for all else, and for what is broken: to decode that whole says what is wrong.
    """
    import PIL.Image
    import simplejpeg

    plain = plain_jpeg(data)
    if plain is None or plain[1] != 1:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(plain[0])
        if colours not in ("YCbCr", "Gray"):
            return None
        high, wide = (-(-length * side // max(height, width)) for length in (height, width))
        return PIL.Image.fromarray(simplejpeg.decode_jpeg(plain[0], min_height=high, min_width=wide, min_factor=1))
    except ValueError:
        return None
