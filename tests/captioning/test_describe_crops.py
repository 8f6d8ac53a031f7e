"""CAPTURE's construction (part B): the cases of its card, and the traps of the released code."""

import pytest

from panoglot.captioning import describe_crops
from panoglot.captioning.describe_crops import CROP, MERGE, salient_boxes
from panoglot.errors import RowError
from panoglot.providers.roles import RegionPart
from tests.captioning.scripted import Expert, Says, box, picture, rows, run

WHOLE = "A brown dog lies on a red sofa. A lamp stands beside it."
REFINED = "A brown dog with a white paw lies on a red sofa, and a cup stands near it on the floor."


def captioner(prompt):
    part = prompt.turns[-1].parts[0]
    if isinstance(part, RegionPart):
        return "A white cup stands here." if part.region.x0 > 0.4 else "A dog with a white paw."
    return WHOLE


def go(found=(), known=(), llm=REFINED, answer=captioner, **options):
    given = {"captioner": Says(answer), "llm": Says(llm), "b": Expert(list(found)), "d": Expert(list(known))}
    return run(describe_crops, picture(), given, **options), given


BOXES = [box("x", 0.9, 0.1, 0.1, 0.3, 0.3), box("x", 0.9, 0.6, 0.6, 0.9, 0.9)]
KNOWN = [box("dog", 0.9), box("brown dog", 0.9), box("red sofa", 0.8), box("lamp", 0.005)]


@pytest.mark.paper(
    "capture", shows="V", case="whole, boxes, dilated crops, verification of all captions, merge, 300 words"
)
@pytest.mark.paper("describe-crops", shows="V", case="every stage of CAPTURE's construction")
def test_every_stage_of_the_construction():
    caption, given = go(BOXES, KNOWN, boxes="b", detector="d")
    asked = given["captioner"].prompts
    assert (asked[0].max_tokens, asked[0].temperature) == (192, 0.2)
    regions = [p.turns[-1].parts[0].region.box for p in asked[1:]]
    assert sorted(regions) == [(0.08, 0.08, 0.32, 0.32), (0.58, 0.58, 0.92, 0.92)]
    assert all(p.text == CROP and p.max_tokens == 64 for p in asked[1:])
    (merge,) = given["llm"].prompts
    assert merge.text.startswith(MERGE[:40])
    assert "Description: A brown dog lies on a red sofa. A stands beside it.\n" in merge.text  # no lamp is found
    # of the whole things with their attributes, then bare ones; of parts bare things, and all of it as a decoy
    assert sorted(given["d"].asked) == [
        ("brown dog", "red sofa"),
        ("dog", "A dog with a white paw."),
        ("lamp",),
    ]
    assert "- A white cup stands here." in merge.text
    assert "at most 300 words" in merge.text
    assert (caption.text, caption.scores["deleted"], caption.scores["crops"]) == (REFINED, 1, 2)
    assert {row.kind for row in rows(caption)} == {"dense", "region"}


def test_all_things_may_be_checked_at_once():
    known = [box("dog", 0.9), box("sofa", 0.8), box("cup", 0.5), box("paw", 0.5), box("lamp", 0.005)]
    caption, given = go(BOXES, known, boxes="b", detector="d", check="things")
    assert sorted(*given["d"].asked) == ["cup", "dog", "lamp", "paw", "sofa"]
    (merge,) = given["llm"].prompts
    assert "Description: A brown dog lies on a red sofa.\n" in merge.text  # the sentence of the lamp is gone
    assert (caption.scores["deleted"], caption.scores["unchecked"]) == (1, 0)


@pytest.mark.paper("capture", shows="V", case="boxes below .1 % and above 90 % go; clusters, absorption; none is lost")
def test_boxes_are_chosen():
    tiny, huge, left, right = (0, 0, 0.03, 0.03), (0, 0, 1, 0.95), (0, 0, 0.3, 0.3), (0.6, 0.6, 1, 1)
    assert salient_boxes([tiny, huge, left, right]) == [left, right]
    assert salient_boxes([]) == salient_boxes([huge]) == []
    many = [(x / 20, y / 20, x / 20 + 0.04, y / 20 + 0.04) for x in range(20) for y in range(20)]
    chosen = salient_boxes(many)
    assert 1 <= len(chosen) <= 13
    assert chosen == salient_boxes(many)
    covered = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in chosen)
    assert covered > 0.3


def test_without_models_beside_the_captioner_quadrants_are_described():
    caption, given = go(llm="")
    assert len(given["captioner"].prompts) == 5
    assert caption.text == f"{WHOLE} A dog with a white paw. A white cup stands here."


def test_experts_and_crops_that_fail_are_counted():
    def fails(prompt):
        return RowError("down") if isinstance(prompt.turns[-1].parts[0], RegionPart) else WHOLE

    given = {"captioner": Says(fails), "llm": Says(REFINED), "b": Expert(RowError("x")), "d": Expert(RowError("x"))}
    caption = run(describe_crops, picture(), given, boxes="b", detector="d")
    assert caption.scores["fallback_crop"] == 4
    assert caption.scores["fallback_boxes"] == 1
    assert caption.scores["fallback_detector"] == 2  # of each sentence of the whole
    assert caption.scores["deleted"] == 0
