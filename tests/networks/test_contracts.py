"""Readers, bridges, streams, vocabularies that grow, and what a loss may do in a step."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.errors import UserError
from panoglot.networks import Record, Streams, Text, load_row, load_run, make_data, make_model, straight_through
from panoglot.networks.bridges import Asked, Experts
from panoglot.networks.parts import Widths
from panoglot.networks.readers import MaskedPainter, committed
from panoglot.training import Trainer

WRITER = {
    "image": {"kind": "vit", "patch": 8, "width": 32, "layers": 1, "heads": 4},
    "text": {"kind": "decoder", "width": 32, "layers": 1, "heads": 4, "length": 24, "cross": False},
    "head": {"kind": "projector"},
    "losses": {"lm": {}, "vq": {"codes": 16}},
}


# ---- Parrot's experts (the card's cases) ----------------------------------------------------------------------------


def experts(width=2, **options):
    return Experts(Widths(8, media=width), **{"hidden": 4, **options})


def asked(prompt, mask=None):
    prompt = torch.tensor(prompt)
    there = torch.ones(prompt.shape[:2], dtype=torch.bool) if mask is None else torch.tensor(mask)
    return Asked(prompt, there, None, None, None)


def test_the_prompt_routes():
    bridge = experts(experts=2)
    bridge.router.weight.data = torch.eye(2)
    shares = bridge.shares(
        torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.ones(1, 2).bool()
    )
    assert shares[0].tolist() == pytest.approx([0.5841, 0.4159], abs=1e-4)  # the card's case
    nobody = bridge.shares(torch.ones(1, 2), torch.zeros(1, 0, 2), torch.zeros(1, 0).bool())
    assert nobody.tolist() == [[0.5, 0.5]]  # an empty prompt, no NaN


def test_experts_without_weights_leave_the_skip():
    bridge = experts(experts=3, skip=0.1)
    for p in bridge.experts.parameters():
        p.data.zero_()
    x, real = torch.randn(2, 1, 5, 2), torch.ones(2, 1, 5, dtype=torch.bool)
    out, there = bridge(x, real, asked([[[1.0, 2.0]], [[0.0, 1.0]]]))
    assert torch.allclose(out, 0.1 * x)
    assert torch.equal(there, real)


def test_one_expert_is_used_whatever_is_asked_and_permuting_experts_changes_nothing():
    torch.manual_seed(0)
    x, real = torch.randn(1, 1, 5, 2), torch.ones(1, 1, 5, dtype=torch.bool)
    one = experts(experts=1)
    a, b = (one(x, real, asked([[p]]))[0] for p in ([1.0, 0.0], [-3.0, 2.0]))
    assert torch.allclose(a, one.experts[0](x) + 0.1 * x)
    assert torch.allclose(a, b)
    many = experts(experts=3)
    before, _ = many(x, real, asked([[[1.0, 0.5]]]))
    order = [2, 0, 1]
    many.router.weight.data = many.router.weight.data[order]
    many.experts = torch.nn.ModuleList(many.experts[i] for i in order)
    assert torch.allclose(many(x, real, asked([[[1.0, 0.5]]]))[0], before, atol=1e-6)


def test_what_is_to_be_written_routes_nothing():
    """The answer is in the same row of ids as the prompt: changing it must not change what the picture becomes."""
    bridges = {"parrot": {"kind": "experts", "experts": 3, "hidden": 8}}
    row = load_row("tldr", "small", **WRITER, sampler={"kind": "task_prefix"}, bridges=bridges, batch=2)
    pixels = np.zeros((3, 32, 32), np.float32)
    seen = []
    for answer in ("red", "bad"):
        model = make_model(row).eval()
        data = make_data([Record(str(n), pixels, [Text(answer)]) for n in range(2)], model, augment=False)
        model.bridges["parrot"].register_forward_hook(lambda m, i, o: seen.append(o[0].detach()))
        model(data.batch(data.plan(0)[0], 0))
    assert torch.equal(seen[0], seen[1])


# ---- vocabularies ---------------------------------------------------------------------------------------------------


def test_new_tokens_are_saved_and_read_back(tmp_path):
    row = load_row("tldr", "small", **WRITER, vocabulary=["<de>", "<es>"], batch=2, epochs=1)
    records = [Record(str(n), np.zeros((3, 32, 32), np.float32), [Text("<de> rot")]) for n in range(4)]
    trainer = Trainer(row, records, tmp_path / "run")
    before = trainer.model.text.lm.embed.weight.detach().clone()
    assert before.shape[0] == 261
    assert torch.allclose(before[259], before[:259].mean(0))
    trainer.fit()
    model = load_run(tmp_path / "run")
    assert model.text.tokens.encode("<de>x<es>") == [259, ord("x") + 3, 260]
    assert torch.equal(model.text.lm.embed.weight, trainer.model.text.lm.embed.weight)
    assert not torch.equal(model.text.lm.embed.weight[259], before[259])
    with pytest.raises(UserError, match="every new token is a text of its own"):
        make_model(load_row("tldr", "small", **WRITER, vocabulary=["<de>", "<de>"]))


# ---- painting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cells", "steps"), [(256, 24), (16, 4), (1, 8), (3, 24), (100, 1)])
def test_every_cell_is_settled_once(cells, steps):
    found = committed(cells, steps)
    assert sum(found) == cells
    assert len(found) == steps
    assert min(found) >= 0


def test_a_painter_that_knows_nothing_is_off_by_the_logarithm_of_its_codes():
    painter = MaskedPainter(Widths(8, vocabulary=300, codes=8, cells=16), 16, 1, 4)
    for p in painter.out.parameters():
        p.data.zero_()
    codes, hide = torch.randint(8, (2, 16)), torch.ones(2, 16, dtype=torch.bool)
    logits = painter(codes, hide, torch.zeros(2, 3, dtype=torch.long))
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), codes.flatten())
    assert float(loss.detach()) == pytest.approx(np.log(8), abs=1e-6)
    assert painter.generate(torch.zeros(2, 3, dtype=torch.long), steps=5).shape == (2, 16)


def test_shares_that_are_ones_and_zeros_are_ids():
    painter = MaskedPainter(Widths(8, vocabulary=20, codes=8, cells=4), 16, 1, 4)
    codes, text, hide = torch.randint(8, (2, 4)), torch.randint(20, (2, 3)), torch.tensor([[True, False] * 2] * 2)
    hot = [torch.nn.functional.one_hot(z, n).float() for z, n in ((codes, 8), (text, 20))]
    assert torch.allclose(painter(codes, hide, text), painter(hot[0], hide, hot[1]), atol=1e-6)
    empty, padded = painter(codes, hide), painter(codes, hide, text, torch.zeros(2, 3, dtype=torch.bool))
    assert not torch.allclose(empty, padded)  # no text is another thing than a text of padding


def test_straight_through_is_the_hard_path_forwards_and_the_soft_one_backwards():
    x = torch.randn(4, 5, dtype=torch.double, requires_grad=True)
    w = torch.randn(4, 5, dtype=torch.double)
    y = straight_through(x)
    assert torch.allclose(y, torch.nn.functional.one_hot(x.argmax(1), 5).double())
    (hard,) = torch.autograd.grad((y * w).sum(), x)
    (soft,) = torch.autograd.grad((x.softmax(-1) * w).sum(), x)
    assert torch.allclose(hard, soft)


# ---- rewards --------------------------------------------------------------------------------------------------------


def test_a_reward_makes_likelier_what_it_pays_for():
    """Pays for plain letters: after some steps the model draws more of them than before."""
    over = {
        **WRITER,
        "losses": {"lm": {"weight": 0.0}, "vq": {"codes": 16}, "critical": {"reward": "letters", "most": 6}},
    }
    row = load_row("tldr", "small", **over, batch=8, epochs=80, optimiser={"lr": 3e-2}, schedule={"kind": "constant"})
    records = [Record(str(n), np.full((3, 32, 32), n / 8, np.float32), [Text("abab")]) for n in range(8)]
    asked_for = []

    def plain(text):
        return float(sum(c.isascii() for c in text))

    def letters(texts, ids):
        asked_for.append((list(texts), list(ids)))
        return [plain(text) for text in texts]

    trainer = Trainer(row, records, rewards={"letters": letters}, augment=False)
    trainer.fit()
    drawn = [sum(plain(text) for text in texts) for texts, _ in asked_for[0::2]]
    assert sum(drawn[-10:]) > 1.5 * sum(drawn[:10]) > 0
    assert all(len(ids) == 8 for _, ids in asked_for)
    with pytest.raises(UserError, match=r"no reward is called 'letters': Trainer\("):
        Trainer(row, records).fit(1)


def test_writing_in_a_step_leaves_no_gradient_and_changes_no_mode():
    from panoglot.networks import Step
    from panoglot.networks.parts import Features

    row = load_row("tldr", "small", **WRITER, batch=2)
    model = make_model(row).train()
    model.head.eval()
    data = make_data([Record(str(n), np.zeros((3, 32, 32), np.float32), [Text("ab")]) for n in range(2)], model)
    step = Step(model, data.batch(data.plan(0)[0], 0), Features(), {})
    draft = step.write(most=4)
    assert draft.ids.shape == draft.mask.shape
    assert len(draft.texts) == 2
    assert not draft.ids.requires_grad
    assert model.training
    assert not model.head.training
    logits = step.tell(draft.ids, draft.mask)
    assert logits.requires_grad
    model.eval()  # teacher forcing says what greedy writing said
    said = step.tell(draft.ids, draft.mask).argmax(-1)
    assert torch.equal(said[draft.mask], draft.ids[draft.mask])


# ---- streams --------------------------------------------------------------------------------------------------------

STREAMS = {"pairs": {"share": 2}, "pictures": {"has": ["picture"]}}
MIXED = {"losses": {"contrast": {}, "views": {"prototypes": 16, "hidden": 16, "bottleneck": 8}}}
VIEWS = {"views": {"global": 2, "scale": [0.4, 1.0]}, "sampler": {"kind": "one"}}


def some(n, texts=True):
    kind = "pair" if texts else "alone"
    said = [Text("a thing")] if texts else []
    return [Record(f"{kind}{k}", np.random.default_rng(k).random((3, 32, 32), np.float32), said) for k in range(n)]


def test_every_step_has_the_shares_and_every_loss_its_streams():
    row = load_row("rs-m-clip", "small", **MIXED, **VIEWS, streams=STREAMS, batch=12, epochs=1)
    trainer = Trainer(row, some(20) + some(7, texts=False))
    assert isinstance(trainer.data, Streams)
    for step in trainer.data.plan(0):
        assert sum(id_.startswith("alone") for id_, _ in step) == 4  # a third, those used up begin anew
    figures = trainer.fit(1)[0]
    assert figures["count/contrast"] == 8
    assert figures["count/views"] > figures["count/contrast"]


def test_the_mean_over_streams_is_the_mean_over_their_items():
    row = load_row("rs-m-clip", "small", **MIXED, **VIEWS, streams=STREAMS, batch=6)
    model = make_model(row).eval()
    data = make_data(some(8) + some(8, texts=False), model, augment=False)
    batch = data.batch(data.plan(0)[0], 0)
    both = model(batch)["views"]
    each = []
    for name, part in batch.streams.items():
        model.sees = {"contrast": (), "views": (name,)}
        each.append(model(type(batch)(batch.ids, streams={name: part}))["views"])
    mean = sum(t.value * t.count for t in each) / sum(t.count for t in each)
    assert both.count == sum(t.count for t in each)
    assert float(both.value.detach()) == pytest.approx(float(mean.detach()), abs=1e-5)


def test_streams_that_cannot_be_are_refused():
    with pytest.raises(UserError, match=r"losses contrast: no stream is called 'pair'. Did you mean 'pairs'"):
        load_row("rs-m-clip", "small", losses={"contrast": {"streams": ["pair"]}}, streams=STREAMS)
    with pytest.raises(UserError, match="stream texts: no loss learns from it"):
        Trainer(load_row("clip", "small", batch=4, streams={"pairs": {}, "texts": {"has": ["text"]}}), some(8))
    with pytest.raises(UserError, match="Stream 'pictures': 0 items cannot fill"):
        Trainer(load_row("rs-m-clip", "small", **MIXED, **VIEWS, streams=STREAMS, batch=6), some(8))
    row = load_row("clip", "small", batch=4, streams={"a": {"loaders": ["a"]}, "b": {"loaders": ["b"]}})
    records = some(16)
    for n, r in enumerate(records):
        r.loader = "ab"[n % 2]
    with pytest.raises(UserError, match=r"'contrast' compares items with each other, within one stream"):
        Trainer(row, records)
