import json
from pathlib import Path

import numpy as np
import pytest

from panoglot.table import Caption, Dataset, caption_to_row, create_dataset, given_caption_id, image_id, vector_id

DIM = 32


class Toy:
    """An encoder of made-up vectors: a text or picture is encoded as what was registered for it."""

    name, fingerprint, batch_size, dim = "toy:encoder", "toy-1", 4, DIM

    def __init__(self) -> None:
        self.texts: dict[str, np.ndarray] = {}
        self.pictures: dict[str, np.ndarray] = {}

    def encode_texts(self, texts, langs=None):
        return np.stack([self.texts[text] for text in texts]).astype(np.float32)

    def encode_images(self, images):
        return np.stack([self.pictures[image.id] for image in images]).astype(np.float32)


def unit(rng: np.random.Generator, count: int, dim: int = DIM) -> np.ndarray:
    found = rng.standard_normal((count, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class World:
    """A dataset with vectors, filled by hand, beside a naive search over the same rows."""

    def __init__(self, path: Path) -> None:
        self.data: Dataset = create_dataset(path)
        self.encoder = Toy()
        self.vectors = "toy_encoder-toy-1"
        self.rows: list[tuple[str, np.ndarray]] = []

    def images(self, count: int, start: int = 0) -> list[str]:
        raws = [f"image {n}".encode() for n in range(start, start + count)]
        rows = [
            {"image_id": image_id(raw), "data": raw, "uri": f"{n}.jpg", "width": 9, "height": 9, "format": "jpeg"}
            for n, raw in enumerate(raws, start)
        ]
        self.data.images.insert(rows)
        return [row["image_id"] for row in rows]

    def embed(self, ids, vectors, of="image", views=1) -> None:
        name = self.data.add_vectors("toy:encoder", "toy-1", DIM)
        self.vectors = name
        rows = []
        for n, (key, vector) in enumerate(zip(ids, vectors)):
            half = np.asarray(vector, np.float16)
            self.rows.append((key, half.astype(np.float64)))
            view = n // max(1, len(ids) // views) if views > 1 else sum(k == key for k, _ in self.rows) - 1
            row = {"vector_id": vector_id(key, "toy-1", view), "id": key, "of": of, "lang": "und", "vector": half}
            rows.append({**row, "run_id": ""})
        self.data.vectors(name).insert(rows)

    def caption(self, image: str, text: str, lang: str = "en", kind: str = "alt", dropped=None) -> str:
        key = given_caption_id(image, "web", lang, None, text)
        row = Caption(text, lang, kind, recipe="web", image_id=image, caption_id=key, dropped=dropped)
        self.data.captions.insert([caption_to_row(row)])
        return key

    def naive(self, query, k, among=None) -> list[str]:
        """Best score of every image by explicit loops, best first, ties by id."""
        best: dict[str, float] = {}
        for key, vector in self.rows:
            if among is None or key in among:
                score = sum(float(a) * float(b) for a, b in zip(vector, np.asarray(query, np.float64)))
                best[key] = max(best.get(key, -9.0), score)
        return [key for key, _ in sorted(best.items(), key=lambda item: (-round(item[1], 12), item[0]))[:k]]


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path / "x.pano")


@pytest.fixture
def filled(world) -> World:
    """300 images; the first word says what text finds them."""
    rng = np.random.default_rng(0)
    ids = world.images(300)
    world.embed(ids, unit(rng, 300))
    world.ids = ids
    for n in range(20):
        world.encoder.texts[f"query {n}"] = unit(rng, 1)[0]
    return world


def state(world: World) -> dict:
    return json.loads((world.data.path / "vectors" / f"{world.vectors}.json").read_text())
