"""Pictures and their texts into a dataset."""

from panoglot.ingestion._ingest import ingest_stage, settle_rejects

__all__ = ["ingest_stage", "settle_rejects"]
