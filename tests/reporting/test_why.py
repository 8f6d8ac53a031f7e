"""`show --why`: every kept caption, and step by step what it was made of."""

import pytest

import panoglot
from panoglot.table import Caption
from tests.conftest import picture_bytes
from tests.reporting.library import insert_captions, insert_image


def test_a_caption_is_followed_to_what_it_was_made_of(tmp_path, capsys):
    from panoglot.table import create_dataset

    data = create_dataset(str(tmp_path / "x.pano"))
    image = insert_image(data, picture_bytes(1), "a.jpg")

    def made(key, text, lang, **more):
        return Caption(text, lang, image_id=image, caption_id=key * 32, **more)

    insert_captions(
        data,
        [
            made("a", "zwei hunde \u202eam strand", "de", kind="human", recipe="human", author="Ana"),
            made("b", "Two dogs.", "en", recipe="describe/1", model="toy:one", dropped="draft", scores={"match": 0.25}),
            made("c", "Two cats.", "en", recipe="describe/1", model="toy:two", dropped="draft", parents=["a" * 32]),
            made(
                "d",
                "Two dogs on a beach.",
                "en",
                recipe="rank-and-fuse/1",
                model="toy:llm",
                parents=["b" * 32, "c" * 32],
            ),
            made("e", "كلبان على الشاطئ", "ar", recipe="translate/1", model="toy:mt", parents=["d" * 32, "f" * 32]),
            made("9", "Gone.", "en", recipe="describe/1", model="toy:one", dropped="repetition"),
        ],
    )
    told = str(panoglot.show(data, image, why=True))
    arabic = told[told.index("كلبان") :]
    steps = [
        "by translate · with toy:mt",
        "from 1. Two dogs on a beach.  en",
        "by rank-and-fuse · with toy:llm",
        "from 1. Two dogs.  en  (draft)",
        "by describe · with toy:one · match 0.25",
        "from 2. Two cats.  en  (draft)",
        "from zwei hunde",
        "given (human) · of Ana",
        "from 2. ffffffffffff, which is not in this dataset",
    ]
    places = [arabic.index(step) for step in steps]
    assert places == sorted(places)
    assert "Gone." not in told
    assert "\u202e" not in told
    assert told.count("Two dogs on a beach.") == 2  # by itself, and as what the Arabic one was made of

    from panoglot.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["show", str(tmp_path / "x.pano"), "a.jpg", "--why"])
    assert not ended.value.code
    assert "by translate · with toy:mt" in capsys.readouterr().out


def test_captions_that_lead_in_a_circle_end(tmp_path):
    from panoglot.table import create_dataset

    data = create_dataset(str(tmp_path / "x.pano"))
    image = insert_image(data, picture_bytes(1), "a.jpg")
    insert_captions(
        data,
        [
            Caption("One.", "en", image_id=image, caption_id="1" * 32, recipe="r/1", model="m", parents=["2" * 32]),
            Caption("Two.", "en", image_id=image, caption_id="2" * 32, recipe="r/1", model="m", parents=["1" * 32]),
        ],
    )
    told = str(panoglot.show(data, image, why=True))
    assert "(see above)" in told
