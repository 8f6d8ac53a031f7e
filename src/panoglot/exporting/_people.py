"""What an export leaves out or makes unknown of people: places, texts, names, faces."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from panoglot.checks import check_option, several
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.table import image_id
from panoglot.text import mask_emails, mask_names, mask_phones

__all__ = ["MASKS", "Masker", "without_place"]

#: What `mask=` takes.
MASKS = ("emails", "phones", "names", "faces")
_HOME = re.compile(r"(?:^|/|\\)(?:home|Users|users)[/\\]([^/\\]+)[/\\]")
_OWNERS = frozenset(
    "artist author authors byline creator credit owner ownername photographer uploader user username".split()
)
_PLACE = re.compile(r"gps.*|.*serialnumber|makernote|(gps)?(latitude|longitude)|cameraownername|geo(location|tag)?s?")


def _key(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def without_place(context: dict[str, Any]) -> dict[str, Any]:
    """A picture's context without where it was taken and by which device; JSON in a text is looked into.

    >>> without_place({"exif": '{"GPSInfo": "1", "Model": "X"}', "title": "Sea", "Body Serial Number": "7"})
    {'exif': '{"Model": "X"}', 'title': 'Sea'}
    """
    return {name: _clean(value) for name, value in context.items() if not _PLACE.fullmatch(_key(name))}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return without_place(value)
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, str) and value[:1] == "{" and _PLACE.search(_key(value[:100_000])):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return json.dumps(without_place(inner), ensure_ascii=False) if isinstance(inner, dict) else value
    return value


class Masker:
    """Makes people unknown in the rows of an export, and counts.

    Args:
        mask: some of `MASKS`.
        detector: the model that finds faces.

    Raises:
        UserError: another word, or no such model.
    """

    def __init__(self, mask: str | Sequence[str], detector: str) -> None:
        self.kinds = tuple(check_option("mask", word, MASKS) for word in several(mask))
        self.counts: Counter[str] = Counter()
        self._detector: Any = None
        if "faces" in self.kinds:
            from panoglot.asking import load_asked

            self._detector = load_asked(detector, "detector", "off")

    def texts(self, record: dict[str, Any], authors: Iterable[str] = ()) -> None:
        """Mask what a record says; a caption that changed has an id of its own.

        Args:
            record: is changed.
            authors: who made the picture and its captions, as far as the tables say.
        """
        names = {*_owners(record), *authors} if "names" in self.kinds else set[str]()
        if "names" in self.kinds:
            record["uri"] = record["uri"].replace("\\", "/").rpartition("/")[2]
            record["context"] = {k: v for k, v in record["context"].items() if _key(k) not in _OWNERS}
            if isinstance(file := record["context"].get("file"), str):
                record["context"]["file"] = file.replace("\\", "/").rpartition("/")[2]
        steps: list[tuple[str, Callable[[str], tuple[str, int]]]] = []
        if "emails" in self.kinds:
            steps.append(("emails", mask_emails))
        if "phones" in self.kinds:
            steps.append(("phones", mask_phones))
        if names:
            steps.append(("names", lambda text: mask_names(text, names)))
        if not steps:
            return
        renamed: dict[str, str] = {}
        for caption in record["captions"]:
            text = self._masked(caption["text"], steps)
            if text != caption["text"]:
                caption["text"] = text
                renamed[caption["caption_id"]] = hashlib.sha256(f"{caption['caption_id']} {text}".encode()).hexdigest()[
                    :32
                ]
        for caption in record["captions"] if renamed else ():
            caption["caption_id"] = renamed.get(caption["caption_id"], caption["caption_id"])
            caption["parents"] = [renamed.get(parent, parent) for parent in caption["parents"]]
        unseen = Counter(self.counts)  # these are said again elsewhere, or are no captions
        record["caption"] = self._masked(record["caption"], steps) if record["caption"] else record["caption"]
        record["context"] = self._all(record["context"], steps)
        self.counts = unseen

    def _masked(self, text: str, steps: Sequence[tuple[str, Callable[[str], tuple[str, int]]]]) -> str:
        for name, step in steps:
            text, found = step(text)
            self.counts[name] += found
        return text

    def _all(self, value: Any, steps: Any) -> Any:
        if isinstance(value, str):
            return self._masked(value, steps)
        if isinstance(value, dict):
            return {name: self._all(one, steps) for name, one in value.items()}
        return [self._all(one, steps) for one in value] if isinstance(value, list) else value

    def faces(self, record: dict[str, Any], data: bytes) -> bytes:
        """The picture with every face that is found made unknown; the same bytes where there is none.

        Raises:
            RowError: it cannot be decoded, so nobody knows.
        """
        if self._detector is None:
            return data
        (found,) = self._detector.detect([Image(data, id=record["image_id"])], [None])
        if isinstance(found, RowError):
            raise found
        boxes = [box.region for box in found if box.name == "face"]
        if not boxes:
            return data
        self.counts["faces"] += len(boxes)
        was = {name: record[name] for name in ("format", "width", "height")}
        written, size = _blurred(Image(data, id=record["image_id"]).pil(), boxes)
        record["converted"] = {**was, "image_id": image_id(written)}
        record["format"], (record["width"], record["height"]) = "jpeg", size
        return written


def _owners(record: dict[str, Any]) -> Iterator[str]:
    """Names of those whose picture it is: of the folder it lay in, and what its context and captions say."""
    home = _HOME.search(record["uri"])
    if home:
        yield home[1]
    for name, value in record["context"].items():
        if _key(name) in _OWNERS:
            yield from (str(one) for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))


def _blurred(picture: Any, regions: Sequence[Any]) -> tuple[bytes, tuple[int, int]]:
    """Blur boxes, a fifth larger on every side: first to few pixels, so that nothing can be computed back."""
    import PIL.Image
    import PIL.ImageFilter

    width, height = picture.size
    for region in regions:
        wide, high = (region.x1 - region.x0) / 5, (region.y1 - region.y0) / 5
        box = (
            max(0, int((region.x0 - wide) * width)),
            max(0, int((region.y0 - high) * height)),
            min(width, int((region.x1 + wide) * width) + 1),
            min(height, int((region.y1 + high) * height) + 1),
        )
        part = picture.crop(box)
        few = part.resize((min(6, part.width), min(6, part.height)), PIL.Image.Resampling.BOX)
        smooth = few.resize(part.size, PIL.Image.Resampling.BICUBIC)
        picture.paste(smooth.filter(PIL.ImageFilter.GaussianBlur(max(1, part.width // 12))), box)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue(), picture.size
