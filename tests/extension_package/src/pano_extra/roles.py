"""A role: `counter`, which says how many things are in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from panoglot import Image, RowError
from panoglot.providers.roles import Question, Role


@runtime_checkable
class Counter(Protocol):
    """Images to numbers of things."""

    def tally(self, images: Sequence[Image]) -> Sequence[int | RowError]:
        """Count."""
        ...


COUNTER = Role("counter", Counter, (Question("tally"),))
