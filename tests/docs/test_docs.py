"""The pages that come from the code are fresh, links lead somewhere, and what pages promise is there."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.fixture(scope="module")
def make_docs():
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["methods", "metrics", "commands"])
def test_pages_from_the_code_are_fresh(make_docs, page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert text == make_docs.page(page), f"docs/{page}.md is stale: python scripts/make_docs.py"


def test_check_says_what_is_stale(make_docs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_docs, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "--check", "commands"])
    assert make_docs.main() == 1
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "commands"])
    assert make_docs.main() == 0
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "--check", "commands"])
    assert make_docs.main() == 0
    assert "stale: docs/commands.md" in capsys.readouterr().out


def test_every_option_of_a_command_is_explained(make_docs):
    rows = re.findall(r"^\| (`-.*?) \| (.*?) \|", make_docs.commands_page(), re.M)
    assert len(rows) > 50
    assert [option for option, meaning in rows if not meaning.strip()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
            assert heading in slugs, f"{page.name}: {target}"


def test_every_page_is_in_the_navigation():
    tree = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = re.findall(r"[\w-]+\.md", str(tree))
    assert sorted(set(listed)) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def _commands(text):
    """Commands in shell blocks and in inline code, continued lines joined, without what is only their output."""
    found, language = [], None
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            language = None if language is not None else line[3:].partition(" ")[0].strip()
        elif language == "sh":
            found.append(line.partition(" # ")[0])
        elif language is None:
            found += re.findall(r"`(panoglot [a-z][^`]*)`", line)
    return [command for command in found if re.search(r"(^|[\s/])panoglot [a-z]", command)]


def test_commands_in_the_pages_exist_and_take_the_options_that_are_shown():
    from panoglot.cli import COMMANDS
    from panoglot.evaluate import COMMANDS as JUDGING

    known = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    seen = 0
    for page in PAGES:
        for line in _commands(page.read_text(encoding="utf-8")):
            if line in ("panoglot evaluate --list", "panoglot evaluate --help"):
                continue
            verb, rest = re.search(r"(?:^|[\s/])panoglot ((?:evaluate )?[a-z-]+)(.*)", line).groups()
            assert verb in COMMANDS or verb.removeprefix("evaluate ") in JUDGING, f"{page.name}: {line}"
            section = known.partition(f"\n## {verb}\n")[2].partition("\n## ")[0]
            for option in re.findall(r"\s(--?[a-z][a-z-]*)", rest):
                assert f"`{option}`" in section, f"{page.name}: {line}"
            seen += 1
    assert seen > 50


def test_formats_page_has_all_options_and_reasons():
    from panoglot.exporting import EXPORT_FORMATS
    from panoglot.formats import FORMAT_NAMES, format_options

    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for name in FORMAT_NAMES:
        section = text.partition(f"\n### {name}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
        assert section, name
        for option in format_options(name):
            assert f"`{option}`" in section or "`image_column`" in section or "as for tables" in section, (name, option)
    for name in EXPORT_FORMATS:
        assert f"`{name}`" in text
    rooms = [ROOT / "src" / "panoglot" / room for room in ("formats", "pictures")]
    source = "".join(path.read_text(encoding="utf-8") for room in rooms for path in room.glob("*.py"))
    reasons = re.findall(r"(?:RowError|reject)\(\s*(?:[^()\"]|f\"[^\"]*\")*?(?<!f)\"([a-z]+(?:_[a-z]+)*)\"", source)
    assert len(set(reasons)) > 15
    assert (
        sorted({reason for reason in reasons if f"`{reason}`" not in text} - {"problem", "reason"}) == []
    )  # names of attributes


def test_the_readme_states_two_commands_that_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    scripts = re.findall(r"^sh (scripts/\S+\.sh)$", text, re.M)
    assert scripts == ["scripts/quickstart.sh", "scripts/test.sh"]
    for script in scripts:
        assert subprocess.run(["sh", "-n", str(ROOT / script)]).returncode == 0
    picture = ROOT / "docs" / "images" / "report.png"
    assert 10_000 < picture.stat().st_size < 400_000


def test_the_readme_names_the_extras_that_there_are():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"embedded"}  # nothing is in it
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("| extra | what it adds |")[2].partition("\n\n")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`([\w-]+)`", row)]
    assert sorted(named) == sorted(extras)
    for page in [*PAGES, *(ROOT / "src").rglob("*.py")]:  # what a hint tells to install is there
        for name in re.findall(r"(?:panoglot|\.)\[([\w,-]+)\]'", page.read_text(encoding="utf-8")):
            assert set(name.split(",")) <= {*extras, "embedded"}, f"{page.name}: [{name}]"


def test_the_table_of_wheels_speaks_of_packages_that_are_needed():
    spec = importlib.util.spec_from_file_location("wheels", ROOT / "scripts" / "wheels.py")
    wheels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(wheels)
    needed = {re.split("[<>=~! ]", one)[0] for one in wheels.requirements()}
    start, end = wheels.MARKS
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition(start)[2].partition(end)[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.strip().splitlines()]
    assert rows[0][1:] == list(wheels.SYSTEMS)
    assert {row[0].strip("`") for row in rows[2:-1]} <= needed
    assert rows[-1] == ["all others", *["yes"] * len(wheels.SYSTEMS)]


def test_doctor_knows_the_extras_of_the_package():
    import panoglot

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    expected = {name for name, lines in project["optional-dependencies"].items() if lines} - {"dev", "embedded", "test"}
    found = {one.what.removeprefix("extra ") for one in panoglot.doctor() if one.what.startswith("extra ")}
    assert found == expected


def test_no_command_is_shown_with_quotes_that_a_shell_does_not_know():
    pages = [*PAGES, *(ROOT / "src").rglob("*.py"), *(ROOT / "examples").iterdir(), *(ROOT / "scripts").iterdir()]
    for page in pages:
        if page.suffix in (".md", ".py", ".sh", ".yaml"):
            for line in page.read_text(encoding="utf-8").splitlines():
                shown = re.search(r"panoglot [a-z]+\b[^`]*", line)
                assert not shown or not set("“”‘„«»") & set(shown[0]), f"{page.name}: {line.strip()}"


def test_the_blocks_that_methods_share_are_public():
    from panoglot import captioning

    page = (
        (ROOT / "docs" / "captioning.md").read_text(encoding="utf-8").partition("`from panoglot.captioning import`")[2]
    )
    named = [name for row in page.splitlines() if row.startswith("| `") for name in re.findall(r"`(\w+)`", row)]
    assert len(named) > 40
    assert [name for name in named if name not in captioning.__all__ or not hasattr(captioning, name)] == []
