"""The worked cases of CapsFusion's card, and its traps."""

import pytest

from panoglot.captioning import capsfusion
from panoglot.captioning.capsfusion import PROMPT, coverage, cut_raw
from panoglot.errors import RowError
from panoglot.table import Caption
from tests.captioning.scripted import Says, picture, run
from tests.running.toy import Fits

ALT = Caption("VW T-ROC alloy wheel Wolfsburg", "en", "alt")
SHORT = Caption("The wheel on a blue car is shown.", "en", "short", "blip")
FUSED = "The alloy wheel of a blue VW T-ROC is shown in Wolfsburg."


def fuse(captions=(ALT, SHORT), llm=FUSED, given=(), **options):
    model = Says(llm)
    found = run(capsfusion, picture(captions=captions), {"llm": model, **dict(given)}, **options)
    return found, model.prompts


@pytest.mark.paper("capsfusion", shows="V", case="raw and synthetic, instruction, fused sentence, status, parents")
def test_both_texts_become_one_sentence():
    caption, (prompt,) = fuse()
    assert caption.text == FUSED
    assert (caption.lang, caption.kind, list(caption.parents)) == ("en", "short", [ALT, SHORT])
    assert f"A: {ALT.text}\nB: {SHORT.text}" in prompt.text
    assert prompt.max_tokens == 80
    assert prompt.temperature == 0
    assert caption.scores["raw_kept"] == 1
    assert caption.scores["fallback"] == 0
    assert not {"raw_cut", "copied", "unfinished", "contradiction"} & set(caption.scores)


@pytest.mark.paper(
    "capsfusion", shows="V", case="12 tokens: 10 + 5 is cut to 7, 7 + 5 is not; never the synthetic side"
)
def test_cut_of_the_card():
    ten, five = "a b c d e f g h i j", "1 2 3 4 5"
    assert cut_raw(ten, five, 12) == "a b c d e f g"
    assert cut_raw("a b c d e f g", five, 12) == "a b c d e f g"  # exactly the limit: the original empties it
    assert cut_raw(ten, five, 3) == ""
    assert cut_raw("一二三四五六七八九十", five, 8) == "一二三"


@pytest.mark.paper("capsfusion", shows="V", case="an emptied raw text leaves the synthetic one, and is flagged")
def test_a_raw_text_is_cut_and_emptied_with_a_flag():
    raw = Caption(" ".join(f"Word{n}" for n in range(400)), "en", "alt")
    caption, (prompt,) = fuse([raw, SHORT])
    assert caption.scores["raw_cut"] == 1
    assert len(prompt.text.split()) <= 256 + 2
    assert SHORT.text in prompt.text
    caption, prompts = fuse([raw, SHORT], limit=10)
    assert (caption.text, caption.scores["raw_emptied"], prompts) == (SHORT.text, 1, [])


@pytest.mark.paper(
    "capsfusion", shows="V", case="equal texts, empty raw, empty synthetic: what is there, without a model"
)
def test_one_text_is_not_fused():
    same = Caption("The wheel on a blue car is shown.", "en", "alt")
    for captions, text in (([same, SHORT], SHORT.text), ([SHORT], SHORT.text), ([ALT], ALT.text)):
        caption, prompts = fuse(captions)
        assert (caption.text, prompts) == (text, [])
    with pytest.raises(RowError) as error:
        fuse([])
    assert error.value.reason == "no_text"
    with pytest.raises(RowError):
        fuse([Caption("IMG_2043.JPG", "und", "alt")])


@pytest.mark.paper("capsfusion", shows="V", case="an answer that leaks its instruction never becomes a caption")
@pytest.mark.parametrize(
    "answer",
    [
        "The fused sentence keeps the sentence structure of the second and the real-world knowledge of the first.",
        "I'm sorry, but I cannot help with that.",
        RowError("down"),
        PROMPT,
    ],
)
def test_leaks_refusals_and_failures_fall_back_to_the_rule(answer):
    caption, _ = fuse(llm=answer)
    assert caption.text.startswith("The wheel on a blue car is shown")
    assert "VW T-ROC" in caption.text
    assert (caption.scores["fallback_fuser"], caption.model) == (1, "panoglot:join")


@pytest.mark.paper("capsfusion", shows="V", case="a text about another thing is left out, not welded in")
def test_contradicting_sources_are_not_welded():
    workbook, jacket = Caption("Maths workbook =0.1", "en", "alt"), Caption("A jacket =0.6", "en", "short")
    caption, prompts = fuse([workbook, jacket], scorer="e", given={"e": Fits()})
    assert (caption.text, prompts) == ("A jacket =0.6", [])
    assert caption.scores["contradiction"] == 1
    caption, prompts = fuse([Caption("VW =0.5", "en", "alt"), jacket], scorer="e", given={"e": Fits()})
    assert len(prompts) == 1


def test_joined_and_unfinished_answers_are_flagged():
    caption, _ = fuse(llm=f"{SHORT.text[:-1]} and {ALT.text}")
    assert (caption.scores["copied"], caption.scores["unfinished"]) == (1, 1)


@pytest.mark.paper("capsfusion", shows="V", case="share of raw and synthetic words kept, and of words in neither")
def test_coverage():
    found = coverage("A red Rex runs", "Rex 2", "a dog runs")
    assert found == {"raw_kept": 0.5, "synthetic_kept": pytest.approx(2 / 3), "new": 0.25}
    assert coverage("a", "", "a")["raw_kept"] is None


@pytest.mark.parametrize(
    ("alt", "short", "answer", "tag"),
    [
        ("فندق النيل", "مبنى أبيض بجانب النهر.", "فندق النيل مبنى أبيض بجانب النهر في القاهرة.", "ar"),
        ("ताज महल आगरा", "एक सफ़ेद इमारत नदी के पास है।", "आगरा का ताज महल एक सफ़ेद इमारत है जो नदी के पास है।", "hi"),
        ("วัดอรุณ", "อาคารสีขาวริมแม่น้ำ", "วัดอรุณเป็นอาคารสีขาวริมแม่น้ำเจ้าพระยา", "th"),
        ("东京塔 2024", "河边有一座白色的建筑。", "东京塔是一座位于河边的白色建筑，摄于夜晚。", "zh"),
        (
            "Hoteli ya Nile",
            "Jengo jeupe liko kando ya mto mkubwa.",
            "Hoteli ya Nile ni jengo jeupe kando ya mto.",
            "sw",
        ),
    ],
)
def test_other_languages_stay_what_they_are(alt, short, answer, tag):
    captions = [Caption(alt, tag, "alt"), Caption(short, tag, "short")]
    caption, (prompt,) = fuse(captions, llm=answer)
    assert (caption.text, caption.lang, caption.dropped) == (answer, tag, None)
    assert "Answer in" in prompt.text
    caption, _ = fuse(captions, llm="This is a white building beside a wide river in the city.")  # another language
    assert caption.scores["fallback_fuser"] == 1
    assert alt.split()[0] in caption.text


def test_a_captioner_writes_what_is_not_stored():
    given = {"c": Says("A wheel of a car is shown in a garage.")}
    caption, (prompt,) = fuse([ALT], given=given, captioner="c")
    assert "B: A wheel of a car" in prompt.text
    assert [parent.kind for parent in caption.parents] == ["alt", "short"]
    given = {"c": Says(RowError("down"))}
    caption, _ = fuse([ALT], given=given, captioner="c")
    assert (caption.text, caption.scores["fallback_captioner"]) == (ALT.text, 1)
