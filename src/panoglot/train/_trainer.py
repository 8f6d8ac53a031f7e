"""The trainer: steps, checkpoints, exact resume, a log a line a step."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from panoglot.errors import UserError
from panoglot.table import fingerprint
from panoglot.train._accumulate import accumulate
from panoglot.train._data import Data
from panoglot.train._freeze import FreezePlan, freeze, parameter_groups, training_mode
from panoglot.train._model import Model, make_model
from panoglot.train._optimiser import make_optimiser
from panoglot.train._records import Batch, Record, Term, sum_terms
from panoglot.train._row import Row
from panoglot.train._schedule import schedule
from panoglot.train.parts import ContrastPart
from panoglot.train.samplers import Draw

__all__ = ["Trainer", "train"]

PATIENCE = 10  # steps in a row whose loss is not finite, before the run gives up


def _write(path: Path, data: bytes) -> None:
    """Write a file that is either whole or not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class Trainer:
    """One run of one row on some records.

    Everything random in step k is a function of (seed, k), and the plan of an epoch a function of (seed, epoch): a run
    that was killed and resumed gives the loss sequence of one that was not, bit for bit on a CPU.

    Args:
        row: the method.
        records: to train on.
        run: the folder of checkpoints and logs, or None.
        seed: of everything random.
        model: instead of a fresh one.
        augment: random crops.
        save_every: steps between checkpoints.

    Raises:
        UserError: nothing to train on, or settings that do not fit.
    """

    def __init__(
        self,
        row: Row,
        records: Sequence[Record],
        run: str | Path | None = None,
        *,
        seed: int = 0,
        model: Model | None = None,
        augment: bool = True,
        save_every: int = 100,
    ) -> None:
        self.row, self.seed, self.save_every = row, seed, save_every
        self.run = None if run is None else Path(run)
        self.model = make_model(row, seed) if model is None else model
        self.plan: FreezePlan = freeze(self.model, row.freeze)
        self.data = Data(records, self.model, seed, augment=augment)
        self.steps_per_epoch = len(self.data.plan(0))
        self.total = self.steps_per_epoch * row.epochs
        options = dict(row.schedule)
        kind = options.pop("kind", "cosine")
        for key in ("warmup", "period", "every"):  # below 1: a share of the run; of an epoch with the suffix _epochs
            if isinstance(options.get(key), float) and options[key] < 1:
                options[key] = max(1, round(options[key] * self.total))
            if f"{key}_epochs" in options:
                options[key] = max(1, round(options.pop(f"{key}_epochs") * self.steps_per_epoch))
        self.factor = schedule(kind, self.total, **options)
        decay = float(row.optimiser.get("weight_decay", 0.0))
        groups = parameter_groups(self.model, self.plan, float(row.optimiser.get("lr", 1e-3)), decay)
        self.optimiser = make_optimiser(groups, row.optimiser)
        self.base = [g["lr"] for g in self.optimiser.param_groups]
        self.step = 0
        self.bad = 0
        self._steps: tuple[int, list[list[tuple[str, int]]]] = (-1, [])
        if row.accumulate > 1 and not (len(self.model.parts) == 1 and next(iter(self.model.parts.values())).simple):
            raise UserError("accumulate: only rows whose one loss is contrast can be accumulated.")
        self.identity = fingerprint([row.fingerprint, seed, augment, sorted(map(str, self.data.items))])

    # ---- one step ----------------------------------------------------------------------------------------------------

    def _losses(self, items: Sequence[tuple[str, int]], epoch: int) -> tuple[float, dict[str, Term]]:
        if self.row.accumulate == 1:
            terms = self.model(self.data.batch(items, epoch))
            total, _ = sum_terms(terms, self.model.weights)
            total.backward()
            return float(total.detach()), terms
        size = len(items) // self.row.accumulate
        pieces = [self.data.batch(items[i : i + size], epoch) for i in range(0, len(items), size)]
        whole = self.data.batch(items, epoch) if any(len(p) != size for p in pieces) else _join(pieces)
        (name, part), *_ = self.model.parts.items()
        assert isinstance(part, ContrastPart)
        weight = self.model.weights[name]

        def encode(piece: Batch) -> list[torch.Tensor]:
            f = self.model.features(piece)
            return [z for z in (f.x, f.y, f.x2, f.y2) if z is not None]

        def loss(x: torch.Tensor, y: torch.Tensor, *second: torch.Tensor) -> Term:
            term = part.kernel(x, y, whole)
            return (
                Term(term.value + part.kernel(second[0], second[1], whole, second=True).value, term.count)
                if second
                else term
            )

        term = accumulate(encode, pieces, loss, modules=[self.model], factor=weight)
        return weight * float(term.value), {name: term}

    def one_step(self) -> dict[str, Any]:
        """Take the next step and return its figures."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        if self._steps[0] != epoch:
            self._steps = (epoch, self.data.plan(epoch))
        begin = time.perf_counter()
        torch.manual_seed(int(Draw(self.seed, "step", self.step).number() * 2**53))
        training_mode(self.model)
        factor = self.factor(self.step)
        for group, base in zip(self.optimiser.param_groups, self.base, strict=True):
            group["lr"] = base * factor
        self.optimiser.zero_grad(set_to_none=True)
        items = self._steps[1][place]
        total, terms = self._losses(items, epoch)
        trained = [p for p in self.model.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.clip_grad_norm_(trained, self.row.clip or math.inf)) if trained else 0.0
        good = math.isfinite(total) and math.isfinite(norm)
        self.bad = 0 if good else self.bad + 1
        if self.bad >= PATIENCE:
            raise UserError(f"The loss was not finite for {PATIENCE} steps in a row; lower the learning rate.")
        if good:  # a step that is not finite is left out whole, and logged
            self.optimiser.step()
            self.model.after_step(self.step, self.total)
        figures: dict[str, Any] = {"step": self.step, "epoch": epoch, "loss": total if good else None}
        figures |= {f"loss/{n}": float(t.value.detach()) if good else None for n, t in terms.items()}
        figures |= {f"count/{n}": t.count for n, t in terms.items()}
        figures |= {
            "lr": self.optimiser.param_groups[0]["lr"],
            "grad_norm": norm if good else None,
            "skipped_step": not good,
        }
        for name, part in self.model.parts.items():
            scale = getattr(part, "scale", None)
            if scale is not None:
                figures[f"scale/{name}"] = float(scale()[0].detach())
        figures["seconds"] = time.perf_counter() - begin
        figures["samples_per_second"] = len(items) / figures["seconds"]
        self.step += 1
        return figures

    # ---- the run -----------------------------------------------------------------------------------------------------

    def fit(
        self, steps: int | None = None, on_step: Callable[[dict[str, Any]], None] | None = None
    ) -> list[dict[str, Any]]:
        """Train to the end, or for so many more steps; save on the way. Returns the figures of the steps taken."""
        end = self.total if steps is None else min(self.total, self.step + steps)
        out = []
        log = None
        if self.run is not None:
            self.run.mkdir(parents=True, exist_ok=True)
            if not self.step:
                _write(self.run / "row.json", json.dumps(self.row.plain(), indent=2).encode())
                _write(self.run / "freeze.txt", str(self.plan).encode())
                _write(self.run / "log.jsonl", b"")
            log = open(self.run / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        try:
            while self.step < end:
                figures = self.one_step()
                out.append(figures)
                if log is not None:
                    log.write(json.dumps(figures) + "\n")
                    log.flush()
                if on_step is not None:
                    on_step(figures)
                if self.run is not None and (self.step % self.save_every == 0 or self.step == self.total):
                    self.save()
        finally:
            if log is not None:
                log.close()
        return out

    def save(self) -> None:
        """Write a checkpoint: the state first, then the manifest that names it, each by atomic rename."""
        if self.run is None:
            raise UserError("This run has no folder to save to.")
        import io

        self.run.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save({"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}, buffer)
        name = f"checkpoint-{self.step:08d}.pt"
        _write(self.run / name, buffer.getvalue())
        manifest = {"step": self.step, "total": self.total, "file": name, "identity": self.identity, "seed": self.seed}
        _write(self.run / "run.json", json.dumps(manifest | {"method": self.row.method, "bad": self.bad}).encode())
        for old in sorted(self.run.glob("checkpoint-*.pt")):
            if old.name != name:
                old.unlink()

    def resume(self) -> Trainer:
        """Go on from the last checkpoint of the folder; without one, from the start.

        Raises:
            UserError: the checkpoint belongs to another row, seed, or data.
        """
        if self.run is None or not (self.run / "run.json").exists():
            return self
        manifest = json.loads((self.run / "run.json").read_text())
        if manifest["identity"] != self.identity:
            raise UserError(
                f"'{self.run}' holds a run of '{manifest['method']}' with other settings, seed or data; "
                "resume it with what it was started with, or choose another folder."
            )
        state = torch.load(self.run / manifest["file"], weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.bad = manifest["step"], manifest["bad"]
        log = self.run / "log.jsonl"
        if log.exists():  # steps after the checkpoint are taken again: their old lines go; so does one cut short
            lines = log.read_text(encoding="utf-8").splitlines(keepends=True)[: self.step]
            _write(log, "".join(lines).encode())
        return self


def _join(pieces: Sequence[Batch]) -> Batch:
    """Return what the kernel needs of micro-batches side by side."""
    slots = max(p.slot_mask.shape[1] for p in pieces if p.slot_mask is not None)
    masks = [
        torch.nn.functional.pad(p.slot_mask, (0, slots - p.slot_mask.shape[1]))
        for p in pieces
        if p.slot_mask is not None
    ]
    ids = [i for p in pieces for i in p.ids]
    return Batch(
        ids, slot_mask=torch.cat(masks), pair_id=torch.cat([p.pair_id for p in pieces if p.pair_id is not None])
    )


def train(
    row: Row, records: Sequence[Record], run: str | Path | None = None, *, resume: bool = False, **more: Any
) -> Trainer:
    """Train a row on records; see `Trainer` for the options. Returns the trainer, whose `model` is an encoder."""
    trainer = Trainer(row, records, run, **more)
    if resume:
        trainer.resume()
    elif run is not None and (Path(run) / "run.json").exists():
        raise UserError(f"'{run}' holds a run already; go on with resume, or choose another folder.")
    trainer.fit()
    return trainer
