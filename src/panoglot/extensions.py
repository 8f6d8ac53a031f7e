"""What is found by name: a room's public names, loaded when they are first used, and the entry points of packages.

__getattr__, __dir__ = lazy_names(__name__, {"nearest": "_exact"})     # at the end of a room's `__init__`
find_entries("panoglot.providers")["openai"].load()                    # ours and anyone's
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points
from typing import Any

from panoglot.errors import UserError, did_you_mean

__all__ = ["OWN", "arguments_of", "find_entries", "lazy_names", "load_entry", "look_again", "own_entries"]

#: Our own distribution: its entry points are read without looking at the others'.
OWN = "panoglot"


def lazy_names(room: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of a package whose names are imported when they are first used.

    Args:
        room: `__name__` of the package.
        homes: public name to the module that defines it: below the package, or in full. A literal, so that the test of
            the house can read it as imports; type checkers read the same names beside it, under `TYPE_CHECKING`.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        home = homes[name] if homes[name].startswith("panoglot.") else f"{room}.{homes[name]}"
        value = getattr(import_module(home), name)
        setattr(sys.modules[room], name, value)
        return value

    def names() -> list[str]:
        return sorted(homes)

    return get, names


@cache
def own_entries(group: str) -> dict[str, EntryPoint]:
    """Our own entry points of a group, by name; other packages are not looked at."""
    try:
        found = Distribution.from_name(OWN).entry_points
    except PackageNotFoundError:  # run from a source tree that was never installed
        return {}
    return {point.name: point for point in found if point.group == group}


@cache
def find_entries(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, ours first: another package cannot take a name of ours.

    Looking at every installed package takes tens of milliseconds, so nothing that `--help` needs calls this.
    """
    found = {point.name: point for point in entry_points(group=group)}
    return found | own_entries(group)


def look_again() -> None:
    """Forget what was found: a package was installed, or a folder came onto the path, after the first look."""
    find_entries.cache_clear()
    own_entries.cache_clear()


def load_entry(group: str, name: str, what: str) -> Any:
    """Load the thing that an entry point names; our own are found without a look at other packages.

    Args:
        group: for example `panoglot.providers`.
        name: of the entry point.
        what: `model provider`, for the message.

    Raises:
        UserError: nothing of that name (with "did you mean"), or what it names cannot be imported.
    """
    point = own_entries(group).get(name) or find_entries(group).get(name)
    if point is None:
        raise UserError(f"there is no {what} '{name}'.{did_you_mean(name, find_entries(group))}")
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        if point.name in own_entries(group):
            raise
        raise UserError(f"the {what} '{name}' ({point.value}) cannot be loaded: {error}") from error


def arguments_of(function: Callable[..., Any] | None) -> dict[str, str]:
    """Return what a Google docstring says about every argument."""
    found: dict[str, str] = {}
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(function) or "", re.M | re.S) if function else None
    name = ""
    for line in section[1].splitlines() if section else ():
        head = re.fullmatch(r" {4}(\w+): (.*)", line)
        if head:
            name, found[head[1]] = head[1], head[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found
