"""Against a known truth: every method tells more, or more truly, than one question to the captioner."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.captioning import scenes
from tests.captioning.scenes import RUNS, interval, measure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "captioning.md"
#: What each method raises over `describe`, with intervals apart.
RAISES = {
    "scalecap": "truth",
    "patch-matters": "coverage",
    "describe-crops": "coverage",
    "image-textualization": "both",
    "densefusion": "coverage",
    "fusecap": "coverage",
    "capsfusion": "coverage",
    "veclip": "coverage",
    "caption-boosting": "coverage",
    "rank-and-fuse": "truth",
    "mlbcap": "coverage",
}


@cache
def means(name):
    _, scores, asked = measure(name)
    return {"truth": interval(scores[:, 0]), "coverage": interval(scores[:, 1])}, asked


@pytest.mark.parametrize("name", RAISES)
def test_a_method_raises_what_it_says(name):
    base, _ = means("describe")
    found, asked = means(name)
    for what in ("truth", "coverage") if RAISES[name] == "both" else (RAISES[name],):
        assert found[what][1] > base[what][2], (what, found[what], base[what])
    assert asked["captioner"] >= 1


def test_the_table_is_of_all_that_is_measured():
    assert {*RAISES, "describe"} == set(RUNS)


@pytest.mark.skipif(not PAGE.is_file(), reason="not a source tree")
def test_the_table_of_the_page_is_what_was_measured():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (0\..*?) \| [\d.]+ \|", PAGE.read_text(encoding="utf-8"), re.M))
    for name in RUNS:
        shown = [f"{mean:.2f} ({low:.2f}–{high:.2f})" for mean, low, high in means(name)[0].values()]
        assert rows[name] == " | ".join(shown), name


def test_claims_are_read_off_sentences():
    text = "A red car is in the top left. The dog is blue. There is a green cup and a bus."
    assert scenes.claims(text) == {
        ("car", ""), ("car", "red"), ("car", "top left"), ("dog", ""), ("dog", "blue"), ("cup", ""), ("cup", "green"),
        ("bus", ""),
    }  # fmt: skip
    one = scenes.scene(3)
    told = " ".join(thing.sentence() for thing in one.things)
    assert scenes.truth_and_coverage(told, one.facts) == (1, 1)
    assert scenes.truth_and_coverage("", one.facts) == (0, 0)


def test_the_models_err_as_often_as_they_say():
    many = scenes.scenes(150)
    raw, _ = scenes.world(many)
    found = [raw["detector"].detect([one.image], None)[0] for one in many]
    share = sum(map(len, found)) / sum(len(one.things) for one in many)
    assert share == pytest.approx(scenes.RATES["detector finds a thing"], abs=0.04)
