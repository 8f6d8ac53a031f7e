"""What runs where, by what wheels there are: a row a package of the default environment, a column a system.

python scripts/wheels.py             prints the table that the README holds between its two marks
python scripts/wheels.py --write     writes it there

Asks the package index through pip (`install --dry-run --only-binary :all: --platform …`), so it needs a network and is
no part of the tests; nothing is installed, and of most packages only the metadata is fetched.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("<!-- wheels: written by scripts/wheels.py -->", "<!-- /wheels -->")
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
#: System to the tags of wheels that it takes, the newest first, and what environment markers say of it.
SYSTEMS = {
    "Linux x86-64": [f"manylinux_2_{n}_x86_64" for n in (39, 34, 28, 27, 24, 17)] + ["manylinux2014_x86_64"],
    "Linux ARM": [f"manylinux_2_{n}_aarch64" for n in (39, 34, 28, 27, 24, 17)] + ["manylinux2014_aarch64"],
    "macOS ARM": [f"macosx_{n}_0_arm64" for n in (15, 14, 13, 12, 11)],
    "Windows": ["win_amd64"],
}


def requirements() -> list[str]:
    """The packages of the default environment, markers taken off: whether a wheel is there is the question."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [line.partition(";")[0].strip() for line in project["dependencies"]]


def missing(wanted: list[str], system: str, version: str) -> list[str]:
    """Those of the packages that have no wheel for a system and Python."""
    left, gone = list(wanted), []
    while left:
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--target", scratch]
            command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", version]
            command += [part for tag in (*SYSTEMS[system], "any") for part in ("--platform", tag)]
            command += [part for tag in (f"cp{version.replace('.', '')}", "abi3", "none") for part in ("--abi", tag)]
            done = subprocess.run([*command, *left], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return gone
        found = re.search(r"No matching distribution found for (\S+)", done.stderr)
        culprit = next((one for one in left if found and one.replace(" ", "") == found[1]), None)
        if culprit is None:
            sys.exit(f"pip failed for {system}, Python {version}: {done.stderr.strip()[-600:]}")
        left.remove(culprit)
        gone.append(culprit)
    return gone


def table() -> str:
    """The Markdown table: packages with a gap, a line each, and how many have none."""
    wanted = requirements()
    gaps = {system: {version: missing(wanted, system, version) for version in VERSIONS} for system in SYSTEMS}
    rows = []
    for one in wanted:
        cells = []
        for system in SYSTEMS:
            lacks = [version for version in VERSIONS if one in gaps[system][version]]
            cells.append("yes" if not lacks else "no" if len(lacks) == len(VERSIONS) else f"not {', '.join(lacks)}")
        if set(cells) != {"yes"}:
            rows.append([f"`{re.split('[<>=~! ]', one)[0]}`", *cells])
    rows.append(["all others" if rows else "all", *["yes"] * len(SYSTEMS)])
    head = [f"wheels for Python {VERSIONS[0]} to {VERSIONS[-1]}", *SYSTEMS]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into README.md")
    made = table() if not (options := parser.parse_args()).write else ""
    if not options.write:
        print(made, end="")
        return
    page = ROOT / "README.md"
    before, found, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not found or not end:
        sys.exit(f"README.md has no place for the table: {MARKS[0]} … {MARKS[1]}")
    page.write_text(f"{before}{MARKS[0]}\n{table()}{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
