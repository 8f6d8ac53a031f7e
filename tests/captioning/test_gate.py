"""The one gate between what a model says and a caption: every method rejects what is none, with the reason."""

import pytest

from panoglot.captioning import (
    check_answer,
    check_text,
    densefusion,
    describe,
    describe_crops,
    rank_and_fuse,
    says_nothing,
    sharegpt4v,
)
from panoglot.captioning.describe import PROMPT
from panoglot.errors import RowError
from panoglot.table import Caption
from panoglot.text import read_answer
from tests.captioning.scripted import Expert, Says, picture, run, tag

GERMAN = "Beschreibe dieses Bild in ein oder zwei einfachen Sätzen: was zu sehen ist, wie es aussieht, was geschieht."
SENTENCE = "The picture shows a cup of coffee on a wooden table. "

NO_CAPTIONS = [
    (PROMPT, "leaked_prompt"),
    (f"{GERMAN} Das Bild zeigt eine Tasse.", "leaked_prompt"),
    ("User: Describe this picture.\nAssistant: A cup of coffee on a table.", "leaked_prompt"),
    (SENTENCE * 2000, "endless_answer"),
    ("A cup of coffee. " + "and a spoon " * 1000, "endless_answer"),
    ("a" * 5000, "endless_answer"),
    ("杯子和勺子，" * 40, "endless_answer"),
    ('{"objects": ["cup", "spoon"]}', "structured_answer"),
    ("N/A", "no_description"),
    ("...", "no_description"),
    ("http://example.com/coffee.jpg", "no_description"),
]


@pytest.mark.parametrize(("answer", "reason"), NO_CAPTIONS)
@pytest.mark.parametrize("method", [describe, sharegpt4v], ids=["describe", "sharegpt4v"])
def test_what_is_no_caption_is_rejected_by_every_method(method, answer, reason):
    with pytest.raises(RowError) as error:
        run(method, picture(), {"captioner": Says(answer)})
    assert error.value.reason == reason
    assert error.value.message.startswith("says wrote ")


def test_a_short_prompt_that_comes_back_is_an_echo():
    for prompt in ("Describe the image in detail.", "Erzähle vom Bild.", "صف الصورة", "描述图片", "อธิบายภาพนี้"):
        assert check_text(prompt, prompt) == "leaked_prompt"
        assert check_text(prompt, f"{prompt}\nAnswer in Hindi.") in ("leaked_prompt", None)
    with pytest.raises(RowError) as error:
        run(describe_crops, picture(), {"captioner": Says(lambda prompt: prompt.text), "llm": Says("A cup.")})
    assert error.value.reason == "leaked_prompt"
    with pytest.raises(RowError) as error:
        run(
            rank_and_fuse,
            picture(),
            {"captioner": Says(lambda prompt: prompt.text), "encoder": Expert()},
            captioners=("captioner",),
            scorer="encoder",
            llm="",
        )
    assert error.value.reason == "no_draft"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ('{"caption": "A cup of coffee on a table."}', "A cup of coffee on a table."),
        ("A cup <box>(12,33),(55,71)</box> of coffee [0.12, 0.33, 0.55, 0.71].", "A cup of coffee."),
        ("A cup. A cup. A cup. It is white.", "A cup. It is white."),
        ("A portrait (1939, 1945) of a man.", "A portrait (1939, 1945) of a man."),
        ("Ha, ha, ha: a clown laughs.", "Ha, ha, ha: a clown laughs."),
        ("شارع في القاهرة القديمة مع كثير من الناس.", "شارع في القاهرة القديمة مع كثير من الناس."),
    ],
)
def test_what_can_be_mended_is_and_what_is_right_stays(answer, text):
    assert run(describe, picture(), {"captioner": Says(answer)}).text == text


@pytest.mark.parametrize(
    "answer",
    [
        "I don't see any image attached.",
        "Ich kann kein Bild sehen. Bitte laden Sie es hoch.",
        "Je ne vois pas d'image.",
        "No veo ninguna imagen.",
        "Siwezi kuona picha yoyote.",
        "لا أرى أي صورة.",
        "ฉันไม่เห็นภาพ",
        "画像が添付されていません。",
    ],
)
def test_who_sees_no_picture_declines(answer):
    assert read_answer(answer).reason == "refused"


@pytest.mark.parametrize("answer", ["A man who does not see the picture behind him.", "Kein Bild hängt an der Wand."])
def test_a_caption_about_pictures_is_no_refusal(answer):
    assert read_answer(answer).text == answer


# -- languages ---------------------------------------------------------------------------------------------------------


def checked(text, lang):
    async def ask(image, m):
        return await check_answer(text, "", lang, m, "embedded:langid")

    return run(ask, picture(), {})


@pytest.mark.parametrize(
    ("lang", "text", "tag"),
    [
        ("en", "Espresso at Caffè Greco in Rome, 2019.", "en"),
        ("en", "A Dia de los Muertos altar.", "en"),
        ("en", "A plate of spaghetti alla carbonara.", "en"),
        ("gsw", "Es Hündli rännt am Strand entlang.", "gsw"),
        ("sw", "Mbwa mweusi.", "sw"),
        ("zh", "一隻狗在海灘上奔跑。", "zh-Hant"),
        ("sr", "Pas trči po plaži.", "sr-Latn"),
        ("uz", "Кўчада ит югурмоқда, қизил тўп билан.", "uz-Cyrl"),
    ],
)
def test_a_text_in_the_language_asked_for_is_kept_though_its_names_are_foreign(lang, text, tag):
    assert checked(text, lang)[::2] == (tag, None)


@pytest.mark.parametrize(
    ("lang", "text", "tag"),
    [
        ("en", "Katze auf Sofa.", "de"),
        ("en", "Ein Hund auf Gras.", "de"),
        ("en", "La Sagrada Familia vista desde el parque.", "es"),
        ("sw", "The picture shows a dog.", "en"),
        ("gsw", "The picture shows a dog.", "en"),
        ("zh-Hant", "一只狗在海滩上奔跑，后面是蓝色的天空。", "zh-Hans"),
        ("zh-TW", "一只狗在海滩上奔跑。", "zh-Hans"),
        ("zh-Hans", "一隻狗在海灘上奔跑。", "zh-Hant"),
        ("sr-Latn", "Пас трчи по плажи.", "sr"),
        ("sr-Cyrl", "Pas trči po plaži.", "sr-Latn"),
        ("az-Cyrl", "Küçədə it qaçır.", "az"),
    ],
)
def test_another_language_or_script_is_dropped_as_what_it_is(lang, text, tag):
    assert checked(text, lang)[::2] == (tag, "wrong_language")


def test_what_a_rule_tells_in_english_is_never_swahili():
    seen = {"embedded:efficientnet-lite2": Expert([tag("espresso")])}
    alt = Caption("Espresso at Caffè Greco in Rome, 2019.", "en", "alt")
    caption, *_ = run(densefusion, picture(captions=[alt]), seen, captioner="", lang="sw")
    assert caption.text == "Espresso at Caffè Greco in Rome, 2019. There is espresso."
    assert (caption.lang, caption.dropped) == ("en", "wrong_language")
    caption, *_ = run(densefusion, picture(captions=[alt]), seen, captioner="", lang="en")
    assert (caption.lang, caption.dropped) == ("en", None)


# -- alternative texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "motorcycle_left", "hubble_deep_field.", "image.", "Untitled-1", "PXL_20230101_101010",
        "cat for sale - best price buy now!! www.cats.example", "Bild 3", "Foto", "صورة", "चित्र", "รูปภาพ", "图片",
        "写真", "WhatsApp Image 2023-01-01", "picha", "изображение", "Jetzt kaufen, versandkostenfrei!",
    ],
)  # fmt: skip
def test_an_alternative_text_that_says_nothing_is_no_evidence(text):
    assert says_nothing(text)
    seen = {"embedded:efficientnet-lite2": Expert([tag("motor scooter")])}
    caption, *_ = run(densefusion, picture(captions=[Caption(text, "en", "alt")]), seen, captioner="")
    assert caption.text == "There is a motor scooter."


@pytest.mark.parametrize(
    "text",
    ["House for sale in Berlin", "Image of a cat", "Jack-o-lantern", "دار الأوبرا", "犬", "Paka", "Bilderrahmen"],
)
def test_an_alternative_text_that_says_something_is_evidence(text):
    assert not says_nothing(text)
