"""A package outside the tree adds one of each thing through entry points; each runs through the public commands.

`tests/extension_package` is such a package. It is put on the path with a made `.dist-info`: nothing is installed.
"""

import json
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

import panoglot
from panoglot.cli import main
from panoglot.extensions import find_entries, look_again
from tests.conftest import picture_bytes

PACKAGE = Path(__file__).parent / "extension_package"
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
#: Groups that a part of Panoglot reads; what stands for the others is skipped, and said.
GROUPS = {name: list(points) for name, points in PROJECT["entry-points"].items()}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package as if it were installed; forgotten afterwards."""
    from panoglot.curation import FILTERS, PRESETS
    from panoglot.running import METHODS

    site = tmp_path / "site"
    shutil.copytree(PACKAGE / "src" / "pano_extra", site / "pano_extra")
    facts = site / f"pano_extra-{PROJECT['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in PROJECT["entry-points"].items()
    ]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(site))
    look_again()
    yield site
    for registry in (FILTERS, PRESETS, METHODS):
        for name in [name for name, one in registry.items() if one.function.__module__.startswith("pano_extra")]:
            del registry[name]
    for name in [name for name in sys.modules if name.partition(".")[0] == "pano_extra"]:
        del sys.modules[name]
    look_again()


@pytest.fixture
def photos(tmp_path):
    """Four pictures, and a file of the package's format that names them and one that is not there."""
    folder = tmp_path / "photos"
    folder.mkdir()
    texts = ["A DISC BEFORE WAVES", "a small disc before waves", "another disc", "the last disc of all"]
    for n, _ in enumerate(texts):
        (folder / f"{n}.png").write_bytes(picture_bytes(n, 320, 240, "PNG"))
    lines = [f"{n}.png\t{text}\n" for n, text in enumerate(texts)]
    (folder / "mine.notes").write_text("".join([*lines, "gone.png\tnot there\n"]))
    return folder


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return ended.value.code, capsys.readouterr()


def test_the_package_has_one_of_each(package):
    for group, names in GROUPS.items():
        assert set(names) <= set(find_entries(group))


def test_a_provider_of_a_role_of_its_own(package, capsys):
    code, said = command(capsys, "models", "--role", "counter")
    assert code == 0
    assert "extra:counter" in said.out
    assert panoglot.load_model("extra:counter?least=2", "counter").fingerprint == "extra-counter-1-2"
    with pytest.raises(panoglot.UserError, match="has no option 'most'"):
        panoglot.load_model("extra:counter?most=2")
    with pytest.raises(panoglot.UserError, match="is no tagger"):
        panoglot.load_model("extra:counter", "tagger")


def test_a_format_a_method_and_filters_in_one_run(package, photos, tmp_path, capsys):
    home = tmp_path / "x.pano"
    result = panoglot.ingest(str(photos / "mine.notes"), str(home), option=["lang=en"], quiet=True)
    data = result.dataset
    assert len(data.images) == 4
    assert [row["reason"] for row in data.rejects.rows(["reason"])] == ["no_such_file"]
    assert {row["lang"] for row in data.captions.rows(["lang"])} == {"en"}

    recipe = tmp_path / "count.yaml"
    recipe.write_text("output: x.pano\nsteps: [count-things]\n")
    made = panoglot.build(str(recipe), quiet=True)
    assert made.status == "done"

    rows = data.captions.rows(["text", "model", "recipe"], "recipe = 'count-things/1'")
    assert [(row["text"], row["model"]) for row in rows] == [("3 things", "extra:counter@1")] * 4
    assert "count-things" in [row.name for row in panoglot.methods()]

    curated = panoglot.curate(home, steps=["shouting"], quiet=True)
    assert curated.captions_dropped == {"shouts": 1}
    (dropped,) = data.captions.rows(["text"], "dropped = 'shouts'")
    assert dropped["text"] == "A DISC BEFORE WAVES"
    code, said = command(capsys, "curate", home, "--steps", "quiet: {share: 0.9}", "--dry-run")
    assert code == 0
    assert "shouts" in said.out
    with pytest.raises(panoglot.UserError, match="Did you mean 'shouting'"):
        panoglot.curate(home, steps=["shoutin"])

    written = panoglot.export(home, tmp_path / "out", "notes", kinds=["human"], include_dropped=True)
    assert written["shards"] == {"pictures.notes": 4}
    again = panoglot.ingest(str(tmp_path / "out" / "pictures.notes"), str(tmp_path / "y.pano"), quiet=True)
    ids = [{row["image_id"] for row in one.images.rows(["image_id"])} for one in (data, again.dataset)]
    assert ids[0] == ids[1]


def test_a_row_of_training(package, capsys):
    code, said = command(capsys, "train", "extra-clip", "--preset", "small", "--print-config")
    assert code == 0
    assert "method: extra-clip" in said.out
    assert "batch: 4" in said.out
    assert "extra-clip" in [row.name for row in panoglot.train(list=True)]


def test_a_metric_and_a_benchmark(package, tmp_path, capsys):
    if not find_entries("panoglot.metrics").keys() - {"vowels"}:
        pytest.skip("metrics and benchmarks are not read from entry points yet")
    (tmp_path / "preds.txt").write_text("aabb\nabbb\n")
    (tmp_path / "data.txt").write_text("aaaa\n")
    code, said = command(capsys, "evaluate", "captions", tmp_path / "preds.txt", "--metrics", "vowels", "--json")
    assert code == 0
    assert json.loads(said.out)["results"]["vowels"]["value"] == 0.375
    code, said = command(
        capsys, "evaluate", "captions", tmp_path / "preds.txt", "--benchmark", "vowel-test",
        "--data", tmp_path / "data.txt", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(said.out)["results"]["data"]["value"] == 1.0


def test_a_loss_a_tower_and_a_sampler(package):
    pytest.importorskip("torch")
    if not find_entries("panoglot.networks").keys() - set(GROUPS["panoglot.networks"]):
        try:
            from panoglot.networks._kinds import Kinds
        except ImportError:
            pytest.skip("kinds of a row are not read from entry points yet")
    assert Kinds("losses")["pull"].__name__ == "Pull"
    assert set(Kinds("image").options("flat")) == {"width"}
    assert Kinds("sampler")["last"]().__class__.__name__ == "Last"


def test_names_of_ours_are_not_taken(package, tmp_path):
    (package / "pano_extra" / "thief.py").write_text(
        "from panoglot.curation import caption_filter\n\n\n"
        "@caption_filter('mine')\ndef length(caption, facts):\n    return None\n"
    )
    with pytest.raises(panoglot.UserError, match="there is a filter or preset 'length' already"):
        __import__("pano_extra.thief")
