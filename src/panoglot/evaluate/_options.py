"""Options that several benchmarks share, the words of messages, and what is refused because it would change nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from panoglot.checks import several
from panoglot.errors import UserError, did_you_mean

__all__ = ["SHARED", "Option", "listed", "plain_name", "refuse_others", "spoken"]


@dataclass(frozen=True)
class Option:
    """An option that means the same wherever it stands.

    Attributes:
        about: what it means.
        data: it names a file or folder of data: results record its hash, and its value is never taken apart.
        model: role of the model that it names, which arrives loaded; empty: it names none.
        implies: options that loading it reads.
        kind: its type, where no function says it.
        words: what a way to run that it asks for is called: "with stored answers".
    """

    about: str
    data: bool = False
    model: str = ""
    implies: tuple[str, ...] = ()
    words: str = ""
    kind: type = str


_PAID = ("cache", "prices", "max_cost")
#: Options by name. A benchmark's own options are described by its docstring.
SHARED = {
    "a": Option("", data=True),
    "answers": Option(
        "file of stored answers instead of a model: a list or lines in the order of the questions, or by id "
        "(`{id: answer}`, rows of `id, answer`); `commute`: rows of `right, wrong`, log-probabilities.",
        data=True, words="stored answers",
    ),
    "annotations": Option(
        "the benchmark's annotation file (`fashion-iq`: one a category); with an encoder its folder.", data=True
    ),
    "b": Option("", data=True),
    "battles": Option("", data=True),
    "cache": Option("folder where vectors and a model's answers are kept between runs, or `off`."),
    "confidence": Option("level of bootstrap intervals, for example 0.95."),
    "data": Option("the benchmark's file or folder: docs/metrics.md says which.", data=True),
    "detections": Option(
        "what a detector found: JSONL `image, boxes: [{name, score, box[, color]}], width, height`.",
        data=True, words="stored detections",
    ),
    "detector": Option("model name of a detector.", model="detector", words="a detector"),
    "encoder": Option(
        "model name of an encoder; without it, on a dataset, the one that made its vectors. What it encoded once is "
        "kept.",
        model="encoder", implies=("cache",), words="an encoder",
    ),
    "english": Option("", data=True),
    "human": Option("`{id: score}`, or JSONL `id, human_score` (or `score`), with `caption` for named metrics; with "
                    "`benchmark` that benchmark's file.", data=True),
    "images": Option("folder of the pictures, which are found by name or id.", data=True),
    "judge": Option("model name of a generator that sees pictures.", model="generator", implies=_PAID),
    "labels": Option("", data=True),
    "lang": Option("language, or languages with commas; `all` where there is a file for each."),
    "max_cost": Option("most US dollars that this run may cost; what was answered is kept.", kind=float),
    "metrics": Option("names, with commas between them; the usual ones without."),
    "model": Option("model name: a generator, or an encoder for `mvl-sib`.", model="generator", implies=_PAID),
    "objects": Option(
        "what is in each picture, for CHAIR: `{id: [name, …]}` or COCO's instances.", data=True
    ),
    "on_error": Option("what cannot be read or scored: `raise`, `null`, or (captions) `score`."),
    "owners": Option("", data=True),
    "parser": Option("model name of a caption parser (`embedded:parser`, `hf:FOLDER`).", model="parser"),
    "preds": Option(
        "JSONL, COCO results, `{id: caption}`, lines of text (`.txt`, `.gz`), or a dataset.", data=True
    ),
    "prices": Option("price table (YAML) for models that cost."),
    "protocol": Option("`paper` sets everything as its paper does; results note what differs (docs/metrics.md)."),
    "rankings": Option(
        "submission file; `fashion-iq`: one a category, named `…dress…`, `…shirt…`, `…toptee…`.", data=True,
        words="rankings",
    ),
    "refs": Option(
        "COCO annotations, `{id: [reference, …]}`, JSONL, lines of text, or a dataset; given again, references are "
        "joined. Without it the references that stand in the rows count.", data=True,
    ),
    "results": Option("", data=True),
    "scores": Option("", data=True, words="stored scores"),
    "score": Option(
        "", model="metrics", implies=("lang", "images", "encoder", "parser", "tokenizer", "cache"), words=""
    ),
    "senses": Option("", data=True),
    "source": Option(
        "a dataset, image vectors `.npy` `[I, dim]`, a benchmark's name (with `data`), or its captions (with "
        "`benchmark`).", data=True,
    ),
    "stop_words": Option("", data=True),
    "subset": Option("", data=True),
    "templates": Option("", data=True),
    "texts": Option("", data=True),
    "tokenizer": Option(
        "`ptb` (`coco`: what the COCO tools do), `ptb-punct`, `words`, `words-elided`, `chars`, `clusters`, `jieba`, "
        "`mecab`, `thai-words`, `13a`, `intl`, `zh`, `flores200`, `whitespace`, or `xm3600` (what papers on XM3600 "
        "do); the language's own without it. Results name it."
    ),
    "vocabulary": Option("", data=True),
}  # fmt: skip


def listed(values: str | Sequence[str] | None) -> list[str]:
    """Values given again and again, or with commas or spaces between them."""
    return [*several(values)]


def plain_name(name: str) -> str:
    """A metric or benchmark as people write it, as we do: `CIDEr`, `BLEU_4`, `XTD10`."""
    return name.lower().replace("_", "-")


def refuse_others(what: str, given: Mapping[str, Any], read: Sequence[str]) -> None:
    """Refuse options that would change nothing.

    Args:
        what: is asked for, in words.
        given: options by name, those that were given.
        read: options that are read.

    Raises:
        UserError: naming them, and what is read instead.
    """
    odd = [name for name, value in given.items() if name not in read and value not in (None, (), [], "")]
    if odd:
        options = [f"--{name.replace('_', '-')}" for name in odd]
        can = [f"--{name.replace('_', '-')}" for name in dict.fromkeys(read) if name not in given]
        hint = did_you_mean(options[0], can)
        raise UserError(f"{what} does not take {', '.join(options)}: it would change nothing.{hint}")


def spoken(text: str, names: Iterable[str]) -> str:
    """A message of a function of Python in the words of the command line.

    >>> spoken("leave it unscored with on_error='null', or give lang=.", ["on_error", "lang"])
    'leave it unscored with --on-error null, or give --lang.'
    >>> spoken("lang=. x=1 --on-error=null", ["lang", "on_error"])
    '--lang. x=1 --on-error=null'
    """
    known = {name: f"--{name.replace('_', '-')}" for name in names}

    def option(found: re.Match[str]) -> str:
        if found[1] not in known:
            return found[0]
        value = found[2] if found[2] is not None else found[3]
        return f"{known[found[1]]} {value}" if value else known[found[1]]

    return re.sub(r"(?<![\w.\-/?&'\"])([a-z]+(?:_[a-z]+)*)=(?:'([^']*)'|([\w.\-]*\w))?", option, text)
