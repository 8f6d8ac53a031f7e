"""GenEval and m-GenEval: objects, counts, colours and positions in generated pictures (Ghosh et al., NeurIPS 2023).

Files: `evaluation_metadata.jsonl` (github.com/djghosh13/geneval), or one for every language (NeoBabel); and what a
detector found, or a detector.
"""

from __future__ import annotations

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
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._generated import prompt_pictures
from panoglot.formats._json import read_rows
from panoglot.metrics._results import ResultSet
from panoglot.metrics.generation.geneval import geneval

if TYPE_CHECKING:
    from panoglot.providers.roles import Box, Detector, Encoder

__all__ = ["GENEVAL", "geneval_folder", "prompt_files"]

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
_SAYINGS = ("a photo of a {} {}", "a photo of a {}-colored {}", "a photo of a {} object")


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


def _stored(
    images: str, data: str, detections: str, *, encoder: Any = None, confidence: float | None = None
) -> ResultSet:
    return geneval_folder(images, data, detections=detections, encoder=encoder, confidence=confidence)


def _detect(
    images: str, data: str, detector: Any, *, encoder: Any = None, confidence: float | None = None
) -> ResultSet:
    return geneval_folder(images, data, detector=detector, encoder=encoder, confidence=confidence)


GENEVAL = Benchmark(
    "geneval", "generation", "objects, counts, colours, positions (m-GenEval: the same prompts, translated)",
    "--data: `evaluation_metadata.jsonl`; --detections or --detector; pictures in `[<lang>/]00000/…`",
    "github.com/djghosh13/geneval, github.com/dhevarghese/NeoBabel",
    {"detector": Way(_detect), "detections": Way(_stored)},
)  # fmt: skip
