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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.checks import check_option, offenders
from panoglot.errors import RowError, UserError
from panoglot.evaluate._read import picture_files
from panoglot.evaluate.benchmarks._compose import (
    COMPOSED,
    Compose,
    ComposedQuery,
    as_list,
    as_queries,
    check_texts,
    compose_packs,
    encode_pictures,
    find_files,
    padded,
    read_texts,
    rows_of,
    said_of,
    search_composed,
    short_of,
    tag,
)
from panoglot.evaluate.benchmarks._composed import circo, cirr, fashion_iq, fashion_iq_text, write_submission
from panoglot.evaluate.benchmarks._composed_looks import foreseen, look_at_best, paid, settled
from panoglot.evaluate.benchmarks.genecis import genecis
from panoglot.formats._json import read_json
from panoglot.metrics._results import ResultSet

if TYPE_CHECKING:
    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder
    from panoglot.retrieval import Askers

__all__ = ["composed_run"]

#: Pictures of CIRCO's gallery.
CIRCO_GALLERY = 123_403
CATEGORIES = ("dress", "shirt", "toptee")


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
    metrics: Sequence[str] = (),
    confidence: float | None = None,
    askers: Askers | None = None,
    options: Mapping[str, Any] | None = None,
    captions: str | os.PathLike[str] | Mapping[str, str] | None = None,
    dry_run: bool = False,
    pad: float | None = None,
) -> ResultSet:
    """Search a benchmark's gallery, which passes by once, write rankings as the official servers take them, score them.

    Args:
        encoder: of pictures and texts.
        benchmark: `circo`, `cirr`, `fashion-iq`, `genecis`.
        annotations: its folder, or files of it.
        images: folders of its pictures.
        method: `sum`, `text`, `image`, a preset of `panoglot search`, or a function; see `compose_packs`.
        weight: of the text in `sum`.
        texts: instructions that others rewrote (CIReVL's edited captions, translations …), by query id, or a file of
            them; a query's own text where there is none. `fashion-iq`: ids are `<category>/<row>`.
        lang: language of the texts.
        split: `val`, or the test split of each.
        on_error: pictures of the gallery that are missing or cannot be read: `raise`, or `null`: never found, counted.
        output: folder for the rankings: `<benchmark>[…].json`.
        metrics: names; the benchmark's own without any (`genecis` has no others).
        confidence: level of bootstrap intervals.
        askers: the models of a preset, and those that look at the best: `verifier`, `evaluator`.
        options: options of a preset.
        captions: of the gallery's pictures, by name, or a file of them: a preset's share `tau` of the score.
        dry_run: only say what models would be asked, and what that costs at most.
        pad: see `padded`.

    Returns:
        The benchmark's scores; of a test split, whose truth only its server knows, none.

    Raises:
        UserError: missing files (saying which, and where they are), missing pictures.
    """
    check_option("benchmark", benchmark, COMPOSED)
    check_option("on_error", on_error, ("raise", "null"))
    if benchmark == "genecis":
        return genecis(
            encoder, annotations, images, method=method, weight=weight, texts=texts, lang=lang, on_error=on_error,
            output=output, confidence=confidence, askers=askers, options=options, captions=captions, dry_run=dry_run,
            pad=pad,
        )  # fmt: skip
    how = settled(method, options or {}, askers, captions=captions is not None)
    said, rewritten = read_texts(captions), read_texts(texts)
    files = {path.stem: path for folder in as_list(images) for path in picture_files(folder)}
    if benchmark == "circo":
        files = {str(int(name)): path for name, path in files.items() if name.isdecimal()}
    sets = {"circo": _circo, "cirr": _cirr, "fashion-iq": _fashion_iq}[benchmark](annotations, split, files)
    check_texts(rewritten, {query.id for one in sets for query in one.queries})
    see = padded(load := _loader(files), method, pad)
    for one in sets:
        one.queries[:] = [replace(query, text=rewritten.get(query.id, query.text)) for query in one.queries]
        gone = [key for key in one.keys if key not in files]
        if gone and on_error == "raise":
            raise UserError(
                f"{len(gone)} of {len(one.keys)} gallery pictures are missing in {offenders(as_list(images))}: "
                f"{offenders(gone)}. Get them ({COMPOSED[benchmark]}), or leave them out with on_error='null'."
            )
    if dry_run:
        every = as_queries([query for one in sets for query in one.queries], lang)
        return foreseen(every, method, askers, how, load, sum(len(one.keys) for one in sets))
    ranked, groups, notes = {}, {}, [*how.notes]
    for one in sets:
        composed = compose_packs(
            encoder, one.queries, load, see=see,
            method=method, weight=weight, lang=lang, askers=askers, options=how.options,
        )  # fmt: skip
        found, grouped, lost = search_composed(
            composed.packs, one.queries, one.keys, encode_pictures(encoder, one.keys, see), 50,
            said_of(encoder, one.keys, said, lang) if said else None,
        )  # fmt: skip
        if lost and on_error == "raise":
            raise UserError(f"{lost} gallery pictures cannot be read; leave them out with on_error='null'.")
        found, seen = look_at_best(composed, found, askers, load, encoder)
        cut = len(one.name) + 1 if one.name else 0
        ranked[one.name] = {query[cut:]: row for query, row in found.items()}
        groups[one.name] = {
            q[cut:]: row for q, row in look_at_best(composed, grouped, askers, load, encoder)[0].items()
        }
        notes += _said_of_set(one, benchmark, lost, f"{composed.fallbacks} queries had {short_of(method)}", seen)
    notes += [] if output is None else _write(benchmark, ranked, groups, Path(output))
    scored = _score(benchmark, ranked, groups, sets, {"metrics": metrics, "confidence": confidence})
    scored.notes += (*notes, *paid(askers))
    return tag(scored, encoder, method, weight)


def _loader(files: Mapping[str, Path]) -> Callable[[str], Image]:
    """From a key to its picture."""
    from panoglot.pictures import Image

    def load(key: str) -> Image:
        if key not in files:
            raise RowError("missing", key)
        return Image.from_path(str(files[key]))

    return load


def _said_of_set(one: _Set, benchmark: str, lost: int, short: str, seen: Sequence[str]) -> list[str]:
    """What is worth saying of a set, with its name."""
    notes = list(seen)
    if lost:
        notes.append(f"{lost} of {len(one.keys)} gallery pictures were missing or unreadable: never found")
    if not short.startswith("0 "):
        notes.append(short)
    if benchmark == "circo" and len(one.keys) != CIRCO_GALLERY:
        notes.append(f"the gallery has {len(one.keys)} pictures, not CIRCO's {CIRCO_GALLERY}: easier than published")
    return [f"{one.name}: {note}" if one.name else note for note in notes]


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


def _score(benchmark: str, ranked: Any, groups: Any, sets: Sequence[_Set], options: dict[str, Any]) -> ResultSet:
    rows = {one.name: one.rows for one in sets}
    column = {"circo": "gt_img_ids", "cirr": "target_hard", "fashion-iq": "target"}[benchmark]
    if any(column not in row for mine in rows.values() for row in mine):
        return ResultSet(notes=("no ground truth in the annotations: nothing is scored here",))
    if benchmark == "fashion-iq":
        return fashion_iq(ranked, rows, **options)
    if benchmark == "circo":
        return circo(ranked[""], rows[""], **options)
    return cirr(ranked[""], rows[""], subset=groups[""], **options)
