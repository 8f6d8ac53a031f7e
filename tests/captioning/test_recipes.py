"""The full-size recipes of the methods: each loads, and names no step, option or model that is not there."""

import json
from pathlib import Path

import pytest
import yaml

import panoglot
from panoglot.recipes import load_recipe
from panoglot.running import get_method
from tests.captioning.films import film
from tests.conftest import picture_bytes

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "captioning"
FILES = sorted(FOLDER.glob("*.yaml")) if FOLDER.is_dir() else []
#: Settings of the papers that a recipe states, beside the defaults.
STATED = {
    "scalecap": {"tau": 0.0, "max_tokens": 1024, "answer_tokens": 512, "merge_tokens": 4096},
    "image_textualization": {
        "min_found": 0.20,
        "min_region": 0.55,
        "most_things": 10,
        "temperature": 0.75,
        "top_p": 0.95,
    },
    "patch_matters": {"samples": 3, "min_support": 0.3, "join": 0.4, "skip_main": 0.4, "temperature": 0.7},
    "describe_crops": {"clusters": 10, "min_found": 0.01, "words": 300, "temperature": 0.2},
    "densefusion": {"words": 192},
    "capsfusion": {"limit": 256, "max_tokens": 80},
    "mlbcap": {"long_words": 50, "short_words": 30},
    "viscon": {"limit": 2000, "mode": "leaky"},
    "panda_70m": {"frames": 1},
    "langsplat4d": {"min_frames": 20, "most_frames": 18, "context": 3, "max_tokens": 128},
}


@pytest.mark.skipif(not FILES, reason="not a source tree")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_is_sound_and_says_what_the_paper_says(file):
    recipe = load_recipe(file)
    recipe.check()
    name = file.stem.replace("_", "-")
    (options, *_) = [options for step, options in recipe.steps if step == name]
    resolved = get_method(name).resolve(options)
    for option, value in STATED.get(file.stem, {}).items():
        assert resolved[option] == value, option
        assert get_method(name).options()[option].default == value, option
    used = {alias for step, given in recipe.steps if step not in ("curate", "encode") for alias in _uses(step, given)}
    assert {alias for alias in used if ":" not in alias} <= set(recipe.models)


def _uses(step, options):
    chosen = get_method(step)
    return chosen.uses(chosen.resolve(options))


def test_models_that_were_given_reach_methods_that_can_do_without():
    from panoglot.recipes import recipe_from_options

    given = {"captioner": "python:a:B", "llm": "python:c:D"}
    said = dict(recipe_from_options("photos", "X.pano", method="capsfusion", **given).steps)["capsfusion"]
    assert said == {"captioner": "captioner"}  # `llm` is what it asks for anyhow
    said = dict(recipe_from_options("photos", "X.pano", method="rank-and-fuse", **given).steps)["rank-and-fuse"]
    assert said == {"llm": "llm"}
    assert dict(recipe_from_options("photos", "X.pano", method="capsfusion").steps)["capsfusion"] == {}


class Everything:
    """A model in every role, for recipes whose own models are not here; a dry run asks it nothing."""

    name, fingerprint, batch_size, dim, chat, sees = "toy:everything", "toy-everything-1", 8, 2, True, True
    metric, pairs = True, None

    def never(self, *given):
        raise AssertionError("a dry run asks nothing")

    generate = encode_images = encode_texts = tag = detect = read = translate = identify = parse = segment = never
    depth = paint = judge = match = score = never


@pytest.mark.skipif(not FILES, reason="not a source tree")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dry_run_of_a_full_size_recipe_counts_and_asks_nothing(file, tmp_path):
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    recipe["models"] = dict.fromkeys(recipe["models"], "python:tests.captioning.test_recipes:Everything")
    if recipe.get("format") == "video":
        pytest.importorskip("av")
        recipe["source"] = film(tmp_path / "v.mp4", [((200, 40, 40), (200, 40, 40), 20)])
    else:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").write_bytes(picture_bytes(1))
        recipe["source"] = str(tmp_path / "photos")
    recipe["output"] = str(tmp_path / "X.pano")
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    told = panoglot.build(tmp_path / "recipe.yaml", dry_run=True, quiet=True).forecast
    steps = [step if isinstance(step, str) else next(iter(step)) for step in recipe["steps"]]
    methods = [name for name in steps if name not in ("curate", "encode", "align", "index", "report")]
    assert {one.stage.partition(".")[2] for one in told.steps} >= set(methods)
    assert all(one.needs or one.notes for one in told.steps if one.stage.partition(".")[2] in methods)
    assert not (tmp_path / "X.pano").exists()
