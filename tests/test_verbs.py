"""Every command is a Python function of the package, whatever was imported before; rooms are nouns."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import panoglot
from panoglot.cli import COMMANDS


@pytest.mark.parametrize(
    "first", ["", "panoglot.providers", "panoglot.reporting", "panoglot.retrieval", "panoglot.recipes"]
)
def test_every_command_is_a_function_of_the_package(first):
    code = f"import panoglot, types\n{'import ' + first if first else ''}\n" + (
        "for _ in range(2):\n"
        f"    print([n for n in {[name.replace('-', '_') for name in COMMANDS]} "
        "if not isinstance(getattr(panoglot, n), types.FunctionType)])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n[]\n"


def test_no_room_has_the_name_of_a_verb():
    rooms = {path.name.removesuffix(".py") for path in Path(panoglot.__file__).parent.iterdir()}
    public = set(panoglot.__all__) - {"evaluate"}  # the namespace of its commands, and no function
    assert rooms & public == set()


def test_models_lists_the_models():
    assert "embedded:efficientnet-lite2" in [model.name for model in panoglot.models(role="tagger")]


def _verbs():
    """Command to (function, options that the command adds for printing)."""
    from panoglot.cli._commands import VERBS

    for name, (place, _, extra) in VERBS.items():
        module, _, function = place.partition(":")
        yield name, getattr(importlib.import_module(module), function), extra


@pytest.mark.parametrize(("name", "verb", "extra"), [pytest.param(*one, id=one[0]) for one in _verbs()])
def test_a_command_has_the_options_of_its_function(name, verb, extra):
    from panoglot.cli import _commands

    printing = set(inspect.signature(extra).parameters) if extra else set()
    command = set(inspect.signature(getattr(_commands, name)).parameters)
    function = set(inspect.signature(verb).parameters) - _commands.PYTHON_ONLY
    assert command == function | printing
    assert function & printing <= {"per_item"}  # of `compare`, which has it on both sides


@pytest.mark.parametrize(("name", "verb"), [pytest.param(*one[:2], id=one[0]) for one in _verbs()])
def test_an_option_that_a_function_does_not_have_is_answered(name, verb):
    with pytest.raises(panoglot.UserError):
        verb(nonsense=1)


def test_a_command_is_public_under_its_name():
    for name, verb, _ in _verbs():
        if not name.startswith("evaluate_"):
            assert getattr(panoglot, name) is verb


#: One word for one idea (docs/architecture.md): these are said by other words.
NOT_SAID = {"langs", "languages", "language", "target", "targets", "out", "output_dir", "max_price", "batch_size"}


def test_one_word_for_one_idea():
    said = {key: name for name, verb, _ in _verbs() for key in inspect.signature(verb).parameters}
    assert {key: said[key] for key in (NOT_SAID | {"kind"}) & said.keys()} == {}
    from panoglot.running import list_methods

    said = {key: method.name for method in list_methods() for key in method.options()}
    assert {key: said[key] for key in (NOT_SAID | {"to"}) & said.keys()} == {}


@pytest.mark.parametrize(
    ("verb", "old", "new"),
    [
        ("build", "languages", "lang"),
        ("export", "langs", "lang"),
        ("search", "kind", "kinds"),
        ("train", "source", "sources"),
    ],
)
def test_old_words_are_answered(verb, old, new, capsys):
    from panoglot.cli import main

    function = getattr(panoglot, verb)
    with pytest.raises(panoglot.UserError, match=f"{verb} has no option '{old}'. Did you mean '{new}'") as raised:
        function("x", "y", **{old: "de"})
    assert isinstance(raised.value, TypeError)
    with pytest.raises(SystemExit) as ended:
        main([verb, "x", "y", f"--{old}", "de"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    if new == "lang":  # scripts that say it go on
        assert "Unknown option" not in said
        return
    assert f"--{new}" in said


def test_old_words_of_recipes_are_answered(tmp_path):
    recipe = tmp_path / "r.yaml"
    for step in ("label: {languages: [de]}", "translate: {to: [de], translator: 'embedded:apertium'}"):
        recipe.write_text(f"source: {tmp_path}\noutput: x.pano\nsteps: [{{{step}}}]\n")
        with pytest.raises(panoglot.UserError, match="Did you mean 'lang'"):
            panoglot.build(str(recipe))
    assert not (tmp_path / "x.pano").exists()
