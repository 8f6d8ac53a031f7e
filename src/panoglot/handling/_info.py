"""What is in a dataset, counted from the columns that say it; no picture is read."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from panoglot.errors import verb
from panoglot.running._runs import is_running
from panoglot.table import FORGOTTEN, KEPT_CAPTION, LEFT_OUT, MEASURED, MISTOLD, NO_FACT, Dataset, open_dataset, sql_in

__all__ = ["Info", "info"]


@dataclass
class Info:
    """What is in a dataset.

    Attributes:
        dataset: its address.
        schema_version: of its tables.
        created_by: the version of Panoglot that made it.
        bytes: table to bytes on the disk, where it lies on this machine.
        images: pictures.
        images_dropped: reason to pictures.
        forgotten: pictures that were forgotten: they are not among the images.
        formats: format to pictures.
        picture_bytes: bytes of all pictures as they came.
        largest: width and height of the picture with the most pixels.
        groups: different groups (videos, documents) that pictures belong to.
        captions: captions that are kept, those of dropped images too. What was measured (kind `fact`) is none, here
            as everywhere.
        captions_of_dropped: those of dropped images, which no search and no export has.
        measured: measurements that are kept.
        captions_dropped: reason to captions.
        languages: tag to captions that are kept.
        kinds: kind to captions that are kept.
        writers: recipe or model to captions that are kept.
        licences: licence to captions that are kept, where one is recorded.
        image_licences: licence to pictures, where one is recorded.
        splits: split to pictures.
        vectors: name to rows.
        rejects: reason to rows that failed and were not read since.
        runs: status to runs.
        others: other tables with rows: documents, triples, facts …
    """

    dataset: str
    schema_version: int = 0
    created_by: str = ""
    bytes: dict[str, int] = field(default_factory=dict)
    images: int = 0
    images_dropped: dict[str, int] = field(default_factory=dict)
    forgotten: int = 0
    formats: dict[str, int] = field(default_factory=dict)
    picture_bytes: int = 0
    largest: tuple[int, int] = (0, 0)
    groups: int = 0
    captions: int = 0
    captions_of_dropped: int = 0
    measured: int = 0
    captions_dropped: dict[str, int] = field(default_factory=dict)
    languages: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    writers: dict[str, int] = field(default_factory=dict)
    licences: dict[str, int] = field(default_factory=dict)
    image_licences: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    vectors: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def _counts(table: Any, column: str, where: str | None = None) -> dict[str, int]:
    """Value to rows, the commonest first."""
    found: Counter[str] = Counter()
    for batch in table.batches([column], where, size=65_536):
        for one in batch.column(0).value_counts().to_pylist():
            if one["values"] is not None:
                found[str(one["values"])] += one["counts"]
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


@verb
def info(dataset: Dataset | str | os.PathLike[str]) -> Info:
    """Say what is in a dataset: pictures, captions, languages, kinds, writers, licences, splits, sizes, versions.

    Columns are streamed, a pass a column; pictures are not read.

    Args:
        dataset: a dataset or its path.

    Raises:
        UserError: no dataset there.
    """
    data = open_dataset(dataset)
    made = data.manifest()
    found = Info(data.address, int(made["schema_version"]), str(made.get("created_by") or ""))
    found.bytes = _bytes(data)
    found.images = len(data.images)
    found.images_dropped = _counts(data.marks, "dropped", LEFT_OUT)
    found.forgotten = data.marks.count(f"dropped = '{FORGOTTEN}'")
    found.formats = _counts(data.images, "format")
    groups = set[int]()
    for batch in data.images.batches(["width", "height", "size", "group"], size=65_536):
        rows = zip(*(batch[name].to_pylist() for name in ("width", "height", "size", "group")))
        for width, height, size, group in rows:
            found.picture_bytes += size or 0
            if (width or 0) * (height or 0) > found.largest[0] * found.largest[1]:
                found.largest = (width, height)
            if group:
                groups.add(hash(group))
    found.groups = len(groups)
    kept = KEPT_CAPTION
    found.captions, found.measured = data.captions.count(kept), data.captions.count(MEASURED)
    gone = sorted(data.dropped_images())
    parts = (sql_in("image_id", gone[at : at + 500]) for at in range(0, len(gone), 500))
    found.captions_of_dropped = sum(data.captions.count(f"{kept} and {part}") for part in parts)
    found.captions_dropped = _counts(data.captions, "dropped", f"dropped is not null and {NO_FACT}")
    found.languages = _counts(data.captions, "lang", kept)
    found.kinds = _counts(data.captions, "kind", f"{kept} and not ({MISTOLD})")
    if mistold := data.captions.count(f"{kept} and {MISTOLD}"):
        found.kinds["short"] = found.kinds.get("short", 0) + mistold
    found.writers = _counts(data.captions, "recipe", f"{kept} and (model is null or model = '')")
    found.writers |= _counts(data.captions, "model", f"{kept} and model is not null and model != ''")
    found.licences = _counts(data.captions, "licence", kept)
    found.image_licences = _counts(data.images, "licence")
    found.splits = _counts(data.splits, "split")
    found.vectors = {name: len(data.vectors(name)) for name in data.vector_names()}
    found.rejects = _counts(data.rejects, "reason", "resolved is null")
    found.runs = _runs(data)
    names = ("documents", "triples", "ratings", "facts", "edits", "assets")
    found.others = {name: count for name in names if (count := len(getattr(data, name)))}
    return found


def _bytes(data: Dataset) -> dict[str, int]:
    """Bytes of each table's folder; empty where it lies elsewhere."""
    if data.store.folder is None:
        return {}
    found: Counter[str] = Counter()
    for folder, _, names in os.walk(data.store.folder):
        top = os.path.relpath(folder, data.store.folder).split(os.sep)[0]
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.path.exists(path):
                found["others" if top == "." else top] += os.path.getsize(path)
    return dict(sorted(found.items()))


def _runs(data: Dataset) -> dict[str, int]:
    """Status to runs; one that was killed is stopped, whatever its row says."""
    found = _counts(data.runs, "status")
    if found.pop("running", 0):
        rows = data.runs.rows(["run_id"], "status = 'running'")
        for status in ("running" if is_running(data, row["run_id"]) else "stopped" for row in rows):
            found[status] = found.get(status, 0) + 1
    return found
