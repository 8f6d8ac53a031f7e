"""Files that are built once on this machine: found again by key, written atomically, safe between processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from panoglot.errors import UserError

__all__ = ["built", "cache_dir"]


def cache_dir() -> Path:
    """Return `$XDG_CACHE_HOME/panoglot` (`~/.cache/panoglot` when unset)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "panoglot"


def built(name: str, build: Callable[[], bytes]) -> Path:
    """Return the cached file `name`, making it with `build` when it is absent.

    One process builds and the others wait for it; where files cannot be locked they all build equal bytes. Either way a
    file appears by rename, whole. `name` must hold everything that the bytes depend on.

    Raises:
        UserError: the cache folder cannot be written.
    """
    path = cache_dir() / name
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(path.with_name(f".{name}.lock")):
            if not path.is_file():
                _write(path, build())
    except OSError as error:
        raise UserError(
            f"cannot write '{path}' ({error.strerror}): set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    return path


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with lock.open("w") as file:
        with suppress(OSError):  # some network folders have no locks
            fcntl.flock(file, fcntl.LOCK_EX)  # given back when the process ends, however it ends
        yield


def _write(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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
