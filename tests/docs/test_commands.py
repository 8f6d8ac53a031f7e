"""Every command of the pages runs as it stands, copied into a shell: in a folder like that of somebody who reads them.

A block of commands is fenced with `sh`. What cannot run here says so in the fence, `sh needs=WHAT`, one of `NEEDS`:
it is counted, and said. `sh server` is started and stays in the background; `sh bucket` finds the photos in a bucket of
a server in memory. A block of Python that begins with the name of a file, `# my_captioner.py`, is that file.
"""

import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import picture_bytes

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
NEEDS = {
    "cluster": "a Ray of several machines",
    "files": "files of a benchmark, or of your own",
    "gpu": "a GPU",
    "models": "models from a hub or a server",
    "network": "a network, to install",
    "time": "minutes of their own: they are the tests",
}


def blocks(page):
    """(info after `sh`, commands) of a page's shell blocks, and the commands of its tables as a block of their own."""
    text = page.read_text(encoding="utf-8")
    found = [(info.strip(), body) for info, body in re.findall(r"^```sh([^\n]*)\n(.*?)^```", text, re.M | re.S)]
    rows = re.findall(r"^\| `(panoglot [a-z][^`]*)` \|", text, re.M) if page.name == "README.md" else []
    return [*found, ("", "\n".join(rows))] if rows else found


def files(page):
    """(name, text) of the files that a page shows."""
    return re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(body):
    """The commands of a block, continued lines joined."""
    return [line for line in re.sub(r"\\\n\s*", " ", body).splitlines() if line.partition(" #")[0].strip()]


@pytest.fixture
def place(everything, tmp_path):
    """The folder of one reader."""
    return Path(shutil.copytree(everything, tmp_path / "reader", symlinks=True))


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """What the pages speak of: folders of pictures, a dataset, captions and references, votes."""
    from panoglot import build
    from panoglot.evaluate import commands as judging

    home = tmp_path_factory.mktemp("reader")
    photos, trip = home / "photos", home / "holiday"
    photos.mkdir()
    trip.mkdir()
    for n, name in enumerate(("cat.png", "coffee.png", "chelsea.png", "flower.jpg", "rocket.jpg", "hubble.jpg")):
        form = "PNG" if name.endswith("png") else "JPEG"
        width, height = (640, 480) if n else (320, 240)
        (photos / name).write_bytes(picture_bytes(n, width, height, form))
        (photos / name).with_suffix(".txt").write_text(
            f"A small disc before waves, number {n}.\nde.utf8=Scheibe {n}.\n"
        )
    shutil.copytree(photos, trip, dirs_exist_ok=True)
    shutil.copytree(photos, home / "Pictures" / "holiday")
    (home / "rows.csv").write_text(
        "photo,title,titel,Notiz,story\nphotos/cat.png,A cat,Eine Katze,Sie schläft.,It sleeps.\n"
    )
    rows = [{"id": str(n), "caption": f"a dog runs on beach {n}"} for n in range(8)]
    for name in ("preds.jsonl", "a.jsonl"):
        (home / name).write_text("\n".join(map(json.dumps, rows)))
    (home / "b.jsonl").write_text("\n".join(json.dumps({**row, "caption": f"boat {row['id']}"}) for row in rows))
    (home / "preds.json").write_text(json.dumps({row["id"]: f"Ein Hund läuft {row['id']}" for row in rows}))
    (home / "refs.json").write_text(json.dumps({r["id"]: [r["caption"], "a dog at the sea"] for r in rows}))
    (home / "refs-de.json").write_text(json.dumps({r["id"]: [f"Ein Hund rennt {r['id']}", "Hund"] for r in rows}))
    coco = {"images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(8)]}
    dogs = {
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"image_id": n, "category_id": 1} for n in range(8)],
    }
    said = {"annotations": [{"image_id": int(row["id"]), "caption": row["caption"]} for row in rows]}
    (home / "instances_val2014.json").write_text(json.dumps(coco | dogs))
    (home / "captions_val2014.json").write_text(json.dumps(coco | said))
    (home / "synonyms.txt").write_text("dog, hund, puppy\nboat, ship\n")
    votes = [{"model_a": a, "model_b": b, "winner": w} for a, b, w in (("x", "y", "model_a"), ("y", "z", "tie"))]
    (home / "battles.jsonl").write_text("\n".join(map(json.dumps, votes * 4)))
    for name in ("a", "b"):
        result = judging.captions(str(home / f"{name}.jsonl"), str(home / "refs.json"), metrics="rouge-l")
        (home / f"{name}.json").write_text(result.to_json(per_item=True))
    rng = np.random.default_rng(0)
    for name in ("images.npy", "texts.npy"):
        np.save(home / name, rng.standard_normal((6, 8)).astype(np.float32))
    (home / "prices.yaml").write_text('"openai:pretend": {input: 0.50, output: 2.00}\n')
    (home / "examples").symlink_to(ROOT / "examples")
    for name, what in {"panoglot": "-m panoglot", "python": "", "python3": ""}.items():
        shim = home / "bin" / name
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {what} "$@"\n')
        shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    build(str(photos), str(home / "photos.pano"), curate=False, quiet=True)
    return home


def enough_to_train(home):
    """Pictures with texts, as many as a batch of the trainer wants."""
    from panoglot import ingest

    more = home / "more"
    if more.exists():
        return
    more.mkdir()
    for n in range(300):
        (more / f"{n}.jpg").write_bytes(picture_bytes(100 + n))
        (more / f"{n}.txt").write_text(f"en.utf8=Waves and a disc of colour {n}.\n")
    ingest(str(more), str(home / "photos.pano"), quiet=True)


def shell(home):
    """The environment of a reader: the command is on the path, no browser opens, pages' folder is the home."""
    return {
        **os.environ,
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])),
        "HOME": str(home),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")),
        "BROWSER": "true",
    }


def serve(line, home):
    """Start what stays in the background; nothing when its port is taken."""
    port = 8080 if line.startswith("panoglot serve") else 8765
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            pytest.skip(f"port {port}, of a server of the pages, is in use")
    server = subprocess.Popen(["sh", "-c", f"exec {line}"], cwd=home, env=shell(home), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.1)
    raise AssertionError(f"it did not start: {line}")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_commands_run_as_they_stand(page, place, request):
    left, server = Counter(), None
    for name, text in files(page):
        (place / name).write_text(text, encoding="utf-8")
    try:
        for info, body in blocks(page):
            if info.startswith("needs="):
                assert info.removeprefix("needs=") in NEEDS, f"{page.name}: ```sh {info}"
                left[info.removeprefix("needs=")] += len(commands(body))
                continue
            assert info in ("", "server", "bucket"), f"{page.name}: ```sh {info}"
            if info == "bucket":
                photos = sorted((place / "photos").iterdir())
                content = {f"photos/{one.name}": (one.read_bytes(), time.time()) for one in photos}
                request.getfixturevalue("s3").buckets["bucket"].update(content)
            for line in commands(body):
                if info == "server" or line.startswith("panoglot serve"):
                    if server is not None:
                        server.kill()
                        server.wait()
                    server = serve(line.partition(" #")[0], place)
                    continue
                if line.startswith("panoglot train"):
                    pytest.importorskip("torch")
                    enough_to_train(place)
                done = subprocess.run(
                    ["sh", "-c", line], cwd=place, env=shell(place), capture_output=True, text=True, timeout=600
                )
                assert done.returncode == 0, f"{page.name}: {line}\n{done.stdout[-500:]}{done.stderr[-1500:]}"
    finally:
        if server is not None:
            server.kill()
            server.wait()
    for what, count in sorted(left.items()):
        print(f"{page.name}: {count} commands were not run; they need {NEEDS[what]}")


def test_most_commands_run():
    """A page is not made right by marking its blocks."""
    counted = Counter(info.partition("=")[0] for page in PAGES for info, body in blocks(page) for _ in commands(body))
    assert counted[""] >= 40
    assert counted["needs"] <= 60
