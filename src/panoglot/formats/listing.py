"""Pictures one by one: a pattern such as `photos/*.png`, or a file `NAME.list` or `.txt` with a path or address a line.

Lines that begin with `#` and name no picture are remarks.

Texts beside files are read as in a folder of pictures, and with the same options.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

from panoglot.errors import RowError, UserError
from panoglot.formats._annotations import head_of
from panoglot.formats._files import expand, is_hidden, join_uri, part_key, read_bytes, suffix_of
from panoglot.formats._sample import Address, Part, Sample, Unused
from panoglot.formats._texts import given
from panoglot.formats.folder import MOST, TEXTS, UNREAD, _beside, _part
from panoglot.identity import Added
from panoglot.pictures import SUFFIXES
from panoglot.table import Reject

__all__ = ["detect", "parts", "read"]

_ADDRESSES = 1000  # of a part
_LONGEST = 2**30  # bytes of a file of paths


def detect(source: str) -> bool:
    """A pattern that ends like a picture, a file `NAME.list`, or a text file whose lines are names of pictures."""
    if os.path.exists(source):
        named = source.lower()
        return os.path.isfile(source) and (named.endswith(".list") or (named.endswith(".txt") and _is_list(source)))
    return suffix_of(source) in SUFFIXES


def _is_list(path: str) -> bool:
    """Say whether the first lines of a text file are paths of pictures."""
    lines = head_of(path).decode("utf-8", "surrogateescape").splitlines()[:20]
    said = [line.strip() for line in lines if line.strip() and not _is_remark(line)]
    whole = said[:-1] if len(said) == 20 else said  # the last may be cut
    web = all(line.lower().startswith(("http://", "https://")) for line in whole)
    return bool(whole) and (web or all(suffix_of(line) in SUFFIXES for line in whole))


def _is_remark(line: str) -> bool:
    """A line such as `# ours`; `#1.jpg` is a picture."""
    return line.lstrip("\ufeff \t").startswith("#") and suffix_of(line.strip()) not in SUFFIXES


def parts(
    source: str,
    *,
    captions: bool = True,
    lang: str | None = None,
    kind: str | None = None,
    allow_private: Annotated[bool, Added(False)] = False,
    per_host: Annotated[int, Added(4)] = 4,
) -> Iterator[Part]:
    """List the files, in parts of at most 256 of one folder; a file that is not there is a reject.

    Args:
        source: a glob, a brace range, or a file with a path a line; paths are relative to where that file is.
        captions: read the texts beside the pictures.
        lang: language of texts that do not say theirs; None to identify it.
        kind: kind of the captions; `human` unless they say otherwise.
        allow_private: addresses of private networks and of this machine may be asked.
        per_host: requests to one host at once.
    """
    given(lang, kind)
    addresses = _addresses(source)
    for start in range(0, len(addresses), _ADDRESSES):
        some = addresses[start : start + _ADDRESSES]
        items = {"addresses": some, "first": start, "allow_private": allow_private, "per_host": per_host}
        yield Part("listing", join_uri(source), part_key("listing", source, start), items, len(some))
    if addresses:
        return
    options = {"captions": captions, "lang": lang, "kind": kind}
    folders: dict[str, list[str]] = {}
    for path in _paths(source):
        folders.setdefault(os.path.dirname(path) or ".", []).append(os.path.basename(path))
    for folder, names in folders.items():
        texts = _texts(folder) if captions else []
        beside = _beside([name for name in names if suffix_of(name) not in UNREAD], texts)
        for start in range(0, len(names), MOST):
            entries: list[list[Any]] = [
                [name, beside.get(name, []), "unsupported_format" if suffix_of(name) in UNREAD else None]
                for name in names[start : start + MOST]
            ]
            yield _part(folder, entries, options)


def _addresses(source: str) -> list[str]:
    """The lines of a file of web addresses; none where its first line is another thing."""
    head = (head_of(source) if os.path.isfile(source) else b"").decode("utf-8-sig", "surrogateescape").splitlines()
    first = next((line.strip() for line in head if line.strip() and not _is_remark(line)), "")
    if not first.lower().startswith(("http://", "https://")):
        return []
    text = read_bytes(source, _LONGEST).decode("utf-8-sig", "surrogateescape")
    return [line.strip() for line in text.splitlines() if line.strip() and not _is_remark(line)]


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """The pictures of addresses, still to be fetched."""
    items = part.items
    for number, url in enumerate(items["addresses"], items["first"]):
        address = Address(url, items["allow_private"], items["per_host"])
        yield Sample(b"", f"{part.uri}#{number}", context={"url": url}, address=address)


def _paths(source: str) -> list[str]:
    """The paths that a source names, each once."""
    if not os.path.exists(source):
        paths = [path for path in expand(source) if not os.path.isdir(path)]
    else:
        try:
            text = read_bytes(source, _LONGEST).decode("utf-8", "surrogateescape")
        except RowError as error:
            raise UserError(f"{source} cannot be read: {error.message}.") from None
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        here = os.path.dirname(os.path.abspath(source))
        paths = [os.path.normpath(os.path.join(here, line)) for line in lines if line.strip() and not _is_remark(line)]
    if not paths:
        raise UserError(f"'{source}' names no picture.")
    return list(dict.fromkeys(paths))


def _texts(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if suffix_of(e.name) in TEXTS and not is_hidden(e.name))
    except OSError:
        return []
