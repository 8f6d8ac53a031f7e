"""A model name to a local folder that holds everything, safetensors only; and a fingerprint of what is in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from panoglot.errors import UserError, require

__all__ = [
    "SMALL",
    "Checkpoint",
    "find_checkpoint",
    "find_folder",
    "fingerprint_files",
    "label_of",
    "read_json",
    "weight_files",
]

#: Small files of a checkpoint that decide its answers, besides the weights.
SMALL = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        folder: where its files are.
        label: what goes into the model's name: `owner/name@commit` or `folder-name@fingerprint`.
        fingerprint: hash of its content; equal for equal files wherever they lie.
        config: `config.json`.
    """

    folder: Path
    label: str
    fingerprint: str
    config: dict[str, Any]


def find_folder(name: str, revision: str | None, patterns: list[str], what: str) -> Path:
    """Find a model's folder: local, else in the hub's cache, else on the hub (only files that match `patterns`).

    Raises:
        UserError: no such folder or model, or no network.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if name.startswith(("/", ".", "~")) or name.count("/") > 1 or path.exists():
        raise UserError(f"'{name}' is no folder. Give the folder of a model, or OWNER/NAME of one on the hub.")
    return _fetch(name, revision, patterns, what)


def find_checkpoint(name: str, revision: str | None = None, *, code: bool = False, what: str = "hf") -> Checkpoint:
    """Find a checkpoint: a local folder, else in the hub's cache, else on the hub.

    Args:
        name: a folder, or `owner/name` on the hub.
        revision: branch, tag or commit on the hub.
        code: also fetch the model's own Python code.
        what: the provider, for messages.

    Raises:
        UserError: no such folder or model, no network, no config, or only pickled weights.
    """
    folder = find_folder(name, revision, [*SMALL, "*.py"] if code else list(SMALL), what)
    if folder.parent.name == "snapshots":  # from the hub: now the weights, whose names the index knows
        index = folder / "model.safetensors.index.json"
        large = sorted(set(read_json(index, name)["weight_map"].values())) if index.exists() else ["model.safetensors"]
        if not all((folder / file).exists() for file in large):
            _fetch(name, folder.name, large, what)
    config = read_json(folder / "config.json", name)
    fingerprint = fingerprint_files(folder, weight_files(folder, name), code)
    return Checkpoint(folder, label_of(folder, name, fingerprint), fingerprint, config)


def label_of(folder: Path, name: str, fingerprint: str) -> str:
    """`owner/name@commit` of a hub model, `folder-name@fingerprint` of a local one."""
    if folder.parent.name == "snapshots":
        return f"{folder.parents[1].name.removeprefix('models--').replace('--', '/')}@{folder.name[:12]}"
    return f"{folder.name}@{fingerprint[:12]}"


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises:
        UserError: it is missing or broken.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        adapter = (path.parent / "adapter_config.json").exists()
        fix = (
            "it is an adapter: merge it into its base model first (merge_and_unload)" if adapter else "not a checkpoint"
        )
        raise UserError(f"'{name}' has no {path.name}: {fix}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path.name} of '{name}' cannot be read: {error}. Fetch the checkpoint again.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path.name} of '{name}' is not a JSON object. Fetch the checkpoint again.")
    return value


def _fetch(name: str, revision: str | None, patterns: list[str], what: str) -> Path:
    hub = require("huggingface_hub", "panoglot[hf]", f"a model '{what}:{name}' from the hub")
    errors = hub.errors
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError:
        raise UserError(f"'{name}' is gated: accept its terms on its hub page, then set HF_TOKEN.") from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"there is no model '{name}' on the hub (or it is private: set HF_TOKEN). Check OWNER/NAME, "
            "or give the path of a local folder."
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"model '{name}' has no revision '{revision}'.") from None
    except errors.HFValidationError:
        raise UserError(f"'{name}' is neither a folder nor OWNER/NAME of a hub model.") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        why = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
        raise UserError(
            f"model '{name}' is not on this machine and {why} ({type(error).__name__}). Fetch it where there is a "
            f"network with 'hf download {name}', copy the folder here, and give its path: {what}:/path/to/folder"
        ) from None


def weight_files(folder: Path, name: str) -> list[Path]:
    """List the safetensors files of a checkpoint; pickles are refused.

    Raises:
        UserError: weights missing, or only as pickles, with the fix.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        files = sorted({folder / Path(part).name for part in read_json(index, name).get("weight_map", {}).values()})
    else:
        files = sorted(folder.glob("*.safetensors"))
    missing = [file.name for file in files if not file.exists()]
    if files and not missing:
        return files
    if missing:
        raise UserError(f"'{name}' lacks {', '.join(missing)}: fetch it again with 'hf download {name}'.")
    if any(file.suffix in PICKLES for file in folder.iterdir()):
        raise UserError(
            f"'{name}' has its weights only as pickles, which can run code when loaded, so they are refused. Use a "
            "revision with model.safetensors (?revision=refs/pr/N), or convert them once where you trust them: "
            "load with transformers, then model.save_pretrained(folder)."
        )
    raise UserError(f"'{name}' has no weights (model.safetensors).")


def fingerprint_files(folder: Path, weights: list[Path], code: bool = False, parts: Sequence[str] = ()) -> str:
    """Hash what decides the answers, without reading whole weights.

    Args:
        folder: the checkpoint.
        weights: its safetensors files.
        code: its Python files count, too.
        parts: folders below it that count, too.

    Every small file counts whole; of a safetensors file its size, its header and 64 bytes of the middle of every
    tensor: another training gives another hash, a copy elsewhere the same.
    """
    digest = hashlib.sha256()
    patterns = (*SMALL, *(["*.py"] if code else []))
    small = {path for where in ("", *parts) for pattern in patterns for path in (folder / where).glob(pattern)}
    for path in sorted(small):
        if path.name.lower() not in ("readme.txt", "license.txt", "trainer_state.json"):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for path in weights:
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            _hash_tensors(file, path, digest)
    return digest.hexdigest()[:32]


def _hash_tensors(file: BinaryIO, path: Path, digest: hashlib._Hash) -> None:
    size = path.stat().st_size
    length = int.from_bytes(file.read(8), "little")
    try:
        if not 2 <= length <= min(size - 8, 100_000_000):
            raise ValueError(f"header of {length} bytes in a file of {size}")
        header = file.read(length)
        tensors = json.loads(header)
        spans = sorted(tensor["data_offsets"] for name, tensor in tensors.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no safetensors file ({error}): fetch the checkpoint again.") from None
    digest.update(size.to_bytes(8, "little") + header)
    for start, end in spans:
        if 8 + length + end > size:
            raise UserError(f"{path} is cut short ({size:,} bytes): fetch the checkpoint again.")
        file.seek(8 + length + start + max(0, (end - start) // 2 - 32))
        digest.update(file.read(min(64, end - start)))
