"""What filters measure, beside the bounds that they hold it against: kept only while somebody asks for it.

A filter says in passing what it decides by:

    count = measured("words", len(tokens(caption.text)), least=minimum, most=maximum)

Inside `recording` the measures are kept; otherwise `measured` gives the value back and that is all.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Measure", "measured", "number", "recording", "watched"]

_Value = TypeVar("_Value")


def number(value: float) -> str:
    """Write a number for people.

    >>> number(100_000_000), number(0.123456), number(8.0)
    ('100,000,000', '0.1235', '8')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


@dataclass(frozen=True)
class Measure:
    """A value that a filter decides by, and its bounds; a bound that is None is none.

    Attributes:
        name: what was measured, in the unit that the name says.
        value: a number or a text; None where it is not there to be measured.
        least: least that is kept or judged.
        most: most that is kept.
        below: what is kept is below this.
    """

    name: str
    value: float | str | None
    least: float | None = None
    most: float | None = None
    below: float | None = None

    @property
    def missing(self) -> bool:
        """Nothing to judge by: not there, or no number.

        >>> Measure("score 'alignment'", None).missing, Measure("words", 2).missing
        (True, False)
        """
        return self.value is None or (isinstance(self.value, float) and math.isnan(self.value))

    @property
    def within(self) -> bool:
        """Whether the value keeps to its bounds.

        >>> Measure("words", 2, least=3).within, Measure("ratio", 3.0, below=3).within, Measure("words", 3, 3, 3).within
        (False, False, True)
        """
        if self.missing or isinstance(self.value, str) or self.value is None:
            return not self.missing
        above = self.least is None or self.value >= self.least
        return (
            above and (self.most is None or self.value <= self.most) and (self.below is None or self.value < self.below)
        )

    @property
    def bounds(self) -> str:
        """The bounds in words.

        >>> Measure("words", 2, least=3, most=20).bounds, Measure("ratio", 1.5, below=8.0).bounds
        ('3 to 20', 'below 8')
        """
        if self.least is not None and self.most is not None:
            return f"{number(self.least)} to {number(self.most)}"
        named = (("at least", self.least), ("at most", self.most), ("below", self.below))
        return ", ".join(f"{name} {number(bound)}" for name, bound in named if bound is not None)

    def to_dict(self) -> dict[str, Any]:
        """The name, the value and the bounds that there are."""
        bounds = {"least": self.least, "most": self.most, "below": self.below}
        value = None if self.missing else self.value
        return {"name": self.name, "value": value, **{key: bound for key, bound in bounds.items() if bound is not None}}


_RECORD: ContextVar[list[Measure] | None] = ContextVar("measures", default=None)
_WATCHED: ContextVar[str | None] = ContextVar("watched", default=None)


def measured(
    name: str, value: _Value, *, least: float | None = None, most: float | None = None, below: float | None = None
) -> _Value:
    """Give the value back, and keep it with its bounds where somebody asked what is measured.

    Args:
        name: what is measured.
        value: a number, a text, or None where it is not there.
        least: least that is kept.
        most: most that is kept.
        below: what is kept is below this.

    >>> with recording() as measures:
    ...     measured("words", 2, least=3)
    2
    >>> measures
    [Measure(name='words', value=2, least=3, most=None, below=None)]
    """
    kept = _RECORD.get()
    if kept is not None:
        shown = value if value is None or isinstance(value, str) else float(value) if value != value else value  # type: ignore[arg-type]
        kept.append(Measure(name, shown, least, most, below))  # type: ignore[arg-type]
    return value


def watched() -> str | None:
    """Id of the image that is asked about, for filters that measure more than they need to decide; mostly None."""
    return _WATCHED.get()


@contextlib.contextmanager
def recording(image: str | None = None) -> Iterator[list[Measure]]:
    """Keep what filters measure meanwhile.

    Args:
        image: id of the image that is asked about.
    """
    kept: list[Measure] = []
    tokens = _RECORD.set(kept), _WATCHED.set(image)
    try:
        yield kept
    finally:
        _RECORD.reset(tokens[0])
        _WATCHED.reset(tokens[1])
