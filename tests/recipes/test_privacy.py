"""Nothing leaves the machine: a build in a network namespace without a route looks nobody up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import panoglot
from panoglot._privacy import SWITCHES
from tests.conftest import picture_bytes

SOURCE = Path(panoglot.__file__).parents[1]
#: What a shell without our settings has.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if name not in {one for switches in SWITCHES.values() for one in switches} | {"CI", "GITHUB_ACTIONS"}
}
#: Put before a program: every look-up of a host is written down and refused.
WATCH = """
import os, socket
def _refuse(what):
    def refused(host=None, *args, **options):
        with open(os.environ["LOOKED_UP"], "a") as file:
            file.write(f"{what} {host}\\n")
        raise socket.gaierror("no look-ups here")
    return refused
for what in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
    setattr(socket, what, _refuse(what))
"""


@pytest.mark.slow
def test_a_build_without_a_network_looks_nobody_up(tmp_path):
    alone = ["unshare", "-rn"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here (unshare -rn is not permitted)")
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(3):
        (photos / f"{n}.jpg").write_bytes(picture_bytes(n))
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    home, looked = tmp_path / "home", tmp_path / "looked"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "panoglot"
    if cache.is_dir():  # models that are made once
        shutil.copytree(cache, home / ".cache" / "panoglot")
    home.mkdir(exist_ok=True)
    env = {
        **{name: value for name, value in CLEAN.items() if name != "XDG_CACHE_HOME"},
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "watch"), str(SOURCE)]),
        "HOME": str(home),
        "LOOKED_UP": str(looked),
    }
    command = [sys.executable, "-m", "panoglot", "build", str(photos), "-o", str(tmp_path / "x.pano"), "--quiet"]
    if shutil.which("strace"):  # compiled libraries look hosts up without Python
        trace = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-e",
            "trace=connect,sendto,sendmmsg",
            "-o",
            str(tmp_path / "net"),
        ]
        command = [*trace, *command]
    done = subprocess.run([*alone, *command], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not looked.exists() or looked.read_text() == ""
    asked = [
        line
        for line in _lines(tmp_path / "net")
        if "htons(53)" in line or ("AF_INET" in line and "127.0.0.1" not in line)
    ]
    assert asked == []
    left = [str(path.relative_to(home)) for path in home.rglob("*") if "microsoft" in str(path).lower()]
    assert left == []  # onnxruntime's device id and its queue of events


def _lines(path):
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def test_every_report_is_off_before_its_library_is_imported_and_the_users_word_stands():
    code = "import os, panoglot; print({name: os.environ.get(name) for name in %r})"
    names = [name for switches in SWITCHES.values() for name in switches]
    env = {**CLEAN, "PYTHONPATH": str(SOURCE), "DAFT_ANALYTICS_ENABLED": "1"}
    said = subprocess.run(
        [sys.executable, "-c", code % names], env=env, capture_output=True, text=True, check=True
    ).stdout
    found = eval(said)
    assert found.pop("DAFT_ANALYTICS_ENABLED") == "1"
    wanted = {name: value for switches in SWITCHES.values() for name, value in switches.items()}
    assert found == {name: value for name, value in wanted.items() if name != "DAFT_ANALYTICS_ENABLED"}


def test_the_page_on_safety_names_every_switch():
    page = (SOURCE.parent / "docs" / "safety.md").read_text()
    assert [name for switches in SWITCHES.values() for name in switches if f"`{name}" not in page] == []
