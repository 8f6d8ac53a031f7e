"""One rule that scores pictures by a plan's vectors, and what puts them in order.

`s(n) = sum_p w_p [(1 - tau) view(p, n) + tau <p, C_n>] - sum_q w_q view(q, n) + sum_r w_r view(r, n)`, where `view`
pools the views of a picture; groups of conditions have such an `s` each, are pooled, and mixed with it. Terms that are
linear in pictures of one view fold into a single vector: the fast path, equal to the slow one.

Sources: existent and nonexistent phrases: CoTMR (2025); captions: ImageScope (2025); the best of several views: SPRC
(2023) and SORCE (2025); conditions: MERIT (2025). Shared records: see `_records.Plan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from panoglot.retrieval._records import Plan

__all__ = ["Pack", "Ranker", "Scores", "combine", "fold", "order", "pooled", "score", "texts_only"]

#: Views that `topk_mean` takes, and the temperature of `soft`.
TOP_VIEWS, TEMPERATURE = 2, 0.02


@dataclass(frozen=True)
class Pack:
    """A plan's terms as vectors.

    Attributes:
        vectors: unit vectors, float32 `[T, dim]`.
        weights: signed: negatives below 0, `[T]`.
        names: what each is called in a hit's parts.
        texts: which are texts that captions are compared with too: positives, `[T]` bool.
        groups: number of the condition that each belongs to, -1 for none, `[T]`.
        plan: the rule.
    """

    vectors: np.ndarray
    weights: np.ndarray
    names: tuple[str, ...]
    texts: np.ndarray
    groups: np.ndarray
    plan: Plan


@dataclass(frozen=True)
class Scores:
    """Scores of pictures, `[N]`, and what they are the sum of: contributions by name, `[N]` each."""

    total: np.ndarray
    parts: dict[str, np.ndarray] = field(default_factory=dict)


def fold(pack: Pack, *, views: bool = False) -> np.ndarray | None:
    """Return the one vector whose dot product is the score, or None where the rule is not linear.

    Args:
        pack: the terms.
        views: pictures have several views each.
    """
    import numpy as np

    plan, several = pack.plan, len(pack.weights) > 1
    if plan.normalise or plan.tau:
        return None
    if views and plan.pool != "mean" and (several or (pack.weights < 0).any() or plan.pool != "max"):
        return None
    weights = np.asarray(pack.weights, np.float64)
    groups = sorted(set(pack.groups.tolist()) - {-1})
    if groups:
        if plan.cond_pool != "mean" and len(groups) > 1:
            return None
        share = plan.cond_weight if (pack.groups == -1).any() else 1.0
        weights = np.where(pack.groups == -1, weights * (1 - share), weights * share / len(groups))
    return (weights @ pack.vectors.astype(np.float64)).astype(np.float32)


def pooled(rows: np.ndarray, starts: np.ndarray, pool: str) -> np.ndarray:
    """Pool the columns of `[T, R]` by picture.

    Args:
        rows: similarities of terms and views; the views of a picture stand together.
        starts: where those of each picture begin, `[N]`, ascending.
        pool: one of `POOLS`.

    Returns:
        `[T, N]`.

    >>> import numpy as np
    >>> pooled(np.array([[0.2, 0.9, 0.8, 0.7]]), np.array([0, 2]), "max").tolist()
    [[0.9, 0.8]]
    >>> pooled(np.array([[0.2, 0.9, 0.8, 0.7]]), np.array([0, 2]), "mean").round(2).tolist()
    [[0.55, 0.75]]
    """
    import numpy as np

    if len(starts) == rows.shape[1]:  # one view each
        return rows
    if pool == "max":
        return np.maximum.reduceat(rows, starts, axis=1)
    counts = np.diff(np.append(starts, rows.shape[1]))
    if pool == "mean":
        return np.add.reduceat(rows, starts, axis=1) / counts
    if pool == "soft":
        best = np.repeat(np.maximum.reduceat(rows, starts, axis=1), counts, axis=1)
        share = np.exp((rows - best) / TEMPERATURE)
        return np.add.reduceat(rows * share, starts, axis=1) / np.add.reduceat(share, starts, axis=1)
    found = np.empty((len(rows), len(starts)), rows.dtype)
    for count in np.unique(counts):  # pictures with equally many views at once
        some = np.flatnonzero(counts == count)
        block = rows[:, starts[some, None] + np.arange(count)]
        found[:, some] = np.sort(block, axis=2)[:, :, -TOP_VIEWS:].mean(axis=2)
    return found


def combine(pack: Pack, similar: np.ndarray, captioned: np.ndarray | None = None) -> Scores:
    """Scores of similarities.

    Args:
        pack: the terms.
        similar: pooled similarities of terms and pictures, `[T, N]`; NaN for a picture without vectors.
        captioned: those of terms and captions, `[T, N]`, NaN without a caption; None where there are none.
    """
    import numpy as np

    plan = pack.plan
    terms = np.asarray(similar, np.float64).copy()
    if plan.tau and captioned is None:
        captioned = np.full_like(terms, np.nan)
    shares: list[tuple[np.ndarray, np.ndarray]] = []
    for n in range(len(terms)):
        if plan.tau and pack.texts[n] and captioned is not None:
            has = ~np.isnan(captioned[n])  # a picture without captions is judged by what it shows
            shares.append(
                (np.where(has, (1 - plan.tau) * terms[n], terms[n]), np.where(has, plan.tau * captioned[n], 0.0))
            )
        else:
            shares.append((terms[n], np.zeros_like(terms[n])))
    if plan.normalise:
        shares = [_normal(*share) for share in shares]
    parts: dict[str, np.ndarray] = {}
    groups = sorted(set(pack.groups.tolist()) - {-1})
    alone = (pack.groups == -1).any()
    total = np.zeros(terms.shape[1])
    rest = 1.0 - plan.cond_weight if groups else 1.0
    for n in np.flatnonzero(pack.groups == -1).tolist():
        for extra, share in zip(("", "/caption"), shares[n]):
            if extra and not plan.tau:
                continue
            part = rest * pack.weights[n] * share
            name = pack.names[n] + extra
            parts[name] = parts[name] + part if name in parts else part
            total = total + part
    if groups:
        mine = np.stack(
            [
                sum(pack.weights[n] * (shares[n][0] + shares[n][1]) for n in np.flatnonzero(pack.groups == g))
                for g in groups
            ]
        )
        joint = mine.mean(axis=0) if plan.cond_pool == "mean" else mine.min(axis=0)
        if plan.cond_pool == "product":
            joint = mine.prod(axis=0)
        part = (plan.cond_weight if alone else 1.0) * joint
        parts["conditions"] = part
        total = total + part
    return Scores(total, parts)


def _normal(picture: np.ndarray, caption: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A term at mean 0 and deviation 1 over the gallery; the caption's share stays its own part."""
    import numpy as np

    both = picture + caption
    mean, deviation = np.nanmean(both), np.nanstd(both)
    scale = 1 / deviation if deviation > 1e-12 else 0.0
    return (picture - mean) * scale, caption * scale


def score(pack: Pack, rows: np.ndarray, starts: np.ndarray, captions: np.ndarray | None = None) -> Scores:
    """Score pictures of several views, the slow way.

    Args:
        pack: the terms.
        rows: unit vectors of views, `[R, dim]`, those of a picture together.
        starts: where those of each picture begin, `[N]`.
        captions: unit vectors of the pictures' captions, `[N, dim]`, NaN for none.
    """
    import numpy as np

    similar = pooled(pack.vectors.astype(np.float64) @ rows.astype(np.float64).T, starts, pack.plan.pool)
    said = None if captions is None else pack.vectors.astype(np.float64) @ captions.astype(np.float64).T
    return combine(pack, similar, said)


def order(
    scores: np.ndarray, ids: Sequence[str], k: int, exclude: Iterable[str] = (), subset: Iterable[str] | None = None
) -> list[int]:
    """Numbers of the `k` best: not of `exclude`, of `subset` alone where there is one; equal scores by id.

    >>> import numpy as np
    >>> order(np.array([0.5, 0.9, 0.5, np.nan]), ["b", "x", "a", "y"], 3)
    [1, 2, 0]
    """
    import numpy as np

    out, among = set(exclude), None if subset is None else set(subset)
    can = [
        n
        for n in np.flatnonzero(np.isfinite(scores)).tolist()
        if ids[n] not in out and (among is None or ids[n] in among)
    ]
    return sorted(can, key=lambda n: (-scores[n], ids[n]))[:k]


class Ranker:
    """The best pictures of many queries from a gallery that passes by once, in blocks.

    Queries whose rule is linear keep only their best; the others keep the similarities of their terms, `[T, N]`.
    """

    def __init__(
        self,
        packs: Mapping[str, Pack],
        keys: Sequence[str],
        depth: int,
        *,
        exclude: Mapping[str, Sequence[str]] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Begin.

        Args:
            packs: terms by query id.
            keys: of the gallery, sorted: equal scores stay in this order.
            depth: candidates to keep.
            exclude: keys that are no candidates, by query.
            groups: keys to rank among themselves too, by query.
        """
        import numpy as np

        self._keys, self._depth, self._packs = keys, depth, dict(packs)
        self._exclude, self._groups = exclude or {}, groups or {}
        folded = {query: fold(pack) for query, pack in self._packs.items()}
        self._fast = [query for query, vector in folded.items() if vector is not None]
        self._slow = [query for query, vector in folded.items() if vector is None]
        dim = next(iter(self._packs.values())).vectors.shape[1] if self._packs else 1
        self._vectors = (
            np.stack([v for v in folded.values() if v is not None]) if self._fast else np.empty((0, dim), np.float32)
        )
        self._number = {key: n for n, key in enumerate(keys)}
        self._out = [
            np.array([self._number[k] for k in self._exclude.get(q, ()) if k in self._number], np.int64)
            for q in self._fast
        ]
        self._spare = max(map(len, self._out), default=0)
        self._scores = np.full((len(self._fast), 0), -np.inf, np.float32)
        self._found = np.zeros((len(self._fast), 0), np.int64)
        self._members: dict[int, list[tuple[int, str]]] = {}
        for n, query in enumerate(self._fast):
            for key in self._groups.get(query, ()):
                if key not in self._exclude.get(query, ()):
                    self._members.setdefault(self._number.get(key, -1), []).append((n, key))
        self._grouped: list[dict[str, float]] = [{} for _ in self._fast]
        self._similar: dict[str, list[np.ndarray]] = {query: [] for query in self._slow}
        self._said: dict[str, list[np.ndarray]] = {query: [] for query in self._slow}
        self.lost = 0

    def add(self, start: int, block: np.ndarray, captions: np.ndarray | None = None) -> None:
        """Take the next pictures: unit vectors `[n, dim]`, NaN for what has none; with those of their captions."""
        import numpy as np

        bad = np.isnan(block).any(axis=1)
        self.lost += int(bad.sum())
        clean = np.nan_to_num(block)
        if self._fast:
            self._add_fast(start, np.where(bad, -np.inf, self._vectors @ clean.T), bad)
        for query in self._slow:
            vectors = self._packs[query].vectors
            self._similar[query].append(np.where(bad, np.nan, vectors @ clean.T))
            if captions is not None:
                self._said[query].append(vectors @ captions.T)

    def _add_fast(self, start: int, new: np.ndarray, bad: np.ndarray) -> None:
        import numpy as np

        for at in range(len(bad)):
            for n, key in () if bad[at] else self._members.get(start + at, ()):
                self._grouped[n][key] = float(new[n, at])
        scores = np.concatenate([self._scores, new], axis=1)
        here = np.broadcast_to(np.arange(start, start + len(bad)), new.shape)
        found = np.concatenate([self._found, here], axis=1)
        # stable: what came first, by key, stays first among equals
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self._depth + self._spare]
        self._scores, self._found = np.take_along_axis(scores, best, 1), np.take_along_axis(found, best, 1)

    def finish(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return the ranked keys by query, and those of the queries' groups."""
        import numpy as np

        ranked: dict[str, list[str]] = {}
        grouped: dict[str, list[str]] = {}
        for n, query in enumerate(self._fast):
            row, values = self._found[n], self._scores[n]
            kept = row[~np.isin(row, self._out[n]) & (values > -np.inf)][: self._depth]
            ranked[query] = [self._keys[m] for m in kept]
            if self._groups.get(query):
                mine = self._grouped[n]
                grouped[query] = sorted(mine, key=lambda key: (-mine[key], key))
        for query in self._slow:
            said = np.concatenate(self._said[query], axis=1) if self._said[query] else None
            total = combine(self._packs[query], np.concatenate(self._similar[query], axis=1), said).total
            out = self._exclude.get(query, ())
            ranked[query] = [self._keys[m] for m in order(total, self._keys, self._depth, out)]
            if group := self._groups.get(query):
                best = order(total, self._keys, len(self._keys), out, group)
                grouped[query] = [self._keys[m] for m in best]
        return {query: ranked[query] for query in self._packs}, grouped


def texts_only(pack: Pack) -> Pack | None:
    """The terms that captions can be compared with."""
    import numpy as np

    kinds = [term.kind for term in pack.plan.terms]
    at = np.flatnonzero([kind in ("text", "soft", "query") for kind in kinds])
    if not len(at) or not (pack.weights[at] > 0).any():
        return None
    return Pack(
        pack.vectors[at], pack.weights[at], tuple(pack.names[n] for n in at), pack.texts[at], pack.groups[at],
        replace(pack.plan, tau=0.0),
    )  # fmt: skip
