"""Retrieval metrics against explicit loops and worked cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.metrics.ranking import rank_value, tied_ranks
from panoglot.metrics.ranking.rankings import (
    condition_recall,
    cumulative_hits,
    first_rank_scores,
    rankings,
    subset_recall,
)
from panoglot.metrics.ranking.retrieval import image_text_retrieval, retrieval

ALL = [
    "recall@1",
    "recall@5",
    "positive_recall@5",
    "precision@5",
    "r_precision",
    "map@5",
    "map",
    "ndcg@10",
    "mrr",
    "rank",
]


def naive(scores, positives, metric):
    """A query by sorting, with Python loops alone (no ties)."""
    order = sorted(range(len(scores)), key=lambda n: -scores[n])
    hits = [item in positives for item in order]
    name, _, k = metric.partition("@")
    k = int(k) if k else len(order)
    if name == "recall":
        return float(any(hits[:k]))
    if name == "positive_recall":
        return sum(hits[:k]) / len(positives)
    if name == "precision":
        return sum(hits[:k]) / k
    if name == "r_precision":
        return sum(hits[: len(positives)]) / len(positives)
    if name == "map":
        return sum(sum(hits[: i + 1]) / (i + 1) for i in range(k) if hits[i]) / min(k, len(positives))
    if name == "ndcg":
        ideal = sum(1 / math.log2(i + 2) for i in range(min(k, len(positives))))
        return sum(1 / math.log2(i + 2) for i in range(min(k, len(hits))) if hits[i]) / ideal
    if name == "mrr":
        return 1 / (hits.index(True) + 1)
    return float(hits.index(True) + 1)


@pytest.mark.parametrize("chunk", [32 << 20, 4 * 60 * 3])
def test_equal_to_sorting_loops(monkeypatch, chunk):
    monkeypatch.setattr("panoglot.metrics.ranking._ranks.CHUNK", chunk)
    draw = np.random.default_rng(0)
    queries, gallery = draw.normal(size=(40, 16)), draw.normal(size=(60, 16))
    positives = [draw.choice(60, size=draw.integers(1, 7), replace=False).tolist() for _ in range(40)]
    scores = (queries / np.linalg.norm(queries, axis=1)[:, None]) @ (
        gallery / np.linalg.norm(gallery, axis=1)[:, None]
    ).T
    found = retrieval(queries, gallery, positives, metrics=ALL)
    for metric in ALL:
        expected = [naive(row.tolist(), set(p), metric) for row, p in zip(scores, positives)]
        assert found.parts[metric] == pytest.approx(np.mean(expected), abs=1e-12), metric
    assert retrieval(queries, gallery, positives, metrics=["recall@1"]).value == found.parts["recall@1"]


@pytest.mark.parametrize("whole", [600 << 20, 0])
def test_both_ways_equal_loops(monkeypatch, whole):
    monkeypatch.setattr("panoglot.metrics.ranking._ranks.WHOLE", whole)
    draw = np.random.default_rng(1)
    images, texts = draw.normal(size=(300, 8)), draw.normal(size=(700, 8))
    owners = np.concatenate([np.arange(300), draw.integers(0, 300, 400)])
    texts += images[owners]
    both = image_text_retrieval(images, texts, owners.tolist(), metrics=ALL)
    scores = (images / np.linalg.norm(images, axis=1)[:, None]) @ (texts / np.linalg.norm(texts, axis=1)[:, None]).T
    for metric in ALL:
        up = [naive(scores[n].tolist(), set(np.flatnonzero(owners == n)), metric) for n in range(300)]
        down = [naive(scores[:, n].tolist(), {owners[n]}, metric) for n in range(700)]
        assert both["image_to_text"].parts[metric] == pytest.approx(np.mean(up), abs=1e-12), metric
        assert both["text_to_image"].parts[metric] == pytest.approx(np.mean(down), abs=1e-12), metric


def test_permuting_the_gallery_changes_nothing():
    draw = np.random.default_rng(2)
    queries, gallery = draw.normal(size=(30, 8)), draw.normal(size=(50, 8))
    order = draw.permutation(50)
    place = np.argsort(order)
    a = retrieval(queries, gallery, list(range(30)), metrics=["rank"])
    b = retrieval(queries, gallery[order], place[:30].tolist(), metrics=["rank"])
    assert a.details == b.details
    assert retrieval(queries * 7, gallery * 0.1, list(range(30)), metrics=["rank"]).details == a.details


def test_ties_are_stated():
    gallery = np.ones((4, 3))
    for ties, rank in (("mean", 2.5), ("optimistic", 1), ("pessimistic", 4)):
        found = retrieval([[1, 1, 1]], gallery, [2], metrics=["rank"], ties=ties)
        assert found.value == rank
        assert found.options["ties"] == ties
    # two positives among four equal: expected order statistics 5/3 and 10/3
    assert retrieval([[1, 1, 1]], gallery, [[0, 1]], metrics=["rank"]).value == pytest.approx(5 / 3)
    both = image_text_retrieval(gallery, gallery, [0, 1, 2, 3], metrics=["rank"])
    assert both["image_to_text"].value == both["text_to_image"].value == 2.5


def test_a_tie_in_a_random_order_has_the_mean_rank_on_average():
    draw = np.random.default_rng(0)
    seen = [sorted(np.flatnonzero(draw.permutation([1, 1, 0, 0, 0])) + 1) for _ in range(20_000)]
    assert np.mean(seen, axis=0) == pytest.approx(tied_ranks(0, 2, 3, "mean"), abs=0.03)


def test_ignored_rows_do_not_compete_and_candidates_confine():
    gallery = [[1, 0], [0.9, 0.1], [0.5, 0.5]]
    assert retrieval([[1, 0]], gallery, [2], metrics=["rank"]).value == 3
    assert retrieval([[1, 0]], gallery, [2], metrics=["rank"], ignore=[[0]]).value == 2
    assert retrieval([[1, 0]], gallery, [2], metrics=["rank"], ignore={0: [0, 1]}).value == 1
    assert retrieval([[1, 0]], gallery, [2], metrics=["rank"], candidates=[[1, 2]]).value == 2
    # a score of 0 is not "removed": the positive's own score may be negative
    assert retrieval([[1, 0]], [[1, 0], [-1, 0.1]], [1], metrics=["rank"], ignore=[[0]]).value == 1


@pytest.mark.paper("cirevl", shows="V", case="CIRCO: a, b, c right, x a b y z found: AP@5 .3889, AP@2 .25")
@pytest.mark.paper(
    "mmteb",
    shows="V",
    case="nDCG@10 of ranks 3, and 1 and 3: .5, .9197; ranks -1, -1, 2, -1, 7: R@10 .4, MRR .128571",
)
@pytest.mark.paper(
    "merit-coral",
    shows="V",
    case="nDCG@10 of ranks 3, and 1 and 3: .5, .9197; ranks -1, -1, 2, -1, 7: R@10 .4, MRR .128571",
)
def test_worked_cases_of_the_cards():
    circo = rankings({"q": list("xabyz")}, {"q": list("abc")}, metrics=["map@5", "map@2"])
    assert circo.parts == {"map@5": pytest.approx(0.3889, abs=1e-4), "map@2": 0.25}
    merit = first_rank_scores({"a": -1, "b": -1, "c": 2, "d": -1, "e": 7})
    assert merit.parts == {
        "recall@1": 0,
        "recall@5": 0.2,
        "recall@10": 0.4,
        "mrr@10": pytest.approx(0.128571, abs=1e-6),
    }
    assert rank_value("ndcg@10", [3]) == 0.5
    assert rank_value("ndcg@10", [1, 3]) == pytest.approx(0.9197, abs=1e-4)


def test_graded_ndcg():
    found = rankings({"q": ["b", "x", "a"]}, {"q": {"a": 3, "b": 1, "c": 0}}, metrics=["ndcg@3"])
    assert found.value == pytest.approx((1 + 3 / 2) / (3 + 1 / math.log2(3)))


def test_cirr_subset_takes_the_reference_out():
    ranked = {1: ["ref", "far", "b", "target", "c"]}
    members = {1: ["ref", "b", "target", "c", "d", "e"]}
    found = subset_recall(ranked, {1: "target"}, members, references={1: "ref"})
    assert list(found.parts.values()) == [0, 1, 1]
    kept = subset_recall(ranked, {1: "target"}, members)
    assert list(kept.parts.values()) == [0, 0, 1]


def test_conditions():
    meets = {"q": [{"a", "c"}, {"b", "c"}], "p": [{"x"}, {"x"}]}
    found = condition_recall({"q": ["a", "b", "c"], "p": ["x"]}, meets, k=2)
    assert found.value == 0.75  # q: half of its conditions at once; p: all
    assert found.parts["all@2"] == 0.5
    assert found.parts["condition1@1"] == 1.0
    assert found.parts["condition2@1"] == 0.5
    assert condition_recall({"q": ["a", "b", "c"], "p": ["x"]}, meets, k=3).value == 1.0


def test_cumulative_hits_never_fall():
    draw = np.random.default_rng(0)
    found = list(cumulative_hits(draw.integers(1, 60, (50, 6)).tolist(), k=10).parts.values())
    assert found == sorted(found)
    with pytest.raises(UserError, match="2 rounds"):
        cumulative_hits([[1, 2], [1]])


def test_bad_input_names_the_offenders():
    good = np.eye(3)
    holes = good.copy()
    holes[1] = np.nan
    with pytest.raises(UserError, match=r"1 queries .* 1"):
        retrieval(holes, good, [0, 1, 2])
    found = retrieval(holes, good, [0, 1, 2], on_error="null")
    assert (found.value, found.unscored, found.per_item[1]) == (1.0, 1, None)
    lost = retrieval(good, holes, [0, 1, 2], on_error="null", metrics=["recall@1"])
    assert (lost.value, lost.unscored) == (1.0, 1)  # its only target has no vector: null, not a miss
    some = retrieval(good, holes, [[0], [1, 2], [2]], on_error="null", metrics=["positive_recall@1"])
    assert some.per_item == (1, 0, 1)
    both = image_text_retrieval(holes, np.repeat(good, 2, axis=0), [0, 0, 1, 1, 2, 2], on_error="null")
    assert (both["text_to_image"].unscored, both["text_to_image"].value) == (2, 1)
    mute = image_text_retrieval(good, holes, [0, 1, 2], on_error="null")
    assert (mute["image_to_text"].unscored, mute["image_to_text"].value) == (1, 1)
    assert "1 gallery rows" in lost.notes[0]
    with pytest.raises(UserError, match="4 dimensions, the others 3"):
        retrieval(np.eye(4), good, [0, 1, 2, 2])
    with pytest.raises(UserError, match="outside the gallery"):
        retrieval(good, good, [0, 1, 9])
    with pytest.raises(UserError, match="no positives: 1"):
        retrieval(good, good, [[0], [], [2]])
    with pytest.raises(UserError, match="no text: 2"):
        image_text_retrieval(good, good[:2], [0, 1])
    with pytest.raises(UserError, match="matrix"):
        retrieval([1.0, 2.0], good, [0])
    with pytest.raises(UserError, match="more than once: q"):
        rankings({"q": ["a", "a"]}, {"q": "a"})
    with pytest.raises(UserError, match="have no positives"):
        rankings({"q": ["a"], "r": ["b"]}, {"q": "a"})
    with pytest.raises(UserError, match="neither -1"):
        first_rank_scores([0, 3])
    with pytest.raises(UserError, match="Did you mean 'recall'"):
        retrieval(good, good, [0, 1, 2], metrics=["recal@1"])
    with pytest.raises(UserError, match="write recall@10"):
        retrieval(good, good, [0, 1, 2], metrics=["recall"])


def test_interval_and_json_round_trip():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(50, 4))
    found = retrieval(vectors + draw.normal(size=(50, 4)), vectors, list(range(50)), confidence=0.95)
    assert found.interval.low <= found.value <= found.interval.high
    again = type(found).from_json(found.to_json(per_item=True))
    assert again.parts == dict(found.parts)
    assert dict(zip(again.ids, again.per_item)) == dict(zip(found.ids, found.per_item))


@pytest.mark.paper(
    "vgs-char-gru", shows="V", case="recall in five folds is the mean over the folds searched by themselves"
)
def test_folds_are_searched_by_themselves():
    rng = np.random.default_rng(4)
    images = rng.standard_normal((50, 8))
    owners = np.repeat(np.arange(50), 2)
    texts = images[owners] + 2 * rng.standard_normal((100, 8))
    order = rng.permutation(100)  # of texts: folds go by image
    whole = image_text_retrieval(images, texts[order], owners[order].tolist(), metrics=ALL, folds=5)
    parts = [
        image_text_retrieval(
            images[n : n + 10], texts[2 * n : 2 * n + 20], np.repeat(np.arange(10), 2).tolist(), metrics=ALL
        )
        for n in range(0, 50, 10)
    ]
    for way in ("image_to_text", "text_to_image"):
        assert whole[way].value == pytest.approx(np.mean([part[way].value for part in parts]))
        assert whole[way].options["folds"] == 5
    assert (
        whole["text_to_image"].value
        > image_text_retrieval(images, texts, owners.tolist(), metrics=ALL)["text_to_image"].value
    )
    with pytest.raises(UserError, match="50 images cannot be cut into 7 equal folds"):
        image_text_retrieval(images, texts, owners.tolist(), folds=7)
