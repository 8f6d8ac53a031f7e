"""Retrieval metrics: from vectors by rank counting, or from ranked lists of ids."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.metrics.ranking._metrics import rank_value
    from panoglot.metrics.ranking._ranks import tied_ranks

__all__ = [
    "rank_value",
    "tied_ranks",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "rank_value": "_metrics",
        "tied_ranks": "_ranks",
    },
)
