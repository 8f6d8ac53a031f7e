"""Guards of the whole room: instructions in other words, in any language, and the form of a prompt's values."""

import pytest

from panoglot.captioning import capsfusion, check_text, fusecap, leaks, stored, veclip
from panoglot.captioning.capsfusion import PROMPT as CAPSFUSION
from panoglot.captioning.veclip import FUSE, SIMPLE
from panoglot.table import Caption
from tests.captioning.scripted import Expert, Says, picture, run

PROMPTS = {
    "en": FUSE,
    "de": "Schreibe einen Text, der neben einem Bild gefunden wurde, als einen kurzen, sachlichen Satz neu: {alt}",
    "ar": "أعد كتابة النص الموجود بجانب الصورة في جملة واحدة قصيرة وواقعية.\n{alt}",
    "hi": "तस्वीर के पास मिले पाठ को एक छोटे, तथ्यात्मक वाक्य के रूप में फिर से लिखें।\n{alt}",
    "th": "เขียนข้อความที่พบข้างภาพใหม่เป็นประโยคสั้นๆ ที่เป็นข้อเท็จจริงหนึ่งประโยค\n{alt}",
    "zh": "用一句简短的话改写图片旁边的文字，不要编造内容。\n{alt}",
    "ja": "画像の横にある文章を、短くて事実に基づく一文に書き直してください。\n{alt}",
    "sw": "Andika upya maandishi yaliyopatikana kando ya picha kama sentensi moja fupi na ya kweli.\n{alt}",
}


@pytest.mark.parametrize(
    ("lang", "answer"),
    [
        ("en", "Rewrite the text found beside the picture as a short and factual sentence."),
        ("en", "A short, factual sentence: rewrite a text that was found beside the picture."),
        ("de", "Den Text, der neben dem Bild gefunden wurde, als kurzen, sachlichen Satz neu schreiben."),
        ("ar", "كتابة النص الموجود بجانب الصورة في جملة قصيرة وواقعية."),
        ("hi", "तस्वीर के पास मिले पाठ को छोटे तथ्यात्मक वाक्य के रूप में लिखें।"),
        ("th", "เขียนข้อความที่พบข้างภาพใหม่เป็นประโยคสั้นๆ ที่เป็นข้อเท็จจริง"),
        ("zh", "把图片旁边的文字改写成一句简短的话。"),
        ("ja", "画像の横にある文章を短く事実に基づく一文に書き直す。"),
        ("sw", "Maandishi yaliyopatikana kando ya picha kama sentensi fupi na ya kweli."),
    ],
)
def test_an_instruction_in_other_words_is_a_leak(lang, answer):
    assert check_text(answer, PROMPTS[lang]) == "leaked_prompt"
    assert check_text(f"Rex. {answer}", PROMPTS[lang]) == "leaked_prompt"  # one sentence is enough


@pytest.mark.parametrize(
    ("lang", "answer"),
    [
        ("en", "A text stands beside a picture on the wall."),
        ("en", "A red kite flies above the wide sands of Rhossili beach."),
        ("de", "Neben einem Bild steht ein kurzer Text an der Wand."),
        ("ar", "صورة معلقة بجانب نص على الجدار الأبيض."),
        ("hi", "दीवार पर तस्वीर के पास एक छोटा कुत्ता बैठा है।"),
        ("th", "สุนัขวิ่งอยู่ข้างภาพบนชายหาด"),
        ("zh", "图片旁边有一只狗在海滩上奔跑。"),
        ("ja", "画像の横に犬が座っている。"),
        ("sw", "Mbwa anakimbia kando ya picha kwenye ufuo."),
    ],
)
def test_captions_that_share_words_with_the_prompt_are_kept(lang, answer):
    assert check_text(answer, PROMPTS[lang]) is None


def test_an_answer_may_repeat_a_question_and_the_values():
    asked = "Does the young woman wear a yellow raincoat while she is riding her bicycle?"
    assert not leaks("The young woman wears a yellow raincoat while she is riding her bicycle.", asked)
    assert not leaks("Rex the dog runs along Rhossili beach in the evening sun.", "Write one sentence about it.\n{alt}")


@pytest.mark.parametrize(
    ("prompt", "answer", "leaked"),
    [
        (CAPSFUSION, "A: VW T-ROC alloy wheel B: The wheel on a blue car.", True),
        (CAPSFUSION, "A: The alloy wheel of a blue VW T-ROC.", True),
        (CAPSFUSION, "**A:** wheel\n**B:** car", True),
        (CAPSFUSION, "The wheel of class A and class B cars.", False),
        (CAPSFUSION, "Vitamin A: a poster that explains it.", False),
        ("Beschreibe es.\nGefunden: {raw}\nGesehen: {seen}", "Gefunden: Rad. Gesehen: Auto.", True),
        ("写一句话。\n文字：{raw}\n图片：{seen}", "文字：轮子 图片：汽车", True),
        (FUSE, "Found beside it: Rex", True),
    ],
)
def test_an_answer_in_the_form_of_its_prompt_is_a_leak(prompt, answer, leaked):
    assert leaks(answer, prompt) is leaked


def test_methods_fall_back_where_a_small_model_leaks():
    alt, short = Caption("Rex at Rhossili", "en", "alt"), Caption("A dog runs on a beach.", "en", "short")
    said = (
        "Rewrite the text found beside a picture as one short sentence.",
        "I write one sentence that says both of them.",
    )
    llm = Says(lambda prompt: said["says both" in prompt.text])
    caption = run(veclip, picture(captions=[alt]), {"captioner": Says(short.text), "llm": llm}, simple_prompt=SIMPLE)
    assert len(llm.prompts) == 2
    assert (caption.text, caption.scores["fallback_fuser"]) == (short.text, 1)
    llm = Says("A: Rex at Rhossili B: A dog runs on a beach.")
    caption = run(capsfusion, picture(captions=[alt, short]), {"llm": llm})
    assert (caption.model, caption.scores["failed_leaked_prompt"]) == ("panoglot:join", 1)


LANGUAGES = [
    Caption("Ein Hund am Strand.", "de", "human"),
    Caption("Mbwa ufukweni.", "sw", "human"),
    Caption("一只狗在海滩上。", "zh-Hans", "human"),
    Caption("Mbwa anakimbia.", "sw", "human"),
    Caption("A dog.", "en", "short"),
]


def test_the_stored_caption_is_in_the_language_asked_for_or_the_main_one():
    image = picture(captions=LANGUAGES)
    kinds = ("human", "short")
    assert stored(image, kinds).text == "Mbwa ufukweni."  # two of five
    assert stored(image, kinds, "zh-TW").lang == "zh-Hans"
    assert stored(image, kinds, "de").text == "Ein Hund am Strand."
    assert stored(image, kinds, "en").kind == "human"  # the kind comes first
    assert stored(image, ("short", "human")).lang == "en"
    assert stored(image, kinds, "ar").lang == "sw"
    assert stored(picture(captions=LANGUAGES[:1]), kinds, "ar").lang == "de"
    assert stored(picture(captions=[]), kinds) is None


@pytest.mark.parametrize(
    ("lang", "text"), [("de", "Ein Hund am Strand."), ("auto", "Mbwa ufukweni."), ("zh", "一只狗在海滩上。")]
)
def test_fusecap_enriches_the_caption_in_that_language(lang, text):
    caption = run(fusecap, picture(captions=LANGUAGES), {"d": Expert([])}, llm="", detector="d", lang=lang)
    assert (caption.text, caption.parents[0].text) == (text, text)
