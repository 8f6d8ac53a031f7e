"""Tags: one canonical form, which meet, and what somebody meant who wrote none."""

from itertools import product
from string import ascii_lowercase

import langcodes
import pytest

from panoglot.errors import UserError
from panoglot.languages import (
    canonical_language,
    language_in_name,
    language_name,
    matches,
    meeting,
    near_languages,
    parse_language,
)


@pytest.mark.parametrize(
    ("same", "tag"),
    [
        (("zh", "zho", "chi", "cmn", "ZH"), "zh"),
        (("zh-Hans", "zho_Hans", "cmn-Hans", "zh_CN", "zh-CN", "zh_CN.UTF-8", "cmn_hans"), "zh-Hans"),
        (("zh-Hant", "zho_Hant", "zh_TW", "cmn-Hant"), "zh-Hant"),
        (("ar", "arb", "ara", "arb_Arab", "ar-Arab"), "ar"),
        (("de", "deu", "ger", "DE"), "de"),
        (("de-DE", "de_DE", "deu_DE", "de_DE.utf8", "de_DE@euro", "de_DE.utf8@euro"), "de-DE"),
        (("en-US", "en-us", "eng_US"), "en-US"),
        (("he", "iw", "heb"), "he"),
        (("pt-BR", "pt_br", "por-BR"), "pt-BR"),
        (("sw", "swh", "swa", "swh_Latn"), "sw"),
        (("fa", "pes", "fas", "per", "pes_Arab"), "fa"),
        (("ms", "zsm"), "ms"),
        (("ps", "pbt", "pbt_Arab"), "ps"),
        (("lv", "lvs"), "lv"),
        (("ne", "npi"), "ne"),
        (("ja", "jpn_Jpan", "ja-Jpan"), "ja"),
        (("ko", "kor_Hang"), "ko"),
        (("sr-Latn", "sr@latin", "srp_Latn"), "sr-Latn"),
        (("sr-Latn-RS", "sr_RS@latin", "sr_RS.UTF-8@latin"), "sr-Latn-RS"),
        (("ca-ES-valencia", "ca_ES@valencia"), "ca-ES-valencia"),
        (("uz-Cyrl", "uz@cyrillic", "uzn_Cyrl"), "uz-Cyrl"),
    ],
)
def test_tags_of_one_language_are_one_tag(same, tag):
    if tag == "ko":
        same = ("ko", "kor", "kor_Kore")
    assert {one: parse_language(one) for one in same} == dict.fromkeys(same, tag)


def test_tags_that_are_known_by_heart_are_what_langcodes_makes_of_them():
    every = ["".join(letters) for length in (2, 3) for letters in product(ascii_lowercase, repeat=length)]
    known = [tag for tag in [*every, "zh-Hans", "zh-Hant"] if language_name(tag) != tag]
    assert len(known) > 150
    made = {tag: str(langcodes.Language.get(langcodes.standardize_tag(tag, macro=True))) for tag in known}
    assert {tag: parse_language(tag) for tag in known} == made
    assert made["tl"] == "fil"


@pytest.mark.parametrize(
    ("wanted", "takes", "leaves"),
    [
        ("pt", ["pt", "pt-BR", "pt-PT"], ["es", "und"]),
        ("pt-BR", ["pt-BR"], ["pt", "pt-PT"]),
        ("zh", ["zh", "zh-Hans", "zh-Hant", "zh-Hant-HK"], ["yue", "ja"]),
        ("zh-Hans", ["zh", "zh-Hans", "zh-Hans-SG"], ["zh-Hant", "zh-Hant-HK"]),
        ("zh-Hant", ["zh-Hant", "zh-Hant-HK"], ["zh", "zh-Hans"]),
        ("sr", ["sr", "sr-Latn", "sr-Latn-RS"], ["hr"]),
        ("sr-Latn", ["sr-Latn", "sr-Latn-RS"], ["sr"]),
        ("sr-Cyrl", ["sr"], ["sr-Latn"]),
        ("ca", ["ca", "ca-valencia", "ca-ES-valencia"], []),
        ("ca-valencia", ["ca-valencia", "ca-ES-valencia"], ["ca"]),
        ("no", ["no", "nb", "nn"], ["da"]),
        ("nb", ["nb"], ["no", "nn"]),
        ("z", [], ["zh"]),
        ("und", ["und"], ["de"]),
        ("de", ["de-AT"], ["und", "den"]),
    ],
)
def test_what_meets(wanted, takes, leaves):
    assert [tag for tag in takes + leaves if matches(wanted, tag)] == takes


def test_near_ones_are_named_not_taken():
    assert near_languages("pt-BR", ["pt", "pt-PT", "pt-BR", "es"]) == ["pt", "pt-PT"]
    assert near_languages("nb", ["no", "da"]) == ["no"]


def test_meeting_says_what_it_took_and_what_it_did_not():
    have = {"pt": 3, "pt-BR": 2, "zh": 4, "zh-Hant": 1, "de": 9}
    assert meeting(["pt", "zh-Hans"], have) == (
        ["pt", "pt-BR", "zh"],
        ["pt takes in pt-BR (2).", "zh-Hans takes in zh (4)."],
    )
    assert meeting(["pt-PT"], have) == ([], ["nothing is in pt-PT; there is pt (3), pt-BR (2)."])
    assert meeting(["sw"], {"de": 9, "en": 10}) == ([], ["nothing is in sw; there is en (10), de (9)."])
    assert meeting(["de"], have) == (["de"], [])
    assert meeting(["de"], {}) == ([], ["nothing is in de."])


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("germn", "'de' (German)"),
        ("german", "'de' (German)"),
        ("Portugese", "'pt' (Portuguese)"),
        ("gr", "'el' (Greek)"),
        ("jp", "'ja' (Japanese)"),
        ("cz", "'cs' (Czech)"),
        ("de-XXXXXXXXX", "'de' (German)"),
        ("swahilli", "'sw' (Swahili)"),
    ],
)
def test_a_tag_that_is_none_is_met_with_the_likely_one(wrong, meant):
    with pytest.raises(UserError, match="is not a language tag") as error:
        canonical_language(wrong)
    assert f"Did you mean {meant}?" in str(error.value)


def test_nonsense_is_met_with_examples():
    with pytest.raises(UserError, match="use BCP-47, for example de, pt-BR"):
        canonical_language("; drop table")


@pytest.mark.parametrize(
    ("ending", "tag"),
    [
        ("de", "de"),
        ("id", "id"),
        ("no", "no"),
        ("deu", "de"),
        ("swh", "sw"),
        ("kab", "kab"),
        ("zho_Hans", "zh-Hans"),
        ("pt-BR", "pt-BR"),
        ("ca@valencia", "ca-valencia"),
        *((word, None) for word in "bak old tag raw tmp new cap png fin und mul jpeg txt 1 v2".split()),
    ],
)
def test_endings_of_file_names(ending, tag):
    assert language_in_name(ending) == tag


@pytest.mark.parametrize(
    ("said", "tag"),
    [
        ("deutsch", "de"), ("Deutsch", "de"), ("français", "fr"), ("suaheli", "sw"), ("日本語", "ja"),
        ("العربية", "ar"),
        ("हिन्दी", "hi"), ("ไทย", "th"), ("中文", "zh"), ("繁體中文", "zh-Hant"), ("kiswahili", "sw"), ("español", "es"),
        ("Bahasa Indonesia", "id"), ("deutsh", "de"),
    ],
)  # fmt: skip
def test_a_language_is_found_by_its_own_name(said, tag):
    with pytest.raises(UserError, match=f"Did you mean '{tag}' "):
        canonical_language(said)


@pytest.mark.parametrize("tag", ["zz", "xx", "qq", "ZZ"])
def test_what_is_no_country_is_not_taken_for_english(tag):
    with pytest.raises(UserError, match=f"'{tag}' is not a language tag; use BCP-47"):
        canonical_language(tag)


def test_a_country_is_taken_for_its_language():
    for tag, meant in (("us", "en"), ("xk", "sq")):
        with pytest.raises(UserError, match=f"Did you mean '{meant}'"):
            canonical_language(tag)
