"""Correlations against scipy and by counting pairs."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.metrics.preference.agreement import agreement, kendall, pairwise_accuracy, pearson, spearman


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_scipy(seed):
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 6 if seed % 2 else 1000, 80).astype(float)
    y = x * 0.5 + draw.integers(0, 5 if seed % 2 else 1000, 80)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y, variant="b").statistic, abs=1e-12)
    assert kendall(x, y, "c") == pytest.approx(stats.kendalltau(x, y, variant="c").statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_counting_pairs(seed):
    draw = np.random.default_rng(seed)
    x, y = draw.integers(0, 5, 40), draw.integers(0, 4, 40)
    pairs = list(itertools.combinations(range(40), 2))
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in pairs]
    surplus = sum(a * b for a, b in signs)
    tau = surplus / np.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))
    assert kendall(x, y) == pytest.approx(tau, abs=1e-12)
    assert pairwise_accuracy(x, y) == pytest.approx(np.mean([a == b for a, b in signs]), abs=1e-12)
    without = [a == b for a, b in signs if b != 0]
    assert pairwise_accuracy(x, y, ties=False) == pytest.approx(np.mean(without), abs=1e-12)


def test_no_variance_is_null_not_zero():
    assert kendall([1, 1, 1], [1, 2, 3]) is None
    assert kendall([1, 2, 3], [4, 4, 4], "c") is None
    assert spearman([1, 1], [1, 2]) is None
    assert pearson([0.1 + 0.2, 0.3], [1, 2]) is None  # equal but for rounding
    found = agreement([1, 1, 1], [1, 2, 3], statistic="pearson")
    assert found.value is None
    assert json.loads(found.to_json())["value"] is None


def test_groups_keep_pictures_apart():
    # within each picture in perfect order; across pictures reversed
    scores, human, pictures = [1, 2, 11, 12], [11, 12, 1, 2], ["p", "p", "q", "q"]
    assert agreement(scores, human).value < 0
    assert agreement(scores, human, groups=pictures).value == 1
    lone = agreement([*scores, 5], [*human, 5], groups=[*pictures, "r"])
    assert lone.value == 1
    assert "1 of 3 groups" in lone.notes[0]


@pytest.mark.parametrize("statistic", ["kendall_b", "pearson", "pairwise_accuracy"])
def test_interval(statistic):
    draw = np.random.default_rng(0)
    x = draw.normal(size=60)
    y = x + draw.normal(size=60)
    found = agreement(x, y, statistic=statistic, confidence=0.9, resamples=200)
    assert found.interval.low < found.value < found.interval.high
    order = draw.permutation(60)
    again = agreement(x[order], y[order], ids=order.tolist(), statistic=statistic, confidence=0.9, resamples=200)
    assert again.interval == found.interval


def test_bad_input():
    with pytest.raises(UserError, match="1 human score have no prediction: z"):
        agreement({"a": 1, "b": 2}, {"a": 1, "b": 2, "z": 3})
    with pytest.raises(UserError, match="infinite: 1"):
        agreement([1, float("inf")], [1, 2])
    with pytest.raises(UserError, match="at least two"):
        agreement([1, None], [1, 2])
    with pytest.raises(UserError, match="Did you mean 'kendall_b'"):
        agreement([1, 2], [1, 2], statistic="kendal_b")


def test_thumb_pearson(test_data):
    """The published Pearson of CIDEr with THumB's totals, through `agreement`."""
    from panoglot.evaluate import cider

    folder = test_data / "jungokasai+THumB"
    refs = {
        row["seg_id"]: row["refs"]
        for row in map(json.loads, (folder / "mscoco_mscoco_references.json").open(encoding="utf-8"))
    }
    rows = [
        row
        for row in map(json.loads, (folder / "mscoco_mscoco_THumB-1.0.jsonl").open(encoding="utf-8"))
        if row["SYS"] != "Human"
    ]
    scores, marks = [], []
    for system in sorted({row["SYS"] for row in rows}):
        mine = [row for row in rows if row["SYS"] == system]
        scores += cider([row["hyp"] for row in mine], [refs[row["seg_id"]] for row in mine]).per_item
        marks += [row["human_score"] for row in mine]
    assert agreement(scores, marks, statistic="pearson").value == pytest.approx(0.334, abs=6e-4)
