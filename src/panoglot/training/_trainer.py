"""The trainer: steps, stages, checkpoints, exact resume, a log line a step, one process or many."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from panoglot.errors import UserError, did_you_mean
from panoglot.identity import UnreadWhen, canonical_bytes, extended, fingerprint, later
from panoglot.networks._checkpoint import read_manifest, read_state, write, write_state
from panoglot.networks._checkpointing import checkpoint_activations, compile_towers
from panoglot.networks._ema import Ema
from panoglot.networks._freeze import FreezePlan, parameter_groups, training_mode
from panoglot.networks._load import begin_with
from panoglot.networks._model import Model, make_model
from panoglot.networks._optimiser import make_optimiser
from panoglot.networks._records import Batch, Record, Term
from panoglot.networks._row import Row
from panoglot.networks._step import Reward
from panoglot.networks.samplers import Draw
from panoglot.training._accumulate import accumulate, accumulate_plain, side_by_side
from panoglot.training._distributed import Processes
from panoglot.training._loader import Loader
from panoglot.training._progress import Interrupts, Progress, memory
from panoglot.training._stage import Stage, make_stages
from panoglot.training._stopping import Best, close

__all__ = ["Trainer", "train_records"]

PATIENCE = 10  # steps in a row that cannot be used, before the run gives up
PRECISIONS = ("float32", "bf16")


class Trainer:
    """One run of one row on some records.

    Everything random in step k is a function of (seed, k), and the plan of an epoch a function of (seed, epoch): a run
    that was killed and resumed gives the loss sequence of one that was not, bit for bit on a CPU with as many threads,
    in the middle of any stage. Started with `torchrun --nproc-per-node N`, N processes share every step and give the
    sequence of one.

    Args:
        row: the method.
        records: to train on; every process is given all of them and loads its share.
        run: the folder of checkpoints and logs, or None.
        seed: of everything random.
        model: instead of a fresh one.
        augment: random crops.
        save_every: steps between checkpoints.
        workers: threads that load the pictures of the next step while this one computes; 0: none. Changes no figure.
        device: `cpu`, `cuda`; None: a GPU where there is one.
        precision: `float32`, or `bf16`: towers in bfloat16 by autocast, contrast and parameters in float32.
        checkpointing: compute the activations of transformer blocks again instead of keeping them: less memory.
        compile: compile the towers with `torch.compile`; a string names its backend.
        shard: with several processes, cut parameters and optimiser over them (FSDP2) instead of copying them (DDP).
        rewards: name → (texts that the model wrote, ids of their records) → how good each is, for losses that let the
            model write; a loss names the one that it learns from, so they are no part of the run's identity.
        idle: losses that may learn from nothing in a whole epoch; another one that does stops the run. None: all may.

    Attributes:
        model: what is trained.
        stages: of the row; a row without stages is one.
        step: the next one; total: of the whole run.
        data, plan: of the present stage.
        notes: what the user should know.

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
        workers: int = 2,
        device: str | None = None,
        precision: str = "float32",
        checkpointing: bool = False,
        compile: bool | str = False,
        shard: bool = False,
        rewards: Annotated[Mapping[str, Reward] | None, UnreadWhen()] = None,
        idle: Annotated[Sequence[str] | None, UnreadWhen()] = None,
        held_out: Annotated[Sequence[Record], UnreadWhen()] = (),
    ) -> None:
        if precision not in PRECISIONS:
            raise UserError(f"precision: '{precision}' is not known.{did_you_mean(precision, PRECISIONS)}")
        self.row, self.seed, self.save_every = row, seed, max(1, save_every)
        self.run = None if run is None else Path(run)
        if shard and any(r.ema or r.optimiser.get("kind") == "lamb" for _, r in row.each_stage()):
            raise UserError("shard: neither a moving average of the whole model nor lamb can be sharded yet.")
        self.processes = Processes(device, shard=shard)
        self.model = make_model(row, seed) if model is None else model
        if model is None and row.start and not (self.run is not None and (self.run / "run.json").exists()):
            begin_with(self.model, row.start)
        self.model.rewards = dict(rewards or {})
        self.stages = make_stages(row, records, self.model, seed, augment)
        self.total = self._until = sum(stage.total for stage in self.stages)
        self.model.to(self.processes.device)
        if checkpointing:
            checkpoint_activations(self.model)
        if compile:
            compile_towers(self.model, "inductor" if compile is True else compile)
        self.autocast = precision == "bf16"
        self.step = 0
        self.bad = self.skipped = 0
        self.idle, self.notes = idle, list[str]()
        self._learnt: Counter[str] = Counter()  # loss -> items of this epoch, as far as this process saw it
        self.average: Ema | None = None
        self.best = Best(self, held_out) if row.stop and row.stop.get("patience", 2) else None
        self.snapshots: dict[int, dict[str, torch.Tensor]] = {}  # of a run without a folder
        self._stage: Stage | None = None
        self._steps: tuple[int, list[list[tuple[str, int]]]] = (-1, [])
        self._loader: Loader[tuple[list[Batch], Counter[str], int, int]] = Loader(self._load, workers)
        data = hashlib.blake2b(digest_size=8)
        for r in sorted(records, key=lambda r: r.id):
            said: list[Any] = [r.id, r.split, r.pair_id, list(r.texts), list(r.regions), sorted(r.vectors)]
            if getattr(r, "turns", ()) or getattr(r, "pictures", ()):
                said += [list(r.turns), len(r.pictures)]
            data.update(canonical_bytes(tuple(said)))
        base = fingerprint([row.fingerprint, seed, augment, data.hexdigest(), precision])
        self.identity = extended(base, later(Trainer, locals()))
        self._enter()

    # ---- stages ------------------------------------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """The stage of the next step (the last one when all steps are done)."""
        return self._stage_of(self.step)

    def _stage_of(self, step: int) -> Stage:
        return next(s for s in reversed(self.stages) if s.first <= step)

    @property
    def data(self) -> Any:
        """The items of the present stage."""
        return self.stage.data

    @property
    def plan(self) -> FreezePlan:
        """What learns in the present stage."""
        return self.stage.plan

    @property
    def steps_per_epoch(self) -> int:
        """Of the present stage."""
        return self.stage.per_epoch

    @property
    def encoder(self) -> Model:
        """The model as it is to be used: the moving average where the row asks for one."""
        return self.model if self.average is None else self.average.teacher  # type: ignore[return-value]

    def _enter(self) -> None:
        """Begin the stage of the next step, unless it has begun."""
        stage = self.stage
        if stage is self._stage:
            return
        self._stage, row = stage, stage.row
        stage.freeze(self.model)
        training_mode(self.model)
        norms = [n for n, m in self.model.named_modules() if isinstance(m, _BatchNorm) and m.training]
        if norms and self.processes.world > 1 and self.processes.device.type == "cuda":
            torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        elif norms and (row.accumulate > 1 or self.processes.world > 1):
            raise UserError(
                f"Batch normalisation ('{norms[0]}') would see a part of the batch only; freeze it, or use one process "
                "and accumulate: 1."
            )
        self.average = Ema(self.model) if row.ema else None
        if self.processes.world > 1:
            for name, part in self.model.active.items():
                part.in_processes(name, self.processes, row.batch)
        # a contrast that is accumulated runs the towers by themselves, not through DDP
        self._features = row.accumulate > 1 and any(p.by_features for p in self.model.active.values())
        self.net = self.model if self._features and not self.processes.shard else self.processes.wrap(self.model)
        decay = float(row.optimiser.get("weight_decay", 0.0))
        groups = parameter_groups(self.model, stage.plan, float(row.optimiser.get("lr", 1e-3)), decay)
        # whole numbers and parts of tensors cannot be stepped in one call
        self.optimiser = make_optimiser(groups, row.optimiser, **({"foreach": False} if self.processes.shard else {}))
        self.base = [g["lr"] for g in self.optimiser.param_groups]

    # ---- one step ----------------------------------------------------------------------------------------------------

    def _load(self, step: int, each: Callable[..., Iterable[Any]]) -> tuple[list[Batch], Counter[str], int, int]:
        """Return this process's micro-batches of a step, what was broken, fallbacks, and how many items all have."""
        stage = self._stage_of(step)
        epoch, place = divmod(step - stage.first, stage.per_epoch)
        epoch += stage.first_epoch
        if self._steps[0] != epoch:
            self._steps = (epoch, stage.data.plan(epoch))
        items, k = self.processes.share(self._steps[1][place]), stage.row.accumulate
        cuts = [len(items) * i // k for i in range(k + 1)]
        pieces, skipped, fallbacks = [], Counter[str](), 0
        for low, high in itertools.pairwise(cuts):
            batch, broken, fell = stage.data.load(items[low:high], epoch, each)
            skipped += broken
            fallbacks += fell
            if len(batch):
                pieces.append(batch)
        return pieces, skipped, fallbacks, len(self._steps[1][place])

    def _cast(self) -> Any:
        return torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.autocast)

    def _losses(self, pieces: list[Batch]) -> tuple[float, dict[str, float], dict[str, int]]:
        """Run towers and losses forwards and backwards; returns total, terms and counts, over all processes."""
        model, processes = self.model, self.processes
        if self._features:
            terms, counts = self._accumulated(pieces)
        elif self.stage.row.accumulate == 1:
            with self._cast():
                local = self.net(pieces[0])
            terms, counts = processes.pool(local, model.active)
            total = sum(model.weights[n] * t.value for n, t in terms.items() if t.count or t.value.requires_grad)
            if isinstance(total, torch.Tensor) and total.requires_grad:
                total.backward()
        else:
            terms, counts = accumulate_plain(self.net, pieces, model.weights, processes, self._cast)
        if self._features or processes.shard:
            processes.average(model.parameters())
        values = processes.sum(float(t.value.detach()) for t in terms.values())
        means = {n: v / processes.world for n, v in zip(terms, values, strict=True)}
        return sum(model.weights[n] * v for n, v in means.items()), means, counts

    def _accumulated(self, pieces: list[Batch]) -> tuple[dict[str, Term], dict[str, int]]:
        whole = side_by_side(pieces)
        (name, part), *_ = self.model.active.items()
        weight = self.model.weights[name]

        def encode(piece: Batch) -> list[torch.Tensor]:
            with self._cast():
                f = self.model.features(piece)
            return [z for z in (f.x, f.y, f.x2, f.y2) if z is not None]

        def loss(x: torch.Tensor, y: torch.Tensor, *second: torch.Tensor) -> Term:
            term = part.kernel(x, y, whole)
            if second:
                term = Term(term.value + part.kernel(*second, whole, second=True).value, term.count)
            return self.processes.pool({name: term}, {name: part})[0][name]

        term = accumulate(encode, pieces, loss, modules=[self.model], factor=weight)
        return {name: term}, {name: int(self.processes.sum([term.count])[0])}

    def one_step(self) -> dict[str, Any]:
        """Take the next step and return its figures."""
        self._enter()
        stage, row, begin = self.stage, self.stage.row, time.perf_counter()
        at = self.step - stage.first
        pieces, broken, fallbacks, size = self._loader.get(self.step, last=self.step + 1 >= self._until)
        stage.data.skipped += broken
        stage.data.fallbacks += fallbacks
        stage.data.lost += sum(piece.lost for piece in pieces)
        lost, empty = self.processes.sum([sum(broken.values()), not pieces])
        self.skipped += int(lost)
        pieces = [p.to(self.processes.device) for p in pieces]
        rank = [self.processes.rank] if self.processes.rank else []
        torch.manual_seed(int(Draw(self.seed, "step", self.step, *rank).number() * 2**53))
        training_mode(self.model)
        factor = stage.factor(at)
        for group, base in zip(self.optimiser.param_groups, self.base, strict=True):
            group["lr"] = base * factor
        self.optimiser.zero_grad(set_to_none=True)
        total, norm, terms, counts = (
            0.0,
            0.0,
            dict.fromkeys(self.model.active, 0.0),
            dict.fromkeys(self.model.active, 0),
        )
        if not empty:
            total, terms, counts = self._losses(pieces)
            norm = self.processes.norm(list(self.model.parameters()), row.clip or math.inf)
        good = math.isfinite(total) and math.isfinite(norm) and any(counts.values())
        self.bad = 0 if good else self.bad + 1
        if self.bad >= PATIENCE:
            raise UserError(
                f"For {PATIENCE} steps in a row the loss was not finite, or there was nothing to learn from (no pairs, "
                f"no targets, {self.skipped} broken pictures); look at the data, or lower the learning rate."
            )
        if good:  # a step that cannot be used is left out whole, and logged
            self.optimiser.step()
            self.model.after_step(at, stage.total)
            if self.average is not None:  # a young average follows faster
                self.average.update(self.model, min(float(row.ema.get("decay", 0.9999)), (1 + at) / (10 + at)))
        self.step += 1
        self._learnt.update(counts)
        if (at + 1) % stage.per_epoch == 0:
            self._end_epoch(stage.first_epoch + at // stage.per_epoch)
        if stage.period and (at + 1) % stage.period == 0:
            self._snapshot()
        figures: dict[str, Any] = {"step": self.step - 1, "epoch": stage.first_epoch + at // stage.per_epoch}
        if stage.name:
            figures["stage"] = stage.name
        figures |= {"loss": total if good else None}
        figures |= {f"loss/{n}": v if good else None for n, v in terms.items()}
        figures |= {f"count/{n}": n_ for n, n_ in counts.items()}
        figures |= {"lr": self.optimiser.param_groups[0]["lr"], "grad_norm": norm if good else None}
        figures |= {"skipped_step": not good, "skipped": self.skipped}
        for name, part in self.model.active.items():
            if getattr(part, "scale", None) is not None:
                figures[f"scale/{name}"] = float(part.scale()[0].detach())
        figures |= memory(self.processes.device)
        figures["seconds"] = time.perf_counter() - begin
        figures["samples_per_second"] = size / figures["seconds"]
        return figures

    def _end_epoch(self, epoch: int) -> None:
        """Stop where a loss learnt from nothing in an epoch, which is not seen in the figures of the others."""
        learnt, self._learnt = self._learnt, Counter()
        for name in self.model.active if self.idle is not None else ():
            if not learnt[name] and name not in (self.idle or ()):
                raise UserError(
                    f"the loss '{name}' learnt from nothing in epoch {epoch}: look at the data, or add --idle {name}."
                )
        if self.best is not None and self.best.look():
            self.notes.append(f"stopped after epoch {epoch}: {self.best.patience} did no better on what is held out")
            self.total = self._until = self.step

    # ---- the run -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        steps: int | None = None,
        on_step: Callable[[dict[str, Any]], None] | None = None,
        *,
        progress: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Train to the end, or for so many more steps; save on the way. Returns the figures of the steps taken.

        Ctrl-C, or SIGTERM, ends the step at hand, saves, and raises `KeyboardInterrupt` with how to go on.

        Args:
            steps: how many; None: all that are left.
            on_step: called with the figures of every step (in the main process).
            progress: show a bar; None: when there is a terminal.
        """
        self._until = end = self.total if steps is None else min(self.total, self.step + steps)
        out: list[dict[str, Any]] = []
        run = self.run if self.processes.main else None
        log = None
        if run is not None:
            run.mkdir(parents=True, exist_ok=True)
            if not self.step:
                write(run / "row.yaml", self.row.yaml(complete=True).encode())
                write(run / "freeze.txt", self.describe().encode())
                write(run / "log.jsonl", b"")
            log = open(run / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        bar = Progress(self, progress if self.processes.main else False)
        try:
            with Interrupts() as stop, bar:
                while self.step < min(end, self.total):
                    figures = self.one_step()
                    if self.step == self.total:
                        close(self)
                    out.append(figures)
                    if log is not None:
                        log.write(json.dumps(figures) + "\n")
                        log.flush()
                    bar.update(figures)
                    if on_step is not None and self.processes.main:
                        on_step(figures)
                    stopped = bool(self.processes.sum([stop.asked])[0]) and self.step < self.total
                    if self.run is not None and (
                        stopped or self.step % self.save_every == 0 or self.step == self.total
                    ):
                        self.save()
                    if stopped:
                        where = (
                            "nothing was saved: this run has no folder" if self.run is None else "resume goes on there"
                        )
                        raise KeyboardInterrupt(f"stopped after step {self.step} of {self.total}; {where}")
        finally:
            self._loader.close()
            if log is not None:
                log.close()
        return out

    def describe(self) -> str:
        """Return what learns and what is frozen, stage by stage."""
        return "\n".join(f"stage '{s.name}': {s.plan}" if s.name else str(s.plan) for s in self.stages) + "\n"

    def _snapshot(self) -> None:
        """Keep the model as it is at the end of a period."""
        state = self.processes.state(self.encoder, self.optimiser)["model"]
        if self.run is None:
            self.snapshots[self.step] = copy.deepcopy(state)
        elif self.processes.main:
            self.run.mkdir(parents=True, exist_ok=True)
            write_state(self.run / f"snapshot-{self.step:08d}.pt", {"model": state})

    def save(self) -> None:
        """Write a checkpoint: the state first, then the manifest that names it, each by atomic rename."""
        if self.run is None:
            raise UserError("This run has no folder to save to.")
        stage = self._stage or self.stage
        state = self.processes.state(self.model, self.optimiser)
        if self.average is not None:
            state["average"] = self.average.teacher.state_dict()
        if not self.processes.main:
            return
        self.run.mkdir(parents=True, exist_ok=True)
        name = f"checkpoint-{self.step:08d}.pt"
        digest = write_state(self.run / name, state)
        manifest = {"step": self.step, "total": self.total, "file": name, "hash": digest, "identity": self.identity}
        manifest |= {"seed": self.seed, "method": self.row.method, "stage": stage.name, "bad": self.bad}
        manifest |= {"threads": torch.get_num_threads()}
        manifest |= {"skipped": self.skipped, "average": self.average is not None, "shard": self.processes.shard}
        manifest |= {} if self.best is None else {"best": self.best.said()}
        write(self.run / "run.json", json.dumps(manifest).encode())
        for old in self.run.glob("checkpoint-*.pt"):
            if old.name != name:
                old.unlink()

    def resume(self) -> Trainer:
        """Go on from the last checkpoint of the folder; without one, from the start.

        The number of processes may be another one.

        Raises:
            UserError: the checkpoint belongs to another row, seed, or data, it is damaged, or not all processes see it.
        """
        there = self.run is not None and (self.run / "run.json").exists()
        manifest: dict[str, Any] = read_manifest(self.run) if self.run is not None and there else {"step": -1}
        if not self.processes.agree(manifest["step"]):
            raise UserError(
                f"'{self.run}' is not the same folder for all processes: use one that they share, or a copy on each."
            )
        if self.run is None or not there:
            return self
        if manifest["identity"] != self.identity:
            raise UserError(
                f"'{self.run}' holds a run of '{manifest.get('method')}' with other settings, seed or data; "
                "resume it with what it was started with, or choose another folder."
            )
        if manifest.get("shard", False) != self.processes.shard:
            raise UserError(
                f"'{self.run}' was saved with shard={manifest.get('shard', False)}; resume it with the same."
            )
        threads = manifest.get("threads", torch.get_num_threads())
        if self.processes.device.type == "cpu" and threads != torch.get_num_threads():
            self.notes.append(
                f"the run was begun with {threads} threads and goes on with {torch.get_num_threads()}: losses are not "
                f"the same bit for bit, for sums are taken in another order. OMP_NUM_THREADS={threads} makes them so."
            )
        state = read_state(self.run / manifest["file"], manifest.get("hash"))
        self.step, self.bad, self.skipped = manifest["step"], manifest["bad"], manifest["skipped"]
        self.total = self._until = min(self.total, manifest["total"])  # one that stopped early has ended
        if self.best is not None and "best" in manifest:
            self.best.take(manifest["best"])
        self._stage = None
        self._enter()
        same = manifest["stage"] == self.stage.name  # else the next stage begins here, with an optimiser of its own
        self.processes.load(self.model, self.optimiser if same else None, state)
        if same:
            if self.average is not None:
                self.average.teacher.load_state_dict(state["average"])
        elif self.average is not None:
            self.average.teacher.load_state_dict(state["model"])
        self.processes.first(self._cut_log)
        return self

    def _cut_log(self) -> None:
        """Steps after the checkpoint are taken again: their old lines go; so does one that was cut short."""
        assert self.run is not None
        log = self.run / "log.jsonl"
        if log.exists():
            lines = log.read_text(encoding="utf-8").splitlines(keepends=True)[: self.step]
            write(log, "".join(lines).encode())


def train_records(
    row: Row, records: Sequence[Record], run: str | Path | None = None, *, resume: bool = False, **more: Any
) -> Trainer:
    """Train a row on records; see `Trainer` for the options. Returns the trainer, whose `encoder` is the model."""
    trainer = Trainer(row, records, run, **more)
    if resume:
        trainer.resume()
    elif run is not None and (Path(run) / "run.json").exists():
        raise UserError(f"'{run}' holds a run already; go on with resume, or choose another folder.")
    trainer.fit()
    return trainer
