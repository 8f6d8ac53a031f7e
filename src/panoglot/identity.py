"""Identities: what a fingerprint or a journal key is made of, and how it stays the same while the code grows.

Everything that is hashed goes through `canonical`, which writes a value one way. What a function's options or a
dataclass's fields say about identities is declared on them:

- `Added(was)`: it came later. While it has the value `was`, the behaviour of the code before it came, it is left out,
  so nothing that was made before gets another identity. `was` never changes, whatever becomes the default.
- `UnreadWhen(option, *values)`: nobody reads it when another option has one of these values, so it is left out then.
  Without an option it is never read by what is identified: a comment, a source, a title.
- `Named(was)`: it had another name. Identities go on with that one, and so do settings that were stored.

    async def describe(image, m, *, prompt: str = PROMPT, shades: Annotated[int, Added(0)] = 0): ...

    @dataclass(frozen=True)
    class Prompt:
        text: str
        top_p: float = field(default=1.0, metadata=marked(Added(1.0)))

Conditions look at options alone: they are known before a run. What was there from the first day needs no mark.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import json
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import date
from functools import lru_cache, partial
from typing import Any

__all__ = [
    "Added",
    "Named",
    "UnreadWhen",
    "canonical",
    "canonical_bytes",
    "completed",
    "counted",
    "extended",
    "fingerprint",
    "hash_parts",
    "later",
    "marked",
    "marks_of",
    "normal_text",
    "read_options",
    "version_of",
    "versioned",
]

_KEY = "panoglot.identity"
#: Control characters (Unicode's category Cc) but newline and tab.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: What `canonical` calls the things that JSON has no form for.
_TAGS = frozenset({"array", "bytes", "image", "map", "set"})


@dataclass(frozen=True)
class Added:
    """An option or field that came later: left out of identities while its value is `was`.

    Attributes:
        was: what the code did before there was a choice, written down on the day it came.
    """

    was: Any

    def leaves_out(self, value: Any) -> bool:
        """Say whether a value is what it was: 1 is 1.0, a tuple is a list; True is not 1.

        >>> Added(0).leaves_out(0.0), Added(0).leaves_out(False), Added(()).leaves_out([])
        (True, False, True)
        """
        return _same(self.was, value)


@dataclass(frozen=True)
class UnreadWhen:
    """An option or field that is left out of identities because it is not read.

    Attributes:
        option: the other option that decides; empty: it is never read.
        values: with one of these values of the other it is not read.
    """

    option: str
    values: tuple[Any, ...]

    def __init__(self, option: str = "", *values: Any) -> None:
        if bool(option) != bool(values):
            raise TypeError("UnreadWhen: name an option and the values of it with which this is not read, or neither")
        object.__setattr__(self, "option", option)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class Named:
    """An option or field that had another name, which identities go on with.

    Attributes:
        was: the first name that it had.
    """

    was: str


Mark = Added | Named | UnreadWhen


def marked(*marks: Mark) -> dict[str, Any]:
    """Return the `metadata` that puts marks on a field of a dataclass."""
    return {_KEY: marks}


def marks_of(owner: Any) -> dict[str, tuple[Mark, ...]]:
    """Return the marks on the options of a function (of a class: of its constructor), or on the fields of a dataclass.

    Raises:
        TypeError: a marked option whose annotation cannot be read.
    """
    return _marks_of(owner)


@lru_cache(maxsize=4096)  # a journal asks for those of `Prompt` with every question
def _marks_of(owner: Any) -> dict[str, tuple[Mark, ...]]:
    found = {f.name: f.metadata[_KEY] for f in fields(owner) if _KEY in f.metadata} if is_dataclass(owner) else {}
    for name, parameter in _parameters(owner).items():
        hint = _hint(owner, name, parameter.annotation)
        marks = tuple(one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Mark))
        if marks:
            found[name] = marks
    return found


def counted(owner: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some options (or fields) that are part of an identity.

    Args:
        owner: the function or dataclass that has them.
        values: by name; where one is not given, conditions look at its default.

    >>> from typing import Annotated
    >>> def ask(*, prompt, chat=True, turns: Annotated[int, Added(1)] = 2,
    ...         system: Annotated[str, UnreadWhen("chat", False)] = ""): ...
    >>> counted(ask, {"prompt": "Was?", "turns": 1, "system": "x"})
    {'prompt': 'Was?', 'system': 'x'}
    >>> counted(ask, {"prompt": "Was?", "turns": 2, "system": "x", "chat": False})
    {'prompt': 'Was?', 'turns': 2, 'chat': False}
    >>> def label(*, lang: Annotated[tuple, Named("languages")] = ()): ...
    >>> counted(label, {"lang": ("de",)})
    {'languages': ('de',)}
    """
    marks = marks_of(owner)
    if not marks:
        return dict(values)
    read, names = read_options(owner, values), _first_names(owner)
    return {names.get(key, key): value for key, value in read.items() if not _as_before(marks.get(key, ()), value)}


def read_options(owner: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options (or fields) that are read with these values; see `counted`."""
    marks = marks_of(owner)
    conditions = {key: [m for m in marks.get(key, ()) if isinstance(m, UnreadWhen)] for key in values}
    if not any(conditions.values()):
        return dict(values)
    full = {**_defaults(owner), **values}

    def unread(mark: UnreadWhen) -> bool:
        if mark.option and mark.option not in full:
            raise TypeError(f"UnreadWhen names '{mark.option}', and there is no such option")
        return not mark.option or any(_same(full[mark.option], value) for value in mark.values)

    return {key: value for key, value in values.items() if not any(map(unread, conditions[key]))}


def completed(owner: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored options (or fields) with those that came after they were stored, as it was before they came.

    >>> from typing import Annotated
    >>> def train(seed, *, mixed: Annotated[bool, Added(False)] = True): ...
    >>> completed(train, {"seed": 3})
    {'mixed': False, 'seed': 3}
    """
    was = {key: mark.was for key, marks in marks_of(owner).items() for mark in marks if isinstance(mark, Added)}
    names = {first: key for key, first in _first_names(owner).items()}
    return {**was, **{names.get(key, key): value for key, value in stored.items()}}


def later(owner: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some values that came later and are read and not what they were: what `extended` takes.

    In the constructor of a class `Mine`: `self.fingerprint = extended(fingerprint(facts), later(Mine, locals()))`.
    """
    marks = marks_of(owner)
    came = [key for key, value in marks.items() if any(isinstance(mark, Added) for mark in value)]
    if not came:
        return {}
    known = _parameters(owner)
    found = counted(owner, {key: value for key, value in values.items() if key in known})
    first = _first_names(owner)
    return {first.get(key, key): found[first.get(key, key)] for key in came if first.get(key, key) in found}


def extended(base: str, more: Mapping[str, Any]) -> str:
    """Return a fingerprint with later options in it: itself when there are none.

    >>> extended("my-model-1", {}), extended("my-model-1", {"crop": "centre"}) == "my-model-1"
    ('my-model-1', False)
    """
    return fingerprint([base, more]) if more else base


def versioned(version: int) -> Callable[[Any], Any]:
    """Give a function or class a version: raised when the same options may give other results."""

    def keep(owner: Any) -> Any:
        owner.identity_version = version
        return owner

    return keep


def version_of(owner: Any) -> int:
    """Return the version of a function or class; 1 where none was given."""
    return int(getattr(owner, "identity_version", 1))


def _parameters(owner: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(owner).parameters
    except ValueError:  # some that are written in C
        return {}


def _hint(owner: Any, name: str, hint: Any) -> Any:
    if not isinstance(hint, str):
        return hint
    function = owner.__init__ if inspect.isclass(owner) else owner
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    try:
        found = eval(hint, getattr(function, "__globals__", {}))  # as typing.get_type_hints does, one by one
        return _hint(owner, name, found)  # which may be in quotes besides
    except (NameError, AttributeError, TypeError) as error:
        if "Annotated" in hint or any(mark in hint for mark in ("Added", "Named", "UnreadWhen")):
            raise TypeError(f"the annotation of {name} cannot be read: {error}") from error
        return None  # a name that is there for type checking only


def _defaults(owner: Any) -> dict[str, Any]:
    if is_dataclass(owner):
        found = {f.name: f.default for f in fields(owner) if f.default is not MISSING}
        made = {f.name: f.default_factory for f in fields(owner) if f.default_factory is not MISSING}
        return found | {name: make() for name, make in made.items()}
    return {name: p.default for name, p in _parameters(owner).items() if p.default is not p.empty}


def _first_names(owner: Any) -> dict[str, str]:
    """The options (or fields) that had another name, and what it was first."""
    return {key: mark.was for key, marks in marks_of(owner).items() for mark in marks if isinstance(mark, Named)}


def _as_before(marks: Sequence[Mark], value: Any) -> bool:
    return any(isinstance(mark, Added) and mark.leaves_out(value) for mark in marks)


def _same(one: Any, other: Any) -> bool:
    if _is_number(one) and _is_number(other):
        return bool(one == other)
    return _json(canonical(one)) == _json(canonical(other))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- hashes ------------------------------------------------------------------------------------------------------------


def canonical(value: Any) -> Any:
    """Return `value` in JSON's types, written one way: what fingerprints and journal keys hash.

    Args:
        value: JSON-like values, sets, bytes, paths, dates, enums, arrays, pictures (by their id), and dataclasses, of
            which the fields that are `counted` are written.

    Raises:
        TypeError: a value that has no stable form (its address would make a new identity every time).

    >>> canonical({"b": (1, 2.5), "a": {"x"}})
    {'b': [1, 2.5], 'a': {'set': ['x']}}
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, set | frozenset):
        return {"set": sorted(map(canonical, value), key=repr)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, Sequence):
        return [canonical(v) for v in value]
    # a picture, without importing its class; asked of the type: on a picture the attribute encodes all its bytes
    if hasattr(type(value), "data_uri") and hasattr(value, "id"):
        return {"image": value.id}
    if is_dataclass(value) and not isinstance(value, type):
        said = counted(type(value), {f.name: getattr(value, f.name) for f in fields(value)})
        return {type(value).__name__: {name: canonical(v) for name, v in said.items()}}
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        return {"array": [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]}
    if isinstance(value, enum.Enum):
        return canonical(value.value)
    if isinstance(value, date | os.PathLike):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no stable form for a fingerprint or a journal key")


def _mapping(value: Mapping[Any, Any]) -> Any:
    plain = all(isinstance(key, str) for key in value)
    if plain and len(value) == 1:  # might be taken for one of the forms above
        (key,) = value
        plain = key not in _TAGS and not key[:1].isupper()
    if plain:
        return {key: canonical(v) for key, v in value.items()}
    return {"map": sorted(([canonical(k), canonical(v)] for k, v in value.items()), key=repr)}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def canonical_bytes(value: Any) -> bytes:
    """Return `canonical(value)` as JSON, for hashing by other means than `fingerprint`."""
    return _json(canonical(value)).encode("utf-8", "surrogatepass")


def fingerprint(value: Any) -> str:
    """Return 16 hex digits that change with any part of `value` (see `canonical`), not with the order of keys.

    >>> fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": (2,), "a": 1})
    True

    Raises:
        TypeError: a value that has no stable form.
    """
    return hashlib.sha256(canonical_bytes(value)).hexdigest()[:16]


def hash_parts(*parts: str) -> str:
    """Return 32 hex digits of some texts; what stands in which part matters.

    >>> hash_parts("ab", "c") == hash_parts("a", "bc")
    False
    """
    digest = hashlib.sha256()
    for part in parts:  # a length before every part
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:32]


def normal_text(text: str) -> str:
    """Return `text` as it is stored: NFC, no control characters but newline and tab, no lone surrogates, trimmed.

    >>> normal_text("  Cafe\\u0301\\x00 ")
    'Café'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    return _CONTROLS.sub("", text).strip()
