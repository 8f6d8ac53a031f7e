"""The house keeps its shape: layers, names, start-up, sizes, docstrings that run."""

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import panoglot
from panoglot.errors import MissingPackage

SOURCE = Path(panoglot.__file__).parent

#: Upper lines first; imports go down only, and rooms of one line do not import each other (docs/architecture.md).
LAYERS = [
    {"cli"},
    {"web"},
    {"recipes"},
    {"exporting", "handling", "reporting", "evaluate", "inventory"},
    {"ingestion", "captioning", "curation", "translation", "retrieval", "training"},
    {"metrics", "running"},
    {"networks"},
    {"asking"},
    {"providers"},
    {"formats"},
    {"text", "vectors", "pictures"},
    {"table"},
    {"geometry", "languages", "identity", "checks", "charts", "extensions", "storage"},
    {"errors", "_version", "_privacy"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

#: Who may import a module whose name is computed: what a user names, and optional packages.
COMPUTED = {
    "errors.py",  # `require`: optional packages, never ours
    "extensions.py",  # `lazy_names`, whose literals are read below as imports
    "__init__.py",  # the public names, read below
    "cli/_commands.py",  # the commands, read below
    "providers/python.py",  # `python:module:name`
    "evaluate/_mteb.py",  # the tasks of mteb
}


def _files():
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield path, ".".join(["panoglot", *(parts[:-1] if parts[-1] == "__init__" else parts)])


@cache
def _trees():
    return {name: (path, ast.parse(path.read_text())) for path, name in _files()}


def _strings(node):
    """The strings of a literal that name modules of ours: values of `lazy_names`, public names, commands."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def _imports(name):
    """(module, line, at the top of the file) of all that a file imports: inside functions, for typing, lazily too."""
    _, tree = _trees()[name]
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in _trees() else node.module), node.lineno, id(node) in top
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy_names":
            assert isinstance(node.args[1], ast.Dict), f"{name}:{node.lineno}: lazy_names takes a literal"
            for value in node.args[1].values:
                home = ast.literal_eval(value)
                yield home if home.startswith("panoglot.") else f"{name}.{home}", node.lineno, False
    if name in ("panoglot", "panoglot.cli._commands"):
        for value in _strings(tree):
            module = value.partition(":")[0]
            for found in (module, f"panoglot.{module}"):
                if found in _trees() and found != "panoglot" and " " not in value:
                    yield found, 0, False


def _room(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "panoglot" and len(parts) > 1 else ""


def test_imports_go_down_only():
    wrong = []
    for name in _trees():
        room = _room(name)
        if room in ("", "__main__"):
            continue
        assert room in LEVEL, f"{room} has no layer"
        for module, line, _ in _imports(name):
            other = _room(module)
            if other in LEVEL and other != room and LEVEL[other] <= LEVEL[room]:
                wrong.append(f"{name}:{line} imports {module}")
    assert not wrong


def test_no_two_files_need_each_other():
    edges = {
        name: {
            module
            for module, _, at_top in _imports(name)
            if at_top and module in _trees() and not (module != name and name.startswith(module + "."))
        }
        for name in _trees()
    }
    done, circles = set(), []

    def visit(name, path):
        if name in path:
            circles.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for other in sorted(edges[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in sorted(edges):
        visit(name, [])
    assert not circles


def test_no_module_is_imported_by_a_computed_name():
    wrong = []
    for name, (path, tree) in _trees().items():
        if str(path.relative_to(SOURCE)) in COMPUTED:
            continue
        for node in ast.walk(tree):
            called = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if called in ("import_module", "__import__") and not isinstance(node.args[0], ast.Constant):
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong


def _declared():
    """Modules that our entry points name."""
    root = SOURCE.parents[1] / "pyproject.toml"
    if not root.is_file():
        pytest.skip("not a source tree")
    groups = tomllib.loads(root.read_text(encoding="utf-8"))["project"]["entry-points"]
    return {value.partition(":")[0] for points in groups.values() for value in points.values()}


def _registered(name):
    """Modules that a package names: in its `__init__` (a registry, or the table of public names), or its `_tables`."""
    _, tree = _trees()[name]
    found = {module for one in (name, f"{name}._tables") if one in _trees() for module, _, _ in _imports(one)}
    found |= {f"{name}.{value}" for value in _strings(tree) if value.replace("_", "").isalnum()}
    for node in ast.walk(tree):  # loaded when it is asked for
        if isinstance(node, ast.FunctionDef):
            found |= {inner.module for inner in ast.walk(node) if isinstance(inner, ast.ImportFrom) and inner.module}
    return found


#: The table of roles itself.
TABLES = {"panoglot.providers.roles"}


def test_plain_files_are_those_that_declare_something():
    """In rooms: a format, provider, metric, benchmark, filter, loss … has a plain name, all others an underscore."""
    declared, wrong = _declared(), []
    assert len(declared) > 40
    for name in declared:
        assert not name.rpartition(".")[2].startswith("_"), f"{name} is named by an entry point"
    for name, (path, _) in _trees().items():
        parts = name.split(".")
        if len(parts) < 3 or path.stem.startswith("_") or name in declared | TABLES:
            continue
        packages = [".".join(parts[:n]) for n in range(2, len(parts))]
        if not any(name in _registered(package) for package in packages):
            wrong.append(name)
    assert not wrong


def test_lazy_names_are_the_public_names():
    for name, (_, tree) in _trees().items():
        lazy = [
            set(map(ast.literal_eval, node.args[1].keys))
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy_names"
        ]
        for names in lazy:
            typed = {
                alias.asname or alias.name
                for node in tree.body
                if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
                for one in node.body
                for alias in one.names
                # of `evaluate`, which offers all of `metrics`, and its commands as a module
                if alias.name != "*" and f"{one.module}.{alias.name}" not in _trees()
            }
            assert names == typed, name
            assert names <= set(importlib.import_module(name).__all__), name


def test_imported_names_are_there():
    """Names of lazy rooms too, which no type checker sees; imports inside functions are read, not run."""
    missing = []
    for name, (_, tree) in _trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or node.module not in _trees():
                continue
            lazy = [
                key.value
                for call in ast.walk(_trees()[node.module][1])
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "lazy_names"
                for key in call.args[1].keys
            ]
            if lazy:
                missing += [
                    f"{name}:{node.lineno} {a.name}"
                    for a in node.names
                    if a.name != "*" and not _has(node.module, a.name, lazy)
                ]
    assert not missing


def _has(module, name, lazy):
    defined = {getattr(node, "name", "") for node in ast.walk(_trees()[module][1])}
    return name in lazy or name in defined or f"{module}.{name}" in _trees()


def test_files_and_functions_are_short():
    long = []
    for name, (path, tree) in _trees().items():
        lines = path.read_text().count("\n")
        if lines > 500:
            long.append(f"{name}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 100:
                long.append(f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines")
    assert not long


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
    for room in ("captioning", "translation"):
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


#: Private modules that a test imports, and why no public name serves.
READ_BY_TESTS = {
    ("vectors/test_stored.py", "vectors._stored"): "a process that is killed while it writes the copy",
    (
        "recipes/test_privacy.py",
        "_privacy",
    ): "the switches are set before anything is imported",
    ("test_verbs.py", "cli._commands"): "the table that the commands are made of is compared with the public functions",
    ("curation/test_again.py", "curation._memory"): "what is remembered is a file of ours, and nobody else's to read",
    ("pictures/test_image.py", "pictures._guard"): "a decoder is ended, or given less memory, while it works",
    ("providers/embedded/test_labels.py", "providers.embedded._labels"): "packages that are not installed are played",
}


CODE = re.compile(r"from (panoglot[\w.]*) import |import (panoglot[\w.]*)")


def _private(name):
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def test_tests_import_public_names():
    """What a test needs is in its room's `__init__`: a method or filter of another package needs it too."""
    tests, found = Path(__file__).parent, set()
    for path in sorted(tests.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module":
                names = [one.value for one in node.args[:1] if isinstance(one, ast.Constant)]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # code that another process runs
                names = [module for pair in CODE.findall(node.value) for module in pair if module]
            for name in names:
                if name.partition(".")[0] == "panoglot" and _private(name):
                    module = name if name in _trees() else name.rpartition(".")[0]
                    found.add((path.relative_to(tests).as_posix(), module.partition(".")[2]))
                    last = name.rpartition(".")[2]
                    assert name in _trees() or not last.startswith("_"), f"{path.name} imports {name}"
    assert found == READ_BY_TESTS.keys()
