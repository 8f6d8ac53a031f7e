"""Arenas: pairwise votes to ratings with intervals, and audits of a metric against the votes.

| rating | how |
|---|---|
| `elo` | sequential Elo over bootstrap resamples, median and percentiles (CapArena, ACL Findings 2025, steps 1-3) |
| `bradley-terry` | maximum likelihood; a tie is half a win for each side |
| `win-minus-loss` | 100 x (wins - losses) / votes |
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.checks import check_option, offenders
from panoglot.errors import UserError
from panoglot.metrics._result import FORMAT, MetricResult, mean_result
from panoglot.metrics.preference.agreement import kendall, spearman

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ArenaResult", "Vote", "arena", "audit", "elo", "read_votes"]

RATINGS = ("elo", "bradley-terry", "win-minus-loss")
TIE_WORDS = frozenset(["tie", "draw", "equal", "both", "neither", "tie (bothbad)"])
#: A vote: first side, second side, what the first scored: 1 won, 0.5 tie, 0 lost, None not judged.
Vote = tuple[str, str, float | None]


def read_votes(votes: Iterable[Any]) -> list[Vote]:
    """Read votes: `(a, b, winner)`, or mappings with `source1`, `source2` (or `model_a`, `model_b`) and `winner`.

    `winner` is one of the two names, `model_a` / `model_b`, a word for a tie, or None for "not judged".

    Raises:
        UserError: a winner that is not in its vote, or a model against itself.

    >>> read_votes([("a", "b", "b"), {"source1": "a", "source2": "b", "winner": "tie"}])
    [('a', 'b', 0.0), ('a', 'b', 0.5)]
    """
    found: list[Vote] = []
    foreign, same, broken = [], [], []
    for n, vote in enumerate(votes):
        if isinstance(vote, Mapping):
            sides = ("source1", "source2") if "source1" in vote else ("model_a", "model_b")
            row: Sequence[Any] = [vote.get(sides[0]), vote.get(sides[1]), vote.get("winner")]
            if row[2] in ("model_a", "model_b"):
                row = [row[0], row[1], row[("model_a", "model_b").index(row[2])]]
        else:
            row = list(vote)
        if len(row) != 3 or row[0] is None or row[1] is None:
            broken.append(f"vote {n}")
            continue
        first, second, winner = str(row[0]), str(row[1]), row[2]
        if first == second:
            same.append(f"vote {n} ({first})")
            continue
        score = {first: 1.0, second: 0.0}.get(str(winner)) if winner is not None else None
        if score is None and winner is not None:
            if str(winner).strip().lower() not in TIE_WORDS:
                foreign.append(f"vote {n} ({winner!r})")
                continue
            score = 0.5
        found.append((first, second, score))
    for what, odd in (
        ("votes lack a side or a winner", broken),
        ("votes put a model against itself", same),
        ("winners are neither of the two sides nor a tie", foreign),
    ):
        if odd:
            raise UserError(f"{len(odd)} {what}: {offenders(odd)}.")
    return found


def elo(votes: Sequence[Vote], k: float = 4.0, start: float = 1000.0, scale: float = 400.0) -> dict[str, float]:
    """Sequential Elo of the votes in their order.

    >>> elo([("a", "b", 1.0)])
    {'a': 1002.0, 'b': 998.0}
    """
    ratings: dict[str, float] = {}
    for first, second, score in votes:
        if score is None:
            continue
        one, two = ratings.setdefault(first, start), ratings.setdefault(second, start)
        change = k * (score - 1 / (1 + 10 ** ((two - one) / scale)))
        ratings[first], ratings[second] = one + change, two - change
    return ratings


@dataclass(frozen=True)
class ArenaResult:
    """Ratings with intervals.

    Attributes:
        rating: `elo`, `bradley-terry` or `win-minus-loss`.
        ranking: models, best first.
        ratings: rating of each.
        intervals: 2.5 and 97.5 percentiles (or those of `level`) over the resamples.
        wins: votes won, lost and tied by each.
        n: votes given.
        unscored: votes without a verdict, left out.
        components: groups of models between which there are no votes; ratings compare within one only.
        options: everything the ratings depend on.
        notes: what a reader must know.
        pairs: votes won, lost and tied by each model against each other one.
    """

    rating: str
    ranking: tuple[str, ...]
    ratings: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    wins: Mapping[str, tuple[int, int, int]]
    n: int
    unscored: int
    components: tuple[tuple[str, ...], ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pairs: Mapping[str, Mapping[str, tuple[int, int, int]]] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        from dataclasses import asdict

        return {"format": FORMAT, "metric": "arena", "version": "1", **asdict(self)}

    def to_json(self) -> str:
        """JSON with sorted keys, one value a line."""
        return json.dumps(self.as_dict(), sort_keys=True, indent=1, ensure_ascii=False)

    def table(self) -> str:
        """A table for people, best first."""
        wide = max(map(len, self.ranking), default=5)
        lines = [f"{self.rating}   {self.n} votes" + (f" ({self.unscored} not judged)" if self.unscored else "")]
        for place, model in enumerate(self.ranking, 1):
            low, high = self.intervals.get(model, (math.nan, math.nan))
            shown = f" [{low:.1f}, {high:.1f}]" if model in self.intervals else ""
            won, lost, tied = self.wins[model]
            value = self.ratings[model]
            # Elo in whole points, as CapArena prints it
            rating = f"{math.floor(value + 0.5):8d}" if self.rating == "elo" else f"{value:8.1f}"
            lines.append(f"{place:>3}  {model:<{wide}}  {rating}{shown}   {won} won, {lost} lost, {tied} tied")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def arena(
    votes: Iterable[Any],
    *,
    rating: str = "elo",
    k: float = 4.0,
    start: float = 1000.0,
    scale: float = 400.0,
    exclude: Sequence[str] = (),
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 42,
) -> ArenaResult:
    """Rate models from votes.

    Args:
        votes: see `read_votes`.
        rating: `elo` (the median over resamples; order plays no role), `bradley-terry`, `win-minus-loss`.
        k: Elo's step.
        start: rating of a newcomer (Elo), mean rating (Bradley-Terry).
        scale: points for odds of 10 to 1.
        exclude: models whose votes are left out, for example `human`.
        level: coverage of the intervals.
        resamples: bootstrap resamples of the votes; 0 gives no intervals, and Elo in the order of the votes.
        seed: of the resamples.

    Raises:
        UserError: bad votes, or none.

    >>> arena([("a", "b", "a")] * 75 + [("a", "b", "b")] * 25, rating="bradley-terry", resamples=0).ratings
    {'a': 1095.42..., 'b': 904.57...}
    """
    import numpy as np

    check_option("rating", rating, RATINGS)
    if not 0 < level < 1 or resamples < 0 or seed < 0:
        raise UserError(f"level={level} must lie between 0 and 1, resamples={resamples} and seed={seed} be 0 or more.")
    if not (0 < k < math.inf and 0 < scale < math.inf and math.isfinite(start)):
        raise UserError(f"k={k} and scale={scale} must be above 0, start={start} a number.")
    everything = [vote for vote in read_votes(votes) if vote[0] not in exclude and vote[1] not in exclude]
    judged = [vote for vote in everything if vote[2] is not None]
    if not judged:
        raise UserError("there are no judged votes.")
    models = sorted({side for vote in judged for side in vote[:2]})
    components = _components(models, judged)
    notes = []
    if len(components) > 1:
        notes.append(f"no votes connect {len(components)} groups of models: ratings compare within a group only")
    final, draws, extreme = _rated(judged, models, rating, k, start, scale, resamples, seed)
    if extreme:
        notes.append(f"never lost or never won, so held by a tiny penalty only: {offenders(extreme)}")
    intervals = {}
    if resamples:
        low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
        intervals = {model: (float(a), float(b)) for model, a, b in zip(models, low, high)}
    ratings = {model: float(value) for model, value in zip(models, final)}
    counts = {model: [0, 0, 0] for model in models}
    pairs: dict[str, dict[str, list[int]]] = {model: {} for model in models}
    for a, b, value in judged:
        for side, other, mine in ((a, b, value), (b, a, 1 - (value or 0.0))):
            what = {1.0: 0, 0.0: 1}.get(mine or 0.0, 2)
            counts[side][what] += 1
            pairs[side].setdefault(other, [0, 0, 0])[what] += 1
    return ArenaResult(
        rating=rating,
        ranking=tuple(sorted(models, key=lambda model: (-ratings[model], model))),
        ratings=ratings,
        intervals=intervals,
        wins={model: (row[0], row[1], row[2]) for model, row in counts.items()},
        n=len(everything),
        unscored=len(everything) - len(judged),
        components=components,
        options={
            "k": k, "start": start, "scale": scale, "exclude": sorted(exclude), "level": level,
            "resamples": resamples, "seed": seed,
        },
        notes=tuple(notes),
        pairs={
            one: {other: (row[0], row[1], row[2]) for other, row in sorted(rows.items())} for one, rows in pairs.items()
        },
    )  # fmt: skip


def _rated(
    judged: Sequence[Vote],
    models: Sequence[str],
    rating: str,
    k: float,
    start: float,
    scale: float,
    resamples: int,
    seed: int,
) -> tuple[Any, Any, list[str]]:
    """Ratings `[M]`, those of the resamples `[R, M]`, and models that only a penalty holds."""
    import numpy as np

    place = {model: n for n, model in enumerate(models)}
    first = np.array([place[vote[0]] for vote in judged])
    second = np.array([place[vote[1]] for vote in judged])
    score = np.array([vote[2] for vote in judged], dtype=np.float64)
    if rating == "elo":
        draws = _elo_draws(first, second, score, len(models), k, start, scale, resamples, seed)
        final = (
            np.median(draws, axis=0)
            if resamples
            else np.array([elo(judged, k, start, scale).get(model, start) for model in models])
        )
    else:
        cells, own = _cells(first, second, score, len(models))
        solve = _bradley_terry if rating == "bradley-terry" else _win_minus_loss
        arguments: tuple[Any, ...] = (start, scale) if rating == "bradley-terry" else ()
        final = solve(cells, own[None].astype(np.float64), len(models), *arguments)[0]
        if rating == "bradley-terry":
            arguments += ((final - start) * math.log(10) / scale,)
        random = np.random.default_rng(seed)
        drawn = random.multinomial(len(judged), own / own.sum(), size=resamples)
        blocks = [solve(cells, drawn[at : at + 2000], len(models), *arguments) for at in range(0, resamples, 2000)]
        draws = np.concatenate(blocks) if blocks else np.empty((0, len(models)))
        won = np.zeros(len(models)), np.zeros(len(models))
        np.add.at(won[0], first, score)
        np.add.at(won[0], second, 1 - score)
        np.add.at(won[1], first, 1 - score)
        np.add.at(won[1], second, score)
        extreme = [m for n, m in enumerate(models) if not won[0][n] or not won[1][n]]
        if rating == "bradley-terry":
            return final, draws, extreme
    return final, draws, []


def _components(models: Sequence[str], votes: Sequence[Vote]) -> tuple[tuple[str, ...], ...]:
    root = {model: model for model in models}

    def find(model: str) -> str:
        while root[model] != model:
            root[model] = model = root[root[model]]
        return model

    for a, b, _ in votes:
        root[find(a)] = find(b)
    groups: dict[str, list[str]] = {}
    for model in models:
        groups.setdefault(find(model), []).append(model)
    return tuple(sorted(map(tuple, groups.values())))


def _elo_draws(
    first: np.ndarray, second: np.ndarray, score: np.ndarray, models: int, k: float, start: float, scale: float,
    resamples: int, seed: int,
) -> np.ndarray:  # fmt: skip
    """Final ratings `[R, M]` of R resamples: vote after vote, all resamples at once."""
    import numpy as np

    random = np.random.default_rng(seed)
    count, slope = len(first), math.log(10) / scale
    found = []
    for at in range(0, resamples, 2048):  # the ratings of a block stay in the cache
        size = min(2048, resamples - at)
        base = np.arange(size) * models
        flat = np.full(size * models, start)
        for picks in random.integers(0, count, (count, size), dtype=np.int32):
            one, two = base + first.take(picks), base + second.take(picks)
            a, b = flat.take(one), flat.take(two)
            change = b - a
            change *= slope
            np.exp(change, out=change)
            change += 1
            np.reciprocal(change, out=change)
            np.subtract(score.take(picks), change, out=change)
            change *= k
            flat[one] = a + change
            flat[two] = b - change
        found.append(flat.reshape(size, models))
    return np.concatenate(found) if found else np.empty((0, models))


def _cells(first: np.ndarray, second: np.ndarray, score: np.ndarray, models: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (lower, higher, doubled score of the lower) `[C, 3]` and how many votes each has."""
    import numpy as np

    swap = first > second
    low, high = np.where(swap, second, first), np.where(swap, first, second)
    own = np.rint(2 * np.where(swap, 1 - score, score)).astype(np.int64)
    cells, counts = np.unique(np.stack([low, high, own], axis=1), axis=0, return_counts=True)
    return cells, counts


def _bradley_terry(
    cells: np.ndarray,
    weights: np.ndarray,
    models: int,
    start: float,
    scale: float,
    near: np.ndarray | None = None,
    penalty: float = 1e-6,
) -> np.ndarray:
    """Ratings `[R, M]` by Newton's method on all resamples at once, from log-strengths `near`; mean `start`."""
    import numpy as np

    # votes of a pair add up: games and points of the lower-numbered side
    pairs, of = np.unique(cells[:, :2], axis=0, return_inverse=True)
    into = np.zeros((len(cells), len(pairs)))
    into[np.arange(len(cells)), of.ravel()] = 1
    games, points = weights @ into, (weights * (cells[:, 2] / 2)) @ into
    design = np.zeros((len(pairs), models))
    design[np.arange(len(pairs)), pairs[:, 0]] = 1
    design[np.arange(len(pairs)), pairs[:, 1]] = -1
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(pairs), -1)
    strength = np.zeros((len(weights), models)) if near is None else np.tile(near, (len(weights), 1))
    for _ in range(100):
        chance = 1 / (1 + np.exp(-(strength @ design.T)))
        slope = (points - games * chance) @ design - penalty * strength
        bend = ((games * chance * (1 - chance)) @ outer).reshape(-1, models, models)
        bend += np.eye(models) * penalty
        step = np.linalg.solve(bend, slope[..., None])[..., 0]
        strength += np.clip(step, -1, 1)  # far from the optimum Newton overshoots
        if np.abs(step).max() < 1e-8:
            break
    strength -= strength.mean(axis=1, keepdims=True)
    found: np.ndarray = start + strength * scale / math.log(10)
    return found


def _win_minus_loss(cells: np.ndarray, weights: np.ndarray, models: int) -> np.ndarray:
    """100 (wins - losses) / votes, `[R, M]`; NaN where a resample has no vote of a model."""
    import numpy as np

    surplus, games = np.zeros((len(cells), models)), np.zeros((len(cells), models))
    rows = np.arange(len(cells))
    surplus[rows, cells[:, 0]], surplus[rows, cells[:, 1]] = cells[:, 2] - 1, 1 - cells[:, 2]
    games[rows, cells[:, 0]] = games[rows, cells[:, 1]] = 1
    played = weights @ games
    found: np.ndarray = np.divide(
        100 * (weights @ surplus), played, out=np.full(played.shape, np.nan), where=played > 0
    )
    return found


def audit(
    votes: Iterable[Any],
    verdicts: Sequence[Any],
    *,
    levels: Sequence[Any] | None = None,
    ties: bool = True,
    exclude: Sequence[str] = ("human",),
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 42,
) -> MetricResult:
    """How often a metric or judge gives the people's verdict, and whether it ranks the models as they do.

    Args:
        votes: of people, see `read_votes`.
        verdicts: the judge's winner of each vote in the same forms (name, tie word, None), or two scores
            `(first, second)`: the larger wins, equal is a tie.
        levels: difficulty of each vote; `parts` hold each level's agreement, over how many votes it is, and how often
            the judge says tie.
        ties: False leaves out votes that either side calls a tie.
        exclude: models whose votes are left out.
        confidence: level of a bootstrap interval.
        resamples: for Elo and the interval.
        seed: of both.

    Returns:
        `value` is the share of equal verdicts (three classes); parts: `spearman`, `kendall_b` of the Elo rankings,
        `tie_rate`.
    """
    people = read_votes(votes)
    if len(verdicts) != len(people) or (levels is not None and len(levels) != len(people)):
        raise UserError(f"{len(people)} votes need as many verdicts (and levels), not {len(verdicts)}.")
    rows = []
    for (a, b, _), verdict in zip(people, verdicts):
        if isinstance(verdict, Sequence) and not isinstance(verdict, str):
            one, two = verdict
            missing = one is None or two is None or math.isnan(one) or math.isnan(two)
            verdict = None if missing else a if one > two else b if two > one else "tie"
        rows.append((a, b, verdict))
    judge = read_votes(rows)
    kept = [n for n, (a, b, _) in enumerate(people) if a not in exclude and b not in exclude]
    same: list[float | None] = []
    for n in kept:
        mine, theirs = judge[n][2], people[n][2]
        skip = mine is None or theirs is None or (not ties and 0.5 in (mine, theirs))
        same.append(None if skip else float(mine == theirs))
    parts: dict[str, float | None] = {}
    said = [judge[n][2] for n in kept if judge[n][2] is not None]
    parts["tie_rate"] = sum(value == 0.5 for value in said) / len(said) if said else None
    for level in sorted(set(map(str, levels or ()))):
        here = [value for n, value in zip(kept, same) if str(levels[n]) == level and value is not None]  # type: ignore[index]
        parts[f"agreement/{level}"] = sum(here) / len(here) if here else None
        parts[f"votes/{level}"] = float(len(here))
        says = [judge[n][2] for n in kept if str(levels[n]) == level and judge[n][2] is not None]  # type: ignore[index]
        parts[f"tie_rate/{level}"] = sum(value == 0.5 for value in says) / len(says) if says else None
    both = [n for n in kept if judge[n][2] is not None and people[n][2] is not None]
    if both:
        by_judge = arena(
            [(a, b, _winner(judge[n])) for n in both for a, b, _ in [judge[n]]], resamples=resamples, seed=seed
        )
        by_people = arena(
            [(a, b, _winner(people[n])) for n in both for a, b, _ in [people[n]]], resamples=resamples, seed=seed
        )
        models = sorted(by_people.ratings)
        x, y = [by_judge.ratings[m] for m in models], [by_people.ratings[m] for m in models]
        parts["spearman"], parts["kendall_b"] = spearman(x, y), kendall(x, y)
    return mean_result(
        "arena-agreement",
        same,
        version="1",
        ids=kept,
        parts=parts,
        options={"ties": ties, "exclude": sorted(exclude)},
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def _winner(vote: Vote) -> str:
    return {1.0: vote[0], 0.0: vote[1]}.get(vote[2] if vote[2] is not None else 0.5, "tie")
