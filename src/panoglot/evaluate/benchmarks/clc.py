"""CLC: are the pictures of one prompt in two languages alike (NeoBabel, arXiv 2507.06137)?"""

from __future__ import annotations

from typing import Any

from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._generated import vectors_by_prompt
from panoglot.metrics._results import ResultSet
from panoglot.metrics.generation.neobabel import cross_lingual_consistency

__all__ = ["CLC"]


def _run(images: str, encoder: Any, *, reference: str = "en", confidence: float | None = None) -> ResultSet:
    """Compare the languages.

    Args:
        reference: language that the others are compared with; `all` compares all pairs.
    """
    found = cross_lingual_consistency(
        vectors_by_prompt(images, encoder), reference=None if reference == "all" else reference,
        backbone=getattr(encoder, "name", ""), confidence=confidence,
    )  # fmt: skip
    return ResultSet({"clc": found})


CLC = Benchmark(
    "clc", "generation", "cross-lingual consistency: cosine of pictures of one prompt in two languages",
    "pictures in `<lang>/<prompt>/…`; --encoder", "your own", Way(_run),
)  # fmt: skip
