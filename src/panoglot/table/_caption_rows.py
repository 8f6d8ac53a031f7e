"""Rows of `captions` and the records that they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from panoglot.geometry import Region
from panoglot.table._records import Caption, is_translation, machine_kind
from panoglot.table._table import plain_rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CaptionRows", "caption_from_row", "caption_to_row"]


class CaptionRows(Sequence[Caption]):
    """The captions of one image, made of their rows when somebody looks at them: most are in other languages.

    >>> list(CaptionRows()), CaptionRows() == []
    ([], True)
    """

    def __init__(self, rows: pa.Table | None = None) -> None:
        self._rows = rows
        self._made: list[Caption] | None = None

    def __len__(self) -> int:
        return len(self._all()) if self._rows is None else int(self._rows.num_rows)

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

    @classmethod
    def of(cls, captions: Sequence[Caption]) -> CaptionRows:
        """Captions that are made already."""
        found = cls()
        found._made = list(captions)
        return found

    def column(self, name: str) -> list[Any]:
        """One column of all rows: a field of `Caption`."""
        if self._rows is None:
            return [getattr(caption, name) for caption in self._all()]
        found: list[Any] = self._rows[name].to_pylist()
        return found

    def take(self, numbers: Sequence[int]) -> list[Caption]:
        """Some of them."""
        if self._made is None and self._rows is not None and len(numbers):
            return [caption_from_row(row) for row in plain_rows(self._rows.take(list(numbers)))]
        return [self._all()[n] for n in numbers]

    def _all(self) -> list[Caption]:
        if self._made is None:
            rows = [] if self._rows is None else plain_rows(self._rows)
            self._made = [caption_from_row(row) for row in rows]
        return self._made


def caption_from_row(row: dict[str, Any]) -> Caption:
    """Make a `Caption` of a row of `captions`."""
    return Caption(
        text=row["text"],
        lang=row["lang"],
        kind=machine_kind(row["kind"]) if is_translation(row["recipe"]) else row["kind"],
        model=row["model"] or "",
        parents=tuple(row["parents"] or ()),
        region=Region.of(row.get("region")),
        scores=dict(row["scores"] or {}),
        dropped=row["dropped"],
        recipe=row["recipe"] or "",
        image_id=row["image_id"],
        caption_id=row["caption_id"],
        run_id=row["run_id"] or "",
        author=row.get("author") or "",
        licence=row.get("licence") or "",
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
