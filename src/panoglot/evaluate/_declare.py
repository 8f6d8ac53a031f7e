"""What a benchmark says of itself; its command, `evaluate --list` and docs/metrics.md are made of it.

POPE = Benchmark("pope", "choice", about="yes/no questions …", files="--data: rows of …", source="github.com/…",
                 ways={"answers": Way(_scored, _read_answers), "model": Way(_asked, _read)})

and a line under `[project.entry-points."panoglot.benchmarks"]`, in our pyproject.toml or in that of any package:

"choice.pope" = "panoglot.evaluate.benchmarks.pope:POPE"             # the command, a dot, the name

See docs/add-a-benchmark.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.checks import check_option
from panoglot.errors import UserError
from panoglot.evaluate._options import SHARED, Option, plain_name
from panoglot.extensions import arguments_of, find_entries, load_entry

__all__ = ["GROUP", "Benchmark", "Protocol", "Way", "benchmark_names", "find_benchmark"]

#: Entry points that name benchmarks.
GROUP = "panoglot.benchmarks"


@dataclass(frozen=True)
class Way:
    """A way to run: what is read first, and what is done then.

    Attributes:
        run: gives a result. Its arguments are options of the command line: those without a default are needed, those
            named as models (`encoder`, `judge`, `model`, `detector`, `parser`) arrive loaded, unless they are typed as
            texts. With `read` its first argument is what that gave.
        read: reads the files before any model is loaded, so that their faults are said at once; its arguments are
            options too.
        roles: of models, where they differ from the usual: `{"model": "generator|encoder"}`.
        only: options that are read only while another one has a value: `{"weight": ("method", "sum")}`.
        without: arguments of `run` that are no options of this way: benchmarks that share a function differ in some.
    """

    run: Callable[..., Any]
    read: Callable[..., Any] | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    without: Sequence[str] = ()

    def parameters(self) -> dict[str, inspect.Parameter]:
        """Arguments that are options, by name: those of `read`, then those of `run`; needed where one needs them."""
        found: dict[str, inspect.Parameter] = {}
        first = 0 if self.read is None else 1
        for function, skip in ((self.read, 0), (self.run, first)):
            if function is None:
                continue
            for p in list(inspect.signature(function).parameters.values())[skip:]:
                if p.name not in self.without and (p.name not in found or p.default is p.empty):
                    found[p.name] = p.replace(annotation=_annotation(function, p))
        return found

    def models(self) -> list[str]:
        """Arguments of `run` that arrive loaded: named as a model is, and not typed as a text."""
        found = [p for p in inspect.signature(self.run).parameters.values() if p.name not in self.without]
        return [p.name for p in found if p.name in SHARED and SHARED[p.name].model and "str" not in str(p.annotation)]

    def needs(self) -> list[str]:
        """Options without which it cannot run."""
        return [name for name, p in self.parameters().items() if p.default is p.empty]

    def reads(self) -> list[str]:
        """All options that it reads, with those that loading its models takes."""
        names = list(self.parameters())
        extra = [one for name in self.models() for one in SHARED[name].implies]
        return list(dict.fromkeys([*names, *extra]))

    def reads_with(self, given: Mapping[str, Any]) -> list[str]:
        """Options that it reads when these are given."""
        parameters = self.parameters()
        unread = [
            name for name, (other, value) in self.only.items()
            if given.get(other, parameters[other].default) != value
        ]  # fmt: skip
        return [name for name in self.reads() if name not in unread]

    def about(self) -> dict[str, str]:
        """What its docstrings say of its options."""
        return {**arguments_of(self.read), **arguments_of(self.run)}


@dataclass(frozen=True)
class Protocol:
    """A paper's protocol by one name, `--protocol paper`: all its settings at once.

    Attributes:
        options: of the benchmark, with the paper's values; one that is given otherwise is refused.
        models: the paper's model by option. It is taken where none is given, unless it costs; another one is noted.
        files: lists that the paper uses and nobody may ship: option to where they are. Without them a note says so.
        published: which of the paper's figures the project's tests reproduce.
        unverified: what neither the paper's text nor its code confirmed here.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    published: str = ""
    unverified: Sequence[str] = ()

    def set_on(self, given: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
        """Options with those of the protocol, and what a reader must know: models and lists that are others.

        Raises:
            UserError: an option is given otherwise, or a model that costs is not named.
        """
        found = {option: value for option, value in given.items() if value not in (None, (), [], "")}
        notes = []
        for option, value in self.options.items():
            if found.setdefault(option, value) != value:
                flag = f"--{option.replace('_', '-')}"
                raise UserError(f"the protocol '{name}' has {flag} {value}: leave out {flag} {found[option]}.")
        for option, model in self.models.items():
            if option not in found and model.startswith("openai:"):
                raise UserError(f"the protocol '{name}' asks a model that costs: give --{option} {model}, or another.")
            if found.setdefault(option, model) != model:
                notes.append(f"protocol '{name}' with --{option} {found[option]}: published figures stand for {model}")
        for option, place in self.files.items():
            if option not in found:
                flag = option.replace("_", "-")
                notes.append(f"protocol '{name}' without --{flag} ({place}): published figures stand for that list")
        return found, notes


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of a command of `panoglot evaluate`.

    Attributes:
        name: of `--benchmark`.
        command: of `panoglot evaluate`: captions, retrieval, zeroshot, choice, composed, generation, agreement.
        about: what it measures, by which metric.
        files: what the command expects.
        source: where the files are; nothing is downloaded.
        ways: one way to run, or several by the option that asks for each (`model`, `answers`); the first counts whose
            option is given.
        protocols: settings of papers by name.
    """

    name: str
    command: str
    about: str
    files: str
    source: str
    ways: Way | Mapping[str, Way]
    protocols: Mapping[str, Protocol] = field(default_factory=dict)

    def each(self) -> Mapping[str, Way]:
        """The ways by option; the only way has none."""
        return {"": self.ways} if isinstance(self.ways, Way) else self.ways

    def options(self) -> list[str]:
        """All options that one of its ways reads, but those that stand without a name."""
        from panoglot.evaluate._names import POSITIONAL

        names = dict.fromkeys(name for way in self.each().values() for name in way.reads())
        mine = [name for name in names if name not in POSITIONAL[self.command]]
        return [*mine, "protocol"] if self.protocols else mine

    def under(self, protocol: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Options with those of a protocol, see `Protocol.set_on`.

        Raises:
            UserError: there is no such protocol, or an option is given otherwise.
        """
        if not self.protocols:
            raise UserError(f"'{self.name}' does not take --protocol: it would change nothing.")
        check_option("protocol", protocol, list(self.protocols))
        return self.protocols[protocol].set_on(given, protocol)

    def need(self, **given: Any) -> None:
        """Refuse missing files by saying what they are and where they come from.

        Raises:
            UserError: some are None.
        """
        missing = [f"--{name.replace('_', '-')}" for name, value in given.items() if value in (None, (), [], "")]
        if missing:
            raise UserError(
                f"'{self.name}' needs {', '.join(missing)}. It takes {self.files.removesuffix('.')}. "
                f"From {self.source}."
            )

    def way(self, given: Mapping[str, Any]) -> tuple[str, Way]:
        """The way that is asked for, and what it is called in messages.

        Raises:
            UserError: none of the options that choose one is given.
        """
        if isinstance(self.ways, Way):
            return f"'{self.name}'", self.ways
        for option, way in self.ways.items():
            if given.get(option) not in (None, (), [], ""):
                words = SHARED[option].words if option in SHARED else f"--{option}"
                return f"'{self.name}'" + (f" with {words}" if words else ""), way
        from panoglot.evaluate._names import POSITIONAL

        first = POSITIONAL[self.command]
        options = " and ".join(one.upper() if one in first else f"--{one}" for one in reversed(list(self.ways)))
        raise UserError(f"'{self.name}' needs one of {options}.")


def benchmark_names() -> Iterator[tuple[str, str]]:
    """Command and name of all benchmarks, ours and those of other packages; nothing is imported."""
    for entry in sorted(find_entries(GROUP)):
        command, _, name = entry.partition(".")
        yield command, name


def find_benchmark(command: str, name: str) -> Benchmark:
    """Return a benchmark of a command; names are taken as people write them: `XTD10`.

    Raises:
        UserError: it is another command's, there is none (with "did you mean"), or it cannot be loaded.
    """
    name, known = plain_name(name), list(benchmark_names())
    mine = [one for verb, one in known if verb == command]
    if name not in mine and (other := [verb for verb, one in known if one == name]):
        raise UserError(f"'{name}' is a benchmark of: panoglot evaluate {other[0]}")
    check_option("benchmark", name, mine)
    found = load_entry(GROUP, f"{command}.{name}", "benchmark")
    if not isinstance(found, Benchmark) or (found.command, found.name) != (command, name):
        raise UserError(f"the entry point '{command}.{name}' of {GROUP} names no such Benchmark: {found!r:.80}")
    return found


def _annotation(function: Callable[..., Any], p: inspect.Parameter) -> Any:
    """The type of an option: a model is named by a text, what is not said is a text."""
    if p.name in SHARED and (SHARED[p.name].model or "PathLike" in str(p.annotation)):
        return str
    if isinstance(p.annotation, str):
        try:
            return eval(p.annotation, dict(function.__globals__))
        except NameError:  # a name for type checkers alone: no option of a command line
            return Any
    return str if p.annotation is p.empty else p.annotation


def option_of(name: str) -> Option:
    """What is known of an option by its name."""
    return SHARED.get(name, Option(""))
