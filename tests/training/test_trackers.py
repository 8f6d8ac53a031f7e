"""The figures of a run in other programs: what they read is what the log says."""

import json

import pytest

pytest.importorskip("torch")

import panoglot
from panoglot.errors import MissingPackage, UserError
from tests.training.test_commands import make

HOW = {"preset": "small", "epochs": 2, "batch": 8, "quiet": True, "encode": False, "held_out": 0.4}


@pytest.fixture
def data(tmp_path):
    return make(tmp_path / "x.pano", n=24).path


def scalars(run):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def lines(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_tensorboard_reads_every_step(data, tmp_path):
    pytest.importorskip("tensorboard")
    done = panoglot.train("clip", data, output=tmp_path / "run", log="tensorboard", **HOW)
    found, log = scalars(done.run), lines(done.run)
    assert len(log) == done.total > 2
    assert found["loss/contrast"] == [(line["step"], pytest.approx(line["loss/contrast"])) for line in log]
    assert found["lr"] == [(line["step"], pytest.approx(line["lr"])) for line in log]
    mean = done.figures["mean"]["t2i@1"]
    assert found["recall/t2i_at_1"] == [(done.total, pytest.approx(mean))]
    assert not done.notes or not any("tensorboard" in note for note in done.notes)
    # a finished run is shown whole, once
    plain = panoglot.train("clip", data, output=tmp_path / "later", **HOW)
    assert not (plain.run / "tensorboard").exists()
    for _ in range(2):
        panoglot.train(resume=plain.run, log="tensorboard", quiet=True)
    assert [step for step, _ in scalars(plain.run)["loss"]] == [line["step"] for line in lines(plain.run)]


def test_mlflow_reads_every_step(data, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    place = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # quicker than a database
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    done = panoglot.train("clip", data, output=tmp_path / "run", log="mlflow", **HOW)
    client = mlflow.MlflowClient(tracking_uri=place)
    (run,) = client.search_runs([client.get_experiment_by_name("panoglot").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["method"] == "clip"
    history = client.get_metric_history(run.info.run_id, "loss.contrast")
    assert [(m.step, m.value) for m in history] == [(line["step"], line["loss/contrast"]) for line in lines(done.run)]


def test_a_tracker_that_fails_does_not_end_the_run(data, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    def broken(self, *what):
        raise ConnectionError("no server\nthere")

    monkeypatch.setattr(SummaryWriter, "add_scalar", broken)
    done = panoglot.train("clip", data, output=tmp_path / "run", log="tensorboard", **HOW)
    assert done.steps == done.total
    assert [n for n in done.notes if "tensorboard gave up (ConnectionError: no server there); log.jsonl" in n]


def test_unknown_and_missing_trackers_are_known_before_training(data, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="Did you mean 'tensorboard'"):
        panoglot.train("clip", data, output=tmp_path / "run", log="tensorbord", **HOW)
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(MissingPackage, match=r"--log tensorboard needs the package 'tensorboard': pip install"):
        panoglot.train("clip", data, output=tmp_path / "run", log="tensorboard", **HOW)
    assert not (tmp_path / "run").exists()
