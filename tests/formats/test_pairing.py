"""Which text belongs to which picture, and what names say of texts: the same in folders, archives, tables and JSON."""

import json
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from panoglot.formats import bare_language, doubtful_role, is_running_text, label_role, pair, text_role
from tests.conftest import picture_bytes
from tests.formats.samples import take, texts, unused, write_tar

PAIRS = [
    # pictures, texts -> picture to (text, language); texts of none
    (["w.2024.01.jpg", "w.2024.02.jpg"], ["w.2024.01.txt", "w.2024.02.txt"],
     {"w.2024.01.jpg": [("w.2024.01.txt", None)], "w.2024.02.jpg": [("w.2024.02.txt", None)]}, []),
    (["w.2024.01.jpg"], ["w.2024.01.sw.txt", "w.2024.04.txt"], {"w.2024.01.jpg": [("w.2024.01.sw.txt", "sw")]},
     ["w.2024.04.txt"]),
    (["a.jpg"], ["a.de_DE.UTF-8.txt", "a.ca@valencia.txt", "a.pt_BR.txt", "a.sr_RS@latin.txt", "a.de_AT@euro.txt"],
     {"a.jpg": [("a.de_DE.UTF-8.txt", "de-DE"), ("a.ca@valencia.txt", "ca-valencia"), ("a.pt_BR.txt", "pt-BR"),
                ("a.sr_RS@latin.txt", "sr-Latn-RS"), ("a.de_AT@euro.txt", "de-AT")]}, []),
    (["a.jpg"], ["a.bak.txt", "a.png.txt", "a.tif.txt", "a.bmp.txt", "a.tmp.txt", "a.old.txt"], {},
     ["a.bak.txt", "a.png.txt", "a.tif.txt", "a.bmp.txt", "a.tmp.txt", "a.old.txt"]),
    (["a.png", "a.bmp"], ["a.png.txt", "a.png.th.txt"], {"a.png": [("a.png.txt", None), ("a.png.th.txt", "th")]}, []),
    (["A.JPG"], ["A.jpg.txt", "A.txt"], {"A.JPG": [("A.jpg.txt", None), ("A.txt", None)]}, []),
    (["k.1.jpg", "k.2.jpg"], ["k.txt", "k.hi.json"],
     {"k.1.jpg": [("k.txt", None), ("k.hi.json", "hi")], "k.2.jpg": [("k.txt", None), ("k.hi.json", "hi")]}, []),
    (["x.y/k.jpg", "x/k.jpg"], ["x.y/k.id.txt", "x/l.txt"], {"x.y/k.jpg": [("x.y/k.id.txt", "id")]}, ["x/l.txt"]),
    (["a.jpg"], ["a.1.txt", "a.2.txt", "a.caption_ar.txt"],
     {"a.jpg": [("a.1.txt", None), ("a.2.txt", None), ("a.caption_ar.txt", "ar")]}, []),
]  # fmt: skip


@pytest.mark.parametrize(("pictures", "names", "expected", "left"), PAIRS)
def test_a_text_belongs_to_the_picture_whose_name_it_begins_with(pictures, names, expected, left):
    found, orphans = pair(pictures, names)
    assert {name: [(text, role.lang) for text, role in ours] for name, ours in found.items()} == expected
    assert orphans == left


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_meet_in_any_normal_form(tmp_path, forms):
    for n, name in enumerate(["Café", "Über", "ガラス", "หน้าต่าง", "नीला", "أزرق"]):
        picture, text = (unicodedata.normalize(form, name) for form in forms)
        (tmp_path / f"{picture}.jpg").write_bytes(picture_bytes(n))
        (tmp_path / f"{text}.de.txt").write_text(f"Bild {n}", encoding="utf-8")
    samples, rejects = take(tmp_path)
    assert sorted(texts(s)[0] for s in samples) == [("de", f"Bild {n}") for n in range(6)]
    assert (rejects, unused(tmp_path)) == ([], [])


def test_a_row_finds_its_picture_in_any_normal_form(tmp_path):
    name = "Müller straße.jpg"
    (tmp_path / unicodedata.normalize("NFD", name)).write_bytes(picture_bytes(1))
    (tmp_path / "rows.csv").write_text(f"image,caption\n{unicodedata.normalize('NFC', name)},Eine Straße\n", "utf-8")
    (sample,), rejects = take(tmp_path / "rows.csv")
    assert (texts(sample), rejects) == ([("und", "Eine Straße")], [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("caption", (None, False)),
        ("caption_1", (None, False)),
        ("caption2", (None, False)),
        ("short_caption", (None, False)),
        ("longCaption", (None, False)),
        ("caption_de", ("de", False)),
        ("caption_pt_BR", ("pt-BR", False)),
        ("caption_zh_Hant_TW", ("zh-Hant-TW", False)),
        ("caption_ca@valencia", ("ca-valencia", False)),
        ("text[zh-TW]", ("zh-Hant", False)),
        ("en_caption", ("en", False)),
        ("altText", (None, True)),
        ("alt_text_sw", ("sw", True)),
        ("caption_id", None),
        ("caption_len", None),
        ("is_caption", None),
        ("has_caption", None),
        ("num_captions", None),
        ("caption_score", None),
        ("ocr_text", None),
        ("filename", None),
        ("title", None),
    ],
)
def test_names_of_columns(name, expected):
    role = text_role(name)
    assert (role and (role.lang, role.alt)) == expected


def test_names_that_leave_doubt():
    assert doubtful_role("caption_id").lang == "id"
    assert doubtful_role("caption_llava").lang is None
    assert doubtful_role("image_id") is None
    assert [bare_language(name) for name in ("de", "zh-Hant", "pt_BR", "new", "width", "tag")] == [
        "de", "zh-Hant", "pt-BR", None, None, None,
    ]  # fmt: skip
    assert [label_role(name) and label_role(name).lang for name in ("fil", "quy", "bak", "llava", "cap")] == [
        "fil", "quy", None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["A dog runs.", "Two cats"], True),
        (["กลุ่มเด็กเล่นน้ำ"], True),
        (["猫が寝ている"], True),
        (["قطة تنام على الأريكة"], True),
        (["बिल्ली सो रही है"], True),
        (["2匹の猫"], True),
        (["https://example.org/a b", "x"], False),
        (["3fa85f64-5717-4562-b3fc-2c963f66afa6"], False),
        (["2024-05-01 10:00:00"], False),
        (["images/a.jpg"], False),
        (["CC0"], False),
    ],
)
def test_what_reads_like_text(values, expected):
    assert is_running_text(values) is expected


# -- the same names in a folder, an archive, a table, JSON -------------------------------------------------------------

IDS = {"caption_de": "Ein Hund läuft.", "caption_fr": "Un chien court.", "caption_id": "Seekor anjing berlari.",
       "caption_ca@valencia": "Un gos corre."}  # fmt: skip
EXPECTED = [("ca-valencia", "Un gos corre."), ("de", "Ein Hund läuft."), ("fr", "Un chien court."),
            ("id", "Seekor anjing berlari.")]  # fmt: skip


def test_caption_id_beside_languages_is_indonesian_and_a_number_is_an_id(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(0))
    (tmp_path / "a.json").write_text(json.dumps(IDS))
    tables = {"r.jsonl": json.dumps({"image": "a.jpg", **IDS})}
    tables["r.csv"] = "image," + ",".join(IDS) + "\na.jpg," + ",".join(IDS.values())
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
    write_tar(tmp_path / "r.tar", [("a.jpg", picture_bytes(0)), ("a.json", json.dumps(IDS).encode())])
    pq.write_table(pa.table({"image": [picture_bytes(0)], **{k: [v] for k, v in IDS.items()}}), tmp_path / "r.parquet")
    for source in (tmp_path / "a.jpg", *(tmp_path / f"r.{kind}" for kind in ("jsonl", "csv", "tar", "parquet"))):
        (sample,), rejects = take(source)
        assert (sorted(texts(sample)), rejects) == (EXPECTED, []), source
        assert sample.context in ({}, {"file": "a.jpg"}), source
    number = {**IDS, "caption_id": "83a1f2c9"}
    (tmp_path / "a.json").write_text(json.dumps(number))
    (tmp_path / "n.csv").write_text("image," + ",".join(number) + "\na.jpg," + ",".join(number.values()))
    for source in (tmp_path / "a.jpg", tmp_path / "n.csv"):
        (sample,), _ = take(source)
        assert sorted(texts(sample)) == EXPECTED[:3], source
        assert sample.context["caption_id"] == "83a1f2c9"


LABELS = ["id", "ca@valencia", "zh_TW", "de_DE.UTF-8", "sr_RS@latin"]
TAGS = ["ca-valencia", "de-DE", "id", "sr-Latn-RS", "zh-Hant"]


def test_languages_in_names_are_the_same_in_a_folder_and_in_an_archive(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "p000.jpg").write_bytes(picture_bytes(0))
    for label in LABELS:
        (folder / f"p000.{label}.txt").write_text(label)
    members = [("p000.jpg", picture_bytes(0)), *((f"p000.{label}.txt", label.encode()) for label in LABELS)]
    write_tar(tmp_path / "a.tar", members)
    for source in (folder, tmp_path / "a.tar"):
        (sample,), _ = take(source)
        assert sorted(lang for lang, _ in texts(sample)) == TAGS


def test_texts_of_no_picture_are_named(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    names = ["a.bak.txt", "a.png.txt", "lonely.txt", "b.de.txt"]
    (folder / "a.jpg").write_bytes(picture_bytes(0))
    for name in names:
        (folder / name).write_text("text")
    write_tar(tmp_path / "a.tar", [("a.jpg", picture_bytes(0)), *((name, b"text") for name in names)])
    for source in (folder, tmp_path / "a.tar"):
        (sample,), rejects = take(source)
        assert (list(sample.captions), rejects) == ([], [])
        (one,) = unused(source)
        assert (one.count, sorted(one.names)) == (4, sorted(names))
    assert unused(folder)[0].line().startswith("4 text files of no picture were not used: a.bak.txt, ")
