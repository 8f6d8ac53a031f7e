"""Every command is a Python function of the package, whatever was imported before; rooms are nouns."""

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
        f"    print([n for n in {list(COMMANDS)} if not isinstance(getattr(panoglot, n), types.FunctionType)])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n[]\n"


def test_no_room_has_the_name_of_a_verb():
    rooms = {path.name.removesuffix(".py") for path in Path(panoglot.__file__).parent.iterdir()}
    public = set(panoglot.__all__) - {"evaluate"}  # the namespace of its commands, and no function
    assert rooms & public == set()


def test_models_lists_the_models():
    assert "embedded:efficientnet-lite2" in [model.name for model in panoglot.models(role="tagger")]
