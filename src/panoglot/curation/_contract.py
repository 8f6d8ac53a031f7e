"""What a filter is, the list of them, and how a user names them.

- A **caption filter** is a pure function `(caption, facts, *, options…)`, an **image filter** a pure function
  `(facts, *, options…)`; both answer with a reason in snake_case, `None` (keep), or `UNSCORED` (keep, and count that it
  could not be judged).
- A **text group filter** sees all texts first: `(scan, *, options…)` returns the function that decides on a caption.
- An **image group filter** sees all images first: `(dataset, images, *, options…)` returns two arrays over the images:
  index of its reason or -1, and whether it could not judge.
- A **pair finder** `(dataset, images, *, options…)` yields pairs of images that show the same; the one kept is chosen
  when all other filters have spoken.

A filter may `prepare`: `(dataset, options, run)` is called before anything is decided, raises what is wrong with the
options, and runs the stages that the filter reads the results of.

A **preset** is a function of its options that returns a list of steps; it may be named wherever a filter may.

Filters and presets of other packages are found by entry points of the group `panoglot.filters`,
`name = "module:function"`; they are loaded when they are named, and when it matters whose a reason is.

Every filter owns its reasons: no method may drop with the same word, because curating again clears and decides again
whatever carries a reason of a filter.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from panoglot.errors import UserError, did_you_mean
from panoglot.extensions import find_entries, load_entry
from panoglot.identity import version_of
from panoglot.table import KINDS, Dataset

if TYPE_CHECKING:
    from panoglot.running import Stage

__all__ = [
    "FILTERS",
    "PRESETS",
    "UNSCORED",
    "Facts",
    "Filter",
    "Prepare",
    "Preset",
    "Step",
    "Steps",
    "Unscored",
    "Verdict",
    "caption_filter",
    "filters",
    "find_filter",
    "image_filter",
    "image_group_filter",
    "owns",
    "pair_finder",
    "preset",
    "presets",
    "resolve",
    "text_group_filter",
]

Facts = dict[str, Any]
#: Steps as a user writes them: a name, `(name, options)` or `{name: options}`.
Steps = Iterable[str | Sequence[Any] | Mapping[str, Any]]
#: What a filter does before anything is decided; `run` runs a stage, or does nothing when nothing may be written (so a
#: stage whose making writes is given as a function that makes it).
Prepare = Callable[[Dataset, Mapping[str, Any], "Run"], None]
Run = Callable[["Stage | Callable[[], Stage]"], None]
#: What a pair finder measures between an image and one that it is put together with, or None; `UNSCORED` where the
#: image has nothing to be compared by.
Compare = Callable[[Dataset, str, str | None, Mapping[str, Any]], "Verdict"]
#: Options that name models, and the role of each.
Models = Mapping[str, str | None]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Unscored(enum.Enum):
    """The one value `UNSCORED`: the filter could not judge; the row is kept and counted."""

    UNSCORED = "unscored"


UNSCORED = Unscored.UNSCORED
Verdict = str | Unscored | None

#: Kinds whose texts are meant to be sentences about the picture; what the text filters look at by default.
SENTENCES = ("alt", "human", "short", "dense")


class _Declared:
    """What has a name and a function."""

    function: Callable[..., Any]

    @property
    def about(self) -> str:
        """First line of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def version(self) -> int:
        """Raised (`@versioned` on the function) when what it decides without options, or with the same, may change."""
        return version_of(self.function)


@dataclass(frozen=True)
class Filter(_Declared):
    """An entry of `FILTERS`.

    Attributes:
        name: what a step calls it.
        unit: `caption`, `image`, `text_group`, `image_group` or `pairs`.
        function: see the module's text.
        reasons: what it answers with; one that ends in `*` stands for all that begin so.
        kinds: the kinds of captions it looks at unless the step says otherwise.
        needs: facts that the engine must look up for it: `scores`, `texts` (of images), `image` (for captions).
        prepare: see the module's text.
        models: options that name models, and the role of each (None for any): another model decides anew.
        compare: what a pair finder measures, for who asks why.
    """

    name: str
    unit: str
    function: Callable[..., Any]
    reasons: tuple[str, ...]
    kinds: tuple[str, ...] | None = None
    needs: tuple[str, ...] = ()
    prepare: Prepare | None = None
    models: Mapping[str, str | None] = field(default_factory=dict)
    compare: Compare | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Its options with their defaults."""
        found = _keywords(self.function)
        return found if self.kinds is None else {**found, "kinds": self.kinds}

    def says(self, reason: str) -> bool:
        """Say whether a reason may be this filter's."""
        base = reason.partition(":")[0]
        return any(base.startswith(own[:-1]) if own.endswith("*") else base == own for own in self.reasons)


@dataclass(frozen=True)
class Preset(_Declared):
    """A named list of steps, with options.

    Attributes:
        name: what a step calls it.
        function: options to steps.
    """

    name: str
    function: Callable[..., Steps]

    @property
    def options(self) -> dict[str, Any]:
        """Its options with their defaults."""
        return _keywords(self.function)


def _keywords(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


FILTERS: dict[str, Filter] = {}
PRESETS: dict[str, Preset] = {}
#: Entry points of this group are filters and presets of other packages; importing one registers it.
GROUP = "panoglot.filters"


def find_filter(name: str) -> Filter | Preset:
    """Return a filter or a preset, ours or that of an installed package.

    Raises:
        UserError: nothing of that name, with "did you mean"; or what an entry point names registers no such thing.
    """
    if name not in PRESETS and name not in FILTERS and name in find_entries(GROUP):
        load_entry(GROUP, name, "filter")
        if name not in PRESETS and name not in FILTERS:
            raise UserError(f"the entry point '{name}' of {GROUP} registers no filter or preset of that name.")
    found = PRESETS.get(name) or FILTERS.get(name)
    if found is None:
        known = [*FILTERS, *PRESETS, *find_entries(GROUP)]
        raise UserError(f"there is no filter or preset '{name}'.{did_you_mean(name, known)}")
    return found


def _all() -> list[Filter | Preset]:
    return [find_filter(name) for name in sorted({*FILTERS, *PRESETS, *find_entries(GROUP)})]


def filters() -> dict[str, Filter]:
    """Return all filters by name, those of installed packages too."""
    return {found.name: found for found in _all() if isinstance(found, Filter)}


def presets() -> dict[str, Preset]:
    """Return all presets by name, those of installed packages too."""
    return {found.name: found for found in _all() if isinstance(found, Preset)}


def _keep(name: str, found: Filter | Preset) -> None:
    """Register a filter or preset; a name of ours is not taken by others, whose reasons would then be another's."""
    for known in (FILTERS.get(name), PRESETS.get(name)):
        ours = known is not None and known.function.__module__.startswith("panoglot.")
        if ours and not found.function.__module__.startswith("panoglot."):
            raise UserError(f"there is a filter or preset '{name}' already: give yours another name.")
    if isinstance(found, Filter):
        FILTERS[name] = found
    else:
        PRESETS[name] = found


def preset(name: str) -> Callable[[_Function], _Function]:
    """Give a function of options that returns steps a name among the steps."""

    def keep(function: _Function) -> _Function:
        _keep(name, Preset(name, function))
        return function

    return keep


def _register(unit: str, reasons: Iterable[str], **more: Any) -> Callable[[_Function], _Function]:
    def keep(function: _Function) -> _Function:
        name = function.__name__
        _keep(name, Filter(name, unit, function, tuple(reasons), **more))
        return function

    return keep


def caption_filter(
    *reasons: str,
    kinds: Sequence[str] = SENTENCES,
    needs: Sequence[str] = (),
    prepare: Prepare | None = None,
    models: Models | None = None,
) -> Callable[[_Function], _Function]:
    """Make a function a caption filter that answers with these reasons."""
    more = {"kinds": tuple(kinds), "needs": tuple(needs), "prepare": prepare, "models": models or {}}
    return _register("caption", reasons, **more)


def image_filter(
    *reasons: str, needs: Sequence[str] = (), prepare: Prepare | None = None, models: Models | None = None
) -> Callable[[_Function], _Function]:
    """Make a function an image filter that answers with these reasons."""
    return _register("image", reasons, needs=tuple(needs), prepare=prepare, models=models or {})


def text_group_filter(
    *reasons: str, kinds: Sequence[str] = SENTENCES, prepare: Prepare | None = None, models: Models | None = None
) -> Callable[[_Function], _Function]:
    """Make a function a filter over groups of texts."""
    return _register("text_group", reasons, kinds=tuple(kinds), prepare=prepare, models=models or {})


def image_group_filter(*reasons: str, prepare: Prepare | None = None) -> Callable[[_Function], _Function]:
    """Make a function a filter over groups of images."""
    return _register("image_group", reasons, prepare=prepare)


def pair_finder(
    *reasons: str, prepare: Prepare | None = None, compare: Compare | None = None
) -> Callable[[_Function], _Function]:
    """Make a function a finder of images that show the same."""
    return _register("pairs", (*reasons, "not_carried"), prepare=prepare, compare=compare)


def owns(reason: str | None) -> bool:
    """Say whether a reason in `dropped` was written by curation.

    >>> import panoglot.curation
    >>> owns("too_short"), owns("duplicate_of:0f"), owns("draft"), owns(None)
    (True, True, False, False)
    """
    if reason is None:
        return False
    return any(found.says(reason) for found in filters().values())


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


def resolve(steps: str | Steps | None) -> list[Step]:
    """Read the steps as a user gives them, presets taken apart; None is the preset `default`.

    Raises:
        UserError: an unknown filter, preset, option or kind, or a value of the wrong type, with what is meant instead.

    >>> import panoglot.curation
    >>> [(step.name, step.options["min_side"]) for step in resolve(["size", ("size", {"min_side": 64})])]
    [('size', 32), ('size', 64)]
    """
    found = []
    for given in ["default"] if steps is None else [steps] if isinstance(steps, str | Mapping) else steps:
        name, options = _name_and_options(given)
        known = find_filter(name)
        what = "preset" if isinstance(known, Preset) else "filter"
        for key, value in options.items():
            if key not in known.options:
                raise UserError(f"{what} {name} has no option '{key}'.{did_you_mean(key, known.options)}")
            _check(f"{what} {name}", key, value, known.options[key])
        if isinstance(known, Preset):
            found += resolve(known.function(**options))
        else:
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
        f"step {given!r}: write a filter's name, or the name with its options: {{length: {{min_words: 3}}}}."
    )


def _check(name: str, key: str, value: Any, default: Any) -> None:
    if key == "kinds":
        for kind in [value] if isinstance(value, str) else value or ():
            if kind not in KINDS:
                raise UserError(f"{name}: there is no kind of caption '{kind}'.{did_you_mean(str(kind), KINDS)}")
        if isinstance(value, str):
            raise UserError(f"{name}: kinds is a list: [{value}].")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise UserError(f"{name}: {key}={value!r} must be true or false.")
    elif isinstance(default, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float | None) or value != value:
            raise UserError(f"{name}: {key}={value!r} must be a number.")
    elif isinstance(default, str) and not isinstance(value, str):
        raise UserError(f"{name}: {key}={value!r} must be a text.")
