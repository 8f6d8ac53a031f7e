"""FiftyOne's folders, in the shapes of its documentation, and broken ones."""

import json

import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.formats import detect
from panoglot.geometry import Region
from tests.conftest import picture_bytes
from tests.formats.samples import reasons, take, texts, unused


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    for n, name in enumerate(("0.jpg", "deep/काला.jpg", "2.v1.jpg", "3.jpg")):
        (tmp_path / "data" / name).write_bytes(picture_bytes(n))
    return tmp_path


def test_classes_of_pictures_by_number_by_name_and_several(folder):
    labels = {"0": 1, "deep/काला": ["قطة", {"label": 0, "attributes": {}}], "2.v1": None, "gone": 0}
    (folder / "labels.json").write_text(json.dumps({"classes": ["猫", "แมว"], "labels": labels}), encoding="utf-8")
    assert detect(folder) == detect(folder / "labels.json") == "fiftyone"
    samples, rejects = take(folder, lang="th")
    assert {one.uri.rpartition("/data/")[2]: texts(one) for one in samples} == {
        "0.jpg": [("th", "แมว")],
        "deep/काला.jpg": [("th", "قطة"), ("th", "猫")],
        "2.v1.jpg": [],
        "3.jpg": [],  # of no label
    }
    assert {c.kind for one in samples for c in one.captions} == {"label"}
    assert reasons(rejects) == ["missing_file"]
    assert len(take(folder / "labels.json")[0]) == 3


def test_detections_have_their_boxes(folder):
    boxes = [
        {"label": 0, "bounding_box": [0.25, 0.5, 0.5, 0.25]},
        {"label": "ball", "bounding_box": [0, 0, 0, 1]},
        {"label": 7, "bounding_box": [0, 0, 1, 1]},
    ]
    (folder / "labels.json").write_text(json.dumps({"classes": ["cat"], "labels": {"0": boxes}}))
    samples, _ = take(folder / "labels.json")
    assert [(c.text, c.region) for c in samples[0].captions] == [
        ("cat", Region(0.25, 0.5, 0.75, 0.75)),
        ("7", Region(0, 0, 1, 1)),
    ]
    assert [(one.count, one.what) for one in unused(folder / "labels.json")] == [
        (1, "label{s} of a kind that is not read")
    ]


def test_a_whole_dataset_of_samples(folder):
    found = {
        "_cls": "Detections",
        "detections": [{"_cls": "Detection", "label": "paka", "bounding_box": [0, 0, 0.5, 1]}],
    }
    sample = {
        "filepath": "data/0.jpg",
        "tags": ["train"],
        "metadata": {"_cls": "ImageMetadata", "width": 1},
        "caption": "Paka mweusi ameketi kwenye kiti.",
        "ground_truth": {"_cls": "Classification", "label": "cat", "confidence": 0.9},
        "many": {"_cls": "Classifications", "classifications": [{"label": "pet"}, {"label": "animal"}]},
        "found": found,
        "mask": {"_cls": "Segmentation", "mask": "x"},
        "weather": "rain",
        "_rand": 0.5,
    }
    rows = [sample, {"filepath": "data/deep/काला.jpg"}, {"filepath": "data/9.jpg"}, {"tags": []}, 7]
    (folder / "samples.json").write_text(json.dumps({"samples": rows}))
    (folder / "metadata.json").write_text("{}")
    assert detect(folder) == "fiftyone"
    result = panoglot.ingest(str(folder), str(folder / "x.pano"), quiet=True)
    rows = result.dataset.captions.rows(["text", "kind", "lang", "region"], "kind != 'fact'")
    assert sorted((row["kind"], row["text"], row["region"] is not None) for row in rows) == [
        ("human", "Paka mweusi ameketi kwenye kiti.", False),
        ("label", "animal", False),
        ("label", "cat", False),
        ("label", "paka", True),
        ("label", "pet", False),
    ]
    contexts = {row["uri"][-5:]: json.loads(row["context"]) for row in result.dataset.images.rows(["uri", "context"])}
    assert contexts["0.jpg"] == {"tags": ["train"], "weather": "rain"}
    assert len(result.dataset.images) == 4
    reasons_ = sorted(row["reason"] for row in result.dataset.rejects.rows(["reason"]))
    assert reasons_ == ["missing_file", "no_image", "no_image"]
    assert any("mask Segmentation" in name for one in result.unused for name in one.names)


@pytest.mark.parametrize(
    ("name", "text"),
    [("labels.json", '{"classes": [], "labels": ['), ("samples.json", '{"samples": [{"filepath": "a.jpg"}')],
)
def test_files_that_are_cut(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        take(folder / name, "fiftyone")


def test_a_labels_file_of_something_else_is_none_of_fiftyones(folder):
    (folder / "labels.json").write_text('["cat", "dog"]')
    assert detect(folder) == "folder"
    with pytest.raises(UserError, match="no dataset of FiftyOne"):
        take(folder, "fiftyone")
