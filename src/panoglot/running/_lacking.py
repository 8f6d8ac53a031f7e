"""Models that a method lacks: how they are given, and where it does without one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError

if TYPE_CHECKING:
    from panoglot.running._method import Method

__all__ = ["check_empty", "without_model"]

#: Models that `panoglot caption` has an option for.
_FLAGS = ("captioner", "llm", "encoder", "detector", "reader")


def check_empty(method: Method, given: Mapping[str, Any]) -> None:
    """Refuse an empty model where the method does not do without it.

    Raises:
        UserError: with the option that names one.
    """
    for key, value in given.items():
        if value in ("", ()) and key in method.roles and not _may_be_empty(method, key):
            raise UserError(
                f"method '{method.name}' does not do without '{key}': --set {key}=PROVIDER:NAME "
                f"(panoglot models --role {method.roles[key]} lists them)"
            )


def without_model(method: Method, alias: str) -> str:
    """Say that a model is missing, how it is given, and where the method does without one how that is said."""
    usual = {key: method.options()[key].default for key in method.roles}
    key = next((k for k, v in usual.items() if alias == v or (isinstance(v, tuple) and alias in v)), alias)
    short = f" or --{alias} PROVIDER:NAME" if method.verb == "caption" and alias in _FLAGS else ""
    without = f"; without one: --set {key}=" if key in usual and _may_be_empty(method, key) else ""
    return (
        f"method '{method.name}' asks for a model '{alias}', and none was given: "
        f"--model {alias}=PROVIDER:NAME{short} (panoglot models lists them){without}"
    )


def _may_be_empty(method: Method, option: str) -> bool:
    """Whether a method does without the model that an option names: its docstring says what happens then."""
    said = re.search(rf"^ +{option}: (.+(?:\n {{12,}}.+)*)", method.function.__doc__ or "", re.M)
    return not method.options()[option].default or (said is not None and "empty" in said[1])
