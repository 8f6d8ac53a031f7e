"""Files of a run: written whole or not at all, checked when they are read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from panoglot.errors import UserError

__all__ = ["read_manifest", "read_state", "write", "write_state"]


def write(path: Path, data: bytes | Callable[[IO[bytes]], None]) -> None:
    """Write a file that is either whole or not there; what it replaces stays until then.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)  # the name, too, is on the disk
        os.fsync(folder)
        os.close(folder)
    except (OSError, RuntimeError) as error:  # torch.save wraps a full disk in a RuntimeError
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and not isinstance(error.__context__, OSError) and "write" not in str(error):
            raise
        raise UserError(
            f"'{path}' cannot be written ({error.__context__ or error}). What was saved before is whole: make room and "
            "go on with resume."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def write_state(path: Path, state: Any) -> str:
    """Write tensors; returns the hash of the file."""
    write(path, lambda file: torch.save(state, file))
    return _hash(path)


def read_state(path: Path, digest: str | None = None, device: Any = "cpu") -> Any:
    """Read what `write_state` wrote. Nothing in it is executed.

    Raises:
        UserError: the file is gone, cut short, or changed.
    """
    advice = "Restore it from a copy, or begin anew in another folder."
    try:
        if digest is not None and _hash(path) != digest:
            raise UserError(f"'{path}' is damaged: its bytes are not those that were saved. {advice}")
        return torch.load(path, weights_only=True, map_location=device)
    except UserError:
        raise
    except Exception as error:  # torch raises many kinds for a broken file
        raise UserError(f"'{path}' cannot be read ({type(error).__name__}: {str(error)[:100]}). {advice}") from error


def read_manifest(run: Path) -> dict[str, Any]:
    """Return what `run.json` says.

    Raises:
        UserError: it is not there, or damaged.
    """
    try:
        value = json.loads((run / "run.json").read_text(encoding="utf-8"))
        if not isinstance(value, dict) or not {"step", "file", "identity"} <= set(value):
            raise ValueError("settings are missing")
    except (OSError, ValueError) as error:
        raise UserError(f"'{run}/run.json' cannot be read ({error}); is '{run}' a training run?") from error
    return value
