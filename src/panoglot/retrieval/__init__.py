"""Search: pictures by a text in any language, by a picture, or by both.

Vectors are those that an encoder left in the dataset. Up to a million of them the search is exact: all are read from
memory, at its speed. Beyond, an index (`index`) finds the nearest and the stored vectors put them in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from panoglot.errors import UserError, command, verb
from panoglot.retrieval._query import choose
from panoglot.retrieval._searcher import EXACT_UP_TO, Hit, Hits, Searcher
from panoglot.table import Dataset, is_dataset, open_dataset, sql_in
from panoglot.vectors import Vectors

__all__ = ["Hit", "Hits", "Searcher", "choose", "delete", "index", "search"]


@verb
def search(
    dataset: Dataset | str | os.PathLike[str],
    text: str | None = None,
    *,
    image: Any = None,
    lang: str | Sequence[str] = (),
    kinds: str | Sequence[str] = (),
    k: int = 10,
    encoder: Any = None,
    weight: float = 0.5,
    over: str = "images",
    backend: str = "auto",
) -> Hits:
    """Find the pictures that a text, a picture, or both describe best.

    Args:
        dataset: a dataset, or its path.
        text: what to look for, in any language that the encoder knows.
        image: a picture file, or an image of the dataset: its id, the beginning of it, its uri or the name of its file;
            in Python a picture of Pillow, an array or bytes too.
        lang: only images that have a kept caption in one of these languages (`zh` takes `zh-Hant` too, `pt` takes
            `pt-BR`); these are shown, and `notes` of the result says what was taken. The language of the text you
            search with does not matter.
        kinds: only images that have a kept caption of one of these kinds (`human`, `short` …); with `lang`, both in one
            caption.
        k: how many images.
        encoder: whose vectors: a model name or a name of vectors; default: those that the dataset is set to (panoglot
            settings), at first those that were made first.
        weight: share of the text when there is a picture too: 0 only the picture, 1 only the text. The query is the
            weighted sum of the two unit vectors, at unit length again.
        over: `images` compares with the vectors of pictures, `captions` with those of their kept captions (of `lang`
            and `kinds`), `both` with either; an image counts with its best.
        backend: `exact`, `index`, or `auto`.

    Returns:
        At most `k` hits, best first; equal scores in order of id. Dropped images are never found. A notebook shows them
        with their pictures.

    Raises:
        UserError: nothing to look for, no vectors, no such encoder, a bad language, kind or picture; the text stands
            where the dataset should.

    Source: weighted sum of image and text as a query: ALIGN (Jia et al. 2021), section 5.3.
    """
    if isinstance(text, str) and not isinstance(dataset, Dataset) and not os.path.exists(dataset) and is_dataset(text):
        right = command("search", text, os.fspath(dataset))
        raise UserError(f"the dataset comes first, then what to look for: {right}")
    searcher = Searcher(dataset, encoder, backend=backend)
    hits = Hits(searcher.search(text, image=image, lang=lang, kinds=kinds, k=k, weight=weight, over=over))
    if lang:
        hits.notes += searcher.languages_met(lang)
    return hits


def index(
    dataset: Dataset | str | os.PathLike[str],
    encoder: Any = None,
    *,
    above: int = EXACT_UP_TO,
    rebuild: bool = False,
) -> str:
    """Make or renew the index of an encoder's vectors. Needed for more than a million; new rows are found without.

    Args:
        dataset: a dataset, or its path.
        encoder: as in `search`.
        above: up to this many vectors no index is made: exact search is as fast.
        rebuild: build anew instead of adding new rows.

    Returns:
        `exact` (no index is needed; the copy of the vectors that search maps is made), `built` or `updated`.

    Raises:
        UserError: no vectors, or none of that encoder.
    """
    from panoglot.vectors import make_index

    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    name, _ = choose(data, encoder)
    table = data.vectors(name)
    if table.count() <= max(above, 255):  # the index's clusters are learnt from at least 256 rows
        Vectors(table).refresh()  # leaves the copy that the first search maps
        return "exact"
    done = make_index(table, rebuild=rebuild)
    if data.captions.exists():  # to show the captions of hits
        captions = data.captions.lance()
        if not any(found.name == "image_id_idx" for found in captions.describe_indices()):
            captions.create_scalar_index("image_id", "BTREE", name="image_id_idx")
    return done


def delete(dataset: Dataset | str | os.PathLike[str], image_ids: Iterable[str], *, encoder: Any = None) -> int:
    """Take images out of the search: their vectors and those of their captions are deleted, nothing else is.

    Args:
        dataset: a dataset, or its path.
        image_ids: which images.
        encoder: as in `search`; None takes them out of the vectors of every encoder.

    Returns:
        How many vectors were deleted.
    """
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    ids = list(dict.fromkeys(image_ids))
    names = data.vector_names() if encoder is None else [choose(data, encoder)[0]]
    deleted = 0
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        captions = data.captions.read(["caption_id"], sql_in("image_id", some))["caption_id"].to_pylist()
        for name in names:
            table = data.vectors(name)
            before = table.count()
            for at in range(0, len(some) + len(captions), 500):
                table.delete(sql_in("id", [*some, *captions][at : at + 500]))
            deleted += before - table.count()
    return deleted
