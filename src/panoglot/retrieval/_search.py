"""`panoglot search`, and what prepares it: the index, and taking images out of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from panoglot.errors import UserError, command, verb
from panoglot.retrieval._calibration import calibrate
from panoglot.retrieval._filter import Allowed
from panoglot.retrieval._gallery import EXACT_UP_TO, Gallery
from panoglot.retrieval._hits import Hits
from panoglot.retrieval._indexing import add_captions, add_views
from panoglot.retrieval._lexical import Lexicon
from panoglot.retrieval._passages import passages_of
from panoglot.retrieval._planning import option_values
from panoglot.retrieval._query import choose, loaded_encoder
from panoglot.retrieval._searcher import Searcher
from panoglot.table import Dataset, is_dataset, open_dataset, sql_in
from panoglot.vectors import Vectors

__all__ = ["Indexed", "delete", "index", "search"]


@verb
def search(
    dataset: Dataset | str | os.PathLike[str],
    text: str | None = None,
    *,
    image: Any = None,
    product: Sequence[str] = (),
    lang: str | Sequence[str] = (),
    kinds: str | Sequence[str] = (),
    where: str | None = None,
    k: int = 10,
    encoder: Any = None,
    weight: float | None = None,
    over: str = "images",
    parts: str | None = None,
    preset: str = "auto",
    plan: Any = None,
    min_score: float | None = None,
    backend: str = "auto",
    model: Sequence[str] = (),
    option: Sequence[str] = (),
    prices: str | None = None,
    max_cost: float | None = None,
) -> Hits:
    """Find the pictures that a text, a picture, or both describe best.

    Args:
        dataset: a dataset, or its path.
        text: what to look for, in any language. `+word` must stand in a caption, `-word` must not, `"some words"` stand
            together.
        image: a picture file, or an image of the dataset: its id, the beginning of it, its uri or the name of its file;
            in Python a picture of Pillow, an array or bytes too. With a text: like this, but what the text says.
        product: examples that give one attribute each: `a.jpg:colour`, `b.jpg:collar`; files, or images as in `image`.
        lang: only images that have a kept caption in one of these languages (`zh` takes `zh-Hant` too, `pt` takes
            `pt-BR`); these are shown, and `notes` of the result says what was taken. The language of the text you
            search with does not matter.
        kinds: only images that have a kept caption of one of these kinds (`human`, `short` …); with `lang`, both in one
            caption.
        where: only images of which this holds: `lang='de' and width>800 and time>'2024-01-01'`; with `and`, `or`,
            `not`, `in (…)`, `like 'a%'`.
        k: how many images.
        encoder: whose vectors: a model name or a name of vectors; default: those that the dataset is set to (panoglot
            settings), at first those that were made first.
        weight: share of the text when there is a picture too: 0 only the picture, 1 only the text, as the weighted sum
            of two vectors. Without it the text says what to find and the picture what to choose among it.
        over: `images` compares with the vectors of pictures, `captions` with those of their kept captions (of `lang`
            and `kinds`), `both` with either; an image counts with its best.
        parts: what looks: `lexical` (words that stand in captions), `caption` (their meaning), `picture`; with commas.
            Without it all that can. Of an encoder with late interaction (colbert-xm) `passage`: captions token by
            token, of `lang` and `kinds`.
        preset: how the query is read: `identity` (as it stands), `rules` (add, remove, replace, keep), `conditions`
            (products), `cirevl`, `cotmr`, `imagescope` (with models), `learned` (a composer); `auto`: for a
            picture with a text `learned` where the encoder was trained to compose, else rules; conditions for products;
            else as it stands.
        plan: a plan to search with instead of asking a planner: a file of it, as --explain --json prints one.
        min_score: leave out images whose best cosine is lower, unless a caption has every word.
        backend: `exact`, `index`, or `auto`.
        model: models of a preset, as `llm=PROVIDER:NAME`; `verifier` and `evaluator` look at the best candidates.
        option: options of a preset, as `NAME=VALUE`.
        prices: file of prices of the models.
        max_cost: most US dollars that the models may cost.

    Returns:
        At most `k` hits, best first; equal scores in order of id. Dropped images are never found. A notebook shows them
        with their pictures.

    Raises:
        UserError: nothing to look for, no vectors, no such encoder, a bad language, kind or picture; the text stands
            where the dataset should.

    Source: parts by reciprocal ranks (Cormack et al. 2009); with `weight`: ALIGN (Jia et al. 2021), section 5.3.
    """
    if isinstance(text, str) and not isinstance(dataset, Dataset) and not os.path.exists(dataset) and is_dataset(text):
        right = command("search", text, os.fspath(dataset))
        raise UserError(f"the dataset comes first, then what to look for: {right}")
    searcher = Searcher(dataset, encoder, backend=backend, model=model, prices=prices, max_cost=max_cost)
    return searcher.search(
        text, image=image, product=product, lang=lang, kinds=kinds, where=where, k=k, weight=weight, over=over,
        parts=parts, preset=preset, options=option_values(option), plan=plan, min_score=min_score,
    )  # fmt: skip


@dataclass(frozen=True)
class Indexed:
    """What `index` did.

    Attributes:
        vectors: `exact` (no index is needed; the copies that search maps are made), `built` or `updated`; `passages`,
            of an encoder with late interaction: every caption token by token.
        captions: captions encoded now, one a picture; of `passages` all of them.
        before: captions that had a vector before.
        views: vectors of views added now.
        words: whether the words of captions can be searched.
        measured: whether it was measured now how near made-up words come.
        left_out: captions that the encoder has no adapter for, by language, in words.
    """

    vectors: str
    captions: int = 0
    before: int = 0
    views: int = 0
    words: bool = False
    measured: bool = False
    left_out: str = ""


@verb
def index(
    dataset: Dataset | str | os.PathLike[str],
    encoder: Any = None,
    *,
    captions: bool = False,
    views: str = "whole",
    keep: int | None = None,
    above: int = EXACT_UP_TO,
    rebuild: bool = False,
) -> Indexed:
    """Prepare search: words of captions, vectors of captions and of views, the index of very many vectors.

    Searching works without: words are indexed by the first search, and up to a million vectors are compared one by one.
    From 20,000 vectors on this leaves an int8 copy that exact search reads first; it finds the same in half the time.

    Args:
        dataset: a dataset, or its path.
        encoder: as in `search`.
        captions: encode the most telling caption of every picture too, so that its meaning is searched; and measure how
            near made-up words come, so that what nothing fits finds nothing.
        views: `corners` (the whole and four overlapping corners) or `quadrants`: five vectors a picture, for small
            things; `tokens`: those that the encoder has for places. A picture counts with its best.
        keep: most vectors of views a picture keeps: the most alike become their mean (token pooling).
        above: up to this many vectors no index is made: exact search is as fast.
        rebuild: build anew instead of adding new rows.

    Returns:
        What was done.

    Raises:
        UserError: no vectors, or none of that encoder.
    """
    from panoglot.vectors import make_index

    data = open_dataset(dataset)
    passages = passages_of(data, encoder)
    if passages is not None:
        if captions or views != "whole" or keep is not None:
            raise UserError(f"'{passages.encoder.name}' compares all captions: leave out --captions, --views, --keep.")
        done_now = passages.ready(rebuild=rebuild)
        return Indexed(
            "passages",
            done_now,
            passages.count - done_now,
            left_out=passages.said_left_out() if passages.left_out else "",
        )
    name, model = choose(data, encoder)
    table = data.vectors(name)
    told = Indexed("exact")
    if captions or views != "whole" or keep is not None:
        loaded = loaded_encoder(data, name, model) if model is None or isinstance(model, str) else model
        told = replace(told, views=add_views(data, name, loaded, views, keep))
        if captions:
            before = table.count("of = 'caption'")
            told = replace(told, captions=add_captions(data, name, loaded), before=before, measured=True)
            calibrate(data, name, loaded, Gallery(data, name, Allowed(data), "exact"))
    if data.captions.exists():
        told = replace(told, words=Lexicon(data).ready())
    if table.count() <= max(above, 255):  # the index's clusters are learnt from at least 256 rows
        Vectors(table).make_coarse()  # leaves the copies that searches map
        return told
    with data.writer():
        done = make_index(table, rebuild=rebuild)
        data.captions.tend()  # its index of images shows the captions of hits
    return replace(told, vectors=done)


def delete(dataset: Dataset | str | os.PathLike[str], image_ids: Iterable[str], *, encoder: Any = None) -> int:
    """Take images out of the search: their vectors and those of their captions are deleted, nothing else is.

    Args:
        dataset: a dataset, or its path.
        image_ids: which images.
        encoder: as in `search`; None takes them out of the vectors of every encoder.

    Returns:
        How many vectors were deleted.
    """
    data = open_dataset(dataset)
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
