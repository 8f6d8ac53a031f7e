"""Rows of a dataset as what methods see: pictures, and pictures that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.running._results import Group
from panoglot.table import plain_rows, sql_in

if TYPE_CHECKING:
    from panoglot.table import Caption, Dataset

__all__ = ["GroupPart", "group_items", "group_parts", "image_items", "image_of_row", "read_group"]

#: Pictures read at a time.
_CHUNK = 32


#: What stands in the key of a group between a video and the number of its clip.
CLIP = "#clip="
#: Kind of the documents that join clips of a video; group methods take them in place of their clips.
EVENT = "event"


@dataclass(frozen=True)
class GroupPart:
    """A group as a unit of work: its key, the ids of its pictures in order, and the interval of an event."""

    key: str
    ids: tuple[str, ...]
    region: Region | None = None


def image_of_row(row: dict[str, Any], captions: Sequence[Caption] = ()) -> Image:
    """Make an `Image` of a row of `images`."""
    return Image(
        data=row["data"],
        id=row["image_id"],
        width=row["width"],
        height=row["height"],
        format=row["format"],
        uri=row["uri"] or "",
        group=row["group"],
        time=row["time"],
        context=row["context"] or {},
        captions=captions,
        region=Region.of(row.get("region")),
    )


def image_items(dataset: Dataset, where: str | None = None) -> Iterator[Image]:
    """Read the pictures that are not dropped, a few at a time, in order of id."""
    dropped = dataset.dropped_images()
    ids = sorted(set(dataset.images.read(["image_id"], where)["image_id"].to_pylist()) - dropped)
    for start in range(0, len(ids), _CHUNK):
        for row in plain_rows(dataset.images.get(ids[start : start + _CHUNK])):
            yield image_of_row(row)


def group_parts(
    dataset: Dataset, where: str | None = None, only: str | None = None, unit: str = "group"
) -> Iterator[GroupPart]:
    """List the groups of pictures that are not dropped: by asset, else by `group`; pictures of none are no group.

    Clips of a video that were joined (`stitch-clips`) are one group, and clips that it dropped are none.

    Args:
        dataset: the dataset.
        where: SQL filter: the pictures that groups are made of.
        only: SQL filter: groups, whole, of which a picture is one of these.
        unit: `group`, or `video`: all clips of a video together, and nothing else.
    """
    some = None if only is None else set(dataset.images.read(["image_id"], only)["image_id"].to_pylist())
    dropped = dataset.dropped_images()
    rows = dataset.images.rows(["image_id", "group", "asset_id", "time"], where)
    rows = [row for row in rows if row["image_id"] not in dropped]
    events = _events(dataset) if unit == "group" else {}
    groups: dict[str, list[tuple[float, str]]] = {}
    regions: dict[str, Region | None] = {}
    for row in rows:
        key: str | None
        if row["image_id"] in events:
            key, region = events[row["image_id"]]
            regions[key or ""] = region
        else:
            key = row["asset_id"] or row["group"]
        if unit == "video":
            key, mark, _ = (row["group"] or "").rpartition(CLIP)
            key = key if mark else None
        if key:
            groups.setdefault(key, []).append((row["time"] or 0.0, row["image_id"]))
    for key in sorted(groups):
        if some is None or not some.isdisjoint(image for _, image in groups[key]):
            yield GroupPart(key, tuple(image for _, image in sorted(groups[key])), regions.get(key))
    if some is not None or unit == "video":
        return
    known = {row["asset_id"] for row in dataset.assets.rows(["asset_id"])}
    for key in sorted(known - groups.keys()):  # a scene without pictures is worked on too
        yield GroupPart(key, ())


def _events(dataset: Dataset) -> dict[str, tuple[str | None, Region | None]]:
    """Picture → its event, None where its clip was dropped, and the interval; of several runs the last one's."""
    if not dataset.documents.exists():
        return {}
    started = {row["run_id"]: row["started"] for row in dataset.runs.rows(["run_id", "started"])}
    rows = dataset.documents.rows(["document_id", "parts", "dropped", "run_id"], sql_in("kind", [EVENT]))
    found: dict[str, tuple[str | None, Region | None]] = {}
    for row in sorted(rows, key=lambda row: (str(started.get(row["run_id"], "")), row["document_id"])):
        for part in row["parts"]:
            key = None if row["dropped"] or not part["learn"] else row["document_id"]
            found[part["image_id"]] = key, Region.of(part["region"])
    return found


def read_group(dataset: Dataset, part: GroupPart, captions: bool = False) -> Group:
    """Read the pictures (with their kept captions where these are asked for) and the asset of a group, in order."""
    images: list[Image] = []
    said = dataset.captions_of(part.ids) if captions else {}
    for start in range(0, len(part.ids), _CHUNK):
        rows = plain_rows(dataset.images.get(part.ids[start : start + _CHUNK]))
        images += [image_of_row(row, said.get(row["image_id"], ())) for row in rows]
    place = {key: n for n, key in enumerate(part.ids)}
    images.sort(key=lambda image: place[image.id])
    if part.region is not None:
        for image in images:
            image.region = part.region
    assets = dataset.assets.rows(None, sql_in("asset_id", [part.key])) if dataset.assets.exists() else []
    return Group(part.key, tuple(images), assets[0] if assets else {})


def group_items(dataset: Dataset, where: str | None = None) -> Iterator[Group]:
    """Read the groups one after the other."""
    for part in group_parts(dataset, where):
        yield read_group(dataset, part)
