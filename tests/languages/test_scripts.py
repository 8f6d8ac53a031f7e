"""Scripts of texts and of languages, direction, and texts that are not in the language they claim."""

import unicodedata

import pytest

from panoglot.languages import (
    alike,
    chinese_script,
    count_foreign,
    direction,
    is_foreign,
    main_script,
    script_of,
    scripts_of,
    with_script,
)

TEXTS = {
    "ar": ("Arab", "كلب يركض على الشاطئ"),
    "ur": ("Arab", "ایک کتا ساحل پر دوڑ رہا ہے"),
    "he": ("Hebr", "כלב רץ על החוף"),
    "hi": ("Deva", "एक कुत्ता समुद्र तट पर दौड़ रहा है"),
    "th": ("Thai", "สุนัขวิ่งบนชายหาด"),
    "zh": ("Hani", "一只狗在海滩上奔跑"),
    "zh-Hant": ("Hani", "一隻狗在海灘上奔跑"),
    "ja": ("Jpan", "犬がビーチを走っている"),
    "ko": ("Hang", "개가 해변을 달린다"),
    "sw": ("Latn", "Mbwa anakimbia ufukweni"),
    "vi": ("Latn", "Một con chó chạy trên bãi biển"),
    "el": ("Grek", "Ένας σκύλος τρέχει στην παραλία"),
    "ka": ("Geor", "ძაღლი სანაპიროზე გარბის"),
    "hy": ("Armn", "Շունը վազում է լողափով"),
    "ru": ("Cyrl", "Собака бежит по пляжу"),
    "am": ("Ethi", "ውሻ በባህር ዳርቻ ላይ ይሮጣል"),
    "ta": ("Taml", "ஒரு நாய் கடற்கரையில் ஓடுகிறது"),
    "km": ("Khmr", "ឆ្កែរត់លើឆ្នេរ"),
    "bo": ("Tibt", "ཁྱི་ཞིག་མཚོ་འགྲམ་དུ་རྒྱུག"),
    "iu": ("Cans", "ᐆᒪᔫᑉ ᑐᒥᖓ"),
}


@pytest.mark.parametrize("lang", TEXTS)
def test_script_of_a_text_composed_or_not(lang):
    script, text = TEXTS[lang]
    for form in ("NFC", "NFD"):
        found, share = script_of(unicodedata.normalize(form, text))
        assert (found, share) == (script, 1.0)


def test_script_of_mixed_texts():
    script, share = script_of("Hund собака кошка")
    assert script == "Cyrl"
    assert 0.7 < share < 0.8
    assert script_of("ＦＵＬＬ") == ("Latn", 1.0)
    assert script_of("ｶﾀｶﾅ") == ("Jpan", 1.0)
    assert script_of("韓國 사람들이 걷는다")[0] == "Hang"
    assert script_of("1234 !? 🦜") == ("", 0.0)
    assert script_of("") == ("", 0.0)


@pytest.mark.parametrize("lang", TEXTS)
def test_no_text_is_foreign_to_its_own_language_and_every_one_to_other_letters(lang):
    script, text = TEXTS[lang]
    assert not is_foreign(text, lang)
    fits = {other for other, (theirs, _) in TEXTS.items() if theirs != script and not is_foreign(text, other)}
    # a text of Han characters alone may be Japanese, and Inuktitut is written in Latin letters too
    assert fits <= {"Hani": {"ja", "ko"}, "Latn": {"iu"}}.get(script, set())


def test_names_in_other_letters_and_short_texts_are_not_foreign():
    assert not is_foreign("Собака с iPhone", "ru")
    assert not is_foreign("iPhone 手机", "zh")
    assert not is_foreign("ab", "ru")
    assert not is_foreign("собака", "und")
    assert not is_foreign("Pas", "sr")  # two scripts in daily use
    assert is_foreign("Pas trči po plaži", "sr-Cyrl")


def test_count_foreign_by_letters_surely_by_identifier_when_confident():
    texts = ["ein Hund am Strand", "собака на пляже", "a dog on the beach", "un chien", "en hund"]
    assert count_foreign(texts, "de") == [1]
    found = [("de", 0.99), ("ru", 1.0), ("en", 0.99), ("fr", 0.7), ("da", 0.99)]
    assert count_foreign(texts, "de", found) == [1, 2, 4]
    assert count_foreign(texts, "nb", found) == [0, 1, 2]  # Danish is no evidence against Norwegian
    assert count_foreign(texts, "und", found) == []
    assert count_foreign(["一隻狗"], "zh", [("zh-Hant", 1.0)]) == []


def test_scripts_of_languages():
    assert main_script("zh") == "Hans"
    assert main_script("zh-Hant-HK") == "Hant"
    assert scripts_of("zh-Hant") == {"Hani"}
    assert scripts_of("ja") == {"Hani", "Hira", "Kana"}
    assert scripts_of("uz") == {"Latn", "Cyrl", "Arab"}
    assert scripts_of("uz-Cyrl") == {"Cyrl"}
    assert scripts_of("mul") == frozenset()
    assert [with_script("pa", "Arab"), with_script("pa", "Guru"), with_script("de", "Latn")] == ["pa-Arab", "pa", "de"]


def test_directions():
    tags = ("ar", "he", "ur", "fa", "dv", "yi", "ckb", "ug", "nqo")
    assert {direction(tag) for tag in tags} == {"rtl"}
    assert {direction(tag) for tag in ("de", "hi", "th", "ug-Cyrl", "pa")} == {"ltr"}
    assert direction("pa-Arab") == "rtl"
    assert {direction(tag) for tag in ("und", "mul", "")} == {"auto"}


def test_spellings_of_chinese():
    assert chinese_script("红色的汽车停在门前") == "Hans"
    assert chinese_script("紅色的汽車停在門前") == "Hant"
    assert chinese_script("山水") == ""


def test_relatives():
    assert alike("hr", "sr-Latn")
    assert alike("pt-BR", "gl")
    assert not alike("de", "en")
