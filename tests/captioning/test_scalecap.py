"""The worked cases of ScaleCap's card, and the errors of the released code that ours is free of."""

import math

import pytest

from panoglot.captioning import scalecap
from panoglot.captioning.scalecap import ASK, LIST, MERGE, PROMPT, requests_for
from panoglot.errors import RowError, UserError
from tests.captioning.scripted import Says, picture, rows, run

FIRST = "A brown dog lies on a red sofa, perhaps asleep. The window shows a blue lake. A white cup stands there"


def score(prompt, text):
    """What is in the picture gains by it: dog, sofa, cup; nothing else does."""
    seen = bool(prompt.images)
    tokens = [(("" if n == 0 else " ") + word, word.strip(".,")) for n, word in enumerate(text.split())]
    return [(t, -0.5 if seen and w in ("dog", "sofa", "cup", "brown", "red", "white") else -2.0) for t, w in tokens]


def captioner(first=FIRST, scores=score):
    def answer(prompt):
        if prompt.text.startswith(ASK + "position"):
            return (
                f"The {prompt.text.removeprefix(ASK + 'position of the ').split('.')[0]} is in the middle of the room."
            )
        if prompt.text.startswith(ASK):
            return f"The {prompt.text.removeprefix(ASK).split('.')[0]} has a soft surface and small dark marks on it."
        return first

    return Says(answer, "captioner", scores)


def llm(prompt):
    if prompt.text.startswith(LIST[:40]):
        sentence = prompt.text.rpartition("Sentence: ")[2]
        return "\n".join(f"{ASK}{w}." for w in ("dog", "sofa", "cup", "window", "lake") if w in sentence) or "None."
    if prompt.text.startswith(MERGE[:40]):
        return "MERGED the dog on the sofa, and a white cup stands beside it."
    return "SUMMARY of what the answers say of the things in the picture."


def go(first=FIRST, scores=score, llm_=llm, **options):
    models = {"captioner": captioner(first, scores), "llm": Says(llm_, "llm")}
    found = run(scalecap, picture(), models, **options)
    return found, models


@pytest.mark.paper("scalecap", shows="C", case="caption, rating, objects, positions, answers, two summaries, merge")
def test_every_step_of_the_paper():
    caption, models = go()
    assert caption.text.startswith("MERGED")
    asked = [prompt.text for prompt in models["captioner"].prompts]
    assert asked[0].startswith(PROMPT)
    assert {text.partition("\n")[0] for text in asked[1:]} == {
        f"{ASK}{place}{name}." for name in ("dog", "sofa", "cup") for place in ("", "position of the ")
    }
    assert [prompt.max_tokens for prompt in models["captioner"].prompts] == [1024, *[512] * 6]
    merged = models["llm"].prompts[-1]
    assert "Main description: A brown dog lies on a red sofa. A white cup stands there" in merged.text
    assert "Details: SUMMARY" in merged.text
    assert merged.max_tokens == 4096
    dropped = [row.text for row in rows(caption) if row.dropped == "unsupported"]
    assert dropped == ["perhaps asleep", "The window shows a blue lake"]
    assert caption.scores["claims_dropped"] == 2
    assert caption.scores["fallback"] == 0
    (first, *_) = caption.parents
    assert first.text == FIRST


@pytest.mark.paper("scalecap", shows="V", case="nothing survives, or both streams are alike: the whole first caption")
def test_nothing_kept_is_the_whole_caption():
    for options in ({"tau": math.inf}, {"scores": lambda prompt, text: [(w, -1.0) for w in text.split(" ")]}):
        scores = options.pop("scores", score)
        caption, models = go(scores=scores, **options)
        assert f"Main description: {FIRST}" in models["llm"].prompts[-1].text
    caption, _ = go(tau=-math.inf)
    assert caption.scores["claims_dropped"] == 0


@pytest.mark.paper("scalecap", shows="V", case="no questions at budget 0; the order of questions is that of the text")
def test_the_budget():
    caption, models = go(budget=0)
    assert len(models["captioner"].prompts) == 1
    assert models["llm"].prompts[-1].text.startswith(MERGE[:40])
    assert caption.scores["questions"] == 0
    assert requests_for(["b", "a", "b"], 3) == [f"{ASK}b.", f"{ASK}a.", f"{ASK}position of the b."]
    assert requests_for(["a"], None, objects=False) == [f"{ASK}position of the a."]


@pytest.mark.paper("scalecap", shows="V", case="an answer that loses everything in the second rating is kept whole")
def test_the_second_filter():
    caption, _ = go(second_filter=True)
    assert caption.scores["questions"] == 6
    assert all(row.text for row in rows(caption))


def test_without_a_language_model_the_parser_lists_and_sentences_are_appended():
    caption, _ = go(llm="", budget=4)
    assert caption.text.startswith("A brown dog lies on a red sofa. A white cup stands there")
    assert "soft surface" in caption.text
    assert "lake" not in caption.text
    assert caption.scores["fallback_fuser"] == 1
    assert caption.scores["fallback_lister"] == 2


def test_a_captioner_that_gives_no_probabilities_filters_nothing_and_that_is_said():
    caption, _ = go(scores=None)
    assert caption.scores["fallback_rating"] == 1
    assert caption.scores["claims_dropped"] == 0
    with pytest.raises(UserError, match="log-probabilities"):
        go(scores=None, scorer="captioner")
    with pytest.raises(UserError, match="unit"):
        go(unit="word")


def test_failed_questions_cost_their_answers_alone():
    def first_alone(prompt):
        return RowError("down") if prompt.text.startswith(ASK) else FIRST

    models = {"captioner": Says(first_alone, "captioner", score), "llm": Says(llm, "llm")}
    caption = run(scalecap, picture(), models)
    assert caption.text.startswith("MERGED")
    assert caption.scores["fallback_answer"] == 6
    with pytest.raises(RowError):
        run(scalecap, picture(), {"captioner": Says(RowError("down")), "llm": Says(llm)})


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("كلب بني ينام على أريكة حمراء، وبجانبه كوب أبيض. النافذة مفتوحة.", "ar"),
        ("一只棕色的狗躺在红色的沙发上，旁边有一个白色的杯子。窗外有一个蓝色的湖。", "zh"),
        ("भूरा कुत्ता लाल सोफ़े पर लेटा है, पास में एक सफ़ेद कप है। खिड़की खुली है।", "hi"),
        ("สุนัขสีน้ำตาลนอนอยู่บนโซฟาสีแดง มีถ้วยสีขาววางอยู่ข้างๆ", "th"),
    ],
)
def test_other_scripts_are_rated_and_lose_no_sentence(text, tag):
    def seen(prompt, said):
        return [(c, -0.5 if prompt.images else -2.0) for c in said]

    caption, _ = go(text, seen, llm="")
    assert caption.lang == tag
    assert caption.scores["claims_dropped"] == 0
    assert all(word in caption.text for word in text.strip("。।.").split())
