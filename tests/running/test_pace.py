"""Commits are paced by what they cost; workers are started where they are worth it; a run shares what models said."""

import os
import time
from dataclasses import dataclass

import pytest

import panoglot
from panoglot.providers import MEMORY
from panoglot.running import Committer, Outcome, Pace, Stage, run_stage
from panoglot.table import create_dataset


@dataclass
class Where:
    """Notes the process that it runs in, and takes its time."""

    seconds: float = 0.0

    def open(self, worker):
        pass

    def process(self, items, emit):
        for item in items:
            end = time.process_time() + self.seconds
            while time.process_time() < end:
                pass
            emit(item.key, Outcome(scores={"process": float(os.getpid())}))

    def close(self):
        pass


@pytest.fixture
def data(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    data.images.insert([{"image_id": f"i{n:03}", "data": b"x", "width": 1, "height": 1} for n in range(120)])
    return data


@pytest.mark.parametrize(("seconds", "here"), [(0.0, 120), (0.06, 48)])
def test_workers_are_started_where_they_are_worth_it(data, seconds, here):
    stage = Stage("score.where", "1", Where(seconds), processes=2)
    done = run_stage(data, stage, data.start_run({}, {}), quiet=True)
    assert (done.done, done.skipped) == (120, 0)
    found = [dict(row)["process"] for row in data.marks.read(["scores"])["scores"].to_pylist()]
    assert len(found) == 120
    assert sum(process == os.getpid() for process in found) == here
    assert run_stage(data, stage, data.start_run({}, {}), quiet=True).skipped == 120


def test_a_limit_counts_the_first_few(data):
    stage = Stage("score.where", "1", Where(), processes=2)
    assert run_stage(data, stage, data.start_run({}, {}), quiet=True, limit=50).done == 50
    assert run_stage(data, stage, data.start_run({}, {}), quiet=True, limit=20).done == 20


def test_dear_commits_are_far_apart(data, monkeypatch):
    committed = []

    def slow(self, waiting):
        committed.append(len(waiting))
        time.sleep(0.05)

    monkeypatch.setattr(Committer, "_commit", slow)
    stage = Stage("score.where", "1", Where(), commit=8)
    pace = Pace()
    commit = Committer(stage, None, pace)
    started = time.monotonic()
    while time.monotonic() - started < 1.6:
        commit.emit("x", Outcome())
        time.sleep(0.0005)
    commit.flush()
    assert committed[0] == 8
    assert len(committed) <= 6  # 200 or so without pacing
    assert pace.cost >= 0.05


def test_a_build_asks_the_network_once_a_picture(tmp_path, pictures, monkeypatch):
    from panoglot.providers.embedded.efficientnet import EfficientNetLite2

    MEMORY.clear()
    seen, folders = [], []
    run = EfficientNetLite2.run

    def counted(self, images):
        seen.extend(image.id for image in images)
        folders.append([p.name for p in (tmp_path / "x.pano").glob(".answers-*")])
        return run(self, images)

    monkeypatch.setattr(EfficientNetLite2, "run", counted)
    recipe = tmp_path / "r.yaml"
    steps = "[{evidence: {}}, {label: {}}, {encode: {}}]"
    recipe.write_text(
        f"source: {pictures}\noutput: {tmp_path / 'x.pano'}\nmodels: {{encoder: 'embedded:conse'}}\nsteps: {steps}"
    )
    panoglot.build(str(recipe), quiet=True)
    assert len(seen) == len(set(seen)) > 0
    assert all(len(names) == 1 for names in folders if names)
    assert list((tmp_path / "x.pano").glob(".answers-*")) == []  # it went with the run
