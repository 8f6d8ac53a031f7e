"""What runs of composed retrieval have in common: queries, their vectors, a gallery that passes by, files and texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import unit
from panoglot.checks import check_option, offenders
from panoglot.errors import BudgetReached, RowError, UserError
from panoglot.evaluate._read import encode_blocks
from panoglot.formats._json import read_json
from panoglot.metrics._results import ResultSet
from panoglot.retrieval import (
    PRESETS,
    Askers,
    Pack,
    Plan,
    Query,
    QueryPart,
    Ranker,
    Term,
    compose_all,
    fold,
    make_plans,
)

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = [
    "COMPOSED",
    "METHODS",
    "Compose",
    "Composed",
    "ComposedQuery",
    "as_list",
    "as_queries",
    "check_texts",
    "compose_packs",
    "encode_pictures",
    "find_files",
    "padded",
    "read_texts",
    "rows_of",
    "said_of",
    "search_composed",
    "short_of",
    "tag",
]

METHODS = ("sum", "text", "image")
#: Presets whose papers show the encoder no picture longer than this; others see it as the encoder cuts it.
_PADS = {"cirevl": 1.25, "cotmr": 1.25}
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


@dataclass
class Composed:
    """What queries look for.

    Attributes:
        packs: their vectors and rules, by query id.
        plans: their plans, as far as they had vectors.
        queries: the queries as records.
        fallbacks: how many had only one usable side where two were wanted, or whose planner fell back.
    """

    packs: dict[str, Pack] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    queries: dict[str, Query] = field(default_factory=dict)
    fallbacks: int = 0


#: A method of your own: (queries, a function from keys to pictures) to query vectors `[N, dim]`.
Compose = Callable[[Sequence[ComposedQuery], Callable[[Sequence[str]], list[Any]]], Any]


def encode_pictures(
    encoder: Encoder, keys: Sequence[str], load: Callable[[str], Image], chunk: int = 256
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first key, unit vectors float32 `[n, dim]`), a chunk of pictures at a time; NaN for what fails."""
    import numpy as np

    for start, block in encode_blocks(encoder, keys, load, chunk):
        yield start, unit(block).astype(np.float32)


def compose_packs(
    encoder: Encoder,
    queries: Sequence[ComposedQuery],
    load: Callable[[str], Image],
    *,
    method: str | Compose = "sum",
    weight: float = 0.5,
    lang: str = "en",
    askers: Askers | None = None,
    options: Mapping[str, Any] | None = None,
    see: Callable[[str], Image] | None = None,
) -> Composed:
    """What every query looks for, as vectors and a rule: by a simple rule, a preset of `search`, or a function.

    Args:
        encoder: of pictures and texts; a preset `learned` wants one that composes (`encode_queries`).
        queries: the queries.
        load: picture of a key.
        method: `image` (the reference), `text` (the instruction), `sum` (`weight` of the text, the rest of the
            picture), a preset of `panoglot search` (`rules`, `cirevl` …), or a function, see `Compose`.
        weight: of the text in `sum`, 0..1.
        lang: language of the instructions.
        askers: the models of a preset.
        options: options of a preset.
        see: picture of a key as the encoder is shown it; None: as planners are.

    Returns:
        What the queries look for.

    Raises:
        UserError: queries without any usable side; the money of `askers` is spent: every answer so far is kept.
    """
    import numpy as np

    if not isinstance(method, str):
        made = np.asarray(method(queries, lambda keys: [load(key) for key in keys]), dtype=np.float32)
        if made.shape != (len(queries), encoder.dim):
            raise UserError(
                f"the method gave {list(made.shape)} for {len(queries)} queries of {encoder.dim} dimensions."
            )
        plans = {q.id: Plan((Term("soft", row.tolist()),)) for q, row in zip(queries, unit(made))}
        asked = as_queries(queries, lang)
        packs, _, _ = compose_all(plans, asked, encoder, _nothing)
        return Composed(packs, plans, asked)
    if not 0 <= weight <= 1:
        raise UserError(f"weight={weight} must be between 0 (only the picture) and 1 (only the text).")
    asked = as_queries(queries, lang)
    if method in METHODS:
        plans = {query.id: _simple(query, method, weight) for query in queries}
    elif method in PRESETS:
        try:
            plans = make_plans(asked, method, askers or Askers(), options=options, look=load, whole=True)
        except BudgetReached as error:
            raise UserError(f"{error} Every answer so far is kept.") from None
    else:
        check_option("method", method, (*METHODS, *PRESETS))
    flagged = {key for key, plan in plans.items() if plan.fallback_used}
    resolve = _references(encoder, plans, see or load)
    packs, used, lost = compose_all(plans, asked, encoder, resolve, _read_by(load))
    # who asked for the picture alone gets no text in its place
    again = {q.id: _simple(q, "sum", 0.5) for q in queries if q.id in lost and method != "image"}
    more, simple, _ = compose_all(again, asked, encoder, _references(encoder, again, see or load), _read_by(load))
    packs |= more
    used |= simple
    flagged |= again.keys() | {key for key, plan in used.items() if plan.fallback_used}
    gone = [query.id for query in queries if query.id not in packs or not _points(packs[query.id])]
    if gone:
        raise UserError(f"{len(gone)} queries have neither a usable picture nor a text: {offenders(gone)}.")
    return Composed({query.id: packs[query.id] for query in queries}, used, asked, len(flagged))


def _points(pack: Pack) -> bool:
    """Whether there is a direction to look in."""
    vector = fold(pack)
    return bool((pack.weights > 0).any()) and (vector is None or bool(vector.any()))


def _nothing(value: Any) -> Any:
    return RowError("missing", str(value))


def as_queries(queries: Sequence[ComposedQuery], lang: str) -> dict[str, Query]:
    """Queries as the records of `search`, by id."""
    return {query.id: _as_query(query, lang) for query in queries}


def _as_query(query: ComposedQuery, lang: str) -> Query:
    parts = [QueryPart("image", query.reference)] if query.reference else []
    if query.text.strip():
        parts.append(QueryPart("text", query.text))
    return Query(tuple(parts), query.id, lang, exclude=query.exclude, subset=query.group or None)


def _simple(query: ComposedQuery, method: str, weight: float) -> Plan:
    """The plan of a simple rule; an empty instruction asks for the same picture."""
    text = [Term("text", query.text, weight if method == "sum" else 1.0)] if query.text.strip() else []
    image = [Term("image", query.reference, 1 - weight if method == "sum" else 1.0)]
    if not text:
        return Plan((Term("image", query.reference),), fallback_used=method != "image")
    return Plan(tuple(text if method == "text" else image if method == "image" else [*text, *image]))


def _references(encoder: Encoder, plans: Mapping[str, Plan], load: Callable[[str], Image]) -> Callable[[Any], Any]:
    """The unit vectors of the pictures that plans name; NaN for what fails."""
    import numpy as np

    keys = list(dict.fromkeys(t.value for plan in plans.values() for t in plan.terms if t.kind == "image"))
    if not keys:
        return _nothing
    rows = np.concatenate([rows for _, rows in encode_pictures(encoder, keys, load)])
    place = dict(zip(keys, rows))
    return lambda key: place[key]


def _read_by(load: Callable[[str], Image]) -> Callable[[Any], Any]:
    def picture(key: Any) -> Any:
        try:
            return load(key)
        except RowError as error:
            return error

    return picture


def search_composed(
    found: np.ndarray | Mapping[str, Pack],
    queries: Sequence[ComposedQuery],
    keys: Sequence[str],
    blocks: Iterable[tuple[int, np.ndarray]],
    depth: int,
    captions: Callable[[int, int], np.ndarray] | None = None,
) -> tuple[dict[str, list[str]], dict[str, list[str]], int]:
    """The best candidates of every query from a gallery that passes by once; equal scores by key.

    Args:
        found: what queries look for: packs by id, or one vector each, `[N, dim]`.
        queries: the queries.
        keys: of the gallery, sorted.
        blocks: (first key, unit vectors), in order; rows with NaN are never found.
        depth: candidates to keep.
        captions: unit vectors of the captions of keys from a first one up to a last one; NaN for none.

    Returns:
        `(ranked, grouped, lost)`: lists by query; those of the queries' groups; rows without a vector.
    """
    import numpy as np

    packs = (
        found
        if isinstance(found, Mapping)
        else {
            query.id: Pack(row[None], np.ones(1), ("query",), np.zeros(1, bool), np.full(1, -1), _ONE)
            for query, row in zip(queries, found)
        }
    )
    ranker = Ranker(
        packs, keys, depth,
        exclude={query.id: query.exclude for query in queries}, groups={query.id: query.group for query in queries},
    )  # fmt: skip
    for start, block in blocks:
        ranker.add(start, block, None if captions is None else captions(start, start + len(block)))
    ranked, grouped = ranker.finish()
    return ranked, {query.id: grouped.get(query.id, []) for query in queries if query.group}, ranker.lost


_ONE = Plan((Term("soft", (1.0,)),))


def short_of(method: str | Compose) -> str:
    """What the queries lacked that a method counts as fallbacks."""
    return "a simpler plan than asked for" if method in PRESETS else "only a picture or only a text"


def tag(found: ResultSet, encoder: Any, method: str | Compose, weight: float) -> ResultSet:
    """Say in every result who searched, and how."""
    named = method if isinstance(method, str) else getattr(method, "__name__", "own")
    said = {"encoder": getattr(encoder, "name", ""), "model": named + (f" {weight:g}" if named == "sum" else "")}
    notes, summary = found.notes, found.summary
    return ResultSet(
        {name: replace(one, options={**one.options, **said}) for name, one in found.items()},
        summary=summary, notes=notes,
    )  # fmt: skip


def padded(load: Callable[[str], Image], method: str | Compose, ratio: float | None) -> Callable[[str], Image]:
    """Pictures as CIReVL and its like show them to the encoder: a long one has black beside it, up to a ratio of sides.

    Args:
        load: picture of a key.
        method: whose ratio it is where none is given.
        ratio: longest side over the shortest, at least 1; 0: as they are; None: the method's own.

    Raises:
        UserError: a ratio between 0 and 1, or below 0.
    """
    most = (_PADS.get(method, 0.0) if isinstance(method, str) else 0.0) if ratio is None else ratio
    if most and not most >= 1:
        raise UserError(f"pad={most:g} is a ratio of sides: 1 (a square) or more, 0 for pictures as they are.")
    if not most:
        return load

    def wide(key: str) -> Image:
        import PIL.Image

        from panoglot.pictures import Image

        picture = load(key)
        image = picture.pil()
        edge = int(max(image.size) / most)
        if min(image.size) >= edge:
            return picture
        size = max(image.width, edge), max(image.height, edge)
        whole = PIL.Image.new("RGB", size)
        whole.paste(image.convert("RGB"), ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
        return Image.from_pil(whole)

    return wide


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


def said_of(encoder: Encoder, keys: Sequence[str], texts: Mapping[str, str], lang: str) -> Callable[[int, int], Any]:
    """The vectors of the captions of a gallery, encoded as they are asked for; NaN where there is none."""
    import numpy as np

    def rows(start: int, stop: int) -> np.ndarray:
        found = np.full((stop - start, encoder.dim), np.nan, np.float32)
        there = [n for n, key in enumerate(keys[start:stop]) if texts.get(key, "").strip()]
        if there:
            made = encoder.encode_texts([texts[keys[start + n]] for n in there], [lang] * len(there))
            found[there] = unit(np.asarray(made, np.float32))
        return found

    return rows


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
