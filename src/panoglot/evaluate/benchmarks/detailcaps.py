"""DetailCaps: long captions of 4,870 (or 100) pictures with three references each, for CAPTURE (arXiv 2405.19092).

File, from huggingface.co/datasets/foundation-multimodal-models/DetailCaps-4870: parquet (or JSONL) with `image`, the
references `GT_Caption_<writer>`, a column of captions for each candidate model, and maybe `GPT4_Eval`, a JSON object
with a score for each candidate.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoglot.checks import offenders
from panoglot.errors import UserError, did_you_mean
from panoglot.formats._json import read_rows

__all__ = ["DetailCaps", "read_detailcaps"]

_REFERENCE, _SCORES = "GT_Caption_", "GPT4_Eval"
_NO_CAPTION = frozenset(["binary", "image", "source", _SCORES])


@dataclass(frozen=True)
class DetailCaps:
    """The file, by picture.

    Attributes:
        references: three a picture.
        candidates: captions by model, by picture.
        scores: an expert model's score by model, by picture; empty where the file has none.
    """

    references: Mapping[str, list[str]]
    candidates: Mapping[str, Mapping[str, str | None]]
    scores: Mapping[str, Mapping[str, float | None]]

    def captions_of(self, model: str) -> Mapping[str, str | None]:
        """Captions of one candidate.

        Raises:
            UserError: there is no such candidate.
        """
        if model not in self.candidates:
            raise UserError(f"DetailCaps has no captions of '{model}'.{did_you_mean(model, self.candidates)}")
        return self.candidates[model]


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix != ".parquet":
        return read_rows(path)
    import pyarrow.parquet
    from pyarrow import ArrowException

    try:
        names = pyarrow.parquet.read_schema(path).names
        return pyarrow.parquet.read_table(path, columns=[name for name in names if name != "binary"]).to_pylist()
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except (OSError, ArrowException) as error:
        raise UserError(f"{path} cannot be read as parquet ({error}).") from None


def read_detailcaps(path: str | os.PathLike[str]) -> DetailCaps:
    """Read the benchmark's file.

    Raises:
        UserError: no file, no references, a picture twice.
    """
    rows = _rows(Path(path))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    given = [name for name in columns if name.startswith(_REFERENCE)]
    if not given or "image" not in columns:
        raise UserError(
            f"{path} is not DetailCaps: it needs the columns image and {_REFERENCE}…; has {offenders(columns)}."
        )
    names = [str(row["image"]) for row in rows]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise UserError(f"{path} has {len(twice)} pictures more than once: {offenders(twice)}.")
    references = {name: [row[column] for column in given if row.get(column)] for name, row in zip(names, rows)}
    text = [
        c for c in columns if c not in given and c not in _NO_CAPTION and any(isinstance(r.get(c), str) for r in rows)
    ]
    candidates = {column: {name: row.get(column) for name, row in zip(names, rows)} for column in text}
    scores: dict[str, dict[str, float | None]] = {}
    for name, row in zip(names, rows):
        raw = row.get(_SCORES)
        table = json.loads(raw) if isinstance(raw, str) else raw
        for model, value in (table or {}).items():
            if isinstance(value, int | float):
                scores.setdefault(model, {})[name] = float(value)
    return DetailCaps(references, candidates, scores)
