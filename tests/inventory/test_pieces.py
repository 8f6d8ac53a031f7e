"""The list of deletions (`scripts/delete_pieces.py`) fits the code: what is to be deleted stands there, once."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_every_piece_stands_in_its_file_once():
    rows = yaml.safe_load((ROOT / "scripts" / "pieces.yaml").read_text(encoding="utf-8"))
    texts: dict[str, str] = {}
    wrong = []
    for row, steps in rows.items():
        for step in steps:
            if step.get("excused"):
                continue
            file = step["file"]
            text = texts.setdefault(file, (ROOT / "src" / "panoglot" / file).read_text(encoding="utf-8"))
            if text.count(step["find"]) != 1 or step["find"] == step["put"]:
                wrong.append((row, step["step"], file, text.count(step["find"])))
    assert not wrong
    assert len(rows) > 25


def test_tests_that_pieces_name_are_there():
    rows = yaml.safe_load((ROOT / "scripts" / "pieces.yaml").read_text(encoding="utf-8"))
    named = {test for steps in rows.values() for step in steps for test in step.get("tests", ())}
    missing = []
    for test in named:  # a file, or one test of it
        file, _, name = test.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""
        if not text or (name and f"def {name.partition('[')[0]}(" not in text):
            missing.append(test)
    assert not missing
    assert len(named) > 20
