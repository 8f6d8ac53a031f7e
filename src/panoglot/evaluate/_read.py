"""What the commands take: JSON, JSONL, COCO files, plain lines, gzipped or not, and datasets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking._made import note_text
from panoglot.checks import offenders, same_ids
from panoglot.errors import UserError, did_you_mean
from panoglot.formats._json import read_json, read_lines, read_rows
from panoglot.pictures import SUFFIXES

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = [
    "class_folders",
    "encode_blocks",
    "encode_files",
    "field",
    "is_lines",
    "picture_files",
    "pictures_of",
    "read_column",
    "read_objects",
    "read_predictions",
    "read_references",
    "read_vectors",
    "texts",
    "writer_of",
]

IDS = (
    "image_id", "id", "img", "file_name", "key", "pairid", "question_id", "index", "seg_id", "sample_id", "image_name",
    "image_path", "image",
)  # fmt: skip
CAPTIONS = ("caption", "text", "prediction", "pred", "answer", "output", "hyp", "hypothesis")
REFERENCES = ("references", "refs", "captions", "caption", "text")
#: Who wrote a caption, in files of several systems.
WRITERS = ("model", "system", "SYS", "source", "captioner")
LINES = (".txt",)


def is_lines(path: str | os.PathLike[str]) -> bool:
    """A file of plain lines: by its ending (`.txt`, `.de.gz`), where it does not begin as JSON."""
    source = Path(path)
    name = source.name.removesuffix(".gz")
    return Path(name).suffix in LINES or (
        Path(name).suffix not in (".json", ".jsonl", ".ndjson") and source.suffix == ".gz"
    )


def field(row: Mapping[str, Any], names: Sequence[str], path: Any) -> Any:
    """Return the first of the fields `names` that a row has.

    Raises:
        UserError: it has none of them.
    """
    for name in names:
        if name in row:
            return row[name]
    raise UserError(f"{path}: a row has none of the fields {', '.join(names)}; it has {offenders(row)}.")


def _id(row: Mapping[str, Any], path: Any) -> str:
    value = field(row, IDS, path)
    if value is None or value == "":
        raise UserError(f"{path}: a row has no id: {str(dict(row))[:80]}")
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)  # pandas writes 1.0


def writer_of(row: Mapping[str, Any]) -> str:
    """Who wrote the caption of a row; empty when it does not say."""
    return next((str(row[name]) for name in WRITERS if row.get(name)), "")


def read_predictions(
    path: str | os.PathLike[str], *, lang: str = "", model: str | None = None
) -> dict[str, str | None]:
    """Read one caption for each id: a mapping, COCO results, JSONL, lines of text, or a `.pano`.

    Args:
        path: the file or dataset.
        lang: language of the captions to take from a dataset.
        model: whose captions to take from a dataset, or from rows of several systems; may be left out when there is
            one.

    Raises:
        UserError: an id twice (naming the first), unknown fields, a file without captions.
    """
    source = Path(path)
    if source.is_dir():
        return _from_dataset(source, lang, model)
    if is_lines(source):
        return dict(_filled(source, {str(n): line for n, line in enumerate(read_lines(source))}))
    data = read_json(source)
    if isinstance(data, dict) and "annotations" not in data:
        return dict(_filled(source, {str(key): _lone(value, key, source) for key, value in data.items()}))
    if isinstance(data, list) and all(isinstance(row, str | None) for row in data):
        return dict(_filled(source, {str(n): text for n, text in enumerate(data)}))
    rows = _of_model(read_rows(source), model, source)
    note_text("captioner", ", ".join(sorted({writer_of(row) for row in rows} - {""})[:5]))
    found: dict[str, str | None] = {}
    twice = []
    for row in rows:
        key = _id(row, source)
        if key in found:
            twice.append(key)
        found[key] = _lone(field(row, CAPTIONS, source), key, source)
    if twice:
        raise UserError(
            f"{source} has {len(twice)} ids more than once: {offenders(twice)}. Keep one prediction for each."
        )
    return dict(_filled(source, found))


def _filled(path: Any, found: Mapping[str, Any]) -> Mapping[str, Any]:
    if not found:
        raise UserError(f"{path} is empty.")
    return found


def _of_model(rows: list[dict[str, Any]], model: str | None, path: Any) -> list[dict[str, Any]]:
    """Rows of one system, where rows say whose they are and an id comes more than once."""
    writers = sorted({writer_of(row) for row in rows} - {""})
    if model is not None:
        if model not in writers:
            raise UserError(f"{path} has no captions of '{model}'.{did_you_mean(model, writers)}")
        return [row for row in rows if writer_of(row) == model]
    if len(writers) > 1 and len({_id(row, path) for row in rows}) < len(rows):
        raise UserError(f"{path} has captions of several models: {offenders(writers)}. Say which: --model NAME")
    return rows


def _lone(value: Any, key: Any, source: Path) -> str | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is not None and not isinstance(value, str):
        raise UserError(f"{source}: the prediction of {key} is not one text.")
    return value


def _from_dataset(path: Path, lang: str, model: str | None) -> dict[str, str | None]:
    from panoglot.table import open_dataset

    rows = open_dataset(path).captions.rows(
        ["caption_id", "image_id", "text", "lang", "kind", "model"], "dropped is null"
    )
    rows = [row for row in rows if row["kind"] in ("short", "dense", "alt") and (not lang or row["lang"] == lang)]
    writers = sorted({row["model"] or "" for row in rows} - {""})
    if model is None and len(writers) > 1:
        raise UserError(f"{path} has captions of several models: {offenders(writers)}. Say which: --model NAME")
    if model is not None and model not in writers:
        raise UserError(f"{path} has no captions of '{model}'.{did_you_mean(model, writers)}")
    chosen = [row for row in rows if (row["model"] or "") in ((model,) if model else writers)]
    note_text("captioner", model or ", ".join(writers))
    found = {row["image_id"]: row["text"] for row in sorted(chosen, key=lambda row: row["caption_id"])}
    if not found:
        hint = " People's captions are references: give them as --refs." if model is None else ""
        raise UserError(f"{path} has no kept captions of a model{f' in {lang}' if lang else ''}.{hint}")
    if len(found) != len(chosen):
        raise UserError(
            f"{path} must have one kept caption an image in '{lang}', not {len(chosen)} of {len(found)} images."
        )
    return found


def read_references(paths: str | os.PathLike[str] | Sequence[str], *, lang: str = "") -> dict[str, list[str]]:
    """Read the references of each id: COCO annotations, a mapping, JSONL (one or a list a row), lines, or a `.pano`.

    Args:
        paths: a file or dataset, or several: their references are joined, id by id.
        lang: language of the references to take from a dataset.

    Raises:
        UserError: several files with different ids, unknown fields.
    """
    if isinstance(paths, str | os.PathLike):
        return _references(Path(paths), lang)
    first, *others = [_references(Path(path), lang) for path in paths]
    for path, other in zip(paths[1:], others):
        for key in same_ids(first, other, f"references in {path}"):
            first[key] = first[key] + other[key]
    return first


def _references(source: Path, lang: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if source.is_dir():
        from panoglot.table import open_dataset

        for row in open_dataset(source).captions.rows(
            ["image_id", "text", "lang"], "dropped is null and kind = 'human'"
        ):
            if not lang or row["lang"] == lang:
                found.setdefault(row["image_id"], []).append(row["text"])
        return found
    if is_lines(source):
        return {str(n): [line] for n, line in enumerate(read_lines(source))}
    data = read_json(source)
    if isinstance(data, dict) and "annotations" not in data:
        return {str(key): texts(value, key, source) for key, value in data.items()}
    if isinstance(data, list) and all(isinstance(row, list | str) for row in data):
        return {str(n): texts(row, n, source) for n, row in enumerate(data)}
    for row in read_rows(source):
        key = _id(row, source)
        found.setdefault(key, []).extend(texts(field(row, REFERENCES, source), key, source))
    return found


def texts(value: Any, key: Any, path: Any) -> list[str]:
    """References of an item: one text or a list of texts; null is none.

    Raises:
        UserError: something else.
    """
    listed = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(listed, list) or any(not isinstance(text, str) for text in listed):
        raise UserError(f"{path}: the references of {key} are not a list of texts.")
    return list(listed)


def read_column(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, float | None]:
    """Read a score for each id: a metric result with item values, a mapping, or rows with one of the fields `names`.

    Raises:
        UserError: no numbers, an id twice, several results in one file.
    """
    data = read_json(path)
    if isinstance(data, dict) and isinstance(data.get("results"), dict) and len(data["results"]) == 1:
        data = next(iter(data["results"].values()))
    if isinstance(data, dict) and "per_item" in data:
        return _numbers(data["per_item"], path)
    if isinstance(data, dict) and "metric" in data:
        raise UserError(f"{path} has no item values; write it again with item values (--per-item).")
    if isinstance(data, dict) and "results" in data:
        raise UserError(f"{path} holds several results; give a file with one.")
    if isinstance(data, dict):
        return _numbers(data, path)
    if all(isinstance(row, int | float | None) for row in data):
        return _numbers({str(n): value for n, value in enumerate(data)}, path)
    found: dict[str, Any] = {}
    twice = []
    for row in read_rows(path):
        key = _id(row, path)
        if key in found:
            twice.append(key)
        found[key] = field(row, names, path)
    if twice:
        raise UserError(f"{path} has {len(twice)} ids more than once: {offenders(twice)}.")
    return _numbers(found, path)


def _numbers(found: Mapping[str, Any], path: Any) -> dict[str, float | None]:
    odd = [f"{k} ({v!r})" for k, v in found.items() if isinstance(v, bool) or not isinstance(v, int | float | None)]
    if odd:
        raise UserError(f"{path}: {len(odd)} scores are no numbers: {offenders(odd)}.")
    return {str(key): value for key, value in found.items()}


def read_objects(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Read what is in each picture: `{id: [name, …]}`, rows of `id, objects`, or COCO's `instances_….json`."""
    data = read_json(path)
    found: dict[str, list[str]] = {}
    if isinstance(data, dict) and "categories" in data:
        names = {row["id"]: row["name"] for row in data["categories"]}
        found = {str(row["id"]): [] for row in data.get("images", ())}
        for row in data["annotations"]:
            found.setdefault(str(row["image_id"]), []).append(names[row["category_id"]])
        return found
    if isinstance(data, dict):
        return {str(key): texts(value, key, path) for key, value in data.items()}
    for row in read_rows(path):
        key = _id(row, path)
        found.setdefault(key, []).extend(texts(field(row, ("objects", "labels", "names"), path), key, path))
    return found


def pictures_of(ids: Sequence[str], folder: str | os.PathLike[str]) -> list[Path]:
    """The picture of each id in a folder: by file name, by name without ending, or by COCO's twelve digits.

    Raises:
        UserError: naming the first ids without a picture.
    """
    files = picture_files(folder)
    by_name = {path.stem: path for path in files} | {path.name: path for path in files}
    by_number = {digits[0]: path for path in files if (digits := re.findall(r"(\d{12})$", path.stem))}
    found = [
        by_name.get(Path(name).name) or by_name.get(Path(name).stem) or by_number.get(name.zfill(12)) for name in ids
    ]
    missing = [name for name, path in zip(ids, found) if path is None]
    if missing:
        raise UserError(f"{len(missing)} of {len(ids)} ids have no picture in {folder}: {offenders(missing)}.")
    return [path for path in found if path is not None]


def picture_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Pictures under a folder, sorted by path (class folders of ImageNet come in class order).

    Raises:
        UserError: no folder, or no pictures in it.
    """
    root = Path(folder)
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES) if root.is_dir() else []
    if not found:
        raise UserError(f"there are no pictures in {root}.")
    return found


def class_folders(images: str) -> tuple[list[Path], list[int]]:
    """Pictures of a folder of class folders and the number of each one's class; nothing of vectors (`.npy`)."""
    paths = [] if images.endswith(".npy") else picture_files(images)
    folders = {folder: n for n, folder in enumerate(sorted({path.parent for path in paths}))}
    return paths, [folders[path.parent] for path in paths]


def encode_blocks(
    encoder: Encoder, keys: Sequence[Any], load: Callable[[Any], Image], chunk: int = 256
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first key, vectors float32 `[n, dim]`), a chunk of pictures at a time; NaN where one cannot be encoded."""
    import numpy as np

    from panoglot.asking import call
    from panoglot.errors import RowError

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
            new = np.asarray(call(encoder, "encode_images", pictures), dtype=np.float32)
            if new.ndim != 2:
                raise UserError("this encoder gives several vectors a picture; metrics here need one.")
            found[rows] = new
        yield start, found


def encode_files(encoder: Encoder, paths: Sequence[Path]) -> np.ndarray:
    """Vectors `[N, dim]` of picture files, read a chunk at a time; NaN where a picture cannot be encoded."""
    import numpy as np

    from panoglot.pictures import Image

    found = np.empty((len(paths), encoder.dim), dtype=np.float32)
    for start, block in encode_blocks(encoder, paths, lambda path: Image.from_path(str(path))):
        found[start : start + len(block)] = block
    return found


def read_vectors(path: str) -> Any:
    """Read an array of numbers, `.npy`.

    Raises:
        UserError: no such file, or something else.
    """
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise ValueError
        return found
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except (OSError, ValueError):
        raise UserError(f"{path} is no array of numbers (.npy).") from None
