"""Tables as people have them: separators, encodings, columns of any name, several pictures a row, bad cells."""

import codecs
import csv
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from panoglot.errors import UserError
from panoglot.formats import detect, find_format, find_layout
from tests.conftest import picture_bytes
from tests.formats.samples import reasons, take, texts, unused

SAID = [
    ("en", "A red ball, which rolls."),
    ("ar", "كرة حمراء تتدحرج على العشب."),
    ("hi", "घास पर एक लाल गेंद लुढ़कती है।"),
    ("th", "ลูกบอลสีแดงกลิ้งบนหญ้า"),
    ("zh", "一个红球在草地上滚动。"),
    ("ja", "赤いボールが\n芝生を転がる。"),
    ("sw", 'Mpira "mwekundu"; unabingirika.'),
]


@pytest.fixture
def pictures(tmp_path):
    for n in range(len(SAID)):
        (tmp_path / f"{n}.jpg").write_bytes(picture_bytes(n))
    return tmp_path


def table(delimiter=",", line="\n", header=("image", "caption", "lang")):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=line)
    writer.writerow(header)
    writer.writerows((f"{n}.jpg", text, lang) for n, (lang, text) in enumerate(SAID))
    return file.getvalue()


# -- separators and encodings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_any_separator_under_any_ending(pictures, suffix, delimiter):
    path = pictures / f"rows{suffix}"
    path.write_text(table(delimiter), encoding="utf-8", newline="")
    assert detect(path) == "tabular"
    samples, rejects = take(path)
    assert rejects == []
    assert [texts(s) for s in samples] == [[pair] for pair in SAID]


@pytest.mark.parametrize("line", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("utf-32-le", codecs.BOM_UTF32_LE),
    ],
)
def test_any_unicode_encoding_with_and_without_a_mark(pictures, encoding, mark, line):
    (pictures / "rows.csv").write_bytes(mark + table(";", line).encode(encoding))
    samples, rejects = take(pictures / "rows.csv")
    assert rejects == []
    assert [texts(s) for s in samples] == [[pair] for pair in SAID]


def test_lines_of_old_macs(pictures):
    (pictures / "rows.csv").write_bytes(b"image,caption\r0.jpg,One ball\r1.jpg,Two balls\r")
    samples, _ = take(pictures / "rows.csv")
    assert [texts(s)[0][1] for s in samples] == ["One ball", "Two balls"]


def test_an_encoding_that_is_named(pictures):
    text = "image,caption\n0.jpg,Žluťoučký kůň\n1.jpg,ball\n"
    (pictures / "rows.csv").write_text(text, encoding="cp1250")
    samples, rejects = take(pictures / "rows.csv")
    assert (len(samples), reasons(rejects)) == (2, ["bad_encoding"])
    assert "--option encoding=" in rejects[0].message
    samples, rejects = take(pictures / "rows.csv", encoding="cp1250")
    assert ([texts(s)[0][1] for s in samples], rejects) == (["Žluťoučký kůň", "ball"], [])
    with pytest.raises(UserError, match="encoding 'klingon' is not known"):
        take(pictures / "rows.csv", encoding="klingon")
    (pictures / "rows.csv").write_text("file_name;Überschrift\n0.jpg;Ein schöner Käfer.\n", encoding="cp1252")
    with pytest.raises(UserError, match=r"not UTF-8: a column is named b'.xdcberschrift'.*--option encoding=cp1252$"):
        take(pictures / "rows.csv")
    assert (
        take(pictures / "rows.csv", encoding="cp1252", text_columns=["Überschrift"])[0][0].captions[0].text
        == "Ein schöner Käfer."
    )


def test_a_language_that_is_none_is_named(pictures):
    (pictures / "rows.csv").write_text("image,caption,lang\n0.jpg,Ein Ball.,xx-bogus-lang\n1.jpg,A ball.,en\n")
    samples, rejects = take(pictures / "rows.csv")
    assert ([texts(s)[0][0] for s in samples], rejects) == (["und", "en"], [])
    (told,) = unused(pictures / "rows.csv")
    assert told.line().startswith(
        "1 value of the column of languages (no such language; identified instead) was not used: xx-bogus-lang"
    )


def test_a_separator_that_is_named_and_the_line_of_excel(pictures):
    (pictures / "rows.csv").write_text("image^caption\n0.jpg^A ball, red\n")
    assert texts(take(pictures / "rows.csv", delimiter="^")[0][0]) == [("und", "A ball, red")]
    (pictures / "rows.csv").write_text("sep=;\nimage;caption\n0.jpg;A ball, red\n")
    assert texts(take(pictures / "rows.csv")[0][0]) == [("und", "A ball, red")]
    with pytest.raises(UserError, match="give one character"):
        take(pictures / "rows.csv", delimiter="::")


def test_a_comma_in_the_header_does_not_make_commas_the_separator(pictures):
    (pictures / "rows.csv").write_text("image;caption, long\n0.jpg;A red ball, which rolls.\n")
    layout = find_layout(str(pictures / "rows.csv"))
    assert (layout.delimiter, layout.names) == (";", ("image", "caption, long"))
    assert texts(take(pictures / "rows.csv")[0][0]) == [("und", "A red ball, which rolls.")]


def test_a_table_without_a_header(pictures):
    (pictures / "token.txt").write_text("0.jpg#0\tA ball .\n0.jpg#1\tA red ball .\n1.jpg#0\tกลิ้ง\n", encoding="utf-8")
    samples, rejects = take(pictures / "token.txt")
    assert rejects == []
    assert [(s.data, texts(s)[0][1]) for s in samples] == [
        (picture_bytes(0), "A ball ."),
        (picture_bytes(0), "A red ball ."),
        (picture_bytes(1), "กลิ้ง"),
    ]


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "rows.csv")
    with pytest.raises(UserError, match="is no file"):
        take(tmp_path / "rows.csv")


def test_columns_of_one_name(pictures):
    (pictures / "rows.csv").write_text("image,caption,caption,caption\n0.jpg,One ball,Ein Ball,Une balle\n")
    assert [text for _, text in texts(take(pictures / "rows.csv")[0][0])] == ["One ball", "Ein Ball", "Une balle"]


def test_a_text_that_is_no_table_stays_one(tmp_path):
    (tmp_path / "notes.txt").write_text("Some notes, about things.\nMore, of them.\n")
    with pytest.raises(UserError, match="nothing that is read"):
        take(tmp_path / "notes.txt")


# -- columns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("image,caption_1,caption_2", [None, None]),
        ("image,short_caption,long_caption", [None, None]),
        ("image,en,de", ["en", "de"]),
        ("image,en,pt_BR", ["en", "pt-BR"]),
        ("image,title,width", [None]),
        ("image,Beschreibung,nr", [None]),
        ("photo_file,prompt,seed", [None]),
        ("bild,opis,n", [None]),
        ("image,English,German", ["en", "de"]),
        ("image,Caption (EN),Caption (DE)", ["en", "de"]),
        ("image,caption-en,caption:de", ["en", "de"]),
    ],
)
def test_columns_of_captions_are_found_by_name_or_by_what_they_hold(pictures, header, expected):
    second = "Eine Bank aus Holz steht im Park." if len(expected) == 2 else "12"
    (pictures / "rows.csv").write_text(f"{header}\n0.jpg,A wooden bench in the park.,{second}\n")
    (sample,), rejects = take(pictures / "rows.csv")
    assert rejects == []
    assert [c.lang for c in sample.captions] == [lang or "und" for lang in expected]


def test_a_table_that_gives_no_captions_says_so_with_what_mends_it(pictures):
    rows = "image,Notiz A,Notiz B,nr\n0.jpg,Eine Bank aus Holz im Park.,Ein sehr alter Baum am Weg.,7\n"
    (pictures / "rows.csv").write_text(rows)
    (sample,), _ = take(pictures / "rows.csv")
    assert list(sample.captions) == []
    (one,) = unused(pictures / "rows.csv")
    assert (list(one.names), one.count) == (["Notiz A", "Notiz B"], 2)
    assert one.hint.endswith("--caption-column 'Notiz A'")
    (sample,), _ = take(pictures / "rows.csv", text_columns=["Notiz A=de"])
    assert texts(sample) == [("de", "Eine Bank aus Holz im Park.")]
    assert unused(pictures / "rows.csv", text_columns=["Notiz A=de"]) == []


def test_further_columns_with_texts_are_named(pictures):
    (pictures / "rows.csv").write_text("image,caption,story\n0.jpg,A ball,There once was a red ball that rolled.\n")
    (one,) = unused(pictures / "rows.csv")
    assert (one.what, list(one.names)) == ("column{s} with texts", ["story"])


def test_questions_and_answers_in_columns(pictures):
    (pictures / "rows.csv").write_text("image,question,answer\n0.jpg,何色ですか。,赤です。\n", encoding="utf-8")
    (sample,), _ = take(pictures / "rows.csv")
    assert [(c.kind, c.text) for c in sample.captions] == [("question", "何色ですか。"), ("answer", "赤です。")]


TALKS = {
    "llava": [
        {"from": "human", "value": "<image>\nDescribe it."},
        {"from": "gpt", "value": "A harbour with boats."},
        {"from": "human", "value": "How many?"},
        {"from": "gpt", "value": "Two."},
    ],
    "chat": [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe it."}]},
        {"role": "assistant", "content": "A harbour with boats."},
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Two."}]},
    ],
}


@pytest.mark.parametrize("kind", ["llava", "chat"])
@pytest.mark.parametrize("way", ["json", "jsonl", "csv", "parquet"])
def test_conversations_are_questions_and_answers(pictures, kind, way):
    if way == "parquet" and kind == "chat":
        pytest.skip("Arrow has no lists of several types")
    talk = TALKS[kind]
    row = {"id": "1", "image": "0.jpg", "conversations": talk}
    path = pictures / f"d.{way}"
    if way == "json":
        path.write_text(json.dumps([row]))
    elif way == "jsonl":
        path.write_text(json.dumps(row))
    elif way == "csv":
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([["image", "conversations"], ["0.jpg", json.dumps(talk)]])
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    (sample,), rejects = take(path)
    assert rejects == []
    assert [(c.kind, c.text) for c in sample.captions] == [
        ("question", "Describe it."),
        ("answer", "A harbour with boats."),
        ("question", "How many?"),
        ("answer", "Two."),
    ]
    assert [list(c.parents) for c in sample.captions[1::2]] == [[sample.captions[0]], [sample.captions[2]]]


def test_lists_in_a_cell(pictures):
    rows = [
        ["image", "raw"],
        ["0.jpg", '["Ein Ball", "A ball"]'],
        ["1.jpg", "['Mpira', \"l'œuf\"]"],
        ["2.jpg", "[sic]"],
    ]
    with open(pictures / "rows.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    samples, _ = take(pictures / "rows.csv")
    assert [[text for _, text in texts(s)] for s in samples] == [["Ein Ball", "A ball"], ["Mpira", "l'œuf"], ["[sic]"]]


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_an_array_and_an_object_of_rows(pictures):
    rows = [{"image": f"{n}.jpg", "caption": text, "lang": lang} for n, (lang, text) in enumerate(SAID)]
    (pictures / "rows.json").write_text(json.dumps(rows))
    samples, rejects = take(pictures / "rows.json")
    assert ([texts(s) for s in samples], rejects) == ([[pair] for pair in SAID], [])
    keyed = {f"{n}.jpg": {"caption": text, "lang": lang, "tags": "a, b"} for n, (lang, text) in enumerate(SAID)}
    (pictures / "meta.json").write_text(json.dumps(keyed))
    samples, rejects = take(pictures / "meta.json")
    assert ([texts(s) for s in samples], rejects) == ([[pair] for pair in SAID], [])
    (pictures / "plain.json").write_text(json.dumps({"0.jpg": "ball", "1.jpg": {}}))
    assert [texts(s) for s in take(pictures / "plain.json")[0]] == [[("und", "ball")], []]


def test_a_bad_element_of_an_array_costs_itself(pictures):
    (pictures / "rows.json").write_text(
        '[{"image": "0.jpg", "caption": "A"}, 7, "x", {"image": "1.jpg", "caption": "B"}]'
    )
    samples, rejects = take(pictures / "rows.json")
    assert ([texts(s)[0][1] for s in samples], reasons(rejects)) == (["A", "B"], ["bad_json"])
    assert rejects[0].item.endswith("rows.json#1-2")
    (pictures / "torn.json").write_text('[{"image": "0.jpg"}, {')
    with pytest.raises(UserError, match="is not JSON"):
        take(pictures / "torn.json")


def test_ids_that_are_floats_or_texts_join(pictures):
    data = {
        "images": [
            {"id": 1, "file_name": "0.jpg"},
            {"id": "2", "file_name": "1.jpg"},
            {"id": 3.0, "file_name": "2.jpg"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1.0, "caption": "قطة"},
            {"id": 2, "image_id": 2, "caption": "แมว"},
            {"id": 3, "image_id": "3", "caption": "猫"},
            {"id": 4, "image_id": 3, "bbox": [0, 0, 1, 1]},
        ],
    }
    (pictures / "captions_x.json").write_text(json.dumps(data))
    samples, rejects = take(pictures / "captions_x.json")
    assert ([texts(s)[0][1] for s in samples], rejects) == (["قطة", "แมว", "猫"], [])
    assert [one.line().partition(" (")[0] for one in unused(pictures / "captions_x.json")] == [
        "1 annotation without a caption was not used"
    ]


def test_karpathys_splits(pictures):
    image = {
        "filepath": ".",
        "filename": "0.jpg",
        "imgid": 0,
        "sentences": [{"raw": "A ball.", "tokens": ["a", "ball"]}],
    }
    (pictures / "dataset_coco.json").write_text(json.dumps({"images": [image], "dataset": "coco"}))
    (sample,), rejects = take(pictures / "dataset_coco.json")
    assert (texts(sample), rejects) == ([("und", "A ball.")], [])


# -- several pictures, bad cells ---------------------------------------------------------------------------------------


def test_every_picture_of_a_row_has_captions_of_its_own(pictures):
    row = {"images": ["0.jpg", "1.jpg", "none.jpg"], "caption_sw": "Mandhari mbili", "caption_ar": "منظران"}
    (pictures / "rows.jsonl").write_text(json.dumps(row))
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    both = [{"bytes": picture_bytes(n), "path": None} for n in range(2)]
    columns = {"images": pa.array([both], pa.list_(struct)), **{k: [v] for k, v in row.items() if k != "images"}}
    pq.write_table(pa.table(columns), pictures / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        samples, _ = take(pictures / name)
        assert [sorted(texts(s)) for s in samples] == [[("ar", "منظران"), ("sw", "Mandhari mbili")]] * 2
        assert len({id(caption) for s in samples for caption in s.captions}) == 4
    assert reasons(take(pictures / "rows.jsonl")[1]) == ["missing_file"]


def test_a_cell_that_is_no_text_costs_itself_and_is_counted(pictures):
    cells = [7, {"a": {"b": 1}}, None, "", [], float("nan"), ["แมว", ["猫", ["paka"]]], True]
    rows = [json.dumps({"image": f"{n % 7}.jpg", "caption": cell}) for n, cell in enumerate(cells)]
    (pictures / "rows.jsonl").write_text("\n".join(rows))
    samples, rejects = take(pictures / "rows.jsonl")
    assert (len(samples), rejects) == (8, [])
    assert [text for s in samples for _, text in texts(s)] == ["แมว", "猫", "paka"]
    found = unused(pictures / "rows.jsonl")
    assert [one.names[0].rpartition("/")[2] for one in found] == [f"rows.jsonl#{n}:caption" for n in (0, 1, 7)]


def test_tokens_of_pictures_are_no_words_of_a_question(pictures):
    row = {"images": ["0.jpg"], "instruction": "<image>\nNi nini?", "input": "", "output": "Paka."}
    (pictures / "alpaca.json").write_text(json.dumps([row]))
    (sample,), _ = take(pictures / "alpaca.json")
    assert [(c.kind, c.text) for c in sample.captions] == [("question", "Ni nini?"), ("answer", "Paka.")]


@pytest.mark.parametrize("depth", [1, 5, 100, 300])
@pytest.mark.parametrize("kind", ["struct", "list"])
def test_a_column_that_is_nested_costs_no_row(tmp_path, kind, depth):
    type_, value = pa.string(), "x"
    for _ in range(depth):
        type_, value = (pa.struct([("f", type_)]), {"f": value}) if kind == "struct" else (pa.list_(type_), [value])
    columns = {"image": [picture_bytes(n) for n in range(5)], "caption": ["แมว"] * 5, "x": pa.array([value] * 5, type_)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    samples, rejects = take(tmp_path / "a.parquet")
    assert ([texts(s) for s in samples], rejects) == ([[("und", "แมว")]] * 5, [])


def test_a_column_that_cannot_be_read_costs_itself(tmp_path, monkeypatch):
    columns = {"image": [picture_bytes(0)], "caption": ["بيت"], "x": [[{"a": 1}]]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    real = pq.ParquetFile.iter_batches

    def batches(file, **asked):
        if "x" in asked["columns"]:
            raise pa.ArrowNotImplementedError("Nested data conversions not implemented for chunked array outputs")
        return real(file, **asked)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", batches)
    (sample,), rejects = take(tmp_path / "a.parquet")
    assert texts(sample) == [("und", "بيت")]
    assert [(r.item.rpartition("#")[2], r.reason) for r in rejects] == [("0-0:x", "bad_column")]


# -- imagefolder -------------------------------------------------------------------------------------------------------


def test_an_imagefolder_with_splits_and_any_metadata(tmp_path):
    for n, split in enumerate(("train", "test", "validation")):
        (tmp_path / split / "images").mkdir(parents=True)
        for m in range(2):
            (tmp_path / split / "images" / f"{m}.jpg").write_bytes(picture_bytes(10 * n + m))
    (tmp_path / "train" / "metadata.jsonl").write_text(
        "".join(json.dumps({"file_name": f"images/{m}.jpg", "text": f"घोड़ा {m}"}) + "\n" for m in range(2))
    )
    (tmp_path / "test" / "metadata.csv").write_text("file_name,text\nimages/0.jpg,一匹马\n", encoding="utf-8")
    rows = {"file_name": ["images/0.jpg", "images/1.jpg"], "text": ["Farasi", "Farasi wawili"]}
    pq.write_table(pa.table(rows), tmp_path / "validation" / "metadata.parquet")
    (tmp_path / "test" / "images" / "1.sw.txt").write_text("Farasi mweusi")
    (tmp_path / "test" / "images" / "0.txt").write_text("beside a picture of the table")
    assert detect(tmp_path) == "tabular"
    samples, rejects = take(tmp_path)
    assert rejects == []
    assert len({s.data for s in samples}) == len(samples) == 6
    assert sorted(text for s in samples for _, text in texts(s)) == sorted(
        ["घोड़ा 0", "घोड़ा 1", "一匹马", "Farasi", "Farasi wawili", "Farasi mweusi"]
    )
    assert [list(one.names) for one in unused(tmp_path)] == [["test/images/0.txt"]]


def test_a_metadata_file_that_names_no_pictures_is_named_and_costs_none(pictures):
    (pictures / "metadata.csv").write_text("camera,lens\nX100,23mm\n")
    (pictures / "0.txt").write_text("Mpira")
    samples, rejects = take(pictures)
    assert (len(samples), rejects, texts(samples[0])) == (len(SAID), [], [("und", "Mpira")])
    assert [list(one.names) for one in unused(pictures)] == [["metadata.csv"]]
    with pytest.raises(UserError, match="no column 'picture'"):
        take(pictures, image_column="picture")


def test_a_part_of_a_table_changes_with_the_pictures_that_it_names(pictures):
    (pictures / "rows.csv").write_text("image,caption\n0.jpg,A\n1.jpg,B\n")
    (pictures / "rows.json").write_text(json.dumps([{"image": "0.jpg"}, {"image": "1.jpg"}]))
    (pictures / "captions_x.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "0.jpg"}], "annotations": []})
    )
    pq.write_table(pa.table({"file_name": ["0.jpg", "1.jpg"]}), pictures / "rows.parquet")
    for name in ("rows.csv", "rows.json", "captions_x.json", "rows.parquet"):
        _, parts = find_format(pictures / name)
        before = [part.key for part in parts()]
        assert before == [part.key for part in parts()]
        (pictures / "0.jpg").write_bytes(picture_bytes(100 + len(name)) + b" " * len(name))
        assert before != [part.key for part in parts()], name
