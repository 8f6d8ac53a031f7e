"""The tables of a dataset: schema, ids of rows, commits, rejects."""

from panoglot.table._caption_rows import PLAIN, CaptionRows, caption_from_row, caption_records, caption_to_row
from panoglot.table._dataset import (
    MANIFEST,
    Dataset,
    create_dataset,
    is_dataset,
    open_dataset,
)
from panoglot.table._find import find_image
from panoglot.table._forget import FORGOTTEN, LEFT_OUT, edit_row, erase, forget_images, forgotten
from panoglot.table._ids import caption_id, given_caption_id, image_id, reject_id, vector_id
from panoglot.table._memory import few_arenas, give_back_memory, no_collection
from panoglot.table._records import (
    GIVEN_KINDS,
    KEPT_CAPTION,
    KINDS,
    MEASURED,
    MISTOLD,
    NO_FACT,
    Caption,
    Document,
    DocumentPart,
    Fact,
    Rating,
    Reject,
    Triple,
    is_translation,
    machine_kind,
)
from panoglot.table._schema import SCHEMA_VERSION
from panoglot.table._table import Table, byte_spans, id_spans, plain_rows, sql_in

__all__ = [
    "FORGOTTEN",
    "GIVEN_KINDS",
    "KEPT_CAPTION",
    "KINDS",
    "LEFT_OUT",
    "MANIFEST",
    "MEASURED",
    "MISTOLD",
    "NO_FACT",
    "PLAIN",
    "SCHEMA_VERSION",
    "Caption",
    "CaptionRows",
    "Dataset",
    "Document",
    "DocumentPart",
    "Fact",
    "Rating",
    "Reject",
    "Table",
    "Triple",
    "byte_spans",
    "caption_from_row",
    "caption_id",
    "caption_records",
    "caption_to_row",
    "create_dataset",
    "edit_row",
    "erase",
    "few_arenas",
    "find_image",
    "forget_images",
    "forgotten",
    "give_back_memory",
    "given_caption_id",
    "id_spans",
    "image_id",
    "is_dataset",
    "is_translation",
    "machine_kind",
    "no_collection",
    "open_dataset",
    "plain_rows",
    "reject_id",
    "sql_in",
    "vector_id",
]
