"""Identities stay when the code grows: what was recorded holds, and what is added changes nothing by itself."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import pytest

from panoglot.asking import journal_key
from panoglot.captioning import describe
from panoglot.errors import UserError
from panoglot.identity import Added, UnreadWhen, canonical, completed, counted, fingerprint, later, marked, versioned
from panoglot.providers import Endpoint, OpenAIEncoder, load_model
from panoglot.providers.openai import OpenAIGenerator
from panoglot.providers.roles import Prompt
from panoglot.running import METHODS, method_stage
from tests.growth import grown
from tests.identities import COMMAND, RECORDED, compare, snapshot

WRITER = "python:tests.running.toy:Writer"


# -- what was recorded -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def now():
    pytest.importorskip("torch")
    return snapshot()


def test_defaults_versions_and_names_are_those_recorded(now):
    wrong, fresh = compare(json.loads(RECORDED.read_text("utf-8")), now)
    assert not wrong, "\n".join([*wrong, "raise the version (or take the change back), then: " + COMMAND])
    assert not fresh, "\n".join([*fresh, "record it: " + COMMAND])


def test_a_changed_default_is_named_until_the_version_is_raised(now):
    changed = copy.deepcopy(now)
    entry = changed["entries"]["method describe"]
    entry["defaults"]["max_tokens"], entry["fingerprint"] = 300, "0" * 16
    (said,), fresh = compare(now, changed)
    assert said == ("method describe: the default of max_tokens changed from 200 to 300, and its version is still 1")
    assert not fresh
    entry["version"] = 2
    wrong, fresh = compare(now, changed)
    assert not wrong
    assert fresh == [said.replace("is still 1", "went from 1 to 2")]


def test_a_new_option_must_say_what_was_before(now):
    changed = copy.deepcopy(now)
    entry = changed["entries"]["filter length"]
    entry["defaults"]["shades"] = 0
    assert compare(now, changed) == ([], ["filter length has another version or more options"])  # it was declared
    entry["fingerprint"] = "0" * 16
    (said,), _ = compare(now, changed)
    assert "shades changed the fingerprint" in said
    assert "Added(was)" in said


def test_what_was_stays_what_it_was_and_ledgers_keep_their_names(now):
    changed = copy.deepcopy(now)
    changed["entries"]["row clip paper"]["added"]["version"] = 2
    changed["ledgers"].remove("caption.describe")
    wrong, _ = compare(now, changed)
    assert [line.partition(":")[0] for line in wrong] == [
        "the ledger caption.describe is gone or has another name",
        "row clip paper",
    ]


def test_the_command_records_nothing_that_is_wrong():
    done = subprocess.run(
        [sys.executable, *COMMAND.split()[1:]], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "nothing changed"), done.stderr


# -- the form ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"set": ["a"]}, {"a"}),
        ({"image": "00"}, type("Image", (), {"data_uri": "", "id": "00"})()),
        ({"map": []}, {}),
        ({"Prompt": {"text": "a"}}, replace(Prompt("a"))),
        ({1: "a"}, {"1": "a"}),
        (True, 1),
        ("1", 1),
        ([["a"], "b"], ["a", ["b"]]),
    ],
)
def test_different_things_have_different_forms(one, other):
    assert fingerprint(one) != fingerprint(other)
    assert journal_key("m", "x", one) != journal_key("m", "x", other)


def test_what_has_no_stable_form_is_refused():
    with pytest.raises(TypeError, match="no stable form"):
        fingerprint({"a": object()})


def test_texts_that_are_no_unicode_have_an_identity():
    assert fingerprint("\ud800") != fingerprint("\ud801")
    assert len(fingerprint("\ud800")) == 16


def test_values_written_down_before_this_module_are_the_same():
    # computed with the code of the commit before
    assert fingerprint({"b": [1, 2.5, None], "a": "é"}) == "d764fee2563da33e"
    assert journal_key("m", "generate", ("What?", None, 3, b"x")) == "32d9a63ccedf3d58dfcad43fe231457e"
    # since prompts are turns of parts
    assert journal_key("m", "generate", Prompt("Was ist das?", seed=4)) == "14438295c4e9390169fb198189c1c190"


# -- declarations ------------------------------------------------------------------------------------------------------


def ask(
    *,
    text: str = "",
    sample: bool = False,
    heat: Annotated[float, UnreadWhen("sample", False)] = 1.0,
    shades: Annotated[int, Added(0)] = 4,
    rounds: Annotated[int, Added(1), UnreadWhen("text", "", "-")] = 1,
): ...


def test_left_out_is_what_was_and_never_todays_default():
    assert counted(ask, {"shades": 0}) == {}
    assert counted(ask, {"shades": 4}) == {"shades": 4}


def test_left_out_is_what_is_not_read():
    assert counted(ask, {"heat": 0.5}) == {}
    assert counted(ask, {"heat": 0.5, "sample": False}) == {"sample": False}
    assert counted(ask, {"heat": 0.5, "sample": True}) == {"heat": 0.5, "sample": True}
    assert counted(ask, {"rounds": 3, "text": "-"}) == {"text": "-"}
    assert counted(ask, {"rounds": 3, "text": "a"}) == {"rounds": 3, "text": "a"}


def test_a_condition_names_an_option_that_exists():
    def wrong(*, a: Annotated[int, UnreadWhen("b", 1)] = 0): ...

    with pytest.raises(TypeError, match="names 'b'"):
        counted(wrong, {"a": 1})
    with pytest.raises(TypeError, match="or neither"):
        UnreadWhen("b")


def test_an_annotation_that_cannot_be_read_is_not_passed_over():
    def wrong(a: Annotated[Missing, Added(0)] = 0, b: Missing = 0): ...  # noqa: F821

    with pytest.raises(TypeError, match="annotation of a cannot be read"):
        counted(wrong, {"a": 1})


def test_marks_of_a_dataclass_stand_on_fields_or_annotations():
    @dataclass(frozen=True)
    class Shot:
        text: str
        taps: int = field(default=2, metadata=marked(Added(1)))
        note: str = field(default="", metadata=marked(UnreadWhen()))

    assert canonical(Shot("a", taps=1, note="x")) == {"Shot": {"text": "a"}}
    assert canonical(Shot("a")) == {"Shot": {"text": "a", "taps": 2}}
    assert completed(Shot, {"text": "a"}) == {"text": "a", "taps": 1}


# -- a prompt ----------------------------------------------------------------------------------------------------------

NEW_FIELD, PARAMETER = "    logprobs: bool = False\n", "        logprobs: bool = False,\n"


def question(default, was):
    return grown(
        Prompt,
        *(NEW_FIELD, NEW_FIELD + f"    effort: float = field(default={default}, metadata=marked(Added({was})))\n"),
        *(PARAMETER, PARAMETER + f"        effort: float = {default},\n"),
    )


def test_a_new_field_of_a_prompt_changes_no_key():
    newer = question(1.0, 1.0)
    old = journal_key("m", "generate", Prompt("What?"))
    assert journal_key("m", "generate", newer("What?")) == old
    assert journal_key("m", "score", (newer("What?"), "a")) == journal_key("m", "score", (Prompt("What?"), "a"))
    assert journal_key("m", "generate", newer("What?", effort=0.9)) != old


def test_when_its_default_changes_later_old_answers_are_not_taken_for_new_ones():
    newest = question(0.9, 1.0)
    old = journal_key("m", "generate", Prompt("What?"))
    assert journal_key("m", "generate", newest("What?")) != old
    assert journal_key("m", "generate", newest("What?", effort=1.0)) == old


# -- a method ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def newer_describe(monkeypatch):
    def make(option):
        monkeypatch.setitem(METHODS, "describe", METHODS["describe"])
        grown(describe, "    seed: int = 0,\n", f"    seed: int = 0,\n    {option},\n")  # registers itself

    return make


def print_of(models=WRITER, **options):
    return method_stage("describe", options, {"captioner": models}, processes=0).fingerprint


def test_a_new_option_of_a_method_changes_no_fingerprint(newer_describe):
    old = print_of()
    newer_describe("shades: Annotated[int, Added(0)] = 0")
    assert print_of() == print_of(shades=0) == old
    assert print_of(shades=3) != old


def test_a_new_option_that_names_a_model_counts_with_the_model(newer_describe):
    old = print_of()
    newer_describe('judge: Annotated[GeneratorName, Added("")] = ""')
    assert print_of() == old
    assert print_of(judge=WRITER) != old
    assert print_of(judge=f"{WRITER}?name=toy:other") != print_of(judge=WRITER)


def test_an_option_that_is_not_read_loads_no_model(newer_describe):
    newer_describe('judge: Annotated[GeneratorName, UnreadWhen("system", None)] = "python:no.such:model"')
    print_of()
    with pytest.raises(UserError, match=r"no\.such"):
        print_of(system="Be brief.")


def test_a_number_is_the_same_however_it_is_written():
    assert print_of(temperature=0) == print_of(temperature=0.0) == print_of()
    assert print_of(temperature=1) != print_of()


def test_a_step_knows_models_by_what_they_are_not_by_what_they_are_called():
    old = print_of()
    assert method_stage("describe", {"captioner": WRITER}, processes=0).fingerprint == old
    assert method_stage("describe", {"captioner": f"{WRITER}?sleep=0"}, processes=0).fingerprint == old
    assert method_stage("describe", {"captioner": "c"}, {"c": WRITER}, processes=0).fingerprint == old
    assert print_of(f"{WRITER}?name=toy:other") != old


# -- options of models -------------------------------------------------------------------------------------------------


def server():
    return Endpoint("http://localhost:1/v1", "model")


@pytest.mark.parametrize("kind", [OpenAIGenerator, OpenAIEncoder])
def test_a_new_option_of_a_model_changes_no_fingerprint(kind, monkeypatch):
    old = kind(server()).fingerprint
    line = 'revision: str = "",\n'
    newer = grown(kind, line, line + '        detail: Annotated[str, Added("auto")] = "auto",\n')
    assert newer(server()).fingerprint == old
    assert newer(server(), detail="low").fingerprint not in (old, newer(server(), detail="high").fingerprint)


def test_every_constructor_with_options_asks_for_the_later_ones():
    pytest.importorskip("onnxruntime")
    from panoglot.providers.embedded.langid import LanguageGuesser

    old = LanguageGuesser().fingerprint
    line = 'engine: str = "py3langid"'
    newer = grown(LanguageGuesser, line, line + ", short: Annotated[bool, Added(False)] = False")
    assert newer().fingerprint == old
    assert newer(short=True).fingerprint != old


def test_a_later_option_of_a_name_is_put_into_the_fingerprint(monkeypatch):
    class Module:
        @staticmethod
        def load(name, options):
            crop = options.take("crop", str, "centre", Added("centre"))
            options.take("batch_size", int, 8)
            return type("Toy", (), {"name": name, "fingerprint": "toy-1", "batch_size": 8, "crop": crop})()

    monkeypatch.setattr("panoglot.providers._names.load_entry", lambda *_: Module)
    assert load_model("toy:x").fingerprint == load_model("toy:x?crop=centre&batch_size=2").fingerprint == "toy-1"
    low, high = load_model("toy:x?crop=low"), load_model("toy:x?crop=high")
    assert len({"toy-1", low.fingerprint, high.fingerprint}) == 3


def test_later_takes_what_a_constructor_has_at_hand():
    assert later(ask, {"shades": 0, "text": "a", "self": None}) == {}
    assert later(ask, {"shades": 2, "text": "a", "self": None, "rounds": 3}) == {"shades": 2, "rounds": 3}


def test_versions_are_one_until_they_are_raised():
    from panoglot.curation import Filter

    assert Filter("x", "caption", lambda caption: None, ()).version == 1
    assert Filter("x", "caption", versioned(3)(lambda caption: None), ()).version == 3
