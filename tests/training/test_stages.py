"""Stages, snapshots, moving averages: one run, several trainings after each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from panoglot.errors import UserError

torch = pytest.importorskip("torch")

from panoglot.networks import Ema, Ensemble, Record, Row, Text, load_row, load_run, make_model, selected
from panoglot.training import Trainer, recall, shapes

TINY = {
    "image": {"kind": "vit", "patch": 8, "width": 32, "layers": 1, "heads": 2},
    "text": {"kind": "hashed", "width": 32, "size": 512},
    "dim": 16,
    "batch": 16,
}


def vectors(records, seed=0):
    g = np.random.default_rng(seed)
    unit = lambda x: (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)  # noqa: E731
    return [
        replace(
            r,
            vectors={"image": unit(g.standard_normal(16)), "text": unit(g.standard_normal((len(r.texts), 16)))},
        )
        for r in records
    ]


@pytest.fixture(scope="module")
def bed():
    return vectors(shapes(64))


def dc_clip(**more):
    return load_row("dc-clip", "small", **{**TINY, "losses": {"regress": {"teacher": 16}}, "epochs": 1, **more})


def losses(figures):
    return [f["loss"] for f in figures]


# ---- the row -------------------------------------------------------------------------------------------------------


def test_a_stage_inherits_what_it_does_not_say():
    (pictures, one), (texts, two), (align, three) = load_row("dc-clip").each_stage()
    assert (pictures, texts, align) == ("pictures", "texts", "align")
    assert (list(one.losses), list(two.losses), list(three.losses)) == (["map"], ["tokens"], ["contrast"])
    assert (one.losses["map"]["width"], two.losses["tokens"]["width"]) == (1024, 768)
    assert [r.optimiser["lr"] for r in (one, two, three)] == [1e-3, 1e-3, 1e-4]
    assert three.optimiser["kind"] == one.optimiser["kind"] == "adamw"
    assert three.optimiser["weight_decay"] == 0.05
    assert (one.languages, two.languages) == ({}, {"weights": {"zh": 1, "en": 1}})
    assert one.image == two.image
    assert not one.stages


def test_a_preset_takes_stages_away_and_names_others():
    assert [name for name, _ in load_row("dc-clip", "small").each_stage()] == ["distil", "align"]
    with pytest.raises(UserError, match="no stage is called 'distil'"):
        load_row("dc-clip", stages={"distil": {"epochs": 1}})


def test_what_is_laid_on_top_holds_in_every_stage_or_in_the_named_one():
    every = load_row("dc-clip", epochs=3).each_stage()
    assert [r.epochs for _, r in every] == [3, 3, 3]
    one = load_row("dc-clip", stages={"align": {"epochs": 7, "losses": {"contrast": {"weight": 2.0}}}}).each_stage()
    assert [r.epochs for _, r in one] == [20, 20, 7]
    assert one[2][1].losses["contrast"]["weight"] == 2.0
    small = load_row("dc-clip", "small").each_stage()
    assert [r.languages for _, r in small] == [{}, {"temperature": 5.0}]
    assert small[0][1].losses == {"regress": {"weight": 1.0, "teacher": 64}}
    deeper = load_row("dc-clip", losses={"contrast": {"smoothing": 0.1}}).each_stage()
    assert "contrast" not in deeper[0][1].losses
    assert deeper[2][1].losses["contrast"]["smoothing"] == 0.1
    flat = load_row("dc-clip", stages=None)
    assert flat.each_stage() == [("", flat)]
    assert set(flat.losses) == {"map", "tokens", "contrast"}


def test_the_stored_row_is_the_row():
    row = load_row("dc-clip", "small")
    again = Row(**json.loads(json.dumps(row.plain())))
    assert again.fingerprint == row.fingerprint
    assert [n for n, _ in again.each_stage()] == ["distil", "align"]
    swapped = replace(row, stages=row.stages[::-1])
    assert swapped.fingerprint != row.fingerprint


def test_mistakes_in_stages(bed):
    with pytest.raises(UserError, match="'align'"):
        load_row("dc-clip", stages={"aling": {"epochs": 1}})
    with pytest.raises(UserError, match="cannot set 'image'"):
        load_row("dc-clip", stages={"align": {"image": {"kind": "vit"}}})
    with pytest.raises(UserError, match=r"stage 'align'.*micro-batches"):
        load_row("dc-clip", stages={"align": {"accumulate": 3}})
    with pytest.raises(UserError, match="'kinds'"):
        load_row("clip", select={"kind": ["raw"]})
    with pytest.raises(UserError, match="names no losses"):
        _ = load_row("clip", "small", stages={"a": {"losses": {}}})
    # the last stage's mistake is found before the first step
    with pytest.raises(UserError, match=r"Stage 'align': freeze: no parameter is called 'imgae"):
        Trainer(dc_clip(stages={"align": {"freeze": [{"freeze": "imgae.*"}]}}), bed)
    with pytest.raises(UserError, match=r"Stage 'align'.*cannot fill a batch"):
        Trainer(dc_clip(stages={"align": {"select": {"splits": ["gold"]}}}), bed)
    with pytest.raises(UserError, match=r"Stage 'align'.*'cosine'"):
        Trainer(dc_clip(stages={"align": {"schedule": {"kind": "cosin"}}}), bed)
    with pytest.raises(UserError, match="Stage 'align': No optimiser"):
        Trainer(dc_clip(stages={"align": {"optimiser": {"kind": "adamm"}}}), bed)
    with pytest.raises(UserError, match="change its shapes"):
        Trainer(
            load_row("clip", "small", **TINY, losses={"regress": {"teacher": 16}}, stages={
                "a": {"losses": {"regress": {}}, "epochs": 1},
                "b": {"losses": {"regress": {"teacher": 24}}, "epochs": 1},
            }), bed,
        )  # fmt: skip


def test_laying_does_not_change_what_it_lies_on():
    whole, over = (
        load_row("dc-clip", "small"),
        {"losses": {"contrast": {"weight": 2}}, "stages": {"align": {"epochs": 2}}},
    )
    before = json.dumps(over)
    assert load_row("dc-clip", "small", **over) != whole
    assert json.dumps(over) == before
    assert load_row("dc-clip", "small") == whole


# ---- running -------------------------------------------------------------------------------------------------------


def test_stages_run_one_after_the_other_over_one_model(bed, tmp_path):
    row = dc_clip(stages={"align": {"freeze": [{"freeze": "image.*"}]}})
    t = Trainer(row, bed, tmp_path)
    first, second = (s.total for s in t.stages)
    before = {n: p.clone() for n, p in t.model.named_parameters()}
    a = t.fit(first)
    assert {f["stage"] for f in a} == {"distil"}
    assert all("loss/contrast" not in f and "count/regress" in f for f in a)
    now = dict(t.model.named_parameters())
    # the loss that is absent learns nothing and keeps no optimiser state
    assert torch.equal(now["parts.contrast.scale.log"], before["parts.contrast.scale.log"])
    assert not torch.equal(now["image.embed.weight"], before["image.embed.weight"])
    held = {id(p) for g in t.optimiser.param_groups for p in g["params"]}
    assert id(t.model.parts["contrast"].scale.log) not in held
    middle = {n: p.clone() for n, p in t.model.named_parameters()}
    b = t.fit()
    assert {f["stage"] for f in b} == {"align"}
    assert len(b) == second
    assert [f["step"] for f in [*a, *b]] == list(range(first + second))
    assert [f["epoch"] for f in [*a, *b]] == sorted(f["epoch"] for f in [*a, *b])
    for n, p in t.model.named_parameters():
        if n.startswith(("image.", "parts.regress.")):
            assert torch.equal(p, middle[n]), n
    assert not torch.equal(t.model.head.weight, middle["head.weight"])
    plan = (tmp_path / "freeze.txt").read_text()
    assert "stage 'distil':" in plan
    assert "stage 'align':" in plan
    assert plan.count("parameters are trained") == 2
    assert plan == t.describe()


def test_a_loss_that_is_absent_is_never_called(bed, monkeypatch):
    t = Trainer(dc_clip(), bed)
    calls = []
    for name, part in t.model.parts.items():
        inner = part.forward
        monkeypatch.setattr(part, "forward", lambda *a, n=name, f=inner: calls.append(n) or f(*a))
    t.fit(t.stages[0].total)
    assert set(calls) == {"regress"}
    calls.clear()
    t.fit()
    assert set(calls) == {"contrast"}


@pytest.mark.paper("dc-clip", shows="V", case="two stages are two runs, one after the other")
def test_the_second_stage_is_a_run_of_its_own_over_the_weights_of_the_first(bed):
    """Stages are nothing but two runs after each other: same losses as two trainers that hand the model on."""
    both = Trainer(dc_clip(), bed)
    figures = both.fit()
    (_, one), (_, two) = dc_clip().each_stage()
    model = make_model(dc_clip())
    first = Trainer(one, bed, model=model)
    assert losses(first.fit()) == losses(figures[: first.total])
    # epochs and random seeds are counted on in the staged run; where nothing is random the losses agree
    plain = {"sampler": {"kind": "one"}, "languages": {}}
    both = Trainer(dc_clip(**plain), bed, augment=False)
    figures = both.fit()
    n = both.stages[0].total
    assert [s.first for s in both.stages] == [0, n]
    assert figures[n]["lr"] == pytest.approx(both.stages[1].factor(0) * two.optimiser["lr"])


@pytest.mark.parametrize("at", [1, 3, 4, 5, 6])
def test_resume_is_exact_in_the_middle_of_any_stage(at, bed, tmp_path):
    row = dc_clip(ema={"decay": 0.9}, sampler={"kind": "one"}, languages={})
    whole = Trainer(row, bed)
    want = whole.fit()
    assert [s.first for s in whole.stages] == [0, 4]
    t = Trainer(row, bed, tmp_path, save_every=1000)
    got = t.fit(at)
    t.save()
    t.fit(1)
    again = Trainer(row, bed[::-1], tmp_path, save_every=1000).resume()
    assert again.step == at
    assert losses(got) + losses(again.fit()) == losses(want)
    for a, b in zip(whole.encoder.state_dict().values(), again.encoder.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_killed_in_every_stage(tmp_path):
    """kill -9 at chosen steps, by the process itself, so that the place is certain."""
    code = (
        "import os, signal, sys, torch; torch.set_num_threads(1)\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_stages import *\n"
        "die = int(sys.argv[3])\n"
        "t = Trainer(dc_clip(), vectors(shapes(64)), sys.argv[2], save_every=2).resume()\n"
        "t.fit(on_step=lambda f: os.kill(os.getpid(), signal.SIGKILL) if f['step'] == die else None)\n"
    )
    here, run = os.path.dirname(__file__), str(tmp_path / "run")
    total = Trainer(dc_clip(), vectors(shapes(64))).total
    for die in (1, 3, 9, total - 6, -1):
        command = [sys.executable, "-W", "ignore", "-c", code, here, run, str(die)]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
        assert done.returncode == (0 if die < 0 else -9), done.stderr.decode()
    want = losses(Trainer(dc_clip(), vectors(shapes(64))).fit())
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert losses(lines) == want
    assert {line["stage"] for line in lines} == {"distil", "align"}


def test_options_may_change_from_stage_to_stage_and_what_was_learnt_stays(bed):
    row = load_row("clip", "small", **TINY, stages={
        "soft": {"losses": {"contrast": {"smoothing": 0.1}}, "epochs": 1},
        "hard": {"losses": {"contrast": {}}, "epochs": 1},
    })  # fmt: skip
    t = Trainer(row, bed)
    t.fit(t.stages[0].total)
    scale = float(t.model.parts["contrast"].scale.log.detach())
    assert t.model.parts["contrast"].options.smoothing == 0.1
    t._enter()
    assert t.model.parts["contrast"].options.smoothing == 0.0
    assert float(t.model.parts["contrast"].scale.log.detach()) == scale
    before = scale
    t.fit(2)
    assert float(t.model.parts["contrast"].scale.log.detach()) != before  # and it still learns


def test_a_teacher_of_a_later_stage_starts_as_the_student_of_that_stage(bed):
    row = load_row("rs-m-clip", "small", **TINY, losses={"views": {"prototypes": 8, "hidden": 16, "bottleneck": 8}},
                   stages={"pairs": {"losses": {"contrast": {}}, "epochs": 1},
                           "views": {"losses": {"contrast": {}, "views": {}}, "epochs": 1}})  # fmt: skip
    t = Trainer(row, bed)
    t.fit(t.stages[0].total)
    t._enter()
    teacher = t.model.parts["views"].teacher.teacher[0]
    for a, b in zip(teacher.parameters(), t.model.image.parameters(), strict=True):
        assert torch.equal(a, b)


def test_data_of_a_stage():
    texts = [Text("a dog", "raw", "en"), Text("ein Hund", "translation", "de", of=0), Text("กระต่าย", "long", "th")]
    stored = np.arange(6.0).reshape(3, 2)
    r = Record("1", texts=texts, split="gold", vectors={"text": stored})
    assert selected(r) is r
    assert selected(r, splits=["silver"]) is None
    assert selected(r, lang=["ar"]) is None
    thai = selected(r, lang=["th", "de"])
    assert [(t.lang, t.of) for t in thai.texts] == [("de", None), ("th", None)]
    assert thai.vectors["text"].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert [t.of for t in selected(r, kinds=["raw", "translation"]).texts] == [None, 0]
    records = vectors([replace(x, split="gold" if i % 2 else "web") for i, x in enumerate(shapes(64))])
    t = Trainer(dc_clip(stages={"align": {"select": {"splits": ["gold"], "kinds": ["long"], "lang": ["en"]}},
                                "distil": {"sampler": {"kind": "one"}}},
                        languages={}), records)  # fmt: skip
    assert [len(s.data.items) for s in t.stages] == [64, 32]
    assert t.stages[1].data.skipped == {"not_selected": 32}
    assert {x.kind for r in t.stages[1].data.records.values() for x in r.texts} == {"long"}


# ---- the moving average of the whole model -------------------------------------------------------------------------


def test_the_moving_average_is_what_is_kept(bed, tmp_path):
    row = load_row("clip", "small", **TINY, epochs=2, ema={"decay": 0.5})
    t = Trainer(row, bed, tmp_path)
    start = t.model.image.state_dict()
    name = "head.weight"
    average = t.model.state_dict()[name].double().clone()
    for step in range(t.total):
        t.fit(1)
        m = min(0.5, (1 + step) / (10 + step))
        average = m * average + (1 - m) * t.model.state_dict()[name].double()
    assert torch.allclose(t.encoder.state_dict()[name].double(), average, atol=1e-6)
    assert not torch.equal(t.encoder.head.weight, t.model.head.weight)
    assert t.encoder is not t.model
    assert all(p.grad is None and not p.requires_grad for p in t.encoder.parameters())
    assert set(start) == set(t.encoder.image.state_dict())
    loaded = load_run(tmp_path)
    assert torch.equal(loaded.encode_texts(["a red circle"]), t.encoder.encode_texts(["a red circle"]))
    plain = Trainer(replace(row, ema={}), bed)
    assert losses(plain.fit()) == [json.loads(x)["loss"] for x in (tmp_path / "log.jsonl").read_text().splitlines()]


def test_integers_and_buffers_are_copied_not_averaged():
    net = torch.nn.BatchNorm1d(2)
    average = Ema(net)
    net.train()(torch.randn(4, 2))
    average.update(net, 1.0)
    assert int(average.teacher.num_batches_tracked) == 1
    assert torch.equal(average.teacher.running_mean, net.running_mean)


# ---- snapshots -----------------------------------------------------------------------------------------------------


def char_gru(**more):
    base = {"image": {"kind": "vector", "width": 16}, "text": {"kind": "char_gru", "hidden": 8}, "dim": 16, "batch": 16}
    return load_row("vgs-char-gru", "small", **{**base, "epochs": 8, "sampler": {"kind": "one"}, **more})


@pytest.mark.paper(
    "vgs-char-gru",
    shows="V",
    case="snapshots at the ends of the periods; the ensemble sums their similarities",
)
def test_snapshots_are_the_models_at_the_ends_of_the_periods(bed, tmp_path):
    t = Trainer(char_gru(), bed, tmp_path, save_every=5)
    assert t.stages[0].period == 16  # four epochs of four steps
    seen = {}
    t.fit(on_step=lambda f: seen.update({f["step"] + 1: {n: p.clone() for n, p in t.model.state_dict().items()}}))
    assert sorted(p.name for p in tmp_path.glob("snapshot-*")) == ["snapshot-00000016.pt", "snapshot-00000032.pt"]
    whole = load_run(tmp_path, snapshots=True)
    assert isinstance(whole, Ensemble)
    for model, step in zip(whole.models, (16, 32), strict=True):
        assert all(torch.equal(p, seen[step][n]) for n, p in model.state_dict().items())
    # the sum of the snapshots' similarity matrices, up to their number
    pixels = torch.tensor(np.stack([r.vectors["image"] for r in bed]))
    texts = ["ein roter Kreis", "दो नीले वर्ग", "สามเหลี่ยม", "دائرة"]
    x, y = whole.encode_pixels(pixels), whole.encode_texts(texts)
    assert torch.allclose(x.norm(dim=1), torch.ones(len(x)), atol=1e-6)
    want = sum(m.encode_pixels(pixels) @ m.encode_texts(texts).T for m in whole.models)
    assert torch.allclose(2 * x @ y.T, want, atol=1e-6)
    assert recall(x[:4], y, torch.arange(4), ks=[4])["t2i@4"] == 1.0
    rates = [json.loads(line)["lr"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rates[16] == min(rates)  # a period ends where the rate is lowest


def test_a_snapshot_after_a_crash_is_the_same(bed, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    Trainer(char_gru(), bed, one).fit()
    t = Trainer(char_gru(), bed, two, save_every=1000)
    t.fit(14)
    t.save()
    t.fit(6)  # over the end of the period, not saved: taken again
    with pytest.raises(UserError, match="no snapshots"):
        load_run(two, snapshots=True)  # the one on the disk is ahead of the checkpoint
    Trainer(char_gru(), bed, two).resume().fit()
    for name in ("snapshot-00000016.pt", "snapshot-00000032.pt"):
        a, b = (torch.load(folder / name, weights_only=True)["model"] for folder in (one, two))
        assert all(torch.equal(a[n], b[n]) for n in a)


def test_snapshots_need_a_period(bed, tmp_path):
    with pytest.raises(UserError, match="cyclic_cosine"):
        Trainer(load_row("clip", "small", **TINY, snapshots=True), bed)
    with pytest.raises(UserError, match="at least one"):
        Ensemble([])
    Trainer(load_row("clip", "small", **TINY, epochs=1), bed, tmp_path).fit()
    with pytest.raises(UserError, match="no snapshots"):
        load_run(tmp_path, snapshots=True)
    with pytest.raises(UserError, match="a training run"):
        load_run(tmp_path / "nowhere")
