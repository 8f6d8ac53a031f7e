import csv

import pytest

from panoglot.curation import UNSCORED, aspect, image_score, many_texts, size


def facts(width, height):
    return {"width": width, "height": height}


def test_bounds_of_size():
    assert size(facts(200, 300), min_side=201) == "too_small"
    assert size(facts(201, 300), min_side=201) is None
    assert size(facts(100, 100), min_side=100) is None
    assert size(facts(99, 100), min_side=100) == "too_small"
    assert size(facts(1000, 1000), max_pixels=1_000_000) is None
    assert size(facts(1000, 1001), max_pixels=1_000_000) == "too_large"
    assert size(facts(5000, 5000), max_pixels=None) is None


@pytest.mark.parametrize("bad", [{}, facts(0, 10), facts(10, None)])
def test_missing_sizes_are_unscored(bad):
    assert size(bad) is UNSCORED
    assert aspect(bad) is UNSCORED


def test_aspect_is_strict():
    assert aspect(facts(300, 100), below=3) == "bad_aspect"
    assert aspect(facts(100, 300), below=3) == "bad_aspect"
    assert aspect(facts(299, 100), below=3) is None


def test_align_rules_on_real_sizes(test_data):
    """Of the 3600 sizes of Crossmodal-3600 ALIGN's rules 2 and 3 keep 3588."""
    path = test_data / "google+crossmodal-3600" / "image_shapes.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    kept = total = 0
    with open(path, newline="") as file:
        for row in csv.reader(file):
            try:
                width, height = int(row[1]), int(row[2])
            except (IndexError, ValueError):
                continue
            total += 1
            kept += size(facts(width, height), min_side=201) is None and aspect(facts(width, height), below=3) is None
    assert (total, kept) == (3600, 3588)


def test_many_texts_and_scores():
    assert many_texts({"texts": 3}, maximum=3) is None
    assert many_texts({"texts": 4}, maximum=3) == "too_many_texts"
    assert image_score({"scores": {"sharp": 0.4}}, name="sharp", minimum=0.5) == "low_sharp"
    assert image_score({"scores": {}}, name="sharp", minimum=0.5) is UNSCORED
