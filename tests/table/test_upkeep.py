"""Tables stay quick to write and to read while runs go on, and keep nothing that nobody reads."""

import subprocess
import sys
import threading
import time

import pytest

from panoglot.table import create_dataset

ROW = {"kind": "human", "lang": "en", "recipe": "human"}


def rows(start, stop, text="a text"):
    return [{**ROW, "caption_id": f"c{n:06}", "image_id": f"i{n % 50}", "text": text} for n in range(start, stop)]


def fragments(table):
    return len(table.lance().get_fragments())


def test_many_small_commits_leave_few_fragments_and_are_indexed(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    for n in range(60):
        data.captions.insert(rows(20 * n, 20 * n + 20))
        data.captions.tend()
    assert fragments(data.captions) <= 25
    assert {index.name for index in data.captions.lance().describe_indices()} == {"image_id_idx"}
    assert data.captions.insert(rows(0, 1210)) == 10
    assert len(data.captions) == 1210
    assert len(data.captions_of(["i7"])["i7"]) == 24 + 1


def test_large_fragments_are_not_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr("panoglot.table._table.SMALL_ROWS", 100)
    data = create_dataset(tmp_path / "x.pano")
    data.captions.insert(rows(0, 500))
    (large,) = [f.metadata.files[0].path for f in data.captions.lance().get_fragments()]
    for n in range(500, 530):
        data.captions.insert(rows(n, n + 1))
    data.tidy()
    files = [f.metadata.files[0].path for f in data.captions.lance().get_fragments()]
    assert len(files) == 2
    assert files[0] == large


def test_large_fragments_of_pictures_are_never_copied(tmp_path, monkeypatch):
    monkeypatch.setattr("panoglot.table._table.SMALL_BYTES", 100_000)
    data = create_dataset(tmp_path / "x.pano")
    data.images.insert([{"image_id": "big", "data": bytes(200_000)}])
    large = data.images.lance().get_fragments()[0].metadata.files[0].path
    for n in range(12):
        data.images.insert([{"image_id": f"i{n}", "data": bytes([n]) * 100}])
    data.tidy()
    files = [f.metadata.files[0].path for f in data.images.lance().get_fragments()]
    assert large in files
    assert len(files) == 2
    assert data.images.get(["i3"], ["data"])["data"].to_pylist() == [b"\3" * 100]


def test_old_versions_go_when_nobody_reads_them(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    for n in range(12):
        data.captions.insert(rows(n, n + 1))
    reader = data.captions.lance().scanner(columns=["caption_id"], batch_size=1).to_batches()
    next(reader)
    data.tidy()
    assert sum(batch.num_rows for batch in reader) == 11  # of the version that it began with
    del reader
    data.captions.insert(rows(12, 13))
    data.tidy()
    assert len(list((data.path / "captions.lance" / "_versions").glob("*.manifest"))) == 1
    assert len(list((data.path / "captions.lance" / "data").iterdir())) == fragments(data.captions)


READER = """
import sys, time
from panoglot.table import open_dataset
data = open_dataset(sys.argv[1])
end, reads = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    ids = [id for batch in data.captions.batches(["caption_id"], size=64) for id in batch["caption_id"].to_pylist()]
    assert len(ids) == len(set(ids)) >= 640, len(ids)
    assert data.captions.get(ids[:20], ["text"]).num_rows == 20
    assert data.captions_of(["i3"])["i3"]
    reads += 1
print(reads)
"""


def test_readers_go_on_while_tables_are_written_compacted_and_cleaned(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    for n in range(32):
        data.captions.insert(rows(20 * n, 20 * n + 20))
    line = [sys.executable, "-c", READER, str(data.path), "4"]
    readers = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    at, problems = 640, []

    def write():
        nonlocal at
        try:
            while any(reader.poll() is None for reader in readers):
                data.captions.insert(rows(at, at + 5))
                data.captions.change([{"caption_id": f"c{at:06}", "dropped": "x"}])
                at += 5
        except Exception as error:
            problems.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    most = 0
    while any(reader.poll() is None for reader in readers):
        data.captions.tend(most=4)
        most = max(most, len(list((data.path / "captions.lance" / "_versions").glob("*.manifest"))))
        data.captions._clean()
        time.sleep(0.01)
    writer.join()
    for reader in readers:
        out, errors = reader.communicate()
        assert reader.returncode == 0, errors
        assert int(out) > 0
    assert not problems
    assert len(data.captions) == at
    commits = data.captions.lance().version
    assert most < commits / 2, (most, commits)  # cleaned under load, too
    data.tidy()
    assert len(list((data.path / "captions.lance" / "_versions").glob("*.manifest"))) == 1


@pytest.mark.parametrize("pictures", [False, True])
def test_a_killed_commit_leaves_nothing_behind(tmp_path, pictures):
    data = create_dataset(tmp_path / "x.pano")
    table = data.images if pictures else data.captions
    place = data.path / ("images.lance" if pictures else "captions.lance")
    for n in range(2):
        table.insert([{"image_id": f"i{n}", "data": b"x"}] if pictures else rows(n, n + 1))
    (place / "data" / "0123456789abcdef.lance").write_bytes(b"half a file")
    data.tidy()
    assert len(list((place / "data").iterdir())) == fragments(table)
