"""The contrast kernel: the cards' worked cases, and the tiled form against the dense one."""

from __future__ import annotations

import math

import pytest

from panoglot.errors import UserError

torch = pytest.importorskip("torch")

from panoglot.networks import ContrastOptions as Options
from panoglot.networks import contrast, contrast_dense

I2, Y2 = torch.eye(2), torch.tensor([[0.8, 0.6], [0.6, 0.8]])


def unit(*shape: int, seed: int = 0, dtype=torch.float64):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=-1).to(dtype)


def grads(kernel, a, b, owner, options, scale=3.0, bias=0.0, weight=1.7, **more):
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    s = torch.tensor(scale, dtype=a.dtype, requires_grad=True)
    z = torch.tensor(bias, dtype=a.dtype, requires_grad=True) if options.form == "sigmoid" else 0.0
    term = kernel(a, b, owner, options, scale=s, bias=z, **more)
    (term.value * weight).backward()
    return [term.value.detach(), a.grad, b.grad, s.grad, *([z.grad] if options.form == "sigmoid" else [])], term.count


# ---- worked cases of the cards -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [contrast, contrast_dense])
@pytest.mark.parametrize(("size", "expected"), [(4, 1.87462e-6), (8, 4.37412e-6)])
@pytest.mark.paper(
    "clip",
    shows="V",
    case="orthonormal pairs: ln(1 + (B-1) e^(-1/.07)), 1.87462e-6 for 4 and 4.37412e-6 for 8",
)
def test_clip_orthonormal(kernel, size, expected):
    x = torch.eye(size, dtype=torch.float64)
    assert float(kernel(x, x, scale=1 / 0.07).value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kernel", [contrast, contrast_dense])
@pytest.mark.parametrize(("scale", "expected"), [(1.0, 0.5981389), (10.0, 0.1269280), (0.0, math.log(2))])
@pytest.mark.paper("clip", shows="V", case="two pairs: ln(1 + e^(-.2 s)), .5981389 at s = 1 and .1269280 at s = 10")
def test_clip_two_pairs(kernel, scale, expected):
    assert float(kernel(I2.double(), Y2.double(), scale=scale).value) == pytest.approx(expected, abs=1e-7)


@pytest.mark.paper("clip", shows="V", case="a batch of one: loss and gradient exactly 0")
def test_clip_batch_of_one_is_an_exact_zero():
    x = unit(1, 4).requires_grad_()
    loss = contrast(x, unit(1, 4, seed=1), scale=10.0).value
    loss.backward()
    assert loss == 0
    assert x.grad.abs().max() < 1e-15


@pytest.mark.paper("clip", shows="V", case="gradient of the scores: (P + Q - 2 delta) / 2B")
def test_clip_gradient_of_the_scores_has_the_known_form():
    x, y = unit(6, 3), unit(6, 3, seed=1)
    (_, da, _, _), _ = grads(contrast, x, y, None, Options(), weight=1.0)
    logits = 3.0 * x @ y.T
    d = (logits.softmax(1) + logits.softmax(0) - 2 * torch.eye(6)) / 12
    assert torch.allclose(da, 3.0 * d @ y, atol=1e-15)


@pytest.mark.parametrize("kernel", [contrast, contrast_dense])
@pytest.mark.parametrize(("eps", "expected"), [(0.1, 1.5002724), (0.0, 0.0002724)])
@pytest.mark.paper("align", shows="V", case="L = 10 I, smoothing .1: 1.5002724; none: .0002724")
def test_align_smoothed_sum(kernel, eps, expected):
    x = torch.eye(4, dtype=torch.float64)
    value = kernel(x, x, options=Options(reduce="sum", smoothing=eps), scale=10.0).value
    assert float(value) == pytest.approx(expected, abs=1e-7)


@pytest.mark.paper("align", shows="V", case="the sum of both directions is twice CLIP's loss")
def test_align_without_smoothing_is_twice_clip():
    x, y = unit(9, 5), unit(9, 5, seed=1)
    twice = contrast(x, y, options=Options(reduce="sum"), scale=7.0).value
    assert float(twice) == pytest.approx(2 * float(contrast(x, y, scale=7.0).value), abs=1e-14)


@pytest.mark.parametrize("kernel", [contrast, contrast_dense])
@pytest.mark.paper("flame", shows="V", case="three equal texts a picture, s = 10, b = -10: .6931926")
def test_flame_three_equal_texts(kernel):
    owner = torch.arange(2).repeat_interleave(3)
    value = kernel(I2.double(), I2.double()[owner], owner, Options(form="sigmoid"), scale=10.0, bias=-10.0).value
    assert float(value) == pytest.approx(0.6931926, abs=1e-7)
    assert float(value) == pytest.approx(math.log(2) + math.log1p(math.exp(-10)), abs=1e-14)


@pytest.mark.paper("flame", shows="V", case="each text three times: 2.1450779 as with one; one text is SigLIP")
def test_flame_repeated_texts_change_nothing_and_one_text_is_siglip():
    owner = torch.arange(2).repeat_interleave(3)
    o = Options(form="sigmoid")
    x, y = I2.double(), Y2.double()
    one = contrast(x, y, options=o, scale=10.0, bias=-10.0).value
    assert float(one) == pytest.approx(2.1450779, abs=1e-7)
    assert float(contrast(x, y[owner], owner, o, scale=10.0, bias=-10.0).value) == pytest.approx(float(one), abs=1e-14)
    z = 10 * x @ y.T - 10
    siglip = -torch.nn.functional.logsigmoid(z * (2 * torch.eye(2) - 1)).sum() / 2
    assert float(one) == pytest.approx(float(siglip), abs=1e-14)


@pytest.mark.parametrize("kernel", [contrast, contrast_dense])
@pytest.mark.parametrize(("texts", "expected"), [(I2, 0.0), (Y2, 0.0), (Y2.flip(0), 0.4)])
@pytest.mark.paper("vgs-char-gru", shows="V", case="hinge: 0, 0 and .4 for the card's three pairs of two")
def test_char_gru_hinge(kernel, texts, expected):
    value = kernel(I2, texts, options=Options(form="hinge")).value
    assert float(value) == pytest.approx(expected, abs=1e-7)


@pytest.mark.paper("vgs-char-gru", shows="V", case="the n hardest negatives: growing with n, all of them with n = B")
def test_char_gru_hardest_negatives():
    x, y = unit(7, 4), unit(7, 4, seed=1)
    every = float(contrast(x, y, options=Options(form="hinge")).value)
    values = [
        float(contrast(x, y, options=Options(form="hinge", negatives="hard", hard_n=h)).value) for h in range(1, 8)
    ]
    assert values == sorted(values)
    assert values[0] < every
    assert values[-1] == pytest.approx(every, abs=1e-15)


@pytest.mark.parametrize("kernel", [contrast, contrast_dense])
@pytest.mark.paper("colbert-xm", shows="V", case="equal scores over n passages: ln n")
def test_colbert_equal_scores_give_ln_n(kernel):
    q = torch.ones(3, 2, 4, dtype=torch.float64) / 2
    p = torch.ones(5, 3, 4, dtype=torch.float64) / 2
    o = Options(scorer="maxsim", reduce="one_way")
    owner = torch.tensor([0, 1, 2, -1, -1])  # the last two are mined negatives
    assert float(kernel(q, p, owner, o).value) == pytest.approx(math.log(5), abs=1e-12)


@pytest.mark.paper("colbert-xm", shows="V", case="MaxSim of two query tokens and three passage tokens: 1.8")
def test_colbert_maxsim_score():
    q = torch.tensor([[[1.0, 0], [0, 1]]], requires_grad=True)
    p = torch.tensor([[[0.6, 0.8], [1, 0], [0.8, 0.6]], [[0.0, 0.0]] * 3])
    # one-way loss against a zero passage: ln(1 + e^(0 - 1.8))
    value = contrast(q, p, torch.tensor([0, -1]), Options(scorer="maxsim", reduce="one_way")).value
    assert float(value.detach()) == pytest.approx(math.log1p(math.exp(-1.8)), abs=1e-6)


@pytest.mark.paper(
    "colbert-xm",
    shows="V",
    case="MaxSim: not symmetric; order of passage tokens is nothing; more tokens never lower it",
)
def test_colbert_maxsim_properties():
    q, p = unit(1, 5, 4), unit(1, 7, 4, seed=1)

    def score(a, b):
        """Out of the one-way loss against a passage of zeros: ln(1 + e^-s)."""
        both = torch.cat([b, torch.zeros_like(b)])
        loss = contrast(a, both, torch.tensor([0, -1]), Options(scorer="maxsim", reduce="one_way")).value
        return -math.log(math.expm1(float(loss)))

    loops = sum(max(float(x @ y) for y in p[0]) for x in q[0])
    assert score(q, p) == pytest.approx(loops, abs=1e-9)
    assert abs(loops) <= 5
    assert score(q, p.flip(1)) == pytest.approx(loops, abs=1e-9)
    assert score(p, q) != pytest.approx(loops, abs=1e-3)
    assert score(q, torch.cat([p, unit(1, 3, 4, seed=2)], 1)) >= loops - 1e-9


def test_colbert_with_one_token_a_side_is_one_way_clip():
    x, y = unit(8, 5), unit(8, 5, seed=1)
    a = contrast(x[:, None], y[:, None], options=Options(scorer="maxsim", reduce="one_way"), scale=4.0).value
    b = contrast(x, y, options=Options(reduce="one_way"), scale=4.0).value
    ce = torch.nn.functional.cross_entropy(4.0 * x @ y.T, torch.arange(8))
    assert float(a) == pytest.approx(float(b), abs=1e-14)
    assert float(a) == pytest.approx(float(ce), abs=1e-14)


@pytest.mark.paper("cosmo", shows="V", case="orthonormal pairs at exp(.2), four of them: .6336355")
def test_cosmo_soft_temperature():
    x = torch.eye(4, dtype=torch.float64)
    assert float(contrast(x, x, scale=math.exp(0.2)).value) == pytest.approx(0.6336355, abs=1e-7)


# ---- tiled = dense -------------------------------------------------------------------------------------------------

EVERY = {
    "clip": Options(),
    "align": Options(reduce="sum", smoothing=0.1),
    "one way": Options(reduce="one_way", smoothing=0.3),
    "siglip": Options(form="sigmoid"),
    "hinge": Options(form="hinge"),
    "hinge half": Options(form="hinge", reduce="half_sum", margin=0.5),
    "hinge one way": Options(form="hinge", reduce="one_way"),
    "hinge hard": Options(form="hinge", negatives="hard", hard_n=3),
    "slots": Options(negatives="per_slot"),
    "groups": Options(group=4),
    "groups of slots, smoothed": Options(group=4, negatives="per_slot", smoothing=0.1),
}
OWNERS = {
    "one text": None,
    "two texts": torch.arange(24) // 2,
    "uneven, one image without": torch.tensor([0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 10, 2]),
    "strangers": torch.tensor([0, 1, -1, 2, 3, 4, -1, 5, 6, 7, 8, 9, 10, 11]),
}


@pytest.mark.parametrize("chunk", [1, 5, 12, None])
@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("scale", [3.0, 400.0])  # the second is past the range of the shared exponential
def test_tiled_is_dense(name, owner, chunk, scale):
    options = EVERY[name]
    if options.group and owner == "strangers":
        pytest.skip("a text without an owner belongs to no group")
    owners = OWNERS[owner]
    m = 12 if owners is None else len(owners)
    a, b = unit(12, 6), unit(m, 6, seed=1)
    slot = None
    if options.negatives == "per_slot":
        o = torch.arange(12) if owners is None else owners
        slot = torch.tensor([int((o[:i] == o[i]).sum()) for i in range(m)])
    options = Options(**{**options.__dict__, "chunk": chunk})
    for pair_id in (None, torch.tensor([0, 1, 2, 0, 4, 4, 4, 7, 8, 9, 10, 10])):
        more = {"pair_id": pair_id, "slot": slot, "scale": scale, "bias": -1.0 if options.form == "sigmoid" else 0.0}
        want, n_want = grads(contrast_dense, a, b, owners, options, **more)
        got, n_got = grads(contrast, a, b, owners, options, **more)
        assert n_got == n_want
        for w, g in zip(want, got, strict=True):
            assert (w - g).abs().max() <= 1e-12 * max(1.0, float(w.abs().max()))
        single, _ = grads(contrast, a.float(), b.float(), owners, options, **more)
        if scale < 100:  # at 400 the dense form itself is only good to 1e-4 in single precision
            for w, g in zip(want, single, strict=True):
                assert (w - g).abs().max() <= 1e-5 * max(1.0, float(w.abs().max()))


@pytest.mark.parametrize("chunk", [1, 3, None])
@pytest.mark.parametrize(
    "options", [Options(), Options(reduce="one_way"), Options(form="sigmoid"), Options(form="hinge")]
)
@pytest.mark.parametrize("scale", [2.0, 300.0])
@pytest.mark.paper("colbert-xm", shows="V", case="MaxSim in tiles is the dense form, empty passages skipped")
def test_tiled_is_dense_for_maxsim(options, chunk, scale):
    options = Options(**{**options.__dict__, "scorer": "maxsim", "chunk": chunk})
    generator = torch.Generator().manual_seed(5)
    a, b = unit(6, 4, 5), unit(9, 3, 5, seed=1)
    a_mask = torch.rand(6, 4, generator=generator) < 0.7
    b_mask = torch.rand(9, 3, generator=generator) < 0.6
    a_mask[2], b_mask[4] = False, False  # an empty query, an empty passage: skipped, never NaN
    owner = torch.tensor([0, 1, 2, 3, 4, 5, -1, 0, 3])
    more = {"a_mask": a_mask, "b_mask": b_mask, "scale": scale, "pair_id": torch.tensor([0, 1, 2, 0, 4, 5])}
    want, n_want = grads(contrast_dense, a, b, owner, options, **more)
    got, n_got = grads(contrast, a, b, owner, options, **more)
    assert n_got == n_want <= 4
    for w, g in zip(want, got, strict=True):
        assert torch.isfinite(g).all()
        assert (w - g).abs().max() <= 1e-12 * max(1.0, float(w.abs().max()))
    assert got[1][2].abs().max() == 0


def test_many_random_shapes():
    generator = torch.Generator().manual_seed(3)

    def draw(low, high):
        return int(torch.randint(low, high, (), generator=generator))

    for trial in range(150):
        n, m, d = draw(2, 20), draw(1, 30), draw(2, 7)
        owner = torch.randint(-1, n, (m,), generator=generator)
        pair_id = torch.randint(0, n, (n,), generator=generator) if trial % 2 else None
        options = list(EVERY.values())[trial % 7]
        options = Options(**{**options.__dict__, "chunk": draw(1, n + 3)})
        a, b = unit(n, d, seed=trial), unit(m, d, seed=-trial)
        scale = float(10 ** (torch.rand((), generator=generator) * 4 - 1))
        want = contrast_dense(a, b, owner, options, scale=scale, pair_id=pair_id)
        got = contrast(a, b, owner, options, scale=scale, pair_id=pair_id)
        assert got.count == want.count
        assert float(got.value) == pytest.approx(float(want.value), rel=1e-12, abs=1e-12)


@pytest.mark.paper("clip", shows="V", case="gradient of the scale by finite differences, 1e-9")
def test_finite_difference_of_the_scale():
    a, b = unit(40, 8), unit(40, 8, seed=1)
    (_, _, _, ds), _ = grads(contrast, a, b, None, Options(chunk=7), scale=5.0, weight=1.0)
    up, down = (float(contrast(a, b, scale=5.0 + h).value) for h in (1e-5, -1e-5))
    assert float(ds) == pytest.approx((up - down) / 2e-5, abs=1e-9)


@pytest.mark.paper("clip", shows="V", case="512 pairs in tiles of 37: values and gradients of the dense loss, 1e-12")
def test_a_large_batch_agrees_in_both_precisions():
    a, b = unit(512, 64), unit(512, 64, seed=1)
    want, _ = grads(contrast_dense, a, b, None, Options(), scale=14.3)
    got, _ = grads(contrast, a, b, None, Options(chunk=37), scale=14.3)
    single, _ = grads(contrast, a.float(), b.float(), None, Options(chunk=37), scale=14.3)
    for w, g, f in zip(want, got, single, strict=True):
        assert (w - g).abs().max() < 1e-12
        assert (w - f).abs().max() < 1e-5


def test_half_precision_is_computed_in_single():
    a, b = unit(64, 16, dtype=torch.bfloat16), unit(64, 16, seed=1, dtype=torch.bfloat16)
    got, _ = grads(contrast, a, b, None, Options(), scale=14.3)
    want = contrast(a.float(), b.float(), scale=float(torch.tensor(14.3, dtype=torch.bfloat16)))
    assert got[0].dtype == torch.float32
    assert got[1].dtype == torch.bfloat16
    assert float(got[0]) == pytest.approx(float(want.value), rel=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # scores stay exact inside a mixed-precision region
        inside = contrast(a.float(), b.float(), scale=14.3).value
    assert float(inside) == float(contrast(a.float(), b.float(), scale=14.3).value)


# ---- invariances ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip", "align", "siglip", "hinge"])
@pytest.mark.paper("clip", shows="V", case="order of the batch, swapped towers, one rotation of both: the same loss")
def test_permuting_the_batch_and_swapping_the_towers(name):
    a, b = unit(16, 6), unit(16, 6, seed=1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    r = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))[0]
    loss = float(contrast(a, b, options=EVERY[name], scale=5.0).value)
    for other in ((a[order], b[order]), (b, a), (a @ r, b @ r)):
        assert float(contrast(*other, options=EVERY[name], scale=5.0).value) == pytest.approx(loss, abs=1e-13)


def test_shuffled_texts_with_owners():
    a, b = unit(5, 4), unit(15, 4, seed=1)
    owner, slot = torch.arange(15) // 3, torch.arange(15) % 3
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    for options in (Options(), Options(form="sigmoid"), Options(negatives="per_slot")):
        x = contrast(a, b, owner, options, slot=slot, scale=5.0).value
        y = contrast(a, b[order], owner[order], options, slot=slot[order], scale=5.0).value
        assert float(x) == pytest.approx(float(y), abs=1e-13)


@pytest.mark.paper(
    "m2-encoder",
    shows="V",
    case="groups: the mean of dense losses of the parts; one group is the dense loss",
)
def test_groups_are_the_mean_of_their_dense_losses():
    a, b = unit(64, 8), unit(64, 8, seed=1)
    parts = [float(contrast_dense(a[i : i + 16], b[i : i + 16], scale=14.2857).value) for i in range(0, 64, 16)]
    whole = float(contrast(a, b, scale=14.2857).value)
    grouped = float(contrast(a, b, options=Options(group=16), scale=14.2857).value)
    assert grouped == pytest.approx(sum(parts) / 4, abs=1e-14)
    assert grouped < whole  # fewer negatives
    assert float(contrast(a, b, options=Options(group=64), scale=14.2857).value) == pytest.approx(whole, abs=1e-14)


@pytest.mark.paper(
    "dreamlip",
    shows="V",
    case="no sentences, or all equal to the raw text: CLIP exactly; else the mean over slots",
)
def test_dreamlip_slots():
    a, b = unit(6, 4), unit(6, 4, seed=1)
    clip = float(contrast(a, b, scale=5.0).value)
    owner, slot = torch.arange(6).repeat_interleave(4), torch.arange(4).repeat(6)
    o = Options(negatives="per_slot")
    assert float(contrast(a, b, options=o, slot=torch.zeros(6, dtype=torch.long), scale=5.0).value) == clip  # K = 0
    same = contrast(a, b[owner], owner, o, slot=slot, scale=5.0).value  # every sentence is the raw caption
    assert float(same) == pytest.approx(clip, abs=1e-14)
    texts = unit(24, 4, seed=3)
    mean = sum(float(contrast_dense(a, texts[slot == k], scale=5.0).value) for k in range(4)) / 4
    assert float(contrast(a, texts, owner, o, slot=slot, scale=5.0).value) == pytest.approx(mean, abs=1e-14)


@pytest.mark.paper("dreamlip", shows="V", case="the order of the batch changes nothing, as it does in the release")
def test_slot_major_flattening_of_the_released_dreamlip_is_caught():
    """The release stacks texts [K, B] and reads them as [B, K]: the loss then depends on the order of the batch."""
    a, texts = unit(3, 4), unit(3, 2, 4, seed=1)
    owner, slot = torch.arange(3).repeat_interleave(2), torch.arange(2).repeat(3)
    o = Options(negatives="per_slot")

    def ours(order):
        return float(contrast(a[order], texts[order].flatten(0, 1), owner, o, slot=slot, scale=5.0).value)

    def released(order):
        mixed = texts[order].transpose(0, 1).reshape(6, 4)
        return float(contrast(a[order], mixed, owner, o, slot=slot, scale=5.0).value)

    orders = [torch.tensor(p) for p in ([0, 1, 2], [2, 0, 1], [1, 0, 2])]
    assert len({round(ours(p), 12) for p in orders}) == 1
    assert len({round(released(p), 12) for p in orders}) > 1


def test_duplicates_are_no_negatives():
    a = unit(3, 4)
    a, b = torch.cat([a, a[:1]]), unit(4, 4, seed=1)
    loss = contrast(a, b, options=Options(reduce="one_way"), scale=5.0, pair_id=torch.tensor([0, 1, 2, 0])).value
    logits = 5.0 * a @ b.T
    logits[0, 3] = logits[3, 0] = -math.inf
    assert float(loss) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.arange(4))), abs=1e-14)


def test_a_batch_of_nothing_but_duplicates_is_zero_and_finite():
    a, b = unit(5, 4).requires_grad_(), unit(5, 4, seed=1)
    term = contrast(a, b, scale=5.0, pair_id=torch.zeros(5, dtype=torch.long))
    term.value.backward()
    assert float(term.value) == pytest.approx(0, abs=1e-15)
    assert a.grad.abs().max() < 1e-15


@pytest.mark.parametrize("name", EVERY)
def test_nothing_eligible_is_an_exact_zero(name):
    if EVERY[name].group:
        pytest.skip("a text without an owner belongs to no group")
    a, b = unit(4, 3).requires_grad_(), unit(5, 3, seed=1).requires_grad_()
    with torch.no_grad():
        a[0] = math.nan  # not even a NaN leaks out of it
    term = contrast(a, b, torch.full((5,), -1), EVERY[name], slot=torch.zeros(5, dtype=torch.long), scale=5.0)
    term.value.backward()
    assert (float(term.value), term.count) == (0.0, 0)
    assert a.grad.abs().max() == 0


@pytest.mark.paper(
    "clip",
    shows="V",
    case="three workers, own rows against all columns: summed, the dense loss of the pool",
)
def test_keys_compute_one_worker_s_share():
    """Own rows against everybody's columns, both ways, summed over workers, is the dense loss of the pool."""
    a, b = unit(12, 5), unit(12, 5, seed=1)
    key, total = torch.arange(12), 0.0
    for rank in range(3):
        own = slice(4 * rank, 4 * rank + 4)
        o = Options(reduce="one_way")
        rows = contrast(a[own], b, key, o, key_a=key[own], scale=5.0).value
        columns = contrast(b[own], a, key, o, key_a=key[own], scale=5.0).value
        total += float(rows + columns) / 2 / 3
    assert total == pytest.approx(float(contrast_dense(a, b, scale=5.0).value), abs=1e-14)


@pytest.mark.paper("flame", shows="V", case="the text side gets no gradient")
def test_stored_texts_get_no_gradient():
    a, b = unit(6, 4).requires_grad_(), unit(6, 4, seed=1)
    contrast(a, b, options=Options(form="sigmoid"), scale=10.0, bias=-10.0).value.backward()
    assert b.grad is None
    assert a.grad.abs().max() > 0


def test_second_derivative_is_refused_and_the_dense_form_has_it():
    a, b = unit(4, 3).requires_grad_(), unit(4, 3, seed=1)
    with pytest.raises(UserError, match="tiled=False"):
        torch.autograd.grad(contrast(a, b, scale=3.0).value, a, create_graph=True)
    (g,) = torch.autograd.grad(contrast_dense(a, b, scale=3.0).value, a, create_graph=True)
    (h,) = torch.autograd.grad(g.square().sum(), a)
    assert h.abs().max() > 0


def test_no_gradient_work_without_gradients(monkeypatch):
    a, b = unit(4, 3).requires_grad_(), unit(4, 3, seed=1)
    monkeypatch.setattr("panoglot.networks._tiled.Dot.back", lambda *_: pytest.fail("gradients were made"))
    with torch.no_grad():
        contrast(a, b, scale=3.0)


# ---- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"form": "softmx"}, "softmax"),
        ({"scorer": "cosine"}, "maxsim"),
        ({"form": "sigmoid", "reduce": "sum"}, "no direction"),
        ({"form": "hinge", "smoothing": 0.1}, "smoothing"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"negatives": "hard", "hard_n": 2}, "hinge"),
        ({"form": "hinge", "negatives": "hard"}, "hard_n"),
        ({"form": "hinge", "hard_n": 2}, "go together"),
        ({"form": "hinge", "negatives": "hard", "hard_n": 2, "scorer": "maxsim"}, "dot"),
        ({"group": 1}, "group"),
        ({"chunk": 0}, "chunk"),
    ],
)
def test_contradictions_cannot_be_expressed(options, says):
    with pytest.raises(UserError, match=says):
        Options(**options)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a, b: contrast(a, b[:, :3]), "one D"),
        (lambda a, b: contrast(a, b[:5]), "owner"),
        (lambda a, b: contrast(a, b, torch.tensor([0, 1, 2, 3, 4, 6])), "owner must be"),
        (lambda a, b: contrast(a, b, torch.arange(5)), "owner has 5"),
        (lambda a, b: contrast(a, b, options=Options(group=4)), "groups of 4"),
        (lambda a, b: contrast(a, b, torch.tensor([0, 1, 2, 3, 4, -1]), Options(group=2)), "no group"),
        (lambda a, b: contrast(a, b, bias=1.0), "bias"),
        (lambda a, b: contrast(a, b, options=Options(negatives="per_slot")), "slot"),
        (lambda a, b: contrast(a, b, options=Options(scorer="maxsim")), "maxsim"),
        (lambda a, b: contrast(a, b, pair_id=torch.arange(4)), "pair_id has 4"),
        (lambda a, b: contrast(a, b, key_a=torch.arange(6), pair_id=torch.arange(6)), "pair_id_b"),
    ],
)
def test_mistakes_are_named(call, says):
    with pytest.raises(UserError, match=says):
        call(unit(6, 4), unit(6, 4, seed=1))
