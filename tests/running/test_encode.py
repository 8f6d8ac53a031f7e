import contextlib

import pytest

from panoglot.errors import UserError
from panoglot.providers import register
from panoglot.running import Progress, StageResult, align_stage, encode_stage, run_stage
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


class Lists(Fits):
    """An encoder that answers with lists of numbers, of any length."""

    fingerprint = "toy-lists-1"

    def encode_images(self, images):
        return [[3, 4]] * len(images)


class Ragged(Fits):
    fingerprint = "toy-ragged-1"

    def encode_images(self, images):
        return [[1.0] * (n % 2 + 1) for n, _ in enumerate(images)]


class Few(Fits):
    fingerprint = "toy-few-1"

    def encode_images(self, images):
        return [[1.0, 0.0]]


def test_an_encoder_may_answer_with_lists_and_its_vectors_are_stored_at_unit_length(dataset, run_id):
    register("toy:lists", Lists)
    run_stage(dataset, encode_stage(dataset, "toy:lists"), run_id, limit=3)
    rows = dataset.vectors(dataset.vector_names()[0]).rows(["vector"])
    assert [row["vector"] for row in rows] == [pytest.approx([0.6, 0.8], abs=1e-3)] * 3


@pytest.mark.parametrize(("model", "said"), [(Ragged, r"gave 8 of sizes \[1, 2\]"), (Few, r"gave 1 of sizes \[2\]")])
def test_an_encoder_that_answers_with_something_else_is_a_line(dataset, run_id, model, said):
    register("toy:odd", model)
    with pytest.raises(UserError, match=r"'toy:odd' must answer with one vector of 2 numbers for each of 8.*" + said):
        run_stage(dataset, encode_stage(dataset, "toy:odd"), run_id)


def test_where_there_is_no_terminal_a_stage_is_a_line(capsys, monkeypatch):
    result = StageResult("encode.images", "x")
    with Progress("encode.images", 2000) as bar:
        result.done = 500
        bar.update(500, result)
        monkeypatch.setattr("panoglot.running._progress.EVERY", -1.0)
        result.done, result.rejected = 1200, 3
        bar.update(703, result)
    with Progress("nothing", 0):
        pass
    with contextlib.suppress(KeyError), Progress("failed", 9) as bar:
        bar._seen = (1, 0)
        raise KeyError
    with Progress("quiet", 9, quiet=True) as bar:
        bar.update(1, result)
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(",")[0] for line in lines] == [
        "encode.images: 1,200 of 2,000 so far, 3 rejected",
        "encode.images: 1,200 done, 3 rejected",
    ]
