"""Trained models leave the house: the vectors of the library that reads them are those of the run."""

import importlib.util

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from panoglot.errors import UserError
from panoglot.networks import EXPORTS, export_model, load_row, load_run
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.training import Trainer, shapes

TEXTS = ["a red circle", "قطة تجلس", "एक बिल्ली", "แมวนั่ง", "一只猫", "猫がいる", "Paka ameketi", "חתול יושב"]
TEXT = {"kind": "transformer", "length": 48, "width": 32, "layers": 2, "heads": 2, "pool": "end"}
IMAGE = {"kind": "vit", "patch": 8, "width": 32, "layers": 2, "heads": 2}


@pytest.fixture(scope="module", params=["", "clip"])
def trained(request, tmp_path_factory):
    if request.param and importlib.util.find_spec("open_clip") is None:
        pytest.skip("open_clip's package is not here")
    row = load_row("clip", "small", image=IMAGE, text={**TEXT, "tokenizer": request.param}, batch=16, epochs=1, dim=24)
    run = tmp_path_factory.mktemp("run")
    trainer = Trainer(row, shapes(32), run, seed=0, workers=0)
    trainer.fit(2, progress=False)
    trainer.save()
    return load_run(run)


def pictures():
    rng = np.random.default_rng(0)
    return [PIL.Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(3)]


def test_transformers_reads_it(trained, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    folder = export_model(trained, "transformers", tmp_path / "out")
    model, words = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    want = trained.encode_texts(TEXTS)
    with torch.no_grad():
        found = model.get_text_features(**words(TEXTS, padding=True, return_tensors="pt")).pooler_output
        assert torch.allclose(torch.nn.functional.normalize(found, dim=1), want, atol=1e-4)
        pixels = torch.randn(3, 3, 32, 32)
        seen = model.get_image_features(pixel_values=pixels).pooler_output
        assert torch.allclose(torch.nn.functional.normalize(seen, dim=1), trained.encode_pixels(pixels), atol=1e-4)
    ours = load_model(f"hf:{folder}", "encoder")
    assert np.allclose(ours.encode_texts(TEXTS), want.numpy(), atol=1e-4)
    rows = ours.encode_images([Image.from_pil(one) for one in pictures()])
    from panoglot.networks import square_of

    same = torch.stack([square_of(Image.from_pil(one).data, 32) for one in pictures()])
    assert np.allclose(rows, trained.encode_pixels(same).numpy(), atol=1e-4)
    assert float(model.logit_scale) == pytest.approx(float(trained.parts["contrast"].scale.log), abs=1e-6)


def test_sentence_transformers_reads_it(trained, tmp_path):
    st = pytest.importorskip("sentence_transformers")
    folder = export_model(trained, "sentence-transformers", tmp_path / "out")
    model = st.SentenceTransformer(str(folder), device="cpu")
    found = model.encode(TEXTS, normalize_embeddings=True)
    assert np.allclose(found, trained.encode_texts(TEXTS).numpy(), atol=1e-4)
    assert np.allclose(load_model(f"st:{folder}", "encoder").encode_texts(TEXTS), found, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"text": {"kind": "hashed", "width": 32}}, "its text tower is 'hashed'"),
        ({"text": {**TEXT, "pool": "mean"}}, "the mean of the tokens"),
        ({"text": {**TEXT, "tokenizer": "captions"}}, "not of bytes, nor CLIP's"),
    ],
)
def test_what_cannot_leave_says_why(settings, why, tmp_path):
    from panoglot.networks import make_model

    model = make_model(load_row("clip", "small", image=IMAGE, dim=24, **settings))
    for to in EXPORTS:
        with pytest.raises(UserError, match=why):
            export_model(model, to, tmp_path / "out")
    with pytest.raises(UserError, match="transformers"):
        export_model(model, "transformer", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_exports_a_run_and_refuses_before_training(tmp_path):
    import panoglot
    from tests.training.test_commands import make

    data = make(tmp_path / "x.pano", n=24)
    how = {"preset": "small", "epochs": 1, "batch": 8, "held_out": 0.0, "quiet": True, "encode": False}
    text = "text={kind: transformer, length: 64, width: 96, layers: 1, heads: 4, pool: end}"
    with pytest.raises(UserError, match="its text tower is 'hashed'"):
        panoglot.train("clip", data.path, output=tmp_path / "no", export="transformers", **how)
    assert not (tmp_path / "no").exists()
    done = panoglot.train("clip", data.path, output=tmp_path / "run", set=text, **how)
    assert done.exports == []
    again = panoglot.train(resume=done.run, export="transformers", quiet=True)
    assert again.exports == [done.run / "export" / "transformers"]
    ours, theirs = load_model(f"pano:{done.run}", "encoder"), load_model(f"hf:{again.exports[0]}", "encoder")
    assert np.allclose(ours.encode_texts(TEXTS), theirs.encode_texts(TEXTS), atol=1e-4)
