"""CAPTURE whole: the metric from files by the command, then the construction on a dataset, judged by the metric."""

from __future__ import annotations

import json

import numpy as np
import pytest

import panoglot
from panoglot.evaluate import commands
from panoglot.geometry import Region
from panoglot.providers import register
from panoglot.providers.roles import Answer, Box, RegionPart, SceneGraph
from tests.conftest import picture_bytes

CAPTION = "Two red cars and a red truck stand near a traffic light in the background. A dog is running."
OTHER = "A red automobile and a truck wait at a signal. A puppy runs. The road is wet."
#: Sentence → what a parser says of it; its lemmas, and its errors: `running` is no noun here.
GRAPHS = {
    "Two red cars and a red truck stand near a traffic light in the background.": SceneGraph(
        ("car", "truck", "traffic light", "background"),
        (("car", "red"), ("truck", "red"), ("background", "blue"), ("truck", "made of steel")),
        (("car", "near", "traffic light"),),
    ),
    "A dog is running.": SceneGraph(("dog", "running"), (("running", "fast"),), (("dog", "be", "running"),)),
    "A red automobile and a truck wait at a signal.": SceneGraph(
        ("automobile", "truck", "signal"), (("automobile", "red"),), (("automobile", "at", "signal"),)
    ),
    "A puppy runs.": SceneGraph(("puppy",)),
    "The road is wet.": SceneGraph(("road",), (("road", "wet"),)),
    "A cat.": SceneGraph(("cat",)),
}


class Reads:
    """A parser that knows its sentences."""

    name, fingerprint, batch_size = "toy:reads", "reads-1", 4

    def parse(self, texts, langs=None):
        return [GRAPHS[text] for text in texts]


class Halves:
    """Two different phrases have the cosine .5; those of three words and more .25."""

    name, fingerprint, batch_size, dim = "toy:halves", "halves-1", 64, 202

    def __init__(self):
        self.seen = {}

    def encode_images(self, images):
        raise NotImplementedError

    def encode_texts(self, texts, langs=None):
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts):
            long = text.count(" ") >= 2
            row[int(long)] = np.sqrt(0.25 if long else 0.5)
            row[2 + self.seen.setdefault(text, len(self.seen))] = np.sqrt(0.75 if long else 0.5)
        return rows


def wordnet(folder):
    """A WordNet in which a car is an automobile."""
    folder.mkdir()
    header = "  1 This software and database is being provided by WordNet 3.0 Copyright\n"
    for name in ("noun", "verb", "adj", "adv"):
        (folder / f"index.{name}").write_text(header)
        (folder / f"{name}.exc").write_text("")
    (folder / "index.noun").write_text(header + "automobile n 1 1 @ 1 1 02958343\ncar n 1 1 @ 1 1 02958343\n")
    return folder


WHOLE = "A brown dog lies on a red sofa. A lamp stands beside it."
FINAL = "A brown dog with a white paw lies on a red sofa, and a white cup stands near it."
ASKED = []


class Tells:
    """Captioner and language model."""

    name, fingerprint, batch_size, chat, sees = "toy:tells", "tells-1", 8, True, True

    def generate(self, prompts):
        ASKED.extend(prompts)
        return [Answer(self.one(prompt)) for prompt in prompts]

    def one(self, prompt):
        part = prompt.turns[-1].parts[0]
        if isinstance(part, RegionPart):
            return "A white cup stands here." if part.region.x0 > 0.4 else "A dog with a white paw."
        return FINAL if "Seen:" in prompt.text else WHOLE


class Segments:
    """Everything: a dog twice, a cup, dust, all of the picture, a line."""

    name, fingerprint, batch_size = "toy:segments", "segments-1", 8
    places = (
        (0.1, 0.1, 0.3, 0.3), (0.1, 0.1, 0.28, 0.3), (0.6, 0.6, 0.9, 0.9), (0.5, 0.5, 0.51, 0.51), (0, 0, 1, 0.95),
    )  # fmt: skip

    def segment(self, images, regions=None, names=None):
        return [[Box("", 0.9, Region(*place)) for place in self.places] for _ in images]


class Finds:
    """An open-vocabulary detector: no lamp."""

    name, fingerprint, batch_size = "toy:finds", "finds-1", 8
    asked = []  # noqa: RUF012

    def detect(self, images, names=None):
        Finds.asked += names
        known = {"brown dog": 0.9, "red sofa": 0.8, "dog": 0.7, "lamp": 0.005}
        return [[Box(name, known[name], Region()) for name in some if name in known] for some in names]


@pytest.fixture(autouse=True)
def _models():
    for model in (Reads, Halves, Tells, Segments, Finds):
        register(model.name, model)
    ASKED.clear()
    Finds.asked.clear()


def save(path, data):
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return str(path)


@pytest.mark.paper(
    "capture",
    shows="C",
    case="A1-9 by the command: sentences, lemmas, noun gate, stop words, pooled attributes, three stages, P, R, F, "
    "weights, two references: .6177; B1-5 on a dataset: whole, boxes, crops, verification, merge; judged by A",
)
def test_the_metric_and_the_construction(tmp_path, monkeypatch):
    monkeypatch.setenv("PANOGLOT_WORDNET", str(wordnet(tmp_path / "wordnet")))
    preds = save(tmp_path / "preds.json", {"a": CAPTION, "b": "A cat."})
    refs = save(tmp_path / "refs.json", {"a": [OTHER, CAPTION], "b": ["A cat."]})
    found = commands.captions(preds, refs, metrics="capture", parser="toy:reads", encoder="toy:halves", cache="off")
    result = found["capture"]
    # step 2: "made of steel" goes; 3: `running` is no noun, with its attribute and relation; 4: the background goes,
    # its attribute stays; 5: red twice
    assert result.details[0] == {
        "object": ["car", "dog", "traffic light", "truck"],
        "attribute": ["blue", "red", "red"],
        "relation": [("car", "near", "traffic light")],
    }
    # 6a truck, 6b car = automobile, 6c dog and traffic light at .5 against puppy, road and signal
    objects = 2 * (3 / 4) * (3.5 / 5) / (3 / 4 + 3.5 / 5)
    attributes = 2 * (2 / 3) * (1.5 / 2) / (2 / 3 + 1.5 / 2)  # one red; blue and red at .5 against wet
    first = (0.5 * objects + 0.5 * attributes + 0.2 * 0.25) / 1.2
    assert first == pytest.approx(0.637508, abs=1e-6)
    # the second reference is the caption itself: 1; the mean, not the best; an only object: .4167
    assert result.per_item == pytest.approx([(first + 1) / 2, 0.5 / 1.2], abs=1e-5)
    assert result.value == pytest.approx(0.617710, abs=1e-5)
    assert (result.options["noun_gate"], result.options["soft"], result.options["synonyms"]) == (
        True, True, "wordnet-3.0",
    )  # fmt: skip
    assert result.options["weights"] == [0.5, 0.5, 0.2]
    # the paper's list is read from its file: the dog is one of its words here
    words = save(tmp_path / "stop_words.py", "\nstop_words_list = [\n    'dog',\n    'background',\n]\n")
    other = commands.captions(
        preds, refs, metrics="capture", parser="toy:reads", encoder="toy:halves", stop_words=words, cache="off"
    )["capture"]
    assert other.details[0]["object"] == ["car", "traffic light", "truck"]
    assert other.options["stop_words"].startswith("custom (2, ")

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(picture_bytes(1))
    data = tmp_path / "X.pano"
    panoglot.ingest(tmp_path / "photos", data, quiet=True)
    panoglot.caption(
        data, method="describe-crops", quiet=True, captioner="toy:tells", llm="toy:tells",
        set=["segmenter=toy:segments", "detector=toy:finds"],
    )  # fmt: skip
    rows = {row["text"]: row for row in panoglot.open(data).captions.rows()}
    whole, *crops, merge = ASKED
    assert (whole.temperature, whole.max_tokens) == (0.2, 192)  # 1
    # 2: dust and the whole go, the two of the dog are one; 3: crops with a fiftieth more on each side
    places = sorted(prompt.turns[-1].parts[0].region.box for prompt in crops)
    assert places == [(0.08, 0.08, 0.32, 0.32), (0.58, 0.58, 0.92, 0.92)]
    assert all((p.temperature, p.max_tokens) == (0.2, 64) and "at most 20 words" in p.text for p in crops)
    # 4: of parts only things without attributes, and the text itself as a decoy; of the whole "brown dog", then things
    assert sorted(Finds.asked) == [("brown dog", "red sofa"), ("dog", "A dog with a white paw."), ("lamp",)]
    assert "Description: A brown dog lies on a red sofa. A stands beside it.\n" in merge.text
    assert "- A white cup stands here." in merge.text
    assert "at most 300 words" in merge.text  # 5
    assert (merge.max_tokens, merge.temperature) == (500, 0.0)
    assert rows[FINAL]["dropped"] is None
    assert (rows[FINAL]["kind"], rows[WHOLE]["dropped"]) == ("dense", "draft")
    truth = save(tmp_path / "truth.json", {"a.png": [FINAL]})
    judged = [
        commands.captions(made, truth, metrics="capture", encoder="toy:halves", cache="off")["capture"].value
        for made in (save(tmp_path / "first.json", {"a.png": WHOLE}), save(tmp_path / "built.json", {"a.png": FINAL}))
    ]
    assert judged[0] < 0.8 < judged[1]
