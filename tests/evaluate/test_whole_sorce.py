"""SORCE whole: a chat model's one-word vectors of a picture and its corners, an index of five, levels; by loops."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.evaluate.benchmarks.sorce import sorce_benchmark
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.retrieval import index
from tests.conftest import picture_bytes
from tests.providers import checkpoints

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SAID = ["a red kangaroo", "قطة سوداء", "แมวสีดำ", "一只红色的袋鼠", "a cat, a dog, two cups of coffee on a table"]
ASKED = (
    "the picture", "the left upper corner of the picture", "the left lower corner of the picture",
    "the right upper corner of the picture", "the right lower corner of the picture",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoints.llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [
        PIL.Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize(
            (40 + n, 36), PIL.Image.Resampling.NEAREST
        )
        for n in range(6)
    ]


def alone(folder, text, picture=None):
    """One prompt by itself through transformers: the last layer's state at its last token, as a unit vector."""
    model = transformers.LlavaForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.LlavaProcessor.from_pretrained(folder)
    shown = [{"type": "image"}] if picture is not None else []
    turn = [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]
    written = processor.apply_chat_template(turn, add_generation_prompt=True)
    inputs = processor(text=[written], images=picture, return_tensors="pt")
    with torch.no_grad():
        state = model(**inputs, output_hidden_states=True).hidden_states[-1][0, -1].numpy()
    return state / np.linalg.norm(state)


@pytest.mark.paper(
    "sorce",
    shows="C",
    case="1 over LLaVA's architecture a picture or sentence is asked for one word: the last layer's last state as "
    "transformers has it, rows of other lengths beside it; 2 four corners by their names; 3 one vector a sentence; 4 "
    "an index of five, the nearest view counts, a search has that order; 6, 7 levels and way back by loops",
)
def test_sorce_by_its_steps(folder, pictures, tmp_path):
    encoder = load_model(f"hf:{folder}?as=summary&batch_size=4", "encoder")
    images = [Image.from_pil(picture) for picture in pictures]
    whole, places, texts = encoder.encode_images(images), encoder.encode_places(images), encoder.encode_texts(SAID)
    assert (whole.shape, places.shape, texts.shape) == ((6, 32), (6, 4, 32), (5, 32))
    for n in (0, 5):
        for k, what in enumerate(ASKED):
            right = alone(folder, f"Sum up {what} in one word:", pictures[n])
            assert np.abs((whole[n] if k == 0 else places[n, k - 1]) - right).max() < 2e-5, (n, what)
    for n, text in enumerate(SAID):
        assert np.abs(texts[n] - alone(folder, f"{text}\nSum up the sentence above in one word:")).max() < 2e-5
    views = np.concatenate([whole[:, None], places], 1)
    assert (np.einsum("nvd,nwd->nvw", views, views)[:, *np.triu_indices(5, 1)] < 1 - 1e-4).all()  # each is another one

    for n, picture in enumerate(pictures):  # an index, and a search of it
        (tmp_path / "photos").mkdir(exist_ok=True)
        picture.save(tmp_path / f"photos/{n}.png")
    panoglot.ingest(tmp_path / "photos", tmp_path / "x.pano", quiet=True)
    data = panoglot.open(tmp_path / "x.pano")
    rows = {row["image_id"]: row["uri"] for row in data.images.read(["image_id", "uri"]).to_pylist()}
    name = data.add_vectors(encoder.name, encoder.fingerprint, 32)
    data.vectors(name).insert(
        [{"vector_id": f"{n:032}", "id": image.id, "of": "image", "lang": "und", "run_id": "",
          "vector": np.float16(row)} for n, (image, row) in enumerate(zip(images, whole)) if image.id in rows]
    )  # fmt: skip
    index(data, encoder, views="tokens")
    assert len(data.vectors(name)) == 5 * len(rows) == 30
    for text, row in zip(SAID, texts):
        hits = panoglot.search(data.path, text, encoder=encoder, parts="picture", k=6)
        nearest = {image.id: float((views[n] @ row).max()) for n, image in enumerate(images)}
        assert [nearest[hit.image_id] for hit in hits] == pytest.approx(
            sorted(nearest.values(), reverse=True), abs=2e-3
        )

    shown = {}  # three sizes of five scenes
    for level, place, share in (("hard", "full_res", 1.0), ("medium", "zoom_2x", 0.6), ("easy", "zoom_3x", 0.4)):
        (tmp_path / place).mkdir()
        for n, picture in enumerate(pictures[:5]):
            cut = picture.crop((0, 0, round(share * picture.width), round(share * picture.height)))
            cut.save(tmp_path / place / f"{n}.png")
            image = Image.from_path(str(tmp_path / place / f"{n}.png"))
            shown[level, n] = np.concatenate([encoder.encode_images([image]), encoder.encode_places([image])[0]])
    lines = [json.dumps({"image": f"{n}.png", "caption": text}) for n, text in enumerate(SAID)]
    (tmp_path / "dataset.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = sorce_benchmark(encoder, tmp_path, views="tokens")
    for level in ("hard", "medium", "easy"):
        ranks = []
        for n, row in enumerate(texts):
            scores = {key: float((row @ mine.T).max()) for key, mine in shown.items() if key[1] != n or key[0] == level}
            ranks.append(1 + sum(score > scores[level, n] for score in scores.values()))
        assert list(found[f"{level}/text_to_image"].details) == ranks
    back = []
    for level in ("hard", "medium", "easy"):
        for n in range(len(SAID)):
            scores = [float((text @ shown[level, n].T).max()) for text in texts]
            back.append(1 + sum(score > scores[n] for score in scores))
    assert list(found["image_to_text"].details) == back


def test_what_cannot_be_asked_is_said(folder, tmp_path):
    encoder = load_model(f"hf:{folder}?as=summary&places=parts&max_tokens=3", "encoder")
    broken = Image(picture_bytes(0, format="PNG")[:900], id="broken", width=64, height=48, format="png")
    rows = encoder.encode_places([broken, Image.from_pil(PIL.Image.new("RGB", (9, 9), "red"))])
    assert rows.shape == (2, 3, 32)
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1]).all()
    assert np.isfinite(encoder.encode_texts([SAID[4], ""])).all()
    assert encoder.cut == 1
    with pytest.raises(UserError, match="Did you mean 'corners'"):
        load_model(f"hf:{folder}?as=summary&places=corner", "encoder")
    with pytest.raises(UserError, match="is no chat model"):
        load_model(f"hf:{checkpoints.llm(tmp_path / 'llm')}?as=summary", "encoder")
    with pytest.raises(UserError, match="is no chat model"):
        load_model(f"hf:{checkpoints.blip(tmp_path / 'blip')}?as=summary", "encoder")
