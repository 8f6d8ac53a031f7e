"""Our own rows inside every format: what export adds for Panoglot, and what ingest believes of it.

A record is a plain dictionary, the same in JSON and Arrow:

    {"image_id": …, "uri": …, "width": …, "height": …, "format": …, "group": …, "time": …, "context": {…},
     "caption": "the text a plain reader wants", "lang": "de",
     "converted": null, or {"image_id": of the bytes that stand here; "format", "width", "height": of the original},
     "captions": [{"caption_id": …, "text": …, "lang": …, "kind": …, "recipe": …, "model": …, "parents": […],
                   "region": {"x0": …, "y0": …, "x1": …, "y1": …, "mask": …}, "scores": {…}, "dropped": …}, …]}
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from panoglot.formats._sample import Sample
from panoglot.geometry import Region
from panoglot.languages._tags import UNKNOWN_LANGUAGE, parse_language
from panoglot.table import KINDS, Caption, image_id, is_translation, machine_kind

__all__ = [
    "FACTS",
    "TOLD",
    "captions_from",
    "flat",
    "flat_facts",
    "flat_region",
    "is_record",
    "name_of",
    "record_of",
    "restore",
    "to_record",
]

_ID = re.compile(r"[0-9a-f]{32}")
_REASON = re.compile(r"[a-z][a-z0-9_]{0,80}(:[^\s]{0,120})?")
_MOST = 1000
#: The columns of `images` that a record is made of; the picture itself stands beside it.
FACTS = ("image_id", "uri", "width", "height", "format", "group", "time", "context", "author", "licence")
#: Kinds of captions that say what is in the whole picture: what plain readers get.
TOLD = ("short", "dense", "human", "alt")


def to_record(row: dict[str, Any], captions: Sequence[Caption], first: Caption | None) -> dict[str, Any]:
    """Make the record of a row of `images` and its captions; `first` is what a plain reader gets as the caption."""
    said = (first.text, first.lang) if first else (None, None)
    return record_of(row, [_caption(caption) for caption in captions], *said)


def record_of(row: dict[str, Any], captions: Any, caption: str | None, lang: str | None) -> dict[str, Any]:
    """The record of a row of `images`, of captions as it holds them, and of what a plain reader gets."""
    return {
        "image_id": row["image_id"],
        "uri": row["uri"] or "",
        "width": row["width"],
        "height": row["height"],
        "format": row["format"],
        "converted": None,
        "group": row["group"],
        "time": row["time"],
        "context": json.loads(row["context"]) if row["context"] not in (None, "", "{}") else {},
        "caption": caption,
        "lang": lang,
        "captions": captions,
    }


def _caption(caption: Caption) -> dict[str, Any]:
    region = caption.region
    return {
        "caption_id": caption.caption_id,
        "text": caption.text,
        "lang": caption.lang,
        "kind": caption.kind,
        "recipe": caption.recipe,
        "model": caption.model,
        "parents": [parent if isinstance(parent, str) else parent.caption_id for parent in caption.parents],
        "region": region and flat_region(region),
        "scores": dict(caption.scores),
        "dropped": caption.dropped,
    }


def flat_region(region: Region) -> dict[str, Any]:
    """Box and mask as columns; points, time and the like, which few rows have, as one JSON text."""
    row = region.plain()
    first = {name: row.pop(name) for name in ("x0", "y0", "x1", "y1", "mask")}
    rest = {name: value for name, value in row.items() if value is not None}
    return first | {"other": json.dumps(rest, sort_keys=True) if rest else None}


def name_of(record: dict[str, Any]) -> str:
    """The name of a picture's files in an export: the one that it was given there, else its id."""
    return str(record.get("name") or record["image_id"])


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record whose columns have one type whatever the rows hold: scores as pairs, context as JSON text."""
    captions = [
        {**c, "scores": [{"name": k, "value": v} for k, v in sorted(c["scores"].items())] if c["scores"] else []}
        for c in record["captions"]
    ]
    return {**flat_facts(record), "captions": captions}


def flat_facts(record: dict[str, Any]) -> dict[str, Any]:
    """The same with the captions as they are."""
    context = json.dumps(record["context"], ensure_ascii=False, sort_keys=True) if record["context"] else "{}"
    converted = json.dumps(record["converted"], sort_keys=True) if record.get("converted") else None
    return {**record, "context": context, "converted": converted}


def is_record(value: Any) -> bool:
    """Say whether a row or JSON object is (or claims to be) one of ours."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("image_id"), str)
        and isinstance(value.get("captions"), list)
        and all(isinstance(item, dict) and "caption_id" in item for item in value["captions"])
    )


def restore(record: dict[str, Any], data: bytes, uri: str) -> Sample:
    """Make a sample of a record.

    Ids, parents and the old uri are believed only if the picture is the one they were written for; whatever is absurd
    is left out: the texts then count as given with the picture.
    """
    image, converted = image_id(data), _object(record.get("converted"))
    ours = image in (record["image_id"], converted.get("image_id"))
    captions = captions_from(record["captions"], image if ours else "")
    if not ours:
        return Sample(data, uri, captions, place=uri, image_id=image)
    context = _object(record.get("context"))
    if image != record["image_id"]:  # an export wrote it in another format: say from what
        facts = {name: converted.get(name) for name in ("format", "width", "height")}
        context = {**context, "converted_from": {"image_id": record["image_id"], **facts}}
    group, time, old = record.get("group"), record.get("time"), record.get("uri")
    return Sample(
        data,
        old if isinstance(old, str) and 0 < len(old) <= 4096 and old.isprintable() else uri,
        captions,
        group=group if isinstance(group, str) and 0 < len(group) <= 4096 else None,
        time=float(time) if isinstance(time, int | float) and math.isfinite(time) else None,
        context=context,
        place=uri,
        image_id=image,
    )


def _object(value: Any) -> dict[str, Any]:
    """A JSON object, which tables hold as text; empty when it is none."""
    if isinstance(value, str) and len(value) < 2**20:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    return value if isinstance(value, dict) else {}


def captions_from(rows: Sequence[Any], image: str) -> list[Caption]:
    """Read caption rows, checking every field; ids only for a known `image`, and each only once."""
    found: list[Caption] = []
    seen: set[str] = set()
    for row in rows[:100_000]:
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            continue
        own = row.get("caption_id")
        believed = bool(image) and isinstance(own, str) and _ID.fullmatch(own) is not None and own not in seen
        seen.add(str(own))
        dropped, recipe = _short(row.get("dropped")), (_short(row.get("recipe")) if believed else "") or "human"
        kind = row["kind"] if row.get("kind") in KINDS else "human"
        found.append(
            Caption(
                text,
                lang=parse_language(_short(row.get("lang"))) or UNKNOWN_LANGUAGE,
                kind=machine_kind(kind) if is_translation(recipe) else kind,
                model=_short(row.get("model")) if believed else "",
                parents=_ids(row.get("parents")) if believed else (),
                region=_region(row.get("region")),
                scores=_scores(row.get("scores")) if believed else {},
                dropped=dropped if believed and _REASON.fullmatch(dropped) else None,
                recipe=recipe,
                image_id=image,
                caption_id=str(own) if believed else "",
            )
        )
    return found


def _short(value: Any, most: int = 300) -> str:
    return value if isinstance(value, str) and len(value) <= most and value.isprintable() else ""


def _ids(value: Any) -> tuple[str, ...]:
    rows = value if isinstance(value, list) else []
    return tuple(item for item in rows[:_MOST] if isinstance(item, str) and _ID.fullmatch(item))


def _scores(value: Any) -> dict[str, float | None]:
    if isinstance(value, list):  # Arrow: a list of {name, value}
        value = {item.get("name"): item.get("value") for item in value if isinstance(item, dict)}
    if not isinstance(value, dict):
        return {}
    scores: dict[str, float | None] = {}
    for name, number in list(value.items())[:_MOST]:
        if not _short(name, 100):
            continue
        if number is None:
            scores[name] = None
        elif isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
            scores[name] = float(number)
    return scores


def _region(value: Any) -> Region | None:
    if not isinstance(value, dict):
        return None
    box = [value.get(name) for name in ("x0", "y0", "x1", "y1")]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1 for v in box):
        return None
    x0, y0, x1, y1 = (float(v) for v in box if v is not None)
    mask = value.get("mask")
    mask = mask if isinstance(mask, str) and len(mask) <= 2**20 and mask.isascii() else None
    if not (x0 < x1 and y0 < y1):
        return None
    row = {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "mask": mask}
    return _whole_region(row, _object(value.get("other"))) or Region.of(row)


def _whole_region(row: dict[str, Any], rest: dict[str, Any]) -> Region | None:
    """A region with its points, times, track and box in a scene; None where one of them is not what it should be."""
    try:
        region = Region.of({**rest, **row})
        if region is None or len(region.points) > _MOST or len(region.track) > _MOST:
            return None
        numbers = [v for point in region.points for v in point] + [v for at in region.track for v in at]
        numbers += [v for v in (region.start, region.end) if v is not None]
        numbers += [getattr(region.box3, name) for name in region.box3.__slots__] if region.box3 else []
        return region if all(math.isfinite(v) for v in numbers) else None
    except (KeyError, TypeError, AttributeError):
        return None
