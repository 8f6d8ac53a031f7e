"""Metrics on plain lists: one metric a file, one result type, every language.

| metric | function | needs |
|---|---|---|
| BLEU-1..4 | `bleu` | references |
| ROUGE-L | `rouge_l` | references |
| CIDEr-D, CIDEr | `cider` | references |
| METEOR-like | `meteor_exact_stem_synonym` | references; snowballstemmer; WordNet for synonyms |
| chrF, chrF++ | `chrf` | references; sacrebleu |
| SPICE | `spice` | references, a `Parser` |
| CAPTURE | `capture` | references, a `Parser`, an `Encoder` for the soft stage |
| CLIPScore, RefCLIPScore | `clipscore` | images, an `Encoder` |
| DCScore | `dcscore` | reference facts, images, a `Generator` |
| FineCapEval | `finecapeval` | phrases of annotators |
| self-retrieval (TrueMatch) | `self_retrieval` | vectors, bags |
| CHAIR | `chair` | objects of the pictures |
| POPE | `pope` | yes/no answers |
| FOIL, HAT, localisation | `foil`, `hat`, `localisation` | scores of the metric under test |
| dense captioning | `dense_map`, `captions_at_iou` | boxes with captions |
| GenEval, m-GenEval | `geneval` | detections of generated images |
| CLC, CSS | `cross_lingual_consistency`, `switching_similarity` | vectors of generated images |
| m-DPG | `dpg` | generated images, a `Generator` |
| diversity | `distinct_n`, `self_bleu` | captions alone |
| length, readability | `caption_length`, `readability` | captions alone |
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.metrics._choice import choice, circular, contrastive, log_probabilities, read_label, read_letter
    from panoglot.metrics._compare import Comparison, compare
    from panoglot.metrics._declare import Metric, find_metric, metric_names
    from panoglot.metrics._inputs import prepare
    from panoglot.metrics._load import load_results
    from panoglot.metrics._mteb_results import load_mteb
    from panoglot.metrics._plot import draw, plot
    from panoglot.metrics._result import Interval, MetricResult, bootstrap, mean_result
    from panoglot.metrics._results import ResultSet, mean_over
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
    from panoglot.metrics.preference.selection import select_tasks
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
    "Comparison",
    "Interval",
    "Metric",
    "MetricResult",
    "RegionCaption",
    "ResultSet",
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
    "clipscore",
    "compare",
    "condition_recall",
    "contrastive",
    "cross_lingual_consistency",
    "cumulative_hits",
    "dcscore",
    "dense_map",
    "distinct_n",
    "document_frequencies",
    "dpg",
    "draw",
    "find_metric",
    "finecapeval",
    "first_rank_scores",
    "foil",
    "geneval",
    "hat",
    "image_text_retrieval",
    "load_mteb",
    "load_results",
    "localisation",
    "log_probabilities",
    "mean_over",
    "mean_result",
    "meteor_exact_stem_synonym",
    "metric_names",
    "mix_prompts",
    "plot",
    "pope",
    "prepare",
    "random_bags",
    "rankings",
    "read_finecapeval",
    "read_label",
    "read_letter",
    "readability",
    "retrieval",
    "rouge_l",
    "select_tasks",
    "self_bleu",
    "self_retrieval",
    "spice",
    "standings",
    "subset_recall",
    "switching_similarity",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "log_probabilities": "_choice",
        "find_metric": "_declare",
        "metric_names": "_declare",
        "draw": "_plot",
        "mean_over": "_results",
        "ArenaResult": "preference.arena",
        "Comparison": "_compare",
        "Interval": "_result",
        "Metric": "_declare",
        "MetricResult": "_result",
        "mean_result": "_result",
        "RegionCaption": "captions.dense",
        "ResultSet": "_results",
        "agreement": "preference.agreement",
        "align_prompts": "generation.neobabel",
        "arena": "preference.arena",
        "audit": "preference.arena",
        "bleu": "captions.bleu",
        "bootstrap": "_result",
        "caption_length": "captions.readability",
        "captions_at_iou": "captions.dense",
        "capture": "captions.capture",
        "chair": "captions.chair",
        "choice": "_choice",
        "chrf": "captions.chrf",
        "cider": "captions.cider",
        "circular": "_choice",
        "clipscore": "captions.clipscore",
        "compare": "_compare",
        "condition_recall": "ranking.rankings",
        "contrastive": "_choice",
        "cross_lingual_consistency": "generation.neobabel",
        "cumulative_hits": "ranking.rankings",
        "dcscore": "captions.dcscore",
        "dense_map": "captions.dense",
        "distinct_n": "captions.diversity",
        "document_frequencies": "captions.cider",
        "dpg": "generation.neobabel",
        "finecapeval": "captions.finecapeval",
        "first_rank_scores": "ranking.rankings",
        "foil": "captions.hallucination",
        "geneval": "generation.geneval",
        "hat": "captions.hallucination",
        "image_text_retrieval": "ranking.retrieval",
        "load_mteb": "_mteb_results",
        "load_results": "_load",
        "localisation": "captions.hallucination",
        "meteor_exact_stem_synonym": "captions.meteor",
        "mix_prompts": "generation.neobabel",
        "plot": "_plot",
        "pope": "captions.pope",
        "prepare": "_inputs",
        "random_bags": "captions.self_retrieval",
        "rankings": "ranking.rankings",
        "read_finecapeval": "captions.finecapeval",
        "read_label": "_choice",
        "read_letter": "_choice",
        "readability": "captions.readability",
        "retrieval": "ranking.retrieval",
        "rouge_l": "captions.rouge_l",
        "self_bleu": "captions.diversity",
        "self_retrieval": "captions.self_retrieval",
        "spice": "captions.spice",
        "select_tasks": "preference.selection",
        "standings": "preference.standings",
        "subset_recall": "ranking.rankings",
        "switching_similarity": "generation.neobabel",
    },
)
