"""Judge captions, encoders, captioners and metrics, in any language.

    from panoglot.evaluate import cider
    result = cider(predictions, references, lang="de", confidence=0.95)
    print(result.table())

Metrics take plain lists (or mappings by id) and answer with a `MetricResult`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panoglot.evaluate._dataset import dataset_retrieval
    from panoglot.evaluate._mteb import MtebEncoder, mteb, mteb_standings
    from panoglot.evaluate._zeroshot import classify, zeroshot
    from panoglot.evaluate.captions import *  # noqa: F403
    from panoglot.evaluate.ranking import *  # noqa: F403
    from panoglot.metrics._compare import Comparison, compare
    from panoglot.metrics._load import load_results
    from panoglot.metrics._mteb_results import load_mteb
    from panoglot.metrics._plot import plot
    from panoglot.metrics._result import Interval, MetricResult, bootstrap
    from panoglot.metrics._results import ResultSet
    from panoglot.metrics.choice import choice, circular, contrastive, read_label, read_letter
    from panoglot.metrics.preference.agreement import agreement
    from panoglot.metrics.preference.arena import ArenaResult, arena, audit
    from panoglot.metrics.preference.standings import standings

#: Public name to the module it comes from: nothing is imported before it is used.
_HOME: dict[str, str] = {
    "Interval": "_result",
    "MetricResult": "_result",
    "ArenaResult": "_arena",
    "Comparison": "_compare",
    "ResultSet": "_results",
    "choice": "_choice",
    "circular": "_choice",
    "classify": "_zeroshot",
    "contrastive": "_choice",
    "plot": "_plot",
    "read_label": "_choice",
    "read_letter": "_choice",
    "compare": "_compare",
    "dataset_retrieval": "_dataset",
    "MtebEncoder": "_mteb",
    "load_mteb": "_mteb_results",
    "load_results": "_load",
    "mteb": "_mteb",
    "mteb_standings": "_mteb",
    "standings": "_borda",
    "zeroshot": "_zeroshot",
    "agreement": "_agreement",
    "arena": "_arena",
    "audit": "_arena",
    "bootstrap": "_result",
    **dict.fromkeys(
        [
            "RegionCaption", "align_prompts", "cross_lingual_consistency", "dpg", "geneval", "mix_prompts",
            "switching_similarity", "bleu", "caption_length", "captions_at_iou", "capture", "chair", "chrf", "cider",
            "clipscore", "dcscore", "dense_map", "distinct_n", "document_frequencies", "finecapeval", "foil", "hat",
            "localisation", "meteor_exact_stem_synonym", "pope", "random_bags", "read_finecapeval", "readability",
            "rouge_l", "self_bleu", "self_retrieval", "spice",
        ],
        "captions",
    ),
    **dict.fromkeys(
        [
            "condition_recall", "cumulative_hits", "first_rank_scores", "image_text_retrieval", "rankings", "retrieval",
            "subset_recall",
        ],
        "ranking",
    ),
}  # fmt: skip

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found
