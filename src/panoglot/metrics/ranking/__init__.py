"""Retrieval metrics: from vectors by rank counting, or from ranked lists of ids."""

from __future__ import annotations

from panoglot.metrics.ranking._metrics import metric_name
from panoglot.metrics.ranking.rankings import (
    condition_recall,
    cumulative_hits,
    first_rank_scores,
    rankings,
    subset_recall,
)
from panoglot.metrics.ranking.retrieval import image_text_retrieval, retrieval

__all__ = [
    "condition_recall",
    "cumulative_hits",
    "first_rank_scores",
    "image_text_retrieval",
    "metric_name",
    "rankings",
    "retrieval",
    "subset_recall",
]
