"""DenseFusion, FuseCap and Image Textualization: the worked cases of their cards, and their traps."""

import numpy as np
import pytest

from panoglot.captioning import Thing, densefusion, fusecap, image_textualization
from panoglot.captioning.fusecap import assign_lines
from panoglot.captioning.image_textualization import details, mean_nearness
from panoglot.errors import RowError
from panoglot.geometry import Region
from panoglot.pictures import encode_mask, pixel_box
from panoglot.providers.roles import Box
from panoglot.table import Caption, Fact
from tests.captioning.scripted import Expert, Says, box, line, picture, run, tag

# -- DenseFusion -------------------------------------------------------------------------------------------------------

ALT = Caption("Golden Gate Bridge 1937", "en", "alt")
SEEN = {
    "embedded:efficientnet-lite2": Expert([tag("bridge"), tag("boat", 0.3), tag("sea", 0.1)]),
    "d": Expert([box("bridge", 0.9, 0.1, 0.2, 0.9, 0.6), box("dog", 0.1, 0, 0, 0.1, 0.1)]),
    "o": Expert([box("bridge", 0.8, 0.1, 0.2, 0.9, 0.61), box("boat", 0.5, 0.5, 0.8, 0.6, 0.9)]),
    "r": Expert([line("NO ENTRY"), line("~|", 0.9), line("faint", 0.2)]),
}
EXPERTS = {"detector": "d", "open_detector": "o", "reader": "r"}
DENSE = "A long red suspension bridge spans the water, and a small white boat passes below it. A sign reads NO ENTRY."


@pytest.mark.paper(
    "densefusion", shows="V", case="tags, two detectors, writing, knowledge → evidence → one caption, facts"
)
def test_densefusion_gives_the_captioner_what_experts_saw():
    captioner = Says(DENSE)
    caption, *facts = run(densefusion, picture(captions=[ALT]), {**SEEN, "captioner": captioner}, **EXPERTS)
    (prompt,) = captioner.prompts
    assert (caption.text, caption.lang, caption.kind) == (DENSE, "en", "dense")
    assert "Knowledge: Golden Gate Bridge 1937\nTags: bridge, boat\nObjects:\nboat: [0.500" in prompt.text
    assert prompt.text.count("bridge: [") == 1  # two detectors, one bridge
    assert "dog" not in prompt.text  # too unsure
    assert prompt.text.endswith("Text:\nNO ENTRY")
    assert len(prompt.images) == 1
    assert SEEN["o"].asked[-1] == ("bridge", "boat")  # the open detector is asked for the tags
    assert {(f.kind, f.text) for f in facts if isinstance(f, Fact)} == {
        ("tag", "bridge"), ("tag", "boat"), ("line", "NO ENTRY"), ("box", "bridge"), ("box", "boat"),
    }  # fmt: skip
    assert (caption.scores["style"], caption.scores["fallback"]) == (0, 0)
    assert list(caption.parents) == [ALT]


@pytest.mark.paper("densefusion", shows="V", case="boxes do not leak into prose; 192 words at most, by whole sentences")
def test_densefusion_strips_boxes_and_keeps_to_its_words():
    answer = "The image showcases a cat at [0.31, 0.17, 0.4, 0.5]. " + " ".join(
        f"There is thing number {n} on the table." for n in range(60)
    )
    caption, *_ = run(densefusion, picture(), {**SEEN, "captioner": Says(answer)})
    assert "[" not in caption.text
    assert caption.scores["style"] == 2
    assert len(caption.text.split()) <= 192
    assert caption.text.endswith(".")


def test_densefusion_without_a_captioner_tells_the_evidence():
    caption, *_ = run(densefusion, picture(captions=[ALT]), SEEN, captioner="", **EXPERTS)
    assert caption.text == (
        'Golden Gate Bridge 1937. There are a bridge and a boat. The writing says "NO ENTRY".'
    )  # fmt: skip
    assert caption.scores["fallback_captioner"] == 1
    with pytest.raises(RowError) as error:
        run(densefusion, picture(), {}, captioner="", tagger="")
    assert error.value.reason == "no_evidence"


def test_densefusion_goes_on_when_experts_fail():
    broken = {name: Expert(RowError("down")) for name in ("embedded:efficientnet-lite2", "d", "o", "r")}
    caption, *facts = run(densefusion, picture(), {**broken, "captioner": Says(DENSE)}, **EXPERTS)
    assert (caption.text, facts) == (DENSE, [])
    assert caption.scores["fallback_detector"] == 2
    assert caption.scores["fallback"] > 0.2


def test_densefusion_asks_in_the_language_with_headers_in_it():
    answer = "一座红色的大桥横跨在水面上，一艘白色的小船从桥下驶过。"
    captioner = Says(answer)
    caption, *_ = run(densefusion, picture(), {**SEEN, "captioner": captioner}, lang="zh", **EXPERTS)
    assert (caption.text, caption.lang) == (answer, "zh")
    assert "物体:\n" in captioner.prompts[0].text
    assert captioner.prompts[0].text.endswith("Answer in Chinese.")


# -- FuseCap -----------------------------------------------------------------------------------------------------------

BIKE = Caption("a man riding a bike", "en", "human")
FOUND = [
    box("man", 0.9, 0.2, 0, 0.8, 1), box("bike", 0.8, 0.1, 0.5, 0.9, 1), box("helmet", 0.7, 0.4, 0, 0.6, 0.2),
    box("dog", 0.3, 0, 0, 0.1, 0.1),
]  # fmt: skip
ATTRIBUTES = {(0.1, 0.5): [tag("red", 0.6)], (0.4, 0.0): [tag("white", 0.55)], (0.2, 0.0): [tag("tall", 0.2)]}


class Attributes(Expert):
    def tag(self, images):
        return [ATTRIBUTES.get((image.region.x0, image.region.y0), []) for image in images]


def enrich(captions=(BIKE,), llm="", found=FOUND, lines=(line("TREK", 0.9, 0.3, 0.6, 0.5, 0.7),), **options):
    given = {"detector": Expert(found), "a": Attributes(), "r": Expert(list(lines)), "m": Says(llm)}
    options = {"attributes": "a", "reader": "r", "colours": False, "llm": "m" if llm else "", **options}
    return run(fusecap, picture(captions=captions), given, **options), given["m"].prompts


@pytest.mark.paper(
    "fusecap", shows="V", case="a man riding a bike: red, bike, helmet, white, TREK; no dog, nobody tall"
)
def test_fusion_of_the_card():
    caption, _ = enrich()
    assert caption.text == 'a man riding a red bike with the text "TREK". There is also a white helmet.'
    assert not {"dog", "tall"} & set(caption.text.replace(".", "").split())
    assert list(caption.parents) == [BIKE]


@pytest.mark.paper("fusecap", shows="V", case="NIKE belongs to the shirt, SALE to the scene")
def test_assignment_of_the_card():
    things = [Thing("person", (0, 0, 0.5, 1)), Thing("shirt", (0.1, 0.3, 0.4, 0.7))]
    lines = [line("NIKE", 1, 0.2, 0.4, 0.3, 0.6), line("SALE", 1, 0.7, 0.2, 0.8, 0.3)]
    held, scene = assign_lines(things, lines)
    assert ([t.text for t in held], scene) == ([(), ("NIKE",)], ["SALE"])


@pytest.mark.paper("fusecap", shows="V", case="no evidence, or none above the thresholds: the caption as it was")
def test_no_evidence_changes_nothing():
    for options in (
        {"found": [], "lines": []},
        {"min_object": 0.95, "min_line": 0.95},
        {"found": FOUND[3:], "lines": ()},
    ):
        caption, prompts = enrich(llm="never", **options)
        assert (caption.text, prompts) == (BIKE.text, [])


@pytest.mark.paper("fusecap", shows="V", case="the order of evidence does not matter; a second run adds nothing")
def test_order_and_idempotence():
    first, _ = enrich()
    again, _ = enrich(found=FOUND[::-1])
    assert again.text == first.text
    twice, _ = enrich([Caption(first.text, "en", "human")])
    assert twice.text == first.text


@pytest.mark.paper("fusecap", shows="V", case="caption, objects, attributes, writing, clauses, one caption of both")
def test_every_step_of_fusecap():
    answer = "A man in a white helmet is riding a red TREK bike along the road."
    caption, (prompt,) = enrich(llm=answer)
    assert (caption.text, caption.kind, caption.scores["fallback"]) == (answer, "dense", 0)
    assert 'Caption: a man riding a bike\nSeen:\nman\nred bike with the text "TREK"\nwhite helmet' in prompt.text


def test_fusecap_takes_colours_from_pixels_and_keeps_odd_boxes_out():
    odd = [box("sky", 0.9, -5, -5, 2, 2), box("dot", 0.9, 0.5, 0.5, 0.5, 0.5), box("cow", 1.9, 0, 0, 0.5, 0.5)]
    caption, _ = enrich(found=odd, attributes="", colours=True, min_attribute=0.05, lines=())
    assert "dot" not in caption.text
    assert "sky" in caption.text
    assert "cow" in caption.text


def test_fusecap_keeps_the_caption_where_the_new_one_is_not_accepted():
    caption, _ = enrich(llm="A man rides a red bike past an elephant in a white helmet.", accept="nouns")
    assert (caption.text, caption.scores["not_accepted"]) == (BIKE.text, 1)
    with pytest.raises(RowError) as error:
        enrich([])
    assert error.value.reason == "no_caption"
    caption, _ = enrich(llm=RowError("down"))
    assert "red bike" in caption.text
    assert caption.scores["fallback_fuser"] == 1


# -- Image Textualization ----------------------------------------------------------------------------------------------

DRAFT = Caption("A cat lies on a chair. A lamp is on. The photo is taken from above.", "en", "dense", "llava")


@pytest.mark.paper("image-textualization", shows="V", case="640×480: boxes .1 .5 .95, depth 0 and 1, size 8 and 10 %")
def test_details_of_the_card():
    boxes = [(64, 48, 320, 240), (320, 240, 608, 456)]
    things = [Thing(n, (a / 640, b / 480, c / 640, d / 480)) for n, (a, b, c, d) in zip("ab", boxes)]
    found = details(things, [40, 200], [24_576 / 307_200, 30_720 / 307_200])
    assert [d.thing.box for d in found] == [(0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 0.95, 0.95)]
    assert [(d.near, d.size) for d in found] == [(0.0, 8.0), (1.0, 10.0)]
    assert [d.near for d in details(things, [140, 460], [0, 0])] == [0.0, 1.0]  # scaled and shifted
    assert [d.near for d in details(things, [7, 7], [0, 0])] == [None, None]
    assert [d.near for d in details(things, [7, None], [0, 0])] == [None, None]


def test_a_mask_without_pixels_is_not_far():
    assert mean_nearness(np.ones((2, 2)), np.zeros((2, 2), bool)) is None
    assert mean_nearness(np.full((2, 2), 3.0), np.ones((2, 2), bool)) == -3


class Outlines(Expert):
    """The upper half of every box's rows and columns that are asked for."""

    def segment(self, images, regions=None, names=None):
        found = []
        for places in regions:
            found.append([])
            for place in places:
                mask = np.zeros((48, 64), bool)
                left, top, right, bottom = pixel_box(place, 64, 48)
                mask[top : (top + bottom) // 2, left:right] = True
                found[-1].append(Box("x", 0.9, Region(*place.box, mask=encode_mask(mask))))
        return found


def textualize(found, llm="", names="cat\nlamp\ncosy mood", draft=DRAFT, **options):
    def answer(prompt):
        return names if prompt.text.startswith("List the concrete") else llm

    model = Says(answer)
    given = {"detector": Expert(found), "llm": model, "z": Expert(np.linspace(0, 9, 48 * 64).reshape(48, 64))}
    given["s"] = Outlines()
    image = picture(captions=[draft] if draft else [])
    return run(image_textualization, image, given, **options), model.prompts


@pytest.mark.paper(
    "image-textualization", shows="V", case="cat .45, lamp .19, mood .05: lamp and mood go, with one region"
)
def test_deletion_of_the_card_happens_with_one_region_too():
    found = [box("cat", 0.45), box("lamp", 0.19), box("cosy mood", 0.05)]
    caption, prompts = textualize(found)
    assert caption.scores["deleted"] == 2
    assert "that are not there: lamp, cosy mood" in prompts[-1].text
    assert caption.text == "A cat lies on a chair. The photo is taken from above."  # the editor was silent: the rule


@pytest.mark.paper("image-textualization", shows="V", case="nothing to delete or add: the draft, unchanged")
def test_nothing_to_edit_is_the_draft():
    caption, prompts = textualize([box("cat", 0.45), box("lamp", 0.4), box("cosy mood", 0.3)], llm="never")
    assert (caption.text, len(prompts)) == (DRAFT.text, 1)


@pytest.mark.paper(
    "image-textualization", shows="C", case="list, detect, delete, regions, depth, size, serialise, edit"
)
def test_every_step_of_image_textualization():
    found = [
        box("cat", 0.9, 0.1, 0.1, 0.5, 0.5),
        box("dog", 0.8, 0.5, 0.5, 0.95, 0.95),
        box("dog", 0.7, 0.5, 0.5, 0.95, 0.9),
    ]
    edited = "A cat lies on a chair. Further away, at the bottom right, a dog waits. The photo is taken from above."
    caption, (_, prompt) = textualize(found, edited, depth="z")
    assert (caption.text, caption.scores["fallback"]) == (edited, 0)
    assert "1. cat: box [0.1, 0.1, 0.5, 0.5], nearness 1.00, size 16.00 %" in prompt.text
    assert "2. dog: box [0.5, 0.5, 0.95, 0.95], nearness 0.00, size 20.25 %" in prompt.text
    assert "3." not in prompt.text.partition("Objects:")[2]  # one dog, not two
    assert (prompt.temperature, prompt.top_p, prompt.max_tokens) == (0.75, 0.95, 4096)
    assert (caption.scores["deleted"], caption.scores["added"]) == (2, 2)
    caption, (_, prompt) = textualize(found, edited, depth="z", segmenter="s")
    assert (
        "1. cat: box [0.1, 0.1, 0.5, 0.5], nearness 1.00, size 8.46 %" in prompt.text
    )  # 260 of 3,072 pixels of the mask
    assert caption.scores["fallback"] == 0


@pytest.mark.paper("image-textualization", shows="V", case="no number of the evidence appears in the description")
def test_numbers_never_reach_the_description():
    caption, _ = textualize([box("dog", 0.8, 0, 0, 0.2, 0.2)], "A cat. A dog at [0, 0, 0.2, 0.2], nearness 0.5.")
    assert caption.scores["fallback_numbers"] == 1
    assert "In the top left there is a dog." in caption.text
    assert "0." not in caption.text
    assert "lamp" not in caption.text


def test_edits_can_be_chosen_and_a_closed_detector_deletes_nothing_it_cannot_know():
    found = [box("dog", 0.8, 0, 0, 0.2, 0.2)]
    caption, _ = textualize(found, edit="delete")
    assert "dog" not in caption.text
    caption, _ = textualize(found, edit="add")
    assert "lamp" in caption.text
    given = {"detector": Expert(found, classes=("dog",)), "llm": Says("cat\nlamp")}
    caption = run(image_textualization, picture(captions=[DRAFT]), given, edit="delete")
    assert (caption.text, caption.scores["unchecked"]) == (DRAFT.text, 2)
    wrong, _ = textualize([], draft=Caption("A lamp is on.", "en", "dense"), names="lamp")
    assert (wrong.text, wrong.scores["nothing_left"]) == ("A lamp is on.", 1)


def test_the_words_of_the_list_are_cleaned():
    _, prompts = textualize([], "x", names="Objects: cat. lamp.")
    assert "that are not there: cat, lamp\n" in prompts[-1].text
