"""Benchmarks: a file each, over the metrics. Each declares its options, the files that it takes and where they are.

Nothing is downloaded: a missing file is an error that says where to get it. See `panoglot.evaluate.Benchmark` and
docs/add-a-benchmark.md.
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.evaluate.benchmarks._compose import ComposedQuery, compose_packs, search_composed
    from panoglot.evaluate.benchmarks._composed import read_submission, write_submission
    from panoglot.evaluate.benchmarks._composed_run import composed_run
    from panoglot.evaluate.benchmarks._smpqa_draw import Chart, draw_chart, find_font, missing_characters, needs_shaping
    from panoglot.evaluate.benchmarks._smpqa_words import WORDS

__all__ = [
    "WORDS",
    "Chart",
    "ComposedQuery",
    "compose_packs",
    "composed_run",
    "draw_chart",
    "find_font",
    "missing_characters",
    "needs_shaping",
    "read_submission",
    "search_composed",
    "write_submission",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ComposedQuery": "_compose",
        "compose_packs": "_compose",
        "search_composed": "_compose",
        "read_submission": "_composed",
        "write_submission": "_composed",
        "composed_run": "_composed_run",
        "Chart": "_smpqa_draw",
        "draw_chart": "_smpqa_draw",
        "find_font": "_smpqa_draw",
        "missing_characters": "_smpqa_draw",
        "needs_shaping": "_smpqa_draw",
        "WORDS": "_smpqa_words",
    },
)
