"""What people hold in Python, as a source: pictures of Pillow, arrays, lists of paths, rows, DataFrames, Arrow tables.

    panoglot.build(["a.jpg", "b.jpg"], "few.pano")                          # paths
    panoglot.build([PIL.Image.open("a.jpg"), array], "few.pano")            # pictures
    panoglot.build([{"image": picture, "caption_de": "…"}], "few.pano")     # rows; a DataFrame, a datasets.Dataset

It is written beside the dataset's tables (`given/`, named by what is in it) and read from there as any source is: so a
stopped run goes on, a retry finds the rows again, and other processes read them too.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.pictures import Image

__all__ = ["as_image", "hold", "is_given"]

_KINDS = (
    "a path, a picture (Pillow, NumPy array, bytes), a list of paths, pictures or rows, a DataFrame, an Arrow table "
    "or a datasets.Dataset"
)


def is_given(source: Any) -> bool:
    """Say whether a source is something held in Python, not a path."""
    return not isinstance(source, str | os.PathLike)


def _of(value: Any, package: str) -> bool:
    """Say whether a value is of a class of a package, without importing it."""
    return any((kind.__module__ or "").partition(".")[0] == package for kind in type(value).__mro__)


def as_image(value: Any) -> Image:
    """Make an `Image` of a path, encoded bytes, a Pillow picture, an array, or an `Image`.

    >>> import numpy as np
    >>> as_image(np.zeros((2, 3, 3), np.uint8)).width
    3

    Raises:
        RowError: it is no picture.
        OSError: a file that cannot be read.
        UserError: something of another kind.
    """
    if isinstance(value, Image):
        return value
    if isinstance(value, str | os.PathLike):
        return Image.from_path(os.fspath(value))
    data = _picture_bytes(value)
    if data is None:
        raise UserError(f"a {type(value).__name__} is no picture: give a path, bytes, a Pillow picture or an array.")
    return Image(data)


def _picture_bytes(value: Any) -> bytes | None:
    """The encoded bytes of a picture that is held in memory; None for what is no picture.

    Raises:
        RowError: a picture that cannot be written.
    """
    if isinstance(value, Image):
        return value.data
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not (_of(value, "PIL") or (getattr(value, "ndim", 0) in (2, 3) and hasattr(value, "__array__"))):
        return None
    import PIL.Image

    try:
        picture = value if isinstance(value, PIL.Image.Image) else _of_array(value)
        if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):  # what PNG holds
            picture = picture.convert("RGB")
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
    except (TypeError, ValueError, OSError) as error:
        raise RowError("undecodable", f"{type(error).__name__}: {error}") from None
    return buffer.getvalue()


def _of_array(value: Any) -> Any:
    """A Pillow picture of an array or tensor `[height, width]`, `[height, width, 1|3|4]` or `[1|3|4, height, width]`.

    Whole numbers are taken as 0 to 255, others as 0 to 1.
    """
    import numpy as np
    import PIL.Image

    pixels = np.asarray(value)
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4) and pixels.shape[0] in (1, 3, 4):
        pixels = np.moveaxis(pixels, 0, 2)  # as torch has them
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or 0 in pixels.shape or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise ValueError(f"an array of shape {pixels.shape} is no picture")
    if pixels.dtype != np.uint8:
        scale = 255.0 if pixels.dtype.kind in "fb" else 1.0
        pixels = np.clip(np.rint(np.nan_to_num(pixels.astype(np.float64)) * scale), 0, 255).astype(np.uint8)
    return PIL.Image.fromarray(pixels)


def hold(given: Any, folder: Path) -> tuple[str, dict[str, Any]]:
    """Write what is given into a file of `folder` and return its path and the options to read it with.

    The file is named by its content, so the same again is the same source.

    Args:
        given: see the module's text.
        folder: made as needed.

    Raises:
        UserError: nothing in it, or something of another kind.
    """
    if isinstance(given, Mapping) and given and all(_of(part, "datasets") for part in given.values()):
        raise UserError(f"a DatasetDict has several splits: give one, for example given['{next(iter(given))}'].")
    given = _arrow(given)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(given, list | tuple) and given and all(isinstance(one, str | os.PathLike) for one in given):
        lines = [os.path.abspath(os.fspath(one)) for one in given]
        odd = next((line for line in lines if "\n" in line or "\r" in line), None)
        if odd is not None:
            raise UserError(f"a path with a line break cannot stand in a list: {odd!r}; give its folder.")
        text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        return _keep(folder, ".list", iter([text])), {}
    if _of(given, "pyarrow"):
        return _keep(folder, ".parquet", given), {"image_dir": os.getcwd(), "allow_outside": True}
    rows = _rows(given)
    first = next(rows, None)
    if first is None:
        raise UserError("there is no picture in what was given: it is empty.")
    lines_ = ((json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n").encode() for row in chain([first], rows))
    return _keep(folder, ".jsonl", lines_), {"image_dir": os.getcwd(), "allow_outside": True}


def _arrow(given: Any) -> Any:
    """Arrow's view of what is made of Arrow: tables, `datasets.Dataset`, polars; anything else as it is."""
    if _of(given, "polars"):
        return given.to_arrow()
    if _of(given, "datasets") and hasattr(given, "with_format") and hasattr(given, "features") and len_of(given):
        import pyarrow as pa

        parts = given.with_format("arrow").iter(256)
        first = next(iter(parts), None)
        if first is None:
            raise UserError("there is no picture in what was given: it is empty.")
        facts = {**(first.schema.metadata or {}), **_features(given)}
        batches = (b for part in chain([first], parts) for b in part.replace_schema_metadata(facts).to_batches())
        return pa.RecordBatchReader.from_batches(first.schema.with_metadata(facts), batches)
    return given


def len_of(given: Any) -> int | None:
    """How many rows there are, None where that is not known beforehand (a stream)."""
    try:
        return len(given)
    except TypeError:
        return None


def _features(given: Any) -> dict[bytes, bytes]:
    """What a `datasets.Dataset` knows of its columns, as it writes it itself: the names of classes."""
    schema = getattr(given.features, "arrow_schema", None)
    return dict(schema.metadata or {}) if schema is not None else {}


def _rows(given: Any) -> Iterator[dict[str, Any]]:
    """Rows as JSON holds them, pictures in column `image` where nobody named it."""
    if _of(given, "pandas"):
        given = given.to_dict(orient="records")
    elif isinstance(given, Mapping) or _lone(given):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise UserError(f"a {type(given).__name__} is no source: give {_KINDS}.")
    for n, one in enumerate(given):
        if isinstance(one, Mapping):
            yield {str(name): _plain(value) for name, value in one.items()}
        elif isinstance(one, str | os.PathLike) or _lone(one):
            yield {"image": _plain(one)}
        else:
            raise UserError(f"item {n} is a {type(one).__name__}; give {_KINDS}.")


def _lone(value: Any) -> bool:
    """Say whether a value is one picture."""
    if isinstance(value, Image | bytes | bytearray | memoryview) or _of(value, "PIL"):
        return True
    return hasattr(value, "__array__") and getattr(value, "ndim", 0) in (2, 3)


def _plain(value: Any) -> Any:
    """A cell as JSON holds it: a picture as base64, a path as text; what is no number or unreadable as null."""
    if _lone(value):
        try:
            data = _picture_bytes(value)
        except RowError:
            return None
        return data and {"bytes": "data:image/any;base64," + base64.b64encode(data).decode()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1:
        return [_plain(one) for one in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a NumPy number
        value = value.item()
    if value is None or value != value:  # NaN, NaT
        return None
    return (
        value
        if isinstance(value, str | int | float | bool) and value not in (float("inf"), -float("inf"))
        else str(value)
    )


def _keep(folder: Path, suffix: str, content: Any) -> str:
    """Write lines or Arrow batches to a file that is named by what is in it; return its path."""
    digest = hashlib.sha256()
    temporary = folder / f".{os.getpid()}{suffix}"
    try:
        if suffix == ".parquet":
            _write_parquet(temporary, content)
            with open(temporary, "rb") as file:
                while piece := file.read(2**20):
                    digest.update(piece)
        else:
            with open(temporary, "wb") as file:
                for line in content:
                    digest.update(line)
                    file.write(line)
        path = folder / f"{digest.hexdigest()[:16]}{suffix}"
        if path.exists():  # the same again: its parts keep their keys
            temporary.unlink()
        else:
            temporary.replace(path)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}).") from None
    finally:
        temporary.unlink(missing_ok=True)
    return str(path)


def _write_parquet(path: Path, content: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(content, pa.RecordBatch):
        content = pa.Table.from_batches([content])
    if not isinstance(content, pa.Table | pa.RecordBatchReader):
        raise UserError(f"a {type(content).__name__} is no source: give {_KINDS}.")
    reader = content.to_reader(max_chunksize=256) if isinstance(content, pa.Table) else content
    rows = 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd", use_dictionary=False) as writer:
        for batch in reader:
            rows += batch.num_rows
            writer.write_batch(batch)
    if not rows:
        raise UserError("there is no picture in what was given: it is empty.")
