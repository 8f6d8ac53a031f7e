"""A type checker accepts every line of Python on the pages and in the examples, against this source.

The blocks of a page are one module, in their order; one that begins with `# NAME.py` is a file of that name, which the
others may import. Blocks under `<!-- PATH -->` are that file, to the letter.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PACKAGE = ROOT / "tests" / "extension_package" / "src"
BLOCK = re.compile(
    r"(?:^<!-- (?P<file>[\w./-]+) -->\n\n)?^```(?P<lang>python|py|pycon)[^\n]*\n(?P<body>.*?)^```", re.M | re.S
)
CONFIG = """[mypy]
mypy_path = {paths}
check_untyped_defs = true
ignore_missing_imports = true
follow_imports = silent
allow_redefinition = true
"""


def modules(page):
    """File name to Python text of the blocks of a page."""
    own, found = page.stem.replace("-", "_") + "_page.py", {}
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        named = re.match(r"# (\w+\.py)\n", block["body"])
        if not block["file"]:
            name = named[1] if named else own
            found[name] = found.get(name, "") + block["body"] + "\n"
    return found


def test_there_are_blocks_to_check():
    names = [name for page in PAGES for name in modules(page)]
    assert len(names) >= 8
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- tests/" in page.read_text(encoding="utf-8")], ids=str)
def test_blocks_of_a_file_are_that_file(page):
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["file"]:
            assert block["body"] == (ROOT / block["file"]).read_text(encoding="utf-8"), f"{page.name}: {block['file']}"


def check(folder, files):
    """What the type checker says of some files."""
    files = [*files]
    homes = {ROOT / "src", PACKAGE, *(path.parent for path in files)}
    paths = ":".join(sorted(str(home) for home in homes if home.name != "pano_extra"))
    (folder / "mypy.ini").write_text(CONFIG.format(paths=paths))
    arguments = ["--config-file", folder / "mypy.ini", "--cache-dir", ROOT / ".mypy_cache" / "pages", *files]
    done = subprocess.run([sys.executable, "-m", "mypy", *map(str, arguments)], capture_output=True, text=True)
    said = done.stdout.replace(f"{folder}/", "").replace(f"{ROOT}/", "") + done.stderr
    return "" if done.returncode == 0 else said


@pytest.mark.slow
def test_a_type_checker_accepts_the_pages_and_the_examples(tmp_path):
    for page in PAGES:
        for name, text in modules(page).items():
            (tmp_path / name).write_text(text, encoding="utf-8")
    assert check(tmp_path, tmp_path.glob("*.py")) == ""
    there = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    # the declarations of metrics and benchmarks, until they are read from entry points
    waiting = () if '"panoglot.metrics"' in there else ("vowels.py", "vowel_test.py")
    package = [path for path in (PACKAGE / "pano_extra").glob("*.py") if path.name not in waiting]
    assert check(tmp_path, [*(ROOT / "examples").glob("*.py"), *package]) == ""
