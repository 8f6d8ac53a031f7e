"""Detection, options, COCO, img2dataset, and what is believed of records."""

import hashlib
import json
import os
import pickle
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoglot.errors import UserError
from panoglot.formats import (
    FORMAT_NAMES,
    Part,
    captions_from,
    detect,
    find_format,
    flat,
    format_options,
    read_part,
    restore,
    to_record,
)
from panoglot.geometry import Box3, Region
from panoglot.table import KINDS, Caption, image_id
from tests.conftest import picture_bytes
from tests.formats.samples import reasons, take, texts, write_tar

# -- detection ---------------------------------------------------------------------------------------------------------


def test_every_format_has_a_module_of_the_contract():
    from importlib import import_module

    for name in FORMAT_NAMES:
        module = import_module(f"panoglot.formats.{name}")
        assert callable(module.detect)
        assert callable(module.parts)
        assert callable(module.read)
        assert module.__all__ == sorted(module.__all__)
        # records and films bring no texts without a language
        assert name in ("pano", "video") or {"lang", "kind"} <= set(format_options(name))


def test_a_folder_of_pictures_stays_one_whatever_else_is_in_it(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(0))
    write_tar(tmp_path / "backup.tar", [("b.jpg", picture_bytes(1))])
    (tmp_path / "rows.parquet").write_bytes(b"")
    (tmp_path / "list.csv").write_text("x")
    assert detect(tmp_path) == "folder"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}/phtos", "Did you mean 'photos'"),
        ("https://example.org/a.jpg", "is remote"),
        ("ftp://host/x", "is remote"),
        ("{}/readme.md", "nothing that is read"),
        ("{}/list.json", "no JSON object"),
        ("{}/object.json", "neither a COCO file nor a JSON array"),
        ("{}/nothing/*.tar", "has no tar shards"),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path, source, message):
    (tmp_path / "photos").mkdir()
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "object.json").write_text("{}")
    with pytest.raises(UserError, match=message):
        take(source.format(tmp_path))


def test_formats_and_options_by_name(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(0))
    for format, options, message in (
        ("foldr", {}, "Did you mean 'folder'"),
        ("folder", {"follow_symlink": "true"}, "Did you mean 'follow_symlinks'"),
        ("folder", {"follow_symlinks": "perhaps"}, "must be true or false"),
        ("webdataset", {"max_bytes": "-1"}, "must be a whole number"),
    ):
        with pytest.raises(UserError, match=message):
            find_format(tmp_path, format, options)
    assert find_format(tmp_path, None, {"follow_symlinks": "true"})[1].keywords == {"follow_symlinks": True}


def test_parts_and_their_listing_travel_to_workers(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(0))
    (tmp_path / "a.csv").write_text("image\na.jpg\n")
    write_tar(tmp_path / "a.tar", [("a.jpg", picture_bytes(0))])
    for source in (tmp_path, tmp_path / "a.csv", tmp_path / "a.tar"):
        _, parts = find_format(source)
        part, *more = pickle.loads(pickle.dumps(parts))()
        assert sum(other.count for other in more) == 0  # what lies beside the picture and is not used
        assert isinstance(part, Part)
        assert len(part.key) == 32
        (sample,) = read_part(pickle.loads(pickle.dumps(part)))
        assert sample.data == picture_bytes(0)


def test_relative_sources_are_read_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(picture_bytes(0))
    monkeypatch.chdir(tmp_path)
    _, parts = find_format("photos")
    (part,) = parts()
    monkeypatch.chdir("/")
    (sample,) = read_part(part)
    assert sample.uri == "photos/a.jpg"


def test_the_room_is_light_to_import():
    heavy = "('numpy', 'pyarrow', 'PIL', 'lance', 'msgspec')"
    code = f"import sys, panoglot.formats; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- COCO --------------------------------------------------------------------------------------------------------------


def coco(tmp_path, images, annotations, name="captions_val.json", **more):
    (tmp_path / "annotations").mkdir(exist_ok=True)
    path = tmp_path / "annotations" / name
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, **more}, ensure_ascii=False))
    return path


def test_coco(tmp_path):
    (tmp_path / "val").mkdir()
    for n in range(3):
        (tmp_path / "val" / f"{n}.jpg").write_bytes(picture_bytes(n))
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 1, "license": 3} for n in range(3)]
    images += [
        {"id": 7, "file_name": "gone.jpg", "coco_url": "http://x"},
        {"id": 8, "file_name": "../../../etc/passwd"},
    ]
    images += [{"id": 9}, {"id": 10, "file_name": "http://e.org/a.jpg"}, "text"]
    annotations = [{"id": 100 + n, "image_id": n % 3, "caption": f"caption {n}"} for n in range(6)]
    annotations += [
        {"id": 200, "image_id": 0, "caption": "Ein Bild", "lang": "de"},
        {"id": 201, "image_id": 99, "caption": "x"},
    ]
    annotations += [{"id": 202, "image_id": 1, "caption": 5}, {"id": 203, "image_id": 1, "bbox": [1, 2, 3, 4]}, [1]]
    path = coco(tmp_path, images, annotations)
    assert detect(path) == detect(tmp_path) == "coco"
    samples, rejects = take(path)
    assert [s.data for s in samples] == [picture_bytes(n) for n in range(3)]
    assert texts(samples[0]) == [("und", "caption 0"), ("und", "caption 3"), ("de", "Ein Bild")]
    assert samples[0].context == {"id": 0, "license": 3}
    expected = "bad_json bad_row missing_file no_image orphan_caption orphan_caption outside_folder remote_url"
    assert reasons(rejects) == expected.split()
    assert any("image_dir" in r.message for r in rejects)
    (tmp_path / "val").rename(tmp_path / "elsewhere")
    assert len(take(path, image_dir=str(tmp_path / "elsewhere"))[0]) == 3


def test_coco_with_bytes_that_are_not_utf8(tmp_path):
    (tmp_path / "0.jpg").write_bytes(picture_bytes(0))
    (tmp_path / "captions.json").write_bytes(
        b'{"images": [{"id": 0, "file_name": "0.jpg"}], "annotations": '
        b'[{"id": 1, "image_id": 0, "caption": "\xff"}, {"id": 2, "image_id": 0, "caption": "fine"}]}'
    )
    (sample,), rejects = take(tmp_path / "captions.json")
    assert texts(sample) == [("und", "fine")]
    assert reasons(rejects) == ["bad_encoding"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_coco_is_a_mistake_or_rejects(tmp_path_factory, draw):
    folder = tmp_path_factory.mktemp("coco")
    (folder / "0.jpg").write_bytes(picture_bytes(0))
    value = {"images": [{"id": 0, "file_name": "0.jpg"}], "annotations": [{"id": 1, "image_id": 0, "caption": "ü"}]}
    raw = bytearray(json.dumps(value, ensure_ascii=False).encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.integers(0, 255))
    (folder / "a.json").write_bytes(raw)
    try:
        samples, rejects = take(folder / "a.json")
    except UserError:
        return
    assert len(samples) + len(rejects) <= 3


# -- img2dataset -------------------------------------------------------------------------------------------------------


def img2dataset(folder, flavour, resized=True):
    """What img2dataset leaves: of five addresses two failed, one picture is missing although its row says success."""
    folder.mkdir()
    rows = []
    for n in range(5):
        ok = n not in (1, 3)
        data = picture_bytes(n)
        rows.append(
            {
                "url": f"https://e.org/{n}.jpg",
                "caption": f"alt {n}\nline" if n != 4 else None,
                "key": f"{n:09d}",
                "status": "success" if ok else ("failed_to_download" if n == 1 else "failed_to_resize"),
                "error_message": None if ok else "HTTP Error 404: Not Found",
                "width": 64 if ok else None,
                "sha256": hashlib.sha256(b"original" if resized else data).hexdigest() if ok else None,
            }
        )
    table = pa.Table.from_pylist(rows)
    if flavour == "parquet":
        pictures = [picture_bytes(n) if n not in (1, 3) else None for n in range(5)]
        table = table.append_column("jpg", pa.array(pictures, pa.binary())).append_column("txt", table["caption"])
    pq.write_table(table, folder / "00000.parquet")
    (folder / "00000_stats.json").write_text(json.dumps({"count": 5, "successes": 3}))
    kept = [row for n, row in enumerate(rows) if n in (0, 4)]
    if flavour == "webdataset":
        members = []
        for row in kept:
            n = int(row["key"])
            members += [
                (f"{row['key']}.jpg", picture_bytes(n)),
                (f"{row['key']}.txt", str(row["caption"] or "").encode()),
            ]
            members += [(f"{row['key']}.json", json.dumps(row, indent=4).encode())]
        write_tar(folder / "00000.tar", members)
    if flavour == "files":
        (folder / "00000").mkdir()
        for row in kept:
            (folder / "00000" / f"{row['key']}.jpg").write_bytes(picture_bytes(int(row["key"])))
            (folder / "00000" / f"{row['key']}.txt").write_text(row["caption"] or "")
            (folder / "00000" / f"{row['key']}.json").write_text(json.dumps(row))


@pytest.mark.parametrize("flavour", ["webdataset", "files", "parquet"])
def test_img2dataset(tmp_path, flavour):
    img2dataset(tmp_path / "out", flavour)
    assert detect(tmp_path / "out") == "img2dataset"
    (part,) = find_format(tmp_path / "out")[1]()
    assert part.count == 5
    samples, rejects = take(tmp_path / "out")
    have = (0, 2, 4) if flavour == "parquet" else (0, 4)
    assert [s.data for s in samples] == [picture_bytes(n) for n in have]
    assert [(c.text, c.kind, c.recipe) for c in samples[0].captions] == [("alt 0\nline", "alt", "web")]
    assert samples[-1].captions == []
    assert samples[0].context["url"] == "https://e.org/0.jpg"
    assert samples[0].context["sha256_verified"] is False
    found = {(r.item.rpartition("#")[2], r.reason) for r in rejects}
    lost = set() if flavour == "parquet" else {("000000002", "missing_file")}
    assert found == {("000000001", "failed_to_download"), ("000000003", "failed_to_resize")} | lost
    assert all("404" in r.message for r in rejects if r.reason.startswith("failed"))
    assert len(take(tmp_path / "out", verify_hash="true")[0]) == 0


def test_img2dataset_that_did_not_resize(tmp_path):
    img2dataset(tmp_path / "out", "webdataset", resized=False)
    samples, _ = take(tmp_path / "out", verify_hash=True, lang="en")
    assert len(samples) == 2
    assert samples[0].context["sha256_verified"] is True
    assert texts(samples[0]) == [("en", "alt 0\nline")]


def test_img2dataset_damage(tmp_path):
    img2dataset(tmp_path / "out", "webdataset")
    (tmp_path / "out" / "00000.parquet").write_bytes(b"PAR1")
    samples, rejects = take(tmp_path / "out")
    assert len(samples) == 2
    assert reasons(rejects) == ["bad_archive"]
    (tmp_path / "out" / "00000.tar").unlink()
    os.remove(tmp_path / "out" / "00000.parquet")
    (tmp_path / "out" / "00000.tfrecord").write_bytes(b"")
    with pytest.raises(UserError, match="TFRecord is not read"):
        take(tmp_path / "out")


# -- records -----------------------------------------------------------------------------------------------------------


def record(data, **changes):
    caption = {
        "caption_id": "a" * 32, "text": "Ein Bild", "lang": "de", "kind": "short", "recipe": "describe@1", "model": "m",
        "parents": ["b" * 32], "region": {"x0": 0.0, "y0": 0.0, "x1": 0.5, "y1": 1.0, "mask": None},
        "scores": {"clip": 0.5}, "dropped": "too_short",
    }  # fmt: skip
    return {"image_id": image_id(data), "uri": "a/b.jpg", "captions": [{**caption, **changes}]}


def test_a_sound_record_is_restored():
    data = picture_bytes(0)
    sample = restore(record(data), data, "here")
    (caption,) = sample.captions
    assert (sample.uri, caption.caption_id, caption.parents, caption.dropped) == (
        "a/b.jpg",
        "a" * 32,
        ("b" * 32,),
        "too_short",
    )
    assert (caption.model, caption.recipe, caption.scores, caption.region.x1) == ("m", "describe@1", {"clip": 0.5}, 0.5)


@pytest.mark.parametrize("flattened", [False, True])
def test_what_a_region_says_beside_its_box_is_restored(flattened):
    data = picture_bytes(0)
    region = Region(
        0.1, 0.2, 0.5, 1.0, points=((0.2, 0.3, True), (0.9, 0.9, False)), start=1.5, end=3.0,
        track=((1.5, 0.1, 0.2, 0.5, 1.0),), box3=Box3(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5),
    )  # fmt: skip
    said = Caption("Ein Bild", "de", "short", region=region, image_id=image_id(data), caption_id="a" * 32)
    facts = {"width": 4, "height": 4, "format": "jpeg", "group": "", "time": None, "context": None}
    row = to_record({"image_id": image_id(data), "uri": "a.jpg", **facts}, [said], None)
    (caption,) = restore(flat(row) if flattened else row, data, "here").captions
    assert caption.region == region


@pytest.mark.parametrize(
    "other", ["no JSON", '{"points": 5}', '{"points": [{"x": 1}]}', '{"start": Infinity}', '{"box3": {"a": 1}}', "[1]"]
)
def test_of_a_region_that_says_nonsense_beside_its_box_the_box_is_restored(other):
    data = picture_bytes(0)
    given = {"x0": 0.0, "y0": 0.0, "x1": 0.5, "y1": 1.0, "mask": None, "other": other}
    (caption,) = restore(record(data, region=given), data, "here").captions
    assert caption.region == Region(0.0, 0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("field", "value", "attribute", "expected"),
    [
        ("caption_id", "A" * 32, "caption_id", ""),
        ("caption_id", "a" * 31, "caption_id", ""),
        ("caption_id", 5, "caption_id", ""),
        ("caption_id", "' or 1=1 --", "caption_id", ""),
        ("lang", "klingonish", "lang", "und"),
        ("lang", None, "lang", "und"),
        ("lang", "zh_TW", "lang", "zh-Hant"),
        ("kind", "virus", "kind", "human"),
        ("parents", ["x", None, "c" * 32], "parents", ("c" * 32,)),
        ("parents", "b" * 32, "parents", ()),
        ("region", {"x0": -1, "y0": 0, "x1": 1, "y1": 1}, "region", None),
        ("region", {"x0": 0.5, "y0": 0, "x1": 0.5, "y1": 1}, "region", None),
        ("region", {"x0": float("nan"), "y0": 0, "x1": 1, "y1": 1}, "region", None),
        ("region", [0, 0, 1, 1], "region", None),
        ("scores", {"a": float("inf"), "b": "x", "c": True, "d": None, "e": 1}, "scores", {"d": None, "e": 1.0}),
        ("scores", [{"name": "a", "value": 0.5}], "scores", {"a": 0.5}),
        ("dropped", "<script>alert(1)</script>", "dropped", None),
        ("dropped", "duplicate_of:" + "a" * 32, "dropped", "duplicate_of:" + "a" * 32),
        ("model", "x" * 5000, "model", ""),
        ("recipe", "a\x00b", "recipe", "human"),
    ],
)
def test_absurd_fields_are_left_out(field, value, attribute, expected):
    data = picture_bytes(0)
    (caption,) = restore(record(data, **{field: value}), data, "here").captions
    assert getattr(caption, attribute) == expected
    assert caption.text == "Ein Bild"


def test_ids_for_other_bytes_and_double_ids_are_not_believed():
    data = picture_bytes(0)
    sample = restore(record(picture_bytes(1)), data, "here")
    (caption,) = sample.captions
    assert (sample.uri, caption.caption_id, caption.parents, caption.scores, caption.dropped) == (
        "here",
        "",
        (),
        {},
        None,
    )
    assert (caption.text, caption.lang, caption.recipe) == ("Ein Bild", "de", "human")
    twice = captions_from(record(data)["captions"] * 2, image_id(data))
    assert [c.caption_id for c in twice] == ["a" * 32, ""]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(record(b"")["captions"][0])), ANY),
    st.dictionaries(st.sampled_from(["uri", "group", "time", "context"]), ANY),
)
def test_any_record_gives_captions_that_can_be_stored(changes, around):
    data = b"picture"
    sample = restore({**record(data, **changes), **around}, data, "here")
    assert isinstance(sample.uri, str)
    json.dumps(sample.context)
    for caption in sample.captions:
        assert caption.text.strip()
        assert caption.kind in KINDS
        assert caption.caption_id == "" or len(caption.caption_id) == 32
        assert all(value is None or value == value for value in caption.scores.values())
