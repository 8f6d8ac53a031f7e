"""`panoglot evaluate captions` without a benchmark: metrics by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any

from panoglot.evaluate._declare import Way
from panoglot.evaluate._options import listed, plain_name
from panoglot.evaluate._read import read_predictions, read_references
from panoglot.evaluate._run import Choice, by_benchmark
from panoglot.evaluate._score import Scorer
from panoglot.formats._json import read_json
from panoglot.metrics._declare import find_metric, metric_names
from panoglot.metrics._results import ResultSet

__all__ = ["MetricsWay", "choose"]


def _run(
    preds: str,
    refs: Sequence[str] = (),
    *,
    metrics: Sequence[str] = ("cider",),
    lang: str = "en",
    model: str | None = None,
    images: str | None = None,
    encoder: str | None = None,
    parser: str | None = None,
    objects: str | None = None,
    vocabulary: str | None = None,
    tokenizer: str | None = None,
    references: int | None = None,
    on_error: str = "raise",
    confidence: float | None = None,
    cache: str | None = None,
    **own: Any,
) -> ResultSet:
    """Score captions with metrics.

    Args:
        model: whose captions to take from a file or dataset of several models.
        vocabulary: words that CHAIR looks for, with the paper's protocol: its `synonyms.txt`, or JSON `{class: [word,
            …]}`; without it our own words.
        references: number of references that every item must have.
    """
    score = Scorer(
        metrics, lang=lang, images=images, encoder=encoder, parser=parser, objects=objects, vocabulary=vocabulary,
        tokenizer=tokenizer, references=references, on_error=on_error, confidence=confidence, cache=cache, **own,
    )  # fmt: skip
    given = read_predictions(preds, lang=lang if Path(preds).is_dir() else "", model=model)
    found = read_references(refs, lang=lang) if refs else _own_references(preds, given, score.wants_references())
    return score(given, found)


def _own_references(preds: str, given: Mapping[str, Any], users: Sequence[str]) -> dict[str, list[str]] | None:
    """The references in the rows of the predictions."""
    if not users or not Path(preds).name.endswith((".json", ".jsonl", ".ndjson")):
        return None
    rows = read_json(preds)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and {"references", "refs"} & set(row) for row in rows
    ):
        return None
    found = read_references(preds)
    return {key: found[key] for key in given}


@dataclass(frozen=True)
class MetricsWay(Way):
    """Metrics by name; its options are those of the metrics.

    Attributes:
        names: of the metrics.
    """

    names: tuple[str, ...] = ()

    def parameters(self) -> dict[str, Parameter]:
        """Arguments of scoring, and options of the metrics' own."""
        found = super().parameters()
        del found["own"]
        for metric in map(find_metric, self.names):
            theirs = Way(metric.run).parameters() if metric.options else {}
            for name in metric.options:
                found.setdefault(name, theirs[name])
        return {name: p for name, p in found.items() if name in self.reads()}

    def reads(self) -> list[str]:
        """What the metrics take, and what all of them do."""
        read = ["preds", "refs", "metrics", "model", "lang", "on_error", "confidence"]
        for metric in map(find_metric, self.names):
            read += [*metric.inputs, *metric.options]
            read += [name for name in ("tokenizer",) if metric.takes(name)]
            read += ["references"] if metric.takes("refs") else []
            read += ["cache"] if metric.takes("encoder") else []
        return list(dict.fromkeys(read))

    def about(self) -> dict[str, str]:
        """What the docstrings say of the options."""
        found = super().about()
        for metric in map(find_metric, self.names):
            found |= {name: text for name, text in Way(metric.run).about().items() if name in metric.options}
        return found


def choose(given: Mapping[str, Any]) -> Choice:
    """A benchmark's protocol, or the metrics that are named."""
    if given.get("benchmark") is not None:
        return by_benchmark("captions", given)
    names = [plain_name(name) for name in listed(given.get("metrics")) or ["cider"]]
    rest = {name: value for name, value in given.items() if name != "benchmark"}
    for name in names:
        find_metric(name)
    return Choice(", ".join(names), MetricsWay(_run, names=tuple(names)), {**rest, "metrics": names})


def every_metric() -> MetricsWay:
    """The way with the options of all metrics."""
    return MetricsWay(_run, names=tuple(metric_names()))
