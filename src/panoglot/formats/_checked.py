"""What every reader's finds go through: no text that cannot be stored, whatever file it came from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from panoglot.errors import RowError
from panoglot.formats._sample import Sample, Unused
from panoglot.table import Reject, Triple

__all__ = ["check_elements", "check_json", "checked", "decoded", "encodable", "objects_of", "shown"]

#: Most values in a JSON text, and how deep they may lie: parsed values take some hundred times their text.
_VALUES, _DEEP = 1_000_000, 64
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.S)
_STRING_BYTES = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.S)
_NO_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|(-?)(Infinity|NaN)\b', re.S)
#: A whole surrogate pair, another escape, or (in a group) half a pair.
_HALF = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\[^u]|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_BRACKET = re.compile(r"[\[{\]}]")


def encodable(text: str) -> bool:
    """Say whether a text is one that UTF-8 can hold: no half of a surrogate pair.

    >>> encodable("é"), encodable("a" + chr(0xD800))
    (True, False)
    """
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(text: str) -> str:
    """A text as it can be stored and printed; what is not encodable is escaped."""
    return text if encodable(text) else text.encode("utf-8", "backslashreplace").decode()


def checked(found: Sample | Reject | Unused | Triple) -> Iterator[Sample | Reject | Unused | Triple]:
    """A find as it can be stored: a caption with half a surrogate pair is a reject, the picture stays.

    >>> from panoglot.table import Caption
    >>> bad = Sample(b"", "a.jpg", [Caption("ok"), Caption("a" + chr(0xD800))])
    >>> [getattr(one, "reason", one.uri if isinstance(one, Sample) else "") for one in checked(bad)]
    ['bad_encoding', 'a.jpg']
    """
    if isinstance(found, Unused):
        yield replace(found, source=shown(found.source), names=tuple(map(shown, found.names)), hint=shown(found.hint))
        return
    if isinstance(found, Triple):
        if encodable(found.text):
            yield found
        else:
            yield Reject(f"{found.image_id}:triple", "ingest", "bad_encoding", f"not UTF-8: {shown(found.text[:40])}")
        return
    if isinstance(found, Reject):
        if not (encodable(found.item) and encodable(found.message)):
            found = Reject(shown(found.item), found.stage, found.reason, shown(found.message))
        yield found
        return
    if not encodable(found.uri):
        found.uri = shown(found.uri)
    if found.group and not encodable(found.group):
        found.group = shown(found.group)
    if not all(encodable(caption.text) for caption in found.captions):
        number = count()
        for caption in found.captions:
            if not encodable(caption.text):
                place = f"{found.uri}:caption-{next(number)}"
                yield Reject(place, "ingest", "bad_encoding", f"not UTF-8: {shown(caption.text[:40])}")
        found.captions = [caption for caption in found.captions if encodable(caption.text)]
    if found.context and not encodable(json.dumps(found.context, ensure_ascii=False, default=str)):
        found.context = json.loads(shown(json.dumps(found.context, default=str)), object_hook=_clean)
    yield found


def _clean(value: dict[str, Any]) -> dict[str, Any]:
    def plain(one: Any) -> Any:
        if isinstance(one, str):
            return shown(one)
        return [plain(item) for item in one] if isinstance(one, list) else one

    return {shown(key): plain(one) for key, one in value.items()}


def check_json(text: str | bytes) -> None:
    """Refuse JSON that would take far more memory than its text, or more of the stack than there is.

    Raises:
        RowError: `bad_json`.
    """
    marks = ("[", "{", ",") if isinstance(text, str) else (b"[", b"{", b",")
    if len(text) <= _DEEP:
        return
    opened = text.count(marks[0]) + text.count(marks[1])  # type: ignore[arg-type]
    if len(text) > _VALUES and opened + text.count(marks[2]) > _VALUES:  # type: ignore[arg-type]
        bare = _bare(text)
        if bare.count("[") + bare.count("{") + bare.count(",") > _VALUES:
            raise RowError("bad_json", f"more than {_VALUES:,} values")
    if opened > _DEEP and (deep := _depth(text)) > _DEEP:
        raise RowError("bad_json", f"nested {deep:,} deep, the limit is {_DEEP}")


def check_elements(data: bytes) -> None:
    """Refuse JSON of so many tiny elements that a list of them, unparsed, would be many times the file.

    Raises:
        RowError: `bad_json`.
    """
    objects, commas = data.count(b"{"), data.count(b",")
    if objects > _VALUES + len(data) // 24 or commas > _VALUES + len(data) // 3:
        raise RowError("bad_json", f"{objects:,} objects and {commas:,} commas in {len(data):,} bytes")


def decoded(data: bytes, type: Any) -> Any:
    """JSON as a type of msgspec; infinity and what is no number, which Python writes and JSON does not know, are read.

    >>> import msgspec
    >>> [bytes(raw) for raw in decoded(b'[1, -Infinity, NaN, "NaN"]', list[msgspec.Raw])]
    [b'1', b'-1e999', b'null', b'"NaN"']

    Raises:
        msgspec.MsgspecError: it is none.
    """
    import msgspec

    try:
        return msgspec.json.decode(data, type=type)
    except msgspec.MsgspecError as error:
        mended = _whole(_NO_NUMBER.sub(_number, data))
        if mended == data:
            raise error from None
        return msgspec.json.decode(mended, type=type)


def objects_of(data: bytes) -> list[str]:
    r"""The texts of the elements of a JSON array; half a surrogate pair costs the one that has it, and none beside it.

    >>> objects_of(rb'[{"a": "\ud800"}, {"a": 1}]')
    ['{"a": "\\ud800"}', '{"a": 1}']

    Raises:
        msgspec.MsgspecError: it is none.
    """
    import msgspec

    raws = [bytes(raw) for raw in decoded(data, list[msgspec.Raw])]
    if (whole := _whole(data)) != data:  # each as it stands, which is as long as what stood in for it
        data, whole, at = (*(_NO_NUMBER.sub(_number, one) for one in (data, whole)), 0)
        for n, raw in enumerate(raws):
            at = whole.index(raw, at)
            raws[n] = data[at : at + len(raw)]
            at += len(raw)
    return [raw.decode("utf-8", "surrogateescape") for raw in raws]


def _whole(data: bytes) -> bytes:
    """JSON with U+FFFD for halves of surrogate pairs, which Python writes and msgspec does not read."""
    return _HALF.sub(lambda found: rb"\ufffd" if found[1] else found[0], data)


def _number(found: re.Match[bytes]) -> bytes:
    if found[2] is None:
        return found[0]
    return b"null" if found[2] == b"NaN" else found[1] + b"1e999"


def _bare(text: str | bytes) -> str:
    if isinstance(text, bytes):
        return _STRING_BYTES.sub(b"", text).decode("ascii", "replace")
    return _STRING.sub("", text)


def _depth(text: str | bytes) -> int:
    deepest = depth = 0
    for mark in _BRACKET.finditer(_bare(text)):
        depth += 1 if mark[0] in "[{" else -1
        if depth > deepest:
            deepest = depth
            if deepest > 100_000:
                break
    return deepest
