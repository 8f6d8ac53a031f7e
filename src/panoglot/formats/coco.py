"""COCO: one JSON file of `images` and `annotations`, the pictures in a folder beside it. Captions both ways.

Boxes, masks and panoptic segments are read too: the name of their class is a caption of kind `label` of that place.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from panoglot.errors import RowError, UserError
from panoglot.formats._checked import check_elements
from panoglot.formats._files import (
    IMAGE_DIR,
    join_uri,
    open_regular,
    part_key,
    read_bytes,
    read_named,
    reject,
    states_of,
)
from panoglot.formats._picture_files import PictureFiles
from panoglot.formats._record import TOLD, is_record, restore
from panoglot.formats._regions import label, mask_of, region_of
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import clean_context, from_json, given, load_json
from panoglot.identity import counted
from panoglot.table import Caption, Reject

__all__ = ["Writer", "annotations_of", "detect", "file_name_of", "id_of", "parts", "read"]

_MOST = 16 * 2**30
#: Keys of an image that say where and how large it is.
_FACTS = frozenset(("file_name", "filename", "filepath", "width", "height"))
_STARTS = ("annotations", "captions", "instances", "panoptic")


def _files(source: str) -> list[str]:
    """The JSON file itself, or those of a folder that name themselves so."""
    if not os.path.isdir(source):
        return [source] if source.lower().endswith(".json") else []
    found = []
    for folder in (source, os.path.join(source, "annotations")):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if name.endswith(".json") and name.startswith(_STARTS):
                found.append(os.path.join(folder, name))
    return found


def _is_coco(path: str) -> bool:
    try:
        with open_regular(path) as file:
            head = file.read(2**16) or b""
    except (OSError, RowError):
        return False
    return head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"{" and (b'"images"' in head or b'"annotations"' in head)


def detect(source: str) -> bool:
    """A JSON object with `images` or `annotations` near its beginning; or a folder with such a `captions_*.json`,
    `instances_*.json` or `panoptic_*.json`."""
    return any(_is_coco(path) for path in _files(source))


def parts(
    source: str,
    *,
    image_dir: str | None = None,
    allow_outside: bool = False,
    lang: str | None = None,
    kind: str | None = None,
) -> Iterator[Part]:
    """Join captions to pictures and list parts of 256. The whole JSON is read once: about its size in memory.

    Args:
        source: the JSON file, or a folder with `captions_*.json` or `annotations.json`.
        image_dir: folder of the pictures; looked for beside the file unless given.
        allow_outside: read file names that lead out of that folder.
        lang: language of captions that do not say theirs; None to identify it.
        kind: kind of the captions; `human` unless given.
    """
    given(lang, kind)
    for path in _files(source):
        if _is_coco(path):
            yield from _parts(path, image_dir, {"allow_outside": allow_outside, "lang": lang, "kind": kind})


def _parts(path: str, image_dir: str | None, options: dict[str, Any]) -> Iterator[Part]:
    images, captions, orphans, categories = _join(path)
    names = [file_name_of(image) if isinstance(image, dict) else "" for image in images]
    folder = image_dir or _image_dir(path, names)
    uri = join_uri(path)
    base = {"folder": os.path.abspath(folder), "shown": folder, **options}
    said = {"folder": base["folder"], "shown": folder, **counted(parts, options)}
    for start in range(0, len(images), 256):
        rows = [[image, captions[id_of(image)]] for image in images[start : start + 256]]
        states = states_of(os.path.join(folder, name) for name in names[start : start + 256])
        key = part_key("coco", path, said, start, states, *(["labels"] if categories else []))
        items = {**base, "rows": rows, "orphans": [], "categories": categories}
        yield Part("coco", uri, key, items, len(rows))
    for start in range(0, len(orphans), 256):
        some = orphans[start : start + 256]
        yield Part("coco", uri, part_key("coco", path, "orphans", start), {**base, "rows": [], "orphans": some}, 0)


def id_of(image: Any, name: str = "id") -> str:
    """An id as it is compared: 1, 1.0 and "1" are one, as tools on the way change the type of ids.

    >>> id_of({"id": 1.0}), id_of({"id": "1"}), id_of({"id": "007"}), id_of({"id": [1]}), id_of("?")
    ('1', '1', '007', '[1]', '')
    """
    value = image.get(name) if isinstance(image, dict) else ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def file_name_of(image: dict[str, Any]) -> str:
    """The picture's file; Karpathy's splits have its folder apart."""
    name = image.get("file_name") or image.get("filename")
    return os.path.join(str(image.get("filepath") or ""), name) if isinstance(name, str) and name else ""


def annotations_of(path: str) -> tuple[list[Any], list[Any], dict[str, str]]:
    """Read the file: images and annotations (a broken one is its error), names of categories by id.

    Raises:
        UserError: no file, or none of COCO.
    """
    import msgspec

    raws = list[msgspec.Raw]  # elements are parsed one by one, so that a broken one costs no other
    shape = msgspec.defstruct("File", [("images", raws, []), ("annotations", raws, []), ("categories", raws, [])])
    try:
        data = read_bytes(path, _MOST).removeprefix(b"\xef\xbb\xbf")
        check_elements(data)
        file: Any = msgspec.json.decode(data, type=shape)
        raw = [file.images, file.annotations, file.categories]
    except RowError as error:
        said = "is not a COCO file" if error.reason == "bad_json" else "cannot be read"
        raise UserError(f"{path} {said}: {error.message}.") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raw = _lenient(path, data, str(error))
    images, annotations, categories = (map(_element, some) for some in raw)
    names = {id_of(one): str(one.get("name") or "") for one in categories if isinstance(one, dict)}
    return list(images), list(annotations), names


def _join(path: str) -> tuple[list[Any], dict[str, list[Any]], list[str], dict[str, str]]:
    """Images, annotations by image, annotations of no image, names of categories."""
    images, annotations, categories = annotations_of(path)
    known = {id_of(image) for image in images if isinstance(image, dict)}
    captions: dict[str, list[Any]] = defaultdict(list)
    orphans = []
    for annotation in annotations:
        key = id_of(annotation, "image_id")
        if key in known:
            captions[key].append(annotation)
        else:
            orphans.append(str(annotation.get("id")) if isinstance(annotation, dict) else str(annotation))
    return images, captions, orphans, categories


def _lenient(path: str, data: bytes, problem: str) -> list[list[Any]]:
    """What Python's own parser makes of a file that the fast one refuses: half a surrogate pair is one text's fault."""
    try:
        value = load_json(data.decode("utf-8", "surrogateescape"))
        names = ("images", "annotations", "categories")
        rows = [value.get(name, []) for name in names] if isinstance(value, dict) else []
    except RowError as error:
        raise UserError(f"{path} is not a COCO file: {error.message}.") from None
    if len(rows) < 3 or not all(isinstance(some, list) for some in rows):
        raise UserError(f"{path} is not a COCO file: {problem}.")
    return rows


def _element(raw: Any) -> Any:
    if isinstance(raw, dict):
        return raw
    try:
        value = load_json(bytes(raw).decode("utf-8", "surrogateescape"))
    except RowError as error:
        return f"{error.reason}: {error.message}"
    return value if isinstance(value, dict) else "not an object"


def _image_dir(path: str, names: Sequence[str]) -> str:
    """The folder in which the first pictures are: beside the file, in `images/`, or named by the split."""
    here = os.path.dirname(path) or "."
    name = os.path.splitext(os.path.basename(path))[0]
    split = re.sub(r"^(captions|instances|annotations|person_keypoints|panoptic|image_info)_", "", name)
    above = os.path.join(here, "..")
    choices = [
        os.path.join(up, *more) for up in (here, above) for more in ((), ("images",), (split,), ("images", split))
    ]
    for name in names[:20]:
        for choice in choices:
            if name and os.path.isfile(os.path.join(choice, name)):
                return os.path.normpath(choice)
    return here


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read the pictures of a part and give them their captions."""
    items = part.items
    silent = 0
    for orphan in items["orphans"]:
        yield reject(f"{part.uri}#annotation-{orphan[:100]}", "orphan_caption", "its image is not in the file")
    for image, said in items["rows"]:
        if not isinstance(image, dict):
            yield reject(f"{part.uri}#images", "bad_json", image)
            continue
        name = file_name_of(image)
        uri = join_uri(items["shown"], name) if name else f"{part.uri}#{id_of(image)[:100]}"
        try:
            data = _read(name, items)
        except RowError as error:
            yield reject(uri, error.reason, error.message)
            continue
        ours = image.get("panoglot")
        if isinstance(ours, dict) and is_record(ours):
            yield restore(ours, data, uri)
            continue
        texts = given(items["lang"], items["kind"])
        captions = []
        for annotation in said:
            place = f"{part.uri}#annotation-{str(annotation.get('id'))[:100]}"
            text = annotation.get("caption")
            labels = list(_labels(annotation, image, items)) if text is None else []
            captions += labels
            if not isinstance(text, str):
                if text is not None:
                    yield reject(place, "bad_row", "the caption is not a text")
            elif any("\ud800" <= c <= "\udfff" for c in text):
                yield reject(place, "bad_encoding", f"not UTF-8: {text[:40]!r}")
            else:
                known = {k: annotation[k] for k in ("caption", "lang", "language") if k in annotation}
                captions += from_json(known, texts)[0]
            silent += not isinstance(text, str) and not labels
        own, rest = from_json({k: v for k, v in image.items() if k not in _FACTS}, texts)
        # a picture has one place in a file of captions and another in one of boxes: neither supersedes the other
        place = f"{part.uri}#{id_of(image)[:100]}" if items.get("categories") else ""
        yield Sample(data, uri, captions + own, context=clean_context(rest), place=place)
    if silent:
        yield Unused(part.uri, "annotation{s} without a caption", count=silent)


def _labels(annotation: dict[str, Any], image: dict[str, Any], items: dict[str, Any]) -> Iterator[Caption]:
    """The names of the classes of an annotation's places: a box with its mask, or the segments of a panoptic picture.

    The masks of panoptic segments are colours of a PNG beside the file; their boxes are read.
    """
    categories, size = items.get("categories") or {}, (image.get("width"), image.get("height"))
    segments = annotation.get("segments_info")
    for one in segments if isinstance(segments, list) else [annotation]:
        if isinstance(one, dict):
            region = region_of(one.get("bbox"), size, mask_of(one.get("segmentation"), size))
            found = label(categories.get(id_of(one, "category_id")), region, items["lang"])
            if found is not None:
                yield found


def _read(name: Any, items: dict[str, Any]) -> bytes:
    if not isinstance(name, str) or not name:
        raise RowError("no_image", "the image has no file_name")
    if "://" in name:
        raise RowError("remote_url", f"{name[:200]} is not fetched; download it with img2dataset")
    return read_named(items["folder"], name, outside=items["allow_outside"], hint=IMAGE_DIR)


class Writer:
    """Write `annotations.json` and `images/`; the whole record is in every image's `panoglot`."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder, self.count, self.captions = folder, 0, 0
        self._pictures, self._encode = PictureFiles(folder), msgspec.json.Encoder().encode
        self._images = open(folder / "annotations.json", "wb")  # noqa: SIM115
        self._captions = open(folder / "annotations.partial", "w+b")  # noqa: SIM115
        self._images.write(
            b'{"info": {"description": "written by Panoglot"}, "licenses": [], "type": "captions", "images": ['
        )

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> None:
        """Write one picture with its record; plain readers get the kept captions as annotations."""
        name = self._pictures.add(record, data, suffix).removeprefix("images/")
        self.count += 1
        size = {"width": record["width"], "height": record["height"]}
        image = {"id": self.count, "file_name": name, **size, "panoglot": record}
        self._images.write((b",\n" if self.count > 1 else b"\n") + self._encode(image))
        for caption in record["captions"]:
            if caption["dropped"] is None and caption["kind"] in TOLD:
                self.captions += 1
                row = {"id": self.captions, "image_id": self.count, "caption": caption["text"], "lang": caption["lang"]}
                self._captions.write((b",\n" if self.captions > 1 else b"\n") + self._encode(row))

    def close(self) -> dict[str, Any]:
        """Finish: the annotations come after the images."""
        self._images.write(b'\n], "annotations": [')
        self._captions.seek(0)
        while piece := self._captions.read(2**20):
            self._images.write(piece)
        self._images.write(b"\n]}\n")
        self._images.close()
        self._captions.close()
        (self.folder / "annotations.partial").unlink()
        return {"shards": {"annotations.json": self.count}}
