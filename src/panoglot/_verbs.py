"""A room that is called like its main verb can be called: `panoglot.search(…)` beside `panoglot.retrieval.Searcher`.

Without this, `panoglot.search` would be the function or the package depending on who imported what first.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["callable_room"]


class _Room(ModuleType):
    _verb: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._verb(*args, **kwargs)


def callable_room(name: str, verb: Callable[..., Any]) -> None:
    """Make the package `name` callable as `verb`; called at the end of its `__init__`."""
    module = sys.modules[name]
    module.__class__ = _Room
    module._verb = verb  # type: ignore[attr-defined]
    module.__signature__ = inspect.signature(verb)  # type: ignore[attr-defined]
