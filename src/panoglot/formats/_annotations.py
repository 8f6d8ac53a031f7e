"""What readers of annotation files share: elements parsed one by one, and what they leave."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats._checked import check_elements, objects_of
from panoglot.formats._files import open_regular, read_bytes
from panoglot.formats._layout import encoding_of
from panoglot.formats._sample import Part
from panoglot.formats._texts import load_json
from panoglot.formats.folder import parts_but

__all__ = ["elements", "head_of", "parts_beside"]

_MOST = 16 * 2**30


def head_of(path: str, size: int = 2**16) -> bytes:
    """The first bytes of a file, without a mark; empty where it cannot be read."""
    try:
        with open_regular(path) as file:
            return (file.read(size) or b"").lstrip(b"\xef\xbb\xbf \r\n\t")
    except (OSError, RowError):
        return b""


def elements(path: str) -> Iterator[dict[str, Any] | str]:
    """The objects of a JSON array, parsed one by one; what is wrong with one that is none.

    Raises:
        UserError: the file cannot be read, or is no array.
    """
    import msgspec

    try:
        data = read_bytes(path, _MOST)
        encoding, mark = encoding_of(data)
        data = data[mark:] if encoding == "utf-8" else data[mark:].decode(encoding, "replace").encode()
        check_elements(data)
        raws = objects_of(data)
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error.message}.") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UserError(f"{path} is no JSON array of objects: {error}.") from None
    for raw in raws:
        try:
            value = load_json(raw)
        except RowError as error:
            yield f"{error.reason}: {error.message}"
            continue
        yield value if isinstance(value, dict) else "not an object"


def parts_beside(
    source: str, used: Sequence[str], pictures: Callable[[], set[str]], lang: str | None, kind: str | None
) -> Iterator[Part]:
    """When a folder was given: its pictures and files that the annotations do not name, as a folder has them."""
    if os.path.isdir(source):
        described = {os.path.realpath(path) for path in used} | pictures()
        yield from parts_but(source, described, lang=lang, kind=kind)
