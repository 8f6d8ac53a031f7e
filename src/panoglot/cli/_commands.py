"""What each command prints of what its verb returned. A command's options are its verb's own signature and text."""

from __future__ import annotations

import gc
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from panoglot.checks import several
from panoglot.cli._captioned import show_captioning
from panoglot.cli._datasets import measured_text, show_copied, show_division, show_info, show_labels, show_plan
from panoglot.cli._ran import show_run
from panoglot.cli._shown import (
    as_hits,
    console,
    plain_json,
    safe,
    show_edit,
    show_forgotten,
    show_hits,
    show_index,
    show_notes,
    words_to_find,
)
from panoglot.errors import UserError, command, many, yaml_fault
from panoglot.evaluate._names import COMMANDS as EVALUATE
from panoglot.storage import has_scheme
from panoglot.table import is_dataset, open_dataset
from panoglot.table._visible import json_line, terminal

#: Short forms of options, on every command that has them.
SHORT = {"output": "-o", "k": "-k"}
#: Other names of options, on one command.
ALSO = {("translate", "lang"): "--to", ("translate", "translator"): "--with", ("labels", "lang"): "--to"}
#: Options that have no form on a command line.
PYTHON_ONLY = {"progress", "run_id"}
#: Options that take several values: given again and again, or with commas between them.
LISTS = {
    "caption_column",
    "emptied",
    "freeze",
    "kinds",
    "lang",
    "mask",
    "model",
    "option",
    "product",
    "set",
    "sources",
    "steps",
}
#: Arguments at the end of the line that take several values without a name between them.
LAST = {"rankings", "refs"}
#: Commands that take several sources, so that the dataset is named by its option.
SOURCES = {"build", "ingest"}
#: What Python takes as a path or an open dataset is a path here.
PATHS = {"compare", "dataset", "image", "method", "output", "plan", "resume", "schema", "source"}


def _command(verb: Callable[..., Any], show: Callable[..., Any], extra: Callable[..., Any] | None = None) -> Any:
    """Make a command of a verb: same options; then `show` prints what it returned, given the options of `extra`."""

    def run(*args: Any, **kwargs: Any) -> Any:
        _in_order(verb, args)
        if verb.__name__ in SOURCES:
            args, kwargs = (), _sources(*args, **kwargs)
        mine = {key: kwargs.pop(key) for key in list(kwargs) if extra and key in inspect.signature(extra).parameters}
        for key in lists & kwargs.keys():
            kwargs[key] = _values(key, kwargs[key])
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        return show(verb(*args, **kwargs), **mine)

    run.__doc__ = verb.__doc__
    signature = inspect.signature(verb, eval_str=True)
    lists = {p.name for p in signature.parameters.values() if _is_list(p)}
    parameters = [_option(p, verb.__name__) for p in signature.parameters.values() if p.name not in PYTHON_ONLY]
    if extra is not None:
        parameters += inspect.signature(extra, eval_str=True).parameters.values()
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _in_order(verb: Callable[..., Any], given: Sequence[Any]) -> None:
    """Say so when a dataset was given, but not where the dataset stands."""
    first = next(iter(inspect.signature(verb).parameters), "")
    if first != "dataset" or not given or os.path.exists(str(given[0])) or has_scheme(given[0]):
        return
    at = next((n for n, one in enumerate(given) if is_dataset(str(one))), None)
    if at is not None:
        rest = [one for n, one in enumerate(given) if n != at]
        line = command(verb.__name__, given[at], *rest)
        raise UserError(f"the dataset comes first: {line}")


def _sources(source: list[str], output: str | None = None, **more: Any) -> dict[str, Any]:
    """What a command of several sources was given; a last one that ends in `.pano` is the dataset, as it was before."""
    if output is None and len(source) > 1 and source[-1].rstrip("/").endswith(".pano"):
        source, output = source[:-1], source[-1]
    return {"source": source[0] if len(source) == 1 else source, "output": output, **more}


def _is_list(p: inspect.Parameter) -> bool:
    return p.name in LISTS and p.annotation not in (str, str | None)


def _option(p: inspect.Parameter, verb: str = "") -> inspect.Parameter:
    """A parameter of a verb as an option of its command."""
    kind: Any = p.annotation
    if _is_list(p):
        kind = list[str] | None
    elif p.kind is not p.KEYWORD_ONLY and kind in (str | Sequence[str], str | Sequence[str] | None) and p.name in LAST:
        kind = list[str] if p.default is p.empty else list[str] | None
    elif p.name in PATHS or kind is Any:
        kind = str if p.default is p.empty else str | None
    if verb in SOURCES and p.name == "source":
        kind = list[str]
    elif verb in SOURCES and p.name == "output":
        p = p.replace(kind=p.KEYWORD_ONLY)
    settings: dict[str, Any] = {}
    if p.name in SHORT:
        settings["alias"] = SHORT[p.name]
    if (verb, p.name) in ALSO:
        settings["alias"] = ALSO[verb, p.name]
    if p.default is False or (p.default is None and kind == bool | None):
        settings["negative"] = ()
    return p.replace(annotation=Annotated[kind, Parameter(**settings)] if settings else kind)


def _values(key: str, given: Sequence[str] | None) -> Any:
    """Take `a,b` apart; a filter with options is a line of YAML: `length: {min_words: 3}`."""
    if key in ("caption_column", "emptied", "model", "option", "product", "set") or given is None:
        return given or ()
    if key == "steps":
        import yaml

        try:
            steps = [yaml.safe_load(value) if ":" in value else value for value in given]
        except yaml.YAMLError as error:
            raise UserError(
                f"--steps is not YAML: {yaml_fault(error)}; write for example 'length: {{min_words: 3}}'"
            ) from None
        return [name for step in steps for name in (step.split(",") if isinstance(step, str) else [step])]
    return several(given)


def _max_reject_rate(
    *,
    max_reject_rate: Annotated[
        float, Parameter(help="Exit with 3 when more than this share of a step's rows failed.")
    ] = 1.0,
) -> None: ...


def _as_json(*, json: Annotated[bool, Parameter(help="Print JSON, one object a line.")] = False) -> None: ...


def _show_settings(found: dict[str, str], json: bool = False) -> None:
    if json:
        print(plain_json(found))
        return
    for name, value in found.items():
        print(f"{name}: {value}")
    if not found:
        print("Nothing is set, and there are no vectors to search.")


def _show_path(path: Path) -> None:
    print(terminal(path))


def _show_export(written: dict[str, Any]) -> None:
    languages = ", ".join(f"{lang} {count:,}" for lang, count in written["languages"].items())
    counts = f"{many(written['images'], 'image')}, {many(written['captions'], 'caption')}"
    out = console()
    out.print(f"{counts} as {written['format']}: {safe(languages)}")
    if written["measured"]:
        out.print(f"Beside them: {measured_text(written['measured'])}.")
    if converted := written["converted"]:
        shown = " and ".join(f"{count:,} to {name}" for name, count in converted.items())
        out.print(f"Pictures that were converted: {shown}. --image original keeps the bytes.")
    if written["resized"]:
        out.print(f"Pictures that were made smaller: {written['resized']:,}.")
    if cleaned := written["cleaned"]:
        out.print(f"Pictures freed of where they were taken and by which device: {cleaned:,}.")
    if masked := written.get("masked"):
        out.print("Masked: " + ", ".join(f"{count:,} {name}" for name, count in masked.items()) + ".")
    if splits := written.get("splits"):
        out.print("Splits: " + ", ".join(f"{safe(name)} {count:,}" for name, count in splits.items()) + ".")
    if left_out := written["left_out"]:
        shown = ", ".join(f"{reason} {count:,}" for reason, count in left_out.items())
        out.print(f"[yellow]Pictures that are left out: {shown}.[/yellow]")
    show_notes(written.get("notes", ()))


def _show_pushed(pushed: Any) -> None:
    _show_export(pushed.exported)
    replaced = f"; {many(pushed.replaced, 'of an earlier push {is} gone')}" if pushed.replaced else ""
    console().print(
        safe(f"{many(pushed.files, 'file{s} {is}')} at {pushed.address} (commit {pushed.commit[:12]}{replaced})")
    )


def _show_picture(shown: Any, json: bool = False) -> None:
    if json:
        print(plain_json(shown))
    else:
        console().print(shown)


def _show_curation(result: Any, json: bool = False) -> int:
    out = console()
    if json:
        print(plain_json(result))
        return 3 if result.nothing_kept and not result.explained else 0
    if result.explained:
        out.print(result.explained)
        return 0
    for what in ("images", "captions"):
        dropped = getattr(result, f"{what}_dropped")
        kept, total = getattr(result, f"{what}_kept"), getattr(result, what)
        out.print(f"{kept:,} of {total:,} {what} kept")
        if what == "captions" and result.measured:
            out.print(f"  beside them {measured_text(result.measured)}")
        for reason, count in dropped.most_common():
            out.print(f"  {count:>8,}  {reason}")
    for reason, count in result.by_methods.most_common():
        out.print(f"  {count:>8,}  {reason} [dim](by a method; left as it is)[/dim]")
    for name, count in result.unscored.most_common():
        if name not in result.not_applied:
            out.print(f"  {count:>8,}  could not be judged by {name}; kept")
    for name in result.not_applied:
        out.print(f"  not applied: {name} [dim](nothing here that it could judge by)[/dim]")
    for name, found in result.statistics.items():
        out.print(f"  {name}: {safe(plain_json(found))}")
    if result.carried:
        out.print(f"{many(result.carried, 'caption{s} of copies {was}')} written beside the pictures that stay")
    if result.kept_apart:
        out.print(f"{many(result.kept_apart, 'picture{s} like others {was} kept')}: captions or pixels differ")
    for name, count in result.without_vectors.items():
        out.print(f"{count:,} kept images have no vectors {safe(name)} yet; search finds them after the next build")
    if result.nothing_kept:
        print(f"panoglot: {result.nothing_kept}; {result.mend}", file=sys.stderr)
        return 3
    return 0


def _show_training(result: Any) -> None:
    from rich.table import Table

    from panoglot.languages._tags import language_name

    out = console()
    if isinstance(result, list):
        table = Table(box=None, pad_edge=False)
        for name in ("method", "presets", "source", "what"):
            table.add_column(name)
        for row in result:
            table.add_row(row.name, ", ".join(row.presets), safe(row.source), safe(row.about))
        out.print(table)
        return
    if hasattr(result, "yaml"):
        print(result.yaml(), end="")
        return
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes one speaks
    languages = result.figures.get("languages", {})
    if languages:
        table = Table(box=None, pad_edge=False)
        table.add_column(f"text → {result.figures['pictures']:,} held-out pictures")
        for name in ("texts", "@1", "@5", "@10"):
            table.add_column(name, justify="right")
        for tag, found in list(languages.items())[:12]:
            values = [f"{found[f't2i@{k}'][0]:.3f}" for k in (1, 5, 10)]
            table.add_row(safe(language_name(tag)), f"{found['texts']:,}", *values)
        mean = result.figures["mean"]
        values = [f"{mean[f't2i@{k}']:.3f}" for k in (1, 5, 10)]
        table.add_row(f"mean of {len(languages)} languages", "", *values)
        out.print(table)
    loss = "" if result.loss is None else f", last loss {result.loss:.4g}"
    out.print(f"\n{result.run}: {result.row.method}, step {result.steps:,} of {result.total:,}{loss}")
    for note in result.notes:
        out.print(f"[yellow]{safe(note)}[/yellow]")
    out.print(f"Model card: {result.run / 'README.md'}   plots: {result.run / 'plot.svg'}")
    for folder in result.exports:
        out.print(safe(f"Exported: {folder} (its README.md says how it is read)"))
    if result.vectors:
        text = words_to_find(open_dataset(result.dataset))
        line = command("search", result.dataset, "--encoder", f"pano:{result.run}", text)
        out.print(safe(f"Search: {line}"))


def _show_methods(rows: Sequence[Any], json: bool = False) -> None:
    from panoglot.cli._methods import show_methods

    if json:
        for row in rows:
            print(plain_json(row))
    else:
        show_methods(rows, console(), safe)


def _show_models(rows: Sequence[Any], json: bool = False) -> None:
    from rich.table import Table

    if json:
        for row in rows:
            print(plain_json(row))
        return
    out = console()
    narrow = out.width < 160
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    if not narrow:
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        mark = "[green]●[/green]" if row.ready else "[dim]○[/dim]"
        name, roles = f"[bold]{safe(row.name)}[/bold]", ", ".join(row.roles)
        about = safe(row.about) + ("" if row.ready or not row.install else f"\n[yellow]{safe(row.install)}[/yellow]")
        cells = [f"{name}  [dim]{roles}[/dim]\n{about}"] if narrow else [name, roles, about]
        table.add_row(mark, *cells)
    out.print(table)
    out.print("\n● ready   ○ not installed")


def _show_doctor(findings: Sequence[Any], json: bool = False) -> int:
    out = console()
    if json:
        for finding in findings:
            print(plain_json(finding))
    else:
        for finding in findings:
            mark = {"ok": "[green]●[/green]", "missing": "[dim]○[/dim]", "bad": "[red]●[/red]"}[finding.state]
            fix = f"  [yellow]{safe(finding.fix)}[/yellow]" if finding.fix else ""
            out.print(f"{mark} {safe(finding.what)}: {safe(finding.found)}{fix}")
    return 1 if any(finding.state == "bad" for finding in findings) else 0


def _as_result(
    *,
    json: Annotated[bool, Parameter(help="Print JSON.", negative=())] = False,
    per_item: Annotated[bool, Parameter(help="With every item's value.", negative=())] = False,
    output: Annotated[str | None, Parameter(alias="-o", help="Write the JSON to this file too.")] = None,
    plot: Annotated[str | None, Parameter(help="Draw a figure: FILE.svg, FILE.png or FILE.pdf.")] = None,
) -> None: ...


def _as_comparison(
    *,
    json: Annotated[bool, Parameter(help="Print JSON.", negative=())] = False,
    output: Annotated[str | None, Parameter(alias="-o", help="Write the JSON to this file too.")] = None,
    plot: Annotated[str | None, Parameter(help="Draw a figure: FILE.svg, FILE.png or FILE.pdf.")] = None,
) -> None: ...


def _show_result(
    result: Any, json: bool = False, per_item: bool = False, output: str | None = None, plot: str | None = None
) -> int:
    options = {"per_item": per_item} if "per_item" in inspect.signature(result.to_json).parameters else {}
    if output:
        try:
            Path(output).write_text(result.to_json(**options) + "\n", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UserError(f"{output} cannot be written ({error.strerror}).") from None
    if plot:
        from panoglot.metrics._plot import plot as draw

        draw(result, plot)
    if json:
        print(json_line(result.to_json(**options)))
    else:
        console().print(result.table(), markup=False)
    if getattr(result, "scored", True):
        return 0
    print("panoglot: nothing could be scored; the notes say why.", file=sys.stderr)
    return 3


#: Command to (module, verb, what prints it, options of the printing).
VERBS: dict[str, tuple[str, Callable[..., Any], Callable[..., Any] | None]] = {
    "build": ("panoglot.recipes:build", show_run, _max_reject_rate),
    "ingest": ("panoglot.recipes:ingest", show_run, _max_reject_rate),
    "retry": ("panoglot.recipes:retry", show_run, _max_reject_rate),
    "caption": ("panoglot.recipes:caption", show_captioning, _max_reject_rate),
    "translate": ("panoglot.recipes:translate", show_captioning, _max_reject_rate),
    "curate": ("panoglot.curation:curate", _show_curation, _as_json),
    "export": ("panoglot.exporting:export", _show_export, None),
    "push": ("panoglot.exporting:push", _show_pushed, None),
    "info": ("panoglot.handling:info", show_info, _as_json),
    "merge": ("panoglot.handling:merge", show_copied, None),
    "subset": ("panoglot.handling:subset", show_copied, None),
    "split": ("panoglot.handling:split", show_division, None),
    "mix": ("panoglot.handling:mix", show_plan, None),
    "plan_languages": ("panoglot.handling:plan_languages", show_plan, None),
    "search": ("panoglot.retrieval:search", show_hits, as_hits),
    "index": ("panoglot.retrieval:index", show_index, None),
    "edit": ("panoglot.retrieval:edit", show_edit, _as_json),
    "forget": ("panoglot.retrieval:forget", show_forgotten, _as_json),
    "serve": ("panoglot.web:serve", lambda _: None, None),
    "settings": ("panoglot.recipes:settings", _show_settings, _as_json),
    "train": ("panoglot.training:train", _show_training, None),
    "show": ("panoglot.reporting:show", _show_picture, _as_json),
    "report": ("panoglot.reporting:report", _show_path, None),
    "compare": ("panoglot.evaluate._commands:compare", _show_result, _as_comparison),
    **{
        f"evaluate_{name}": (f"panoglot.evaluate._commands:{function}", _show_result, _as_result)
        for name, (function, _) in EVALUATE.items()
    },
    "methods": ("panoglot.inventory:methods", _show_methods, _as_json),
    "labels": ("panoglot.inventory:labels", show_labels, _as_json),
    "models": ("panoglot.inventory:models", _show_models, _as_json),
    "doctor": ("panoglot.inventory:doctor", _show_doctor, _as_json),
}


def __getattr__(name: str) -> Any:
    if name not in VERBS:
        raise AttributeError(name)
    place, show, extra = VERBS[name]
    module, _, function = place.partition(":")
    return _command(getattr(importlib.import_module(module), function), show, extra)
