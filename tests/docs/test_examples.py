"""Every example runs, on small pictures and a server on loopback."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

import panoglot

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def importable(monkeypatch):
    """The examples as modules, as PYTHONPATH=examples makes them; forgotten afterwards."""
    from panoglot.curation import FILTERS
    from panoglot.running import METHODS

    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES))
    yield
    METHODS.pop("ask-twice", None)
    FILTERS.pop("plain_speech", None)
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def server(importable):
    import pretend_server

    running = pretend_server.serve(0)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}/v1"
    running.shutdown()
    running.server_close()


def kept(dataset, where="kind = 'short'"):
    return panoglot.open(dataset).captions.rows(["text", "lang", "model", "parents"], f"dropped is null and {where}")


def run(*arguments):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("flavour", ["local", "remote?style=short"])
def test_my_captioner(importable, pictures, tmp_path, flavour):
    panoglot.build(str(pictures), str(tmp_path / "x.pano"), captioner=f"python:my_captioner:{flavour}", quiet=True)
    rows = kept(tmp_path / "x.pano")
    assert len(rows) == 12
    assert {row["model"].partition(":")[0] for row in rows} == {"light-teller"}
    assert all("picture" in row["text"] for row in rows)


def test_my_captioner_rejects_a_broken_picture_and_keeps_the_others(importable, pictures, tmp_path):
    good = (pictures / "00.jpg").read_bytes()
    (pictures / "broken.jpg").write_bytes(good[: len(good) // 2])
    result = panoglot.build(
        str(pictures), str(tmp_path / "x.pano"), captioner="python:my_captioner:local", curate=False, quiet=True
    )
    assert len(kept(tmp_path / "x.pano")) == 12
    assert result.rejected >= 1


def test_my_method_then_my_filter(importable, pictures, tmp_path):
    out = run(EXAMPLES / "my_method.py", pictures, tmp_path / "x.pano")
    assert len(out.splitlines()) == 12
    assert "'agreement': 1.0" in out
    drafts = panoglot.open(tmp_path / "x.pano").captions.rows(["caption_id"], "dropped = 'draft'")
    assert {len(row["parents"]) for row in kept(tmp_path / "x.pano")} == {2}
    assert len(drafts) == 24
    out = run(EXAMPLES / "my_filter.py", tmp_path / "x.pano")
    assert out.splitlines()[0] == "0 of 36 captions kept"
    assert "12 speaks_of_picture" in out


def _here(name, tmp_path, pictures, server):
    """A recipe with its source, output and server put where the test has them."""
    text = (EXAMPLES / name).read_text(encoding="utf-8").replace("http://127.0.0.1:8000/v1", server)
    plain = yaml.safe_load(text)
    assert plain["source"] == "../photos"
    plain |= {"source": str(pictures), "output": str(tmp_path / "x.pano")}
    if "prices" in plain:
        plain["prices"] = str(EXAMPLES / plain["prices"])
    path = tmp_path / name
    path.write_text(yaml.safe_dump(plain))
    return str(path)


def test_vllm_recipe(server, pictures, tmp_path):
    result = panoglot.build(_here("vllm.yaml", tmp_path, pictures, server), max_cost=5, quiet=True)
    assert result.status == "done"
    assert result.spent.price == 0  # a server of one's own
    assert result.spent.tokens_in > 12 * 700
    rows = kept(tmp_path / "x.pano")
    assert {row["lang"] for row in rows} == {"en", "de", "es", "hi", "ar"}
    assert len(rows) >= 12 * 4  # a translation may fail a check
    assert panoglot.search(str(tmp_path / "x.pano"), "ein Bild", k=3)


def test_a_price_table_and_a_limit(server, pictures, tmp_path):
    arguments = {"captioner": f"openai:{server}#pretend?concurrency=1", "prices": str(EXAMPLES / "prices.yaml")}
    first = panoglot.build(str(pictures), str(tmp_path / "x.pano"), max_cost=0.006, quiet=True, **arguments)
    assert first.status == "stopped"
    assert 0 < first.spent.price <= 0.006
    second = panoglot.build(str(pictures), str(tmp_path / "x.pano"), quiet=True, **arguments)
    assert second.status == "done"
    assert len(kept(tmp_path / "x.pano")) == 12


def test_rank_and_fuse_recipe(server, pictures, tmp_path):
    result = panoglot.build(_here("rank_and_fuse.yaml", tmp_path, pictures, server), quiet=True)
    assert result.status == "done"
    # test pictures are smaller than the recipe asks for: nothing is asked about them
    assert result.dataset.marks.count("dropped = 'too_small'") == 12
    text = Path(_here("rank_and_fuse.yaml", tmp_path, pictures, server)).read_text()
    (tmp_path / "small.yaml").write_text(text.replace("min_side: 200", "min_side: 32"))
    panoglot.build(str(tmp_path / "small.yaml"), quiet=True)
    rows = kept(tmp_path / "x.pano")
    assert len(rows) == 12
    assert {len(row["parents"]) for row in rows} == {2}


def test_the_pretend_server_refuses_when_told_to(importable, pictures, tmp_path):
    import pretend_server

    running = pretend_server.serve(0, refuse=2)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{running.server_address[1]}/v1"
        result = panoglot.build(
            str(pictures), str(tmp_path / "x.pano"), captioner=f"openai:{url}#pretend", curate=False, quiet=True
        )
    finally:
        running.shutdown()
        running.server_close()
    assert 0 < result.rejected < 12
    assert len(kept(tmp_path / "x.pano")) + result.rejected == 12
