"""What a result was made with: models and their fingerprints, data and their hashes, versions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from panoglot.storage import has_scheme

__all__ = ["data_hash", "made_lines", "note_model", "note_text", "recording"]

#: What the command that runs now has met.
_MET: ContextVar[dict[str, Any] | None] = ContextVar("met", default=None)
#: Packages that scores depend on.
_PACKAGES = ("numpy", "sacrebleu", "snowballstemmer", "mteb", "torch", "transformers", "onnxruntime", "lemminflect")
#: Bytes of a file that are hashed whole; of a larger one its ends.
_WHOLE, _END = 256 << 20, 16 << 20


@contextmanager
def recording() -> Iterator[dict[str, Any]]:
    """Collect what `note_model` and `note_text` say meanwhile."""
    met: dict[str, Any] = {"models": {}}
    token = _MET.set(met)
    try:
        yield met
    finally:
        _MET.reset(token)


def note_model(role: str, model: Any) -> Any:
    """Say that a model takes part; gives it back.

    Args:
        role: `encoder`, `judge`, `model`, `parser`, `detector`.
        model: anything with a `name` and maybe a `fingerprint`.
    """
    met = _MET.get()
    if met is not None and model is not None:
        name = getattr(model, "name", "") or type(model).__name__
        met["models"][role] = {"name": str(name), "fingerprint": str(getattr(model, "fingerprint", "") or "")}
    return model


def note_text(key: str, value: Any) -> None:
    """Say something else, for example whose captions are scored."""
    met = _MET.get()
    if met is not None and value:
        met[key] = value


def data_hash(path: str | os.PathLike[str]) -> str:
    """A file's SHA-256 (of the ends of a very large one), a folder's of names and sizes, a dataset's of its rows' ids.

    Empty when there is nothing there.
    """
    source = Path(path)
    if has_scheme(path):
        from panoglot.table import is_dataset

        return _dataset_hash(path) if is_dataset(path) else ""
    try:
        if source.is_file():
            return _file_hash(source)
        if source.suffix == ".pano" and source.is_dir():
            return _dataset_hash(source)
        if source.is_dir():
            rows = sorted((str(p.relative_to(source)), p.stat().st_size) for p in source.rglob("*") if p.is_file())
            return f"names-sha256:{hashlib.sha256(repr(rows).encode('utf-8', 'surrogatepass')).hexdigest()}"
    except OSError:
        return ""
    return ""


def _file_hash(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        found = hashlib.sha256(str(size).encode() + file.read(_END))
        file.seek(size - _END)
        found.update(file.read(_END))
    return f"ends-sha256:{found.hexdigest()}"


def _dataset_hash(path: str | os.PathLike[str]) -> str:
    from panoglot.table import open_dataset

    data = open_dataset(path)
    found = hashlib.sha256()
    for table, columns in ((data.images, ["image_id"]), (data.captions, ["caption_id", "dropped"])):
        rows = table.read(columns).to_pylist()
        found.update("\n".join(sorted(str(tuple(row.values())) for row in rows)).encode())
    return f"rows-sha256:{found.hexdigest()}"


def finish(met: Mapping[str, Any], command: str, options: Mapping[str, Any], data: Mapping[str, str]) -> dict[str, Any]:
    """Everything as JSON-able data."""
    import panoglot

    packages = {"panoglot": panoglot.__version__}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"command": command, "options": dict(options), "data": dict(data), "versions": packages, **met}


def made_lines(made: Mapping[str, Any]) -> list[str]:
    """Lines of a table: who judged, and what.

    >>> made_lines({"models": {"encoder": {"name": "hf:a", "fingerprint": "hf-a-1-" + 40 * "f"}}, "data": {}})
    ['  encoder: hf:a (hf-a-1-ffffff…)']
    """
    lines = []
    for role, model in made.get("models", {}).items():
        mark = model["fingerprint"]
        short = mark if len(mark) <= 14 else mark[:13] + "…"
        lines.append(f"  {role}: {model['name']}" + (f" ({short})" if mark and mark != model["name"] else ""))
    if made.get("captioner"):
        lines.append(f"  captioner: {made['captioner']}")
    return lines
