"""FashionIQ: composed retrieval of clothes, a category at a time (Wu et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panoglot.evaluate._declare import Benchmark
from panoglot.evaluate.benchmarks._composed import category_of, fashion_iq, fashion_iq_text
from panoglot.evaluate.benchmarks._composed_ways import score_way, search_way
from panoglot.formats._json import read_json
from panoglot.metrics._results import ResultSet

__all__ = ["FASHION_IQ", "fashion_iq", "fashion_iq_text"]


def _score(rankings: Sequence[str], annotations: Sequence[str], **given: Any) -> ResultSet:
    ranked = {category_of(path): read_json(path) for path in rankings}
    return fashion_iq(ranked, {category_of(path): path for path in annotations}, **given)


FASHION_IQ = Benchmark(
    "fashion-iq", "composed", "recall@10 and @50, a category at a time",
    "--annotations: `cap.<category>.val.json` of each; to search: its folder (`split.…` too), --images, --encoder",
    "github.com/XiaoxiaoGuo/fashion-iq",
    {"encoder": search_way("fashion-iq"), "rankings": score_way(_score)},
)  # fmt: skip
