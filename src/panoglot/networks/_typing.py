"""Types of options as they are written in a signature: does a value of a YAML file fit, and what would."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from typing import Any

__all__ = ["accepts", "said"]

_SAID = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "None": "nothing",
    "Mapping": "a mapping",
    "dict": "a mapping",
    "Sequence": "a list",
    "list": "a list",
    "tuple": "a list",
}


@cache
def _parsed(written: str) -> ast.expr:
    try:
        return ast.parse(written, mode="eval").body
    except SyntaxError:
        return ast.Name("Any")


def accepts(written: str, value: Any) -> bool:
    """Whether a value fits an annotation; types that a file cannot hold fit anything.

    >>> accepts("int", 3), accepts("int", True), accepts("float | None", 3), accepts("Sequence[str]", ["a", 1])
    (True, False, True, False)
    """
    return _fits(_parsed(written), value)


def said(written: str) -> str:
    """Return an annotation in words.

    >>> said("Mapping[str, float] | None"), said("tuple[float, float]")
    ('a mapping of numbers, or nothing', 'a list of numbers')
    """
    return _words(_parsed(written))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return "None" if node.value is None else str(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else "Any"


def _inner(node: ast.Subscript) -> list[ast.expr]:
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def _fits(node: ast.expr, value: Any) -> bool:
    if isinstance(node, ast.BinOp):
        return _fits(node.left, value) or _fits(node.right, value)
    if isinstance(node, ast.Subscript):
        outer, inner = _name(node.value), _inner(node)
        if outer == "Annotated":
            return _fits(inner[0], value)
        if outer == "Literal":
            return any(isinstance(one, ast.Constant) and one.value == value for one in inner)
        if outer in ("Mapping", "dict"):
            return isinstance(value, Mapping) and all(_fits(inner[-1], one) for one in value.values())
        if outer in ("Sequence", "list", "Iterable"):
            return _is_list(value) and all(_fits(inner[0], one) for one in value)
        if outer == "tuple":
            if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...:
                return _is_list(value) and all(_fits(inner[0], one) for one in value)
            return _is_list(value) and len(value) == len(inner) and all(map(_fits, inner, value))
        return True
    name = _name(node)
    if name == "None":
        return value is None
    if name == "bool":
        return isinstance(value, bool)
    if name == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if name == "str":
        return isinstance(value, str)
    if name in ("Mapping", "dict"):
        return isinstance(value, Mapping)
    return _is_list(value) if name in ("Sequence", "list", "tuple") else True


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | range)


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return f"{_words(node.left)}, or {_words(node.right)}"
    if isinstance(node, ast.Subscript):
        outer, inner = _name(node.value), _inner(node)
        if outer == "Literal":
            return "one of " + ", ".join(str(one.value) for one in inner if isinstance(one, ast.Constant))
        if outer == "Annotated":
            return _words(inner[0])
        last = inner[0] if outer in ("Sequence", "list", "tuple") else inner[-1]
        plural = {"int": "whole numbers", "float": "numbers", "str": "texts", "bool": "true or false"}.get(_name(last))
        return _SAID.get(outer, f"a {outer}") + (f" of {plural}" if plural else "")
    return _SAID.get(_name(node), f"a {_name(node)}")
