"""FineCapEval, CHAIR, POPE, FOIL, HAT, dense captioning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from panoglot.errors import UserError
from panoglot.evaluate import (
    RegionCaption,
    captions_at_iou,
    chair,
    dense_map,
    finecapeval,
    foil,
    hat,
    localisation,
    pope,
    read_finecapeval,
    rouge_l,
)
from panoglot.metrics.captions.chair import COCO_OBJECTS, find_objects
from panoglot.metrics.captions.dense import box_iou
from panoglot.metrics.captions.finecapeval import phrase_coverage
from panoglot.metrics.captions.hallucination import average_precision, roc_area
from panoglot.metrics.captions.pope import YES_NO, read_yes_no


# ---- FineCapEval ---------------------------------------------------------------------------------------------------
@pytest.mark.paper(
    "clip-reward-finecapeval",
    shows="V",
    case="FineCapEval's rows by hand: background 50, object 100, relation 50",
)
def test_finecapeval_worked_case_from_the_csv(tmp_path: Path) -> None:
    file = tmp_path / "FineCapEval.csv"
    file.write_text(
        "image,caption,background,object,relation\n"
        '1.jpg,A dog.,"Snowy field\\;dogs run",Dog\\;a,on\n'
        "1.jpg,Another.,sky,Dogs,under\n"
        "1.jpg,No background.,,Dog,on\n",
        encoding="utf-8",
    )
    phrases, captions = read_finecapeval(str(file))
    assert phrases["1.jpg"]["background"] == ["snowi field", "dog run", "sky"]
    assert phrases["1.jpg"]["object"] == ["dog", "dog"]  # the single letter is left out
    assert captions["1.jpg"] == ["A dog.", "Another."]
    assert phrase_coverage(["snowi field", "dog run"], "a dog run on a snowy field") == 0.75
    found = finecapeval({"1.jpg": "a dog run on a snowy field"}, phrases)
    assert found.parts == pytest.approx({"background": 50, "object": 100, "relation": 50})
    assert found.value == pytest.approx(200 / 3)


def test_finecapeval_quirks() -> None:
    assert phrase_coverage(["man"], "a woman") == 1.0
    assert phrase_coverage(["man"], "a woman", "words") == 0.0
    assert phrase_coverage(["dog"], "A DOG") == 0.0
    assert phrase_coverage(["dog"], "A DOG", "words") == 1.0
    assert phrase_coverage(["", "dog"], "dog") == 0.5  # an empty phrase counts 0, as published
    assert phrase_coverage([], "dog") is None
    with pytest.raises(UserError, match="1 images have no caption: 2"):
        finecapeval({"1": "x"}, {"1": {"object": ["a"]}, "2": {"object": ["a"]}})


# ---- CHAIR ---------------------------------------------------------------------------------------------------------
def test_coco_has_80_classes() -> None:
    assert len(set(COCO_OBJECTS.values())) == 80


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("two puppies and a hot dog", ["dog", "hot dog"]),
        ("a teddy bear on a couch", ["teddy bear", "couch"]),
        ("people with knives near a bus stop", ["person", "knife"]),
        ("a baseball player swings a bat", ["baseball bat"]),
        ("a glass of orange juice and an orange", ["orange"]),
        ("nothing to see", []),
    ],
)
def test_mentions(text: str, objects: list[str]) -> None:
    assert [name for _, name in find_objects(text.split(), COCO_OBJECTS)] == objects


def test_chair_by_hand() -> None:
    found = chair(
        ["a cat and a dog on a sofa", "a man rides a bike", "green grass"],
        [["cat"], ["person", "bicycle"], ["sheep"]],
        [["a cat lies on a couch"], ["someone cycles"], ["x"]],
    )
    assert found.value == pytest.approx(1 / 3)
    assert found.parts["chair_i"] == pytest.approx(1 / 5)
    assert found.parts["recall"] == pytest.approx(4 / 5)
    assert found.details[0] == {"hallucinated": ["dog"], "present": ["cat", "sofa"]}
    with pytest.raises(UserError, match="vocabulary is English"):
        chair(["eine Katze"], [["cat"]], lang="de")
    german = chair(["eine Katze und ein Hund"], [["cat"]], lang="de", vocabulary={"katze": "cat", "hund": "dog"})
    assert german.parts["chair_i"] == 0.5
    with pytest.raises(UserError, match="objects for 1 items"):
        chair(["a", "b"], [["cat"]])


# ---- POPE ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("lang", sorted(YES_NO))
def test_every_language_says_yes_and_no(lang: str) -> None:
    yes, no = YES_NO[lang]
    for word in yes:
        assert read_yes_no(f"{word}.", lang) is True, word
    for word in no:
        assert read_yes_no(f"{word}.", lang) is False, word


@pytest.mark.parametrize(
    ("answer", "strict", "published"),
    [
        ("Yes, there is no doubt.", True, False),
        ("No.", False, False),
        ("There is not a dog.", False, False),
        ("I cannot see it", None, True),
        ("", None, True),
        ("YES", True, True),
        ("The image shows a cat. No dog is there.", None, True),
    ],
)
def test_reading_answers(answer: str, strict: bool | None, published: bool) -> None:
    assert read_yes_no(answer) is strict
    assert read_yes_no(answer, parse="published") is published


def test_pope_by_hand() -> None:
    answers = ["yes", "yes", "no", "no", "yes", "hm", None]
    labels = ["yes", "no", "yes", "no", True, "no", "yes"]
    found = pope(answers, labels, groups=["a", "a", "a", "b", "b", "b", "b"], confidence=0.9)
    assert (found.n, found.unscored) == (7, 2)
    assert found.parts["precision"] == pytest.approx(2 / 3)
    assert found.parts["recall"] == pytest.approx(2 / 3)
    assert found.value == pytest.approx(2 / 3)
    assert found.parts["accuracy"] == pytest.approx(3 / 5)
    assert found.parts["yes_ratio"] == pytest.approx(3 / 5)
    assert found.parts["accuracy/b"] == 1
    with pytest.raises(UserError, match=r"1 \('maybe'\)"):
        pope(["yes", "no"], ["yes", "maybe"])
    with pytest.raises(UserError, match="not known in 'la'"):
        read_yes_no("x", "la")


# ---- FOIL and HAT --------------------------------------------------------------------------------------------------
def test_ranking_measures_by_hand() -> None:
    assert average_precision([3, 2, 1], [False, True, True]) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert average_precision([1, 1, 1, 1], [True, False, True, False]) == 0.5  # ties enter together
    assert average_precision([1, 2], [True, True]) is None
    assert roc_area([1, 1], [True, False]) == 0.5


def test_foil_and_hat() -> None:
    found = foil([0.9, 0.5, None], [0.1, 0.5, 0.2])
    assert (found.value, found.unscored, found.parts["ties"]) == (0.75, 1, 0.5)
    with pytest.raises(UserError, match="pairs"):
        foil([1.0], [])
    ranked = hat([0.1, 0.2, None, 0.9], [True, False, True, False], confidence=0.9)
    assert (ranked.value, ranked.unscored) == (1.0, 1)
    assert ranked.interval.low <= 1.0
    with pytest.raises(UserError, match="has 1 words, but word 3"):
        localisation([[0.5]], [{3}])


def test_nocaps_foil_is_noticed_by_a_reference_metric(test_data: Path) -> None:
    rows = json.loads((test_data / "DavidMChan+aloha/data_nocaps-val-foil.json").read_text("utf-8"))[:600]
    refs = [[text for text in row["references"] if text.strip(" .")] for row in rows]
    true = rouge_l([row["baseline"] for row in rows], refs).per_item
    false = rouge_l([row["foil"] for row in rows], refs).per_item
    found = foil(true, false, metric="rouge-l")
    assert found.value > 0.6
    positions = [
        {n for n, word in enumerate(row["foil"].lower().split()) if row["replacement"][1].split()[0] in word}
        for row in rows
    ]
    words = [
        [float(any(word.strip(".,").lower() in ref.lower().split() for ref in item)) for word in row["foil"].split()]
        for row, item in zip(rows, refs)
    ]
    assert localisation(words, positions).value > 0.3  # words that no reference has


# ---- dense captioning ----------------------------------------------------------------------------------------------
TRUTH = {
    "i": [RegionCaption((0, 0, 10, 10), "a red ball"), RegionCaption((20, 20, 30, 30), "a blue cube on a table")],
    "j": [RegionCaption((0, 0, 5, 5), "two dogs run")],
}


def test_perfect_predictions_give_100() -> None:
    found = dense_map(TRUTH, TRUTH)
    assert found.value == pytest.approx(100)
    assert found.parts["detection_map"] == pytest.approx(100)


def test_dense_map_falls_with_worse_boxes_and_worse_captions() -> None:
    shifted = {k: [RegionCaption(tuple(v + 1.5 for v in r.box), r.text) for r in items] for k, items in TRUTH.items()}
    wrong = {k: [RegionCaption(r.box, "zebra") for r in items] for k, items in TRUTH.items()}
    assert 0 < dense_map(shifted, TRUTH).value < 100
    found = dense_map(wrong, TRUTH)
    assert found.parts["detection_map"] == pytest.approx(100)
    assert found.value == pytest.approx(100 / 6)  # only the cells that ask for no similarity
    loosest = found.parts["ap@0.3/0"]
    assert all(loosest >= found.parts[f"ap@{t:g}/{s:g}"] for t in (0.3, 0.5, 0.7) for s in (0, 0.25))
    assert dense_map({}, TRUTH).value == 0


def test_a_box_counts_once_and_near_boxes_are_one() -> None:
    twice = {"j": [RegionCaption((0, 0, 5, 5), "two dogs run", 0.9), RegionCaption((0, 0, 5, 5), "two dogs run", 0.8)]}
    one = {"j": TRUTH["j"]}
    assert dense_map(twice, one).value == pytest.approx(100)  # the double comes after the hit
    first = {"j": [RegionCaption((40, 40, 50, 50), "x", 0.9), *twice["j"]]}
    assert dense_map(first, one).value == pytest.approx(50)
    merged = {"j": [*TRUTH["j"], RegionCaption((0, 0, 5, 5.2), "dogs")]}
    assert dense_map({"j": [RegionCaption((0, 0, 5, 5), "dogs")]}, merged).value == pytest.approx(100)


def test_scores_at_an_overlap() -> None:
    def same(text: str, others: list[str]) -> float:
        return float(text in others)

    assert captions_at_iou(TRUTH, TRUTH, same).value == 1
    near = {"j": [RegionCaption((0, 0, 4.9, 2.5), "two dogs run")]}  # IoU 0.49
    one = {"j": TRUTH["j"]}
    assert captions_at_iou(near, one, same, overlap=0.5).value == 0
    assert captions_at_iou(near, one, same, overlap=0.25).value == 1
    assert box_iou((0, 0, 0, 1, 1, 1), (0.5, 0, 0, 1.5, 1, 1)) == pytest.approx(1 / 3)
    with pytest.raises(UserError, match="1 predicted boxes are empty"):
        captions_at_iou({"j": [RegionCaption((5, 5, 1, 9), "x")]}, one, same)
    with pytest.raises(UserError, match="no ground truth: k"):
        dense_map({"k": []}, one)
