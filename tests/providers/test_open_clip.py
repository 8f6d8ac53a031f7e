"""`open_clip:` with the real library on tiny random models (it needs a matching pair of torch and torchvision)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import MissingPackage, UserError
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.open_clip import catalog

try:
    import open_clip
    import torch
except (ImportError, RuntimeError, AttributeError) as error:  # torchvision that does not match raises RuntimeError
    open_clip, why = None, f"needs open_clip with a matching torchvision: {error}"
else:
    why = ""
needs_library = pytest.mark.skipif(open_clip is None, reason=why)
pytestmark = pytest.mark.hf

VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
TEXTS = ["a red cat", "ein rotes Känguru", "قطة سوداء", "x"]


def picture(seed: int, width: int = 60, height: int = 44) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.from_pil(PIL.Image.fromarray(noise))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as open_clip saves it for the hub."""
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("open_clip")
    config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
    (path / "tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(path / "tiny.json")
    torch.manual_seed(0)
    model = open_clip.create_model("tiny")
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "resize_mode": "shortest"}
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    save_file(model.state_dict(), path / "open_clip_model.safetensors")
    return path


@needs_library
def test_vectors_are_those_of_the_library(folder: Path) -> None:
    model = load_model(f"open_clip:{folder}?batch_size=2&device=cpu", "encoder")
    images = [picture(1), picture(2, 33, 80), picture(3)]
    rows, texts = model.encode_images(images), model.encode_texts(TEXTS)
    assert rows.shape == (3, model.dim) == (3, 16)
    reference, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.no_grad():
        seen = reference.encode_image(torch.stack([preprocess(i.pil()) for i in images]), normalize=True).numpy()
        read = reference.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(rows, seen, atol=1e-5)
    np.testing.assert_allclose(texts, read, atol=1e-5)


@needs_library
def test_rows_that_fail_and_texts_that_are_cut(folder: Path) -> None:
    model = load_model(f"open_clip:{folder}?device=cpu")
    broken = Image(picture(0).data[:900], id="broken", width=60, height=44, format="png")
    assert np.isnan(model.encode_images([picture(1), broken])).all(axis=1).tolist() == [False, True]
    model.encode_texts(["a cat", "a red kangaroo jumps over the fence and looks at the camera again and again"])
    assert (model.max_text_tokens, model.cut) == (12, 1)


@needs_library
def test_an_architecture_and_a_tag(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from open_clip import pretrained

    config = {"hf_hub": "some/tiny/", "url": "", "mean": (0.5,) * 3, "std": (0.25,) * 3, "quick_gelu": True}
    config |= {"interpolation": "bilinear", "resize_mode": "shortest"}
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny", {"mine": config, "pickled": {"url": "https://x.invalid/a.pt"}})
    asked: list[str] = []

    def find(name: str, *rest: object) -> Path:
        asked.append(name)
        return folder

    monkeypatch.setattr("panoglot.providers.hf._files.find_folder", find)
    model = load_model("open_clip:tiny/mine?device=cpu")
    assert asked == ["some/tiny"]
    assert model.name.startswith("open_clip:tiny/mine@")
    plain = load_model(f"open_clip:{folder}?device=cpu")
    assert model.fingerprint != plain.fingerprint  # trained with another activation: other vectors
    assert float(model.encode_texts(["a cat"])[0] @ plain.encode_texts(["a cat"])[0]) < 0.99999
    with pytest.raises(UserError, match="only as a pickle"):
        load_model("open_clip:tiny/pickled")
    with pytest.raises(UserError, match="Did you mean 'mine'"):
        load_model("open_clip:tiny/min")


@needs_library
def test_wrong_names(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'ViT-B-16'"):
        load_model("open_clip:ViT-B-61/openai")
    with pytest.raises(UserError, match="open_clip:ARCHITECTURE/TAG"):
        load_model("open_clip:nonsense")
    with pytest.raises(UserError, match=r"no open_clip_config\.json"):
        load_model(f"open_clip:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(UserError, match="are refused"):
        load_model(f"open_clip:{tmp_path}")
    with pytest.raises(UserError, match="no option 'devcie'"):
        load_model(f"open_clip:{folder}?devcie=cpu")


def test_a_missing_package_gives_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is asked for first: pip install 'panoglot[hf]'")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingPackage, match=r"pip install 'panoglot\[open-clip\]'"):
        load_model("open_clip:ViT-B-32/openai")


def test_without_torch_the_pip_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackage, match=r"pip install 'panoglot\[open-clip\]'"):
        load_model("open_clip:ViT-B-32/openai")
    (info,) = catalog()
    assert info.roles == ("encoder",)
