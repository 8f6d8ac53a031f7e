"""GeneCIS: which of 10 or 15 pictures is like the reference under a condition? (Vaze et al., CVPR 2023).

| task | condition | candidates | pictures |
|---|---|---|---|
| `focus_attribute` | the attribute to keep ("color") | 10 | Visual Genome, cropped |
| `change_attribute` | the attribute to have instead ("metal") | 15 | Visual Genome, cropped |
| `focus_object` | the object to keep ("cardboard") | 15 | COCO val2017 |
| `change_object` | the object to have as well ("wall") | 15 | COCO val2017 |

Files, from github.com/facebookresearch/genecis: `<task>.json` with rows of `condition, reference, target, gallery` (the
others); pictures as `{val_image_id}` (file `000000000042.jpg`) or `{image_id, instance_bbox}` (file `42.jpg`, a box as
left, top, width, height).

Crops are as released, so that figures compare: 0.7 of the box's size is added, at its left and top only (the right and
lower edges are counted from the moved corner), and black makes the crop a square.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.checks import offenders
from panoglot.errors import RowError, UserError
from panoglot.evaluate._declare import Benchmark
from panoglot.evaluate._read import picture_files
from panoglot.evaluate.benchmarks._compose import (
    COMPOSED,
    Compose,
    Composed,
    ComposedQuery,
    as_list,
    as_queries,
    check_texts,
    compose_packs,
    encode_pictures,
    find_files,
    padded,
    read_texts,
    rows_of,
    said_of,
    short_of,
    tag,
)
from panoglot.evaluate.benchmarks._composed_looks import foreseen, look_at_best, paid, settled
from panoglot.evaluate.benchmarks._composed_ways import search_way
from panoglot.metrics._results import ResultSet
from panoglot.metrics.ranking._metrics import rank_result
from panoglot.metrics.ranking._ranks import ranks_of_scores
from panoglot.retrieval import combine

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder
    from panoglot.retrieval import Askers, Pack

__all__ = ["GENECIS", "TASKS", "crop_box", "crop_key", "genecis", "load_crop"]

TASKS = ("focus_attribute", "change_attribute", "focus_object", "change_object")
DILATION = 0.7


def crop_box(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    """The crop of a box (left, top, width, height) as left, top, right, bottom.

    >>> crop_box([100, 100, 100, 50], 640, 480)  # no more at the right and below than the box itself
    (30.0, 65.0, 200.0, 150.0)
    >>> crop_box([10, 0, 100, 50], 640, 480)  # but so where the picture ends at the left or above
    (0, 0, 170.0, 85.0)
    """
    left, top = max(0, box[0] - DILATION * box[2]), max(0, box[1] - DILATION * box[3])
    right, bottom = left + (1 + DILATION) * box[2], top + (1 + DILATION) * box[3]
    return left, top, min(width, right), min(height, bottom)


def crop_key(picture: Mapping[str, Any]) -> str:
    """Name of a picture of the annotations: of COCO by its id, of Visual Genome by its id and the object's box."""
    if "val_image_id" in picture:
        return f"{int(picture['val_image_id']):012d}"
    return f"{picture['image_id']}@" + ",".join(f"{float(side):g}" for side in picture["instance_bbox"])


def load_crop(key: str, files: Mapping[str, Path]) -> Image:
    """Read the picture of a `crop_key`; one with a box is cut as released, and padded to a square with black.

    Raises:
        RowError: `missing`.
    """
    from panoglot.pictures import Image

    name, _, box = key.partition("@")
    if name not in files:
        raise RowError("missing", name)
    whole = Image.from_path(str(files[name]))
    if not box:
        return whole
    import PIL.Image

    picture = whole.pil()
    part = picture.crop(crop_box([float(n) for n in box.split(",")], *picture.size))
    side = max(part.size)
    square = PIL.Image.new("RGB", (side, side))
    square.paste(part, ((side - part.width) // 2, (side - part.height) // 2))
    return Image.from_pil(square)


def _tasks(annotations: Any, tasks: Sequence[str] | None) -> Sequence[str]:
    """The tasks that are asked for; without any those whose files are there."""
    if tasks is None:
        there = {path.stem for one in map(Path, as_list(annotations))
                 for path in (one.rglob("*.json") if one.is_dir() else [one])}  # fmt: skip
        return [task for task in TASKS if task in there] or TASKS
    odd = [task for task in tasks if task not in TASKS]
    if odd:
        raise UserError(f"GeneCIS has no task {offenders(odd)}. Known: {', '.join(TASKS)}.")
    return tasks


def _read(
    annotations: Any, images: Any, tasks: Sequence[str], on_error: str
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Path], int]:
    """Rows by task, picture files by name, and how many pictures the rows name."""
    places = find_files(annotations, [f"{task}.json" for task in tasks], "genecis")
    files = {path.stem: path for folder in as_list(images) for path in picture_files(folder)}
    rows = {task: rows_of(places[f"{task}.json"], ("condition", "reference", "target", "gallery")) for task in tasks}
    wanted = {
        crop_key(one).partition("@")[0]
        for mine in rows.values() for row in mine for one in (row["reference"], row["target"], *row["gallery"])
    }  # fmt: skip
    gone = sorted(wanted - files.keys())
    if gone and on_error == "raise":
        raise UserError(
            f"{len(gone)} of {len(wanted)} pictures are missing in {offenders(as_list(images))}: {offenders(gone)}. "
            f"Get them ({COMPOSED['genecis']}), or leave them out with on_error='null'."
        )
    return rows, files, len(wanted)


def _add_means(found: ResultSet) -> None:
    """Recalls as means over the four tasks, where there are four."""
    for k in (1, 2, 3):
        recalls = [result.parts[f"recall@{k}"] for result in found.values()]
        have = [value for value in recalls if value is not None]
        found.summary[f"mean/recall@{k}"] = sum(have) / len(have) if len(have) == len(TASKS) else None
    if len(found) < len(TASKS):
        found.notes += (f"{len(found)} of 4 tasks: no mean",)


def _scores(pack: Pack, vectors: np.ndarray, said: np.ndarray | None) -> np.ndarray:
    import numpy as np

    captioned = None if said is None else pack.vectors @ said.T
    return combine(pack, pack.vectors @ vectors.T, captioned).total.astype(np.float32)


def _order(values: np.ndarray) -> list[int]:
    """Numbers of candidates, best first; equal ones as they stand, those without a score last."""
    import numpy as np

    return [int(at) for at in np.lexsort((np.arange(len(values)), -np.nan_to_num(values, nan=-np.inf)))]


def _looked(
    composed: Composed,
    lists: Sequence[Sequence[str]],
    scores: Sequence[np.ndarray],
    askers: Askers | None,
    load: Callable[[str], Image],
    encoder: Any,
) -> tuple[list[np.ndarray], list[str]]:
    """The scores, and where looking at the candidates changed their order, places in it; with notes."""
    import numpy as np

    before = {
        query: [row[at] for at in _order(values) if np.isfinite(values[at])]
        for query, row, values in zip(composed.packs, lists, scores)
    }
    after, notes = look_at_best(composed, before, askers, load, encoder)
    found = []
    for query, row, values in zip(composed.packs, lists, scores):
        if after[query] != before[query]:
            places = {key: n for n, key in enumerate(after[query])}
            values = np.array([-places[key] if key in places else np.nan for key in row], np.float32)
        found.append(values)
    return found, notes


def genecis(
    encoder: Encoder,
    annotations: str | os.PathLike[str] | Sequence[str],
    images: str | os.PathLike[str] | Sequence[str],
    *,
    method: str | Compose = "sum",
    weight: float = 0.5,
    texts: str | os.PathLike[str] | Mapping[str, str] | None = None,
    lang: str = "en",
    tasks: Sequence[str] | None = None,
    on_error: str = "raise",
    output: str | os.PathLike[str] | None = None,
    confidence: float | None = None,
    askers: Askers | None = None,
    options: Mapping[str, Any] | None = None,
    captions: str | os.PathLike[str] | Mapping[str, str] | None = None,
    dry_run: bool = False,
    pad: float | None = None,
) -> ResultSet:
    """Recall@1, 2, 3 of each task, and their means over tasks.

    Args:
        encoder: of pictures and texts.
        annotations: folder of the four files (those that are there are taken), or files.
        images: folders of COCO's val2017 and of Visual Genome's pictures.
        method: see `compose_packs`.
        weight: of the text in `sum`.
        texts: conditions that others rewrote, by `<task>/<row>`.
        lang: language of the texts.
        tasks: some of `TASKS`.
        on_error: pictures that are missing or cannot be read: `raise`, or `null`: never found; a query without its
            target's is null.
        output: folder for `genecis.json`: the order of the candidates, 0 is the target, n the n-th of the gallery.
        confidence: level of bootstrap intervals.
        askers: the models of a preset, and those that look at the best.
        options: options of a preset.
        captions: of pictures, by `crop_key`.
        dry_run: only say what models would be asked, and what that costs at most.
        pad: see `composed_run`.

    Raises:
        UserError: missing files or pictures.
    """
    import numpy as np

    tasks = _tasks(annotations, tasks)
    rows, files, many = _read(annotations, images, tasks, on_error)
    rewritten = read_texts(texts)
    check_texts(rewritten, {f"{task}/{n}" for task in tasks for n in range(len(rows[task]))})
    found, written = ResultSet(), {}
    see = padded(load := partial(load_crop, files=files), method, pad)
    queries = {
        task: [
            ComposedQuery(f"{task}/{n}", crop_key(row["reference"]), rewritten.get(f"{task}/{n}", row["condition"]))
            for n, row in enumerate(rows[task])
        ]
        for task in tasks
    }
    how = settled(method, options or {}, askers, captions=captions is not None)
    if dry_run:
        every = as_queries([query for mine in queries.values() for query in mine], lang)
        return foreseen(every, method, askers, how, load, many)
    said = read_texts(captions)
    for task in tasks:
        # the target once, though a row may have it among the others too
        lists = [list(dict.fromkeys(map(crop_key, (row["target"], *row["gallery"])))) for row in rows[task]]
        composed = compose_packs(
            encoder, queries[task], load, see=see,
            method=method, weight=weight, lang=lang, askers=askers, options=how.options,
        )  # fmt: skip
        keys = list(dict.fromkeys(key for row in lists for key in row))
        vectors = np.concatenate([b for _, b in encode_pictures(encoder, keys, see)])
        lost = int(np.isnan(vectors).any(axis=1).sum())
        if lost and on_error == "raise":
            raise UserError(f"{task}: {lost} pictures cannot be read; leave them out with on_error='null'.")
        spoken = said_of(encoder, keys, said, lang)(0, len(keys)) if said else None
        place = {key: n for n, key in enumerate(keys)}
        scores = []
        for row, query in zip(lists, queries[task]):
            at = [place[key] for key in row]
            scores.append(_scores(composed.packs[query.id], vectors[at], None if spoken is None else spoken[at]))
        scores, seen = _looked(composed, lists, scores, askers, load, encoder)
        for n, values in enumerate(scores):
            written[f"{task}/{n}"] = _order(values)
        ranks = [ranks_of_scores([(0, values[None].copy())], [[0]], best=True)[0] or None for values in scores]
        notes = [f"{task}: {lost} pictures were missing or unreadable"] if lost else []
        notes += [f"{task}: {composed.fallbacks} queries had {short_of(method)}"] if composed.fallbacks else []
        notes += [f"{task}: {line}" for line in seen]
        found[task] = rank_result(
            ranks, [1] * len(ranks), metrics=["recall@1", "recall@2", "recall@3"], name=f"genecis/{task}",
            ids=[f"{task}/{n}" for n in range(len(ranks))], notes=notes, confidence=confidence,
            options={"ties": "mean", "dilation": DILATION if "attribute" in task else 0},
        )  # fmt: skip
    _add_means(found)
    if output is not None:
        (folder := Path(output)).mkdir(parents=True, exist_ok=True)
        (folder / "genecis.json").write_text(json.dumps(written), encoding="utf-8")
        found.notes += (f"rankings: {folder / 'genecis.json'}",)
    found.notes += (*how.notes, *paid(askers))
    return tag(found, encoder, method, weight)


GENECIS = Benchmark(
    "genecis", "composed", "recall@1, 2, 3 among 10 or 15 pictures under a condition, four tasks",
    "--annotations: `focus_attribute.json` and three more; --images: COCO val2017, Visual Genome; --encoder",
    "github.com/facebookresearch/genecis", search_way("genecis", without=("split", "metrics")),
)  # fmt: skip
