"""Counts over all images and captions, by streaming: memory grows with the languages, not with the rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.table import GIVEN_KINDS, LEFT_OUT, Dataset, machine_kind

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["EDGES", "Counts", "Tally", "count"]

KEPT, DROPPED, DRAFT = "kept", "dropped", "draft"

#: Text lengths in characters, exact up to 256, then about 9 % apart: bin `n` holds `EDGES[n] <= length < EDGES[n+1]`.
EDGES = [*range(257), *(round(256 * 2 ** (step / 8)) for step in range(1, 97))]
#: Distinct origins or reasons that are told apart; a dataset with more is broken, and memory stays bounded.
MOST_DISTINCT = 20_000


@dataclass
class Tally:
    """Captions of one language or kind.

    Attributes:
        kept: captions that are kept.
        dropped: captions that are dropped, drafts apart.
        drafts: intermediate texts.
        lengths: bin of `EDGES` to kept captions.
    """

    kept: int = 0
    dropped: int = 0
    drafts: int = 0
    lengths: Counter[int] = field(default_factory=Counter)

    def add(self, state: str, length: int, rows: int) -> None:
        """Count `rows` captions with a length bin."""
        if state == KEPT:
            self.kept += rows
            self.lengths[length] += rows
        elif state == DRAFT:
            self.drafts += rows
        else:
            self.dropped += rows

    @property
    def total(self) -> int:
        """All of them."""
        return self.kept + self.dropped + self.drafts

    def quantile(self, share: float) -> int | None:
        """Return the length that `share` of the kept captions do not exceed (nearest rank), or None without any.

        >>> Tally(kept=3, lengths=Counter({4: 1, 7: 1, 9: 1})).quantile(0.5)
        7
        """
        wanted, seen = share * self.kept, 0
        for length in sorted(self.lengths):
            seen += self.lengths[length]
            if seen >= wanted:
                found: int | None = EDGES[length]
                return found
        return None


@dataclass
class Counts:
    """What `count` finds.

    Attributes:
        images: pictures in the dataset.
        bytes: their encoded size.
        formats: pictures by format.
        kept_images: pictures that are not dropped.
        captioned: kept pictures with at least one kept caption.
        total: all captions; what was only measured about a picture (kind `fact`) is counted under `kinds` alone.
        of_dropped: kept captions of dropped pictures, which no search and no export has; they are in `total` too.
        languages: by language tag.
        kinds: by kind.
        origins: (kind, recipe, model) to kept captions.
        dropped_captions: reason, what follows a colon taken off, to captions.
        dropped_by: (recipe, reason) to dropped captions.
        dropped_images: the same of images.
    """

    images: int = 0
    bytes: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    kept_images: int = 0
    captioned: int = 0
    total: Tally = field(default_factory=Tally)
    of_dropped: int = 0
    languages: dict[str, Tally] = field(default_factory=dict)
    kinds: dict[str, Tally] = field(default_factory=dict)
    origins: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    dropped_captions: Counter[str] = field(default_factory=Counter)
    dropped_by: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped_images: Counter[str] = field(default_factory=Counter)


def base_reason(reasons: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """`duplicate_of:0f…` as `duplicate_of`; null stays null."""
    import pyarrow.compute as pc

    return pc.replace_substring_regex(reasons, pattern=r"(?s):.*", replacement="")


def count(dataset: Dataset, batch: int = 16_384) -> Counts:
    """Count everything that the page tells, in one pass over a few columns of each table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = Counts(images=dataset.images.count())
    for rows in dataset.images.batches(["format", "size"], size=batch):
        found.bytes += pc.sum(rows["size"]).as_py() or 0
        found.formats.update(_values(rows["format"]))
    gone = []
    for rows in dataset.marks.batches(["image_id", "dropped"], LEFT_OUT, size=batch):
        _add(found.dropped_images, _values(base_reason(rows["dropped"])))
        gone.append(rows["image_id"])
    found.kept_images = found.images - sum(map(len, gone))
    left_out = pa.chunked_array(gone, pa.string())
    columns = ["image_id", "text", "lang", "kind", "recipe", "model", "dropped"]
    captioned: list[pa.Array] = []
    for rows in dataset.captions.batches(columns, size=batch):
        reason = base_reason(rows["dropped"])
        state = pc.if_else(
            pc.is_null(reason), KEPT, pc.if_else(pc.equal(pc.fill_null(reason, ""), DRAFT), DRAFT, DROPPED)
        )
        table = pa.table(
            {
                "lang": pc.fill_null(rows["lang"], "und"),
                "kind": _kinds(rows),
                "state": state,
                "bin": _bins(rows["text"]),
                "recipe": pc.fill_null(rows["recipe"], ""),
                "model": pc.fill_null(rows["model"], ""),
            }
        )
        for lang, kind, what, length, n in _grouped(table, "lang", "kind", "state", "bin"):
            tallies = [found.kinds.setdefault(kind, Tally())]
            if kind != "fact":
                tallies += [found.total, found.languages.setdefault(lang, Tally())]
            for tally in tallies:
                tally.add(what, length, n)
        for kind, recipe, model, n in _grouped(table.filter(pc.equal(state, KEPT)), "kind", "recipe", "model"):
            _add(found.origins, {(kind, recipe, model): n})
        for recipe, why, n in _grouped(
            table.append_column("why", reason).filter(pc.equal(state, DROPPED)), "recipe", "why"
        ):
            _add(found.dropped_by, {(recipe, why): n})
        caption = pc.not_equal(table["kind"].combine_chunks(), "fact")
        _add(found.dropped_captions, _values(reason.filter(caption).drop_null()))
        mine = rows["image_id"].filter(pc.and_(pc.equal(state, KEPT), caption))
        found.of_dropped += pc.sum(pc.is_in(mine, left_out)).as_py() or 0
        captioned.append(pc.unique(mine))
        if len(captioned) == 64:  # ids alone, each once: some 40 bytes a picture
            captioned = [pc.unique(pa.chunked_array(captioned))]
    if captioned:
        ids = pc.unique(pa.chunked_array(captioned))
        found.captioned = len(ids) - (pc.sum(pc.is_in(ids, left_out)).as_py() or 0)
    return found


def _kinds(rows: pa.RecordBatch) -> pa.Array:
    """Kinds; of translations that older versions stored as written by people, what they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = pc.fill_null(rows["kind"], "")
    given = pc.is_in(kinds, value_set=pa.array(GIVEN_KINDS))
    translated = pc.starts_with(pc.fill_null(rows["recipe"], ""), "translate/")
    return pc.if_else(pc.and_(given, translated), machine_kind("human"), kinds)


def _bins(texts: pa.Array) -> pa.Array:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
    return pa.array(np.searchsorted(np.asarray(EDGES), lengths, side="right") - 1)


def _add(counter: Counter[Any], values: dict[Any, int]) -> None:
    for value, n in values.items():
        if len(counter) < MOST_DISTINCT or value in counter:
            counter[value] += n


def _values(column: pa.Array) -> dict[str, int]:
    import pyarrow.compute as pc

    return {pair["values"] or "": pair["counts"] for pair in pc.value_counts(column).to_pylist()}


def _grouped(table: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    grouped = table.group_by(list(columns)).aggregate([([], "count_all")]).select([*columns, "count_all"])
    return list(zip(*(column.to_pylist() for column in grouped.columns)))
