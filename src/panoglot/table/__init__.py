"""The tables of a dataset: schema, identities, languages, commits, rejects."""

from panoglot.languages import UNKNOWN_LANGUAGE, canonical_language, language_matches, language_name, parse_language
from panoglot.table._dataset import MANIFEST, Dataset, caption_from_row, caption_to_row, create_dataset, open_dataset
from panoglot.table._find import find_image
from panoglot.table._ids import caption_id, fingerprint, given_caption_id, image_id, normal_text, reject_id, vector_id
from panoglot.table._memory import few_arenas, give_back_memory
from panoglot.table._records import KINDS, Caption, Region, Reject
from panoglot.table._schema import SCHEMA_VERSION
from panoglot.table._table import Table, plain_rows, sql_in

__all__ = [
    "KINDS",
    "MANIFEST",
    "SCHEMA_VERSION",
    "UNKNOWN_LANGUAGE",
    "Caption",
    "Dataset",
    "Region",
    "Reject",
    "Table",
    "canonical_language",
    "caption_from_row",
    "caption_id",
    "caption_to_row",
    "create_dataset",
    "few_arenas",
    "find_image",
    "fingerprint",
    "give_back_memory",
    "given_caption_id",
    "image_id",
    "language_matches",
    "language_name",
    "normal_text",
    "open_dataset",
    "parse_language",
    "plain_rows",
    "reject_id",
    "sql_in",
    "vector_id",
]
