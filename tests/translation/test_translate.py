import asyncio

import pytest

from panoglot.asking import Asker, Models
from panoglot.errors import RowError
from panoglot.providers.roles import Answer
from panoglot.table import Caption
from panoglot.translation import translate
from panoglot.translation.translate import check_translation, find_pair, length_ratio
from tests.running.toy import Identifier, Phrasebook

#: One caption in many scripts, by people who speak them.
DOG = {
    "de": "Ein brauner Hund läuft am Strand.",
    "ar": "كلب بني يركض على الشاطئ.",
    "hi": "एक भूरा कुत्ता समुद्र तट पर दौड़ रहा है।",
    "th": "สุนัขสีน้ำตาลวิ่งอยู่บนชายหาด",
    "zh": "一只棕色的狗在海滩上奔跑。",
    "ja": "茶色の犬が浜辺を走っている。",
    "ko": "갈색 개가 해변을 달리고 있다.",
    "sw": "Mbwa wa kahawia anakimbia ufukweni.",
    "ru": "Коричневая собака бежит по пляжу.",
    "fa": "یک سگ قهوه‌ای در ساحل می‌دود.",
}
ENGLISH = "A brown dog is running on the beach."


@pytest.mark.parametrize("lang", DOG)
def test_a_good_translation_passes_in_every_script(lang):
    assert check_translation(ENGLISH, DOG[lang], lang, (lang, 0.9)) is None
    assert 0.5 < length_ratio(ENGLISH, DOG[lang]) < 2


@pytest.mark.parametrize("lang", DOG)
def test_half_a_translation_and_a_rambling_one_do_not(lang):
    assert check_translation(ENGLISH, DOG[lang][: len(DOG[lang]) // 5], lang, (lang, 0.9)) == "length_ratio"
    assert check_translation(ENGLISH, DOG[lang] * 4, lang, (lang, 0.9)) == "length_ratio"


@pytest.mark.paper(
    "translate", shows="V", case="what is in the wrong language, too short or too long is dropped with its reason"
)
def test_reasons():
    assert check_translation(ENGLISH, ENGLISH, "de", ("en", 0.99)) == "untranslated"
    assert check_translation(ENGLISH, DOG["ru"], "de", ("ru", 0.99)) == "wrong_language"
    assert check_translation(ENGLISH, DOG["de"], "de", ("ru", 0.2)) == "unsure_language"
    assert check_translation(ENGLISH, "Un can corre pola praia marrón.", "gl", ("pt", 0.9)) is None  # near kin


def run(model, caption, **options):
    models = {"translator": model, "lid": Identifier()}
    m = Models({k: Asker(v, journal=None, prices=None, budget=None) for k, v in models.items()})
    return asyncio.run(translate(caption, m, identifier="lid", **options))


def test_a_translator_does_the_pairs_it_has_and_failures_do_not_spread():
    caption = Caption("A dog runs on the beach.", "en", "human", caption_id="c", image_id="i")
    found = run(Phrasebook(), caption, lang=("de", "fr", "es", "sw", "en-GB"))
    by_lang = {c.lang: c for c in found}
    assert set(by_lang) == {"de", "en"}  # fr failed, sw is no pair; what is said to be Spanish is not translated
    assert by_lang["de"].dropped is None
    assert by_lang["en"].dropped == "untranslated"
    assert by_lang["de"].parents == (caption,)
    assert by_lang["de"].kind == "short"  # a machine wrote it: no text of a person
    assert by_lang["de"].scores["lid"] == 0.99


@pytest.mark.parametrize(
    ("target", "text", "identified", "tag"),
    [
        ("hi", "Ein Hund läuft am Strand.", ("de", 0.99), "de"),
        ("sw", "собака бежит", ("und", 0.2), "und"),
        ("zh-Hant", "一只狗在海滩上奔跑。", ("zh", 1.0), "zh-Hans"),
    ],
)
def test_a_translation_into_another_language_is_stored_as_what_it_is(target, text, identified, tag):
    class Other(LanguageModel):
        def generate(self, prompts):
            return [Answer(text) for _ in prompts]

    class Names(Identifier):
        def identify(self, texts):
            return [identified for _ in texts]

    m = {"translator": Other(), "lid": Names()}
    m = Models({k: Asker(v, journal=None, prices=None, budget=None) for k, v in m.items()})
    caption = Caption("A dog runs on the beach.", "en", caption_id="c", image_id="i")
    (found,) = asyncio.run(translate(caption, m, identifier="lid", lang=(target,)))
    assert (found.lang, found.dropped, found.scores["lid"]) == (tag, "wrong_language", identified[1])


def test_a_translation_is_of_a_machines_kind():
    for kind, expected in {"human": "short", "alt": "short", "short": "short", "dense": "dense"}.items():
        caption = Caption("A dog runs on the beach.", "en", kind, caption_id="c", image_id="i")
        assert [c.kind for c in run(Phrasebook(), caption, lang=("de",))] == [expected]


def test_all_failed_is_a_reject():
    caption = Caption("A dog runs on the beach.", "en", caption_id="c", image_id="i")
    with pytest.raises(RowError, match="no_such_word"):
        run(Phrasebook(), caption, lang=("fr",))
    with pytest.raises(RowError, match="unknown_language"):
        run(Phrasebook(), Caption("???"), lang=("de",))


class LanguageModel:
    name = fingerprint = "toy:llm"
    batch_size = 4

    def generate(self, prompts):
        self.asked = [p.text for p in prompts]
        return [Answer("Ein Hund läuft am Strand.") for _ in prompts]


def test_a_language_model_is_asked_by_the_names_of_the_languages():
    model = LanguageModel()
    (found,) = run(model, Caption("A dog {source} runs.", "en", caption_id="c", image_id="i"), lang=("de",))
    assert "from English into German" in model.asked[0]
    assert model.asked[0].endswith("A dog {source} runs.")  # the caption is data, not a template
    assert found.text == "Ein Hund läuft am Strand."


def test_a_translation_too_short_to_identify_passes_by_its_letters():
    assert check_translation("cat", "Katze", "de", ("und", 0.2)) is None
    assert check_translation("cat", "кошка", "de", ("und", 0.2)) == "wrong_language"
    assert check_translation("cat", "кошка", "ru", ("und", 0.2)) is None
    assert check_translation("cat", "猫", "ja", ("und", 0.4)) is None
    assert check_translation(ENGLISH, "lorem ipsum dolor sit amet consetetur", "de", ("und", 0.3)) == "unsure_language"
    assert check_translation(ENGLISH, DOG["de"], "de", ("en", 0.99)) == "wrong_language"


def test_regional_forms_find_their_translator():
    pairs = frozenset([("en", "pt-BR"), ("pt", "en"), ("en", "es")])
    assert find_pair(pairs, "en-US", "pt") == ("en", "pt-BR")
    assert find_pair(pairs, "pt-BR", "en") == ("pt", "en")
    assert find_pair(pairs, "en", "pt-PT") is None
    assert find_pair(pairs, "de", "en") is None
