"""Tomorrow's code today: a function or class with something added to its source."""

from __future__ import annotations

import inspect
import sys
from typing import Annotated, Any

from panoglot.identity import Added, UnreadWhen, marked


def grown(thing: Any, before: str, after: str, *more: str) -> Any:
    """Return what the source of `thing` makes when `before` is replaced by `after`, once, in its own module.

    More replacements may follow, two by two.

    >>> import textwrap
    >>> "drop" in inspect.signature(grown(textwrap.shorten, "width, ", "width, drop=1, ")).parameters
    True
    """
    source = inspect.getsource(thing)
    # a namespace of its own: what is there stays as it is
    words = {"Annotated": Annotated, "Added": Added, "UnreadWhen": UnreadWhen, "marked": marked}
    space = {**vars(sys.modules[thing.__module__]), **words}
    changes = [before, after, *more]
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert source.count(old) >= 1, f"{old!r} is not in the source of {thing.__qualname__}"
        source = source.replace(old, new, 1)
    source = "from __future__ import annotations\n" + source
    exec(compile(source, f"<{thing.__name__}>", "exec"), space)
    return space[thing.__name__]
