"""Every command is a Python function of the package, whatever was imported before."""

import subprocess
import sys

import pytest

from panoglot.cli import COMMANDS


@pytest.mark.parametrize("first", ["", "panoglot.models", "panoglot.report", "panoglot.search", "panoglot.build"])
def test_every_command_is_a_function_of_the_package(first):
    code = f"import panoglot\n{'import ' + first if first else ''}\n" + (
        f"for _ in range(2):\n    print([name for name in {list(COMMANDS)} if not callable(getattr(panoglot, name))])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n[]\n"


def test_rooms_that_are_called_like_their_verb_do_what_the_verb_does():
    import panoglot.recipes

    import panoglot

    assert panoglot.models(role="tagger") == panoglot.providers._names.models(role="tagger")
    assert "embedded:efficientnet-lite2" in [model.name for model in panoglot.models(role="tagger")]
