"""Generated pictures in folders: GenEval, DPG, and consistency across languages."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import call, encode_images, encode_texts, open_picture
from panoglot.checks import offenders
from panoglot.errors import RowError, UserError
from panoglot.evaluate._read import encode_files, picture_files
from panoglot.formats._json import read_rows, read_text
from panoglot.languages._tags import parse_language
from panoglot.metrics._results import ResultSet
from panoglot.metrics.generation.geneval import geneval
from panoglot.metrics.generation.neobabel import cross_lingual_consistency, dpg, switching_similarity

if TYPE_CHECKING:
    import numpy as np

    from panoglot.providers.roles import Box, Detector, Encoder, Generator

__all__ = ["clc_folder", "css_folder", "dpg_folder", "geneval_folder", "prompt_pictures"]

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
_SAYINGS = ("a photo of a {} {}", "a photo of a {}-colored {}", "a photo of a {} object")


def prompt_pictures(folder: str) -> dict[str, dict[str, list[Path]]]:
    """Pictures by language, then by prompt, from `[<language>/]<prompt>/…` or `[<language>/]<prompt>.png`.

    The first folders are languages when all of them are language tags; without them the language is empty.

    Raises:
        UserError: no pictures.
    """
    root = Path(folder)
    found: dict[str, dict[str, list[Path]]] = {}
    tops = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    spoken = bool(tops) and all(not name.isdigit() and parse_language(name) for name in tops)
    for path in picture_files(root):
        parts = path.relative_to(root).parts
        lang, rest = (parts[0], parts[1:]) if spoken and len(parts) > 1 else ("", parts)
        prompt = rest[0] if len(rest) > 1 else path.stem
        found.setdefault(lang, {}).setdefault(prompt, []).append(path)
    return found


def _number(name: str, count: int, folder: str) -> int:
    digits = re.search(r"\d+", name)
    if digits is None or int(digits[0]) >= count:
        raise UserError(f"{folder}: '{name}' is not the number of one of the {count} prompts (00000, 00001, …).")
    return int(digits[0])


def geneval_folder(
    folder: str,
    prompts: str,
    *,
    detections: str | None = None,
    detector: Detector | None = None,
    encoder: Encoder | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """GenEval of every language in a folder.

    Args:
        folder: pictures, by prompt number.
        prompts: rows of `tag, include[, exclude], prompt`, one a line; the number is the line's, from 0. m-GenEval has
            a file a language, and their lines are not the same scenes: a folder of `…_<language>.jsonl` or
            `<language>/….jsonl`, or one file for all.
        detections: file of what a detector found, by picture path below `folder`.
        detector: a `Detector`, asked for the classes of all prompts, instead.
        encoder: names the colours of boxes that come without one, among ten, as GenEval does with CLIP.
        confidence: level of bootstrap intervals.

    Returns:
        A result a language, scored by its own prompts; prompts without pictures are counted in the notes, pictures
        without detections are null. With several files `scenes in all languages` is each language on the scenes that
        all of them ask for (joined on everything but the prompt's words): those figures compare.

    Raises:
        UserError: numbers that are no prompt's, detections of no picture, colours that nobody can name.
    """
    from panoglot.pictures import Image

    pictured = prompt_pictures(folder)
    files = prompt_files(prompts, list(pictured))
    every = {lang: _read_prompts(path) for lang, path in files.items()}
    classes = sorted(
        {
            row["class"]
            for specs in every.values()
            for spec in specs
            for key in ("include", "exclude")
            for row in spec.get(key, ())
        }
    )
    table = _read_detections(detections) if detections else {}
    unused = set(table)
    found = ResultSet()
    asked: dict[str, list[str]] = {}
    for lang, pictures in pictured.items():
        specs = every[lang]
        paths = [path for name in sorted(pictures) for path in pictures[name]]
        rows = [specs[_number(name, len(specs), folder)] for name in sorted(pictures) for _ in pictures[name]]
        names = [path.relative_to(folder).as_posix() for path in paths]
        boxes: list[Sequence[Box] | None]
        sizes, colours = None, {}
        if detector is None:
            unused -= set(names)
            boxes = [table[name][0] if name in table else None for name in names]
            sizes = [table[name][1] if name in table else (1, 1) for name in names]
            colours = {id(box): colour for name in names if name in table for box, colour in table[name][2]}
        else:
            images = [open_picture(path) for path in paths]
            answers = call(detector, "detect", images, [classes] * len(images))
            boxes = [None if isinstance(answer, RowError) else answer for answer in answers]
            sizes = [(1, 1) if isinstance(image, RowError) else (image.width, image.height) for image in images]

        def color_of(n: int, box: Box, paths: list[Path] = paths, colours: dict[int, str] = colours) -> str:
            if id(box) not in colours:
                if encoder is None:
                    raise UserError("prompts ask for colours: give boxes a color, or --encoder to name it.")
                colours[id(box)] = _colour(encoder, Image.from_path(str(paths[n])), box)
            return colours[id(box)]

        missing = len(specs) - len({_number(name, len(specs), folder) for name in pictures})
        result = geneval(
            rows, boxes, color_of, sizes=sizes, ids=names, lang=lang or "en", confidence=confidence,
            classes=None if detector is None else getattr(detector, "classes", None),
        )  # fmt: skip
        notes = [f"{missing} prompts have no picture."] if missing else []
        found[lang or "geneval"] = replace(
            result, notes=(*result.notes, *notes), options={**result.options, "prompts": files[lang].name}
        )
        asked[lang or "geneval"] = [_scene(row) for row in rows]
    if unused:
        raise UserError(f"{detections}: {len(unused)} rows are of no picture in {folder}: {offenders(sorted(unused))}.")
    if len(found) > 1 and len(set(files.values())) == 1:
        found.notes += (
            f"all languages are scored by the scenes of one file, {files[next(iter(files))].name}: m-GenEval has a "
            "file a language, with other scenes on some lines; give their folder as data",
        )
    elif len(found) > 1:
        _common(found, asked, {lang or "geneval": specs for lang, specs in every.items()})
    return found


def _read_prompts(path: Path) -> list[dict[str, Any]]:
    specs = read_rows(path)
    odd = [n for n, row in enumerate(specs) if "tag" not in row or "include" not in row]
    if odd:
        raise UserError(f"{path}: {len(odd)} rows have no tag or no include: {offenders(odd)}.")
    return specs


def prompt_files(given: str, languages: Sequence[str]) -> dict[str, Path]:
    """The file of prompts of each language: one for all, or those of a folder.

    Raises:
        UserError: a language without a file, or with several.
    """
    root = Path(given)
    if not root.is_dir():
        return dict.fromkeys(languages, root)
    there = sorted(path for path in root.rglob("*.json*") if path.suffix in (".jsonl", ".json"))
    found: dict[str, Path] = {}
    for lang in languages:
        tag = lang or "en"
        mine = [path for path in there if _speaks(path, root, tag)]
        if not mine and tag == "en":  # the original's file says no language
            mine = [path for path in there if path.stem == "evaluation_metadata"]
        if len(mine) != 1:
            raise UserError(
                f"{root} has {len(mine) or 'no'} files of prompts in '{tag}' (…_{tag}.jsonl or {tag}/….jsonl): "
                f"{offenders([path.relative_to(root) for path in mine or there])}."
            )
        found[lang] = mine[0]
    return found


def _speaks(path: Path, root: Path, tag: str) -> bool:
    words = [*path.relative_to(root).parts[:-1], *re.split(r"[_.]", path.stem)]
    return tag.lower() in {word.lower().replace("_", "-") for word in words}


def _scene(row: Mapping[str, Any]) -> str:
    """What a prompt asks for, without its words: the same in every language."""
    return json.dumps({key: value for key, value in row.items() if key != "prompt"}, sort_keys=True)


def _common(
    found: ResultSet, asked: Mapping[str, Sequence[str]], every: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Add each language's score on the scenes that all languages ask for, and a note on how many these are."""
    scenes = {lang: {_scene(row) for row in specs} for lang, specs in every.items()}
    common = set.intersection(*scenes.values())
    most = max(map(len, scenes.values()))
    for lang, result in found.items():
        tags: dict[str, list[float]] = {}
        for scene, value in zip(asked[lang], result.per_item or ()):
            if scene in common and value is not None:
                tags.setdefault(json.loads(scene)["tag"], []).append(value)
        means = [sum(values) / len(values) for values in tags.values()]
        found.summary[f"{lang}, scenes in all languages"] = sum(means) / len(means) if means else None
    found.notes += (
        f"{len(common)} of {most} scenes are in the files of all languages; only figures on those compare languages",
    )


def _read_detections(path: str) -> dict[str, tuple[list[Any], tuple[int, int], list[tuple[Any, str]]]]:
    """Boxes, picture size and the colours that are given, by picture path."""
    from panoglot.geometry import Region
    from panoglot.providers.roles import Box

    found: dict[str, tuple[list[Any], tuple[int, int], list[tuple[Any, str]]]] = {}
    odd = []
    for n, row in enumerate(read_rows(path)):
        try:
            wide, high = float(row.get("width", 1)), float(row.get("height", 1))
            boxes, colours = [], []
            for one in row["boxes"]:
                x0, y0, x1, y1 = (float(v) for v in one["box"])
                if not math.isfinite(sum((x0, y0, x1, y1, float(one["score"])))):
                    raise ValueError("a box or score is not finite")
                box = Box(str(one["name"]), float(one["score"]), Region(x0 / wide, y0 / high, x1 / wide, y1 / high))
                boxes.append(box)
                if one.get("color"):
                    colours.append((box, str(one["color"])))
            found[str(row["image"])] = (boxes, (int(wide), int(high)), colours)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            odd.append(f"row {n} ({type(error).__name__}: {error})")
    if odd:
        raise UserError(f"{path}: {len(odd)} rows are not image, boxes of name, score, box: {offenders(odd, 3)}.")
    return found


def _colour(encoder: Encoder, image: Any, box: Box) -> str:
    """The colour whose texts are closest to what is in the box."""
    from panoglot.pictures import Image

    picture = image.pil()
    wide, high = picture.size
    r = box.region
    crop = picture.crop(
        (math.floor(r.x0 * wide), math.floor(r.y0 * high), math.ceil(r.x1 * wide), math.ceil(r.y1 * high))
    )
    vector = encode_images(encoder, [Image.from_pil(crop)])[0]
    words = [saying.format(colour, box.name) for colour in COLOURS for saying in _SAYINGS]
    texts = encode_texts(encoder, words, "en").reshape(len(COLOURS), len(_SAYINGS), -1).mean(axis=1)
    return COLOURS[int((texts @ vector).argmax())]


def read_questions(path: str) -> dict[str, list[dict[str, Any]]]:
    """Read DPG's questions: `dpg_bench.csv`, or rows of `id, questions: [{id, question, parents}]`.

    Raises:
        UserError: columns are missing.
    """
    if not path.endswith(".csv"):
        table = {str(row.get("id", row.get("item_id"))): row.get("questions") for row in read_rows(path)}
        odd = [
            key
            for key, rows in table.items()
            if not isinstance(rows, list)
            or not all(isinstance(row, dict) and {"id", "question"} <= set(row) for row in rows)
        ]
        if odd:
            raise UserError(f"{path}: {len(odd)} rows have no questions of id, question: {offenders(odd)}.")
        return {key: list(rows or ()) for key, rows in table.items()}
    reader = csv.DictReader(io.StringIO(read_text(path)))
    wanted = {"item_id", "proposition_id", "dependency", "question_natural_language"}
    if missing := wanted - set(reader.fieldnames or ()):
        raise UserError(f"{path} has no column {', '.join(sorted(missing))}: is this dpg_bench.csv?")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in reader:
        # 0 depends on nothing
        parents = [part.strip() for part in (row["dependency"] or "").split(",") if part.strip() not in ("", "0")]
        question = {"id": row["proposition_id"], "question": row["question_natural_language"], "parents": parents}
        found.setdefault(row["item_id"], []).append(question)
    return found


def dpg_folder(folder: str, questions: str, judge: Generator, *, confidence: float | None = None) -> ResultSet:
    """DPG of every language in a folder of `[<language>/]<id>…` pictures.

    Raises:
        UserError: pictures without questions.
    """
    table = read_questions(questions)
    found = ResultSet()
    for lang, pictures in prompt_pictures(folder).items():
        alien = [name for name in pictures if name not in table]
        if alien:
            raise UserError(f"{len(alien)} pictures in {folder}/{lang} have no questions: {offenders(alien)}.")
        paths = [(name, path) for name in sorted(pictures) for path in pictures[name]]
        found[lang or "dpg"] = dpg(
            [table[name] for name, _ in paths], [open_picture(path) for _, path in paths], judge,
            ids=[path.relative_to(folder).as_posix() for _, path in paths], confidence=confidence,
        )  # fmt: skip
    return found


def _vectors(pictures: Mapping[str, list[Path]], encoder: Encoder) -> dict[str, np.ndarray]:
    paths = [path for name in pictures for path in pictures[name]]
    rows = iter(encode_files(encoder, paths))
    import numpy as np

    return {name: np.stack([next(rows) for _ in pictures[name]]) for name in pictures}


def _by_prompt(folder: str, encoder: Encoder) -> dict[str, dict[str, np.ndarray]]:
    languages = prompt_pictures(folder)
    if "" in languages:
        raise UserError(f"{folder} must hold a folder a language (en, zh-Hans, fa, …), with a folder a prompt in each.")
    found: dict[str, dict[str, np.ndarray]] = {}
    for lang, pictures in languages.items():
        for prompt, vectors in _vectors(pictures, encoder).items():
            found.setdefault(prompt, {})[lang] = vectors
    return found


def clc_folder(
    folder: str, encoder: Encoder, *, reference: str | None = "en", confidence: float | None = None
) -> ResultSet:
    """Cross-lingual consistency of a folder of `<language>/<prompt>/…` pictures."""
    name = getattr(encoder, "name", "")
    vectors = _by_prompt(folder, encoder)
    return ResultSet(
        {"clc": cross_lingual_consistency(vectors, reference=reference, backbone=name, confidence=confidence)}
    )


def css_folder(
    folder: str, english: str, encoder: Encoder, *, order: str = "english_first", confidence: float | None = None
) -> ResultSet:
    """Code-switching similarity: `<language>/<prompt>/…` of mixed prompts against `<prompt>/…` of the English ones."""
    originals = prompt_pictures(english)
    flat = originals.get("", originals.get("en", {}))
    vectors, name = _by_prompt(folder, encoder), getattr(encoder, "name", "")
    found = switching_similarity(vectors, _vectors(flat, encoder), order=order, backbone=name, confidence=confidence)
    return ResultSet({"css": found})
