"""Freezing patterns, optimiser groups, schedules, EMA."""

from __future__ import annotations

import math

import pytest

from panoglot.errors import UserError

torch = pytest.importorskip("torch")
from torch import nn

from panoglot.networks import Ema, freeze, parameter_groups, ramp, schedule, training_mode


def model() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "image": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)),
            "head": nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)),
        }
    )


def test_the_last_rule_wins():
    m = model()
    plan = freeze(m, [{"freeze": "image.*"}, {"train": "image.1.*", "lr_scale": 0.1}])
    assert {n: p.requires_grad for n, p in m.named_parameters()} == {
        "image.0.weight": False,
        "image.0.bias": False,
        "image.1.weight": True,
        "image.1.bias": True,
        "head.0.weight": True,
        "head.0.bias": True,
    }
    assert (plan.trained, plan.total) == (18, 38)
    assert "18 of 38" in str(plan)
    assert "× 0.1" in str(plan)
    groups = parameter_groups(m, plan, 1e-3, 0.2)
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in groups] == [
        (1e-4, 0.0, 2),
        (1e-3, 0.0, 1),
        (1e-3, 0.2, 1),
    ]


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([{"freeze": "imag.*"}], "imag"),
        ([{"freeze": "*"}], "nothing would be trained"),
        ([{"freze": "*"}], "'freeze'"),
        ([{"freeze": "*", "train": "*"}], "either"),
        ([{"lr_scale": 2}], "either"),
    ],
)
def test_bad_rules(rules, says):
    with pytest.raises(UserError, match=says):
        freeze(model(), rules)


def test_frozen_parts_are_evaluated():
    m = model()
    freeze(m, [{"freeze": "image.*"}])
    training_mode(m)
    assert [m["image"].training, m["image"][1].training, m["image"][2].training] == [False] * 3
    assert [m.training, m["head"].training, m["head"][1].training] == [True] * 3
    before = m["image"][1].running_mean.clone()
    m["image"](torch.randn(8, 4) + 5)
    assert torch.equal(m["image"][1].running_mean, before)


@pytest.mark.paper("vgs-char-gru", shows="V", case="the rate: least at 0, most at half a period, least at a whole one")
def test_schedules():
    f = schedule("cosine", 100, warmup=10, minimum=0.1)
    assert [f(0), f(9), f(10)] == pytest.approx([0.1, 1, 1])
    assert f(100) == f(500) == pytest.approx(0.1)
    assert schedule("linear", 100, warmup=20)(60) == pytest.approx(0.5)
    assert schedule("linear", 100)(200) == 0
    g = schedule("cyclic_cosine", 0, period=8, minimum=0.01)  # char-GRU: 1e-6 … 1e-4
    assert [g(0), g(4), g(8), g(12)] == pytest.approx([0.01, 1, 0.01, 1])
    d = schedule("step_decay", 0, every=10, rate=0.9)
    assert [d(0), d(9), d(10), d(20)] == pytest.approx([1, 1, 0.9, 0.81])
    assert schedule("constant", 0, warmup=4)(1) == 0.5
    with pytest.raises(UserError, match="'cosine'"):
        schedule("cosin", 1)
    with pytest.raises(UserError, match="warmpu"):
        schedule("cosine", 1, warmpu=3)
    assert ramp(50, 100, 0.996, 1.0) == pytest.approx(0.998)
    assert ramp(30, 100, 0.04, 0.07, "linear") == pytest.approx(0.049)


@pytest.mark.paper(
    "rs-m-clip",
    shows="V",
    case="the teacher: m old + (1 - m) new; m = 1 changes nothing; no gradient; counters are copied",
)
def test_ema():
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    ema = Ema(student)
    old = [p.clone() for p in ema.teacher.parameters()]
    student(torch.randn(5, 3)).sum().backward()
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1)
    ema.update(student, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(old, ema.teacher.parameters(), strict=True))
    ema.update(student, 0.9)
    for a, s, t in zip(old, student.parameters(), ema.teacher.parameters(), strict=True):
        assert torch.allclose(t, 0.9 * a + 0.1 * s, atol=1e-7)
        assert t.grad is None
        assert not t.requires_grad
    assert int(ema.teacher[1].num_batches_tracked) == 1  # counted, not averaged
    ema.train()
    assert not ema.teacher.training
    assert not ema(torch.randn(2, 3)).requires_grad
    assert math.isfinite(float(ema(torch.randn(2, 3)).sum()))
