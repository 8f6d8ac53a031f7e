"""Methods: async functions of one image (or caption) and the models, and the operator that runs many at once.

    @method(verb="caption")
    async def describe(image: Image, m: Models, *, captioner: GeneratorName = "captioner", prompt: str = PROMPT):
        answer = await m[captioner].generate(prompt, image)
        return Caption(answer.text, lang="en", model=m[captioner].name)

Its keyword arguments are its options: typed, with the paper's defaults; those typed `GeneratorName`, `EncoderName`, …
name models. Options (prompts among them), `version` and the fingerprints of the models make the fingerprint of a step;
an option that came later is declared so (`panoglot.identity`), and leaves out what was made before it came.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Annotated, Any

from panoglot.asking import Asker, Journal, Models, Prices
from panoglot.asking._spend import Account
from panoglot.errors import UserError, did_you_mean
from panoglot.extensions import find_entries, load_entry
from panoglot.identity import counted, fingerprint, read_options
from panoglot.running._fit import fit_dataset
from panoglot.running._lacking import check_empty, without_model
from panoglot.running._operator import MethodOperator
from panoglot.running._rows import GroupPart, group_parts
from panoglot.running._stage import Stage, worker_processes
from panoglot.table import Dataset

__all__ = [
    "METHODS",
    "Asks",
    "DepthEstimatorName",
    "DetectorName",
    "EncoderName",
    "GeneratorName",
    "GeneratorNames",
    "ImageGeneratorName",
    "JudgeName",
    "LanguageIdentifierName",
    "Method",
    "MethodOperator",
    "ParserName",
    "ReaderName",
    "SegmenterName",
    "TaggerName",
    "TranslatorName",
    "get_method",
    "list_methods",
    "list_parts",
    "method",
    "method_stage",
]


class Asks(str):
    """Marks an option that names a model: `Annotated[str, Asks("generator")]`; `a|b` takes either role."""


GeneratorName = Annotated[str, Asks("generator")]
GeneratorNames = Annotated[tuple[str, ...], Asks("generator")]
EncoderName = Annotated[str, Asks("encoder")]
TaggerName = Annotated[str, Asks("tagger")]
DetectorName = Annotated[str, Asks("detector")]
SegmenterName = Annotated[str, Asks("segmenter")]
DepthEstimatorName = Annotated[str, Asks("depth_estimator")]
ReaderName = Annotated[str, Asks("reader")]
LanguageIdentifierName = Annotated[str, Asks("language_identifier")]
TranslatorName = Annotated[str, Asks("translator|generator")]
ParserName = Annotated[str, Asks("parser")]
ImageGeneratorName = Annotated[str, Asks("image_generator")]
JudgeName = Annotated[str, Asks("judge")]


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        name: with hyphens, as on the command line and in the table of methods.
        function: the coroutine.
        verb: `caption`, `translate`, …: what it does, whatever the room is called; part of the names of ledgers.
        version: raised when the same options may give other results.
        unit: what it works on: an `image`, a `caption`, a `group` of images, all clips of a `video`, a `pair` of
            images, or the `query` of a search.
        with_captions: gives images their kept captions.
        with_images: gives captions their image.
        fit: its first pass, see `running._fit`, or None.
        fit_per: `dataset` or `asset`.
        about: one line; empty for the first of its docstring.
        paper: the paper's short name, or empty.
        year: of the paper.
        where: SQL filter: the rows that it takes unless a run names others.
        pairs: of a method of pairs: lists them, see `method`.
    """

    name: str
    function: Callable[..., Awaitable[Any]]
    verb: str
    version: int
    unit: str
    with_captions: bool = False
    with_images: bool = False
    fit: Callable[..., Coroutine[Any, Any, bytes]] | None = None
    fit_per: str = "dataset"
    about: str = ""
    paper: str = ""
    year: int = 0
    where: str | None = None
    pairs: Callable[..., Iterator[GroupPart]] | None = None

    @property
    def recipe(self) -> str:
        """What its rows say about who made them."""
        return f"{self.name}/{self.version}"

    @property
    def stage(self) -> str:
        """The name of its stage: of its ledger, and what its rejects say."""
        return f"{self.verb}.{self.name}"

    def options(self) -> dict[str, inspect.Parameter]:
        """The keyword options, by name."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options, the given ones checked.

        Raises:
            UserError: unknown option, with "did you mean".
        """
        known = self.options()
        for key in given:
            if key not in known:
                raise UserError(f"method '{self.name}' has no option '{key}'.{did_you_mean(key, known)}")
        missing = [k for k, p in known.items() if p.default is p.empty and k not in given]
        if missing:
            raise UserError(f"method '{self.name}' needs the option '{missing[0]}'.")
        check_empty(self, given)
        return {key: _like(given.get(key, p.default), p.default) for key, p in known.items()}

    def uses(self, options: Mapping[str, Any]) -> dict[str, str]:
        """Return the model names in some resolved options that are read, with the role asked of each."""
        read = read_options(self.function, options)
        return {name: role for key, role in self.roles.items() for name in _names(read.get(key))}

    @cached_property
    def roles(self) -> dict[str, str]:
        """The options that name models, with their roles."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        marks = {key: getattr(hint, "__metadata__", ()) for key, hint in hints.items()}
        return {key: str(x) for key, found in marks.items() for x in found if isinstance(x, Asks)}

    def fingerprint(self, options: Mapping[str, Any], models: Mapping[str, str]) -> str:
        """Return the fingerprint of a step.

        Args:
            options: resolved.
            models: fingerprints of models by what the options call them; a model's address is no part of the step.
        """
        said: dict[str, Any] = counted(self.function, options)
        named = {name for key in self.roles for name in _names(said.get(key))}
        for key, value in read_options(self.function, options).items():
            # a later option that is as it was is left out, but not a model that nothing else names
            if key in self.roles and (key in said or not named.issuperset(_names(value))):
                said[key] = [models[name] for name in _names(value)]
        return fingerprint({"method": self.name, "version": self.version, "options": said})


def _like(value: Any, default: Any) -> Any:
    """A whole number as a float where the default is one: `temperature: 0` in YAML is 0.0, and the same work."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and isinstance(default, float) else value


def _names(value: str | Sequence[str] | None) -> list[str]:
    """The models that an option names."""
    return [*([value] if isinstance(value, str) else value or ())] if value else []


#: Entry points of this group are methods, `name = "module:function"`: ours, and those of other packages.
GROUP = "panoglot.methods"

METHODS: dict[str, Method] = {}

#: What a method can work on, and which of it are several pictures.
UNITS = ("image", "caption", "group", "video", "pair", "query")
GROUPS = ("group", "video", "pair")


def method(
    *,
    verb: str,
    unit: str = "image",
    name: str = "",
    version: int = 1,
    captions: bool = False,
    images: bool = False,
    fit: Callable[..., Coroutine[Any, Any, bytes]] | None = None,
    fit_per: str = "dataset",
    where: str | None = None,
    pairs: Callable[..., Iterator[GroupPart]] | None = None,
    about: str = "",
    paper: str = "",
    year: int = 0,
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """Register an async function as a method; it stays a plain function.

    Args:
        verb: `caption`, `translate`, `curate`, `search`, …
        unit: what it works on, one of `UNITS`.
        name: with hyphens; empty for that of the function.
        version: raised when the same options may give other results.
        captions: give images (of pairs too) their kept captions.
        images: give captions their image.
        fit: a first pass over the rows; what it returns comes as the option `fitted`.
        fit_per: `dataset`: once over all rows; `asset`: for every group, without a pass over the others.
        where: SQL filter: which rows it takes unless a run names others. Of captions it takes kept ones only, and none
            that it made itself or that were made from those.
        pairs: (dataset, SQL filters of images: which take part, which come first, or None, resolved options) to the
            pairs of a method whose unit they are; it gets a `Group` of two.
        about: one line; empty for the first of the docstring.
        paper: short name of the paper that it is the method of.
        year: of the paper.

    Raises:
        UserError: no such unit; a first pass without the option `fitted`, or of assets where there are none.
    """

    def register(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        key = name or getattr(function, "__name__", "").replace("_", "-")
        if unit not in UNITS:
            raise UserError(f"method '{key}': unit '{unit}'.{did_you_mean(unit, UNITS)}")
        if fit is not None and "fitted" not in inspect.signature(function).parameters:
            raise UserError(f"method '{key}' has a first pass and no option for it: fitted: bytes = b\"\".")
        if (pairs is not None) != (unit == "pair"):
            raise UserError(
                f"method '{key}': pairs= lists the pairs of a method whose unit is 'pair', and of no other."
            )
        if fit_per not in ("dataset", "asset") or (fit_per == "asset" and unit != "group"):
            raise UserError(f"method '{key}': fit_per is dataset, or asset for methods of groups.")
        first = about or (inspect.getdoc(function) or "").partition("\n")[0]
        METHODS[key] = Method(
            key, function, verb, version, unit, captions, images, fit, fit_per, first, paper, year, where, pairs
        )
        return function

    return register


def get_method(name: str) -> Method:
    """Return a method by name.

    Raises:
        UserError: unknown, with "did you mean".
    """
    key = name.replace("_", "-")
    if key not in METHODS:
        known = find_entries(GROUP)
        if key not in known:
            raise UserError(f"there is no method '{name}'.{did_you_mean(key, [*METHODS, *known])}")
        load_entry(GROUP, key, "method")  # importing it registers it
    return METHODS[key]


def list_methods() -> list[Method]:
    """Return all methods, those of other packages too, by name."""
    return [get_method(name) for name in sorted({*METHODS, *find_entries(GROUP)})]


def method_stage(
    name: str,
    options: Mapping[str, Any] | None = None,
    models: Mapping[str, str] | None = None,
    *,
    prices: str | None = None,
    where: str | None = None,
    journal: bool = True,
    processes: int | None = None,
    in_flight: int = 64,
) -> Stage:
    """Make a stage of a method.

    Args:
        name: the method.
        options: its keyword options.
        models: alias to model name; an option may also give a full model name.
        prices: price file.
        where: SQL filter on images or captions: exactly these rows. None for those that the method declares; a method
            over captions then takes kept ones alone, and none that it made or that were made from its own.
        journal: keep answers in the dataset's journal.
        processes: worker processes; None chooses by the models.
        in_flight: most items under way at once.
    """
    from panoglot.providers import load_model

    chosen = get_method(name)
    if chosen.unit == "query":
        raise UserError(f"method '{name}' plans searches: panoglot search X.pano … --preset {name}")
    resolved = chosen.resolve(options or {})
    uses = chosen.uses(resolved)
    names = {alias: (models or {}).get(alias, alias) for alias in uses}
    for alias, full in names.items():
        if ":" not in full:
            raise UserError(without_model(chosen, alias))
    loaded = {alias: load_model(full, uses[alias]) for alias, full in names.items()}
    prints = {alias: model.fingerprint for alias, model in loaded.items()}
    served = any(inspect.iscoroutinefunction(getattr(model, "generate", None)) for model in loaded.values())
    in_flight = max(in_flight, *(int(getattr(model, "in_flight", 0)) for model in loaded.values()), 1)
    in_flight = 1 if chosen.unit == "video" else in_flight  # all its frames are held in memory
    if processes is None:
        processes = worker_processes(loaded.values())
    print_ = chosen.fingerprint(resolved, prints)
    not_from = None
    if where is None:
        where = chosen.where
        if chosen.unit == "caption":
            where, not_from = f"dropped is null and ({where})" if where else "dropped is null", f"{chosen.name}/"
    operator = MethodOperator(chosen, resolved, names, print_, prices, journal, in_flight)
    return Stage(
        name=chosen.stage,
        fingerprint=print_,
        operator=operator,
        of={"image": "images", "caption": "captions"}.get(chosen.unit, "parts"),
        where=where,
        not_from=not_from,
        groups=chosen.unit in GROUPS,
        prepare=partial(_prepared, chosen, names, prices) if chosen.unit in GROUPS or chosen.fit else None,
        with_captions=chosen.with_captions,
        with_images=chosen.with_images,
        batch=max(512, 16 * in_flight) if served else 256,
        processes=processes,
    )


def _prepared(
    chosen: Method,
    names: Mapping[str, str],
    prices: str | None,
    stage: Stage,
    dataset: Dataset,
    run_id: str,
) -> Stage:
    """What is done before rows are chosen: groups are listed, and what a first pass learns enters the identity."""
    operator, print_ = stage.operator, stage.fingerprint
    assert isinstance(operator, MethodOperator)
    if chosen.fit is not None and chosen.fit_per == "dataset":
        from panoglot.providers import load_model

        account = Account(run_id, stage.id)
        with Journal(dataset.journal) as journal:
            table = Prices.load(prices)
            m = Models(
                {
                    alias: Asker(
                        load_model(full), journal=journal, prices=table, budget=None, account=account, full=full
                    )
                    for alias, full in names.items()
                }
            )
            learnt, digest = fit_dataset(dataset, chosen, operator.options, print_, m, stage.where, run_id)
        print_ = fingerprint([print_, digest])
        operator = replace(operator, options={**operator.options, "fitted": learnt}, fingerprint=print_)
    grouped = chosen.unit in GROUPS
    parts = list_parts(dataset, stage, chosen, operator.options) if grouped else None
    return replace(stage, operator=operator, fingerprint=print_, parts=parts, prepare=None)


def list_parts(
    dataset: Dataset, stage: Stage, chosen: Method, options: Mapping[str, Any]
) -> Callable[[], Iterator[GroupPart]]:
    """What lists the groups that a stage takes; pairs are found at once, so that a fault is said before it begins."""
    if chosen.pairs is None:
        return partial(group_parts, dataset, stage.where, stage.only, chosen.unit)
    return partial(iter, list(chosen.pairs(dataset, stage.where, stage.only, options)))
