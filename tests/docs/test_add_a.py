"""The pages on adding a metric and a benchmark: their files as a package outside the tree, found by entry points."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import panoglot

DOCS = Path(__file__).resolve().parents[2] / "docs"
SOURCE = Path(panoglot.__file__).parents[1]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def package(tmp_path):
    """What the pages write, and a metadata folder as an installer makes one of their lines."""
    home = tmp_path / "site"
    (home / "my_metrics").mkdir(parents=True)
    (home / "my_metrics" / "__init__.py").touch()
    (home / "my_metrics" / "colours.py").write_text(blocks("add-a-metric", "python")[0], encoding="utf-8")
    (home / "my_metrics" / "how_many.py").write_text(blocks("add-a-benchmark", "python")[0], encoding="utf-8")
    info = home / "my_metrics-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-metrics\nVersion: 1.0\n")
    lines = "\n".join([*blocks("add-a-benchmark", "toml"), *blocks("add-a-metric", "toml")])
    lines += 'cider = "my_metrics.colours:METRIC"\n'  # a name of ours
    text = lines.replace('[project.entry-points."', "[").replace('"]', "]").replace('"', "")
    (info / "entry_points.txt").write_text(text)
    return home


def run(package, *arguments, code=0):
    path = os.pathsep.join([str(SOURCE), str(package)])
    done = subprocess.run(
        [sys.executable, "-m", "panoglot", *map(str, arguments)], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(package / "cache"), "COLUMNS": "200"}, cwd=package,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_metric_of_another_package(package):
    (package / "p.json").write_text('{"1": "a red and blue cat", "2": "a dog"}')
    found = json.loads(run(package, "evaluate", "captions", "p.json", "--metrics", "COLOURS", "--json"))
    assert found["results"]["colours"]["value"] == 0.5
    two = ("evaluate", "captions", "p.json", "--metrics", "colours,length", "--least", "2", "--json")
    found = json.loads(run(package, *two))["results"]
    assert (found["colours"]["value"], found["colours"]["options"]["least"]) == (0.5, 2)
    assert found["length"]["value"] == 3.5
    said = run(package, "evaluate", "captions", "p.json", "--metrics", "length", "--least", "2", code=2)
    assert "length does not take --least: it would change nothing" in said
    assert "colours that a caption must name" in run(package, "evaluate", "captions", "--help")
    assert re.search(r"colours +share of captions that name a colour", run(package, "evaluate", "--list"))
    assert "It is a metric" in run(package, "evaluate", "colours", code=2)


def test_a_name_of_ours_is_ours(package):
    (package / "p.json").write_text('{"1": "a cat", "2": "a dog"}')
    (package / "r.json").write_text('{"1": ["a cat"], "2": ["a dog"]}')
    found = json.loads(run(package, "evaluate", "captions", "p.json", "r.json", "--metrics", "cider", "--json"))
    assert found["results"]["cider"]["metric"] == "cider-d"


def test_a_benchmark_of_another_package(package):
    from tests.conftest import picture_bytes

    for n in range(2):
        (package / f"{n}.jpg").write_bytes(picture_bytes(n))
    rows = [{"image": f"{n}.jpg", "thing": "cats", "count": n + 2} for n in range(2)]
    (package / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (package / "says.py").write_text(
        "from panoglot.providers.roles import Answer\n"
        "class Two:\n"
        "    name, fingerprint, batch_size = 'two:1', 'two-1', 4\n"
        "    def generate(self, prompts):\n"
        "        print('asked', len(prompts), file=__import__('sys').stderr)\n"
        "        return [Answer('2 of them', tokens_in=1, tokens_out=1) for _ in prompts]\n"
        "two = Two\n"
    )
    line = ("evaluate", "choice", "d.jsonl", "--benchmark", "how-many", "--images", ".", "--model", "python:says:two")
    found = json.loads(run(package, *line, "--json"))
    assert found["results"]["how-many"]["value"] == 0.5
    assert (found["made"]["answers"]["asked"], found["made"]["answers"]["from the journal"]) == (2, 0)
    again = json.loads(run(package, *line, "--slack", "1", "--json"))
    assert again["results"]["how-many"]["value"] == 1
    assert (again["made"]["answers"]["asked"], again["made"]["answers"]["from the journal"]) == (0, 2)
    assert "'how-many' needs --images, --model. It takes --data" in run(package, *line[:5], code=2)
    said = run(package, *line, "--slak", "1", code=2)
    assert "slak" in said
    assert "'how-many' does not take --task" in run(package, *line, "--task", "s2i", code=2)
    assert (
        "lack image, thing or count" in run(package, "evaluate", "choice", "p.json", *line[3:], code=2)
        if (package / "p.json").write_text('[{"image": "a"}]')
        else False
    )


def test_help_looks_at_no_other_package():
    code = (
        "import importlib.metadata, sys\n"
        "def never(**_): raise AssertionError('other packages were looked at')\n"
        "importlib.metadata.entry_points = never\n"
        "import panoglot.extensions; panoglot.extensions.entry_points = never\n"
        "from panoglot.cli import main\n"
        "for line in (['--help'], ['evaluate', '--help']):\n"
        "    try: main(line)\n"
        "    except SystemExit as end: assert not end.code\n"
        "print([m for m in sys.modules if m.startswith(('panoglot.metrics.', 'panoglot.evaluate.benchmarks'))])"
    )
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("[]")
