"""What benchmarks of composed retrieval share as commands: a way to search, and the checks of files that are scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panoglot.errors import UserError
from panoglot.evaluate._declare import Way
from panoglot.metrics._results import ResultSet

__all__ = ["one_file", "search_way"]


def one_file(name: str, rankings: Sequence[str], annotations: Sequence[str]) -> tuple[str, str]:
    """The one file of each.

    Raises:
        UserError: there are more.
    """
    if len(rankings) != 1 or len(annotations) != 1:
        raise UserError(f"{name} takes one file of rankings and one of annotations.")
    return rankings[0], annotations[0]


def search_way(name: str) -> Way:
    """Search a benchmark's pictures with an encoder."""

    def run(
        annotations: Sequence[str],
        images: Sequence[str],
        encoder: Any,
        *,
        method: str = "sum",
        weight: float = 0.5,
        texts: str | None = None,
        lang: str = "en",
        split: str = "val",
        submission: str | None = None,
        metrics: Sequence[str] = (),
        on_error: str = "raise",
        confidence: float | None = None,
    ) -> ResultSet:
        """Search, and score what was found.

        Args:
            method: `image` (the reference alone), `text` (the instruction alone), `sum` of both, or a preset of
                `panoglot search` that asks no model: `rules`, `learned`.
            weight: of the text in `sum`, 0..1.
            texts: JSON of texts to search with instead of the instructions, by query id (a method's rewritten
                captions).
            split: of the annotations.
            submission: folder for the rankings, as the official servers take them.
        """
        from panoglot.evaluate.benchmarks._composed_run import composed_run

        return composed_run(
            encoder, name, annotations, images, method=method, weight=weight, texts=texts, lang=lang, split=split,
            on_error=on_error, output=submission, metrics=metrics, confidence=confidence,
        )  # fmt: skip

    return Way(run, only={"weight": ("method", "sum")})
