"""Pictures and their texts into a dataset."""

from panoglot.ingestion._ingest import ingest_stage

__all__ = [
    "ingest_stage",
]
