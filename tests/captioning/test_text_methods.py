"""VeCLIP, Revisit, Visual Caption Boosting, ShareGPT4V, MLBCAP, VisCon: the cases of their cards, and their traps."""

import itertools
import json
from collections import Counter

import pytest

from panoglot.captioning import caption_boosting, mlbcap, revisit_captions, sharegpt4v, veclip, viscon
from panoglot.captioning.mlbcap import figure_of, is_trainable
from panoglot.captioning.revisit_captions import FORMATS, count_tokens, format_of, trimmed
from panoglot.captioning.sharegpt4v import BASE, GENERIC, SOURCES, swap_captions
from panoglot.captioning.viscon import PLACE, Choice, conversation, distinct, page_context, read_questions
from panoglot.errors import RowError, UserError
from panoglot.providers.roles import Answer
from panoglot.table import Caption, Document
from tests.captioning.scripted import Says, picture, run

# -- VeCLIP ------------------------------------------------------------------------------------------------------------

ALT = Caption("Summer sale kite Rhossili beach", "en", "alt")
SEES = "A red kite flies above a wide sandy beach."
BOTH = "A red kite flies above the wide sands of Rhossili beach."


def rewrite(captions=(ALT,), sees=SEES, fused=BOTH, **options):
    given = {"captioner": Says(sees), "llm": Says(fused)}
    return run(veclip, picture(captions=captions), given, **options), given


@pytest.mark.paper(
    "veclip", shows="C", case="visual text without the alt text, fusion, both texts kept, coin elsewhere"
)
def test_veclip_rewrites_the_alternative_text_with_what_is_seen():
    caption, given = rewrite()
    assert (caption.text, caption.kind, caption.scores["fallback"]) == (BOTH, "short", 0)
    assert [parent.text for parent in caption.parents] == [ALT.text, SEES]
    assert "Rhossili" not in given["captioner"].prompts[0].text  # the captioner cannot parrot it
    assert f"Found beside it: {ALT.text}\nCan be seen: {SEES}" in given["llm"].prompts[0].text


@pytest.mark.paper("veclip", shows="V", case="a caption, a refusal, an announcement → kept, fallback, cleaned")
def test_guards_of_the_card():
    assert rewrite(fused="A red kite above a beach.")[0].text == "A red kite above a beach."
    caption, given = rewrite(fused="I'm sorry, I can't help with that.")
    assert (caption.text, caption.scores["fallback_fuser"]) == (SEES, 1)
    assert len(given["llm"].prompts) == 2  # asked again, more simply
    assert rewrite(fused="Sure! Here is the caption: a dog on the beach runs.")[0].text == "a dog on the beach runs."
    caption, _ = rewrite(sees=RowError("down"))
    assert (caption.text, caption.scores["fallback_captioner"]) == (ALT.text, 1)
    with pytest.raises(RowError) as error:
        rewrite([], sees=RowError("down"))
    assert error.value.reason == "no_text"


def test_veclip_passes_over_file_names_and_says_when_languages_differ():
    caption, given = rewrite([Caption("IMG_2043.JPG", "und", "alt")])
    assert (caption.text, given["llm"].prompts) == (SEES, [])
    caption, _ = rewrite([Caption("Ein roter Drachen über dem Strand von Rhossili", "de", "alt")])
    assert (caption.scores["other_language"], caption.lang) == (1, "en")


# -- Revisit -----------------------------------------------------------------------------------------------------------

SSC = "A brown dog runs along the wet sand of a beach."
DSC = (
    "A brown dog runs along the wet sand of a wide beach. Small waves break behind it under a grey sky. "
    "A child in a yellow coat stands near the water and holds a long green rope in both hands."
)
DENSE = " ".join(
    f"A {colour} {thing} with a small white mark stands on the left side of the {place}."
    for colour, thing, place in (
        ("red", "boat", "pier"), ("green", "car", "road"), ("blue", "bucket", "sand"), ("yellow", "coat", "rail"),
        ("brown", "dog", "beach"), ("black", "bird", "post"), ("grey", "house", "hill"), ("old", "bench", "path"),
    )
)  # fmt: skip


def formats(answers=None, alt=ALT, fused="", **options):
    answers = answers or {"ssc": SSC, "dsc": DSC, "dsc+": DENSE}

    def answer(prompt):
        name = next(name for name, form in FORMATS.items() if prompt.text.startswith(form.ask[:30]))
        found = answers[name]
        return found[min(prompt.seed, len(found) - 1)] if isinstance(found, list) else found

    given = {"captioner": Says(answer), "llm": Says(fused or f"{DSC} It is Rhossili beach.")}
    found = run(revisit_captions, picture(captions=[alt] if alt else []), given, **options)
    return {next(n for n in (*FORMATS, "afc") if c.scores.get(n)): c for c in found}, given


@pytest.mark.paper(
    "revisit-captions", shows="V", case="tokens 12 ssc, 78 dsc, 79 and 25 none, 100 dsc+: both ends inside"
)
def test_windows_of_the_card():
    assert [format_of(n) for n in (12, 78, 79, 100, 25, 5, 20, 30)] == [
        "ssc", "dsc", None, "dsc+", None, "ssc", "ssc", "dsc",
    ]  # fmt: skip


@pytest.mark.paper("revisit-captions", shows="V", case="four formats inside their windows; richness grows with length")
def test_four_formats():
    found, given = formats()
    assert list(found) == ["ssc", "dsc", "dsc+", "afc"]
    assert [format_of(count_tokens(found[name].text)) for name in FORMATS] == list(FORMATS)
    assert [found[name].kind for name in found] == ["short", "dense", "dense", "dense"]
    assert found["ssc"].scores["assertions"] < found["dsc"].scores["assertions"] < found["dsc+"].scores["assertions"]
    assert "Rhossili" in found["afc"].text
    assert list(found["afc"].parents) == [ALT, found["dsc"]]
    assert f"Text: {ALT.text}\n\nDescription: {DSC}" in given["llm"].prompts[0].text


@pytest.mark.paper(
    "revisit-captions", shows="V", case="afc without alternative text is dsc; trimming ends with a sentence"
)
def test_afc_without_alt_and_trimming():
    found, given = formats(alt=None)
    assert (found["afc"].text, given["llm"].prompts) == (DSC, [])
    assert trimmed("One two. Three four", 100) == "One two."
    assert trimmed("一只狗。一只猫。一盏", 4) == "一只狗。"


def test_a_format_is_judged_by_its_length_not_by_its_name():
    found, given = formats({"ssc": [DSC, DSC, SSC], "dsc": DSC, "dsc+": DENSE})
    assert found["ssc"].text == SSC
    assert [p.temperature for p in given["captioner"].prompts if p.text.startswith(FORMATS["ssc"].ask[:30])] == [
        0,
        0.7,
        0.7,
    ]
    found, _ = formats({"ssc": SSC, "dsc": DENSE, "dsc+": DENSE})  # 78 tokens is all that a tower reads
    assert count_tokens(found["dsc"].text) <= 78
    assert found["dsc"].scores["trimmed"] == 1
    found, _ = formats({"ssc": SSC, "dsc": SSC, "dsc+": SSC})
    assert list(found) == ["ssc"]
    assert found["ssc"].scores["fallback_window"] == 2
    with pytest.raises(RowError) as error:
        formats({"ssc": "Dog.", "dsc": "Dog.", "dsc+": "Dog."})
    assert error.value.reason == "no_format"


# -- Visual Caption Boosting -------------------------------------------------------------------------------------------

HUMAN = [Caption(t, "en", "human") for t in ("A dog runs.", "A brown dog on sand.", "Dog with a red ball.", "A dog.")]


@pytest.mark.paper(
    "ndlb-truematch", shows="V", case="captions of people blended, a description fused in, 77 tokens at most"
)
def test_captions_are_boosted():
    def llm(prompt):
        return "A brown dog runs on sand with a red ball." if "Blend" in prompt.text else "Long text here. " * 40

    given = {"captioner": Says("A brown dog with a collar runs past a pier."), "llm": Says(llm)}
    blend, holistic = run(caption_boosting, picture(captions=HUMAN), given)
    assert blend.text == "A brown dog runs on sand with a red ball."
    assert list(blend.parents) == HUMAN
    assert [p.text for p in holistic.parents] == [blend.text, "A brown dog with a collar runs past a pier."]
    assert count_tokens(holistic.text) <= 77
    fuse = given["llm"].prompts[1].text
    assert f"First: {blend.text}\n\nSecond: A brown dog" in fuse


def test_boosting_without_a_language_model_says_each_thing_once():
    given = {"captioner": Says("A pier. A brown dog."), "llm": Says("")}
    blend, holistic = run(caption_boosting, picture(captions=HUMAN), given, llm="")
    assert blend.text == "A brown dog on sand. Dog with a red ball. A dog runs."
    assert holistic.text == f"{blend.text} A pier."
    with pytest.raises(RowError) as error:
        run(caption_boosting, picture(), given)
    assert error.value.reason == "no_caption"
    (blend,) = run(caption_boosting, picture(captions=HUMAN), {**given, "captioner": Says(RowError("down"))}, llm="")
    assert blend.scores["blend"] == 1


# -- ShareGPT4V --------------------------------------------------------------------------------------------------------


def rich(answer="A tower stands on a hill above the old town.", context=None, **options):
    model = Says(answer)
    return run(sharegpt4v, picture(**(context or {})), {"captioner": model}, **options), model.prompts[0]


@pytest.mark.paper(
    "sharegpt4v", shows="V", case="instructions by source; one constant instruction for the tuned captioner"
)
def test_instructions_by_source():
    for source, more in SOURCES.items():
        _, prompt = rich(context={"source": source, "alt": "Torre de Belém"})
        assert prompt.text == f"{BASE} {more.replace('{alt}', 'Torre de Belém')}"
    assert rich(context={"source": "web"})[1].text == BASE
    assert {rich(context={"source": source}, generic=True)[1].text for source in SOURCES} == {GENERIC}
    nameless = rich(context={"source": "celebrity"}, names=False)[1].text
    assert nameless == f"{BASE} Name no person."


@pytest.mark.paper(
    "sharegpt4v", shows="V", case="10 records, 3 descriptions, 5 seeds: 2, 5, 9 replaced in order, 2 left"
)
def test_swap_of_the_card():
    records = [{"id": n, "detail": n in (2, 5, 9)} for n in range(10)]
    seeds = [{"id": f"s{n}"} for n in range(5)]
    found, unused = swap_captions(records, seeds, lambda record: record["detail"])
    assert ([r["id"] for r in found], unused) == ([0, 1, "s0", 3, 4, "s1", 6, 7, 8, "s2"], 2)
    assert all(one is other for n, (one, other) in enumerate(zip(found, records)) if n not in (2, 5, 9))
    with pytest.raises(UserError, match="twice"):
        swap_captions(records, [*seeds, {"id": 3}], lambda record: record["detail"])
    with pytest.raises(UserError, match="only 1 seed"):
        swap_captions(records, seeds[:1], lambda record: record["detail"])


@pytest.mark.paper("sharegpt4v", shows="V", case="captions are not empty and end with sentence punctuation")
def test_captions_end_with_a_sentence():
    caption, prompt = rich(Answer("A tower stands here. It is made of", finish="length"))
    assert (caption.text, caption.scores["trimmed"], prompt.max_tokens) == ("A tower stands here.", 1, 500)
    with pytest.raises(RowError) as error:
        rich(Answer("A tower that", finish="length"))
    assert error.value.reason == "unfinished_answer"


# -- MLBCAP ------------------------------------------------------------------------------------------------------------

PAPER = {
    "figure_type": "bar chart", "ocr": "BLEU ours baseline", "categories": "cs.CL",
    "mention": "Figure 2 compares BLEU of ours and the baseline.", "paragraph": " ".join(["Long"] * 700),
}  # fmt: skip
DRAFTS = {
    "a": "A chart.", "b": "BLEU of ours and the baseline. Ours is better on all four sets.",
    "c": "Bars of several heights in two colours.", "d": "Figure.",
}  # fmt: skip


def figure(said, names="abcd", **options):
    given = {name: Says(DRAFTS[name], name) for name in names} | {"llm": Says(said, "judge")}
    return run(mlbcap, picture(**PAPER), given, writers=tuple(names), **options), given


@pytest.mark.paper("mlbcap", shows="V", case="keep a alone of a..e: stop, two sentences, 100 words, score 5")
def test_filter_of_the_card():
    many = "Word one. " * 50 + "Last."
    cases = [
        ("Results of A. B is best.", 5), ("Results of A. B is best", 5), ("Accuracy of the model.", 5), (many, 5),
        ("Results of A. B is best.", 4),
    ]  # fmt: skip
    assert [is_trainable(*case) for case in cases] == [True, False, False, False, False]
    assert is_trainable("Fig. 1 has 3.5 cm. It is e.g. long.", 6)
    assert not is_trainable("Values, e.g. 3.5 cm.", 6)
    assert is_trainable("Accuracy of the model.", 5, one_sentence=True)


@pytest.mark.paper("mlbcap", shows="V", case="four writers, a judge that sees numbers alone, 50 and 30 words at most")
def test_writers_and_judge():
    def judge(prompt):
        drafts = prompt.text.partition("Drafts:\n")[2].splitlines()
        choice = next(n for n, line in enumerate(drafts, 1) if "four sets" in line)
        return json.dumps({"choice": choice, "caption": "BLEU of ours and the baseline. " + "It is better here. " * 20})

    (long, short), given = figure(judge)
    assert (long.kind, short.kind) == ("dense", "short")
    assert (len(long.text.split()) <= 50, len(short.text.split()) <= 30) == (True, True)
    assert long.scores["over_length"] == 1
    assert long.text.endswith(".")
    assert long.scores["picked"] == short.scores["picked"] == 1
    assert [parent.text for parent in long.parents] == list(DRAFTS.values())
    seen = given["llm"].prompts[0].text
    assert "Sentences that cite it: Figure 2 compares" in seen
    assert "Text in the figure: BLEU" in seen
    assert seen.count("Long") == 512  # the paragraphs are cut, the citing sentence is not
    order = [line.partition(". ")[2] for line in seen.partition("Drafts:\n")[2].splitlines()[:4]]
    assert sorted(order) == sorted(DRAFTS.values())


@pytest.mark.paper("mlbcap", shows="V", case="permuting the drafts changes nothing; one writer's draft is the caption")
def test_a_judge_by_rule():
    picks = {figure("", names="".join(order), judge="")[0][0].text for order in itertools.permutations("abcd")}
    assert picks == {DRAFTS["b"]}
    (long, short), _ = figure("", names="c", judge="")
    assert long.text == short.text == DRAFTS["c"]
    assert short.scores["fallback_judge"] == 2


@pytest.mark.parametrize("answer", ['{"choice": 9, "caption": "x"}', "no JSON", '{"choice": 1, "caption": ""}', "[1]"])
def test_a_judge_that_cannot_be_read_falls_back(answer):
    (long, short), _ = figure(answer)
    assert long.text == short.text == DRAFTS["b"]
    assert short.scores["fallback_judge"] == 2


def test_writers_that_fail_and_figures_without_a_page():
    given = {"a": Says(RowError("down")), "b": Says(DRAFTS["b"]), "llm": Says("")}
    long, _ = run(mlbcap, picture(), given, writers=("a", "b"), judge="")
    assert long.scores["fallback_writer"] == 1
    assert figure_of(picture()).text() == ""
    with pytest.raises(RowError) as error:
        run(mlbcap, picture(), {"a": Says(RowError("down"))}, writers=("a",), judge="")
    assert error.value.reason == "no_draft"


# -- VisCon ------------------------------------------------------------------------------------------------------------

CAPTION = "A tall red vase from Murano stands on a white table beside an open window."
ASKED = {
    "free": [{"q": "What stands on the table?", "a": "a vase"}, {"q": "What stands on the table?", "a": "it"}],
    "choice": [
        {"q": "Where is the vase from?", "options": ["Murano", "Rome", "Oslo", "Paris"], "answer": "Murano"},
        {"q": "Where?", "options": ["Paris", "Rome", "Rome", "Oslo"], "answer": "Paris"},
        {"q": "Who?", "options": ["Ann", "Bob"], "answer": "Eve"},
    ],
}


def on_page(questions=json.dumps(ASKED), page=f"T1\n\n{PLACE}\n\nT2", alt="red vase", **options):
    given = {"captioner": Says(CAPTION), "llm": Says(questions)}
    return run(viscon, picture(page=page, alt=alt), given, **options), given


@pytest.mark.paper(
    "viscon", shows="V", case="a page of two pictures: T1, place, T2 in order; no alternative text, no field"
)
def test_context_of_the_card():
    first, second = picture(1), picture(2)
    parts = ["T1", first, "T2", second]
    assert page_context(parts, 1) == f"T1\n\n{PLACE}\n\nT2"
    assert page_context(parts, 3) == f"T1\n\nT2\n\n{PLACE}"
    assert page_context(parts, 3, around=1) == f"T2\n\n{PLACE}"
    assert page_context(parts, 3, around=0) == PLACE
    _, given = on_page()
    assert f"Page:\nT1\n\n{PLACE}\n\nT2\n\nAlternative text: red vase" in given["captioner"].prompts[0].text
    _, given = on_page(alt="")
    assert "Alternative text" not in given["captioner"].prompts[0].text


@pytest.mark.paper("viscon", shows="V", case="2,000 tokens stay, 2,001 go")
def test_limit_of_the_card():
    assert on_page(page=" ".join(["w"] * 2000))[0][0].text == CAPTION
    with pytest.raises(RowError) as error:
        on_page(page=" ".join(["w"] * 2001))
    assert error.value.reason == "page_too_long"


@pytest.mark.paper(
    "viscon", shows="V", case="color and colour stay, a repetition goes; options twice or without answer go"
)
def test_questions_of_the_card():
    questions = [Choice(f"What {word} is the vase?", "red") for word in ("color", "colour", "color")]
    assert len(distinct(questions, 0.8)) == 2
    assert [one.question for one in read_questions(json.dumps(ASKED))] == [
        "What stands on the table?", "What stands on the table?", "Where is the vase from?",
    ]  # fmt: skip
    for broken in ("", "{", "[]", '{"free": 3}', '{"free": [1, {"q": ""}], "choice": null}'):
        assert read_questions(broken) == []


@pytest.mark.paper(
    "viscon", shows="V", case="the picture once, in the first turn; caption turn in leaky and captions alone"
)
@pytest.mark.parametrize(
    ("mode", "turns"), [("leaky", 3), ("captions", 1), ("free", 1), ("choice", 1), ("questions", 2)]
)
def test_conversations(mode, turns):
    (caption, page), given = on_page(mode=mode)
    assert isinstance(page, Document)
    assert [part.image_id for part in page.parts if part.image_id] == [page.parts[0].image_id]
    said = [part for part in page.parts if part.learn]
    assert len(said) == turns
    assert [part.role for part in page.parts[1:]] == ["user", "assistant"] * turns
    assert (said[0].text == CAPTION) == (mode in ("leaky", "captions"))
    assert len(given["llm"].prompts) == (mode != "captions")
    assert caption.scores["questions"] == (0 if mode == "captions" else 2)


@pytest.mark.paper("viscon", shows="V", case="keys are balanced after shuffling; the same again")
def test_keys_of_choices_are_balanced():
    one = Choice("Where?", "Murano", ("Murano", "Rome", "Oslo", "Paris"))
    keys = [conversation("", [one], "choice", f"img{n}", 0)[-1].text for n in range(2000)]
    assert all(420 <= count <= 580 for count in Counter(keys).values())
    assert keys == [conversation("", [one], "choice", f"img{n}", 0)[-1].text for n in range(2000)]
    shown = conversation("", [one], "choice", "img1", 0)
    assert f"{shown[-1].text}. Murano" in shown[1].text


@pytest.mark.paper("viscon", shows="V", case="without context the page changes nothing")
def test_without_context():
    (one, *_), first = on_page(use_page=False)
    (other, *_), second = on_page(use_page=False, page="")
    assert one.text == other.text
    assert first["captioner"].prompts[0].text == second["captioner"].prompts[0].text
    assert one.scores["page_words"] is None
    (retold, *_), _ = on_page(page=CAPTION)
    assert retold.scores["page_words"] == 1


def test_unreadable_questions_are_counted():
    (caption, page), _ = on_page("I have no questions.")
    assert caption.scores["fallback_unreadable"] == 1
    assert len(page.parts) == 3
