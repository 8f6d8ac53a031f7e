"""All pictures of a dataset in order of id, for a page that scrolls through them: shapes at once, texts by windows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from panoglot.checks import several
from panoglot.languages import base_language, canonical_language, matches
from panoglot.retrieval import Hits, Searcher
from panoglot.retrieval._indexing import telling
from panoglot.retrieval._where import images_where, read_where
from panoglot.table import Caption, CaptionRows, sql_in
from panoglot.vectors import stamp

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Shelf", "readers", "shown", "told_rows"]

#: Shapes are given in thousandths, and between these.
_SCALE, _FLATTEST, _TALLEST = 1000, 60_000, 50


class Shelf:
    """What is kept of the tables is read anew when they change."""

    def __init__(self, searcher: Searcher) -> None:
        self._data, self._allowed = searcher.dataset, searcher._allowed
        self._shapes: tuple[int, np.ndarray, np.ndarray] | None = None
        self._orders: dict[Any, tuple[tuple[int, ...], np.ndarray, str]] = {}

    def shapes(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted ids of all pictures, `S32`, and width / height in thousandths, uint16."""
        import numpy as np

        now = stamp(self._data.images)
        known = self._shapes
        if known is None or known[0] != now:
            rows = self._data.images.read(["image_id", "width", "height"])
            ids = np.array(rows["image_id"].to_pylist(), "S32")
            order = np.argsort(ids, kind="stable")
            sides = [np.nan_to_num(rows[name].to_numpy().astype(np.float64)) for name in ("width", "height")]
            ratio = np.where(sides[1] > 0, sides[0] / np.maximum(sides[1], 1), 1.0) * _SCALE
            shapes = np.clip(np.round(ratio), _TALLEST, _FLATTEST).astype("<u2")
            known = self._shapes = now, ids[order], shapes[order]
        return known[1:]

    def of(self, ids: Sequence[str]) -> list[float]:
        """Width / height of some pictures."""
        import numpy as np

        every, shapes = self.shapes()
        if not len(every):
            return [1.0] * len(ids)
        at = np.minimum(np.searchsorted(every, np.array(ids, "S32")), len(every) - 1)
        return [round(float(shape) / _SCALE, 3) for shape in shapes[at].tolist()]

    def order(self, lang: str = "", kinds: str = "", where: str | None = None) -> tuple[np.ndarray, str]:
        """Sorted ids of the kept pictures that the filters take, and their version.

        Raises:
            UserError: not a language, no such kind, not a condition.
        """
        import numpy as np

        data, langs, kept_kinds = self._data, several(lang), several(kinds)
        key = (langs, kept_kinds, where)
        now = (stamp(data.images), stamp(data.marks), stamp(data.captions) if lang or kinds or where else 0)
        if key not in self._orders or self._orders[key][0] != now:
            sets = [self._allowed.images(langs, kept_kinds)]
            sets.append(images_where(data, read_where(where), self._allowed) if where else None)
            ids = self._allowed.every()
            for some in sets:
                if some is not None:
                    ids = np.intersect1d(ids, some, assume_unique=True)
            ids = np.setdiff1d(ids, self._allowed.dropped(), assume_unique=True)
            if len(self._orders) >= 16:
                self._orders.clear()
            self._orders[key] = now, ids, hashlib.sha256(ids.tobytes()).hexdigest()[:16]
        return self._orders[key][1:]

    def layout(self, ids: np.ndarray) -> bytes:
        """Shapes of some pictures, in order."""
        import numpy as np

        every, shapes = self.shapes()
        if not len(every):
            return b""
        found: bytes = shapes[np.minimum(np.searchsorted(every, ids), len(every) - 1)].tobytes()
        return found

    def items(self, ids: Sequence[str], langs: Sequence[str]) -> list[dict[str, Any]]:
        """Id and the caption that is shown, of some pictures."""
        present = self._allowed.languages()
        wanted = [tag for tag in present if _any_fits(tuple(langs), tag)]
        rows = self._captions(ids, sql_in("lang", wanted)) if wanted else {}
        if others := [key for key in ids if key not in rows]:
            rows |= self._captions(others, "true")
        return [{"id": key, **_told(_best(rows.get(key, []), langs))} for key in ids]

    def _captions(self, ids: Sequence[str], where: str) -> dict[str, list[dict[str, Any]]]:
        """Kept captions of some pictures, no more of them than is needed to choose: most are in other languages."""
        found: dict[str, list[dict[str, Any]]] = {}
        kept = f"dropped is null and kind != 'fact' and {where}"
        columns = ["caption_id", "image_id", "text", "lang", "kind"]
        for row in self._data.captions.read(columns, f"{sql_in('image_id', ids)} and {kept}").to_pylist():
            found.setdefault(row["image_id"], []).append(row)
        return found


def readers(hits: Hits, asked: Sequence[str]) -> list[str]:
    """The languages of a reader, where `query` stands for that of the captions whose words were found.

    A name or a loan word stands in captions of many languages: where it was found in one of the reader's own, `query`
    stands for none.
    """
    if "query" not in asked:
        return list(asked)
    own = tuple(one for one in asked if one != "query")
    found = {part.get("lang") or "und" for hit in hits if (part := hit.parts.get("lexical"))}
    lang = "und" if any(_any_fits(own, one) for one in found) else hits.lang
    return [tag for one in asked if (tag := lang if one == "query" else one) != "und"]


def shown(captions: Sequence[Caption], langs: Sequence[str]) -> dict[str, Any]:
    """The text and language of the caption that a reader of some languages is shown, and how many there are.

    >>> both = [Caption("a dog", "en", "human", caption_id="1"), Caption("ein Hund", "de-AT", "human", caption_id="2")]
    >>> shown(both, ["de", "en"]), shown(both, ["sw"])["text"]
    ({'text': 'ein Hund', 'lang': 'de-AT', 'captions': 2}, 'a dog')
    """
    rows, kept = told_rows(captions)
    asked, tags = tuple(langs), rows.column("lang")
    some = [n for n in kept if _any_fits(asked, tags[n])] or kept  # most are in other languages
    return {**_told(_best(rows.plain(some), langs)), "captions": len(kept)}


def told_rows(captions: Sequence[Caption]) -> tuple[CaptionRows, list[int]]:
    """Captions as rows, and the numbers of those that are no measurements."""
    rows = captions if isinstance(captions, CaptionRows) else CaptionRows.of(captions)
    return rows, [n for n, kind in enumerate(rows.column("kind")) if kind != "fact"]


def _best(rows: list[dict[str, Any]], langs: Sequence[str]) -> dict[str, Any] | None:
    """The most telling caption of the first language that there is one of, else of all."""
    fit = next((some for lang in langs if (some := [r for r in rows if _fits(lang, r["lang"])])), rows)
    return telling(fit) if fit else None


def _told(row: dict[str, Any] | None) -> dict[str, Any]:
    return {"text": row["text"], "lang": row["lang"]} if row else {"text": "", "lang": "und"}


@lru_cache(maxsize=1 << 14)
def _any_fits(asked: tuple[str, ...], lang: str) -> bool:
    return any(_fits(one, lang) for one in asked)


@lru_cache(maxsize=1 << 14)
def _fits(asked: str, lang: str) -> bool:
    """Whether who reads a language may be shown a text of another tag of it.

    Raises:
        UserError: not a language.
    """
    tag = canonical_language(asked)
    return matches(tag, lang) or base_language(tag) == base_language(lang)
