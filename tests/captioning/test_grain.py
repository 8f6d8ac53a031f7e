import pytest

from panoglot.captioning import grain
from panoglot.errors import RowError
from tests.captioning.scripted import Expert, Says, box, picture, run

LIST = "1. red beak\n2) -long tail\n* long tail\n一条长尾巴"


def says(listed):
    return Says(lambda prompt: "A bird sits on a wall." if "one sentence" in prompt.text else listed)


@pytest.mark.paper(
    "grain", shows="V", case="features listed, marks of lists gone, the surest box of each, five at most"
)
def test_features_have_the_box_that_a_detector_is_surest_of():
    found = [
        box("red beak", 0.4, 0, 0, 0.5, 0.5),
        box("red beak", 0.6, 0.1, 0.1, 0.2, 0.2),
        box("wing", 0.9, 0, 0, 1, 1),
    ]
    found += [box("long tail", 0.09, 0, 0, 1, 1), box("一条长尾巴", 0.7, 0.5, 0.5, 0.9, 0.9)]
    detector = Expert(found)
    whole, *regions = run(grain, picture(), {"captioner": says(LIST), "detector": detector}, lang="en")
    assert detector.asked == [("red beak", "long tail", "一条长尾巴")]
    assert (whole.text, whole.kind, whole.scores["features"], whole.scores["found"]) == (
        "A bird sits on a wall.", "short", 3, 2
    )  # fmt: skip
    assert [(r.text, r.kind, r.scores["detector"], r.region.box) for r in regions] == [
        ("一条长尾巴", "region", 0.7, (0.5, 0.5, 0.9, 0.9)), ("red beak", "region", 0.6, (0.1, 0.1, 0.2, 0.2))
    ]  # fmt: skip
    (only,) = run(grain, picture(), {"captioner": says(LIST), "detector": Expert()}, lang="en")
    assert only.scores["found"] == 0


def test_no_more_than_five_and_none_is_a_reject():
    names = [f"part {n}" for n in range(8)]
    found = [box(name, 0.9 - n / 10, 0, 0, 0.5, 0.5) for n, name in enumerate(names)]
    given = {"captioner": says("\n".join(names)), "detector": Expert(found)}
    assert [r.text for r in run(grain, picture(), given, lang="en")[1:]] == names[:5]
    with pytest.raises(RowError, match="no_description"):
        run(grain, picture(), {"captioner": says("- -"), "detector": Expert()}, lang="en")
