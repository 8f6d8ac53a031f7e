"""Copies: what came with them goes over, and pictures that people described in other words stay."""

import shlex

import numpy as np
import PIL.Image
import pytest

import panoglot
from panoglot.cli import main
from panoglot.curation import MOST_DIFFERENCE, curate, difference
from panoglot.geometry import Region
from tests.curation.conftest import jpeg, scene

STEPS = ["near_duplicate"]


@pytest.fixture
def pair(maker):
    """A picture and its small copy, as ids."""
    picture = scene(1, 1280, 960)
    return maker.image(jpeg(picture), 1280, 960), maker.image(jpeg(picture.resize((640, 480))), 640, 480)


def eye(colour: tuple[int, int, int]) -> PIL.Image.Image:
    """A picture with a disc of a colour; the colours used have the same luminance, so PDQ sees no difference."""
    pixels = np.array(scene(5, 640, 480).convert("L").convert("RGB"))
    y, x = np.mgrid[:480, :640]
    pixels[(y - 240) ** 2 + (x - 320) ** 2 < 80**2] = colour
    return PIL.Image.fromarray(pixels)


GREEN, BROWN = (0, 128, 0), (180, 37, 0)


def carried(maker):
    rows = maker.dataset.captions.rows(where="recipe = 'carried/1'")
    return {(row["image_id"], row["lang"], row["text"]): row for row in rows}


def test_captions_of_a_copy_go_over_with_language_kind_and_parent(maker, pair):
    large, small = pair
    maker.caption(large, "Ein Hund", lang="de", kind="human", recipe="human")
    first = maker.caption(small, "สุนัข", lang="th", kind="human", recipe="human", scores={"alignment": 0.5})
    maker.caption(small, "ein  HUND", lang="de", kind="human", recipe="human")  # said there already
    maker.caption(small, "a dog, says a model", model="hf:x", kind="short", recipe="describe/1")
    maker.caption(small, "draft", kind="human", dropped="draft")
    maker.caption(small, "a paw", kind="region", recipe="human", region=Region(0, 0, 0.5, 0.5))
    result = curate(maker.dataset, steps=STEPS)
    assert (result.images_kept, result.carried) == (1, 1)
    ((key, row),) = carried(maker).items()
    assert key == (large, "th", "สุนัข")
    assert (row["kind"], row["parents"], row["dropped"], row["scores"]) == ("human", [first], None, {})
    assert result.statistics["copies"] == {"captions_of_copies_carried": 1, "captions_of_regions_left_with_copies": 1}
    assert len(maker.dataset.captions) == 7  # nothing is moved
    assert curate(maker.dataset, steps=STEPS).carried == 0
    assert len(maker.dataset.captions) == 7


def test_what_came_over_goes_with_the_copy(maker, pair):
    large, small = pair
    maker.caption(small, "a dog", kind="human", recipe="human")
    curate(maker.dataset, steps=STEPS)
    assert carried(maker)[large, "en", "a dog"]["dropped"] is None
    again = curate(maker.dataset, steps=["size"])  # nobody looks for copies: both pictures stay
    assert carried(maker)[large, "en", "a dog"]["dropped"] == "not_carried"
    assert (again.images_kept, dict(again.captions_dropped)) == (2, {"not_carried": 1})
    curate(maker.dataset, steps=STEPS)
    assert carried(maker)[large, "en", "a dog"]["dropped"] is None


def test_what_came_over_is_judged_as_any_caption_and_counted_once(maker, pair):
    large, small = pair
    maker.caption(large, "its own", kind="alt")
    maker.caption(small, "word", kind="alt")
    for n in range(9):
        maker.caption(maker.image(f"{n}"), "word", kind="alt")
    result = curate(maker.dataset, steps=[*STEPS, "common_text", ("many_texts", {"maximum": 1})])
    assert (dict(result.captions_dropped), result.images_kept) == ({}, 10)  # at ten images, not eleven; one own text
    curate(maker.dataset, steps=[*STEPS, ("length", {"min_words": 2})])
    assert carried(maker)[large, "en", "word"]["dropped"] == "too_short"


def test_a_chain_of_copies_gives_to_the_one_that_stays(maker):
    picture = scene(2, 1280, 960)
    sizes = [(1280, 960), (640, 480), (320, 240)]
    ids = [maker.image(jpeg(picture.resize(size)), *size) for size in sizes]
    for image, lang in zip(ids, ("en", "de", "fr")):
        maker.caption(image, f"text {lang}", lang=lang, kind="human", recipe="human")
    curate(maker.dataset, steps=[("size", {"max_pixels": 1_000_000}), *STEPS])
    assert set(carried(maker)) == {(ids[1], "fr", "text fr")}
    curate(maker.dataset, steps=STEPS)
    here = {key: row["dropped"] for key, row in carried(maker).items()}
    assert here == {
        (ids[1], "fr", "text fr"): "not_carried",
        (ids[0], "de", "text de"): None,
        (ids[0], "fr", "text fr"): None,
    }


def test_other_pictures_with_other_captions_stay(maker):
    green, brown = maker.image(jpeg(eye(GREEN))), maker.image(jpeg(eye(BROWN)))
    assert curate(maker.dataset, steps=STEPS).images_kept == 1  # PDQ sees no colour
    for lang, one, other in (("en", "A green eye.", "A brown eye."), ("de", "Ein Auge", "Ein Auge")):
        maker.caption(green, one, lang=lang, kind="human", recipe="human")
        if lang == "en":
            maker.caption(brown, other, lang=lang, kind="human", recipe="human")
    result = curate(maker.dataset, steps=STEPS)
    assert (result.images_kept, result.kept_apart, len(carried(maker))) == (2, 1, 0)
    maker.caption(brown, "Ein Auge", lang="de", kind="human", recipe="human")  # now half of the languages agree
    assert curate(maker.dataset, steps=STEPS).images_kept == 1


def test_captions_of_one_picture_by_two_people_do_not_keep_it_twice(maker, pair):
    large, small = pair
    maker.caption(large, "A man on a horse", kind="human", recipe="human")
    maker.caption(small, "Somebody is riding", kind="human", recipe="human")
    result = curate(maker.dataset, steps=STEPS)
    assert (result.images_kept, result.carried) == (1, 1)  # the pixels agree


def test_look_compares_the_pixels_of_every_pair(maker):
    green, brown = maker.image(jpeg(eye(GREEN))), maker.image(jpeg(eye(BROWN)))
    small = maker.image(jpeg(eye(GREEN).resize((320, 240))), 320, 240)
    steps = [("near_duplicate", {"look": True})]
    result = curate(maker.dataset, steps=steps)
    assert maker.marks() == {small: f"duplicate_of:{green}"}
    assert (result.images_kept, result.kept_apart) == (2, 1)
    assert brown not in maker.marks()


def test_in_a_mixed_group_a_picture_without_captions_is_looked_at(maker):
    green, brown = maker.image(jpeg(eye(GREEN))), maker.image(jpeg(eye(BROWN)))
    maker.caption(green, "A green eye", kind="human", recipe="human")
    maker.caption(brown, "A brown eye", kind="human", recipe="human")
    copies = {maker.image(jpeg(eye(c).resize((320, 240))), 320, 240): of for c, of in ((GREEN, green), (BROWN, brown))}
    curate(maker.dataset, steps=STEPS)
    assert maker.marks() == {image: f"duplicate_of:{of}" for image, of in copies.items()}


def test_similar_keeps_apart_and_carries_too(maker):
    import pyarrow as pa

    green, brown = maker.image(jpeg(eye(GREEN))), maker.image(jpeg(eye(BROWN)))
    small = maker.image(jpeg(eye(BROWN).resize((320, 240))), 320, 240)
    table = maker.dataset.vectors("e", 2)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.float16([1, 0] * 3)), 2)
    rows = [pa.array(["1", "2", "3"]), pa.array([green, brown, small]), pa.array(["image"] * 3)]
    table.insert(
        pa.Table.from_arrays([*rows, pa.nulls(3, pa.string()), vectors, pa.array([""] * 3)], schema=table.schema)
    )
    maker.caption(green, "A green eye", kind="human", recipe="human")
    maker.caption(brown, "A brown eye", kind="human", recipe="human")
    maker.caption(small, "Ein braunes Auge", lang="de", kind="human", recipe="human")
    assert curate(maker.dataset, steps=["similar"]).images_kept == 2
    assert maker.marks() == {small: f"duplicate_of:{brown}"}
    assert set(carried(maker)) == {(brown, "de", "Ein braunes Auge")}


def test_dry_run_counts_and_writes_nothing(maker, pair):
    large, small = pair
    maker.caption(small, "a dog", kind="human", recipe="human")
    curate(maker.dataset, steps=STEPS)
    maker.caption(small, "a wolf", kind="human", recipe="human")
    assert curate(maker.dataset, steps=STEPS, dry_run=True).carried == 1
    assert set(carried(maker)) == {(large, "en", "a dog")}


def test_difference_is_that_of_the_worst_place():
    thumbnail = np.asarray(scene(1).resize((64, 64)))
    other = thumbnail.copy()
    other[20:24, 20:24] = 255 - other[20:24, 20:24] // 2
    assert difference(thumbnail, thumbnail) == 0
    assert difference(thumbnail, other) > MOST_DIFFERENCE


def test_what_nobody_kept_is_said_with_the_counts(maker, capsys):
    for n in range(3):
        maker.caption(maker.image(f"{n}", 500, 500), "word")
    result = curate(maker.dataset, steps=[("length", {"min_words": 9})])
    assert result.nothing_kept == "no caption is kept: 3 too_short"
    assert result.mend.endswith(" --steps length")
    assert curate(maker.dataset, steps=["size"]).nothing_kept is None
    steps = ["aspect", ("size", {"min_side": 600}), ("length", {"min_words": 1, "kinds": ["alt"]})]
    result = curate(maker.dataset, steps=steps)
    assert result.nothing_kept == "no image is kept: 3 too_small"
    command = shlex.split(result.mend.partition(": ")[2])
    assert command == ["panoglot", "curate", str(maker.dataset.path), *command[3:]]
    with pytest.raises(SystemExit) as stop:
        main(command[1:])
    assert (stop.value.code, set(maker.marks().values())) == (0, {None})
    assert "3 of 3 images" in capsys.readouterr().out


def test_kept_images_without_vectors_are_counted(maker):
    import pyarrow as pa

    ids = [maker.image(f"{n}", 100 * n, 100 * n) for n in range(1, 5)]
    table = maker.dataset.vectors("e", 2)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.float16([1, 0])), 2)
    rows = [pa.array(["1"]), pa.array(ids[3:]), pa.array(["image"]), pa.nulls(1, pa.string()), vectors, pa.array([""])]
    table.insert(pa.Table.from_arrays(rows, schema=table.schema))
    assert curate(maker.dataset, steps=[("size", {"min_side": 250})]).without_vectors == {"e": 1}
    assert panoglot.curate(maker.dataset, steps=[("size", {"min_side": 350})]).without_vectors == {}
    assert curate(maker.dataset, steps=["size"]).without_vectors == {"e": 3}
