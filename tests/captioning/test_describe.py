"""`describe`: the language of an answer is identified or checked, never assumed."""

import asyncio

import pytest

from panoglot.asking import Asker, Models
from panoglot.captioning import describe
from panoglot.errors import UserError
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.roles import Answer
from tests.conftest import picture_bytes

GERMAN = "Beschreibe dieses Bild in einem kurzen Satz: was ist darauf zu sehen?"


class Says:
    name, fingerprint, batch_size = "says", "says-1", 4

    def __init__(self, text):
        self.text, self.prompts = text, []

    def generate(self, prompts):
        self.prompts += [prompt.text for prompt in prompts]
        return [Answer(self.text) for _ in prompts]


def run(answer, **options):
    model = Says(answer)
    models = {"captioner": model, "embedded:langid": load_model("embedded:langid", "language_identifier")}
    m = Models({k: Asker(v, journal=None, prices=None, budget=None) for k, v in models.items()})
    return asyncio.run(describe(Image(picture_bytes(1)), m, **options)), model.prompts[0]


@pytest.mark.parametrize(
    ("answer", "tag"),
    [
        ("Zwei Hunde laufen am Strand entlang und spielen mit einem Ball.", "de"),
        ("Two dogs run along the beach and play with a ball.", "en"),
        ("كلبان يركضان على الشاطئ ويلعبان بالكرة", "ar"),
        ("दो कुत्ते समुद्र तट पर दौड़ रहे हैं और गेंद से खेल रहे हैं।", "hi"),
        ("สุนัขสองตัวกำลังวิ่งอยู่บนชายหาด", "th"),
        ("两只狗在海滩上奔跑，玩一个红色的球。", "zh"),
        ("兩隻狗在海灘上奔跑，玩一個紅色的球。", "zh-Hant"),
        ("Mbwa wawili wanakimbia ufukweni na kucheza na mpira.", "sw"),
    ],
)
@pytest.mark.paper("describe", shows="V", case="an answer has the language that it is in")
def test_an_answer_is_in_the_language_it_is_in(answer, tag):
    caption, prompt = run(answer)
    assert (caption.lang, caption.dropped) == (tag, None)
    assert "Answer in" not in prompt
    assert caption.scores["lid"] >= 0.7


def test_a_short_answer_to_a_german_question_is_german():
    caption, _ = run("Radio", prompt=GERMAN)
    assert (caption.lang, caption.dropped) == ("de", None)


def test_a_short_answer_in_other_letters_is_not_in_the_language_of_the_question():
    assert run("кот", prompt=GERMAN)[0].lang == "und"


def test_nobody_knows_a_short_answer_to_a_question_nobody_knows():
    assert run("Radio", prompt="foto?")[0].lang == "und"


@pytest.mark.paper("describe", shows="V", case="a language is asked for and checked")
def test_a_language_given_is_asked_for_and_checked():
    caption, prompt = run("Zwei Hunde laufen am Strand entlang und spielen.", lang="de")
    assert prompt.endswith("\nAnswer in German.")
    assert (caption.lang, caption.dropped) == ("de", None)
    caption, _ = run("Two dogs run along the beach and play with a ball.", lang="de")
    assert (caption.lang, caption.dropped) == ("en", "wrong_language")
    assert run("собаки на пляже", lang="de")[0].dropped == "wrong_language"


def test_a_question_in_the_language_given_is_asked_as_it_stands():
    assert run("Zwei Hunde.", prompt=GERMAN, lang="de_DE.utf8")[1] == GERMAN + "\nAnswer in German (DE)."
    assert run("Zwei Hunde.", prompt=GERMAN, lang="deu")[1] == GERMAN


def test_a_language_that_is_none_is_refused():
    with pytest.raises(UserError, match=r"'germn' is not a language tag. Did you mean 'de' \(German\)\?"):
        run("Zwei Hunde.", lang="germn")


def test_an_answer_that_was_cut_says_so():
    class Cut(Says):
        def generate(self, prompts):
            return [Answer("Two dogs run along the beach and", finish="length") for _ in prompts]

    models = {"captioner": Cut(""), "embedded:langid": load_model("embedded:langid", "language_identifier")}
    m = Models({k: Asker(v, journal=None, prices=None, budget=None) for k, v in models.items()})
    assert asyncio.run(describe(Image(picture_bytes(1)), m)).scores["cut"] == 1.0
