"""Pictures and their texts into a dataset."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names
from panoglot.ingestion._ingest import ingest_stage, settle_rejects
from panoglot.ingestion._mirror import Gone, absolute, find_gone, strike_out

if TYPE_CHECKING:
    from panoglot.ingestion._places import is_gone

__all__ = [
    "Gone",
    "absolute",
    "find_gone",
    "ingest_stage",
    "is_gone",
    "settle_rejects",
    "strike_out",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "is_gone": "_places",
    },
)
