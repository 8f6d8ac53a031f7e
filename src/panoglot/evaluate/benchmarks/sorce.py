"""SORCE-1K: find pictures by a small thing in them, at three zoom levels (arXiv 2505.24441).

Files (huggingface.co/datasets/lcxrocks/sorce-1k): `dataset.jsonl` with `image, caption` (1,023 rows), pictures of the
same names in `full_res`, `zoom_2x`, `zoom_3x`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_texts
from panoglot.checks import check_option, item_ids, offenders
from panoglot.errors import UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.formats._json import read_rows
from panoglot.metrics._results import ResultSet
from panoglot.metrics.ranking._metrics import rank_result
from panoglot.metrics.ranking._ranks import CHUNK, Ties, check_vectors, ranks_of_scores
from panoglot.retrieval import POOLS, pooled, view_boxes
from panoglot.retrieval import VIEWS as ALL_VIEWS

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = ["LEVELS", "SORCE_1K", "SOURCE", "VIEWS", "read_sorce", "sorce", "sorce_benchmark"]

SOURCE = "https://huggingface.co/datasets/lcxrocks/sorce-1k"

#: Level to its folder.
LEVELS = {"hard": "full_res", "medium": "zoom_2x", "easy": "zoom_3x"}
#: Views of a picture: the whole; the whole and its four corners (or quarters); the whole and the encoder's own places.
VIEWS = ALL_VIEWS


def read_sorce(folder: str | os.PathLike[str]) -> tuple[list[str], list[str], dict[str, list[Path]]]:
    """Read `(names, captions, {level: pictures})`.

    Raises:
        UserError: naming what is missing, and where it is.
    """
    root = Path(folder)
    if not (root / "dataset.jsonl").is_file():
        raise UserError(
            f"there is no dataset.jsonl in {root}: SORCE-1K is that file and the folders "
            f"{', '.join(LEVELS.values())}. Get it from {SOURCE}"
        )
    rows = read_rows(root / "dataset.jsonl")
    odd = [str(n) for n, row in enumerate(rows) if not (row.get("image") and str(row.get("caption") or "").strip())]
    if odd or not rows:
        raise UserError(f"{root / 'dataset.jsonl'}: {len(odd)} rows lack image or caption: {offenders(odd)}.")
    names = [str(row["image"]) for row in rows]
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise UserError(f"{len(outside)} pictures are not plain file names: {offenders(outside)}.")
    levels = {level: [root / place / name for name in names] for level, place in LEVELS.items()}
    missing = [str(path.relative_to(root)) for paths in levels.values() for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"{len(missing)} pictures are missing in {root}: {offenders(missing)}. Get them from {SOURCE}")
    return names, [str(row["caption"]) for row in rows], levels


def sorce_benchmark(
    encoder: Encoder,
    folder: str | os.PathLike[str],
    *,
    views: str = "whole",
    pool: str = "max",
    lang: str = "en",
    confidence: float | None = None,
) -> ResultSet:
    """SORCE-1K with an encoder: one vector a picture, or five: the whole and its corners.

    More views score higher for every picture alike, so results with other views are told apart, not compared.

    Args:
        encoder: of pictures and texts.
        folder: of the files.
        views: `whole`, `corners`, `quadrants`, or `tokens` (an encoder's own, `encode_places`: those that it was asked
            about, as the paper does it).
        pool: how views become one score: `max`, `mean`, `topk_mean`, `soft`.
        lang: language of the captions.
        confidence: level of bootstrap intervals.

    Returns:
        See `sorce`.
    """
    import numpy as np

    from panoglot.evaluate.benchmarks._compose import encode_pictures, tag
    from panoglot.pictures import Image

    names, captions, levels = read_sorce(folder)
    check_option("views", views, VIEWS)
    if views == "tokens" and not hasattr(encoder, "encode_places"):
        raise UserError("this encoder has no vectors of places (encode_places): views='corners' works with any.")
    many = 1 if views == "tokens" else len(view_boxes(1, 1, views))

    def load(key: str) -> Image:
        path, _, view = key.rpartition("@")
        whole = Image.from_path(path)
        if view == "0":
            return whole
        picture = whole.pil()
        return Image.from_pil(picture.crop(view_boxes(*picture.size, views)[int(view)]))

    found: dict[str, Any] = {}
    for level, paths in levels.items():
        keys = [f"{path}@{view}" for path in paths for view in range(many)]
        vectors = np.concatenate([block for _, block in encode_pictures(encoder, keys, load)])
        lost = sorted({keys[n].rpartition("@")[0] for n in np.flatnonzero(np.isnan(vectors).any(axis=1)).tolist()})
        if lost:
            raise UserError(f"{len(lost)} pictures cannot be encoded: {offenders(lost)}.")
        found[level] = vectors.reshape(len(paths), many, -1)
        if views == "tokens":
            places = encoder.encode_places([load(key) for key in keys])  # type: ignore[attr-defined]
            found[level] = np.concatenate([found[level], np.asarray(places, np.float32)], 1)
    texts = encode_texts(encoder, captions, lang)
    result = sorce(texts, found, pool=pool, ids=[f"{n} {name}" for n, name in enumerate(names)], confidence=confidence)
    return tag(result, encoder, views, 0)


def sorce(
    texts: Any,
    images: Mapping[str, Any],
    *,
    pool: str = "max",
    ks: Sequence[int] = (1, 5, 10),
    ties: Ties = "mean",
    ids: Sequence[Any] | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """Recall at each level, with all levels in one gallery; a query's own other versions do not compete.

    Where the original sets those versions' scores to 0, they are taken out here: right for negative cosines too.

    Args:
        texts: `[N, dim]`.
        images: for each level `[N, dim]`, or `[N, V, dim]` with V views of every picture.
        pool: score of a picture with views: `max`, `mean`, `topk_mean` or `soft` over them.
        ks: places.
        ties: how equal scores count.
        ids: query ids.
        confidence: level of bootstrap intervals.

    Returns:
        `<level>/text_to_image`, and `image_to_text` over the pictures of all levels.

    >>> found = sorce([[1, 0]], {"easy": [[0.9, 0.436]], "medium": [[0.8, 0.6]], "hard": [[0.7, 0.714]]}, ks=[1])
    >>> [result.value for result in found.values()]
    [1.0, 1.0, 1.0, 1.0]
    """
    import numpy as np

    check_option("pool", pool, POOLS)
    words = check_vectors(texts, "text vectors")
    levels = list(images)
    stacks = [np.asarray(images[level], dtype=np.float32) for level in levels]
    stacks = [stack[:, None] if stack.ndim == 2 else stack for stack in stacks]
    shapes = {stack.shape for stack in stacks}
    if len(shapes) != 1 or stacks[0].ndim != 3 or len(stacks[0]) != len(words):
        raise UserError(
            f"every level needs one picture for each of the {len(words)} texts, with equally many views (more views "
            f"score higher): the levels have the shapes {sorted(map(list, shapes))}."
        )
    count, views = len(words), stacks[0].shape[1]
    flat = np.concatenate(stacks).reshape(-1, stacks[0].shape[2])
    gallery = check_vectors(flat, "image vectors", dim=words.shape[1])

    def rows() -> Iterator[tuple[int, np.ndarray]]:
        size = max(1, CHUNK // (4 * len(gallery)))
        for start in range(0, count, size):
            starts = np.arange(0, len(gallery), views)
            yield start, pooled(words[start : start + size] @ gallery.T, starts, pool)

    names = item_ids(ids, count)
    metrics = [f"recall@{k}" for k in ks]
    options = {"pool": pool, "views": views, "ties": ties, "gallery": len(levels) * count}
    found = ResultSet()
    for at, level in enumerate(levels):
        others = [[n + other * count for other in range(len(levels)) if other != at] for n in range(count)]
        ranks: list[list[float] | None] = [
            row or None
            for row in ranks_of_scores(
                rows(), [[n + at * count] for n in range(count)], ties=ties, ignore=others, best=True
            )
        ]
        found[f"{level}/text_to_image"] = rank_result(
            ranks,
            [1] * count,
            metrics=metrics,
            ids=names,
            name=f"sorce/{level}",
            options=options,
            confidence=confidence,
        )
    every = np.concatenate([scores for _, scores in rows()])
    back: list[list[float] | None] = [
        row or None
        for row in ranks_of_scores(
            [(0, np.ascontiguousarray(every.T))],
            [[n % count] for n in range(len(levels) * count)],
            ties=ties,
            best=True,
        )
    ]
    found["image_to_text"] = rank_result(
        back, [1] * len(back), metrics=metrics, ids=[f"{level}/{name}" for level in levels for name in names],
        name="sorce/image_to_text", options=options, confidence=confidence,
    )  # fmt: skip
    return found


def _run(
    data: str, encoder: Any, *, lang: Sequence[str] = ("en",), views: str = "whole", confidence: float | None = None
) -> Any:
    """Recall at three zoom levels.

    Args:
        views: `whole`; `corners` or `quadrants`: five vectors a picture; `tokens`: those that the encoder has.
    """
    return sorce_benchmark(encoder, data, views=views, lang=lang[0], confidence=confidence)


SORCE_1K = Benchmark(
    "sorce-1k", "retrieval", "recall by a small thing in the picture, at three zoom levels (1,023 captions)",
    "--data: folder of `dataset.jsonl`, `full_res`, `zoom_2x`, `zoom_3x`; --encoder; maybe --views corners",
    "huggingface.co/datasets/lcxrocks/sorce-1k", Way(_run),
)  # fmt: skip
