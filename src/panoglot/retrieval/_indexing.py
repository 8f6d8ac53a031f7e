"""What an index may hold beside the vectors of whole pictures: views of pictures, and their most telling captions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from panoglot.checks import check_option
from panoglot.errors import RowError, UserError
from panoglot.languages import matches
from panoglot.pictures import Image
from panoglot.providers import finish
from panoglot.table import Dataset, vector_id
from panoglot.vectors import pool_tokens, unit_rows

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CORNER", "TELLING", "VIEWS", "add_captions", "add_views", "telling", "view_boxes"]

#: Views of a picture: the whole; with its four corners, or quarters; the vectors that an encoder has for its places.
VIEWS = ("whole", "corners", "quadrants", "tokens")
#: Share of a side that a corner takes: what lies on the middle is in two corners.
CORNER = 0.6
#: Which caption says best what a picture is: the first of these kinds.
TELLING = ("human", "short", "dense", "alt", "label")


def view_boxes(width: int, height: int, views: str = "corners") -> list[tuple[int, int, int, int]]:
    """Views of a picture as left, top, right, bottom: SORCE's five, by crops in the place of prompts.

    >>> view_boxes(100, 50)
    [(0, 0, 100, 50), (0, 0, 60, 30), (0, 20, 60, 50), (40, 0, 100, 30), (40, 20, 100, 50)]
    """
    check_option("views", views, VIEWS[:3])
    whole = [(0, 0, width, height)]
    if views == "whole":
        return whole
    side = CORNER if views == "corners" else 0.5
    across, down = max(1, round(side * width)), max(1, round(side * height))
    return whole + [(x, y, x + across, y + down) for x in (0, width - across) for y in (0, height - down)]


def telling(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The caption of an image that says best what it is: by kind, English before others, then by id.

    Translations of one another count as one, so one is enough.
    """

    def rank(row: dict[str, Any]) -> tuple[int, bool, str]:
        kind = TELLING.index(row["kind"]) if row["kind"] in TELLING else len(TELLING)
        return kind, not matches("en", row["lang"]), row["caption_id"]

    return min(rows, key=rank)


def add_captions(dataset: Dataset, name: str, encoder: Any) -> int:
    """Encode the most telling kept caption of every image that has no vector of a caption yet; return how many."""
    table = dataset.vectors(name)
    have = set(table.read(["id"], "of = 'caption'")["id"].to_pylist())
    rows: dict[str, list[dict[str, Any]]] = {}
    for batch in dataset.captions.batches(
        ["caption_id", "image_id", "text", "lang", "kind"], "dropped is null and kind != 'fact'", 8192
    ):
        for row in batch.to_pylist():
            rows.setdefault(row["image_id"], []).append(row)
    wanted = [telling(mine) for _, mine in sorted(rows.items()) if not any(r["caption_id"] in have for r in mine)]
    size = max(1, int(getattr(encoder, "batch_size", 32) or 32))
    done = 0
    for start in range(0, len(wanted), 16 * size):
        some = wanted[start : start + 16 * size]
        vectors = []
        for at in range(0, len(some), size):
            part = some[at : at + size]
            vectors += list(_rows(finish(encoder.encode_texts([r["text"] for r in part], [r["lang"] for r in part]))))
        done += _insert(table, encoder, "caption", [(r["caption_id"], r["lang"], 0) for r in some], vectors)
    return done


def add_views(dataset: Dataset, name: str, encoder: Any, views: str, keep: int | None = None) -> int:
    """Encode views of every image that has one vector; return how many were added.

    Every image gets equally many: more views score higher for all, so they are compared only with their like. With
    `keep` the most alike become their mean, until so many are left beside the whole.

    Raises:
        UserError: no such views, an encoder without vectors of places, `keep` below 1.
    """
    check_option("views", views, VIEWS)
    if keep is not None and (keep < 1 or views == "whole"):
        raise UserError(f"keep={keep} is of views: at least 1, with --views tokens, corners or quadrants.")
    if views == "whole":
        return 0
    if views == "tokens" and not hasattr(encoder, "encode_places"):
        raise UserError(
            f"{encoder.name} has no vectors of places (encode_places): --views corners or quadrants work with any."
        )
    table = dataset.vectors(name)
    count: dict[str, int] = {}
    for key in table.read(["id"], "of = 'image'")["id"].to_pylist():
        count[key] = count.get(key, 0) + 1
    wanted = sorted(key for key, n in count.items() if n == 1)
    crops = None if views == "tokens" else views
    done = 0
    for start in range(0, len(wanted), 32):
        keys: list[tuple[str, str, int]] = []
        vectors: list[Any] = []
        for image in _images(dataset, wanted[start : start + 32]):
            try:
                rows = _views_of(image, encoder, crops)
            except RowError:
                continue  # stays with one view, and is compared with its like by it
            if keep is not None and len(rows) > keep:
                rows = pool_tokens(rows[None], keep)[0]
            keys += [(image.id, "und", n) for n in range(1, len(rows) + 1)]
            vectors += list(rows)
        done += _insert(table, encoder, "image", keys, vectors)
    return done


def _views_of(image: Image, encoder: Any, crops: str | None) -> Any:
    if crops is None:
        return _rows(finish(encoder.encode_places([image])))
    picture = image.pil()
    boxes = view_boxes(picture.width, picture.height, crops)[1:]
    parts = [Image.from_pil(picture.crop(box)) for box in boxes]
    return _rows(finish(encoder.encode_images(parts)))


def _images(dataset: Dataset, ids: list[str]) -> Iterator[Image]:
    for row in dataset.images.get(ids, ["data", "uri"]).to_pylist():
        yield Image(row["data"], id=row["image_id"], uri=row["uri"] or "")


def _rows(vectors: Any) -> np.ndarray:
    """Unit vectors `[N, dim]`, of several vectors an item all."""
    import numpy as np

    found = np.asarray(vectors, np.float32)
    return unit_rows(found.reshape(-1, found.shape[-1]))


def _insert(table: Any, encoder: Any, of: str, keys: list[tuple[str, str, int]], vectors: list[Any]) -> int:
    import numpy as np

    rows = [
        {"vector_id": vector_id(key, encoder.fingerprint, view), "id": key, "of": of, "lang": lang, "run_id": ""}
        | {"vector": np.asarray(vector, np.float16)}
        for (key, lang, view), vector in zip(keys, vectors)
        if np.isfinite(vector).all()
    ]
    return int(table.insert(rows)) if rows else 0
