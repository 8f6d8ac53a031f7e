"""A folder of pictures with texts beside them."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from panoglot.cli import main
from panoglot.errors import UserError
from panoglot.formats import Unused, find_format, folder, read_part
from tests.conftest import picture_bytes
from tests.formats.samples import reasons, take, texts, unused


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    (root / "sub" / "deep").mkdir(parents=True)
    for n, name in enumerate(["b.jpg", "a.png", "sub/c.JPG", "sub/deep/d.jpeg", ".hidden.jpg", "sub/.git.png"]):
        (root / name).write_bytes(picture_bytes(n))
    (root / "notes.md").write_text("not a picture")
    return root


def test_recursive_sorted_and_only_pictures(photos):
    samples, rejects = take(photos)
    names = [os.path.relpath(s.uri, photos) for s in samples]
    assert names == ["a.png", "b.jpg", "sub/c.JPG", "sub/deep/d.jpeg"]
    assert rejects == []
    assert samples[0].data == picture_bytes(1)


def test_a_file_without_a_suffix_is_a_picture_when_it_begins_like_one(tmp_path):
    for n, name in enumerate(["0f3a", "8c-21", "b.v2"]):  # as caches and dumps name them
        (tmp_path / name).write_bytes(picture_bytes(n, format=("JPEG", "PNG", "WEBP")[n]))
    (tmp_path / "0f3a.th.txt").write_text("แมวนอนอยู่บนโซฟา")
    (tmp_path / "Makefile").write_text("all:")
    (tmp_path / "empty").write_bytes(b"")
    samples, rejects = take(tmp_path)
    assert [os.path.basename(s.uri) for s in samples] == ["0f3a", "8c-21"]
    assert (texts(samples[0]), rejects) == ([("th", "แมวนอนอยู่บนโซฟา")], [])
    (told,) = unused(tmp_path)
    assert told.line().startswith("3 files of other kinds were not used: Makefile, b.v2, empty")


def test_every_file_that_is_not_used_is_named_by_its_kind(tmp_path):
    for name in ("a.jpg", "sub/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture_bytes(ord(name[-5])))
    files = "captions.xlsx more.zip sub/more.7z meta/rows.csv meta/all.json film.mp4 c.txt p.html w.warc.gz"
    for name in files.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    said = {told.what: set(told.names) for told in unused(tmp_path)}
    assert sorted(said.values(), key=min) == [
        {"c.txt"},
        {"captions.xlsx"},
        {"film.mp4"},
        {"meta/all.json", "meta/rows.csv"},
        {"more.zip", "sub/more.7z"},
        {"p.html", "w.warc.gz"},
    ]
    for name in ("p.html", "w.warc.gz"):
        with pytest.raises(UserError, match=rf"holds web pages: .*{name} -o X.pano --extract wit "):
            find_format(tmp_path / name)
    with pytest.raises(UserError, match=r"unzip .*more\.zip -d .*more"):
        find_format(tmp_path / "more.zip")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_text_with_a_byte_order_mark_is_read(tmp_path, encoding):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(1))
    mark = "\ufeff" if encoding.endswith("be") else ""
    (tmp_path / "a.ru.txt").write_bytes((mark + "Красная машина у дома.").encode(encoding))
    (tmp_path / "a.json").write_bytes((mark + '{"caption_hi": "एक लाल गाड़ी"}').encode(encoding))
    samples, rejects = take(tmp_path)
    assert ([sorted(texts(s)) for s in samples], rejects) == (
        [[("hi", "एक लाल गाड़ी"), ("ru", "Красная машина у дома.")]],
        [],
    )


def test_a_text_in_another_encoding_is_a_reject_that_says_what_to_do(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(1))
    (tmp_path / "a.txt").write_bytes("Ein Mädchen".encode("cp1252"))
    samples, (bad,) = take(tmp_path)
    assert (len(samples), bad.reason) == (1, "bad_encoding")
    assert "save it as UTF-8 (iconv -f" in bad.message


def test_case_makes_no_difference_where_one_name_is_meant(tmp_path):
    for n, name in enumerate(["TURM.JPG", "b.jpg", "B.jpg"]):
        (tmp_path / name).write_bytes(picture_bytes(n))
    for name in ("turm.txt", "Turm.DE.txt", "B.txt"):
        (tmp_path / name).write_text(f"Der Turm von {name}")
    samples, _ = take(tmp_path, lang="de")
    said = {os.path.basename(s.uri): [text for _, text in texts(s)] for s in samples}
    assert said["TURM.JPG"] == ["Der Turm von Turm.DE.txt", "Der Turm von turm.txt"]
    assert (said["B.jpg"], said["b.jpg"]) == (["Der Turm von B.txt"], [])


def test_one_file_is_a_source(photos):
    (photos / "b.txt").write_text("Ein Bild")
    samples, _ = take(photos / "b.jpg", lang="de")
    assert [texts(s) for s in samples] == [[("de", "Ein Bild")]]


def test_lines_and_the_tuxpaint_form(photos):
    (photos / "a.txt").write_bytes(b"\xef\xbb\xbfOne cat.\r\n\r\nTwo cats.\r\n")
    (photos / "b.txt").write_text(
        "A cat.\nar.utf8=قطة.\npt_br.utf8=Um gato.\nzh_TW.utf8=貓。\nsr@latin.utf8=Mačka.\n"
        "ca@valencia.utf8=Un gat.\nhi.utf8=बिल्ली\nth.utf8=แมว\nsw.utf8=\nxxxxx.utf8=?\n",
        encoding="utf-8",
    )
    samples, rejects = take(photos)
    assert rejects == []
    assert texts(samples[0]) == [("und", "One cat."), ("und", "Two cats.")]
    assert texts(samples[1]) == [
        ("en", "A cat."),
        ("ar", "قطة."),
        ("pt-BR", "Um gato."),
        ("zh-Hant", "貓。"),
        ("sr-Latn", "Mačka."),
        ("ca-valencia", "Un gat."),
        ("hi", "बिल्ली"),
        ("th", "แมว"),
        ("und", "xxxxx.utf8=?"),
    ]
    assert {(c.kind, c.recipe) for c in samples[1].captions} == {("human", "human")}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("One", [("und", "One")]),
        (["One", "Two", ""], [("und", "One"), ("und", "Two")]),
        ({"caption": "One"}, [("und", "One")]),
        ({"captions": ["One", {"text": "Eins", "lang": "de"}]}, [("und", "One"), ("de", "Eins")]),
        ({"text": "Eins", "language": "de"}, [("de", "Eins")]),
        (
            {"de": "Eins", "en": ["One", "A one"], "zh-TW": "一"},
            [("de", "Eins"), ("en", "One"), ("en", "A one"), ("zh-Hant", "一")],
        ),
        ({"caption_de": "Eins", "caption[th]": "หนึ่ง", "caption_id": 7}, [("de", "Eins"), ("th", "หนึ่ง")]),
        ({"caption": {"ja": "一", "sw": "moja"}}, [("ja", "一"), ("sw", "moja")]),
        ({"sentences": [{"raw": "One"}, {"raw": "A one"}]}, [("und", "One"), ("und", "A one")]),
        ({"title": "no caption", "n": 3}, []),
        ({"caption": None, "lang": 5}, []),
        (7, []),
    ],
)
def test_shapes_of_json(photos, value, expected):
    (photos / "a.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    sample = take(photos)[0][0]
    assert texts(sample) == expected


def test_json_alt_text_is_from_the_web_and_the_rest_is_context(photos):
    value = {"alt": "Ein Alt-Text", "lang": "de", "page_title": "Titel", "size": [1, 2], "nan": float("nan")}
    (photos / "a.png.json").write_text(json.dumps(value))
    sample = take(photos)[0][0]
    assert [(c.kind, c.recipe, c.lang) for c in sample.captions] == [("alt", "web", "de")]
    assert sample.context == {"page_title": "Titel", "size": [1, 2]}
    assert [c.kind for c in take(photos, kind="human")[0][0].captions] == ["human"]


def test_several_texts_and_shared_stems(photos):
    (photos / "a.jpg").write_bytes(picture_bytes(20))  # a.jpg and a.png share a.txt
    (photos / "a.psd").write_text("8BPS")
    (photos / "a.txt").write_text("shared")
    (photos / "a.jpg.txt").write_text("only the jpg")
    (photos / "a.de.txt").write_text("geteilt")
    (photos / "lonely.txt").write_text("no picture")
    samples, rejects = take(photos)
    found = {os.path.basename(s.uri): sorted(texts(s)) for s in samples}
    assert found["a.png"] == [("de", "geteilt"), ("und", "shared")]
    assert found["a.jpg"] == [("de", "geteilt"), ("und", "only the jpg"), ("und", "shared")]
    assert [(os.path.basename(r.item), r.reason) for r in rejects] == [("a.psd", "unsupported_format")]
    assert all(not s.captions for s in take(photos, captions=False)[0])


def test_a_bad_text_costs_the_text_only(photos):
    (photos / "a.txt").write_bytes("Žluťoučký".encode("iso-8859-2"))
    (photos / "b.json").write_text("{broken")
    (photos / "sub/c.json").write_text("[" * 100_000)
    (photos / "sub/deep/d.txt").write_bytes(b"x" * (2**20 + 1))
    samples, rejects = take(photos)
    assert len(samples) == 4
    assert reasons(rejects) == ["bad_encoding", "bad_json", "bad_json", "too_many_bytes"]
    assert {os.path.basename(r.item) for r in rejects} == {"a.txt", "b.json", "c.json", "d.txt"}


def test_links_loops_and_devices(photos, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o.jpg").write_bytes(picture_bytes(30))
    (photos / "loop").symlink_to(photos)
    (photos / "sub" / "up").symlink_to("..")
    (photos / "link.jpg").symlink_to("b.jpg")  # inside: read
    (photos / "secret.jpg").symlink_to("/etc/passwd")
    (photos / "dangling.jpg").symlink_to("nowhere.jpg")
    (photos / "away").symlink_to(outside)
    (outside / "text").write_text("A dog.")
    (photos / "b.txt").symlink_to(outside / "text")
    (told,) = (one for one in unused(photos) if "link" in one.what)
    assert told.line().startswith("1 link out of the folder that may be texts was not used: b.txt")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "dir.jpg").mkdir()
    samples, rejects = take(photos)
    assert sorted(os.path.basename(s.uri) for s in samples) == ["a.png", "b.jpg", "c.JPG", "d.jpeg", "link.jpg"]
    assert {os.path.basename(r.item): r.reason for r in rejects} == {
        "secret.jpg": "outside_folder",
        "away": "outside_folder",
        "dangling.jpg": "missing_file",
        "pipe.jpg": "not_a_file",
    }
    (outside / "back").symlink_to(photos)  # a loop through the outside
    samples, rejects = take(photos, follow_symlinks=True)
    assert [s.uri for s in samples if s.uri.endswith("away/o.jpg")]
    assert len(samples) < 10


def test_odd_names(photos):
    names = ["a b.jpg", "ไทย.jpg", "عربي.jpg", "new\nline.jpg", "quote'\".jpg", "%41.jpg", "a{1,2}.jpg", "[x].jpg"]
    for n, name in enumerate(names):
        (photos / name).write_bytes(picture_bytes(40 + n))
    with open(os.fsencode(photos) + b"/\xff\xfe.jpg", "wb") as file:
        file.write(picture_bytes(60))
    samples, rejects = take(photos)
    assert rejects == []
    assert len(samples) == 4 + len(names) + 1
    assert all(s.uri.encode() for s in samples)
    assert len({s.uri for s in samples}) == len(samples)


def test_an_unreadable_folder_is_said(photos, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    samples, rejects = take(photos)
    assert len(samples) == 3
    assert [(os.path.basename(r.item), r.reason) for r in rejects] == [("deep", "unreadable")]


def test_a_very_deep_folder(tmp_path):
    path = tmp_path
    for _ in range(600):
        path = path / "d"
    os.makedirs(path)
    (path / "a.jpg").write_bytes(picture_bytes(1))
    assert len(take(tmp_path)[0]) == 1


def test_no_pictures_is_a_mistake(tmp_path):
    (tmp_path / "x.md").write_text("")
    with pytest.raises(UserError, match=r"has no pictures \(.*\), but 1 file of other kinds \(x.md\)\.$"):
        take(tmp_path)
    (tmp_path / "a.txt").write_text("A dog.\n")
    (tmp_path / "z.txt").write_text("犬/一.png\nb.png\n")
    with pytest.raises(UserError) as caught:
        take(tmp_path)
    line = str(caught.value)
    assert "), but 1 file of other kinds (x.md), 2 text files of no picture (a.txt, z.txt); a list of" in line
    assert line.endswith(f"panoglot ingest {tmp_path / 'z.txt'} -o X.pano")


def test_parts_are_small_and_a_new_file_changes_few(tmp_path):
    for n in range(1500):
        (tmp_path / f"{n:05d}.jpg").write_bytes(b"x")
    before = list(folder.parts(str(tmp_path)))
    assert max(p.count for p in before) <= 256
    assert sum(p.count for p in before) == 1500
    assert len({p.key for p in before}) == len(before)
    assert [p.key for p in folder.parts(str(tmp_path))] == [p.key for p in before]
    (tmp_path / "00000a.jpg").write_bytes(b"x")
    (tmp_path / "00700.txt").write_text("a caption makes its part new")
    after = list(folder.parts(str(tmp_path)))
    assert 1 <= len({p.key for p in after} - {p.key for p in before}) <= 4


def test_a_file_that_vanishes_or_grows_between_listing_and_reading(photos):
    _, parts = find_format(photos)
    listed = list(parts())
    (photos / "a.png").unlink()
    (photos / "b.jpg").write_bytes(b"")
    found = [one for part in listed for one in read_part(part) if not isinstance(one, Unused)]
    assert [getattr(f, "reason", None) for f in found] == ["missing_file", None, None, None]


def test_all_stamps_in_all_their_languages(stamps):
    samples, rejects = take(stamps)
    assert (len(samples), rejects) == (796 + 248, [])  # PNG and SVG; 83 stamps are there as both
    captioned = [s for s in samples if s.captions]
    assert len({os.path.splitext(s.uri)[0] for s in captioned}) == 950
    languages = {c.lang for s in captioned for c in s.captions}
    assert len(languages) == 78  # 77 and English
    assert "und" not in languages
    assert all(s.captions[0].lang == "en" for s in captioned)


def test_a_line_that_reads_a_table_is_given_where_it_runs(photos, tmp_path):
    """FiftyOne's labels.json and a table of numbers are read by nothing; the line is that of the file that is."""
    (photos / "a.csv").write_text("a,b\n1,2\n")
    (photos / "labels.json").write_text(json.dumps({"classes": ["قطة"], "labels": {"a": 0}}))
    assert [one.hint for one in unused(photos) if "a.csv" in one.names] == [
        "a table is read by its own name, where a column has pictures or names of them; none of these has"
    ]
    rows = pa.table({"image": pa.array([picture_bytes(7)], pa.binary()), "caption": ["ผึ้ง"]})
    pq.write_table(rows, photos / "z.parquet")
    (hint,) = [one.hint for one in unused(photos) if "a.csv" in one.names]
    line = hint.partition(": ")[2]
    assert line.startswith(f"panoglot ingest {photos}/z.parquet ")
    with pytest.raises(SystemExit) as ended:
        main([*line.split()[1:-1], str(tmp_path / "x.pano")])
    assert ended.value.code == 0
    with pytest.raises(UserError, match=r"has no list of rows with pictures") as error:
        take(photos / "labels.json")
    assert "jq" not in str(error.value)
    (photos / "data.json").write_text(json.dumps({"info": 1, "rows of it": [{"image": "a.jpg", "caption": "蜂"}]}))
    with pytest.raises(UserError, match="neither a COCO file") as error:
        take(photos / "data.json")
    assert str(error.value).endswith(
        f"jq -c '.[\"rows of it\"][]' {photos}/data.json > {photos}/rows.jsonl"
    )  # fmt: skip


def test_a_line_that_mends_is_said_of_what_something_reads_alone(photos):
    for name in ("rows.csv", "labels.xml", "label_config.xml", "dataset_info.json"):
        (photos / name).write_text("a,b\n", encoding="utf-8")
    name, parts = find_format(str(photos))
    unused = [one for part in parts() for one in read_part(part) if isinstance(one, Unused)]
    said = {tuple(sorted(one.names)): one.hint for one in unused}
    assert name == "folder"
    assert set(said) == {("rows.csv",), ("label_config.xml", "labels.xml"), ("dataset_info.json", "notes.md")}
    assert said["rows.csv",].endswith("none of these has")
    assert "panoglot" not in said["label_config.xml", "labels.xml"]  # nothing reads these
