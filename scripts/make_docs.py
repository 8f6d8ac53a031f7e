"""Write the pages of docs/ that come from the code: methods.md, metrics.md, models.md, commands.md.

python scripts/make_docs.py            writes them
python scripts/make_docs.py --check    writes nothing; exit code 1 when a page is stale
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTE = "<!-- Written by scripts/make_docs.py from the code; do not edit. -->\n\n"
ROOMS = {
    "caption": "Captioning",
    "curate": "Curation",
    "translate": "Translation",
    "train": "Training",
    "search": "Search",
    "evaluate": "Evaluation",
}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in lines) + "\n"


def methods_page() -> str:
    """The methods of the 67 papers, room by room, our own beside them, and what was shown of each."""
    from panoglot import methods
    from panoglot.inventory import LETTERS

    rows = methods()
    papers = [row for row in rows if row.paper]
    here, whole = sum(row.done for row in papers), sum(row.complete for row in papers)
    text = f"""# Methods

Panoglot gathers the methods of {len(papers)} published papers behind one contract. **{here} of {len(papers)}** are
here by evidence, {whole} of them complete; the others are planned. `panoglot methods` prints this table for the version
that you have, `panoglot methods NAME` one method with its options, its models and the tests that show it.
[How to add a method](add-a-method.md).

A method is here when worked cases of its paper are tests that ran and passed, never because a file exists. Four letters
say how far it was shown:

"""
    text += "".join(f"- **{letter}** {meaning}.\n" for letter, meaning in LETTERS.items())
    text += """
● is complete (C and V), ◐ is here in part (V): what was shown can be used, and parts of the paper are missing or were
not shown. ○ is planned; where it has letters, they are of the paper's benchmark, which is here without the method. A
dot in place of a letter says that nothing was shown, not that it is wrong.

The tests of every letter are named [below](#what-was-shown). The letters come from a file that a run of the tests
writes (`scripts/make_evidence.py`); every full run of the tests fails where the file says something else than what
passed. A test that was skipped, for want of data or a package, is no evidence.

"""
    for room, title in ROOMS.items():
        some = [row for row in rows if row.room == room and row.paper]
        text += f"## {title}: {sum(row.done for row in some)} of {len(some)}\n\n"
        cells = []
        for row in some:
            paper, _, about = row.title.partition(": ")
            name = f"[`{row.name}`](#{row.name})" if row.tests else f"`{row.name}`"
            cells.append([_mark(row), f"`{row.letters}`", name, paper, about])
        text += _table(["here", "shown", "method", "paper", "what it does"], cells) + "\n"
    own = [[_mark(row), f"`{row.name}`", row.room, row.title] for row in rows if not row.paper]
    text += "## Beside the papers\n\n" + _table(["here", "method", "room", "what it does"], own)
    return text + "\n## What was shown\n" + "".join(_shown(row) for row in papers if row.tests)


def _mark(row: Any) -> str:
    return "●" if row.complete else "◐" if row.done else "○"


def _shown(row: Any) -> str:
    """The cases of a paper, with their tests."""
    text = f"\n### {row.name}\n\n"
    text += f"{row.title.partition(': ')[0]}{f', {row.source}' if row.source else ''}.\n\n"
    cells = [
        [letter, one.case, f"`{one.test.removeprefix('tests/')}`"] for letter, some in row.tests.items() for one in some
    ]
    return text + _table(["shows", "case", "test"], cells)


def models_page() -> str:
    """The models by name, and the roles that a model can fill."""
    from panoglot import models
    from panoglot.providers.roles import ROLES

    rows = [[f"`{m.name}`", ", ".join(m.roles), m.about, f"`{m.install}`" if m.install else ""] for m in models()]
    text = """# Models

A model is named `provider:name`, and options follow a question mark: `openai:URL#MODEL?concurrency=64`. The command
`panoglot models` prints this table and marks what can be loaded on your machine.
[How to plug in a model](plug-a-model.md).

"""
    text += _table(["model", "roles", "what it is", "when it is not installed"], rows)
    text += "\n## Roles\n\nA role says what a model can be asked. A model may fill several.\n\n"
    roles = []
    for name, role in ROLES.items():
        protocol, calls = role.protocol, [question.method for question in role.questions]
        first = (inspect.getdoc(protocol) or "").partition("\n\n")[0]
        roles.append([f"`{name}`", f"`{protocol.__name__}`", ", ".join(f"`{call}`" for call in calls), first])
    return text + _table(["role", "protocol", "methods", "what it does"], roles)


def commands_page() -> str:
    """The verbs: as commands and as Python functions."""
    from panoglot.cli import COMMANDS
    from panoglot.cli import _commands as shown
    from panoglot.evaluate._names import COMMANDS as JUDGING
    from panoglot.extensions import arguments_of

    every = {name: (target, line) for name, (target, line, _) in COMMANDS.items()}
    every |= {f"evaluate {name}": (f"evaluate_{name}", line) for name, (_, line) in JUDGING.items()}
    text = """# Commands

Every command is also a Python function with the same name and options: `panoglot build photos -o photos.pano` is
`panoglot.build("photos", "photos.pano")`. Options that take several values may be given again and again, or with
commas.

Exit codes: 0 done, also when some rows were rejected; 1 a bug; 2 a mistake that you can mend, said in one line; 3
nothing came of the run (all failed, or all was dropped), or more than `--max-reject-rate` of a step's rows failed; 130
interrupted; 143 terminated.

"""
    text += _table(
        ["command", "what it does"],
        [[f"[`{name}`](#{name.replace(' ', '-')})", line] for name, (_, line) in every.items()],
    )
    for name, (target, _) in every.items():
        command = getattr(shown, target)
        about = (inspect.getdoc(command) or "").partition("\n\nArgs:")[0].partition("\n\nRaises:")[0]
        text += f"\n## {name}\n\n{about.partition('Returns:')[0].strip()}\n\n"
        said = arguments_of(command)
        rows = []
        for p in inspect.signature(command).parameters.values():
            given = p.kind is not p.KEYWORD_ONLY
            option = f"--{p.name.replace('_', '-')}"
            form = f"`{p.name.upper()}`" if p.default is p.empty and given else f"`{option}`"
            if p.name in shown.SHORT:
                form += f", `{shown.SHORT[p.name]}`"
            if (name, p.name) in shown.ALSO:
                form += f", `{shown.ALSO[name, p.name]}`"
            if p.default is True:
                form += f", `--no-{option[2:]}`"
            if given and p.default is not p.empty:
                form += f", or `{p.name.upper()}`"
            default = "required" if p.default is p.empty else "" if p.default in (None, (), False) else f"`{p.default}`"
            rows.append([form, said.get(p.name) or _help(p), default])
        text += _table(["option", "meaning", "default"], rows) if rows else ""
    return text


def metrics_page() -> str:
    """The metrics of captions, and the benchmarks, of what they declare."""
    from panoglot.evaluate._declare import find_benchmark
    from panoglot.extensions import own_entries
    from panoglot.metrics._declare import find_metric

    text = """# Metrics and benchmarks

`panoglot evaluate --list` prints the names, with those of other packages that you have installed.
[How to judge](evaluate.md). [How to add a metric](add-a-metric.md), [a benchmark](add-a-benchmark.md).

## Metrics of captions

`panoglot evaluate captions PREDS --metrics NAME,NAME`; in Python `panoglot.evaluate.FUNCTION(preds, refs)`.

"""
    common = {
        "preds", "refs", "images", "texts", "bags", "objects", "encoder", "parser", "lang", "tokenizer", "ids",
        "references", "on_error", "confidence", "resamples", "seed", "vocabulary", "groups", "scorer", "nouns",
        "prefix", "frequencies", "stop_words", "resources",
    }  # fmt: skip
    rows = []
    for name in sorted(own_entries("panoglot.metrics")):
        metric = find_metric(name)
        function = metric.function or metric.run.__name__
        parameters = inspect.signature(metric.run).parameters
        options = ", ".join(
            f"`{p.name}={metric.fixed.get(p.name, p.default)}`" for p in parameters.values() if p.name not in common
        )
        words = "the language's" if "tokenizer" in parameters else ""
        needs = ", ".join([*metric.needs.split(), *(f"maybe {one}" for one in metric.may.split())])
        rows.append(
            [f"`{name}`", f"`{function}`", metric.about, needs, options, words, metric.languages, metric.source,
             metric.parity]
        )  # fmt: skip
    head = ["metric", "function", "definition", "needs", "options", "tokeniser", "languages", "source"]
    text += _table([*head, "against the source"], rows)
    text += """
More in Python: `dcscore`, `finecapeval`, `self_retrieval`, `pope`, `geneval`, `dpg`, `cross_lingual_consistency`,
`switching_similarity`, `dense_map`, `captions_at_iou`, `foil`, `hat`, and `localisation` (does a metric that scores
words point at the wrong one?), which has no command, for no metric here scores words.

## Benchmarks

Nothing is shipped or downloaded: get the files where they are, and mind their licences.

"""
    table = []
    for entry in sorted(own_entries("panoglot.benchmarks")):
        row = find_benchmark(*entry.split(".", 1))
        options = ", ".join(f"`--{name.replace('_', '-')}`" for name in row.options())
        table.append([f"`{row.name}`", f"`evaluate {row.command}`", row.about, row.files, options, row.source])
    text += _table(["benchmark", "command", "what it measures", "what it takes", "options", "where from"], table)
    text += """
## Protocols

`--protocol NAME` sets all of a paper's settings. Another model, or a list that was not given, is noted in the result.

"""
    table = []
    for entry in sorted(own_entries("panoglot.benchmarks")):
        row = find_benchmark(*entry.split(".", 1))
        for name, one in row.protocols.items():
            given = {**one.options, **one.models, **{key: f"from {place}" for key, place in one.files.items()}}
            settings = "; ".join(f"`--{key.replace('_', '-')}` {value}" for key, value in given.items())
            table.append([f"`{row.name}`", f"`{name}`", settings, one.published, "; ".join(one.unverified)])
    return text + _table(["benchmark", "protocol", "sets", "published figures reproduced", "not confirmed"], table)


def _help(parameter: inspect.Parameter) -> str:
    """The help that an option brings in its annotation."""
    return next((m.help for m in getattr(parameter.annotation, "__metadata__", ()) if getattr(m, "help", None)), "")


PAGES: dict[str, Callable[[], str]] = {
    "methods": methods_page,
    "metrics": metrics_page,
    "models": models_page,
    "commands": commands_page,
}


def page(name: str) -> str:
    """Return the text of a page as the code has it now."""
    return NOTE + PAGES[name]()


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"only these of {', '.join(PAGES)}")
    options = parser.parse_args()
    stale = []
    for name in options.pages or PAGES:
        if name not in PAGES:
            parser.error(f"there is no page '{name}': {', '.join(PAGES)}")
        path, text = DOCS / f"{name}.md", page(name)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(f"docs/{name}.md")
            if not options.check:
                path.write_text(text, encoding="utf-8")
    if stale:
        print(f"{'stale' if options.check else 'written'}: {', '.join(stale)}")
    if stale and options.check:
        print("run: python scripts/make_docs.py", file=sys.stderr)
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
