"""Judge captions, encoders, captioners and metrics, in any language.

    from panoglot.evaluate import cider
    result = cider(predictions, references, lang="de", confidence=0.95)
    print(result.table())

Metrics take plain lists (or mappings by id) and answer with a `MetricResult`.
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.evaluate._dataset import dataset_retrieval
    from panoglot.evaluate._declare import Benchmark, Way
    from panoglot.evaluate._mteb import MtebEncoder, mteb, mteb_standings
    from panoglot.evaluate._zeroshot import classify, zeroshot
    from panoglot.formats._json import read_rows
    from panoglot.metrics._choice import choice, circular, contrastive, read_label, read_letter
    from panoglot.metrics._compare import Comparison, compare
    from panoglot.metrics._declare import Metric
    from panoglot.metrics._load import load_results
    from panoglot.metrics._mteb_results import load_mteb
    from panoglot.metrics._plot import plot
    from panoglot.metrics._result import Interval, MetricResult, bootstrap, mean_result
    from panoglot.metrics._results import ResultSet
    from panoglot.metrics.captions.bleu import bleu
    from panoglot.metrics.captions.capture import capture
    from panoglot.metrics.captions.chair import chair
    from panoglot.metrics.captions.chrf import chrf
    from panoglot.metrics.captions.cider import cider, document_frequencies
    from panoglot.metrics.captions.clipscore import clipscore
    from panoglot.metrics.captions.dcscore import dcscore
    from panoglot.metrics.captions.dense import RegionCaption, captions_at_iou, dense_map
    from panoglot.metrics.captions.diversity import distinct_n, self_bleu
    from panoglot.metrics.captions.finecapeval import finecapeval, read_finecapeval
    from panoglot.metrics.captions.hallucination import foil, hat, localisation
    from panoglot.metrics.captions.meteor import meteor_exact_stem_synonym
    from panoglot.metrics.captions.pope import pope
    from panoglot.metrics.captions.readability import caption_length, readability
    from panoglot.metrics.captions.rouge_l import rouge_l
    from panoglot.metrics.captions.self_retrieval import random_bags, self_retrieval
    from panoglot.metrics.captions.spice import spice
    from panoglot.metrics.generation.geneval import geneval
    from panoglot.metrics.generation.neobabel import (
        align_prompts,
        cross_lingual_consistency,
        dpg,
        mix_prompts,
        switching_similarity,
    )
    from panoglot.metrics.preference.agreement import agreement
    from panoglot.metrics.preference.arena import ArenaResult, arena, audit
    from panoglot.metrics.preference.standings import standings
    from panoglot.metrics.ranking.rankings import (
        condition_recall,
        cumulative_hits,
        first_rank_scores,
        rankings,
        subset_recall,
    )
    from panoglot.metrics.ranking.retrieval import image_text_retrieval, retrieval

__all__ = [
    "ArenaResult",
    "Benchmark",
    "Comparison",
    "Interval",
    "Metric",
    "MetricResult",
    "MtebEncoder",
    "RegionCaption",
    "ResultSet",
    "Way",
    "agreement",
    "align_prompts",
    "arena",
    "audit",
    "bleu",
    "bootstrap",
    "caption_length",
    "captions_at_iou",
    "capture",
    "chair",
    "choice",
    "chrf",
    "cider",
    "circular",
    "classify",
    "clipscore",
    "compare",
    "condition_recall",
    "contrastive",
    "cross_lingual_consistency",
    "cumulative_hits",
    "dataset_retrieval",
    "dcscore",
    "dense_map",
    "distinct_n",
    "document_frequencies",
    "dpg",
    "finecapeval",
    "first_rank_scores",
    "foil",
    "geneval",
    "hat",
    "image_text_retrieval",
    "load_mteb",
    "load_results",
    "localisation",
    "mean_result",
    "meteor_exact_stem_synonym",
    "mix_prompts",
    "mteb",
    "mteb_standings",
    "plot",
    "pope",
    "random_bags",
    "rankings",
    "read_finecapeval",
    "read_label",
    "read_letter",
    "read_rows",
    "readability",
    "retrieval",
    "rouge_l",
    "self_bleu",
    "self_retrieval",
    "spice",
    "standings",
    "subset_recall",
    "switching_similarity",
    "zeroshot",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ArenaResult": "panoglot.metrics.preference.arena",
        "Benchmark": "panoglot.evaluate._declare",
        "Comparison": "panoglot.metrics._compare",
        "Interval": "panoglot.metrics._result",
        "Metric": "panoglot.metrics._declare",
        "MetricResult": "panoglot.metrics._result",
        "MtebEncoder": "panoglot.evaluate._mteb",
        "RegionCaption": "panoglot.metrics.captions.dense",
        "ResultSet": "panoglot.metrics._results",
        "Way": "panoglot.evaluate._declare",
        "agreement": "panoglot.metrics.preference.agreement",
        "align_prompts": "panoglot.metrics.generation.neobabel",
        "arena": "panoglot.metrics.preference.arena",
        "audit": "panoglot.metrics.preference.arena",
        "bleu": "panoglot.metrics.captions.bleu",
        "bootstrap": "panoglot.metrics._result",
        "caption_length": "panoglot.metrics.captions.readability",
        "captions_at_iou": "panoglot.metrics.captions.dense",
        "capture": "panoglot.metrics.captions.capture",
        "chair": "panoglot.metrics.captions.chair",
        "choice": "panoglot.metrics._choice",
        "chrf": "panoglot.metrics.captions.chrf",
        "cider": "panoglot.metrics.captions.cider",
        "circular": "panoglot.metrics._choice",
        "classify": "panoglot.evaluate._zeroshot",
        "clipscore": "panoglot.metrics.captions.clipscore",
        "compare": "panoglot.metrics._compare",
        "condition_recall": "panoglot.metrics.ranking.rankings",
        "contrastive": "panoglot.metrics._choice",
        "cross_lingual_consistency": "panoglot.metrics.generation.neobabel",
        "cumulative_hits": "panoglot.metrics.ranking.rankings",
        "dataset_retrieval": "panoglot.evaluate._dataset",
        "dcscore": "panoglot.metrics.captions.dcscore",
        "dense_map": "panoglot.metrics.captions.dense",
        "distinct_n": "panoglot.metrics.captions.diversity",
        "document_frequencies": "panoglot.metrics.captions.cider",
        "dpg": "panoglot.metrics.generation.neobabel",
        "finecapeval": "panoglot.metrics.captions.finecapeval",
        "first_rank_scores": "panoglot.metrics.ranking.rankings",
        "foil": "panoglot.metrics.captions.hallucination",
        "geneval": "panoglot.metrics.generation.geneval",
        "hat": "panoglot.metrics.captions.hallucination",
        "image_text_retrieval": "panoglot.metrics.ranking.retrieval",
        "load_mteb": "panoglot.metrics._mteb_results",
        "load_results": "panoglot.metrics._load",
        "localisation": "panoglot.metrics.captions.hallucination",
        "mean_result": "panoglot.metrics._result",
        "meteor_exact_stem_synonym": "panoglot.metrics.captions.meteor",
        "mix_prompts": "panoglot.metrics.generation.neobabel",
        "mteb": "panoglot.evaluate._mteb",
        "mteb_standings": "panoglot.evaluate._mteb",
        "plot": "panoglot.metrics._plot",
        "pope": "panoglot.metrics.captions.pope",
        "random_bags": "panoglot.metrics.captions.self_retrieval",
        "rankings": "panoglot.metrics.ranking.rankings",
        "read_finecapeval": "panoglot.metrics.captions.finecapeval",
        "read_label": "panoglot.metrics._choice",
        "read_letter": "panoglot.metrics._choice",
        "read_rows": "panoglot.formats._json",
        "readability": "panoglot.metrics.captions.readability",
        "retrieval": "panoglot.metrics.ranking.retrieval",
        "rouge_l": "panoglot.metrics.captions.rouge_l",
        "self_bleu": "panoglot.metrics.captions.diversity",
        "self_retrieval": "panoglot.metrics.captions.self_retrieval",
        "spice": "panoglot.metrics.captions.spice",
        "standings": "panoglot.metrics.preference.standings",
        "subset_recall": "panoglot.metrics.ranking.rankings",
        "switching_similarity": "panoglot.metrics.generation.neobabel",
        "zeroshot": "panoglot.evaluate._zeroshot",
    },
)
