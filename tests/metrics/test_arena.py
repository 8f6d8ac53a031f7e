"""Arenas: the card's exact cases, plain loops, and the published order."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import cider
from panoglot.metrics.preference.agreement import kendall, spearman
from panoglot.metrics.preference.arena import arena, audit, elo, read_votes

#: Order by people's votes, and CapArena-Auto's scores (card `caparena`).
HUMAN = """GPT-4o Gemini-2.0-flash InternVL2-26B Gemini-1.5-pro Claude-3.5 GPT-4o-mini LLama-3.2-90B Qwen2-VL-72B
CogVLM2 MiniCPM Qwen2-VL-7B Qwen2-VL-2B LLaVA-1.6-34B LLaVA-1.5-7B""".split()
AUTO = {
    "Gemini-1.5-pro": 56.17, "GPT-4o": 44.00, "Gemini-2.0-flash": 30.83, "Claude-3.5": 21.50, "InternVL2-26B": 13.00,
    "GPT-4o-mini": 9.33, "CogVLM2": -8.50, "Qwen2-VL-72B": -9.00, "LLama-3.2-90B": -25.67, "MiniCPM": -38.00,
    "Qwen2-VL-2B": -48.67, "Qwen2-VL-7B": -49.00, "LLaVA-1.6-34B": -67.50, "LLaVA-1.5-7B": -94.00,
}  # fmt: skip


def some_votes(count=400, models=5, seed=0):
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        i, j = draw.choice(models, 2, replace=False)
        chance = 1 / (1 + 10 ** ((j - i) * 100 / 400))
        rows.append(
            (f"m{i}", f"m{j}", "tie" if draw.random() < 0.15 else f"m{i}" if draw.random() < chance else f"m{j}")
        )
    return rows


@pytest.mark.paper(
    "caparena",
    shows="V",
    case="two published orders of 14 captioners: rho .9429, tau .8242 (checks the correlations, asks no judge)",
)
def test_the_published_order():
    people, auto = [-HUMAN.index(name) for name in AUTO], list(AUTO.values())
    assert spearman(auto, people) == pytest.approx(0.9429, abs=5e-5)
    assert kendall(auto, people) == pytest.approx(0.8242, abs=5e-5)


@pytest.mark.paper("caparena", shows="V", case="one game: 1002 and 998; a tie changes nothing; ratings keep their sum")
def test_exact_elo_cases():
    assert elo([("a", "b", 1.0)]) == {"a": 1002, "b": 998}
    assert elo([("a", "b", 0.5)]) == {"a": 1000, "b": 1000}
    ratings = elo(read_votes(some_votes()))
    assert sum(ratings.values()) == pytest.approx(5000, abs=1e-9)


def test_bootstrap_equals_a_loop():
    votes = some_votes(60)
    found = arena(votes, resamples=30, seed=3)
    rows = read_votes(votes)
    random = np.random.default_rng(3)
    picks = random.integers(0, 60, (60, 30), dtype=np.int32)
    draws = [elo([rows[p] for p in picks[:, r]]) for r in range(30)]
    for model in found.ranking:
        values = [draw.get(model, 1000.0) for draw in draws]
        assert found.ratings[model] == pytest.approx(np.median(values), abs=1e-9)
        assert found.intervals[model] == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-9)


@pytest.mark.parametrize("rating", ["elo", "bradley-terry", "win-minus-loss"])
@pytest.mark.paper("caparena", shows="V", case="swapped sides: the same ratings")
def test_swapping_sides_changes_nothing(rating):
    votes = some_votes()
    a = arena(votes, rating=rating, resamples=50)
    b = arena([(second, first, winner) for first, second, winner in votes], rating=rating, resamples=50)
    assert a.ratings == pytest.approx(b.ratings, abs=1e-6)
    assert a.ranking == ("m4", "m3", "m2", "m1", "m0")
    for model in a.ranking:
        low, high = a.intervals[model]
        assert low <= a.ratings[model] <= high
    assert a.wins == b.wins


@pytest.mark.paper("caparena", shows="V", case="75 of 100 games: 400 log10 3 = 190.85")
def test_bradley_terry_gap():
    votes = [("a", "b", "a")] * 75 + [("b", "a", "b")] * 25
    found = arena(votes[:75] + [("a", "b", "b")] * 25, rating="bradley-terry", resamples=0).ratings
    assert found["a"] - found["b"] == pytest.approx(400 * np.log10(3), abs=1e-4)
    # a tie is half a win for each: 50 wins and 50 ties are 75 to 25
    tied = arena([("a", "b", "a")] * 50 + [("a", "b", "tie")] * 50, rating="bradley-terry", resamples=0).ratings
    assert tied["a"] - tied["b"] == pytest.approx(400 * np.log10(3), abs=1e-4)


def test_bradley_terry_solves_its_equations():
    votes = read_votes(some_votes(600, 6))
    found = arena(some_votes(600, 6), rating="bradley-terry", resamples=0).ratings
    for model in found:
        expected = won = 0.0
        for a, b, score in votes:
            if model in (a, b):
                rival = b if model == a else a
                won += score if model == a else 1 - score
                expected += 1 / (1 + 10 ** ((found[rival] - found[model]) / 400))
        assert won == pytest.approx(expected, abs=1e-4)


@pytest.mark.paper("caparena", shows="V", case="120 wins, 60 losses, 20 ties: 30")
def test_win_minus_loss():
    votes = [("a", "b", "a")] * 120 + [("a", "b", "b")] * 60 + [("a", "b", "tie")] * 20
    found = arena(votes, rating="win-minus-loss", resamples=100)
    assert found.ratings == {"a": 30.0, "b": -30.0}
    assert found.wins["a"] == (120, 60, 20)


def test_never_losing_and_unconnected_models_are_named():
    found = arena([("a", "b", "a")] * 5 + [("c", "d", "c"), ("c", "d", "d")], rating="bradley-terry", resamples=20)
    assert found.components == (("a", "b"), ("c", "d"))
    assert any("2 groups" in note for note in found.notes)
    assert any("never lost" in note and "a, b" in note for note in found.notes)
    assert np.isfinite(list(found.ratings.values())).all()
    assert "note:" in found.table()
    assert '"ranking"' in found.to_json()


def test_bad_votes():
    with pytest.raises(UserError, match=r"1 winners .* vote 1 \('c'\)"):
        arena([("a", "b", "a"), ("a", "b", "c")])
    with pytest.raises(UserError, match="against itself"):
        arena([("a", "a", "a")])
    with pytest.raises(UserError, match="no judged votes"):
        arena([("a", "b", None)])
    found = arena([("a", "b", "a"), ("a", "b", None)], resamples=10)
    assert (found.n, found.unscored) == (2, 1)


@pytest.mark.paper(
    "caparena",
    shows="V",
    case="people's votes agree with themselves: 1; by level, with and without ties",
)
def test_audit():
    votes = some_votes(300)
    itself = audit(votes, [winner for *_, winner in votes], resamples=50)
    assert itself.value == 1
    assert itself.parts["spearman"] == itself.parts["kendall_b"] == 1
    scores = [(float(a[1]), float(b[1])) for a, b, _ in votes]
    levels = ["level 1" if abs(x - y) > 2 else "level 2" for x, y in scores]
    by_score = audit(votes, scores, levels=levels, resamples=50, confidence=0.95)
    expected = [("tie" if x == y else a if x > y else b) == w for (a, b, w), (x, y) in zip(votes, scores)]
    assert by_score.value == pytest.approx(np.mean(expected))
    easy = [ok for ok, level in zip(expected, levels) if level == "level 1"]
    assert by_score.parts["agreement/level 1"] == pytest.approx(np.mean(easy))
    assert by_score.interval.low < by_score.value < by_score.interval.high
    no_ties = audit(votes, scores, ties=False, resamples=10)
    kept = [ok for ok, (*_, w) in zip(expected, votes) if w != "tie"]
    assert no_ties.value == pytest.approx(np.mean(kept))
    assert no_ties.unscored == len(votes) - len(kept)
    humans = [("human", "m1", "human"), *itertools.islice(votes, 20)]
    assert audit(humans, [w for *_, w in humans], resamples=5).n == 20


@pytest.mark.paper(
    "caparena",
    shows="R",
    case="2,500 captions of four captioners and people, scored by people (THumB): as votes, rated; CIDEr audited",
)
def test_people_s_scores_of_real_captioners_as_votes(test_data):
    """Three ratings give the order of the mean scores; CIDEr agrees with people beyond chance and orders them alike."""
    folder = test_data / "jungokasai+THumB"
    read = {
        name: list(map(json.loads, (folder / f"mscoco_mscoco_{name}").open(encoding="utf-8")))
        for name in ("references.json", "THumB-1.0.jsonl")
    }
    references = {row["seg_id"]: row["refs"] for row in read["references.json"]}
    found = {(row["seg_id"], row["SYS"]): row for row in read["THumB-1.0.jsonl"]}
    pictures, writers = sorted({key for key, _ in found}), sorted({writer for _, writer in found})
    assert (len(pictures), len(writers), len(found)) == (500, 5, 2500)
    by_mean = sorted(writers, key=lambda w: -np.mean([found[key, w]["human_score"] for key in pictures]))
    pairs = [(key, a, b) for key in pictures for a, b in itertools.combinations(writers, 2)]
    marks = [(found[key, a]["human_score"], found[key, b]["human_score"]) for key, a, b in pairs]
    votes = [(a, b, "tie" if x == y else a if x > y else b) for (_, a, b), (x, y) in zip(pairs, marks)]
    for rating in ("elo", "bradley-terry", "win-minus-loss"):
        rated = arena(votes, rating=rating, resamples=100)
        assert list(rated.ranking) == by_mean, rating
        people, *machines = rated.ranking
        assert people == "Human"
        assert rated.intervals[people][0] > rated.intervals[machines[0]][1]  # people write better, clearly
    scores = {}
    for writer in writers:
        values = cider([found[key, writer]["hyp"] for key in pictures], [references[key] for key in pictures]).per_item
        scores |= {(key, writer): value for key, value in zip(pictures, values)}
    verdicts = [(scores[key, a], scores[key, b]) for key, a, b in pairs]
    agreed = audit(votes, verdicts, exclude=["Human"], ties=False, confidence=0.95, resamples=100)
    assert agreed.interval.low > 0.6  # a coin: .5
    assert agreed.parts["spearman"] == 1
