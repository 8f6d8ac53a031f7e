"""The table of methods says what the evidence says, and nothing more."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from pathlib import Path

import pytest

import panoglot
from panoglot.cli import main
from panoglot.errors import UserError
from panoglot.inventory import LETTERS, Shown, evidence

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def shown(monkeypatch):
    """Evidence of one's own."""

    def use(**papers):
        found = {
            name.replace("_", "-"): {letter: (Shown(f"t.py::{letter}", f"case {letter}"),) for letter in said}
            for name, said in papers.items()
        }
        monkeypatch.setattr("panoglot.inventory._methods.evidence", lambda: found)

    return use


@pytest.fixture
def printed(capsys):
    """What a command prints."""

    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        assert not stop.value.code
        return capsys.readouterr().out

    return run


def test_there_are_67_papers_each_once():
    rows = [row for row in panoglot.methods() if row.paper]
    assert len(rows) == 67
    assert max(Counter(row.name for row in rows).values()) == 1
    assert Counter(row.room for row in rows) == {
        "caption": 23, "train": 23, "search": 8, "evaluate": 6, "curate": 4, "translate": 3,
    }  # fmt: skip


def test_a_method_is_here_by_evidence_and_never_because_of_a_file(shown):
    shown(clip="CV", align="CRP", bica="V")
    rows = {row.name: row for row in panoglot.methods() if row.paper}
    said = {name: (rows[name].done, rows[name].complete, rows[name].letters) for name in ("clip", "align", "bica")}
    assert said == {"clip": (True, True, "CV··"), "align": (False, False, "C·RP"), "bica": (True, False, "·V··")}
    # dreamlip has a row of the trainer, losses and tests: without evidence it is not here
    assert (rows["dreamlip"].done, rows["dreamlip"].letters) == (False, "····")
    assert sum(row.done for row in rows.values()) == 2


def test_the_shipped_evidence_is_of_known_names_and_of_tests_that_are_there():
    names = {row.name for row in panoglot.methods()}
    assert evidence().keys() <= names
    for name, found in evidence().items():
        assert found.keys() <= LETTERS.keys()
        for one in (one for some in found.values() for one in some):
            file, _, test = one.test.partition("::")
            assert f"def {test}(" in (ROOT / file).read_text("utf-8"), one.test
            assert one.case, name


def test_one_method_with_options_models_and_tests(shown, printed):
    shown(rank_and_fuse="V")
    (row,) = panoglot.methods("rank_and_fuse")
    assert row.title.startswith("Ranking and LLM-based Fusion (2023): ")
    assert (row.options["k"], row.options["weight"]) == ("2", "0.5")
    assert row.models == {
        "captioners": "generator", "scorer": "encoder", "llm": "generator", "identifier": "language_identifier",
    }  # fmt: skip
    assert row.source == "arXiv 2306.11593"
    out = printed("methods", "rank-and-fuse")
    assert "◐ rank-and-fuse (caption)" in out
    for said in ("  weight: 0.5", "case V\n    t.py::V", "scorer: encoder", "R real", "not shown"):
        assert said in out
    found = json.loads(printed("methods", "rank-and-fuse", "--json"))
    assert found["tests"] == {"V": [{"test": "t.py::V", "case": "case V"}]}
    assert found["letters"] == "·V··"


def test_a_name_of_two_rooms_is_shown_twice():
    assert [(row.room, row.use) for row in panoglot.methods("align")] == [
        ("curate", "panoglot curate X.pano --steps align"),
        ("train", "panoglot train align X.pano -o run/"),
    ]


def test_rows_of_the_trainer_bring_their_source_and_line():
    (row,) = panoglot.methods("flame", room="train")
    assert row.source == "arXiv 2411.11927"
    assert "frozen language model" in row.title
    assert row.options["preset"] == "paper, small"


def test_letters_stand_in_the_table(shown, printed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    shown(mvl_sib="CVR", capture="V")
    lines = printed("methods", "--room", "evaluate").splitlines()
    assert lines[1].startswith("● CVR· mvl-sib")
    assert lines[2].startswith("◐ ·V·· capture")
    assert lines[3].startswith("○ ····")
    assert any(line.startswith("2 of 6 papers are here: 1 complete (●), 1 in part (◐)") for line in lines)


def test_a_benchmark_alone_is_not_its_method(shown):
    shown(neobabel="V", mmteb="V")
    rows = {row.name: row for row in panoglot.methods()}
    assert (rows["neobabel"].done, rows["neobabel"].letters) == (False, "·V··")
    assert rows["neobabel"].use == "panoglot evaluate generation --benchmark clc"
    assert rows["mmteb"].done


def test_the_readme_says_what_the_table_says():
    papers = [row for row in panoglot.methods() if row.paper]
    here, whole = sum(row.done for row in papers), sum(row.complete for row in papers)
    text = (ROOT / "README.md").read_text("utf-8")
    assert f"{here} of {len(papers)} papers here, by evidence, {whole} of them complete" in text


def test_commands_that_rows_name_are_there():
    from panoglot.evaluate import COMMANDS, benchmark_names
    from panoglot.metrics import metric_names

    benchmarks = {name: command for command, name in benchmark_names() if command != "agreement"}
    for row in panoglot.methods():
        words = row.use.split()
        if words[:2] == ["panoglot", "evaluate"]:
            assert words[2] in COMMANDS, row.use
            for option, known in (("--benchmark", benchmarks), ("--metrics", metric_names())):
                if option in words:
                    assert words[words.index(option) + 1] in known, row.use
            if "--benchmark" in words and words[2] != "generation":
                assert benchmarks[words[-1]] == words[2], row.use


def test_mistakes():
    with pytest.raises(UserError, match=r"'clp'.*Did you mean 'clip'"):
        panoglot.methods("clp")
    with pytest.raises(UserError, match=r"no room 'captions'.*'caption'"):
        panoglot.methods(room="captions")
    assert list(inspect.signature(panoglot.methods).parameters) == ["name", "room"]


def test_a_method_says_what_options_mean_and_what_models_are_asked(printed):
    (row,) = panoglot.methods("describe")
    assert row.use == "panoglot caption X.pano --method describe"
    assert row.meanings["seed"] == "for sampling."
    (captioner,) = [need for need in row.needs if need.role == "generator"]
    assert (captioner.model, captioner.asked, captioner.images, captioner.tokens_out) == (
        "captioner",
        1000,
        1000,
        200_000,
    )
    out = printed("methods", "describe")
    assert "max_tokens: 200  most tokens of the answer" in out
    assert "captioner: 1,000 questions; at most 1.56 × its price of a million tokens read + 0.20 × that" in out
    (row,) = panoglot.methods("translate")
    assert row.use == "panoglot translate X.pano --to de,sw --with MODEL"
    assert [need.asked for need in row.needs if need.model == "translator"] == [5000]


def test_every_method_of_pictures_is_counted_or_says_nothing():
    for row in panoglot.methods(room="caption"):
        if row.done:
            (detail,) = [one for one in panoglot.methods(row.name) if one.room == "caption"]
            assert all(need.asked > 0 for need in detail.needs)
