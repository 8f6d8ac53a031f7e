import json
import os
import signal
import subprocess
import sys
import time

import daft
import pytest

from panoglot.errors import UserError
from panoglot.running import Stage, run_stage
from panoglot.table import open_dataset
from tests.running.toy import Alone, Sizes


def ids(dataset):
    return sorted(dataset.images.read(["image_id"])["image_id"].to_pylist())


def test_every_pending_item_once_and_the_second_call_does_nothing(dataset, run_id):
    stage = Stage("sizes", "f", Sizes())
    first = run_stage(dataset, stage, run_id)
    assert (first.done, first.skipped, first.rejected) == (60, 0, 0)
    assert sorted(r["image_id"] for r in dataset.captions.rows(["image_id"])) == ids(dataset)
    assert {r["scores"]["width"] for r in dataset.marks.rows()} == {64.0}
    again = run_stage(dataset, stage, run_id)
    assert (again.done, again.skipped) == (0, 60)


def test_another_fingerprint_is_other_work(dataset, run_id):
    run_stage(dataset, Stage("sizes", "f", Sizes()), run_id)
    assert run_stage(dataset, Stage("sizes", "g", Sizes()), run_id).done == 60


def test_one_bad_row_costs_no_other_and_only_a_retry_takes_it_up(dataset, run_id):
    bad = ids(dataset)[:3]
    failing = Stage("sizes", "f", Sizes(bad="|".join(bad)))
    result = run_stage(dataset, failing, run_id)
    assert (result.done, result.rejected) == (57, 3)
    rejects = dataset.rejects.rows()
    assert sorted(r["item"] for r in rejects) == bad
    assert {(r["reason"], r["message"], r["stage"]) for r in rejects} == {("bad", "starts badly", "sizes-f")}

    assert run_stage(dataset, failing, run_id).rejected == 0  # not tried again
    mended = Stage("sizes", "f", Sizes(bad=bad[0]))
    result = run_stage(dataset, mended, run_id, retry=True)
    assert (result.done, result.rejected) == (2, 1)
    assert [r["item"] for r in dataset.rejects.rows(where="resolved is null")] == [bad[0]]
    assert len(dataset.captions) == 59


def test_on_error_raise_stops_and_keeps_what_was_done(dataset, run_id):
    bad = ids(dataset)[5]
    with pytest.raises(UserError, match=bad):
        run_stage(dataset, Stage("sizes", "f", Sizes(bad=bad), commit=1), run_id, on_error="raise")
    done = len(dataset.work("sizes-f"))
    assert done == len(dataset.captions) < 60


def test_a_bug_in_an_operator_is_not_hidden(dataset, run_id):
    with pytest.raises(Exception, match="a bug"):
        run_stage(dataset, Stage("sizes", "f", Sizes(crash=True)), run_id)


def test_dropped_images_are_passed_over(dataset, run_id):
    gone = ids(dataset)[:10]
    dataset.score("marks", {key: ({}, "too_small") for key in gone})
    assert run_stage(dataset, Stage("sizes", "f", Sizes()), run_id).done == 50
    assert not set(gone) & {r["image_id"] for r in dataset.captions.rows(["image_id"])}


@pytest.mark.parametrize("of", ["images", "captions"])
def test_no_worker_is_started_for_rows_of_dropped_images(dataset, run_id, monkeypatch, of):
    from tests.running.items import CaptionScores

    run_stage(dataset, Stage("sizes", "f", Sizes()), run_id)
    dataset.score("marks", {key: ({}, "too_small") for key in ids(dataset)[10:]})
    started, plain = [], daft.cls
    monkeypatch.setattr("daft.cls", lambda **options: started.append(options) or plain(**options))
    monkeypatch.setattr("panoglot.running._engine.WORTH_WORKERS", 0.0)
    operator = {"images": Sizes(), "captions": CaptionScores()}[of]
    stage = Stage("few", "f", operator, of=of, with_images=True, processes=2)
    assert run_stage(dataset, stage, run_id, quiet=True).done == 10
    assert started
    assert not any(started)


def test_where_and_limit(dataset, run_id):
    some = Stage("sizes", "f", Sizes(), where="uri in ('1.jpg', '2.jpg', '3.jpg')")
    assert run_stage(dataset, some, run_id, limit=2).done == 2
    assert run_stage(dataset, some, run_id).done == 1


def test_worker_processes_give_the_same_rows(dataset, run_id):
    result = run_stage(dataset, Stage("sizes", "f", Sizes(), processes=2), run_id)
    assert result.done == 60
    assert sorted(r["image_id"] for r in dataset.captions.rows(["image_id"])) == ids(dataset)


def test_captions_as_items_at_the_version_where_the_stage_began(dataset, run_id):
    # the stage changes the very rows it reads: addresses must stay those of the beginning
    from tests.running.items import CaptionScores

    run_stage(dataset, Stage("sizes", "f", Sizes()), run_id)
    stage = Stage("scores", "f", CaptionScores(), of="captions", with_images=True, commit=7, batch=10)
    assert run_stage(dataset, stage, run_id).done == 60
    rows = dataset.captions.rows(["text", "scores"])
    assert len(rows) == 60
    assert all(r["scores"] == {"length": 5.0, "same_width": 1.0} for r in rows)


@pytest.mark.parametrize("processes", [0, 2])
def test_an_operator_gets_one_batch_at_a_time(dataset, run_id, processes):
    assert run_stage(dataset, Stage("alone", "f", Alone(), batch=5, processes=processes), run_id).done == 60


def test_no_images_at_all(tmp_path):
    from panoglot.table import create_dataset

    data = create_dataset(tmp_path / "empty.pano")
    assert run_stage(data, Stage("sizes", "f", Sizes()), data.start_run({}, {})).done == 0


_SLOW = """
import os
import sys
from tests.running.toy import Alone, Sizes
from panoglot.running import Stage, run_stage
from panoglot.table import open_dataset
data = open_dataset(sys.argv[1])
stage = Stage("sizes", "f", Sizes(sleep=0.02), batch=8, commit=2, processes=int(sys.argv[2]))
with data.writer():
    run_stage(data, stage, data.start_run({}, {}))
os._exit(0)  # threads of the engine sometimes end an interpreter that is being taken down
"""


@pytest.mark.parametrize("processes", [0, 2])
def test_kill_nine_then_again_gives_every_row_once(dataset, processes, tmp_path):
    command = [sys.executable, "-c", _SLOW, str(dataset.path), str(processes)]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    for _ in range(2):
        job = subprocess.Popen(command, env=env, start_new_session=True)
        deadline = time.monotonic() + 60
        before = dataset.work("sizes-f").count()
        while job.poll() is None and dataset.work("sizes-f").count() < before + 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        assert open_dataset(dataset.path).captions.count() >= dataset.work("sizes-f").count()
    subprocess.run(command, env=env, check=True)
    captions = [r["image_id"] for r in dataset.captions.rows(["image_id"])]
    assert sorted(captions) == ids(dataset)
    assert sorted(r["item"] for r in dataset.work("sizes-f").rows(["item"])) == ids(dataset)


def test_two_runs_at_once(dataset, tmp_path):
    command = [sys.executable, "-c", _SLOW, str(dataset.path), "0"]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    jobs = [subprocess.Popen(command, env=env) for _ in range(2)]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    assert sorted(r["image_id"] for r in dataset.captions.rows(["image_id"])) == ids(dataset)


def test_results_are_plain_values():
    from panoglot.running import StageResult

    assert json.loads(json.dumps(StageResult("x").to_dict()))["spent"]["price"] == 0.0
