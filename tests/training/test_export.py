"""Trained models leave the house: the vectors of the library that reads them are those of the run."""

import importlib.util
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from panoglot.errors import MissingPackage, UserError
from panoglot.networks import EXPORTS, check_export, export_model, fitting, list_rows, load_row, load_run, make_model
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.training import Trainer, shapes
from tests.conftest import picture_bytes
from tests.pillow_transforms import open_clip_here

TEXTS = [
    "a red circle",
    "قطة تجلس",
    "एक बिल्ली",
    "แมวนั่ง",
    "一只猫",
    "猫がいる",
    "Paka ameketi",
    "חתול יושב",
    "cafe\u0301 crème",
]
LONG = "a red circle on a green square " * 20
TEXT = {"kind": "transformer", "length": 48, "width": 32, "layers": 2, "heads": 2, "pool": "end"}
IMAGE = {"kind": "vit", "patch": 8, "width": 32, "layers": 2, "heads": 2}
TOKENISERS = ["", "clip", "captions"]
OPTIONAL = {
    "sentence-transformers": "sentence_transformers", "onnx": "onnx", "open_clip": "ftfy", "clip": "open_clip",
}  # fmt: skip


def needs(*what):
    for module in (OPTIONAL.get(one) for one in what):
        if module is not None and importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not here")


@pytest.fixture(scope="module", params=TOKENISERS)
def trained(request, tmp_path_factory):
    needs(request.param)
    text = {**TEXT, "tokenizer": request.param, **({"vocabulary": 400} if request.param == "captions" else {})}
    row = load_row("clip", "small", image=IMAGE, text=text, batch=16, epochs=1, dim=24)
    run = tmp_path_factory.mktemp("run")
    trainer = Trainer(row, shapes(32), run, seed=0, workers=0)
    trainer.fit(2, progress=False)
    trainer.save()
    return load_run(run)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of all shapes; real ones where Debian's stamps are here."""
    from tests.conftest import STAMPS

    sizes = [(32, 32), (50, 37), (37, 50), (20, 90), (301, 200), (640, 480), (33, 34)]
    made = [Image(picture_bytes(n, *size, format="PNG" if n % 2 else "JPEG")) for n, size in enumerate(sizes)]
    real = sorted((STAMPS / "animals").rglob("*.png"))[:12] if STAMPS.is_dir() else []
    return made + [Image.from_path(path) for path in real]


@pytest.mark.parametrize("to", sorted(EXPORTS))
def test_our_own_encoders_read_it_with_the_same_vectors(to, trained, pictures, tmp_path):
    needs(to, trained.row.text["tokenizer"])
    from panoglot.networks import square_of

    folder = export_model(trained, to, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    seen = trained.encode_pixels(torch.stack([square_of(one, 32) for one in pictures])).numpy()
    with open_clip_here() if to == "open_clip" else pytest.MonkeyPatch.context():
        encoder = load_model(f"{EXPORTS[to]}:{folder}", "encoder")
        gaps = np.abs(encoder.encode_images(pictures) - seen).max(1)
        texts = TEXTS if trained.row.text["tokenizer"] else TEXTS[:-1]  # bytes: open_clip composes letters first
        read = encoder.encode_texts([*texts, LONG])
    same = np.ones(len(pictures), bool)
    if to == "open_clip":  # its crop rounds to even: a pixel off where the rest is 3, 7, 11 …
        rest = [int(32 * max(p.width, p.height) / min(p.width, p.height)) - 32 for p in pictures]
        same = np.array([one % 4 != 3 for one in rest])
        assert 0 < (~same).sum() < len(pictures) / 2
    if to == "sentence-transformers":  # decodes large JPEGs in full
        same = np.array([p.format != "jpeg" or min(p.width, p.height) < 128 for p in pictures])
    assert gaps[same].max() < 1e-4
    assert np.allclose(read, trained.encode_texts([*texts, LONG]).numpy(), atol=1e-4)


def test_transformers_reads_it(trained, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    folder = export_model(trained, "transformers", tmp_path / "out")
    model, words = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    want = trained.encode_texts([*TEXTS, LONG])
    with torch.no_grad():
        read = words([*TEXTS, LONG], padding=True, truncation=True, return_tensors="pt")
        found = model.get_text_features(**read).pooler_output
        assert torch.allclose(torch.nn.functional.normalize(found, dim=1), want, atol=1e-4)
        pixels = torch.randn(3, 3, 32, 32)
        seen = model.get_image_features(pixel_values=pixels).pooler_output
        assert torch.allclose(torch.nn.functional.normalize(seen, dim=1), trained.encode_pixels(pixels), atol=1e-4)
    assert float(model.logit_scale) == pytest.approx(float(trained.parts["contrast"].scale.log), abs=1e-6)


def test_open_clip_reads_it(trained, tmp_path):
    needs("open_clip")
    folder = export_model(trained, "open_clip", tmp_path / "out")
    pixels = torch.randn(3, 3, 32, 32)
    with open_clip_here() as library, torch.no_grad():
        model, _ = library.create_model_from_pretrained(f"local-dir:{folder}")
        words = library.get_tokenizer(f"local-dir:{folder}")
        found = model.encode_text(words(TEXTS[:-1]), normalize=True)
        assert torch.allclose(found, trained.encode_texts(TEXTS[:-1]), atol=1e-4)
        assert torch.allclose(model.encode_image(pixels, normalize=True), trained.encode_pixels(pixels), atol=1e-4)
        assert float(model.logit_scale) == pytest.approx(float(trained.parts["contrast"].scale.log), abs=1e-6)


def test_onnxruntime_reads_it_in_any_batch(trained, tmp_path):
    needs("onnx")
    import onnx
    import onnxruntime
    from tokenizers import Tokenizer

    folder = export_model(trained, "onnx", tmp_path / "out")
    for name in ("image.onnx", "text.onnx"):
        graph = onnx.load(folder / name)
        onnx.checker.check_model(graph)
        assert [o.version for o in graph.opset_import if not o.domain] == [18]
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    words.enable_padding()
    for count in (1, 5):
        pixels = torch.randn(count, 3, 32, 32)
        seen = onnxruntime.InferenceSession(folder / "image.onnx").run(None, {"pixel_values": pixels.numpy()})[0]
        assert np.allclose(seen, trained.encode_pixels(pixels).numpy(), atol=1e-4)
        read = words.encode_batch(TEXTS[:count])
        feed = {"input_ids": [r.ids for r in read], "attention_mask": [r.attention_mask for r in read]}
        feed = {name: np.array(value, np.int64) for name, value in feed.items()}
        found = onnxruntime.InferenceSession(folder / "text.onnx").run(None, feed)[0]
        assert np.allclose(found, trained.encode_texts(TEXTS[:count]).numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("clip", {"image": IMAGE, "text": {**TEXT, "pool": "mean"}}),
        ("grain", {"text": TEXT}),
        ("flame", {"text": TEXT}),
        ("rs-m-clip", {"text": TEXT}),
    ],
)
def test_other_towers_leave_as_graphs(method, settings, tmp_path):
    needs("onnx")
    row = load_row(method, "small", **settings)
    assert "onnx" in fitting(row)
    model = make_model(row)  # the export itself compares the vectors
    encoder = load_model(f"onnx:{export_model(model, 'onnx', tmp_path / 'out')}", "encoder")
    assert np.allclose(encoder.encode_texts(TEXTS), model.encode_texts(TEXTS).numpy(), atol=1e-4)


def test_a_graph_with_other_vectors_is_not_kept(monkeypatch, tmp_path):
    needs("onnx")
    model = make_model(load_row("clip", "small", image=IMAGE, text=TEXT, dim=24))
    right = type(model).encode_texts
    monkeypatch.setattr(type(model), "encode_texts", lambda self, *a, **k: -right(self, *a, **k))
    with pytest.raises(UserError, match=r"text\.onnx gives other vectors"):
        export_model(model, "onnx", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_without_onnx_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    model = make_model(load_row("clip", "small", image=IMAGE, text=TEXT, dim=24))
    with pytest.raises(
        MissingPackage, match=r"export to onnx needs the package 'onnx': pip install 'panoglot\[onnx\]'"
    ):
        export_model(model, "onnx", tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"text": {"kind": "hashed", "width": 32}}, "its text tower"),
        ({"text": {**TEXT, "pool": "mean"}}, "the mean of the tokens"),
        ({"text": {**TEXT, "tokenizer": "bert-base-uncased"}}, "not of bytes, of the captions, nor CLIP's"),
        ({"image": {"kind": "vector", "width": 32}}, "the frozen vectors"),
    ],
)
def test_what_cannot_leave_says_why_and_what_fits(settings, why, tmp_path):
    row = load_row("clip", "small", **{"image": IMAGE, "text": TEXT, "dim": 24, **settings})
    fits = fitting(row)
    assert fits in (["onnx"], [])
    for to in set(EXPORTS) - set(fits):
        with pytest.raises(UserError, match=why) as error:
            check_export(row, to)
        assert "--export onnx" in str(error.value) if fits else "Nothing but Panoglot reads it" in str(error.value)
    with pytest.raises(UserError, match="Did you mean 'transformers'"):
        check_export(row, "transformer")


def test_every_row_says_what_reads_it():
    found = {name: fitting(load_row(name)) for name in list_rows()}
    assert found["clip"] == list(EXPORTS)
    assert found["align"] == ["onnx"]
    assert found["vgs-char-gru"] == found["croc"] == found["sprc"] == []


def test_the_command_exports_a_run_and_refuses_before_training(tmp_path):
    import panoglot
    from tests.training.test_commands import make

    data = make(tmp_path / "x.pano", n=24)
    how = {"preset": "small", "epochs": 1, "batch": 8, "held_out": 0.0, "quiet": True, "encode": False}
    text = "text={kind: transformer, length: 64, width: 96, layers: 1, heads: 4, pool: end}"
    with pytest.raises(UserError, match=r"its text tower is 'hashed'.*--text-tower 'transformer\?tokenizer=captions'"):
        panoglot.train("clip", data.path, output=tmp_path / "no", export="transformers", **how)
    assert not (tmp_path / "no").exists()
    assert panoglot.train("clip", data.path, preset="small", check=True).exports == []
    assert panoglot.train("clip", data.path, preset="small", set=text, check=True).exports == list(EXPORTS)
    done = panoglot.train("clip", data.path, output=tmp_path / "run", set=text, **how)
    assert done.exports == []
    again = panoglot.train(resume=done.run, export="transformers", quiet=True)
    assert again.exports == [done.run / "export" / "transformers"]
    ours, theirs = load_model(f"pano:{done.run}", "encoder"), load_model(f"hf:{again.exports[0]}", "encoder")
    assert np.allclose(ours.encode_texts(TEXTS), theirs.encode_texts(TEXTS), atol=1e-4)


@pytest.mark.parametrize("to", sorted(EXPORTS))
def test_the_card_is_a_program_that_runs(to, tmp_path, monkeypatch):
    """What stands in the card of an export gives the run's own vectors, with nothing but the library and the folder."""
    import panoglot
    from tests.training.test_commands import make

    needs(to)
    data = make(tmp_path / "x.pano", n=24)
    text = "text={kind: transformer, length: 40, width: 32, layers: 1, heads: 2, tokenizer: captions, vocabulary: 400}"
    done = panoglot.train(
        "clip", data.path, output=tmp_path / "run", set=text, preset="small", epochs=1, batch=8, quiet=True,
        encode=False, export=to,
    )  # fmt: skip
    (folder,) = done.exports
    card = (folder / "README.md").read_text("utf-8")
    assert card.startswith(f"---\nlibrary_name: {to}\n")
    assert "## Data" in card
    assert "[0.48145466, 0.4578275, 0.40821073]" in card
    for link in re.findall(r"\]\(([^)#:]+)\)", card):
        assert (folder / link).exists(), link
    picture = Image(picture_bytes(3, 40, 50))
    (folder / "picture.jpg").write_bytes(picture.data)
    monkeypatch.chdir(folder)
    found: dict = {}
    with open_clip_here() if to == "open_clip" else pytest.MonkeyPatch.context(), torch.no_grad():
        exec(re.search(r"```python\n(.*?)```", card, re.S)[1], found)
    ours = load_model(f"pano:{done.run}", "encoder")
    for rows, want in (
        (found["image"], ours.encode_images([picture])),
        (found["text"], ours.encode_texts(["a red bird"])),
    ):
        rows = np.asarray(rows)
        assert np.allclose(rows / np.linalg.norm(rows), want, atol=1e-4)
