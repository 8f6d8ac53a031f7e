"""A folder of this machine as a store."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from panoglot.errors import UserError
from panoglot.storage._claims import claims_of
from panoglot.storage._contract import Appender, Claims, FileFacts, Store, TableAddress

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LocalStore", "version_of"]

#: What is half written is called so; nobody lists it.
_HALF = re.compile(r"\.panoglot-[0-9a-f]{8}")


class LocalStore:
    """A folder of this machine, or of a network file system that it has mounted."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def __repr__(self) -> str:
        return f"LocalStore({str(self._path)!r})"

    def __reduce__(self) -> Any:
        return LocalStore, (self.absolute,)  # a worker may have another current folder

    @property
    def uri(self) -> str:
        return Path(self.absolute).as_uri()

    @property
    def address(self) -> str:
        return str(self._path)

    @property
    def absolute(self) -> str:
        return str(self._path.resolve())

    @property
    def folder(self) -> Path | None:
        return self._path

    # -- the place -------------------------------------------------------------------------------------------------

    def at(self, folder: str) -> Store:
        return LocalStore(self._path / folder)

    def exists(self) -> bool:
        return self._path.exists()

    def make(self) -> None:
        if self._path.exists() and not self._path.is_dir():
            raise UserError(
                f"{self._path} is a file; give a new folder name for the dataset, for example {_free(self._path)}"
            )
        self._path.mkdir(parents=True, exist_ok=True)

    def refused(self) -> str | None:
        path = self._path
        if not path.is_dir():
            return None
        shut: Path | None = None if os.access(path, os.R_OK | os.X_OK) else path
        if shut is None:
            tables = [*path.glob("*.lance"), path / "vectors", *path.glob("vectors/*.lance"), path / "work"]
            parts = (table / part for table in tables for part in ("", "_versions", "data"))
            shut = next((part for part in parts if part.exists() and not os.access(part, os.R_OK | os.X_OK)), None)
        return None if shut is None else f"'{shut}': chmod -R u+rX {shlex.quote(str(path))}, or ask its owner"

    def beside(self) -> list[str]:
        parent = self._path.parent
        return [path.name for path in parent.glob("*.pano")] if parent.is_dir() else []

    # -- files -----------------------------------------------------------------------------------------------------

    def names(self, folder: str = "") -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._path / folder) if not _HALF.fullmatch(name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def has(self, name: str) -> bool:
        return (self._path / name).is_file()

    def facts(self, name: str) -> FileFacts:
        found = os.stat(self._path / name)
        return FileFacts(found.st_size, found.st_mtime_ns)

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def open(self, name: str, buffer: int = 8192) -> BinaryIO:
        # anew each time: on a network file system that is what shows another host's writes
        return open(self._path / name, "rb", buffering=buffer)

    def local(self, name: str) -> Path:
        return self._path / name

    def write(self, name: str, data: bytes, *, new: bool = False) -> bool:
        if not new:
            with self.writing(name) as file:
                file.write(data)
            return True
        path = self._path / name
        with self._half(path) as half:
            _write(half, data)
            try:
                os.link(half, path)
            except FileExistsError:  # two at once: the first one's stands
                return False
            except OSError:  # a file system without links
                if path.exists():
                    return False
                os.replace(half, path)
        _sync_folder(path.parent)
        return True

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        path = self._path / name
        with self._half(path) as half:
            with open(half, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(half, path)
        _sync_folder(path.parent)

    @contextlib.contextmanager
    def _half(self, path: Path) -> Iterator[Path]:
        """A name beside a path for what is not finished; nothing is left there."""
        if path.parent != self._path:
            path.parent.mkdir(exist_ok=True)
        half = path.with_name(f".panoglot-{secrets.token_hex(4)}")
        try:
            yield half
        finally:
            with contextlib.suppress(OSError):
                half.unlink()

    def append(self, name: str) -> Appender:
        return _LocalAppender(self._path / name)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def sweep(self, older: float) -> None:
        with os.scandir(self._path) as entries:
            half = [entry for entry in entries if _HALF.fullmatch(entry.name)]
        for entry in half:
            with contextlib.suppress(OSError):
                if time.time() - entry.stat().st_mtime <= older:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)

    # -- tables ----------------------------------------------------------------------------------------------------

    def _table(self, name: str) -> Path:
        return self._path / f"{name}.lance"

    def _versions(self, name: str) -> str:
        return f"{self._path}/{name}.lance/_versions"  # asked some ten times by every search

    def table(self, name: str) -> TableAddress:
        return TableAddress(str(self._table(name)))

    def tables(self, folder: str = "") -> list[str]:
        place = f"{folder}/" if folder else ""
        found = (self._path / folder).glob("*.lance")
        return sorted(f"{place}{path.stem}" for path in found if not path.name.startswith("."))

    def has_table(self, name: str) -> bool:
        try:
            with os.scandir(self._versions(name)) as found:
                return next(found, None) is not None
        except (FileNotFoundError, NotADirectoryError):
            return False

    def new_table(self, name: str, make: Callable[[TableAddress], object]) -> None:
        # Lance's own `create` may overwrite what another process created and filled in the meantime: make the table
        # beside its place, and let the file system decide whose rename comes first
        path = self._table(name)
        half = path.with_name(f".panoglot-{secrets.token_hex(4)}")
        make(TableAddress(str(half)))
        try:
            half.rename(path)
        except OSError:
            shutil.rmtree(half, ignore_errors=True)
            if not self.has_table(name):
                raise

    def stamp(self, name: str) -> int:
        try:
            changed = os.stat(self._versions(name)).st_mtime_ns
        except FileNotFoundError:
            return 0
        now = time.time_ns()
        # the clock of a file system ticks every few milliseconds: a commit just now may not be the last of its tick
        return now if abs(now - changed) < 50_000_000 else changed

    def versions(self, name: str) -> list[int]:
        try:
            names = os.listdir(self._table(name) / "_versions")
        except FileNotFoundError:
            return []
        return sorted({version_of(one) for one in names} - {0})

    def hold(self, name: str, version: int | None = None, *, alone: bool = False) -> Callable[[], None] | None:
        if fcntl is None:
            return None
        path = self._table(name)
        if version is not None:
            counted_down = path / "_versions" / f"{2**64 - 1 - version:020}.manifest"
            path = counted_down if counted_down.exists() else path / "_versions" / f"{version}.manifest"
        try:
            held = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # no such table: Lance says so
            return None
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
            if os.fstat(held).st_nlink:
                return functools.partial(os.close, held)
        except OSError:
            pass
        os.close(held)
        return None

    # -- locks -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, name: str, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
        if fcntl is None:  # not a POSIX system: one run at a time is the user's care
            yield
            return
        with open(self._path / name, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield

    def claims(self, name: str) -> Claims:
        return claims_of(self._path / name)

    def scratch(self, name: str) -> Path:
        return self._path / name


def _free(taken: Path) -> Path:
    """A name beside one that is taken: `photos-2.pano`."""
    names = (taken.with_name(f"{taken.stem}-{n}.pano") for n in range(2, 1000))
    return next((name for name in names if not name.exists()), taken.with_name(f"{taken.stem}-new.pano"))


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make new names in a folder durable."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open a folder
        return
    try:
        os.fsync(fd)
    except OSError:
        pass  # some network file systems refuse; their names are durable on the server
    finally:
        os.close(fd)


class _LocalAppender:
    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._fd = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
        _sync_folder(path.parent)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def version_of(name: str) -> int:
    """The version whose manifest has this name: Lance counts down from the largest number, or names it plainly.

    >>> version_of("18446744073709551612.manifest"), version_of("7.manifest"), version_of(".tmp")
    (3, 7, 0)
    """
    number, _, ending = name.partition(".")
    if ending != "manifest" or not number.isdigit():
        return 0
    return 2**64 - 1 - int(number) if len(number) == 20 else int(number)
