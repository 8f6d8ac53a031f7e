import numpy as np
import PIL.Image
import PIL.ImageColor
import pytest

from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.providers.embedded import cielab, colour_examples, colour_numbers, picture_facts


def picture(colour, size=(8, 8), mode="RGB"):
    return Image.from_pil(PIL.Image.new(mode, size, colour))


@pytest.mark.parametrize(
    ("name", "colours"),
    {
        "black": "black",
        "white": "white snow ivory ghostwhite whitesmoke",
        "grey": "grey darkgrey dimgrey slategrey silver lightslategrey",
        "red": "red crimson firebrick darkred",
        "orange": "orange darkorange coral",
        "yellow": "yellow gold khaki",
        "green": "green lime forestgreen olivedrab seagreen lightgreen darkgreen yellowgreen",
        "blue": "blue navy royalblue skyblue steelblue dodgerblue cyan midnightblue",
        "purple": "purple darkorchid indigo mediumpurple blueviolet magenta orchid",
        "pink": "pink hotpink deeppink lightpink",
        "brown": "saddlebrown sienna tan peru",
    }.items(),
)
def test_css_colours_have_the_names_people_give_them(name, colours):
    for colour in colours.split():
        assert picture_facts(picture(colour)).colours == ((name, 1.0),), colour


def test_shares_are_of_what_is_visible():
    pixels = np.zeros((100, 100, 4), np.uint8)
    pixels[:50, :, :] = (255, 0, 0, 255)  # the upper half red
    pixels[50:75, :, :] = (0, 0, 255, 255)
    pixels[75:] = (0, 255, 0, 0)  # transparent green: nobody sees it
    facts = picture_facts(Image.from_pil(PIL.Image.fromarray(pixels)))
    assert [name for name, _ in facts.colours] == ["red", "blue"]
    assert facts.colours[0][1] == pytest.approx(2 / 3, abs=0.02)
    assert facts.transparent == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("size", "shape"),
    [((100, 100), "square"), ((104, 100), "square"), ((150, 100), "landscape"), ((200, 100), "panorama"),
     ((100, 150), "portrait"), ((100, 200), "tall"), ((1, 1), "square")],
)  # fmt: skip
def test_shape(size, shape):
    facts = picture_facts(picture("red", size))
    assert (facts.width, facts.height, facts.shape) == (*size, shape)


def test_light():
    black, white = picture_facts(picture("black")), picture_facts(picture("white"))
    assert (black.brightness, white.brightness) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-3))
    assert black.colourfulness == white.colourfulness == 0
    half = PIL.Image.new("L", (64, 64))
    half.paste(255, (0, 0, 32, 64))
    facts = picture_facts(Image.from_pil(half))
    assert facts.contrast == pytest.approx(0.5, abs=0.01)
    assert dict(facts.colours) == {"black": 0.5, "white": 0.5}


def test_invisible_and_broken(broken):
    with pytest.raises(RowError, match="invisible"):
        picture_facts(picture((1, 2, 3, 0), mode="RGBA"))
    with pytest.raises(RowError):
        picture_facts(broken)


def test_every_pixel_has_the_colour_of_the_nearest_example():
    values = np.arange(0, 256, 5, dtype=np.uint8)
    pixels = np.stack(np.meshgrid(values, values, values), -1).reshape(-1, 3)
    lab = cielab(pixels)
    names, examples = colour_examples()
    for start in range(0, len(lab), 8192):
        some = lab[start : start + 8192]
        nearest = np.linalg.norm(some[:, None, :] - examples, axis=2).argmin(1)  # as the definition says it
        assert (colour_numbers(some) == names[nearest]).all()
