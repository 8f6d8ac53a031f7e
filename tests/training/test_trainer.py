"""Rows and the trainer: exact resume, order independence, bad input, equalities between methods."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from panoglot.errors import UserError

torch = pytest.importorskip("torch")

from panoglot.networks import Data, Record, Step, Text, contrast_dense, list_rows, load_row, make_model
from panoglot.training import Trainer, recall, shapes, train_records

TINY = {
    "image": {"kind": "vit", "patch": 8, "width": 32, "layers": 1, "heads": 2},
    "text": {"kind": "hashed", "width": 32, "size": 512},
    "dim": 16,
    "batch": 16,
    "epochs": 2,
}


def row(name="clip", **more):
    return load_row(name, "small", **{**TINY, **more})


@pytest.fixture(scope="module")
def bed():
    return shapes(64)


def losses(figures):
    return [f["loss"] for f in figures]


# ---- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_rows())
@pytest.mark.parametrize("preset", ["paper", "small"])
def test_every_row_is_read_and_says_what_it_is(name, preset):
    r = load_row(name, preset)
    assert r.method == name
    assert r.about
    assert "arXiv" in r.source
    assert len(r.fingerprint) == 16


def test_what_the_papers_say():
    clip, align, flame, grain = (load_row(n) for n in ("clip", "align", "flame", "grain"))
    assert (clip.batch, clip.epochs, clip.optimiser["lr"], clip.optimiser["weight_decay"]) == (32768, 32, 5e-4, 0.2)
    assert (align.losses["contrast"]["smoothing"], align.losses["contrast"]["reduce"], align.dim) == (0.1, "sum", 640)
    assert (flame.sampler["k"], flame.optimiser["betas"], flame.optimiser["weight_decay"]) == (6, [0.9, 0.95], 0.5)
    assert (grain.epochs, grain.batch, grain.optimiser["lr"]) == (35, 2048, 1e-3)
    assert load_row("dreamlip").sampler["k"] == 6
    assert load_row("vgs-char-gru").losses["contrast"]["margin"] == 0.2
    assert load_row("colbert-xm").optimiser["lr"] == 5e-6


def test_mistakes_in_rows(tmp_path):
    with pytest.raises(UserError, match="'dreamlip'"):
        load_row("dreamlp")
    with pytest.raises(UserError, match="'small'"):
        load_row("clip", "smal")
    with pytest.raises(UserError, match="'sampler'"):
        load_row("clip", samplr={})
    path = tmp_path / "mine.yaml"
    path.write_text("method: mine\n")
    with pytest.raises(UserError, match="needs losses"):
        load_row(path)
    with pytest.raises(UserError, match="micro-batches"):
        row(accumulate=3)
    for bad, says in (
        ({"text": {"kind": "hashd"}}, "'hashed'"),
        ({"text": {"kind": "hashed", "widht": 3}}, "'width'"),
        ({"losses": {"contrast": {"smothing": 0.1}}}, "'smoothing'"),
        ({"losses": {"contrst": {}}}, "'contrast'"),
        ({"head": {"kind": "none"}}, "dim is 16"),
    ):
        with pytest.raises(UserError, match=says):
            make_model(row(**bad))


def test_a_row_of_one_s_own(tmp_path, bed):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "method: mine\nimage: {kind: vit, patch: 8, width: 32, layers: 1, heads: 2}\n"
        "text: {kind: hashed, width: 32, size: 512}\ndim: 8\nsize: 32\nbatch: 8\nepochs: 1\n"
        "losses: {contrast: {form: sigmoid}}\n"
    )
    assert len(Trainer(load_row(path), bed).fit()) == 8


# ---- the sequence of losses ----------------------------------------------------------------------------------------

ROWS = ["clip", "dreamlip", "grain", "rs-m-clip", "m2-encoder", "sycoca"]
EXTRA = {
    "grain": {"head": {"kind": "queries", "width": 16, "layers": 1, "heads": 2, "drop": 0.1}},
    "m2-encoder": {"image": {**TINY["image"], "width": 64}, "text": {**TINY["text"], "width": 64},
                   "losses": {"contrast": {"group": 8}}, "epochs": 1},
    "rs-m-clip": {"losses": {"views": {"prototypes": 8, "hidden": 16, "bottleneck": 8}}},
    "sycoca": {"text": {"kind": "transformer", "width": 32, "heads": 2, "layers": 1, "pool": "end"},
               "losses": {"caption": {"width": 32, "heads": 2, "policy": "random"}, "inpaint": {"heads": 2}}},
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_resume_is_exact_in_the_middle_of_an_epoch(name, bed, tmp_path):
    r = row(name, **EXTRA.get(name, {}))
    whole = Trainer(r, bed).fit()
    assert len(whole) > 5
    assert all(np.isfinite(losses(whole)))
    first = Trainer(r, bed, tmp_path, save_every=1000)
    a = first.fit(3)
    first.save()
    first.fit(1)  # this step was not saved: it is taken again
    second = Trainer(r, bed[::-1], tmp_path, save_every=1000).resume()  # and the records came in another order
    b = second.fit()
    assert losses(a) + losses(b) == losses(whole)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses(lines) == losses(whole)
    assert [x["step"] for x in lines] == list(range(len(whole)))


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path, bed):
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from panoglot.networks import load_row\n"
        "from panoglot.training import shapes, train_records\n"
        f"row = load_row('clip', 'small', **{TINY!r} | {{'epochs': 12}})\n"
        f"train_records(row, shapes(64), {str(tmp_path / 'run')!r}, resume=True, save_every=3)\n"
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for wait in (0.2, 0.05, 0.35):
        process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=env)
        log, before = tmp_path / "run" / "log.jsonl", 0.0
        begin = time.monotonic()
        while not (log.exists() and log.stat().st_size > before) and time.monotonic() - begin < 60:
            time.sleep(0.02)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, check=True)
    whole = Trainer(row(epochs=12), shapes(64)).fit()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert losses(lines) == losses(whole)


def test_another_run_s_checkpoint_is_refused(tmp_path, bed):
    train_records(row(epochs=1), bed, tmp_path)
    with pytest.raises(UserError, match="other settings"):
        Trainer(row(epochs=1, clip=1.0), bed, tmp_path).resume()
    with pytest.raises(UserError, match="other settings"):
        Trainer(row(epochs=1), bed[:-1], tmp_path).resume()
    with pytest.raises(UserError, match="holds a run already"):
        train_records(row(epochs=1), bed, tmp_path)
    assert "parameters are trained" in (tmp_path / "freeze.txt").read_text()
    assert len(list(tmp_path.glob("checkpoint-*.pt"))) == 1
    assert not list(tmp_path.glob(".*"))


@pytest.mark.paper("m2-encoder", shows="V", case="k micro-batches train with the losses of the big batch, groups too")
@pytest.mark.parametrize("name", ["clip", "m2-encoder"])
def test_accumulation_gives_the_loss_sequence_of_the_big_batch(name, bed):
    extra = {**EXTRA.get(name, {}), "accumulate": 1}
    one = Trainer(row(name, **extra), bed, augment=False)
    four = Trainer(row(name, **{**extra, "accumulate": 4}), bed, augment=False)
    a, b = losses(one.fit(4)), losses(four.fit(4))
    assert a == pytest.approx(b, rel=2e-5)
    with pytest.raises(UserError, match="accumulate"):
        Trainer(row("dreamlip", accumulate=2), bed)


# ---- equalities between rows ---------------------------------------------------------------------------------------


def batch_loss(r, records, seed=0, model=None):
    model = model or make_model(r, seed)
    data = Data(records, model, seed, augment=False)
    model.double()
    model.eval()
    batch = data.batch(data.plan(0)[0], 0)
    batch.image = batch.image.double()
    return model(batch), batch, model


def plain_clip(model, batch):
    f = model.features(batch)
    return float(contrast_dense(f.x, f.y, scale=model.parts["contrast"].scale()[0]).value)


@pytest.mark.paper("dreamlip", shows="V", case="with its own term switched off: CLIP's loss, 1e-12")
@pytest.mark.paper("rs-m-clip", shows="V", case="with its own term switched off: CLIP's loss, 1e-12")
@pytest.mark.paper("dc-clip", shows="V", case="with its own term switched off: CLIP's loss, 1e-12")
@pytest.mark.paper("m2-encoder", shows="V", case="with its own term switched off: CLIP's loss, 1e-12")
@pytest.mark.paper("grain", shows="V", case="with its own term switched off: CLIP's loss, 1e-12")
def test_rows_that_must_give_clip_s_loss(bed):
    cases = {
        "dreamlip without sentences": row("dreamlip", sampler={"kind": "sentences", "k": 0}),
        "rs-m-clip without views": row("rs-m-clip", sampler={"kind": "one"}, losses={"contrast": {}}, views={}),
        "dc-clip, stage 2": row("dc-clip", languages={}, sampler={"kind": "one"}).each_stage()[1][1],
        "m2-encoder, one group": row("m2-encoder", languages={}, sampler={"kind": "one"}, shared=0, accumulate=1,
                                     losses={"contrast": {"taps": 1, "group": None}}),
        "grain without regions": replace(row("grain"), head={"kind": "linear"}, sampler={"kind": "one"}),
    }  # fmt: skip
    want, batch, model = batch_loss(row("clip"), bed)
    clip = float(want["contrast"].value)
    assert clip == pytest.approx(plain_clip(model, batch), abs=1e-12)
    for name, r in cases.items():
        r = type(r)(**{**r.plain(), "losses": {"contrast": r.losses["contrast"]}})
        _, other, fresh = batch_loss(r, bed)
        fresh.load_state_dict({**fresh.state_dict(), **model.state_dict()})
        again = fresh(other)["contrast"].value
        assert float(again) == pytest.approx(clip, abs=1e-12), name


@pytest.mark.paper("align", shows="V", case="the row without smoothing: twice CLIP's loss")
def test_align_with_clip_s_scale_is_twice_clip(bed):
    one, _, model = batch_loss(row("clip"), bed)
    r = row(
        "align",
        optimiser=load_row("clip", "small").optimiser,
        losses={"contrast": {"smoothing": 0.0, "scale": {"start": 1 / 0.07}}},
    )
    _, batch, fresh = batch_loss(r, bed)
    fresh.load_state_dict(model.state_dict())
    assert float(fresh(batch)["contrast"].value) == pytest.approx(2 * float(one["contrast"].value), abs=1e-12)


@pytest.mark.paper("sycoca", shows="V", case="no inpainting, no masks: CoCa's two losses")
def test_sycoca_without_inpainting_and_masks_is_coca(bed):
    r = row("sycoca", **EXTRA["sycoca"])
    _, batch, model = batch_loss(r, bed)
    model.parts["caption"].policy = "none"
    f = model.features(batch)
    ids, mask = (z[:, 0, : f.tokens.shape[1]] for z in (batch.tokens, batch.token_mask))
    logits = model.parts["caption"].decoder(ids, f.patches, given=f.tokens)
    target = ids.masked_fill(~mask, -100)
    coca = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), target[:, 1:].flatten())
    got = model(batch)
    assert float(got["caption"].value) == pytest.approx(float(coca), abs=1e-12)
    assert float(got["contrast"].value) == pytest.approx(plain_clip(model, batch), abs=1e-12)


@pytest.mark.paper(
    "colbert-xm",
    shows="V",
    case="the row's loss: the choice between two of its own, plus that among the batch, by loops",
)
def test_colbert_s_two_losses_by_loops():
    said = [
        [(f"what is it {n}?", "question", None), (f"a cat {n}", "answer", 1.0), (f"a dog {n}", "answer", 0.0)]
        for n in range(5)
    ]
    records = [
        Record(f"q{n}", texts=[Text(text, kind, "en", score=score) for text, kind, score in some])
        for n, some in enumerate(said)
    ]
    r = load_row("colbert-xm", "small", batch=5)
    model = make_model(r).double().eval()
    data = Data(records, model, augment=False)
    batch = data.batch(data.plan(0)[0], 0)
    (term,) = model(batch).values()
    f = model.features(batch)
    z = model.parts["colbert"].vectors(f.tokens)
    at = {(int(o), int(k)): z[i][f.token_mask[i]] for i, (o, k) in enumerate(zip(batch.owner, batch.slot, strict=True))}

    def score(q, p):
        return float((at[q, 0] @ p.T).amax(1).sum().detach())

    own, among = 0.0, 0.0
    for q in range(5):
        yes, no = score(q, at[q, 1]), score(q, at[q, 2])
        own += np.log(np.exp(yes) + np.exp(no)) - yes
        every = [score(q, at[o, k]) for o in range(5) for k in (1, 2)]
        among += np.log(np.sum(np.exp(every))) - yes
    assert float(term.value.detach()) == pytest.approx((own + among) / 5, abs=1e-9)
    assert term.count == 5


@pytest.mark.paper(
    "sycoca",
    shows="V",
    case="the model: captions see the relevant half, the same half is hidden for painting, which reads the text",
)
def test_sycoca_s_masks_are_the_right_way_round(bed, monkeypatch):
    extra = {**EXTRA["sycoca"], "losses": {"caption": {"width": 32, "heads": 2}, "inpaint": {"heads": 2}}}
    _, batch, model = batch_loss(row("sycoca", **extra), bed)
    f = model.features(batch)
    order = torch.einsum("bnd,bd->bn", f.local, f.y).argsort(dim=1, descending=True)
    relevant = torch.zeros(len(batch), f.local.shape[1], dtype=torch.bool)
    relevant.scatter_(1, order[:, : f.local.shape[1] // 2], True)
    seen = {}
    caption, inpaint = model.parts["caption"].decoder, model.parts["inpaint"].decoder
    monkeypatch.setattr(
        caption,
        "forward",
        lambda i, m, keep=None, given=None, _f=caption.forward: seen.update(keep=keep) or _f(i, m, keep, given),
    )
    tower = model.image.forward
    monkeypatch.setattr(
        model.image, "forward", lambda x, keep=None, hide=None: seen.update(hide=hide) or tower(x, keep=keep, hide=hide)
    )
    step = Step(model, batch, f, {})
    model.parts["caption"](f, batch, step)
    model.parts["inpaint"](f, batch, step)
    assert torch.equal(seen["keep"], relevant)
    assert torch.equal(seen["hide"], relevant)
    # what is under the mask is nowhere on the way; the text is
    paint = lambda x, tokens: inpaint(tower(x, hide=relevant)[1], tokens, f.token_mask)  # noqa: E731
    x = batch.image[:, 0]
    pixels = relevant.reshape(-1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    base = paint(x, f.tokens)
    assert torch.equal(paint(torch.where(pixels, x + 3, x), f.tokens), base)
    assert not torch.allclose(paint(x, f.tokens.flip(0)), base, atol=1e-4)


def test_permuting_the_batch_changes_no_loss(bed):
    for name in ("clip", "dreamlip", "grain"):
        model = make_model(row(name, **EXTRA.get(name, {}))).double().eval()
        data = Data(bed, model, augment=False)
        step = data.plan(0)[0]
        out = []
        for items in (step, step[::-1]):
            batch = data.batch(items, 0)
            batch.image, batch.boxes = batch.image.double(), None if batch.boxes is None else batch.boxes.double()
            out.append({n: float(t.value) for n, t in model(batch).items()})
        assert out[0] == pytest.approx(out[1], abs=1e-12), name


# ---- FLAME and the char-GRU: stored vectors ------------------------------------------------------------------------


def with_vectors(records, seed=0, dtype=np.float32):
    g = np.random.default_rng(seed)
    out = []
    for r in records:
        text = g.standard_normal((11, 16))
        text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(dtype)
        out.append(Record(r.id, r.image, r.texts, vectors={"image": g.standard_normal(24).astype(dtype), "text": text}))
    return out


@pytest.mark.paper("flame", shows="V", case="the stored vectors stay byte for byte; half precision is made unit again")
def test_flame_trains_against_a_store_that_stays(bed):
    records = with_vectors(bed, dtype=np.float16)
    before = [r.vectors["text"].tobytes() for r in records]
    t = Trainer(row("flame", text={"kind": "stored", "width": 16}), records)
    batch = t.data.batch(t.data.plan(0)[0], 0)
    assert batch.text_vec.shape == (16, 6, 16)
    assert torch.allclose(batch.text_vec.norm(dim=-1), torch.ones(16, 6), atol=1e-6)  # half precision, made unit again
    assert all(np.isfinite(losses(t.fit(4))))
    assert [r.vectors["text"].tobytes() for r in records] == before
    assert not any("text" in n for n, _ in t.model.named_parameters())


@pytest.mark.paper("vgs-char-gru", shows="V", case="an epoch passes every caption of every picture; the rate cycles")
def test_char_gru_passes_every_caption_of_every_picture(bed):
    records = with_vectors(bed)
    r = row(
        "vgs-char-gru", image={"kind": "vector", "width": 24}, text={"kind": "char_gru", "hidden": 8}, dim=16, epochs=4
    )
    t = Trainer(r, records)
    seen = sorted(x for step in t.data.plan(0) for x in step)
    assert len(seen) == 64 * 4
    rates = [f["lr"] for f in t.fit()]
    period = t.steps_per_epoch * 4
    assert rates[0] == pytest.approx(0.01 * max(rates))
    assert rates[period // 2] == max(rates)


@pytest.mark.paper(
    "vgs-char-gru", shows="V", case="32 pairs (a red square; one-hot vectors) are learnt: recall@1 = 1 both ways"
)
def test_char_gru_learns_32_pairs_by_heart():
    words = [
        (c, s) for c in "red green blue pink grey brown white black".split() for s in "square circle cross star".split()
    ]
    colours, shapes_ = np.repeat(np.eye(8), 4, 0), np.tile(np.eye(4), (8, 1))
    pictures = np.concatenate([colours, shapes_], 1).astype(np.float32)
    texts = [f"a {colour} {shape}" for colour, shape in words]
    records = [Record(text, texts=[Text(text)], vectors={"image": v}) for text, v in zip(texts, pictures, strict=True)]
    small = {"image": {"kind": "vector", "width": 12}, "text": {"kind": "char_gru", "hidden": 32}, "dim": 64}
    rate = {"optimiser": {"kind": "adam", "lr": 1e-2}, "schedule": {"kind": "cyclic_cosine", "period_epochs": 40}}
    t = Trainer(load_row("vgs-char-gru", "small", batch=32, epochs=80, snapshots=False, **small, **rate), records)
    t.fit(progress=False)
    found = recall(t.encoder.encode_pixels(torch.tensor(pictures)), t.encoder.encode_texts(texts), torch.arange(32))
    assert (found["t2i@1"], found["i2t@1"]) == (1, 1)


# ---- bad input -----------------------------------------------------------------------------------------------------


def test_records_that_teach_nothing_are_counted(bed):
    bad = [
        Record("silent", bed[0].image),
        Record("blind", None, [Text("x")]),
        Record("nan", bed[0].image, [Text("x")], vectors={"image": np.array([np.nan])}),
    ]
    t = Trainer(row(), [*bed, *bad])
    assert t.data.skipped == {"no_text": 1, "no_image": 1, "not_finite": 1}
    with pytest.raises(UserError, match="2 no_text"):
        Trainer(row(), [*bed[:10], Record("a", bed[0].image), Record("b", bed[0].image)])
    with pytest.raises(UserError, match="Two records"):
        Trainer(row(), [*bed, bed[0]])


def test_broken_pictures_cost_only_themselves(bed, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    records = [
        *bed[:14],
        Record("broken", str(tmp_path / "bad.jpg"), [Text("x")]),
        Record("gone", "/nowhere.png", [Text("y")]),
    ]
    t = Trainer(row(epochs=1), records)
    figures = t.fit()
    assert figures[0]["count/contrast"] == 14
    assert sum(t.data.skipped.values()) == 2


def test_a_batch_of_duplicates_teaches_nothing_wrong(bed):
    twins = [Record(f"t{i}", bed[0].image, bed[0].texts, pair_id="same") for i in range(16)]
    figures = Trainer(row(epochs=1), twins).fit()
    assert figures[0]["loss"] == pytest.approx(0, abs=1e-6)


def test_a_language_that_is_absent(bed):
    with pytest.raises(UserError, match="'sw'"):
        Trainer(row("dc-clip", languages={"weights": {"en": 1, "sw": 1}}), with_vectors(bed))


def test_vectors_of_another_size(bed):
    r = row("vgs-char-gru", image={"kind": "vector", "width": 25}, text={"kind": "char_gru", "hidden": 8}, dim=16)
    with pytest.raises(UserError, match="24 numbers"):
        Trainer(r, with_vectors(bed)).fit(1)


def test_a_loss_that_is_not_finite_is_left_out_and_ends_the_run(bed, monkeypatch):
    t = Trainer(row(epochs=9), bed)
    before = {n: p.clone() for n, p in t.model.named_parameters()}
    with torch.no_grad():
        t.model.parts["contrast"].scale.log.fill_(float("nan"))
    figures = t.one_step()
    assert figures["skipped_step"]
    assert figures["loss"] is None
    assert all(torch.equal(p, before[n]) for n, p in t.model.named_parameters() if "log" not in n)
    with pytest.raises(UserError, match="not finite"):
        t.fit()


def test_long_texts_are_cut_and_counted(bed):
    r = row(text={"kind": "transformer", "length": 12, "width": 32, "layers": 1, "heads": 2})
    t = Trainer(r, bed)
    t.fit(1)
    assert t.model.text.tokens.cut == 16


@pytest.mark.paper("colbert-xm", shows="V", case="language adapters stay and have no gradient")
def test_colbert_freezes_what_it_should(bed):
    texts = [
        Text("what is it?", "question", "en"),
        Text("a cat", "answer", "en", score=1.0),
        Text("a dog", "answer", "en", score=0.0),
    ]
    records = [
        Record(f"q{i}", texts=[Text(f"{t.text} {i % 7}", t.kind, t.lang, score=t.score) for t in texts])
        for i in range(40)
    ]
    r = load_row("colbert-xm", "small", batch=8, epochs=2)
    t = Trainer(r, records)
    frozen = {n: p.clone() for n, p in t.model.named_parameters() if "languages" in n}
    assert frozen
    figures = t.fit()
    assert figures[0]["loss"] > figures[-1]["loss"]
    for n, p in t.model.named_parameters():
        if n in frozen:
            assert torch.equal(p, frozen[n])
            assert p.grad is None


# ---- whole presets -------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "flame",
    shows="P",
    case="the full-size row: ViT-B/16, 768 to 5,120 by an MLP a token, s = 10, b = -10, 6 of 11 vectors, 3,072 a step",
)
def test_flame_s_own_preset_at_full_size():
    r = load_row("flame")
    assert not r.unverified
    with torch.device("meta"):
        model = make_model(r)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    blocks = 12 * (12 * 768**2 + 13 * 768)
    assert sizes["image"] == blocks + 3 * 16 * 16 * 768 + 768 + 197 * 768 + 768 + 4 * 768
    assert sizes["head"] == 768 * 5120 + 5120 + 5120 * 5120 + 5120 + 2 * 5120
    assert not any(name.startswith("text") for name, p in model.named_parameters())
    part = make_model(row("flame", text={"kind": "stored", "width": 16})).parts["contrast"]
    scale, bias = part.scale()
    assert (float(scale), float(bias)) == (pytest.approx(10.0), -10.0)
    assert (part.options.form, r.sampler) == ("sigmoid", {"kind": "vectors", "k": 6})
    assert r.optimiser == {"kind": "adamw", "lr": 5e-4, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.5}
    assert (r.schedule, r.epochs, r.batch, r.size) == ({"kind": "cosine", "warmup": 2000}, 32, 3072, 224)


def test_a_loss_that_learns_from_nothing_in_an_epoch_stops_the_run():
    row = load_row("grain", "small", batch=8, epochs=3)
    records = [replace(r, regions=()) for r in shapes(16)]
    trainer = Trainer(row, records, idle=["box"], workers=0)
    with pytest.raises(UserError, match=r"'regions' learnt from nothing in epoch 0.*--idle regions"):
        trainer.fit(progress=False)
    assert trainer.step == 2  # the whole epoch was looked at
    trainer = Trainer(row, records, idle=["box", "regions"], workers=0)
    assert len(trainer.fit(3, progress=False)) == 3
    assert trainer.identity == Trainer(row, records, workers=0).identity  # what is allowed changes nothing learnt


def test_another_number_of_threads_is_said(tmp_path):
    row = load_row("clip", "small", batch=8, epochs=3)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        trainer = Trainer(row, shapes(16), tmp_path, workers=0)
        trainer.fit(2, progress=False)
        trainer.save()
        assert Trainer(row, shapes(16), tmp_path, workers=0).resume().notes == []
        torch.set_num_threads(2)
        (said,) = Trainer(row, shapes(16), tmp_path, workers=0).resume().notes
        assert "begun with 1 threads and goes on with 2" in said
        assert "OMP_NUM_THREADS=1" in said
    finally:
        torch.set_num_threads(before)
