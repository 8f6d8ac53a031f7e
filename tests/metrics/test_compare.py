"""Comparisons: paired, per language, refused where they would mislead."""

from __future__ import annotations

import json

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.metrics import ResultSet, compare, load_results, mean_result


def result(values, **rest):
    return mean_result("m", values, version="1", **rest)


def test_paired_is_tighter_than_unpaired():
    draw = np.random.default_rng(0)
    hard = draw.normal(size=200)
    a, b = hard, hard + 0.1 + 0.05 * draw.normal(size=200)
    found = compare(result(a), result(b), resamples=2000).rows[0]
    assert found.low < found.difference < found.high
    assert found.difference == pytest.approx(b.mean() - a.mean())
    assert found.low > 0.08  # the items differ by far more than the systems
    assert found.p == pytest.approx(2 / 2001)
    assert found.better + found.worse + found.equal == 200


def test_no_difference_is_called_none():
    draw = np.random.default_rng(1)
    a = draw.normal(size=100)
    found = compare(result(a), result(a + draw.normal(size=100) * 0.1 - 0.0))
    assert found.rows[0].p > 0.01
    same = compare(result(a), result(a)).rows[0]
    assert (same.difference, same.low, same.high, same.p, same.equal) == (0, 0, 0, 1, 100)


def test_swapping_sides_mirrors():
    draw = np.random.default_rng(2)
    a, b = draw.normal(size=50), draw.normal(size=50)
    one, two = compare(result(a), result(b)).rows[0], compare(result(b), result(a)).rows[0]
    assert one.difference == -two.difference
    assert one.low == pytest.approx(-two.high)
    assert one.p == two.p


def test_files_languages_and_nulls(tmp_path):
    draw = np.random.default_rng(0)

    def system(gain):
        return ResultSet(
            {lang: result([*(draw.normal(size=30) + gain), None], language=lang) for lang in ("de", "sw", "th")}
        )

    for name, gain in (("a", 0.0), ("b", 2.0)):
        (tmp_path / f"{name}.json").write_text(system(gain).to_json(per_item=True))
    found = compare(tmp_path / "a.json", tmp_path / "b.json", resamples=500)
    assert [row.name for row in found.rows] == ["de", "sw", "th"]
    assert all(row.unscored == 1 and row.n == 30 for row in found.rows)
    assert found.overall.difference == pytest.approx(np.mean([row.difference for row in found.rows]))
    # parallel languages are resampled together, so the mean's interval is not wider than each one's on average
    assert found.overall.high - found.overall.low < np.mean([row.high - row.low for row in found.rows])
    text = found.table()
    assert "all" in text
    assert "*" in text
    json.loads(found.to_json())
    again = load_results(tmp_path / "a.json")
    assert again["th"].unscored == 1


def test_refused():
    base = result([1, 2, 3], ids=["x", "y", "z"])
    with pytest.raises(UserError, match="only in A: z; 1 items only in B: w"):
        compare(base, result([1, 2, 3], ids=["x", "y", "w"]))
    with pytest.raises(UserError, match="tokenizer 'ptb', B has 'char'"):
        compare(result([1, 2], tokenizer="ptb"), result([1, 2], tokenizer="char"))
    with pytest.raises(UserError, match="the options k differ"):
        compare(result([1, 2], options={"k": 1}), result([1, 2], options={"k": 2}))
    assert compare(result([1, 2], options={"encoder": "a"}), result([1, 2], options={"encoder": "b"})).rows
    with pytest.raises(UserError, match="nothing to compare"):
        compare(result([1, 2], language="de"), result([1, 2], language="fr"))
    with pytest.raises(UserError, match="--per-item"):
        compare(type(base).from_json(base.to_json()), base)
    with pytest.raises(UserError, match="no file"):
        compare("nowhere.json", base)


def test_nothing_in_common_is_null():
    found = compare(result([1, None]), result([None, 2]))
    assert found.rows[0].difference is None
    assert found.rows[0].unscored == 2
    assert "null" in found.table()
    lone = compare(result([1]), result([2])).rows[0]
    assert (lone.difference, lone.low) == (1, None)


def test_too_few_items_are_noted():
    """Three items that favour B give p = 0.0002, where no exact test can give less than 0.25."""
    three = compare(mean_result("m", [1, 2, 3], version="1"), mean_result("m", [2, 3, 5], version="1"))
    assert three.rows[0].p < 0.001
    assert "too few items for a bootstrap, do not trust its interval and p: m (3)" in three.notes
    assert compare(mean_result("m", [1] * 8, version="1"), mean_result("m", [2] * 8, version="1")).notes == ()
