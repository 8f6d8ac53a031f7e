"""The errors a user may meet.

A mistake of the user raises `UserError`; the command line prints its one line without a traceback and exits with 2.
Anything else that escapes is a bug and keeps its traceback (exit 1). A bad row is neither: see `panoglot.table.Reject`.
"""

from __future__ import annotations

import difflib
import errno
import functools
import importlib
import importlib.util
import re
import shlex
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import ParamSpec, TypeVar

__all__ = [
    "BudgetReached",
    "MissingPackage",
    "NothingKept",
    "PanoglotError",
    "RowError",
    "Stopped",
    "StoreError",
    "UnknownOption",
    "UserError",
    "command",
    "did_you_mean",
    "many",
    "mendable",
    "require",
    "store_trouble",
    "verb",
    "yaml_fault",
]


P = ParamSpec("P")
T = TypeVar("T")


class PanoglotError(Exception):
    """Base of every error that Panoglot raises on purpose.

    Attributes:
        tokens: tokens (read, written) of an answer that came and was none: it is paid for all the same.
    """

    tokens: tuple[int | None, int | None] | None = None


class UserError(PanoglotError):
    """The user must do something; the message names the value and the command or change that fixes it."""


class UnknownOption(UserError, TypeError):
    """A function of the package was called with an option that it does not have."""


class NothingKept(UserError):
    """Nothing came of a run, and its dataset is empty; the command line exits with 3."""


class MissingPackage(UserError):
    """An optional package is not installed; the message is the pip line."""


class StoreError(UserError, OSError):
    """An object store refused, or is not there; the message says what to do.

    Attributes:
        denied: the keys are good, but not for this object.
    """

    denied = False


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
    """The run's `max_cost` is spent; what was not asked yet stays pending for the next run.

    Attributes:
        estimate: US dollars that the question may cost that was not asked.
    """

    def __init__(self, message: str = "", estimate: float = 0.0) -> None:
        super().__init__(message)
        self.estimate = estimate


class Stopped(PanoglotError):
    """The run was told to stop; what was not asked yet stays pending for the next run."""


#: Choices that are listed where none is near: a closed list is shown whole.
_SHOWN = 40
#: Words that options had, or that are tried, to the one word that there is for the idea.
_OLD = {
    **dict.fromkeys(("langs", "languages", "language", "target", "targets", "to"), "lang"),
    **dict.fromkeys(("kind",), "kinds"),
    **dict.fromkeys(("source",), "sources"),
    **dict.fromkeys(("format",), "to"),
}


def verb(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function a verb of the package: an option that it does not have is answered as on the command line.

    >>> @verb
    ... def read(source: str, *, lang: str = "") -> None: ...
    >>> read("photos", languages="de")
    Traceback (most recent call last):
    panoglot.errors.UnknownOption: read has no option 'languages'. Did you mean 'lang'?
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        known = function.__annotations__  # of a verb every option has one
        for key in kwargs:
            if key not in known:
                raise UnknownOption(f"{function.__name__} has no option '{key}'.{did_you_mean(key, known)}")
        return function(*args, **kwargs)

    return call


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?`, or the choices when nothing is near.

    >>> did_you_mean("retreival", ["retrieval", "captions"])
    " Did you mean 'retrieval'?"
    """
    known = sorted(set(choices))
    word = value.removeprefix("--").replace("-", "_")
    if _OLD.get(word) in known:
        return f" Did you mean '{_OLD[word]}'?"
    near = difflib.get_close_matches(value, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    shown = ", ".join(known[:_SHOWN]) + (" …" if len(known) > _SHOWN else "")
    return f" Known: {shown}." if known else ""


def many(count: int, what: str) -> str:
    """Say how many there are of something. `{s}`, `{is}`, `{has}`, `{was}` and `{it}` go by the number; without any of
    these the plural has an s at the end.

    >>> many(1, "reject"), many(1200, "reject"), many(1, "picture{s} {is} gone"), many(2, "picture{s} {is} gone")
    ('1 reject', '1,200 rejects', '1 picture is gone', '2 pictures are gone')
    """
    forms = ("", "is", "has", "was", "it is") if count == 1 else ("s", "are", "have", "were", "they are")
    if "{" not in what:
        return f"{count:,} {what}{forms[0]}"
    for name, form in zip(("{s}", "{is}", "{has}", "{was}", "{it}"), forms):
        what = what.replace(name, form)
    return f"{count:,} {what}"


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


def require_later(module: str, install: str, what: str) -> None:
    """Raise as `require` does when a module is not there, and do not import it yet when it is: it may not be needed."""
    try:
        found = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        require(module, install, what)


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


#: What a system refuses and a user can mend: error number to (how others write it, what it means).
_REFUSALS = {
    errno.ENOSPC: ("No space left", "the disk is full{at}: make room, then run the same command again."),
    errno.EDQUOT: ("quota exceeded", "the disk quota is used up{at}: make room, then run the same command again."),
    errno.EFBIG: ("File too large", "a file may not grow further{at} (ulimit -f): raise the limit, then run it again."),
    errno.EROFS: ("Read-only file system", "this file system may only be read{at}: choose another place."),
    errno.EACCES: ("Permission denied", "no permission to read or write{at}: chmod u+rwX it, or choose another place."),
    errno.EPERM: ("Operation not permitted", "the system does not permit it{at}: choose another place."),
    errno.EMFILE: ("Too many open files", "too many open files: raise the limit, for example ulimit -n 8192."),
    errno.ENOTDIR: ("Not a directory", "a part of the path is a file, not a folder{at}: choose another place."),
    errno.ENAMETOOLONG: ("File name too long", "the name is too long for this file system{at}: choose a shorter one."),
    errno.EIO: ("Input/output error", "the disk or network folder failed{at}: look after it, then run it again."),
    errno.ESTALE: ("Stale file handle", "the network folder went away{at}: mount it again, then run it again."),
}


def mendable(error: BaseException) -> str | None:
    """Return a line about what the system refused (room, permission, …), or None when `error` is something else.

    Libraries wrap such errors in kinds of their own: the causes of `error`, their numbers and texts are looked at.

    >>> mendable(OSError("LanceError(IO): Unable to open file /d/x.lance: Permission denied (os error 13)"))
    "no permission to read or write at '/d/x.lance': chmod u+rwX it, or choose another place."
    >>> mendable(ValueError("no"))
    """
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        if (line := _refused(one)) is not None:
            return line
        one = one.__cause__ or one.__context__
    if isinstance(error, MemoryError):
        return "out of memory: close other programs or take a smaller model, then run the same command again."
    return None


#: What an object store, or the library that asks it, says, and what a user can do.
_STORES = (
    (
        r"NoSuchBucket|ContainerNotFound|bucket does not exist",
        "there is no bucket '{bucket}'{at}: make it, or mend its name.",
    ),
    (r"InvalidBucketName", "'{bucket}' is no name of a bucket: mend it."),
    (
        r"169\.254\.169\.254|metadata\.google|Failed to get AWS credentials|MissingCredentials|no credentials",
        "no keys for '{bucket}': export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… (a public bucket: "
        "export AWS_SKIP_SIGNATURE=true).",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken",
        "the keys are not right for '{bucket}'{at}: {code}.",
    ),
    (
        r"AccessDenied|403 Forbidden|401 Unauthorized|lacked the necessary privileges|not authenticated",
        "no right to read or write '{bucket}'{at}: ask its owner, or export other keys.",
    ),
    (
        r"PermanentRedirect|301 Moved|AuthorizationHeaderMalformed",
        "the bucket '{bucket}' lies in another region: export AWS_REGION=….",
    ),
    (r"error sending request|operation timed out|connection closed|dns error", "no object store answers{at}: {mend}"),
    (r"50[0234] [A-Z]|SlowDown|ServiceUnavailable", "the object store fails{at}: run the same command again later."),
)


def store_trouble(said: str, uri: str = "") -> str | None:
    """Return a line about what an object store refused, or None when it is something else.

    Nothing of what was sent is repeated: no keys, no signature.

    Args:
        said: the error as `obstore` or Lance tell it.
        uri: what was asked for, where that is known.

    >>> store_trouble("Error performing GET http://h:9/b/x?sig=1 in 1ms - HTTP error: error sending request")
    'no object store answers at http://h:9: check AWS_ENDPOINT_URL and the network, then run the same command again.'
    """
    line = next((line for pattern, line in _STORES if re.search(pattern, said)), None)
    if line is None:
        return None
    asked = re.search(r"(https?://[^/\s?]+)(?:/([^/\s?]+))?", said)
    bucket = uri.partition("://")[2].partition("/")[0] or (asked and asked[2]) or "the bucket"
    at = f" at {asked[1]}" if asked and "169.254" not in asked[1] else ""
    code = re.search(r"<Code>(\w+)</Code>", said)
    mend = "check AWS_ENDPOINT_URL and the network, then run the same command again."
    return line.format(bucket=bucket, at=at, code=code[1] if code else "the store refused them", mend=mend)


def _refused(error: BaseException) -> str | None:
    said = str(error)
    of_store = re.search(
        r"Generic (S3|GCS|MicrosoftAzure|N/A) error|Error performing [A-Z]+ http|<Code>\w+</Code>", said
    )
    if of_store and (line := store_trouble(said)) is not None:
        return line
    number = error.errno if isinstance(error, OSError) else None
    if number not in _REFUSALS:
        found = re.search(r"os error (\d+)", said)
        number = int(found.group(1)) if found else None
    if number not in _REFUSALS and (isinstance(error, OSError) or type(error).__module__.startswith(("daft", "lance"))):
        number = next((key for key, (words, _) in _REFUSALS.items() if words in said), None)
    if number not in _REFUSALS:
        return None
    path = getattr(error, "filename", None)
    if path is None:  # not the source files that a compiled library names
        named = re.findall(r"(?:^|[\s'\"(])(/[^:'\"\n]+?)(?=[:'\")]|$)", said)
        path = next((one for one in named if ".rs" not in one), None)
    return _REFUSALS[number][1].format(at=f" at '{path}'" if path else "")
