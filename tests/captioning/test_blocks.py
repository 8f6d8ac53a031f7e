"""The shared parts of captioning methods: worked cases of the cards, every script, hostile input."""

import json
import math

import numpy as np
import pytest

from panoglot.captioning import (
    MIXES,
    Evidence,
    Thing,
    Writer,
    absorbed,
    add_names,
    add_objects,
    append_sentences,
    assertions,
    check_text,
    claim_support,
    clipped,
    clusters,
    contrasts,
    copies,
    cover,
    find_objects,
    first_sentences,
    free_rectangles,
    giou,
    inclusion,
    is_finished,
    is_junk,
    joined,
    judged,
    kept_of_contradiction,
    largest_rectangle,
    leaks,
    lint,
    merged,
    mixed,
    one_of_each,
    overlap,
    parse_evidence,
    patches,
    read_lines,
    serialise,
    slack,
    split_claims,
    supported,
    weights_for,
    without_coordinates,
    without_loops,
    without_objects,
)
from panoglot.errors import RowError, UserError
from panoglot.geometry import Region, box_iou
from panoglot.providers import load_model
from panoglot.providers.roles import Box
from tests.captioning.scripted import Expert, Says, box, models, picture

LANGUAGES = [
    ("en", "A dog runs, barking. A cat sleeps.", 3),
    ("ar", "كلب يركض، وهو ينبح. قطة نائمة.", 3),
    ("hi", "एक कुत्ता दौड़ता है, भौंकता है। बिल्ली सोती है।", 3),
    ("th", "สุนัขวิ่ง แมวนอน", 2),
    ("zh", "一只狗在跑，叫着。一只猫在睡觉。", 3),
    ("ja", "犬が走る、吠える。猫が寝る。", 3),
    ("sw", "Mbwa anakimbia, akibweka. Paka analala.", 3),
]


# -- claims ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lang", "text", "clauses"), LANGUAGES)
def test_clauses_hold_every_word_in_any_script(lang, text, clauses):
    found = split_claims(text, "clause")
    assert len(found) == clauses
    assert all(text[claim.start : claim.end] == claim.text for claim in found)
    letters = [c for c in text if c.isalnum()]
    assert [c for claim in found for c in claim.text if c.isalnum()] == letters
    assert "".join(joined(text, found)).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(("lang", "text", "clauses"), LANGUAGES)
def test_dropping_the_last_sentence_leaves_the_first_as_it_was(lang, text, clauses):
    found = split_claims(text, "clause")
    kept = joined(text, [claim for claim in found if claim.sentence == 0])
    assert len(kept) == 1
    assert text.startswith(kept[0])


def test_numbers_abbreviations_and_qualifications_are_not_cut():
    assert [c.text for c in split_claims("It costs 1,200.50 dollars, e.g. here.", "clause")] == [
        "It costs 1,200.50 dollars",
        "e.g. here",
    ]
    assert len(split_claims("A car, which is red, and a van.", "statement")) == 2
    assert split_claims("", "clause") == split_claims(" … !", "clause") == []
    with pytest.raises(UserError, match="clause"):
        split_claims("a", "clauses")


@pytest.mark.paper("scalecap", shows="V", case="two valid lines, one chatty, one cut off: two requests")
def test_the_parser_of_requests():
    ask = "Describe more details about the"
    text = f"Certainly, here they are:\n{ask} dog.\n2. {ask} red ball. It is small.\n{ask} gra"
    assert read_lines(text, ask) == [f"{ask} dog.", f"{ask} red ball."]


@pytest.mark.paper("revisit-captions", shows="V", case="assertions of a red car and a white truck: 7; of a car: 1")
def test_assertions_of_the_card():
    parser = load_model("embedded:parser", "parser")
    graphs = parser.parse(["A red car and a white truck on a street", "A car"])
    assert [assertions(graph) for graph in graphs] == [7, 1]
    both = parser.parse(["A car. A blue boat."])[0]
    assert assertions(both) == assertions(parser.parse(["A car."])[0]) + assertions(parser.parse(["A blue boat."])[0])


# -- guards ------------------------------------------------------------------------------------------------------------


@pytest.mark.paper("capsfusion", shows="V", case="a leaked instruction is rejected, a sentence on a sign is not")
def test_leaks_of_the_card():
    assert leaks("It keeps the sentence structure of Sentence 1 and the real-world knowledge.")
    assert not leaks("A sentence on a sign.")
    asked = "Describe the fine-grained content of the image: the scene, the objects, how they relate, any text."
    assert leaks("Describe the fine-grained content of the image: the scene, the objects, how", asked)
    assert not leaks("The scene: the objects relate to the image.", asked)
    assert check_text("a " * 50_000) == "endless_answer"
    assert check_text("Eine Katze.") is None


@pytest.mark.paper("capsfusion", shows="R", case="10,000 published outputs: 369 leak, 215 are joined, 272 have no end")
def test_guards_on_ten_thousand_published_outputs(test_data):
    rows = json.loads((test_data / "baaivision+CapsFusion" / "example_data.json").read_text())
    assert len(rows) == 10_000
    fused = [row["capsfuion_official"] for row in rows]
    assert sum(map(leaks, fused)) == 369
    assert sum(copies(row["capsfuion_official"], row["laion_2b"], row["laion_coco"]) for row in rows) == 215
    assert sum(not is_finished(text) for text in fused) == 272
    assert not any(text and check_text(text) == "endless_answer" for text in fused)


@pytest.mark.paper("densefusion", shows="V", case="three offences of style: opening, hedge, coordinates")
def test_style_of_the_card():
    text = "The image showcases a cat, probably asleep at [0.1, 0.2, 0.5, 0.6]."
    assert lint(text) == ["opening", "hedge", "coordinates"]
    assert lint(without_coordinates(text)) == ["opening", "hedge"]
    assert lint("这张图片里可能有一只猫。") == ["opening", "hedge"]
    assert lint("A shop called Maybelline (2024).") == []


def test_texts_that_repeat_end_nowhere_or_are_no_text():
    assert without_loops("A dog. " * 500) == ("A dog.", True)
    assert without_loops("一只狗。" * 50) == ("一只狗。", True)
    assert without_loops("A dog. A cat. A dog.") == ("A dog. A cat. A dog.", False)
    assert first_sentences("One two three. Four five six seven.", 3) == "One two three."
    assert first_sentences("One two three four", 3) == ""
    assert [is_junk(text) for text in ("IMG_2043.JPG", "photo 12", "https://x.de/a", "Katze", "狗", "")] == [
        *[True] * 3,
        False,
        False,
        True,
    ]


# -- regions -----------------------------------------------------------------------------------------------------------


@pytest.mark.paper("capture", shows="V", case="GIoU .3333, 0, -.0909; slack .0909 merges all the same")
def test_giou_of_the_card():
    seed = (0, 0, 10, 10)
    others = [(5, 0, 15, 10), (10, 0, 20, 10), (12, 0, 22, 10)]
    assert [round(giou(other, seed), 4) for other in others] == [0.3333, 0, -0.0909]
    assert round(slack(others[2], seed), 4) == 0.0909
    assert absorbed([seed, others[2]]) == [(0, 0, 22, 10)]
    assert len(absorbed([seed, (30, 0, 40, 10)])) == 2


@pytest.mark.paper("capture", shows="V", case="a wholly free map is wholly free, not 9/16; a box that fails stays")
def test_free_rectangles_keep_what_the_original_loses():
    assert largest_rectangle(np.ones((4, 4), bool)) == (0, 0, 4, 4)
    assert free_rectangles((0, 0, 1, 1), []) == [(0, 0, 1, 1)]
    assert free_rectangles((0, 0, 1, 1), [(0, 0, 1, 0.9)]) == [(0, 0, 1, 1)]  # too little is free: the box itself
    (free,) = free_rectangles((0, 0, 1, 1), [(0, 0, 0.5, 1)])
    assert free == (0.5, 0, 1, 1)


def test_the_largest_rectangle_is_that_of_every_other_way():
    rng = np.random.default_rng(0)
    for _ in range(30):
        free = rng.random((6, 7)) < 0.7
        left, top, right, bottom = largest_rectangle(free)
        best = max(
            (y1 - y0) * (x1 - x0)
            for y0 in range(7)
            for y1 in range(y0, 7)
            for x0 in range(8)
            for x1 in range(x0, 8)
            if free[y0:y1, x0:x1].all()
        )
        assert (right - left) * (bottom - top) == best
        assert free[top:bottom, left:right].all()


@pytest.mark.paper("patch-matters", shows="V", case="box [40,40,70,60]: shares, patches and overlaps of the card")
def test_geometry_of_patch_matters():
    box_, whole = (40, 40, 70, 60), (0, 0, 100, 100)
    quadrants = patches([], whole=whole)
    assert [round(overlap(box_, q) / 600, 4) for q in quadrants] == [0.1667, 0.3333, 0.1667, 0.3333]
    found = patches([box_], whole=whole)
    assert found == [(0, 0, 50, 50), (40, 0, 100, 60), (0, 50, 50, 100), (40, 40, 100, 100)]
    lt, rt, lb, rb = found
    assert [round(box_iou(a, b), 4) for a, b in ((lt, rt), (rt, rb), (rb, lb), (lb, lt))] == [0.0893, 0.2, 0.0893, 0]
    assert round(box_iou(box_, whole), 2) == 0.06


@pytest.mark.paper("patch-matters", shows="R", case="202 sets of boxes: main patch 75 times; pairs 115, 71, 15, 1")
def test_202_real_sets_of_boxes(test_data):
    from panoglot.captioning.patch_matters import PAIRS, final_regions

    rows = json.loads((test_data / "GeWu-Lab+Patch-Matters" / "did_bench.json").read_text())
    assert len(rows) == 202
    described, counts = 0, [0, 0, 0, 0, 0]
    for row in rows:
        height, width = row["size"]
        unit = [(x0 / width, y0 / height, x1 / width, y1 / height) for x0, y0, x1, y1 in row["four_box"]]
        main = tuple(v / s for v, s in zip(row["main_box"], (width, height, width, height)))
        assert clipped(main) is not None
        for patch, quadrant in zip(unit, patches([])):  # the files round to whole pixels
            assert overlap(patch, quadrant) >= 0.98 * 0.25
        described += box_iou(main, (0, 0, 1, 1)) <= 0.4
        pairs = [(a, b) for a, b in PAIRS if box_iou(unit[a], unit[b]) > 0.4]
        counts[len(pairs)] += 1
        regions = final_regions(pairs)  # the released aggregator reads past the end of 127 of these
        assert {n for region in regions for n in region} == {0, 1, 2, 3}
        assert all(place is not None for place in map(clipped, merged(unit, 0.3)))
    assert described == 75
    assert counts == [115, 71, 15, 1, 0]


def test_clusters_inclusion_and_broken_boxes():
    boxes = [(0.01 * n, 0, 0.01 * n + 0.1, 0.1) for n in range(8)] + [(0.8, 0.8, 0.9, 0.9)] * 4
    found = clusters(boxes, 2)
    assert sorted(found) == [(0, 0, pytest.approx(0.17), 0.1), (0.8, 0.8, 0.9, 0.9)]
    assert clusters(boxes, 2) == found
    assert clusters(boxes[:1], 10) == boxes[:1]
    assert clusters([], 10) == merged([], 0.3) == absorbed([]) == []
    assert inclusion([(0, 0, 1, 1), (0, 0, 1, 1), (0.1, 0.1, 0.2, 0.2)]) == [None, 0, 1]
    assert clipped((math.inf, 0, -math.inf, 1)) == (0, 0, 1, 1)
    bad = [box("a", 0.9, 2, 2, 3, 3), box("a", math.nan, 0, 0, 1, 1), box("a", 0.5, 0.2, 0.2, 0.2, 0.4)]
    assert one_of_each(bad) == []
    assert one_of_each([box("a", 1.7, -1, 0, 0.5, 1)]) == [Box("a", 1.0, Region(0, 0, 0.5, 1))]


# -- evidence ----------------------------------------------------------------------------------------------------------

SEEN = Evidence(
    "Golden Gate", ("bridge", "sea"), (Thing("bridge", (0.1, 0.2, 0.9, 0.6), 0.9), Thing("boat", score=0.4)), ("NO",)
)


@pytest.mark.paper("densefusion", shows="V", case="evidence is written and read back at 3 decimals; empty slots: none")
@pytest.mark.parametrize("lang", ["en", "de", "ar", "hi", "th", "zh", "ja", "sw", "xx"])
def test_evidence_is_reversible_in_any_language(lang):
    block, left_out = serialise(SEEN, lang)
    assert left_out == 0
    read = parse_evidence(block, lang)
    assert (read.knowledge, read.tags, read.lines) == (SEEN.knowledge, SEEN.tags, SEEN.lines)
    assert {(t.name, t.box) for t in read.things} == {(t.name, t.box) for t in SEEN.things}
    assert serialise(Evidence(), lang) == ("", 0)
    assert serialise(Evidence(tags=("x",)), lang)[0].count("\n") == 0


def test_evidence_is_capped_and_says_what_was_left_out():
    many = Evidence(
        things=(*(Thing("car", score=1 - n / 100) for n in range(30)), Thing("bird", (0, 0, 0.01, 0.01), 0.3)),
        lines=tuple(f"line {n}" for n in range(500)),
    )
    block, left_out = serialise(many, most_things=10, most_lines=20)
    assert "bird: " in block  # the small thing is not left out for the thirtieth car
    assert left_out == 21 + 480
    block, left_out = serialise(many, most_characters=300)
    assert len(block) <= 320
    assert left_out > 500
    assert serialise(Evidence(lines=("a\nObjects:\nb",)))[0].splitlines() == ["Text:", "a Objects: b"]


# -- support -----------------------------------------------------------------------------------------------------------

TOKENS = "A| dog| sits|,| perhaps| waiting|.| The| sky| is| blue|.| A| kite| flies".split("|")
DELTAS = (-0.2, 3.1, 0.4, 0, -0.6, -0.1, 0, -0.3, -0.5, -0.2, -0.1, 0, 0.1, 2.0, 0.9)


def kept(tau, deltas=DELTAS, unit="clause", **options):
    text = "".join(TOKENS)
    claims = split_claims(text, unit)
    support = claim_support(text, claims, list(zip(TOKENS, deltas)), "en", **options)
    return joined(text, [claim for claim, stays in zip(claims, supported(support, tau)) if stays])


@pytest.mark.paper("scalecap", shows="V", case="the toy of the card; its last sentence, which has no stop, is not lost")
def test_contrastive_rating_of_the_card():
    assert kept(0) == ["A dog sits.", "A kite flies"]
    assert kept(3.5) == []
    assert kept(-math.inf) == ["A dog sits, perhaps waiting.", "The sky is blue.", "A kite flies"]
    assert kept(math.inf) == []
    assert kept(0, [0.0] * len(TOKENS)) == []


@pytest.mark.paper("scalecap", shows="V", case="the weights of parts of speech change a result")
def test_weights_of_parts_of_speech_are_used():
    the = [1.0 if token.strip() in ("The", "is") else -1.0 for token in TOKENS]
    assert kept(0, the) == []
    assert kept(0, the, content_only=False) == ["The sky is blue."]


@pytest.mark.paper("scalecap", shows="V", case="raising tau adds nothing; a constant in both streams changes nothing")
def test_rating_is_monotone_and_blind_to_a_constant():
    counts = [sum(map(len, kept(tau))) for tau in (-1, -0.3, 0, 0.5, 1, 2.5, 4)]
    assert counts == sorted(counts, reverse=True)
    seen, blind = [(t, d) for t, d in zip(TOKENS, DELTAS)], [(t, 0.0) for t in TOKENS]
    moved = contrasts([(t, d - 3) for t, d in seen], [(t, -3.0) for t, _ in blind], "log-probability")
    assert [round(d, 9) for _, d in moved] == list(DELTAS)
    with pytest.raises(RowError, match="other tokens"):
        contrasts(seen, blind[1:])


def test_tokens_of_other_scripts_are_rated_too():
    for text, tokens in (
        ("一只狗。天空", ["一", "只", "狗", "。", "天", "空"]),
        ("كلب يركض.", ["كل", "ب", " يركض", "."]),
        ("कुत्ता दौड़ता है।", ["कु", "त्ता", " दौड़ता", " है", "।"]),
        ("สุนัขวิ่ง", ["สุนัข", "วิ่ง"]),
    ):
        claims = split_claims(text)
        support = claim_support(text, claims, [(t, 1.0) for t in tokens], "und")
        assert support == [1.0] * len(claims), text


async def test_a_detector_with_its_own_classes_is_not_asked_for_others():
    closed = Expert([box("cat", 0.8)], classes=("cat",))
    m = models(closed=closed, open=Expert([box("Cat", 0.8), box("Cat", 0.3)]), broken=Expert(RowError("down")))
    assert await find_objects(m["closed"], picture(), ["cat", "lamp"]) == {"cat": 0.8, "lamp": None}
    assert closed.asked == [("cat",)]
    with pytest.raises(RowError):
        await find_objects(m["broken"], picture(), ["cat"])


# -- selection, fusing, mixing -----------------------------------------------------------------------------------------


@pytest.mark.paper("patch-matters", shows="V", case="(.25,.45) second, (.2,.29) none; .31 stays, .30 goes")
def test_filter_of_the_card():
    assert kept_of_contradiction([0.25, 0.45], 0.3) == 1
    assert kept_of_contradiction([0.2, 0.29], 0.3) is None
    assert supported([0.31, 0.30, None], 0.3) == [True, False, True]  # a score that failed is no score of 0


async def test_judges_see_numbers_alone_and_cover_is_greedy():
    judge = Says('{"reason": "b", "value": "2"}')
    from panoglot.providers import judge_of

    m = models(judge=judge_of(judge))
    assert await judged(m["judge"], "Which is best?", ["a", "b"]) == 1
    assert "1. a\n2. b" in judge.prompts[0].text
    assert cover([set(), {"a"}, {"a", "b"}], 5) == [2]


@pytest.mark.paper("panda-70m", shows="V", case="teacher toy: A, then E, covers 6; the three largest sets cover 5")
def test_teachers_are_chosen_by_greedy_cover():
    good = {"A": "1234", "B": "345", "C": "123", "D": "6", "E": "56"}
    chosen = [list(good)[n] for n in cover([set(clips) for clips in good.values()], 3)]
    assert chosen == ["A", "E"]  # any third one adds nothing
    assert len(set().union(*(good[name] for name in chosen))) == 6
    assert len(set().union(*(good[name] for name in "ABC"))) == 5


def test_rules_that_fuse_say_nothing_new():
    assert add_names("IKEA Lack", "A table.") == "A table – IKEA Lack."
    assert without_objects("一只猫。一盏灯。", ["灯"]) == "一只猫。"
    assert without_objects("A cat near a lamp.", ["lamp"]) == ""
    assert add_objects("A cat.", [(Thing("cat"), 1.0)]) == "A cat."
    assert append_sentences("一只猫。", ["一只猫。", "一盏灯。"]) == "一只猫。一盏灯。"


@pytest.mark.paper("revisit-captions", shows="V", case="weights without dsc: alt .526316, ssc .473684")
def test_the_mix_of_the_card():
    assert weights_for({"alt": 0.5, "ssc": 0.45, "dsc": 0.05}, {"alt", "ssc"}) == {"alt": 0.526316, "ssc": 0.473684}
    for preset in MIXES.values():
        assert sum(preset.values()) == pytest.approx(1)
    drawn = {mixed({"alt": 1, "ssc": 0}, {"alt", "ssc"}, 0, epoch, "img") for epoch in range(50)}
    assert drawn == {"alt"}
    for wrong in ({"alt": -1.0}, {"alt": math.nan}, {"alt": 0.0}, "clipp"):
        with pytest.raises(UserError):
            weights_for(wrong, {"alt"})


@pytest.mark.paper(
    "veclip", shows="V", case="10,000 draws at p = .5: share in .485 .. .515; only seed, epoch, id decide"
)
def test_the_coin_of_the_card():
    coin = {"alt": 0.5, "vecap": 0.5}
    drawn = [mixed(coin, coin, 0, 0, f"img{n}") for n in range(10_000)]
    assert 0.485 <= drawn.count("alt") / 10_000 <= 0.515
    again = [mixed(coin, coin, 0, 0, f"img{n}") for n in reversed(range(10_000))]
    assert again[::-1] == drawn
    assert {mixed(coin, coin, 0, epoch, "img7") for epoch in range(40)} == {"alt", "vecap"}
    assert [mixed({"alt": p, "vecap": 1 - p}, coin, 0, 3, "x") for p in (1, 0)] == ["alt", "vecap"]


async def test_what_fell_back_is_a_share_and_named():
    writer = Writer(models(good=Says("A dog runs on the beach."), bad=Says(RowError("down"))))
    assert (await writer.attempt("a", writer.draft("good", "Describe.", picture()))).text.startswith("A dog")
    assert await writer.attempt("b", writer.draft("bad", "Describe.", picture())) is None
    assert writer.scores() == {"fallback": 0.5, "fallback_b": 1.0, "failed_down": 1.0}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("I'm sorry, but I can't help with that.", "refused"),
        ("", "empty_answer"),
        ("The sentence structure of Sentence 1 is kept.", "leaked_prompt"),
        ("Wow " * 25_000, "endless_answer"),
        ("Positions:", "only_label"),
        ("位置：", "only_label"),
        ("Zwei Hunde laufen am Strand entlang und spielen mit einem Ball.", "wrong_language"),
    ],
)
async def test_answers_that_are_no_captions_are_row_errors(answer, reason):
    writer = Writer(models(c=Says(answer)), lang="sw")
    with pytest.raises(RowError) as error:
        await writer.draft("c", "Describe.", picture())
    assert error.value.reason == reason
