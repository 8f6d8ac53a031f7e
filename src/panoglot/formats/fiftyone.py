"""FiftyOne's datasets on the disk: names of classes and boxes in `labels.json`, or everything in `samples.json`.

FiftyOneImageClassificationDataset and FiftyOneImageDetectionDataset are `data/` and `labels.json`, whose keys are names
of pictures without their endings; FiftyOneDataset is `metadata.json`, `samples.json` and `data/`. Boxes are shares of
the picture: `[x, y, width, height]` of its upper left corner and size. After FiftyOne's documentation and source.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats._annotations import head_of, parts_beside
from panoglot.formats._files import (
    IMAGE_DIR,
    find_named,
    join_uri,
    part_key,
    read_bytes,
    read_named,
    reject,
    states_of,
    suffix_of,
)
from panoglot.formats._regions import label, region_of
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import clean_context, from_json, given, load_json
from panoglot.identity import counted
from panoglot.pictures import SUFFIXES
from panoglot.table import Caption, Reject

__all__ = ["detect", "parts", "read"]

_ROWS = 256
_MOST = 2 * 2**30  # bytes of a file of labels
_FILES = ("labels.json", "samples.json")
_LABELS = re.compile(rb'"labels"\s*:\s*\{')
_SAMPLES = re.compile(rb'\{\s*"samples"\s*:\s*\[.*"filepath"\s*:', re.DOTALL)
#: What FiftyOne keeps of a sample that nobody said of the picture.
_OWN = frozenset(("filepath", "metadata", "_media_type", "_rand", "_dataset_id", "_id", "id", "created_at",
                  "last_modified_at"))  # fmt: skip


def detect(source: str) -> bool:
    """A folder with `labels.json` and `data/`, or with `samples.json`; or one of these files."""
    return bool(_file(source))


def _file(source: str) -> str:
    """The file of labels of a source; empty where it is none of FiftyOne's."""
    paths = [os.path.join(source, name) for name in _FILES] if os.path.isdir(source) else [source]
    for path in paths:
        name = os.path.basename(path)
        if name not in _FILES or not os.path.isfile(path):
            continue
        beside = os.path.isdir(os.path.join(os.path.dirname(path), "data"))
        head = head_of(path)
        if name == "samples.json" and _SAMPLES.match(head):
            return path
        if name == "labels.json" and beside and head[:1] == b"{" and (_LABELS.search(head) or b'"classes"' in head):
            return path
    return ""


def parts(
    source: str, *, image_dir: str | None = None, lang: str | None = None, kind: str | None = None
) -> Iterator[Part]:
    """List samples in parts of 256; of a folder also the pictures that no label is for.

    Args:
        source: the folder, or its `labels.json` or `samples.json`.
        image_dir: folder of the pictures; `data`, or where they lie beside the file, unless given.
        lang: language of texts and names of classes.
        kind: kind of texts; `human` unless given.

    Raises:
        UserError: the file cannot be read, or is none of FiftyOne's.
    """
    given(lang, kind)
    options = {"lang": lang, "kind": kind}
    path = _file(source)
    if not path:
        raise UserError(f"'{source}' is no dataset of FiftyOne: a folder with labels.json and data/, or samples.json.")
    here = os.path.dirname(path) or "."
    try:
        value = load_json(read_bytes(path, _MOST))
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error.message}.") from None
    folder, rows = _labelled(value, here, image_dir) if path.endswith(_FILES[0]) else _sampled(value, here, image_dir)
    if rows is None:
        raise UserError(f"{path} is none of FiftyOne's: it has no 'labels' or 'samples'.")
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        states = states_of(os.path.join(folder, name) for name, _ in some if "\0" not in name)
        key = part_key("fiftyone", path, start, folder, states, counted(parts, options))
        items = {"rows": some, "folder": folder, "first": start, **options}
        yield Part("fiftyone", join_uri(path), key, items, len(some))
    seen = {os.path.realpath(os.path.join(folder, name)) for name, _ in rows if name and "\0" not in name}
    used = [path, *([os.path.join(here, "metadata.json")] if path.endswith(_FILES[1]) else [])]
    yield from parts_beside(source, used, lambda: seen, lang, kind)


def _labelled(value: Any, here: str, image_dir: str | None) -> tuple[str, list[tuple[str, Any]] | None]:
    """The folder of pictures, and (picture, what is said of it) of `labels.json`."""
    labels = value.get("labels") if isinstance(value, dict) else None
    folder = os.path.abspath(image_dir or os.path.join(here, "data"))
    if not isinstance(labels, dict):
        return folder, None
    known = value.get("classes")
    classes = known if isinstance(known, list) else []
    files: dict[str, str] = {}
    for root, _, names in os.walk(folder):
        for name in sorted(names, reverse=True):
            if suffix_of(name) in SUFFIXES:
                there = os.path.relpath(os.path.join(root, name), folder)
                files[os.path.splitext(there)[0].replace(os.sep, "/")] = there
    return folder, [(files.get(str(key), str(key)), _named(said, classes)) for key, said in labels.items()]


def _named(said: Any, classes: list[Any]) -> Any:
    """The same with names of classes for their numbers."""
    if isinstance(said, list):
        return [_named(one, classes) for one in said]
    if isinstance(said, dict) and "label" in said:
        return {**said, "label": _named(said["label"], classes)}
    if isinstance(said, int) and not isinstance(said, bool):
        return classes[said] if 0 <= said < len(classes) else str(said)
    return said


def _sampled(value: Any, here: str, image_dir: str | None) -> tuple[str, list[tuple[str, Any]] | None]:
    """The same of `samples.json`."""
    samples = value.get("samples") if isinstance(value, dict) else None
    if not isinstance(samples, list):
        return here, None
    rows = [(str(one.get("filepath") or "") if isinstance(one, dict) else "", one) for one in samples]
    return os.path.abspath(image_dir or find_named(here, [name for name, _ in rows])), rows


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read the pictures of a part and give them their labels, boxes and texts."""
    items = part.items
    texts = given(items["lang"], items["kind"])
    unread: list[str] = []
    for number, (name, said) in enumerate(items["rows"], items["first"]):
        place = f"{part.uri}#{number}"
        if not name:
            yield reject(place, "no_image", "nothing in 'filepath' names a picture")
            continue
        try:
            data = read_named(items["folder"], name, hint=IMAGE_DIR)
        except RowError as error:
            yield reject(place, error.reason, error.message)
            continue
        captions, context = _told(said, texts, f"{name}: ", unread)
        yield Sample(data, join_uri(items["folder"], name), captions, context=clean_context(context), place=place)
    if unread:
        yield Unused.of(part.uri, "label{s} of a kind that is not read", unread)


def _told(said: Any, texts: Any, where: str, unread: list[str]) -> tuple[list[Caption], dict[str, Any]]:
    """Captions of what is said of a picture, and its context."""
    if not (isinstance(said, dict) and "filepath" in said):
        return list(_labels(said, texts, where, unread)), {}
    captions: list[Caption] = []
    plain: dict[str, Any] = {}
    for field, value in said.items():
        if field in _OWN or value is None:
            continue
        if isinstance(value, dict) and isinstance(value.get("_cls"), str):
            inner = next(
                (value[key] for key in ("classifications", "detections") if isinstance(value.get(key), list)), value
            )
            captions += _labels(inner, texts, f"{where}{field} ", unread)
        else:
            plain[field] = value
    told, context = from_json(plain, texts)
    return [*told, *captions], context


def _labels(said: Any, texts: Any, where: str, unread: list[str]) -> Iterator[Caption]:
    """The names of classes, of the whole picture or of a box in it."""
    for one in said if isinstance(said, list) else [said]:
        name, box = (one.get("label"), one.get("bounding_box")) if isinstance(one, dict) else (one, None)
        region = region_of(box, (1, 1)) if box is not None else None
        found = label(name, region, texts.lang) if box is None or region is not None else None
        if found is not None:
            yield found
        elif one is not None:
            unread.append(f"{where}{one.get('_cls', 'label') if isinstance(one, dict) else one}"[:80])
