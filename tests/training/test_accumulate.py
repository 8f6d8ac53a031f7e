"""Feature accumulation equals the big batch, the learned scale included."""

from __future__ import annotations

import pytest

from panoglot.errors import UserError

torch = pytest.importorskip("torch")
from torch import nn

from panoglot.networks import ContrastOptions, contrast
from panoglot.training import accumulate


def towers(dropout: float = 0.0):
    torch.manual_seed(0)
    make = lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(dropout), nn.GELU(), nn.Linear(8, 4)).double()  # noqa: E731
    scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    return make(), make(), scale


def run(image, text, x, y):
    return nn.functional.normalize(image(x), dim=-1), nn.functional.normalize(text(y), dim=-1)


def data(n: int = 12):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=g).double(), torch.randn(n, 6, generator=g).double()


def parameters(*parts):
    return [p for part in parts for p in ([part] if isinstance(part, nn.Parameter) else part.parameters())]


@pytest.mark.parametrize("k", [1, 3, 4])
@pytest.mark.parametrize("options", [ContrastOptions(), ContrastOptions(group=6), ContrastOptions(form="hinge")])
@pytest.mark.paper(
    "m2-encoder",
    shows="V",
    case="k micro-batches: loss and every gradient of the big batch, 1e-14, groups too",
)
@pytest.mark.paper(
    "clip",
    shows="V",
    case="k micro-batches: loss and every gradient of the big batch, 1e-14, groups too",
)
def test_equals_one_big_batch(k, options):
    x, y = data()
    image, text, scale = towers()
    contrast(*run(image, text, x, y), options=options, scale=scale.exp()).value.backward()
    want = [p.grad.clone() for p in parameters(image, text, scale)]
    for p in parameters(image, text, scale):
        p.grad = None
    pieces = list(zip(x.chunk(k), y.chunk(k), strict=True))
    term = accumulate(
        lambda piece: run(image, text, *piece),
        pieces,
        lambda a, b: contrast(a, b, options=options, scale=scale.exp()),
        modules=[image, text],
        check=True,
    )
    whole = contrast(*run(image, text, x, y), options=options, scale=scale.exp())
    assert float(term.value) == pytest.approx(float(whole.value.detach()), abs=1e-14)
    for p, w in zip(parameters(image, text, scale), want, strict=True):
        assert (p.grad - w).abs().max() < 1e-14


@pytest.mark.paper("clip", shows="V", case="the learned scale gets its gradient once, not k times")
def test_the_learned_scale_gets_its_gradient_once():
    """k live passes against stored features give the scale k times its gradient; ours is the big batch's."""
    x, y = data()
    image, text, scale = towers()
    features = run(image, text, x, y)
    (want,) = torch.autograd.grad(contrast(*features, scale=scale.exp()).value, scale)
    naive = torch.zeros_like(want)
    stored = [f.detach() for f in features]
    for i in range(4):
        own = slice(3 * i, 3 * i + 3)
        a, b = (f.clone() for f in stored)
        a[own], b[own] = run(image, text, x[own], y[own])
        naive += torch.autograd.grad(contrast(a, b, scale=scale.exp()).value, scale)[0]
    assert float(naive) == pytest.approx(4 * float(want), rel=1e-12)
    pieces = list(zip(x.chunk(4), y.chunk(4), strict=True))
    accumulate(lambda p: run(image, text, *p), pieces, lambda a, b: contrast(a, b, scale=scale.exp()))
    assert float(scale.grad) == pytest.approx(float(want), rel=1e-12)


@pytest.mark.paper("m2-encoder", shows="V", case="the second pass replays the first one's random numbers")
def test_dropout_is_replayed():
    x, y = data()
    image, text, scale = towers(dropout=0.5)
    pieces = list(zip(x.chunk(3), y.chunk(3), strict=True))

    def loss(a, b):
        return contrast(a, b, scale=scale.exp())

    torch.manual_seed(7)
    accumulate(lambda p: run(image, text, *p), pieces, loss, check=True)
    got = [p.grad.clone() for p in parameters(image, text, scale)]
    after = torch.get_rng_state()
    for p in parameters(image, text, scale):
        p.grad = None
    torch.manual_seed(7)  # the same masks, one graph over everything
    parts = [run(image, text, *p) for p in pieces]
    assert torch.equal(after, torch.get_rng_state())
    loss(*(torch.cat(f) for f in zip(*parts, strict=True))).value.backward()
    for p, g in zip(parameters(image, text, scale), got, strict=True):
        assert (p.grad - g).abs().max() < 1e-14


def test_what_is_not_replayed_is_noticed():
    x, y = data()
    image, text, scale = towers()
    count = iter(range(100))

    def drifting(piece):
        a, b = run(image, text, *piece)
        return a * (1 + 0.01 * next(count)), b

    with pytest.raises(UserError, match="not replayed"):
        accumulate(drifting, [(x, y)], lambda a, b: contrast(a, b, scale=scale), check=True)


def test_batch_normalisation_is_refused():
    x, y = data()
    image, text, scale = towers()
    image.append(nn.BatchNorm1d(4).double())
    call = lambda: accumulate(  # noqa: E731
        lambda p: run(image, text, *p), [(x, y)], lambda a, b: contrast(a, b, scale=scale), modules=[image]
    )
    with pytest.raises(UserError, match="batch normalisation"):
        call()
    image.eval()
    assert call().count == 12


def test_a_frozen_side_takes_no_part():
    x, y = data()
    image, text, scale = towers()
    text.requires_grad_(False)
    pieces = list(zip(x.chunk(2), y.chunk(2), strict=True))
    accumulate(lambda p: run(image, text, *p), pieces, lambda a, b: contrast(a, b, scale=scale))
    assert all(p.grad is None for p in text.parameters())
    assert all(p.grad is not None for p in image.parameters())
