"""The mark `paper`: which tests show what of which paper, and whether the stored table says the same.

    @pytest.mark.paper("clip", shows="V", case="orthonormal pairs: ln(1 + 3 e^(-1/.07)) = 1.87462e-6")

A test is evidence when all of its instances passed. One that was skipped, or failed as expected, is none. In a full run
(all of `tests/`, no -k) what passed is compared with `src/panoglot/inventory/evidence.json`, and the run fails where
they differ. A run that could not do a test (optional data or packages are absent, a mark left it out) does not compare
that one: the table is made where everything is present. Where a run has several processes (`-n`), the one that leads
them collects nothing itself: it is told what they collected, and compares once.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "src" / "panoglot" / "inventory" / "evidence.json"
COMMAND = "python scripts/make_evidence.py"
NOTE = f"Written by {COMMAND} from tests that ran; do not edit."
NOTHING = "nothing was written"
LETTERS = "CVRP"

#: Test → paper and letter → case.
Marks = dict[str, dict[tuple[str, str], str]]


def known_names() -> set[str]:
    """The 67 papers, and our own methods."""
    from panoglot.inventory import methods

    return {row.name for row in methods()}


def read_marks(items: Iterable[Any], names: Iterable[str] | None = None) -> Marks:
    """What tests say that they show.

    Raises:
        pytest.UsageError: a mark without a known paper, one of the four letters, or a case.
    """
    found: Marks = {}
    allowed = None if names is None else set(names)
    for item in items:
        for mark in item.iter_markers("paper"):
            test = item.nodeid.partition("[")[0]
            allowed = known_names() if allowed is None else allowed
            if len(mark.args) != 1 or set(mark.kwargs) != {"shows", "case"}:
                raise pytest.UsageError(f'{test}: write @pytest.mark.paper("name", shows="V", case="…")')
            name, shows, case = mark.args[0], mark.kwargs["shows"], str(mark.kwargs["case"]).strip()
            if name not in allowed:
                raise pytest.UsageError(f"{test}: there is no paper or method '{name}' (panoglot methods)")
            if len(shows) != 1 or shows not in LETTERS:
                raise pytest.UsageError(f"{test}: shows={shows!r} is none of C, V, R, P")
            if not case:
                raise pytest.UsageError(f"{test}: say which case it is: case='…'")
            found.setdefault(test, {})[name, shows] = case
    return found


def table(marks: Marks, passed: Iterable[str]) -> dict[str, Any]:
    """The content of the stored file."""
    papers: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for test in sorted(set(passed)):
        for (name, letter), case in marks.get(test, {}).items():
            papers[name][letter].append({"test": test, "case": case})
    ordered = {
        name: {letter: papers[name][letter] for letter in LETTERS if letter in papers[name]} for name in sorted(papers)
    }
    counts = Counter(letter for shown in ordered.values() for letter in shown)
    tests = {one["test"] for shown in ordered.values() for some in shown.values() for one in some}
    return {
        "note": NOTE,
        "counts": {**{letter: counts[letter] for letter in LETTERS}, "papers": len(ordered), "tests": len(tests)},
        "papers": ordered,
    }


def rows(stored: Mapping[str, Any]) -> dict[tuple[str, str, str], str]:
    """Paper, letter and test → case."""
    return {
        (name, letter, one["test"]): one["case"]
        for name, shown in stored.get("papers", {}).items()
        for letter, some in shown.items()
        for one in some
    }


def differences(stored: Mapping[str, Any], marks: Marks, passed: set[str], could_not: set[str]) -> list[str]:
    """Where the stored table and a full run differ, one line each; tests that could not run are left out."""
    there, here = rows(stored), rows(table(marks, passed))
    said = []
    for key in sorted(there.keys() | here.keys()):
        name, letter, test = key
        if test in could_not:
            continue
        if key not in here:
            why = "did not pass" if test in marks and (name, letter) in marks[test] else "is no test of it any more"
            said.append(f"{name} {letter}: {test} stands in the table and {why}")
        elif key not in there:
            said.append(f"{name} {letter}: {test} passed and does not stand in the table")
        elif there[key] != here[key]:
            said.append(f"{name} {letter}: {test} has another case: {here[key]}")
    return said


class Evidence:
    """The plugin: gathers outcomes, then compares or writes."""

    def __init__(self, config: pytest.Config, stored: Path = STORED) -> None:
        self.config, self.stored = config, stored
        self.marks: Marks = {}
        self.selected: Counter[str] = Counter()
        self.outcomes: dict[str, set[str]] = defaultdict(set)
        self.done: Counter[str] = Counter()
        self.said: list[str] = []
        self.skipped_files: set[str] = set()
        self.writes = config.getoption("--write-evidence", False)
        self.led = hasattr(config, "workerinput")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """All tests, before -m and -k leave some out."""
        self.marks = read_marks(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Those that will run."""
        self.selected = Counter(item.nodeid.partition("[")[0] for item in session.items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that is skipped as a whole, for a package is absent."""
        if report.outcome == "skipped":
            self.skipped_files.add(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one instance."""
        test = report.nodeid.partition("[")[0]
        if hasattr(report, "wasxfail"):
            self.outcomes[test].add("skipped")
        elif report.when == "call" or report.outcome != "passed":
            self.outcomes[test].add(report.outcome)
        if report.when == "teardown":
            self.done[test] += 1

    @property
    def passed(self) -> set[str]:
        """Marked tests all of whose instances ran and passed."""
        ran = ((test, self.outcomes.get(test)) for test in self.marks)
        return {test for test, found in ran if found == {"passed"} and self.done[test] == self.selected[test]}

    @property
    def could_not(self) -> set[str]:
        """Tests that did not run here, or not all of them; of files that were skipped as a whole, those that stand."""
        failed = {test for test, found in self.outcomes.items() if "failed" in found}
        stand = {test for _, _, test in rows(self.old) if test.partition("::")[0] in self.skipped_files}
        return stand | set(self.marks) - self.passed - failed

    @property
    def old(self) -> dict[str, Any]:
        """What is stored."""
        return json.loads(self.stored.read_text("utf-8")) if self.stored.exists() else {}

    def whole(self) -> bool:
        """All of `tests/` was asked for."""
        option = self.config.option
        if option.keyword or getattr(option, "lf", False) or option.collectonly:
            return False
        if any(getattr(option, name, None) for name in ("deselect", "ignore", "ignore_glob", "stepwise")):
            return False
        root = self.config.rootpath.resolve()
        return {(root / arg).resolve() for arg in self.config.args} <= {root / "tests", root}

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Compare, or write; a process that is led hands over what it collected."""
        if self.led:
            marks = [(test, *key, case) for test, shown in self.marks.items() for key, case in shown.items()]
            told = {"marks": marks, "selected": dict(self.selected), "skipped": sorted(self.skipped_files)}
            self.config.workeroutput["evidence"] = told  # type: ignore[attr-defined]
            return
        if session.shouldstop or session.shouldfail or exitstatus not in (0, 1):
            return
        if self.writes:
            self.said = self.write(self.old) if self.whole() else ["--write-evidence is for all tests", NOTHING]
        elif self.whole():
            self.said = differences(self.old, self.marks, self.passed, self.could_not)
        if self.said:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a process that is led collected: each collects all tests, and does a part of them."""
        told = getattr(node, "workeroutput", {}).get("evidence", {})
        for test, name, letter, case in told.get("marks", ()):
            self.marks.setdefault(test, {})[name, letter] = case
        self.selected |= Counter(told.get("selected", {}))
        self.skipped_files.update(told.get("skipped", ()))

    def write(self, old: Mapping[str, Any]) -> list[str]:
        """Write the file, unless something that stands in it could not be shown here."""
        missing = sorted({test for _, _, test in rows(old) if test in self.could_not})
        failed = sorted(set(self.marks) - self.passed - self.could_not)
        if failed or missing:
            return [
                *(f"{test} failed" for test in failed),
                *(
                    f"{test} stands in the table and could not run here: data or packages are absent"
                    for test in missing
                ),
                NOTHING,
            ]
        text = json.dumps(table(self.marks, self.passed), indent=1, ensure_ascii=False) + "\n"
        self.stored.write_text(text, encoding="utf-8")
        return []

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say it."""
        if self.said:
            terminalreporter.section("evidence of papers", red=True)
            for line in self.said:
                terminalreporter.line(line)
            if not self.writes:
                terminalreporter.line(f"evidence.json is stale; write it anew: {COMMAND}")
        elif self.writes and self.marks:
            for test in sorted(self.could_not):
                terminalreporter.line(f"no evidence, for it was skipped: {test}")
