"""A run among the accidents of life: full disks, Ctrl-C, damaged files, broken data; and how it runs faster."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from panoglot.errors import RowError, UserError

torch = pytest.importorskip("torch")

from panoglot.networks import (
    Data,
    Record,
    Text,
    checkpoint_activations,
    contrast,
    list_rows,
    load_row,
    load_run,
    make_model,
    pooled_contrast,
)
from panoglot.networks.parts import PARTS
from panoglot.training import Interrupts, Loader, Processes, Trainer, shapes

TINY = {
    "image": {"kind": "vit", "patch": 8, "width": 32, "layers": 2, "heads": 2},
    "text": {"kind": "hashed", "width": 32, "size": 512},
    "dim": 16,
    "batch": 16,
    "epochs": 2,
}
WORDS = {"kind": "transformer", "width": 32, "heads": 2, "layers": 1, "pool": "end"}


def row(name="clip", **more):
    return load_row(name, "small", **{**TINY, **more})


@pytest.fixture(scope="module")
def bed():
    return shapes(64)


def losses(figures):
    return [f["loss"] for f in figures]


@pytest.fixture(scope="module")
def whole(bed):
    return losses(Trainer(row(), bed).fit())


# ---- saving --------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, bed, whole):
    """In a process of its own, whose files may not grow beyond a limit: the disk is full in the middle of a file."""
    code = (
        "import resource, sys, torch\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_run import *\n"
        "t = Trainer(row(), shapes(64), sys.argv[2], save_every=1000)\n"
        "t.fit(3); t.save()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "t.fit(1)\n"
        "try:\n    t.save()\n"
        "except UserError as error:\n    print('SAID', error)\n"
    )
    run = tmp_path / "run"
    command = [sys.executable, "-W", "ignore", "-c", code, os.path.dirname(__file__), str(run)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "SAID" in done.stdout
    assert "checkpoint-00000004.pt' cannot be written" in done.stdout
    assert "saved before is whole" in done.stdout
    assert sorted(p.name for p in run.glob("*checkpoint*")) == ["checkpoint-00000003.pt"]  # and nothing half written
    assert not [p for p in run.iterdir() if p.name.startswith(".")]
    again = Trainer(row(), bed, run).resume()
    assert again.step == 3
    assert losses(again.fit()) == whole[3:]


def test_a_folder_that_cannot_be_made_is_said(tmp_path, bed):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises((UserError, OSError)):
        Trainer(row(), bed, tmp_path / "file").fit(1)


def test_damaged_checkpoints_are_recognised(tmp_path, bed):
    t = Trainer(row(), bed, tmp_path)
    t.fit(3)
    t.save()
    file, manifest = tmp_path / "checkpoint-00000003.pt", tmp_path / "run.json"
    good, said = file.read_bytes(), manifest.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1  # a single bit, in the middle of the numbers
    for bad, why in ((bytes(flipped), "damaged"), (good[:-100], "damaged"), (b"", "damaged")):
        file.write_bytes(bad)
        with pytest.raises(UserError, match=why):
            Trainer(row(), bed, tmp_path).resume()
        with pytest.raises(UserError, match=why):
            load_run(tmp_path)
    file.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        Trainer(row(), bed, tmp_path).resume()
    file.write_bytes(good)
    for bad in (b"", b"{", b"[]", b'{"step": 1}'):
        manifest.write_bytes(bad)
        with pytest.raises(UserError, match=r"run\.json"):
            Trainer(row(), bed, tmp_path).resume()
    manifest.write_bytes(said)
    assert Trainer(row(), bed, tmp_path).resume().step == 3


def test_a_checkpoint_is_data_not_a_program(tmp_path, bed):
    """A pickle that would run something is refused even where the manifest vouches for it."""
    t = Trainer(row(), bed, tmp_path)
    t.fit(1)
    t.save()

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    torch.save({"model": Bomb()}, tmp_path / "checkpoint-00000001.pt")
    manifest = json.loads((tmp_path / "run.json").read_text())
    del manifest["hash"]
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="cannot be read"):
        Trainer(row(), bed, tmp_path).resume()
    assert not (tmp_path / "exploded").exists()


def test_what_a_checkpoint_belongs_to(tmp_path, bed):
    t = Trainer(row(), bed, tmp_path)
    t.fit(2)
    t.save()
    other_texts = [replace(bed[0], texts=[Text("قطة", "raw", "ar"), *bed[0].texts[1:]]), *bed[1:]]
    for r, records, more in (
        (row(epochs=3), bed, {}),
        (row(), bed[:-1], {}),
        (row(), other_texts, {}),
        (row(), bed, {"seed": 1}),
        (row(), bed, {"augment": False}),
        (row(), bed, {"precision": "bf16"}),
    ):
        with pytest.raises(UserError, match="other settings, seed or data"):
            Trainer(r, records, tmp_path, **more).resume()
    assert Trainer(row(), bed, tmp_path, workers=0, save_every=7, checkpointing=True).resume().step == 2


# ---- stopping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_the_step_saves_and_can_be_resumed(number, tmp_path, bed, whole):
    before = signal.getsignal(number)
    t = Trainer(row(), bed, tmp_path, save_every=1000)

    def ask(figures):
        if figures["step"] == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt, match="after step 3 of 8"):
        t.fit(on_step=ask)
    assert signal.getsignal(number) is before
    assert json.loads((tmp_path / "run.json").read_text())["step"] == 3
    again = Trainer(row(), bed, tmp_path).resume()
    assert again.step == 3
    assert losses(again.fit()) == whole[3:]
    assert losses(json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()) == whole


def test_a_second_ctrl_c_ends_at_once():
    with Interrupts() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    out = []
    thread = threading.Thread(target=lambda: out.append(Interrupts().__enter__().asked))  # no handlers outside of main
    thread.start()
    thread.join()
    assert out == [False]


def test_a_run_without_a_folder_says_that_nothing_was_saved(bed):
    t = Trainer(row(), bed)
    with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
        t.fit(on_step=lambda f: os.kill(os.getpid(), signal.SIGINT))


# ---- data that are bad ---------------------------------------------------------------------------------------------


def test_records_without_captions_cannot_train(bed):
    with pytest.raises(UserError, match="None of 64 pictures"):
        Trainer(row(), [replace(r, texts=[]) for r in bed])
    with pytest.raises(RowError, match="empty_text"):
        Text("   ", "raw", "hi")


def test_a_language_that_nobody_speaks(bed):
    with pytest.raises(UserError, match="None of 64 pictures"):
        Trainer(row(sampler={"kind": "one", "lang": ["sw"]}), bed)
    with pytest.raises(UserError, match="64 not_selected"):
        Trainer(row(select={"lang": ["sw"]}), bed)


def test_pictures_of_nan_are_counted_in_every_step_and_cost_nobody_else(bed):
    bad = [replace(r, image=np.full((3, 32, 32), np.nan)) if i % 4 == 0 else r for i, r in enumerate(bed)]
    t = Trainer(row(), bad)
    figures = t.fit()
    assert all(np.isfinite(losses(figures)))
    assert t.data.skipped == {"not_finite": 32}  # 16 in each of two epochs
    assert [f["skipped"] for f in figures][-1] == 32
    assert sum(f["count/contrast"] for f in figures) == 2 * 48


def test_a_run_with_nothing_but_broken_pictures_ends(bed):
    with pytest.raises(UserError, match="160 broken pictures"):
        Trainer(row(epochs=9), [replace(r, image=b"GIF89a?") for r in bed]).fit()


def test_stored_vectors_that_are_not_finite(bed):
    bad = [replace(r, vectors={"image": np.full(8, np.inf)}) for r in bed]
    with pytest.raises(UserError, match="64 not_finite"):
        Trainer(row("vgs-char-gru", image={"kind": "vector", "width": 8}, text={"kind": "char_gru", "hidden": 8}), bad)


def test_a_batch_of_duplicates_among_others_is_finite(bed):
    twins = [Record(f"t{i}", bed[0].image, bed[0].texts, pair_id="same") for i in range(16)]
    figures = Trainer(row(), [*bed[:48], *twins]).fit()
    assert all(np.isfinite(losses(figures)))


# ---- loading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_workers_change_nothing(workers, bed, whole, tmp_path):
    t = Trainer(row(), bed, workers=workers)
    assert losses(t.fit(3)) + losses(t.fit()) == whole
    assert not [x for x in threading.enumerate() if x.name.startswith("panoglot")]


def test_the_next_step_is_loaded_while_this_one_computes():
    begun = {k: threading.Event() for k in range(4)}

    def make(step, each):
        begun[step].set()
        return list(each(lambda x: (step, x), range(3)))

    loader = Loader(make, workers=2)
    for step in range(3):
        assert loader.get(step, last=step == 2) == [(step, x) for x in range(3)]
        if step < 2:
            assert begun[step + 1].wait(10)  # nobody asked for it yet
    assert not begun[3].is_set()
    assert loader.get(1, last=True) == [(1, 0), (1, 1), (1, 2)]  # any order
    loader.close()
    loader.close()


def test_a_mistake_while_loading_is_raised_where_the_step_is_taken(bed, monkeypatch):
    t = Trainer(row(), bed)
    inner = t.data._show

    def show(id_, k, epoch):
        if epoch == 1:
            raise ZeroDivisionError("a bug")
        return inner(id_, k, epoch)

    monkeypatch.setattr(t.data, "_show", show)
    seen = []
    with pytest.raises(ZeroDivisionError, match="a bug"):
        t.fit(on_step=seen.append)
    assert [f["step"] for f in seen] == [0, 1, 2, 3]
    assert not [x for x in threading.enumerate() if x.name.startswith("panoglot")]


# ---- what is said --------------------------------------------------------------------------------------------------


def test_the_line_of_a_step(tmp_path, bed):
    figures = Trainer(row(), bed, tmp_path).fit(1)[0]
    assert set(figures) == {
        "step", "epoch", "loss", "loss/contrast", "count/contrast", "scale/contrast", "lr", "grad_norm", "skipped",
        "skipped_step", "memory_mib", "seconds", "samples_per_second",
    }  # fmt: skip
    assert 50 < figures["memory_mib"] < 50_000
    assert figures["samples_per_second"] == pytest.approx(16 / figures["seconds"])
    assert json.loads((tmp_path / "log.jsonl").read_text()) == figures


def test_the_bar(bed, monkeypatch):
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    r = load_row("dc-clip", "small", **{**TINY, "epochs": 1}, losses={"regress": {"teacher": 4}})
    g = np.random.default_rng(0)
    records = [replace(x, vectors={"image": g.random(4), "text": g.random((len(x.texts), 4))}) for x in bed]
    t = Trainer(r, records)
    t.fit(progress=True)
    said = err.getvalue()
    assert "stage 'distil'" in said
    assert "stage 'align'" in said
    assert said.count("parameters are trained") == 2
    assert f"{t.total}/{t.total}" in said
    assert "scale" in said
    err.truncate(0)
    Trainer(row(), bed).fit(1)
    assert "parameters" not in err.getvalue()  # not a terminal: nothing


# ---- less memory, more speed ---------------------------------------------------------------------------------------


def test_recomputed_activations_change_nothing(bed):
    r = row("sycoca", text=WORDS, losses={"caption": {"width": 32, "heads": 2}, "inpaint": {"heads": 2}})
    assert losses(Trainer(r, bed, checkpointing=True).fit(3)) == losses(Trainer(r, bed).fit(3))
    t = Trainer(row(), bed)
    assert checkpoint_activations(t.model) == 2  # the blocks
    kept = []
    t.model.image.blocks[0].norm1.register_forward_hook(lambda *_: kept.append(1))
    t.one_step()
    assert len(kept) == 2  # once forwards, once again backwards
    with pytest.raises(UserError, match="no transformer blocks"):
        checkpoint_activations(torch.nn.Linear(2, 2))


def test_recomputing_in_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=16,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=8,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    bert = transformers.BertModel(config).train()
    ids, count = torch.arange(8)[None], []
    bert.encoder.layer[0].attention.register_forward_hook(lambda *_: count.append(1))
    want = bert(ids).last_hidden_state
    want.sum().backward()
    assert len(count) == 1
    assert checkpoint_activations(torch.nn.ModuleList([bert])) == 1
    got = bert(ids).last_hidden_state
    got.sum().backward()
    assert len(count) == 3  # and once more in the backward pass
    assert torch.equal(got, want)


def test_recomputing_is_asked_for_the_way_timm_models_want_it():
    """By a stand-in: timm itself needs torchvision."""

    class Timm(torch.nn.Linear):
        def set_grad_checkpointing(self, on):
            self.on = on

    tower = Timm(2, 2)
    assert checkpoint_activations(torch.nn.ModuleDict({"image": tower})) == 1
    assert tower.on


def test_compiled_towers_change_nothing(bed, whole):
    t = Trainer(row(), bed, compile="aot_eager")
    assert losses(t.fit(3)) == pytest.approx(whole[:3], rel=1e-5)
    assert set(t.model.state_dict()) == set(Trainer(row(), bed).model.state_dict())


def test_bfloat16_is_for_the_towers_only(bed, whole, monkeypatch):
    seen = []
    inner = contrast.__globals__["_tiled"]
    monkeypatch.setitem(
        contrast.__globals__, "_tiled", lambda a, b, *more: seen.append((a.dtype, b.dtype)) or inner(a, b, *more)
    )
    t = Trainer(row(), bed, precision="bf16")
    inside = []
    t.model.image.blocks[0].mlp.register_forward_hook(lambda m, i, out: inside.append(out.dtype))
    figures = t.fit()
    assert set(inside) == {torch.bfloat16}
    assert set(seen) == {(torch.float32, torch.float32)}
    assert {p.dtype for p in t.model.parameters()} == {torch.float32}
    assert losses(figures)[0] == pytest.approx(whole[0], rel=0.02)
    assert losses(figures)[-1] < losses(figures)[0]
    with pytest.raises(UserError, match="'bf16'"):
        Trainer(row(), bed, precision="bf61")


def test_contrast_leaves_autocast():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(8, 4, generator=g), dim=1) for _ in "ab")
    want = contrast(a, b, scale=100.0).value
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(contrast(a, b, scale=100.0).value, want)
        assert torch.equal(pooled_contrast(a, b, scale=100.0).value, want)


@pytest.mark.parametrize("parts", [
    {"caption": {"width": 32, "heads": 2}},
    {"caption": {"width": 32, "heads": 2}, "inpaint": {"heads": 2, "layers": 1}},
])  # fmt: skip
def test_plain_accumulation_is_the_big_batch(parts, bed):
    """Means over tokens, whose numbers differ from one micro-batch to the next."""
    ragged = [
        replace(r, texts=[replace(t, text=" ".join([t.text] * (1 + i % 3))) for t in r.texts])
        for i, r in enumerate(bed)
    ]
    found = []
    for k in (1, 2, 4):
        r = replace(row("sycoca", text=WORDS, accumulate=k, clip=1.0), losses=parts)
        figures = Trainer(r, ragged, augment=False).fit(4)
        found.append(
            ([f["loss"] for f in figures], [f["grad_norm"] for f in figures], [f["count/caption"] for f in figures])
        )
    for other in found[1:]:
        assert other[0] == pytest.approx(found[0][0], rel=2e-5)
        assert other[1] == pytest.approx(found[0][1], rel=2e-4)
        assert other[2] == found[0][2]


def test_what_cannot_be_accumulated_is_refused(bed):
    for name in ("sycoca", "dreamlip"):
        with pytest.raises(UserError, match="accumulated alone"):
            Trainer(row(name, accumulate=2, **({"text": WORDS} if name == "sycoca" else {})), bed)


def test_batch_normalisation_is_not_fed_parts_of_a_batch(bed):
    class Normed(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.norm, self.width, self.patch = inner, torch.nn.BatchNorm1d(inner.width), inner.width, 8

        def forward(self, image):
            pooled, tokens = self.inner(image)
            return self.norm(pooled), tokens

    model = make_model(row(accumulate=2))
    model.image = Normed(model.image)
    with pytest.raises(UserError, match=r"image\.norm.*part of the batch"):
        Trainer(row(accumulate=2), bed, model=model)
    frozen = row(accumulate=2, freeze=[{"freeze": "image.*"}])
    assert np.isfinite(losses(Trainer(frozen, bed, model=model).fit(1))).all()
    assert np.isfinite(losses(Trainer(row(), bed, model=model).fit(1))).all()


def plain_means():
    """Every shipped loss that says that it is a mean over its items, in a row that trains on the bed."""
    for name in list_rows():
        for stage, r in load_row(name, "small", batch=12, accumulate=1).each_stage():
            kinds = {n: o.get("kind", n) for n, o in r.losses.items()}
            if r.sampler["kind"] not in ("triples", "interleave") and name not in ("compress-align", "cosmo"):
                wanted = [n for n, k in kinds.items() if PARTS[k].across == "mean"]
                if wanted:
                    yield pytest.param(name, r, wanted, id=f"{name} {stage}".strip())


@pytest.mark.parametrize(("name", "r", "wanted"), [*plain_means()])
def test_what_says_it_is_a_mean_is_one(name, r, wanted, bed):
    """The loss of a batch is the mean of its parts' losses, weighted by their counts: what processes rely on."""
    model = make_model(load_row(name, "small", batch=12)).double().eval()
    model.begin(r.losses)
    if r.image is not None and r.image["kind"] == "vector":
        g = np.random.default_rng(0)
        bed = [replace(x, vectors={"image": g.standard_normal(r.image["width"])}) for x in bed]
    data = Data(bed, model, augment=False, row=r)
    step, found = data.plan(0)[0], []
    for items in (step, step[:5], step[5:]):
        batch = data.batch(items, 0)
        for key in ("image", "local_image", "image_vec", "boxes"):
            if getattr(batch, key) is not None:
                setattr(batch, key, getattr(batch, key).double())
        found.append(model(batch))
    for n in wanted:
        all_, one, two = (f[n] for f in found)
        assert all_.count == one.count + two.count > 0
        mean = (one.value * one.count + two.value * two.count) / all_.count
        assert float(all_.value.detach()) == pytest.approx(float(mean.detach()), abs=1e-9), n


def test_every_loss_says_what_several_processes_make_of_it():
    assert {name: kind.across for name, kind in PARTS.items() if kind.across not in ("mean", "own", "")} == {}
    part = PARTS["box"](None)
    part.across = ""
    with pytest.raises(UserError, match="one process only"):
        part.in_processes("box", Processes("cpu"), 16)


def test_sharding_and_devices_that_are_not_there(bed):
    with pytest.raises(UserError, match="several processes"):
        Trainer(row(), bed, shard=True)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="device='cpu'"):
            Trainer(row(), bed, device="cuda")


def test_what_a_method_learns_from_is_said():
    records = shapes(40)
    with pytest.raises(UserError, match=r"'triples' .* takes: A query.*The texts here are: .*long"):
        Trainer(load_row("colbert-xm", "small"), records)
    with pytest.raises(UserError, match=r"Stage 'distil': regress: .*--teacher"):
        Trainer(load_row("dc-clip", "small", batch=8), records)
    with pytest.raises(UserError, match=r"Nothing to train on for 'interleaved'.*Known: pair"):
        Trainer(load_row("cosmo", "small", batch=8, sampler={"weights": {"interleaved": 1, "pair": 1}}), records)
