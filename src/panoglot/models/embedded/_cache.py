"""Files that are built once on this machine: found again by key, written atomically, safe between processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from panoglot.errors import UserError

__all__ = ["built", "cache_dir"]


def cache_dir() -> Path:
    """Return `$XDG_CACHE_HOME/panoglot` (`~/.cache/panoglot` when unset)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "panoglot"


def built(name: str, build: Callable[[], bytes]) -> Path:
    """Return the cached file `name`, making it with `build` when it is absent.

    Two processes may build at once: both write equal bytes to a file of their own and rename it, so a reader sees the
    whole file or none. `name` must hold everything that the bytes depend on.

    Raises:
        UserError: the cache folder cannot be written.
    """
    path = cache_dir() / name
    if path.is_file():
        return path
    data = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"cannot write '{path}' ({error.strerror}): set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    return path
