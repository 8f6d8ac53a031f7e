"""A benchmark: the share of vowels of captions, less that of the texts of its file."""

from __future__ import annotations

from pathlib import Path

from pano_extra.vowels import vowels
from panoglot.evaluate import Benchmark, MetricResult, ResultSet, Way


def _read(preds: str, data: str) -> tuple[list[str], list[str]]:
    first, second = (Path(path).read_text(encoding="utf-8").splitlines() for path in (preds, data))
    return first, second


def _run(given: tuple[list[str], list[str]]) -> ResultSet:
    found: dict[str, MetricResult] = {"preds": vowels(given[0]), "data": vowels(given[1])}
    return ResultSet(found)


VOWEL_TEST = Benchmark(
    "vowel-test",
    "captions",
    "share of vowels beside that of a text",
    "--data: a text file, a line a caption",
    "your own",
    Way(_run, _read),
)
