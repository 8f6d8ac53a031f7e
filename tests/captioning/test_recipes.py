"""The full-size recipes of the methods: each loads, and names no step, option or model that is not there."""

from pathlib import Path

import pytest

from panoglot.recipes import load_recipe
from panoglot.running import get_method

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
    used = {alias for step, given in recipe.steps if step != "curate" for alias in _uses(step, given)}
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
