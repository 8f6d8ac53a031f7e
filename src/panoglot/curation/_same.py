"""Whether pictures that a finder holds for the same are: by what people wrote about them, and by their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from panoglot.curation._count import key64
from panoglot.curation._groups import Groups
from panoglot.curation._memory import kept_groups
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.table import Dataset
from panoglot.text import same_text

if TYPE_CHECKING:
    import numpy as np

    from panoglot.curation._contract import Step
    from panoglot.vectors import ImageIndex

__all__ = ["CARRIED", "MOST_DIFFERENCE", "OWN", "Same", "difference", "texts_differ"]

#: Recipe of captions that came over from a copy (see `_carry`); here because no copy is judged by them.
CARRIED = "carried/1"
#: All others, as a condition in SQL.
OWN = f"(recipe is null or recipe != '{CARRIED}')"
#: Most that two copies differ by, see `difference`. Of 62 pairs of Tux Paint stamps that exist twice (as PNG and SVG)
#: the worst is at 49; brown and green eyes are at 76, coins of 10 and 50 cents at 83 (`benchmarks/bench_copies.py`).
MOST_DIFFERENCE = 60.0
_SIDE, _BLOCK = 64, 4
#: Pictures of a group that stay and that another is compared with, pixel by pixel; with more of them it stays too.
_MOST_LOOKS = 50


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """How much two thumbnails differ where they differ most: 0 to 255.

    The mean of a block of 4 x 4 pixels, each by its worst channel: another number on a coin or another colour of an eye
    is a small part of a picture. What differs by being lighter or darker as a whole does not count.

    Args:
        one: uint8 `[64, 64, 3]`.
        other: the same.

    >>> import numpy as np
    >>> grey = np.full((64, 64, 3), 100, np.uint8)
    >>> eye = grey.copy(); eye[8:12, 8:12, 0] = 200
    >>> difference(grey, grey + 9), difference(grey, eye) > 99
    (0.0, True)
    """
    import numpy as np

    apart = one.astype(np.float32) - other.astype(np.float32)
    apart -= np.median(apart)
    blocks = np.abs(apart).max(axis=2).reshape(_SIDE // _BLOCK, _BLOCK, _SIDE // _BLOCK, _BLOCK)
    return float(blocks.mean(axis=(1, 3)).max())


def texts_differ(one: dict[int, set[int]], other: dict[int, set[int]]) -> bool | None:
    """Say whether people wrote different things: in more than half of the languages that both have, no text is shared.

    Args:
        one: language to texts.
        other: the same of the other picture.

    Returns:
        None where no language is common: nothing can be said.

    >>> texts_differ({1: {5}, 2: {7}}, {1: {5}, 2: {8}}), texts_differ({1: {5}}, {1: {6}}), texts_differ({1: {5}}, {})
    (False, True, None)
    """
    common = one.keys() & other.keys()
    if not common:
        return None
    return 2 * sum(bool(one[lang] & other[lang]) for lang in common) < len(common)


class Same:
    """Groups of pictures that finders hold for the same, and who of a group is a copy of whom.

    Within a group a picture is a copy of one that stays when people wrote the same about both; or when their pixels
    agree; or, where captions say nothing, because the finder says so. The last is not enough in a group of which the
    captions of two differ, nor for a step with `look`.

    Attributes:
        group_of: image id to group, for images that have company.
        apart: pictures that a finder held for copies and that stay.
    """

    def __init__(self, dataset: Dataset, finders: Sequence[Step], images: ImageIndex, *, dry_run: bool = False) -> None:
        import numpy as np

        def find() -> np.ndarray:
            groups = Groups(len(images))
            for step in finders if len(images) else ():
                for left, right in step.bind(dataset, images):
                    groups.join(left, right)
            return groups.roots()

        self._dataset, self._images, self.apart = dataset, images, 0
        self._look = any(step.options.get("look", False) for step in finders)
        self._thumbnail = lru_cache(maxsize=2048)(self._decode)
        roots = kept_groups(dataset, finders, images, find, dry_run=dry_run)
        company = np.flatnonzero(np.bincount(roots, minlength=len(roots))[roots] > 1)
        ids = list(images.names(company))
        self.group_of: dict[str, int] = dict(zip(ids, roots[company].tolist()))
        self._read(ids)

    def settle(self, members: list[str]) -> Iterator[tuple[str, str | None]]:
        """Say of every member of a group, the best first, whose copy it is: None for one that stays."""
        texts = {image: self._texts(image) for image in members}
        stay = members[:1]
        look = self._look or any(texts_differ(texts[stay[0]], texts[image]) for image in members[1:])
        for image in members:
            of = stay[0] if image == stay[0] else None
            if of is None:
                said = {other: texts_differ(texts[other], texts[image]) for other in stay}
                of = next((other for other in stay if said[other] is False), None)
                if of is None and not look:
                    of = next((other for other in stay if said[other] is None), None)
                if of is None:
                    of = next((other for other in stay[:_MOST_LOOKS] if self._alike(other, image)), None)
                if of is None:
                    stay.append(image)
                    self.apart += 1
            yield image, None if of is None or of == image else of

    def _alike(self, one: str, other: str) -> bool:
        mine, theirs = self._thumbnail(one), self._thumbnail(other)
        return mine is not None and theirs is not None and difference(mine, theirs) <= MOST_DIFFERENCE

    def _decode(self, image: str) -> np.ndarray | None:
        for data in self._dataset.images.get([image], ["data"])["data"].to_pylist():
            try:
                return Image(data).thumbnail(_SIDE)
            except RowError:  # nobody can see that it is the same
                pass
        return None

    def _read(self, ids: list[str]) -> None:
        """Read what people wrote about these pictures: 24 bytes a caption."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = [np.empty((0, 3), np.uint64)]
        here = pa.array(ids, pa.string())
        columns, where = ["image_id", "lang", "text"], f"kind = 'human' and {OWN} and region is null"
        for batch in self._dataset.captions.batches(columns, where, size=8192) if ids else ():
            some = batch.filter(pc.is_in(batch["image_id"], here))
            langs, texts = some["lang"].to_pylist(), some["text"].to_pylist()
            keys = [(key64(lang or ""), key64(same_text(text).strip(" ."))) for lang, text in zip(langs, texts)]
            owners = [key64(image) for image in some["image_id"].to_pylist()]
            rows.append(np.column_stack([np.array(owners, np.uint64), np.array(keys, np.uint64).reshape(-1, 2)]))
        found = np.concatenate(rows)
        found = found[np.argsort(found[:, 0], kind="stable")]
        self._owners, self._keys = found[:, 0], found[:, 1:]

    def _texts(self, image: str) -> dict[int, set[int]]:
        if not len(self._owners):
            return {}
        import numpy as np

        mine = np.uint64(key64(image))
        start, end = np.searchsorted(self._owners, mine), np.searchsorted(self._owners, mine, side="right")
        found: dict[int, set[int]] = {}
        for lang, text in self._keys[start:end].tolist():
            found.setdefault(lang, set()).add(text)
        return found
