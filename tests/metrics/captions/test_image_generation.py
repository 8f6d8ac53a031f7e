"""GenEval, CLC, CSS and DPG: worked cases of the card."""

from __future__ import annotations

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import cross_lingual_consistency, dpg, geneval, mix_prompts, switching_similarity
from panoglot.geometry import Region
from panoglot.metrics.generation.geneval import geneval_image, relative_position
from panoglot.pictures import Image
from panoglot.providers.roles import Answer, Box
from tests.conftest import picture_bytes


def box(name: str, x0: float, y0: float, x1: float, y1: float, score: float = 0.95) -> Box:
    return Box(name, score, Region(x0, y0, x1, y1))


def test_positions() -> None:
    left, right, low = box("a", 0, 0.4, 0.2, 0.6), box("b", 0.8, 0.4, 1, 0.6), box("c", 0.8, 0.8, 1, 1)
    assert relative_position(left, right) == {"left of"}
    assert relative_position(right, left) == {"right of"}
    assert relative_position(low, right) == {"below"}
    assert relative_position(left, left) == set()
    # a diagonal may hold both relations: the offset is divided by its raw length
    assert relative_position(box("a", 0, 0, 0.1, 0.1), box("b", 0.9, 0.9, 1, 1)) == {"left of", "above"}
    # in a very wide image the same shares are left, not above
    assert relative_position(box("a", 0, 0, 0.1, 0.1), box("b", 0.9, 0.9, 1, 1), (1000, 100)) == {"left of"}


def test_image_rules() -> None:
    two = {"tag": "counting", "include": [{"class": "cat", "count": 2}], "exclude": [{"class": "cat", "count": 3}]}
    cats = [box("cat", 0.1 * n, 0, 0.1 * n + 0.1, 0.1) for n in range(3)]
    assert geneval_image(two, cats[:2])
    assert not geneval_image(two, cats)
    assert not geneval_image(two, [cats[0], box("cat", 0, 0, 1, 1, 0.5)])  # counting wants 0.9
    assert geneval_image(
        {"tag": "two_object", "include": [{"class": "cat", "count": 1}]}, [box("cat", 0, 0, 1, 1, 0.5)]
    )
    place = {
        "tag": "position",
        "include": [{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["left of", 0]}],
    }
    assert geneval_image(place, [box("cat", 0, 0, 0.2, 0.2), box("dog", 0.7, 0, 0.9, 0.2)])
    assert not geneval_image(place, [box("dog", 0, 0, 0.2, 0.2), box("cat", 0.7, 0, 0.9, 0.2)])
    assert not geneval_image(place, [box("cat", 0, 0, 0.2, 0.2)])  # relation to a group that failed
    red = {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "red"}]}
    # only the most confident detection is looked at
    assert geneval_image(
        red, [box("cat", 0, 0, 1, 1, 0.9), box("cat", 0, 0, 0.1, 1, 0.8)], lambda b: "red" if b.score > 0.85 else "blue"
    )
    with pytest.raises(UserError, match="color_of"):
        geneval_image(red, [box("cat", 0, 0, 1, 1)])


def test_overall_is_the_mean_over_tags() -> None:
    def row(tag: str) -> dict:
        return {"tag": tag, "include": [{"class": "cat", "count": 1}]}

    specs = [row("a")] * 3 + [row("b")] + [row("c")] * 2
    yes, no = [box("cat", 0, 0, 1, 1)], []
    found = geneval(specs, [yes, yes, yes, yes, yes, no], lang="hi")
    assert found.value == pytest.approx((1 + 1 + 0.5) / 3)
    assert found.parts["over_images"] == pytest.approx(5 / 6)
    assert geneval(specs, [None, *[yes] * 5]).unscored == 1
    with pytest.raises(UserError, match="does not know 1 classes of the prompts: cat"):
        geneval(specs, [yes] * 6, classes=["dog"])


@pytest.mark.paper("neobabel", shows="V", case="CLC of three languages by hand: .6, .5; equal pictures: 1")
def test_clc_worked_case() -> None:
    case = {"p": {"en": [[1, 0], [0, 1]], "fr": [[1, 0], [0.6, 0.8]], "nl": [[0, 1], [0, 1]]}}
    found = cross_lingual_consistency(case)
    assert found.parts == pytest.approx({"fr": 0.6, "nl": 0.5})
    assert found.value == pytest.approx(0.55)
    one = {"p": {lang: [[0.3, 0.4]] for lang in ("en", "fr", "zh")}}
    assert cross_lingual_consistency(one).value == pytest.approx(1)
    every = cross_lingual_consistency(case, reference=None).value
    turned = {"p": {"en": case["p"]["nl"], "fr": case["p"]["en"], "nl": case["p"]["fr"]}}
    assert cross_lingual_consistency(turned, reference=None).value == pytest.approx(every)
    missing = cross_lingual_consistency({**case, "q": {"en": np.eye(2), "fr": np.eye(2)}})
    assert (missing.unscored, missing.value) == (1, pytest.approx(0.55))  # null for all languages
    with pytest.raises(UserError, match="reference language 'xx'"):
        cross_lingual_consistency(case, reference="xx")


def test_mixed_prompts() -> None:
    assert mix_prompts("a photo of a cat", "一张猫的照片", "zh") == ("a photo 的照片", "一张猫 of a cat")
    assert mix_prompts("a photo of a cat", "عکس یک گربه", "fa") == ("a photo یک گربه", "عکس of a cat")
    found = switching_similarity({"p": {"nl": [[1, 0]]}, "q": {"nl": [[1, 0]]}}, {"p": [[0.6, 0.8]]})
    assert (found.value, found.unscored) == (pytest.approx(0.6), 1)


PICTURE = Image(picture_bytes(0))


def test_dpg_children_count_only_under_a_yes() -> None:
    class Says:
        def generate(self, prompts):
            return [Answer({"A": "Yes", "B": "yes.", "C": "No", "D": "yes", "E": "hm"}[p.text[0]]) for p in prompts]

    rows = [
        {"id": 1, "question": "A?"}, {"id": 2, "question": "B?", "parents": [1]},
        {"id": 3, "question": "C?"}, {"id": 4, "question": "D?", "parents": [3]}, {"id": 5, "question": "E?"},
    ]  # fmt: skip
    found = dpg([rows], [PICTURE], Says())
    assert found.value == pytest.approx(2 / 4)
    assert found.notes == ("1 answers said neither yes nor no.",)
    with pytest.raises(UserError, match="depends on 9"):
        dpg([[{"id": 1, "question": "A?", "parents": [9]}]], [PICTURE], Says())
