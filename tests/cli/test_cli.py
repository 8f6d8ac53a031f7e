"""The command as a user meets it: a real process, its output, its exit code."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from panoglot.cli import COMMANDS
from tests.conftest import picture_bytes

#: For a process that runs elsewhere: what can be imported here can be there.
HERE = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}


def run(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "panoglot", *map(str, arguments)], capture_output=True, text=True, timeout=300, **more
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    photos = folder / "photos"
    photos.mkdir()
    for n in range(4):
        (photos / f"{n}.jpg").write_bytes(picture_bytes(n))
        (photos / f"{n}.txt").write_text(f"Picture number {n} of four.\nde.utf8=<b>Bild</b> Nummer {n}.\n")
    (photos / "bad.jpg").write_text("no picture")
    done = run("ingest", photos, "-o", folder / "x.pano")
    assert done.returncode == 0, done.stderr
    return folder / "x.pano"


def test_help_names_every_command():
    out = run("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_options(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert "Usage: panoglot" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["biuld"], "Did you mean 'build'"),
        (["build"], "--source requires"),
        (["list"], "Did you mean: panoglot methods, or: panoglot models?"),
        (["find", "x.pano", "a cat"], "Did you mean: panoglot search x.pano 'a cat'?"),
        (["my photos/", "--limit", "3"], "Did you mean: panoglot build 'my photos/' --limit 3?"),
        (["evaluate", "CIDEr"], "--metrics cider"),
        (["evaluate", "XTD10"], "panoglot evaluate retrieval --benchmark xtd10"),
        (["evaluate", "CIRR"], "panoglot evaluate composed --benchmark cirr"),
        (["evaluate", "R@1"], "--metrics recall@1"),
        (
            ["curate", "x.pano", "--steps", "length: {min_words: 3"],
            "--steps is not YAML: line 1, column 22",
        ),
        (["build", "nowhere"], "'nowhere'"),
        (["build", ".", "--captoner", "x"], "captoner"),
        (["build", ".", "-o", "x.pano", "--max-cost", "much"], "much"),
        (["build", ".", "-o", "x.pano", "--captioner", "nope:x"], "no model provider 'nope'"),
        (["build", ".", "-o", "x.pano", "--lang", "klingonish"], "klingonish"),
        (["build", ".", "-o", "x.pano", "--translator", "embedded:apertium"], "--lang"),
        (["build", ".", "-o", "x.pano", "--model", "captioner"], "ALIAS=PROVIDER:NAME"),
        (["build", ".", "-o", "x.pano", "--cluster", "mars"], "mars"),
        (["build", ".", "-o", "x.pano", "--on-error", "ignore"], "use reject or raise"),
        (["build", ".", "-o", "x.pano", "--limit", "0"], "limit=0"),
        (["build", "x.yaml"], "x.yaml"),
        (["search", "nowhere.pano", "x"], "no dataset at nowhere.pano"),
        (["search", "x.pano", "bird", "-red"], "quotes: panoglot search x.pano 'bird -red'"),
        (["show", "nowhere.pano", "x"], "no dataset at nowhere.pano"),
        (["report", "nowhere.pano"], "no dataset at nowhere.pano"),
        (["export", "nowhere.pano", "out"], "no dataset at nowhere.pano"),
        (["curate", "nowhere.pano"], "no dataset at nowhere.pano"),
        (["retry", "nowhere.pano"], "no dataset at nowhere.pano"),
        (["build", ".", "-o", "x.pano", "--encoder", "embedded:konse"], "Did you mean 'conse'"),
        (["evaluate", "captionz"], "Did you mean"),
        (
            ["evaluate", "captions", "nowhere.jsonl", "--refs", "nowhere.jsonl", "--metrics", "cidr"],
            "Did you mean 'cider'",
        ),
        (["compare", "a.json", "b.json"], "a.json"),
        (["methods", "--room", "cation"], "Did you mean 'caption'"),
        (["models", "--role", "encodr"], "Did you mean 'encoder'"),
    ],
)
def test_mistakes_are_one_line_with_exit_code_two(arguments, message, tmp_path):
    done = run(*arguments, cwd=tmp_path, env=HERE)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().split("\n")) == 1
    assert list(tmp_path.iterdir()) == []


def test_names_are_taken_in_any_case(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"id": "1", "caption": "a cat"}\n')
    (tmp_path / "r.jsonl").write_text('{"id": "1", "captions": ["a cat"]}\n')
    files = [tmp_path / "p.jsonl", "--refs", tmp_path / "r.jsonl"]
    done = run("Evaluate", "CAPTIONS", *files, "--metrics", "BLEU,ROUGE_L", "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) >= {"bleu", "rouge-l"} or "rouge-l" in done.stdout
    done = run("evaluate", "composed", "--benchmark", "CIRR")
    assert "there is no benchmark" not in done.stderr


def test_a_dataset_where_none_belongs_is_said(dataset, tmp_path):
    shown = shlex.quote(str(dataset))
    for arguments, message in {
        (dataset,): f"Did you mean: panoglot report {shown}?",
        (dataset, "a cat"): f"Did you mean: panoglot search {shown} 'a cat'?",
        ("search", "a cat", dataset): f"the dataset comes first: panoglot search {shown} 'a cat'",
        ("show", "0.jpg", dataset): f"the dataset comes first: panoglot show {shown} 0.jpg",
        ("build", dataset): f"is a dataset. Look at it: panoglot report {shown}.",
    }.items():
        done = run(*arguments, cwd=tmp_path, env=HERE)
        assert done.returncode == 2
        assert message.lower() in done.stderr.lower(), done.stderr
        assert len(done.stderr.strip().split("\n")) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["steps: [encode: {}", "a: b: c", "\tx: 1", "- a\nb", "[" * 5000, "\x01"])
def test_yaml_that_is_none_is_a_line(text, tmp_path):
    for name, options in {"recipe.yaml": [], "prices.yaml": ["-o", "x.pano", "--prices", "prices.yaml"]}.items():
        (tmp_path / name).write_text(text)
        source = name if name == "recipe.yaml" else "."
        done = run("build", source, *options, cwd=tmp_path, env=HERE)
        assert done.returncode == 2, done.stderr
        assert name in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().split("\n")) == 1


def test_settings_and_hints_with_spaces(dataset, tmp_path):
    place = tmp_path / "my data.pano"
    done = run("ingest", dataset.parent / "photos", "-o", place)
    assert f"panoglot retry '{place}'" in done.stdout
    assert "ingest: 4 done, 1 rejected" in done.stderr  # no terminal: a line a stage
    done = run("settings", place)
    assert done.stdout == "Nothing is set, and there are no vectors to search.\n"
    assert "has no vectors to search" in run("settings", place, "--encoder", "embedded:conse").stderr


def test_ingest_says_what_it_did(dataset):
    done = run("ingest", dataset.parent / "photos", "-o", dataset)
    assert "4 images, 8 captions kept" in done.stdout
    assert "1 reject: panoglot retry" in done.stdout


def test_too_many_rejects_is_exit_code_three(dataset, tmp_path):
    photos = dataset.parent / "photos"
    assert run("ingest", photos, "-o", tmp_path / "a.pano", "--max-reject-rate", "0.1").returncode == 3
    assert run("ingest", photos, "-o", tmp_path / "b.pano", "--max-reject-rate", "0.5").returncode == 0


def test_show_prints_texts_as_texts(dataset):
    import panoglot

    image = panoglot.open(dataset).images.rows(["image_id"])[0]["image_id"]
    done = run("show", dataset, image[:8])
    assert done.returncode == 0, done.stderr
    assert "<b>Bild</b>" in done.stdout
    assert json.loads(run("show", dataset, image, "--json").stdout)["image"]["image_id"] == image


def test_export_and_report(dataset, tmp_path):
    done = run("export", dataset, "-o", tmp_path / "out", "--to", "jsonl", "--lang", "de")
    assert done.stdout == "4 images, 4 captions as jsonl: de 4\n"
    lines = (tmp_path / "out" / "metadata.jsonl").read_text().strip().split("\n")
    assert len(lines) == 4
    done = run("report", dataset, "-o", tmp_path / "r.html")
    assert done.stdout.strip() == str(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "&lt;b&gt;Bild&lt;/b&gt;" in page
    assert "<b>Bild</b>" not in page


def test_curate_takes_filters_with_options(dataset):
    done = run("curate", dataset, "--steps", "length: {min_words: 5}", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "4 of 8 captions kept" in done.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            ["build", "PHOTOS", "-o", "ftp://bucket/x.pano"],
            "'ftp://bucket/x.pano': no dataset lies on ftp://",
        ),
        (["build", "ftp://bucket/photos", "-o", "x.pano"], "'ftp://bucket/photos' is remote; copy or mount it."),
        (["ingest", "ftp://bucket/photos", "-o", "x.pano"], "'ftp://bucket/photos' is remote; copy or mount it."),
        (["export", "DATA", "ftp://b/out"], "'ftp://b/out': exports are written into a folder of this machine"),
        (
            ["merge", "ftp://b/x.pano", "DATA", "-o", "x.pano"],
            "'ftp://b/x.pano': no dataset lies on ftp://",
        ),
    ],
)
def test_addresses_of_object_stores_are_refused_in_one_line(dataset, tmp_path, line, said):
    places = {"PHOTOS": dataset.parent / "photos", "DATA": dataset}
    done = run(*(places.get(word, word) for word in line), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"panoglot: {said}")
    assert os.listdir(tmp_path) == []  # no folder named s3:


def test_curate_explains_a_picture(dataset):
    import panoglot

    image = panoglot.open(dataset).images.rows(["image_id"])[0]["image_id"]
    done = run("curate", dataset, "--steps", "length: {min_words: 5}", "--steps", "size", "--explain", image[:8])
    assert done.returncode == 0, done.stderr
    assert re.search(r"length +drops: too_short +words [1-4] +5 to 400", done.stdout)
    assert re.search(r"size +keeps +shorter side \d+ +at least 32", done.stdout)
    found = json.loads(run("curate", dataset, "--steps", "size", "--explain", image, "--json").stdout)
    assert found["image"]["rulings"][0]["measures"][0]["least"] == 32
    assert run("curate", dataset, "--explain", "no.png").stderr.startswith(
        f"panoglot: {dataset} has no image 'no.png'."
    )
    assert json.loads(run("curate", dataset, "--dry-run", "--json").stdout)["images"] == 4


def test_a_curation_that_keeps_nothing_says_so_last_and_what_mends_it(dataset, tmp_path):
    copy = tmp_path / "a copy.pano"
    shutil.copytree(dataset, copy)
    done = run("curate", copy, "--steps", "size: {min_side: 1}", "--steps", "length: {min_words: 50}", "--dry-run")
    assert done.returncode == 3
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("panoglot: no caption is kept: 8 too_short; ")
    command = shlex.split(last.partition("bring them back: ")[2])
    assert command == ["panoglot", "curate", str(copy), "--steps", "size: {min_side: 1}"]
    again = run(*command[1:])
    assert (again.returncode, "8 of 8 captions kept" in again.stdout) == (0, True)


@pytest.mark.parametrize(("steps", "code"), [("near_duplicate", 0), ("wit", 3), ("size,length", 0), ("default", 0)])
def test_curate_takes_names_of_filters_and_presets(dataset, steps, code):
    done = run("curate", dataset, "--steps", steps, "--dry-run")
    assert (done.returncode, "no image is kept: 4 too_small" in done.stderr) == (code, code == 3)  # for WIT


@pytest.mark.parametrize("verb", ["methods", "models"])
def test_tables_fit_a_terminal_of_80_columns(verb, monkeypatch, capsys):
    """Names are whole, lines are not broken by the terminal."""
    import rich.console

    import panoglot

    rows = getattr(panoglot, verb)()
    monkeypatch.setattr("panoglot.cli._commands.console", lambda: rich.console.Console(width=80, color_system=None))
    with pytest.raises(SystemExit):
        panoglot.cli.main([verb])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(any(row.name in line and line[0] in "●◐○" for line in lines) for row in rows)
    if verb == "methods":
        assert len(lines) < len(rows) + 16  # a line each


def test_methods_models_doctor():
    rows = [json.loads(line) for line in run("methods", "--json").stdout.strip().split("\n")]
    assert sum(row["paper"] for row in rows) == 67
    assert {"describe", "rank-and-fuse", "translate"} <= {row["name"] for row in rows if row["done"]}
    models = [json.loads(line) for line in run("models", "--json").stdout.strip().split("\n")]
    assert any(model["name"].startswith("embedded:conse") for model in models)
    done = run("doctor", env={**os.environ, "SECRET_API_KEY": "sk-do-not-show"})
    assert done.returncode == 0
    assert "SECRET_API_KEY" in done.stdout
    assert "sk-do-not-show" not in done.stdout


def test_output_may_be_cut_short():
    done = subprocess.run(f"{sys.executable} -m panoglot methods | head -1", shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_an_interrupt_says_how_to_go_on_and_leaves_nothing_running(dataset, tmp_path):
    import signal
    import time

    options = ["--captioner", "python:tests.running.toy:Writer?sleep=0.2", "--encoder", "python:tests.running.toy:Fits"]
    photos = dataset.parent / "photos"
    for n in range(100, 160):
        (photos / f"{n}.jpg").write_bytes(picture_bytes(n))
    command = [sys.executable, "-m", "panoglot", "build", str(photos), "-o", str(tmp_path / "x.pano"), *options]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=HERE)
    journal = tmp_path / "x.pano" / "journal"
    deadline = time.monotonic() + 120
    while not list(journal.glob("*.seg")) and time.monotonic() < deadline:
        time.sleep(0.1)
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    again = subprocess.run(command, capture_output=True, text=True, env=HERE)
    assert again.returncode == 0, again.stderr


def test_a_server_that_is_not_there_ends_the_run_with_one_line(dataset, tmp_path):
    photos = dataset.parent / "photos"
    options = ["--captioner", "openai:http://127.0.0.1:1/v1#x?patience=1&backoff=0.01", "--no-curate"]
    done = run("build", photos, "-o", tmp_path / "x.pano", *options)
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_evaluate_and_compare(tmp_path):
    (tmp_path / "refs.jsonl").write_text(
        '{"id": "1", "captions": ["a dog runs on the beach", "dog at the sea"]}\n'
        '{"id": "2", "captions": ["a black cat", "a cat sits"]}\n'
        '{"id": "3", "captions": ["two boats", "boats on water"]}\n'
    )
    for name, texts in {"a": ("a dog on the beach", "a cat", "boats"), "b": ("a car", "a cat", "a tree")}.items():
        rows = [json.dumps({"id": str(n), "caption": text}) for n, text in enumerate(texts, 1)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
        done = run(
            "evaluate",
            "captions",
            tmp_path / f"{name}.jsonl",
            "--refs",
            tmp_path / "refs.jsonl",
            "--metrics",
            "rouge-l",
            "--lang",
            "en",
            "--per-item",
            "-o",
            tmp_path / f"{name}.json",
        )
        assert done.returncode == 0, done.stderr
        assert "rouge" in done.stdout
    done = run("compare", tmp_path / "a.json", tmp_path / "b.json", "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


def test_several_sources_in_one_command(tmp_path):
    """As a shell writes out `*.png`, beside a folder; a last word that ends in .pano is the dataset."""
    (tmp_path / "in").mkdir()
    for n in range(3):
        (tmp_path / ("in" if n == 2 else "") / f"{n}.png").write_bytes(picture_bytes(n))
    done = run("ingest", "0.png", "1.png", "in", "-o", "x.pano", cwd=tmp_path, env=HERE)
    assert (done.returncode, "x.pano: 3 images" in done.stdout) == (0, True), done.stderr
    assert "3 images" in run("ingest", "0.png", "1.png", "in", "y.pano", cwd=tmp_path, env=HERE).stdout
    done = run("build", "0.png", "in", cwd=tmp_path, env=HERE)
    assert done.returncode == 2
    assert "panoglot build 0.png in -o NAME.pano" in done.stderr
