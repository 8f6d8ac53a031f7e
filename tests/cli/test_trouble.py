"""What a system or a stranger may do to a command: one line, the right exit code, nothing raw on the terminal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import panoglot
from panoglot.errors import mendable, yaml_fault
from panoglot.reporting import read_runs
from panoglot.running import close_gone_runs, running
from panoglot.storage import open_store
from tests.conftest import picture_bytes

ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(panoglot.__file__).parents[1]), os.getcwd()]),
    "OMP_NUM_THREADS": "1",
}


def run(*arguments, before=(), env=None, **options):
    command = [*before, sys.executable, "-m", "panoglot", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env={**ENV, **(env or {})}, **options)


def said(done):
    """The one line of a mistake."""
    lines = done.stderr.decode().strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("panoglot: ")
    return lines[0]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """A dataset of three pictures whose names are hostile; one caption is, too."""
    folder = tmp_path_factory.mktemp("names")
    photos = folder / "photos"
    photos.mkdir()
    hostile = ["a\x1b]0;title\x07\x1b[31mred", "b\nfake 0.999 line", "c\u202egpj\u200f\u2066", "d\x9b1m"]
    for n, name in enumerate(hostile):
        (photos / f"{name}.jpg").write_bytes(picture_bytes(n))
        (photos / f"{name}.txt").write_text(f"A picture\u202e number\u200b {n}.", encoding="utf-8")
    panoglot.ingest(str(photos), str(folder / "x.pano"))
    panoglot.build(str(photos), str(folder / "x.pano"), captioner="python:tests.running.toy:Writer",
                   encoder="python:tests.running.toy:Fits", curate=False)  # fmt: skip
    return folder / "x.pano"


RAW = "\x1b\x07\x9b\u202e\u2066\u200f"


@pytest.mark.parametrize(
    ("command", "json_too"),
    [("search", False), ("search", True), ("show", False), ("show", True), ("report", False), ("curate", False)],
)
def test_names_cannot_steer_the_terminal(names, command, json_too, tmp_path):
    image = panoglot.open(names).images.rows(["image_id", "uri"])
    image = next(row for row in image if "\x1b" in row["uri"])["image_id"]
    rest = {"search": ["text", "-k", "9"], "show": [image], "report": ["-o", tmp_path / "\u202er.html"], "curate": []}
    done = run(command, names, *rest[command], *(["--json"] if json_too else []))
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode()
    assert [f"U+{ord(c):04X}" for c in RAW if c in shown] == []
    assert not [line for line in shown.splitlines() if line.strip().startswith("fake")]
    if json_too:  # nothing is lost
        texts = [json.loads(line) for line in shown.splitlines()]
        assert "\x1b" in json.dumps(texts, ensure_ascii=False).encode().decode("unicode_escape", "replace")


def test_what_a_terminal_cannot_show_is_replaced(names):
    done = run("search", names, "text", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert b"Traceback" not in done.stderr


def test_an_output_that_is_a_file_gets_a_name_that_is_free(names, tmp_path):
    for name in ("x.pano", "x-2.pano"):
        (tmp_path / name).touch()
    line = said(run("build", names.parent / "photos", "-o", tmp_path / "x.pano"))
    assert line.endswith("x-3.pano")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("source: [in\noutput: x.pano\n", "is not YAML: line 2, column 7: expected ',' or ']'"),
        ("source: in\noutput: x.pano\nsteps: 5\n", "'steps' is a list"),
        ("source: 5\noutput: x.pano\n", "'source' is a text, not 5"),
        (
            "source: in\noutput: x.pano\nsteps: [{train: {method: clip, output: r, epochs: many}}]\n",
            "epochs must be int",
        ),
        ("source: in\noutput: x.pano\nsteps: [{train: {method: 5, output: r}}]\n", "method must be a text"),
        ("source: in\noutput: x.pano\nsteps: [{train: {method: clip, output: 5}}]\n", "output must be a text"),
        ("source: in\noutput: x.pano\nsteps: [{report: {samples: few}}]\n", "samples must be int"),
        ("source: in\noutput: x.pano\nmodels: {captioner: 'python:os:system'}\nsteps: [describe]\n", "part of Python"),
        (
            "source: in\noutput: x.pano\nmodels: {captioner: 'python:tests.running.toy:calls'}\nsteps: [describe]\n",
            "'log'",
        ),
    ],
)
def test_recipes_with_mistakes(tmp_path, recipe, words):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(picture_bytes(1))
    (tmp_path / "r.yaml").write_text(recipe)
    done = run("build", tmp_path / "r.yaml")
    assert done.returncode == 2
    assert words in said(done)
    assert not (tmp_path / "x.pano").exists()


@pytest.mark.parametrize("command", ["build", "ingest", "curate", "report", "export"])
def test_no_room_on_the_disk_is_one_line(names, tmp_path, command):
    """A limit on the size of files stands for a full disk: the same way through every writer."""
    data = tmp_path / "x.pano"
    if command != "build":
        shutil.copytree(names, data)
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(50, 60):
        (photos / f"{n}.jpg").write_bytes(picture_bytes(n, 640, 480))
    arguments = {
        "build": ["build", photos, "-o", data, "--quiet"],
        "ingest": ["ingest", photos, "-o", data, "--quiet"],
        "curate": ["curate", data, "--quiet"],
        "report": ["report", data],
        "export": ["export", data, tmp_path / "out", "--to", "webdataset"],
    }[command]
    blocks = 1 if command == "curate" else 8  # of 512 bytes
    done = run(*arguments, before=["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"])
    assert done.returncode == 2, done.stderr
    assert said(done)
    after = run("report", data, "-o", tmp_path / "r.html") if command != "build" else None
    assert after is None or after.returncode == 0  # what was there is whole


@pytest.mark.parametrize("part", [".", "images.lance", "captions.lance/data", "vectors", "runs.lance/_versions"])
def test_a_part_that_may_not_be_read_is_named(names, tmp_path, part):
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may read everything")
    before = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.getuid() == 0 else []
    data = tmp_path / "x.pano"
    shutil.copytree(names, data)
    mode = (data / part).stat().st_mode
    (data / part).chmod(0)
    try:
        for arguments in (
            ["report", data],
            ["show", data, "a"],
            ["search", data, "a"],
            ["curate", data],
            ["export", data, tmp_path / "out"],
            ["ingest", names.parent / "photos", "-o", data],
        ):
            done = run(*arguments, before=before)
            assert done.returncode == 2, (arguments, done.stderr)
            assert "no permission to read" in said(done)
    finally:
        (data / part).chmod(mode)


def test_a_killed_worker_is_one_line(tmp_path, monkeypatch):
    """A worker that ends itself as the kernel would end it."""
    code = f"""
from panoglot.running import Stage, run_stage
from panoglot.table import create_dataset
from panoglot.errors import UserError
from tests.cli.test_trouble import Dies
from tests.conftest import picture_bytes
from panoglot.pictures import Image
data = create_dataset({str(tmp_path / "x.pano")!r})
rows = []
for n in range(60):
    image = Image(picture_bytes(n))
    rows.append(dict(image_id=image.id, data=image.data, uri="", width=image.width, height=image.height,
                     format=image.format, context="{{}}"))
data.images.insert(rows)
try:
    run_stage(data, Stage("toy.dies", "1", Dies(), processes=1), data.start_run({{}}, {{}}), limit=40)
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENV)
    assert done.stdout.startswith("a worker process was killed (out of memory?)"), done.stderr


class Dies:
    """An operator that is killed."""

    def open(self, worker):
        pass

    def process(self, items, emit):
        os.kill(os.getpid(), 9)

    def close(self):
        pass


def test_a_run_that_is_gone_is_stopped_and_one_that_runs_is_not(tmp_path):
    from panoglot.asking import Account, Journal
    from panoglot.table import create_dataset

    data = create_dataset(tmp_path / "x.pano")
    gone, alive = data.start_run({}, {}), data.start_run({}, {})
    with Journal(data.journal) as journal:
        for price in (0.5, 0.25):
            journal.put_many(Account(gone, "caption.describe-abc").entry(100, 8, price))
    with running(data, alive):
        shown = {run.run_id: run for run in read_runs(data)}
        assert (shown[gone].status, shown[gone].price) == ("stopped", 0.75)  # the page says so before anybody writes it
        assert [(s.name, s.asked, s.tokens_in) for s in shown[gone].steps] == [("caption.describe", 2, 200)]
        assert shown[alive].status == "running"
        assert close_gone_runs(data) == [gone]
        row = data.runs.rows(where=f"run_id = '{gone}'")[0]
        assert (row["status"], row["price"]) == ("stopped", 0.75)
        assert close_gone_runs(data) == []
    assert close_gone_runs(data) == [alive]


def test_a_claim_can_be_looked_at_without_taking_it(tmp_path):
    claims = open_store(tmp_path).claims("lock")
    assert not claims.held(b"12345678")
    assert claims.take(b"12345678")
    assert claims.held(b"12345678")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "/d/x"), "disk is full at '/d/x'"),
        (
            RuntimeError("LanceError(IO): write /d/x: No space left on device (os error 28), rust/lance/io.rs:12"),
            "'/d/x'",
        ),
        (PermissionError(13, "Permission denied", "/d/x"), "no permission"),
        (OSError(30, "Read-only file system"), "may only be read"),
        (MemoryError(), "out of memory"),
        (ValueError("a bug"), None),
        (KeyError("Permission denied"), None),
    ],
)
def test_what_the_system_refuses_is_told_from_bugs(error, words):
    line = mendable(error)
    assert line is None if words is None else words in line
    wrapped = RuntimeError("x")
    wrapped.__cause__ = error
    assert (mendable(wrapped) is None) == (words is None or isinstance(error, MemoryError))


def test_yaml_faults_are_a_line():
    import yaml

    for text in ("a: [1, 2\nb: 3", "a: 'x\n", "\t- a", "a: &b\n  *c", "{", "a: !!python/object:os.system x", "\x00"):
        with pytest.raises(yaml.YAMLError) as caught:
            yaml.safe_load(text)
        assert "\n" not in yaml_fault(caught.value)
