"""The house keeps its shape: layers, names, start-up, docstrings that run."""

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import panoglot
from panoglot.errors import MissingPackage

SOURCE = Path(panoglot.__file__).parent

#: Upper layers first; rooms of one layer do not import each other (docs/architecture.md).
LAYERS = [
    {"cli", "web"},
    {"build", "report"},
    {"caption", "curate", "translate", "train", "search", "evaluate"},
    {"run"},
    {"models"},
    {"io"},
    {"table"},
    {"errors", "_privacy", "_verbs"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

#: `build` orders the report, which is its neighbour.
ALLOWED = {("build", "report")}


def _imports(path):
    """Rooms that a file imports, those for type checking included, and the lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "panoglot" else [f"panoglot.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "panoglot" and len(parts) > 1:
                yield parts[1], node.lineno


def test_imports_go_down_only():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        assert room in LEVEL, f"{room} has no layer"
        for other, line in _imports(path):
            if other in LEVEL and other != room and (room, other) not in ALLOWED and LEVEL[other] <= LEVEL[room]:
                wrong.append(f"{path.relative_to(SOURCE)}:{line} imports {other}")
    assert not wrong


def _modules():
    for info in pkgutil.walk_packages([str(SOURCE)], "panoglot."):
        if not info.name.endswith("__main__"):
            yield info.name


@pytest.mark.parametrize("name", sorted(_modules()))
def test_exported_names_are_there(name):  # that they are sorted is ruff's RUF022
    module = _import(name)
    names = getattr(module, "__all__", [])
    try:
        assert [n for n in names if not hasattr(module, n)] == []
    except (MissingPackage, ModuleNotFoundError) as error:  # what a name brings when it is used
        pytest.skip(str(error))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", sorted(_modules()))
def test_examples_in_docstrings_run(name):
    failed, _ = doctest.testmod(_import(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def _import(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing and missing != "panoglot":
            pytest.skip(f"{name} needs {missing}")
        raise


def test_no_method_drops_in_curations_words():
    # curation clears its own reasons and decides anew: a method's drop by such a word would come back
    from panoglot.curation import owns

    said = set()
    for room in ("caption", "translate"):
        for path in (SOURCE / room).glob("*.py"):
            said |= set(re.findall(r'(?:return|dropped ?=) "([a-z_]+)"', path.read_text()))
    assert {"draft", "untranslated", "wrong_language"} <= said
    assert [word for word in said if owns(word)] == []


def test_public_functions_have_docstrings():
    without = []
    for name in panoglot.__all__:
        thing = getattr(panoglot, name)
        if not (thing.__doc__ or "").strip():
            without.append(name)
    assert not without


def test_import_brings_nothing_heavy():
    code = "import sys, panoglot; print([m for m in sys.modules if '.' not in m])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("numpy", "pyarrow", "daft", "lance", "PIL", "torch", "onnxruntime", "rich", "httpx2", "cyclopts"):
        assert f"'{heavy}'" not in loaded, heavy


def test_help_imports_no_engine():
    code = (
        "import sys; from panoglot.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if '.' not in m], file=sys.stderr)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    for heavy in ("numpy", "pyarrow", "daft", "lance", "PIL", "torch", "onnxruntime"):
        assert f"'{heavy}'" not in loaded, heavy


def test_nothing_in_the_project_names_this_machine():
    names = re.compile(r"/work/|/opt/pg|/root/|files\.pythonhosted|deb\.debian\.org|registry\.npmjs")
    root = SOURCE.parents[1]
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in tracked.stdout.split("\n"):
        path = root / name
        if path.suffix in (".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".html", ".css", ".js") and path.is_file():
            if path.resolve() == Path(__file__).resolve():
                continue
            found = names.search(path.read_text(errors="replace"))
            assert not found, f"{name}: {found.group()}"


def test_the_version_is_one():
    changelog = (SOURCE.parents[1] / "CHANGELOG.md").read_text()
    assert panoglot.__version__ in changelog
