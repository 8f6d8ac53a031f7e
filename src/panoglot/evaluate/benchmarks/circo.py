"""CIRCO: composed retrieval among 123,403 pictures of COCO, several right ones a query (Baldrati et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panoglot.evaluate._declare import Benchmark
from panoglot.evaluate.benchmarks._composed import circo
from panoglot.evaluate.benchmarks._composed_ways import one_file, score_way, search_way
from panoglot.metrics._results import ResultSet

__all__ = ["CIRCO", "circo"]


def _score(rankings: Sequence[str], annotations: Sequence[str], **given: Any) -> ResultSet:
    return circo(*one_file("circo", rankings, annotations), **given)


CIRCO = Benchmark(
    "circo", "composed", "mAP@k (220 queries, 123,403 pictures)",
    "--annotations: `val.json` or `test.json`; to search: --images: COCO's `unlabeled2017`, --encoder",
    "github.com/miccunifi/CIRCO, cocodataset.org",
    {"encoder": search_way("circo"), "rankings": score_way(_score)},
)  # fmt: skip
