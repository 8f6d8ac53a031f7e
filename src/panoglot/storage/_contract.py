"""What a place offers in which a dataset may lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

__all__ = ["Address", "Appender", "Claims", "FileFacts", "Store", "TableAddress"]


class TableAddress(NamedTuple):
    """Where Lance finds a table.

    Attributes:
        uri: what `lance.dataset` takes.
        options: its `storage_options`: endpoint, region, keys; None without.
    """

    uri: str
    options: dict[str, str] | None = None


class FileFacts(NamedTuple):
    """What is known of a file without reading it: its size in bytes, and when it changed, in ns since 1970."""

    size: int
    changed: int


class Appender(Protocol):
    """A file that its one writer adds to."""

    def write(self, data: bytes) -> None:
        """Add bytes; they are durable, and seen by others, when this returns. If it raises, a part may be there."""

    def close(self) -> None:
        """Add no more. Also called in a forked child, whose parent goes on: it must not take anything back."""


class Claims(Protocol):
    """Claims on 62-bit numbers, over all processes and hosts that use the store.

    Attributes:
        shared: claims are seen by other processes.
        near: a claim costs nothing; else it is a request, and many are taken together.
    """

    shared: bool
    near: bool

    def take(self, key: bytes) -> bool:
        """Claim `key` (8 bytes or more); False when anybody has it, this process included."""

    def take_many(self, keys: Sequence[bytes]) -> list[bool]:
        """Claim each of several keys: whether it was had."""

    def held(self, key: bytes) -> bool:
        """Say whether anybody has `key`, without taking it."""

    def drop(self, key: bytes) -> None:
        """Give the claim on `key` up. It also ends with the process, however that ends."""


class Store(Protocol):
    """One place with all that belongs to a dataset. It can be pickled, and opened in any process by its `absolute`.

    What a place that is no folder has to offer, beside reading and writing whole files: a write that fails when the
    name is taken (`write(new=True)`: put-if-absent), listing that shows what was written before, Lance's own commits,
    and locks that end with their holder (a lease that is renewed). Append-only files, which the journal's segments are,
    may be numbered parts that `open` reads one behind the other: a segment has one writer, is read while it grows, and
    is never changed afterwards. All errors of a place are `OSError`s, what is not there is a `FileNotFoundError`.

    Attributes:
        uri: of the place.
        address: as it was given: what people read and commands take.
        absolute: the same wherever the current folder is.
        folder: on this machine; None when it is elsewhere.
    """

    @property
    def uri(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def absolute(self) -> str: ...
    @property
    def folder(self) -> Path | None: ...

    # -- the place -------------------------------------------------------------------------------------------------

    def at(self, folder: str) -> Store:
        """A store in this store."""

    def exists(self) -> bool:
        """Say whether anything, of whatever kind, is at the place."""

    def make(self) -> None:
        """Make the place unless it is there.

        Raises:
            UserError: something else is there.
        """

    def refused(self) -> str | None:
        """What of it may not be read, and what mends that; None when all may."""

    def beside(self) -> list[str]:
        """Names of other datasets beside this, for a "did you mean"; none where looking costs much."""

    # -- files -----------------------------------------------------------------------------------------------------

    def names(self, folder: str = "") -> list[str]:
        """Names of files and folders directly in a folder, sorted, without what is half written; none of no folder."""

    def has(self, name: str) -> bool:
        """Say whether a file is there."""

    def facts(self, name: str) -> FileFacts:
        """Size and time of a file."""

    def read(self, name: str) -> bytes:
        """The content of a small file."""

    def open(self, name: str, buffer: int = 8192) -> BinaryIO:
        """A file to read and to seek in, as far as it was written when this is called."""

    def local(self, name: str) -> Path:
        """A finished file on this machine, to be mapped into memory or shown: itself, or a copy."""

    def write(self, name: str, data: bytes, *, new: bool = False) -> bool:
        """Write a small file, whole or not at all; it is durable when this returns.

        Args:
            name: of the file; its folder is made.
            data: the content.
            new: leave a file that is there as it is, whoever of several was first.

        Returns:
            Whether it was written.
        """

    def writing(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Write a file of any size; it is there, whole and durable, when the block ends well, and else not."""

    def append(self, name: str) -> Appender:
        """Begin a new file that grows."""

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""

    def sweep(self, older: float) -> None:
        """Remove what a crash left half written directly in this place, if it is older than so many seconds."""

    # -- tables ----------------------------------------------------------------------------------------------------

    def table(self, name: str) -> TableAddress:
        """Where a table is, or would be."""

    def tables(self, folder: str = "") -> list[str]:
        """Names of the tables directly in a folder, with the folder's, sorted."""

    def has_table(self, name: str) -> bool:
        """Say whether anything was ever committed to a table."""

    def new_table(self, name: str, make: Callable[[TableAddress], object]) -> None:
        """Make a table and move it to its place, unless somebody else was first: what they filled in stays.

        Args:
            name: of the table.
            make: makes it at the address that it gets.
        """

    def stamp(self, name: str) -> int:
        """A number that changes with every commit to a table, and costs next to nothing."""

    def versions(self, name: str) -> list[int]:
        """The versions of a table that are there, oldest first."""

    def hold(self, name: str, version: int | None = None, *, alone: bool = False) -> Callable[[], None] | None:
        """Hold a version of a table that is read, or the table while a commit is made; it ends with the process.

        Args:
            name: of the table.
            version: of it; None for the table.
            alone: with nobody else who holds it. This never waits; who holds it with others waits for who is alone.

        Returns:
            What gives it up, None where it could not be had.
        """

    # -- locks -----------------------------------------------------------------------------------------------------

    def lock(self, name: str, *, shared: bool = False, wait: bool = False) -> AbstractContextManager[None]:
        """Hold a lock. It ends with the block, and with the process, kill -9 included.

        Args:
            name: of the lock.
            shared: beside others that share it.
            wait: for an exclusive lock until it is free; else `BlockingIOError`.
        """

    def claims(self, name: str) -> Claims:
        """This process's claims, one object a name; an OSError where nothing may be written."""

    # -- this machine ----------------------------------------------------------------------------------------------

    def scratch(self, name: str) -> Path:
        """A folder on this machine, maybe still to be made, for what may be lost: copies that are mapped."""


#: What names a store.
Address = str | os.PathLike[str] | Store
