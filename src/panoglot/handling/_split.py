"""Divide a dataset so that nothing is on both sides: no picture, group, part of a picture, or near-duplicate."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot._version import __version__
from panoglot.curation._groups import Groups
from panoglot.errors import UserError, many, verb
from panoglot.running._runs import finish_run
from panoglot.table import Dataset, open_dataset
from panoglot.vectors import ImageIndex, near_pairs

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["Division", "split"]

#: Bits of 256 in which copies differ at most, and the least quality of a hash that says something (PDQ's own).
_DISTANCE, _QUALITY = 31, 50


@dataclass
class Division:
    """How a dataset is divided.

    Attributes:
        dataset: which.
        splits: split to pictures.
        by: what was kept together.
        together: pictures that stay with others.
        near: near-duplicates of different groups that were brought together, so that none is on both sides.
        unhashed: pictures without a perceptual hash: their near-duplicates are not known.
        largest: pictures of the largest part that stays together.
    """

    dataset: str
    splits: dict[str, int] = field(default_factory=dict)
    by: str = ""
    together: int = 0
    near: int = 0
    unhashed: int = 0
    largest: int = 0


@verb
def split(
    dataset: Dataset | str | os.PathLike[str],
    *,
    test: float = 0.1,
    val: float = 0.0,
    by: str = "group",
    near: bool = True,
    seed: int = 0,
    quiet: bool | None = None,
) -> Division:
    """Divide the kept pictures into train, test and val, written into the table `splits` by one commit.

    Together stay pictures of one group (`by`), crops and frames with the picture that they were made of, and
    near-duplicates (PDQ, at most 31 of 256 bits), directly or through others. Which part goes where is drawn by a hash
    of its ids and `seed`: the same pictures give the same division. `export` and `train` keep to it.

    Args:
        dataset: a dataset or its path.
        test: share of pictures to test with.
        val: share of pictures to choose models by.
        by: a column of pictures (`group`, `asset_id`, `uri`), or a key of their context (`product`, `page.title`).
        near: keep near-duplicates together; pictures are hashed where they are not yet.
        seed: another draw.
        quiet: no progress bar.

    Raises:
        UserError: no such column, or so much belongs together that no part is left to test with.
    """
    if not (0 <= test < 1 and 0 <= val < 1 and 0 < test + val < 1):
        raise UserError(f"test={test} and val={val} must be shares that leave something to train with.")
    data = open_dataset(dataset)
    dropped = data.dropped_images()
    images = ImageIndex(lambda: _kept(data, dropped))
    if len(images) < 2:
        raise UserError(f"{data.address} keeps {many(len(images), 'picture')}: there is nothing to divide.")
    groups = Groups(len(images))
    found = Division(data.address, by=by)
    _join_column(data, images, groups, by)
    _join_parents(data, images, groups)
    if near:
        _hash(data, quiet)
        found.near, found.unhashed = _join_near(data, images, groups)
    names = _draw(images, groups.roots(), {"test": test, "val": val}, seed, found, data)
    said = {"test": test, "val": val, "by": by, "near": near, "seed": seed}
    run = data.start_run({"split": said}, {"panoglot": __version__})
    with data.writer():
        data.splits.upsert(_rows(data, images, names, run))
        data.splits.delete(f"run_id != '{run}'")  # pictures that are dropped now
    finish_run(data, run, "done", [])
    found.splits = dict(sorted(Counter(names).items()))
    return found


def _kept(data: Dataset, dropped: set[str]) -> Iterator[pa.Array]:
    import pyarrow as pa

    for batch in data.images.batches(["image_id"], size=65_536):
        yield pa.array([key for key in batch.column(0).to_pylist() if key not in dropped], pa.string())


def _join_equal(groups: Groups, places: list[int], values: list[Any], first: dict[Any, int]) -> None:
    """Join rows whose values are equal; `first` remembers where a value was seen first."""
    import numpy as np

    left, right = [], []
    for at, value in zip(places, values):
        if at < 0 or value in (None, "", [], {}):
            continue
        key = hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=12).digest()
        left.append(first.setdefault(key, at))
        right.append(at)
    if left:
        groups.join(np.array(left, np.int64), np.array(right, np.int64))


def _join_column(data: Dataset, images: ImageIndex, groups: Groups, by: str) -> None:
    """Join pictures that are alike in a column, or in a key of their context."""
    column = by in data.images.schema.names and by not in ("data", "context", "image_id")
    first: dict[Any, int] = {}
    for batch in data.images.batches(["image_id", by if column else "context"], size=8192):
        values = batch.column(1).to_pylist()
        _join_equal(
            groups, images.find(batch["image_id"]).tolist(), values if column else [_key(v, by) for v in values], first
        )
    if not first and by != "group":
        raise UserError(
            f"no picture of {data.address} has '{by}': it is a column (group, asset_id, uri) or a key of the context."
        )


def _key(context: str | None, name: str) -> Any:
    try:
        value: Any = json.loads(context or "{}")
    except (ValueError, RecursionError):
        return None
    for piece in name.split("."):
        value = value.get(piece) if isinstance(value, dict) else None
    return value


def _join_parents(data: Dataset, images: ImageIndex, groups: Groups) -> None:
    """Join crops, frames and edits with what they were made of, and with each other where that is not here."""
    first: dict[Any, int] = {}
    for batch in data.images.batches(["image_id", "parents"], "parents is not null", size=8192):
        places = images.find(batch["image_id"]).tolist()
        for at, parents in zip(places, batch.column(1).to_pylist()):
            for parent in parents or ():
                _join_equal(groups, [at], [parent], first)
    if first:
        for batch in data.images.batches(["image_id"], size=65_536):
            _join_equal(groups, images.find(batch["image_id"]).tolist(), batch.column(0).to_pylist(), first)


def _hash(data: Dataset, quiet: bool | None) -> None:
    """Hash the pictures that are not hashed yet."""
    if len(data.hashes) >= len(data.images):
        return
    from panoglot.curation.pdq import pdq_stage
    from panoglot.running import run_stage

    run_stage(data, pdq_stage(), "", quiet=quiet)


def _join_near(data: Dataset, images: ImageIndex, groups: Groups) -> tuple[int, int]:
    """Join near-duplicates; return how many were in different groups, and how many pictures have no good hash."""
    import numpy as np

    codes, rows = list[Any](), list[Any]()
    for batch in data.hashes.batches(["image_id", "pdq", "quality"], size=65_536):
        places = images.find(batch["image_id"])
        good = batch["quality"].fill_null(0).to_numpy(zero_copy_only=False) >= _QUALITY
        good &= (places >= 0) & batch["pdq"].is_valid().to_numpy(zero_copy_only=False)
        raw = b"".join(code for code, use in zip(batch["pdq"].to_pylist(), good) if use)
        codes.append(np.frombuffer(raw, np.uint8).reshape(-1, 32))
        rows.append(places[good])
    if not rows:
        return 0, len(images)
    place = np.concatenate(rows)
    before = groups.roots().copy()
    brought = set[int]()
    for left, right in near_pairs(np.concatenate(codes), _DISTANCE, threads=os.cpu_count() or 1):
        one, other = place[left], place[right]
        apart = before[one] != before[other]
        brought.update(one[apart].tolist(), other[apart].tolist())
        groups.join(one, other)
    return len(brought), len(images) - len(place)


def _draw(
    images: ImageIndex, roots: np.ndarray, shares: dict[str, float], seed: int, found: Division, data: Dataset
) -> list[str]:
    """The split of every picture: parts in order of a hash fill test, then val; a part that is too large trains."""
    import numpy as np

    parts, sizes = np.unique(roots, return_counts=True)
    found.largest, found.together = int(sizes.max()), int(sizes[sizes > 1].sum())
    ids = list(images.names(parts.tolist()))
    order = sorted(range(len(parts)), key=lambda n: hashlib.sha256(f"{seed} {ids[n]}".encode()).digest())
    chosen: dict[int, str] = {}
    for name, share in shares.items():
        wanted, have = share * len(roots), 0
        for n in order:
            size = int(sizes[n])
            if have >= wanted:
                break
            if int(parts[n]) in chosen or have + size > max(wanted * 1.1, wanted + 0.5):
                continue  # so much at once would be more than was asked for
            chosen[int(parts[n])] = name
            have += size
        if share and not have:
            raise UserError(
                f"{data.address} cannot be divided: {found.largest:,} of {len(roots):,} pictures belong together by "
                f"'{found.by}' or as near-duplicates, and no part is small enough for {name}={share}. Take another "
                f"--by, a larger share, or --no-near."
            )
    return [chosen.get(root, "train") for root in roots.tolist()]


def _rows(data: Dataset, images: ImageIndex, names: list[str], run: str) -> pa.Table:
    import pyarrow as pa

    ids = list(images.names(range(len(names))))
    columns = {"image_id": ids, "split": names, "run_id": [run] * len(names)}
    return pa.table(columns, schema=data.splits.schema)
