"""A JSON schema as a type: what an answer is checked against. The subset that servers of structured output honour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.text import read_json_object

__all__ = ["KEYWORDS", "Fields", "read_fields"]

#: What may stand in a schema; others are refused, for an answer would not be checked against them.
KEYWORDS = (
    "type properties required additionalProperties items enum minimum maximum exclusiveMinimum exclusiveMaximum "
    "minLength maxLength pattern minItems maxItems title description $schema"
).split()
#: Limits of a schema to those of msgspec.
_LIMITS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
}
_PLAIN = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
_DEEPEST = 16


class Fields:
    """What a schema asks for.

    Attributes:
        schema: as it is sent, with `required` and `additionalProperties: false` on every object where it says nothing
            of them: servers are strict only then.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = _strict(dict(schema), 0)
        if self.schema.get("type") != "object" or not self.schema["properties"]:
            raise UserError('a schema of fields is an object with properties: {"properties": {"colour": {…}}}.')
        self._type = _type(self.schema, "fields")

    def read(self, answer: str) -> dict[str, Any]:
        """Read an answer; a number that stands in quotes is a number.

        Raises:
            RowError: `not_json`, `not_in_schema`.
        """
        try:
            value = read_json_object(answer)
        except ValueError:
            raise RowError("not_json", f"the answer is no JSON: {answer[:120]!r}") from None
        try:
            found = msgspec.to_builtins(msgspec.convert(value, self._type, strict=False))
        except msgspec.ValidationError as error:
            raise RowError("not_in_schema", str(error).replace("`", "'")) from None
        if wrong := _unmatched(self.schema, found):
            raise RowError("not_in_schema", f"{wrong[:80]!r} does not match its pattern")
        return {key: one for key, one in found.items() if one is not None}


def read_fields(text: str) -> Fields:
    """Read a JSON schema.

    >>> read_fields('{"properties": {"count": {"type": "integer", "minimum": 0}}}').read('{"count": 3}')
    {'count': 3}

    Raises:
        UserError: not JSON, not a schema, or a keyword that is not checked here.
    """
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the schema is no JSON: {error}.") from None
    if not isinstance(schema, dict):
        raise UserError('a schema is an object: {"properties": {"colour": {"type": "string"}}}.')
    return Fields(schema)


def _strict(schema: dict[str, Any], depth: int) -> dict[str, Any]:
    """The schema with what is left unsaid; every part of it looked at."""
    if depth > _DEEPEST:
        raise UserError(f"the schema is nested more than {_DEEPEST} deep.")
    for key in schema:
        if key not in KEYWORDS:
            raise UserError(f"the schema says '{key}', which is not checked here.{did_you_mean(key, KEYWORDS)}")
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else None)
    if kind is None and "enum" not in schema:
        raise UserError(f"a field of the schema has no type: {json.dumps(schema, ensure_ascii=False)[:80]}")
    out = {**schema, **({"type": kind} if kind is not None else {})}
    if kind == "object":
        inner = schema.get("properties") or {}
        if not isinstance(inner, dict) or not all(isinstance(one, dict) for one in inner.values()):
            raise UserError("'properties' of a schema maps names to schemas.")
        out["properties"] = {str(key): _strict(dict(one), depth + 1) for key, one in inner.items()}
        required = schema.get("required", list(inner))
        if odd := [key for key in required if key not in inner]:
            raise UserError(f"the schema requires '{odd[0]}', which is no property.{did_you_mean(odd[0], inner)}")
        out["required"] = list(required)
        out.setdefault("additionalProperties", False)
    if kind == "array":
        out["items"] = _strict(dict(schema.get("items") or {"type": "string"}), depth + 1)
    return out


def _matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text, by RE2: its time grows with the text alone, whatever the pattern.

    >>> _matches("^(a+)+$", "a" * 40 + "!"), _matches("[0-9]+", "a 12")
    (False, True)
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.match_substring_regex(pa.array([text]), pattern)[0].as_py())


def _unmatched(schema: Mapping[str, Any], value: Any) -> str | None:
    """The first text of a value that does not match the pattern of its part of the schema."""
    if isinstance(value, str):
        return value if "pattern" in schema and not _matches(schema["pattern"], value) else None
    pairs: list[tuple[Mapping[str, Any], Any]] = []
    if isinstance(value, list) and "items" in schema:
        pairs = [(schema["items"], one) for one in value]
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        pairs = [(known[key], one) for key, one in value.items() if key in known]
    return next((wrong for inner, one in pairs if (wrong := _unmatched(inner, one)) is not None), None)


def _type(schema: Mapping[str, Any], name: str) -> Any:
    """The type that msgspec reads a value as."""
    if "enum" in schema:
        values = schema["enum"]
        if not isinstance(values, list) or not values or not all(isinstance(v, str | int | None) for v in values):
            raise UserError(f"enum of '{name}' is a list of texts or whole numbers.")
        return Literal[tuple(values)]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    found: Any = None
    for n, kind in enumerate(kinds):
        one = _one(kind, schema, name)
        found = one if n == 0 else found | one
    if "pattern" in schema:
        try:
            _matches(schema["pattern"], "")
        except (TypeError, ValueError, OSError) as error:  # look-around and back references are none of RE2's
            raise UserError(f"the pattern of '{name}' is none that is checked here: {error}.") from None
    limits = {_LIMITS[key]: schema[key] for key in _LIMITS if key in schema}
    try:
        limited = Annotated[found, msgspec.Meta(**limits)] if limits else found
        msgspec.json.Decoder(limited)  # a limit that the type cannot have is told here
    except (TypeError, ValueError) as error:
        raise UserError(f"the schema of '{name}': {str(error).partition(chr(10))[0]}.") from None
    return limited


def _one(kind: Any, schema: Mapping[str, Any], name: str) -> Any:
    if kind == "object":
        required = schema["required"]
        fields: list[tuple[Any, ...]] = []
        for key, inner in schema["properties"].items():
            read = _type(inner, key)
            place = f"field_{len(fields)}"
            fields.append((place, read) if key in required else (place, read | None, None))
        names = dict(zip((field[0] for field in fields), schema["properties"]))
        fields.sort(key=len)
        closed = schema["additionalProperties"] is False
        return msgspec.defstruct(name, fields, rename=names, forbid_unknown_fields=closed)
    if kind == "array":
        return list[_type(schema["items"], name)]  # type: ignore[misc]
    if not isinstance(kind, str) or kind not in _PLAIN:
        raise UserError(f"'{name}' has no type '{kind}'.{did_you_mean(str(kind), [*_PLAIN, 'object', 'array'])}")
    return _PLAIN[kind]
