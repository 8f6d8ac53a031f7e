"""Zero-shot classification: the card's worked case, invariances, published aggregates."""

from __future__ import annotations

import json

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import class_centres, classify, zeroshot
from panoglot.evaluate.benchmarks.babel_imagenet import (
    EXTRA_LANGUAGES,
    GROUPS_ALL,
    babel_imagenet,
    babel_imagenet_groups,
    read_babel_labels,
)

TEXTS = [[[1, 0], [0.8, 0.6]], [[0, 1], [0.6, 0.8]], [[-1, 0], [-0.8, 0.6]]]
IMAGES = np.array([[1, 0], [0.9, 0.3], [0, 1], [0.8, 0.6], [-1, 0], [-0.6, 0.8]])
TARGETS = [0, 0, 1, 1, 2, 2]


class Words:
    """An encoder that knows some texts by heart and counts its pictures."""

    name, fingerprint, batch_size, dim = "words:1", "words", 4, 2

    def __init__(self, table):
        self.table, self.pictures = table, 0

    def encode_texts(self, texts, langs=None):
        return np.array([self.table[text] for text in texts], dtype=np.float32)

    def encode_images(self, images):
        self.pictures += len(images)
        return np.array([IMAGES[n] for n in images], dtype=np.float32)


@pytest.mark.paper(
    "babel-imagenet",
    shows="V",
    case="two templates a class by hand: centres (.9487, .3162) ..., 5 of 6 right; one class left out: 4 of 4",
)
@pytest.mark.paper(
    "clip",
    shows="V",
    case="two templates a class by hand: centres (.9487, .3162) ..., 5 of 6 right; one class left out: 4 of 4",
)
def test_the_worked_case():
    centres = class_centres(TEXTS)
    assert centres.round(4).tolist() == [[0.9487, 0.3162], [0.3162, 0.9487], [-0.9487, 0.3162]]
    found = classify(IMAGES, centres, TARGETS)
    assert found.value == pytest.approx(5 / 6)
    assert found.per_item == (1, 1, 1, 0, 1, 1)
    # class 0 has no name in this language: its pictures are left out
    partial = classify(IMAGES, centres[1:], TARGETS, classes=[1, 2])
    assert (partial.value, partial.n, partial.parts["chance"]) == (1.0, 4, 0.5)


@pytest.mark.paper(
    "babel-imagenet",
    shows="V",
    case="order of classes, one template repeated, longer vectors: the same",
)
def test_invariances():
    centres = class_centres(TEXTS)
    base = classify(IMAGES, centres, TARGETS).value
    order = [2, 0, 1]
    again = classify(IMAGES, centres[order], [order.index(t) for t in TARGETS])
    assert again.value == base
    assert classify(IMAGES * 7, centres * 3, TARGETS).value == base
    once, thrice = class_centres(np.array(TEXTS)[:, :1]), class_centres(np.repeat(np.array(TEXTS)[:, :1], 3, axis=1))
    assert thrice == pytest.approx(once)


def test_pictures_are_encoded_once_whatever_the_languages():
    table = {"rot": (1, 0), "ein rot": (0.8, 0.6), "blau": (0, 1), "ein blau": (0.6, 0.8), "grün": (-1, 0),
             "ein grün": (-0.8, 0.6), "赤": (1, 0), "青": (0, 1), "أحمر": (1, 0), "أزرق": (0, 1),
             "أخضر": (-1, 0)}  # fmt: skip
    encoder = Words(table)
    found = zeroshot(
        encoder,
        list(range(6)),
        TARGETS,
        {"de": ["rot", "blau", "grün"], "ja": {0: "赤", 1: "青"}, "ar": ["أحمر", "أزرق", "أخضر"]},
        templates={"de": ["{}", "ein {}"]},
    )
    assert encoder.pictures == 6
    assert found["de"].value == pytest.approx(5 / 6)
    assert found["ja"].n == 4
    assert found["de"].options["templates"] == 2
    assert found.summary["mean"] == pytest.approx(np.mean([float(r) for r in found.values()]))
    assert "mean" in found.table()


@pytest.mark.paper("babel-imagenet", shows="V", case="equal names tie, the first wins, and it is said")
def test_equal_names_tie_and_the_first_wins():
    encoder = Words({"Wiege": (1, 0), "Rad": (0, 1)})
    found = zeroshot(encoder, IMAGES[[0, 0, 2]], [0, 1, 2], {"de": ["Wiege", "Wiege", "Rad"]})["de"]
    assert found.per_item == (1, 0, 1)
    assert "share a name" in found.notes[0]


def test_bad_input():
    encoder = Words({"a": (1, 0), "b": (0, 1)})
    with pytest.raises(UserError, match=r"exactly one \{\}"):
        zeroshot(encoder, IMAGES, TARGETS, {"en": ["a", "b"]}, templates=["a photo"])
    with pytest.raises(UserError, match="at least two"):
        zeroshot(encoder, IMAGES, TARGETS, {"en": ["a"]})
    with pytest.raises(UserError, match="empty name: 1"):
        zeroshot(encoder, IMAGES, TARGETS, {"en": ["a", " "]})
    holes = IMAGES.copy()
    holes[2] = np.nan
    with pytest.raises(UserError, match=r"1 pictures \(2\)"):
        classify(holes, class_centres(TEXTS), TARGETS)
    found = classify(holes, class_centres(TEXTS), TARGETS, on_error="null")
    assert (found.unscored, found.value) == (1, pytest.approx(4 / 5))
    with pytest.raises(UserError, match="2 dimensions, class names 3"):
        classify(IMAGES, np.eye(3), TARGETS)
    with pytest.raises(UserError, match="not 6 pictures"):
        babel_imagenet(encoder, IMAGES, {"DE": [[0, 1], ["a", "b"]]})
    with pytest.raises(UserError, match="not in the label file: DX"):
        babel_imagenet(encoder, IMAGES, {"DE": [[0, 1], ["a", "b"]]}, targets=TARGETS, lang="dx")
    with pytest.raises(UserError, match="curated names"):
        babel_imagenet(encoder, IMAGES, {"DE": [[0, 1], ["a", "b"]]}, targets=TARGETS, lang=["en"])
    with pytest.raises(UserError, match=r"1 languages .* XX"):
        read_babel_labels({"DE": [[0, 1], ["a", "b"]], "XX": [[1, 0], ["a", "b"]]})
    with pytest.raises(UserError, match="Babel-ImageNet"):
        read_babel_labels("nowhere.json")


def test_a_language_of_the_benchmark():
    encoder = Words({"a": (1, 0), "b": (0, 1)})
    found = babel_imagenet(encoder, IMAGES, {"DE": [[0, 1], ["a", "b"]], "EN": [[0, 1], ["x", "y"]]}, targets=TARGETS)
    assert list(found) == ["DE"]
    assert (found["DE"].n, found["DE"].value) == (4, 0.75)


MODELS = {
    "siglip-vitb16": (75.12, 17.33, 29.05, 48.20, 56.66, 38.18),
    "openclip-xlmrl-vith14": (76.95, 13.77, 23.57, 41.03, 52.23, 32.60),
    "nllb-siglip-large": (51.96, 40.61, 43.22, 42.78, 39.75, 42.07),
    "altclip-xlmrl-vitl14": (73.36, 12.67, 16.98, 21.32, 33.97, 20.48),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.paper(
    "babel-imagenet",
    shows="V",
    case="four models' published results: the authors' means of the four groups and of 100 languages",
)
@pytest.mark.paper(
    "babel-imagenet",
    shows="P",
    case="four models' published results: the authors' means of the four groups and of 100 languages",
)
def test_published_groups(test_data, model):
    folder = test_data / "gregor-ge+Babel-ImageNet"
    codes = [code for code in read_babel_labels(folder / "babel_imagenet.json") if code != "EN"]
    found = babel_imagenet_groups(folder / f"results/babel-imagenet/{model}.json", languages=[*codes, *EXTRA_LANGUAGES])
    english, *groups, mean = MODELS[model]
    assert found.n == 100
    shown = [100 * found.parts[key] for key in ("classes1-100", "classes101-333", "classes334-666", "classes667-1000")]
    assert shown == pytest.approx(groups, abs=0.0051)
    assert 100 * found.value == pytest.approx(mean, abs=0.0051)
    assert 100 * found.parts["EN"] == pytest.approx(english, abs=0.0051)


@pytest.mark.paper(
    "babel-imagenet",
    shows="V",
    case="93 and 298 languages; right answers are whole numbers of 50 pictures a class",
)
def test_label_files(test_data):
    folder = test_data / "gregor-ge+Babel-ImageNet"
    small, large = (
        read_babel_labels(folder / "babel_imagenet.json"),
        read_babel_labels(folder / "babel_imagenet-298.json"),
    )
    assert (len(small), len(large)) == (93, 298)
    assert all(small[code] == large[code] for code in small)
    rows = json.loads((folder / "results/babel-imagenet/siglip-vitb16.json").read_text())["results"]
    for row in rows:  # 50 pictures a class: right answers are whole numbers
        right = row["accuracy"] * row["num_classes"] * 50
        assert right == pytest.approx(round(right), abs=1e-6)
        if row["lang"] != "EN":
            assert row["num_classes"] == len(large[row["lang"]])
    sizes = [len(large[code]) for code in large if code != "EN"]
    assert [sum(a < n <= b for n in sizes) for a, b in zip((0, *GROUPS_ALL), GROUPS_ALL)] == [104, 84, 55, 38, 16]
