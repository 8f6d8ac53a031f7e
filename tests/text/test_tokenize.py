from __future__ import annotations

import unicodedata

import pytest

from panoglot.errors import UserError
from panoglot.text import TOKENIZERS, PTBTable, one_language, other_script, ptb_tokens, tokenizer_for

# what Stanford's PTBTokenizer 3.4.1 answers after the COCO list of punctuation is removed (asked, not remembered)
PTB = {
    "A man doesn't ride; he can't, won't, I'm": "a man does n't ride he ca n't wo n't i 'm",
    "The dog's ball and the dogs' balls, o'clock": "the dog 's ball and the dogs balls o'clock",
    "It's cannot gonna wanna gotta": "it 's can not gon na wan na got ta",
    "A (small) dog [big] {x} - well -- done": "a -lrb- small -rrb- dog -lsb- big -rsb- -lcb- x -rcb- well done",
    '"Quoted" and “curly” don’t': "quoted and curly do n't",
    "Mr. Smith and Dr. Jones, St. Mark's, U.S. a.m. etc.": "mr. smith and dr. jones st. mark 's u.s. a.m. etc.",
    "$5.00 #1 50% 3,000 1/2 10:30": "$ 5.00 # 1 50 % 3,000 1/2 10:30",
    "2nd 1980's '80s 3-D 8x10": "2nd 1980 's '80s 3-d 8x10",
    "black-and-white t-shirt tv/radio AT&T black&white": "black-and-white t-shirt tv/radio at&t black & white",
    "wow!!! what?! yes": "wow !!! what ?! yes",
    "girl.the dog,cat 12:30pm 5pm": "girl.the dog cat 12:30 pm 5pm",
    "a bird's-eye view, rock'n'roll 'em": "a bird 's eye view rock 'n' roll 'em",
    "half ½ cup € 5¢ 50°F": "half 1/2 cup $ 5 cents 50 ° f",
    "naïve café Zürich": "naïve café zürich",
}


@pytest.mark.parametrize("text", PTB)
def test_ptb_agrees_with_the_java_tokeniser(text: str) -> None:
    assert " ".join(ptb_tokens(text)) == PTB[text]


def test_table_splits_as_the_whole_text() -> None:
    texts = list(PTB)
    assert PTBTable().tokenize(texts) == [ptb_tokens(text) for text in texts]


@pytest.mark.parametrize(
    ("lang", "text", "name", "tokens"),
    [
        ("de", "Die Känguru-Frau läuft 3,5 m.", "words/2", ["die", "känguru-frau", "läuft", "3", "5", "m"]),
        ("fr", "L'homme aujourd’hui", "words/2", ["l'homme", "aujourd'hui"]),
        ("sw", "Ng'ombe wawili wanakula", "words/2", ["ng'ombe", "wawili", "wanakula"]),
        ("tr", "IŞIK İyi", "words/2", ["ışık", "iyi"]),
        ("ar", "كَنْغَرٌ أَحْمَر، يقـــفز!", "words/2", ["كنغر", "أحمر", "يقفز"]),
        ("fa", "كتاب‌ها", "words/2", ["کتاب‌ها"]),
        ("he", "שָׁלוֹם עולם", "words/2", ["שלום", "עולם"]),
        ("hi", "लाल कंगारू कूदता है।", "words/2", ["लाल", "कंगारू", "कूदता", "है"]),
        ("ru", "Красный кенгуру прыгает.", "words/2", ["красный", "кенгуру", "прыгает"]),
        ("ko", "빨간 캥거루가 뛴다", "words/2", ["빨간", "캥거루가", "뛴다"]),
        ("zh", "红色的袋鼠，ＴＶ2台。", "chars/2", ["红", "色", "的", "袋", "鼠", "tv2", "台"]),
        ("ja", "赤いカンガルーがTシャツ", "chars/2", [*"赤いカンガルーが", "t", *"シャツ"]),
        ("th", "จิงโจ้สีแดง", "clusters/2", ["จิ", "ง", "โจ้", "สี", "แด", "ง"]),
        ("th", "น้ำ", "clusters/2", ["น้ำ"]),
        ("km", "កង់ ស្រី", "clusters/2", ["ក", "ង់", "ស្រី"]),
        ("lo", "ເດັກນ້ອຍ", "clusters/2", ["ເດັ", "ກ", "ນ້", "ອ", "ຍ"]),
        ("my", "မြန်မာ", "clusters/2", ["မြန်", "မာ"]),
    ],
)  # fmt: skip
def test_each_writing_system_has_its_tokeniser(lang: str, text: str, name: str, tokens: list[str]) -> None:
    reader = tokenizer_for(lang)
    assert reader.name == name
    assert reader([text]) == [tokens]


def test_combining_marks_do_not_depend_on_how_they_are_encoded() -> None:
    assert tokenizer_for("de")(["ka\u0308nguru"]) == tokenizer_for("de")(["känguru"])
    assert tokenizer_for("ja")(["カ\u3099"]) == tokenizer_for("ja")(["ガ"])


@pytest.mark.parametrize("lang", ["de", "ar", "hi", "zh", "ja", "th", "km", "my", "lo"])
def test_punctuation_and_empty_texts_give_no_tokens(lang: str) -> None:
    assert tokenizer_for(lang)(["", " ", "…!?。،।"]) == [[], [], []]


def test_tokenisers_do_not_mix_with_languages() -> None:
    with pytest.raises(UserError, match=r"'jieba' is for .*zh, not for 'de'.*'words'"):
        tokenizer_for("de", "jieba")
    with pytest.raises(UserError, match="Did you mean 'characters'"):
        tokenizer_for("zh", "charakters")
    with pytest.raises(UserError, match="not a language tag"):
        tokenizer_for("klingonish")


def test_languages_do_not_mix() -> None:
    assert one_language(["de", "DE", "de"], ["a", "b", "c"]) == "de"
    with pytest.raises(UserError, match=r"2 languages \(de, en\).*b \(en\)"):
        one_language(["de", "en", "de"], ["a", "b", "c"])
    with pytest.raises(UserError, match="1 languages for 2 captions"):
        one_language(["de"], ["a", "b"])


def test_texts_in_another_script_are_found() -> None:
    assert other_script(["一只猫", "a cat", "eine Katze", "一只猫 iPhone", "12 34"], "zh") == [1, 2]
    assert other_script(["Мачка", "кућа"], "sr") == []
    assert other_script(["Мачка"], "sr-Latn") == [0]


#: What looks the same on the page, language by language.
ALIKE = [
    ("th", "น้ำตา", "น\u0e49\u0e4d\u0e32ตา"), ("th", "น้ำ", "น\u0e4d\u0e49\u0e32"), ("th", "น้ำ", "น\u0e33\u0e49"),
    ("th", "แมว", "เเมว"), ("lo", "ນ້ຳ", "ນ\u0ec9\u0ecd\u0eb2"), ("lo", "ໜັງສື", "ຫນັງສື"),
    ("km", "កោ", "ក\u17c1\u17b6"), ("ar", "كتاب", "ﻛﺘﺎﺏ"), ("ar", "لا", "ﻻ"), ("fa", "کتابی", "ﻛﺘﺎﺑﻲ"),
    ("hi", "\u0915\u093cलम", "\u0958लम"), ("hi", "आम", "अाम"),
    ("bn", "\u09dc", "\u09a1\u09bc"), ("bn", "উৎস", "উত\u09cd\u200dস"),
    ("pa", "ਖ\u0a3c", "\u0a59"), ("ml", "അവൻ", "അവന\u0d4d\u200d"), ("ta", "ஸ\u0bcdரீ", "ஶ\u0bcdரீ"), ("gu", "આ", "અા"),
    ("he", "שלום", "של\u05bcום"), ("he", "צה״ל", 'צה"ל'),
    ("ja", "ガ", "ｶﾞ"), ("zh", "tv", "ＴＶ"),
    ("ko", "한", "\u1112\u1161\u11ab"), ("de", "fisch", "ﬁsch"), ("de", "zusammen", "zu\u00adsammen"),
    ("ro", "știre", "ştire"),
    ("uk", "м'яч", "м\u02bcяч"), ("uk", "м'яч", "м’яч"),
]  # fmt: skip


@pytest.mark.parametrize(("lang", "one", "other"), ALIKE)
@pytest.mark.parametrize("name", [None, "words", "chars", "clusters"])
def test_letters_that_are_the_same_are_one(lang: str, one: str, other: str, name: str | None) -> None:
    assert one != other
    reader = tokenizer_for(lang, name)
    assert reader([one]) == reader([other]) == reader([unicodedata.normalize("NFKC", other)])
    assert reader([one]) == reader([unicodedata.normalize("NFD", one)])


@pytest.mark.parametrize(("lang", "one", "other"), [row for row in ALIKE if row[0] in ("th", "lo", "ml", "hi", "ar")])
def test_the_coco_tokeniser_knows_them_too_and_keeps_words_with_marks_whole(lang: str, one: str, other: str) -> None:
    reader = tokenizer_for(lang, "ptb")
    assert reader([one]) == reader([other])
    assert len(reader([one])[0]) == 1


def test_elision_is_an_option() -> None:
    text = ["L'homme d'hier, aujourd'hui"]
    assert tokenizer_for("fr", "words-elided")(text) == [["l'", "homme", "d'", "hier", "aujourd'hui"]]
    assert tokenizer_for("fr")(text) == [["l'homme", "d'hier", "aujourd'hui"]]
    with pytest.raises(UserError, match="words-elided"):
        tokenizer_for("de", "words-elided")


@pytest.mark.parametrize(
    ("name", "lang", "text", "tokens", "recorded"),
    [
        ("coco", "de", "Die Katze, ja!", ["die", "katze", "ja"], "ptb/2"),
        ("ptb-punct", "de", "Die Katze, ja!", ["die", "katze", ",", "ja", "!"], "ptb-punct/2"),
        ("coco", "hi", "लाल कंगारू कूदता है", ["लाल", "कंगारू", "कूदता", "है"], "ptb/2"),
        ("xm3600", "de", "Die Katze, ja!", ["die", "katze", "ja"], "xm3600/1"),
        ("xm3600", "zh", "一只猫在看TV，", ["一", "只", "猫", "在", "看", "t", "v"], "xm3600/1"),
        ("13a", "de", "Die Katze, ja!", ["Die", "Katze", ",", "ja", "!"], "13a/1"),
        ("intl", "de", "Die Katze, ja!", ["Die", "Katze", ",", "ja", "!"], "intl/1"),
        ("whitespace", "de", "Die Katze, ja!", ["Die", "Katze,", "ja!"], "whitespace/1"),
    ],
)
def test_the_names_of_the_field(name: str, lang: str, text: str, tokens: list[str], recorded: str) -> None:
    if name in ("13a", "intl"):
        pytest.importorskip("sacrebleu")
    reader = tokenizer_for(lang, name)
    assert (reader([text]), reader.name) == ([tokens], recorded)


def test_flores200_downloads_nothing(monkeypatch, tmp_path) -> None:
    utils = pytest.importorskip("sacrebleu.utils")
    pytest.importorskip("sentencepiece")
    monkeypatch.setattr(utils, "SACREBLEU_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"needs its model at .*flores200_sacrebleu_tokenizer_spm\.model"):
        tokenizer_for("sw", "flores200")


def test_a_function_of_ones_own_is_recorded() -> None:
    def letters(text: str) -> list[str]:
        return list(text)

    assert tokenizer_for("de", letters).name == "custom:letters"
    assert tokenizer_for("de", letters)(["ab"]) == [["a", "b"]]


@pytest.mark.parametrize(("name", "lang", "text"), [("jieba", "zh", "红色的袋鼠"), ("thai-words", "th", "จิงโจ้สีแดง")])
def test_dictionary_tokenisers_join_to_the_text(name: str, lang: str, text: str) -> None:
    pytest.importorskip({"thai-words": "pythainlp"}.get(name, name))
    words = tokenizer_for(lang, name)([text])[0]
    assert "".join(words) == text
    assert 1 < len(words) < len(text)
    assert name in TOKENIZERS
