"""Run an encoder, or a method of your own, on composed retrieval: a picture and a text in, a picture out.

| benchmark | `annotations` is a folder (or its files) with | `images` is a folder with | not in a query's gallery |
|---|---|---|---|
| `circo` | `val.json`, `test.json` | COCO's 123,403 `unlabeled2017` pictures | nothing |
| `cirr` | `cap.rc2.<split>.json`, `split.rc2.<split>.json` | NLVR2's `dev` or `test1` pictures | the reference |
| `fashion-iq` | `cap.<category>.<split>.json`, `split.<category>.<split>.json` | pictures named by ASIN | nothing |
| `genecis` | `change_attribute.json` and three more, see `genecis` | COCO val2017 and Visual Genome | other queries' |

What each leaves out is its own protocol (the reference stays in CIRCO's and FashionIQ's gallery and is often first).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.evaluate._ask import call, encode_texts, unit
from panoglot.evaluate._check import check_option, offenders
from panoglot.evaluate._read import picture_files, read_json
from panoglot.evaluate._results import ResultSet
from panoglot.evaluate.benchmarks._composed import circo, cirr, fashion_iq, fashion_iq_text, write_submission

if TYPE_CHECKING:
    import numpy as np

    from panoglot.io import Image
    from panoglot.models.roles import Encoder

__all__ = [
    "COMPOSED",
    "METHODS",
    "Compose",
    "ComposedQuery",
    "compose_vectors",
    "composed_run",
    "encode_pictures",
    "search",
]

METHODS = ("sum", "text", "image")
#: Benchmark to where its files are.
COMPOSED = {
    "circo": "https://github.com/miccunifi/CIRCO, pictures: COCO's unlabeled2017 (cocodataset.org)",
    "cirr": "https://github.com/Cuberick-Orion/CIRR, pictures: NLVR2 (lil.nlp.cornell.edu/nlvr)",
    "fashion-iq": "https://github.com/XiaoxiaoGuo/fashion-iq, pictures: github.com/hongwang600/fashion-iq-metadata",
    "genecis": "https://github.com/facebookresearch/genecis, pictures: COCO's val2017 and Visual Genome 1.2",
}
#: Pictures of CIRCO's gallery.
CIRCO_GALLERY = 123_403
CATEGORIES = ("dress", "shirt", "toptee")


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

    for start in range(0, len(keys), chunk):
        some = keys[start : start + chunk]
        found = np.full((len(some), encoder.dim), np.nan, dtype=np.float32)
        pictures, rows = [], []
        for n, key in enumerate(some):
            try:
                pictures.append(load(key))
                rows.append(n)
            except RowError:
                continue
        if pictures:
            vectors = np.asarray(call(encoder, "encode_images", pictures), dtype=np.float32)
            if vectors.ndim != 2:
                raise UserError("this encoder gives several vectors a picture; composed retrieval here needs one.")
            found[rows] = unit(vectors)
        yield start, found


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


@dataclass(frozen=True)
class _Set:
    """A part of a benchmark: a category of FashionIQ, or all of it."""

    name: str
    rows: list[dict[str, Any]]
    queries: list[ComposedQuery]
    keys: list[str]


def composed_run(
    encoder: Encoder,
    benchmark: str,
    annotations: str | os.PathLike[str] | Sequence[str],
    images: str | os.PathLike[str] | Sequence[str],
    *,
    method: str | Compose = "sum",
    weight: float = 0.5,
    texts: str | os.PathLike[str] | Mapping[str, str] | None = None,
    lang: str = "en",
    split: str = "val",
    on_error: str = "raise",
    output: str | os.PathLike[str] | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """Search a benchmark's gallery, which passes by once, write rankings as the official servers take them, score them.

    Args:
        encoder: of pictures and texts.
        benchmark: `circo`, `cirr`, `fashion-iq`, `genecis`.
        annotations: its folder, or files of it.
        images: folders of its pictures.
        method: see `compose_vectors`.
        weight: of the text in `sum`.
        texts: instructions that others rewrote (CIReVL's edited captions, translations …), by query id, or a file of
            them; a query's own text where there is none. `fashion-iq`: ids are `<category>/<row>`.
        lang: language of the texts.
        split: `val`, or the test split of each.
        on_error: pictures of the gallery that are missing or cannot be read: `raise`, or `null`: never found, counted.
        output: folder for the rankings: `<benchmark>[…].json`.
        confidence: level of bootstrap intervals.

    Returns:
        The benchmark's scores; of a test split, whose truth only its server knows, none.

    Raises:
        UserError: missing files (saying which, and where they are), missing pictures.
    """
    import numpy as np

    check_option("benchmark", benchmark, COMPOSED)
    check_option("on_error", on_error, ("raise", "null"))
    if benchmark == "genecis":
        from panoglot.evaluate.benchmarks._genecis import genecis

        return genecis(
            encoder, annotations, images, method=method, weight=weight, texts=texts, lang=lang, on_error=on_error,
            output=output, confidence=confidence,
        )  # fmt: skip
    rewritten = read_texts(texts)
    files = {path.stem: path for folder in as_list(images) for path in picture_files(folder)}
    if benchmark == "circo":
        files = {str(int(name)): path for name, path in files.items() if name.isdecimal()}
    sets = {"circo": _circo, "cirr": _cirr, "fashion-iq": _fashion_iq}[benchmark](annotations, split, files)
    known = {query.id for one in sets for query in one.queries}
    check_texts(rewritten, known)

    from panoglot.io import Image

    def load(key: str) -> Image:
        if key not in files:
            raise RowError("missing", key)
        return Image.from_path(str(files[key]))

    ranked, groups, notes = {}, {}, []
    for one in sets:
        gone = [key for key in one.keys if key not in files]
        if gone and on_error == "raise":
            raise UserError(
                f"{len(gone)} of {len(one.keys)} gallery pictures are missing in {offenders(as_list(images))}: "
                f"{offenders(gone)}. Get them ({COMPOSED[benchmark]}), or leave them out with on_error='null'."
            )
        queries = [replace(query, text=rewritten.get(query.id, query.text)) for query in one.queries]
        vectors, fallbacks = compose_vectors(encoder, queries, load, method=method, weight=weight, lang=lang)
        found, grouped, lost = search(
            np.asarray(vectors, np.float32), queries, one.keys, encode_pictures(encoder, one.keys, load), 50
        )
        if lost and on_error == "raise":
            raise UserError(f"{lost} gallery pictures cannot be read; leave them out with on_error='null'.")
        cut = len(one.name) + 1 if one.name else 0
        ranked[one.name] = {query[cut:]: row for query, row in found.items()}
        groups[one.name] = {query[cut:]: row for query, row in grouped.items()}
        where = f"{one.name}: " if one.name else ""
        if lost:
            notes.append(f"{where}{lost} of {len(one.keys)} gallery pictures were missing or unreadable: never found")
        if fallbacks:
            notes.append(f"{where}{fallbacks} queries had only a picture or only a text")
        if benchmark == "circo" and len(one.keys) != CIRCO_GALLERY:
            notes.append(
                f"the gallery has {len(one.keys)} pictures, not CIRCO's {CIRCO_GALLERY}: easier than published"
            )
    if output is not None:
        notes += _write(benchmark, ranked, groups, Path(output))
    rows = {one.name: one.rows for one in sets}
    scored = _score(benchmark, ranked, groups, rows, confidence)
    scored.notes += tuple(notes)
    return tag(scored, encoder, method, weight)


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


def _circo(annotations: Any, split: str, files: Mapping[str, Path]) -> list[_Set]:
    (path,) = find_files(annotations, [f"{split}.json"], "circo").values()
    rows = rows_of(path, ("id", "reference_img_id", "relative_caption"))
    queries = [ComposedQuery(str(r["id"]), str(r["reference_img_id"]), r["relative_caption"]) for r in rows]
    return [_Set("", rows, queries, sorted(files, key=int))]


def _cirr(annotations: Any, split: str, files: Mapping[str, Path]) -> list[_Set]:
    captions, gallery = find_files(annotations, [f"cap.rc2.{split}.json", f"split.rc2.{split}.json"], "cirr").values()
    rows = rows_of(captions, ("pairid", "reference", "caption", "img_set"))
    queries = [
        ComposedQuery(str(r["pairid"]), r["reference"], r["caption"], (r["reference"],), tuple(r["img_set"]["members"]))
        for r in rows
    ]
    return [_Set("", rows, queries, sorted(read_json(gallery)))]


def _fashion_iq(annotations: Any, split: str, files: Mapping[str, Path]) -> list[_Set]:
    names = [f"{kind}.{category}.{split}.json" for category in CATEGORIES for kind in ("cap", "split")]
    found = find_files(annotations, names, "fashion-iq")
    sets = []
    for category in CATEGORIES:
        rows = rows_of(found[f"cap.{category}.{split}.json"], ("candidate", "captions"))
        queries = [
            ComposedQuery(f"{category}/{n}", row["candidate"], fashion_iq_text(row["captions"]))
            for n, row in enumerate(rows)
        ]
        sets.append(_Set(category, rows, queries, sorted(read_json(found[f"split.{category}.{split}.json"]))))
    return sets


def _write(benchmark: str, ranked: Any, groups: Any, folder: Path) -> list[str]:
    import json

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}).") from None
    written = []
    for name, lists in ranked.items():
        if benchmark == "fashion-iq":  # no server takes it any more: names by row
            path = folder / f"fashion-iq.{name}.json"
            path.write_text(json.dumps(lists), encoding="utf-8")
        else:
            path = write_submission(lists, folder / f"{benchmark}.json", benchmark)
        written.append(path)
        if benchmark == "cirr":
            written.append(write_submission(groups[name], folder / "cirr-subset.json", "cirr-subset"))
    return [f"rankings: {', '.join(map(str, written))}"]


def _score(benchmark: str, ranked: Any, groups: Any, rows: Any, confidence: float | None) -> ResultSet:
    column = {"circo": "gt_img_ids", "cirr": "target_hard", "fashion-iq": "target"}[benchmark]
    if any(column not in row for mine in rows.values() for row in mine):
        return ResultSet(notes=("no ground truth in the annotations: nothing is scored here",))
    if benchmark == "fashion-iq":
        return fashion_iq(ranked, rows, confidence=confidence)
    if benchmark == "circo":
        return circo(ranked[""], rows[""], confidence=confidence)
    return cirr(ranked[""], rows[""], subset=groups[""], confidence=confidence)
