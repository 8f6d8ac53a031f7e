"""The figures of a run for other programs: TensorBoard's event files, MLflow."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from panoglot.errors import UserError, did_you_mean, require, require_later

__all__ = ["TRACKERS", "Trackers", "check_trackers", "tracked"]


class Tracker(Protocol):
    """What shows the figures of steps."""

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """Take the figures of a step."""

    def end(self, done: bool) -> None:
        """Close; `done`: the run has come to its end."""


class TensorBoard:
    """Event files in `run/tensorboard`, written anew from the log where a run goes on."""

    def __init__(self, run: Path, about: Mapping[str, str]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run / "tensorboard"
        if folder.is_dir():
            shutil.rmtree(folder)
        self.writer: Any = SummaryWriter(str(folder))
        for name, text in about.items():
            self.writer.add_text(name, text)

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """Write a scalar each."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, number)

    def end(self, done: bool) -> None:
        """Close the file."""
        self.writer.close()


class MLflow:
    """A run of the experiment `panoglot`, in `run/mlflow.db` or where `MLFLOW_TRACKING_URI` says; a run that goes on is
    a new one there, with all its steps."""

    def __init__(self, run: Path, about: Mapping[str, str]) -> None:
        package: Any = require("mlflow", "panoglot[log]", "--log mlflow")
        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.resolve() / 'mlflow.db'}"
        self.client = package.MlflowClient(tracking_uri=place)
        self.metric = package.entities.Metric
        found = self.client.get_experiment_by_name("panoglot")
        name = found.experiment_id if found else self.client.create_experiment("panoglot")
        self.id = self.client.create_run(name, run_name=run.resolve().name, tags=dict(about)).info.run_id

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """Log a metric each."""
        now = int(time.time() * 1000)  # names with a dot: a store of files has no `loss` beside `loss/contrast`
        named = [self.metric(name.replace("/", "."), value, now, number) for name, value in values.items()]
        self.client.log_batch(self.id, named)

    def end(self, done: bool) -> None:
        """Say how it ended."""
        self.client.set_terminated(self.id, "FINISHED" if done else "KILLED")


#: Name → (what makes it, its package).
TRACKERS: dict[str, tuple[Any, str]] = {"mlflow": (MLflow, "mlflow"), "tensorboard": (TensorBoard, "tensorboard")}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse what is not known or not installed, before anything is trained.

    Raises:
        UserError: an unknown tracker.
        MissingPackage: one whose package is not here.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"log: '{name}' is none of {', '.join(TRACKERS)}.{did_you_mean(name, TRACKERS)}")
        require_later(TRACKERS[name][1], "panoglot[log]", f"--log {name}")


class Trackers:
    """All that were asked for. One that fails is left out from then on, and said: a run does not end by it.

    Attributes:
        notes: what the user should know.
    """

    def __init__(self, names: Sequence[str], run: Path, about: Mapping[str, str]) -> None:
        self.notes: list[str] = []
        self.open: dict[str, Tracker] = {}
        for name in dict.fromkeys(names):
            self._try(name, lambda name=name: self.open.update({name: TRACKERS[name][0](run, about)}))

    def _try(self, name: str, call: Any) -> None:
        try:
            call()
        except Exception as error:  # of libraries and servers of all kinds
            self.open.pop(name, None)
            said = " ".join(str(error).split())[:200]
            self.notes.append(f"{name} gave up ({type(error).__name__}: {said}); log.jsonl has all steps.")

    def step(self, figures: Mapping[str, Any]) -> None:
        """Show a line of the log: its numbers, under the names that they have there."""
        number = int(figures["step"])
        self.values(number, {n: v for n, v in figures.items() if n not in ("step", "epoch")})

    def values(self, number: int, values: Mapping[str, Any]) -> None:
        """Show figures that belong to a step; what is no finite number is left out, as a missing point."""
        good = {n: float(v) for n, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}
        for name, tracker in list(self.open.items()):
            self._try(name, lambda tracker=tracker: tracker.step(number, good))

    def end(self, done: bool) -> None:
        """Close all."""
        for name, tracker in list(self.open.items()):
            self._try(name, lambda tracker=tracker: tracker.end(done))


@contextmanager
def tracked(names: Sequence[str], run: Path, about: Mapping[str, str], first: int) -> Iterator[Trackers]:
    """Give what shows the figures of a run; a run that goes on is shown from its first step.

    Args:
        names: of `TRACKERS`.
        run: its folder, with `log.jsonl`.
        about: name → text that is shown beside the figures.
        first: the step that is taken next: lines of the log before it are shown at once.
    """
    out, log, done = Trackers(names, run, about), run / "log.jsonl", False
    try:
        if first and out.open and log.is_file():
            for line in log.read_text(encoding="utf-8").splitlines()[:first]:
                out.step(json.loads(line))
        yield out
        done = True
    finally:
        out.end(done)
