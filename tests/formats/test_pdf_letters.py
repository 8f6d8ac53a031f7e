"""Texts of PDFs in the order of reading: right to left, ligatures, marks, clusters; by hand and by real programs."""

import subprocess
from pathlib import Path

import pytest

from tests.browser import find_browser
from tests.conftest import picture_bytes
from tests.formats.documents import picture, text, write_pdf
from tests.formats.samples import take, unused

pytest.importorskip("pypdfium2")
JPEG = picture_bytes(1, 200, 150, "JPEG")
#: A caption and a sentence about it, by language.
TEXTS = {
    "ar": ("شكل 1: ولد صغير والقطة لا تنام الآن في الإناء، الأولاد 2024", "يوضح الشكل 1 ولدا صغيرا في الظلام."),
    "fa": ("شکل ۱: گربه روی صندلی؛ ۳٫۵ متر", "در شکل ۱ گربه را دیدیم."),
    "he": ("איור 1: חתול שחור ישן על הספה (2024) ליד PDF 1.7", "באיור 1 רואים חתול שחור."),
    "hi": ("चित्र 1: एक छोटी बिल्ली की तस्वीर, किताब और क्षेत्रीय मित्र", "चित्र 1 में एक बिल्ली है।"),
    "th": ("รูปที่ 1: แมวตัวเล็กกำลังนอนหลับอยู่บนเก้าอี้น้ำเงิน", "ดังรูปที่ 1 แมวกำลังนอนหลับ"),
}


FONTS = ("NaskhArabic", "SerifHebrew", "SansDevanagari", "SansThai")


def captions(path):
    return [[caption.text for caption in sample.captions] for sample in take(str(path))[0]]


def page(*lines):
    """A picture with lines under it, each a list of signs from left to right as they are seen."""
    return [picture(50, 550, 200, 150, JPEG), *(text(50, 535 - 12 * n, line) for n, line in enumerate(lines))]


HE = [*"איור 3: חתול "]


@pytest.mark.parametrize(
    ("signs", "read"),
    [
        ([*"شكل 3: ولد في البيت"], "شكل 3: ولد في البيت"),
        (
            [*"شكل 3: ", "لا", *" ت", "لأ", *"م ", "الله"],
            "شكل 3: لا تلأم الله",
        ),  # a ligature is one sign with two letters
        ([*"شكل 3: ", "\ufeb3", "\ufefc", "\ufee1"], "شكل 3: سلام"),  # forms of letters by their place
        ([*HE, ")", "2024", "("], "איור 3: חתול (2024)"),  # brackets: the sign that is seen
        ([*HE, "(", "2024", ")"], "איור 3: חתול (2024)"),  # and the one that is meant
        ([*HE, "50%", ",", " ", "12/2024"], "איור 3: חתול 50%, 12/2024"),
        ([*HE, "PDF 1.7", *" ישן"], "איור 3: חתול PDF 1.7 ישן"),
        ([*HE, "3.5"], "איור 3: חתול 3.5"),
    ],
)
def test_signs_from_right_to_left_are_read_in_order(tmp_path, signs, read):
    seen = [piece for sign in reversed(signs) for piece in (sign if sign.isascii() else [sign])]
    write_pdf(tmp_path / "a.pdf", [page(seen)])
    assert captions(tmp_path / "a.pdf") == [[read]]


def test_words_from_right_to_left_in_a_line_of_the_other_direction(tmp_path):
    write_pdf(tmp_path / "a.pdf", [page("Figure 3: The word םולש means peace.")])
    assert captions(tmp_path / "a.pdf") == [["Figure 3: The word שלום means peace."]]


def test_a_page_that_shows_its_words_the_wrong_way_round_is_read_as_meant(tmp_path):
    """Final letters begin its words: its writer did not turn them."""
    write_pdf(tmp_path / "a.pdf", [page("איור 3: חתולים ישנים על ספה (2024)")])
    assert captions(tmp_path / "a.pdf") == [["איור 3: חתולים ישנים על ספה (2024)"]]


def as_pdf_by_chromium(tmp_path, langs):
    browser = find_browser()
    bodies = []
    for lang in langs:
        caption, mention = TEXTS[lang]
        way = "rtl" if lang in ("ar", "fa", "he") else "ltr"
        style = "page-break-after: always; font-family: 'Noto Naskh Arabic', 'Noto Sans'"
        figure = f'<img src="p.jpg" width="200"><br>{caption}'
        bodies.append(f'<div lang="{lang}" dir="{way}" style="{style}"><p>{mention}</p><center>{figure}</center></div>')
    (tmp_path / "p.jpg").write_bytes(JPEG)
    (tmp_path / "a.html").write_text(f"<meta charset=utf-8>{''.join(bodies)}", encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={tmp_path}/u"]
    out, page = f"--print-to-pdf={tmp_path / 'a.pdf'}", (tmp_path / "a.html").as_uri()
    subprocess.run([browser.program, *flags, out, page], capture_output=True, timeout=120, check=True)
    return tmp_path / "a.pdf"


def as_pdf_by_typst(tmp_path, langs):
    typst = pytest.importorskip("typst")
    (tmp_path / "p.jpg").write_bytes(JPEG)
    pages = []
    for lang in langs:
        caption, mention = TEXTS[lang]
        pages.append(
            f'#set text(lang: "{lang}")\n{mention}\n\n#align(center)[#image("p.jpg", width: 5cm)\n\n{caption}]'
        )
    fonts = '("Noto Naskh Arabic", "Noto Serif Hebrew", "Noto Sans Devanagari", "Noto Sans Thai")'
    (tmp_path / "a.typ").write_text(f"#set text(font: {fonts})\n" + "\n#pagebreak()\n".join(pages), encoding="utf-8")
    typst.compile(str(tmp_path / "a.typ"), output=str(tmp_path / "a.pdf"), font_paths=["/usr/share/fonts"])
    return tmp_path / "a.pdf"


@pytest.mark.parametrize("make", [as_pdf_by_chromium, as_pdf_by_typst])
def test_what_real_programs_write_is_read_as_it_was_written(tmp_path, make):
    if not all(Path("/usr/share/fonts/truetype/noto", f"Noto{name}-Regular.ttf").exists() for name in FONTS):
        pytest.skip("needs Debian's fonts-noto-core")
    path = make(tmp_path, list(TEXTS))
    samples, rejects = take(str(path))
    assert rejects == []
    found = {texts[0]: texts[1:] for texts in ([c.text for c in sample.captions] for sample in samples)}
    assert found == {caption: [mention] for caption, mention in TEXTS.values()}
    assert unused(str(path)) == []


def test_signs_that_the_file_gives_no_character_are_counted(tmp_path):
    path = write_pdf(tmp_path / "a.pdf", [page([None, *reversed("شكل 3: قطة صغيرة")])])
    samples, _ = take(str(path))
    assert "\ufffd" in samples[0].captions[0].text
    (told,) = unused(str(path))
    assert told.line().startswith("1 letter of its texts was not used: page=1 (")
