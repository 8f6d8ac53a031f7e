from __future__ import annotations

import json
import math

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.metrics import MetricResult, bootstrap, mean_result


def test_null_is_counted_and_left_out_of_the_mean() -> None:
    result = mean_result("m", [1.0, None, math.nan, 3.0], version="1")
    assert (result.value, result.n, result.unscored, result.per_item) == (2.0, 4, 2, (1.0, None, None, 3.0))


def test_nothing_scored_is_null_not_zero() -> None:
    result = mean_result("m", [None], version="1")
    assert result.value is None
    assert math.isnan(float(result))
    assert "null" in result.table()


def test_json_is_sorted_and_reads_back() -> None:
    result = mean_result(
        "m", [1.0, None], version="1", ids=["b", "ä"], confidence=0.9, language="de", parts={"p": None}
    )
    text = result.to_json(per_item=True)
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert MetricResult.from_json(text) == result
    assert "per_item" not in json.loads(result.to_json())
    with pytest.raises(UserError, match="not a metric result"):
        MetricResult.from_json("{}")


def test_bootstrap_depends_on_ids_not_on_order() -> None:
    values = np.random.default_rng(1).normal(size=200)
    ids = [f"image-{n}" for n in range(200)]
    shuffled = np.random.default_rng(2).permutation(200)
    first = bootstrap(values, ids=ids)
    assert first == bootstrap(values[shuffled], ids=[ids[n] for n in shuffled])
    assert first != bootstrap(values, ids=ids, seed=1)


def test_bootstrap_covers_like_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(10, 2, size=400)
    found = bootstrap(values, resamples=4000)
    assert found is not None
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)


def test_bootstrap_of_a_ratio_resamples_sums() -> None:
    sums = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 5.0]])
    found = bootstrap(sums, lambda means: means[:, 0] / means[:, 1])
    assert found is not None
    assert 0.0 <= found.low < 4 / 11 < found.high <= 0.75


@pytest.mark.parametrize("values", [[], [1.0], [None, 2.0]])
def test_no_variance_no_interval(values: list[float | None]) -> None:
    assert bootstrap(values) is None


def test_bad_level_and_bad_ids_are_errors() -> None:
    with pytest.raises(UserError, match="level"):
        bootstrap([1.0, 2.0], level=95)
    with pytest.raises(UserError, match="duplicate ids: a"):
        mean_result("m", [1.0, 2.0], version="1", ids=["a", "a"])
