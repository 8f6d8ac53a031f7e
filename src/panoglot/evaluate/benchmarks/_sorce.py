"""SORCE-1K: find pictures by a small thing in them, at three zoom levels (arXiv 2505.24441).

Files (huggingface.co/datasets/lcxrocks/sorce-1k): `dataset.jsonl` with `image, caption`, pictures of the same names in
`full_res`, `zoom_2x`, `zoom_3x`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError
from panoglot.evaluate._check import check_option, item_ids
from panoglot.evaluate._results import ResultSet
from panoglot.evaluate.ranking._metrics import rank_result
from panoglot.evaluate.ranking._ranks import CHUNK, Ties, check_vectors, ranks_of_scores

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LEVELS", "sorce"]

#: Level to its folder.
LEVELS = {"hard": "full_res", "medium": "zoom_2x", "easy": "zoom_3x"}


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
        pool: score of a picture with views: `max` or `mean` over them.
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

    check_option("pool", pool, ("max", "mean"))
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
            scores = (words[start : start + size] @ gallery.T).reshape(-1, len(levels) * count, views)
            yield start, scores.max(axis=2) if pool == "max" else scores.mean(axis=2)

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
