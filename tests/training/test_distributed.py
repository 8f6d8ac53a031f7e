"""Several processes, started by torchrun, give the loss sequence of one.

One launch runs many small trainings: most of the time goes into starting Python.
"""

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

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from panoglot.errors import UserError
from panoglot.networks import Record, Text, load_row, load_run
from panoglot.training import Trainer, documents, shapes

# single precision: sums are taken in another order, and four steps of Adam carry it on
TOLERANCE = 5e-5

TINY = {
    "image": {"kind": "vit", "patch": 8, "width": 32, "layers": 1, "heads": 2},
    "text": {"kind": "hashed", "width": 32, "size": 512},
    "dim": 16,
    "batch": 16,
    "epochs": 1,
}
WIDE = {"image": {**TINY["image"], "width": 64}, "text": {**TINY["text"], "width": 64}}
GRAIN = {"head": {"kind": "queries", "width": 16, "layers": 1, "heads": 2, "drop": 0.0}}
TEXT = {"kind": "transformer", "width": 32, "heads": 2, "layers": 1, "pool": "end"}
CAPTION, PAINT = {"width": 32, "heads": 2, "layers": 1}, {"heads": 2, "layers": 1}

SMALL = {**dict.fromkeys(TINY), "batch": 16, "epochs": 1}  # the preset's own towers
TORCHRUN = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run"]
TORCHRUN += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]  # any free port

# name -> (method, settings, options of the trainer)
CASES = {
    "clip": ("clip", {}, {}),
    "clip, pieces that differ in size": ("clip", {"batch": 13}, {}),
    "clip, accumulated": ("clip", {"accumulate": 4}, {}),
    "clip, accumulated, uneven": ("clip", {"batch": 18, "accumulate": 3}, {}),
    "clip, clipped, with a moving average": ("clip", {"clip": 1.0, "ema": {"decay": 0.9}}, {}),
    "clip, recomputed": ("clip", {}, {"checkpointing": True}),
    "clip, bfloat16": ("clip", {}, {"precision": "bf16"}),
    "align": ("align", {}, {}),
    "flame": ("flame", {"text": {"kind": "stored", "width": 16}}, {}),
    "hinge": ("clip", {"losses": {"contrast": {"form": "hinge"}}}, {}),
    "slots": ("dreamlip", {}, {}),
    "regions": ("grain", GRAIN, {}),
    "views": ("rs-m-clip", {"losses": {"views": {"prototypes": 8, "hidden": 16, "bottleneck": 8}}}, {}),
    "groups inside a process": ("m2-encoder", {**WIDE, "losses": {"contrast": {"group": 4}}}, {}),
    "groups of whole processes": ("m2-encoder", {**WIDE, "losses": {"contrast": {"group": 16}}}, {}),
    "counts that differ": ("sycoca", {"text": TEXT, "losses": {"caption": CAPTION, "inpaint": PAINT}}, {}),
    "a mean over tokens": ("sycoca", {"text": TEXT, "losses": None, "parts": {"caption": CAPTION}}, {}),
    "tokens, accumulated": ("sycoca", {"text": TEXT, "accumulate": 4, "parts": {"caption": CAPTION}}, {}),
    "two means, accumulated": (
        "sycoca",
        {"text": TEXT, "accumulate": 2, "parts": {"caption": CAPTION, "inpaint": PAINT}},
        {},
    ),
    "stages": ("dc-clip", {"losses": {"regress": {"teacher": 16}}}, {}),
    "late interaction": ("colbert-xm", {"image": None, "batch": 8}, {}),
    "sharded": ("clip", {"clip": 1.0}, {"shard": True}),
    "sharded, accumulated": ("clip", {"accumulate": 4}, {"shard": True}),
    "sharded, counts that differ": ("sycoca", {"text": TEXT, "losses": {"caption": CAPTION}}, {"shard": True}),
    "sharded, tokens accumulated": (
        "sycoca",
        {"text": TEXT, "accumulate": 4, "parts": {"caption": CAPTION}},
        {"shard": True},
    ),
    "sharded, views": (
        "rs-m-clip",
        {"losses": {"views": {"prototypes": 8, "hidden": 16, "bottleneck": 8}}},
        {"shard": True, "checkpointing": True},
    ),
    "sharded, stages": ("dc-clip", {"losses": {"regress": {"teacher": 16}}}, {"shard": True}),
    "writing, stages": ("croc", SMALL, {}),
    "writing, accumulated": ("florenz", {**SMALL, "accumulate": 2}, {}),
    "writing, with a code book": ("tldr", SMALL, {}),
    "writing, one kind of data a step": ("cosmo", {**SMALL, "losses": {"contrast": {"gather": "all"}}}, {}),
    "broken pictures": ("clip", {}, {}),
    "all pictures of a process broken": ("clip", {"batch": 8}, {}),
}

#: The processes run the code that is tested, wherever it lies.
PATH = os.pathsep.join([os.path.dirname(__file__), *filter(None, [os.environ.get("PYTHONPATH")])])


def records_for(name):
    g = np.random.default_rng(0)
    unit = lambda x: (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)  # noqa: E731
    if name == "late interaction":
        answer = lambda text, score: Text(text, "answer", "en", score=score)  # noqa: E731
        return [
            Record(
                f"q{i}",
                texts=[
                    Text(f"what is {i % 7}", "question", "en"),
                    answer(f"it is {i % 7}", 1.0),
                    answer(f"no {'very ' * (i % 5)}{i % 3}", 0.0),
                ],
            )
            for i in range(24)
        ]
    out = [
        replace(r, vectors={"image": unit(g.standard_normal(16)), "text": unit(g.standard_normal((len(r.texts), 16)))})
        for r in shapes(64)
    ]
    if name.endswith("one kind of data a step"):
        return [*out, *documents(out)]
    if "broken" in name:
        bad = range(3, 64, 9) if name == "broken pictures" else range(40)
        out = [replace(r, image=b"no picture") if i in bad else r for i, r in enumerate(out)]
    return out


def run(name, folder=None, **more):
    """Train a case; returns what its log says."""
    method, settings, how = CASES[name]
    settings = {**TINY, **settings}
    only = settings.pop("parts", None)
    if name == "late interaction":
        settings["text"] = {**TEXT, "langs": ["en"]}
    row = load_row(method, "small", **{k: v for k, v in settings.items() if v is not None})
    if only:
        row = replace(row, losses=only)
    if "WORLD_SIZE" not in os.environ:
        how = {**how, "shard": False}
    t = Trainer(row, records_for(name), folder, augment=False, device="cpu", **how, **more)
    figures = t.fit()
    keep = ("loss", "count", "grad_norm", "skipped", "skipped_step")
    whole = (p.full_tensor() if hasattr(p, "full_tensor") else p for p in t.encoder.parameters())
    digest = float(sum(p.detach().double().abs().sum() for p in whole))
    return {"steps": [{k: v for k, v in f.items() if k.split("/")[0] in keep} for f in figures], "weights": digest}


def main(out):
    """What every process runs."""
    torch.set_num_threads(1)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    found = {name: run(name) for name in CASES if world == 2 or not name.startswith("groups")}
    # a run that one process began and several go on with, and the other way round
    folder = os.path.join(out, "resumed")
    method, settings, _ = CASES["stages"]
    row = load_row(method, "small", **{**TINY, **settings})
    t = Trainer(row, records_for("stages"), folder, augment=False, device="cpu").resume()
    found["resumed at"] = t.step
    found["resumed"] = [f["loss"] for f in t.fit(2)]
    t.save()
    # the same, sharded, saved and resumed in the middle of the second stage
    folder = os.path.join(out, "sharded")
    for steps in (5, 2):
        t = Trainer(row, records_for("stages"), folder, augment=False, device="cpu", shard=True).resume()
        found[f"sharded, {steps} steps"] = [f["loss"] for f in t.fit(steps)]
        t.save()
    texts = t.encoder.encode_texts(["दो लाल वृत्त", "ein rotes Quadrat"])
    found["sharded vectors"] = texts.tolist()
    files = os.path.join(out, "files")
    Trainer(load_row("clip", "small", **TINY), records_for("clip"), files, augment=False, device="cpu").fit()
    refused = {}
    for what, more in (("groups", {**WIDE, "losses": {"contrast": {"group": 5}}}),):
        try:
            Trainer(load_row("m2-encoder", "small", **{**TINY, **more}), records_for("clip"), device="cpu")
        except Exception as error:
            refused[what] = f"{type(error).__name__}: {error}"
    try:  # a folder that is not shared: only the first process has the checkpoint
        Trainer(row, records_for("stages"), folder if not rank else out, augment=False, device="cpu").resume()
    except UserError as error:
        refused["folder"] = str(error)
    found["refused"] = refused
    loaded = Trainer(load_row("clip", "small", **TINY), records_for("clip"), device="cpu", augment=False)
    found["loaded"] = sorted(len(b) for b in loaded._load(0, map)[0])
    with open(os.path.join(out, f"{rank}of{world}.json"), "w") as file:
        json.dump(found, file)


def launch(world, out):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PATH, "CUDA_VISIBLE_DEVICES": ""}
    command = [*TORCHRUN, f"--nproc-per-node={world}", __file__, str(out)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((out / f"{r}of{world}.json").read_text()) for r in range(world)]


if __name__ == "__main__":
    main(sys.argv[1])


@pytest.fixture(scope="module")
def single():
    return {name: run(name) for name in CASES}


def half(folder):
    """Begin the run that several processes go on with, in the middle of its first stage."""
    method, settings, _ = CASES["stages"]
    t = Trainer(load_row(method, "small", **{**TINY, **settings}), records_for("stages"), folder, augment=False)
    first = t.fit(3)
    t.save()
    return t, first


@pytest.fixture(scope="module", params=[2, 3])
def many(request, tmp_path_factory):
    out = tmp_path_factory.mktemp(f"world{request.param}")
    half(out / "resumed")
    return request.param, out, launch(request.param, out)


pytestmark = pytest.mark.slow


def test_every_case_gives_the_sequence_of_one_process(single, many):
    world, _, found = many
    for name in CASES:
        if world == 3 and name.startswith("groups"):
            continue
        want = single[name]
        for one in found:
            got = one[name]
            if name == "all pictures of a process broken":
                continue
            assert len(got["steps"]) == len(want["steps"]) > 1, name
            for a, b in zip(want["steps"], got["steps"], strict=True):
                for key, value in a.items():
                    near = 0.03 if "bfloat16" in name else TOLERANCE  # gradients are rounded before they are added
                    assert b[key] == pytest.approx(value, rel=near, abs=1e-6), (name, key, a, b)
            assert got["weights"] == pytest.approx(want["weights"], rel=TOLERANCE), name


def test_a_process_without_pictures_leaves_the_step_out_everywhere(many):
    _, _, found = many
    steps = [one["all pictures of a process broken"]["steps"] for one in found]
    assert all(s == steps[0] for s in steps)
    assert any(s["skipped_step"] for s in steps[0])
    assert any(not s["skipped_step"] for s in steps[0])


def test_counts_are_those_of_all_processes(many):
    world, _, found = many
    figures = found[0]["broken pictures"]["steps"]
    assert figures[-1]["skipped"] == 7
    assert sum(f["count/contrast"] for f in figures) == 64 - 7
    # every process loads its own share of a step, and no more
    sizes = [one["loaded"][0] for one in found]
    assert sum(sizes) == 16
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == world


def test_only_the_first_process_writes(many):
    _, out, _ = many
    folder = out / "files"
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(4))
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoint-00000004.pt", "freeze.txt", "log.jsonl", "row.yaml", "run.json",
    ]  # fmt: skip


def test_the_number_of_processes_may_change_in_the_middle(many, tmp_path):
    _, out, found = many
    t, first = half(tmp_path)
    rest = t.fit()
    whole = [f["loss"] for f in [*first, *rest]]
    assert all(one["resumed at"] == 3 for one in found)
    assert found[0]["resumed"] == pytest.approx(whole[3:5], rel=TOLERANCE)  # over the end of the stage
    method, settings, _ = CASES["stages"]
    back = Trainer(
        load_row(method, "small", **{**TINY, **settings}), records_for("stages"), out / "resumed", augment=False
    )
    assert back.resume().step == 5
    assert [f["loss"] for f in back.fit()] == pytest.approx(whole[5:], rel=TOLERANCE)


def test_a_sharded_run_is_saved_whole_and_goes_on(many, tmp_path):
    _, out, found = many
    t, first = half(tmp_path)
    whole = [f["loss"] for f in [*first, *t.fit()]]
    assert found[0]["sharded, 5 steps"] == pytest.approx(whole[:5], rel=TOLERANCE)
    assert found[0]["sharded, 2 steps"] == pytest.approx(whole[5:7], rel=TOLERANCE)
    model = load_run(out / "sharded")
    got = model.encode_texts(["दो लाल वृत्त", "ein rotes Quadrat"])
    assert torch.allclose(got, torch.tensor(found[0]["sharded vectors"]), atol=1e-6)
    method, settings, _ = CASES["stages"]
    r = load_row(method, "small", **{**TINY, **settings})
    with pytest.raises(UserError, match="shard=True"):
        Trainer(r, records_for("stages"), out / "sharded", augment=False).resume()


def test_what_cannot_work_is_refused_by_all(many):
    _, _, found = many
    for one in found:
        assert one["refused"]["groups"].startswith("UserError: The loss 'contrast': groups of 5 do not fit")
        assert "not the same folder for all processes" in one["refused"]["folder"]


def test_ctrl_c_saves_once_for_all(tmp_path):
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_distributed import *\n"
        "row = load_row('clip', 'small', **{**TINY, 'epochs': 100000})\n"
        "Trainer(row, records_for('clip'), sys.argv[2], augment=False, device='cpu', save_every=10**9).fit()\n"
    )
    script, run = tmp_path / "train.py", tmp_path / "run"
    script.write_text(code)
    command = [*TORCHRUN, "--nproc-per-node=2", str(script), os.path.dirname(__file__), str(run)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        begin = time.monotonic()
        while not (run / "log.jsonl").exists() or (run / "log.jsonl").read_text().count("\n") < 3:
            assert time.monotonic() - begin < 120
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    finally:
        process.kill()
    steps = (run / "log.jsonl").read_text().count("\n")
    assert json.loads((run / "run.json").read_text())["step"] == steps >= 3
    row = load_row("clip", "small", **{**TINY, "epochs": 100000})
    t = Trainer(row, records_for("clip"), run, augment=False, device="cpu").resume()
    assert t.step == steps
    assert np.isfinite(t.fit(1)[0]["loss"])
