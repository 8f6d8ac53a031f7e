"""The steps that the options of `caption` and `translate` stand for, checked before anything runs."""

from __future__ import annotations

import contextlib
import inspect
import json
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.checks import several
from panoglot.errors import UserError, command, did_you_mean, yaml_fault
from panoglot.languages import canonical_language
from panoglot.running import Method, get_method, list_methods

__all__ = ["Step", "caption_steps", "read_schema", "set_options", "typed"]

#: A method and its options, as a recipe has them.
Step = tuple[str, dict[str, Any]]


def caption_steps(
    methods: Sequence[str],
    *,
    models: Mapping[str, str],
    lang: Sequence[str] = (),
    prompt: str | None = None,
    schema: str | None = None,
    given: Sequence[str] = (),
    narrowing: Mapping[str, Any] | None = None,
    spare: Sequence[str] = (),
) -> list[Step]:
    """Make the steps of `panoglot caption`.

    Args:
        methods: names, in order.
        models: alias to model name, as the options gave them.
        lang: canonical tags; one step a language where a method writes in one.
        prompt: the question.
        schema: a JSON schema as text.
        given: options of methods, `key=value` or `method.key=value`.
        narrowing: `where`.
        spare: models that no method need ask for.

    Raises:
        UserError: a method that is none or does not caption; an option, a model or a language that no method takes.
    """
    chosen = [_captioning(name) for name in methods]
    said = set_options(given, chosen)
    if prompt is not None:
        _give(chosen, said, "prompt", prompt)
    if schema is not None:
        _give(chosen, said, "schema", schema)
    _name_models(chosen, said, models, spare)
    steps: list[Step] = []
    for own in chosen:
        options = said[own.name]
        if own.name == "fields" and "schema" in options:
            from panoglot.captioning._schema import read_fields

            read_fields(options["schema"])
        for tags in _languages(own, options, lang):
            steps.append((own.name, {**options, **tags, **(narrowing or {})}))
    return steps


def _captioning(name: str) -> Method:
    own = get_method(name)
    if own.verb != "caption":
        others = did_you_mean(name, [one.name for one in list_methods() if one.verb == "caption"])
        use = f"It is for {command(own.verb, 'X.pano')}." if own.verb in ("translate", "curate", "search") else ""
        raise UserError(f"method '{name}' does not write captions ({own.verb}).{others} {use}".rstrip())
    return own


def _give(chosen: Sequence[Method], said: dict[str, dict[str, Any]], option: str, value: Any) -> None:
    """Give an option to every method that has it; nobody has it: say who does."""
    takers = [own for own in chosen if option in own.options()]
    if not takers:
        able = [one.name for one in list_methods() if one.verb == "caption" and option in one.options()]
        names = ", ".join(own.name for own in chosen)
        raise UserError(f"--{option}: method {names} does not take it; these do: --method {' or '.join(able)}")
    for own in takers:
        said[own.name].setdefault(option, value)


def _name_models(
    chosen: Sequence[Method], said: dict[str, dict[str, Any]], models: Mapping[str, str], spare: Sequence[str]
) -> None:
    """Let the options that models are for name them: `detector=` of a method that has one, where none was said.

    Raises:
        UserError: a model that no method asks for.
    """
    for alias, name in models.items():
        taken = False
        for own in chosen:
            options = said[own.name]
            if alias in own.roles:
                usual = own.options()[alias].default
                if alias not in options and alias not in _names(usual):  # the alias stands for itself where it is usual
                    options[alias] = (alias,) if isinstance(usual, tuple) else alias
                taken = True
            taken = taken or any(alias in _names(options.get(key, own.options()[key].default)) for key in own.roles)
        if not taken and alias not in spare:
            wanted = sorted({key for own in chosen for key in own.roles})
            methods = ", ".join(own.name for own in chosen)
            raise UserError(
                f"method {methods} asks for no model '{alias}' ({name}).{did_you_mean(alias, wanted)} "
                f"It asks for: {', '.join(wanted) or 'none'}."
            )


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ()) if isinstance(value, Sequence) else ()


def _languages(own: Method, options: Mapping[str, Any], lang: Sequence[str]) -> list[dict[str, Any]]:
    """What the languages that were asked for are to a method: its list of them, or a step each."""
    if not lang:
        return [{}]
    if "lang" not in own.options():
        raise UserError(
            f"method '{own.name}' writes in no language of your choice. Translate what it writes: "
            f"{command('translate', 'X.pano', '--to', ','.join(lang), '--with', 'MODEL')}"
        )
    if "lang" in options:
        raise UserError("a language is said twice: give --lang or --set lang=…, not both.")
    if isinstance(own.options()["lang"].default, tuple):
        return [{"lang": tuple(lang)}]
    return [{"lang": tag, **_own_words(own, options, tag)} for tag in lang]


def _own_words(own: Method, options: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """The usual question in the language's own words, where nobody said another."""
    from panoglot.captioning._questions import question_in
    from panoglot.captioning.describe import PROMPT

    asked = own.options().get("prompt")
    question = question_in(tag) if asked is not None and asked.default == PROMPT and "prompt" not in options else None
    return {"prompt": question} if question else {}


def set_options(given: Sequence[str], chosen: Sequence[Method]) -> dict[str, dict[str, Any]]:
    """Read `key=value` (every method that has the option) and `method.key=value`; values are YAML, typed by the method.

    Raises:
        UserError: not of that form; an option that no method has, with "did you mean"; a value of another type.
    """
    said: dict[str, dict[str, Any]] = {own.name: {} for own in chosen}
    for one in given:
        key, equals, value = one.partition("=")
        name, dot, option = key.strip().rpartition(".")
        option = option.replace("-", "_")
        if not equals or not option:
            raise UserError(f"--set {one}: write OPTION=VALUE, for example --set max_tokens=120")
        takers = [own for own in chosen if not dot or own.name == name.replace("_", "-")]
        if not takers:
            raise UserError(f"--set {one}: no method '{name}' is asked for.{did_you_mean(name, list(said))}")
        having = [own for own in takers if option in own.options()]
        if not having:
            known = sorted({key for own in takers for key in own.options()})
            methods = ", ".join(own.name for own in takers)
            raise UserError(
                f"method {methods} has no option '{option}'.{did_you_mean(option, known)} "
                f"All of them: {command('methods', takers[0].name)}"
            )
        for own in having:
            said[own.name][option] = typed(own, option, value)
    return said


def typed(own: Method, option: str, value: str) -> Any:
    """Read a value as a method's option has it: YAML; several values with commas where it takes several.

    Raises:
        UserError: not YAML, or of another type.
    """
    import msgspec
    import yaml

    hints = typing.get_type_hints(own.function)
    kind, usual = hints.get(option, Any), own.options()[option].default
    if isinstance(usual, tuple) and not value.lstrip().startswith("["):
        value = f"[{value}]"
    try:
        read = value if kind is str else yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {option}={value} is not YAML: {yaml_fault(error)}") from None
    if isinstance(read, str) and isinstance(usual, float):  # YAML takes 1e-3 for a text
        with contextlib.suppress(ValueError):
            read = float(read)
    try:
        return msgspec.convert(read, kind, strict=False) if kind is not inspect.Parameter.empty else read
    except msgspec.ValidationError as error:
        said = str(error).partition(" - at ")[0].removeprefix("Expected ").replace("`", "")
        raise UserError(f"method '{own.name}': {option} must be {said}; it is {value!r}.") from None
    except TypeError:  # a type that only Python gives
        return read


def languages(lang: str | Sequence[str]) -> list[str]:
    """Canonical tags, each once; `auto` is none.

    Raises:
        UserError: not a language tag.
    """
    return list(dict.fromkeys(canonical_language(tag) for tag in several(lang) if tag != "auto"))


def read_schema(path: str | Path) -> str:
    """Read a JSON schema from a file, as the option of the method `fields` has it.

    Raises:
        UserError: no such file, or no JSON object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the schema '{path}' cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"the schema '{path}' is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UserError(f"the schema '{path}' is a {type(value).__name__}; write an object: {{\"properties\": {{…}}}}.")
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
