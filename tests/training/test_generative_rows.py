"""The generative rows, the codebook and the reward model: the papers' worked cases, equalities, exact resume."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter

import numpy as np
import pytest

from panoglot.errors import UserError

torch = pytest.importorskip("torch")

from panoglot.networks import Batch, Data, Record, Text, contrast, load_row, make_model
from panoglot.networks import samplers as s
from panoglot.networks.losses import lm as lm_loss
from panoglot.networks.losses import rank as rank_loss
from panoglot.networks.parts import Features
from panoglot.networks.parts.language import assign
from panoglot.training import Trainer, documents, judged, questions, recall, shapes

VIT = {"kind": "vit", "patch": 8, "width": 16, "layers": 1, "heads": 2}
DECODER = {"kind": "decoder", "width": 16, "layers": 1, "heads": 2}
TINY = {
    "cosmo": {
        "image": VIT, "text": {**DECODER, "layers": 4, "gated": {"heads": 2}}, "dim": 8,
        "head": {"width": 16, "latents": 3, "heads": 2}, "epochs": 2, "batch": 8,
    },
    "croc": {
        "image": VIT, "text": DECODER, "losses": {"recon": {"pool": 32, "head_width": 8}},
        "stages": {k: {"epochs": 1, "batch": 16} for k in ("project", "comprehend", "instruct")},
    },
    "florenz": {"image": VIT, "text": {**DECODER, "kind": "encoder_decoder", "length": 128}, "epochs": 1, "batch": 16},
    "tldr": {"image": VIT, "text": DECODER, "losses": {"vq": {"codes": 16}}, "epochs": 2, "batch": 16},
    "compress-align": {
        "image": VIT, "text": {"kind": "hashed", "width": 16, "size": 512}, "dim": 8, "epochs": 2, "batch": 16,
        "losses": {"rank": {"layers": 1, "heads": 2, "hidden": 8}},
    },
    "vl-adapter": {
        "image": {"kind": "vector", "width": 12}, "epochs": 1, "batch": 16,
        "text": {**DECODER, "kind": "encoder_decoder", "length": 64},
    },
}  # fmt: skip


def row(name, **more):
    return load_row(name, "small", **{**TINY[name], **more})


def vectors(records):
    draw = np.random.default_rng(0)
    for r in records:
        r.vectors = {"image": draw.standard_normal((4, 12)).astype(np.float32)}
    return records


def bed(name, n=48):
    records = shapes(n)
    if name == "cosmo":
        return [*records, *documents(shapes(n, 9))]
    if name == "vl-adapter":
        return questions(vectors(records))
    return judged(records) if name == "compress-align" else records


def losses(figures):
    return [f["loss"] for f in figures]


def one_batch(name, model=None, n=16, task=None, **more):
    r = row(name, **more)
    model = model or make_model(r)
    stage = dict(r.each_stage()).get("comprehend", r.each_stage()[0][1])
    model.begin(stage.losses)
    data = Data(bed(name), model, augment=False, row=stage)
    steps = data.plan(0)
    if task is not None:
        steps = [x for x in steps if data.sampler.pool(data.records[x[0][0]], x[0][1]) == task]
    return model, data.batch(steps[0][:n], 0)


# ---- every row -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TINY))
def test_killed_and_resumed_in_another_order_is_the_same_run(name, tmp_path):
    r, records = row(name), bed(name)
    whole = Trainer(r, records)
    straight = losses(whole.fit())
    assert all(math.isfinite(x) for x in straight)
    random.Random(1).shuffle(records)
    first = losses(Trainer(r, records, tmp_path / "run", workers=0).fit(3)) if whole.total > 3 else []
    trainer = Trainer(r, records, tmp_path / "run")
    if first:
        half = Trainer(r, records, tmp_path / "run")
        half.fit(3)
        half.save()
        trainer.resume()
        assert trainer.step == 3
    assert first + losses(trainer.fit()) == straight
    assert json.loads((tmp_path / "run" / "run.json").read_text())["method"] == name


@pytest.mark.parametrize("name", sorted(TINY))
def test_the_order_within_a_batch_changes_no_loss(name):
    r = row(name)
    model = make_model(r).double().eval()
    stage = dict(r.each_stage()).get("comprehend", r.each_stage()[0][1])
    model.begin(stage.losses)
    model.double()
    data = Data(bed(name), model, augment=False, row=stage)
    for step in data.plan(0)[:2]:
        there, back = (data.batch(x, 0) for x in (step, step[::-1]))
        for batch in (there, back):
            for f in ("image", "image_vec"):
                if getattr(batch, f) is not None:
                    setattr(batch, f, getattr(batch, f).double())
        a, b = model(there), model(back)
        for n in a:
            assert torch.allclose(a[n].value, b[n].value, atol=1e-12)
            assert a[n].count == b[n].count


@pytest.mark.parametrize("name", sorted(set(TINY) - {"compress-align"}))
def test_it_writes(name):
    model, batch = one_batch(name)
    pictures = batch.image[:, 0] if batch.image is not None else batch.image_vec
    task = "vqa" if name == "vl-adapter" else "caption"
    out = model.generate(pictures, task=task, lang="en", most=4)
    assert len(out) == len(pictures)
    again = model.generate(pictures[:3], ["what?", "क्या?", "what?"], task=task, lang="en", most=4)
    alone = [
        model.generate(pictures[i : i + 1], q, task=task, lang="en", most=4)[0]
        for i, q in enumerate(("what?", "क्या?", "what?"))
    ]
    assert again == alone  # prompts of different lengths do not disturb each other
    with pytest.raises(UserError, match="give one for all"):
        model.generate(pictures, ["a", "b"])


def test_towers_of_vectors_do_not_write_and_writers_make_no_vectors():
    with pytest.raises(UserError, match="does not write"):
        make_model(row("compress-align")).generate(torch.zeros(1, 3, 32, 32))
    model, batch = one_batch("croc")
    with pytest.raises(UserError, match="writes"):
        model.encode_texts(["a"])
    with pytest.raises(UserError, match="writes"):
        model.encode_pixels(batch.image[:, 0])
    with pytest.raises(UserError, match="no reward"):
        model.reward(batch.image[:, 0], ["a"] * len(batch))
    with pytest.raises(UserError, match="one vector"):
        make_model(row("croc", head={"kind": "linear"}))
    with pytest.raises(UserError, match="split"):
        make_model(row("tldr", losses={"contrast": {}}))


def test_what_the_papers_say():
    cosmo, croc, tldr, vl = (load_row(n) for n in ("cosmo", "croc", "tldr", "vl-adapter"))
    assert cosmo.text["split"] == cosmo.text["gated"]["first"] == 12
    assert cosmo.losses["contrast"]["scale"]["start"] == pytest.approx(math.exp(0.2), abs=1e-4)
    assert (cosmo.optimiser["lr"], cosmo.epochs, cosmo.schedule["warmup"], cosmo.batch) == (5e-4, 5, 500, 96)
    stages = dict(croc.each_stage())
    assert [x.optimiser["lr"] for x in stages.values()] == [1e-3, 2e-5, 2e-5]
    assert [x.batch for x in stages.values()] == [256, 128, 128]
    assert [x.losses["lm"]["attention"] for x in stages.values()] == ["causal", "mixed", "causal"]
    assert stages["comprehend"].losses["recon"] == {
        "weight": 10.0, "ratio": 0.75, "pool": 2048, "assign": "hungarian", "over": "all", "beta": 0.01, "places": 576
    }  # fmt: skip
    assert (tldr.losses["vq"]["codes"], tldr.losses["vq"]["beta"], tldr.epochs) == (1024, 0.25, 20)
    assert (vl.clip, vl.epochs, vl.batch, vl.text["adapters"]["reduction"]) == (5.0, 20, 500, 8)
    assert load_row("florenz").sampler["cells"]["caption"] == ["en", "de"]
    assert load_row("compress-align").losses["rank"]["weight"] == 1.0


def test_cut_captions_are_counted():
    model, _ = one_batch("croc", text={**DECODER, "length": 12})
    assert model.text.tokens.cut >= 16
    records = [Record("a", np.zeros((3, 32, 32), np.float32), [Text("x" * 40, "question"), Text("y", "answer")])]
    model = make_model(row("croc", text={**DECODER, "length": 12}))
    data = Data(records * 1, model, row=row("croc", sampler={"kind": "task_prefix"}, stages=None, batch=1))
    batch, skipped, _ = data.load(data.plan(0)[0], 0)
    assert len(batch) == 0
    assert skipped == {"too_long": 1}


# ---- COSMO -----------------------------------------------------------------------------------------------------------


@pytest.mark.paper("cosmo", shows="V", case="the row's scale begins at 1.2214: .6336355")
def test_cosmo_contrast_of_the_card():
    part = make_model(row("cosmo")).parts["contrast"]
    scale, bias = part.scale()
    assert float(scale) == pytest.approx(1.2214, abs=1e-4)
    eye = torch.eye(4, dtype=torch.float64)
    term = contrast(eye, eye, torch.arange(4), part.options, scale=torch.tensor(math.exp(0.2)).double(), bias=bias)
    assert float(term.value) == pytest.approx(0.6336355, abs=1e-7)


@pytest.mark.paper("cosmo", shows="V", case="weight 0: the language model alone")
def test_cosmo_without_contrast_is_a_language_model():
    model, batch = one_batch("cosmo", task="pair")
    terms = model(batch)
    f = model.features(batch)
    want = lm_loss(f.logits, batch.target, shift=True)
    assert torch.equal(terms["lm"].value, want.value)
    assert terms["contrast"].count == len(batch)
    total = 1.0 * terms["lm"].value + 0.0 * terms["contrast"].value
    total.backward()
    assert all(
        p.grad is None or not p.grad.any() for n, p in model.named_parameters() if n.startswith(("out.", "text_head"))
    )


@pytest.mark.paper("cosmo", shows="V", case="interleaved documents: contrast exactly 0, loss and gradient")
def test_cosmo_documents_teach_language_only():
    model, batch = one_batch("cosmo", task="interleaved")
    assert batch.task == "interleaved"
    assert batch.image.shape[1] == 2
    terms = model(batch)
    assert (float(terms["contrast"].value), terms["contrast"].count) == (0.0, 0)
    terms["contrast"].value.backward(retain_graph=True)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    assert terms["lm"].count == int((batch.target != -100).sum())


@pytest.mark.paper("cosmo", shows="V", case="only resampler, pooling, projections, gates and temperature move")
def test_cosmo_learns_only_what_is_new():
    trainer = Trainer(row("cosmo"), bed("cosmo"))
    before = {n: p.clone() for n, p in trainer.model.named_parameters()}
    trainer.fit()
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {p.name for p in trainer.plan.each if p.trained} - {"text.lm.place"}
    starts = {".".join(n.split(".")[:2]) for n in moved}
    assert starts == {
        "head.latents", "head.blocks", "head.after", "text.gates", "text.mark", "text.pool", "text_head.weight",
        "out.weight", "parts.contrast",
    }  # fmt: skip


@pytest.mark.paper("cosmo", shows="V", case="gates at 0: pictures change nothing, and never the text's vector")
def test_cosmo_gates_closed_and_pictures_do_not_matter():
    model, batch = one_batch("cosmo", task="pair")
    a = model.features(batch)
    batch.image = batch.image.flip(0)
    b = model.features(batch)
    assert torch.equal(a.logits, b.logits)
    assert torch.equal(a.y, b.y)
    assert not torch.equal(a.x, b.x)
    for gate in model.text.gates.values():
        gate.look.gate.data.fill_(1.0)
    c = model.features(batch)
    assert not torch.equal(c.logits, b.logits)
    assert torch.equal(c.y, b.y)  # never the text's own vector


def test_cosmo_vectors_in_use_are_those_of_training():
    model, batch = one_batch("cosmo", task="pair")
    model.eval()
    f = model.features(batch)
    texts = [next(t.text for t in r.texts) for i in batch.ids for r in bed("cosmo") if r.id == i]
    assert torch.allclose(model.encode_texts(texts), f.y, atol=1e-5)
    assert torch.allclose(model.encode_pixels(batch.image[:, 0]), f.x, atol=1e-5)
    assert recall(f.x, f.y, torch.arange(len(texts)))["t2i@10"] >= 0


@pytest.mark.paper("cosmo", shows="V", case="equal rows are no negatives")
def test_cosmo_true_duplicates_are_no_negatives():
    model, batch = one_batch("cosmo", task="pair")
    plain = model(batch)["contrast"].value
    batch.pair_id = torch.zeros(len(batch), dtype=torch.long)
    assert float(plain) > 0.5
    assert float(model(batch)["contrast"].value) == pytest.approx(0.0, abs=1e-6)  # whole rows, not token ids


def test_loaders_keep_their_weights_and_end_together():
    weights = {"pair": 2, "pair_video": 1, "interleaved": 2, "interleaved_video": 2}
    sampler = s.Loaders(weights)
    pools = {n: [f"{n}{i}" for i in range(4 * 2100)] for n in weights}
    steps = sampler.steps(pools, 4, 0, 0)
    kinds = Counter(step[0].rstrip("0123456789") for step in steps)
    assert all(len({x.rstrip("0123456789") for x in step}) == 1 for step in steps)
    assert len(steps) >= 7000
    for name, weight in weights.items():
        p = weight / 7
        assert abs(kinds[name] - len(steps) * p) <= 3 * math.sqrt(len(steps) * p * (1 - p))
    assert sampler.steps(pools, 4, 0, 0) == steps != sampler.steps(pools, 4, 0, 1)
    short = sampler.steps({**pools, "pair_video": pools["pair_video"][:43]}, 4, 0, 0)
    assert Counter(x[0].rstrip("0123456789") for x in short)["pair_video"] == 10  # `min`; the last 3 are no batch
    assert len(short) <= 7 * 11
    with pytest.raises(UserError, match="pair_video"):
        sampler.steps({"pair": pools["pair"], "interleaved": [], "interleaved_video": []}, 4, 0, 0)


def test_a_broken_picture_goes_with_its_place_and_sentences():
    docs = documents(shapes(8, 3), images=2)
    bad = docs[0]
    docs[0] = s.Document(bad.id, [b"no picture", bad.images[1]], bad.sentences, bad.match, "en")
    docs[1] = s.Document(docs[1].id, [None, docs[1].images[1]], docs[1].sentences, docs[1].match, "en")
    sampler = {"kind": "loaders", "weights": None, "max_tokens": 400}
    r = row("cosmo", batch=4, sampler=sampler, text={"kind": "decoder", "length": 420})
    model = make_model(r)
    data = Data(docs, model, augment=False, row=r)
    batch, skipped, _ = data.load(data.plan(0)[0], 0)
    assert sum(skipped.values()) == 1
    for i, id_ in enumerate(batch.ids):
        placed = int((batch.given[i] == -1).sum())
        assert placed == (1 if id_ in (docs[0].id, docs[1].id) else 2)
        assert int(batch.picture_mask[i].sum()) == placed
    f = model.features(batch)
    assert torch.isfinite(f.logits).all()


# ---- Croc ------------------------------------------------------------------------------------------------------------


@pytest.mark.paper("croc", shows="V", case="432 of 576 places are replaced, all as likely (chi-square)")
def test_croc_replaces_exactly_432_of_576_and_all_alike():
    part = make_model(row("croc", losses={"recon": {"pool": 32, "head_width": 8, "ratio": 0.75}})).parts["recon"]
    batch = Batch([f"r{i}" for i in range(200)], seed=3)
    chosen = part.chosen(576, batch)
    assert chosen.sum(1).tolist() == [432] * 200
    kept = (~chosen).sum(0).double()
    chi = float(((kept - 50) ** 2 / (50 * 0.75)).sum())  # a place is kept with probability 1/4
    assert 575 - 5 * math.sqrt(2 * 575) < chi < 575 + 5 * math.sqrt(2 * 575)
    assert torch.equal(part.chosen(576, batch), chosen)
    assert not torch.equal(part.chosen(576, Batch(batch.ids, seed=4)), chosen)
    assert torch.equal(part.chosen(576, Batch(batch.ids[::-1], seed=3)).flip(0), chosen)


@pytest.mark.paper(
    "croc",
    shows="V",
    case="Hungarian on 6 x 8: no token twice, the total of brute force, never above greedy",
)
def test_croc_assignment():
    torch.manual_seed(0)
    v, pool = torch.randn(6, 3), torch.randn(8, 3)
    distance = torch.cdist(v, pool)
    got = assign(v, pool)
    total = float(distance[torch.arange(6), got].sum())
    best = min(float(distance[torch.arange(6), list(p)].sum()) for p in itertools.permutations(range(8), 6))
    assert len(set(got.tolist())) == 6
    assert total == pytest.approx(best, abs=1e-5)
    left, greedy = set(range(8)), 0.0
    for i in range(6):
        j = min(left, key=lambda j: float(distance[i, j]))
        greedy += float(distance[i, j])
        left.remove(j)
    assert total <= greedy + 1e-6
    near = assign(v, pool, "nearest")
    assert torch.equal(distance[torch.arange(6), near], distance.amin(1))
    with pytest.raises(UserError, match="pool has 8"):
        assign(torch.zeros(9, 3), pool)


@pytest.mark.paper("croc", shows="V", case="ratio 0: the plain loss; the image loss stays on kept tokens")
def test_croc_without_replacement_and_weight_is_a_language_model_with_a_visible_prefix():
    model, batch = one_batch("croc", losses={"recon": {"pool": 32, "head_width": 8, "ratio": 0.0}})
    terms = model(batch)
    media, real = model.media(batch, Features())
    plain = model.text(batch.given, batch.given_mask, media, real, None, batch.target)
    want = lm_loss(plain.logits, batch.target[:, -plain.logits.shape[1] :], shift=True)
    assert torch.equal(terms["lm"].value + 0.0 * terms["recon"].value, want.value)
    assert terms["recon"].count == 16 * 16  # still defined, on the kept tokens
    seen = model.text(batch.given, batch.given_mask, media, real).seen
    assert not torch.equal(seen, plain.seen)
    # on replaced ones only: nothing to rebuild
    none, same = one_batch("croc", losses={"recon": {"pool": 32, "head_width": 8, "ratio": 0.0, "over": "replaced"}})
    assert none(same)["recon"].count == 0


@pytest.mark.paper(
    "croc",
    shows="V",
    case="the pool's gradient is that of used rows; replaced places give the projector none",
)
def test_croc_gradients_go_where_they_should():
    model, batch = one_batch("croc")
    part = model.parts["recon"]
    media, real = model.media(batch, Features())
    media = media.detach().requires_grad_()
    out = part.replace(media, real, batch, model)
    replaced = part._replaced
    out.sum().backward()
    assert not media.grad.flatten(1, 2)[replaced].any()  # what is replaced gives the projector nothing
    assert (media.grad.flatten(1, 2)[~replaced] == 1).all()
    used = set()
    v = media.detach().flatten(1, 2)
    for i in range(len(batch)):
        used |= set(assign(v[i][replaced[i]], part.pool.detach()).tolist())
    assert {int(i) for i in part.pool.grad.abs().sum(1).nonzero()[:, 0]} == used
    # the whole loss: the target carries no gradient
    model.zero_grad()
    f = model.features(batch)
    assert part._target.requires_grad is False
    part(f, batch, model).value.backward()
    assert part.pool.grad is not None
    assert part.pool.grad.abs().sum() > 0


def test_croc_writes_causally_and_with_its_own_tokens():
    model, batch = one_batch("croc")
    model.eval()
    pictures = batch.image[:, 0]
    a = model.generate(pictures, most=6)
    model.parts["recon"].pool.data.fill_(9.0)  # what is learnt for the stage plays no part in writing
    assert model.generate(pictures, most=6) == a


# ---- VL-Adapter ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bart_base(tmp_path_factory):
    """BART-base without its weights: architecture and a tokeniser."""
    transformers = pytest.importorskip("transformers")
    from tests.networks.test_language import tokenizer

    folder = tmp_path_factory.mktemp("bart")
    tokenizer(folder)
    transformers.BartConfig(
        d_model=768, encoder_layers=6, decoder_layers=6, encoder_attention_heads=12, decoder_attention_heads=12,
        encoder_ffn_dim=3072, decoder_ffn_dim=3072,
    ).save_pretrained(folder)  # fmt: skip
    return str(folder)


@pytest.mark.paper(
    "vl-adapter",
    shows="V",
    case="the full-size row over BART-base's architecture: 6,081,600 of 145,452,864 parameters",
)
@pytest.mark.paper(
    "vl-adapter",
    shows="P",
    case="the full-size row over BART-base's architecture: 6,081,600 of 145,452,864 parameters",
)
def test_vl_adapter_trains_4_18_percent(bart_base):
    from panoglot.networks import freeze

    r = load_row("vl-adapter", text={"name": bart_base, "pretrained": False})
    with torch.device("meta"):
        model = make_model(r)
    plan = freeze(model, r.freeze)
    assert (plan.trained, plan.total) == (6_081_600, 145_452_864)
    assert "4.1811 %" in str(plan)
    assert len(model.text.adapters.modules) == 30


@pytest.mark.paper("vl-adapter", shows="V", case="the row begins as the frozen model")
def test_vl_adapter_starts_as_the_frozen_model():
    model, batch = one_batch("vl-adapter")
    plain = make_model(row("vl-adapter", text={**DECODER, "kind": "encoder_decoder", "length": 64, "adapters": None}))
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if ".adapters." not in k})
    a, b = model.eval()(batch)["lm"], plain.eval()(batch)["lm"]
    assert torch.equal(a.value, b.value)
    assert a.count == b.count


@pytest.mark.paper("vl-adapter", shows="V", case="training moves adapters, norms and the visual embedding only")
def test_vl_adapter_leaves_the_backbone_alone():
    trainer = Trainer(row("vl-adapter"), bed("vl-adapter"))
    before = {n: p.clone() for n, p in trainer.model.named_parameters()}
    trainer.fit()
    for n, p in trainer.model.named_parameters():
        new = ".adapters." in n or n.startswith("head.") or "norm" in n or ".after." in n or ".between." in n
        assert p.requires_grad == new, n
        if not new:
            assert torch.equal(p, before[n]), n
    assert any(not torch.equal(p, before[n]) for n, p in trainer.model.named_parameters() if ".adapters." in n)


@pytest.mark.paper("vl-adapter", shows="V", case="one task a step, every batch once")
def test_vl_adapter_one_task_a_step_each_batch_once():
    records = questions(vectors(shapes(40)))
    captions = vectors(shapes(40, 5, "more"))
    r = row("vl-adapter", batch=8)
    model = make_model(r)
    data = Data([*records, *captions], model, row=r)
    plan = data.plan(1)
    assert sorted(x for step in plan for x in step) == sorted(data.items)
    tasks = [{data.sampler.pool(data.records[i], k) for i, k in step} for step in plan]
    assert all(len(t) == 1 for t in tasks)
    assert {next(iter(t)) for t in tasks} == {"vqa", "caption", "translation"}
    assert data.plan(1) == plan != data.plan(2)
    batch = data.batch(plan[0], 1)
    assert {batch.task} == tasks[0]


@pytest.mark.paper("vl-adapter", shows="V", case="adapters of one task leave another's without gradient")
def test_vl_adapter_tasks_of_their_own():
    adapters = {"share": "multiple", "tasks": ["vqa", "caption", "translation"]}
    model, batch = one_batch("vl-adapter", text={**DECODER, "kind": "encoder_decoder", "adapters": adapters})
    assert batch.task == "vqa"
    model(batch)["lm"].value.backward()
    grads = {n: p.grad is not None for n, p in model.named_parameters() if ".adapters." in n}
    assert all(has == (".vqa." in n) for n, has in grads.items())
    batch.task = "vqaa"
    with pytest.raises(UserError, match="'vqa'"):
        model(batch)


def test_regions_have_boxes_order_and_masks():
    r = row("vl-adapter", batch=2)
    model = make_model(r)
    draw = np.random.default_rng(0)

    def record(id_, n):
        v = {
            "image": draw.standard_normal((n, 12)).astype(np.float32),
            "boxes": draw.uniform(size=(n, 4)).astype(np.float32),
            "pictures": np.arange(n) % 2,
        }
        return Record(id_, texts=[Text("a dog")], vectors=v)

    records = [record("a", 3), record("b", 5)]
    data = Data(records, model, row=r)
    batch = data.batch([("a", 0), ("b", 0)], 0)
    assert batch.image_vec.shape == (2, 5, 12)
    assert batch.vec_mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    model.eval()
    both = model.features(batch).logits[0]
    alone = model.features(data.batch([("a", 0)], 0)).logits[0]
    assert torch.allclose(both, alone, atol=1e-5)
    batch.vec_picture = 1 - batch.vec_picture
    assert not torch.allclose(model.features(batch).logits[0], both, atol=1e-5)


# ---- Florenz ---------------------------------------------------------------------------------------------------------


@pytest.mark.paper("florenz", shows="V", case="empty cells of the coverage matrix: exactly 0 examples")
def test_florenz_empty_cells_stay_empty():
    r = row("florenz")
    data = Data(bed("florenz"), make_model(r), row=r)
    cells = Counter()
    for step in data.plan(0):
        for id_, k in step:
            sample = data.sampler(data.records[id_], 0, 0, k)
            cells[sample.task, sample.lang] += 1
    assert set(cells) == {("caption", "en"), ("translation", "qaa")}
    assert cells["caption", "qaa"] == cells["caption", "qab"] == cells["translation", "qab"] == 0


@pytest.mark.paper("florenz", shows="V", case="source and prefix carry no loss; uniform logits give ln V")
def test_florenz_source_and_language_carry_no_loss():
    model, batch = one_batch("florenz")
    text = model.text
    start = text.tokens.encode("<en>")
    for i in range(len(batch)):
        if batch.written[i, 1:4].tolist() == start[1:4] and batch.written[i, 0] == start[0]:
            assert (batch.target[i, : len(start)] == -100).all()
            assert batch.target[i, len(start)] != -100
    uniform = torch.zeros(*batch.target.shape, 259)
    assert float(lm_loss(uniform, batch.target).value) == pytest.approx(math.log(259), abs=1e-5)
    # the answer's language is given, not guessed: another start, another model of what follows
    a = text.compose("caption:", "<en>", "", True)
    b = text.compose("caption:", "<qaa>", "", True)
    assert a[0] == b[0]
    assert a[1] != b[1]


# ---- TL;DR -----------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "tldr",
    shows="V",
    case="the decoder reads quantised tokens only; the gradient passes straight through",
)
def test_tldr_the_decoder_reads_codes_and_nothing_else():
    model, batch = one_batch("tldr")
    model.eval()
    part = model.parts["vq"]
    media, real = model.media(batch, Features())
    assert media.shape[2] == 1 + 16  # the class token too
    codes = part.codes(media)
    index = codes.flatten()
    want = part.codebook.codes[index].view_as(media)
    assert torch.allclose(part.replace(media, real, batch, model), want, atol=1e-6)
    terms = model(batch)
    plain = model.text(batch.given, batch.given_mask, want, real).logits
    assert torch.allclose(lm_loss(plain, batch.target, shift=True).value, terms["lm"].value, atol=1e-5)
    assert terms["vq"].count == len(batch) * 17
    terms["lm"].value.backward()
    assert model.image.embed.weight.grad.abs().sum() > 0  # straight through
    assert part.codebook.codes.grad is None or not part.codebook.codes.grad.any()


# ---- Compress & Align ------------------------------------------------------------------------------------------------


@pytest.mark.paper("compress-align", shows="V", case="rewards 2, 1, 0: .2511505; the gradient sums to 0")
def test_reward_of_the_card():
    r = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    term = rank_loss(r, torch.tensor([3.0, 2.0, 1.0]), torch.zeros(3))
    assert float(term.value) == pytest.approx(0.2511505, abs=1e-7)
    term.value.backward()
    assert float(r.grad.sum()) == pytest.approx(0.0, abs=1e-12)
    assert float(rank_loss(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]), torch.zeros(2)).value) == pytest.approx(
        0.3132617, abs=1e-6
    )


def _double(batch):
    batch.image = batch.image.double()
    return batch


@pytest.mark.paper("compress-align", shows="V", case="ties alone or one caption: loss 0 with no weight")
def test_reward_data_and_loss_through_the_row():
    model, batch = one_batch("compress-align")
    assert batch.quality.shape == (16, 5)
    assert all(sorted(q) == [0, 1, 2, 3, 4] for q in batch.quality.tolist())
    whole = model.double()(_double(batch))["rank"]
    assert whole.count == 16
    # pictures with fewer captions count as much as others: the mean of parts, weighted by counts, is that of the whole
    batch.quality[3, 2:] = math.nan
    batch.quality[4] = 1.0
    whole = model(batch)["rank"]
    data = Data(bed("compress-align"), model, augment=False, row=row("compress-align"))
    parts = [_double(data.batch(data.plan(0)[0][a:b], 0)) for a, b in ((0, 4), (4, 16))]
    parts[0].quality[3, 2:] = math.nan
    parts[1].quality[0] = 1.0
    terms = [model(p)["rank"] for p in parts]
    assert (whole.count, [t.count for t in terms]) == (15, [4, 11])
    mean = sum(float(t.value.detach()) * t.count for t in terms) / 15
    assert float(whole.value.detach()) == pytest.approx(mean, abs=1e-12)
    same = batch.quality.clone()
    batch.quality = torch.zeros_like(same)  # ties alone
    term = model(batch)["rank"]
    assert (float(term.value), term.count) == (0.0, 0)
    ties = [Record("t", np.zeros((3, 32, 32), np.float32), [Text("a", score=1.0), Text("b", score=1.0)])]
    one = [Record("o", np.zeros((3, 32, 32), np.float32), [Text("a", score=1.0), Text("b", score=math.nan)])]
    r = row("compress-align", batch=1)
    data = Data([*ties, *one, *bed("compress-align")[:2]], model, row=r)
    assert data.skipped == {"no_text": 2}


@pytest.mark.paper(
    "compress-align",
    shows="V",
    case="scores in chunks are those at once; calibrated: mean 0, deviation 1",
)
def test_reward_is_the_same_in_any_chunk_and_calibrated():
    model, batch = one_batch("compress-align")
    pictures = batch.image[:, 0]
    texts = ["a red circle", "猫", "قطة على سرير", "แมวนอน"] * 4
    whole = model.reward(pictures, texts)
    for size in (1, 3, 16):
        assert torch.allclose(model.reward(pictures, texts, batch_size=size), whole, atol=1e-6)
    part = model.parts["rank"]
    for _ in range(2):  # again changes nothing
        part.calibrate(model.reward(pictures, texts))
        again = model.reward(pictures, texts)
        assert float(again.mean()) == pytest.approx(0.0, abs=1e-5)
        assert float(again.std()) == pytest.approx(1.0, abs=1e-4)
    assert torch.equal(again.argsort(), whole.argsort())
    assert "parts.rank.mean" in model.state_dict()  # kept with the model
    part.calibrate(torch.cat([again, torch.tensor([math.nan, math.inf])]))  # never counted
    assert torch.isfinite(part.mean)
    with pytest.raises(UserError, match="two rewards"):
        part.calibrate(torch.tensor([math.nan]))


def test_the_judge_knows_five_kinds():
    for r in judged(shapes(60)):
        true, some, colours, both, strange = (t.text for t in r.texts)
        objects = set(true.rstrip(".").split(". "))
        assert some.rstrip(".") in objects or any(o.startswith(some.rstrip(".")) for o in objects)
        for wrong in (colours, both, strange):
            assert not objects & set(wrong.rstrip(".").split(". "))
        assert len(colours.split()) == len(both.split()) == len(true.split())


def test_tldr_codes_that_nobody_uses_come_back():
    model, batch = one_batch("tldr", losses={"vq": {"codes": 16, "revive": 3}})
    part = model.parts["vq"]
    part.codebook.codes.data += 50.0  # far from every token, all but one
    part.codebook.codes.data[0] = 0.0
    media, _ = model.media(batch, Features())
    assert set(part.codes(media).flatten().tolist()) == {0}
    for step in range(3):
        assert part.idle.max() == step
        model.train()(batch)
        model.after_step(step, 10)
    assert part.idle.tolist() == [0] * 16
    assert len(set(part.codes(media).flatten().tolist())) > 8
    before = part.codebook.codes.clone()
    model.eval()(batch)  # reading teaches nothing
    model.after_step(3, 10)
    assert torch.equal(part.codebook.codes, before)
