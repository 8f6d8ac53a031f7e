"""Would the tests notice? Every piece that defines a method, by the numbered steps of its paper, is deleted in turn.

    python scripts/delete_pieces.py [ROW …]         delete, run the row's tests, and say which deletion nobody noticed
    python scripts/delete_pieces.py --list          the pieces and the steps that are excused, and nothing else

`scripts/pieces.yaml` is the list: row → steps, each with what it says, and either a `file` (below src/panoglot), a text
that stands in it once (`find`) and what is put in its place (`put`), or why it is `excused`. A deletion is noticed
when one of the tests that carry `@pytest.mark.paper(ROW)` fails, or of those that the piece names (`tests`).

Exit code 1: a deletion was not noticed, a text is not found once, or tests fail without any deletion. It changes a copy
of the source tree; each deletion runs in a process of its own, forked after torch is loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("pieces.yaml")


def read() -> dict[str, list[dict[str, Any]]]:
    """Return row → steps of the list.

    Raises:
        SystemExit: a step that is neither mapped nor excused, or a text that is not in its file once.
    """
    rows: dict[str, list[dict[str, Any]]] = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    for row, steps in rows.items():
        for step in steps:
            at = f"{row} {step.get('step')}"
            if bool(step.get("excused")) == ("find" in step):
                raise SystemExit(f"{at}: say what is deleted (file, find, put), or why it is excused.")
            if "find" in step:
                text = (ROOT / "src" / "panoglot" / step["file"]).read_text(encoding="utf-8")
                if text.count(step["find"]) != 1:
                    raise SystemExit(f"{at}: {step['file']} has {text.count(step['find'])} times: {step['find']!r}")
    return rows


def shown_of(row: str, step: Mapping[str, Any]) -> list[list[str]]:
    """Return the tests of a row, in the order of tries: those that a step names; else settings, steps, the others."""
    if step.get("tests"):
        return [list(step["tests"])]
    shown = json.loads((ROOT / "src/panoglot/inventory/evidence.json").read_text(encoding="utf-8"))["papers"]
    found = sorted({one["test"] for letter in ("V", "C", "P") for one in shown.get(row, {}).get(letter, ())})
    found = [one for one in found if not one.startswith("tests/curation")]
    named = ["test_papers.py"] if step.get("file", "").endswith(".yaml") else ["test_steps.py"]
    first = [one for one in found if any(f"/{name}::" in one for name in named)]
    return [tests for tests in (first, [one for one in found if one not in first]) if tests]


def run(source: Path, tests: Iterable[str]) -> tuple[int, str]:
    """Run tests on a source tree in a process of their own; returns pytest's exit code and the first that failed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        code = 3
        try:
            import pytest

            class First:
                said = ""

                def pytest_runtest_logreport(self, report: Any) -> None:
                    if report.failed and not self.said:
                        self.said = report.nodeid.rpartition("::")[2]

            sys.path.insert(0, str(source))
            sys.path.insert(1, str(ROOT))
            os.environ["PYTHONPATH"] = str(source)
            os.chdir(ROOT)
            first = First()
            with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
                code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests], plugins=[first]))
            os.write(writer, first.said.encode()[:900])
        finally:
            os.close(writer)
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def delete(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Delete every piece of the rows; returns what went unnoticed, or cannot be tried."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        for row, steps in rows.items():
            code, said = run(source, [one for tests in shown_of(row, {}) for one in tests])
            if code:
                wrong.append(f"{row}: its tests fail without any deletion ({said or f'exit code {code}'})")
                print(wrong[-1], flush=True)
                continue
            for step in steps:
                if "find" not in step:
                    continue
                begin, file = time.perf_counter(), source / "panoglot" / step["file"]
                text = file.read_text(encoding="utf-8")
                file.write_text(text.replace(step["find"], step["put"]), encoding="utf-8")
                code, said = 0, ""
                for tests in shown_of(row, step):
                    code, said = (code, said) if code else run(source, tests)
                file.write_text(text, encoding="utf-8")
                noticed = code in (1, 2)  # 2: the tests could not even be collected
                if not noticed:
                    wrong.append(f"{row} {step['step']}: {step['says']}")
                verdict = f"noticed by {said or 'an import'}" if noticed else f"NOT NOTICED (exit code {code})"
                seconds = time.perf_counter() - begin
                print(f"{row:15} {step['step']!s:4} {seconds:5.1f} s  {step['says']}: {verdict}", flush=True)
    return wrong


def main() -> int:
    """Run the deletions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="of the list; default: all")
    parser.add_argument("--list", action="store_true", help="print the list, and delete nothing")
    args = parser.parse_args()
    rows = read()
    for row in args.rows:
        if row not in rows:
            raise SystemExit(f"{row} is not in {LIST.name}: {', '.join(rows)}")
    chosen = {row: steps for row, steps in rows.items() if not args.rows or row in args.rows}
    if args.list:
        for row, steps in chosen.items():
            for step in steps:
                said = f"excused: {step['excused']}" if "excused" in step else f"{step['file']}: {step['find']}"
                print(f"{row:15} {step['step']!s:4} {step['says']}  [{said}]")
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    wrong = delete(chosen)
    count = sum("find" in step for steps in chosen.values() for step in steps)
    print(f"\n{count} deletions in {len(chosen)} rows; " + ("all noticed" if not wrong else f"{len(wrong)} not:"))
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
