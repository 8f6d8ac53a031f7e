"""`onnx:` on graphs written here, against the same sums in numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import RowError, UserError
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.embedded import Graph

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]


def picture(seed: int, width: int = 24, height: int = 16) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.from_pil(PIL.Image.fromarray(noise))


BROKEN = Image(picture(0).data[:300], id="broken", width=24, height=16, format="png")


def linear(path: Path, weights: np.ndarray, size: tuple[int, int]) -> Path:
    """A graph that flattens pixels and multiplies them."""
    graph = Graph("linear")
    flat = graph.node("Flatten", "x", axis=1)
    graph.node("MatMul", flat, weights.astype(np.float32), output="y")
    path.write_bytes(graph.serialize({"x": ["n", 3, *size]}, ["y"]))
    return path


@pytest.fixture
def encoder(tmp_path: Path) -> tuple[Path, np.ndarray]:
    weights = np.random.default_rng(1).normal(size=(3 * 8 * 8, 5))
    linear(tmp_path / "image.onnx", weights, (8, 8))
    spec = {"role": "encoder", "image": {"model": "image.onnx", "size": [8, 8], "mean": MEAN, "std": STD}}
    (tmp_path / "panoglot.json").write_text(json.dumps(spec))
    return tmp_path, weights


def by_hand(image: Image, weights: np.ndarray) -> np.ndarray:
    """Shortest side to 8 (the longer one rounded down, as transformers does), centre crop, normalise, multiply."""
    shown = image.pil()
    size = [int(8 * side / min(shown.size)) for side in shown.size]
    shown = shown.resize(size, PIL.Image.Resampling.BICUBIC)
    left, top = (shown.width - 8) // 2, (shown.height - 8) // 2
    pixels = np.asarray(shown.crop((left, top, left + 8, top + 8)), dtype=np.float64) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1).reshape(-1) @ weights


def test_an_image_tower(encoder: tuple[Path, np.ndarray]) -> None:
    folder, weights = encoder
    model = load_model(f"onnx:{folder}?batch_size=2&threads=1", "encoder")
    images = [picture(1), BROKEN, picture(2, 9, 30), picture(3, 8, 8)]
    rows = model.encode_images(images)
    assert rows.dtype == np.float32
    assert rows.shape == (4, model.dim) == (4, 5)
    assert np.isnan(rows).all(axis=1).tolist() == [False, True, False, False]
    for n in (0, 2, 3):
        expected = by_hand(images[n], weights)
        np.testing.assert_allclose(rows[n], expected / np.linalg.norm(expected), atol=1e-5)
    with pytest.raises(UserError, match="no text tower"):
        model.encode_texts(["a"])


@pytest.mark.parametrize("resize", ["stretch", "pad"])
def test_the_other_ways_to_resize(encoder: tuple[Path, np.ndarray], resize: str) -> None:
    folder, weights = encoder
    spec = json.loads((folder / "panoglot.json").read_text())
    spec["image"] |= {"resize": resize, "fill": 128, "interpolation": "bilinear"}
    (folder / "panoglot.json").write_text(json.dumps(spec))
    shown = PIL.Image.new("RGB", (8, 8), (128, 128, 128))
    image = picture(5, 24, 12)
    inner = image.pil().resize((8, 8 if resize == "stretch" else 4), PIL.Image.Resampling.BILINEAR)
    shown.paste(inner, (0, 0 if resize == "stretch" else 2))
    pixels = (np.asarray(shown, dtype=np.float64) / 255 - MEAN) / STD
    expected = pixels.transpose(2, 0, 1).reshape(-1) @ weights
    (row,) = load_model(f"onnx:{folder}").encode_images([image])
    np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_a_text_tower(tmp_path: Path, pool: str) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers: pip install tokenizers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "cat", "红", "色", "แมว"]
    raw = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]")
    )
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    raw.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    raw.save(str(tmp_path / "tokenizer.json"))
    table = np.random.default_rng(3).normal(size=(len(words), 6))
    graph = Graph("table")
    graph.node("Gather", table.astype(np.float32), graph.node("Cast", "input_ids", to=7), output="y")
    (tmp_path / "text.onnx").write_bytes(graph.serialize({"input_ids": ["n", "t"]}, ["y"]))
    text = {"model": "text.onnx", "tokenizer": "tokenizer.json", "max_tokens": 5, "pool": pool, "prefix": "a "}
    (tmp_path / "panoglot.json").write_text(json.dumps({"text": text}))
    model = load_model(f"onnx:{tmp_path}?batch_size=3", "encoder")
    rows = model.encode_texts(["red cat", "红", "แมว red cat 红 色", ""], ["en", "zh", "th", "und"])
    ids = [[2, 4, 5, 6, 3], [2, 4, 7, 3], [2, 4, 9, 5, 3], [2, 4, 3]]  # the third is cut, and keeps its end
    for row, tokens in zip(rows, ids, strict=True):
        expected = table[tokens].mean(0) if pool == "mean" else table[tokens[0]]
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-5)
    assert (model.cut, model.max_text_tokens) == (1, 5)
    with pytest.raises(UserError, match="no image tower"):
        model.encode_images([picture(0)])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_tagger(tmp_path: Path, activation: str) -> None:
    weights = np.random.default_rng(2).normal(size=(3 * 8 * 8, 4)) * 0.1
    linear(tmp_path / "tagger.onnx", weights, (8, 8))
    (tmp_path / "labels.txt").write_text("n1\tcat\nn2\tdog\nn3\tcup\nn4\tbus\n", "utf-8")
    spec = {
        "role": "tagger",
        "image": {"model": "tagger.onnx", "size": 8, "mean": MEAN, "std": STD},
        "labels": "labels.txt",
        "activation": activation,
        "top": 2,
    }
    (tmp_path / "tagger.json").write_text(json.dumps(spec))
    model = load_model(f"onnx:{tmp_path / 'tagger.onnx'}", "tagger")
    first, broken, second = model.tag([picture(1), BROKEN, picture(2)])
    assert isinstance(broken, RowError)
    for tags, seed in ((first, 1), (second, 2)):
        logits = by_hand(picture(seed), weights)
        scores = np.exp(logits) / np.exp(logits).sum() if activation == "softmax" else 1 / (1 + np.exp(-logits))
        best = np.argsort(-scores)[:2]
        assert [tag.key for tag in tags] == [f"n{n + 1}" for n in best]
        assert [tag.name for tag in tags] == [["cat", "dog", "cup", "bus"][n] for n in best]
        assert [tag.score for tag in tags] == pytest.approx(scores[best].tolist(), abs=1e-5)


def test_fingerprints_follow_the_files(encoder: tuple[Path, np.ndarray]) -> None:
    folder, weights = encoder
    first = load_model(f"onnx:{folder}")
    assert load_model(f"onnx:{folder}?batch_size=3").fingerprint == first.fingerprint
    linear(folder / "image.onnx", weights * 1.01, (8, 8))
    second = load_model(f"onnx:{folder}")
    assert second.fingerprint != first.fingerprint
    assert second.name != first.name
    assert second.name.startswith("onnx:")


def _spec(**change: Any) -> dict[str, Any]:
    return {"image": {"model": "image.onnx", "size": [8, 8], "mean": MEAN, "std": STD} | change}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (_spec(interpolaton="box"), "Did you mean 'interpolation'?"),
        (_spec(resize="strech"), "Did you mean 'stretch'?"),
        (_spec(model="../image.onnx"), "leaves the folder"),
        (_spec(model="/etc/passwd"), "leaves the folder"),
        (_spec(model="imag.onnx"), "there is no file"),
        (_spec(size=[8, 0]), "must be [height, width]"),
        (_spec(std=[0, 1, 1]), "three numbers each"),
        (_spec(output="z"), "has no output 'z'"),
        (_spec(model="panoglot.json"), "cannot be loaded"),
        ({"role": "encodr"}, "Did you mean 'encoder'?"),
        ({"role": "encoder"}, "an encoder needs one of them"),
        ({"role": "tagger", **_spec()}, 'a tagger needs "labels"'),
        ({"role": "tagger", **_spec(), "labels": ["a", "b"]}, "2 labels for 5 classes"),
        ({"image": ["x"]}, "must be a JSON object"),
        ([], "must be a JSON object"),
    ],
)
def test_wrong_jsons(encoder: tuple[Path, np.ndarray], spec: Any, message: str) -> None:
    folder, _ = encoder
    (folder / "panoglot.json").write_text(json.dumps(spec))
    with pytest.raises(UserError) as told:
        load_model(f"onnx:{folder}")
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [("batch_siz=2", "Did you mean 'batch_size'?"), ("device=gpu", "is cpu or cuda"), ("batch_size=0", "at least 1")],
)
def test_wrong_options(encoder: tuple[Path, np.ndarray], query: str, message: str) -> None:
    with pytest.raises(UserError) as told:
        load_model(f"onnx:{encoder[0]}?{query}")
    assert message in str(told.value)


def test_a_missing_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a JSON beside it"):
        load_model(f"onnx:{tmp_path / 'x.onnx'}")
