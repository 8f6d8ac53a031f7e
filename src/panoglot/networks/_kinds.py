"""What a row may name: kinds of ours, of plugins, of other packages; their options are known without loading any.

    @register("losses", "cycle")            # a plugin, in a module of your own
    class Cycle(Part): ...

or an entry point of a package, group `panoglot.networks`, named `losses.cycle`.

Ours are read from the source, not run: a misspelt option is found before torch is loaded, or missed.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from panoglot.errors import UserError, did_you_mean
from panoglot.extensions import find_entries, load_entry
from panoglot.networks._typing import accepts, said

__all__ = ["GROUP", "SETTINGS", "Kinds", "Option", "check_options", "register", "says"]

GROUP = "panoglot.networks"

T = TypeVar("T")

#: Setting of a row -> the file below this package and the table in it, and what the maker is given, not the row.
_TABLES = {
    "image": ("_tables.py", "IMAGES", ("codes", "cells")),
    "text": ("_tables.py", "TEXTS", ("media_width",)),
    "head": ("_tables.py", "HEADS", ("model", "row", "start")),
    "sampler": ("samplers/__init__.py", "SAMPLERS", ()),
    "losses": ("parts/__init__.py", "PARTS", ("widths",)),
    "bridge": ("bridges/__init__.py", "BRIDGES", ("widths",)),
    "painter": ("readers/__init__.py", "PAINTERS", ("widths",)),
    "locator": ("readers/__init__.py", "LOCATORS", ("widths",)),
    "composer": ("readers/__init__.py", "COMPOSERS", ("widths",)),
    "tokeniser": ("readers/__init__.py", "TOKENISERS", ()),
    "optimiser": ("_optimiser.py", "KINDS", ("params",)),
    "schedule": ("_schedule.py", "SCHEDULES", ("step", "total")),
}
#: What has kinds.
SETTINGS = tuple(_TABLES)

_PLUGINS: dict[str, dict[str, Any]] = {name: {} for name in SETTINGS}


@dataclass(frozen=True)
class Option:
    """One option of a kind: its type as it is written, and whether it may be left out."""

    type: str
    optional: bool


@dataclass(frozen=True)
class Kinds(Mapping[str, Callable[..., Any]]):
    """The kinds of one setting, name → what makes it; what another package offers is loaded when it is asked for.

    Attributes:
        setting: of `SETTINGS`.

    >>> Kinds("sampler").options("vectors")["k"]
    Option(type='int', optional=True)
    """

    setting: str

    def __getitem__(self, name: str) -> Any:
        if name in _PLUGINS[self.setting]:
            return _PLUGINS[self.setting][name]
        if name in _declared(self.setting):
            return _own(self.setting)[name]
        if f"{self.setting}.{name}" in find_entries(GROUP):
            return load_entry(GROUP, f"{self.setting}.{name}", self.setting)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        prefix = f"{self.setting}."
        others = (name.removeprefix(prefix) for name in find_entries(GROUP) if name.startswith(prefix))
        return iter(dict.fromkeys([*_declared(self.setting), *_PLUGINS[self.setting], *others]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in _PLUGINS[self.setting] or name in _declared(self.setting) or name in list(self)

    def options(self, name: str) -> dict[str, Option]:
        """Return the options of a kind; of one of ours without importing it."""
        if self._read(name):
            found = _declared(self.setting)[name].options
        else:
            found = _signature(self[name])
        given = _TABLES[self.setting][2]
        return {key: option for key, option in found.items() if key not in given}

    def declares(self, name: str, what: str, usual: Any) -> Any:
        """Return what the class of a kind says of itself (`needs`, `reads` …); of ours without importing it."""
        if self._read(name):
            return _declared(self.setting)[name].says.get(what, usual)
        return getattr(self[name], what, usual)

    def _read(self, name: str) -> bool:
        """Whether a kind is ours, and is read from the source."""
        if name in _PLUGINS[self.setting] or name not in _declared(self.setting):
            return False
        if "panoglot.networks._tables" not in sys.modules:
            return True
        made: Any = _own(self.setting).get(name)  # what stands in the table now may be another than what was written
        home = sys.modules.get(str(getattr(made, "__module__", "")))
        return not hasattr(made, "__qualname__") or getattr(home, made.__qualname__, made) is made


def register(setting: str, name: str) -> Callable[[T], T]:
    """Return a decorator that makes a class or function a kind that rows may name.

    Args:
        setting: `losses`, `image`, `text`, `head`, `sampler`, `bridge`, `painter`, `locator`, `composer`,
            `tokeniser`.
        name: in the row.

    Raises:
        UserError: an unknown setting, or a name that is taken by another.
    """
    if setting not in SETTINGS:
        raise UserError(f"no setting of a row is called '{setting}'.{did_you_mean(setting, SETTINGS)}")

    def keep(made: T) -> T:
        other = _PLUGINS[setting].get(name)
        same = other is not None and getattr(other, "__qualname__", "") == getattr(made, "__qualname__", None)
        if name in _declared(setting) or (other is not None and not same):
            raise UserError(f"{setting}: there is a '{name}' already; give it another name.")
        _PLUGINS[setting][name] = made
        return made

    return keep


def says(**what: Any) -> Callable[[T], T]:
    """Return a decorator by which a function says of what it makes what a class says by attributes: `gives`, `needs`.

    The values are literals: they are read from the source.
    """

    def keep(made: T) -> T:
        for name, value in what.items():
            setattr(made, name, value)
        return made

    return keep


def check_options(setting: str, spec: Mapping[str, Any], what: str = "", *, given: tuple[str, ...] = ()) -> None:
    """Refuse a kind, an option or a value that cannot be, in one line; nothing is imported for it.

    Args:
        setting: of `SETTINGS`.
        spec: `{kind: …, options}`.
        what: the setting as the message calls it; '': as it is.
        given: options that something else reads.

    Raises:
        UserError: with "did you mean".

    >>> check_options("sampler", {"kind": "ranked", "k": "many"})
    Traceback (most recent call last):
    panoglot.errors.UserError: sampler ranked: k='many' must be a whole number.
    """
    what, kinds, kind = what or setting, Kinds(setting), spec.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise UserError(f"{what}: kind '{kind}' is not known.{did_you_mean(str(kind), kinds)}")
    name = what if what.endswith(kind) else f"{what} {kind}"
    options = kinds.options(kind)
    for key, value in spec.items():
        if key == "kind" or key in given:
            continue
        if key not in options:
            raise UserError(f"{name}: unknown option '{key}'.{did_you_mean(key, options)}")
        if not accepts(options[key].type, value):
            raise UserError(f"{name}: {key}={value!r} must be {said(options[key].type)}.")
    for key, option in options.items():
        if not option.optional and key not in spec:
            raise UserError(f"{name}: needs {key}, {said(option.type)}: --set …{key}=VALUE, or write it into the row.")


# ---- reading without running -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Declared:
    """What the source says of a class or function."""

    options: dict[str, Option]
    says: dict[str, Any]


def _own(setting: str) -> Mapping[str, Any]:
    """The table of a setting, with what makes its kinds; most of them need torch."""
    if setting == "sampler":
        from panoglot.networks.samplers import SAMPLERS

        return SAMPLERS
    from panoglot.networks import _optimiser, _schedule, _tables
    from panoglot.networks.bridges import BRIDGES
    from panoglot.networks.parts import PARTS
    from panoglot.networks.readers import COMPOSERS, LOCATORS, PAINTERS, TOKENISERS

    found: dict[str, Mapping[str, Any]] = {
        **{"image": _tables.IMAGES, "text": _tables.TEXTS, "head": _tables.HEADS},
        **{"losses": PARTS, "bridge": BRIDGES, "tokeniser": TOKENISERS},
        **{"painter": PAINTERS, "locator": LOCATORS, "composer": COMPOSERS},
        **{"optimiser": _optimiser.KINDS, "schedule": _schedule.SCHEDULES},
    }
    return found[setting]


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse(files("panoglot.networks").joinpath(path).read_text("utf-8"))


@cache
def _declared(setting: str) -> dict[str, _Declared]:
    path, table, _ = _TABLES[setting]
    for node in _tree(path).body:
        if not isinstance(node, ast.AnnAssign | ast.Assign):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if isinstance(target, ast.Name) and target.id == table:
            assert isinstance(node.value, ast.Dict), table
            return {
                ast.literal_eval(key): _of(path, ast.unparse(value))
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if key is not None
            }
    raise AssertionError(f"{path} has no table {table}")


@cache
def _of(path: str, name: str) -> _Declared:
    """Find a class or function by its name in a file of ours, following what the file imports."""
    for node in _tree(path).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("panoglot.networks."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _of(_file(node.module or ""), alias.name)
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _Declared(_arguments(node.args), _decorated(node))
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _class(path, node)
    return _Declared({}, {})  # of another package


def _file(module: str) -> str:
    inner = module.removeprefix("panoglot.networks.").replace(".", "/")
    return f"{inner}.py" if files("panoglot.networks").joinpath(f"{inner}.py").is_file() else f"{inner}/__init__.py"


def _class(path: str, node: ast.ClassDef) -> _Declared:
    inherited = [_of(path, base.id) for base in node.bases if isinstance(base, ast.Name)]
    options = next((one.options for one in inherited if one.options), {})
    says = {key: value for one in reversed(inherited) for key, value in one.says.items()}
    is_dataclass = any("dataclass" in ast.unparse(one) for one in node.decorator_list)
    if is_dataclass:
        options = dict(options)
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            options = {k: v for k, v in _arguments(inner.args).items() if k != "self"}
        elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name) and is_dataclass:
            options[inner.target.id] = Option(ast.unparse(inner.annotation), inner.value is not None)
        elif isinstance(inner, ast.AnnAssign) and inner.value is not None:
            says |= _literals(ast.Assign([inner.target], inner.value))
        elif isinstance(inner, ast.Assign):
            says |= _literals(inner)
    return _Declared(options, says)


def _decorated(node: ast.FunctionDef) -> dict[str, Any]:
    """What `@says(gives=…)` says."""
    calls = [one for one in node.decorator_list if isinstance(one, ast.Call) and ast.unparse(one.func) == "says"]
    return {str(k.arg): ast.literal_eval(k.value) for one in calls for k in one.keywords}


def _literals(node: ast.Assign) -> dict[str, Any]:
    found = {}
    for target in node.targets:
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=True))
        for name, value in pairs:
            if isinstance(name, ast.Name):
                try:
                    found[name.id] = ast.literal_eval(value)
                except ValueError:
                    continue
    return found


def _arguments(arguments: ast.arguments) -> dict[str, Option]:
    plain = [*arguments.posonlyargs, *arguments.args]
    first = len(plain) - len(arguments.defaults)
    found = {a.arg: Option(_annotation(a.annotation), n >= first) for n, a in enumerate(plain)}
    for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found[a.arg] = Option(_annotation(a.annotation), default is not None)
    return found


def _annotation(node: ast.expr | None) -> str:
    return "Any" if node is None else ast.unparse(node)


def _signature(made: Any) -> dict[str, Option]:
    """The options of a plugin."""
    found = {}
    for name, parameter in inspect.signature(made).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        hint = parameter.annotation
        written = (
            "Any" if hint is parameter.empty else hint if isinstance(hint, str) else inspect.formatannotation(hint)
        )
        found[name] = Option(written, parameter.default is not parameter.empty)
    return found
