"""Pictures and their texts into a dataset."""

from panoglot.ingestion._ingest import ingest_stage, settle_rejects
from panoglot.ingestion._mirror import Gone, find_gone, strike_out

__all__ = ["Gone", "find_gone", "ingest_stage", "settle_rejects", "strike_out"]
