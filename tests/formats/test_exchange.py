"""What other tools write: their samples, made by the real libraries, and annotation files, whole and broken."""

import json
import pickle
import struct
from collections import Counter

import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.formats import detect
from panoglot.geometry import Region
from panoglot.pictures import decode_mask
from tests.conftest import picture_bytes
from tests.formats.samples import reasons, take, texts, unused

LANGS = {"en", "ja", "ar", "hi", "ru", "de"}
#: Folder of the samples: format, pictures, captions, languages that the files give.
SAMPLES = {
    "ai-toolkit": ("folder", 3, 3, set()),
    "coco": ("coco", 14, 16, set()),
    "clip-retrieval": ("parquet", 0, 0, set()),
    "croissant": ("croissant", 6, 6, LANGS),
    "csv-dialects": ("tabular", 30, 30, LANGS),
    "datacomp": ("parquet", 0, 0, set()),
    "energon": ("webdataset", 6, 6, set()),
    "fiftyone": ("folder", 6, 0, set()),
    "hf-parquet": ("parquet", 6, 12, LANGS),
    "hf-save-to-disk": ("hf_datasets", 6, 12, LANGS),
    "hf-webdataset": ("webdataset", 6, 6, LANGS),
    "hf-webdataset-mixed": ("webdataset", 6, 6, set()),
    "imagefolder-csv": ("tabular", 6, 6, LANGS),
    "imagefolder-jsonl": ("tabular", 12, 12, LANGS),
    "imagefolder-parquet": ("tabular", 6, 6, set()),
    "img2dataset": ("img2dataset", 8, 6, LANGS - {"de"}),
    "img2dataset-files": ("img2dataset", 8, 6, LANGS - {"de"}),
    "kohya": ("folder", 6, 6, set()),
    "label-studio": ("label_studio", 3, 6, {"en", "ja", "ar"}),
    "lance": ("lance", 18, 12, LANGS),
    "llamafactory": ("tabular", 18, 36, set()),
    "llava": ("tabular", 6, 12, set()),
    "mds": ("mds", 6, 12, LANGS),
    "ms-swift": ("tabular", 6, 12, set()),
    "onetrainer": ("folder", 3, 6, set()),
    "refcoco": ("refcoco", 2, 4, set()),
    "visual-genome": ("visual_genome", 3, 3, set()),
    "webdataset": ("webdataset", 6, 6, LANGS),
}
#: What is told beside them: rejects by reason and number, files that are named as not used.
TOLD = {
    "clip-retrieval": ({"missing_file": 6}, set()),
    "datacomp": ({"remote_url": 6}, set()),
    "fiftyone": ({}, {"FiftyOneImageClassificationDataset/labels.json"}),
    "img2dataset": ({"failed_to_resize": 2, "failed_to_download": 1}, set()),
    "img2dataset-files": ({"failed_to_resize": 2, "failed_to_download": 1}, set()),
    "kohya": ({}, {"metadata.json", "dreambooth.toml", "finetune.toml"}),
    "label-studio": ({}, {"label_config.xml"}),
    "lance": ({}, {"id"}),
    "llamafactory": ({}, {"dataset_info.json"}),
}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_samples_of_real_tools(test_data, name):
    format, pictures, captions, langs = SAMPLES[name]
    source = test_data / "formats" / name
    assert detect(source) == format
    options = {"download": False} if name == "datacomp" else {}
    samples, rejects = take(source, **options)
    assert len(samples) == pictures
    assert sum(len(sample.captions) for sample in samples) == captions
    assert {caption.lang for sample in samples for caption in sample.captions} - {"und"} == langs
    assert len({sample.place or sample.uri for sample in samples}) == pictures  # none takes another's place
    counts, names = TOLD.get(name, ({}, set()))
    said = reasons(rejects)
    assert {reason: said.count(reason) for reason in said} == counts
    assert {one for told in unused(source, **options) for one in told.names} == names


def test_samples_of_real_tools_into_one_dataset(test_data, tmp_path):
    output = str(tmp_path / "x.pano")
    for name in ("llava", "label-studio", "refcoco", "mds", "lance", "visual-genome", "coco"):
        panoglot.ingest(str(test_data / "formats" / name), output, quiet=True)
    data = panoglot.open(output)
    assert data.rejects.count() == 0
    assert len(data.images) == len({row["image_id"] for row in data.captions.rows(["image_id"])})
    kinds = Counter(row["kind"] for row in data.captions.rows(["kind"], "dropped is null"))
    assert kinds == {"question": 6, "answer": 6, "region": 5, "human": kinds["human"], "label": kinds["label"]}
    langs = {row["lang"] for row in data.captions.rows(["lang"], "kind = 'answer'")}
    assert langs == LANGS  # nobody said them: identified
    assert data.captions.count("region is not null") >= 8


def test_every_folder_of_the_samples_is_looked_at(test_data):
    there = {path.name for path in (test_data / "formats").iterdir() if path.is_dir()}
    assert there == {*SAMPLES, "wit"}


# -- tables in a folder of pictures ------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    for n in range(3):
        (tmp_path / f"{n}.jpg").write_bytes(picture_bytes(n))
    return tmp_path


def talk(n, question, answer):
    turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"id": str(n), "image": f"{n}.jpg", "conversations": turns}


def test_a_table_whose_rows_name_the_pictures_of_its_folder_is_read(photos):
    rows = [talk(0, "ما هذا؟", "قط أسود."), talk(1, "यह क्या है?", "एक लाल गेंद।"), talk(9, "?", "nichts")]
    (photos / "train.json").write_text(json.dumps(rows))
    (photos / "prices.csv").write_text("article,price\n7,2.50\n")
    samples, rejects = take(photos)
    assert sorted(len(sample.captions) for sample in samples) == [0, 2, 2]  # 2.jpg is in no row
    assert [c.kind for c in samples[0].captions] == ["question", "answer"]
    assert reasons(rejects) == ["missing_file"]  # one picture of the conversations is not there
    assert [one.names for one in unused(photos)] == [("prices.csv",)]


def test_texts_beside_pictures_win_over_a_table(photos):
    (photos / "0.txt").write_text("beside")
    (photos / "rows.csv").write_text("file_name,caption\n0.jpg,table\n")
    samples, _ = take(photos)
    assert [texts(sample) for sample in samples if sample.captions] == [[("und", "beside")]]
    assert [one.names for one in unused(photos)] == [("rows.csv",)]


def test_rows_may_name_pictures_of_a_folder_below(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.jpg").write_bytes(picture_bytes(0))
    (tmp_path / "meta.json").write_text('{"a.jpg": {"caption": "ภูเขา"}}')
    samples, rejects = take(tmp_path / "meta.json")
    assert [texts(sample) for sample in samples] == [[("und", "ภูเขา")]]
    assert rejects == []


def test_a_text_file_of_paths(photos):
    (photos / "mine.txt").write_text("1.jpg\n0.jpg\n")
    assert detect(photos / "mine.txt") == "listing"
    assert [sample.uri.rpartition("/")[2] for sample in take(photos / "mine.txt")[0]] == ["1.jpg", "0.jpg"]
    (photos / "prose.txt").write_text("1.jpg\nshows a cat\n")
    with pytest.raises(UserError, match="nothing that is read"):
        detect(photos / "prose.txt")


def test_uids_of_datacomp_choose_rows(photos):
    import numpy as np

    uids = ["670b14728ad9902aecba32e22fa4f6bd", "04fc711301f3c784d66955d98d399afb"]
    rows = [{"uid": uid, "file_name": f"{n}.jpg", "text": "x y"} for n, uid in enumerate(uids)]
    (photos / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    chosen = np.array([(int(uids[1][:16], 16), int(uids[1][16:], 16))], "u8,u8")
    np.save(photos / "subset.npy", chosen)
    samples, _ = take(photos / "rows.jsonl", uids=str(photos / "subset.npy"))
    assert [sample.uri.rpartition("#")[2] for sample in samples] == ["1"]
    (told,) = unused(photos / "rows.jsonl", uids=str(photos / "subset.npy"))
    assert (told.count, "outside" in told.what) == (1, True)
    (photos / "subset.txt").write_text(uids[0] + "\n")
    assert len(take(photos / "rows.jsonl", uids=str(photos / "subset.txt"))[0]) == 1
    (photos / "code.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }")
    with pytest.raises(UserError, match="uids"):
        take(photos / "rows.jsonl", uids=str(photos / "code.npy"))


# -- regions -----------------------------------------------------------------------------------------------------------


def coco(photos, annotations, **more):
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48} for n in range(3)]
    file = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "猫"}], **more}
    (photos / "instances_x.json").write_text(json.dumps(file))
    return photos


def test_boxes_and_masks_of_coco_are_labels_of_places(photos):
    square = [16, 12, 47, 12, 47, 35, 16, 35]
    box = {"image_id": 0, "category_id": 7, "bbox": [16, 12, 32, 24], "segmentation": [square]}
    runs = {"size": [48, 64], "counts": [48 * 16, 48 * 32, 48 * 16]}
    strip = {"image_id": 1, "category_id": 7, "bbox": [16, 0, 32, 48], "segmentation": runs}
    bad = {"image_id": 2, "category_id": 7, "bbox": [10**400, 0, float("1e300"), -1], "segmentation": [[1, 2]]}
    samples, rejects = take(coco(photos, [box, strip, bad, {"image_id": 2, "category_id": 99}]))
    assert rejects == []
    first, second, third = (sample.captions[0] for sample in samples)
    assert (first.text, first.kind) == ("猫", "label")
    assert first.region.box == (0.25, 0.25, 0.75, 0.75)
    assert decode_mask(first.region.mask, 64, 48)[12:36, 16:48].all()
    assert decode_mask(first.region.mask, 64, 48).sum() == 32 * 24
    assert decode_mask(second.region.mask, 64, 48).sum() == 32 * 48
    assert third.region is None
    assert [told.count for told in unused(photos)] == [1]  # no such category


def test_captions_and_boxes_of_one_picture_stand_beside_each_other(photos, tmp_path):
    coco(photos, [{"image_id": 0, "category_id": 7, "bbox": [0, 0, 32, 24]}])
    told = {"images": [{"id": 0, "file_name": "0.jpg"}], "annotations": [{"image_id": 0, "caption": "Paka mweusi."}]}
    (photos / "captions_x.json").write_text(json.dumps(told))
    for _ in range(2):  # the second reading supersedes nothing
        panoglot.ingest(str(photos), str(tmp_path / "x.pano"), quiet=True)
    data = panoglot.open(str(tmp_path / "x.pano"))
    rows = data.captions.rows(["text", "kind", "dropped"])
    assert sorted((row["text"], row["kind"], row["dropped"]) for row in rows) == [
        ("Paka mweusi.", "human", None),
        ("猫", "label", None),
    ]


def test_panoptic_segments(photos):
    segments = [
        {"id": 1, "category_id": 7, "bbox": [0, 0, 32, 48]},
        {"id": 2, "category_id": 7, "bbox": [32, 0, 32, 48]},
    ]
    samples, _ = take(coco(photos, [{"image_id": 0, "file_name": "0.png", "segments_info": segments}]))
    assert [caption.region.x0 for caption in samples[0].captions] == [0, 0.5]


def test_refcoco_is_read_and_code_in_its_pickle_is_not_run(photos):
    (photos / "instances.json").write_text(
        json.dumps(
            {
                "images": [{"id": 5, "file_name": "0.jpg", "width": 64, "height": 48}],
                "annotations": [{"id": 1, "image_id": 5, "category_id": 7, "bbox": [32, 0, 32, 48]}],
                "categories": [{"id": 7, "name": "person"}],
            }
        )
    )
    ref = {"ref_id": 0, "ann_id": 1, "image_id": 5, "category_id": 7, "split": "testA"}
    refs = [{**ref, "sentences": [{"raw": "the one in blue"}, {"sent": "right person"}]}, {"image_id": 6}]
    (photos / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    samples, rejects = take(photos)
    assert [(c.kind, c.text) for c in samples[0].captions] == [
        ("region", "the one in blue"),
        ("region", "right person"),
        ("label", "person"),
    ]
    assert samples[0].captions[0].region == Region(0.5, 0, 1, 1)
    assert samples[0].context["split"] == "testA"
    assert reasons(rejects) == ["orphan_caption"]
    assert len(samples) == 3  # the others as a folder has them

    class Evil:
        def __reduce__(self):
            return print, ("never",)

    (photos / "refs(unc).p").write_bytes(pickle.dumps([Evil()]))
    with pytest.raises(UserError, match="print"):
        take(photos)
    endless = "z"
    for _ in range(60):
        endless = [endless, endless]
    (photos / "refs(unc).p").write_bytes(pickle.dumps([{**ref, "image_id": endless, "sentences": []}]))
    with pytest.raises(UserError, match="no texts or numbers"):
        take(photos)
    (photos / "refs(unc).p").write_bytes(b"\x80\x04]r" + (2**27).to_bytes(4, "little") + b".")
    with pytest.raises(UserError, match="at place 134217728"):
        take(photos)


def test_visual_genome_finds_its_pictures_and_broken_regions_cost_themselves(tmp_path):
    (tmp_path / "VG_100K").mkdir()
    (tmp_path / "VG_100K_2").mkdir()
    (tmp_path / "VG_100K" / "1.jpg").write_bytes(picture_bytes(1))
    (tmp_path / "VG_100K_2" / "2.jpg").write_bytes(picture_bytes(2))
    region = {"phrase": "แมวสีดำ", "x": 0, "y": 0, "width": 32, "height": 48}
    images = [
        {"id": 1, "regions": [region, {"phrase": None}, "?"]},
        {"id": 2, "regions": [{**region, "width": 0}]},
        {"id": 3, "regions": [region]},
        17,
    ]
    (tmp_path / "region_descriptions.json").write_text(json.dumps(images))
    facts = [{"image_id": n, "url": f"https://x.org/{n}.jpg", "width": 64, "height": 48} for n in (1, 2, 3)]
    (tmp_path / "image_data.json").write_text(json.dumps(facts))
    samples, rejects = take(tmp_path)
    assert [(c.kind, c.text, c.region and c.region.x1) for s in samples for c in s.captions] == [
        ("region", "แมวสีดำ", 0.5),
        ("human", "แมวสีดำ", None),
    ]
    assert reasons(rejects) == ["bad_json", "missing_file"]
    assert [one.count for one in unused(tmp_path)] == [2]


def test_label_studio(photos):
    def result(kind, **value):
        return {"type": kind, "value": value}

    box = {"x": 50, "y": 0, "width": 50, "height": 100}
    tasks = [
        {
            "id": 1,
            "data": {"image": "/data/local-files/?d=0.jpg", "lang": "sw", "shop": "A"},
            "annotations": [
                {
                    "result": [
                        result("textarea", text=["Paka mweusi."]),
                        result("choices", choices=["indoors"]),
                        result("rectanglelabels", rectanglelabels=["paka"], **box),
                        result("textarea", text=["jicho"], **box),
                        result("keypoint", x=1, y=1),
                    ]
                },
                {"was_cancelled": True, "result": [result("textarea", text=["cancelled"])]},
            ],
        },
        {"id": 2, "data": {"image": "s3://bucket/1.jpg"}, "annotations": []},
        {"id": 3, "data": {"text": "no picture"}, "annotations": []},
        {"id": 4, "data": {"image": "../../etc/x.jpg"}, "annotations": []},
    ]
    (photos / "export.json").write_text(json.dumps(tasks))
    samples, rejects = take(photos / "export.json")
    assert [(c.lang, c.kind, c.text, bool(c.region)) for c in samples[0].captions] == [
        ("sw", "human", "Paka mweusi.", False),
        ("sw", "label", "indoors", False),
        ("sw", "label", "paka", True),
        ("sw", "region", "jicho", True),
    ]
    assert samples[0].context == {"shop": "A"}
    assert reasons(rejects) == ["no_image", "outside_folder", "remote_url"]
    assert [one.names for one in unused(photos / "export.json")] == [("1: keypoint",)]


@pytest.mark.parametrize("odd", ["Infinity", "-Infinity", "NaN"])
def test_numbers_that_are_none_cost_no_other_task(photos, odd):
    box = {"type": "rectanglelabels", "value": {"rectanglelabels": ["paka"], "x": 0, "y": 0, "width": 5, "height": 5}}
    answer = {"type": "textarea", "value": {"text": ["Infinity is NaN"]}}
    tasks = [{"data": {"image": f"{n}.jpg", "score": 7}, "annotations": [{"result": [box, answer]}]} for n in (0, 1)]
    text = json.dumps(tasks).replace("7", odd, 1).replace('"width": 5', f'"width": {odd}', 1)
    (photos / "export.json").write_text(text)
    samples, rejects = take(photos / "export.json", "label_studio")
    assert [[c.text for c in one.captions if not c.region] for one in samples][1] == ["Infinity is NaN"]
    assert (len(samples), rejects) == (2, [])
    assert [one.context for one in samples] == [{}, {"score": 7}]
    rows = [{"image": "0.jpg", "caption": "Infinity and NaN", "score": 7}, {"image": "1.jpg", "caption": "ok"}]
    (photos / "rows.json").write_text(json.dumps(rows).replace("7", odd))
    assert [texts(one) for one in take(photos / "rows.json")[0]] == [[("und", "Infinity and NaN")], [("und", "ok")]]


# -- shards and tables -------------------------------------------------------------------------------------------------


def mds(folder, rows, encodings, **shard):
    samples = []
    for row in rows:
        parts = [row[name] for name in encodings]
        samples.append(b"".join(struct.pack("<I", len(part)) for part in parts) + b"".join(parts))
    start = 4 * (len(samples) + 2)
    offsets = [start]
    for sample in samples:
        offsets.append(offsets[-1] + len(sample))
    raw = struct.pack(f"<{len(offsets) + 1}I", len(samples), *offsets) + b"".join(samples)
    (folder / "shard.00000.mds").write_bytes(raw)
    index = {
        "version": 2,
        "shards": [
            {
                "format": "mds",
                "column_names": list(encodings),
                "column_encodings": list(encodings.values()),
                "column_sizes": [None] * len(encodings),
                "raw_data": {"basename": "shard.00000.mds"},
                "samples": len(samples),
                **shard,
            }
        ],
    }
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_mds_reads_what_it_knows_and_names_what_could_run_code(tmp_path):
    encodings = {"caption": "str", "image": "jpeg", "weights": "pkl"}
    rows = [{"caption": "חתול".encode(), "image": picture_bytes(n), "weights": b"never read"} for n in range(3)]
    mds(tmp_path, rows, encodings)
    samples, rejects = take(tmp_path)
    assert [texts(s) for s in samples] == [[("und", "חתול")]] * 3
    assert [s.data for s in samples] == [picture_bytes(n) for n in range(3)]
    assert rejects == []
    assert [one.names for one in unused(tmp_path)] == [("weights (pkl)",)]
    shard = tmp_path / "shard.00000.mds"
    shard.write_bytes(shard.read_bytes()[:-100])  # cut
    samples, rejects = take(tmp_path)
    assert (len(samples), reasons(rejects)) == (2, ["truncated_archive"])
    mds(tmp_path, rows, encodings, raw_data={"basename": "../../etc/passwd"})
    assert reasons(take(tmp_path)[1]) == ["outside_folder"]
    wrong = ({"column_names": 5}, {"column_sizes": 5}, {"raw_data": "x"}, {"raw_data": {"basename": "a\0b"}})
    for said in (*wrong, {"raw_data": {"basename": "a\ud800"}}):
        mds(tmp_path, rows, encodings, **said)
        with pytest.raises(UserError, match="no index of MDS shards"):
            take(tmp_path)


def test_a_lance_table_of_any_kind(tmp_path):
    import lance
    import pyarrow as pa

    rows = {"photo": [picture_bytes(n) for n in range(3)], "caption_th": ["แมว", "หมา", None], "n": [1, 2, 3]}
    table = pa.table(rows, pa.schema([("photo", pa.large_binary()), ("caption_th", pa.string()), ("n", pa.int64())]))
    data = lance.write_dataset(table, str(tmp_path / "x.lance"), max_rows_per_file=2)
    data.delete("n = 2")
    assert detect(tmp_path / "x.lance") == "lance"
    samples, rejects = take(tmp_path / "x.lance")
    assert [(s.data, texts(s), s.context) for s in samples] == [
        (picture_bytes(0), [("th", "แมว")], {"n": 1}),
        (picture_bytes(2), [], {"n": 3}),
    ]
    assert rejects == []
    (tmp_path / "x.lance" / "data").rename(tmp_path / "gone")
    with pytest.raises(UserError, match="cannot be read as a Lance table"):
        take(tmp_path / "x.lance")


def test_our_own_pictures_are_a_lance_table(photos, tmp_path):
    panoglot.ingest(str(photos), str(tmp_path / "x.pano"), quiet=True)
    samples, rejects = take(tmp_path / "x.pano" / "images.lance")
    assert sorted(s.data for s in samples) == sorted(picture_bytes(n) for n in range(3))
    assert rejects == []


def test_croissant_names_what_is_not_there(photos):
    (photos / "rows.csv").write_text("shot,caption,lang\n0.jpg,Paka,sw\n")
    files = [
        {"@id": "rows", "contentUrl": "rows.csv"},
        {"@id": "gone", "contentUrl": "gone.parquet"},
        {"@id": "far", "contentUrl": "https://x.org/a.zip"},
        {"@id": "out", "contentUrl": "../secret.csv"},
    ]
    source = {"fileObject": {"@id": "rows"}, "extract": {"column": "shot"}}
    field = {"@id": "r/shot", "dataType": "sc:ImageObject", "source": source}
    described = {
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "distribution": files,
        "recordSet": [{"field": [field]}],
    }
    (photos / "croissant.json").write_text(json.dumps(described))
    samples, rejects = take(photos)
    assert [texts(s) for s in samples] == [[("sw", "Paka")]]
    assert reasons(rejects) == ["missing_file", "outside_folder"]
    assert [one.names for one in unused(photos)] == [("https://x.org/a.zip",)]
