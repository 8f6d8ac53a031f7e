"""PDF and EPUB: pictures with their captions, alternative texts and mentions; documents that are broken or hostile."""

import io
import random
import zipfile

import PIL.Image
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.formats import detect
from tests.conftest import picture_bytes
from tests.formats.documents import drawing, picture, text, write_epub, write_pdf
from tests.formats.samples import reasons, take, unused

JPEGS = [picture_bytes(n, 200, 150, "JPEG") for n in range(6)]


def said(sample):
    return [(caption.kind, caption.text) for caption in sample.captions]


def told(source, **options):
    return [one.line() for one in unused(source, **options)]


def pdf(path, *pages, **more):
    pytest.importorskip("pypdfium2")
    return write_pdf(path, pages, **more)


# -- PDF ---------------------------------------------------------------------------------------------------------------

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:pdf="http://ns.adobe.com/pdf/1.3/" xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"
xmpRights:WebStatement="https://creativecommons.org/licenses/by/4.0/"/></rdf:RDF></x:xmpmeta>"""


@pytest.fixture
def report(tmp_path):
    dots = picture_bytes(9, 180, 140, "PNG")
    first = [
        text(50, 750, "As Figure 1 shows, the cat sleeps. Nobody"),
        text(50, 738, "knows why. See Fig. 2, too."),
        picture(50, 500, 200, 150, JPEGS[0], mark=3, alt="Eine Katze auf der Matte"),
        text(50, 485, "Figure 1: A sleeping cat on a mat, seen"),
        text(50, 473, "from above."),
        text(50, 420, "Running text that is about nothing at all."),
        picture(50, 200, 180, 140, dots),
        text(50, 185, "Figure 2. A dog."),
    ]
    second = [
        picture(50, 550, 200, 150, JPEGS[1]),
        text(50, 535, "شكل ٣: قطة نائمة"[::-1]),
        picture(50, 300, 200, 150, JPEGS[2]),
        text(50, 285, "图4 一只猫在睡觉"),
        text(50, 220, "في الشكل ٣ نرى قطة."[::-1]),
        text(50, 200, "如图4所示，猫在睡觉。图4很好。"),
        text(50, 150, "Das zeigt Figure 1 noch einmal."),
    ]
    third = [drawing(50, 500, 200, 150), text(50, 485, "Figure 5: A graph."), text(50, 400, "Figure 5 shows a graph.")]
    about = {"Title": "Über Katzen", "Author": "Ada L."}
    toc = [(0, "Anfang"), (1, "قطط")]
    return pdf(tmp_path / "report.pdf", first, second, third, info=about, lang="en-US", xmp=XMP, toc=toc)


def test_figures_of_a_pdf(report):
    assert detect(report) == detect(report.parent) == "pdf"
    samples, rejects = take(report)
    assert rejects == []
    assert [said(one) for one in samples] == [
        [
            ("human", "Figure 1: A sleeping cat on a mat, seen from above."),
            ("alt", "Eine Katze auf der Matte"),
            ("alt", "As Figure 1 shows, the cat sleeps."),
            ("alt", "Das zeigt Figure 1 noch einmal."),
        ],
        [("human", "Figure 2. A dog."), ("alt", "See Fig. 2, too.")],
        [("human", "شكل ٣: قطة نائمة"), ("alt", "في الشكل ٣ نرى قطة.")],
        [("human", "图4 一只猫在睡觉"), ("alt", "如图4所示，猫在睡觉。"), ("alt", "图4很好。")],
        [("human", "Figure 5: A graph."), ("alt", "Figure 5 shows a graph.")],
    ]
    assert [one.data == JPEGS[n] for one, n in zip((samples[0], samples[2], samples[3]), range(3))] == [True] * 3
    assert samples[0].region.box == (0.08333, 0.1875, 0.41667, 0.375)
    assert [one.time for one in samples] == [1, 1, 2, 2, 3]
    assert len({one.group for one in samples}) == 1
    first = samples[0].context
    assert (first["title"], first["author"], first["section"], first["page"]) == ("Über Katzen", "Ada L.", "Anfang", 1)
    assert first["licence"] == samples[0].captions[0].licence == "https://creativecommons.org/licenses/by/4.0/"
    assert [one["at"] for one in first["mentions"]] == [1, 2]
    assert samples[2].context["section"] == "قطط"
    assert samples[4].context["rendered"] == "150 dpi"
    assert PIL.Image.open(io.BytesIO(samples[4].data)).size == (1250, 1667)


def test_options_of_a_pdf(report):
    assert [said(one) for one in take(report, texts="alt", min_side=145, pages="none")[0]] == [
        [("alt", "Eine Katze auf der Matte")],
        [],
        [],
    ]
    lines = told(report, min_side=145, pages="none")
    assert any("1 picture with a side that is too short" in line and "page=1" in line for line in lines)
    assert any("1 drawn figure" in line and "pages=drawn" in line for line in lines)
    pages = take(report, pages="all", dpi=30)[0]
    assert [one.uri.rpartition("#")[2] for one in pages if "rendered" in one.context] == ["page=1", "page=2", "page=3"]
    plain = take(report, context=False, lang="sw", kind="human")[0][0]
    assert ({c.kind for c in plain.captions}, {c.lang for c in plain.captions}) == ({"human"}, {"sw"})
    assert "mentions" not in plain.context
    for wrong in ({"texts": "captions"}, {"pages": "some"}, {"dpi": 5}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            take(report, **wrong)


def test_a_pdf_becomes_a_dataset_whose_languages_are_identified(report, tmp_path):
    result = panoglot.ingest(str(report), str(tmp_path / "x.pano"), quiet=True)
    data = panoglot.open(str(tmp_path / "x.pano"))
    assert (len(data.images), result.rejected) == (5, 0)
    langs = {row["text"]: row["lang"] for row in data.captions.rows(["text", "lang"])}
    assert langs["شكل ٣: قطة نائمة"] == "ar"
    assert langs["如图4所示，猫在睡觉。"].startswith("zh")
    assert langs["Das zeigt Figure 1 noch einmal."] == "de"
    rows = data.images.rows(["author", "licence", "time", "region"])
    assert {(row["author"], row["licence"]) for row in rows} == {("Ada L.", XMP.split('"')[-2])}
    panoglot.ingest(str(report), str(tmp_path / "x.pano"), quiet=True)
    assert len(panoglot.open(str(tmp_path / "x.pano")).images) == 5


def test_captions_above_beside_and_shared(tmp_path):
    above = [
        text(50, 655, "Abb. 1: Oben eins"),
        picture(50, 500, 200, 150, JPEGS[0]),
        text(50, 475, "Abb. 2: Oben zwei"),
        picture(50, 320, 200, 150, JPEGS[1]),
    ]
    side_by_side = [
        picture(50, 500, 150, 120, JPEGS[2]),
        text(50, 485, "Рис. 3. Слева кот"),
        picture(350, 500, 150, 120, JPEGS[3]),
        text(350, 485, "Рис. 4. Справа пёс"),
    ]
    shared = [
        picture(50, 500, 150, 120, JPEGS[4]),
        picture(210, 500, 150, 120, JPEGS[5]),
        text(60, 485, "Kielelezo 5: Paka wawili"),
        picture(50, 50, 150, 120, picture_bytes(7, 200, 150, "JPEG")),
    ]
    path = pdf(tmp_path / "a.pdf", above, side_by_side, shared)
    assert [[text for _, text in said(one)] for one in take(path)[0]] == [
        ["Abb. 1: Oben eins"],
        ["Abb. 2: Oben zwei"],
        ["Рис. 3. Слева кот"],
        ["Рис. 4. Справа пёс"],
        ["Kielelezo 5: Paka wawili"],
        ["Kielelezo 5: Paka wawili"],
        [],
    ]


@pytest.mark.parametrize(
    ("caption", "mention"),
    [
        ("Abbildung 3: Eine Katze", "In Abb. 3 und 4 schläft sie."),
        ("Figura 3. Un gato", "Como se ve en la figura 3, duerme."),
        ("รูปที่ 3 แมวนอนหลับ", "จากรูปที่ 3 แมวนอนหลับอยู่"),
        ("図3　眠る猫", "図2と図3に猫がいる。"),
        ("그림 3. 자는 고양이", "그림 3은 고양이다."),
        ("चित्र ३: सोती हुई बिल्ली", "चित्र ३ में बिल्ली सो रही है।"),
        ("Şekil 3: Uyuyan kedi", "Şekil 3'te bir kedi uyuyor."),
        ("3. ábra. Alvó macska", "A 3. ábrán egy macska alszik."),
        ("Εικόνα 3: Μια γάτα", "Στην εικόνα 3 κοιμάται μια γάτα."),
        ("Hình 3: Con mèo", "Trong hình 3 con mèo ngủ."),
    ],
)
def test_captions_and_mentions_in_many_languages(tmp_path, caption, mention):
    page = [picture(50, 500, 200, 150, JPEGS[0]), text(50, 480, caption), text(50, 300, mention)]
    (one,) = take(pdf(tmp_path / "a.pdf", page))[0]
    assert [text.replace("\u3000", " ") for _, text in said(one)] == [caption.replace("\u3000", " "), mention]


def test_two_figures_of_one_number_take_the_mentions_that_are_nearer(tmp_path):
    def chapter(n):
        return [picture(50, 500, 200, 150, JPEGS[n]), text(50, 485, f"Figure 1: Cat {n}")]

    path = pdf(
        tmp_path / "a.pdf",
        chapter(0),
        [text(50, 500, "Figure 1 shows a cat.")],
        [],
        chapter(1),
        [text(50, 500, "In Fig. 1 it eats.")],
    )
    assert [[text for _, text in said(one)] for one in take(path)[0]] == [
        ["Figure 1: Cat 0", "Figure 1 shows a cat."],
        ["Figure 1: Cat 1", "In Fig. 1 it eats."],
    ]


def test_a_turned_page_gives_pictures_as_they_are_seen(tmp_path):
    page = [picture(100, 100, 200, 150, JPEGS[0])]
    (one,) = take(pdf(tmp_path / "a.pdf", page, rotate=90))[0]
    opened = PIL.Image.open(io.BytesIO(one.data))
    assert opened.size == (150, 200)
    assert one.region.box == (0.125, 0.16667, 0.3125, 0.5)


def test_scans_are_read_and_said_to_have_no_text(tmp_path):
    path = pdf(tmp_path / "scan.pdf", *[[picture(0, 0, 600, 800, JPEGS[n])] for n in range(3)])
    samples, rejects = take(path)
    assert ([one.data for one in samples], rejects) == (JPEGS[:3], [])
    (line,) = told(path)
    assert "3 page texts (there is no text layer" in line
    assert "page=1, page=2, page=3" in line


def test_a_pdf_that_is_cut_says_so_and_gives_what_is_left(report):
    whole = report.read_bytes()
    for end in (5, 1000, len(whole) // 3, len(whole) // 2, len(whole) - 500):
        report.write_bytes(whole[:end])
        samples, rejects = take(report)
        assert (samples, reasons(rejects)) == ([], ["truncated"])
    report.write_bytes(whole + b"\n900 0 obj <</Length 9000>> stream\n" + bytes(range(65, 90)) * 300)  # an update, cut
    samples, rejects = take(report)
    assert (len(samples), reasons(rejects)) == (5, ["truncated"])
    assert "3 pages could be read" in rejects[0].message


def test_pdfs_that_are_none_locked_or_broken(tmp_path, report):
    (tmp_path / "b.pdf").write_bytes(random.Random(1).randbytes(3000))
    assert reasons(take(tmp_path / "b.pdf")[1]) == ["bad_document"]
    lock = b"/Encrypt <</Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s>>> /ID [<00> <00>] /Root" % (
        b"00" * 32,
        b"11" * 32,
    )
    (tmp_path / "c.pdf").write_bytes(report.read_bytes().replace(b"/Root", lock))
    (one,) = take(tmp_path / "c.pdf")[1]
    assert (one.reason, "qpdf --decrypt" in one.message) == ("encrypted", True)
    broken = report.read_bytes().replace(JPEGS[0], JPEGS[0][:500] + bytes(len(JPEGS[0]) - 500))
    (tmp_path / "d.pdf").write_bytes(broken)
    assert len(take(tmp_path / "d.pdf")[0]) == 5  # ingest says of a picture that it cannot be decoded
    rng = random.Random(2)
    whole = bytearray(report.read_bytes())
    for n in range(8):
        hurt = bytearray(whole)
        for _ in range(40):
            hurt[rng.randrange(len(hurt))] = rng.randrange(256)
        (tmp_path / "e.pdf").write_bytes(hurt)
        samples, rejects = take(tmp_path / "e.pdf")
        assert samples or rejects or told(tmp_path / "e.pdf"), n


def test_a_picture_bomb_in_a_pdf_is_a_reject(tmp_path):
    page = [picture(50, 500, 200, 150, JPEGS[0]), picture(50, 300, 200, 150, JPEGS[1])]
    path = pdf(tmp_path / "a.pdf", page)
    size = b"/Width 200 /Height 150"
    path.write_bytes(path.read_bytes().replace(size, b"/Width 40000 /Height 40000"[:26], 1))
    samples, rejects = take(path)
    assert ([one.data for one in samples], reasons(rejects)) == ([JPEGS[1]], ["too_many_pixels"])
    assert rejects[0].item.endswith("#page=1&picture=1")


@pytest.mark.parametrize(("limit", "value"), [("BYTES", 900_000_000), ("SECONDS", 1)])
def test_a_page_that_takes_too_much_costs_that_page(tmp_path, monkeypatch, limit, value):
    dots = picture_bytes(1, 120, 110, "PNG")
    pages = [[picture(50, 500, 200, 150, JPEGS[n]), text(50, 485, f"Figure {n}: Cat {n}")] for n in range(4)]
    pages[2] = [picture(50, 500, 200, 150, dots, pixels=(9000, 9000))] * (1 if limit == "BYTES" else 60)
    path = pdf(tmp_path / "a.pdf", *pages)
    monkeypatch.setattr(f"panoglot.formats._pdf_process.{limit}", value)
    samples, rejects = take(path)
    whole = [one.uri.rpartition("#")[2] for one in samples if one.data in JPEGS]
    assert whole == [f"page={n}&picture=1" for n in (1, 2, 4)]
    assert rejects[0].item.rpartition("#")[2].startswith("page=3")
    assert reasons(rejects)[-1] in ("decode_timeout", "decode_memory", "bad_document", "undecodable")


def test_many_pages_are_read_in_bounded_steps(tmp_path):
    pages = [[text(50, 500, f"Page {n} is about Figure 1.")] for n in range(1500)]
    pages[700] += [picture(50, 600, 200, 150, JPEGS[0]), text(50, 585, "Figure 1: A cat")]
    (one,) = take(pdf(tmp_path / "a.pdf", *pages))[0]
    assert one.context["page"] == 701
    assert len(one.context["mentions"]) == 20


# -- EPUB --------------------------------------------------------------------------------------------------------------


def chapter(body, lang=""):
    head = f'<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml" lang="{lang}">'
    return f"{head}<body>{body}</body></html>"


def book(path, **more):
    pytest.importorskip("lxml")
    chapters = [
        ("text/1.xhtml", chapter('<h1>Vorwort</h1><p>Abb. 1 zeigt die Katze. Mehr später.</p><img src="../i/0.jpg"/>')),
        (
            "text/2.xhtml",
            chapter(
                "<h1>Katzen</h1><figure><img src='../i/0.jpg' alt='Katze von vorn'/><figcaption>Abb. 1: Eine Katze"
                "</figcaption></figure><figure lang='ar'><img src='../i/a%20b.png'/>"
                "<figcaption>قطة نائمة</figcaption></figure>"
            ),
        ),
        (
            "text/3.xhtml",
            chapter(
                "<figure><img src='../i/2.jpg'/><figcaption>图2 一只猫</figcaption></figure><p>图2很好。</p>", "zh"
            ),
        ),
    ]
    files = [("i/0.jpg", JPEGS[0]), ("i/a b.png", picture_bytes(1, 120, 110)), ("i/2.jpg", JPEGS[2])]
    return write_epub(
        path, chapters, files, title="Über Katzen", author="Ada L.", rights="CC BY 4.0", lang="de", **more
    )


def test_figures_of_a_book(tmp_path):
    path = book(tmp_path / "a.epub")
    assert detect(path) == detect(tmp_path) == "epub"
    samples, rejects = take(path)
    assert rejects == []
    assert [[(c.kind, c.lang, c.text) for c in one.captions] for one in samples] == [
        [
            ("human", "de", "Abb. 1: Eine Katze"),
            ("alt", "de", "Katze von vorn"),
            ("alt", "de", "Abb. 1 zeigt die Katze."),
        ],
        [("human", "ar", "قطة نائمة")],
        [("human", "zh", "图2 一只猫"), ("alt", "zh", "图2很好。")],
    ]
    first = samples[0]
    assert (first.data, first.time, first.context["chapter"]) == (JPEGS[0], 2, 2)
    assert (first.context["title"], first.context["section"], first.context["licence"]) == (
        "Über Katzen",
        "Katzen",
        "CC BY 4.0",
    )
    assert {(c.author, c.licence) for one in samples for c in one.captions} == {("Ada L.", "CC BY 4.0")}
    assert any("1 picture of a book without a text" in line for line in told(path))
    panoglot.ingest(str(path), str(tmp_path / "x.pano"), quiet=True)
    assert len(panoglot.open(str(tmp_path / "x.pano")).images) == 3


def test_chapters_of_a_book_in_another_charset_than_they_say(tmp_path):
    body = "<figure><img src='a.jpg'/><figcaption>Müßig – dösend</figcaption></figure>"
    pages = [
        ("1.xhtml", chapter(body).encode("windows-1252")),
        ("2.xhtml", chapter(body).replace("utf-8", "iso-8859-1").encode()),
        ("3.xhtml", chapter(body).replace("utf-8", "utf-16").encode("utf-16")),
    ]
    path = write_epub(tmp_path / "a.epub", pages, [("a.jpg", JPEGS[0])])
    assert [said(one) for one in take(path)[0]] == [[("human", "Müßig – dösend")]] * 3


def lock(*names, method="http://www.w3.org/2001/04/xmlenc#aes128-cbc"):
    data = "".join(
        f'<e:EncryptedData><e:EncryptionMethod Algorithm="{method}"/><e:CipherData><e:CipherReference URI="{name}"/>'
        "</e:CipherData></e:EncryptedData>"
        for name in names
    )
    return "META-INF/encryption.xml", f'<encryption xmlns:e="http://www.w3.org/2001/04/xmlenc#">{data}</encryption>'


def test_books_under_drm_are_said_to_be(tmp_path):
    names = [f"OEBPS/text/{n}.xhtml" for n in (1, 2, 3)]
    samples, rejects = take(book(tmp_path / "a.epub", more=[lock(*names)]))
    assert (samples, [(one.reason, "DRM" in one.message) for one in rejects]) == ([], [("encrypted", True)])
    samples, rejects = take(book(tmp_path / "b.epub", more=[lock("OEBPS/i/0.jpg")]))
    assert (len(samples), reasons(rejects)) == (2, ["encrypted"])
    fonts = lock("OEBPS/font.otf", method="http://www.idpf.org/2008/embedding")
    assert len(take(book(tmp_path / "c.epub", more=[fonts]))[0]) == 3


def test_books_that_are_broken_or_hostile(tmp_path):
    whole = book(tmp_path / "a.epub").read_bytes()
    for end in (0, 10, len(whole) // 2, len(whole) - 10):
        (tmp_path / "cut.epub").write_bytes(whole[:end])
        assert reasons(take(tmp_path / "cut.epub")[1]) == ["bad_archive"]
    rng = random.Random(1)
    for _ in range(30):
        hurt = bytearray(whole)
        for _ in range(20):
            hurt[rng.randrange(len(hurt))] = rng.randrange(256)
        (tmp_path / "hurt.epub").write_bytes(hurt)
        take(tmp_path / "hurt.epub")  # raises nothing
    body = "".join(
        f"<img src='{name}' alt='eine Katze'/>"
        for name in ("../../../etc/passwd", "/etc/passwd", "http://x.org/a.jpg", "no.jpg")
    )
    path = write_epub(tmp_path / "out.epub", [("1.xhtml", chapter(body)), ("gone.xhtml", chapter(""))])
    assert reasons(take(path)[1]) == ["missing_file", "outside_folder", "outside_folder", "remote_url"]
    entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
    with zipfile.ZipFile(tmp_path / "bomb.epub", "w") as archive:
        archive.writestr("META-INF/container.xml", entities)
    assert reasons(take(tmp_path / "bomb.epub")[1]) == ["bad_document"]
    path = write_epub(tmp_path / "big.epub", [("1.xhtml", b" " * (17 * 2**20)), ("2.xhtml", chapter(body))])
    assert reasons(take(path)[1])[-1] == "too_many_bytes"


def test_a_folder_of_several_kinds_is_no_folder_of_documents(tmp_path):
    book(tmp_path / "a.epub")
    (tmp_path / "a.png").write_bytes(picture_bytes(1))
    assert detect(tmp_path) == "folder"
    with pytest.raises(UserError, match=r"no \.pdf files"):
        take(tmp_path, "pdf")


def test_documents_among_pictures_are_named(tmp_path, pictures, capsys):
    for name in ("report.pdf", "book.epub", "film.mp4"):
        (pictures / name).write_bytes(b"%PDF-1.7 nothing")
    (pictures / "more").mkdir()
    (pictures / "more" / "b.pdf").write_bytes(b"%PDF-1.7 nothing")
    found = panoglot.ingest(str(pictures), tmp_path / "x.pano", quiet=True)
    said = str(found.unused)
    assert all(name in said for name in ("report.pdf", "book.epub", "film.mp4", "b.pdf"))
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "report.pdf").write_bytes(b"%PDF-1.7 nothing")
    (alone / "notes.docx").write_bytes(b"PK")
    with pytest.raises(
        panoglot.UserError, match=r"but 1 document or film \(report\.pdf\), .* by their names.*report\.pdf"
    ):
        panoglot.ingest(str(alone), tmp_path / "y.pano", quiet=True)


def test_what_is_about_no_figure_is_counted(tmp_path, report):
    """Paragraphs of pages and chapters, and pictures that no page shows."""
    (line,) = [line for line in told(str(report)) if "paragraph" in line]
    assert line.startswith("1 paragraph about no figure was not used: page=1 (")
    pages = [("a.xhtml", "<p>Fig. 1 shows it.</p><p>Nothing.</p><p>More.</p><img src='a.jpg' alt='Eine Katze'/>")]
    files = [("a.jpg", JPEGS[0]), ("cover.jpg", JPEGS[1]), ("art/b.png", JPEGS[2])]
    write_epub(tmp_path / "a.epub", pages, files)
    lines = told(str(tmp_path / "a.epub"))
    assert any(line.startswith("2 paragraphs about no figure were not used: ") for line in lines)
    (line,) = [line for line in lines if "no page shows" in line]
    assert line.startswith("2 pictures of the book that no page shows were not used: ")
    assert "cover.jpg" in line
