import io

import numpy as np
import PIL.Image
import pytest

from panoglot.pictures import Image


@pytest.fixture(scope="session")
def some_stamps(stamps):
    names = {
        "frog": "animals/amphibians/frog-1.png",
        "guitar": "hobbies/music/string/guitar_electric.png",
        "strawberry": "food/fruit/strawberry.png",
        "banana": "food/fruit/banana.png",
        "stop": "town/roadsigns/stop.png",
    }
    return {name: Image.from_path(str(stamps / path)) for name, path in names.items()}


@pytest.fixture(scope="session")
def broken():
    """A JPEG whose header is right and whose pixels are missing."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(buffer, "JPEG")
    return Image(buffer.getvalue()[:2000], width=300, height=300, format="jpeg")
