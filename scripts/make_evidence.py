"""Write src/panoglot/inventory/evidence.json: which tests of which paper's cases ran and passed.

python scripts/make_evidence.py            runs `pytest -m paper` and writes the file
python scripts/make_evidence.py --check    writes nothing; exit code 1 when the file says something else

Run it where the optional data and packages are: a test that was skipped is no evidence, and the file is not written
when a test that stands in it could not run. Afterwards: python scripts/make_docs.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the marked tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is stale")
    options, more = parser.parse_known_args()
    stored = ROOT / "src" / "panoglot" / "inventory" / "evidence.json"
    if not options.check and not stored.exists():
        stored.write_text('{"papers": {}}\n', encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "paper", *([] if options.check else ["--write-evidence"])]
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run([*command, *more], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}).returncode


if __name__ == "__main__":
    sys.exit(main())
