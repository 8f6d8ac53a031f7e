"""Standings of many models: the card's case, invariance, missing tasks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import standings

CASE = {"t": {"A": 0.9, "B": 0.8, "C": 0.7}, "u": {"A": 0.5, "B": 0.5, "C": 0.3}, "v": {"A": 0.4, "B": 0.6, "C": 0.6}}


@pytest.mark.paper("mmteb", shows="V", case="three models, three tasks: 4, 3.5, 1.5 points; means .633, .6, .533")
def test_the_worked_case():
    found = standings(CASE)
    assert [(row.model, row.rank, row.points) for row in found.rows] == [("B", 1, 4.0), ("A", 2, 3.5), ("C", 3, 1.5)]
    means = {row.model: round(row.mean, 3) for row in found.rows}
    assert means == {"A": 0.6, "B": 0.633, "C": 0.533}
    assert sum(row.points for row in found.rows) == 3 * 3
    assert "B" in found.table().splitlines()[1]
    assert json.loads(found.to_json())["rows"][0]["model"] == "B"


@pytest.mark.paper("mmteb", shows="V", case="another scale of a task changes no points")
def test_a_monotone_rescaling_changes_no_points():
    scaled = {**CASE, "t": {model: float(np.exp(5 * score)) for model, score in CASE["t"].items()}}
    assert [row.points for row in standings(scaled).rows] == [row.points for row in standings(CASE).rows]


@pytest.mark.paper("mmteb", shows="V", case="a model without a task has no mean and no points for it")
def test_missing_tasks_have_no_mean_and_no_points():
    found = {row.model: row for row in standings({**CASE, "v": {"A": 0.4, "C": 0.6, "B": None}}).rows}
    assert found["B"].mean is None
    assert found["B"].tasks == 2
    assert (found["A"].points, found["B"].points, found["C"].points) == (4.5, 2.5, 2.0)


def test_types():
    found = {row.model: row for row in standings(CASE, types={"t": "x", "u": "x", "v": "y"}).rows}
    assert found["A"].mean_by_type == pytest.approx((0.7 + 0.4) / 2)
    with pytest.raises(UserError, match="1 tasks have no type: v"):
        standings(CASE, types={"t": "x", "u": "x"})
    with pytest.raises(UserError, match="no scores"):
        standings({})
