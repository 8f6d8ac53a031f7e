"""The losses beside the kernel: worked cases, explicit loops, empty input, gradients."""

from __future__ import annotations

import itertools
import math

import pytest

from panoglot.errors import UserError

torch = pytest.importorskip("torch")
F = torch.nn.functional

from panoglot.networks import ContrastOptions, contrast, losses


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(*shape, seed=0):
    return F.normalize(rand(*shape, seed=seed), dim=-1)


# ---- lm ------------------------------------------------------------------------------------------------------------


@pytest.mark.paper("sycoca", shows="V", case="padding carries exactly no gradient")
def test_lm_counts_only_what_is_to_be_learnt():
    logits = rand(2, 4, 7).requires_grad_()
    target = torch.tensor([[3, -100, 2, -100], [-100, -100, 6, 0]])
    term = losses.lm(logits, target)
    loops = [-float(logits[b, t].log_softmax(0)[target[b, t]]) for b in range(2) for t in range(4) if target[b, t] >= 0]
    assert float(term.value) == pytest.approx(sum(loops) / 4, abs=1e-14)
    assert term.count == 4
    term.value.backward()
    assert logits.grad[target == -100].abs().max() == 0  # padding and prefix: exactly nothing


@pytest.mark.paper("sycoca", shows="V", case="captions with uniform logits: ln V")
def test_lm_shift_and_uniform():
    ids = torch.tensor([[1, 2, 3]])
    logits = rand(1, 3, 5)
    a = losses.lm(logits, ids, shift=True)
    b = losses.lm(logits[:, :2], ids[:, 1:])
    assert (float(a.value), a.count) == (float(b.value), 2)
    assert float(losses.lm(torch.zeros(1, 3, 11), ids).value) == pytest.approx(math.log(11), abs=1e-6)
    with pytest.raises(UserError, match="do not belong"):
        losses.lm(logits, ids[:, :2])


# ---- box -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "want"),
    [
        ([0.1, 0.2, 0.4, 0.9], [0.1, 0.2, 0.4, 0.9], 1.0),
        ([0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5], 1 / 3),
        ([0, 0, 0.25, 0.25], [0.75, 0.75, 1, 1], -0.875),
    ],
)
@pytest.mark.paper("grain", shows="V", case="GIoU of the card's three pairs: 1, 1/3, -.875")
def test_generalised_iou(a, b, want):
    assert float(losses.generalised_iou(torch.tensor(a), torch.tensor(b))) == pytest.approx(want, abs=1e-6)


@pytest.mark.paper("grain", shows="V", case="three predictions, two targets: T0 to B, T1 to A, loss 0")
def test_matching_of_the_card():
    pytest.importorskip("scipy")
    predicted = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5], [0.5, 0.5, 1, 1]]])
    target = predicted[:, [1, 0]]
    image, query, place = losses.match_boxes(predicted, target, torch.ones(1, 2, dtype=torch.bool))
    assert (image.tolist(), query.tolist(), place.tolist()) == ([0, 0], [1, 0], [0, 1])
    term = losses.box(predicted, target, torch.ones(1, 2, dtype=torch.bool))
    assert (float(term.value), term.count) == (0.0, 2)


@pytest.mark.paper("grain", shows="V", case="the matching is as cheap as brute force")
def test_matching_is_as_good_as_brute_force():
    pytest.importorskip("scipy")
    for seed in range(200):
        g = torch.Generator().manual_seed(seed)
        q, r = int(torch.randint(1, 6, (), generator=g)), int(torch.randint(1, 5, (), generator=g))
        p, t = torch.rand(1, q, 4, generator=g).double() + 0.01, torch.rand(1, r, 4, generator=g).double() + 0.01
        low = lambda x: torch.cat([x[..., :2] - x[..., 2:] / 2, x[..., :2] + x[..., 2:] / 2], -1)  # noqa: E731
        giou = losses.generalised_iou(low(p[0])[:, None], low(t[0])[None])
        cost = 5 * (p[0][:, None] - t[0][None]).abs().sum(-1) - 2 * giou
        _, query, place = losses.match_boxes(p, t, torch.ones(1, r, dtype=torch.bool))
        k = min(q, r)
        brute = min(
            sum(float(cost[a, b]) for a, b in zip(qs, ts, strict=True))
            for qs in itertools.permutations(range(q), k)
            for ts in itertools.combinations(range(r), k)
        )
        assert float(cost[query, place].sum()) == pytest.approx(brute, abs=1e-9)
        assert len(query) == k


@pytest.mark.paper("grain", shows="V", case="no regions: loss and gradient of the boxes exactly 0")
def test_box_drops_degenerate_targets_and_survives_none():
    pytest.importorskip("scipy")
    predicted = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.0, 0.2]], [[0.1, 0.1, 0.1, 0.1], [0.2, 0.2, 0.1, 0.1]]])
    mask = torch.tensor([[True, True], [False, False]])
    assert losses.box(predicted, target, mask).count == 1
    term = losses.box(predicted, target, mask & False)
    term.value.backward()
    assert (float(term.value), term.count, float(predicted.grad.abs().max())) == (0.0, 0, 0.0)


@pytest.mark.paper("grain", shows="V", case="a box that is dropped shifts no later description")
def test_labels_of_later_regions_do_not_shift_when_a_box_is_dropped():
    """In the release a degenerate box that counts as available shifts every later description; ours are keyed."""
    pytest.importorskip("scipy")
    target = torch.tensor([[[0.5, 0.5, 0.0, 0.2], [0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]])
    predicted = torch.tensor([[[0.75, 0.75, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]]])
    matches = losses.match_boxes(predicted, target, torch.ones(1, 3, dtype=torch.bool))
    assert torch.stack(matches, 1).tolist() == [[0, 1, 1], [0, 0, 2]]


@pytest.mark.paper("grain", shows="V", case="order of regions and pictures: the same loss")
def test_permuting_regions_changes_nothing():
    pytest.importorskip("scipy")
    g = torch.Generator().manual_seed(4)
    p, t = torch.rand(3, 5, 4, generator=g) + 0.05, torch.rand(3, 4, 4, generator=g) + 0.05
    mask = torch.rand(3, 4, generator=g) < 0.7
    base = float(losses.box(p, t, mask).value)
    assert float(losses.box(p, t[:, [2, 0, 3, 1]], mask[:, [2, 0, 3, 1]]).value) == pytest.approx(base, abs=1e-6)
    assert float(losses.box(p[[2, 0, 1]], t[[2, 0, 1]], mask[[2, 0, 1]]).value) == pytest.approx(base, abs=1e-6)


# ---- group_patches -------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "dreamlip",
    shows="V",
    case="weights are >= 0 and sum to 1; the least similar patch has none; delta > 1 is refused",
)
def test_grouping_weights():
    v, t = unit(2, 9, 4), unit(2, 3, 4, seed=1)
    for norm in ("minmax", "softmax"):
        for delta in (None, 0.0, 0.5, 1.0):
            _, w = losses.grouped_patches(v, t, delta=delta, norm=norm)
            assert (w >= 0).all()
            assert torch.allclose(w.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    _, w = losses.grouped_patches(v, t, delta=0.0)
    worst = (t @ v.transpose(1, 2)).argmin(-1, keepdim=True)
    assert w.gather(-1, worst).abs().max() == 0  # the least similar patch has no weight
    with pytest.raises(UserError, match="delta"):
        losses.grouped_patches(v, t, delta=1.1)
    with pytest.raises(UserError, match="norm"):
        losses.grouped_patches(v, t, norm="mean")


@pytest.mark.paper(
    "dreamlip",
    shows="V",
    case="three patches, delta 1/3: weights .5556, .4444, 0 and cosine .9597374; what is under 1/N is cut",
)
def test_grouping_of_the_card():
    v, t = torch.tensor([[[1.0, 0], [0.8, 0.6], [0, 1]]]).double(), torch.tensor([[[1.0, 0]]]).double()
    g, w = losses.grouped_patches(v, t, delta=1 / 3)
    assert w.flatten().tolist() == pytest.approx([0.5556, 0.4444, 0.0], abs=5e-5)
    assert g.flatten().tolist() == pytest.approx([0.9597374, 0.2808988], abs=1e-6)
    assert float((g * t).sum()) == pytest.approx(0.9597374, abs=1e-6)
    assert torch.equal(losses.grouped_patches(v, t)[1], w)  # 1/N is the default
    # values 1, .8, .2, 0: the third is under 1/4 and cut, and would have .1 of the weight without the cut
    near = torch.tensor([[[1.0, 0], [0.8, 0.6], [0.2, 0.96**0.5], [0, 1]]]).double()
    cut, uncut = (losses.grouped_patches(near, t, delta=d)[1].flatten().tolist() for d in (None, 0.0))
    assert cut == pytest.approx([1 / 1.8, 0.8 / 1.8, 0, 0], abs=1e-7)
    assert uncut == pytest.approx([0.5, 0.4, 0.1, 0], abs=1e-7)


def test_patches_that_are_all_alike_are_weighted_evenly():
    v = unit(1, 1, 4).expand(1, 5, 4).clone().requires_grad_()
    g, w = losses.grouped_patches(v, unit(1, 2, 4, seed=1))
    assert torch.allclose(w, torch.full_like(w, 0.2))
    g.sum().backward()
    assert torch.isfinite(v.grad).all()


@pytest.mark.paper("dreamlip", shows="V", case="gradient through the weights, by finite differences on a patch")
def test_grouping_gradient_flows_through_the_weights():
    t, mask = unit(2, 3, 4, seed=1), torch.ones(2, 3, dtype=torch.bool)
    v = unit(2, 6, 4).requires_grad_()
    losses.group_patches(v, t, mask, scale=5.0).value.backward()
    h, at = 1e-6, (1, 2, 0)
    up, down = v.detach().clone(), v.detach().clone()
    up[at] += h
    down[at] -= h
    f = lambda x: float(losses.group_patches(x, t, mask, scale=5.0).value)  # noqa: E731
    assert float(v.grad[at]) == pytest.approx((f(up) - f(down)) / (2 * h), abs=1e-8)
    detached = F.normalize(losses.grouped_patches(v.detach(), t)[1] @ v, dim=-1)
    (other,) = torch.autograd.grad(contrast(detached.flatten(0, 1), t.flatten(0, 1), scale=5.0).value, v)
    assert (other - v.grad).abs().max() > 1e-3


@pytest.mark.paper("dreamlip", shows="V", case="order of slots and pictures, and tiles: the same grouping loss")
def test_grouping_does_not_depend_on_the_order_of_slots_or_images():
    v, t = unit(4, 6, 5), unit(4, 3, 5, seed=1)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]]).bool()
    base = losses.group_patches(v, t, mask, scale=5.0)
    assert base.count == 6
    for i, k in ((torch.tensor([2, 0, 3, 1]), torch.arange(3)), (torch.arange(4), torch.tensor([1, 2, 0]))):
        other = losses.group_patches(v[i], t[i][:, k], mask[i][:, k], scale=5.0)
        assert float(other.value) == pytest.approx(float(base.value), abs=1e-13)
    chunked = losses.group_patches(v, t, mask, scale=5.0, chunk=2)
    assert float(chunked.value) == pytest.approx(float(base.value), abs=1e-13)
    assert losses.group_patches(v, t, mask & False, scale=5.0).count == 0


# ---- recon ---------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "sycoca", shows="V", case="relevance .9, .1, .5, .3: captioning keeps patches 0 and 2, inpainting hides 0 and 2"
)
def test_masks_of_the_card():
    keep, hide = losses.attentive_masks(torch.tensor([[0.9, 0.1, 0.5, 0.3]]), 0.5)
    assert keep[0].nonzero()[:, 0].tolist() == hide[0].nonzero()[:, 0].tolist() == [0, 2]
    relevance = torch.rand(5, 16, generator=torch.Generator().manual_seed(0))
    keep, hide = losses.attentive_masks(relevance, 0.5)
    assert torch.equal(keep, hide)  # what is kept for the one is hidden for the other
    assert keep.sum(1).tolist() == [8] * 5


def test_masks_of_captioning_and_inpainting():
    keep, hide = losses.attentive_masks(torch.tensor([[0.5, 0.5, 0.5]]), 0.1)
    assert (keep.tolist(), hide.tolist()) == ([[True, True, False]], [[True, False, False]])  # ties, at least one
    keep, hide = losses.attentive_masks(torch.rand(3, 7, generator=torch.Generator().manual_seed(0)), 0.99)
    assert keep.sum(1).tolist() == [1, 1, 1]
    assert hide.sum(1).tolist() == [6, 6, 6]
    for ratio in (0.0, 1.0):
        with pytest.raises(UserError, match="ratio"):
            losses.attentive_masks(torch.rand(1, 4), ratio)


@pytest.mark.paper("sycoca", shows="V", case="patches that are not hidden have no loss and no gradient")
def test_recon_px_sees_only_hidden_patches():
    target, hidden = rand(2, 4, 6), torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0]]).bool()
    predicted = rand(2, 4, 6, seed=1).requires_grad_()
    term = losses.recon_px(predicted, target, hidden, normalise=False)
    assert float(term.value) == pytest.approx(float((predicted[0, [0, 2]] - target[0, [0, 2]]).abs().mean()), abs=1e-14)
    term.value.backward()
    assert predicted.grad[~hidden].abs().max() == 0
    assert losses.recon_px(predicted, target, hidden & False).count == 0
    flat = losses.recon_px(predicted, torch.ones(2, 4, 6).double(), hidden)  # a patch without contrast
    assert torch.isfinite(flat.value)


def test_patchify_cuts_row_by_row():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert losses.patchify(image, 2)[0, 1].tolist() == [2, 3, 6, 7]
    with pytest.raises(UserError, match="patches of 3"):
        losses.patchify(image, 3)


@pytest.mark.paper("croc", shows="V", case="the target has no gradient; places that do not count have none")
def test_recon_feat_target_has_no_gradient():
    x, y = rand(2, 3, 4).requires_grad_(), rand(2, 3, 4, seed=1).requires_grad_()
    mask = torch.tensor([[True, False, True], [False] * 3])
    term = losses.recon_feat(x, y, mask)
    assert term.count == 2
    term.value.backward()
    assert y.grad is None
    assert x.grad[~mask].abs().max() == 0
    assert losses.recon_feat(x, y, mask & False).count == 0


# ---- views ---------------------------------------------------------------------------------------------------------


@pytest.mark.paper("rs-m-clip", shows="V", case="three prototypes, teacher and student (1, 0, 0): 9.0796e-5")
def test_views_of_the_card():
    z = torch.tensor([1.0, 0, 0]).double().expand(2, 1, 3)
    assert float(losses.views(z, z[:1]).value) == pytest.approx(9.0796e-5, rel=1e-4)


@pytest.mark.paper(
    "rs-m-clip",
    shows="V",
    case="at least the teacher's entropy, equal when both agree; a constant in scores and centre changes nothing",
)
def test_views_against_loops_and_the_entropy_bound():
    s, t, c = rand(4, 3, 5), rand(2, 3, 5, seed=1), rand(5, seed=2)
    pairs = []
    for g, v in itertools.product(range(2), range(4)):
        if g != v:
            p = ((t[g] - c) / 0.04).softmax(-1)
            pairs.append(-(p * (s[v] / 0.1).log_softmax(-1)).sum(-1).mean())
    term = losses.views(s, t, c)
    assert float(term.value) == pytest.approx(float(sum(pairs)) / 6, abs=1e-12)
    p = ((t - c) / 0.04).softmax(-1)
    assert float(term.value) >= float(-(p * p.log()).sum(-1).mean())
    same = losses.views((t[:1] - c).expand(2, 3, 5) * 0.1 / 0.04, t[:1], c)
    p0 = p[:1]
    assert float(same.value) == pytest.approx(float(-(p0 * p0.log()).sum(-1).mean()), abs=1e-10)
    assert float(losses.views(s, t + 3.0, c + 3.0).value) == pytest.approx(float(term.value), abs=1e-10)


@pytest.mark.paper(
    "rs-m-clip",
    shows="V",
    case="a view is not compared with itself; one view is refused; the teacher has no gradient",
)
def test_views_needs_another_view_and_trains_only_the_student():
    z = rand(1, 2, 3)
    with pytest.raises(UserError, match="nothing to compare"):
        losses.views(z, z)
    s, t = rand(2, 2, 3).requires_grad_(), rand(1, 2, 3, seed=1).requires_grad_()
    losses.views(s, t).value.backward()
    assert t.grad is None
    assert s.grad[0].abs().max() == 0  # (g, same g) is excluded


@pytest.mark.paper("rs-m-clip", shows="V", case="the centre: .9 c + .1 mean")
def test_centre():
    centre = losses.Centre(3)
    centre.update(torch.ones(2, 4, 3))
    centre.update(torch.zeros(2, 4, 3))
    assert centre.value.tolist() == pytest.approx([0.09] * 3)
    assert "value" in centre.state_dict()


# ---- regress -------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "dc-clip", shows="V", case="smooth L1, beta 1: .125 at d = .5, 1.5 at d = 2; both slopes 1 where they meet"
)
def test_smooth_l1_of_dc_clip():
    zero = torch.zeros(1, 1).double()
    assert [float(losses.regress(zero + d, zero).value) for d in (0.5, 2.0)] == pytest.approx([0.125, 1.5])
    slopes = []
    for d in (1 - 1e-9, 1 + 1e-9):
        x = (zero + d).requires_grad_()
        losses.regress(x, zero).value.backward()
        slopes.append(float(x.grad))
    assert slopes == pytest.approx([1, 1], abs=1e-6)


@pytest.mark.paper(
    "croc", shows="V", case="smooth L1, beta .01: .00125 at d = .005, .095 at d = .1, ten times that .95"
)
def test_smooth_l1_of_croc():
    zero = torch.zeros(1, 1, 1).double()
    value = {d: float(losses.recon_feat(zero + d, zero).value) for d in (0.005, 0.1)}
    assert value == pytest.approx({0.005: 0.00125, 0.1: 0.095})
    assert 10 * value[0.1] == pytest.approx(0.95)


@pytest.mark.paper(
    "dc-clip",
    shows="V",
    case="student = teacher: 0; padding changes nothing; the teacher has no gradient",
)
def test_regress():
    x = rand(2, 3, 4)
    term = losses.regress(x.clone().requires_grad_(), x)
    assert float(term.value) == 0
    mask = torch.tensor([[True, True, False], [True, False, False]])
    a = losses.regress(x, x + 0.3, mask)
    padded = F.pad(x, (0, 0, 0, 2), value=math.nan)
    b = losses.regress(padded, padded + 0.3, F.pad(mask, (0, 2)))
    assert float(a.value) == pytest.approx(float(b.value), abs=1e-15)
    assert float(a.value) == pytest.approx(0.045, abs=1e-12)
    assert float(losses.regress(x, 2 * x, kind="cosine").value) == pytest.approx(0, abs=1e-12)
    teacher = rand(2, 3, 4, seed=1).requires_grad_()
    losses.regress(x.clone().requires_grad_(), teacher, kind="mse").value.backward()
    assert teacher.grad is None
    assert losses.regress(x, x, mask & False).count == 0
    with pytest.raises(UserError, match="pooled"):
        losses.regress(x, x[:, :2])
    with pytest.raises(UserError, match="smoothl1"):
        losses.regress(x, x, kind="smothl1")


@pytest.mark.paper("dc-clip", shows="V", case="linear teacher and student: the least-squares solution")
def test_regress_finds_the_least_squares_solution():
    x, w = rand(200, 5), rand(5, 3, seed=1)
    y = x @ w + 0.1 * rand(200, 3, seed=2)
    student = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [student], max_iter=200, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        value = losses.regress(x @ student, y, beta=1e6).value * 1e6
        value.backward()
        return value

    optimiser.step(closure)
    assert (student - torch.linalg.lstsq(x, y).solution).abs().max() < 1e-6


# ---- kl_logits, n_way ----------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "colbert-xm",
    shows="V",
    case="KL: a constant on the teacher changes nothing, equal distributions give 0",
)
def test_kl_logits():
    s, t = rand(4, 6), rand(4, 6, seed=1)
    p = t.softmax(1)
    loops = (p * (p.log() - s.log_softmax(1))).sum(1).mean()
    assert float(losses.kl_logits(s, t).value) == pytest.approx(float(loops), abs=1e-13)
    assert float(losses.kl_logits(s, t + 7.0).value) == pytest.approx(float(loops), abs=1e-12)
    assert float(losses.kl_logits(t, t).value) == pytest.approx(0, abs=1e-15)
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[:, 4:] = False
    mask[3, 1:] = False
    student = s.clone().requires_grad_()
    term = losses.kl_logits(student, t, mask)
    assert float(term.value) == pytest.approx(float(losses.kl_logits(s[:3, :4], t[:3, :4]).value), abs=1e-13)
    term.value.backward()
    assert torch.isfinite(student.grad).all()
    assert term.count == 3
    assert losses.kl_logits(s, t, mask & False).count == 0
    a, b = rand(4, 4), rand(4, 4, seed=1)
    half = (losses.kl_logits(a, b).value + losses.kl_logits(a.T, b.T).value) / 2
    assert float(losses.kl_logits(a, b, symmetric=True).value) == pytest.approx(float(half), abs=1e-15)


@pytest.mark.paper("colbert-xm", shows="V", case="perfect separation: 0; equal scores: ln 2")
def test_n_way():
    scores = torch.tensor([[900.0, 0.0, 0.0], [0.0, 0.0, 900.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert float(losses.n_way(scores[:1]).value) == 0.0  # perfect separation
    assert float(losses.n_way(scores, mask).value) == pytest.approx(math.log(2) / 2, abs=1e-6)
    assert losses.n_way(scores, mask & False).count == 0


# ---- rank ----------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "compress-align",
    shows="V",
    case="pair loss .3132617, ln 2, and .2511505 for three ranked; ties and one caption: nothing",
)
def test_rank():
    def value(r, q, image):
        term = losses.rank(torch.tensor(r).double(), torch.tensor(q).double(), torch.tensor(image))
        return float(term.value), term.count

    assert value([1.0, 0.0], [2.0, 1.0], [0, 0]) == (pytest.approx(0.3132617, abs=1e-7), 1)
    assert value([5.0, 5.0], [2.0, 1.0], [0, 0]) == (pytest.approx(math.log(2), abs=1e-12), 1)
    assert value([2.0, 1.0, 0.0], [3.0, 2.0, 1.0], [0, 0, 0]) == (pytest.approx(0.2511505, abs=1e-7), 3)
    assert value([1.0, 2.0], [1.0, 1.0], [0, 0]) == (0.0, 0)  # a tie
    assert value([1.0], [1.0], [0]) == (0.0, 0)
    assert value([1.0, 2.0, 0.0], [math.nan, 2.0, 1.0], [0, 0, 0])[1] == 1  # nobody judged the first
    # an image with many captions weighs as much as one with two
    three, pair = value([2.0, 1.0, 0.0], [3.0, 2.0, 1.0], [0, 0, 0])[0], value([1.0, 0.0], [2.0, 1.0], [1, 1])[0]
    both = value([2.0, 1.0, 0.0, 1.0, 0.0], [3.0, 2.0, 1.0, 2.0, 1.0], [0, 0, 0, 1, 1])[0]
    assert both == pytest.approx((three + pair) / 2, abs=1e-12)


@pytest.mark.paper("compress-align", shows="V", case="the gradient sums to 0 within a picture")
def test_rank_gradient_sums_to_zero_within_an_image():
    r = rand(6).requires_grad_()
    image = torch.tensor([0, 0, 0, 1, 1, 1])
    losses.rank(r, rand(6, seed=1), image).value.backward()
    assert r.grad[:3].sum().abs() < 1e-15
    assert r.grad[3:].sum().abs() < 1e-15
    assert r.grad.abs().max() > 0


# ---- vq ------------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "tldr", shows="V", case="two vectors, two codes: indices 0 and 1, squared error .0125, loss .015625 at beta .25"
)
def test_vq_of_the_card():
    z, codes = torch.tensor([[0.2, 0], [0.9, 1]]).double(), torch.tensor([[0.0, 0], [1, 1]]).double()
    through, index, term = losses.vq(z, codes, beta=0.25)
    assert index.tolist() == [0, 1]
    assert float((through - z).square().mean()) == pytest.approx(0.0125)
    assert float(term.value) == pytest.approx(0.015625)


@pytest.mark.paper("tldr", shows="V", case="nearest code by brute force; the gradient passes straight through")
def test_vq():
    z, codes = rand(2, 5, 3).requires_grad_(), rand(7, 3, seed=1).requires_grad_()
    through, index, term = losses.vq(z, codes)
    brute = (z.detach()[:, :, None] - codes.detach()).square().sum(-1).argmin(-1)
    assert torch.equal(index, brute)
    assert torch.allclose(through, codes[index], atol=1e-15)
    (g,) = torch.autograd.grad(through.sum(), z, retain_graph=True)
    assert torch.equal(g, torch.ones_like(g))  # straight through
    term.value.backward()
    used = torch.zeros(7, dtype=torch.bool)
    used[index.flatten()] = True
    assert (codes.grad.abs().sum(1) > 0).tolist() == used.tolist()
    assert torch.allclose(z.grad, 0.25 * 2 * (z - codes[index]).detach() / z.numel())
    assert losses.vq(z, codes, mask=torch.zeros(2, 5, dtype=torch.bool))[2].count == 0


@pytest.mark.paper("tldr", shows="V", case="the codes move to the points")
def test_codebook_learns():
    torch.manual_seed(0)
    book = losses.Codebook(4, 2)
    points = torch.tensor([[1.0, 1], [-1, 1], [1, -1], [-1, -1]])
    with torch.no_grad():
        book.codes.copy_(points * 0.2)
    optimiser = torch.optim.Adam(book.parameters(), lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        book(points)[2].value.backward()
        optimiser.step()
    assert torch.allclose(book.codes, points, atol=0.02)


# ---- all of them ---------------------------------------------------------------------------------------------------


def test_zeros_do_not_leak_nan():
    bad = torch.full((2, 3, 4), math.nan, requires_grad=True)
    none = torch.zeros(2, 3, dtype=torch.bool)
    terms = [
        losses.lm(bad, torch.full((2, 3), -100)),
        losses.box(bad, torch.zeros(2, 3, 4), none),
        losses.group_patches(bad, bad, none, scale=1.0),
        losses.recon_px(bad, bad, none),
        losses.recon_feat(bad, bad, none),
        losses.regress(bad, bad, none),
        losses.vq(bad, torch.ones(2, 4), mask=none)[2],
        losses.kl_logits(bad[0], bad[0], torch.zeros(3, 4, dtype=torch.bool)),
        losses.n_way(bad[0], torch.zeros(3, 4, dtype=torch.bool)),
        losses.rank(bad[0, 0], torch.full((4,), math.nan), torch.zeros(4)),
        contrast(bad[0], bad[0], torch.full((3,), -1), ContrastOptions()),
    ]
    for term in terms:
        assert (float(term.value), term.count) == (0.0, 0)
    sum(t.value for t in terms).backward()
    assert bad.grad.abs().max() == 0
