"""Which options a command reads, by what it is asked to do; others are refused, messages speak of the command line."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from panoglot.asking._made import data_hash, finish, recording
from panoglot.errors import UserError, did_you_mean
from panoglot.evaluate._command_list import BENCHMARKS, METRICS
from panoglot.metrics._results import ResultSet

__all__ = ["check_options", "command", "listed", "plain_name", "spoken"]

Verb = TypeVar("Verb", bound=Callable[..., Any])

#: Options (and arguments) that name files or folders of data.
_DATA = frozenset(
    """preds refs data labels annotations rankings human texts owners english subset objects vocabulary battles results
    source images detections answers a b scores templates""".split()
)
#: Arguments without a name that some tasks do not read.
_OPTIONAL = frozenset(["refs", "rankings"])
#: Of `composed`: what only a search reads, what only the scoring of rankings reads.
_SEARCH = frozenset(
    "images encoder method weight texts lang split submission on_error cache model prices max_cost".split()
)
_SCORE = frozenset(["rankings", "subset"])
#: Of `choice`: what only asking reads.
_ASK = frozenset("model images cache prices max_cost limit".split())
_WITHOUT = {
    "captions": "refs metrics model lang on_error confidence",
    "retrieval vectors": "texts owners lang metrics ties on_error confidence",
    "retrieval dataset": "encoder lang metrics ties confidence cache",
    "agreement": "lang refs groups statistic images encoder parser tokenizer vocabulary confidence cache",
    "agreement scores": "statistic groups confidence",
    "agreement benchmark scores": "confidence",
    "agreement detailcaps": "lang statistic groups images encoder parser tokenizer confidence cache",
}


def listed(values: str | Sequence[str] | None) -> list[str]:
    """Values given again and again, or with commas or spaces between them."""
    given = [values] if isinstance(values, str) else list(values or ())
    return [one for value in given for one in value.replace(",", " ").split()]


def plain_name(name: str) -> str:
    """A metric or benchmark as people write it, as we do: `CIDEr`, `BLEU_4`, `XTD10`."""
    return name.lower().replace("_", "-")


def _metrics_need(names: Iterable[str]) -> list[str]:
    found = []
    for name in map(plain_name, names):
        if name in METRICS:
            metric = METRICS[name]
            needs = {"refs": "refs references", "encoder": "encoder cache", "objects": "objects vocabulary refs"}
            found += [one for need in metric.needs.split() for one in needs.get(need, need).split()]
            found += ["tokenizer"] if metric.tokens else []
    return found


def _reads(verb: str, given: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """What the command is asked to do, in words, and the options that it reads then; None: it reads them all."""
    benchmark = plain_name(given["benchmark"]) if isinstance(given.get("benchmark"), str) else None
    if verb == "retrieval":
        source = str(given.get("source", ""))
        if benchmark is None and plain_name(source) in BENCHMARKS and not Path(source).exists():
            benchmark = plain_name(source)
        if benchmark is None:
            kind = "vectors" if source.endswith(".npy") else "dataset"
            said = {"vectors": "retrieval with vectors (.npy)", "dataset": "retrieval on a dataset"}
            return said[kind], _WITHOUT[f"retrieval {kind}"].split()
    if verb == "zeroshot":
        benchmark = benchmark or "folders"
    if verb == "agreement":
        metrics = listed(given.get("metric"))
        stored = not any(plain_name(name) in METRICS or name == "judge" for name in metrics)
        if benchmark is None:
            mode = "agreement scores" if stored else "agreement"
            return ("agreement of stored scores" if stored else "agreement"), _WITHOUT[mode].split()
        if stored:
            extra = ["statistic", "groups"] if benchmark == "detailcaps" else []
            return f"'{benchmark}' with stored scores", [*_WITHOUT["agreement benchmark scores"].split(), *extra]
        if benchmark == "detailcaps":
            return "'detailcaps'", _WITHOUT["agreement detailcaps"].split()
    if verb == "captions" and benchmark is None:
        names = listed(given.get("metrics")) or ["cider"]
        if any(plain_name(name) not in METRICS for name in names):
            return None  # the command says which
        return ", ".join(names), [*_WITHOUT["captions"].split(), *_metrics_need(names)]
    if verb == "arena":
        elo = given.get("rating", "elo") == "elo"
        read = ["rating", "exclude", "resamples", "seed", *(["k"] if elo else [])]
        return f"the rating '{given.get('rating')}'", read
    if benchmark not in BENCHMARKS:
        return None
    read = BENCHMARKS[benchmark].options.split()
    if verb == "composed":
        out = _SCORE if given.get("encoder") is not None else _SEARCH
        weighed = given.get("method", "sum") == "sum"
        read = [name for name in read if name not in out and (name != "weight" or weighed)]
        return f"'{benchmark}' with {'an encoder' if out is _SCORE else 'rankings'}", read
    if verb == "choice" and given.get("answers") is not None:
        return f"'{benchmark}' with stored answers", [name for name in read if name not in _ASK]
    return f"'{benchmark}'", read


def check_options(verb: str, given: Mapping[str, Any], signature: inspect.Signature) -> None:
    """Refuse options that would change nothing.

    Args:
        verb: function of the command.
        given: options by name, those that were given.
        signature: of the function.

    Raises:
        UserError: naming them, and what is read instead.
    """
    found = _reads(verb, given)
    if found is None:
        return
    what, read = found
    positional = {p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY}
    allowed = {*read, *(positional - _OPTIONAL), "benchmark"}
    odd = [name for name, value in given.items() if name not in allowed and value not in (None, (), [], "")]
    if odd:
        options = [f"--{name.replace('_', '-')}" for name in odd]
        can = [f"--{name.replace('_', '-')}" for name in dict.fromkeys(read) if name not in positional]
        hint = did_you_mean(options[0], [name for name in can if name[2:].replace("-", "_") not in given])
        raise UserError(f"{what} does not take {', '.join(options)}: it would change nothing.{hint}")


def spoken(text: str, names: Iterable[str]) -> str:
    """A message of a function of Python in the words of the command line.

    >>> spoken("leave it unscored with on_error='null', or give lang=.", ["on_error", "lang"])
    'leave it unscored with --on-error null, or give --lang.'
    """
    known = {name: f"--{name.replace('_', '-')}" for name in names}

    def option(found: re.Match[str]) -> str:
        if found[1] not in known:
            return found[0]
        value = found[2] if found[2] is not None else found[3]
        return f"{known[found[1]]} {value}" if value else known[found[1]]

    return re.sub(r"(?<![\w.\-/?&'\"])([a-z]+(?:_[a-z]+)*)=(?:'([^']*)'|([\w.\-]*\w))?", option, text)


def command(verb: Verb) -> Verb:
    """Make a function a command: options that it would not read are refused, its result says what it was made with."""
    signature = inspect.signature(verb)

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = dict(signature.bind(*args, **kwargs).arguments)
        try:
            check_options(verb.__name__, given, signature)
            with recording() as met:
                result = verb(*args, **kwargs)
        except UserError as error:
            raise type(error)(spoken(str(error), signature.parameters)) from None
        return _with_made(result, finish(met, verb.__name__, *_given(given)))

    return run  # type: ignore[return-value]


def _given(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Options as they were given, and the hash of every file among them."""
    options: dict[str, Any] = {}
    data: dict[str, str] = {}
    for name, value in given.items():
        several = list(value) if isinstance(value, list | tuple) else [value]
        if value is None or not all(isinstance(one, str | int | float | bool | os.PathLike) for one in several):
            continue
        options[name] = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in several]
        options[name] = options[name] if isinstance(value, list | tuple) else options[name][0]
        for one in several if name in _DATA else ():
            mark = data_hash(str(one)) if isinstance(one, str | os.PathLike) else ""
            if mark:
                data[Path(one).name or str(one)] = mark
    return options, data


def _with_made(result: Any, made: Mapping[str, Any]) -> Any:
    if isinstance(result, ResultSet):
        result.made = dict(made)
        result.say_why_null()
    elif is_dataclass(result) and any(one.name == "made" for one in fields(result)):
        return replace(result, made=dict(made))  # type: ignore[type-var]
    return result
