"""The mark `paper` and the table that is made of it: what counts, what is compared, what fails a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import evidence as ev

ROOT = Path(__file__).resolve().parents[1]
MARKS = {"a.py::one": {("clip", "V"): "case one"}, "a.py::two": {("clip", "C"): "case two", ("align", "V"): "two"}}


def test_the_table():
    made = ev.table(MARKS, {"a.py::one", "a.py::two", "a.py::unmarked"})
    assert made["papers"] == {
        "align": {"V": [{"test": "a.py::two", "case": "two"}]},
        "clip": {"C": [{"test": "a.py::two", "case": "case two"}], "V": [{"test": "a.py::one", "case": "case one"}]},
    }
    assert made["counts"] == {"C": 1, "V": 2, "R": 0, "P": 0, "papers": 2, "tests": 2}
    assert ev.differences(made, MARKS, {"a.py::one", "a.py::two"}, set()) == []


@pytest.mark.parametrize(
    ("passed", "could_not", "says"),
    [
        ({"a.py::one"}, set(), ["align V: a.py::two stands in the table and did not pass", "clip C: a.py::two"]),
        ({"a.py::one"}, {"a.py::two"}, []),  # skipped: it is not compared
        ({"a.py::one", "a.py::two", "a.py::new"}, set(), ["clip R: a.py::new passed and does not stand in the table"]),
    ],
)
def test_differences(passed, could_not, says):
    stored = ev.table(MARKS, MARKS)
    marks = {**MARKS, "a.py::new": {("clip", "R"): "new"}} if "a.py::new" in passed else MARKS
    found = ev.differences(stored, marks, passed, could_not)
    assert len(found) == len(says)
    assert all(line.startswith(start) for line, start in zip(found, says))


def test_another_case_and_a_mark_that_is_gone_are_differences():
    stored = ev.table(MARKS, MARKS)
    marks = {"a.py::one": {("clip", "V"): "another case"}}
    assert ev.differences(stored, marks, {"a.py::one"}, set()) == [
        "align V: a.py::two stands in the table and is no test of it any more",
        "clip C: a.py::two stands in the table and is no test of it any more",
        "clip V: a.py::one has another case: another case",
    ]


TESTS = """
import pytest
paper = pytest.mark.paper

@paper("clip", shows="V", case="a")
@pytest.mark.parametrize("n", [1, 2])
def test_whole(n): pass

@paper("clip", shows="R", case="b")
def test_skipped(): pytest.skip("no data")

@paper("clip", shows="P", case="c")
@pytest.mark.parametrize("n", [1, 2])
def test_half(n):
    if n == 2: pytest.skip("no data")

@paper("clip", shows="C", case="d")
@pytest.mark.xfail
def test_expected_to_fail(): assert False

def test_of_nothing(): pass
"""


@pytest.fixture
def house(tmp_path):
    """A project with the plugin, and a way to run its tests."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers = paper: evidence\n")
    (tmp_path / "tests" / "conftest.py").write_text(
        "import importlib.util\nfrom pathlib import Path\n"
        f"spec = importlib.util.spec_from_file_location('evidence_of_papers', {str(Path(ev.__file__))!r})\n"
        "plugin = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(plugin)\n"
        "def pytest_addoption(parser): parser.addoption('--write-evidence', action='store_true')\n"
        "def pytest_configure(config):\n"
        f"    config.pluginmanager.register(plugin.Evidence(config, Path({str(tmp_path)!r}) / 'e.json'))\n"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*arguments):
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    return tmp_path, run


@pytest.mark.parametrize("processes", [(), ("-n", "2", "--dist", "loadfile")])
def test_only_what_ran_and_passed_is_written_and_a_stale_table_fails_the_run(house, processes):
    place, run_in_one = house

    def run(*arguments):
        return run_in_one(*processes, *arguments)

    code, out = run("-m", "paper", "--write-evidence")
    assert code == 0, out
    assert "no evidence, for it was skipped: tests/test_it.py::test_skipped" in out
    stored = json.loads((place / "e.json").read_text())
    assert stored["papers"] == {"clip": {"V": [{"test": "tests/test_it.py::test_whole", "case": "a"}]}}
    assert run()[0] == 0
    # a case that passes and does not stand there; one file alone, or -k, is no full run
    file = place / "tests" / "test_it.py"
    file.write_text(TESTS + '\n@paper("align", shows="V", case="e")\ndef test_more(): pass\n')
    code, out = run()
    assert code == 1
    assert "align V: tests/test_it.py::test_more passed and does not stand in the table" in out
    assert "evidence.json is stale; write it anew: python scripts/make_evidence.py" in out
    assert run("tests/test_it.py")[0] == 0
    assert run("-k", "more")[0] == 0


@pytest.mark.parametrize("processes", [(), ("-n", "2")])
def test_a_run_without_the_data_compares_what_it_could_run_and_writes_nothing(house, processes):
    place, run_in_one = house

    def run(*arguments):
        return run_in_one(*processes, *arguments)

    file = place / "tests" / "test_it.py"
    file.write_text(TESTS.replace('pytest.skip("no data")', "pass"))
    assert run("--write-evidence")[0] == 0
    whole = (place / "e.json").read_text()
    assert json.loads(whole)["counts"]["tests"] == 3
    file.write_text(TESTS)  # the data is gone
    assert run()[0] == 0
    code, out = run("--write-evidence")
    assert code == 1
    assert "test_skipped stands in the table and could not run here" in out
    assert "nothing was written" in out
    (place / "tests" / "test_other.py").write_text("def test_other(): pass\n")
    file.write_text("import pytest\npytest.importorskip('no_such_package')\n" + TESTS)  # a whole file is skipped
    assert run()[0] == 0
    assert (place / "e.json").read_text() == whole
    file.write_text(TESTS.replace("def test_whole(n): pass", "def test_whole(n): assert n == 1"))
    code, out = run()
    assert code == 1
    assert "clip V: tests/test_it.py::test_whole stands in the table and did not pass" in out


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ('"clipp", shows="V", case="x"', "no paper or method 'clipp'"),
        ('"clip", shows="X", case="x"', "none of C, V, R, P"),
        ('"clip", shows="V", case=" "', "say which case"),
        ('"clip", shows="V"', "write @pytest.mark.paper"),
    ],
)
def test_marks_that_say_nothing_are_refused(house, mark, says):
    place, run = house
    (place / "tests" / "test_it.py").write_text(f"import pytest\n@pytest.mark.paper({mark})\ndef test_it(): pass\n")
    code, out = run()
    assert code == 4
    assert says in out
