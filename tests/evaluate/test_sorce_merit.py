"""SORCE-1K and MERIT from files; retrieval sets that say what they lack."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import commands
from panoglot.evaluate.benchmarks.image_text import read_caption_set
from panoglot.evaluate.benchmarks.merit import merit, read_merit
from panoglot.evaluate.benchmarks.sorce import read_sorce, sorce_benchmark
from panoglot.providers import register

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "merah": (255, 0, 0), "แดง": (255, 0, 0)}


class Colours:
    name, fingerprint, batch_size, dim = "toy:colours", "colours", 8, 3

    def encode_images(self, images):
        return np.stack([image.pixels().reshape(-1, 3).mean(axis=0) / 255 + 1e-3 for image in images])

    def encode_texts(self, texts, langs=None):
        rows = [sum((np.array(c) for word, c in COLOURS.items() if word in text), np.full(3, 1e-3)) for text in texts]
        return np.stack(rows).astype(np.float32)


@pytest.fixture
def sorce_files(tmp_path):
    """A coloured thing, larger and larger, in the corner of a grey scene with a shade of another's colour."""
    rows = []
    for n, (thing, scene) in enumerate([("red", "green"), ("green", "blue"), ("blue", "red")]):
        for place, share in (("full_res", 0.3), ("zoom_2x", 0.55), ("zoom_3x", 0.95)):
            picture = PIL.Image.new("RGB", (100, 80), tuple(100 + c // 5 for c in COLOURS[scene]))
            picture.paste(COLOURS[thing], (0, 0, round(100 * share), round(80 * share)))
            (tmp_path / place).mkdir(exist_ok=True)
            picture.save(tmp_path / place / f"{n}.png")
        rows.append({"image": f"{n}.png", "caption": f"something {thing}"})
    (tmp_path / "dataset.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path


def test_sorce_from_files(sorce_files):
    whole = sorce_benchmark(Colours(), sorce_files)
    corners = sorce_benchmark(Colours(), sorce_files, views="corners")
    assert whole["easy/text_to_image"].value == 1
    assert whole["hard/text_to_image"].value == 0  # the scene is what one vector sees
    assert corners["medium/text_to_image"].value == 1  # a corner sees the thing
    assert corners["hard/text_to_image"].options["views"] == 5
    assert corners["hard/text_to_image"].options["encoder"] == "toy:colours"


def test_sorce_names_what_is_missing(sorce_files, tmp_path):
    with pytest.raises(UserError, match=r"no dataset.jsonl .*full_res, zoom_2x, zoom_3x. Get it from https://hugging"):
        read_sorce(tmp_path / "nowhere")
    (sorce_files / "zoom_2x" / "1.png").unlink()
    with pytest.raises(UserError, match=r"1 pictures are missing .*zoom_2x/1.png"):
        read_sorce(sorce_files)
    (sorce_files / "dataset.jsonl").write_text('{"image": "../x.png", "caption": "a"}')
    with pytest.raises(UserError, match="not plain file names"):
        read_sorce(sorce_files)
    (sorce_files / "dataset.jsonl").write_text('{"image": "x.png", "caption": " "}')
    with pytest.raises(UserError, match="1 rows lack image or caption"):
        read_sorce(sorce_files)


PRODUCTS = [
    {"idx": "r", "title": "kaos merah", "image": "r.png", "language": "id",
     "attribute": {"colour": "red", "size": "S"}},
    {"idx": "g", "title": "green shirt", "image": "g.png", "attribute": {"colour": ["green"], "size": "L"}},
    {"idx": "b", "title": "blue shirt", "image": "b.png", "attribute": {"colour": "Blue", "size": "L"}},
    {"idx": "rg", "title": "", "image": "rg.png", "attribute": {"colour": ["red", "green"], "size": "L"}},
    {"idx": "gr", "title": "เสื้อสีแดง green", "image": "rg.png", "language": "th",
     "attribute": {"colour": ["green", "red"], "size": "M"}},
]  # fmt: skip
QUERIES = [
    {
        "query instruction": "both colours",
        "query": {"r": {"colour": "red"}, "g": {"size": "L"}},
        "pos_candidate": ["rg"],
    },
    {"query instruction": "the blue one", "query": {"r": {"style": "as in the picture"}}, "pos_candidate": ["b"]},
]


@pytest.fixture
def merit_files(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("r", "g", "b", "rg"):
        picture = PIL.Image.new("RGB", (20, 10), COLOURS[{"r": "red", "g": "green", "b": "blue"}[name[0]]])
        if name == "rg":
            picture.paste(COLOURS["green"], (10, 0, 20, 10))
        picture.save(tmp_path / "images" / f"{name}.png")
    for name, rows in (("products", PRODUCTS), ("queries", QUERIES)):
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_merit(merit_files, tmp_path):
    found = merit(Colours(), merit_files, method="products", output=tmp_path / "out")
    ranks = json.loads((tmp_path / "out" / "merit.json").read_text())
    assert ranks["0"] <= 2  # red and green together, its equal beside it
    assert ranks["1"] > 2  # the products alone know nothing of blue
    text = merit(Colours(), merit_files, method="text")
    assert text["positives"].details[1] == 1
    assert found["positives"].parts["mrr@10"] == pytest.approx((1 / ranks["0"] + 1 / ranks["1"]) / 2)
    # the second query's condition is of no attribute: left out, not unmet
    assert found["conditions"].ids == ("0",)
    assert found["conditions"].value == 0.5  # red alone, or large alone; red and green is another colour
    assert found["positives"].options["model"] == "products"


def test_merit_mistakes(merit_files, tmp_path):
    with pytest.raises(UserError, match=r"no products.jsonl .*huggingface.co/datasets/WeiChow/merit"):
        read_merit(tmp_path / "nowhere")
    (merit_files / "images" / "b.png").unlink()
    with pytest.raises(UserError, match=r"1 products have no picture .*: b"):
        merit(Colours(), merit_files)
    found = merit(Colours(), merit_files, on_error="null")
    assert "1 of 5 products had no picture" in found.notes[0]
    bad = {**QUERIES[0], "pos_candidate": ["zz"]}
    (merit_files / "queries.jsonl").write_text(json.dumps(bad))
    with pytest.raises(UserError, match=r"1 products of queries are not in products.jsonl: 0 \(zz\)"):
        read_merit(merit_files)
    (merit_files / "queries.jsonl").write_text(json.dumps({**QUERIES[0], "pos_candidate": []}))
    with pytest.raises(UserError, match="1 queries have no positives"):
        read_merit(merit_files)
    escape = [{**row, "image": "../../products.jsonl"} for row in PRODUCTS]
    (merit_files / "queries.jsonl").write_text(json.dumps(QUERIES[0]))
    (merit_files / "products.jsonl").write_text("\n".join(map(json.dumps, escape)))
    with pytest.raises(UserError, match="5 products have no picture"):
        merit(Colours(), merit_files)


def test_commands(sorce_files, merit_files, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    register("toy:sorce", Colours)
    found = commands.retrieval("sorce-1k", data=str(sorce_files), encoder="toy:sorce", views="corners")
    assert found["medium/text_to_image"].value == 1
    assert "positives" in commands.retrieval("merit", data=str(merit_files), encoder="toy:sorce")
    with pytest.raises(UserError, match=r"'merit' needs --data.*products.jsonl.*huggingface"):
        commands.retrieval("merit", encoder="toy:sorce")


@pytest.mark.parametrize(
    ("benchmark", "source"),
    [
        ("xtd10", "adobe-research"), ("xflickrco", "gregor-ge"), ("xm3600", "crossmodal-3600"),
        ("multi30k", "multi30k"),
    ],
)  # fmt: skip
def test_retrieval_sets_say_where_they_are(benchmark, source, tmp_path):
    with pytest.raises(UserError, match=f"'{benchmark}' takes --data.*Get it from .*{source}"):
        read_caption_set(benchmark, tmp_path / "nowhere")


def test_five_descriptions_of_multi30k(test_data):
    found = read_caption_set("multi30k", test_data / "multi30k+dataset", split="task2_test_2016")
    assert {lang: (len(rows), {len(texts) for texts in rows.values()}) for lang, rows in found.items()} == {
        "de": (1000, {5}), "en": (1000, {5}),
    }  # fmt: skip
    assert len(read_caption_set("multi30k", test_data / "multi30k+dataset", split="test_2018_flickr")["cs"]) == 1071
