import pytest

from panoglot.errors import UserError
from panoglot.languages import canonical_language, language_name, matches, parse_language


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("DE", "de"),
        ("pt_BR.utf8", "pt-BR"),
        ("zh_TW", "zh-Hant"),
        ("zh_CN.UTF-8", "zh-Hans"),
        ("sr@latin", "sr-Latn"),
        ("ca@valencia", "ca-valencia"),
        ("iw", "he"),
        ("en-US", "en-US"),
        ("sat_olck", "sat-Olck"),
        ("und", "und"),
        ("", None),
        (None, None),
        ("not a language", None),
        ("xx", None),
        ("'; drop table", None),
    ],
)
def test_parse(tag, expected):
    assert parse_language(tag) == expected


def test_canonical_language_refuses_with_an_example():
    with pytest.raises(UserError, match="'klingonish' is not a language tag"):
        canonical_language("klingonish")


def test_matches():
    assert matches("zh", "zh-Hant")
    assert not matches("z", "zh")
    assert not matches("pt-BR", "pt")


def test_names_of_regional_forms():
    assert language_name("sw") == "Swahili"
    assert language_name("gd") == "Scottish Gaelic"
    assert language_name("sr-Latn") == "Serbian (Latn)"
