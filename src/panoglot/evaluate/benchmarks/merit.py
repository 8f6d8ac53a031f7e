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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_texts, unit
from panoglot.checks import check_option, offenders
from panoglot.errors import RowError, UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate.benchmarks._compose import ComposedQuery, encode_pictures, search_composed, tag
from panoglot.formats._json import read_rows
from panoglot.languages._tags import UNKNOWN_LANGUAGE, parse_language
from panoglot.metrics._results import ResultSet
from panoglot.metrics.ranking.rankings import condition_recall, rankings

if TYPE_CHECKING:
    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = ["MERIT", "MERIT_METHODS", "merit", "merit_conditions", "read_merit"]

SOURCE = "https://huggingface.co/datasets/WeiChow/merit"
#: What a query's vector is made of: the instruction, its products, or both.
MERIT_METHODS = ("sum", "text", "products")
DEPTH = 10


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
    or `weight` of the instruction and the rest of the mean.

    Args:
        encoder: of pictures and texts.
        folder: of the files.
        images: folder of the pictures; None: `folder/images`.
        method: `sum`, `text` or `products`.
        weight: of the instruction in `sum`, 0..1.
        on_error: pictures that are missing or broken: `raise`, or `null`: then the title alone counts.
        output: folder for `merit.json`: the rank of each query's first positive up to 10, or -1, as in the original.
        confidence: level of bootstrap intervals.

    Returns:
        `positives`: recall@1, 5, 10 and mrr@10; `conditions`: the share of a query's conditions that the best of the
        first ten meets, where products have attributes.
    """
    import numpy as np

    from panoglot.pictures import Image

    check_option("method", method, MERIT_METHODS)
    check_option("on_error", on_error, ("raise", "null"))
    if not 0 <= weight <= 1:
        raise UserError(f"weight={weight} must be between 0 (only the products) and 1 (only the text).")
    products, queries = read_merit(folder)
    root = (Path(images) if images is not None else Path(folder) / "images").resolve()

    def load(key: str) -> Image:
        path = (root / str(products[key].get("image") or "")).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise RowError("missing", key)
        return Image.from_path(str(path))

    keys = sorted(products)
    pictures = np.concatenate([block for _, block in encode_pictures(encoder, keys, load)])
    lost = [keys[n] for n in np.flatnonzero(np.isnan(pictures).any(axis=1)).tolist()]
    if lost and on_error == "raise":
        raise UserError(f"{len(lost)} products have no picture in {root}: {offenders(lost)}; or use on_error='null'.")
    titles = np.full_like(pictures, np.nan)
    langs = [parse_language(str(products[key].get("language") or "")) or UNKNOWN_LANGUAGE for key in keys]
    written = np.array([bool(str(products[key]["title"] or "").strip()) for key in keys])
    for lang in dict.fromkeys(langs):
        mine = [n for n in range(len(keys)) if langs[n] == lang and written[n]]
        if mine:
            titles[mine] = encode_texts(encoder, [str(products[keys[n]]["title"]) for n in mine], lang)
    vectors = unit(np.nan_to_num(pictures) + np.nan_to_num(titles)).astype(np.float32)
    place = {key: n for n, key in enumerate(keys)}
    asked = [ComposedQuery(name, "", str(row["query instruction"])) for name, row in queries.items()]
    texts = encode_texts(encoder, [query.text for query in asked], "en")
    shown = np.stack(
        [np.nan_to_num(vectors[[place[str(key)] for key in row["query"]]]).mean(axis=0) for row in queries.values()]
    )
    share = {"sum": weight, "text": 1.0, "products": 0.0}[method]
    mixed = unit(share * np.nan_to_num(texts) + (1 - share) * np.nan_to_num(unit(shown))).astype(np.float32)
    gone = [query.id for query, row in zip(asked, mixed) if np.isnan(row).any()]
    if gone:
        raise UserError(f"{len(gone)} queries have no vector: {offenders(gone)}.")
    blocks = ((start, vectors[start : start + 8192]) for start in range(0, len(keys), 8192))
    ranked, _, _ = search_composed(mixed, asked, keys, blocks, DEPTH)
    positives = {name: [str(key) for key in row["pos_candidate"]] for name, row in queries.items()}
    metrics = ["recall@1", "recall@5", "recall@10", "mrr@10"]
    found = ResultSet({"positives": rankings(ranked, positives, metrics=metrics, name="merit", confidence=confidence)})
    conditions = {name: sets for name, sets in merit_conditions(products, queries).items() if sets}
    if conditions:
        mine_ = {name: ranked[name] for name in conditions}
        found["conditions"] = condition_recall(mine_, conditions, k=DEPTH, confidence=confidence)
    if lost:
        found.notes += (f"{len(lost)} of {len(keys)} products had no picture: their titles alone",)
    if output is not None:
        path = Path(output) / "merit.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_first_ranks(ranked, positives)), encoding="utf-8")
        found.notes += (f"ranks: {path}",)
    return tag(found, encoder, method, weight)


def _first_ranks(ranked: Mapping[str, Sequence[str]], positives: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {
        name: next((n for n, key in enumerate(row, 1) if key in positives[name]), -1) for name, row in ranked.items()
    }


def _run(
    data: str, encoder: Any, *, images: str | None = None, on_error: str = "raise", confidence: float | None = None
) -> Any:
    return merit(encoder, data, images=images, on_error=on_error, confidence=confidence)


MERIT = Benchmark(
    "merit", "retrieval", "products by several example products and a sentence: recall, MRR, conditions met",
    "--data: folder of `products.jsonl`, `queries.jsonl`, `images/`; --encoder",
    "huggingface.co/datasets/WeiChow/merit", Way(_run),
)  # fmt: skip
