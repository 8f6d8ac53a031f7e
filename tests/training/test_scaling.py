"""The scaling law of the Florenz card."""

from __future__ import annotations

import numpy as np
import pytest

from panoglot.errors import UserError

pytest.importorskip("scipy")
from panoglot.training import fit_scaling, plot_scaling, points_of_runs

N, S = np.geomspace(1e6, 1e9, 5), np.geomspace(1e6, 1e10, 5)


def law(n, s):
    return 1.5 + 40 * n**-0.34 + 300 * s**-0.28


POINTS = [(n, s, law(n, s)) for n in N for s in S]


@pytest.mark.paper(
    "florenz",
    shows="V",
    case="25 points without noise: E, A, alpha, B, beta within 1 %; losses 2.0103 to 8.1327",
)
def test_recovers_the_law():
    assert (round(min(p[2] for p in POINTS), 4), round(max(p[2] for p in POINTS), 4)) == (2.0103, 8.1327)
    fit = fit_scaling(POINTS, twins=2)
    assert (fit.e, fit.a, fit.alpha, fit.b, fit.beta) == pytest.approx((1.5, 40, 0.34, 300, 0.28), rel=0.01)
    assert fit.flags == ()


@pytest.mark.paper("florenz", shows="V", case="1 % noise, 20 seeds: the prediction at 1e10 within 3 %")
def test_prediction_under_noise():
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(1, 0.01, len(POINTS))
        fit = fit_scaling([(n, s, v * f) for (n, s, v), f in zip(POINTS, noise, strict=True)], twins=0)
        assert fit(1e10, 1e10) == pytest.approx(law(1e10, 1e10), rel=0.03)


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(1, 0.01, len(POINTS))
        fit = fit_scaling([(n, s, v * f) for (n, s, v), f in zip(POINTS, noise, strict=True)], twins=25)
        low, high = fit.interval(1e10, 1e10)
        held += low < law(1e10, 1e10) < high
        assert (high - low) / low < 0.1
    assert held >= 8  # of 95 %
    assert fit_scaling(fit.points, twins=25).interval(1e10, 1e10) == (low, high)


@pytest.mark.paper(
    "florenz",
    shows="V",
    case="under six points or one axis without variation: refused; points that rise: flagged",
)
def test_refusals_and_flags():
    with pytest.raises(UserError, match="six"):
        fit_scaling(POINTS[:5])
    with pytest.raises(UserError, match="samples need"):
        fit_scaling([(n, 1e6, law(n, 1e6)) for n in np.geomspace(1e6, 1e9, 8)] + POINTS[:1])
    with pytest.raises(UserError, match="positive"):
        fit_scaling([*POINTS, (1e6, 1e6, float("nan"))])
    odd = [*POINTS[:-1], (*POINTS[-1][:2], 3.5)]
    assert any("rises" in f for f in fit_scaling(odd, twins=0).flags)


def test_plot_and_runs(tmp_path):
    plot_scaling(fit_scaling(POINTS, twins=3), tmp_path / "law.svg")
    import xml.etree.ElementTree as Tree

    svg = Tree.parse(tmp_path / "law.svg").getroot()
    assert len(svg.findall(".//{*}circle")) == 25
    assert len(svg.findall(".//{*}polyline")) == 5
    with pytest.raises(UserError, match="holds no run"):
        points_of_runs([tmp_path])


def test_points_of_a_run(tmp_path):
    pytest.importorskip("torch")
    from panoglot.networks import load_row
    from panoglot.training import shapes, train_records

    tiny = {"image": {"width": 32, "layers": 1, "heads": 2}, "text": {"width": 32, "size": 512}, "dim": 8}
    t = train_records(load_row("clip", "small", batch=16, epochs=2, **tiny), shapes(32), tmp_path)
    ((n, s, loss),) = points_of_runs([tmp_path])
    assert n == sum(p.numel() for p in t.model.parameters())
    assert s == 64
    assert 0 < loss < 5
