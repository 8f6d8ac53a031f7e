import json
import multiprocessing
import threading
from datetime import datetime, timedelta

import pytest

from panoglot.errors import UserError
from panoglot.geometry import Region
from panoglot.table import SCHEMA_VERSION, Caption, caption_from_row, caption_to_row, create_dataset, open_dataset


def row(n, **more):
    return caption_to_row(Caption("ein Hund", "de", image_id=f"i{n % 3}", caption_id=f"c{n}", **more))


def test_a_caption_survives_the_table(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    caption = Caption(
        "कुत्ता दौड़ता है",
        "hi",
        "dense",
        "hf:model",
        ("p1", "p2"),
        Region(0.1, 0.2, 0.3, 1.0, "rle"),
        {"match": 0.5, "unscored": None},
        "too_short",
        "describe/1",
        "i",
        "c",
        "r",
    )
    data.captions.insert([caption_to_row(caption)])
    (stored,) = data.captions.rows()
    again = caption_from_row(stored)
    for name in Caption.__slots__:
        assert getattr(again, name) == getattr(caption, name), name


def test_insert_is_idempotent_and_the_first_stands(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    assert data.captions.insert([row(1), row(2), row(1)]) == 2
    assert data.captions.insert([row(2, model="late"), row(3)]) == 1
    assert sorted(r["caption_id"] for r in data.captions.rows()) == ["c1", "c2", "c3"]
    assert all(r["model"] == "" for r in data.captions.rows())


def test_racing_inserts_of_the_same_keys_give_one_row_each(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    data.captions.ensure()
    threads = [threading.Thread(target=lambda: data.captions.insert([row(n) for n in range(20)])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(data.captions) == 20


def _insert(path, start):
    data = create_dataset(path)
    for n in range(start, start + 10):
        data.captions.insert([row(n), row(n + 5)])


def test_racing_processes_lose_nothing_and_double_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_insert, args=(tmp_path / "x.pano", start)) for start in (0, 5)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    ids = [r["caption_id"] for r in open_dataset(tmp_path / "x.pano").captions.rows()]
    assert sorted(ids) == sorted(f"c{n}" for n in range(20))


def test_change_touches_only_what_is_named(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    data.captions.insert([row(1, scores={"a": 1.0}), row(2)])
    data.captions.change([{"caption_id": "c1", "dropped": "too_short"}, {"caption_id": "unknown", "dropped": "x"}])
    rows = {r["caption_id"]: r for r in data.captions.rows()}
    assert set(rows) == {"c1", "c2"}
    assert rows["c1"]["dropped"] == "too_short"
    assert rows["c1"]["scores"] == {"a": 1.0}
    assert rows["c2"]["dropped"] is None


def test_scores_of_two_stages_are_merged(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    data.score("marks", {"i": ({"sharpness": 0.5}, None)})
    data.score("marks", {"i": ({"nsfw": None}, "unsafe")})
    data.score("marks", {"i": ({"sharpness": 0.75}, None)})
    (mark,) = data.marks.rows()
    assert mark["scores"] == {"sharpness": 0.75, "nsfw": None}
    assert mark["dropped"] == "unsafe"


def test_get_keeps_the_order_and_leaves_out_the_unknown(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    data.captions.insert([row(n) for n in range(5)])
    assert data.captions.get(["c3", "nope", "c0"], ["text"])["caption_id"].to_pylist() == ["c3", "c0"]
    assert data.captions.get([], ["text"]).num_rows == 0


def test_captions_of_quotes_ids(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    data.captions.insert([row(0)])
    assert [c.caption_id for c in data.captions_of(["i0", "x' or '1'='1"])["i0"]] == ["c0"]


def test_tidy_never_runs_beside_a_writer(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    for n in range(12):
        data.captions.insert([row(n)])
    with data.writer():
        assert not data.tidy()
    assert len(data.captions.lance().get_fragments()) == 12
    assert data.tidy()
    assert len(data.captions.lance().get_fragments()) == 1
    assert len(data.captions) == 12


def test_tidy_indexes_big_tables_and_inserts_still_find_their_twins(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    data.captions.insert([row(n) for n in range(50)])
    data.captions.tidy(small=10)
    data.captions.insert([row(n) for n in range(40, 60)])
    data.captions.tidy(small=10)
    assert data.captions.insert([row(n) for n in range(60)]) == 0
    assert len(data.captions) == 60


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "x.pano"
    create_dataset(path)
    (path / "panoglot.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(UserError, match=rf"schema version {SCHEMA_VERSION + 1}.*pip install --upgrade panoglot"):
        open_dataset(path)


def test_an_older_schema_is_refused_with_the_line_that_rebuilds_it(tmp_path):
    path = tmp_path / "x.pano"
    create_dataset(path)
    (path / "panoglot.json").write_text(json.dumps({"schema_version": 1}))
    with pytest.raises(UserError, match=r"schema version 1, now 2.*panoglot build SOURCE -o NEW.pano"):
        open_dataset(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": "x"}', '{"schema_version": null}'])
def test_a_broken_manifest_is_refused(tmp_path, content):
    (tmp_path / "panoglot.json").write_text(content)
    with pytest.raises(UserError, match="not a Panoglot dataset"):
        open_dataset(tmp_path)


def test_what_is_no_dataset_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="not empty and not a Panoglot dataset"):
        create_dataset(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(UserError, match="is a file"):
        create_dataset(tmp_path / "holiday.jpg")


def test_a_missing_dataset_says_what_is_near(tmp_path):
    create_dataset(tmp_path / "photos.pano")
    with pytest.raises(UserError, match=r"Did you mean 'photos\.pano'"):
        open_dataset(tmp_path / "photo.pano")


def test_vectors_remember_their_model(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    name = data.add_vectors("hf:org/model?dtype=bf16", "0123456789abcdef", 4)
    assert data.vector_names() == [name]
    facts = data.vector_model(name)
    assert datetime.fromisoformat(facts.pop("made")).utcoffset() == timedelta(0)
    assert facts == {"model": "hf:org/model?dtype=bf16", "fingerprint": "0123456789abcdef", "dim": 4}
    assert data.add_vectors("hf:org/model?dtype=bf16", "fedcba9876543210", 4) != name
    alike = [data.add_vectors("python:m:Mine", f"my-model/v{n}", 4) for n in (1, 2, 1, 2)]
    assert alike[:2] == alike[2:]
    assert len(set(alike)) == 2
    assert [data.vector_model(name)["fingerprint"] for name in alike[:2]] == ["my-model/v1", "my-model/v2"]
    with pytest.raises(UserError, match="has no vectors 'nope'"):
        data.vectors("nope")


def _create_and_insert(path, number):
    create_dataset(path).captions.insert([row(number)])


def test_creating_a_table_at_once_loses_nobodys_rows(tmp_path):
    for attempt in range(6):
        path = tmp_path / f"{attempt}.pano"
        create_dataset(path)
        threads = [threading.Thread(target=_create_and_insert, args=(path, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(open_dataset(path).captions) == 8
        assert not list(path.glob(".*.lance-*"))


def test_settings_stand_in_the_manifest_and_an_older_reader_still_opens_it(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    assert data.settings() == {}
    assert data.change_settings(encoder="a") == {"encoder": "a"}
    assert open_dataset(data.path).settings() == {"encoder": "a"}
    manifest = json.loads((data.path / "panoglot.json").read_text())
    assert manifest["schema_version"] == SCHEMA_VERSION
    assert data.change_settings(encoder=None) == {}
    assert not [p for p in data.path.iterdir() if p.name.startswith(".panoglot-")]


@pytest.mark.parametrize("read", ["rows", "batches", "count"])
def test_a_filter_that_is_none_is_said_in_our_words(tmp_path, read):
    """Once with a path of the engine's source."""
    data = create_dataset(tmp_path / "x.pano")
    data.captions.insert([row(n) for n in range(3)])
    calls = {
        "rows": data.captions.rows, "count": lambda _, where: data.captions.count(where),
        "batches": lambda names, where: list(data.captions.batches(names, where)),
    }  # fmt: skip
    for where, message in (
        ("colour = 'red'", "captions has no column 'colour'. Known: author, "), ("texts = 'a'", "Did you mean 'text'?"),
        ("lang =", "this is no filter: "), ("lang = 3", "this is no filter: "), ("f('x') = 1", "this is no filter: "),
        ("lang = 'a' and (", "this is no filter: "),
    ):  # fmt: skip
        with pytest.raises(UserError) as error:
            calls[read](["text"], where)
        assert message in str(error.value)
        assert ".rs" not in str(error.value)
        assert "\n" not in str(error.value)
    if read != "count":
        with pytest.raises(UserError, match=r"captions has no column 'txt'\. Did you mean 'text'"):
            calls[read](["txt"], None)
