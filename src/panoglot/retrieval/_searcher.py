"""The searcher: a query vector to images, over memory or over the index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.checks import several
from panoglot.errors import UserError, did_you_mean
from panoglot.languages import canonical_language, meeting
from panoglot.pictures import Image
from panoglot.retrieval._filter import Allowed, Tags, contains
from panoglot.retrieval._notebook import page_of_hits
from panoglot.retrieval._query import choose, no_vectors_of_captions, query_vector
from panoglot.table import Caption, Dataset, open_dataset, sql_in
from panoglot.vectors import Vectors, gather, has_index, nearest_indexed, stamp, threads, top_rows

if TYPE_CHECKING:
    import numpy as np

__all__ = ["EXACT_BYTES", "EXACT_UP_TO", "OVER", "Hit", "Hits", "Searcher"]

#: Up to this many vectors the exact search is used even where there is an index.
EXACT_UP_TO = 1_000_000
#: Without an index up to this much memory is used for vectors.
EXACT_BYTES = 4 * 2**30
OVER = ("images", "captions", "both")
#: Up to this many images that a filter leaves are compared one by one instead of through the index.
_FEW = 2_000


@dataclass(slots=True)
class Hit:
    """An image that was found. A notebook shows its picture and texts.

    Attributes:
        image_id: which.
        score: cosine of the query and its best vector.
        uri: where it came from.
        captions: its kept captions, those of the languages and kinds that were asked for, in order of id.
        dataset: where it was found.
    """

    image_id: str
    score: float
    uri: str = ""
    captions: list[Caption] = field(default_factory=list)
    dataset: Dataset | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        captions = [asdict(caption) for caption in self.captions]
        return {"image_id": self.image_id, "score": self.score, "uri": self.uri, "captions": captions}

    def picture(self) -> Image:
        """Read the picture.

        Raises:
            UserError: the hit comes from no dataset, or the image is not there any more.
        """
        rows = self.dataset.images.get([self.image_id], ["data", "uri"]).to_pylist() if self.dataset else []
        if not rows:
            raise UserError(f"there is no picture {self.image_id} to read.")
        return Image(rows[0]["data"], id=self.image_id, uri=rows[0]["uri"] or "")

    def _repr_html_(self) -> str:
        return Hits([self])._repr_html_()


class Hits(list[Hit]):
    """Hits, best first, and `notes`: what is worth saying about how they were found, as lines.

    A notebook shows the pictures with their texts.
    """

    def __init__(self, hits: Iterable[Hit] = ()) -> None:
        super().__init__(hits)
        self.notes: list[str] = []

    def _repr_html_(self) -> str:
        return page_of_hits(self)


class Searcher:
    """Search kept open: model and vectors stay in memory, and commits to the dataset are seen at the next query.

        searcher = Searcher("photos.pano")
        searcher.search("ein rotes Känguru", lang="de")

    Safe to use from several threads for vectors that do not change meanwhile; a server refreshes between requests.
    """

    def __init__(
        self, dataset: Dataset | str | os.PathLike[str], encoder: Any = None, *, backend: str = "auto"
    ) -> None:
        """Open.

        Args:
            dataset: a dataset, or its path.
            encoder: a model, its name, or a name of vectors; None for those that the dataset is set to (see
                `panoglot settings`), at first those that were made first.
            backend: `exact`, `index`, or `auto`: exact up to a million vectors, then the index.

        Raises:
            UserError: no vectors, none of that encoder, an unknown backend.
        """
        if backend not in ("auto", "exact", "index"):
            raise UserError(f"backend='{backend}'.{did_you_mean(backend, ('auto', 'exact', 'index'))}")
        self.dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
        self.name, self._model = choose(self.dataset, encoder)
        self.table = self.dataset.vectors(self.name)
        self.backend = backend
        self._vectors = Vectors(self.table)
        self._allowed = Allowed(self.dataset)
        self._choice: tuple[int, bool] | None = None
        self._masks: dict[Any, tuple[Any, list[Any], list[Any] | None]] = {}
        self._pool = ThreadPoolExecutor(threads()) if threads() > 1 else None

    def search(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        lang: str | Sequence[str] = (),
        kinds: str | Sequence[str] = (),
        k: int = 10,
        weight: float = 0.5,
        over: str = "images",
    ) -> Hits:
        """Find images; see `panoglot.retrieval.search`."""
        if k < 1:
            raise UserError(f"k={k} must be at least 1.")
        if over not in OVER:
            raise UserError(f"over='{over}'.{did_you_mean(over, OVER)}")
        lang, kinds = several(lang), several(kinds)
        where = self._allowed.where(lang, kinds)
        if over != "images" and not self.table.count("of = 'caption'"):
            raise UserError(no_vectors_of_captions(self.dataset, self.name))
        query, self._model = query_vector(self.dataset, self.name, self._model, text, image, weight, lang)
        found = self.nearest(query, k, lang=lang, kinds=kinds, over=over)
        ids = [image_id for image_id, _ in found]
        captions = self.dataset.captions_of(ids, where) if ids else {}
        uris = {row["image_id"]: row["uri"] for row in self.dataset.images.get(ids, ["uri"]).to_pylist()} if ids else {}
        return Hits(Hit(i, score, uris.get(i) or "", captions.get(i, []), self.dataset) for i, score in found)

    def languages_met(self, lang: str | Sequence[str]) -> list[str]:
        """Say what languages met, as lines: other tags that it took in, near ones that it did not, or nothing."""
        return meeting([*map(canonical_language, several(lang))], self._allowed.languages())[1]

    def nearest(
        self,
        query: np.ndarray,
        k: int = 10,
        *,
        lang: str | Sequence[str] = (),
        kinds: str | Sequence[str] = (),
        over: str = "images",
    ) -> list[tuple[str, float]]:
        """Find the images nearest to a unit vector, float32 `[dim]`: (image id, cosine), best first, ties by id."""
        if not self.table.exists():
            return []
        find = self._indexed if self._by_index() else self._exact
        return find(query, k, several(lang), several(kinds), over)

    def _by_index(self) -> bool:
        """Whether to ask the index; looked up again when the table has changed."""
        if self.backend == "exact":
            return False
        now = stamp(self.table)
        if self._choice is None or self._choice[0] != now:
            self._choice = (now, self._prefer_index())
        return self._choice[1]

    def _prefer_index(self) -> bool:
        rows = self.table.count()
        if self.backend == "auto" and rows <= EXACT_UP_TO:
            return False
        if has_index(self.table):
            return True
        size = rows * self.table.schema.field("vector").type.list_size * 2
        if self.backend == "index" or size > EXACT_BYTES:
            raise UserError(
                f"{rows:,} vectors '{self.name}' have no index: "
                f"panoglot.retrieval.index('{self.dataset.address}') makes one."
            )
        return False

    # -- in memory -------------------------------------------------------------------------------------------------

    def _exact(self, query: np.ndarray, k: int, lang: Tags, kinds: Tags, over: str) -> list[tuple[str, float]]:
        import numpy as np

        self._vectors.refresh()
        parts = self._vectors.parts
        images, masks = self._found_in(lang, kinds, over)
        wanted = k
        while True:
            rows, scores = top_rows([p.vectors for p in parts], query, wanted, masks, self._pool)
            order = np.argsort(rows)
            best = _best(gather(images, rows[order]), scores[order])
            # the best rows hold the best images, unless several rows of one image crowd out others
            if len(best) >= k or len(rows) < wanted:
                return best[:k]
            wanted *= 4

    def _found_in(self, lang: Tags, kinds: Tags, over: str) -> tuple[list[Any], list[Any] | None]:
        """Images of the rows of every part, and masks; remembered until something is committed."""
        key, parts = (lang, kinds, over), self._vectors.parts
        now = (*(stamp(t) for t in (self.table, self.dataset.marks, self.dataset.captions)), *map(id, parts))
        if key not in self._masks or self._masks[key][0] != now:
            if len(self._masks) >= 16:
                self._masks.clear()
            found = [self._images_of(p.owners, p.captions, lang, kinds, over) for p in parts]
            masks = None if all(mask is None for _, mask in found) else [mask for _, mask in found]
            self._masks[key] = (now, [images for images, _ in found], masks)
        return self._masks[key][1:]

    def _images_of(
        self, owners: np.ndarray, captions: np.ndarray, lang: Tags, kinds: Tags, over: str
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The image of every row, and which rows may be found (None: all)."""
        import numpy as np

        dropped, allowed = self._allowed.dropped(), self._allowed.images(lang, kinds)
        if over == "images":
            mask = ~captions if captions.any() else None
            images = owners
        else:
            pairs = self._allowed.captions(lang, kinds)
            known = captions & contains(pairs["caption"], owners)
            images = owners.copy()
            images[known] = pairs["image"][np.searchsorted(pairs["caption"], owners[known])]
            mask = known if over == "captions" else known | ~captions
        if len(dropped):
            kept = ~contains(dropped, images)
            mask = kept if mask is None else mask & kept
        if allowed is not None:
            fit = contains(allowed, images)
            mask = fit if mask is None else mask & fit
        return images, mask

    # -- by the index ----------------------------------------------------------------------------------------------

    def _indexed(self, query: np.ndarray, k: int, lang: Tags, kinds: Tags, over: str) -> list[tuple[str, float]]:
        where = {"images": "of = 'image'", "captions": "of = 'caption'", "both": None}[over]
        allowed = self._allowed.images(lang, kinds)
        if allowed is not None and over == "images" and len(allowed) <= _FEW:
            where = f"{where} and {sql_in('id', [owner.decode() for owner in allowed.tolist()])}"
        if over == "images" and self.table.count("of = 'caption'") == 0 and where == "of = 'image'":
            where = None
        wanted = k
        while True:
            owners, captions, scores = nearest_indexed(self.table, query, wanted, where)
            images, mask = self._images_of(owners, captions, lang, kinds, over)
            keep = slice(None) if mask is None else mask
            best = _best(images[keep], scores[keep])
            if len(best) >= k or len(owners) < wanted:
                return best[:k]
            wanted *= 4


def _best(images: np.ndarray, scores: np.ndarray) -> list[tuple[str, float]]:
    """Every image once, with its best score; best first, ties by id."""
    import numpy as np

    order = np.lexsort((images, -scores))
    found: dict[str, float] = {}
    for at in order.tolist():
        found.setdefault(images[at].decode(), float(scores[at]))
    return list(found.items())
