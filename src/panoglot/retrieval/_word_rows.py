"""Of what the rows of the table of words are, and the captions of images as they are shown: mapped from beside it.

A search reads no row of any table for its candidates, and none for the texts of its hits.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.languages import base_language
from panoglot.table import Dataset, is_translation, machine_kind
from panoglot.vectors import check_folder, seal_folder

if TYPE_CHECKING:
    import lance
    import numpy as np
    import pyarrow as pa

__all__ = ["WordRows"]

#: What is known of a row: its image and caption, the number of the stems that it has (0: none), its language, its kind
#: and the kind that is shown (numbers of names), where its text lies.
_KIND = [
    ("image", "S32"), ("caption", "S32"), ("stems", "u1"), ("lang", "u2"), ("kind", "u1"), ("shown", "u1"),
    ("at", "i8"), ("size", "i4"),
]  # fmt: skip
_FILES = ("rows", "order", "texts")


class WordRows:
    """Rows by address, and by image; kept beside the table, or held where nothing can be written."""

    def __init__(self, table: lance.LanceDataset, dataset: Dataset, folder: Path, stems: Sequence[str]) -> None:
        """Open what was kept, or read the tables once and keep it.

        Args:
            table: the words.
            dataset: whose captions they are of.
            folder: where it is kept.
            stems: the languages of its columns `text_…`, in order.
        """
        import numpy as np

        self._names: dict[str, list[str]] = {}
        fragments = [one.metadata for one in table.get_fragments()]
        sizes = [one.physical_rows for one in fragments]
        self._first = np.zeros(max((one.id for one in fragments), default=0) + 1, np.int64)
        self._first[[one.id for one in fragments]] = np.cumsum([0, *sizes])[:-1]
        place = folder / f"rows-{table.version}"
        if not self._map(place, sum(sizes)):
            self._read(table, dataset, sum(sizes), stems)
            self._keep(place)

    def _map(self, place: Path, count: int) -> bool:
        """Take what was kept; False where there is none, or it is damaged."""
        import numpy as np

        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            check_folder(place)
            mapped = [np.load(place / f"{name}.npy", mmap_mode="r") for name in _FILES]
            self._rows, self._order, self._texts = map(np.asarray, mapped)  # what numpy maps is slow to ask for a row
            self._names = json.loads((place / "names.json").read_text())
            return (
                self._rows.shape == (count,)
                and self._rows.dtype == np.dtype(_KIND)
                and len(self._order) <= count
                and self._names["size"] == [str(len(self._texts))]
            )
        return False

    def _keep(self, place: Path) -> None:
        import numpy as np

        temporary = place.with_name(f".{place.name}-{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):  # a read-only or full disk: held in memory
            try:
                temporary.mkdir()
                for name, array in zip(_FILES, (self._rows, self._order, self._texts), strict=True):
                    np.save(temporary / f"{name}.npy", array)
                (temporary / "names.json").write_text(json.dumps(self._names))
                seal_folder(temporary)
                for old in place.parent.glob("rows-*"):
                    shutil.rmtree(old, ignore_errors=True)
                temporary.rename(place)  # complete or not there
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _read(self, table: lance.LanceDataset, dataset: Dataset, count: int, stems: Sequence[str]) -> None:
        import numpy as np
        import pyarrow as pa

        rows = np.zeros(count, _KIND)
        for batch in table.scanner(columns=["image_id", "caption_id"], with_row_id=True).to_batches():
            at = self.places(batch["_rowid"].to_numpy())
            rows["image"][at], rows["caption"][at] = batch["image_id"].to_pylist(), batch["caption_id"].to_pylist()
        self._names |= {"lang": [], "kind": []}
        texts: list[np.ndarray] = []
        by_caption = np.argsort(rows["caption"], kind="stable")
        sorted_captions, end = rows["caption"][by_caption], 0
        known = np.zeros(count, bool)
        columns = ["caption_id", "text", "lang", "kind", "recipe"]
        for batch in dataset.captions.batches(columns, "dropped is null", 65_536) if count else ():
            keys = np.array(batch["caption_id"].to_pylist(), "S32")
            found = np.minimum(np.searchsorted(sorted_captions, keys), count - 1)
            there = sorted_captions[found] == keys
            at = by_caption[found[there]]
            known[at] = True
            blob, starts = _bytes_of(batch["text"])
            rows["at"][at], rows["size"][at] = end + starts[:-1][there], np.diff(starts)[there]
            texts.append(blob)
            end += len(blob)
            shown = [machine_kind(k) if is_translation(r) else k for k, r in _pairs(batch["kind"], batch["recipe"])]
            for name, values in (("lang", batch["lang"]), ("kind", batch["kind"]), ("shown", pa.array(shown))):
                rows[name][at] = self._numbers("lang" if name == "lang" else "kind", values)[there]
        has = np.array([_stem(lang, stems) for lang in self._names["lang"]] or [0], np.uint8)
        rows["stems"] = np.where(known, has[rows["lang"]], 0)
        self._rows, self._texts = rows, np.concatenate(texts) if texts else np.empty(0, np.uint8)
        order = np.lexsort((rows["caption"], rows["image"]))
        self._order = order[known[order]].astype(np.int32 if count < 2**31 else np.int64)
        self._names["size"] = [str(len(self._texts))]

    def _numbers(self, name: str, values: pa.Array) -> np.ndarray:
        """Values as numbers of the names that are known, to which new ones are added."""
        import numpy as np

        coded = values.dictionary_encode()
        names = self._names[name]
        names += [one for one in coded.dictionary.to_pylist() if one not in names]
        numbers = np.array([names.index(one) for one in coded.dictionary.to_pylist()], np.int64)
        found: np.ndarray = numbers[coded.indices.to_numpy()]
        return found

    def places(self, addresses: np.ndarray) -> np.ndarray:
        """Where rows of these addresses, uint64, stand, int64."""
        import numpy as np

        fragments, rows = addresses >> np.uint64(32), addresses & np.uint64(2**32 - 1)
        found: np.ndarray = self._first[fragments] + rows.astype(np.int64)
        return found

    def of(self, addresses: np.ndarray) -> np.ndarray:
        """Image, caption, stems … of rows, `[n]` with these fields."""
        found: np.ndarray = self._rows[self.places(addresses)]
        return found

    def captions(
        self, images: Sequence[str], langs: Collection[str] = (), kinds: Collection[str] = ()
    ) -> dict[str, dict[str, list[str]]]:
        """The kept captions of some images as they are shown, in order of id: columns of `PLAIN`.

        Args:
            images: ids.
            langs: tags that are taken; none: all.
            kinds: of captions, as they are stored; none: all.
        """
        import numpy as np

        lang, kind = self._names["lang"], self._names["kind"]
        takes: Mapping[str, np.ndarray] = {
            name: np.array([not wanted or one in wanted for one in names], bool)
            for name, names, wanted in (("lang", lang, langs), ("kind", kind, kinds))
        }
        found = {}
        for image in images:
            mine = self._rows[self._order[self._first_of(image) : self._first_of(image, after=True)]]
            mine = mine[takes["lang"][mine["lang"]] & takes["kind"][mine["kind"]]] if len(mine) else mine
            spans = zip(mine["at"].tolist(), mine["size"].tolist())
            found[image] = {
                "caption_id": [one.decode() for one in mine["caption"].tolist()],
                "text": [self._texts[at : at + size].tobytes().decode() for at, size in spans],
                "lang": [lang[n] for n in mine["lang"].tolist()],
                "kind": [kind[n] for n in mine["shown"].tolist()],
            }
        return found

    def _first_of(self, image: str, *, after: bool = False) -> int:
        """Where the captions of an image begin in the order, or those of the next."""
        key, low, high, images = image.encode(), 0, len(self._order), self._rows["image"]
        while low < high:  # some twenty rows are looked at, of a file of any size
            middle = (low + high) // 2
            here = bytes(images[self._order[middle]])
            low, high = (middle + 1, high) if here < key or (after and here == key) else (low, middle)
        return low


def _stem(lang: str, stems: Sequence[str]) -> int:
    base = base_language(lang)
    return stems.index(base) + 1 if base in stems else 0


def _pairs(one: pa.Array, other: pa.Array) -> Any:
    return zip(one.to_pylist(), other.to_pylist())


def _bytes_of(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of some texts, uint8, and where each begins and the last ends, `[n + 1]`.

    >>> import pyarrow as pa
    >>> blob, starts = _bytes_of(pa.array(["x", "Ä", None, "猫"])[1:])
    >>> blob.tobytes().decode(), starts.tolist()
    ('Ä猫', [0, 2, 2, 5])
    """
    import numpy as np
    import pyarrow as pa

    whole = texts.cast(pa.large_string())
    _, offsets, values = whole.buffers()
    starts = np.frombuffer(offsets, np.int64, len(whole) + 1, 8 * whole.offset)
    blob = np.frombuffer(values or b"", np.uint8)[starts[0] : starts[-1]] if len(whole) else np.empty(0, np.uint8)
    return blob, starts - starts[0]
