"""The tables of a dataset: schema, identities, languages, commits, rejects."""

from panoglot.table._ids import (
    caption_id,
    fingerprint,
    given_caption_id,
    image_id,
    normal_text,
    reject_id,
    vector_id,
)
from panoglot.table._language import UNKNOWN_LANGUAGE, canonical_language, language_matches, parse_language
from panoglot.table._records import KINDS, Caption, Region, Reject

__all__ = [
    "KINDS",
    "UNKNOWN_LANGUAGE",
    "Caption",
    "Region",
    "Reject",
    "canonical_language",
    "caption_id",
    "fingerprint",
    "given_caption_id",
    "image_id",
    "language_matches",
    "normal_text",
    "parse_language",
    "reject_id",
    "vector_id",
]
