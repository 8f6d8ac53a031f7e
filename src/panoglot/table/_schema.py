"""Arrow schemas of the tables. `SCHEMA_VERSION` changes when an older Panoglot could misread a dataset."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Columns = dict[str, list[tuple[str, Any]]]

__all__ = ["KEYS", "SCHEMA_VERSION", "schema", "vector_schema"]

SCHEMA_VERSION = 2

#: The unenforced primary key of every table: a late or repeated commit of the same row inserts nothing.
KEYS = {
    "images": "image_id",
    "assets": "asset_id",
    "documents": "document_id",
    "triples": "triple_id",
    "ratings": "rating_id",
    "facts": "fact_id",
    "edits": "edit_id",
    "fits": "fit_id",
    "marks": "image_id",
    "hashes": "image_id",
    "captions": "caption_id",
    "splits": "image_id",
    "choices": "choice_id",
    "places": "place",
    "rejects": "reject_id",
    "runs": "run_id",
    "vectors": "vector_id",
    "work": "item",
}


class _Types:
    """The column types that several tables share."""

    def __init__(self) -> None:
        import pyarrow as pa

        self.text, self.real = pa.string(), pa.float64()
        self.texts, self.scores = pa.list_(self.text), pa.map_(self.text, pa.float32())
        box = [(name, self.real) for name in ("x0", "y0", "x1", "y1")]
        scene = [(name, self.real) for name in ("x", "y", "z", "width", "depth", "height", "yaw")]
        point = [("x", self.real), ("y", self.real), ("inside", pa.bool_())]
        self.region = pa.struct(
            [
                *box,
                ("mask", self.text),
                ("points", pa.list_(pa.struct(point))),
                ("start", self.real),
                ("end", self.real),
                ("track", pa.list_(pa.struct([("time", self.real), *box]))),
                ("box3", pa.struct(scene)),
            ]
        )
        part = [("text", self.text), ("image_id", self.text), ("region", self.region), ("turn", pa.int32())]
        self.part = pa.struct([*part, ("role", self.text), ("learn", pa.bool_())])
        self.moment = pa.timestamp("us", tz="UTC")
        #: who made a row, of what, and how it may be used
        self.origin = [
            ("recipe", self.text),
            ("model", self.text),
            ("parents", self.texts),
            ("author", self.text),
            ("licence", self.text),
        ]


def _content(t: _Types) -> Columns:
    """What pairs are made of: pictures and what they come from, documents, triples."""
    import pyarrow as pa

    return {
        "images": [
            ("image_id", t.text),
            ("data", pa.large_binary()),
            ("uri", t.text),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("format", t.text),
            ("size", pa.int64()),
            ("group", t.text),
            ("time", t.real),
            ("context", t.text),
            ("run_id", t.text),
            *t.origin,  # crops, frames, generated pictures: their method, model and the picture they were made of
            ("region", t.region),  # where in its parent
            ("asset_id", t.text),
            ("split", t.text),
        ],
        "assets": [
            ("asset_id", t.text),
            ("kind", t.text),
            ("data", pa.large_binary()),
            ("uri", t.text),
            ("format", t.text),
            ("size", pa.int64()),
            ("context", t.text),
            *t.origin,
            ("split", t.text),
            ("run_id", t.text),
        ],
        "documents": [
            ("document_id", t.text),
            ("kind", t.text),
            ("lang", t.text),
            ("parts", pa.list_(t.part)),
            ("scores", t.scores),
            ("dropped", t.text),
            *t.origin,
            ("split", t.text),
            ("run_id", t.text),
        ],
        "triples": [
            ("triple_id", t.text),
            ("kind", t.text),
            ("text", t.text),
            ("image_id", t.text),
            ("positives", t.texts),
            ("negatives", t.texts),
            ("of", t.text),
            ("lang", t.text),
            ("recipe", t.text),
            ("model", t.text),
            ("split", t.text),
            ("run_id", t.text),
        ],
    }


def _judged(t: _Types) -> Columns:
    """What is said of them: texts, marks, ratings, facts, edits, and what methods learnt."""
    import pyarrow as pa

    return {
        "captions": [
            ("caption_id", t.text),
            ("image_id", t.text),
            ("text", t.text),
            ("lang", t.text),
            ("kind", t.text),
            ("recipe", t.text),
            ("model", t.text),
            ("parents", t.texts),
            ("region", t.region),
            ("scores", t.scores),
            ("dropped", t.text),
            ("run_id", t.text),
            ("author", t.text),
            ("licence", t.text),
        ],
        "marks": [("image_id", t.text), ("scores", t.scores), ("dropped", t.text), ("run_id", t.text)],
        "hashes": [("image_id", t.text), ("pdq", pa.binary(32)), ("quality", pa.int32()), ("run_id", t.text)],
        # beside `images`, whose rows hold the pictures and would be written anew
        "splits": [("image_id", t.text), ("split", t.text), ("run_id", t.text)],
        "choices": [
            ("choice_id", t.text),
            ("plan", t.text),
            ("image_id", t.text),
            ("caption_id", t.text),
            ("run_id", t.text),
        ],
        "ratings": [
            ("rating_id", t.text),
            ("item", t.text),
            ("of", t.text),
            ("against", t.text),
            ("value", t.real),
            ("scale", t.text),
            ("criterion", t.text),
            ("rater", t.text),
            ("lang", t.text),
            ("split", t.text),
            ("run_id", t.text),
        ],
        "facts": [
            ("fact_id", t.text),
            ("image_id", t.text),
            ("kind", t.text),
            ("text", t.text),
            ("value", t.real),
            ("region", t.region),
            ("lang", t.text),
            ("model", t.text),
            ("source", t.text),
            ("run_id", t.text),
        ],
        "edits": [
            ("edit_id", t.text),
            ("item", t.text),
            ("of", t.text),
            ("action", t.text),
            ("before", t.text),
            ("after", t.text),
            ("author", t.text),
            ("time", t.moment),
            ("run_id", t.text),
        ],
        "fits": [
            ("fit_id", t.text),
            ("method", t.text),
            ("asset_id", t.text),
            ("data", pa.large_binary()),
            ("about", t.text),
            ("run_id", t.text),
        ],
    }


def _work(t: _Types) -> Columns:
    """How it came about: what failed, what ran, what is done."""
    import pyarrow as pa

    return {
        # where pictures and their texts were read last: what a place no longer gives is superseded
        "places": [("place", t.text), ("image_id", t.text), ("captions", t.texts), ("run_id", t.text)],
        "rejects": [
            ("reject_id", t.text),
            ("item", t.text),
            ("stage", t.text),
            ("reason", t.text),
            ("message", t.text),
            ("run_id", t.text),
            ("resolved", t.text),  # the run that got it through after all; null = still failing
        ],
        "runs": [
            ("run_id", t.text),
            ("started", t.moment),
            ("finished", t.moment),
            ("status", t.text),  # running, done, stopped (max_cost), failed
            ("recipe", t.text),
            ("versions", t.text),
            ("stages", t.text),  # JSON: per stage rows, rejects, seconds, tokens, price
            ("seconds", t.real),
            ("price", t.real),
            ("message", t.text),
        ],
        "work": [
            ("item", t.text),
            ("outputs", pa.int32()),
            ("rejected", pa.int32()),  # rows of a part that failed; a part with some is read again by a retry
            ("seconds", pa.float32()),
            ("tokens_in", pa.int64()),
            ("tokens_out", pa.int64()),
            ("price", t.real),
            ("run_id", t.text),
        ],
    }


@cache
def _columns() -> Columns:
    types = _Types()
    return _content(types) | _judged(types) | _work(types)


@cache
def schema(name: str) -> pa.Schema:
    """Return the schema of table `name` (a key of `KEYS` but `vectors`, whose size is the encoder's)."""
    return _keyed(_columns()[name], KEYS[name])


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
