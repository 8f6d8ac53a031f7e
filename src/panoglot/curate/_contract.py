"""What a filter is, the list of them, and how a user names them.

- A **caption filter** is a pure function `(caption, facts, *, options…)`, an **image filter** a pure function
  `(facts, *, options…)`; both answer with a reason in snake_case, `None` (keep), or `UNSCORED` (keep, and count that it
  could not be judged).
- A **text group filter** sees all texts first: `(scan, *, options…)` returns the function that decides on a caption.
- A **pair finder** `(dataset, images, *, options…)` yields pairs of images that show the same; the one kept is chosen
  when all other filters have spoken.

Every filter owns its reasons: no method may drop with the same word, because curating again clears and decides again
whatever carries a reason of a filter.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from panoglot.errors import UserError, did_you_mean
from panoglot.table import KINDS

__all__ = [
    "FILTERS",
    "UNSCORED",
    "Facts",
    "Filter",
    "Step",
    "Unscored",
    "Verdict",
    "caption_filter",
    "image_filter",
    "owns",
    "pair_finder",
    "resolve",
    "text_group_filter",
]

Facts = dict[str, Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Unscored(enum.Enum):
    """The one value `UNSCORED`: the filter could not judge; the row is kept and counted."""

    UNSCORED = "unscored"


UNSCORED = Unscored.UNSCORED
Verdict = str | Unscored | None

#: Kinds whose texts are meant to be sentences about the picture; what the text filters look at by default.
SENTENCES = ("alt", "human", "short", "dense")


@dataclass(frozen=True)
class Filter:
    """An entry of `FILTERS`.

    Attributes:
        name: what a step calls it.
        unit: `caption`, `image`, `text_group` or `pairs`.
        function: see the module's text.
        reasons: what it answers with; one that ends in `*` stands for all that begin so.
        kinds: the kinds of captions it looks at unless the step says otherwise.
        needs: facts that the engine must look up for it: `scores`, `texts` (of images), `image` (for captions).
    """

    name: str
    unit: str
    function: Callable[..., Any]
    reasons: tuple[str, ...]
    kinds: tuple[str, ...] | None = None
    needs: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """First line of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, Any]:
        """Its options with their defaults."""
        found = {
            p.name: p.default
            for p in inspect.signature(self.function).parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        }
        return found if self.kinds is None else {**found, "kinds": self.kinds}


FILTERS: dict[str, Filter] = {}


def _register(unit: str, reasons: Iterable[str], **more: Any) -> Callable[[_Function], _Function]:
    def keep(function: _Function) -> _Function:
        name = function.__name__
        FILTERS[name] = Filter(name, unit, function, tuple(reasons), **more)
        return function

    return keep


def caption_filter(
    *reasons: str, kinds: Sequence[str] = SENTENCES, needs: Sequence[str] = ()
) -> Callable[[_Function], _Function]:
    """Make a function a caption filter that answers with these reasons."""
    return _register("caption", reasons, kinds=tuple(kinds), needs=tuple(needs))


def image_filter(*reasons: str, needs: Sequence[str] = ()) -> Callable[[_Function], _Function]:
    """Make a function an image filter that answers with these reasons."""
    return _register("image", reasons, needs=tuple(needs))


def text_group_filter(*reasons: str, kinds: Sequence[str] = SENTENCES) -> Callable[[_Function], _Function]:
    """Make a function a filter over groups of texts."""
    return _register("text_group", reasons, kinds=tuple(kinds))


def pair_finder(*reasons: str) -> Callable[[_Function], _Function]:
    """Make a function a finder of images that show the same."""
    return _register("pairs", reasons)


def owns(reason: str | None) -> bool:
    """Say whether a reason in `dropped` was written by curation.

    >>> import panoglot.curate
    >>> owns("too_short"), owns("duplicate_of:0f"), owns("draft"), owns(None)
    (True, True, False, False)
    """
    if reason is None:
        return False
    base = reason.partition(":")[0]
    return any(
        base.startswith(own[:-1]) if own.endswith("*") else base == own
        for found in FILTERS.values()
        for own in found.reasons
    )


@dataclass(frozen=True)
class Step:
    """A filter with its options filled in."""

    filter: Filter
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the filter."""
        return self.filter.name

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of captions it looks at."""
        return frozenset(self.options.get("kinds") or KINDS)

    def bind(self, *arguments: Any) -> Any:
        """The filter's function with its options, called with `arguments` if there are any."""
        function = partial(self.filter.function, **{k: v for k, v in self.options.items() if k != "kinds"})
        return function(*arguments) if arguments else function


def resolve(steps: Iterable[str | Sequence[Any] | Mapping[str, Any]]) -> list[Step]:
    """Read the steps as a user gives them: `"length"`, `("length", {"min_words": 3})` or `{"length": {…}}`.

    Raises:
        UserError: an unknown filter, option or kind, or a value of the wrong type, with what is meant instead.
    """
    found = []
    for given in steps:
        name, options = _name_and_options(given)
        known = FILTERS.get(name)
        if known is None:
            raise UserError(f"there is no filter '{name}'.{did_you_mean(name, FILTERS)}")
        for key, value in options.items():
            if key not in known.options:
                raise UserError(f"filter {name} has no option '{key}'.{did_you_mean(key, known.options)}")
            _check(name, key, value, known.options[key])
        found.append(Step(known, {**known.options, **options}))
    return found


def _name_and_options(given: str | Sequence[Any] | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(given, str):
        return given, {}
    pair = next(iter(given.items())) if isinstance(given, Mapping) and len(given) == 1 else given
    if isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[0], str):
        if pair[1] is None:
            return pair[0], {}
        if isinstance(pair[1], Mapping):
            return pair[0], dict(pair[1])
    raise UserError(
        f"step {given!r}: write a filter's name, or the name with its options: ['length', {{min_words: 3}}]."
    )


def _check(name: str, key: str, value: Any, default: Any) -> None:
    if key == "kinds":
        for kind in [value] if isinstance(value, str) else value or ():
            if kind not in KINDS:
                raise UserError(f"filter {name}: there is no kind of caption '{kind}'.{did_you_mean(str(kind), KINDS)}")
        if isinstance(value, str):
            raise UserError(f"filter {name}: kinds is a list: [{value}].")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise UserError(f"filter {name}: {key}={value!r} must be true or false.")
    elif isinstance(default, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float | None) or value != value:
            raise UserError(f"filter {name}: {key}={value!r} must be a number.")
    elif isinstance(default, str) and not isinstance(value, str):
        raise UserError(f"filter {name}: {key}={value!r} must be a text.")
