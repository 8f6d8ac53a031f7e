"""Arrow schemas of the tables. `SCHEMA_VERSION` changes when an older Panoglot could misread a dataset."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["KEYS", "SCHEMA_VERSION", "schema", "vector_schema"]

SCHEMA_VERSION = 1

#: The unenforced primary key of every table: a late or repeated commit of the same row inserts nothing.
KEYS = {
    "images": "image_id",
    "marks": "image_id",
    "hashes": "image_id",
    "captions": "caption_id",
    "places": "place",
    "rejects": "reject_id",
    "runs": "run_id",
    "vectors": "vector_id",
    "work": "item",
}


@cache
def schema(name: str) -> pa.Schema:
    """Return the schema of table `name` (a key of `KEYS` but `vectors`, whose size is the encoder's)."""
    import pyarrow as pa

    text, real = pa.string(), pa.float64()
    scores = pa.map_(text, pa.float32())
    region = pa.struct([("x0", real), ("y0", real), ("x1", real), ("y1", real), ("mask", text)])
    columns: dict[str, list[tuple[str, pa.DataType]]] = {
        "images": [
            ("image_id", text),
            ("data", pa.large_binary()),
            ("uri", text),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("format", text),
            ("size", pa.int64()),
            ("group", text),
            ("time", real),
            ("context", text),
            ("run_id", text),
        ],
        # what curation decided on an image; a table of its own because Lance rewrites whole rows, pictures included
        "marks": [("image_id", text), ("scores", scores), ("dropped", text), ("run_id", text)],
        # perceptual hashes: 256-bit PDQ and its quality 0..100
        "hashes": [("image_id", text), ("pdq", pa.binary(32)), ("quality", pa.int32()), ("run_id", text)],
        "captions": [
            ("caption_id", text),
            ("image_id", text),
            ("text", text),
            ("lang", text),
            ("kind", text),
            ("recipe", text),
            ("model", text),
            ("parents", pa.list_(text)),
            ("region", region),
            ("scores", scores),
            ("dropped", text),
            ("run_id", text),
        ],
        # where pictures and their texts were read last: what a place no longer gives is superseded
        "places": [("place", text), ("image_id", text), ("captions", pa.list_(text)), ("run_id", text)],
        "rejects": [
            ("reject_id", text),
            ("item", text),
            ("stage", text),
            ("reason", text),
            ("message", text),
            ("run_id", text),
            ("resolved", text),  # the run that got it through after all; null = still failing
        ],
        "runs": [
            ("run_id", text),
            ("started", pa.timestamp("us", tz="UTC")),
            ("finished", pa.timestamp("us", tz="UTC")),
            ("status", text),  # running, done, stopped (max_cost), failed
            ("recipe", text),
            ("versions", text),
            ("stages", text),  # JSON: per stage rows, rejects, seconds, tokens, price
            ("seconds", real),
            ("price", real),
            ("message", text),
        ],
        "work": [
            ("item", text),
            ("outputs", pa.int32()),
            ("rejected", pa.int32()),  # rows of a part that failed; a part with some is read again by a retry
            ("seconds", pa.float32()),
            ("tokens_in", pa.int64()),
            ("tokens_out", pa.int64()),
            ("price", real),
            ("run_id", text),
        ],
    }
    return _keyed(columns[name], KEYS[name])


@cache
def vector_schema(dim: int) -> pa.Schema:
    """Return the schema of `vectors/<encoder>`: several rows an image or caption for multi-vector encoders."""
    import pyarrow as pa

    text = pa.string()
    vector = pa.list_(pa.float16(), dim)
    return _keyed(
        [("vector_id", text), ("id", text), ("of", text), ("lang", text), ("vector", vector), ("run_id", text)],
        KEYS["vectors"],
    )


def _keyed(columns: list[tuple[str, pa.DataType]], key: str) -> pa.Schema:
    import pyarrow as pa

    mark = {"lance-schema:unenforced-primary-key": "true"}
    return pa.schema(
        [pa.field(name, kind, nullable=name != key, metadata=mark if name == key else None) for name, kind in columns]
    )
