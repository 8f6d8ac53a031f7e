"""The errors a user may meet.

A mistake of the user raises `UserError`; the command line prints its one line without a traceback and exits with 2.
Anything else that escapes is a bug and keeps its traceback (exit 1). A bad row is neither: see `panoglot.table.Reject`.
"""

from __future__ import annotations

import difflib
import importlib
import shlex
from collections.abc import Iterable
from types import ModuleType

__all__ = [
    "BudgetReached",
    "MissingPackage",
    "PanoglotError",
    "RowError",
    "UserError",
    "command",
    "did_you_mean",
    "require",
    "yaml_fault",
]


class PanoglotError(Exception):
    """Base of every error that Panoglot raises on purpose."""


class UserError(PanoglotError):
    """The user must do something; the message names the value and the command or change that fixes it."""


class MissingPackage(UserError):
    """An optional package is not installed; the message is the pip line."""


class RowError(PanoglotError):
    """One row cannot be processed; it goes to `rejects` with `reason` (snake_case) and the run goes on.

    >>> RowError("too_many_pixels", "30000 x 30000").reason
    'too_many_pixels'
    """

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message


class BudgetReached(PanoglotError):
    """The run's `max_cost` is spent; what was not asked yet stays pending for the next run."""


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?`, or the choices when nothing is near.

    >>> did_you_mean("retreival", ["retrieval", "captions"])
    " Did you mean 'retrieval'?"
    """
    known = sorted(set(choices))
    near = difflib.get_close_matches(value, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    shown = ", ".join(known[:20]) + (" …" if len(known) > 20 else "")
    return f" Known: {shown}." if known else ""


def command(*words: object) -> str:
    """Write a command line that runs when it is copied: what a shell would take apart is quoted.

    >>> command("search", "my photos.pano", "a red bird")
    "panoglot search 'my photos.pano' 'a red bird'"
    """
    return shlex.join(["panoglot", *map(str, words)])


def yaml_fault(error: Exception) -> str:
    """Say on one line what is wrong with a YAML text, and where.

    >>> import yaml
    >>> try:
    ...     yaml.safe_load("steps: [encode: {}")
    ... except yaml.YAMLError as error:
    ...     yaml_fault(error)
    "line 1, column 19: expected ',' or ']', but got '<stream end>'"
    """
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or not problem:
        return " ".join(str(error).split())[:300] or type(error).__name__
    return f"line {mark.line + 1}, column {mark.column + 1}: {' '.join(str(problem).split())}"


def require(module: str, install: str, what: str) -> ModuleType:
    """Import an optional `module`, or raise `MissingPackage` with the pip line.

    Args:
        module: dotted module name.
        install: what to give to pip, for example `"panoglot[hf]"`.
        what: what needs it, for the message.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name.partition(".")[0]):
            raise  # a broken installation of the package itself: show the real cause
        raise MissingPackage(f"{what} needs the package '{module}': pip install '{install}'") from error
