from __future__ import annotations

import pytest

from panoglot.errors import UserError
from panoglot.text import TOKENIZERS, PTBTable, check_scripts, one_language, ptb_tokens, tokenizer_for

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
        ("de", "Die Känguru-Frau läuft 3,5 m.", "words/1", ["die", "känguru-frau", "läuft", "3", "5", "m"]),
        ("fr", "L'homme aujourd’hui", "words/1", ["l'", "homme", "aujourd'", "hui"]),
        ("sw", "Ng'ombe wawili wanakula", "words/1", ["ng'ombe", "wawili", "wanakula"]),
        ("tr", "IŞIK İyi", "words/1", ["ışık", "iyi"]),
        ("ar", "كَنْغَرٌ أَحْمَر، يقـــفز!", "words/1", ["كنغر", "أحمر", "يقفز"]),
        ("fa", "كتاب‌ها", "words/1", ["کتاب‌ها"]),
        ("he", "שָׁלוֹם עולם", "words/1", ["שלום", "עולם"]),
        ("hi", "लाल कंगारू कूदता है।", "words/1", ["लाल", "कंगारू", "कूदता", "है"]),
        ("ru", "Красный кенгуру прыгает.", "words/1", ["красный", "кенгуру", "прыгает"]),
        ("ko", "빨간 캥거루가 뛴다", "words/1", ["빨간", "캥거루가", "뛴다"]),
        ("zh", "红色的袋鼠，ＴＶ2台。", "characters/1", ["红", "色", "的", "袋", "鼠", "tv2", "台"]),
        ("ja", "赤いカンガルーがTシャツ", "characters/1", [*"赤いカンガルーが", "t", *"シャツ"]),
        ("th", "จิงโจ้สีแดง", "clusters/1", ["จิ", "ง", "โจ้", "สี", "แด", "ง"]),
        ("th", "น้ำ", "clusters/1", ["น้ำ"]),
        ("km", "កង់ ស្រី", "clusters/1", ["ក", "ង់", "ស្រី"]),
        ("lo", "ເດັກນ້ອຍ", "clusters/1", ["ເດັ", "ກ", "ນ້", "ອ", "ຍ"]),
        ("my", "မြန်မာ", "clusters/1", ["မြန်", "မာ"]),
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
    with pytest.raises(UserError, match=r"'ptb-en' is for en, not for 'de'.*'words/1'"):
        tokenizer_for("de", "ptb-en")
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


def test_captions_in_another_script_are_named() -> None:
    with pytest.raises(UserError, match=r"2 of 3 captions are not written in the script of 'zh' \(Hans\): y .*, z "):
        check_scripts(["一只猫", "a cat", "eine Katze"], "zh", ["x", "y", "z"])
    check_scripts(["一只猫 iPhone", "12 34"], "zh", ["x", "y"])
    check_scripts(["Мачка", "кућа"], "sr", ["x", "y"])
    with pytest.raises(UserError, match="sr-Latn"):
        check_scripts(["Мачка"], "sr-Latn", ["x"])


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
