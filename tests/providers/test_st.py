"""`st:` with the real sentence-transformers code on tiny random models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'panoglot[st]'")
pytest.importorskip("sentence_transformers", reason="needs sentence-transformers: pip install 'panoglot[st]'")

import torch

from panoglot.errors import UserError
from panoglot.pictures import Image
from panoglot.providers import load_model
from tests.providers import checkpoints

pytestmark = pytest.mark.hf

TEXTS = ["a red cat", "ein rotes Känguru", "قطة سوداء", "一只红色的袋鼠", "แมวสีดำ"]


def picture(seed: int) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    return Image.from_pil(PIL.Image.fromarray(noise))


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Transformer, mean pooling, a dense layer, normalisation: the layout of LaBSE and its like."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel

    root = tmp_path_factory.mktemp("st")
    words = checkpoints.tokenizer(checkpoints.BERT, model_max_length=16)
    config = BertConfig(vocab_size=len(words), max_position_embeddings=32, **checkpoints.TEXT)
    checkpoints.randomise(BertModel(config)).save_pretrained(root / "bert")
    words.save_pretrained(root / "bert")
    reader = Transformer(str(root / "bert"))
    modules = [reader, Pooling(32, pooling_mode="mean"), checkpoints.randomise(Dense(32, 12)), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(root / "model"))
    return root / "model"


def test_vectors_are_those_of_the_library(text_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = load_model(f"st:{text_model}?batch_size=2&device=cpu", "encoder")
    rows = model.encode_texts(TEXTS, ["en", "de", "ar", "zh", "th"])
    assert rows.shape == (5, model.dim) == (5, 12)
    expected = SentenceTransformer(str(text_model), device="cpu").encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert model.encode_texts([]).shape == (0, 12)


def test_what_is_cut_is_counted(text_model: Path) -> None:
    model = load_model(f"st:{text_model}?max_text_tokens=9&device=cpu")
    model.encode_texts(["a red kangaroo jumps over the fence and looks at the camera", "a cat"])
    assert (model.max_text_tokens, model.cut) == (9, 1)


def test_prompt_and_dimension_change_vectors_and_fingerprint(text_model: Path) -> None:
    plain = load_model(f"st:{text_model}?device=cpu")
    led = load_model(f"st:{text_model}?device=cpu&prompt=a%20red%20")
    short = load_model(f"st:{text_model}?device=cpu&dim=4")
    np.testing.assert_allclose(led.encode_texts(["cat"]), plain.encode_texts(["a red cat"]), atol=1e-5)
    first = plain.encode_texts(["cat"])[:, :4]
    np.testing.assert_allclose(short.encode_texts(["cat"]), first / np.linalg.norm(first), atol=1e-5)
    assert len({model.fingerprint for model in (plain, led, short)}) == 3
    with pytest.raises(UserError, match="more than the 12 components"):
        load_model(f"st:{text_model}?device=cpu&dim=99")


def test_a_text_model_sees_nothing(text_model: Path) -> None:
    with pytest.raises(UserError, match="texts only"):
        load_model(f"st:{text_model}?device=cpu").encode_images([picture(0)])


def test_a_model_of_pictures_and_texts(tmp_path: Path) -> None:
    folder = checkpoints.clip(tmp_path / "clip")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    SentenceTransformer(modules=[Transformer(str(folder))], device="cpu").save(str(tmp_path / "model"))
    model = load_model(f"st:{tmp_path / 'model'}?device=cpu", "encoder")
    same = load_model(f"hf:{folder}?full_decode=true")
    broken = Image(picture(0).data[:900], id="broken", width=48, height=40, format="png")
    rows = model.encode_images([picture(1), broken, picture(2)])
    assert np.isnan(rows).all(axis=1).tolist() == [False, True, False]
    np.testing.assert_allclose(rows[[0, 2]], same.encode_images([picture(1), picture(2)]), atol=1e-5)
    np.testing.assert_allclose(model.encode_texts(TEXTS), same.encode_texts(TEXTS), atol=1e-5)


def test_pickles_and_paths_outside_are_refused(text_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_model, tmp_path / "model"))
    (dense,) = folder.glob("*_Dense")
    torch.save({}, dense / "pytorch_model.bin")
    (dense / "model.safetensors").unlink()
    with pytest.raises(UserError, match="only as a pickle"):
        load_model(f"st:{folder}?device=cpu")
    modules: list[dict[str, Any]] = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UserError, match="outside of the model"):
        load_model(f"st:{folder}?device=cpu")


def test_wrong_names_and_options(text_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no option 'promt'"):
        load_model(f"st:{text_model}?promt=x")
    with pytest.raises(UserError, match="is no folder"):
        load_model("st:./nothing")
    with pytest.raises(UserError, match="has no weights"):
        load_model(f"st:{tmp_path}")
