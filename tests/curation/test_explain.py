import json

import numpy as np
import pytest

import panoglot
from panoglot.curation import Measure, curate, measured
from panoglot.errors import UserError
from tests.curation.conftest import jpeg, scene


def of(judged) -> dict[str, str]:
    return {ruling.rule: ruling.reason or ruling.verdict for ruling in judged.rulings}


def measure(judged, rule: str, n: int = 0) -> Measure:
    return next(ruling for ruling in judged.rulings if ruling.rule == rule).measures[n]


def test_every_rule_speaks_and_the_first_that_drops_decides(maker):
    image = maker.image("a", 640, 20)
    maker.caption(image, "Untitled")
    steps = ["boilerplate", ("length", {"min_words": 3, "max_words": 20}), "size", ("aspect", {"below": 8})]
    found = curate(maker.dataset, steps=steps, explain=image).explained
    assert of(found.image) == {"size": "too_small", "aspect": "bad_aspect"}
    assert found.image.dropped == "too_small"
    assert measure(found.image, "size") == Measure("shorter side", 20, least=32)
    assert measure(found.image, "aspect") == Measure("longer side / shorter side", 32.0, below=8)
    (caption,) = found.captions
    assert (caption.dropped, of(caption)) == ("stock_text", {"boilerplate": "stock_text", "length": "too_short"})
    assert measure(caption, "length") == Measure("words", 1, least=3, most=20)


def test_it_says_what_curate_does_and_writes_nothing(maker):
    one = maker.image(jpeg(scene(1)))
    copy = maker.image(jpeg(scene(1, 320, 240)), 320, 240)
    low = maker.image("low", 20, 20)
    for image in (one, copy, low):
        for lang, text in {
            "ar": "قطة تنام على الأريكة الحمراء",
            "hi": "एक बिल्ली लाल सोफे पर सो रही है",
            "th": "แมวกำลังนอนอยู่บนโซฟาสีแดง",
            "sw": "Paka analala juu ya kochi jekundu",
            "de": "A dog is running along the beach today",
            "zh": "图片",
            "ja": "猫",
        }.items():
            maker.caption(image, text, lang=lang)
    steps = ["default", ("length", {"min_characters": 3})]
    curate(maker.dataset, steps="near_duplicate")  # hashes
    versions = maker.dataset.captions.lance().version, maker.dataset.marks.lance().version
    said = {image: curate(maker.dataset, steps=steps, explain=image).explained for image in (one, copy, low)}
    assert versions == (maker.dataset.captions.lance().version, maker.dataset.marks.lance().version)
    curate(maker.dataset, steps=steps)
    marks, drops = maker.marks(), {row["caption_id"]: row["dropped"] for row in maker.dataset.captions.rows()}
    for image, explained in said.items():
        assert explained.image.dropped == marks.get(image)
        assert {c.subject["caption_id"]: c.dropped for c in explained.captions} == {
            c.subject["caption_id"]: drops[c.subject["caption_id"]] for c in explained.captions
        }
        for judged in (explained.image, *explained.captions):  # the reason is that of the first rule that has one
            assert judged.dropped == next((r.reason for r in judged.rulings if r.verdict == "drops"), None)
    assert {c.subject["lang"]: c.dropped for c in said[one].captions} == {
        "ar": None, "hi": None, "th": None, "sw": None,
        "de": "language_mismatch", "zh": "stock_text", "ja": "too_short",
    }  # fmt: skip
    text = str(curate(maker.dataset, steps=steps, explain=copy).explained)
    assert f"dropped: duplicate_of:{one}" in text
    assert "قطة تنام على الأريكة الحمراء  → kept" in text


def test_of_copies_the_distance_stands_beside_the_threshold(maker):
    one = maker.image(jpeg(scene(1)))
    copy = maker.image(jpeg(scene(1, 320, 240)), 320, 240)
    flat = maker.image(jpeg(scene(3).resize((1, 1)).resize((640, 480))))
    before = curate(maker.dataset, steps="near_duplicate", explain=copy).explained.image
    assert (before.dropped, of(before)) == (None, {"near_duplicate": "not_judged"})  # an explanation hashes nothing
    assert before.rulings[0].why == "no hash"
    curate(maker.dataset, steps="near_duplicate")
    found = {i: curate(maker.dataset, steps="near_duplicate", explain=i).explained.image for i in (one, copy, flat)}
    assert found[copy].dropped == found[copy].rulings[0].reason == f"duplicate_of:{one}"
    bits = measure(found[copy], "near_duplicate", 1)
    assert (bits.name, bits.least) == (f"bits from {one[:12]}", 32)
    assert bits.value < 32
    assert not bits.within
    assert (found[one].dropped, found[one].notes) == (None, ["it stays for 1 copy of it"])
    assert of(found[flat]) == {"near_duplicate": "not_judged"}
    assert measure(found[flat], "near_duplicate").least == 50
    small = curate(maker.dataset, steps=[("size", {"min_side": 300}), "near_duplicate"], explain=copy).explained.image
    assert (small.dropped, of(small)) == ("too_small", {"size": "too_small", "near_duplicate": "not_asked"})


def test_copies_that_people_tell_apart(maker):
    one = maker.image(jpeg(scene(1)))
    other = maker.image(jpeg(scene(1, 620, 470), quality=30), 620, 470)
    for image, text in ((one, "A brown eye"), (other, "A green eye")):
        maker.caption(image, text, kind="human")
    picture = scene(1)
    picture.paste((255, 0, 0), (0, 0, 60, 60))
    third = maker.image(jpeg(picture), 600, 450)
    maker.caption(third, "A red eye", kind="human")
    curate(maker.dataset, steps="near_duplicate")
    found = curate(maker.dataset, steps="near_duplicate", explain=third).explained.image
    assert (found.dropped, of(found)) == (None, {"near_duplicate": "keeps"})
    assert found.rulings[0].why == "stays: captions or pixels differ"


def test_vectors_that_are_alike(maker):
    ids = [maker.image(f"{n}") for n in range(3)]
    table = maker.dataset.vectors("toy", 2)
    vectors = np.float16([[1, 0], [0.8, 0.6], [0, 1]])
    table.insert([
        {"vector_id": f"v{n}", "id": key, "of": "image", "lang": None, "vector": row.tolist(), "run_id": ""}
        for n, (key, row) in enumerate(zip(ids, vectors))
    ])  # fmt: skip
    steps = [("similar", {"minimum": 0.7})]
    curate(maker.dataset, steps=steps)
    gone = next(image for image, reason in maker.marks().items() if reason)
    found = curate(maker.dataset, steps=steps, explain=gone).explained.image
    cosine = measure(found, "similar")
    assert cosine.value == pytest.approx(0.8, abs=1e-3)
    assert cosine.below == 0.7
    assert found.dropped == f"duplicate_of:{cosine.name.removeprefix('cosine to ')}" + found.dropped[-20:]


def test_what_was_not_judged_and_why(maker):
    image = maker.image("a", 0, 0)
    maker.caption(image, "dog", kind="label")
    maker.caption(image, "Ein Hund", lang="de")
    steps = ["size", ("image_score", {"name": "aesthetic", "minimum": 0.5}), "language", ("score", {"minimum": 0.2})]
    found = curate(maker.dataset, steps=steps, explain=image).explained
    assert {r.rule: (r.verdict, r.why) for r in found.image.rulings} == {
        "size": ("not_judged", "no shorter side"),
        "image_score": ("not_judged", "no score aesthetic"),
    }
    said = {c.subject["text"]: {r.rule: (r.verdict, r.why) for r in c.rulings} for c in found.captions}
    assert said["dog"]["language"] == ("not_asked", "for it judges alt, dense, human, short")
    assert said["Ein Hund"]["language"] == ("not_judged", "letters to tell a language by: 7, judged from at least 20")
    assert said["Ein Hund"]["score"] == ("not_judged", "no score alignment")


def test_what_methods_dropped_is_left_alone(maker):
    image, other = maker.image("a"), maker.image("b")
    maker.caption(image, "Zwei Worte", lang="de", dropped="bad_translation")
    maker.caption(other, "Two words")
    maker.dataset.score("marks", {other: ({}, "unsafe")})
    found = curate(maker.dataset, steps=["size", "length"], explain=image).explained.captions[0]
    assert (found.by_method, found.dropped, found.stored, found.rulings) == (True, None, "bad_translation", [])
    assert "a method dropped it (bad_translation)" in found.tell()[0]
    there = curate(maker.dataset, steps=["size", "length", "near_duplicate"], explain=other).explained
    assert (there.image.by_method, there.image.rulings) == (True, [])
    assert "captions of a dropped image are left as they are" in str(there)


def test_filters_over_all_texts_and_images(maker):
    images = [maker.image(f"{n}") for n in range(4)]
    for n, image in enumerate(images):
        maker.caption(image, "the same", scores={"alignment": 0.1 * n})
        maker.caption(image, f"another {n}", scores={"alignment": 0.5})
    steps = [("common_text", {"max_images": 3}), "duplicate_text", ("top_score", {"share": 0.75, "of_kept": False})]
    steps += [("best_caption", {}), ("many_texts", {"maximum": 1}), ("rare_words", {"top_n": 2})]
    found = curate(maker.dataset, steps=steps, explain=images[0]).explained
    assert measure(found.image, "many_texts") == Measure("texts", 2, most=1)
    caption = next(c for c in found.captions if c.subject["text"] == "the same")
    assert (caption.dropped, measure(caption, "common_text")) == (
        "common_text",
        Measure("images with this text", 4, most=3),
    )
    last = measure(caption, "top_score", 1)
    assert (last.value, last.least) == (0.0, pytest.approx(0.2))
    assert of(caption)["top_score"] == "low_rank"
    assert of(caption)["best_caption"] == "not_best"


def test_pictures_of_a_test_set_and_of_a_cluster(maker, tmp_path):
    from tests.curation.conftest import Maker

    tested = Maker(tmp_path / "test.pano")
    tested.image(jpeg(scene(5, 320, 240)), 320, 240)
    near, far = maker.image(jpeg(scene(5))), maker.image(jpeg(scene(6)))
    steps = [("in_test_set", {"test": str(tested.dataset.path)})]
    curate(maker.dataset, steps=steps)
    found = {i: curate(maker.dataset, steps=steps, explain=i).explained.image for i in (near, far)}
    assert found[near].dropped == "in_test_set"
    assert measure(found[near], "in_test_set").value < 32 <= measure(found[far], "in_test_set").value
    maker.dataset.vectors("toy", 2).insert([
        {"vector_id": f"v{n}", "id": key, "of": "image", "lang": None, "vector": [1.0, n / 9], "run_id": ""}
        for n, key in enumerate((near, far))
    ])  # fmt: skip
    steps = [("every_nth", {"clusters": 1, "n": 2})]
    said = [curate(maker.dataset, steps=steps, explain=i).explained.image for i in (near, far)]
    assert sorted((measure(one, "every_nth").value, one.dropped) for one in said) == [(1, None), (2, "redundant")]


def test_the_dataset_may_say_something_else(maker):
    image = maker.image("a", 640, 20)
    assert "the dataset keeps it" in str(curate(maker.dataset, steps="size", explain=image).explained)
    curate(maker.dataset, steps="size")
    assert "the dataset" not in str(curate(maker.dataset, steps="size", explain=image).explained)
    assert "the dataset drops it: too_small" in str(curate(maker.dataset, steps="aspect", explain=image).explained)


def test_names_of_images(maker):
    image, other = maker.image("a"), maker.image("b")
    for name in (image, image[:8], f"{image}.jpg"):
        assert (
            panoglot.curate(maker.dataset.path, steps="size", explain=name).explained.image.subject["image_id"] == image
        )
    with pytest.raises(UserError, match=r"no image 'nothing\.jpg'"):
        curate(maker.dataset, explain="nothing.jpg")
    assert other not in json.dumps(curate(maker.dataset, explain=image).to_dict())


def test_hostile_names_and_texts(maker):
    image = maker.image("a")
    maker.caption(image, "\u202egpj.\x1b[31m [red]not markup[/red]", kind="alt", lang="en")
    text = str(curate(maker.dataset, explain=image).explained)
    assert "<U+202E>gpj.<U+001B>[31m [red]not markup[/red]" in text


def test_a_filter_of_ones_own_measures(maker):
    from panoglot.curation import FILTERS, caption_filter

    @caption_filter("no_vowels_test")
    def vowels_test(caption, facts, *, least=2):
        """Drop texts with too few vowels."""
        count = measured("vowels", sum(letter in "aeiou" for letter in caption.text), least=least)
        return "no_vowels_test" if count < least else None

    try:
        image = maker.image("a")
        maker.caption(image, "brrr a")
        (caption,) = curate(maker.dataset, steps="vowels_test", explain=image).explained.captions
        assert (caption.dropped, measure(caption, "vowels_test")) == ("no_vowels_test", Measure("vowels", 1, least=2))
        assert caption.to_dict()["rulings"] == [
            {
                "rule": "vowels_test",
                "verdict": "drops",
                "reason": "no_vowels_test",
                "measures": [{"name": "vowels", "value": 1, "least": 2}],
            }
        ]
    finally:
        del FILTERS["vowels_test"]
