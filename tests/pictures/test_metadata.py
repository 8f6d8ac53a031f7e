"""What files say beside their pictures: read, bounded, kept out of what leaves the house."""

import io
import json
import random
import struct
import time
import warnings

import PIL.Image
import PIL.PngImagePlugin
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.pictures import Metadata, read_header, read_metadata, without_metadata
from panoglot.retrieval import Searcher
from panoglot.table import image_id

RDF = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" '
    'xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/" {0}>{1}</rdf:Description></rdf:RDF></x:xmpmeta>'
)
ALT = "".join(
    f'<rdf:li xml:lang="{lang}">{text}</rdf:li>'
    for lang, text in (
        ("x-default", "A bee"), ("en", "A bee"), ("de", "Eine Biene"), ("ja", "蜂"), ("ar", "نحلة على زهرة"),
        ("hi", "मधुमक्खी फूल पर"), ("th", "ผึ้งบนดอกไม้"), ("sw", "Nyuki juu ya ua"), ("zh-Hant", "蜜蜂"),
    )
)  # fmt: skip
XMP = RDF.format(
    'photoshop:City="東京" photoshop:Country="日本"',
    f"<Iptc4xmpCore:AltTextAccessibility><rdf:Alt>{ALT}</rdf:Alt></Iptc4xmpCore:AltTextAccessibility>"
    "<dc:subject><rdf:Bag><rdf:li>bee</rdf:li><rdf:li>زهرة</rdf:li><rdf:li>bee</rdf:li></rdf:Bag></dc:subject>",
)
SERIAL, OWNER = "SN-483-1122", "Ada Owner"


def exif(*, private=False, orientation=1, **texts):
    block = PIL.Image.Exif()
    block[0x0112] = orientation
    for tag, text in ((0x010E, texts.get("text")), (0x010F, texts.get("make")), (0x0110, texts.get("camera"))):
        if text is not None:
            block[tag] = text
    inner = block.get_ifd(0x8769)
    if "taken" in texts:
        inner[0x9003], inner[0x9011] = texts["taken"], texts.get("zone", "+00:00")
    if private:
        inner[0xA431], inner[0xA430] = SERIAL, OWNER
        gps = block.get_ifd(0x8825)
        gps[1], gps[2], gps[3], gps[4] = "N", (48.0, 8.0, 13.0), "E", (11.0, 34.0, 31.0)
    return block


def picture(format="JPEG", block=None, xmp=None, seed=0, **options):
    made = PIL.Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    made.putpixel((seed % 64, seed // 64), (255, 0, 0))
    if xmp is not None and format == "PNG":
        options["pnginfo"] = PIL.PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif xmp is not None:
        options["xmp"] = xmp.encode()
    if block is not None:
        options["exif"] = block
    buffer = io.BytesIO()
    made.save(buffer, format, **options)
    return buffer.getvalue()


def iptc(*records, utf8=True):
    """A JPEG with an IPTC block."""
    said = b"\x1c\x01\x5a" + struct.pack(">H", 3) + b"\x1b%G" if utf8 else b""
    for number, raw in records:
        said += b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(raw)) + raw
    resource = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(said)) + said
    block = b"Photoshop 3.0\0" + resource + b"\0" * (len(said) % 2)
    data = picture()
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + data[2:]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_captions_in_their_languages_words_places_and_times(format):
    block = exif(
        make="Canon", camera="EOS R5", taken="2024:02:03 04:05:06", zone="+02:00", private=True, text="ดอกไม้".encode()
    )
    said = read_metadata(picture(format, block, XMP))
    assert {lang: text for text, lang in said.captions} == {
        "en": "A bee", "de": "Eine Biene", "ja": "蜂", "ar": "نحلة على زهرة", "hi": "मधुमक्खी फूल पर",
        "th": "ผึ้งบนดอกไม้", "sw": "Nyuki juu ya ua", "zh-Hant": "蜜蜂", "und": "ดอกไม้",
    }  # fmt: skip
    assert said.keywords == ["bee", "زهرة"]
    assert said.facts == {"city": "東京", "country": "日本", "make": "Canon", "camera": "EOS R5"}
    assert said.taken == 1706925906  # 02:05:06 UTC
    assert (said.has_gps, said.private) == (True, True)
    everything = json.dumps([said.context(), said.captions], ensure_ascii=False)
    assert SERIAL not in everything
    assert OWNER not in everything
    assert "48" not in everything.replace("2024", "")


def test_iptc():
    records = (
        (120, "Ein Känguru.".encode()), (25, b"zoo"), (25, "動物".encode()), (90, b"Bonn"), (55, b"20240131"),
        (60, b"120000+0100"),
    )  # fmt: skip
    said = read_metadata(iptc(*records))
    assert said.captions == [("Ein Känguru.", "und")]
    assert (said.keywords, said.facts, said.taken) == (["zoo", "動物"], {"city": "Bonn"}, 1706698800)
    assert read_metadata(iptc((120, "Käfig".encode("latin-1")), utf8=False)).captions == [("Käfig", "und")]


def test_what_cameras_write_into_every_picture_is_no_caption():
    for text in ("OLYMPUS DIGITAL CAMERA", "SONY DSC", "Exif_JPEG_PICTURE", "  ", "\0\0", "IMG_0001"):
        assert read_metadata(picture(block=exif(text=text))).captions == []


def test_nothing_there_is_nothing():
    assert read_metadata(picture()).context() == {}
    assert not read_metadata(picture()).private
    assert read_metadata(b"") == read_metadata(b"not a picture")


# -- hostile -----------------------------------------------------------------------------------------------------------


def test_hostile_blocks_are_bounded_and_safe():
    laughs = (
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>'
    )
    deep = '<x:xmpmeta xmlns:x="adobe:ns:meta/">' + "<a>" * 9000 + "</a>" * 9000 + "</x:xmpmeta>"
    huge = RDF.format("", f"<dc:title><rdf:Alt><rdf:li>{'x' * 400_000}</rdf:li></rdf:Alt></dc:title>")
    many = RDF.format("", f"<dc:subject><rdf:Bag>{'<rdf:li>w</rdf:li>' * 9000}</rdf:Bag></dc:subject>")
    codes = "\x1b]0;owned\x07\x1b[31mred\u202e\u0000\r\nline"
    started = time.monotonic()
    for xmp in (laughs, deep, huge, many, "<", "\0" * 1000, "x" * 600_000):
        for format in ("PNG", "WEBP"):
            said = read_metadata(picture(format, xmp=xmp))
            assert all(len(text) <= 4000 for text, _ in said.captions)
            assert len(said.keywords) <= 100
    said = read_metadata(picture(block=exif(text=codes, make=codes, taken="9999:99:99 99:99:99")))
    assert said.taken is None
    ((text, _),) = said.captions
    assert text.isascii() or "\u202e" in text
    assert not any(ord(c) < 32 or c == "\x7f" for c in text + said.facts["make"])
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_damaged_files_raise_nothing(format):
    whole = picture(
        format, exif(text="x", private=True, taken="2024:01:01 00:00:00"), None if format == "TIFF" else XMP
    )
    draw = random.Random(7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(150):
            data = bytearray(whole[: draw.choice([len(whole), draw.randrange(len(whole))])])
            for _ in range(draw.randrange(1, 12)):
                if data:
                    data[draw.randrange(len(data))] = draw.randrange(256)
            assert isinstance(read_metadata(bytes(data)), Metadata)
            bare = without_metadata(bytes(data))
            assert bare is None or len(bare) <= len(data) + 64  # what says how it lies


# -- what leaves the house ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_without_metadata_no_pixel_changes(format, orientation):
    data = picture(format, exif(private=True, text="x", orientation=orientation), XMP, icc_profile=b"a profile" * 20)
    bare = without_metadata(data + (b"behind the end" + SERIAL.encode() if format == "JPEG" else b""))
    assert SERIAL.encode() not in bare
    assert not read_metadata(bare).private
    assert read_header(bare).orientation == orientation
    before, after = (PIL.Image.open(io.BytesIO(one)) for one in (data, bare))
    assert before.tobytes() == after.tobytes()
    assert after.info["icc_profile"] == b"a profile" * 20


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    shot = exif(make="Canon", camera="EOS R5", taken="2024:02:03 04:05:06", private=True, orientation=6)
    (folder / "bee.jpg").write_bytes(picture("JPEG", shot, XMP, seed=1))
    for name in ("bee", "turned", "plain", "bare"):
        (folder / f"{name}.en.txt").write_text("A picture.")
    (folder / "turned.webp").write_bytes(picture("WEBP", shot, seed=2, lossless=True))
    (folder / "plain.jpg").write_bytes(picture(block=exif(make="Nikon", taken="2023:01:01 00:00:00"), seed=3))
    (folder / "bare.png").write_bytes(picture("PNG", seed=4))
    return panoglot.ingest(str(folder), str(tmp_path / "x.pano"), quiet=True).dataset


def test_ingest_makes_captions_context_and_filters(dataset):
    key = dataset.images.rows(["image_id"], "ends_with(uri, 'bee.jpg')")[0]["image_id"]
    captions = {c.text: (c.lang, c.kind) for c in dataset.captions_of([key])[key]}
    assert captions["نحلة على زهرة"] == ("ar", "alt")
    assert captions["蜜蜂"] == ("zh-Hant", "alt")
    assert captions["A picture."] == ("en", "human")
    row = dataset.images.rows(["time", "context"], f"image_id = '{key}'")[0]
    assert row["time"] == 1706933106
    assert json.loads(row["context"])["photo"] == {
        "city": "東京", "country": "日本", "make": "Canon", "camera": "EOS R5", "keywords": ["bee", "زهرة"],
        "taken": "2024-02-03T04:05:06+00:00",
    }  # fmt: skip
    with Searcher(dataset) as searcher:
        for where, wanted in (
            ("make='Canon'", ["bee.jpg", "turned.webp"]), ("make!='Canon'", ["bare.png", "plain.jpg"]),
            ("camera like 'EOS%' and keyword='زهرة'", ["bee.jpg"]), ("keyword in ('bee', 'wasp')", ["bee.jpg"]),
            ("gps='yes'", ["bee.jpg", "turned.webp"]), ("not gps='yes'", ["bare.png", "plain.jpg"]),
            ("city='東京' and country='日本'", ["bee.jpg"]), ("time>'2024-01-01'", ["bee.jpg", "turned.webp"]),
            ("time<'2024-01-01' and make not in ('Canon')", ["plain.jpg"]), ("keyword='x'' or ''1''=''1'", []),
        ):  # fmt: skip
            hits = searcher.search("picture", where=where, k=9)
            assert sorted(hit.uri.rpartition("/")[2] for hit in hits) == wanted, where
    with pytest.raises(UserError, match="knows no 'serial'"):
        panoglot.search(dataset, "bee", where="serial='1'")


def test_an_export_says_nothing_of_places_and_owners_unless_it_is_asked(dataset, tmp_path):
    secrets = (SERIAL.encode(), OWNER.encode())
    for to in ("jsonl", "webdataset", "parquet"):
        done = panoglot.export(dataset, tmp_path / to, to=to)
        files = [path.read_bytes() for path in (tmp_path / to).rglob("*") if path.is_file()]
        assert not any(secret in data for data in files for secret in secrets)
        assert any("without what their files say" in note for note in done["notes"])
    again = panoglot.ingest(str(tmp_path / "webdataset"), str(tmp_path / "y.pano"), quiet=True).dataset
    assert len(again.images) == 4
    assert again.facts.count("kind = 'gps'") == 0
    where = "ends_with(uri, 'turned.webp')"
    turned = json.loads(again.images.rows(["context"], where)[0]["context"])
    assert turned["converted_from"]["image_id"] == dataset.images.rows(["image_id"], where)[0]["image_id"]
    ids = {row["image_id"] for row in again.images.rows(["image_id"])}
    block = exif(make="Nikon", taken="2023:01:01 00:00:00")  # nobody's secret: those bytes stay
    assert {image_id(picture(block=block, seed=3)), image_id(picture("PNG", seed=4))} <= ids
    panoglot.export(dataset, tmp_path / "original", to="jsonl", image="original")
    files = [path.read_bytes() for path in (tmp_path / "original").rglob("*") if path.is_file()]
    assert any(SERIAL.encode() in data for data in files)


def test_a_page_says_nothing_of_them(dataset, tmp_path):
    page = panoglot.report(dataset, output=str(tmp_path / "r.html")).read_bytes()
    shown = str(panoglot.show(dataset, "bee.jpg"))
    for secret in (SERIAL, OWNER):
        assert secret.encode() not in page
        assert secret not in shown
