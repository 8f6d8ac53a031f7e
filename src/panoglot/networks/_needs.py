"""What a loss needs of the model, what it reads of an item, and what serves it: known from the row, before it is built.

A loss, a head, a reader says `needs`; a tower, a head, a reader says `gives`. Nothing here knows a loss by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.networks._kinds import Kinds

if TYPE_CHECKING:
    from panoglot.networks._row import Row

__all__ = [
    "NEEDS",
    "READS",
    "check_row_needs",
    "judged_of",
    "needs_of",
    "reads_of",
    "served",
    "streams_of",
    "taken_of",
    "too_few",
]

#: What may be needed -> (what it is, what gives it).
NEEDS = {
    "picture": ("a vector of the picture", "an image tower: image: {kind: vit}"),
    "text": ("a vector of the text", "a text tower: text: {kind: transformer}"),
    "patches": ("the patches of its image tower", "a tower that learns: image: {kind: vit}, or hf:NAME"),
    "local": ("the patches of its image tower in the joint space", "a tower that learns, and head: {kind: linear}"),
    "tokens": ("the tokens of its text tower", "a tower that learns: text: {kind: transformer}, or hf:NAME"),
    "words": ("a text tower that reads embeddings too", "text: {kind: transformer}, or hf:NAME"),
    "second": ("a second tap", "shared layers: shared: 1 or more"),
    "fused": ("a picture and a text in one sequence", "image and text: {kind: multiway}"),
    "regions": ("regions that the head finds", "head: {kind: queries}"),
    "writer": ("a language model", "text: {kind: causal}, seq2seq, decoder or encoder_decoder"),
    "media": ("a language model that reads pictures", "image and text, with head: {kind: projector}"),
    "painter": ("a painter", "readers: {painter: {kind: masked}}"),
    "locator": ("a locator", "readers: {locator: {kind: set}}"),
    "composer": ("a composer", "readers: {composer: {kind: joint}}"),
    "tokeniser": ("pictures as codes", "readers: {tokeniser: {kind: palette}}"),
}

#: What an item must have for a loss to learn from it -> how a dataset gets it.
READS = {
    "picture": "pictures: panoglot ingest",
    "text": "kept captions: panoglot build",
    "regions": "captions of regions (boxes): panoglot ingest of a format with boxes, or a captioner of regions",
    "masks": "captions of regions with masks",
    "boxes3": "captions of regions with boxes in a room",
    "points": "assets: clouds of points",
    "target": "texts to write: captions, answers, or documents with parts that are learnt",
    "rating": "ratings of captions by people: the table `ratings`",
    "triple": "queries with passages that answer them and passages that do not: the table `triples`",
    "teacher": "vectors of a teacher: --teacher embedded:conse",
    "document": "documents of texts and pictures: the table `documents`",
    "others": "queries with the pictures that answer them: the table `triples`, of images",
}

#: Where rows beside captions are explained.
_ROWS = " (docs/train.md#rows-beside-captions)"
READS |= {one: READS[one] + _ROWS for one in ("rating", "triple", "document", "others")}

READERS = ("composer", "locator", "painter", "tokeniser")


def needs_of(name: str, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a loss of a row needs, by its options.

    >>> needs_of("contrast", {"taps": 2})
    ('picture', 'text', 'second')
    """
    kinds, kind = Kinds("losses"), str(spec.get("kind", name))
    if kind not in kinds:
        return ()
    said = tuple(kinds.declares(kind, "needs", ()))
    when = kinds.declares(kind, "needs_when", ())
    return said + tuple(need for option, value, need in when if spec.get(option) == value)


def reads_of(name: str, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what an item must have for a loss of a row to learn from it."""
    kinds, kind = Kinds("losses"), str(spec.get("kind", name))
    return tuple(kinds.declares(kind, "reads", ())) if kind in kinds else ()


def served(row: Row) -> set[str]:
    """Return what the towers, the head and the readers of a row give.

    >>> from panoglot.networks._row import load_row
    >>> sorted(served(load_row("clip")))
    ['local', 'patches', 'picture', 'text', 'tokens', 'words']
    """
    out: set[str] = set()
    image, text = row.image or {}, row.text or {}
    tower = set(_says("image", image, "gives", ("picture", "patches"))) if image else set()
    writes = bool(text) and bool(_says("text", text, "writes", False))
    if image:
        head = set(_says("head", row.head, "gives", ("picture", "local")))
        if "patches" not in tower:
            head -= {"local", "regions"}
        out |= (tower - {"vector"}) | head
        if "vector" in tower and not writes:
            out.add("picture")
    if text and not writes:
        said = set(_says("text", text, "gives", ("text", "tokens")))
        out |= {"text"} | (said - {"vector"})
    if writes:
        out |= {"writer"} | ({"media"} if image else set())
        out -= {"picture", "local"}
        if text.get("split"):  # a vector of the text, beside what it writes
            out |= {"picture", "text"}
    if row.shared:
        out.add("second")
    return out | {name for name in READERS if name in row.readers}


def check_row_needs(row: Row, at: str = "") -> None:
    """Refuse a row whose losses or readers need what nothing in it gives.

    Raises:
        UserError: with what gives it.
    """
    have = served(row)
    for name, spec in row.losses.items():
        for need in needs_of(name, spec):
            if need not in NEEDS:
                raise UserError(f"the loss '{name}' needs '{need}', which is unknown.{did_you_mean(need, NEEDS)}")
            if need not in have:
                raise UserError(f"{at or row.method}: the loss '{name}' needs {_missing(row, need)}.")
    head = _says("head", row.head, "needs", ()) if row.image else ()
    if "patches" in head and "patches" not in have:
        raise UserError(
            f"{at or row.method}: head {row.head.get('kind')} needs the patches of a tower: add --set head.kind=linear"
        )
    for reader, spec in row.readers.items():
        for need in _says(reader, spec, "needs", ()):
            if need not in have:
                raise UserError(f"{at or row.method}: the {reader} needs {_missing(row, need)}.")
    if row.bridges and "media" not in have:
        raise UserError(f"{at or row.method}: bridges need {_missing(row, 'media')}.")


def _missing(row: Row, need: str) -> str:
    what, mend = NEEDS[need]
    if need in ("picture", "text") and _says("text", row.text or {}, "writes", False):
        mend = "beside a language model text: {split: …}, the layers before the gates, and head: {kind: resampler}"
    side = "image" if need in ("patches", "local") else "text" if need == "tokens" else ""
    encoder = (getattr(row, side) or {}).get("encoder") if side else None
    if encoder:
        return f"{what}, and '{encoder}' gives one vector: take a tower that learns, for example hf:NAME"
    return f"{what}: {mend}"


def _says(setting: str, spec: Mapping[str, Any], what: str, usual: Any) -> Any:
    kinds, kind = Kinds(setting), str(spec.get("kind"))
    return kinds.declares(kind, what, usual) if kind in kinds else usual


def streams_of(
    losses: Mapping[str, Mapping[str, Any]], streams: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[str, ...]]:
    """Return loss → the streams that it sees: those it names, else all that have what it reads.

    >>> both, alone = {"has": ["picture", "text"]}, {"has": ["picture"]}
    >>> streams_of({"contrast": {}, "views": {}}, {"pairs": both, "pictures": alone})
    {'contrast': ('pairs',), 'views': ('pairs', 'pictures')}
    """
    out = {}
    for name, spec in losses.items():
        asked = {"text" if one in ("target", "rating", "triple") else one for one in reads_of(name, spec)}
        asked &= {"picture", "text"}
        fit = tuple(n for n, s in streams.items() if asked <= set(s.get("has", ("picture", "text"))))
        out[name] = tuple(spec.get("streams", fit))
    return out


def taken_of(row: Row) -> set[str]:
    """Return the kinds of a dataset's rows that the samplers of a row read: `caption`, `document`, `triple` …

    >>> from panoglot.networks._row import load_row
    >>> sorted(taken_of(load_row("cosmo"))), sorted(taken_of(load_row("clip")))
    (['caption', 'document', 'video'], ['caption'])
    """
    out: set[str] = set()
    for _, stage in row.each_stage():
        for spec in (stage.sampler, *(s["sampler"] for s in stage.streams.values() if "sampler" in s)):
            out |= set(_says("sampler", spec, "takes", ("caption",)))
        if any("text" not in s.get("has", ("text",)) for s in stage.streams.values()):
            out.add("picture")
    return out


def judged_of(row: Row) -> dict[str, Any]:
    """Return which ratings the sampler of a row counts, and how: options of `read_records`."""
    return {key: row.sampler[key] for key in ("criteria", "raters") if row.sampler.get(key) is not None}


def too_few(items: int, batch: int) -> str:
    """Say that there are fewer items than a batch has, and which batch would do: `--check` and the run say the same.

    >>> too_few(12, 256)
    '12 items cannot fill a batch of 256: --batch 6, or more data'
    """
    return f"{items:,} items cannot fill a batch of {batch:,}: --batch {max(1, items // 2)}, or more data"
