"""Composed queries from files: every public form and file kind, pictures by every name, what is missing said."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.formats import Unused, detect, find_format, read_part
from panoglot.table import Triple, image_id, open_dataset
from panoglot.training import read_records
from tests.conftest import picture_bytes


@pytest.fixture
def pictures(tmp_path):
    """Eight pictures `p-0.png` … in folders, and the same as COCO numbers its files."""
    raws = [picture_bytes(n, 24, 24, "PNG") for n in range(8)]
    for n, raw in enumerate(raws):
        for path in (f"img/{n % 2}/p-{n}.png", f"coco/{n:012}.png"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(raw)
    return [image_id(raw) for raw in raws]


def finds(source, **options):
    name, parts = find_format(source, None, options)
    assert name == "triples"
    found = [one for part in parts() for one in read_part(part)]
    return [one for one in found if isinstance(one, Triple)], [one.line(9) for one in found if isinstance(one, Unused)]


def of(one, ids):
    """A triple by numbers of pictures."""
    at = ids.index
    return one.text, at(one.image_id), [at(k) for k in one.positives], [at(k) for k in one.negatives], one.split


FORMS = {
    "cap.rc2.train.json": (
        [{"pairid": 7, "reference": "p-0", "target_hard": "p-1", "target_soft": {"p-1": 1.0, "p-4": 0.5},
          "caption": "猫を二匹に", "img_set": {"id": 3, "members": ["p-0", "p-1", "p-4", "p-5"]}}],
        ("猫を二匹に", 0, [1], [5], "train"), {},
    ),
    "cap.dress.val.json": (
        [{"candidate": "p-2", "target": "p-3", "captions": ["is shiny.", " fit and flare "]}],
        ("is shiny and fit and flare", 2, [3], [], "val"), {},
    ),
    "val.json": (
        [{"reference_img_id": 4, "target_img_id": 5, "gt_img_ids": [6, 5], "relative_caption": "कुत्ता भी", "id": 0,
          "shared_concept": "x"}],
        ("कुत्ता भी", 4, [5, 6], [], "val"), {"image_dir": "coco"},
    ),
    "wishes.json": (
        [{"reference": "img/0/p-0.png", "text": "เป็นนก", "target": ["p-1.png"], "negatives": "p-2; p-3", "lang": "th",
          "split": "test"}],
        ("เป็นนก", 0, [1], [2, 3], "test"), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_form(tmp_path, pictures, name):
    rows, wanted, options = FORMS[name]
    (tmp_path / name).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    options = {key: str(tmp_path / value) for key, value in options.items()}
    triples, left = finds(tmp_path / name, **options)
    assert [of(one, pictures) for one in triples] == [wanted]
    assert left == []
    if name == "wishes.json":
        assert triples[0].lang == "th"


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_every_kind_of_file(tmp_path, pictures, suffix):
    rows = [("p-0", "ongeza ndege, tafadhali", "p-1", "p-2;p-3"), ("img/1/p-1.png", 'قال "أحمر"', "p-4.png", "")]
    path = tmp_path / f"wishes.{suffix}"
    names = ["reference", "text", "target", "negatives"]
    if suffix == "parquet":
        table = pa.table([list(column) for column in zip(*rows)], names)
        table = table.set_column(3, "negatives", pa.array([["p-2", "p-3"], []], pa.list_(pa.string())))
        pq.write_table(table, path)
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(names, row)), ensure_ascii=False) for row in rows))
    else:
        import csv

        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t" if suffix == "tsv" else ",").writerows([names, *rows])
    triples, left = finds(path)
    assert [of(one, pictures) for one in triples] == [
        ("ongeza ndege, tafadhali", 0, [1], [2, 3], ""), ('قال "أحمر"', 1, [4], [], "")
    ]  # fmt: skip
    assert left == []


def test_what_is_missing_is_counted_and_named_and_the_rest_trains(tmp_path, pictures):
    (tmp_path / "img" / "1" / "torn.png").write_bytes(b"\x89PNG torn")
    rows = [
        {"reference": "p-0", "text": "but a bird", "target": "p-1", "negatives": ["lost", "p-2"]},
        {"reference": "gone", "text": "x", "target": "p-1"},
        {"reference": "p-3", "text": "y", "target": None},
        {"reference": "p-3", "text": "  ", "target": "p-4"},
        {"reference": "torn", "text": "z", "target": "p-4"},
        {"reference": "p-5", "text": "mit einer roten Blume daneben", "target": ["torn", "p-6"]},
    ]
    (tmp_path / "img" / "wishes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = panoglot.ingest(tmp_path / "img" / "wishes.jsonl", tmp_path / "x.pano", quiet=True)
    said = "\n".join(done.remarks)
    assert "3 rows of composed queries were not used: 1: a picture is missing, 2: no target, 3: no text" in said
    assert "2 pictures that composed queries name were not used: lost, gone" in said
    assert "--option image_dir=FOLDER" in said
    assert "1 row of composed queries whose picture was not taken was not used: z" in said
    assert "2 rows of composed queries were read" in said
    data = open_dataset(tmp_path / "x.pano")
    assert data.rejects.read(["item"])["item"].to_pylist() == [str(tmp_path / "img" / "1" / "torn.png")]
    stored = {row["text"]: row for row in data.triples.read(None).to_pylist()}
    assert {text: row["lang"] for text, row in stored.items()} == {
        "but a bird": "en",
        "mit einer roten Blume daneben": "de",
    }
    assert stored["mit einer roten Blume daneben"]["positives"] == [pictures[6]]
    assert [len(record.pictures) for record in read_records(data, takes=("triple",)).records] in ([2, 1], [1, 2])
    again = panoglot.ingest(tmp_path / "img" / "wishes.jsonl", tmp_path / "x.pano", quiet=True)
    assert not any("composed queries were read" in line for line in again.remarks)
    assert data.triples.count() == 2


def test_a_forgotten_picture_comes_back_in_no_triple(tmp_path, pictures):
    rows = [{"reference": f"p-{n}", "text": f"wish {n}", "target": f"p-{n + 1}"} for n in range(3)]
    path = tmp_path / "img" / "wishes.json"
    path.write_text(json.dumps(rows))
    panoglot.ingest(path, tmp_path / "x.pano", quiet=True)
    data = open_dataset(tmp_path / "x.pano")
    assert data.triples.count() == 3
    panoglot.forget(tmp_path / "x.pano", pictures[1])
    path.write_text(json.dumps([*rows, {"reference": "p-5", "text": "more", "target": "p-6"}]))
    panoglot.ingest(path, tmp_path / "x.pano", quiet=True)
    assert sorted(row["text"] for row in data.triples.read(["text"]).to_pylist()) == ["more", "wish 2"]


def test_a_folder_keeps_its_other_pictures_and_other_files_stay_what_they_are(tmp_path, pictures):
    rows = [{"reference": "p-0", "text": "a bird", "target": "p-2"}]
    (tmp_path / "img" / "0" / "wishes.json").write_text(json.dumps(rows))
    panoglot.ingest(tmp_path / "img" / "0", tmp_path / "x.pano", quiet=True)
    data = open_dataset(tmp_path / "x.pano")
    assert (data.images.count(), data.triples.count()) == (4, 1)
    (tmp_path / "table.csv").write_text("image,text,target\nimg/0/p-0.png,a,b\n")
    (tmp_path / "rows.json").write_text(json.dumps([{"image": "img/0/p-0.png", "reference": "a", "text": "b"}]))
    assert [detect(tmp_path / name) for name in ("table.csv", "rows.json")] == ["tabular", "tabular"]
    with pytest.raises(UserError, match="no file whose rows have a reference, a text and a target"):
        next(find_format(tmp_path / "img" / "1", "triples")[1]())
    with pytest.raises(UserError, match="there is no folder"):
        next(find_format(tmp_path / "img" / "0" / "wishes.json", None, {"image_dir": "nowhere"})[1]())


def test_rows_that_are_no_query_cost_no_other(tmp_path, pictures):
    """Half a surrogate pair, another encoding, a target that is the reference, the same row twice, wrong types."""
    assert len(pictures) == 8
    names = ["p-0", "p-1", "p-2"]
    good = {"reference": names[0], "target": names[1], "caption": "mit Hut: تحت"}
    rows = [good, {**good, "target": names[0]}, {**good, "caption": "a \ud800"}, good, {**good, "caption": {"a": 1}}]
    rows += [{"reference": 99, "target": [None, 5], "caption": "x"}, None, {**good, "target": [names[0], names[2]]}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    result = panoglot.ingest(str(tmp_path / "rows.json"), str(tmp_path / "x.pano"), format="triples", quiet=True)
    kept = result.dataset.triples.rows(["text", "positives"])
    assert len(kept) == 2
    assert all(len(row["positives"]) == 1 for row in kept)
    said = "\n".join(result.remarks)
    for part in (
        "1: the target is the reference",
        "2: a text that is not UTF-8",
        "4: no text",
        "5: a picture is missing",
    ):
        assert part in said
    assert "1 row of composed queries was there already, or twice in the source" in said
    assert [row["reason"] for row in result.dataset.rejects.rows(["reason"])] == ["bad_row"]
    (tmp_path / "rows.json").write_bytes(json.dumps([good], ensure_ascii=False).encode("utf-16"))
    result = panoglot.ingest(str(tmp_path / "rows.json"), str(tmp_path / "y.pano"), format="triples", quiet=True)
    assert [row["text"] for row in result.dataset.triples.rows(["text"])] == ["mit Hut: تحت"]
