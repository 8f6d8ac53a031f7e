"""What the commands take: JSONL, COCO files, plain lists, .npy, .pano."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.evaluate._check import offenders
from panoglot.io import SUFFIXES

if TYPE_CHECKING:
    import numpy as np

    from panoglot.models.roles import Encoder

__all__ = [
    "encode_files",
    "picture_files",
    "read_column",
    "read_json",
    "read_predictions",
    "read_references",
    "read_rows",
]

IDS = ("image_id", "id", "img", "file_name", "key", "pairid", "question_id", "index")
CAPTIONS = ("caption", "text", "prediction", "pred", "answer", "output")
REFERENCES = ("references", "refs", "captions", "caption", "text")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON, or JSONL as a list of its objects.

    Raises:
        UserError: no file, or not JSON; the line is named.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no file {source}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source} cannot be read as UTF-8 text ({error}).") from None
    if source.suffix not in (".jsonl", ".ndjson"):
        try:
            return json.loads(text)
        except ValueError as error:
            if source.suffix == ".json" and "Extra data" not in str(error):
                raise UserError(f"{source} is not JSON ({error}).") from None
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"{source}, line {number}, is not JSON ({error}).") from None
    return rows


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a list of objects.

    Raises:
        UserError: something else.
    """
    data = read_json(path)
    rows = data.get("annotations") if isinstance(data, dict) and "annotations" in data else data
    if not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows):
        raise UserError(f"{path} must hold a list of objects (JSON or JSONL).")
    return rows


def _field(row: Mapping[str, Any], names: Sequence[str], path: Any) -> Any:
    for name in names:
        if name in row:
            return row[name]
    raise UserError(f"{path}: a row has none of the fields {', '.join(names)}; it has {offenders(row)}.")


def read_predictions(
    path: str | os.PathLike[str], *, lang: str = "", model: str | None = None
) -> dict[str, str | None]:
    """Read one caption for each id: a mapping, COCO results, JSONL, lines of text, or a `.pano`.

    Args:
        path: the file or dataset.
        lang: language of the captions to take from a dataset.
        model: whose captions to take from a dataset; may be left out when there is one.

    Raises:
        UserError: an id twice (naming the first), unknown fields.
    """
    source = Path(path)
    if source.is_dir():
        return _from_dataset(source, lang, model)
    if source.suffix == ".txt":
        return {str(n): line for n, line in enumerate(source.read_text(encoding="utf-8").splitlines())}
    data = read_json(source)
    if isinstance(data, dict) and "annotations" not in data:
        return {str(key): _lone(value, key, source) for key, value in data.items()}
    if isinstance(data, list) and all(isinstance(row, str | None) for row in data):
        return {str(n): text for n, text in enumerate(data)}
    found: dict[str, str | None] = {}
    twice = []
    for row in read_rows(source):
        key = str(_field(row, IDS, source))
        if key in found:
            twice.append(key)
        found[key] = _field(row, CAPTIONS, source)
    if twice:
        raise UserError(
            f"{source} has {len(twice)} ids more than once: {offenders(twice)}. Keep one prediction for each."
        )
    return found


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
    found = {row["image_id"]: row["text"] for row in sorted(chosen, key=lambda row: row["caption_id"])}
    if not found or len(found) != len(chosen):
        raise UserError(
            f"{path} must have one kept caption an image in '{lang}', not {len(chosen)} of {len(found)} images."
        )
    return found


def read_references(path: str | os.PathLike[str], *, lang: str = "") -> dict[str, list[str]]:
    """Read the references of each id: COCO annotations, a mapping, JSONL (one or a list a row), or a `.pano`."""
    source = Path(path)
    found: dict[str, list[str]] = {}
    if source.is_dir():
        from panoglot.table import open_dataset

        for row in open_dataset(source).captions.rows(
            ["image_id", "text", "lang"], "dropped is null and kind = 'human'"
        ):
            if not lang or row["lang"] == lang:
                found.setdefault(row["image_id"], []).append(row["text"])
        return found
    data = read_json(source)
    if isinstance(data, dict) and "annotations" not in data:
        return {str(key): [value] if isinstance(value, str) else list(value) for key, value in data.items()}
    if isinstance(data, list) and all(isinstance(row, list | str) for row in data):
        return {str(n): [row] if isinstance(row, str) else list(row) for n, row in enumerate(data)}
    for row in read_rows(source):
        value = _field(row, REFERENCES, source)
        found.setdefault(str(_field(row, IDS, source)), []).extend([value] if isinstance(value, str) else value)
    return found


def read_column(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, float | None]:
    """Read a score for each id: a metric result with item values, a mapping, or rows with one of the fields `names`."""
    data = read_json(path)
    if isinstance(data, dict) and "per_item" in data:
        return {str(key): value for key, value in data["per_item"].items()}
    if isinstance(data, dict) and "metric" in data:
        raise UserError(f"{path} has no item values; write it again with item values (--per-item).")
    if isinstance(data, dict) and "results" not in data:
        return {str(key): value for key, value in data.items()}
    if isinstance(data, dict):
        raise UserError(f"{path} holds several results; give a file with one.")
    if all(isinstance(row, int | float | None) for row in data):
        return {str(n): value for n, value in enumerate(data)}
    return {str(_field(row, IDS, path)): _field(row, names, path) for row in read_rows(path)}


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


def encode_files(encoder: Encoder, paths: Sequence[Path], chunk: int = 256) -> np.ndarray:
    """Vectors `[N, dim]` of picture files, read a chunk at a time; NaN where a picture cannot be encoded."""
    import numpy as np

    from panoglot.evaluate._ask import call
    from panoglot.io import Image

    def parts() -> Iterator[np.ndarray]:
        for start in range(0, len(paths), chunk):
            pictures = [Image.from_path(str(path)) for path in paths[start : start + chunk]]
            yield np.asarray(call(encoder, "encode_images", pictures), dtype=np.float32)

    return np.concatenate(list(parts()))
