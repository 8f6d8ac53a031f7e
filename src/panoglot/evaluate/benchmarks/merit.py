"""MERIT: find products by several example products and what to take from each, in five languages (arXiv 2506.03144).

Files, exported from huggingface.co/datasets/WeiChow/merit as JSONL, with the data set's own column names:
- `products.jsonl`: `idx`, `title`, `image` (file name), and maybe `attribute` (`{key: value or values}`), `language`;
- `queries.jsonl`: `idx` (the row's number without), `query instruction`, `query` (`{product: {key: value}}`),
  `pos_candidate` (products);
- the pictures in `images/`.

The pool is every product of the file, the query's own among them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_texts, unit
from panoglot.checks import check_option, offenders
from panoglot.errors import RowError, UserError, command
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate.benchmarks._compose import ComposedQuery, encode_pictures, search_composed, tag
from panoglot.formats._json import read_rows
from panoglot.languages._tags import UNKNOWN_LANGUAGE, parse_language
from panoglot.metrics._results import ResultSet
from panoglot.metrics.ranking.rankings import condition_recall, rankings
from panoglot.providers import finish

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = ["MERIT", "MERIT_METHODS", "merit", "merit_conditions", "merit_query", "read_merit"]

SOURCE = "https://huggingface.co/datasets/WeiChow/merit"
#: What a query's vector is made of: the instruction, its products, or both; `learned`: the encoder reads it whole.
MERIT_METHODS = ("sum", "text", "products", "learned")
#: Where a product's picture stands in an instruction, in the order of `query`.
MARK = "<image>"
DEPTH = 10
#: Queries, or products, whose pictures are held at a time.
_CHUNK = 256


def read_merit(folder: str | os.PathLike[str]) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Read `(products, queries)` by id.

    Raises:
        UserError: missing files (saying where they are), missing columns, ids twice, queries of unknown products or
            without positives.
    """
    root, found = Path(folder), []
    for name, columns in (("products", ("idx", "title")), ("queries", ("query instruction", "query", "pos_candidate"))):
        path = root / f"{name}.jsonl"
        if not path.is_file():
            raise UserError(
                f"there is no {path.name} in {root}: MERIT is products.jsonl, queries.jsonl, images/. {SOURCE}"
            )
        rows = read_rows(path)
        odd = [str(n) for n, row in enumerate(rows) if any(column not in row for column in columns)]
        if odd or not rows:
            raise UserError(f"{path}: {len(odd)} rows lack {', '.join(columns)}: {offenders(odd)}.")
        by_id = {str(row.get("idx", n)): row for n, row in enumerate(rows)}
        if len(by_id) < len(rows):
            raise UserError(f"{path} has {len(rows) - len(by_id)} ids twice.")
        found.append(by_id)
    products, queries = found
    strange = [
        f"{n} ({key})" for n, row in queries.items()
        for key in map(str, (*row["query"], *row["pos_candidate"])) if key not in products
    ]  # fmt: skip
    if strange:
        raise UserError(f"{len(strange)} products of queries are not in products.jsonl: {offenders(strange)}.")
    empty = [n for n, row in queries.items() if not row["pos_candidate"] or not row["query"]]
    if empty:
        raise UserError(f"{len(empty)} queries have no positives or no products: {offenders(empty)}.")
    return products, queries


def _values(value: Any) -> frozenset[str]:
    """An attribute's values, whatever their order."""
    listed = value if isinstance(value, list) else [value]
    return frozenset(str(one).strip().casefold() for one in listed)


def merit_conditions(
    products: Mapping[str, Mapping[str, Any]], queries: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[set[str]]]:
    """For each query, for each of its conditions, the products that meet it; conditions of no attribute are left out.

    >>> products = {"a": {"attribute": {"colour": ["red", "blue"]}}, "b": {"attribute": {"colour": ["Blue", "red"]}}}
    >>> merit_conditions(products, {"q": {"query": {"a": {"colour": ["red", "blue"], "style": "as shown"}}}}) == {
    ...     "q": [{"a", "b"}]}
    True
    """
    having: dict[tuple[str, frozenset[str]], set[str]] = {}
    for name, product in products.items():
        for key, value in (product.get("attribute") or {}).items():
            having.setdefault((key, _values(value)), set()).add(name)
    return {
        name: [
            having[key, _values(value)]
            for wanted in query["query"].values()
            for key, value in (wanted or {}).items()
            if (key, _values(value)) in having
        ]
        for name, query in queries.items()
    }


def merit(
    encoder: Encoder,
    folder: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    method: str = "sum",
    weight: float = 0.5,
    on_error: str = "raise",
    output: str | os.PathLike[str] | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """Search products with an encoder of pictures and texts.

    A product is the sum of its picture's and its title's unit vectors; a query is its products' mean, its instruction,
    or `weight` of the instruction and the rest of the mean. With `learned` the encoder reads the whole query, each
    product's picture at its mark in the instruction, and every product as its picture before its title (Coral).

    Args:
        encoder: of pictures and texts; for `learned` one whose `encode_queries` takes several pictures.
        folder: of the files.
        images: folder of the pictures; None: `folder/images`.
        method: `sum`, `text`, `products` or `learned`.
        weight: of the instruction in `sum`, 0..1.
        on_error: pictures that are missing or broken: `raise`, or `null`: then the title alone counts.
        output: folder for `merit.json`: the rank of each query's first positive up to 10, or -1, as in the original.
        confidence: level of bootstrap intervals.

    Returns:
        `positives`: recall@1, 5, 10 and mrr@10; `conditions`: the share of a query's conditions that the best of the
        first ten meets, where products have attributes.

    Raises:
        UserError: missing files or pictures; an encoder that does not read whole queries, for `learned`.
    """
    check_option("method", method, MERIT_METHODS)
    check_option("on_error", on_error, ("raise", "null"))
    if not 0 <= weight <= 1:
        raise UserError(f"weight={weight} must be between 0 (only the products) and 1 (only the text).")
    products, queries = read_merit(folder)
    root = Path(images) if images is not None else Path(folder) / "images"
    shop = _Shop(encoder, products, root.resolve(), on_error)
    notes: list[str] = []
    if method == "learned":
        vectors, asked, notes = _composed(shop, queries)
    else:
        share = {"sum": weight, "text": 1.0, "products": 0.0}[method]
        vectors, asked = _mixed(shop, queries, share)
        if getattr(encoder, "composes", False):
            notes.append("this encoder reads whole queries: --method learned")
    gone = [name for name, row in zip(queries, asked) if (row != row).any()]
    if gone:
        raise UserError(f"{len(gone)} queries have no vector: {offenders(gone)}.")
    blocks = ((start, vectors[start : start + 8192]) for start in range(0, len(vectors), 8192))
    every = [ComposedQuery(name, "", str(row["query instruction"])) for name, row in queries.items()]
    ranked, _, _ = search_composed(asked, every, shop.keys, blocks, DEPTH)
    positives = {name: [str(key) for key in row["pos_candidate"]] for name, row in queries.items()}
    metrics = ["recall@1", "recall@5", "recall@10", "mrr@10"]
    found = ResultSet({"positives": rankings(ranked, positives, metrics=metrics, name="merit", confidence=confidence)})
    conditions = {name: sets for name, sets in merit_conditions(products, queries).items() if sets}
    if conditions:
        mine = {name: ranked[name] for name in conditions}
        found["conditions"] = condition_recall(mine, conditions, k=DEPTH, confidence=confidence)
    found.notes += (*shop.lost(), *notes)
    if output is not None:
        path = Path(output) / "merit.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_first_ranks(ranked, positives)), encoding="utf-8")
        found.notes += (f"ranks: {path}",)
    return tag(found, encoder, method, weight)


@dataclass
class _Shop:
    """The products of a file, their pictures, and who encodes them."""

    encoder: Any
    products: Mapping[str, Mapping[str, Any]]
    root: Path
    on_error: str

    def __post_init__(self) -> None:
        self.keys = sorted(self.products)
        self.gone: list[str] = []

    def load(self, key: str) -> Image:
        """The picture of a product.

        Raises:
            RowError: it is missing, or lies outside of the folder.
        """
        from panoglot.pictures import Image

        path = (self.root / str(self.products[key].get("image") or "")).resolve()
        if not path.is_relative_to(self.root) or not path.is_file():
            raise RowError("missing", key)
        return Image.from_path(str(path))

    def title(self, key: str) -> str:
        """The title of a product, or nothing."""
        return str(self.products[key]["title"] or "").strip()

    def lose(self, keys: Sequence[str]) -> None:
        """Take note of products without a picture.

        Raises:
            UserError: that is not allowed.
        """
        if keys and self.on_error == "raise":
            few = f"{offenders(keys)}; or use on_error='null'."
            raise UserError(f"{len(keys)} products have no picture in {self.root}: {few}")
        self.gone = list(keys)

    def lost(self) -> list[str]:
        """What is worth saying of products without a picture."""
        count = len(self.gone)
        return [f"{count} of {len(self.keys)} products had no picture: their titles alone"] if count else []


def _mixed(shop: _Shop, queries: Mapping[str, Mapping[str, Any]], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the products and of the queries, each a mix of vectors of pictures and of texts."""
    import numpy as np

    encoder, keys = shop.encoder, shop.keys
    pictures = np.concatenate([block for _, block in encode_pictures(encoder, keys, shop.load)])
    shop.lose([keys[n] for n in np.flatnonzero(np.isnan(pictures).any(axis=1)).tolist()])
    titles = np.full_like(pictures, np.nan)
    langs = [parse_language(str(shop.products[key].get("language") or "")) or UNKNOWN_LANGUAGE for key in keys]
    written = [shop.title(key) for key in keys]
    for lang in dict.fromkeys(langs):
        mine = [n for n in range(len(keys)) if langs[n] == lang and written[n]]
        if mine:
            titles[mine] = encode_texts(encoder, [written[n] for n in mine], lang)
    vectors = unit(np.nan_to_num(pictures) + np.nan_to_num(titles)).astype(np.float32)
    place = {key: n for n, key in enumerate(keys)}
    texts = encode_texts(encoder, [str(row["query instruction"]) for row in queries.values()], "en")
    shown = np.stack(
        [np.nan_to_num(vectors[[place[str(key)] for key in row["query"]]]).mean(axis=0) for row in queries.values()]
    )
    mixed = unit(share * np.nan_to_num(texts) + (1 - share) * np.nan_to_num(unit(shown))).astype(np.float32)
    return vectors, mixed


def _composed(shop: _Shop, queries: Mapping[str, Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Unit vectors of the products and of the queries as an encoder reads them whole, and what is worth saying."""
    import numpy as np

    encoder = shop.encoder
    if not getattr(encoder, "composes", hasattr(encoder, "encode_queries")):
        name = getattr(encoder, "name", type(encoder).__name__)
        line = command("train", "merit-coral", "X.pano", "-o", "run")
        raise UserError(f"'{name}' does not read whole queries; one that does is trained by: {line}")
    blind: set[str] = set()

    def picture(key: str) -> Image | None:
        try:
            return None if key in blind else shop.load(key)
        except RowError:
            blind.add(key)
            return None

    def product(key: str) -> list[Any]:
        return [one for one in (picture(key), shop.title(key)) if one]

    def encoded(many: Sequence[Callable[[], list[Any]]]) -> np.ndarray:
        rows = []
        for start in range(0, len(many), _CHUNK):
            parts = [one() for one in many[start : start + _CHUNK]]
            rows.append(unit(np.asarray(finish(encoder.encode_queries(parts)), np.float32)))
        return np.concatenate(rows).astype(np.float32)

    vectors = encoded([partial(product, key) for key in shop.keys])
    broken = [n for n in np.flatnonzero(np.isnan(vectors).any(1)).tolist() if shop.keys[n] not in blind]
    blind.update(shop.keys[n] for n in broken)
    shop.lose(sorted(blind))
    for n in broken:  # a picture that cannot be decoded: the title alone
        if shop.title(shop.keys[n]):
            vectors[n] = encoded([partial(product, shop.keys[n])])[0]
    unmarked = [name for name, row in queries.items() if len(_pieces(row)) - 1 != len(row["query"])]
    asked = encoded([partial(merit_query, row, picture, shop.title) for row in queries.values()])
    notes = []
    if unmarked:
        notes.append(f"{len(unmarked)} of {len(queries)} instructions have no mark of every product: they stand behind")
    return vectors, asked, notes


def _pieces(row: Mapping[str, Any]) -> list[str]:
    """The instruction between the marks of its pictures."""
    return str(row["query instruction"]).split(MARK)


def merit_query(
    row: Mapping[str, Any], picture: Callable[[str], Any], title: Callable[[str], str] = lambda key: ""
) -> list[Any]:
    """The parts of a query in their order: texts, and each product's picture where `<image>` stands for it.

    Published instructions have the product's title behind the mark. Where the marks are not as many as the products,
    every product stands behind the instruction, in tags as published ones have, with its title.

    Args:
        row: of `queries.jsonl`.
        picture: of a product; None where there is none.
        title: of a product.

    >>> row = {"query instruction": "colour of <Product 1> <image>\\nkaos </Product 1>", "query": {"r": {}}}
    >>> merit_query(row, str.upper)
    ['colour of <Product 1> ', 'R', '\\nkaos </Product 1>']
    >>> merit_query({"query instruction": "like this", "query": {"r": {}}}, str.upper, str.title)
    ['like this', ' <Product 1> ', 'R', '\\nR </Product 1>']
    """
    pieces, keys = _pieces(row), [str(key) for key in row["query"]]
    if len(pieces) - 1 == len(keys):
        parts = [one for text, key in zip(pieces, keys) for one in (text, picture(key))] + [pieces[-1]]
    else:
        parts = [str(row["query instruction"])]
        for n, key in enumerate(keys, 1):
            parts += [f" <Product {n}> ", picture(key), f"\n{title(key)} </Product {n}>"]
    return [one for one in parts if one not in (None, "")]


def _first_ranks(ranked: Mapping[str, Sequence[str]], positives: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {
        name: next((n for n, key in enumerate(row, 1) if key in positives[name]), -1) for name, row in ranked.items()
    }


def _run(
    data: str,
    encoder: Any,
    *,
    images: str | None = None,
    method: str = "sum",
    weight: float = 0.5,
    submission: str | None = None,
    on_error: str = "raise",
    confidence: float | None = None,
) -> Any:
    """Search products.

    Args:
        method: `sum` of the products and the instruction, `products`, `text`, or `learned`: the encoder reads
            the whole query (`panoglot train merit-coral`).
        weight: of the text in `sum`, 0..1.
        submission: folder for the ranks of the first positives, as the published code takes them.
    """
    more: dict[str, Any] = {"images": images, "on_error": on_error, "confidence": confidence}
    return merit(encoder, data, method=method, weight=weight, output=submission, **more)


MERIT = Benchmark(
    "merit", "retrieval", "products by several example products and a sentence: recall, MRR, conditions met",
    "--data: folder of `products.jsonl`, `queries.jsonl`, `images/`; --encoder; maybe --method learned",
    "huggingface.co/datasets/WeiChow/merit", Way(_run, only={"weight": ("method", "sum")}),
)  # fmt: skip
