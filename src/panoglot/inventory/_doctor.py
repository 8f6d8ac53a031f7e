"""`doctor`: what is installed, what is missing, and the line that mends it. `models`: what can be asked."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from dataclasses import dataclass

from panoglot.errors import verb
from panoglot.providers import list_models

__all__ = ["Finding", "doctor", "models"]


models = verb(list_models)


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


#: Extras that bring nothing a user asks for.
_NOT_SHOWN = ("dev", "embedded", "test")


def _extras() -> dict[str, list[str]]:
    """Extra to the packages that it brings, as the installed package states them."""
    found: dict[str, list[str]] = {}
    try:
        stated = importlib.metadata.requires("panoglot") or []
        found = {name: [] for name in importlib.metadata.metadata("panoglot").get_all("Provides-Extra") or []}
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        stated = []
    for line in stated:
        package, extra = re.match(r"[\w.-]+", line), re.search(r"extra == ['\"]([\w.-]+)['\"]", line)
        if package and extra and package[0] != "panoglot":
            found.setdefault(extra[1], []).append(package[0])
    return {name: packages for name, packages in found.items() if name not in _NOT_SHOWN and packages}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@verb
def doctor() -> list[Finding]:
    """Look at this installation: engine, storage, pictures, embedded models, extras, programs, disk."""
    from panoglot._version import __version__

    found = [Finding("panoglot", f"{__version__}, Python {platform.python_version()}, {platform.machine()}")]
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
    for extra, packages in _extras().items():
        versions = {package: _version(package) for package in packages}
        if all(versions.values()):
            found.append(Finding(f"extra {extra}", ", ".join(f"{k} {v}" for k, v in versions.items())))
            continue
        lacks = [package for package, version in versions.items() if version is None]
        said = "not installed" if len(lacks) == len(packages) else f"without {', '.join(lacks)}"
        found.append(Finding(f"extra {extra}", said, "missing", f"pip install 'panoglot[{extra}]'"))
    from panoglot.pictures import has_heif

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
