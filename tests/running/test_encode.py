import pytest

from panoglot.providers import register
from panoglot.running import align_stage, encode_stage, run_stage
from panoglot.table import Caption, caption_to_row, given_caption_id
from tests.running.toy import Fits


@pytest.fixture
def captions(dataset):
    """A caption for each picture."""
    register("toy:fits", Fits)
    rows = []
    for image in sorted(dataset.images.read(["image_id"])["image_id"].to_pylist()):
        key = given_caption_id(image, "web", "en", None, "0.5 as said")
        rows.append(caption_to_row(Caption("0.5 as said", "en", "alt", recipe="web", image_id=image, caption_id=key)))
    dataset.captions.insert(rows)
    return rows


def scores(dataset):
    return [dict(row["scores"]).get("alignment") for row in dataset.captions.rows(["scores"])]


def test_captions_wait_for_the_vectors_of_their_pictures(dataset, run_id, captions):
    """What cannot be scored yet is neither done nor failed: it is scored when there is a vector."""
    first = run_stage(dataset, align_stage(dataset, "toy:fits"), run_id)
    assert (first.done, first.rejected, first.pending) == (0, 0, 0)
    assert scores(dataset) == [None] * 60
    run_stage(dataset, encode_stage(dataset, "toy:fits"), run_id, limit=25)
    part = run_stage(dataset, align_stage(dataset, "toy:fits"), run_id)
    assert (part.done, part.rejected, part.pending) == (25, 0, 0)
    run_stage(dataset, encode_stage(dataset, "toy:fits"), run_id)
    rest = run_stage(dataset, align_stage(dataset, "toy:fits"), run_id)
    assert (rest.done, rest.skipped) == (35, 25)
    assert scores(dataset) == pytest.approx([0.5] * 60, abs=1e-3)
    assert run_stage(dataset, align_stage(dataset, "toy:fits"), run_id).done == 0
