"""Captions of pictures as a piece of Arrow: rows of Python are made when a format wants them, and all at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from panoglot.formats._record import flat_region
from panoglot.geometry import Region
from panoglot.table import GIVEN_KINDS, is_translation, machine_kind, no_collection

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Span", "Spans", "joined"]


class Spans:
    """Captions in their order, those of a picture together.

    Args:
        table: rows of the table `captions`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()
        self._arrow: pa.StructArray | None = None

    def column(self, name: str) -> pa.Array:
        """A column, in one piece."""
        import pyarrow as pa

        chunks = self.table[name].chunks
        return chunks[0] if chunks else pa.array([], self.table.schema.field(name).type)

    @cached_property
    def kinds(self) -> pa.Array:
        """The kinds: what a machine translated is no text of a person, whatever is stored."""
        import pyarrow as pa

        kinds, recipes = self.column("kind"), self.column("recipe")
        made = {recipe for recipe in recipes.unique().to_pylist() if is_translation(recipe)}
        if not made or not {*GIVEN_KINDS} & {*kinds.unique().to_pylist()}:
            return kinds
        told = zip(kinds.to_pylist(), recipes.to_pylist())
        return pa.array([machine_kind(kind) if recipe in made else kind for kind, recipe in told], kinds.type)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The captions as a record holds them."""
        values = (
            self.column("caption_id").to_pylist(),
            self.column("text").to_pylist(),
            self.column("lang").to_pylist(),
            self.kinds.to_pylist(),
            self.column("recipe").fill_null("").to_pylist(),
            self.column("model").fill_null("").to_pylist(),
            _lists(self.column("parents")),
            self._regions(),
            _dictionaries(self.column("scores")),
            self.column("dropped").to_pylist(),
        )
        with no_collection():
            return [
                {
                    "caption_id": key,
                    "text": text,
                    "lang": lang,
                    "kind": kind,
                    "recipe": recipe,
                    "model": model,
                    "parents": parents,
                    "region": region,
                    "scores": scores,
                    "dropped": dropped,
                }
                for key, text, lang, kind, recipe, model, parents, region, scores, dropped in zip(*values, strict=True)
            ]

    def _regions(self) -> list[dict[str, Any] | None]:
        regions = self.column("region")
        if regions.null_count == len(regions):
            return [None] * len(regions)
        found = (Region.of(row) for row in regions.to_pylist())
        return [flat_region(region) if region else None for region in found]

    def arrow(self, kind: pa.StructType) -> pa.StructArray:
        """The captions as structs of a list in Arrow, no row made.

        Args:
            kind: what a record's captions are there, with scores as pairs of `name` and `value`.
        """
        import pyarrow as pa

        if self._arrow is not None:
            return self._arrow
        made = {
            "kind": self.kinds,
            "model": self.column("model").fill_null(""),
            "recipe": self.column("recipe").fill_null(""),
            "parents": _without_null(self.column("parents")),
            "region": pa.array(self._regions(), kind.field("region").type),
            "scores": _pairs(self.column("scores"), kind.field("scores").type),
        }
        fields = [kind.field(n) for n in range(kind.num_fields)]
        arrays = [made[f.name] if f.name in made else self.column(f.name) for f in fields]
        self._arrow = pa.StructArray.from_arrays(arrays, fields=fields)
        return self._arrow


class Span(NamedTuple):
    """The captions of one picture: rows `start` to `stop` of `spans`."""

    spans: Spans
    start: int
    stop: int

    def rows(self) -> list[dict[str, Any]]:
        """The captions as a record holds them."""
        return self.spans.rows[self.start : self.stop] if self.stop > self.start else []


def joined(spans: Sequence[Span], kind: pa.ListType) -> pa.ListArray:
    """A list of captions a picture, in Arrow.

    Args:
        spans: of pictures, in order.
        kind: of the list.
    """
    import numpy as np
    import pyarrow as pa

    runs: list[Span] = []  # what follows each other is copied at once
    for span in spans:
        if runs and runs[-1].spans is span.spans and runs[-1].stop == span.start:
            runs[-1] = runs[-1]._replace(stop=span.stop)
        elif span.stop > span.start:
            runs.append(span)
    values = [pa.array([], kind.value_type)]
    values += [run.spans.arrow(kind.value_type).slice(run.start, run.stop - run.start) for run in runs]
    ends = np.cumsum([0, *(span.stop - span.start for span in spans)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.concat_arrays(values), type=kind)


def _without_null(lists: pa.ListArray) -> pa.ListArray:
    import pyarrow as pa

    return lists.fill_null(pa.scalar([], lists.type)) if lists.null_count else lists


def _lists(lists: pa.ListArray) -> list[list[Any]]:
    """Lists of Python, a new one each; most are empty."""
    ends = lists.offsets.to_pylist()
    if ends[0] == ends[-1]:
        return [[] for _ in range(len(lists))]
    first, values = ends[0], lists.flatten().to_pylist()
    return [values[a - first : b - first] for a, b in pairwise(ends)]


def _entries(maps: pa.MapArray) -> tuple[list[int], pa.Array, pa.Array]:
    """Where the entries of each begin and end, their names and values."""
    ends = maps.offsets.to_pylist()
    first, many = ends[0], ends[-1] - ends[0]
    return [end - first for end in ends], maps.keys.slice(first, many), maps.items.slice(first, many)


def _dictionaries(maps: pa.MapArray) -> list[dict[str, Any]]:
    ends, keys, items = _entries(maps)
    names, values = keys.to_pylist(), items.to_pylist()
    return [
        ({names[a]: values[a]} if b == a + 1 else dict(sorted(zip(names[a:b], values[a:b])))) if b > a else {}
        for a, b in pairwise(ends)
    ]


def _pairs(maps: pa.MapArray, kind: pa.ListType) -> pa.ListArray:
    """Scores as lists of name and value, by name."""
    import pyarrow as pa

    ends, keys, items = _entries(maps)
    if any(b - a > 1 for a, b in pairwise(ends)):
        scores = [[{"name": k, "value": v} for k, v in one.items()] for one in _dictionaries(maps)]
        return pa.array(scores, kind)
    fields = [kind.value_type.field(0), kind.value_type.field(1)]
    values = pa.StructArray.from_arrays([keys, items.cast(fields[1].type)], fields=fields)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, type=kind)
