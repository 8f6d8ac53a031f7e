"""Builds that are killed or told to stop, against a server that counts what it was asked: real processes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import panoglot
from panoglot.reporting import read_runs
from tests.conftest import picture_bytes

AT_ONCE = 16
#: Price of an answer: 100 tokens read at $10 and 8 written at $20 a million.
PRICE = 0.00116
ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(panoglot.__file__).parents[1]), os.getcwd()]),
    "OMP_NUM_THREADS": "1",
}


class Counting(ThreadingHTTPServer):
    """Answers after a tenth of a second, or `seconds`; knows when each question came and when its answers went out."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.asked, self.given = threading.Lock(), [], defaultdict(list)
        self.seconds = 0.1
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # who asked was killed

    def twice(self):
        """Question to the times at which an answer went out that was asked for again later."""
        return {key: times[:-1] for key, times in self.given.items() if len(times) > 1}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        key = hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest()
        with self.server.lock:
            self.server.asked.append(time.monotonic())
        time.sleep(self.server.seconds)
        usage = {"prompt_tokens": 100, "completion_tokens": 8}
        choice = {"message": {"content": f"A picture known as {key[:12]}."}, "finish_reason": "stop"}
        raw = json.dumps({"choices": [choice], "usage": usage}).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
        except OSError:
            return
        with self.server.lock:
            self.server.given[key].append(time.monotonic())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Counting() as one:
        yield one
        one.shutdown()


@pytest.fixture
def command(tmp_path, server):
    """The build of 40 drawings, which a renderer has to prepare, and 40 pictures."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(40):
        discs = "".join(f'<circle cx="{i * 7 % 90}" cy="{(i * 13 + n) % 90}" r="{i % 9 + 1}"/>' for i in range(40))
        (photos / f"{n}.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 90">{discs}</svg>')
        (photos / f"{n}.png").write_bytes(picture_bytes(n, format="PNG"))
    (tmp_path / "prices.yaml").write_text('"openai:*": {input: 10, output: 20}\n')
    recipe = {
        "source": "photos",
        "output": "x.pano",
        "prices": "prices.yaml",
        "models": {"captioner": f"openai:{server.url}#m?concurrency={AT_ONCE}"},
        "steps": [{"describe": {}}],
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    return [sys.executable, "-m", "panoglot", "build", str(tmp_path / "recipe.yaml"), "--quiet"]


def interrupt(command, server, signum, wait):
    """Start the build, send a signal to its whole group once it has asked something; exit code, output, moment."""
    job = subprocess.Popen(
        command, env=ENV, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    before = len(server.asked)
    while len(server.asked) == before and job.poll() is None:
        time.sleep(0.01)
    time.sleep(wait)
    moment = time.monotonic()
    if job.poll() is None:
        os.killpg(job.pid, signum)
    output, _ = job.communicate(timeout=120)
    return job.returncode, output, moment


def finish(command, tmp_path):
    done = subprocess.run(command, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = panoglot.open(tmp_path / "x.pano")
    assert data.rejects.rows(["reason", "message"]) == []
    assert (len(data.images), len(data.captions)) == (80, 80)
    return data


@pytest.mark.slow
def test_a_kill_costs_no_more_than_what_is_in_flight_and_the_price_is_known(command, server, tmp_path):
    rng = random.Random(0)
    kills = []
    while len(kills) < 12:
        code, _, moment = interrupt(command, server, signal.SIGKILL, rng.uniform(0.05, 0.6))
        if code == 0:
            break
        kills.append(moment)
    data = finish(command, tmp_path)
    assert len(server.given) == 80
    lost = [when for times in server.twice().values() for when in times]
    for n, moment in enumerate(kills):
        # an answer belongs to the kill after it, or to the one in whose pipe it went
        until = kills[n + 1] if n + 1 < len(kills) else float("inf")
        begun = kills[n - 1] + 0.15 if n else 0
        assert sum(begun < when <= min(moment + 0.15, until) for when in lost) <= AT_ONCE
    # what was paid is counted once: every stored answer, by the run that paid it, whatever ended the run
    served = sum(map(len, server.given.values()))
    runs = read_runs(data)
    assert sorted({run.status for run in runs}) == ["done", "stopped"]
    total = sum(run.price for run in runs)
    assert 80 * PRICE - 1e-9 <= total <= served * PRICE + 1e-9
    again = subprocess.run(command, env=ENV, capture_output=True, text=True)
    assert again.returncode == 0
    assert sum(run.price for run in read_runs(data)) == pytest.approx(total)


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_stores_what_comes_and_pays_nothing_twice(command, server, tmp_path, signum, code):
    stops = 0
    for wait in (0.02, 0.1, 0.2, 0.3):
        ended, output, _ = interrupt(command, server, signum, wait)
        if ended == 0:
            break
        stops += 1
        assert ended == code, output
        assert "run the same command again" in output
        assert "Traceback" not in output
    assert stops
    data = finish(command, tmp_path)
    assert server.twice() == {}
    runs = read_runs(data)
    assert sum(run.status == "stopped" for run in runs) == stops
    assert sum(run.price for run in runs) == pytest.approx(80 * PRICE)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A dataset of six pictures with a caption each; it is copied."""
    folder = tmp_path_factory.mktemp("stops") / "photos"
    folder.mkdir()
    for n in range(6):
        (folder / f"{n}.png").write_bytes(picture_bytes(n, format="PNG"))
        (folder / f"{n}.en.txt").write_text(f"A small red disc in front of {n + 2} waves on a beach.")
    return panoglot.ingest(str(folder), f"{folder}.pano").dataset.path


@pytest.mark.parametrize(("verb", "whole_group"), [("caption", True), ("translate", False), ("compare", True)])
def test_ctrl_c_waits_for_the_answers_under_way_and_none_is_asked_again(photos, server, tmp_path, verb, whole_group):
    data, model = shutil.copytree(photos, tmp_path / "x.pano"), f"openai:{server.url}#m?concurrency=4"
    who = ["translate", str(data), "--to", "de", "--with", model]
    if verb != "translate":
        who = ["caption", str(data), "--captioner", model]
        who += ["--compare", str(tmp_path / "c.html")] if verb == "compare" else []
    line = [sys.executable, "-m", "panoglot", *who]
    server.seconds = 1.5
    job = subprocess.Popen(
        line, env=ENV, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while len(server.asked) < 4 and job.poll() is None:
        time.sleep(0.01)
    (os.killpg if whole_group else os.kill)(job.pid, signal.SIGINT)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 130, output
    assert "4 answers that were under way came in and are stored" in output
    assert "shutting down execution engine" not in output
    server.seconds = 0.0
    subprocess.run(line, env=ENV, capture_output=True, check=False)
    assert (len(server.asked), len(server.given), server.twice()) == (6, 6, {})


def test_a_second_ctrl_c_ends_at_once(photos, server, tmp_path):
    data = shutil.copytree(photos, tmp_path / "x.pano")
    server.seconds = 30
    line = [sys.executable, "-m", "panoglot", "caption", str(data), "--captioner", f"openai:{server.url}#m"]
    job = subprocess.Popen(
        line, env=ENV, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while len(server.asked) < 6 and job.poll() is None:
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGINT)
    time.sleep(0.5)
    assert job.poll() is None
    os.kill(job.pid, signal.SIGINT)
    assert job.wait(timeout=3) == 130
