"""What a first command line gets wrong, put right where it is clear what was meant, and said where it is not."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from panoglot.errors import command, did_you_mean

__all__ = ["mistake", "spelt"]

#: Words that people try to the commands that do it.
_MEANT = {
    "list": ("methods", "models"),
    "ls": ("methods", "models"),
    "describe": ("caption",),
    "create": ("build",),
    "make": ("build",),
    "run": ("build",),
    "import": ("ingest",),
    "read": ("ingest",),
    "filter": ("curate",),
    "clean": ("curate",),
    "dedup": ("curate",),
    "query": ("search",),
    "find": ("search",),
    "view": ("show", "report"),
    "info": ("show", "report"),
    "stats": ("report",),
    "open": ("report",),
    "resume": ("build",),
    "save": ("export",),
    "convert": ("export",),
    "eval": ("evaluate",),
    "judge": ("evaluate",),
    "score": ("evaluate",),
    "set": ("settings",),
    "config": ("settings",),
    "check": ("doctor",),
    "install": ("doctor",),
}
#: A text that begins with what must not be there: `-zoo`, `-"red bird" cat`.
_WITHOUT = re.compile(r"-(?:[^\W_]{2}|[\"“„«]|\w+ )")
#: Options of `evaluate` whose values are names: they are written in lower case.
_NAMES = ("--metrics", "--benchmark")


def spelt(tokens: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Write commands, metrics and benchmarks as they are spelt here, in whatever case they came.

    >>> spelt(["Evaluate", "captions", "P.jsonl", "--metrics", "CIDEr,R@1"], ["evaluate"])
    ['evaluate', 'captions', 'P.jsonl', '--metrics', 'cider,recall@1']
    >>> spelt(["evaluate", "composed", "--benchmark=CIRR"], ["evaluate"])
    ['evaluate', 'composed', '--benchmark=cirr']

    What must not be there is no option:

    >>> spelt(["search", "X.pano", "-zoo bird", "-k", "3"], ["search"])
    ['search', 'X.pano', ' -zoo bird', '-k', '3']

    Options of earlier versions go on:

    >>> spelt(["build", "photos", "--languages", "de"], ["build"])
    ['build', 'photos', '--lang', 'de']
    """
    found = [re.sub(r"^--(languages|langs)(?==|$)", "--lang", token) for token in tokens]
    if found and found[0] not in commands and found[0].casefold() in commands:
        found[0] = found[0].casefold()
    if found[:1] == ["search"]:  # what must not be there begins with a minus, and is no option
        found = [f" {token}" if _WITHOUT.match(token) else token for token in found]
    if found[:1] != ["evaluate"]:
        return found
    if len(found) > 1 and not found[1].startswith("-") and not os.path.exists(found[1]):
        found[1] = found[1].casefold()
    for n, token in enumerate(found):
        option, equals, value = token.partition("=")
        if option not in _NAMES:
            continue
        if equals:
            found[n] = f"{option}={_name(value)}"
        elif n + 1 < len(found):
            found[n + 1] = _name(found[n + 1])
    return found


def _name(value: str) -> str:
    """Names as they are spelt here: `CIDEr` is `cider`, `R@5` is `recall@5`, `ROUGE_L` is `rouge-l`."""
    return re.sub(r"(?<![^,\s])r@(?=\d)", "recall@", value.casefold()).replace("_", "-")


def mistake(tokens: Sequence[str], commands: Sequence[str]) -> str | None:
    """Say what was meant by a first word that is no command; None when it is one.

    >>> mistake(["list"], ["methods", "models"])
    "there is no command 'list'. Did you mean: panoglot methods, or: panoglot models?"
    """
    word = tokens[0] if tokens else "-"
    if word == "evaluate":
        return _no_judge(tokens)
    if word == "search":
        return _loose_words(tokens)
    if word.startswith("-") or word in commands:
        return None
    said = f"there is no command '{word}'."
    from panoglot.table import is_dataset

    if is_dataset(word):
        what = " ".join(tokens[1:])
        look = command("search", word, what) if what and "--" not in what else command("report", word)
        return f"{said} It is a dataset; did you mean: {look}?"
    if os.path.exists(word) or any(c in word for c in "*/\\"):
        return f"{said} Did you mean: {command('build', *tokens)}?"
    meant = [command(one, *(tokens[1:] if one not in ("methods", "models") else ())) for one in _MEANT.get(word, ())]
    return f"{said} Did you mean: {', or: '.join(meant)}?" if meant else said + did_you_mean(word, commands)


def _loose_words(tokens: Sequence[str]) -> str | None:
    """The same of words after the text of a search that begin with a minus."""
    loose = [n for n, token in enumerate(tokens) if n > 2 and token[:2] == " -" and tokens[n - 1][:2] != "--"]
    if not loose or tokens[2].startswith("--"):
        return None
    words = [tokens[2].strip(), *(tokens[n].strip() for n in loose)]
    rest = [token for n, token in enumerate(tokens) if n > 2 and n not in loose and token != "--"]
    return f"the whole text stands in one pair of quotes: {command('search', tokens[1], ' '.join(words), *rest)}"


def _no_judge(tokens: Sequence[str]) -> str | None:
    """The same of the word after `evaluate`: the name of a metric or benchmark is often tried there."""
    from panoglot.evaluate._names import COMMANDS
    from panoglot.extensions import find_entries

    word = tokens[1] if len(tokens) > 1 else "-"
    if word.startswith("-") or word in COMMANDS:
        return None
    said, name = f"there is no command 'evaluate {word}'.", _name(word)
    if name in find_entries("panoglot.metrics"):
        return f"{said} It is a metric: panoglot evaluate captions PREDS.jsonl --refs REFS.jsonl --metrics {name}"
    for entry in find_entries("panoglot.benchmarks"):
        verb, _, benchmark = entry.partition(".")
        if benchmark == name:
            return f"{said} It is a benchmark: panoglot evaluate {verb} --benchmark {name} --help"
    if re.fullmatch(r"recall@\d+|mrr|ndcg(@\d+)?|map(@\d+)?", name):
        return f"{said} It is a metric: panoglot evaluate retrieval X.pano --metrics {name}"
    return said + did_you_mean(word, COMMANDS)
