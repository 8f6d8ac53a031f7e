"""What is seen of a run while it runs: a bar, memory, and the wish to stop."""

from __future__ import annotations

import resource
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

import torch

__all__ = ["Interrupts", "Progress", "memory"]


def memory(device: torch.device) -> dict[str, float]:
    """Return the peak memory of this process so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB here
    out = {"memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
    if device.type == "cuda":
        out["cuda_memory_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    return out


class Interrupts:
    """Turns the first Ctrl-C or SIGTERM into a wish, so that no step is cut in two; the second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Progress:
    """A bar with the losses, the learned scale, samples a second and the time left; what learns, stage by stage.

    Args:
        trainer: whose steps.
        show: None: when standard error is a terminal.
    """

    def __init__(self, trainer: Any, show: bool | None) -> None:
        self._trainer = trainer
        self._bar: Any = None
        self._stage: Any = None
        self._show = sys.stderr.isatty() if show is None else show

    def __enter__(self) -> Progress:
        if self._show:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            self._bar = Bar(*columns, console=Console(stderr=True, emoji=False))
            self._bar.start()
            self._task = self._bar.add_task("", total=self._trainer.total, completed=self._trainer.step)
            self._said(self._trainer.stage)
        return self

    def _said(self, stage: Any) -> None:
        if stage is not self._stage:
            self._stage = stage
            self._bar.console.print(
                f"stage '{stage.name}': {stage.plan}" if stage.name else str(stage.plan), markup=False
            )

    def update(self, figures: dict[str, Any]) -> None:
        """Show a step."""
        if self._bar is None:
            return
        self._said(self._trainer.stage)
        self._bar.update(self._task, completed=figures["step"] + 1, description=line(figures))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def line(figures: dict[str, Any]) -> str:
    """Return a step in a few words.

    >>> line({"loss": 2.5, "loss/contrast": 2.5, "scale/contrast": 14.3, "samples_per_second": 812.4, "skipped": 3})
    'loss 2.5, scale 14.3, 812/s, 3 skipped'
    """
    if figures.get("loss") is None:
        return "step left out: the loss is not finite"
    terms = {k.removeprefix("loss/"): v for k, v in figures.items() if k.startswith("loss/")}
    said = [f"loss {figures['loss']:.4g}"]
    if len(terms) > 1:
        said += [f"{name} {value:.4g}" for name, value in terms.items()]
    said += [f"scale {v:.4g}" for k, v in figures.items() if k.startswith("scale/")]
    said.append(f"{figures['samples_per_second']:.0f}/s")
    if figures.get("skipped"):
        said.append(f"{figures['skipped']} skipped")
    return ", ".join(said)
