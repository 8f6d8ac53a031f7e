"""Export, then ingest: the same rows, in every format; and what plain readers find."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import UserError
from panoglot.exporting import CARD, EXPORT_FORMATS, MANIFEST, export
from panoglot.formats import detect
from panoglot.table import create_dataset
from tests.formats.samples import full_dataset, store, take


def rows(table, key):
    return {row[key]: {k: v for k, v in row.items() if k != "run_id"} for row in table.rows()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return full_dataset(tmp_path_factory.mktemp("data") / "a.pano")


@pytest.mark.parametrize("to", EXPORT_FORMATS)
@pytest.mark.parametrize("include_dropped", [False, True])
def test_export_then_ingest_gives_the_same_rows(dataset, tmp_path, to, include_dropped):
    facts = export(dataset, tmp_path / "out", to, include_dropped=include_dropped, shard_size=4, image="original")
    assert detect(tmp_path / "out") == EXPORT_FORMATS[to]
    again = create_dataset(tmp_path / "b.pano")
    assert store(again, tmp_path / "out") == []
    images, captions = rows(dataset.images, "image_id"), rows(dataset.captions, "caption_id")
    if not include_dropped:
        gone = set(dataset.marks.read()["image_id"].to_pylist())
        images = {k: v for k, v in images.items() if k not in gone}
        captions = {k: v for k, v in captions.items() if v["image_id"] not in gone and v["dropped"] is None}
    assert rows(again.images, "image_id") == images
    assert rows(again.captions, "caption_id") == captions
    assert (facts["images"], facts["captions"]) == (len(images), len(captions))
    assert sum(facts["languages"].values()) == len(captions)


def test_another_dataset_is_a_source_too(dataset, tmp_path):
    again = create_dataset(tmp_path / "b.pano")
    assert detect(dataset.path) == "pano"
    assert store(again, dataset.path) == []
    assert rows(again.images, "image_id") == rows(dataset.images, "image_id")
    assert rows(again.captions, "caption_id") == rows(dataset.captions, "caption_id")
    samples, _ = take(dataset.path, include_dropped=False)
    assert len(samples) == len(dataset.images) - 1
    assert all(caption.dropped is None for sample in samples for caption in sample.captions)


@pytest.mark.parametrize("to", EXPORT_FORMATS)
def test_the_same_rows_give_the_same_bytes(dataset, tmp_path, to):
    for name in ("one", "two"):
        export(dataset, tmp_path / name, to, shard_size=3)
    one = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*") if p.is_file()}
    two = {p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*") if p.is_file()}
    assert one == two
    assert len(one) >= 3


@pytest.mark.parametrize("to", ["webdataset", "jsonl", "coco"])
def test_a_changed_picture_takes_nobody_elses_ids(dataset, tmp_path, to):
    """A file that claims ids for other bytes: the texts are kept as given, the ids are not believed."""
    export(dataset, tmp_path / "out", to, image="original")
    data = [row["data"] for row in dataset.images.rows(["data"])]
    changed = 0
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and path.name != MANIFEST:
            raw = path.read_bytes()
            new = raw
            for one in data:
                new = new.replace(one, one[:-1] + bytes([one[-1] ^ 1]))
            if new != raw:
                path.write_bytes(new)
                changed += 1
    assert changed
    samples, _ = take(tmp_path / "out")
    assert samples
    for sample in samples:
        assert not sample.uri.startswith("wo/")
        assert all(c.caption_id == "" and c.recipe == "human" and not c.parents for c in sample.captions)
    assert any(sample.captions for sample in samples)


def test_languages_and_kinds(dataset, tmp_path):
    facts = export(dataset, tmp_path / "de", "webdataset", lang=["zh", "DE"], kinds=["short", "alt"])
    assert set(facts["languages"]) == {"de", "zh-Hant"}
    assert facts["notes"][:1] == [f"zh takes in zh-Hant ({facts['notes'][0].split('(')[1]}"]
    both = export(dataset, tmp_path / "both", lang=["de", "kab"])
    assert set(both["languages"]) == {"de"}
    assert both["notes"][0].startswith("nothing is in kab; there is ")
    samples, _ = take(tmp_path / "de")
    assert {c.kind for s in samples for c in s.captions} == {"short", "alt"}
    with tarfile.open(tmp_path / "de" / "00000.tar") as tar:
        first = {m.name: tar.extractfile(m).read().decode() for m in tar if m.name.endswith(".txt")}
    assert set(first.values()) == {"波浪上的圓盤"}  # the language named first
    assert export(dataset, tmp_path / "some", captioned_only=True)["images"] == len(dataset.images) - 2


def test_what_a_plain_webdataset_reader_finds(dataset, tmp_path):
    export(dataset, tmp_path / "out", "webdataset", shard_size=4, image="original")
    assert json.loads((tmp_path / "out" / "sizes.json").read_text()) == {"00000.tar": 4, "00001.tar": 4}
    names = []
    for shard in ("00000.tar", "00001.tar"):
        with tarfile.open(tmp_path / "out" / shard) as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
                names.append(member.name)
                if member.name.endswith(".txt"):
                    assert tar.extractfile(member).read().decode() == "A disc\non waves"
                if member.name.endswith(".json"):
                    value = json.loads(tar.extractfile(member).read())
                    assert value["key"] + ".json" == member.name
                    assert value["width"] >= 40
    keys = list(dict.fromkeys(name.split(".")[0] for name in names))
    assert keys == sorted(keys)
    assert {name.split(".")[1] for name in names} >= {"jpg", "png", "webp", "gif", "bmp", "txt", "json"}


def test_what_a_plain_coco_reader_finds(dataset, tmp_path):
    export(dataset, tmp_path / "out", "coco")
    value = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [image["id"] for image in value["images"]] == list(range(1, 9))
    assert all((tmp_path / "out" / "images" / image["file_name"]).is_file() for image in value["images"])
    by_image = {}
    for annotation in value["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation["caption"])
    assert sorted(map(len, by_image.values())) == [4] * 7


def test_range_by_range_gives_the_same_as_at_once(dataset, tmp_path, monkeypatch):
    export(dataset, tmp_path / "once", "jsonl")
    monkeypatch.setattr("panoglot.exporting._rows._RANGE", 2)
    monkeypatch.setattr("panoglot.exporting._rows._AT_ONCE", 3)
    monkeypatch.setattr("panoglot.exporting._rows._PICTURE_BYTES", 1)
    monkeypatch.setattr("panoglot.exporting._rows._WAITING", 1)
    export(dataset, tmp_path / "ranges", "jsonl")
    assert (tmp_path / "once/metadata.jsonl").read_bytes() == (tmp_path / "ranges/metadata.jsonl").read_bytes()


def test_an_export_is_replaced_whole_and_nothing_else_is_touched(dataset, tmp_path):
    out = tmp_path / "out"
    export(dataset, out, "webdataset", shard_size=1)
    export(dataset, out, "parquet")
    assert sorted(os.listdir(out)) == ["00000.parquet", CARD, MANIFEST]
    (out / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"also holds mine\.txt"):
        export(dataset, out, "jsonl")
    other = tmp_path / "other"
    other.mkdir()
    (other / "a").write_text("x")
    with pytest.raises(UserError, match="not empty and no export"):
        export(dataset, other, "jsonl")
    (tmp_path / "empty").mkdir()
    export(dataset, tmp_path / "empty", "jsonl")
    assert sorted(os.listdir(tmp_path)) == ["empty", "other", "out"]


def test_a_failed_export_leaves_nothing(dataset, tmp_path, monkeypatch):
    out = tmp_path / "out"
    export(dataset, out, "jsonl")
    before = (out / "metadata.jsonl").read_bytes()

    def fail(done, total):
        if done == 3:
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        export(dataset, out, "jsonl", lang=["de"], progress=fail)
    assert (out / "metadata.jsonl").read_bytes() == before
    assert os.listdir(tmp_path) == ["out"]


def test_what_a_killed_export_left_is_cleared(dataset, tmp_path):
    code = (
        "import os, signal, sys; from panoglot.exporting import export\n"
        "export(sys.argv[1], sys.argv[2], progress=lambda n, _: n == 3 and os.kill(os.getpid(), signal.SIGKILL))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(dataset.path), str(tmp_path / "out")], check=False)
    assert killed.returncode == -9
    assert [name.startswith(".out.partial-") for name in os.listdir(tmp_path)] == [True]
    export(dataset, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "webdatset"}, "Did you mean 'webdataset'"),
        ({"lang": ["klingonish"]}, "'klingonish' is not a language tag"),
        ({"lang": ["fr"]}, "no captions of fr; it has: "),
        ({"kinds": ["ocr"]}, r"no captions of ocr; it has: \w+ \d"),
        ({"lang": ["de-AT"]}, "nothing is in de-AT; there is de "),
        ({"kinds": ["shrt"]}, "Did you mean 'short'"),
        ({"shard_size": 0}, "at least 1"),
    ],
)
def test_mistakes_write_nothing(dataset, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        export(dataset, tmp_path / "out", **options)
    assert os.listdir(tmp_path) == []


def test_the_output_cannot_be_the_dataset_or_in_it(dataset, tmp_path):
    for output in (dataset.path, dataset.path / "x", dataset.path.parent):
        with pytest.raises(UserError, match="lie in each other"):
            export(dataset, output)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        export(dataset, tmp_path / "file")
    with pytest.raises(UserError, match="has no images"):
        export(create_dataset(tmp_path / "empty.pano"), tmp_path / "out")


def test_hugging_face_datasets_open_it(dataset, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    kept = len(dataset.images) - 1
    export(dataset, tmp_path / "hf", "hf", shard_size=3)
    loaded = datasets.load_from_disk(str(tmp_path / "hf"))
    assert len(loaded) == kept
    assert {row["image"].size[1] for row in loaded} == {30}
    assert {c["lang"] for row in loaded for c in row["captions"]} == {"en", "de", "ar", "zh-Hant", "sw"}
    for to, name, options in (
        ("parquet", str(tmp_path / "parquet"), {}),
        ("jsonl", "imagefolder", {"data_dir": str(tmp_path / "jsonl")}),
    ):
        export(dataset, tmp_path / to, to)
        loaded = datasets.load_dataset(name, split="train", cache_dir=str(tmp_path / "cache"), **options)
        assert len(loaded) == kept
        assert all(row["image"].size[1] == 30 for row in loaded)
        assert {row["caption"] for row in loaded} == {"A disc\non waves", None}


def test_the_webdataset_package_opens_it(dataset, tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="the package webdataset is not installed")
    export(dataset, tmp_path / "out", "webdataset", captioned_only=True, shard_size=3)
    shards = sorted(str(path) for path in Path(tmp_path / "out").glob("*.tar"))
    pipe = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")
    found = [(sample["txt"], sample["json"]["caption"]) for sample in pipe]
    assert found == [("A disc\non waves", "A disc\non waves")] * 7


# -- pictures that recipients can read ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Two ordinary pictures, and one of every kind that common readers fail on or see wrongly."""
    folder = tmp_path_factory.mktemp("odd") / "in"
    folder.mkdir()
    reds = iter(PIL.Image.new("RGB", (40, 30), (200 + n, 40, 40)) for n in range(9))
    next(reds).save(folder / "a.jpg")
    next(reds).save(folder / "b.webp")
    ramp = np.linspace(0, 65535, 1200).astype(np.uint16).reshape(30, 40)
    PIL.Image.fromarray(ramp).save(folder / "c.png")
    next(reds).save(folder / "d.bmp")
    next(reds).save(folder / "e.tif")
    next(reds).save(folder / "f.avif")
    next(reds).save(folder / "g.gif", save_all=True, append_images=[PIL.Image.new("RGB", (40, 30))])
    next(reds).convert("CMYK").save(folder / "h.jpg")
    PIL.Image.new("RGB", (300, 10), (1, 2, 3)).save(folder / "wide.png")
    (folder / "i.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="red"/></svg>'
    )
    for path in list(folder.iterdir()):
        path.with_suffix(path.suffix + ".txt").write_text("Something red\n")
    data = create_dataset(folder.parent / "odd.pano")
    assert store(data, folder) == []
    return data


def pictures_of(folder):
    """Every picture of an export as a plain reader takes it: name ending to Pillow's picture."""
    with tarfile.open(folder / "00000.tar") as tar:
        for member in tar:
            if not member.name.endswith((".txt", ".json")):
                data = tar.extractfile(member).read()
                yield (
                    member.name.partition(".")[2],
                    data,
                    PIL.Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP"]),
                )


def test_an_export_holds_what_common_readers_decode(odd, tmp_path):
    facts = export(odd, tmp_path / "out", "webdataset")
    assert facts["images"] == 10
    assert facts["converted"] == {"JPEG": 2, "PNG": 5}  # AVIF and inks; 16 bits, BMP, TIFF, GIF, drawing
    assert (facts["resized"], facts["left_out"]) == (0, {})
    originals = {row["data"] for row in odd.images.rows(["data"])}
    found = list(pictures_of(tmp_path / "out"))
    assert sum(data in originals for _, data, _ in found) == 3
    for suffix, _, picture in found:
        assert suffix == {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}[picture.format]
        assert picture.mode in ("RGB", "L")
        picture.load()
    greys = [p for _, _, p in found if p.format == "PNG" and p.size == (40, 30) and p.getpixel((39, 29))[0] > 250]
    assert any(abs(p.getpixel((20, 15))[0] - 129) < 3 for p in greys)  # 16 bits are scaled, not cut


def test_what_was_converted_keeps_its_captions_and_says_from_what(odd, tmp_path):
    for to in ("webdataset", "parquet", "jsonl", "hf", "coco"):
        export(odd, tmp_path / to, to)
        again = create_dataset(tmp_path / f"{to}.pano")
        assert store(again, tmp_path / to) == []
        ids = set(odd.images.read(["image_id"])["image_id"].to_pylist())
        rows_ = again.images.rows(["image_id", "format", "context"])
        changed = [json.loads(row["context"]) for row in rows_ if row["image_id"] not in ids]
        assert len(changed) == 7
        assert {one["converted_from"]["image_id"] for one in changed} < ids
        assert sorted(one["converted_from"]["format"] for one in changed) == [
            "avif", "bmp", "gif", "jpeg", "png", "svg", "tiff"
        ]  # fmt: skip
        had = odd.captions.read(["caption_id"])["caption_id"].to_pylist()
        assert sorted(again.captions.read(["caption_id"])["caption_id"].to_pylist()) == sorted(had)


@pytest.mark.parametrize(("image", "format"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_one_format_for_all(odd, tmp_path, image, format):
    export(odd, tmp_path / "out", image=image)
    assert {picture.format for _, _, picture in pictures_of(tmp_path / "out")} == {format}


def test_the_longest_side(odd, tmp_path):
    facts = export(odd, tmp_path / "out", max_side=100)
    assert facts["resized"] == 1
    assert max(picture.width for _, _, picture in pictures_of(tmp_path / "out")) == 100
    value = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert value["resized"] == 1


def test_what_cannot_be_decoded_is_left_out_and_counted(tmp_path):
    torn = b"BM" + bytes(12)
    data = create_dataset(tmp_path / "a.pano")
    good = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(good, "JPEG")
    blank = {"uri": "x", "width": 8, "height": 8, "context": "{}", "run_id": "r", "size": 1}
    data.images.insert(
        [
            {"image_id": "a" * 32, "data": torn, "format": "bmp", **blank},
            {"image_id": "b" * 32, "data": good.getvalue(), "format": "jpeg", **blank},
        ]
    )
    facts = export(data, tmp_path / "out")
    assert (facts["images"], facts["left_out"]) == (1, {"not_an_image": 1})


@pytest.mark.parametrize(
    "options", [{"image": "jpeg"}, {"max_side": 0}, {"image": "original", "max_side": 9}], ids=["name", "size", "both"]
)
def test_wishes_about_pictures_that_cannot_be_met(odd, tmp_path, options):
    with pytest.raises(UserError, match=r"not a format of pictures|at least 1|keeps every byte"):
        export(odd, tmp_path / "out", **options)
