"""What runs of composed retrieval have in common: queries, their vectors, a gallery that passes by, files and texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_texts, unit
from panoglot.checks import check_option, offenders
from panoglot.errors import UserError
from panoglot.evaluate._read import encode_blocks, read_json
from panoglot.metrics._results import ResultSet

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = [
    "COMPOSED",
    "METHODS",
    "Compose",
    "ComposedQuery",
    "as_list",
    "check_texts",
    "compose_vectors",
    "encode_pictures",
    "find_files",
    "read_texts",
    "rows_of",
    "search",
    "tag",
]

METHODS = ("sum", "text", "image")
#: Benchmark to where its files are.
COMPOSED = {
    "circo": "https://github.com/miccunifi/CIRCO, pictures: COCO's unlabeled2017 (cocodataset.org)",
    "cirr": "https://github.com/Cuberick-Orion/CIRR, pictures: NLVR2 (lil.nlp.cornell.edu/nlvr)",
    "fashion-iq": "https://github.com/XiaoxiaoGuo/fashion-iq, pictures: github.com/hongwang600/fashion-iq-metadata",
    "genecis": "https://github.com/facebookresearch/genecis, pictures: COCO's val2017 and Visual Genome 1.2",
}


@dataclass(frozen=True)
class ComposedQuery:
    """A reference picture, what is to be different, and where to look.

    Attributes:
        id: query id.
        reference: key of the reference picture.
        text: the instruction.
        exclude: keys that are no candidates.
        group: keys to rank among themselves too (CIRR's subset).
    """

    id: str
    reference: str
    text: str
    exclude: tuple[str, ...] = ()
    group: tuple[str, ...] = ()


#: A method of your own: (queries, a function from keys to pictures) to query vectors `[N, dim]`.
Compose = Callable[[Sequence[ComposedQuery], Callable[[Sequence[str]], list[Any]]], Any]


def encode_pictures(
    encoder: Encoder, keys: Sequence[str], load: Callable[[str], Image], chunk: int = 256
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first key, unit vectors float32 `[n, dim]`), a chunk of pictures at a time; NaN for what fails."""
    import numpy as np

    for start, block in encode_blocks(encoder, keys, load, chunk):
        yield start, unit(block).astype(np.float32)


def compose_vectors(
    encoder: Encoder,
    queries: Sequence[ComposedQuery],
    load: Callable[[str], Image],
    *,
    method: str | Compose = "sum",
    weight: float = 0.5,
    lang: str = "en",
) -> tuple[np.ndarray, int]:
    """Query vectors by a simple rule, or by a method of your own.

    Args:
        encoder: of pictures and texts.
        queries: the queries.
        load: picture of a key.
        method: `image` (the reference), `text` (the instruction), `sum` (`weight` of the text, the rest of the
            picture), or a function, see `Compose`.
        weight: of the text in `sum`, 0..1.
        lang: language of the instructions.

    Returns:
        `(vectors [N, dim], fallbacks)`: how many queries had only one usable side where two were wanted.

    Raises:
        UserError: queries without any usable side.
    """
    import numpy as np

    if not isinstance(method, str):
        made = np.asarray(method(queries, lambda keys: [load(key) for key in keys]), dtype=np.float32)
        if made.shape != (len(queries), encoder.dim):
            raise UserError(
                f"the method gave {list(made.shape)} for {len(queries)} queries of {encoder.dim} dimensions."
            )
        return unit(made).astype(np.float32), 0
    check_option("method", method, METHODS)
    if not 0 <= weight <= 1:
        raise UserError(f"weight={weight} must be between 0 (only the picture) and 1 (only the text).")
    keys = list(dict.fromkeys(query.reference for query in queries))
    place = {key: n for n, key in enumerate(keys)}
    written = np.array([bool(query.text.strip()) for query in queries])
    image = np.full((len(queries), encoder.dim), np.nan, dtype=np.float32)
    text = np.full_like(image, np.nan)
    if method != "text" or not written.all():  # an empty instruction asks for the same picture
        pictures = np.concatenate([rows for _, rows in encode_pictures(encoder, keys, load)])
        image = pictures[[place[query.reference] for query in queries]]
    if method != "image":
        asked = [query.text for query, has in zip(queries, written) if has]
        if asked:
            text[written] = encode_texts(encoder, asked, lang)
    no_image, no_text = _gone(image), _gone(text)
    sides = {"image": np.where(no_image[:, None], text, image), "text": np.where(no_text[:, None], image, text)}
    mixed = unit(weight * np.nan_to_num(text) + (1 - weight) * np.nan_to_num(image)).astype(np.float32)
    found = sides[method] if method != "sum" else mixed
    lost = [query.id for query, gone in zip(queries, _gone(found)) if gone]
    if lost:
        raise UserError(f"{len(lost)} queries have neither a usable picture nor a text: {offenders(lost)}.")
    wanting = {"image": no_image, "text": no_text, "sum": no_image | no_text}[method]
    return found, int(wanting.sum())


def _gone(rows: np.ndarray) -> Any:
    """Which rows have no vector."""
    import numpy as np

    return np.isnan(rows).any(axis=1)


def search(
    vectors: np.ndarray,
    queries: Sequence[ComposedQuery],
    keys: Sequence[str],
    blocks: Iterable[tuple[int, np.ndarray]],
    depth: int,
) -> tuple[dict[str, list[str]], dict[str, list[str]], int]:
    """The best candidates of every query from a gallery that passes by once; equal scores by key.

    Args:
        vectors: of the queries, `[N, dim]`.
        queries: the queries.
        keys: of the gallery, sorted.
        blocks: (first key, unit vectors), in order; rows with NaN are never found.
        depth: candidates to keep.

    Returns:
        `(ranked, grouped, lost)`: lists by query; those of the queries' groups; rows without a vector.
    """
    import numpy as np

    number = {key: n for n, key in enumerate(keys)}
    out = [np.array([number[key] for key in query.exclude if key in number], dtype=np.int64) for query in queries]
    spare = max((len(row) for row in out), default=0)
    scores = np.full((len(queries), 0), -np.inf, dtype=np.float32)
    found = np.zeros((len(queries), 0), dtype=np.int64)
    members: dict[int, list[tuple[int, str]]] = {}
    for n, query in enumerate(queries):
        for key in query.group:
            if key not in query.exclude:
                members.setdefault(number.get(key, -1), []).append((n, key))
    grouped: list[dict[str, float]] = [{} for _ in queries]
    lost = 0
    for start, block in blocks:
        bad = _gone(block)
        lost += int(bad.sum())
        new = np.where(bad, -np.inf, vectors @ np.nan_to_num(block).T)
        for at in range(len(block)):
            for n, key in () if bad[at] else members.get(start + at, ()):
                grouped[n][key] = float(new[n, at])
        scores = np.concatenate([scores, new], axis=1)
        found = np.concatenate(
            [found, np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))], axis=1
        )
        # stable: what came first, by key, stays first among equals
        order = np.argsort(-scores, axis=1, kind="stable")[:, : depth + spare]
        scores, found = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
    ranked = {}
    for query, row, values, drop in zip(queries, found, scores, out):
        kept = row[~np.isin(row, drop) & (values > -np.inf)][:depth]
        ranked[query.id] = [keys[n] for n in kept]
    groups = {
        query.id: sorted(row, key=lambda key: (-row[key], key)) for query, row in zip(queries, grouped) if query.group
    }
    return ranked, groups, lost


def tag(found: ResultSet, encoder: Any, method: str | Compose, weight: float) -> ResultSet:
    """Say in every result who searched, and how."""
    named = method if isinstance(method, str) else getattr(method, "__name__", "own")
    said = {"encoder": getattr(encoder, "name", ""), "model": named + (f" {weight:g}" if named == "sum" else "")}
    notes, summary = found.notes, found.summary
    return ResultSet(
        {name: replace(one, options={**one.options, **said}) for name, one in found.items()},
        summary=summary, notes=notes,
    )  # fmt: skip


def as_list(given: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    """One path or several, as strings."""
    return [os.fspath(given)] if isinstance(given, str | os.PathLike) else [os.fspath(one) for one in given]


def read_texts(texts: Any) -> dict[str, str]:
    """Rewritten instructions by query id: a mapping, or a JSON file of one.

    Raises:
        UserError: something else.
    """
    data = {} if texts is None else texts if isinstance(texts, Mapping) else read_json(texts)
    if not isinstance(data, Mapping) or any(not isinstance(text, str) for text in data.values()):
        raise UserError("rewritten texts must be one JSON object: query id to text.")
    return {str(key): text for key, text in data.items()}


def check_texts(texts: Mapping[str, str], known: set[str]) -> None:
    """Refuse texts of unknown queries.

    Raises:
        UserError: naming the first.
    """
    strange = [key for key in texts if key not in known]
    if strange:
        raise UserError(
            f"{len(strange)} texts are of no query: {offenders(strange)}; ids look like {sorted(known)[0]}."
        )


def find_files(given: Any, names: Sequence[str], benchmark: str) -> dict[str, Path]:
    """The files of these names in folders (or among files).

    Raises:
        UserError: naming what is missing, and where it is.
    """
    places: dict[str, Path] = {}
    for one in map(Path, as_list(given)):
        for path in sorted(one.rglob("*.json")) if one.is_dir() else [one]:
            places.setdefault(path.name, path)
    missing = [name for name in names if name not in places or not places[name].is_file()]
    if missing:
        raise UserError(
            f"'{benchmark}' needs {', '.join(names)}; missing in {offenders(as_list(given))}: {offenders(missing)}. "
            f"Get them from {COMPOSED[benchmark]}"
        )
    return {name: places[name] for name in names}


def rows_of(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows that have all columns.

    Raises:
        UserError: naming the first that do not.
    """
    rows = read_json(path)
    odd = [
        str(n) for n, row in enumerate(rows if isinstance(rows, list) else [None])
        if not isinstance(row, Mapping) or any(column not in row for column in columns)
    ]  # fmt: skip
    if odd or not rows:
        raise UserError(f"{path}: {len(odd)} rows lack {', '.join(columns)}: {offenders(odd)}.")
    return list(rows)
