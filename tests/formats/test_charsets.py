"""Pages that name no charset, or a wrong one."""

import pytest

from tests.conftest import picture_bytes
from tests.formats.samples import take

pytest.importorskip("lxml")


def test_a_page_of_another_script_is_not_latin_whatever_it_says(tmp_path):
    (tmp_path / "1.png").write_bytes(picture_bytes(1, 120, 110, "PNG"))
    figure = '<meta charset="iso-8859-1"><figure><img src="1.png"><figcaption>{}</figcaption></figure>'
    for name, lang, charset, said in (
        ("a", "ru", "cp1251", "Кошка на стуле"),
        ("b", "fr", "cp1252", "Un été à la mer"),
    ):
        (tmp_path / f"{name}.html").write_bytes(f"<html lang={lang}>{figure.format(said)}</html>".encode(charset))
    samples, _ = take(tmp_path, "wit")
    assert [c.text for one in samples for c in one.captions] == ["Кошка на стуле", "Un été à la mer"]


@pytest.mark.parametrize(
    ("lang", "charset", "said"),
    [
        ("ja", "euc_jp", "日本の猫が眠っている。"),
        ("ja", "cp932", "日本の猫が眠っている。"),
        ("ja", "iso2022_jp", "日本の猫が眠っている。"),
        ("zh-TW", "big5", "一隻紅色的狗睡在老樹下"),
        ("zh-CN", "gb2312", "一只红色的狗睡在老树下"),
        ("ko", "euc_kr", "고양이가 의자에 앉아 있다"),
        ("th", "cp874", "แมวดำนั่งอยู่บนเก้าอี้"),
        ("ar", "cp1256", "قطة سوداء تجلس على كرسي"),
        ("he", "cp1255", "חתול שחור יושב על כיסא"),
        ("ru", "cp1251", "Чёрная кошка сидит на стуле"),
        ("ru", "koi8_r", "Чёрная кошка сидит на стуле"),
        ("pl", "cp1250", "Żółty kot śpi na krześle"),
        ("el", "cp1253", "Μια μαύρη γάτα κάθεται"),
        ("tr", "cp1254", "Kara kedi sandalyede oturuyor, ışık"),
        ("de", "cp1252", "Die Katze schläft größer"),
    ],
)
def test_a_page_that_names_no_charset_is_read_by_its_language(tmp_path, lang, charset, said):
    (tmp_path / "1.png").write_bytes(picture_bytes(1, 120, 110, "PNG"))
    page = f'<html lang="{lang}"><figure><img src="1.png"><figcaption>{said}</figcaption></figure></html>'
    (tmp_path / "a.html").write_bytes(page.encode(charset))
    samples, _ = take(tmp_path, "wit")
    assert [c.text for one in samples for c in one.captions] == [said]


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "unicode_escape", "raw_unicode_escape", "undefined"])
def test_a_page_in_a_charset_that_no_page_is_in_is_read_as_if_it_named_none(tmp_path, charset):
    """Python's punycode takes a minute for 300 KB, and its UTF-7 makes markup of letters."""
    (tmp_path / "1.png").write_bytes(picture_bytes(1, 120, 110, "PNG"))
    said = "größer +ADw-b+AD4- \\u0041 " + "ab" * 60_000
    page = f'<meta charset="{charset}"><figure><img src="1.png"><figcaption>{said[:40]}</figcaption></figure>{said}'
    (tmp_path / "a.html").write_bytes(page.encode("cp1252"))
    samples, rejects = take(tmp_path, "wit")
    assert [c.text for one in samples for c in one.captions] == [said[:40]]
    assert not rejects
