import gzip
from itertools import product

import pytest

from panoglot.curation import FILTERS, UNSCORED, boilerplate, language, length, repetition, score
from panoglot.table import Caption


def said(text, lang="en", **more):
    return Caption(text, lang, **more)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two words", "too_short"),
        ("three short words", None),
        (" ".join(["word"] * 20), None),
        (" ".join(["word"] * 21), "too_long"),
        ("كلب يجري على الشاطئ", None),  # right to left
        ("कुत्ता", "too_short"),  # one word; vowel signs are no words
        ("समुद्र तट पर कुत्ता", None),
        ("开", "too_short"),
        ("一只狗", None),
        ("狗" * 21, "too_long"),
        ("犬がビーチを走っている", None),
        ("หมา", None),
        ("สุ่", "too_short"),  # one letter with a vowel sign and a tone mark
        ("ຫມາແລ່ນ", None),
        ("ဇော်", "too_short"),
        ("개가 달린다", "too_short"),  # Korean has spaces
        ("", "too_short"),
        ("a\u0301 e\u0301 o\u0301", None),  # combining marks
    ],
)
def test_length_counts_words_or_characters(text, expected):
    bounds = {"min_words": 3, "max_words": 20, "min_characters": 3, "max_characters": 20}
    assert length(said(text), {}, **bounds) == expected


def test_length_on_real_captions(test_data):
    """Counts of the ALIGN card: rule 8 on the lines of Multi30k."""
    expected = {"en": (0, 808), "de": (5, 634), "fr": (0, 1356), "cs": (8, 147)}
    for lang, counts in expected.items():
        path = test_data / "multi30k+dataset" / f"task1_raw_train.{lang}.gz"
        if not path.exists():
            pytest.skip(f"{path} is not here")
        found = {"too_short": 0, "too_long": 0, None: 0}
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                found[length(said(line.rstrip("\n"), lang), {}, min_words=3, max_words=20)] += 1
        assert (found["too_short"], found["too_long"]) == counts, lang
        assert sum(found.values()) == 29_000


def test_length_is_monotone():
    texts = ["a", "a b c", " ".join("abcdefgh"), " ".join(["x"] * 30)]
    kept = {
        (low, high): {t for t in texts if length(said(t), {}, min_words=low, max_words=high) is None}
        for low, high in product((0, 2, 4), (5, 10, 40))
    }
    for (low, high), some in kept.items():
        for (low2, high2), more in kept.items():
            if low2 <= low and high2 >= high:
                assert some <= more


TRUE = {
    "ar": "كلب يجري على الشاطئ تحت السماء الزرقاء",
    "de": "Ein Hund läuft am Strand entlang und spielt mit einem Ball",
    "en": "A dog is running along the beach and plays with a ball",
    "hi": "एक कुत्ता समुद्र तट पर दौड़ रहा है और गेंद से खेल रहा है",
    "ja": "犬がビーチを走っていて、ボールで遊んでいる",
    "sw": "Mbwa anakimbia ufukweni na anacheza na mpira wake",
    "th": "สุนัขวิ่งบนชายหาดและเล่นกับลูกบอล",
    "zh": "一只狗在海滩上奔跑并且玩着一个红色的球",
}


@pytest.mark.parametrize("lang", sorted(TRUE))
def test_language_agrees_with_the_truth_and_not_with_another(lang):
    assert language(said(TRUE[lang], lang), {}) is None
    other = "ru" if lang != "ru" else "en"
    assert language(said(TRUE[lang], other), {}) == "language_mismatch"


def test_relatives_are_no_mismatch():
    danish = "En hund løber på stranden og leger med en bold i solen"
    assert language(said(danish, "nb"), {}) is None
    assert language(said(danish, "vi"), {}, mismatch=0.3) == "language_mismatch"


@pytest.mark.parametrize(
    ("text", "lang", "expected"),
    [
        ("собака бежит", "en", "language_mismatch"),
        ("собака бежит", "sr", UNSCORED),  # Serbian is written in both
        ("собака бежит", "sr-Latn", "language_mismatch"),
        ("kutta daud raha hai", "hi", "language_mismatch"),
        ("狗在海滩上奔跑", "ja", UNSCORED),
        ("iPhone 12 Pro 手机", "zh", UNSCORED),  # a tenth of its own letters is enough
        ("Öl", "ru", UNSCORED),  # too short to say
    ],
)
def test_script_is_evidence_by_itself(text, lang, expected):
    found = language(said(text, lang), {})
    assert found == expected or (expected is UNSCORED and found is None)


def test_a_language_that_is_never_identified_is_unscored():
    fulah = "Hay firti ko halb walla feccere, so dreidel yanii e hey, ɓam feccre e ko woni e hakkunde"
    assert language(said(fulah, "ff"), {}) is UNSCORED
    assert language(said("ᐊᐅᐸᕐᑐᖅ ᐃᓪᓓᒍᑎᑦᓴᔭᖅ ᐱᕈᕐᓯᐊᖑᐊᖅ", "iu"), {}) is UNSCORED
    assert language(said("´Õ º¢È¢Â ÀÃí¸¢ì¸¡ö.", "ta"), {}) == "language_mismatch"  # an old encoding


def test_language_allowed():
    assert language(said(TRUE["de"], "de"), {}, allowed=["de", "en"]) is None
    assert language(said(TRUE["de"], "de"), {}, allowed=["fr"]) == "language_not_allowed"
    assert language(said("任意", "zh-Hant"), {}, allowed=["zh"], mismatch=None) is None
    assert language(said("任意", "zh"), {}, allowed=["zh-Hant"], mismatch=None) == "language_not_allowed"


def test_undetermined_language():
    assert language(said(TRUE["de"], "und"), {}) is None
    assert language(said(TRUE["de"], "und"), {}, allowed=["de"]) is None
    assert language(said(TRUE["de"], "und"), {}, allowed=["en"]) == "language_not_allowed"
    assert language(said("42", "und"), {}, allowed=["en"]) == "language_unknown"
    assert language(said("42", "und"), {}) is UNSCORED


def test_short_texts_are_not_identified():
    assert language(said("Hund", "en"), {}) is UNSCORED
    assert language(said("кот", "und"), {}, allowed=["en"], min_letters=1) == "language_not_allowed"


def test_language_confidence():
    assert language(said(TRUE["de"], "de"), {}, min_confidence=0.5) is None
    assert language(said(TRUE["de"], "de"), {}, min_confidence=1.01) == "language_unsure"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog runs over a meadow", None),
        ("the cat the cat the cat the cat", "repetition"),
        ("no no no no no no", "repetition"),
        ("yes yes yes", None),
        ("aaaaaaaaaaaaaaaaaaaa", "repetition"),
        ("狗在海滩上奔跑狗在海滩上奔跑狗在海滩上奔跑", "repetition"),
        ("一只狗在海滩上奔跑", None),
        ("สุนัขวิ่งสุนัขวิ่งสุนัขวิ่งสุนัขวิ่ง", "repetition"),
        ("สุนัขวิ่งบนชายหาด", None),
        ("犬が走る犬が走る犬が走る犬が走る", "repetition"),
        ("كلب أحمر كلب أحمر كلب أحمر كلب أحمر", "repetition"),
        ("कुत्ता दौड़ता है और कुत्ता दौड़ता है और कुत्ता दौड़ता है", "repetition"),
        ("Au feu ! Au feu !", None),
        ("ไฟใหม้! ไฟใหม้! ไฟใหม้!", None),
        ("anak-anak bermain bola di pantai", None),
        ("", None),
    ],
)
def test_repetition_in_any_script(text, expected):
    assert repetition(said(text), {}) == expected


def test_repetition_is_monotone():
    text = said("a red car stands here and a red car stands there")
    verdicts = [repetition(text, {}, max_share=share) for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert verdicts[0] == "repetition"
    assert verdicts[-1] is None
    assert verdicts == sorted(verdicts, key=lambda v: v is None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("...", "no_letters"),
        ("🐶🐶", "no_letters"),
        ("2024-11-23", "no_letters"),
        ("1920x1080", "stock_text"),
        ("https://example.org/a?b=c", "url"),
        ("see https://e.org", "url"),
        ("A long enough sentence about the harbour, from https://e.org", None),
        ("IMG_0042.jpg", "file_name"),
        ("DSC 01234", "file_name"),
        ("photo 3", "file_name"),
        ("A photo of 3 dogs", None),
        ("<p>A dog", "html"),
        ("Tom &amp; Jerry", "html"),
        ("a < b and b > c", None),
        ("AT&T; store", "html"),
        ("Untitled", "stock_text"),
        (" Image. ", "stock_text"),
        ("画像", "stock_text"),
        ("صورة", "stock_text"),
        ("صورة كلب", None),
        ("n/a", "stock_text"),
    ],
)
def test_boilerplate(text, expected):
    expected = None if text == "AT&T; store" else expected  # a single letter is no character reference
    assert boilerplate(said(text), {}) == expected


def test_what_people_wrote_is_no_boilerplate():
    assert "human" not in FILTERS["boilerplate"].kinds


def test_score_threshold():
    low = said("a", scores={"alignment": 0.1})
    assert score(low, {}, minimum=0.2) == "low_alignment"
    assert score(low, {}, minimum=0.1) is None  # the bound is kept
    assert score(low, {}, maximum=0.05) == "high_alignment"
    assert score(low, {}, name="clip", minimum=0.2) is UNSCORED
    assert score(said("a", scores={"alignment": None}), {}, minimum=0.2) is UNSCORED
    assert score(said("a", scores={"alignment": float("nan")}), {}, minimum=0.2) is UNSCORED
