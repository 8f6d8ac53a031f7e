"""Pages: figures as WIT has them, products as LGS has them; the worked cases of both, and pages that are broken."""

import gzip
import html
import io
import json
import random

import PIL.Image
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.formats import detect
from panoglot.formats.lgs import Product, captions_of, price_of, product_fault
from panoglot.formats.wit import COLUMNS, Row, row_fault
from tests.conftest import picture_bytes
from tests.formats.samples import reasons, take, texts, unused
from tests.formats.web_server import WebServer

pytest.importorskip("lxml")


def row(**known):
    values = dict.fromkeys(COLUMNS, "")
    values |= {"language": "en", "original_width": "800", "original_height": "600"}
    return [str({**values, **{names[k]: v for k, v in known.items()}}[name]) for name in COLUMNS]


names = {
    "lang": "language",
    "url": "image_url",
    "reference": "caption_reference_description",
    "attribution": "caption_attribution_description",
    "alt": "caption_alt_text_description",
    "flag": "attribution_passes_lang_id",
    "width": "original_width",
    "height": "original_height",
}


def tsv(path, rows):
    body = "\n".join("\t".join(fields) for fields in [COLUMNS, *rows]) + "\n"
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else open(path, "w", encoding="utf-8") as file:
        file.write(body)
    return path


@pytest.fixture
def server():
    with WebServer().running() as one:
        yield one


# -- WIT ---------------------------------------------------------------------------------------------------------------


@pytest.mark.paper("wit", shows="V", case="six rows: 2 kept, 1 picture, 2 languages; drops by the first rule add up")
def test_the_six_rows_of_wit(server, tmp_path):
    one = server.url("/ok/1.jpg")
    rows = [
        row(url=one, reference="Half Dome from Glacier Point"),
        row(url=one, lang="de", attribution="Half Dome vom Glacier Point", flag="true"),
        row(url=one, lang="fr", attribution="Half Dome from Glacier Point", flag="false"),
        row(url=server.url("/ok/2.jpg"), reference="A narrow picture", width=90, height=400),
        row(url=server.url("/ok/3.jpg"), alt="IMG_0042.jpg"),
        row(url=server.url("/ok/4.jpg"), reference="ab"),
    ]
    path = tsv(tmp_path / "wit.tsv.gz", rows)
    assert detect(path) == "wit"
    samples, rejects = take(path, allow_private=True)
    assert rejects == []
    assert [text for sample in samples for text in texts(sample)] == [
        ("en", "Half Dome from Glacier Point"),
        ("de", "Half Dome vom Glacier Point"),
    ]
    assert len({sample.data for sample in samples}) == 1
    told = [one.line() for one in unused(path, allow_private=True)]
    assert [
        sum("too short" in line for line in told),
        sum("no text" in line or "without" in line for line in told),
    ] == [1, 3]
    kept_without_the_flag = take(path, allow_private=True, enforce_flag=False)[0]
    assert len(kept_without_the_flag) == 3  # enforcing it never adds a text
    result = panoglot.ingest(str(path), str(tmp_path / "x.pano"), option=["allow_private=true"], quiet=True)
    data = panoglot.open(str(tmp_path / "x.pano"))
    assert (len(data.images), len(data.captions)) == (1, 2)
    assert sum(told.count for told in result.unused) == 4
    again = panoglot.ingest(str(path), str(tmp_path / "x.pano"), option=["allow_private=true"], quiet=True)
    assert (len(data.images), len(data.captions), again.rejected) == (1, 2, 0)


@pytest.mark.paper(
    "wit", shows="V", case="boundaries: 100 x 100 and 3 characters stay, 99 x 100 goes; true, false, missing"
)
def test_boundaries_and_flags_of_wit():
    def fault(**known):
        return row_fault(Row.of(row(**known)))

    assert fault(reference="abc", width=100, height=100) is None
    assert fault(reference="abc", width=99, height=100) == "small"
    assert fault(reference="ab") == "no_text"
    assert fault(reference="猫が寝") is None  # characters, not bytes
    assert fault(alt="[注記]") == fault(alt="Icon") == fault(alt="File:X.png") == "no_text"
    assert [Row.of(row(flag=said)).attribution_passes_lang_id for said in ("true", "false", "")] == [True, False, None]
    assert fault(attribution="nobody says", flag="") is None  # a flag that is missing is not false
    whole = row(reference="a\u0301 ไทย עברית", flag="true", width="", height="")
    assert Row.of(whole).values() == whole


def test_rows_of_wit_that_are_broken(tmp_path):
    rows = [row(reference="good enough"), row()[:5], row(width="wide"), row(flag="maybe"), row(height="-3")]
    path = tsv(tmp_path / "wit.tsv", rows)
    path.write_bytes(path.read_bytes() + b"en\tcut off")
    found = take(path, allow_private=True)[1]
    assert reasons(found) == ["bad_row"] * 5 + ["no_image"]
    with gzip.open(tmp_path / "a.tsv.gz", "wb") as file:
        file.write(path.read_bytes() + bytes(200_000))
    whole = (tmp_path / "a.tsv.gz").read_bytes()
    (tmp_path / "a.tsv.gz").write_bytes(whole[: len(whole) // 2])
    assert "truncated_archive" in reasons(take(tmp_path / "a.tsv.gz")[1])
    with pytest.raises(UserError, match="texts="):
        take(path, texts="caption")


def test_wit_samples(test_data):
    source = test_data / "formats" / "wit"
    assert detect(source) == "wit"
    samples, rejects = take(source, download=False, min_side=32)
    assert samples == []
    assert reasons(rejects) == ["remote_url"] * 6


PAGE = """<!doctype html><html lang="de"><head><title>Katze – Wikipedia</title>
<link rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/"></head><body><h1>Katze</h1>
<p>Die Katze ist ein Haustier, das gern schläft.</p>
<nav><img src="up.jpg" alt="Nach oben"></nav>
<h2>Körper</h2><h3>Fell</h3><p>Das Fell der Katze ist weich und dicht.</p>
<figure><img src="img/1.jpg" alt="Katze von vorn"><figcaption>Eine <b>graue</b> Katze</figcaption></figure>
<div class="thumb"><div class="thumbinner" lang="ar"><a href="/wiki/File:X"><img src="img/2.jpg"></a>
<div class="thumbcaption">قطة سوداء</div></div></div>
<div class="figure"><p class="title"><b>Abb. 1.</b></p><div class="mediaobject"><img src="img/3.jpg">
<div class="caption"><p>Links</p></div></div><div class="mediaobject"><img src="img/4.jpg">
<div class="caption"><p>Rechts</p></div></div></div>
<table><tr><td><table><tr><td><img src="img/5.jpg" alt="Eine Katze in der Tabelle"></td></tr></table></td></tr></table>
<h2>Namen</h2><img src="img/6.jpg"><img src="img/gone.jpg" alt="Nicht da"><img src="https://x.org/7.jpg" alt="Fern">
</body></html>"""


@pytest.fixture
def wiki(tmp_path):
    folder = tmp_path / "wiki" / "img"
    folder.mkdir(parents=True)
    for n in range(1, 7):
        (folder / f"{n}.jpg").write_bytes(picture_bytes(n, 120, 110))
    (tmp_path / "wiki" / "Katze.html").write_text(PAGE, encoding="utf-8")
    return tmp_path / "wiki"


def test_figures_of_a_page(wiki):
    samples, rejects = take(wiki, "wit")
    assert [texts(one) for one in samples] == [
        [("de", "Eine graue Katze"), ("de", "Katze von vorn")],
        [("ar", "قطة سوداء")],
        [("de", "Links")],
        [("de", "Rechts")],
        [("de", "Eine Katze in der Tabelle")],
    ]
    assert [one.data for one in samples] == [picture_bytes(n, 120, 110) for n in range(1, 6)]
    first = samples[0]
    assert [(c.kind, c.licence) for c in first.captions] == [
        ("human", "https://creativecommons.org/licenses/by-sa/4.0/"),
        ("alt", "https://creativecommons.org/licenses/by-sa/4.0/"),
    ]
    assert first.context["hierarchical_section_title"] == "Katze / Körper / Fell"
    assert first.context["context_page_description"] == "Die Katze ist ein Haustier, das gern schläft."
    assert first.context["context_section_description"] == "Das Fell der Katze ist weich und dicht."
    assert (first.context["is_main_image"], samples[1].context["is_main_image"]) == ("true", "false")
    assert reasons(rejects) == ["missing_file", "remote_url"]


@pytest.mark.parametrize(
    ("said", "written"),
    [("utf-8", "windows-1252"), ("iso-8859-1", "utf-8"), ("windows-1252", "windows-1252"), ("no-such", "utf-8")],
)
def test_a_page_in_another_charset_than_it_says(wiki, said, written):
    body = f'<meta charset="{said}"><body><figure><img src=img/1.jpg><figcaption>Müßig – dösend</figcaption></figure>'
    (wiki / "Katze.html").write_bytes(body.encode(written))
    assert [c.text for c in take(wiki, "wit")[0][0].captions] == ["Müßig – dösend"]


def test_pages_that_are_no_pages(wiki):
    (wiki / "Katze.html").write_bytes(b"\0\xff\xfe" * 100)
    (wiki / "deep.html").write_text("<div>" * 50_000 + "<img src=img/1.jpg alt='deep down'>")
    (wiki / "empty.html").write_bytes(b"")
    samples, rejects = take(wiki, "wit")
    told = unused(wiki, "wit")
    assert len(samples) + len(rejects) + sum(one.count for one in told) >= 3
    (wiki / "out.html").write_text("<img src='../../../etc/passwd.jpg' alt='out of here'>")
    assert "outside_folder" in reasons(take(wiki / "out.html", "wit")[1]) + reasons(take(wiki, "wit")[1])
    with pytest.raises(UserError, match="has no pages"):
        take(wiki / "img", "wit")


# -- WARC --------------------------------------------------------------------------------------------------------------


def record(url, body, type="text/html", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {type}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    http = "\r\n".join([*lines, "", ""]).encode() + body
    head = ["WARC/1.0", "WARC-Type: response", f"WARC-Target-URI: {url}", "WARC-Date: 2026-01-01T00:00:00Z"]
    head += ["WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>"]
    head += ["Content-Type: application/http; msgtype=response", f"Content-Length: {len(http)}"]
    return "\r\n".join([*head, "", ""]).encode() + http + b"\r\n\r\n"


def shop_page(product, crumbs=("Home", "Schmuck", "Ringe"), body=""):
    trail = {
        "@type": "BreadcrumbList",
        "itemListElement": [{"position": n, "name": name} for n, name in enumerate(crumbs)],
    }
    data = json.dumps({"@graph": [{"@type": "Product", **product}, trail]})
    return f'<html lang="de"><script type="application/ld+json">{data}</script>{body}</html>'.encode()


def mug(**more):
    offers = {"offers": {"price": more.pop("price", "12,50 €")}}
    return {"name": "Becher", "image": ["/1.jpg", "/2.jpg"], "brand": {"name": "Acme"}, **offers, **more}


@pytest.fixture
def warc(tmp_path):
    pytest.importorskip("fastwarc")
    ring = shop_page(
        {
            "name": "Apatit-Ring",
            "brand": "Acme",
            "image": "https://shop.org/%31.jpg",
            "offers": [{"price": "1.299,00 €"}],
        },
        body="<div class=features><ul><li>Silber</li><li>blauer Stein</li></ul></div>",
    )
    variants = [{"@type": "Product", "sku": f"B{n}", "image": f"/{n}.jpg"} for n in (1, 2)]
    group = {"@type": "ProductGroup", "productGroupID": "B", "hasVariant": variants}
    records = [
        record("https://shop.org/ring", ring),
        record("http://shop.org/1.jpg", picture_bytes(1, 120, 110), "image/jpeg"),
        record("http://shop.org/2.jpg", picture_bytes(2, 120, 110), "image/jpeg"),
        record("http://shop.org/broken.jpg", b"\xff\xd8\xff not really", "image/jpeg"),
        record("http://shop.org/becher", shop_page(mug(**group))),
        record("http://shop.org/call", shop_page(mug(price="Preis auf Anfrage"))),
        record("http://shop.org/blank", shop_page(mug(name=" "))),
        record("http://shop.org/odd", shop_page(mug(image="/broken.jpg"))),
        record("http://shop.org/about", b"<html><p>About us</html>"),
        record("http://shop.org/noai", shop_page(mug()), X_Robots_Tag="noai"),
        record("http://shop.org/404", shop_page(mug()), status="404 Gone"),
    ]
    (tmp_path / "shop.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    return tmp_path / "shop.warc.gz"


def test_products_of_a_shop(warc):
    samples, rejects = take(warc, "lgs")
    assert [[(c.kind, c.lang, c.text) for c in one.captions] for one in samples] == [
        [("alt", "de", "Apatit-Ring Acme"), ("label", "de", "Schmuck > Ringe"), ("alt", "de", "Silber; blauer Stein")],
        [("alt", "de", "Becher Acme"), ("label", "de", "Schmuck > Ringe")],
        [("alt", "de", "Becher Acme"), ("label", "de", "Schmuck > Ringe")],
    ]
    assert [one.data for one in samples] == [picture_bytes(n, 120, 110) for n in (1, 1, 2)]
    assert samples[1].group == samples[2].group == "B"  # a split keeps variants together
    assert [one.context["variant"] for one in samples[1:]] == ["B1", "B2"]
    assert samples[0].context["price"] == "1.299,00 €"
    assert reasons(rejects) == ["bad_image", "bad_price", "bad_title", "robots_tag"]
    assert [(one.count, "no product" in one.what) for one in unused(warc, "lgs")] == [(1, True)]
    one_each, _ = take(warc, "lgs", variants="one", styles="taxonomy")
    assert [texts(one) for one in one_each] == [[("de", "Schmuck > Ringe")]] * 2
    assert len(take(warc, "lgs", checks="image")[0]) == 5


def test_a_warc_that_is_cut(warc):
    whole = warc.read_bytes()
    seen = set()
    for end in range(0, len(whole), len(whole) // 12):
        warc.write_bytes(whole[:end])
        samples, rejects = take(warc, "lgs")
        seen.add(len(samples))
        assert all(one.reason for one in rejects)
    assert {0, 1} <= seen  # what came before is read
    warc.write_bytes(whole[:-200] + bytes(200))
    assert len(take(warc, "lgs")[0]) == 3


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
@pytest.mark.parametrize("what", ["a page", "a picture that a page shows", "one that none shows"])
def test_a_warc_that_breaks_off_says_so_once_whatever_stands_there(tmp_path, pack, what):
    pytest.importorskip("fastwarc")
    good = [record("https://shop.org/a", figure_page("1.jpg"))]
    good.append(record("https://shop.org/1.jpg", picture_bytes(1, 120, 110), "image/jpeg"))
    last = {
        "a page": [record("https://shop.org/b", figure_page("1.jpg"))],
        "a picture that a page shows": [
            record("https://shop.org/b", figure_page("2.jpg")),
            record("https://shop.org/2.jpg", picture_bytes(2, 120, 110), "image/jpeg"),
        ],
        "one that none shows": [record("https://shop.org/2.jpg", picture_bytes(2, 120, 110), "image/jpeg")],
    }[what]
    whole = b"".join(map(pack, [*good, *last]))
    path = tmp_path / "a.warc.gz"
    path.write_bytes(whole)
    assert reasons(take(path, "wit")[1]) == []
    path.write_bytes(whole[: -len(pack(last[-1])) // 3])
    samples, rejects = take(path, "wit")
    assert [texts(one) for one in samples] == [[("en", "All about 1.jpg")]]
    assert [one.reason for one in rejects].count("truncated_archive") >= 1
    assert len([one for one in rejects if one.item.count("#") == 1 and one.reason == "truncated_archive"]) == 1


def figure_page(name):
    return (
        f'<html lang="en"><figure><img src="/{name}"><figcaption>All about {name}</figcaption></figure></html>'.encode()
    )


@pytest.mark.parametrize("big", [0, 3_000_000])
def test_a_warc_that_is_packed_as_one_gives_each_caption_its_own_picture(tmp_path, big):
    pytest.importorskip("fastwarc")
    noise = random.Random(1).randbytes(big)
    records = [record("http://a.org/noise", noise, "application/zip")]
    for n in (1, 2, 3):
        records.append(record(f"http://a.org/{n}", figure_page(f"{n}.png")))
        records.append(record(f"http://a.org/{n}.png", picture_bytes(n, 120, 110), "image/png"))
    path = tmp_path / "one.warc.gz"
    path.write_bytes(gzip.compress(b"".join(records)))
    samples, rejects = take(path, "wit")
    assert [one.captions[0].text for one in samples] == [f"All about {n}.png" for n in (1, 2, 3)]
    assert [one.data for one in samples] == [picture_bytes(n, 120, 110) for n in (1, 2, 3)]
    assert not rejects


def packed_as_one(path, count):
    records = []
    for n in range(count):
        records.append(record(f"http://a.org/{n}", figure_page(f"{n}.png")))
        records.append(record(f"http://a.org/{n}.png", picture_bytes(n, 120, 110), "image/png"))
    path.write_bytes(gzip.compress(b"".join(records), 1))


def test_a_warc_that_is_packed_as_one_is_read_in_steps_that_grow_with_it(tmp_path, monkeypatch):
    warc = pytest.importorskip("fastwarc.warc")
    opened, real = [], warc.ArchiveIterator
    monkeypatch.setattr(warc, "ArchiveIterator", lambda *a, **k: (opened.append(1) or r for r in real(*a, **k)))
    steps = []
    for count in (20, 40):
        packed_as_one(tmp_path / f"{count}.warc.gz", count)
        opened.clear()
        assert [one.data for one in take(tmp_path / f"{count}.warc.gz", "wit")[0]] == [
            picture_bytes(n, 120, 110) for n in range(count)
        ]
        steps.append(len(opened))
    assert steps[1] < 2.2 * steps[0]


def test_a_warc_that_is_packed_as_one_and_cut_says_so(tmp_path):
    pytest.importorskip("fastwarc")
    packed_as_one(tmp_path / "a.warc.gz", 20)
    whole = (tmp_path / "a.warc.gz").read_bytes()
    (tmp_path / "a.warc.gz").write_bytes(whole[: len(whole) // 2])
    samples, rejects = take(tmp_path / "a.warc.gz", "wit")
    assert 5 < len(samples) < 20
    assert "truncated_archive" in reasons(rejects)


def test_pictures_that_two_pages_of_a_warc_show_have_not_moved(tmp_path):
    pytest.importorskip("fastwarc")
    records = [record(f"http://a.org/{n}", figure_page("1.png")) for n in (1, 2)]
    records.append(record("http://a.org/1.png", picture_bytes(1, 120, 110), "image/png"))
    (tmp_path / "a.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    result = panoglot.ingest(str(tmp_path / "a.warc.gz"), str(tmp_path / "x.pano"), extract="wit", quiet=True)
    notes = result.stages[0].notes
    assert not {"moved", "duplicates"} & notes.keys()
    assert len(panoglot.open(str(tmp_path / "x.pano")).images) == 1


def test_a_record_that_says_it_is_longer_than_its_file_is_said_to_be_cut(tmp_path):
    pytest.importorskip("fastwarc")
    one = [record("http://a.org/1", figure_page("1.png")), record("http://a.org/1.png", picture_bytes(1), "image/png")]
    long = record("http://a.org/2", figure_page("1.png")).replace(
        b"response\r\nContent-Length: ", b"response\r\nContent-Length: 9999"
    )
    (tmp_path / "a.warc").write_bytes(b"".join([*one, long, *one]))
    samples, rejects = take(tmp_path / "a.warc", "wit")
    assert (len(samples), reasons(rejects)) == (1, ["truncated_archive"])


@pytest.mark.parametrize("before", ["<div>" * 300, f'<p title="{"a" * 11_000_000}">'])
def test_a_page_that_the_parser_gives_up_on_is_a_reject(tmp_path, before):
    (tmp_path / "cat.png").write_bytes(picture_bytes(1))
    (tmp_path / "a.html").write_bytes(figure_page("cat.png") + before.encode() + figure_page("cat.png"))
    samples, rejects = take(tmp_path / "a.html", "wit")
    assert (samples, reasons(rejects)) == ([], ["bad_html"])


def test_more_pictures_than_a_page_may_have_are_counted(tmp_path):
    (tmp_path / "cat.png").write_bytes(picture_bytes(1))
    (tmp_path / "a.html").write_text('<img src=cat.png alt="a cat here">' * 10_003)
    (left,) = unused(tmp_path / "a.html", "wit")
    assert (left.count, "first 10,000" in left.what) == (3, True)


def test_pages_without_pictures_are_named_where_nothing_came_of_them(tmp_path):
    (tmp_path / "a.html").write_text("<p>nothing here")
    with pytest.raises(UserError, match="1 page without a picture that has a text was not used"):
        panoglot.ingest(str(tmp_path), str(tmp_path / "x.pano"), extract="wit", quiet=True)


def test_extract_builds_a_dataset(warc, tmp_path):
    result = panoglot.ingest(str(warc), str(tmp_path / "x.pano"), extract="lgs", quiet=True)
    data = panoglot.open(str(tmp_path / "x.pano"))
    assert len(data.images) == 2
    assert result.rejected == 4
    assert {row["text"] for row in data.captions.rows(["text"])} >= {"Becher Acme", "Apatit-Ring Acme"}
    with pytest.raises(UserError, match="use wit or lgs"):
        panoglot.ingest(str(warc), str(tmp_path / "y.pano"), extract="witt", quiet=True)
    with pytest.raises(UserError, match="give one of them"):
        panoglot.ingest(str(warc), str(tmp_path / "y.pano"), extract="wit", format="folder", quiet=True)


def test_pages_of_those_who_opted_out_are_not_used(warc, tmp_path):
    (tmp_path / "out.txt").write_text("Shop.org\n")
    with pytest.raises(UserError, match="opted_out 3"):
        panoglot.ingest(
            str(warc), str(tmp_path / "x.pano"), extract="lgs", opt_out=str(tmp_path / "out.txt"), quiet=True
        )


# -- LGS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.paper("lgs", shows="V", case="four records: mug kept; blank title, price N/A, broken picture dropped")
def test_the_validators_of_lgs(tmp_path):
    def record_of(title, price, readable=True):
        return product_fault(Product(title=title, price=price, image="a.jpg"), readable=readable)

    found = [record_of("Blue Mug", "12.50"), record_of(" ", "3"), record_of("Mug", "N/A"), record_of("Mug", "9", False)]
    assert found == [None, "title", "price", "image"]
    # the same through pages: kept and dropped add up to all
    rows = [("Blue Mug", "12.50", "ok.jpg"), (" ", "3", "ok.jpg"), ("Mug", "N/A", "ok.jpg"), ("Mug", "9", "bad.jpg")]
    (tmp_path / "ok.jpg").write_bytes(picture_bytes(1))
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    for n, (title, price, image) in enumerate(rows):
        page = f"""<div itemscope itemtype="https://schema.org/Product"><span itemprop=name>{title}</span>
        <img itemprop=image src={image}><b itemprop=price content="{price}"></b></div>"""
        (tmp_path / f"{n}.html").write_text(page)
    samples, rejects = take(tmp_path, "lgs")
    assert [texts(one) for one in samples] == [[("und", "Blue Mug")]]
    assert reasons(rejects) == ["bad_image", "bad_price", "bad_title"]


def test_titles_and_prices_of_the_world():
    good = ["حلقة فضية", "अंगूठी", "แหวน", "指輪 №5", "Schöne Tasse™ 😀"]
    assert [product_fault(Product(title=t, price="1", image="x")) for t in good] == [None] * len(good)
    bad = ["<b>Mug</b>", "Mug &amp; cup", "12345", "a\x07b", "Mug \ufffd"]
    assert [product_fault(Product(title=t, price="1", image="x")) for t in bad] == ["title"] * len(bad)
    assert [price_of(p) for p in ("CHF 1'299.–", "₹1,29,999", "￥12,000", "12 990 ₽", "€ ")] == [
        1299,
        129999,
        12000,
        12990,
        None,
    ]


def test_a_language_and_kind_that_the_user_says(tmp_path):
    (tmp_path / "1.jpg").write_bytes(picture_bytes(1))
    page = '<figure><img src=1.jpg alt="Paka anayelala"><figcaption>Paka mweusi</figcaption></figure>'
    (tmp_path / "a.html").write_text(page)
    (sample,) = take(tmp_path / "a.html", "wit", lang="sw", kind="dense", min_side=1)[0]
    assert [(c.lang, c.kind) for c in sample.captions] == [("sw", "dense")] * 2
    (tmp_path / "b.html").write_text(f"<html lang=he>{page}")  # what the page says counts more
    assert {c.lang for c in take(tmp_path / "b.html", "wit", lang="sw")[0][0].captions} == {"he"}
    with pytest.raises(UserError, match="kind of caption"):
        take(tmp_path / "a.html", "lgs", kind="prose")


def test_caption_styles_hold_only_what_they_name():
    product = Product("Acme Mug", "Acme", "A long text.", ["blue"], path=["Home", "Mugs"])
    assert captions_of(product, ["title"]) == {"title": "Acme Mug"}  # the brand stands there already
    assert captions_of(product, ["description", "taxonomy"]) == {"description": "blue", "taxonomy": "Home > Mugs"}
    assert captions_of(Product("Mug")) == {"title": "Mug"}


def test_open_graph_and_hostile_json(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(1))
    meta = {"og:type": "product", "og:title": "כוס", "og:image": "a.jpg", "product:price:amount": "9"}
    tags = "".join(f'<meta property="{k}" content="{html.escape(v)}">' for k, v in meta.items())
    deep = "[" * 100_000
    (tmp_path / "a.html").write_text(f'<html lang=he><script type="application/ld+json">{deep}</script>{tags}')
    samples, rejects = take(tmp_path, "lgs")
    assert [texts(one) for one in samples] == [[("he", "כוס")]]
    assert rejects == []
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (2, 2)).save(buffer, "PNG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[:30])
    assert reasons(take(tmp_path, "lgs")[1]) == ["bad_image"]


def test_a_link_that_is_no_address_costs_nothing(tmp_path):
    (tmp_path / "0.png").write_bytes(picture_bytes(0, 200, 200, "PNG"))
    figure = "<figure><img src=0.png><figcaption>A small red disc before waves</figcaption></figure>"
    (tmp_path / "p.html").write_text(f'<html lang=en><link rel=canonical href="http://[x/">{figure}')
    samples, rejects = take(tmp_path, format="wit")
    assert rejects == []
    assert texts(samples[0]) == [("en", "A small red disc before waves")]


def test_products_beyond_what_is_taken_of_a_page_are_counted(tmp_path):
    (tmp_path / "1.png").write_bytes(picture_bytes(1, format="PNG"))
    variants = [{"@type": "Product", "sku": f"n{n}", "offers": {"price": "5"}} for n in range(1003)]
    group = {"@type": "ProductGroup", "name": "كوب", "image": "1.png", "hasVariant": variants}
    (tmp_path / "a.html").write_text(f'<script type="application/ld+json">{json.dumps(group)}</script>')
    assert len(take(tmp_path, "lgs")[0]) == 1000
    (left,) = unused(tmp_path, "lgs")
    assert left.line().startswith("3 products beyond the first 1,000 of a page were not used")


def test_a_price_that_no_number_holds_is_none():
    assert [price_of(one) for one in ("1e999", "USD 1e999", "1E9", "-1e5x", "2e2", "٥ ريال")] == [
        None, None, None, 1.0, 200.0, 5.0,
    ]  # fmt: skip
    assert product_fault(Product(title="Mug", price="1e999", image="1.png")) == "price"
