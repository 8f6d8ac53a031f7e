"""Steps of the papers' algorithms that no worked case holds by itself: each against explicit loops."""

import math

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from panoglot.networks import Data, Lamb, Record, Text, load_row, losses, make_model
from panoglot.networks import samplers as s
from panoglot.networks import towers as t
from panoglot.networks.parts import Features
from panoglot.training import shapes


def batch_of(name, n=8, **settings):
    """A model of the preset for one CPU, and its first batch of the synthetic bed."""
    row = load_row(name, "small", batch=n, **settings)
    torch.manual_seed(0)
    model = make_model(row)
    data = Data(shapes(max(n, 8)), model, augment=False)
    return model, data.batch(data.plan(0)[0], 0)


# ---- ALIGN, CLIP ---------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "align", shows="V", case="LAMB: a layer's step is lr times the size of its weights, whatever the gradient"
)
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_lamb_s_step_has_the_size_of_the_weights(size):
    torch.manual_seed(0)
    p, line = torch.nn.Parameter(torch.randn(4, 5)), torch.nn.Parameter(torch.randn(5))
    before, norm = p.detach().clone(), float(p.detach().norm())
    p.grad, line.grad = size * torch.randn(4, 5), torch.ones(5)
    Lamb([p, line], lr=0.01).step()
    assert float((p.detach() - before).norm()) == pytest.approx(0.01 * norm, rel=1e-4)


@pytest.mark.paper(
    "clip", shows="V", case="initialisation: .02, .01, width^-.5, (2 width)^-.5, width^-.5 (2 layers)^-.5"
)
def test_clip_s_initialisation():
    torch.manual_seed(0)
    width, layers = 256, 4
    tower = t.TextTransformer(64, width, layers, 4)
    block = tower.blocks[1]
    stds = [tower.embed.weight, tower.place, block.attention.q.weight, block.attention.kv.weight, block.mlp[0].weight]
    stds += [block.attention.out.weight, block.mlp[2].weight]
    outer = width**-0.5 * (2 * layers) ** -0.5
    want = [0.02, 0.01, width**-0.5, width**-0.5, (2 * width) ** -0.5, outer, outer]
    assert [float(x.detach().std()) for x in stds] == pytest.approx(want, rel=0.03)


@pytest.mark.paper(
    "clip", shows="V", case="a text's vector depends on nothing behind its end token, a token on nothing after it"
)
def test_the_text_is_read_from_left_to_right():
    torch.manual_seed(0)
    tower = t.TextTransformer(16, 16, 2, 2).eval()
    ids, mask = tower.tokens(["abcdef", "abcxyz"])
    with torch.no_grad():
        pooled, x = tower(ids, mask)
        assert torch.equal(pooled, x[:, 7])  # the end token's: a start, six letters, the end
        assert torch.equal(x[0, :4], x[1, :4])  # the start token and three letters
        assert not torch.allclose(x[0, 4], x[1, 4])
        longer = F.pad(ids, (0, 3))
        assert torch.allclose(tower(longer, F.pad(mask, (0, 3)))[0], tower(ids, mask)[0], atol=1e-6)


@pytest.mark.paper("clip", shows="V", case="norms before and after the picture's blocks; unit vectors in the contrast")
def test_the_picture_tower_norms_before_and_after():
    torch.manual_seed(0)
    tower = t.Vit(16, 8, 12, 0, 2).eval()
    picture = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        tower.before.weight.normal_()
        tower.after.bias.normal_()
        patches = tower.embed(picture).flatten(2).transpose(1, 2)
        x = torch.cat([tower.first.expand(2, 1, -1), patches], 1) + tower.place
        for norm in (tower.before, tower.after):
            centred = x - x.mean(-1, keepdim=True)
            x = centred / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias
        pooled, tokens = tower(picture)
        assert torch.allclose(torch.cat([pooled[:, None], tokens], 1), x, atol=1e-5)
        model, batch = batch_of("clip")
        f = model.features(batch)
    assert f.x.norm(dim=1).tolist() == pytest.approx([1.0] * 8, abs=1e-5)
    assert f.y.norm(dim=1).tolist() == pytest.approx([1.0] * 8, abs=1e-5)


# ---- DreamLIP ------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "dreamlip", shows="V", case="similarities .9 .7 .5 .1 become 1 .75 .5 0 over the patches, weights 4 3 2 0 of 9"
)
def test_similarities_are_stretched_over_the_patches():
    sims = [0.9, 0.7, 0.5, 0.1]
    patches = torch.tensor([[[x, (1 - x * x) ** 0.5] for x in sims]]).double()
    _, w = losses.grouped_patches(patches, torch.tensor([[[1.0, 0.0]]]).double())
    assert w.flatten().tolist() == pytest.approx([4 / 9, 3 / 9, 2 / 9, 0], abs=1e-8)


@pytest.mark.paper("dreamlip", shows="V", case="runs of two sentences of three: a b, b c, and no others")
def test_runs_of_sentences():
    record = Record("x", texts=[Text("raw"), Text("One is red. Two is blue. Three is green.", "long")])
    runs = {text.text for text in s.Sentences(merge=2).pool(record)}
    assert len(runs) == 2
    assert [sum(word in run for run in runs) for word in ("One", "Two", "Three")] == [1, 2, 1]
    assert all(("One" in run) != ("Three" in run) for run in runs)


@pytest.mark.paper("dreamlip", shows="V", case="the grouping loss has a scale of its own, 1/.07, and it learns")
def test_the_grouping_loss_has_its_own_scale():
    model, batch = batch_of("dreamlip")
    f = model.features(batch)
    part = model.parts["group_patches"]
    texts = f.y.new_zeros((*batch.slot_mask.shape, f.y.shape[-1])).index_put((batch.owner, batch.slot), f.y)
    want = losses.group_patches(f.local, texts, batch.slot_mask, scale=1 / 0.07, pair_id=batch.pair_id)
    term = part(f, batch, None)
    assert float(term.value.detach()) == pytest.approx(float(want.value.detach()), rel=1e-5)
    term.value.backward()
    assert part.scale.log.grad is not None
    assert model.parts["contrast"].scale.log.grad is None


# ---- GRAIN ---------------------------------------------------------------------------------------------------------


@pytest.mark.paper("grain", shows="V", case="the decoder reads the patches through a map without bias, and a norm")
def test_what_the_queries_read_is_normed():
    torch.manual_seed(0)
    decoder = t.QueryDecoder(8, 6, queries=2, width=16, layers=2, heads=4).eval()
    patches = torch.randn(2, 5, 8)
    with torch.no_grad():
        first, again = decoder(patches), decoder(7 * patches)
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(first, again, strict=True))  # length does not matter
        moved = decoder(patches + 1)
    assert not torch.allclose(first[0], moved[0], atol=1e-3)


@pytest.mark.paper(
    "grain", shows="V", case="box loss of two matches: L1 and 1 - GIoU, each summed, over the number of boxes"
)
def test_the_box_loss_by_hand():
    pytest.importorskip("scipy")
    # matched in order; the first is exact, the second is beside its target: IoU 0, hull twice as large
    predicted = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.25, 0.25]]])
    target = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [0.75, 0.5, 0.25, 0.25]]])
    term = losses.box(predicted, target, torch.ones(1, 2, dtype=torch.bool))
    assert (float(term.value), term.count) == (pytest.approx((0.25 + (1 - 0.0)) / 2, abs=1e-6), 2)
    apart = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [0.75, 1.0, 0.25, 0.25]]])
    term = losses.box(apart, target, torch.ones(1, 2, dtype=torch.bool))
    assert float(term.value) == pytest.approx((0.5 + 1 + 1 / 3) / 2, abs=1e-6)  # hull 3, union 2: GIoU -1/3


@pytest.mark.paper(
    "grain", shows="V", case="each matched region finds its own description among all of the batch, one way"
)
def test_the_region_loss_by_loops():
    pytest.importorskip("scipy")
    model, batch = batch_of("grain")
    model.eval()
    f = model.features(batch)
    part = model.parts["regions"]
    image, query, place = losses.match_boxes(f.boxes, batch.boxes, batch.region_mask)
    there = batch.region_mask.nonzero().tolist()
    ids = [batch.region_tokens[b, r][batch.region_token_mask[b, r]].tolist() for b, r in there]
    texts = []
    for one in ids:
        got = torch.tensor([one])
        texts.append(model.text_vectors(got, torch.ones_like(got, dtype=torch.bool), ["en"])[0][0])
    scale, rows = 1 / 0.07, []
    for b, q, r in zip(image.tolist(), query.tolist(), place.tolist(), strict=True):
        mine = there.index([b, r])
        kept = [k for k in range(len(ids)) if k == mine or ids[k] != ids[mine]]  # the same words are no negatives
        x = F.normalize(f.regions[b, q], dim=0)
        logits = torch.stack([scale * (x @ texts[k]) for k in kept])
        rows.append(-(logits.log_softmax(0)[kept.index(mine)]))
    term = part(f, batch, type("Step", (), {"model": model})())
    assert term.count == len(rows) > 8
    assert float(term.value.detach()) == pytest.approx(float(torch.stack(rows).mean().detach()), rel=1e-4)


# ---- the character GRU ---------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "vgs-char-gru", shows="V", case="the GRU both ways and the attention's tanh, by loops over the characters"
)
def test_the_character_gru_by_loops():
    torch.manual_seed(0)
    tower = t.CharGru(4, 3, 5, alphabet="ascii").double()
    ids, mask = tower.tokens(["a cat", "dogs"])
    with torch.no_grad():
        pooled, h = tower(ids, mask)
        for i in range(2):
            x = tower.embed(ids[i][mask[i]])
            ways = []
            for end in ("", "_reverse"):
                w_ih, w_hh, b_ih, b_hh = (
                    getattr(tower.gru, f"{n}_l0{end}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                state, out = torch.zeros(3).double(), []
                for step in x.flip(0) if end else x:
                    gi, gh = (w_ih @ step + b_ih).chunk(3), (w_hh @ state + b_hh).chunk(3)
                    r, z = (gi[0] + gh[0]).sigmoid(), (gi[1] + gh[1]).sigmoid()
                    state = (1 - z) * (gi[2] + r * gh[2]).tanh() + z * state
                    out.append(state)
                ways.append(torch.stack(out[::-1] if end else out))
            steps = torch.cat(ways, 1)
            assert torch.allclose(h[i][mask[i]], steps, atol=1e-12)
            first, _, last = tower.attend[0][0], None, tower.attend[0][-1]
            inner = ((first.weight @ steps.T).T + first.bias).tanh()
            weight = ((last.weight @ inner.T).T + last.bias).softmax(0)
            assert torch.allclose(pooled[i], (weight * steps).sum(0), atol=1e-12)


# ---- SyCoCa --------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "sycoca", shows="V", case="the parts: captions read the kept patches alone, the hidden ones are painted"
)
def test_what_sycoca_s_parts_hide():
    pytest.importorskip("sentencepiece")
    model, batch = batch_of("sycoca")
    model.eval()
    f = model.features(batch)
    first = [int((batch.owner == b).nonzero()[0]) for b in range(len(batch))]
    relevance = torch.stack([f.local[b] @ f.y[m] for b, m in enumerate(first)]).detach()
    order = relevance.argsort(1, descending=True)
    half = relevance.shape[1] // 2
    top = torch.zeros_like(relevance, dtype=torch.bool).scatter_(1, order[:, :half], True)
    # hidden patches have no say in the caption, kept ones have
    caption = model.parts["caption"]
    step = type("Step", (), {"model": model})()
    value = float(caption(f, batch, step).value.detach())
    for hidden, same in ((~top, True), (top, False)):
        changed = f.patches.detach() + 3 * hidden[..., None]
        other = Features(**{**vars(f), "patches": changed})
        found = float(caption(other, batch, step).value.detach())
        assert (found == pytest.approx(value, abs=1e-6)) is same
    # what is painted are the most relevant ones: pixels of the others may be anything
    seen = {}

    def image(pixels, hide=None):
        seen["hide"] = hide
        return model.image(pixels, hide=hide)

    stub = type("Model", (), {"image": staticmethod(image)})()
    model.parts["inpaint"](f, batch, type("Step", (), {"model": stub})())
    assert torch.equal(seen["hide"], top)


@pytest.mark.paper("sycoca", shows="V", case="painted patches depend on the text; constant patches are normalised to 0")
def test_painting_reads_the_text_and_normalises():
    torch.manual_seed(0)
    decoder = t.ImageDecoder(8, 6, 12, layers=1, heads=2).eval()
    patches, text = torch.randn(1, 4, 8), torch.randn(1, 3, 6)
    with torch.no_grad():
        a = decoder(patches, text, torch.ones(1, 3, dtype=torch.bool))
        b = decoder(patches, text + 1, torch.ones(1, 3, dtype=torch.bool))
    assert not torch.allclose(a, b)
    flat = torch.full((1, 1, 12), 5.0)
    hide = torch.ones(1, 1, dtype=torch.bool)
    assert float(losses.recon_px(torch.zeros(1, 1, 12), flat, hide).value) == 0  # 5 - mean
    two = torch.tensor([[[1.0, 3.0]]])
    assert float(losses.recon_px(torch.zeros(1, 1, 2), two, hide).value) == pytest.approx(1.0, abs=1e-5)


# ---- RS-M-CLIP -----------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "rs-m-clip", shows="V", case="the teacher's temperature goes from .04 to .07, its weights half-way at .5"
)
def test_the_teacher_follows_and_its_temperature_rises():
    more = {"momentum": (0.5, 0.5), "warmup": 1.0, "prototypes": 8, "hidden": 16, "bottleneck": 4}
    views = {"global": 1, "local": 1, "local_size": 16}
    model, batch = batch_of("rs-m-clip", losses={"views": more}, views=views)
    part = model.parts["views"]
    step = type("Step", (), {"model": model})()
    f = model.features(batch)
    values = []
    for progress in (0.0, 1.0):
        part.progress.fill_(progress)
        values.append(float(part(f, batch, step).value.detach()))
        tower, head = part.teacher.teacher.children()
        with torch.no_grad():
            z_t = head(tower(batch.image[:, 0])[0])
            z_s = model.parts["views"].head(model.image(batch.local_image[:, 0])[0])
        target = (z_t / (0.04 if not progress else 0.07)).softmax(-1)
        want = -(target * (z_s / 0.1).log_softmax(-1)).sum(-1).mean()
        assert values[-1] == pytest.approx(float(want), rel=1e-4)
    before = [p.clone() for p in part.teacher.teacher.parameters()]
    with torch.no_grad():
        for p in model.image.parameters():
            p.add_(1.0)
    part.after_step(model, 0, 10)
    moved = [float((a - b).abs().mean()) for a, b in zip(before, part.teacher.teacher.parameters(), strict=True)]
    assert max(moved) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.paper("rs-m-clip", shows="V", case="DINO's head: unit vectors on unit prototypes, scores within -1..1")
def test_the_head_compares_unit_vectors():
    torch.manual_seed(0)
    head = t.PrototypeHead(6, 5, 8, 4)
    x = 50 * torch.randn(7, 6)
    with torch.no_grad():
        head.last.mul_(9)
        inner = head.mlp(x)
        want = [[float(a @ b / a.norm() / b.norm()) for b in head.last] for a in inner]
        assert torch.allclose(head(x), torch.tensor(want), atol=1e-5)
    centre = losses.Centre(3)  # c becomes .9 c + .1 of the mean
    centre.update(torch.tensor([[1.0, 2, 3], [3, 2, 1]]))
    centre.update(torch.tensor([[1.0, 1, 1]]))
    assert centre.value.tolist() == pytest.approx([0.28, 0.28, 0.28])


# ---- Compress & Align, Croc, VL-Adapter ------------------------------------------------------------------------------


@pytest.mark.paper(
    "compress-align", shows="V", case="the reward reads the picture: other patches, another reward; an MLP makes it"
)
def test_the_reward_reads_the_picture():
    model, _ = batch_of(
        "compress-align", sampler={"kind": "one"}, losses={"rank": {"layers": 1, "heads": 4, "hidden": 8}}
    )
    part = model.parts["rank"].eval()
    assert [type(layer).__name__ for layer in part.mlp] == ["Linear", "GELU", "Linear"]
    tokens, mask = torch.randn(2, 3, 96), torch.ones(2, 3, dtype=torch.bool)
    patches = torch.randn(2, 4, 96)
    with torch.no_grad():
        assert not torch.allclose(part.reward(tokens, mask, patches), part.reward(tokens, mask, 2 * patches + 1))
    part.calibrate(part.reward(tokens, mask, patches).detach())
    again = part.reward(tokens, mask, patches).detach()
    assert float(again.mean()) == pytest.approx(0, abs=1e-5)
    assert float(again.std()) == pytest.approx(1, rel=1e-4)


@pytest.mark.paper(
    "croc", shows="V", case="positions are added before the tokens are rebuilt: equal states, other tokens"
)
def test_positions_tell_equal_tokens_apart():
    from panoglot.networks.parts import PARTS, Widths

    torch.manual_seed(0)
    part = PARTS["recon"](Widths(8, image=8, text=8), pool=4, places=4, head_width=4)
    part._target, part._real = torch.zeros(1, 4, 8), torch.ones(1, 4, dtype=torch.bool)
    part._replaced = part._real
    caught = []
    part.out.register_forward_hook(lambda _m, _i, out: caught.append(out.detach()))
    part(Features(seen=torch.ones(1, 4, 8)), None, None)
    assert float((caught[0][0, 0] - caught[0][0, 1]).abs().max()) > 1e-4


@pytest.mark.paper("vl-adapter", shows="V", case="tokens are feature + box with its area + which picture, by hand")
def test_the_visual_embedding_by_hand():
    torch.manual_seed(0)
    layer = t.VisualEmbedding(6, 8, 2)
    x, boxes = torch.randn(1, 2, 6), torch.tensor([[[0.0, 0, 0.5, 1], [0.2, 0.2, 0.4, 0.3]]])
    which = torch.tensor([[0, 1]])
    with torch.no_grad():
        five = torch.tensor([[[0.0, 0, 0.5, 1, 0.5], [0.2, 0.2, 0.4, 0.3, 0.02]]])
        want = layer.feature(x) + layer.box(five) + layer.image.weight[which]
        assert torch.allclose(layer(x, boxes, which), want, atol=1e-6)
        assert not torch.allclose(layer(x, boxes, which), layer(x, 0 * boxes, which), atol=1e-3)
    up = torch.nn.functional.gelu
    adapter = __import__("panoglot.networks.adapters", fromlist=["Adapter"]).Adapter(8, 2, zero=False)
    with torch.no_grad():
        z = torch.randn(3, 8)
        assert torch.allclose(adapter(z), z + adapter.up(up(adapter.down(z))), atol=1e-6)


@pytest.mark.paper(
    "m2-encoder", shows="V", case="padding is masked in the shared layers too; the second contrast is of the second tap"
)
def test_the_shared_layers_do_not_see_padding():
    pytest.importorskip("sentencepiece")
    model, batch = batch_of("m2-encoder", losses={"contrast": {"group": 8}})
    model.eval()
    with torch.no_grad():
        f = model.features(batch)
        part = model.parts["contrast"]
        first, second = (part.kernel(a, b, batch, second=k) for a, b, k in ((f.x, f.y, False), (f.x2, f.y2, True)))
        assert float(part(f, batch, None).value) == pytest.approx(float(first.value + second.value), rel=1e-6)
        assert not math.isclose(float(first.value), float(second.value), rel_tol=1e-4)
        texts = ["a red circle", "a red circle and a very long tail of words that go on"]
        both, alone = (model.text.tokens(x) for x in (texts, texts[:1]))
        made = []
        for ids, mask in (both, alone):
            one = type(batch)(["x"] * len(ids), tokens=ids[:, None], token_mask=mask[:, None])
            one.slot_mask, one.lang = torch.ones(len(ids), 1, dtype=torch.bool), [["en"]] * len(ids)
            out = Features()
            model.text_features(one, out)
            made.append(out.y2[0])
    assert torch.allclose(made[0], made[1], atol=1e-5)


# ---- DC-CLIP -------------------------------------------------------------------------------------------------------


def test_regression_of_both_sides_by_hand():
    """Smooth L1 through a linear adapter of each side, the mean of the sides; scripts/pieces.yaml names it."""
    from panoglot.networks import Batch
    from panoglot.networks.parts import PARTS, Widths

    torch.manual_seed(0)
    part = PARTS["regress"](Widths(4), teacher=6)
    assert [tuple(layer.weight.shape) for layer in (part.image, part.text)] == [(6, 4), (6, 4)]
    f = Features(x=torch.randn(2, 4), y=torch.randn(3, 4))
    slots = torch.tensor([[True, True], [True, False]])
    batch = Batch(["a", "b"], image_vec=3 * torch.randn(2, 6), text_vec=3 * torch.randn(2, 2, 6), slot_mask=slots)
    with torch.no_grad():
        term = part(f, batch, None)
        sides = []
        for found, want in ((part.image(f.x), batch.image_vec), (part.text(f.y), batch.text_vec[slots])):
            d = (found - want).abs()
            sides.append(float(torch.where(d < 1, d * d / 2, d - 0.5).mean()))
    assert float(term.value) == pytest.approx(sum(sides) / 2, rel=1e-5)
    assert term.count == 5


# ---- COSMO, ColBERT-XM ---------------------------------------------------------------------------------------------


@pytest.mark.paper("cosmo", shows="V", case="latent 0 of the resampler is the picture's vector, the others its tokens")
def test_latent_0_speaks_for_the_whole_picture():
    torch.manual_seed(0)
    resampler = t.Resampler(6, 3, 8, 2, 2)
    for block in resampler.blocks:  # layers that add nothing: what comes out is what went in
        for layer in (block.attention.out, block.cross.out, block.mlp[2]):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    whole, media = resampler(torch.randn(2, 5, 6))
    want = F.layer_norm(resampler.latents, (8,))
    assert torch.allclose(whole, want[0].expand(2, -1), atol=1e-6)
    assert torch.allclose(media, want[1:].expand(2, -1, -1), atol=1e-6)


@pytest.mark.paper("colbert-xm", shows="V", case="tokens are unit vectors: a query's score is at most its length")
def test_colbert_s_tokens_are_unit_vectors():
    model, batch = batch_of_triples()
    z = model.parts["colbert"].vectors(model.features(batch).tokens)
    assert torch.allclose(z.norm(dim=-1), torch.ones(z.shape[:2]), atol=1e-6)
    before = float(model(batch)["colbert"].value.detach())
    with torch.no_grad():
        model.parts["colbert"].project.weight *= 7  # the length of what is projected changes nothing
    assert float(model(batch)["colbert"].value.detach()) == pytest.approx(before, abs=1e-4)


def batch_of_triples():
    """ColBERT-XM's small preset and a batch of four triples."""
    said = [
        ("a red cat?", "a cat, red", "a dog"),
        ("a dog?", "the dog", "a cat"),
        ("猫は?", "黒い猫", "犬"),
        ("a b?", "b", "c"),
    ]
    kinds = (("question", None), ("answer", 1.0), ("answer", 0.0))
    records = [
        Record(
            str(n), texts=[Text(text, kind, "en", score=score) for text, (kind, score) in zip(some, kinds, strict=True)]
        )
        for n, some in enumerate(said)
    ]
    model = make_model(load_row("colbert-xm", "small", batch=4)).eval()
    data = Data(records, model, augment=False)
    return model, data.batch(data.plan(0)[0], 0)
