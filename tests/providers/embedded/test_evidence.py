"""`embedded:evidence`: the generator that stands in for a captioner."""

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import RowError, UserError
from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.roles import Frames, Prompt, RegionPart, Turn


@pytest.fixture(scope="module")
def model():
    return load_model("embedded:evidence")


def flat(*colours):
    """Upright stripes of plain colours."""
    pixels = np.zeros((60, 60 * len(colours), 3), np.uint8)
    for n, colour in enumerate(colours):
        pixels[:, 60 * n : 60 * (n + 1)] = colour
    return Image.from_pil(PIL.Image.fromarray(pixels))


def test_it_says_what_it_sees_whatever_is_asked(model):
    picture = flat((255, 0, 0), (0, 0, 255))
    asked = ["Describe the image.", "Beschreibe das Bild.", "这是什么？", "صف الصورة."]
    said = {answer.text for answer in model.generate([Prompt(text, (picture,)) for text in asked])}
    (text,) = said
    assert "red" in text
    assert "blue" in text


def test_a_part_is_not_told_by_the_whole(model):
    picture = flat((255, 0, 0), (0, 0, 255))
    left = Prompt(turns=[Turn("user", (RegionPart(picture, Region(0, 0, 0.45, 1)), "Describe this part."))])
    (answer,) = model.generate([left])
    assert "red" in answer.text
    assert "blue" not in answer.text


def test_frames_are_told_each_once(model):
    frames = Frames((flat((255, 0, 0)), flat((255, 0, 0)), flat((0, 0, 255))), (0.0, 1.0, 2.0))
    (answer,) = model.generate([Prompt(turns=[Turn("user", (frames, "What happens?"))])])
    sentences = [one for one in answer.text.split(". ") if one]
    assert len(sentences) == len(set(sentences))
    assert "red" in answer.text
    assert "blue" in answer.text


def test_questions_without_a_picture_and_broken_pictures_cost_no_other_row(model, broken):
    fine = flat((0, 128, 0))
    none, bad, good = model.generate([Prompt("Merge these."), Prompt("What?", (broken,)), Prompt("What?", (fine,))])
    assert isinstance(none, RowError)
    assert none.reason == "no_picture"
    assert isinstance(bad, RowError)
    assert "green" in good.text


def test_options_change_the_fingerprint_and_are_checked(model):
    assert load_model("embedded:evidence?sure=0.6").fingerprint != model.fingerprint
    assert load_model("embedded:evidence").fingerprint == model.fingerprint
    with pytest.raises(UserError, match="sure"):
        load_model("embedded:evidence?shure=0.6")
