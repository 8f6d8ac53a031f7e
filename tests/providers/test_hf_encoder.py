"""`hf:` encoders on tiny random checkpoints, against transformers called by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'panoglot[hf]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'panoglot[hf]'")

import torch

from panoglot.errors import RowError, UserError
from panoglot.pictures import Image
from panoglot.providers import load_model
from tests.providers import checkpoints

pytestmark = pytest.mark.hf

KINDS = ["clip", "siglip", "siglip2", "chinese_clip"]
TEXTS = ["a red cat", "ein rotes Känguru", "قطة سوداء", "一只红色的袋鼠", "x"]


def picture(seed: int, width: int = 48, height: int = 40) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.from_pil(PIL.Image.fromarray(noise))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root, loaded = tmp_path_factory.mktemp("encoders"), {}

    def take(kind: str) -> Any:
        if kind not in loaded:
            loaded[kind] = load_model(f"hf:{getattr(checkpoints, kind)(root / kind)}?batch_size=3", "encoder")
        return loaded[kind]

    return take


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_transformers(models: Any, kind: str) -> None:
    model = models(kind)
    images = [picture(n, 40 + 10 * n, 50) for n in range(5)]
    rows = model.encode_images(images)
    texts = model.encode_texts(TEXTS, ["und"] * 5)
    assert rows.shape == texts.shape == (5, model.dim)
    assert rows.dtype == texts.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    for n in range(5):
        with torch.no_grad():
            pixels = model.processor.image_processor([images[n].pil()], return_tensors="pt")
            seen = model.model.get_image_features(**pixels).pooler_output[0].numpy()
            if kind.startswith("siglip"):
                ids = model.tokenizer(
                    [TEXTS[n]], padding="max_length", max_length=16, truncation=True, return_tensors="pt"
                )
                read = model.model.get_text_features(input_ids=ids["input_ids"]).pooler_output[0].numpy()
            else:  # one text, so no padding at all
                ids = model.tokenizer([TEXTS[n]], return_tensors="pt", max_length=24, truncation=True)
                read = model.model.get_text_features(**ids).pooler_output[0].numpy()
        np.testing.assert_allclose(rows[n], seen / np.linalg.norm(seen), atol=1e-5)
        np.testing.assert_allclose(texts[n], read / np.linalg.norm(read), atol=1e-5)


def test_a_broken_picture_is_a_row_of_nan(models: Any) -> None:
    broken = Image(picture(0).data[:900], id="broken", width=48, height=40, format="png")
    rows = models("clip").encode_images([picture(1), broken, picture(2)])
    assert np.isnan(rows).all(axis=1).tolist() == [False, True, False]
    np.testing.assert_allclose(rows[[0, 2]], models("clip").encode_images([picture(1), picture(2)]), atol=1e-6)
    assert models("clip").encode_images([]).shape == models("clip").encode_texts([]).shape == (0, models("clip").dim)


def test_cut_texts_are_counted(models: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = models("clip")
    before, long = model.cut, "a red kangaroo jumps over the fence " * 9
    assert model.max_text_tokens == 24
    rows = model.encode_texts([long, "short", long + "and then"])
    assert model.cut == before + 2
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)  # what was cut does not count
    if not before:
        assert "cuts texts at 24 tokens" in caplog.text


def test_large_jpegs_are_decoded_small(tmp_path: Path) -> None:
    import io

    smooth = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(
        (1600, 1200)
    )
    buffer = io.BytesIO()
    smooth.save(buffer, "JPEG", quality=95)
    image, folder = Image(buffer.getvalue()), checkpoints.clip(tmp_path / "clip")
    quick, exact = load_model(f"hf:{folder}"), load_model(f"hf:{folder}?full_decode=true")
    assert float(quick.encode_images([image])[0] @ exact.encode_images([image])[0]) > 0.99
    assert quick.fingerprint != exact.fingerprint


def test_out_of_memory_halves(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models("siglip")
    expected, run = model.encode_texts(TEXTS), model.model.get_text_features

    def small(input_ids: Any) -> Any:
        if len(input_ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(input_ids=input_ids)

    monkeypatch.setattr(model.model, "get_text_features", small)
    np.testing.assert_allclose(model.encode_texts(TEXTS), expected, atol=1e-5)
    assert model.batch_size == 1


def test_a_text_model_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="st:"):
        load_model(f"hf:{checkpoints.t5(tmp_path / 't5')}?as=encoder")


# ---- matching heads --------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "rank-and-fuse", shows="V", case="the probability of BLIP's and BLIP-2's matching head, as transformers has it"
)
@pytest.mark.parametrize("kind", ["blip_itm", "blip2_itm"])
def test_matching_heads_are_those_of_transformers(models: Any, kind: str) -> None:
    model = models(kind)
    images = [picture(n, 40 + 10 * n, 50) for n in range(5)]
    found = model.match(images, TEXTS)
    rows, texts = model.encode_images(images), model.encode_texts(TEXTS, ["und"] * 5)
    for n in range(5):
        pixels = model.processor.image_processor([images[n].pil()], return_tensors="pt")["pixel_values"]
        words = model.tokenizer([TEXTS[n]], return_tensors="pt", truncation=True, max_length=model.max_text_tokens)
        words = {key: words[key] for key in ("input_ids", "attention_mask")}
        with torch.no_grad():
            if kind == "blip_itm":
                scores = model.model(pixel_values=pixels, **words, use_itm_head=True).itm_score
                cosine = model.model(pixel_values=pixels, **words, use_itm_head=False).itm_score
            else:
                model.model.config.image_token_index = None  # no places for the picture among the words
                scores = model.model(pixel_values=pixels, **words, use_image_text_matching_head=True).logits_per_image
                cosine = model.model(pixel_values=pixels, **words, use_image_text_matching_head=False).logits_per_image
        assert found[n] == pytest.approx(float(scores.softmax(-1)[0, 1]), abs=1e-5)
        here = rows[n].reshape(-1, model.dim) @ texts[n]
        assert float(here.max()) == pytest.approx(float(cosine.max()), abs=1e-5)
    assert len({round(one, 4) for one in found}) == 5
    broken = Image(picture(0).data[:900], id="broken", width=48, height=40, format="png")
    mixed = model.match([images[0], broken], TEXTS[:2])
    assert mixed[0] == pytest.approx(found[0], abs=1e-5)
    assert isinstance(mixed[1], RowError)
    assert model.match([], []) == []


def test_only_a_model_with_the_head_matches(models: Any) -> None:
    assert not hasattr(models("clip"), "match")
