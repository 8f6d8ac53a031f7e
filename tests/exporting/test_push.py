"""Push: to a hub on the loopback address that speaks the protocol; what lies there is loaded again."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

import panoglot
from panoglot.errors import UserError
from tests.exporting.hub import Hub
from tests.exporting.test_writers import made

pytest.importorskip("huggingface_hub", reason="the package huggingface_hub is not installed")


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.close()


def run(hub, tmp_path, *words, code="", token="hf_test"):
    """A process of its own: the client reads its settings once."""
    env = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    env |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": token}
    start = ["-c", code] if code else ["-m", "panoglot"]
    return subprocess.run([sys.executable, *start, *map(str, words)], env=env, capture_output=True, text=True)


def test_what_is_pushed_is_loaded_again(hub, tmp_path):
    data = made(tmp_path / "a.pano")
    panoglot.split(data, test=0.25, near=False)
    done = run(hub, tmp_path, "push", data.path, "hf://datasets/me/discs", "--mask", "names", "--shard-size", "3")
    assert done.returncode == 0, done.stderr
    assert "8 images, 15 captions as parquet" in done.stdout
    files = hub.files["me/discs"]
    assert {"README.md", "panoglot-export.json", "train/00000.parquet", "test/00000.parquet"} < set(files)
    assert hub.asked["me/discs"].get("private") is True or hub.asked["me/discs"].get("visibility") == "private"
    assert b"anna" not in b"".join(hub.content[key] for key in files.values())
    code = (
        "import datasets, sys\n"
        "found = datasets.load_dataset('me/discs', cache_dir=sys.argv[1])\n"
        "print({name: sum(bool(r['image'].size and r['caption']) for r in part) for name, part in found.items()})"
    )
    if find_spec("datasets"):
        loaded = run(hub, tmp_path, tmp_path / "cache", code=code)
        assert "'train': 6" in loaded.stdout, loaded.stderr
        assert "'test': 2" in loaded.stdout
    # the same again sends no large file twice; another export takes the place of the first
    sent = hub.sent
    assert (
        run(
            hub, tmp_path, "push", data.path, "hf://datasets/me/discs", "--mask", "names", "--shard-size", "3"
        ).returncode
        == 0
    )
    assert hub.sent == sent
    hub.files["me/discs"]["mine.txt"] = hub.files["me/discs"]["README.md"]
    again = run(hub, tmp_path, "push", data.path, "hf://datasets/me/discs", "--split", "test")
    assert again.returncode == 0, again.stderr
    assert sorted(hub.files["me/discs"]) == ["00000.parquet", "README.md", "mine.txt", "panoglot-export.json"]
    manifest = json.loads(hub.content[hub.files["me/discs"]["panoglot-export.json"]])
    assert manifest["images"] == 2


def test_what_cannot_be_pushed_is_one_line(hub, tmp_path):
    data = made(tmp_path / "a.pano", 2)
    with pytest.raises(UserError, match="write hf://datasets/OWNER/NAME"):
        panoglot.push(data, "https://host/x")
    with pytest.raises(UserError, match=r"panoglot export .*a\.pano s3://bucket/x --to parquet"):
        panoglot.push(data, "s3://bucket/x")
    denied = run(hub, tmp_path, "push", data.path, "hf://datasets/me/x", token="hf_other")
    assert (denied.returncode, denied.stderr.count("\n")) == (2, 1)
    assert "no right to write to hf://datasets/me/x" in denied.stderr
    assert "hf_other" not in denied.stderr
    hub.files["me/else"] = {"model.bin": "0" * 64}
    hub.content["0" * 64] = b"x"
    other = run(hub, tmp_path, "push", data.path, "hf://datasets/me/else")
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "holds something else (model.bin)" in other.stderr
    assert set(hub.files["me/else"]) == {"model.bin"}


@pytest.mark.parametrize(
    "faults",
    [
        {"/repos/create": [500], "/preupload/": ["drop"]},
        pytest.param({"/objects/batch": [429]}, marks=pytest.mark.slow),
        {"/blob/": ["cut"], "/commit/": [503]},
        {"/commit/": ["late"]},  # the commit was made, its answer is lost
    ],
)
def test_a_hub_that_fails_for_a_moment_is_asked_again(hub, tmp_path, faults):
    data = made(tmp_path / "a.pano", 4)
    hub.faults = {path: list(answers) for path, answers in faults.items()}
    done = run(hub, tmp_path, "push", data.path, "hf://datasets/me/x")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert not any(hub.faults.values())
    assert "00000.parquet" in hub.files["me/x"]


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/commit/", 500, "Later the same command goes on"),
        pytest.param("/objects/batch", 429, "was asked too often", marks=pytest.mark.slow),
        pytest.param("/preupload/", "drop", "Later the same command goes on", marks=pytest.mark.slow),
        pytest.param("/commit/", 401, "no right to write", marks=pytest.mark.slow),
        ("/tree/", "html", "something that no hub says"),
    ],
)
def test_a_hub_that_goes_on_failing_is_a_line_and_nothing_is_sent_twice(hub, tmp_path, path, answer, said):
    data = made(tmp_path / "a.pano", 4)
    hub.faults = {path: [answer] * 99}
    failed = run(hub, tmp_path, "push", data.path, "hf://datasets/me/x")
    last = failed.stderr.strip().splitlines()[-1]
    assert (failed.returncode, "Traceback" in failed.stderr, said in last) == (2, False, True), failed.stderr
    sent, hub.faults = hub.sent, {}
    assert run(hub, tmp_path, "push", data.path, "hf://datasets/me/x").returncode == 0
    assert hub.sent == max(sent, 1)
