"""`python:package.module:factory`: your own model, in any importable module.

`factory` is called with the name's options as keyword arguments (strings) and returns an object that fills a role of
`panoglot.providers.roles`. Unlike `panoglot.providers.register`, it is found in worker processes and on a cluster too.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

from panoglot.errors import UserError, did_you_mean
from panoglot.providers._names import ModelInfo, Options
from panoglot.providers.roles import ROLES

__all__ = ["catalog", "load"]


def load(name: str, options: Options) -> Any:
    """Import `package.module:factory` and call it.

    Raises:
        UserError: no such module or factory, unknown options, or what it returned fills no role.
    """
    module_name, colon, factory_name = name.partition(":")
    if not colon or not factory_name:
        raise UserError(f"'python:{name}': write python:package.module:factory.")
    if module_name.partition(".")[0] in (*sys.stdlib_module_names, "builtins"):
        raise UserError(f"'python:{name}': {module_name} is a part of Python, not a model: name a module of your own.")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"'python:{name}': cannot import {error.name}; is it installed or on PYTHONPATH?") from None
    except (ImportError, SyntaxError, TypeError, ValueError) as error:  # a relative name, a broken module
        raise UserError(f"'python:{name}': {module_name} cannot be imported: {error}.") from error
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        near = did_you_mean(factory_name, [n for n in vars(module) if not n.startswith("_")])
        raise UserError(f"'python:{name}': {module_name} has no '{factory_name}' to call.{near}")
    try:
        known = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # written in C
        raise UserError(f"'python:{name}' cannot be looked into: name a function or class of your own.") from None
    for key in options:
        if key not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise UserError(f"'python:{name}' has no option '{key}'.{did_you_mean(key, known)}")
    needed = [n for n, p in known.items() if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if lacking := [n for n in needed if n not in options]:
        raise UserError(f"'python:{name}' needs the option '{lacking[0]}': python:{name}?{lacking[0]}=VALUE.")
    model = factory(**{key: options.take(key, str, None) for key in list(options)})
    if not any(isinstance(model, role.protocol) for role in ROLES.values()):
        raise UserError(
            f"'python:{name}' returned {type(model).__name__}, which fills no role of panoglot.providers.roles."
        )
    for attribute in ("name", "fingerprint", "batch_size"):
        if not hasattr(model, attribute):
            raise UserError(
                f"'python:{name}': the model lacks the attribute '{attribute}' (see panoglot.providers.roles)."
            )
    return model


def catalog() -> list[ModelInfo]:
    """One line: anything may stand here."""
    return [ModelInfo("python:PACKAGE.MODULE:FACTORY", tuple(ROLES), "your own model: any object that fills a role")]
