"""Prompts are turns of parts; every provider honours them or refuses by name."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import RowError, UserError
from panoglot.geometry import Region
from panoglot.pictures import Image, decode_mask, draw_region, encode_mask, pixel_box
from panoglot.providers import load_model, lowered, plain_text
from panoglot.providers.roles import Frames, Prompt, RegionPart, Turn


def picture(colour="red", size=(40, 20)):
    return Image.from_pil(PIL.Image.new("RGB", size, colour))


def test_a_text_with_pictures_is_one_turn_after_the_system():
    image = picture()
    prompt = Prompt("Was ist das?", (image,), system="Kurz.")
    assert [(turn.role, turn.parts) for turn in prompt.turns] == [
        ("system", ("Kurz.",)),
        ("user", (image, "Was ist das?")),
    ]
    assert (prompt.text, prompt.images, prompt.system) == ("Was ist das?", (image,), "Kurz.")
    assert prompt.saying("Und nun?").turns[1].parts == (image, "Und nun?")
    assert replace(prompt, seed=3).turns == prompt.turns


def test_turns_are_checked():
    with pytest.raises(UserError, match="write user, assistant or system"):
        Turn("bot", ("x",))
    with pytest.raises(ValueError, match="its turns, or a text"):
        Prompt("x", turns=[Turn("user", ("y",))])
    with pytest.raises(UserError, match="Did you mean 'crop'"):
        RegionPart(picture(), Region(), "croop")


def test_regions_and_frames_become_pictures_in_order():
    one, two = picture("red"), picture("blue")
    prompt = Prompt(
        turns=[
            Turn("user", ("A:", RegionPart(one, Region(0, 0, 0.5, 1)), "B:", Frames((one, two), (0.0, 1.5)))),
            Turn("assistant", ("gut",)),
            Turn("user", ("Und?",)),
        ]
    )
    low = lowered(prompt, model="m")
    kinds = [[p if isinstance(p, str) else (p.width, p.parent == one.id) for p in turn.parts] for turn in low.turns]
    assert kinds[0] == ["A:", (20, True), "B:", "0.0 s: ", (40, False), "1.5 s: ", (40, False)]
    assert kinds[1:] == [["gut"], ["Und?"]]
    assert lowered(low, model="m") == low


@pytest.mark.parametrize("how", ["alpha", "token"])
def test_what_a_model_cannot_be_shown_is_refused_by_name(how):
    prompt = Prompt("?", (RegionPart(picture(), Region(), how),))
    with pytest.raises(UserError, match=f"hf:x cannot be shown a region as '{how}'"):
        lowered(prompt, model="hf:x")
    assert lowered(prompt, model="hf:x", takes={how}).turns == prompt.turns


def test_a_completion_has_no_assistant():
    assert plain_text(Prompt("b", system="a"), "m") == "a\n\nb"
    with pytest.raises(UserError, match="no turns of an assistant"):
        plain_text(Prompt(turns=[Turn("assistant", ("x",)), Turn("user", ("y",))]), "m")


def test_a_crop_has_its_own_id_and_its_parent():
    image = picture()
    region = Region(0.25, 0, 0.75, 1)
    crop, again = draw_region(image, region), draw_region(image, region)
    assert (crop.width, crop.height) == (20, 20)
    assert crop.id == again.id != image.id
    assert (crop.parent, crop.region) == (image.id, region)
    ids = {draw_region(image, region, how).id for how in ("crop", "outline", "blur", "alpha")}
    assert len(ids) == 4


def test_a_mask_is_drawn_pixel_by_pixel():
    mask = np.zeros((20, 40), bool)
    mask[5:10, 10:30] = True
    region = Region(0.25, 0.25, 0.75, 0.5, encode_mask(mask))
    alpha = draw_region(picture(), region, "alpha")
    drawn = np.asarray(PIL.Image.open(__import__("io").BytesIO(alpha.data)))
    assert (drawn[..., 3] > 0).tolist() == mask.tolist()
    outlined = draw_region(picture("white"), region, "outline").pixels()
    assert outlined[mask].tolist() == [[255, 255, 255]] * mask.sum()
    assert ((outlined == [255, 0, 0]).all(-1) & ~mask).any()
    with pytest.raises(RowError, match="empty_region"):
        draw_region(picture(), Region(mask=encode_mask(np.zeros((20, 40), bool))))
    with pytest.raises(RowError, match="bad_mask"):
        draw_region(picture(size=(8, 8)), region)


@pytest.mark.parametrize("seed", range(20))
def test_masks_come_back_from_their_runs(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2)
    mask = rng.random((height, width)) < rng.random()
    assert (decode_mask(encode_mask(mask), width, height) == mask).all()


@pytest.mark.parametrize("text", ["~", "P", "1322", "0"])
def test_a_bad_mask_is_a_row_error(text):
    with pytest.raises(RowError, match="bad_mask"):
        decode_mask(text, 3, 2)


def test_a_box_is_at_least_a_pixel():
    assert pixel_box(Region(0.5, 0.5, 0.5, 0.5), 10, 10) == (5, 5, 6, 6)
    assert pixel_box(Region(1, 1, 1, 1), 10, 10) == (9, 9, 10, 10)


def test_a_server_gets_the_turns_as_they_are():
    model = load_model("openai:http://127.0.0.1:9/v1#m")
    image = picture()
    prompt = Prompt(
        turns=[
            Turn("system", ("Kurz.",)),
            Turn("user", ("vorher ", image, " nachher")),
            Turn("assistant", ("ja",)),
            Turn("user", ("sicher?",)),
        ],
        top_p=0.9,
    )
    body = asyncio.run(model._request(prompt))
    shape = [
        (m["role"], m["content"] if isinstance(m["content"], str) else [part["type"] for part in m["content"]])
        for m in body["messages"]
    ]
    assert shape == [
        ("system", "Kurz."),
        ("user", ["text", "image_url", "text"]),
        ("assistant", "ja"),
        ("user", "sicher?"),
    ]
    assert body["top_p"] == 0.9
    assert "top_p" not in asyncio.run(model._request(Prompt("x")))
    assert json.dumps(body)
