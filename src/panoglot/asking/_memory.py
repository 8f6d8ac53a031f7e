"""What frozen models said, kept in memory while there is room: no model is asked the same thing twice in a process."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from typing import Any

__all__ = ["MEMORY", "Memory"]

_ABSENT = object()


class Memory:
    """Answers by key, the least recently used forgotten first. Keys are the journal's: model, method, question.

    >>> memory = Memory(limit=10_000)
    >>> memory.put("a", "an answer")
    >>> memory.get("a"), memory.get("b", None)
    ('an answer', None)

    Args:
        limit: most bytes, roughly.
    """

    def __init__(self, limit: int = 64 * 2**20) -> None:
        self.limit, self.size = limit, 0
        self._found: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, default: Any = _ABSENT) -> Any:
        """Return the answer under `key`, or `default`.

        Raises:
            KeyError: it is not there, and no default was given.
        """
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key][0]
        if default is _ABSENT:
            raise KeyError(key)
        return default

    def put(self, key: str, answer: Any) -> None:
        """Keep an answer; one larger than a tenth of the room is not kept."""
        size = _bytes(answer) + 200
        if size > self.limit // 10:
            return
        with self._lock:
            self.size += size - self._found.pop(key, (None, 0))[1]
            self._found[key] = (answer, size)
            while self.size > self.limit:
                _, (_, freed) = self._found.popitem(last=False)
                self.size -= freed

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._found.clear()
            self.size = 0


def _bytes(value: Any) -> int:
    nbytes = getattr(value, "nbytes", None)
    if nbytes is not None:
        return int(nbytes) + 100
    if isinstance(value, list | tuple):
        return sys.getsizeof(value) + sum(map(_bytes, value))
    if isinstance(value, str | bytes | int | float) or value is None:
        return sys.getsizeof(value)
    names = getattr(value, "__slots__", None) or list(getattr(value, "__dict__", {}))
    total = 64
    for name in names:
        total += _bytes(getattr(value, name, None))
    return total


#: Of this process: the stages of a run that ask the same models share it.
MEMORY = Memory()
