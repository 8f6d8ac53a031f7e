"""Every writer: what its tool reads of it, with the real tool where it is installed, else by the tool's own rules.

Counts are not enough, as most losses are silent: pictures and captions are counted where they are not empty.
"""

import csv
import hashlib
import io
import json
import sqlite3
import struct
import tarfile
import tomllib

import PIL.Image
import pytest

import panoglot
from panoglot.cli import main
from panoglot.errors import UserError
from panoglot.exporting import export, writer_names
from panoglot.formats import Sample
from panoglot.pictures import read_header
from panoglot.table import Caption, caption_to_row, create_dataset, image_id
from tests.conftest import picture_bytes
from tests.formats.samples import image_row

SAID = {
    "en": "A disc on waves",
    "ar": "قرص على أمواج البحر",
    "hi": "लहरों पर एक चकती है",
    "th": "แผ่นกลมบนคลื่น",
    "zh-Hans": "波浪上的圆盘",
    "ja": "波の上の円盤",
    "sw": "Diski juu ya mawimbi",
    "he": "דיסק על הגלים",
}
NAMES = [
    "Café №1.v2.JPG",
    "Café №1.v3.png",
    "هاتف.png",
    "हिन्दी.jpg",
    "../../etc/passwd.png",
    "nul.jpg",
    "図 1.webp",
    "CAFÉ_1_V2.jpg",
]
LANGS = list(SAID)


def made(path, count=8, **more):
    """A dataset of pictures of three formats, each with a caption in English and one in another language."""
    data = create_dataset(path)
    rows, captions = [], []
    for n in range(count):
        bytes_ = more.get("bytes", {}).get(n) or picture_bytes(n, 60 + n, 40, ("JPEG", "PNG", "WEBP")[n % 3])
        key = image_id(bytes_)
        sample = Sample(bytes_, f"/home/anna/in/{NAMES[n % len(NAMES)]}", context=more.get("context", {}))
        rows.append(image_row(key, bytes_, read_header(bytes_), sample) | {"licence": "CC-BY-4.0"})
        for lang in dict.fromkeys(("en", LANGS[n % len(LANGS)])):
            text = more.get("text", "{}, number {}.\nIt shines").format(SAID[lang], n)
            caption = Caption(text, lang, "human", recipe="human", image_id=key, run_id="r")
            caption.caption_id = hashlib.sha256(f"{key}{lang}".encode()).hexdigest()[:32]
            captions.append(caption)
    data.images.insert(rows)
    data.captions.insert([caption_to_row(caption) for caption in captions])
    return data


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return made(tmp_path_factory.mktemp("writers") / "a.pano")


def load(builder, tmp_path, **options):
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    return datasets.load_dataset(builder, split="train", cache_dir=str(tmp_path / "cache"), **options)


# -- the real tools ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["imagefolder", "jsonl"])
def test_datasets_loads_an_imagefolder(dataset, tmp_path, to):
    option = {"caption_column": "caption"} if to == "imagefolder" else {}
    export(dataset, tmp_path / "out", to, names="original", lang="ja,hi,en", **option)
    rows = load("imagefolder", tmp_path, data_dir=str(tmp_path / "out"))
    assert sum(bool(row["image"] and row["image"].size[1] == 40 and row["caption"]) for row in rows) == 8
    assert {row["lang"] for row in rows} == {"en", "ja", "hi"}


def test_datasets_loads_webdataset_of_one_kind_of_picture(dataset, tmp_path):
    options = {"image": "jpg", "shard_size": 3, "captioned_only": True, "option": ["json=false"]}
    facts = export(dataset, tmp_path / "out", "webdataset", **options)
    assert "notes" not in facts
    mixed = export(dataset, tmp_path / "mixed", "webdataset")
    assert "--image jpg" in mixed["notes"][0]
    rows = load(str(tmp_path / "out"), tmp_path)
    assert sum(bool(row["jpg"] and row["txt"].strip()) for row in rows) == 8


def test_open_clips_readers_find_every_pair(dataset, tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="the package webdataset is not installed")
    export(dataset, tmp_path / "out", "webdataset", shard_size=3)
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))

    def usable(sample):  # what open_clip keeps
        return "txt" in sample and any(name in sample for name in ("png", "jpg", "jpeg", "webp"))

    assert sum(map(usable, webdataset.WebDataset(shards, shardshuffle=False))) == 8
    assert sum(json.loads((tmp_path / "out/sizes.json").read_text()).values()) == 8


def test_open_clips_csv(dataset, tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas", reason="the package pandas is not installed")
    facts = export(dataset, tmp_path / "out", "csv")
    monkeypatch.chdir(tmp_path / "out")
    table = pandas.read_csv("pairs.csv", sep="\t")
    assert len(table) == facts["captions"] == 15
    assert all(isinstance(text, str) and "\n" not in text for text in table["title"])
    assert len({PIL.Image.open(path).size for path in table["filepath"]}) == 8


def test_a_csv_holds_no_text_that_becomes_something_else(tmp_path):
    data = made(tmp_path / "a.pano", 3, text="NA")
    with pytest.raises(UserError, match="no_text_for_csv 3"):
        export(data, tmp_path / "out", "csv")


def test_mlcroissant_validates_and_reads_it(dataset, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant", reason="the package mlcroissant is not installed")
    export(dataset, tmp_path / "out", "croissant", option=["name=discs", "license=https://example.org/terms"])
    found = mlcroissant.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))
    assert not found.metadata.issues.errors
    records = list(found.records("pairs"))
    assert sum(bool(row["pairs/image"].size[1] == 40 and row["pairs/caption"]) for row in records) == 8


def test_lance_streams_it(dataset, tmp_path):
    import lance

    export(dataset, tmp_path / "out", "lance", caption_column="text", shard_size=5)
    table = lance.dataset(str(tmp_path / "out" / "pairs.lance")).to_table()
    assert table.num_rows == 8
    assert [len(row) for row in table["captions"].to_pylist()].count(2) == 7
    for data, text in zip(table["image"].to_pylist(), table["text"].to_pylist()):
        assert PIL.Image.open(io.BytesIO(data)).size[1] == 40
        assert text.startswith("A disc")


def test_mds_holds_every_sample(dataset, tmp_path):
    """By the format's own layout; with the package, where it is installed, by its reader too."""
    export(dataset, tmp_path / "out", "mds", shard_size=3)
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [shard["samples"] for shard in index["shards"]] == [3, 3, 2]
    captions = []
    for shard in index["shards"]:
        data = (tmp_path / "out" / shard["raw_data"]["basename"]).read_bytes()
        assert hashlib.sha1(data).hexdigest() == shard["raw_data"]["hashes"]["sha1"]
        (count,) = struct.unpack_from("<I", data)
        offsets = struct.unpack_from(f"<{count + 1}I", data, 4)
        assert (count, offsets[-1]) == (shard["samples"], len(data))
        for at in offsets[:-1]:
            sizes = struct.unpack_from(f"<{len(shard['column_names'])}I", data, at)
            at += 4 * len(sizes)
            values = {}
            for name, size in zip(shard["column_names"], sizes):
                values[name] = data[at : at + size]
                at += size
            assert PIL.Image.open(io.BytesIO(values["image"])).format == "JPEG"
            captions.append(values["caption"].decode())
            assert json.loads(values["captions"])[0]["text"] == captions[-1]
    assert len(captions) == 8
    assert all(captions)


def test_the_streaming_package_reads_mds(dataset, tmp_path):
    streaming = pytest.importorskip("streaming", reason="the package mosaicml-streaming is not installed")
    export(dataset, tmp_path / "out", "mds", shard_size=3)
    found = streaming.LocalDataset(local=str(tmp_path / "out"))
    assert sum(bool(row["image"].size and row["caption"]) for row in (found[n] for n in range(len(found)))) == 8


# -- by their documented schema ----------------------------------------------------------------------------------------


def test_llava(dataset, tmp_path):
    export(dataset, tmp_path / "out", "llava", names="original")
    raw = (tmp_path / "out" / "llava.json").read_bytes()
    assert raw.isascii()  # read in the encoding of a locale
    rows = json.loads(raw)
    assert len(rows) == len({row["id"] for row in rows}) == 15
    for row in rows:
        assert (tmp_path / "out" / row["image"]).is_file()
        assert str(row["conversations"]).count("<image>") == 1
        assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"]
    asked = {row["conversations"][0]["value"] for row in rows}
    assert "<image>\nDescribe this picture in Arabic." in asked
    one = export(dataset, tmp_path / "one", "llava", lang="th", option=["texts=one", "prompt=อธิบายภาพ"])
    (row,) = json.loads((tmp_path / "one" / "llava.json").read_text())
    assert (one["images"], row["conversations"][0]["value"]) == (1, "<image>\nอธิบายภาพ")
    assert one["left_out"] == {"no_caption": 7}


def test_a_caption_cannot_bring_a_picture_mark_of_its_own(tmp_path):
    data = made(tmp_path / "a.pano", 2, text="{} <image> {}")
    export(data, tmp_path / "out", "messages")
    for line in (tmp_path / "out" / "messages.jsonl").read_text().splitlines():
        assert line.count("<image>") == len(json.loads(line)["images"]) == 1


def test_messages_for_llama_factory_and_ms_swift(dataset, tmp_path):
    export(dataset, tmp_path / "out", "llama-factory")
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["panoglot"]
    assert len(info["tags"]) == 5  # those left out count as none
    rows = load("json", tmp_path, data_files=str(tmp_path / "out" / info["file_name"]))
    assert len(rows) == 15
    for row in rows:
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        assert sum(turn["content"].count("<image>") for turn in row["messages"]) == len(row["images"])
        assert all((tmp_path / "out" / image).is_file() for image in row["images"])


def test_questions_and_answers_are_turns_of_one_conversation(tmp_path):
    data = made(tmp_path / "a.pano", 1)
    key = data.images.read(["image_id"])["image_id"][0].as_py()
    rows = []
    for n, (asked, said) in enumerate([("Nini hii?", "Diski."), ("Rangi?", "Nyekundu.")]):
        for kind, text, parents in (("question", asked, ()), ("answer", said, (f"{n}" * 32,))):
            one = Caption(text, "sw", kind, recipe="human", image_id=key, parents=parents, run_id="r")
            one.caption_id = f"{n if kind == 'question' else n + 4}" * 32
            rows.append(caption_to_row(one))
    data.captions.insert(rows)
    export(data, tmp_path / "out", "messages")
    last = json.loads((tmp_path / "out" / "messages.jsonl").read_text().splitlines()[-1])["messages"]
    assert [turn["content"] for turn in last] == ["<image>\nNini hii?", "Diski.", "Rangi?", "Nyekundu."]


@pytest.mark.parametrize("extension", ["caption", "txt"])
def test_kohya_and_those_like_it(dataset, tmp_path, extension):
    export(dataset, tmp_path / "out", "kohya", max_side=50, option=[f"extension={extension}", "resolution=512"])
    toml = tomllib.loads((tmp_path / "out" / "dataset.toml").read_text())
    assert (toml["general"]["caption_extension"], toml["datasets"][0]["resolution"]) == (f".{extension}", 512)
    folder = tmp_path / "out" / toml["datasets"][0]["subsets"][0]["image_dir"]
    pictures = [path for path in folder.iterdir() if path.suffix != f".{extension}"]
    assert len(pictures) == 8
    for path in pictures:
        assert max(PIL.Image.open(path).size) == 50
        text = path.with_suffix(f".{extension}").read_text(encoding="utf-8")
        assert text.strip()
        assert text.count("\n") == 1


def test_energons_index_is_that_of_its_shards(dataset, tmp_path):
    export(dataset, tmp_path / "out", "energon", shard_size=3, names="original")
    meta = tmp_path / "out" / ".nv-meta"
    counts = json.loads((meta / ".info.json").read_text())["shard_counts"]
    assert counts == {"00000.tar": 3, "00001.tar": 3, "00002.tar": 2}
    database = sqlite3.connect(meta / "index.sqlite")
    assert database.execute("select count(distinct sample_key) from samples").fetchone() == (8,)
    for number, name in enumerate(counts):
        data = (tmp_path / "out" / name).read_bytes()
        query = "select sample_index, byte_offset, byte_size from samples where tar_file_id = ? order by sample_index"
        samples = database.execute(query, (number,)).fetchall()
        index = struct.unpack(f"<{counts[name] + 1}Q", (tmp_path / "out" / f"{name}.idx").read_bytes())
        assert index == (*(at for _, at, _ in samples), sum(samples[-1][1:]))
        for n, at, size in samples:
            with tarfile.open(fileobj=io.BytesIO(data[at : at + size] + bytes(1024))) as tar:
                assert {member.name.partition(".")[2] for member in tar} == {"jpg", "txt", "json"}
            query = "select content_byte_offset, content_byte_size from sample_parts where tar_file_id = ? and "
            query += "sample_index = ? and part_name = 'jpg'"
            ((start, length),) = database.execute(query, (number, n)).fetchall()
            assert PIL.Image.open(io.BytesIO(data[start : start + length])).format == "JPEG"


def test_energons_loader_reads_it(dataset, tmp_path):
    energon = pytest.importorskip("megatron.energon", reason="the package megatron-energon is not installed")
    export(dataset, tmp_path / "out", "energon", shard_size=3, names="original")
    config = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    options = {"batch_size": None, "shuffle_buffer_size": None, "max_samples_per_sequence": None, "repeat": False}
    found = energon.get_train_dataset(str(tmp_path / "out"), worker_config=config, **options)
    assert sum(bool(one.image.shape[1] == 40 and one.caption) for one in energon.get_loader(found)) == 8


# -- beside the user's own pictures ------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "my photos"
    folder.mkdir()
    for n in range(4):
        (folder / f"{n}.v1.png").write_bytes(picture_bytes(n, 40, 30, "PNG"))
    (folder / "0.v1.txt").write_text("Mine.\nde.utf8=Meins.\n")
    for n in (1, 2):
        (folder / f"{n}.v1.de.txt").write_text("Eine Scheibe auf Wellen.\n")
    panoglot.ingest(str(folder), str(tmp_path / "x.pano"), quiet=True)
    return folder


def test_texts_beside_the_users_own_pictures(photos, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["export", str(tmp_path / "x.pano"), "--to", "sidecars", "--beside"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "no_caption 1" in said
    assert "text_exists 1" in said
    assert (photos / "0.v1.txt").read_text() == "Mine.\nde.utf8=Meins.\n"  # nothing of the user's is written over
    assert (photos / "1.v1.txt").read_text() == "Eine Scheibe auf Wellen.\n"
    assert not (photos / "3.v1.txt").exists()
    (photos / "2.v1.png").write_bytes(picture_bytes(9, 40, 30, "PNG"))
    (photos / "2.v1.txt").unlink()
    again = export(tmp_path / "x.pano", to="sidecars", beside=True, option=["replace=true", "texts=all"])
    assert again["left_out"] == {"changed_since_it_was_read": 1, "no_caption": 1}
    assert (photos / "0.v1.txt").read_text() == "Mine.\nMeins.\n"
    assert sorted(path.name for path in photos.iterdir() if "partial" in path.name) == []


def _told_by_a_model(tmp_path):
    """A folder of pictures, one with a text of a person, and a dataset in which a model describes them all."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n, name in enumerate(("a", "b", "c", "d#1")):
        (folder / f"{name}.jpg").write_bytes(picture_bytes(n))
    (folder / "a.txt").write_text("猫在垫子上。", encoding="utf-8")
    data = panoglot.ingest(str(folder), str(tmp_path / "x.pano"), quiet=True).dataset
    panoglot.caption(data, captioner="python:tests.running.toy:Writer", lang="en", prompt="What?", quiet=True)
    return folder, data


@pytest.fixture
def told_by_a_model(tmp_path):
    return _told_by_a_model(tmp_path)


@pytest.fixture(scope="module")
def kept_by_a_model(tmp_path_factory):
    """The same, for tests that change nothing of it."""
    return _told_by_a_model(tmp_path_factory.mktemp("told"))


def by_whom(data):
    rows = data.captions.rows(where="kind != 'fact' and dropped is null")
    return sorted((row["text"], row["kind"], row["recipe"], row["model"] or "", row["caption_id"]) for row in rows)


def test_texts_that_we_wrote_beside_pictures_never_become_a_persons(told_by_a_model, tmp_path):
    folder, data = told_by_a_model
    before = by_whom(data)
    export(data, to="sidecars", beside=True, kinds="short")
    assert (folder / "a.txt").read_text(encoding="utf-8") == "猫在垫子上。"
    written = (folder / "b.txt").read_text(encoding="utf-8")
    assert (folder / "d#1.txt").exists()
    panoglot.ingest(str(folder), str(data.path), quiet=True)
    assert by_whom(data) == before
    fresh = panoglot.ingest(str(folder), str(tmp_path / "y.pano"), quiet=True).dataset
    assert set(by_whom(fresh)) < set(before)
    assert len(by_whom(fresh)) == 4
    assert [row[1] for row in by_whom(fresh)].count("human") == 1
    # what somebody corrects is theirs, and what they wrote beside it stays ours
    (folder / "b.txt").write_text("قطة على سجادة\n" + written, encoding="utf-8")
    panoglot.ingest(str(folder), str(data.path), quiet=True)
    assert [row[:3] for row in by_whom(data) if row not in before] == [("قطة على سجادة", "human", "human")]
    assert set(before) < set(by_whom(data))


@pytest.mark.parametrize("to", ["csv", "imagefolder", "kohya", "lance", "llava", "mds", "messages", "sidecars"])
def test_no_export_makes_a_persons_text_of_a_models(kept_by_a_model, tmp_path, to):
    """Formats with room for texts alone; the others hold who wrote them in their rows."""
    _, data = kept_by_a_model
    export(data, tmp_path / "out", to, kinds="short")
    again = panoglot.ingest(str(tmp_path / "out"), str(tmp_path / "again.pano"), quiet=True).dataset
    told = by_whom(again)
    assert told
    assert {row[2:4] for row in told} == {("describe/1", "toy:writer")}
    assert {row[1] for row in told} == {"short"}


@pytest.mark.parametrize("to", ["llava", "messages"])
def test_what_we_asked_with_is_nobodys_question_and_a_persons_stays(pictures, tmp_path, to):
    rows = [
        {"image": "00.jpg", "caption_hi": "एक लाल साइकिल"},
        {
            "image": "01.jpg",
            "conversations": [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "قطة"}],
        },
        {"image": "02.jpg", "caption_th": "แมวดำ"},
    ]
    (pictures / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    data = panoglot.ingest(str(pictures / "rows.json"), str(tmp_path / "x.pano"), quiet=True).dataset
    out = tmp_path / "out"
    export(data, out, to, option=["prompt=Tell me about <image> it in {language}."])
    file = out / {"llava": "llava.json", "messages": "messages.jsonl"}[to]
    text = file.read_text(encoding="utf-8")
    assert "in Thai." in text
    again = panoglot.ingest(str(out), str(tmp_path / "again.pano"), quiet=True).dataset
    said = {"एक लाल साइकिल": "human", "แมวดำ": "human", "What is it?": "question", "قطة": "answer"}
    assert {row["text"]: row["kind"] for row in again.captions.rows()} == said
    kinds = {row["text"]: row for row in again.captions.rows()}
    assert list(kinds["قطة"]["parents"]) == [kinds["What is it?"]["caption_id"]]
    assert not any(kinds[text]["parents"] for text in ("एक लाल साइकिल", "แมวดำ"))
    # somebody's own words where we asked for a caption are a caption of theirs
    for old in (json.dumps("แมวดำ"), '"แมวดำ"'):
        text = text.replace(old, '"Paka mweusi"')
    file.write_text(text, encoding="utf-8")
    mended = panoglot.ingest(str(out), str(tmp_path / "mended.pano"), quiet=True).dataset
    assert {row["text"]: row["kind"] for row in mended.captions.rows()} == {
        "Paka mweusi" if text == "แมวดำ" else text: kind for text, kind in said.items()
    }


def test_a_file_that_says_who_wrote_may_say_anything(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(picture_bytes(0))
    (folder / "a.txt").write_text("猫在垫子上。", encoding="utf-8")
    (folder / ".panoglot-texts.jsonl").write_bytes(
        b"\xff\n[1]\n{}\n" + b"[" * 100_000 + b'\n{"image": 3, "text": "x"}\n{"image": "'
        + image_id(picture_bytes(0)).encode() + b'", '
        + b'"text": "\\u732b\\u5728\\u57ab\\u5b50\\u4e0a\\u3002", "region": 7, '
        + b'"kind": [], "recipe": {}, "caption_id": "../..", "parents": "x"}\n'
    )  # fmt: skip
    again = panoglot.ingest(str(folder), str(tmp_path / "y.pano"), quiet=True)
    assert again.status == "done"
    assert [row[:3] for row in by_whom(again.dataset)] == [("猫在垫子上。", "human", "human")]


def test_sidecars_in_a_folder_of_their_own_are_read_again(dataset, tmp_path):
    export(dataset, tmp_path / "out", "sidecars", names="original", option=["texts=lang"])
    panoglot.ingest(str(tmp_path / "out" / "images"), str(tmp_path / "b.pano"), quiet=True)
    again = panoglot.open(tmp_path / "b.pano")
    had = {(row["lang"], " ".join(row["text"].split())) for row in dataset.captions.rows(["lang", "text"])}
    assert {(row["lang"], row["text"]) for row in again.captions.rows(["lang", "text"])} == had
    assert len(again.images) == 8


# -- names, options, the card ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["webdataset", "jsonl", "coco", "kohya", "imagefolder", "llava"])
def test_original_names_are_safe_and_unique(dataset, tmp_path, to):
    export(dataset, tmp_path / "out", to, names="original", image="jpg")
    if to == "webdataset":
        with tarfile.open(tmp_path / "out" / "00000.tar") as tar:
            names = [member.name for member in tar if member.name.endswith(".jpg")]
    else:
        names = [path.name for path in (tmp_path / "out").rglob("*.jpg")]
    stems = [name.removesuffix(".jpg") for name in names]
    assert len({stem.casefold() for stem in stems}) == 8
    assert {"هاتف", "हिन्दी", "passwd", "_nul", "図_1"} < set(stems)
    assert sum(stem.casefold().startswith("café") for stem in stems) == 3
    assert not any("." in stem or "/" in stem for stem in stems)


@pytest.mark.parametrize("to", ["llava", "messages", "kohya", "imagefolder", "energon", "mds", "csv", "sidecars"])
def test_the_same_rows_give_the_same_bytes(dataset, tmp_path, to):
    for name in ("one", "two"):
        export(dataset, tmp_path / name, to, shard_size=3, names="original")
    one, two = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) > 3


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("llava", {"caption_column": "text"}, "--to llava has no option 'caption_column'. Known: prompt, texts."),
        ("lance", {"option": ["caption_colum=x"]}, "Did you mean 'caption_column'"),
        ("parquet", {"option": ["extension=txt"]}, "It has none"),
        ("kohya", {"option": ["extension=md"]}, "extension='md' is not known"),
        ("kohya", {"option": ["resolution=big"]}, "whole number of at least 1"),
        ("sidecars", {"option": ["replace=perhaps"]}, "must be true or false"),
        ("imagefolder", {"caption_column": "image"}, "cannot be used here"),
        ("parquet", {"beside": True}, "--to parquet has no option 'beside'"),
        ("sidecars", {"beside": True}, "need no other folder"),
        ("webdataset", {"names": "mine"}, "names='mine' is not known"),
        ("webdataset", {"split": "test"}, "is not split: panoglot split"),
        ("webdataset", {"mask": "email"}, "Did you mean 'emails'"),
        ("webdataset", {"opt_out": "no-such-file"}, "cannot be read"),
        ("lava", {}, "Did you mean 'llava'"),
    ],
)
def test_options_that_a_writer_does_not_have(dataset, tmp_path, to, options, message):
    with pytest.raises(UserError) as raised:
        export(dataset, tmp_path / "out", to, **options)
    assert message in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_every_export_has_its_card(dataset, tmp_path):
    for to in writer_names():
        if to in ("notes", "preferences"):  # of the package of the tests; needs comparisons
            continue
        facts = export(dataset, tmp_path / to, to)
        card = (tmp_path / to / "README.md").read_text(encoding="utf-8")
        assert f"{facts['images']} pictures with" in card
        assert f"`{to}`" in card
        assert ("| Hindi (`hi`) | 1 |" in card) == ("hi" in facts["languages"])
        assert "hi" in facts["languages"] or any("are not in it" in note for note in facts["notes"])
        assert "| CC-BY-4.0 (pictures) | 8 |" in card
        assert "given with the picture" in card
        assert "anna" not in card
        assert str(tmp_path) not in card


def test_the_card_says_what_was_dropped_and_left_out(dataset, tmp_path):
    data = made(tmp_path / "b.pano")
    ids = data.images.read(["image_id"])["image_id"].to_pylist()
    data.marks.insert([{"image_id": ids[0], "scores": {}, "dropped": "near_duplicate", "run_id": "r"}])
    export(data, tmp_path / "out", "mds", lang="sw")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| near_duplicate | 1 |" in card
    assert "| no_caption | " in card
    assert "languages: sw" in card


def test_hugging_face_finds_the_splits_of_the_card(dataset, tmp_path):
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    data = made(tmp_path / "b.pano")
    ids = sorted(data.images.read(["image_id"])["image_id"].to_pylist())
    rows = [{"image_id": key, "split": "test" if n < 2 else "train", "run_id": "r"} for n, key in enumerate(ids)]
    data.splits.insert(rows)
    for to, builder in (("parquet", None), ("imagefolder", "imagefolder")):
        facts = export(data, tmp_path / to, to, captioned_only=True)
        assert facts["splits"] == {"test": 2, "train": 6}
        where = (builder, {"data_dir": str(tmp_path / to)}) if builder else (str(tmp_path / to), {})
        found = datasets.load_dataset(where[0], cache_dir=str(tmp_path / "cache"), **where[1])
        assert {name: len(part) for name, part in found.items()} == {"test": 2, "train": 6}
        assert all(row["image"].size[1] == 40 for part in found.values() for row in part)
    assert export(data, tmp_path / "hf", "hf")["splits"] == {"test": 2, "train": 6}
    found = datasets.load_from_disk(str(tmp_path / "hf"))
    assert {name: len(part) for name, part in found.items()} == {"test": 2, "train": 6}
    again = panoglot.ingest(str(tmp_path / "hf"), str(tmp_path / "again.pano")).dataset
    assert set(again.images.read(["image_id"])["image_id"].to_pylist()) == set(ids)
    only = export(data, tmp_path / "only", "csv", split="test")
    assert only["images"] == 2
    with open(tmp_path / "only" / "pairs.csv", newline="", encoding="utf-8") as file:
        assert len({row["filepath"] for row in csv.DictReader(file, delimiter="\t")}) == 2
    with pytest.raises(UserError, match="Did you mean 'test'"):
        export(data, tmp_path / "x", "csv", split="tset")
