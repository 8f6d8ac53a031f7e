"""A dataset made by today's code, gone on with by code that has more fields and options: nothing is done again."""

import pytest

from panoglot.captioning import describe
from panoglot.providers.roles import Prompt
from panoglot.running import METHODS, method_stage, run_stage
from tests.growth import grown
from tests.running.toy import calls

FIELD, PARAMETER = "    logprobs: bool = False\n", "        logprobs: bool = False,\n"
OPTION = "    seed: int = 0,\n"


@pytest.fixture
def model(tmp_path):
    return f"python:tests.running.toy:Writer?log={tmp_path}/calls"


@pytest.fixture
def asked(tmp_path):
    return lambda: len(calls(tmp_path / "calls"))


def step(model, **options):
    return method_stage("describe", options, {"captioner": model}, processes=0)


def test_one_new_field_of_a_prompt_asks_nothing_again(dataset, run_id, model, asked, monkeypatch):
    run_stage(dataset, step(model), run_id)
    newer = grown(
        Prompt,
        *(FIELD, FIELD + "    effort: float = field(default=1.0, metadata=marked(Added(1.0)))\n"),
        *(PARAMETER, PARAMETER + "        effort: float = 1.0,\n"),
    )
    monkeypatch.setattr("panoglot.asking._asker.Prompt", newer)
    again = run_stage(dataset, step(model, kind="dense"), run_id)  # another step, the same questions
    assert (again.done, again.spent.asked, again.spent.recalled) == (60, 0, 60)
    assert asked() == 60


def test_one_new_option_of_a_method_does_nothing_again(dataset, run_id, model, asked, monkeypatch):
    run_stage(dataset, step(model), run_id)
    before = dataset.captions.rows()
    monkeypatch.setitem(METHODS, "describe", METHODS["describe"])
    grown(describe, OPTION, OPTION + "    shades: Annotated[int, Added(0)] = 0,\n")
    again = run_stage(dataset, step(model), run_id)
    assert (again.done, again.skipped) == (0, 60)
    assert dataset.captions.rows() == before
    assert asked() == 60
    other = run_stage(dataset, step(model, shades=3), run_id)  # other work, which asks the same questions
    assert (other.done, other.spent.recalled) == (60, 60)
    assert other.notes["there"] == 60  # it says the same: one row stands
    assert dataset.captions.rows() == before
