"""Visual Genome's region descriptions: `region_descriptions.json`, `image_data.json`, and the pictures beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from panoglot.errors import RowError
from panoglot.formats._annotations import elements, head_of, parts_beside
from panoglot.formats._files import IMAGE_DIR, find_named, join_uri, part_key, read_named, reject, states_of
from panoglot.formats._regions import region_of
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import clean_context, given
from panoglot.identity import counted
from panoglot.table import Reject

__all__ = ["detect", "parts", "read"]

_ROWS = 256
_NAMES = ("region_descriptions.json", "image_data.json")


def detect(source: str) -> bool:
    """A JSON array of images with `regions`, or a folder with `region_descriptions.json`."""
    path = os.path.join(source, _NAMES[0]) if os.path.isdir(source) else source
    head = head_of(path, 2**14) if path.lower().endswith(".json") and os.path.isfile(path) else b""
    return head[:1] == b"[" and b'"regions"' in head and b'"phrase"' in head


def parts(
    source: str, *, image_dir: str | None = None, lang: str | None = None, kind: str | None = None
) -> Iterator[Part]:
    """List images in parts of 256; of a folder also the pictures that the file does not name.

    Args:
        source: `region_descriptions.json`, or the folder with it.
        image_dir: folder of the pictures; looked for beside the file unless given.
        lang: language of the phrases; None to identify it.
        kind: kind of the captions; `region` unless given.
    """
    given(lang, kind)
    path = os.path.join(source, _NAMES[0]) if os.path.isdir(source) else source
    here = os.path.dirname(path) or "."
    images = list(elements(path))
    facts = _facts(os.path.join(here, _NAMES[1]))
    names = [_name(one, facts) for one in images]
    folder = os.path.abspath(image_dir or here)
    places = [name if image_dir else _find(folder, name) for name in names]
    options = {"lang": lang, "kind": kind}
    for start in range(0, len(images), _ROWS):
        some = slice(start, start + _ROWS)
        states = states_of(os.path.join(folder, name) for name in places[some])
        key = part_key("visual_genome", path, start, folder, states, counted(parts, options))
        rows = [[one, facts.get(_id(one)) or {}, place] for one, place in zip(images[some], places[some], strict=True)]
        items = {"rows": rows, "folder": folder, "first": start, **options}
        yield Part("visual_genome", join_uri(path), key, items, len(rows))
    seen = {os.path.realpath(os.path.join(folder, name)) for name in places if name}
    used = [path, os.path.join(here, _NAMES[1])]
    yield from parts_beside(source, used, lambda: seen, lang, kind)


def _facts(path: str) -> dict[str, dict[str, Any]]:
    """What `image_data.json` says of the images, by id; nothing where it is not there."""
    if not os.path.isfile(path):
        return {}
    return {str(one.get("image_id", one.get("id"))): one for one in elements(path) if isinstance(one, dict)}


def _id(image: Any) -> str:
    if not isinstance(image, dict):
        return ""
    if "id" in image or "image_id" in image:
        return str(image.get("id", image.get("image_id")))
    regions = image.get("regions")
    return str(regions[0].get("image_id")) if isinstance(regions, list) and regions else ""


def _name(image: Any, facts: dict[str, dict[str, Any]]) -> str:
    url = (facts.get(_id(image)) or {}).get("url")
    name = PurePosixPath(urlsplit(url).path).name if isinstance(url, str) else f"{_id(image)}.jpg"
    return name if name.isprintable() else ""


def _find(folder: str, name: str) -> str:
    """The picture's path below the folder: it lies in `VG_100K`, `VG_100K_2` or any other folder there."""
    return os.path.relpath(os.path.join(find_named(folder, [name]), name), folder) if name else ""


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read the pictures of a part; each region is a caption of kind `region`."""
    items = part.items
    texts = given(items["lang"], items["kind"])
    for number, (image, facts, name) in enumerate(items["rows"], items["first"]):
        place = f"{part.uri}#{number}"
        if not isinstance(image, dict):
            yield reject(place, "bad_json", str(image))
            continue
        try:
            data = read_named(items["folder"], name)
        except RowError as error:
            yield reject(place, error.reason, error.message + IMAGE_DIR)
            continue
        size = facts.get("width"), facts.get("height")
        captions, bad = [], []
        regions = image.get("regions")
        for one in regions if isinstance(regions, list) else ():
            phrase = one.get("phrase") if isinstance(one, dict) else None
            if not isinstance(phrase, str) or not phrase.strip():
                bad.append(f"{place}:{one.get('region_id') if isinstance(one, dict) else one}"[:80])
                continue
            caption = texts.caption(phrase.strip())
            caption.region = region_of([one.get(key) for key in ("x", "y", "width", "height")], size)
            caption.kind = items["kind"] or ("region" if caption.region else caption.kind)
            captions.append(caption)
        if bad:
            yield Unused.of(part.uri, "region{s} without a phrase", bad)
        context = clean_context({k: v for k, v in facts.items() if k not in ("width", "height")})
        yield Sample(data, join_uri(items["folder"], name), captions, context=context, place=place)
