"""The vectors of a dataset as a gallery: a vector, or a plan's terms, to images, over memory or over the index."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.checks import several
from panoglot.errors import UserError, command, did_you_mean
from panoglot.retrieval._filter import Allowed, Tags, contains, distinct, ids_of
from panoglot.retrieval._scorer import Pack, combine, fold, pooled
from panoglot.table import KEPT_CAPTION, Dataset, sql_in
from panoglot.vectors import (
    Vectors,
    blocks_of,
    gather,
    has_index,
    nearest_indexed,
    similarities,
    stamp,
    threads,
    top_rows,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = ["EXACT_BYTES", "EXACT_UP_TO", "Gallery", "Ranked"]

#: Up to this many vectors the exact search is used even where there is an index.
EXACT_UP_TO = 1_000_000
#: Without an index up to this much memory is used for vectors.
EXACT_BYTES = 4 * 2**30
#: Up to this many images that a filter leaves are compared one by one instead of through the index.
_FEW = 2_000
#: Candidates of every term, where an index finds them and a rule that is not linear orders them.
_CANDIDATES = 1_000
_BACKENDS = ("auto", "exact", "index")


@dataclass(frozen=True)
class Ranked:
    """An image, its score by a plan, and the parts that add up to it."""

    image_id: str
    score: float
    parts: dict[str, float] = field(default_factory=dict)


class Gallery:
    """Vectors of one encoder. Commits are seen at the next query."""

    def __init__(self, dataset: Dataset, name: str, allowed: Allowed, backend: str = "auto") -> None:
        """Open.

        Raises:
            UserError: an unknown backend.
        """
        if backend not in _BACKENDS:
            raise UserError(f"backend='{backend}'.{did_you_mean(backend, _BACKENDS)}")
        self.dataset, self.name, self.backend = dataset, name, backend
        self.table = dataset.vectors(name)
        self._vectors = Vectors(self.table)
        self._allowed = allowed
        self._choice: tuple[int, bool] | None = None
        self._masks: dict[Any, tuple[Any, list[Any], list[Any] | None]] = {}
        self._captioned: tuple[int, bool] = (-1, False)
        self._several: tuple[list[Any], bool] | None = None
        self._pool = ThreadPoolExecutor(threads()) if threads() > 1 else None

    def has_captions(self) -> bool:
        """Whether captions have vectors too."""
        now = stamp(self.table)
        if self._captioned[0] != now:
            self._captioned = (now, self._holds_captions())
        return self._captioned[1]

    def _holds_captions(self) -> bool:
        if not self.table.exists() or self._by_index():
            return self.table.count("of = 'caption'") > 0
        self._vectors.refresh()  # they are read anyway
        return any(bool(part.captions.any()) for part in self._vectors.parts)

    def heard(self, lang: Tags, kinds: Tags) -> np.ndarray:
        """Sorted ids of the images with a vector of a kept caption of some languages and kinds."""
        import numpy as np

        def read() -> np.ndarray:
            if self._by_index():
                held = distinct(np.array(self.table.read(["id"], "of = 'caption'")["id"].to_pylist(), "S32"))
                pairs = self._allowed.captions(lang, kinds)
                return distinct(pairs["image"][contains(held, pairs["caption"])])
            self._vectors.refresh()
            images, masks = self._found_in(lang, kinds, "captions")
            rows = [one if masks is None else one[masks[n]] for n, one in enumerate(images)]
            return distinct(np.concatenate(rows)) if rows else np.empty(0, "S32")

        now = tuple(stamp(one) for one in (self.table, self.dataset.marks, self.dataset.captions))
        return self._allowed.remembered((f"heard {self.name}", lang, kinds), now, read)

    def not_encoded(self) -> np.ndarray:
        """Sorted ids of the images with kept captions none of which has a vector; what was measured has none ever."""
        import numpy as np

        def read() -> np.ndarray:
            captioned = distinct(self._allowed.captions((), ())["image"])
            done = contains(self.heard((), ()), captioned) | contains(self._allowed.dropped(), captioned)
            rest: np.ndarray = captioned[~done]
            if not len(rest):
                return rest
            where = [KEPT_CAPTION]
            if len(rest) <= _FEW:
                where.append(sql_in("image_id", [one.decode() for one in rest.tolist()]))
            told = ids_of(self.dataset.captions.read(["image_id"], " and ".join(where))["image_id"])
            return np.asarray(rest[contains(told, rest)])

        now = tuple(stamp(one) for one in (self.table, self.dataset.marks, self.dataset.captions))
        return self._allowed.remembered((f"not encoded {self.name}", (), ()), now, read)

    def ranked(
        self,
        pack: Pack,
        k: int,
        *,
        lang: str | Sequence[str] = (),
        kinds: str | Sequence[str] = (),
        over: str = "images",
        within: np.ndarray | None = None,
    ) -> list[Ranked]:
        """The best images by a plan's terms: by one folded vector where the rule is linear, else by the slow way."""
        import numpy as np

        if not self.table.exists():
            return []
        lang, kinds = several(lang), several(kinds)
        vector = fold(pack, views=len(pack.weights) > 1 and self._views(over))
        length = 0.0 if vector is None else float(np.linalg.norm(vector))
        if vector is None or not length:
            return self._slow(pack, k, lang, kinds, over, within)
        found = self.nearest(vector / length, k, lang=lang, kinds=kinds, over=over, within=within)
        if len(pack.weights) == 1:
            return [Ranked(i, score * length, {pack.names[0]: score * length}) for i, score in found]
        parts = self._parts_of(pack, [image for image, _ in found], over)
        return [Ranked(i, score * length, parts.get(i, {})) for i, score in found]

    def _views(self, over: str) -> bool:
        """Whether an image may have several rows."""
        if over != "images":
            return True
        self._vectors.refresh()
        images, masks = self._found_in((), (), over)
        if self._several is None or self._several[0] is not images:
            import numpy as np

            kept = [rows if mask is None else rows[mask] for rows, mask in zip(images, masks or [None] * len(images))]
            every = np.concatenate(kept) if kept else np.empty(0, "S32")
            self._several = images, len(np.unique(every)) < len(every)
        return self._several[1]

    def _parts_of(self, pack: Pack, ids: list[str], over: str) -> dict[str, dict[str, float]]:
        """Parts of the scores of a few images."""
        import numpy as np

        self._vectors.refresh()
        wanted = np.sort(np.array(ids, "S32"))
        images, masks = self._found_in((), (), over)
        rows, owners = [], []
        for part, mine, mask in zip(self._vectors.parts, images, masks or [None] * len(images)):
            at = np.flatnonzero(contains(wanted, mine) if mask is None else contains(wanted, mine) & mask)
            rows.append(part.vectors[at])
            owners.append(mine[at])
        parts: dict[str, dict[str, float]] = self._scored(pack, np.concatenate(rows), np.concatenate(owners), None)[2]
        return parts

    def _slow(self, pack: Pack, k: int, lang: Tags, kinds: Tags, over: str, within: np.ndarray | None) -> list[Ranked]:
        """All rows, or an index's candidates, by the rule as it stands. Terms are brought to one scale over all."""
        import numpy as np

        if self._by_index():
            near = [
                self.nearest(row, _CANDIDATES, lang=lang, kinds=kinds, over=over, within=within)
                for row in pack.vectors[pack.weights > 0]
            ]
            among: np.ndarray | None = np.unique(np.array([i for one in near for i, _ in one], "S32"))
        else:
            among = None
        self._vectors.refresh()
        images, masks = self._found_in((), (), over)
        rows, owners, said, said_of = [], [], [], []
        for part, mine, mask in zip(self._vectors.parts, images, masks or [None] * len(images)):
            good = np.ones(len(mine), bool) if mask is None else mask
            if among is not None:
                good = good & contains(among, mine)
            rows.append(part.vectors if good.all() else part.vectors[good])
            owners.append(mine if good.all() else mine[good])
        captions = None
        if pack.plan.tau and over == "images" and self.has_captions():
            images, masks = self._found_in((), (), "captions")
            for part, mine, mask in zip(self._vectors.parts, images, masks or [None] * len(images)):
                good = np.ones(len(mine), bool) if mask is None else mask
                said.append(part.vectors[good])
                said_of.append(mine[good])
            captions = (np.concatenate(said), np.concatenate(said_of))
        ids, total, parts = self._scored(pack, _joined(rows), np.concatenate(owners), captions)
        good = np.isfinite(total)
        allowed = self._allowed.images(lang, kinds)
        for some in (allowed, within):
            if some is not None:
                good &= contains(some, ids)
        at = np.flatnonzero(good)
        best = at[np.lexsort((ids[at], -total[at]))][:k]
        named = [ids[n].decode() for n in best.tolist()]
        return [Ranked(i, float(total[n]), parts.get(i) or self._one(parts, n)) for i, n in zip(named, best.tolist())]

    def _one(self, parts: Any, n: int) -> dict[str, float]:
        return {name: float(values[n]) for name, values in parts["*"].items()}

    def _scored(
        self, pack: Pack, rows: np.ndarray, owners: np.ndarray, captions: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray, Any]:
        """Ids, scores, and parts: by id for a few, whole columns under `*` for many."""
        import numpy as np

        if not len(owners):
            return np.empty(0, "S32"), np.empty(0), {"*": {}}
        order = np.argsort(owners, kind="stable")
        ids, starts = np.unique(owners[order], return_index=True)
        similar = _pooled(pack.vectors, rows, order, starts, pack.plan.pool)
        said = None
        if captions is not None and len(captions[1]):
            order = np.argsort(captions[1], kind="stable")
            mine, at = np.unique(captions[1][order], return_index=True)
            best = _pooled(pack.vectors, captions[0], order, at, "max")
            said = np.full_like(similar, np.nan)
            place = np.minimum(np.searchsorted(mine, ids), len(mine) - 1)
            has = mine[place] == ids
            said[:, has] = best[:, place[has]]
        scores = combine(pack, similar, said)
        if len(ids) <= _FEW:
            by_id = {
                key.decode(): {name: float(values[n]) for name, values in scores.parts.items()}
                for n, key in enumerate(ids.tolist())
            }
            return ids, scores.total, by_id
        return ids, scores.total, {"*": scores.parts}

    def nearest(
        self,
        query: np.ndarray,
        k: int = 10,
        *,
        lang: str | Sequence[str] = (),
        kinds: str | Sequence[str] = (),
        over: str = "images",
        within: np.ndarray | None = None,
    ) -> list[tuple[str, float]]:
        """Find the images nearest to a unit vector, float32 `[dim]`: (image id, cosine), best first, ties by id."""
        if not self.table.exists():
            return []
        ask = self._indexed if self._by_index() else self._exact
        return ask(query, k, several(lang), several(kinds), over, within)

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
                f"{rows:,} vectors '{self.name}' have no index; to make one: "
                f"{command('index', self.dataset.address, '--encoder', self.name, '--above', 0)}"
            )
        return False

    # -- in memory -------------------------------------------------------------------------------------------------

    def _exact(
        self, query: np.ndarray, k: int, lang: Tags, kinds: Tags, over: str, within: np.ndarray | None
    ) -> list[tuple[str, float]]:
        import numpy as np

        self._vectors.refresh()
        parts = self._vectors.parts
        images, masks = self._found_in(lang, kinds, over)
        if within is not None:
            fit = [contains(within, mine) for mine in images]
            masks = fit if masks is None else [f if m is None else f & m for f, m in zip(fit, masks)]
        wanted, coarse = k, [part.coarse for part in parts]
        while True:
            rows, scores = top_rows([p.vectors for p in parts], query, wanted, masks, self._pool, coarse)
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

    def _indexed(
        self, query: np.ndarray, k: int, lang: Tags, kinds: Tags, over: str, within: np.ndarray | None
    ) -> list[tuple[str, float]]:
        where = {"images": "of = 'image'", "captions": "of = 'caption'", "both": None}[over]
        allowed = self._allowed.images(lang, kinds)
        if within is not None:
            import numpy as np

            allowed = within if allowed is None else np.intersect1d(allowed, within, assume_unique=True)
        if allowed is not None and over == "images" and len(allowed) <= _FEW:
            where = f"{where} and {sql_in('id', [owner.decode() for owner in allowed.tolist()])}"
        if where == "of = 'image'" and not self.has_captions():
            where = None
        wanted = k
        while True:
            owners, captions, scores = nearest_indexed(self.table, query, wanted, where)
            images, mask = self._images_of(owners, captions, lang, kinds, over)
            if within is not None:
                fit = contains(within, images)
                mask = fit if mask is None else mask & fit
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


def _pooled(vectors: np.ndarray, rows: np.ndarray, order: np.ndarray, starts: np.ndarray, pool: str) -> np.ndarray:
    """Pooled dot products float32 `[T, N]` of terms and pictures, some pictures at a time.

    Args:
        vectors: of the terms, `[T, dim]`.
        rows: float16 `[R, dim]`.
        order: puts the rows of a picture together, `[R]`.
        starts: where those of each picture begin then, `[N]`.
        pool: how they become one.
    """
    import numpy as np

    out = np.empty((len(vectors), len(starts)), np.float32)
    for first, last, low, high in blocks_of(starts, len(order)):
        similar = similarities(vectors, rows[order[low:high]])
        out[:, first:last] = pooled(similar, starts[first:last] - low, pool)
    return out


def _joined(rows: list[np.ndarray]) -> np.ndarray:
    import numpy as np

    return rows[0] if len(rows) == 1 else np.concatenate(rows)
