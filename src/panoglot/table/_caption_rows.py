"""Rows of `captions` and the records that they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, overload

from panoglot.geometry import Region
from panoglot.table._memory import no_collection
from panoglot.table._records import Caption, is_translation, machine_kind

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PLAIN", "CaptionRows", "caption_from_row", "caption_records", "caption_to_row"]


#: Fields that are read of every caption; the records are made when somebody looks at them.
PLAIN = ("caption_id", "text", "lang", "kind")


class CaptionRows(Sequence[Caption]):
    """The captions of one image, made of their rows when somebody looks at them: most are in other languages.

    >>> list(CaptionRows()), CaptionRows() == []
    ([], True)
    """

    def __init__(self, rows: pa.Table | None = None, plain: Mapping[str, list[str]] | None = None) -> None:
        self._rows = rows
        self._plain = plain or {name: [] for name in PLAIN}
        self._made: list[Caption] | None = None

    @classmethod
    def each(cls, rows: pa.Table) -> dict[str, CaptionRows]:
        """The captions of every image of a table, whose rows of an image stand together."""
        images, recipes = rows["image_id"].to_pylist(), rows["recipe"].to_pylist()
        plain = {name: rows[name].to_pylist() for name in PLAIN}
        made = {recipe for recipe in set(recipes) if is_translation(recipe)}
        if made:
            kinds = zip(plain["kind"], recipes)
            plain["kind"] = [machine_kind(kind) if recipe in made else kind for kind, recipe in kinds]
        found, at = {}, 0
        for image, many in Counter(images).items():
            some = {name: values[at : at + many] for name, values in plain.items()}
            found[image] = cls(rows.slice(at, many), some)
            at += many
        return found

    @classmethod
    def of(cls, captions: Sequence[Caption]) -> CaptionRows:
        """Captions that are made already."""
        found = cls(None, {name: [getattr(caption, name) for caption in captions] for name in PLAIN})
        found._made = list(captions)
        return found

    def column(self, name: str) -> list[str]:
        """One of the `PLAIN` fields of all."""
        return self._plain[name]

    def plain(self, numbers: Sequence[int]) -> list[dict[str, str]]:
        """The `PLAIN` fields of some."""
        columns = [(name, self._plain[name]) for name in PLAIN]
        return [{name: values[n] for name, values in columns} for n in numbers]

    def __len__(self) -> int:
        return len(self._plain["text"])

    @overload
    def __getitem__(self, at: int) -> Caption: ...
    @overload
    def __getitem__(self, at: slice) -> list[Caption]: ...
    def __getitem__(self, at: int | slice) -> Caption | list[Caption]:
        return self._all()[at]

    def __iter__(self) -> Iterator[Caption]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all())

    def _all(self) -> list[Caption]:
        if self._made is None:
            self._made = [] if self._rows is None else caption_records(self._rows)
        return self._made


def caption_from_row(row: dict[str, Any]) -> Caption:
    """Make a `Caption` of a row of `captions`."""
    values: list[Any] = [row.get(name) for name in _COLUMNS]
    return _caption(*values)


def caption_records(rows: pa.Table | pa.RecordBatch) -> list[Caption]:
    """Make the captions of rows, in their order, at a fifth of what it costs one by one.

    Args:
        rows: of the table; columns that may be empty may be missing.
    """
    have = set(rows.schema.names)

    def column(name: str) -> Any:
        some = name in have and rows[name].null_count < max(1, len(rows[name]))
        return rows[name].to_pylist() if some else repeat(None)

    with no_collection():
        return [_caption(*values) for values in zip(*map(column, _COLUMNS), strict=False)]


_COLUMNS = (
    *("text", "lang", "kind", "model", "parents", "region", "scores", "dropped", "recipe", "image_id", "caption_id"),
    *("run_id", "author", "licence"),
)


def _caption(
    text: str,
    lang: str,
    kind: str,
    model: str | None,
    parents: Sequence[str] | None,
    region: Mapping[str, Any] | None,
    scores: Any,
    dropped: str | None,
    recipe: str | None,
    image: str,
    key: str,
    run: str | None,
    author: str | None,
    licence: str | None,
) -> Caption:
    """The record of the values of a row, in the order of `_COLUMNS` and of the record's own fields."""
    return Caption(
        text,
        lang,
        machine_kind(kind) if is_translation(recipe) else kind,
        model or "",
        tuple(parents) if parents else (),
        Region.of(region),
        dict(scores) if scores else {},
        dropped,
        recipe or "",
        image,
        key,
        run or "",
        author or "",
        licence or "",
    )


def caption_to_row(caption: Caption) -> dict[str, Any]:
    """Make a row of `captions` of a `Caption` whose ids are filled in."""
    return {
        "caption_id": caption.caption_id,
        "image_id": caption.image_id,
        "text": caption.text,
        "lang": caption.lang,
        "kind": caption.kind,
        "recipe": caption.recipe,
        "model": caption.model,
        "parents": [p if isinstance(p, str) else p.caption_id for p in caption.parents],
        "region": caption.region.plain() if caption.region else None,
        "scores": dict(caption.scores),
        "dropped": caption.dropped,
        "run_id": caption.run_id,
        "author": caption.author or None,
        "licence": caption.licence or None,
    }
