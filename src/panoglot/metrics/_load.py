"""Results out of files: of ours, and of `mteb`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from panoglot.errors import UserError
from panoglot.formats._json import read_text
from panoglot.metrics._mteb_results import is_mteb, load_mteb
from panoglot.metrics._result import MetricResult
from panoglot.metrics._results import ResultSet

__all__ = ["load_results"]


def load_results(source: Any, split: str | None = None) -> ResultSet:
    """Read results from a file that `to_json` wrote, a file or folder of `mteb`'s, or take results as they are.

    Args:
        source: a path, or results.
        split: of `mteb`'s results: the split that counts.

    Raises:
        UserError: no file, or not results.
    """
    if isinstance(source, MetricResult):
        return ResultSet({_key(source): source})
    if isinstance(source, ResultSet):
        return source
    if isinstance(source, Mapping):
        return ResultSet(source)
    path = Path(os.fspath(source))
    if path.is_dir():
        return load_mteb(path, split=split)
    try:
        data = json.loads(read_text(path))
    except RecursionError:
        raise UserError(f"{path} is nested too deeply to be data of ours.") from None
    except ValueError as error:
        raise UserError(f"{path} cannot be read as JSON ({error}).") from None
    if isinstance(data, dict) and isinstance(data.get("results"), dict):
        found = {name: _read_one(one, path) for name, one in data["results"].items()}
        return ResultSet(
            found, summary=data.get("summary"), notes=tuple(data.get("notes") or ()), made=data.get("made")
        )
    if isinstance(data, dict) and "format" not in data and is_mteb(data):
        return load_mteb(path, split=split)
    result = _read_one(data, path)
    return ResultSet({_key(result): result})


def _read_one(data: Any, path: Path) -> MetricResult:
    try:
        return MetricResult.from_json(json.dumps(data))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _key(result: MetricResult) -> str:
    return result.language or result.metric
