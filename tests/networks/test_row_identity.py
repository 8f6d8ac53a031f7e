"""The identity of a row: what is left out, and a run of yesterday's code gone on with by tomorrow's."""

import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

import panoglot
from panoglot.identity import versioned
from panoglot.networks import Row, load_row, stored_row
from panoglot.networks.parts import PARTS, ContrastPart
from panoglot.providers import load_model
from panoglot.table import open_dataset
from panoglot.training import TRAINING, Trainer
from tests.growth import grown
from tests.training.test_commands import FROZEN, make

FIELD = "    snapshots: bool = False\n"
MODULES = ("_row", "_row_identity", "_trainer", "_settings", "_model", "_commands", "_run")


def newer_row(monkeypatch, default, was):
    """Code whose rows have one field more."""
    newer = grown(Row, FIELD, FIELD + f"    mixup: float = field(default={default}, metadata=marked(Added({was})))\n")
    for name in MODULES:
        for room in ("networks", "training"):
            module = sys.modules.get(f"panoglot.{room}.{name}")
            if hasattr(module, "Row"):
                monkeypatch.setattr(module, "Row", newer)
    return newer


@pytest.fixture
def begun(tmp_path):
    data = make(tmp_path / "x.pano", n=30)
    sets = ["sampler.kind=each", "head.kind=linear"]
    done = panoglot.train(
        "clip", data.path, output=tmp_path / "run", **FROZEN, set=sets, epochs=2, batch=32, held_out=0.2, quiet=True
    )
    return done, data.path, load_model(f"pano:{done.run}", "encoder").fingerprint


def stored(place):
    return sorted(path.name for path in (place / "vectors").glob("*.lance"))


@pytest.mark.parametrize("default", [0.0, 0.2])
def test_one_new_field_of_a_row_is_resumed_and_finds_its_vectors(begun, monkeypatch, default):
    done, place, print_ = begun
    vectors = stored(place)
    newer_row(monkeypatch, default, 0.0)
    assert stored_row(done.run).mixup == 0.0  # as it was when the run was begun, whatever is the default today
    again = panoglot.train(resume=done.run, quiet=True)
    assert (again.steps, again.loss, again.vectors) == (done.steps, done.loss, done.vectors)
    assert stored(place) == vectors
    assert load_model(f"pano:{done.run}", "encoder").fingerprint == print_
    assert open_dataset(place).vector_model(done.vectors)["fingerprint"] == print_
    assert "mixup: 0.0" in (done.run / "row.yaml").read_text()


@pytest.mark.parametrize("name", ["clip", "dc-clip"])
def test_a_new_field_changes_no_fingerprint_and_its_values_do(monkeypatch, name):
    old = load_row(name, "small").fingerprint
    newer_row(monkeypatch, 0.0, 0.0)
    row = load_row(name, "small")
    assert row.fingerprint == load_row(name, "small", mixup=0).fingerprint == old
    assert replace(row, mixup=0.2).fingerprint != old


def test_a_new_option_of_a_loss_changes_no_row(monkeypatch):
    old = load_row("clip", "small").fingerprint
    staged = load_row("dc-clip", "small").fingerprint
    line = "        chunk: int | None = None,\n"
    newer = grown(ContrastPart, line, line + "        temper: Annotated[float, Added(0.0)] = 0.0,\n")
    monkeypatch.setitem(PARTS, "contrast", newer)
    assert load_row("clip", "small").fingerprint == old
    assert load_row("clip", "small", losses={"contrast": {"temper": 0.0}}).fingerprint == old
    assert load_row("clip", "small", losses={"contrast": {"temper": 0.1}}).fingerprint != old
    inside = {"align": {"losses": {"contrast": {"temper": 0.0}}}}
    assert load_row("dc-clip", "small", stages=inside).fingerprint == staged
    inside = {"align": {"losses": {"contrast": {"temper": 0.1}}}}
    assert load_row("dc-clip", "small", stages=inside).fingerprint != staged


def test_a_part_with_another_version_makes_another_row(monkeypatch):
    clip, flame = load_row("clip", "small").fingerprint, load_row("flame", "small").fingerprint
    newer = grown(ContrastPart, "smoothing: float = 0.0", "smoothing: float = 0.1")
    monkeypatch.setitem(PARTS, "regress", versioned(2)(newer))
    assert (load_row("clip", "small").fingerprint, load_row("flame", "small").fingerprint) == (clip, flame)
    monkeypatch.setitem(PARTS, "contrast", versioned(2)(newer))
    assert load_row("clip", "small").fingerprint != clip


def test_prose_is_no_part_of_a_row():
    row = load_row("clip", "small")
    said = replace(row, about="another line", source="a newer edition", unverified=("epochs",))
    assert said.fingerprint == row.fingerprint
    assert replace(row, dim=row.dim + 1).fingerprint != row.fingerprint
    assert replace(row, version=row.version + 1).fingerprint != row.fingerprint


def test_a_stage_that_says_what_it_would_inherit_is_the_same():
    row = load_row("dc-clip", "small")
    first, *_ = row.stages
    said = load_row("dc-clip", "small", stages={first["name"]: {"accumulate": row.accumulate}})
    assert said != row
    assert said.fingerprint == row.fingerprint
    other = load_row("dc-clip", "small", stages={first["name"]: {"accumulate": 2}})
    assert other.fingerprint != row.fingerprint


def test_a_complete_file_depends_on_no_default(tmp_path, monkeypatch):
    row = load_row("clip", "small")
    (tmp_path / "row.yaml").write_text(row.yaml(complete=True))
    monkeypatch.setattr(
        "panoglot.networks._row.Row", grown(Row, "clip: float | None = None", "clip: float | None = 1.0")
    )
    assert stored_row(tmp_path).clip is None
    assert stored_row(tmp_path).fingerprint == row.fingerprint


def test_new_options_of_training_are_what_they_were_for_runs_begun_before(begun, monkeypatch):
    done, _, _ = begun
    line = "    compile: bool = False,\n"
    newer = grown(panoglot.train, line, line + "    mixed: Annotated[bool, Added(False)] = True,\n")
    monkeypatch.setattr("panoglot.training._commands.train", newer)
    for module in ("_commands", "_run"):
        monkeypatch.setattr(f"panoglot.training.{module}.TRAINING", (*TRAINING, "mixed"))
    took = {}
    line = "        compile: bool | str = False,\n"
    trainer = grown(Trainer, line, line + "        mixed: Annotated[bool, Added(False)] = True,\n")
    start = trainer.__init__

    class Watched(trainer):
        def __init__(self, *arguments, **options):
            took.update(options)
            start(self, *arguments, **options)

    monkeypatch.setattr("panoglot.training._trainer.Trainer", Watched)
    again = newer(resume=done.run, quiet=True)
    assert again.steps == done.steps
    assert took["mixed"] is False
