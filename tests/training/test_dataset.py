"""A dataset's captions as records: who is in, who is out, in what order, and where pictures and vectors are."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import RowError, UserError
from panoglot.geometry import Region
from panoglot.table import Caption, caption_to_row, create_dataset, image_id, vector_id
from panoglot.training import read_records


def png(number):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (number % 256, number // 256, 99)).save(buffer, "PNG")
    return buffer.getvalue()


def put(data, pictures, captions=(), **facts):
    rows = []
    for number in pictures:
        raw = png(number)
        rows.append({"image_id": image_id(raw), "data": raw, "width": 8, "height": 8, "format": "png", **facts})
    data.images.insert(rows)
    data.captions.insert([caption_to_row(c) for c in captions])
    return [row["image_id"] for row in rows]


def caption(key, image, text, lang="en", kind="human", **more):
    return Caption(text, lang, kind, image_id=image, caption_id=key, recipe=more.pop("recipe", "human"), **more)


@pytest.fixture
def data(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    a, b, c, d = put(data, range(4))
    data.captions.insert(
        [
            caption_to_row(one)
            for one in [
                caption("1", a, "a dog", "en"),
                caption("2", a, "ein Hund", "de", "short", parents=["1"], recipe="translate/1", model="m"),
                caption("3", a, "hund hund hund", "de", dropped="repetition"),
                caption("4", a, "dog", "en", "label"),
                caption("5", a, "a nose", "en", "region", region=Region(0, 0, 0.5, 0.5), model="m"),
                caption("6", b, "قطة نائمة", "ar"),
                caption("7", b, "一隻貓", "zh-Hant", "dense", model="m"),
                caption("8", c, "a draft", "en", dropped="draft"),
                caption("9", d, "of a dropped picture", "en"),
            ]
        ]
    )
    data.marks.upsert([{"image_id": d, "scores": {}, "dropped": "too_small", "run_id": ""}])
    return data


def texts(reading):
    return {r.id: [(t.text, t.lang, t.kind, t.of) for t in r.texts] for r in reading.records}


def ids(n):
    return [image_id(png(k)) for k in range(n)]


def test_kept_captions_of_kept_pictures(data):
    a, b, *_ = ids(4)
    found = read_records(data)
    assert texts(found) == {
        a: [("a dog", "en", "raw", None), ("ein Hund", "de", "translation", 0)],
        b: [("قطة نائمة", "ar", "raw", None), ("一隻貓", "zh-Hant", "long", None)],
    }
    assert [r.id for r in found.records] == sorted([a, b])
    (regions,) = [r.regions for r in found.records if r.id == a]
    assert [(x.text, x.centred()) for x in regions] == [("a nose", (0.25, 0.25, 0.5, 0.5))]
    assert found.captions[("de", "short", "m")] == 1
    assert found.captions[("en", "region", "m")] == 1
    assert found.left_out == {
        "caption: dropped": 2,
        "caption: not_selected": 1,
        "caption: of_dropped_picture": 1,
        "dropped": 1,
        "no_caption": 1,
    }
    assert found.languages["en"] == 2


def test_languages_kinds_and_writers_choose(data):
    a, b, *_ = ids(4)
    assert texts(read_records(data, lang=["zh"])) == {b: [("一隻貓", "zh-Hant", "long", None)]}
    assert texts(read_records(data, lang=["de", "en"]))[a][0][0] == "ein Hund", "the language that was named first"
    # without its parent a translation is a text of its own
    assert texts(read_records(data, lang=["DE"])) == {a: [("ein Hund", "de", "short", None)]}
    assert texts(read_records(data, kinds=["label"])) == {a: [("dog", "en", "raw", None)]}
    assert set(texts(read_records(data, sources=["m"]))) == {a, b}
    assert texts(read_records(data, sources=["human"]))[b] == [("قطة نائمة", "ar", "raw", None)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"lang": ["sw"]}, "no kept captions in sw .Swahili. .* It has: 2 en human"),
        ({"lang": ["zz-bad"]}, "not a language tag"),
        ({"kinds": ["humans"]}, "Did you mean 'human'"),
        ({"sources": ["gpt"]}, "by gpt"),
        ({"held_out": 1.0}, "below 1"),
        ({"image_vectors": "e5"}, "no vectors 'e5'"),
    ],
)
def test_nothing_to_train_on_is_said(data, asked, message):
    with pytest.raises(UserError, match=message):
        read_records(data, **asked)


def test_an_empty_dataset_says_so(tmp_path):
    with pytest.raises(UserError, match="no kept captions to train on"):
        read_records(create_dataset(tmp_path / "empty.pano"))


def test_pictures_are_read_when_they_are_asked_for(data, tmp_path):
    found = read_records(data)
    for record in found.records:
        assert image_id(record.image()) == record.id
        assert record.image() == pickle.loads(pickle.dumps(record.image))()
    # the table changes: addresses are of the version that was read
    put(data, range(10, 20))
    data.images.delete(f"image_id = '{ids(4)[2]}'")
    data.images.lance().optimize.compact_files()
    assert all(image_id(r.image()) == r.id for r in found.records)
    # the version is tidied away: found by id
    import datetime

    fresh = read_records(data)
    data.images.delete(f"image_id = '{ids(4)[3]}'")
    data.images.lance().optimize.compact_files()
    data.images.lance().cleanup_old_versions(older_than=datetime.timedelta(0))
    assert all(image_id(r.image()) == r.id for r in fresh.records)
    data.images.delete(f"image_id = '{fresh.records[0].id}'")
    data.images.lance().cleanup_old_versions(older_than=datetime.timedelta(0))
    gone = pickle.loads(pickle.dumps(fresh.records[0].image))
    with pytest.raises(RowError, match="no longer"):
        gone()


def test_a_share_is_held_out_by_picture(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    names = put(data, range(400))
    films = put(data, range(1000, 1020), group="film")
    data.captions.insert([caption_to_row(caption(f"c{i}", i, "x")) for i in (*names, *films)])
    found = read_records(data, held_out=0.25)
    out = {r.id for r in found.held_out}
    assert 70 < len(out - set(films)) < 130
    assert out | {r.id for r in found.train} == {*names, *films}
    assert len(out & set(films)) in (0, len(films)), "the frames of one film stay together"
    # a function of the id alone: other pictures change nothing
    more = put(data, range(500, 520))
    data.captions.insert([caption_to_row(caption(f"c{i}", i, "x")) for i in more])
    again = read_records(data, held_out=0.25)
    assert {r.id for r in again.held_out} - set(more) == out
    assert again.fingerprint != found.fingerprint
    assert again.fingerprint == read_records(data, held_out=0.25, lang=["en"]).fingerprint


def test_the_sources_own_split_is_kept(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    a, b = put(data, [1], context=json.dumps({"split": "validation", "License": "CC BY 4.0"})) + put(
        data, [2], context=json.dumps({"split": "train"})
    )
    data.captions.insert([caption_to_row(caption(f"c{i}", i, "x")) for i in (a, b)])
    found = read_records(data)
    assert {r.id: r.split for r in found.records} == {a: "validation", b: "train"}
    assert found.licences == {"CC BY 4.0": 1, "unknown": 1}


def add_vectors(data, name, of, vectors):
    table = data.vectors(data.add_vectors(name, name, 4))
    table.insert(
        [
            {"vector_id": vector_id(key, name, 0), "id": key, "of": of, "lang": "und", "vector": row.astype(np.float16)}
            for key, row in vectors.items()
        ]
    )
    return data.vector_names()[0]


def test_stored_vectors_go_with_their_texts(data):
    a, b, *_ = ids(4)
    draw = np.random.default_rng(0)
    of_image = {key: draw.normal(size=4).astype(np.float16) for key in (a, b)}
    of_text = {key: draw.normal(size=4).astype(np.float16) for key in "1257"}  # 6, the Arabic one, has none
    name = add_vectors(data, "m", "image", of_image)
    add_vectors(data, "m", "caption", of_text)
    found = read_records(data, image_vectors=name, text_vectors=name)
    by_id = {r.id: r for r in found.records}
    for key in (a, b):
        assert np.array_equal(by_id[key].vectors["image"], of_image[key])
    assert np.array_equal(by_id[a].vectors["text"], [of_text["1"], of_text["2"]])
    assert [t.lang for t in by_id[b].texts] == ["zh-Hant"]
    assert np.array_equal(by_id[b].vectors["text"], [of_text["7"]])
    assert found.left_out["caption: no_vector"] == 1


def test_many_vectors_are_mapped_from_a_file(data, monkeypatch):

    a, b, *_ = ids(4)
    name = add_vectors(data, "m", "image", {a: np.arange(4.0), b: np.ones(4)})
    plain = {r.id: np.array(r.vectors["image"]) for r in read_records(data, image_vectors=name).records}
    monkeypatch.setattr("panoglot.training._stored_vectors.MAPPED", 0)
    found = read_records(data, image_vectors=name)
    assert isinstance(found.records[0].vectors["image"], np.memmap)
    assert all(np.array_equal(r.vectors["image"], plain[r.id]) for r in found.records)
