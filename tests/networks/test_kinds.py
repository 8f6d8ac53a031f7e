"""Names, options and their types: known without loading what they name; plugins; what losses need."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from panoglot.errors import UserError
from panoglot.networks import NEEDS, READS, SETTINGS, Kinds, load_row, make_model, needs_of, reads_of, register
from panoglot.networks.parts import Part

WITHOUT = """
import sys
sys.modules["torch"] = None                        # as if it were not installed
from panoglot.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(*arguments):
    done = subprocess.run([sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True)
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clop"], "No method is called 'clop'. Did you mean 'clip'?"),
        (["clip", "--preset", "smal"], "clip has no preset 'smal'. Did you mean 'small'?"),
        (["clip", "--set", "losses.contrast.smothing=0.1"], "unknown option 'smothing'. Did you mean 'smoothing'?"),
        (["clip", "--set", "losses.contrast.smoothing=much"], "losses contrast: smoothing='much' must be a number."),
        (["clip", "--set", "image.layers=1.5"], "image vit: layers=1.5 must be a whole number."),
        (
            ["clip", "--set", "text.kind=transfomer"],
            "text: kind 'transfomer' is not known. Did you mean 'transformer'?",
        ),
        (["grain", "--set", "head.querys=3"], "head queries: unknown option 'querys'. Did you mean 'queries'?"),
        (["dreamlip", "--set", "sampler.k=[1]"], "sampler sentences: k=[1] must be a whole number."),
        (["clip", "--set", "batch=many"], "clip: batch='many' must be a whole number."),
        (["clip", "--set", "losses.locate={}"], "the loss 'locate' needs a locator: readers: {locator: {kind: set}}."),
        (["clip", "--set", "image.layers=2"], "pip install"),  # all is well, but for torch
    ],
)
def test_a_mistake_is_found_before_torch_is_missed(arguments, said, tmp_path):
    assert said in run("train", arguments[0], str(tmp_path / "x.pano"), "-o", str(tmp_path / "run"), *arguments[1:])


def test_what_is_read_of_the_source_is_what_is_made():
    import inspect

    for setting in SETTINGS:
        kinds = Kinds(setting)
        for name in kinds:
            if setting == "optimiser":  # torch's own
                continue
            made, said = kinds[name], kinds.options(name)
            real = inspect.signature(made).parameters
            assert set(said) <= set(real), (setting, name)
            for key, option in said.items():
                assert option.optional == (real[key].default is not real[key].empty), (setting, name, key)
            for what in ("needs", "reads", "gives", "needs_when", "takes", "writes", "shows_parts"):
                assert kinds.declares(name, what, None) == getattr(made, what, None) or setting == "sampler", (
                    name,
                    what,
                )


def test_every_loss_says_what_it_needs_and_reads():
    for name in Kinds("losses"):
        assert set(needs_of(name, {})) <= set(NEEDS)
        assert set(reads_of(name, {})) <= set(READS)
        assert reads_of(name, {}), name


def test_a_plugin_is_a_kind_like_ours():
    @register("losses", "of_a_test")
    class Mine(Part):
        needs, reads = ("picture",), ("picture",)

        def __init__(self, widths, strength: float = 1.0):
            super().__init__(widths)

        def forward(self, f, batch, step):
            return step.mean(f.x.sum(1))

    with pytest.raises(UserError, match=r"losses of_a_test: unknown option 'strenght'. Did you mean 'strength'"):
        load_row("clip", "small", losses={"of_a_test": {"strenght": 2}})
    with pytest.raises(UserError, match="strength='2' must be a number"):
        load_row("clip", "small", losses={"of_a_test": {"strength": "2"}})
    model = make_model(load_row("clip", "small", losses={"of_a_test": {"strength": 2}}))
    assert set(model.parts) == {"contrast", "of_a_test"}
    with pytest.raises(UserError, match="there is a 'contrast' already"):
        register("losses", "contrast")(Mine)


def test_an_option_that_must_be_said_is_asked_for():
    with pytest.raises(UserError, match="regress: needs teacher, a whole number"):
        load_row("clip", "small", losses={"regress": {}})
