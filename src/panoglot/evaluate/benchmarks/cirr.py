"""CIRR: composed retrieval among real pictures, and within a subset of six (Liu et al., ICCV 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate.benchmarks._composed import cirr
from panoglot.evaluate.benchmarks._composed_ways import one_file, search_way
from panoglot.metrics._results import ResultSet

__all__ = ["CIRR", "cirr"]


def _score(
    rankings: Sequence[str],
    annotations: Sequence[str],
    *,
    subset: str | None = None,
    metrics: Sequence[str] = (),
    confidence: float | None = None,
) -> ResultSet:
    """Score rankings.

    Args:
        subset: the submission of the subset.
    """
    ranked, truth = one_file("cirr", rankings, annotations)
    return cirr(ranked, truth, subset=subset, metrics=metrics, confidence=confidence)


CIRR = Benchmark(
    "cirr", "composed", "recall@k, and within the subset",
    "--annotations: `cap.rc2.val.json`; to search: its folder (`split.rc2.val.json` too), --images, --encoder",
    "github.com/Cuberick-Orion/CIRR, lil.nlp.cornell.edu/nlvr",
    {"encoder": search_way("cirr"), "rankings": Way(_score)},
)  # fmt: skip
