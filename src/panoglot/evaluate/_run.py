"""Commands of `panoglot evaluate` made of what benchmarks declare: options checked, files read, models loaded."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from panoglot.asking import PlainAsker, load_asked
from panoglot.asking._made import data_hash, finish, recording
from panoglot.errors import UserError
from panoglot.errors import verb as answering
from panoglot.evaluate._declare import Way, benchmark_names, find_benchmark, option_of
from panoglot.evaluate._names import POSITIONAL
from panoglot.evaluate._options import SHARED, listed, refuse_others, spoken
from panoglot.metrics._results import ResultSet

__all__ = ["Choice", "Command", "by_benchmark", "command", "perform"]

Verb = TypeVar("Verb", bound=Callable[..., Any])

#: What stands on a command's line without a name and may be left out.
_OPTIONAL = frozenset(["data", "rankings", "refs"])
_NOTHING: tuple[Any, ...] = (None, (), [], "")


@dataclass(frozen=True)
class Choice:
    """What a command is asked to do.

    Attributes:
        what: in words.
        way: to do it.
        given: options, as the way takes them.
        need: refuses what is missing.
        notes: on what was chosen.
    """

    what: str
    way: Way
    given: Mapping[str, Any]
    need: Callable[..., None] | None = None
    notes: Sequence[str] = ()


def by_benchmark(verb: str, given: Mapping[str, Any]) -> Choice:
    """Choose by `--benchmark`, with the settings of `--protocol`."""
    benchmark = find_benchmark(verb, str(given["benchmark"]))
    rest = {name: value for name, value in given.items() if name not in ("benchmark", "protocol")}
    notes: Sequence[str] = ()
    if given.get("protocol") not in _NOTHING:
        rest, notes = benchmark.under(str(given["protocol"]), rest)
    what, way = benchmark.way(rest)
    return Choice(what, way, rest, benchmark.need, notes)


def perform(choice: Choice) -> Any:
    """Check the options, read the files, load the models, run.

    Raises:
        UserError: options that would change nothing, or that are missing; what reading and running raise.
    """
    way, given = choice.way, {name: value for name, value in choice.given.items() if value not in _NOTHING}
    refuse_others(choice.what, given, way.reads_with(given))
    parameters = way.parameters()
    missing = {name: None for name in way.needs() if name not in given}
    if missing and choice.need is not None:
        choice.need(**missing)
    if missing:
        raise UserError(f"{choice.what} needs {', '.join(f'--{name}' for name in missing)}.")
    values = {name: _value(name, parameters[name], given[name]) for name in parameters if name in given}
    inputs = []
    if way.read is not None:
        inputs = [way.read(**{name: values[name] for name in inspect.signature(way.read).parameters if name in values})]
    named = list(inspect.signature(way.run).parameters.values())[len(inputs) :]
    rest = [*values] if any(p.kind is p.VAR_KEYWORD for p in named) else []
    mine = [name for name in dict.fromkeys([*(p.name for p in named), *rest]) if name in values]
    opened: list[PlainAsker] = []
    try:
        for name in way.models():
            if name in values:
                values[name] = _load(way, name, values[name], given, opened)
        result = way.run(*inputs, **{name: values[name] for name in mine})
        if choice.notes and isinstance(result, ResultSet):
            result.notes = (*result.notes, *choice.notes)
        return result
    finally:
        for model in opened:
            model.close()


def _value(name: str, parameter: inspect.Parameter, value: Any) -> Any:
    """A value as the function takes it: lists are taken apart at commas, those of files are not."""
    if "Sequence" not in str(parameter.annotation):
        return value
    if option_of(name).data:
        return [value] if isinstance(value, str) else list(value)
    return listed(value)


def _load(way: Way, name: str, value: Any, given: Mapping[str, Any], opened: list[PlainAsker]) -> Any:
    option = option_of(name)
    role = way.roles.get(name, option.model)
    extra = {one: given[one] for one in option.implies if one in given}
    if role == "metrics":
        from panoglot.evaluate._score import Scorer

        return Scorer(value, on_error="null", **extra)
    model = load_asked(value, role, extra.pop("cache", None), said=name, **extra)
    if isinstance(value, str) and isinstance(model, PlainAsker):
        opened.append(model)
    return model


class Command:
    """A command that runs benchmarks, or its own ways where none is named.

    Args:
        verb: its name.
        about: what it does.
        choose: the way that options ask for; `by_benchmark` without.
        own: ways that need no benchmark: their options are the command's too.
        default: the benchmark where none is named; the option is required where there is neither it nor a way of its
            own.
    """

    def __init__(
        self,
        verb: str,
        about: str,
        choose: Callable[[Mapping[str, Any]], Choice] | None = None,
        own: Sequence[Way] = (),
        default: str | None = None,
    ) -> None:
        self.verb, self.about, self.own, self.default = verb, about, tuple(own), default
        self._choose = choose

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Run it."""
        names = POSITIONAL[self.verb]
        if len(args) > len(names):
            raise TypeError(f"{self.verb} takes {len(names)} arguments without a name, not {len(args)}")
        options = {**dict(zip(names, args)), **given}
        if self.default is not None:
            options = {"benchmark": self.default, **options}
        if options.get("benchmark") is None and self._choose is None:
            raise UserError(f"{self.verb} needs --benchmark: {', '.join(self.benchmarks())}.")
        return perform(self._choose(options) if self._choose is not None else by_benchmark(self.verb, options))

    def benchmarks(self) -> list[str]:
        """Names of its benchmarks."""
        return [name for verb, name in benchmark_names() if verb == self.verb]

    def function(self) -> Callable[..., Any]:
        """The command as a function whose signature and docstring are made of all that it runs."""

        def run(*args: Any, **given: Any) -> Any:
            return self(*args, **given)

        run.__name__ = run.__qualname__ = self.verb
        parameters, about = self._parameters()
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        lines = [f"    {p.name}: {about[p.name]}" for p in parameters]
        run.__doc__ = "\n".join([self.about, "", "Args:", *lines])
        return command(run)

    def _parameters(self) -> tuple[list[inspect.Parameter], dict[str, str]]:
        said: dict[str, dict[str, list[str]]] = {}
        found: dict[str, list[inspect.Parameter]] = {}
        ways = [("", way) for way in self.own]
        for name in self.benchmarks():
            ways += [(name, way) for way in find_benchmark(self.verb, name).each().values()]
        for name, way in ways:
            parameters, about = way.parameters(), way.about()
            for option in way.reads():
                if option in ("score", "scores"):
                    continue  # `metric` of agreement says both
                p = parameters.get(option) or inspect.Parameter(
                    option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option_of(option).kind
                )
                found.setdefault(option, []).append(p)
                said.setdefault(option, {}).setdefault(about.get(option, ""), []).append(name)
        names = self.benchmarks()
        texts = {option: _joined(rows, names) or option_of(option).about for option, rows in said.items()}
        texts["benchmark"] = (
            " or ".join(filter(None, [", ".join(f"`{n}`" for n in names[:-1]), f"`{names[-1]}`"])) + "."
        )
        first = POSITIONAL[self.verb]
        kind: Any = str | None if self.own else str
        default: Any = self.default or (None if self.own else inspect.Parameter.empty)
        made = [_merged(name, found[name], first=True) for name in first]
        made.append(inspect.Parameter("benchmark", inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default))
        if with_protocol := [n for n in names if find_benchmark(self.verb, n).protocols]:
            made.append(
                inspect.Parameter("protocol", inspect.Parameter.KEYWORD_ONLY, annotation=str | None, default=None)
            )
            texts["protocol"] = f"{', '.join(f'`{n}`' for n in with_protocol)}: {SHARED['protocol'].about}"
        made += [_merged(name, rows) for name, rows in found.items() if name not in first]
        return made, texts


def _joined(rows: Mapping[str, Sequence[str]], every: Sequence[str]) -> str:
    """What benchmarks say of an option: whose it is, where it is not one of all."""
    found = []
    for text, names in rows.items():
        mine = [] if "" in names or set(names) == set(every) else [f"`{one}`" for one in dict.fromkeys(names)]
        if text:
            found.append(f"{', '.join(mine)}: {text}" if mine else text)
    return " ".join(found)


def _merged(name: str, rows: Sequence[inspect.Parameter], *, first: bool = False) -> inspect.Parameter:
    """One option of all benchmarks that have it."""
    several = any("Sequence" in str(p.annotation) for p in rows)
    kind: Any = str | Sequence[str] if several else rows[0].annotation
    defaults = [p.default for p in rows if p.default is not p.empty]
    same = len(defaults) == len(rows) and all(one == defaults[0] for one in defaults)
    if first and name not in _OPTIONAL:
        return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind)
    default = defaults[0] if same else None
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD if first else inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, place, default=default, annotation=kind if default is not None else kind | None)


def command(verb: Verb) -> Verb:
    """Make a function a command: messages speak of the command line, its result says what it was made with."""
    signature, asked = inspect.signature(verb), answering(verb)

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            with recording() as met:
                result = asked(*args, **kwargs)
        except UserError as error:
            raise type(error)(spoken(str(error), signature.parameters)) from None
        given = {**dict(zip(signature.parameters, args)), **kwargs}
        if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
            given = dict(signature.bind(*args, **kwargs).arguments)
        return _with_made(result, finish(met, verb.__name__, *_given(given)))

    return run  # type: ignore[return-value]


def _given(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Options as they were given, and the hash of every file among them."""
    options: dict[str, Any] = {}
    data: dict[str, str] = {}
    for name, value in given.items():
        several = list(value) if isinstance(value, list | tuple) else [value]
        if value is None or not all(isinstance(one, str | int | float | bool | os.PathLike) for one in several):
            continue
        options[name] = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in several]
        options[name] = options[name] if isinstance(value, list | tuple) else options[name][0]
        for one in several if name in SHARED and SHARED[name].data else ():
            mark = data_hash(str(one)) if isinstance(one, str | os.PathLike) else ""
            if mark:
                data[Path(one).name or str(one)] = mark
    return options, data


def _with_made(result: Any, made: Mapping[str, Any]) -> Any:
    if isinstance(result, ResultSet):
        result.made = dict(made)
        result.say_why_null()
    elif is_dataclass(result) and any(one.name == "made" for one in fields(result)):
        return replace(result, made=dict(made))  # type: ignore[type-var]
    return result
