"""Files of a source: safe reading, safe paths, shard lists, identities of parts."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.identity import canonical_bytes
from panoglot.pictures import MAX_BYTES, SUFFIXES
from panoglot.storage import in_objects
from panoglot.table import Reject, is_dataset

__all__ = [
    "ARCHIVES",
    "FILMS",
    "IMAGE_DIR",
    "MAX_TEXT",
    "PAGES",
    "WARCS",
    "check_exists",
    "check_regular",
    "expand",
    "find_files",
    "find_named",
    "has_all",
    "has_pictures",
    "inside",
    "is_hidden",
    "join_uri",
    "open_regular",
    "part_key",
    "read_bytes",
    "read_named",
    "reject",
    "starts_like_picture",
    "states_of",
    "suffix_of",
]

#: Most bytes of a text that stands beside a picture.
MAX_TEXT = 2**20
#: What helps where the pictures that a list names lie elsewhere.
IMAGE_DIR = "; name the folder with image_dir"
#: Names of archives end so; they are unpacked first.
ARCHIVES = tuple(f".{ending}" for ending in "zip 7z rar gz tgz bz2 xz zst".split())
#: Names of films end so.
#: Web pages, and archives of them.
PAGES, WARCS = (".html", ".htm", ".xhtml"), (".warc", ".warc.gz", ".warc.zst")
FILMS = tuple(f".{ending}" for ending in "mp4 m4v mov mkv webm avi mpg mpeg ogv 3gp wmv flv m2ts".split())
_RANGE = re.compile(r"\{([^{}]*)\}")
_MOST_SHARDS = 1_000_000


def reject(uri: str, reason: str, message: str = "") -> Reject:
    """Return the ingest failure of `uri`; the message is one line."""
    return Reject(uri, "ingest", reason, " ".join(message.split())[:500])


def open_regular(path: str) -> io.FileIO:
    """Open a regular file, without buffer.

    Raises:
        RowError: `missing_file`, `not_a_file` (a device or pipe is never read), `unreadable`.
    """
    try:
        # non-blocking: opening a pipe that nobody writes to would wait for ever
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise RowError("missing_file", join_uri(path)) from None
    except OSError as error:
        raise RowError("unreadable", error.strerror or str(error)) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise RowError("not_a_file", "a device, pipe or folder")
    return io.FileIO(handle)


def check_regular(path: str) -> None:
    """Raise `RowError` unless `path` is a regular file that can be read: opening a pipe would wait for ever."""
    open_regular(path).close()


def read_bytes(path: str, limit: int = MAX_BYTES) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        RowError: `missing_file`, `not_a_file` (a device or pipe is never read), `too_many_bytes`, `unreadable`.
    """
    try:
        with open_regular(path) as file:
            facts = os.fstat(file.fileno())
            if facts.st_size > limit:
                raise RowError("too_many_bytes", f"{facts.st_size:,} bytes, the limit is {limit:,}")
            # as much as it has: a buffer of the limit's size would cost more than the reading
            data: bytes = file.read(facts.st_size + 1) or b""
            if len(data) != facts.st_size:  # it grew, or its file system does not say its size, or gives it in pieces
                while len(data) <= limit and (more := file.read(min(limit + 1 - len(data), 2**20))):
                    data += more
    except OSError as error:
        raise RowError("not_a_file" if error.errno == 21 else "unreadable", error.strerror or str(error)) from None
    if len(data) > limit:
        raise RowError("too_many_bytes", f"the limit is {limit:,} bytes")
    return data


def join_uri(*parts: str) -> str:
    """Join path pieces to a uri that is valid UTF-8 whatever the file system held.

    >>> join_uri("photos/", "a.jpg"), join_uri(".", "b\\udcff.jpg")
    ('photos/a.jpg', 'b\\\\xff.jpg')
    """
    if in_objects(parts[0]):
        return "/".join([parts[0].rstrip("/"), *parts[1:]])
    joined = os.path.normpath(os.path.join(*parts)).replace(os.sep, "/")
    return os.fsencode(joined).decode("utf-8", "backslashreplace")


def suffix_of(name: str) -> str:
    """Return the lower-case last suffix with its dot."""
    return os.path.splitext(name)[1].lower()


def starts_like_picture(path: str) -> bool:
    """Say whether a file begins like a picture that decoders read, whatever it is called."""
    try:
        with open_regular(path) as file:
            head = file.read(16) or b""
    except (OSError, RowError):
        return False
    known = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
    kind = head[8:12]
    return head.startswith(known) or (head[:4] == b"RIFF" and kind == b"WEBP") or kind in (b"avif", b"heic", b"mif1")


def has_all(source: str, suffix: str | tuple[str, ...]) -> bool:
    """Say whether a source is a file with a suffix, or a folder of which all that is not hidden is such files."""
    names = [name for name in os.listdir(source) if not name.startswith(".")] if os.path.isdir(source) else [source]
    there = os.path.isdir(source) or os.path.isfile(source)
    return there and bool(names) and all(name.lower().endswith(suffix) for name in names)


def is_hidden(name: str) -> bool:
    """Say whether a file or folder is left alone: dot files, and what operating systems strew about."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir")


def inside(folder: str, path: str) -> str:
    """Return the real path of `path` (relative to `folder`, or absolute), which must lie in `folder`.

    Raises:
        RowError: `outside_folder`.
    """
    root = os.path.realpath(folder)
    try:
        real = os.path.realpath(os.path.join(root, path))
    except ValueError:
        raise RowError("missing_file", "the path has a zero byte") from None
    if real != root and not real.startswith(root.rstrip(os.sep) + os.sep):
        raise RowError("outside_folder", f"{path!r} leads outside {join_uri(folder)}")
    return real


def read_named(folder: str, name: str, *, outside: bool = False, hint: str = "") -> bytes:
    """Read the file that a row names, relative to `folder`.

    Names are tried as they stand, then in the Unicode normal forms that file systems and tools turn them into, then
    without what Flickr8k writes after them (`1000.jpg#0`).

    Args:
        folder: where relative names begin.
        name: the file.
        outside: names may lead out of the folder.
        hint: added to what is said of a file that is not there.

    Raises:
        RowError: as `read_bytes` and `inside`.
    """
    forms = [name] if name.isascii() else [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    plain = re.sub(r"#\d+$", "", name.strip())
    missing: RowError | None = None
    for one in dict.fromkeys([*forms, plain]):
        try:
            return read_bytes(os.path.join(folder, one) if outside else inside(folder, one))
        except RowError as error:
            if error.reason != "missing_file":
                raise
            missing = missing or error
    missing = missing or RowError("missing_file", join_uri(name))
    raise RowError(missing.reason, missing.message + hint)


def find_named(folder: str, names: Sequence[str], *, above: bool = True) -> str:
    """The folder in which the first of some pictures lie: `folder`, one in it, or the one that it is in.

    Args:
        folder: where to begin.
        names: paths that a file in it gives.
        above: look in the folder that it is in, too.
    """
    below = [os.path.join(folder, name) for name in _folders(folder)]
    choices = [folder, *below, *([os.path.normpath(os.path.join(folder, ".."))] if above else [])]
    for name in names[:20]:
        for choice in choices:
            if name and "\0" not in name and os.path.isfile(os.path.join(choice, name)):
                return choice
    return folder


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not is_hidden(e.name))[:200]
    except OSError:
        return []


def states_of(paths: Iterable[str]) -> str:
    """A digest of sizes and times of files: it changes when one of them is edited, appears or goes."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            facts = os.stat(path)
            digest.update(f"{facts.st_size} {facts.st_mtime_ns};".encode())
        except (OSError, ValueError):
            digest.update(b"-;")
    return digest.hexdigest()[:16]


def part_key(kind: str, path: str, *more: Any) -> str:
    """Return the identity of a part: format, path, size and time of its file, and options that are `counted`.

    A file that changed has another key; a file that is gone has one too.
    """
    path = path if in_objects(path) else os.path.abspath(path)
    try:
        facts = os.stat(path)
        state: Any = [facts.st_size, facts.st_mtime_ns]
    except OSError:
        state = None
    return hashlib.sha256(canonical_bytes([kind, path, state, *more])).hexdigest()[:32]


def expand(source: str) -> list[str]:
    """Expand brace ranges as WebDataset writes them, then globs. Ranges name every file; a missing one is an error.

    >>> expand("{08..11}.none")
    Traceback (most recent call last):
    panoglot.errors.UserError: '{08..11}.none' names files that are not there: 08.none, 09.none, 10.none … (4 in all).
    """
    found: list[str] = []
    for name in _braces(source):
        if len(found) >= _MOST_SHARDS:
            raise UserError(f"'{source}' names more than {_MOST_SHARDS:,} files.")
        found.extend(sorted(glob.glob(name)) if glob.has_magic(name) and not os.path.exists(name) else [name])
    missing = [name for name in found if not os.path.exists(name)]
    if missing:
        shown = ", ".join(missing[:3]) + (f" … ({len(missing)} in all)" if len(missing) > 3 else "")
        raise UserError(f"'{source}' names files that are not there: {shown}.")
    return found


def _braces(text: str) -> Iterator[str]:
    match = _RANGE.search(text)
    if match is None or os.path.exists(text):
        yield text
        return
    body = match[1]
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", body)
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        if last < first or last - first >= _MOST_SHARDS:
            raise UserError(f"'{{{body}}}' is not a range of files; write for example {{00000..00099}}.")
        width = len(numbers[1]) if numbers[1].startswith("0") or len(numbers[1]) == len(numbers[2]) else 0
        options: Iterator[str] = (f"{n:0{width}d}" for n in range(first, last + 1))
    elif "," in body:
        options = iter(body.split(","))
    else:
        raise UserError(f"'{{{body}}}' is not a range or list of files; write {{00000..00099}} or {{a,b}}.")
    for option in options:
        yield from _braces(text[: match.start()] + option + text[match.end() :])


def find_files(source: str, wanted: Callable[[str], bool], what: str) -> list[str]:
    """Return the files of a source, sorted: a file, a folder (recursive), a glob or brace range.

    Args:
        source: what the user gave.
        wanted: says of a file name whether it belongs to the format.
        what: the format's files, for the message when there are none.
    """
    if not os.path.isdir(source):
        paths = expand(source)
    else:
        paths = []
        for folder, folders, names in os.walk(source):  # links to folders are not followed
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            paths.extend(os.path.join(folder, name) for name in sorted(names) if wanted(name) and not is_hidden(name))
    if not paths:
        raise UserError(f"'{source}' has no {what}.")
    return paths


def has_pictures(folder: str) -> bool:
    """Say whether pictures lie in a folder itself: then it is a folder of pictures, whatever else is in it."""
    return any(suffix_of(name) in SUFFIXES and not is_hidden(name) for name in os.listdir(folder))


def check_exists(source: str) -> None:
    """Raise `UserError` with near names when nothing is at `source`."""
    if os.path.exists(source) or glob.has_magic(source) or _RANGE.search(source) or is_dataset(source):
        return
    folder, name = os.path.split(os.path.abspath(source))
    near = did_you_mean(name, os.listdir(folder)[:10_000]) if os.path.isdir(folder) else ""
    raise UserError(f"there is nothing at '{source}'.{near if 'Did you mean' in near else ''}")
