"""Which images and captions a search may find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.languages import canonical_language, meeting
from panoglot.table import KEPT_CAPTION, KINDS, Dataset, sql_in
from panoglot.vectors import stamp

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Allowed", "Filters", "Tags", "contains", "distinct", "ids_of", "where_captions"]

#: Languages or kinds that were asked for; none: all.
Tags = tuple[str, ...]


def where_captions(lang: Tags, kinds: Tags, present: Callable[[], Mapping[str, int]]) -> str:
    """SQL for kept captions of some languages and kinds; none are all. Measurements are such where they are asked for.

    Args:
        lang: tags; captions of every language that meets one are taken.
        kinds: kinds of captions.
        present: languages of the kept captions that are there, and how many.

    >>> where_captions(("PT",), ("alt",), lambda: {"pt": 2, "pt-BR": 1, "de": 3})
    "dropped is null and lang in ('pt', 'pt-BR') and kind in ('alt')"

    Raises:
        UserError: not a language tag, or no such kind.
    """
    where = "dropped is null" if kinds or not lang else KEPT_CAPTION
    if lang:
        found, _ = meeting([*map(canonical_language, lang)], present())
        where += f" and {sql_in('lang', found)}"
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"there is no kind of caption '{kind}'.{did_you_mean(kind, KINDS)}")
    if kinds:
        where += f" and {sql_in('kind', kinds)}"
    return where


def contains(ids: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Say for each of `some` whether it is in the sorted array `ids`."""
    import numpy as np

    if not len(ids):
        return np.zeros(len(some), bool)
    at = np.minimum(np.searchsorted(ids, some), len(ids) - 1)
    found: np.ndarray = ids[at] == some
    return found


class Allowed:
    """Sorted ids (`S32`) by filter, remembered until a table changes."""

    def __init__(self, dataset: Dataset) -> None:
        self._data = dataset
        self._known: dict[tuple[str, Tags, Tags], tuple[tuple[int, ...], np.ndarray]] = {}
        self._languages: tuple[int, Counter[str]] | None = None
        self._captions_dropped: tuple[int, int] | None = None

    def remembered(
        self, key: tuple[str, Tags, Tags], now: tuple[int, ...], read: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Ids by a key, read anew when the state of the tables, `now`, is another one."""
        if key not in self._known or self._known[key][0] != now:
            if len(self._known) > 64:
                self._known.clear()
            self._known[key] = (now, read())
        return self._known[key][1]

    def languages(self) -> Counter[str]:
        """Languages of the kept captions, and how many; what was measured is none."""
        now = stamp(self._data.captions)
        if self._languages is None or self._languages[0] != now:
            counts = self._data.captions.read(["lang"], KEPT_CAPTION)["lang"].value_counts().to_pylist()
            self._languages = now, Counter({one["values"]: one["counts"] for one in counts})
        return self._languages[1]

    def captions_dropped(self) -> int:
        """How many captions are dropped."""
        now = stamp(self._data.captions)
        if self._captions_dropped is None or self._captions_dropped[0] != now:
            self._captions_dropped = now, self._data.captions.count("dropped is not null")
        return self._captions_dropped[1]

    def where(self, lang: Tags, kinds: Tags) -> str:
        """SQL for kept captions of some languages and kinds; see `where_captions`."""
        return where_captions(lang, kinds, self.languages)

    def dropped(self) -> np.ndarray:
        """Images that are dropped."""
        return self.remembered(
            ("dropped", (), ()),
            (stamp(self._data.marks),),
            lambda: ids_of(self._data.marks.read(["image_id"], "dropped is not null")["image_id"]),
        )

    def every(self) -> np.ndarray:
        """All images."""
        return self.remembered(
            ("every", (), ()),
            (stamp(self._data.images),),
            lambda: ids_of(self._data.images.read(["image_id"])["image_id"]),
        )

    def is_forgotten(self, image: str) -> bool:
        """Whether an image was forgotten; see `forget`."""
        import numpy as np

        gone = self.remembered(
            ("forgotten", (), ()),
            (stamp(self._data.marks),),
            lambda: ids_of(self._data.marks.read(["image_id"], "dropped = 'forgotten'")["image_id"]),
        )
        return bool(contains(gone, np.array([image], "S32"))[0])

    def images(self, lang: Tags, kinds: Tags) -> np.ndarray | None:
        """Images with a kept caption of one of the languages and kinds; None when all are."""
        if not lang and not kinds:
            return None
        where = self.where(lang, kinds)
        return self.remembered(
            ("images", lang, kinds),
            (stamp(self._data.captions),),
            lambda: ids_of(self._data.captions.read(["image_id"], where)["image_id"]),
        )

    def captions(self, lang: Tags, kinds: Tags) -> np.ndarray:
        """Pairs (caption id, image id) of kept captions, `[n]` with fields, sorted by caption."""
        import numpy as np

        def read() -> np.ndarray:
            rows = self._data.captions.read(["caption_id", "image_id"], self.where(lang, kinds))
            pairs = np.empty(rows.num_rows, [("caption", "S32"), ("image", "S32")])
            pairs["caption"] = np.array(rows["caption_id"].to_pylist(), "S32")
            pairs["image"] = np.array(rows["image_id"].to_pylist(), "S32")
            return np.sort(pairs, order="caption")

        return self.remembered(("captions", lang, kinds), (stamp(self._data.captions),), read)


@dataclass(frozen=True)
class Filters:
    """Which images one search may find."""

    lang: Tags = ()
    kinds: Tags = ()
    over: str = "images"
    within: np.ndarray | None = None

    def given(self) -> dict[str, Any]:
        """As `Gallery.ranked` takes them."""
        return {"lang": self.lang, "kinds": self.kinds, "within": self.within}

    def fit(self, allowed: Allowed, ids: np.ndarray) -> np.ndarray:
        """Say for each of some images whether it may be found."""
        good: np.ndarray = ~contains(allowed.dropped(), ids)
        for some in (allowed.images(self.lang, self.kinds), self.within):
            if some is not None:
                good &= contains(some, ids)
        return good


def ids_of(column: object) -> np.ndarray:
    """Ids of a column, sorted, each once, `S32`."""
    import numpy as np

    return distinct(np.array(column.to_pylist(), "S32"))  # type: ignore[attr-defined]


def distinct(ids: np.ndarray) -> np.ndarray:
    """Ids sorted, each once: `np.unique` would load masked arrays for it, which takes as long as the search."""
    import numpy as np

    found = np.sort(ids)
    return found[np.append(True, found[1:] != found[:-1])] if len(found) else found
