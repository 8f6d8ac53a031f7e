"""RefCOCO, RefCOCO+ and RefCOCOg: `refs(unc).p`, `instances.json`, and the pictures of COCO."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import re
from collections.abc import Iterator
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats import coco
from panoglot.formats._annotations import parts_beside
from panoglot.formats._files import IMAGE_DIR, find_named, join_uri, part_key, read_bytes, read_named, reject, states_of
from panoglot.formats._regions import label, mask_of, region_of
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import given
from panoglot.identity import counted
from panoglot.table import Reject

__all__ = ["detect", "parts", "read"]

_ROWS = 256
_REFS = re.compile(r"refs\(.+\)\.p")
_MOST = 2**30
#: What names a reference.
_NAMES = ("image_id", "ann_id", "category_id", "split")


def detect(source: str) -> bool:
    """A folder with `refs(….).p` and `instances.json`."""
    return os.path.isdir(source) and bool(_refs(source)) and os.path.isfile(os.path.join(source, "instances.json"))


def _refs(source: str) -> list[str]:
    return [os.path.join(source, name) for name in sorted(os.listdir(source)) if _REFS.fullmatch(name)]


def _check(raw: bytes) -> None:
    """Refuse what takes more memory than the file does: places in the memory far beyond its length.

    Raises:
        ValueError: such a place, or bytes that are no pickle.
    """
    for code, value, _ in pickletools.genops(raw):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(value or 0) > len(raw):
            raise ValueError(f"it notes something at place {value}")


def _plain(row: dict[str, Any]) -> bool:
    """Whether what names a reference is plain: lists in lists may be endless, though the file is short."""
    return all(isinstance(row.get(key), str | int | float | None) for key in _NAMES)


class _PlainOnly(pickle.Unpickler):
    """Reads lists, dictionaries, texts and numbers; whatever would call code is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every name."""
        raise pickle.UnpicklingError(f"it names {module}.{name}, which reading would call")


def _load(path: str) -> list[dict[str, Any]]:
    try:
        raw = read_bytes(path, _MOST)
        _check(raw)
        rows = _PlainOnly(io.BytesIO(raw)).load()
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error.message}.") from None
    except Exception as error:
        raise UserError(f"{path} is no plain pickle of references: {' '.join(str(error).split())[:200]}.") from None
    if not isinstance(rows, list):
        raise UserError(f"{path} holds no list of references.")
    rows = [row for row in rows if isinstance(row, dict)]
    if not all(map(_plain, rows)):
        raise UserError(f"{path} has references whose ids or splits are no texts or numbers.")
    return [_kept(row) for row in rows]


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    """What is read of a reference."""
    sentences = row.get("sentences")
    said = [
        {key: one[key] for key in ("raw", "sent") if isinstance(one.get(key), str)}
        for one in (sentences if isinstance(sentences, list) else ())
        if isinstance(one, dict)
    ]
    return {key: row.get(key) for key in _NAMES} | {"sentences": said}


def parts(
    source: str, *, image_dir: str | None = None, lang: str | None = None, kind: str | None = None
) -> Iterator[Part]:
    """List the pictures that references name, in parts of 256; of the others, what a folder has.

    Args:
        source: the folder.
        image_dir: folder of the pictures; looked for in and beside the source unless given.
        lang: language of the expressions; None to identify it.
        kind: kind of the captions; `region` unless given.
    """
    given(lang, kind)
    if not detect(source):
        raise UserError(f"'{source}' is no folder with refs(….).p and instances.json.")
    table = os.path.join(source, "instances.json")
    images, annotations, categories = coco.annotations_of(table)
    places = {coco.id_of(image): image for image in images if isinstance(image, dict)}
    boxes = {coco.id_of(one): one for one in annotations if isinstance(one, dict)}
    options = {"lang": lang, "kind": kind}
    seen: set[str] = set()
    for path in _refs(source):
        by_image: dict[str, list[Any]] = {}
        for ref in _load(path):
            by_image.setdefault(coco.id_of(ref, "image_id"), []).append([ref, boxes.get(coco.id_of(ref, "ann_id"))])
        rows: list[list[Any]] = [[places.get(key), key, refs] for key, refs in by_image.items()]
        names = [coco.file_name_of(image) if image else "" for image, _, _ in rows]
        folder = os.path.abspath(image_dir or find_named(source, names))
        seen |= {os.path.realpath(os.path.join(folder, name)) for name in names if name}
        for start in range(0, len(rows), _ROWS):
            states = states_of(os.path.join(folder, name) for name in names[start : start + _ROWS])
            key = part_key("refcoco", path, start, folder, states, part_key("", table), counted(parts, options))
            some = rows[start : start + _ROWS]
            items = {"rows": some, "folder": folder, "categories": categories, **options}
            yield Part("refcoco", join_uri(path), key, items, len(some))
    yield from parts_beside(source, [*_refs(source), table], lambda: seen, lang, kind)


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read the pictures of a part; each sentence of a reference is a caption of its place."""
    items = part.items
    texts = given(items["lang"], items["kind"])
    for image, key, refs in items["rows"]:
        place = f"{part.uri}#{key[:100]}"
        if image is None:
            yield reject(place, "orphan_caption", "its image is not in instances.json")
            continue
        name = coco.file_name_of(image)
        try:
            data = read_named(items["folder"], name) if name else b""
        except RowError as error:
            yield reject(place, error.reason, error.message + IMAGE_DIR)
            continue
        size = image.get("width"), image.get("height")
        captions, splits = [], []
        for ref, one in refs:
            one = one or {}
            region = region_of(one.get("bbox"), size, mask_of(one.get("segmentation"), size))
            splits.append(str(ref.get("split") or ""))
            sentences = ref.get("sentences")
            for sentence in sentences if isinstance(sentences, list) else ():
                said = (sentence.get("raw") or sentence.get("sent")) if isinstance(sentence, dict) else None
                if isinstance(said, str) and said.strip():
                    caption = texts.caption(said.strip())
                    caption.region, caption.kind = region, items["kind"] or "region"
                    captions.append(caption)
            named = label(items["categories"].get(coco.id_of(ref, "category_id")), region, items["lang"])
            captions += [named] if named else []
        context = {"split": splits[0]} if len(set(splits)) == 1 and splits[0] else {"splits": splits}
        yield Sample(data, join_uri(items["folder"], name), captions, context=context, place=place)
