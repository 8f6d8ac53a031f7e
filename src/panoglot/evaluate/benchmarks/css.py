"""CSS: are the pictures of mixed-language prompts like those of the English ones (NeoBabel, arXiv 2507.06137)?"""

from __future__ import annotations

from typing import Any

from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._generated import prompt_pictures, vectors_by_prompt, vectors_of
from panoglot.metrics._results import ResultSet
from panoglot.metrics.generation.neobabel import switching_similarity

__all__ = ["CSS"]


def _run(
    images: str, english: str, encoder: Any, *, order: str = "english_first", confidence: float | None = None
) -> ResultSet:
    """Compare with the English pictures.

    Args:
        english: folder of the pictures of the English prompts.
        order: `english_first` or `english_second`, recorded.
    """
    originals = prompt_pictures(english)
    flat = originals.get("", originals.get("en", {}))
    found = switching_similarity(
        vectors_by_prompt(images, encoder), vectors_of(flat, encoder), order=order,
        backbone=getattr(encoder, "name", ""), confidence=confidence,
    )  # fmt: skip
    return ResultSet({"css": found})


CSS = Benchmark(
    "css", "generation", "code-switching similarity: mixed prompts against English ones",
    "pictures in `<lang>/<prompt>/…`; --english: folder of `<prompt>/…`; --encoder", "your own", Way(_run),
)  # fmt: skip
