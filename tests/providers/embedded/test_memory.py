"""What frozen models said is shared by the processes of a run."""

import subprocess
import sys

import numpy as np
import pytest

from panoglot.pictures import Image
from panoglot.providers import MEMORY, Memory, load_model
from panoglot.providers.embedded.efficientnet import EfficientNetLite2
from panoglot.providers.roles import Tag

OTHER = """
import sys
from pathlib import Path
from panoglot.providers import Memory
from panoglot.providers.roles import Tag
memory = Memory()
memory.share(Path(sys.argv[1]))
for n in range(2000):
    memory.put(f"{n:032x}", [Tag("frog", n / 2000, "n01644900")])
memory.put("f" * 32, "x" * 100_000)
"""


def test_answers_of_another_process_are_found(tmp_path):
    memory = Memory()
    memory.share(tmp_path)
    memory.put("a" * 32, "mine")
    subprocess.run([sys.executable, "-c", OTHER, str(tmp_path)], check=True)
    assert memory.get(f"{7:032x}", None) is None  # it looks when a stage begins, not at every question
    memory.share(tmp_path)
    assert memory.get(f"{1999:032x}") == [Tag("frog", 1999 / 2000, "n01644900")]
    assert memory.get("f" * 32, None) is None  # long ones stay where they are
    assert memory.get("a" * 32) == "mine"


def test_a_record_that_is_being_written_is_left_for_later(tmp_path):
    memory = Memory()
    memory.share(tmp_path)
    memory.put("b" * 32, "whole")
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    (tmp_path / "1-x.answers").write_bytes(whole + b"\xaa" * 16 + (500).to_bytes(4, "little") + b"half")
    other = Memory()
    other.share(tmp_path)
    assert other.get("b" * 32) == "whole"
    assert other.get("a" * 32, None) is None


def test_nothing_is_shared_without_a_folder(tmp_path):
    memory = Memory()
    memory.share(tmp_path / "gone")
    memory.put("a" * 32, "mine")
    assert memory.get("a" * 32) == "mine"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def forgetful():
    MEMORY.clear()
    yield
    MEMORY.clear()


def test_the_network_runs_once_a_picture_for_tags_and_vectors(some_stamps, broken, monkeypatch, forgetful):
    pictures = [*some_stamps.values()][:3]
    tagger, encoder = load_model("embedded:efficientnet-lite2"), load_model("embedded:conse")
    _, logits, _ = tagger.run(pictures)
    seen = []
    run = EfficientNetLite2.run
    monkeypatch.setattr(EfficientNetLite2, "run", lambda self, images: seen.extend(images) or run(self, images))
    tags, vectors = tagger.tag([broken, *pictures]), encoder.encode_images([broken, *pictures])
    assert [image.id for image in seen] == [broken.id, *(p.id for p in pictures), broken.id]
    assert np.isnan(vectors[0]).all()
    for row, logit in zip(tags[1:], logits):  # exactly what all thousand say
        probability = np.exp(logit - logit.max())
        probability /= probability.sum()
        assert [tag.score for tag in row] == [float(p) for p in np.sort(probability)[::-1][:5]]


def test_more_classes_than_are_remembered(some_stamps, forgetful):
    picture = next(iter(some_stamps.values()))
    (few,) = load_model("embedded:efficientnet-lite2?top=3").tag([picture])
    (many,) = load_model("embedded:efficientnet-lite2?top=200").tag([picture])
    assert len(many) == 200
    assert many[:3] == few
    assert isinstance(picture, Image)
