"""Another Panoglot dataset: its pictures, and its captions with their ids and provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from panoglot.errors import UserError
from panoglot.formats._files import join_uri, part_key, reject
from panoglot.formats._record import restore, to_record
from panoglot.formats._sample import Part, Sample
from panoglot.table import Dataset, Reject, is_dataset, open_dataset, plain_rows

__all__ = ["detect", "parts", "read"]

_MOST = 64


def detect(source: str) -> bool:
    """A place with a manifest and pictures."""
    return is_dataset(source) and Dataset(source).images.exists()


def parts(source: str, *, include_dropped: bool = True) -> Iterator[Part]:
    """List pictures in parts of 64, in order of id.

    Args:
        source: the dataset.
        include_dropped: take dropped captions and pictures as well; the drafts among them are the parents of others.
    """
    dataset = open_dataset(source)
    if not len(dataset.images):
        raise UserError(f"'{source}' has no images.")
    ids = sorted(dataset.images.read(["image_id"])["image_id"].to_pylist())
    if not include_dropped:
        dropped = dataset.dropped_images()
        ids = [image for image in ids if image not in dropped]
    version = dataset.captions.lance().version if dataset.captions.exists() else 0
    base: dict[str, Any] = {"path": dataset.store.absolute, "include_dropped": include_dropped}
    for start in range(0, len(ids), _MOST):
        some = ids[start : start + _MOST]
        digest = hashlib.sha256("".join(some).encode()).hexdigest()
        key = part_key("pano", source, include_dropped, version, digest)
        yield Part("pano", join_uri(source), key, {**base, "ids": some}, len(some))


def read(part: Part) -> Iterator[Sample | Reject]:
    """Read the pictures of a part with all their captions."""
    items = part.items
    seen = set()
    try:
        dataset = open_dataset(items["path"])
        where = None if items["include_dropped"] else "dropped is null"
        captions = dataset.captions_of(items["ids"], where)
        for start in range(0, len(items["ids"]), 8):  # few at a time: a picture may be large
            for row in plain_rows(dataset.images.get(items["ids"][start : start + 8])):
                seen.add(row["image_id"])
                uri = f"{part.uri}#{row['image_id']}"
                try:
                    sample = restore(to_record(row, captions[row["image_id"]], None), row["data"], uri)
                except (ValueError, TypeError, KeyError, RecursionError) as error:
                    yield reject(uri, "bad_row", f"{type(error).__name__}: {error}")
                    continue
                yield sample
    except (OSError, UserError) as error:
        yield reject(part.uri, "bad_archive", str(error))
        return
    for image in items["ids"]:
        if image not in seen:
            yield reject(f"{part.uri}#{image}", "missing_file", "the picture is gone from the dataset")
