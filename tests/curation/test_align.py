import csv
import gzip
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoglot.curation import (
    FILTERS,
    UNSCORED,
    aspect,
    count_ngrams,
    curate,
    load_table,
    ngram_keys,
    resolve,
    save_table,
    size,
    words,
)
from panoglot.errors import UserError
from panoglot.providers import register
from panoglot.providers.roles import Tag
from panoglot.table import Caption, create_dataset
from panoglot.text import grams, word_count
from panoglot.vectors import near_others
from tests.curation.conftest import Maker, jpeg, scene


def said(text):
    return Caption(text)


# -- rules 2, 3, 8: the bounds of the paper ----------------------------------------------------------------------------


def align_options(name):
    return next(dict(step.options) for step in resolve("align") if step.name == name)


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (201, 201, None),
        (200, 400, "too_small"),  # "larger than 200": 200 is dropped
        (602, 201, None),
        (603, 201, "bad_aspect"),  # "smaller than 3": exactly 3 is dropped
        (201, 603, "bad_aspect"),
        (None, 300, "unknown_size"),
        (0, 300, "unknown_size"),
        (-5, 300, "too_small"),
        (100_000, 100_000, None),  # no rule of the paper is about large pictures
    ],
)
@pytest.mark.paper("align", shows="V", case="side 200 and aspect 3 are dropped, 201 and 2.99 stay")
def test_bounds_of_pictures(width, height, reason):
    facts = {"width": width, "height": height}
    found = size(facts, **align_options("size")) or aspect(facts, **align_options("aspect"))
    assert found == reason


@pytest.mark.paper("align", shows="V", case="the 3,600 sizes of Crossmodal-3600: 3,588 kept")
def test_real_sizes(test_data):
    """Rules 2 and 3 on the sizes of Crossmodal-3600: 12 of 3,600 fail."""
    rows = list(csv.reader((test_data / "google+crossmodal-3600" / "image_shapes.csv").open()))
    rows = [row for row in rows if row[-1].strip().isdigit()]
    assert len(rows) == 3600
    kept = 0
    for row in rows:
        facts = {"width": int(row[-2]), "height": int(row[-1])}
        kept += (size(facts, **align_options("size")) or aspect(facts, **align_options("aspect"))) is None
    assert kept == 3588


@pytest.mark.parametrize(("lang", "few", "many"), [("en", 0, 808), ("de", 5, 634), ("fr", 0, 1356), ("cs", 8, 147)])
@pytest.mark.paper(
    "align",
    shows="V",
    case="Multi30k's training captions: 0, 5, 0, 8 too short, 808, 634, 1,356, 147 too long",
)
def test_real_word_counts(test_data, lang, few, many):
    """Rule 8 on Multi30k's training captions."""
    text = gzip.decompress((test_data / "multi30k+dataset" / f"task1_raw_train.{lang}.gz").read_bytes()).decode()
    lines = [line for line in text.split("\n") if line]
    assert len(lines) == 29_000
    options = {key: value for key, value in align_options("words").items() if key != "kinds"}
    found = [words(said(line), {}, **options) for line in lines]
    assert (found.count("few_words"), found.count("many_words")) == (few, many)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("A dog on the beach", 5),
        ("كلب يجري على الشاطئ", 4),
        ("समुद्र तट पर एक कुत्ता", 5),
        ("mbwa anakimbia ufukweni", 3),
        ("개가 해변을 달린다", 3),
        ("סוס ועגלה", 2),
        ("狗在海滩上奔跑", 5),  # 7 characters at 1.5 a word
        ("狗", 1),
        ("犬がビーチを走っている", 4),  # 2 Chinese characters, 9 kana
        ("สุนัขวิ่งบนชายหาด", 3),  # 13 letters, the marks not counted
        ("ຫມາແລ່ນຢູ່ຫາດຊາຍ", 3),
        ("ឆ្កែរត់នៅលើឆ្នេរ", 3),
        ("iPhone 15 の写真", 4),
        ("", 0),
        ("   \n\t ", 0),
        ("!!! … ??? 。。。 —", 0),  # punctuation is no word
        ("🐕 🏖", 0),
        ("1920 1080", 2),
        ("e\u0301te\u0301 a\u0300 Paris", 3),
        ("\ud800 lone surrogate", 3),
    ],
)
def test_words_in_any_script(text, count):
    assert word_count(text) == count


def test_a_sentence_is_about_as_long_in_every_language(test_data):
    """The same sentences (SIB-200): word counts of scripts without spaces are within a quarter of the English ones."""

    def sentences(lang):
        path = test_data / "dadelani+sib-200" / "annotated" / lang / "train.tsv"
        rows = csv.reader(path.open(encoding="utf-8"), delimiter="\t")
        return {row[0]: row[2] for row in rows if row[0] != "index_id"}

    english = sentences("eng_Latn")
    for lang in ("zho_Hans", "jpn_Jpan", "tha_Thai", "lao_Laoo", "hin_Deva", "arb_Arab", "swh_Latn"):
        other = sentences(lang)
        both = [key for key in english if key in other]
        ratio = sum(word_count(other[k]) for k in both) / sum(word_count(english[k]) for k in both)
        assert len(both) > 500
        assert 0.75 < ratio < 1.35, lang


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(0, 6), st.integers(0, 6))
def test_looser_word_bounds_keep_more(text, low, high):
    if words(said(text), {}, minimum=low + 1, maximum=high) is None:
        assert words(said(text), {}, minimum=low, maximum=high + 1) is None


# -- rule 7: rare n-grams ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Dog, a “CAT”!", ["a", "dog", "a", "cat"]),
        ("don't stop", ["don't", "stop"]),
        ("कुत्ता दौड़ता है।", ["कुत्ता", "दौड़ता", "है"]),
        ("الكلب، القط", ["الكلب", "القط"]),
        ("狗在跑。", ["狗", "在", "跑"]),
        ("หมาวิ่ง", ["ห", "ม", "า", "วิ่", "ง"]),
        ("iPhoneの写真", ["iphone", "の", "写", "真"]),
        ("… !! 🐕", []),
        ("Cafe\u0301 CAFÉ", ["café", "café"]),
    ],
)
def test_what_grams_are(text, expected):
    assert grams(text) == expected


def naive(texts, top_n):
    """The n-grams of the table by plain counting: those at least as frequent as fit in whole."""
    from collections import Counter

    counts = Counter()
    for text in texts:
        units = grams(text)
        counts.update([(u,) for u in units])
        counts.update(itertools.pairwise(units))
    least = 1
    while sum(n >= least for n in counts.values()) > top_n:
        least += 1
    return {gram for gram, n in counts.items() if n >= least}


TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "dog", "Dog.", "狗", "หมา", "كلب", "कुत्ता", "犬と猫", "mbwa"]), max_size=6).map(
        " ".join
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(0, 30), st.sampled_from([1, 3, 1000]))
def test_counts_are_those_of_plain_counting(texts, top_n, part):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("panoglot.curation._ngrams.PART", part)  # many sorted runs, merged in many ranges
        table = count_ngrams([texts[:5], texts[5:]], top_n)
        backwards = count_ngrams([[text] for text in reversed(texts)], top_n)
    frequent = naive(texts, top_n)
    for text in [*texts, "dog 狗", "never seen"]:
        units = grams(text)
        rare = any((u,) not in frequent for u in units) or any(p not in frequent for p in itertools.pairwise(units))
        if table.keys is None:  # all are frequent, of these texts
            rare = rare and text not in texts
            assert text not in texts or not rare
        else:
            assert table.has_rare(text) == rare
        assert table.has_rare(text) == backwards.has_rare(text)


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.integers(0, 20), st.integers(0, 20))
def test_a_larger_table_keeps_more(texts, few, more):
    small, large = count_ngrams([texts], few), count_ngrams([texts], few + more)
    assert all(small.has_rare(text) or not large.has_rare(text) for text in texts)


def test_bigrams_do_not_cross_texts_and_have_an_order():
    keys, counts = ngram_keys(["a b", "b a", "b"])
    assert counts.tolist() == [3, 3, 1]
    ab, ba = keys[2], keys[5]
    assert ab != ba
    assert len(set(keys.tolist())) == 4  # a, b, "a b", "b a"


def test_rare_words_of_a_dataset(maker):
    for n in range(4):
        image = maker.image(f"{n}")
        maker.caption(image, f"a red dog {'' if n else 'zyx'}")
        maker.caption(image, "一只狗" if n % 2 else "一只 狗")
        maker.caption(image, "seen once here", kind="short")  # what a model wrote is neither counted nor judged
    result = curate(maker.dataset, steps=[("rare_words", {"top_n": 10})])
    assert {t for t, reason in maker.captions().items() if reason} == {"a red dog zyx"}
    assert result.statistics["rare_words"]["min_count"] == 4
    assert dict(result.captions_dropped) == {"rare_words": 1}
    all_frequent = curate(maker.dataset, steps=["rare_words"])
    assert not all_frequent.captions_dropped
    assert all_frequent.statistics["rare_words"] == {
        "distinct": 12,
        "min_count": 1,
        "top_n": 100_000_000,
        "note": "no more different n-grams than top_n: none is rare",
    }


def test_a_kept_table_judges_other_data(maker, tmp_path):
    table = str(tmp_path / "words.npy")
    image = maker.image("a")
    for text in ("a red dog", "a red cat", "a dog"):
        maker.caption(image, text)
    steps = [("rare_words", {"top_n": 100, "table": table})]
    first = curate(maker.dataset, steps=steps)
    assert not first.captions_dropped  # fewer n-grams than fit: none is rare here …
    other = Maker(tmp_path / "y.pano")
    image = other.image("b")
    for text in ("a red dog", "a blue dog"):
        other.caption(image, text)
    curate(other.dataset, steps=steps)
    assert other.captions() == {"a red dog": None, "a blue dog": "rare_words"}  # … but new ones elsewhere are
    assert curate(other.dataset, steps=steps).changed == 0
    assert load_table(table).distinct == 8


def test_tables_that_are_none(maker, tmp_path):
    image = maker.image("a")
    maker.caption(image, "a dog")
    bad = tmp_path / "bad.npy"
    for content in (b"", b"not numpy", b"\x93NUMPY\x01\x00"):
        bad.write_bytes(content)
        with pytest.raises(UserError, match=r"not a table of n-grams"):
            curate(maker.dataset, steps=[("rare_words", {"table": str(bad)})])
    np.save(bad, np.array([{"a": 1}], dtype=object), allow_pickle=True)  # a pickle is never loaded
    with pytest.raises(UserError, match="not a table"):
        load_table(bad)
    with pytest.raises(UserError, match="no folder"):
        curate(maker.dataset, steps=[("rare_words", {"table": str(tmp_path / "no" / "x.npy")})])
    with pytest.raises(UserError, match="from 1 up"):
        curate(maker.dataset, steps=[("rare_words", {"top_n": 0})])
    assert maker.captions() == {"a dog": None}


def test_saved_tables_are_read_as_written(tmp_path):
    table = count_ngrams([["a b c", "a b"]], 3, keep_all=True)
    save_table(tmp_path / "t.npy", table)
    again = load_table(tmp_path / "t.npy")
    assert (again.min_count, again.distinct, again.keys.tolist()) == (2, 5, table.keys.tolist())
    assert again.keys.tolist() == sorted(again.keys.tolist())


# -- rule 5: the test set ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hashed", [False, True])
def test_near_copies_of_a_test_set(maker, tmp_path, hashed):
    test = Maker(tmp_path / "test.pano")
    test.image(jpeg(scene(0)))
    flat = jpeg(scene(5).resize((8, 8)).resize((640, 480)))
    test.image(flat)
    copy = maker.image(jpeg(scene(0, 320, 240), 60))  # smaller, and compressed again
    same = maker.image(flat)  # the same bytes, whatever its hash says
    free = maker.image(jpeg(scene(1)))
    broken = maker.image(b"not a picture")
    if hashed:
        curate(test.dataset, steps=["near_duplicate"])
    before = test.dataset.hashes.count()
    result = curate(maker.dataset, steps=[("in_test_set", {"test": str(test.dataset.path)})], quiet=True)
    assert maker.marks() == {copy: "in_test_set", same: "in_test_set"}
    assert dict(result.unscored) == {"in_test_set": 1}
    assert {free, broken}.isdisjoint(maker.marks())
    assert test.dataset.hashes.count() == before  # the test set is only read
    with pytest.raises(UserError, match="no dataset"):
        curate(maker.dataset, steps=[("in_test_set", {"test": str(tmp_path / "tset.pano")})])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 9), st.integers(0, 256))
def test_near_others_is_plain_comparison(seed, n, m, distance):
    rng = np.random.default_rng(seed)
    one, two = rng.integers(0, 256, (n, 32), np.uint8), rng.integers(0, 256, (m, 32), np.uint8)
    bits = np.unpackbits(one[:, None] ^ two[None], axis=2).sum(axis=2)
    assert near_others(one, two, distance).tolist() == (bits <= distance).any(axis=1).tolist()


# -- rule 1: adult content ---------------------------------------------------------------------------------------------


class Prude:
    """A classifier for tests: what is dark is adult."""

    name, fingerprint, batch_size = "prude", "prude-1", 2

    def tag(self, images):
        return [[Tag("safe", 0.3), Tag("porn", float(np.asarray(i.pil()).mean() < 64))] for i in images]


def test_adult_content(maker):
    register("python:prude", Prude)
    dark, bright = maker.image(jpeg(scene(0).point(lambda v: v // 4))), maker.image(jpeg(scene(1)))
    without = curate(maker.dataset, steps=["adult", "size"], quiet=True)
    assert without.not_applied == ["adult"]
    assert without.images_kept == 2
    tagged = curate(maker.dataset, steps=[("adult", {"tagger": "python:prude"})], quiet=True)
    assert maker.marks()[dark] == "adult"
    assert maker.marks()[bright] is None
    assert not tagged.not_applied
    assert dict(curate(maker.dataset, steps=["adult"]).images_dropped) == {"adult": 1}  # the score is kept


# -- the whole ---------------------------------------------------------------------------------------------------------


def corpus(maker, order):
    """A picture or text for every rule; in any order of insertion."""
    pictures = {"ok": (640, 480), "small": (200, 900), "narrow": (900, 300), "busy": (640, 480), "adult": (640, 480)}
    pictures |= {f"shared {n}": (640, 480) for n in range(11)}
    texts = [("ok", text) for text in ("a red dog runs", "Two words", " ".join(["dog"] * 21), "…!?", "a zyxw dog runs")]
    texts += [("ok", "一只红色的狗在跑"), ("ok", "สุนัขสีแดงกำลังวิ่งอยู่บนชายหาด"), ("ok", "كلب أحمر يجري بسرعة")]
    texts += [("small", "a red dog"), ("narrow", "a red dog"), ("adult", "a red dog")]
    texts += [("busy", f"a red dog {n}") for n in range(5)]
    texts += [(f"shared {n}", "1920x1080 wallpaper image") for n in range(11)]
    rng = np.random.default_rng(order)
    names = list(pictures)
    rng.shuffle(names)
    ids = dict(zip(names, maker.images(names, *zip(*(pictures[name] for name in names)))))
    maker.dataset.score("marks", {ids["adult"]: ({"nsfw": 0.99}, None)})
    for n in rng.permutation(len(texts)):
        maker.caption(ids[texts[n][0]], texts[n][1])
    return ids


@pytest.mark.paper(
    "align",
    shows="V",
    case="every rule drops its own, in any order of rows; reasons add up; again changes nothing",
)
def test_every_rule_drops_its_own_and_order_makes_no_difference(tmp_path):
    steps = [("align", {"max_texts_per_image": 8, "top_n": 60})]
    results = []
    for order in range(3):
        maker = Maker(tmp_path / f"{order}.pano")
        ids = corpus(maker, order)
        result = curate(maker.dataset, steps=steps)
        marks = maker.marks()
        assert {name: marks[key] for name, key in ids.items() if marks.get(key)} == {
            "small": "too_small",
            "narrow": "bad_aspect",
            "adult": "adult",
        }
        found = maker.captions()
        assert found["Two words"] == "few_words" or found["Two words"] == "rare_words"
        assert found["1920x1080 wallpaper image"] == "common_text"
        assert found["…!?"] == "few_words"
        assert "in_test_set" in result.not_applied
        assert "adult" not in result.not_applied
        assert result.images_kept + sum(result.images_dropped.values()) == result.images
        assert result.captions_kept + sum(result.captions_dropped.values()) == result.captions
        assert curate(maker.dataset, steps=steps).changed == 0
        results.append((marks, found, result.statistics))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("strict", "loose"),
    [
        ({"min_side": 481}, {}),
        ({}, {"aspect_below": 3.01}),
        ({"max_texts_per_image": 4}, {"max_texts_per_image": 5}),
        ({}, {"max_images_per_text": 11}),
        ({"min_words": 4}, {"min_words": 2}),
        ({"max_words": 4}, {"max_words": 21}),
        ({"top_n": 5}, {"top_n": 20}),
        ({"top_n": 20}, {}),
    ],
)
@pytest.mark.paper("align", shows="V", case="a looser bound never drops more")
def test_looser_bounds_never_drop_more(tmp_path, strict, loose):
    maker = Maker(tmp_path / "x.pano")
    corpus(maker, 0)
    kept = []
    for options in (strict, loose):
        curate(maker.dataset, steps=[("align", options)])
        images = {row["image_id"] for row in maker.dataset.images.rows(["image_id"])}
        gone = {key for key, reason in maker.marks().items() if reason}
        rows = maker.dataset.captions.rows(["caption_id"], "dropped is null")
        kept.append((images - gone) | {row["caption_id"] for row in rows})
    assert kept[0] <= kept[1]


@pytest.mark.paper("align", shows="V", case="counts are those of the raw corpus")
def test_counts_are_those_of_the_raw_corpus(maker):
    """Rule 6 counts texts of images that rule 2 drops: order of the rules makes no difference to the counts."""
    for n in range(11):
        maker.caption(maker.image(f"{n}", 640 if n < 5 else 10, 480), "a red dog runs")
    assert curate(maker.dataset, steps="align").captions_dropped["common_text"] == 11


def test_hostile_rows_cost_only_themselves(maker):
    image = maker.image("a")
    good = "a red dog runs"
    for text in ("", "\x00", "\u202e" * 50, "ا" * 100_000, "word " * 50_000, "<script>alert(1)</script> a b", good):
        maker.caption(image, text)
    result = curate(maker.dataset, steps="align")
    assert maker.captions()[good] is None
    assert result.captions == 7
    assert result.captions_kept + sum(result.captions_dropped.values()) == 7


def test_on_an_empty_dataset(tmp_path):
    result = curate(create_dataset(tmp_path / "e.pano"), steps="align")
    assert (result.images, result.captions, result.changed) == (0, 0, 0)


def test_unscored_is_what_filters_say():
    assert FILTERS["adult"].function({"scores": {"nsfw": float("nan")}}) is UNSCORED
