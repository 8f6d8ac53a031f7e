"""`panoglot train`: from a dataset to a folder, an encoder, a card; killed, moved, misused."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from panoglot.errors import UserError

torch = pytest.importorskip("torch")

import panoglot
from panoglot.networks import Row, load_row
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.table import Caption, caption_to_row, create_dataset, image_id, open_dataset

COLOURS = {
    "en": ["red", "green", "blue"],
    "de": ["rot", "grün", "blau"],
    "ar": ["أحمر", "أخضر", "أزرق"],
    "hi": ["लाल", "हरा", "नीला"],
    "zh-Hant": ["紅色", "綠色", "藍色"],
}
SHAPES = {
    "en": ["circle", "square", "cross"],
    "de": ["Kreis", "Quadrat", "Kreuz"],
    "ar": ["دائرة", "مربع", "صليب"],
    "hi": ["वृत्त", "वर्ग", "क्रॉस"],
    "zh-Hant": ["圓形", "方形", "十字"],
}
RGB = [(220, 30, 30), (30, 180, 40), (40, 50, 220)]
FROZEN = {
    "image_tower": "python:tests.training.toy_encoders:pictures",
    "text_tower": "python:tests.training.toy_encoders:words",
}
TINY = ["image.width=32", "image.layers=1", "image.heads=2", "text.width=32", "dim=16"]


def draw(number):
    colour, shape = number % 3, number // 3 % 3
    picture = PIL.Image.new("RGB", (32, 32), (200 + number % 40,) * 3)
    pen, x = PIL.ImageDraw.Draw(picture), number % 7
    if shape == 0:
        pen.ellipse((x, 4, x + 22, 26), fill=RGB[colour])
    elif shape == 1:
        pen.rectangle((x, 4, x + 22, 26), fill=RGB[colour])
    else:
        pen.rectangle((x + 8, 4, x + 14, 26), fill=RGB[colour])
        pen.rectangle((x, 12, x + 22, 18), fill=RGB[colour])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue(), colour, shape


def make(path, n=90):
    data = create_dataset(path)
    rows, captions = [], []
    for number in range(n):
        raw, colour, shape = draw(number)
        key = image_id(raw)
        context = json.dumps({"license": "CC0"} if number % 2 else {})
        rows.append({"image_id": key, "data": raw, "width": 32, "height": 32, "format": "png", "context": context})
        for lang in COLOURS:
            text = f"{COLOURS[lang][colour]} {SHAPES[lang][shape]} {number}"
            captions.append(Caption(text, lang, "human", recipe="human", image_id=key, caption_id=f"{number}{lang}"))
        long = f"There is a {COLOURS['en'][colour]} thing. It is a {SHAPES['en'][shape]}."
        captions.append(Caption(long, "en", "dense", model="toy", image_id=key, caption_id=f"{number}long"))
    data.images.insert(rows)
    data.captions.insert([caption_to_row(c) for c in captions])
    return data


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("data") / "x.pano").path


@pytest.fixture(scope="module")
def frozen(made, tmp_path_factory):
    """A run with two frozen towers, and its dataset."""
    place = tmp_path_factory.mktemp("frozen")
    shutil.copytree(made, place / "x.pano")
    done = panoglot.train(
        "clip", place / "x.pano", output=place / "run", **FROZEN, set=["sampler.kind=each", "head.kind=linear"],
        epochs=4, batch=64, held_out=0.2, quiet=True,
    )  # fmt: skip
    return done, place / "x.pano"


def learnt(run):
    return torch.load(next(Path(run).glob("checkpoint-*.pt")), weights_only=True)["model"]


def losses(run):
    return [json.loads(line)["loss"] for line in (Path(run) / "log.jsonl").read_text().splitlines()]


def train(made, out, *more, **options):
    return panoglot.train(
        "clip", made, output=out, preset="small", batch=32, quiet=True, set=[*TINY, *more], **{"epochs": 2, **options}
    )


# ---- what a run leaves -----------------------------------------------------------------------------------------------


def test_frozen_towers_are_asked_once_and_the_heads_learn(frozen):
    done, place = frozen
    data = open_dataset(place)
    assert done.steps == done.total
    assert losses(done.run)[-1] < losses(done.run)[0]
    pictures, words = (next(n for n in data.vector_names() if what in n) for what in ("pictures", "words"))
    assert data.vectors(pictures).count() == 90
    assert data.vectors(words).count() == 90 * 6
    assert done.row.image["width"] == 48
    assert done.row.text["encoder"] == FROZEN["text_tower"]
    found = done.figures["languages"]
    assert set(found) == set(COLOURS)
    assert all(one["t2i@1"][1] <= one["t2i@1"][0] <= one["t2i@1"][2] for one in found.values())


def test_the_trained_model_is_an_encoder_like_any_other(frozen, tmp_path, monkeypatch):
    done, place = frozen
    encoder = load_model(f"pano:{done.run}", "encoder")
    raw = [draw(number)[0] for number in range(5)]
    x = encoder.encode_images([Image(r) for r in raw])
    assert x.shape == (5, encoder.dim)
    assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)
    assert np.isnan(encoder.encode_images([Image(raw[0][:60], "a", 1, 1)])).all()
    y = encoder.encode_texts(["एक लाल वृत्त", "أحمر"], ["hi", "ar"])
    assert y.shape == (2, encoder.dim)
    # the stored vectors are those that the encoder gives
    table = open_dataset(place).vectors(done.vectors)
    rows = table.read(["vector"], f"id = '{image_id(raw[2])}'")["vector"].to_pylist()
    assert np.allclose(rows[0], x[2], atol=1e-3)
    # by every way to write its name, from anywhere, and after it moved
    by_path = panoglot.search(place, "紅色 圓形", encoder=f"pano:{done.run}", k=3)
    monkeypatch.chdir(done.run.parent)
    assert [h.image_id for h in panoglot.search(place, "紅色 圓形", encoder="pano:run/", k=3)] == [
        h.image_id for h in by_path
    ]
    shutil.copytree(done.run, tmp_path / "moved")
    monkeypatch.chdir("/")
    again = panoglot.search(place, "紅色 圓形", encoder=f"pano:{tmp_path}/moved", k=3)
    assert [h.image_id for h in again] == [h.image_id for h in by_path]
    recall = panoglot.evaluate.dataset_retrieval(place, f"pano:{tmp_path}/moved", lang="de")
    assert recall["de/text_to_image"].value is not None


def test_aligned_and_encoded_by_recipe(frozen, tmp_path):
    done, place = frozen
    shutil.copytree(place, tmp_path / "y.pano")
    recipe = {
        "output": str(tmp_path / "y.pano"),
        "models": {"encoder": f"pano:{done.run}"},
        "steps": [{"encode": {"of": "captions"}}, {"align": {}}],
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    assert panoglot.build(str(tmp_path / "recipe.yaml"), quiet=True).rejected == 0
    scores = open_dataset(tmp_path / "y.pano").captions.rows(["scores"])
    assert all("alignment" in row["scores"] for row in scores)


def test_the_card_says_what_there_is(frozen):
    done, _ = frozen
    card = (done.run / "README.md").read_text()
    reading = [line for line in card.splitlines() if line.startswith("| CC0 |") or line.startswith("| unknown |")]
    assert reading == ["| unknown | 45 |", "| CC0 | 45 |"] or reading == ["| CC0 | 45 |", "| unknown | 45 |"]
    for said in ("arXiv 2103.00020", "`optimiser.lr`", "| human | human | 450 |", "| dense | toy | 90 |", "`zh-Hant`",
                 "held out", "seed 0", "panoglot search x.pano --encoder pano:run/", "head.weight"):  # fmt: skip
        assert said in card, said
    assert str(done.run.parent) not in card.replace("pano:run/", ""), "no path of this machine"
    value = done.figures["languages"]["de"]["t2i@5"]
    assert f"{value[0]:.3f} ({value[1]:.3f}–{value[2]:.3f})" in card
    plot = (done.run / "plot.svg").read_text()
    import xml.etree.ElementTree as ET

    texts = ["".join(e.itertext()) for e in ET.fromstring(plot).iter("{http://www.w3.org/2000/svg}text")]
    assert {"loss", "learning rate", "scale", "gradient norm"} <= set(texts)
    assert any(t.startswith("Arabic") for t in texts)
    assert "nan" not in plot
    assert (done.run / "freeze.txt").read_text().count("\n")


def test_the_row_of_a_run_trains_again_with_the_same_losses(frozen, tmp_path):
    done, place = frozen
    row = load_row(done.run / "row.yaml")
    assert row == Row(**done.row.plain()) or row.fingerprint == done.row.fingerprint
    again = panoglot.train(
        done.run / "row.yaml", place, output=tmp_path / "again", held_out=0.2, quiet=True, encode=False
    )
    assert losses(again.run) == losses(done.run)
    assert again.vectors is None


def test_towers_that_learn_on_pictures_from_the_dataset(made, tmp_path):
    done = train(made, tmp_path / "run", "sampler.kind=each", lang="de,en", held_out=0.2, encode=False)
    assert set(done.figures["languages"]) == {"de", "en"}
    before = make_like(done)
    assert any(not torch.equal(before[n], v) for n, v in learnt(done.run).items() if n.startswith("image."))
    x = done.encoder.encode_images([Image(draw(1)[0]), Image(b"", "broken", 1, 1)])
    assert np.isfinite(x[0]).all()
    assert np.isnan(x[1]).all()
    assert np.isnan(done.encoder.encode_texts([" "])).all()


def make_like(done):
    from panoglot.networks import make_model

    return make_model(done.row, 0).state_dict()


@pytest.mark.paper(
    "align", shows="V", case="fine-tuning for retrieval: another run begins with the weights of the first, at 1e-5"
)
def test_a_run_begins_with_the_weights_of_another(made, tmp_path):
    how = {"batch": 32, "epochs": 1, "quiet": True, "encode": False, "held_out": 0.2}
    first = panoglot.train("align", made, preset="small", output=tmp_path / "first", **how)
    same = [f"image={first.row.image}", f"text={first.row.text}", "size=32", "dim=64", "views={of: 36}"]
    more = {"start": first.run, "set": same, **how}
    still = panoglot.train(
        "align", made, preset="retrieval", output=tmp_path / "b", **{**more, "set": [*same, "optimiser.lr=0"]}
    )
    assert (load_row("align", "retrieval").optimiser["lr"], load_row("align", "retrieval").batch) == (1e-5, 2048)
    known, state = (
        torch.load(next(run.glob("checkpoint-*.pt")), weights_only=True)["model"] for run in (first.run, still.run)
    )
    assert all(torch.equal(known[name], value) for name, value in state.items())
    assert f"begun with the weights of {first.run}" in still.notes
    wider = panoglot.train("clip", made, preset="small", output=tmp_path / "c", start=first.run, set=["dim=32"], **how)
    assert any("not of these: head.weight, text_head.weight" in note for note in wider.notes)
    with pytest.raises(UserError, match=r"is '.*no' a training run"):
        panoglot.train("clip", made, preset="small", output=tmp_path / "d", start=tmp_path / "no", **how)


def test_freeze_towers_leaves_the_heads_to_learn(made, tmp_path):
    done = train(made, tmp_path / "run", freeze="towers", held_out=0.0, encode=False)
    before, after = make_like(done), learnt(done.run)
    for name, value in after.items():
        assert torch.equal(before[name], value) == name.startswith(("image.", "text.")), name
    assert done.figures == {}
    assert "None: no pictures were held out" in (done.run / "README.md").read_text()


@pytest.mark.parametrize("method", ["dreamlip", "veclip", "grain", "rs-m-clip", "m2-encoder", "sycoca", "align"])
def test_other_methods(method, made, tmp_path):
    how = {"preset": "small", "epochs": 1, "batch": 64, "quiet": True, "encode": False}
    if method == "grain":  # no regions here: it would be another method, and says so
        with pytest.raises(UserError, match=r"the loss 'box' learns from nothing .* --idle box"):
            panoglot.train(method, made, output=tmp_path / "run", **how)
        how["idle"] = ["box", "regions"]
    done = panoglot.train(method, made, output=tmp_path / "run", **how)
    assert done.loss is not None
    assert done.figures["pictures"] > 0


def test_flame_learns_from_stored_texts(made, tmp_path):
    done = panoglot.train(
        "flame", made, output=tmp_path / "run", preset="small", text_tower=FROZEN["text_tower"], epochs=2, batch=32,
        quiet=True, encode=False,
    )  # fmt: skip
    assert done.row.dim == 64
    assert losses(done.run)[-1] < losses(done.run)[0]
    assert np.isfinite(done.encoder.encode_texts(["ein roter Kreis"])).all()


def test_a_student_learns_from_a_teacher(made, tmp_path, frozen):
    teacher, _ = frozen
    done = panoglot.train(
        "dc-clip", made, output=tmp_path / "run", preset="small", teacher=f"pano:{teacher.run}", batch=32, quiet=True,
        set=["stages.distil.epochs=1", "stages.align.epochs=1"], encode=False,
    )  # fmt: skip
    stages = [json.loads(line)["stage"] for line in (done.run / "log.jsonl").read_text().splitlines()]
    assert [*dict.fromkeys(stages)] == ["distil", "align"]


@pytest.mark.parametrize("sampler", ["each", "translation", "coin", "one", "vectors"])
def test_every_sampler_of_whole_texts_finds_the_stored_vectors(sampler, made, tmp_path):
    """The loss with stored vectors is that of the same vectors looked up by text."""
    from panoglot.networks import Data, make_model
    from panoglot.training import read_records, resolve
    from tests.training.toy_encoders import Words

    data = open_dataset(made)
    name = data.add_vectors("toy:words", f"for {sampler}", 64)
    rows = data.captions.rows(["caption_id", "text"])
    draws = Words().encode_texts([row["text"] for row in rows]).astype(np.float16)
    data.vectors(name).insert(
        [
            {"vector_id": r["caption_id"], "id": r["caption_id"], "of": "caption", "lang": "und", "vector": v}
            for r, v in zip(rows, draws)
        ]
    )
    row = resolve("clip", "small", text_tower=FROZEN["text_tower"], settings=[f"sampler.kind={sampler}"], batch=32)
    records = read_records(data, text_vectors=name).train
    loaded = Data(records, make_model(row), augment=False)
    by_id = {r.id: r for r in records}
    for epoch in range(2):
        for step in loaded.plan(epoch)[:2]:
            batch = loaded.batch(step, epoch)
            for n, (id_, k) in enumerate(step):
                sample = loaded.sampler(by_id[id_], 0, epoch, k)
                shown = [t.text for t in sample.texts] or [by_id[id_].texts[i].text for i in sample.vectors]
                want = Words().encode_texts(shown).astype(np.float16).astype(np.float32)
                assert np.allclose(batch.text_vec[n, : len(shown)], want, atol=2e-3)
                assert batch.slot_mask[n].sum() == len(shown)


# ---- stopped, resumed, two at once -----------------------------------------------------------------------------------


def command(*arguments, **more):
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "panoglot", *map(str, arguments)], env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=more.get("cwd", root),
    )  # fmt: skip


def wait_for(path, lines, process):
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if path.exists() and path.read_text().count("\n") >= lines:
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate())


OPTIONS = ["--preset", "small", "--batch", "16", "--save-every", "3", "--no-encode", "--quiet", "--epochs"]


def test_killed_and_resumed_it_is_the_same_run(made, tmp_path):
    sets = [part for one in TINY for part in ("--set", one)]
    whole = command("train", "clip", made, "-o", tmp_path / "whole", *OPTIONS, 8, *sets)
    run = command("train", "clip", made, "-o", tmp_path / "run", *OPTIONS, 8, *sets)
    wait_for(tmp_path / "run" / "log.jsonl", 8, run)
    run.send_signal(signal.SIGKILL)
    run.wait()
    out, err = whole.communicate()
    assert whole.returncode == 0, err
    assert "clip, step" in out
    assert len(losses(tmp_path / "run")) < len(losses(tmp_path / "whole"))
    half = load_model(f"pano:{tmp_path}/run", "encoder")
    assert np.isfinite(half.encode_texts(["rot"])).all(), "the last checkpoint can be used meanwhile"
    shutil.move(made, tmp_path / "moved.pano")
    try:
        gone = command("train", "--resume", tmp_path / "run")
        assert "no longer at" in gone.communicate()[1]
        assert gone.returncode == 2
        again = command("train", "--resume", tmp_path / "run", "--dataset", tmp_path / "moved.pano", cwd=tmp_path)
        out, err = again.communicate()
        assert again.returncode == 0, err
    finally:
        shutil.move(tmp_path / "moved.pano", made)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    first, second = learnt(tmp_path / "run"), learnt(tmp_path / "whole")
    assert all(torch.equal(first[n], second[n]) for n in first)


def test_ctrl_c_says_how_to_go_on(made, tmp_path):
    sets = [part for one in TINY for part in ("--set", one)]
    run = command("train", "clip", made, "-o", tmp_path / "run", *OPTIONS, 400, *sets)
    wait_for(tmp_path / "run" / "log.jsonl", 4, run)
    other = command("train", "clip", made, "-o", tmp_path / "run", *OPTIONS, 8)
    _, err = other.communicate()
    assert other.returncode == 2
    assert "another training is running" in err
    run.send_signal(signal.SIGINT)
    _, err = run.communicate()
    assert run.returncode == 130
    assert f"panoglot train --resume {tmp_path}/run" in err
    assert "Traceback" not in err


def test_a_run_goes_on_with_its_own_settings_only(frozen, made, tmp_path):
    done, place = frozen
    again = panoglot.train(resume=done.run, quiet=True)
    assert (again.steps, again.loss) == (done.steps, done.loss)
    with pytest.raises(UserError, match="leave out --batch"):
        panoglot.train(resume=done.run, batch=8)
    with pytest.raises(UserError, match="leave out method"):
        panoglot.train("dreamlip", resume=done.run)
    with pytest.raises(UserError, match="panoglot train --resume"):
        panoglot.train("clip", place, output=done.run, preset="small", batch=32)
    run = tmp_path / "run"
    train(made, run, held_out=0.0, encode=False)
    shutil.copytree(made, tmp_path / "y.pano")
    data = open_dataset(tmp_path / "y.pano")
    data.score("captions", {"0de": ({}, "too_short")})
    with pytest.raises(UserError, match="does not have the captions any more"):
        panoglot.train(resume=run, dataset=data.path)


# ---- misuse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"method": "clipp"}, "Did you mean 'clip'"),
        ({"preset": "smal"}, "Did you mean 'small'"),
        ({"image_tower": "vot"}, "Did you mean 'vit'"),
        ({"image_tower": "embeded:x"}, "Did you mean 'embedded'"),
        ({"text_tower": FROZEN["image_tower"]}, "sees pictures only"),
        ({"image_tower": FROZEN["text_tower"]}, "reads texts only"),
        ({"text_tower": "hf:./nowhere"}, "no folder './nowhere'"),
        ({"set": ["losses.contrast.smooting=.1"]}, "Did you mean 'smoothing'"),
        ({"set": ["lossess.contrast.weight=1"]}, "Did you mean 'losses'"),
        ({"set": ["optimiser.beta=[0,1]"]}, "Did you mean 'betas'"),
        ({"set": ["schedule.warmupp=3"]}, "Did you mean 'warmup'"),
        ({"set": ["epochs"]}, "write path=value"),
        ({"set": ["epochs=0"]}, "at least 1"),
        ({"freeze": ["tower.*"]}, "no parameter is called 'tower"),
        ({"lang": "sw"}, "no kept captions in sw .Swahili"),
        ({"lang": "xx-zz-q"}, "not a language tag"),
        ({"kinds": "humans"}, "Did you mean 'human'"),
        ({"batch": 4096}, "cannot fill a batch of 4,096: --batch"),
        ({"held_out": 1.5}, "held_out"),
        ({"teacher": FROZEN["image_tower"]}, "clip learns from no teacher"),
        ({"precision": "fp16"}, "precision"),
        ({"dataset": "nowhere.pano"}, "no dataset at"),
        ({"output": None}, "name the folder"),
        ({"output": "/proc/nowhere/run"}, "cannot be written"),
        ({"method": "flame", "preset": "small"}, "--text-tower"),
        ({"method": "dreamlip", "text_tower": FROZEN["text_tower"]}, "parts of texts"),
        ({"method": "dreamlip", "image_tower": FROZEN["image_tower"]}, "patches"),
    ],
)
def test_mistakes_are_said_in_one_line_and_leave_nothing(asked, message, made, tmp_path):
    out = tmp_path / "run"
    options = {"method": "clip", "dataset": made, "output": out, "preset": "small", "batch": 32, "quiet": True} | asked
    with pytest.raises(UserError, match=message) as said:
        panoglot.train(**options)
    assert "\n" not in str(said.value)
    assert not out.exists()


def test_a_tower_of_another_size_is_refused(made, tmp_path):
    row = panoglot.train("clip", preset="small", **FROZEN, print_config=True)
    wrong = tmp_path / "row.yaml"
    wrong.write_text(row.yaml().replace("width: 48", "width: 49"))
    with pytest.raises(UserError, match="gives 48 numbers, the row says width: 49"):
        panoglot.train(wrong, made, output=tmp_path / "run")
    wrong.write_text(row.yaml().replace("toy-words-1", "toy-words-2"))
    with pytest.raises(UserError, match="has changed since"):
        panoglot.train(wrong, made, output=tmp_path / "run")


def test_what_is_no_run_is_no_encoder(frozen, made, tmp_path):
    done, _ = frozen
    for place, message in ((tmp_path, "no training run"), (tmp_path / "x", "is no folder"), (made, "no training run")):
        with pytest.raises(UserError, match=message):
            load_model(f"pano:{place}", "encoder")
        with pytest.raises(UserError, match="holds no run"):
            panoglot.train(resume=place)
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(done.run / "row.yaml", begun)
    with pytest.raises(UserError, match="no checkpoint yet"):
        load_model(f"pano:{begun}", "encoder")
    other = shutil.copytree(done.run, tmp_path / "other")
    text = (other / "row.yaml").read_text()
    (other / "row.yaml").write_text(text.replace(f"dim: {done.row.dim}", "dim: 24"))
    with pytest.raises(UserError, match="does not fit its row"):
        load_model(f"pano:{other}", "encoder")
    (other / "row.yaml").write_text(text)
    checkpoint = next(other.glob("checkpoint-*.pt"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-20])
    with pytest.raises(UserError, match="damaged"):
        load_model(f"pano:{other}", "encoder")
    with pytest.raises(UserError, match="Did you mean 'snapshots'"):
        load_model(f"pano:{done.run}?snapshot=true", "encoder")


def test_the_command_prints_methods_and_rows(capsys):
    from panoglot.cli import main

    with pytest.raises(SystemExit) as code:
        main(["train", "--list"])
    assert code.value.code == 0
    listed = capsys.readouterr().out
    assert "dreamlip" in listed
    assert "arXiv 2403.17007" in listed
    with pytest.raises(SystemExit):
        main(
            [
                "train",
                "dc-clip",
                "--preset",
                "small",
                "--set",
                "stages.distil.epochs=5",
                "--batch",
                "24",
                "--print-config",
            ]
        )
    printed = capsys.readouterr().out
    path = Path(os.environ.get("TMPDIR", "/tmp"), f"row-{os.getpid()}.yaml")
    path.write_text(printed)
    try:
        row = load_row(path)
    finally:
        path.unlink()
    assert [(name, r.epochs, r.batch) for name, r in row.each_stage()] == [("distil", 5, 24), ("align", 12, 24)]
    with pytest.raises(SystemExit) as code:
        main(["train", "clip", "x.pano", "--presett", "small"])
    assert code.value.code == 2


def test_every_shipped_row_is_printed_and_read_again(tmp_path):
    for one in panoglot.train(list=True):
        for preset in one.presets:
            row = load_row(one.name, preset)
            (tmp_path / "row.yaml").write_text(row.yaml())
            assert load_row(tmp_path / "row.yaml").fingerprint == row.fingerprint, (one.name, preset)


# ---- pretrained towers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Tiny random checkpoints of XLM-R and of a ViT for 16 pixels, as they lie on the hub."""
    hf = pytest.importorskip("transformers")
    from tests.providers.checkpoints import tokenizer

    place = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    marks = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    names = tokenizer(marks | {"cls_token": "<s>", "sep_token": "</s>"}, model_max_length=64)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = hf.XLMRobertaConfig(vocab_size=len(names), max_position_embeddings=66, pad_token_id=1, **size)
    hf.XLMRobertaModel(text, add_pooling_layer=False).save_pretrained(place / "xlm-r")
    names.save_pretrained(place / "xlm-r")
    image = hf.ViTConfig(image_size=16, patch_size=8, **size)
    hf.ViTModel(image, add_pooling_layer=False).save_pretrained(place / "vit")
    return place


@pytest.mark.parametrize("method", ["clip", "dreamlip"])
def test_towers_of_transformers(method, made, checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(checkpoints)
    done = panoglot.train(
        method, made, output=tmp_path / "run", preset="small", image_tower="hf:vit", text_tower="hf:xlm-r?pool=cls",
        epochs=1, batch=32, quiet=True,
    )  # fmt: skip
    monkeypatch.chdir("/")
    assert done.row.size == 16, "the checkpoint says so"
    assert done.row.text == {"kind": "hf", "name": str(checkpoints / "xlm-r"), "pool": "cls"}
    start = make_like(done)
    changed = {name.split(".")[0] for name, value in learnt(done.run).items() if not torch.equal(start[name], value)}
    assert {"image", "text"} <= changed
    assert len(panoglot.search(made, "أحمر", encoder=f"pano:{done.run}", k=5)) == 5
    frozen = panoglot.train(
        method, made, output=tmp_path / "frozen", preset="small", image_tower=f"hf:{checkpoints}/vit",
        text_tower=f"hf:{checkpoints}/xlm-r", freeze="towers", epochs=1, batch=32, quiet=True, encode=False,
    )  # fmt: skip
    start = make_like(frozen)
    changed = {name.split(".")[0] for name, value in learnt(frozen.run).items() if not torch.equal(start[name], value)}
    assert not {"image", "text"} & changed
    assert "head" in changed


def test_a_tower_that_cannot_be_had_is_said_in_one_line(made, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for tower in ({"text_tower": "hf:nobody/nothing"}, {"image_tower": "hf:nobody/nothing"}):
        with pytest.raises(UserError, match="hf:nobody/nothing cannot be") as said:
            panoglot.train("clip", made, output=tmp_path / "run", preset="small", batch=32, quiet=True, **tower)
        assert "\n" not in str(said.value)
    assert not (tmp_path / "run").exists()


def test_towers_of_timm(made, tmp_path):
    pytest.importorskip("torchvision")
    done = panoglot.train(
        "clip", made, output=tmp_path / "run", preset="small", image_tower="timm:resnet18?pretrained=false", epochs=1,
        batch=32, quiet=True, set=["size=32"],
    )  # fmt: skip
    assert done.row.image == {"kind": "timm", "name": "resnet18", "pretrained": False}
    with pytest.raises(UserError, match="Did you mean 'resnet18'"):
        panoglot.train("clip", made, output=tmp_path / "b", image_tower="timm:resnet81")


def test_a_recipe_trains_and_goes_on(made, tmp_path):
    shutil.copytree(made, tmp_path / "y.pano")
    step = {"method": "clip", "output": "run", "preset": "small", "set": TINY, "batch": 32, "epochs": 2, "lang": "en"}
    recipe = {"output": "y.pano", "steps": [{"train": step}]}

    def build(**more):
        (tmp_path / "recipe.yaml").write_text(json.dumps(recipe | {"steps": [{"train": step | more}]}))
        return panoglot.build(str(tmp_path / "recipe.yaml"), quiet=True)

    (stage,) = build().stages
    assert stage.name == "train"
    same = panoglot.train(
        "clip", made, output=tmp_path / "same", preset="small", set=TINY, batch=32, epochs=2, lang="en", encode=False,
        quiet=True,
    )  # fmt: skip
    assert losses(tmp_path / "run") == losses(same.run)
    assert build().stages[0].done == stage.done
    assert losses(tmp_path / "run") == losses(same.run)
    with pytest.raises(UserError, match="other settings"):
        build(epochs=3)
    with pytest.raises(UserError, match="Did you mean 'epochs'"):
        build(epoch=3)
    with pytest.raises(UserError, match="Did you mean 'clip'"):
        build(method="clipp")


def test_a_student_keeps_its_teachers_pictures(frozen, tmp_path):
    teacher, place = frozen
    options = {"output": tmp_path / "run", "preset": "small", "batch": 32, "quiet": True, "encode": False}
    sets = ["stages.distil.epochs=1", "stages.align.epochs=1", "head.kind=none", f"dim={teacher.row.dim}"]
    sets += [f"text.width={teacher.row.dim}"]
    done = panoglot.train(
        "dc-clip", place, **options, image_tower=f"pano:{teacher.run}", teacher=f"pano:{teacher.run}", set=sets
    )
    assert done.row.image["encoder"] == f"pano:{teacher.run}"
    raw = [Image(draw(number)[0]) for number in range(3)]
    assert np.allclose(done.encoder.encode_images(raw), teacher.encoder.encode_images(raw), atol=2e-3)
    with pytest.raises(UserError, match="must be the teacher"):
        panoglot.train(
            "dc-clip", place, **options | {"output": tmp_path / "b"}, image_tower=FROZEN["image_tower"],
            teacher=f"pano:{teacher.run}", set=["head.kind=linear"],
        )  # fmt: skip


def test_a_method_that_writes_is_a_captioner(made, tmp_path):
    done = panoglot.train(
        "croc", made, output=tmp_path / "run", preset="small", batch=32, lang="de", quiet=True,
        set=["stages.comprehend.sampler.kinds=[raw]", "stages.project.epochs=1", "stages.comprehend.epochs=1"],
    )  # fmt: skip
    assert "recall is of vectors" in (done.run / "README.md").read_text()
    assert "--captioner pano:run/" in (done.run / "README.md").read_text()
    assert done.vectors is None
    from panoglot.providers.roles import Prompt

    writer = load_model(f"pano:{done.run}", "generator")
    answers = writer.generate(
        [Prompt("Describe.", (Image(draw(2)[0]),)), Prompt("Describe.", (Image(b"", "b", 1, 1),))]
    )
    assert answers[0].text
    assert answers[1].reason == "empty_file"
    again = writer.generate([Prompt("Another question.", (Image(draw(2)[0]),))])
    assert again[0].text == answers[0].text
    with pytest.raises(UserError, match="is no encoder"):
        load_model(f"pano:{done.run}", "encoder")


def test_heads_of_any_method_and_a_run_that_was_killed_before_it_saved(made, tmp_path):
    done = panoglot.train(
        "align", made, output=tmp_path / "run", **FROZEN, epochs=1, batch=32, quiet=True, encode=False, lang="hi,ar"
    )
    assert done.row.optimiser["kind"] == "adamw", "settings for heads, not the paper's LAMB"
    assert done.row.losses["contrast"]["smoothing"] == 0.1, "the method's own loss"
    begun = shutil.copytree(done.run, tmp_path / "begun")
    (begun / "run.json").unlink()
    next(begun.glob("checkpoint-*.pt")).unlink()
    again = panoglot.train(resume=begun, quiet=True)
    assert losses(again.run) == losses(done.run)
