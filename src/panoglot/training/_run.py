"""A run of training from begin to end: records, vectors of frozen towers, steps, figures, card, stored vectors."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.table import Dataset

if TYPE_CHECKING:
    from panoglot.networks._row import Row
    from panoglot.training._check import Checked
    from panoglot.training._dataset import Reading
    from panoglot.training._trainer import Trainer

__all__ = ["TRAINING", "Trained", "alone", "is_main", "run"]

#: The settings of the trainer that a run keeps.
TRAINING = ("seed", "augment", "precision", "save_every", "workers", "checkpointing", "compile")


@dataclass
class Trained:
    """What a training run came to.

    Attributes:
        run: the folder: checkpoint, row.yaml, log.jsonl, README.md (the model card), plot.svg.
        row: the method as it was run.
        steps: taken, of `total`.
        total: of the run.
        dataset: that it was trained on.
        loss: of the last step.
        seconds: in steps.
        figures: recall on held-out pictures, see the card; empty when none were held out.
        vectors: name of the pictures' new vectors in the dataset, None when they were not made.
        notes: what the user should know.
        exports: folders that other libraries read.
    """

    run: Path
    row: Row
    steps: int
    total: int
    dataset: str
    loss: float | None = None
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    vectors: str | None = None
    notes: list[str] = field(default_factory=list)
    exports: list[Path] = field(default_factory=list)

    @property
    def encoder(self) -> Any:
        """The trained model, as any encoder; by name it is `pano:FOLDER`."""
        from panoglot.providers import load_model

        return load_model(f"pano:{self.run}", "encoder")


def is_main() -> bool:
    """Whether this is the process that writes."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; it vanishes with the process."""
    if not is_main():
        yield
        return
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file; give a folder for the run.")
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a+b")  # noqa: SIM115
    except OSError as error:
        raise UserError(f"'{folder}' cannot be written: {error.strerror}. Give another folder.") from None
    with lock as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # not a POSIX system: one run at a time is the user's care
            pass
        except BlockingIOError:
            raise UserError(f"another training is running in '{folder}': wait, or give another folder.") from None
        try:
            yield
        finally:
            if new and [p.name for p in folder.iterdir()] == [".lock"]:  # nothing came of it
                (folder / ".lock").unlink()
                folder.rmdir()


def run(
    folder: Path,
    data: Dataset,
    row: Row,
    settings: dict[str, Any],
    *,
    quiet: bool | None,
    device: str | None,
    shard: bool,
    idle: Sequence[str] = (),
    export: Sequence[str] = (),
    log: Sequence[str] = (),
) -> Trained:
    import yaml

    from panoglot.networks._checkpoint import write
    from panoglot.networks._export import check_export
    from panoglot.training._check import count_cut, look_through
    from panoglot.training._trackers import check_trackers, tracked
    from panoglot.training._trainer import Trainer

    asked, training = settings["data"], settings["training"]
    for to in export:
        check_export(row, to, folder)
    check_trackers(log)
    reading = _read(data, row, asked, quiet)
    before = asked.get("fingerprint")
    if before is not None and before != reading.fingerprint:
        raise UserError(
            f"{data.address} does not have the captions any more that '{folder}' was begun with (other ones were added "
            "or dropped): train anew in another folder."
        )
    asked["fingerprint"] = reading.fingerprint
    options = {name: training[name] for name in TRAINING}
    first = look_through(row, reading, teacher=bool(asked.get("teacher")))
    _may_idle(first, idle)
    model, fresh = _first_model(folder, row, asked.get("start"), training["seed"])
    trainer = Trainer(
        row,
        reading.train,
        folder,
        model=model,
        device=device,
        shard=shard,
        idle=idle,
        held_out=reading.held_out,
        **options,
    )
    trainer.notes += [*fresh, *reading.notes]
    if hasattr(getattr(trainer.model.text, "tokens", None), "whole"):
        first.cut = count_cut(trainer.model.text.tokens, row, reading.train)
    trainer.resume()
    if trainer.processes.main and not quiet:
        print(_said(first), file=sys.stderr)
    if trainer.processes.main:
        write(folder / "settings.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode())
        write(folder / "row.yaml", row.yaml(complete=True).encode())
    about = {"method": row.method, "dataset": data.address, "row": row.yaml()}
    with tracked(log if trainer.processes.main else (), folder, about, trainer.step) as trackers:
        try:
            trainer.fit(on_step=trackers.step, progress=None if quiet is None else not quiet)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped after step {trainer.step:,} of {trainer.total:,}; go on: panoglot train --resume {folder}"
            ) from None
        if not trainer.processes.main:
            return Trained(folder, row, trainer.step, trainer.total, data.address)
        result = _finish(folder, data, reading, trainer, settings, quiet, first)
        recall = result.figures.get("mean", {})
        trackers.values(trainer.step, {f"recall/{name.replace('@', '_at_')}": recall[name] for name in recall})
    result.notes += trackers.notes
    if export:
        from panoglot.training._exports import export_run

        result.exports = [export_run(folder, to) for to in export]
    return result


def _first_model(folder: Path, row: Row, start: str | None, seed: int) -> tuple[Any, list[str]]:
    """Return the model that a run begins with, None for a fresh one, and what is to be said of it."""
    start = start or row.start
    if not start or (folder / "run.json").exists():
        return None, []
    from panoglot.networks._load import begin_with
    from panoglot.networks._model import make_model

    model = make_model(row, seed)
    fresh = begin_with(model, start)
    shown = ", ".join(fresh[:5]) + (f" and {len(fresh) - 5} more" if len(fresh) > 5 else "")
    return model, [f"begun with the weights of {start}" + (f"; not of these: {shown}" if fresh else "")]


def _pairs(trainer: Any, reading: Any) -> dict[str, Any]:
    """How often a reward puts two captions of a held-out picture in people's order, and how often a cosine does."""
    from panoglot.training._stopping import judged

    return judged(trainer, reading.held_out)


def _may_idle(first: Checked, idle: Sequence[str]) -> None:
    """Refuse to train what learns from nothing, unless that is allowed by name.

    Raises:
        UserError: the first thing that is missing, and how to get it.
    """
    known = {name.rpartition(" ")[2] for name in first.losses}
    for name in idle:
        if name not in (*known, "sampler"):
            raise UserError(f"idle: no loss is called '{name}'.{did_you_mean(name, [*known, 'sampler'])}")
    for said in first.missing:
        loss = re.search(r"the loss '([^']+)' learns from nothing", said)
        what = loss[1] if loss else "sampler" if "the sampler finds no " in said else None
        if what is not None and what not in idle:
            raise UserError(f"{said} Or allow it: --idle {what}")


def _said(first: Checked) -> str:
    """What each loss learns from, and what is cut or of no use, as it is printed at the start."""
    from panoglot.training._lacks import said_of

    items = ", ".join(f"{name}: {count:,}" for name, count in first.items.items())
    losses = ", ".join(f"{name} {count:,}" for name, count in first.losses.items())
    lines = [f"items an epoch: {items}; of these learn: {losses}"]
    lines += [f"languages: {line}" for line in first.languages]
    if first.fallbacks:
        fell = ", ".join(f"{count:,}" for count in first.fallbacks.values())
        lines.append(f"items whose wanted kind or language of text is missing, so that another is shown: {fell}")
    lines += said_of(first.left_out)
    cut = [f"{lang} {n:,} of {total:,}" for lang, (n, total) in first.cut.items() if n]
    if cut:
        lines.append(f"texts that are cut, by language: {', '.join(cut)}")
    return "\n".join(lines)


def _read(data: Dataset, row: Row, asked: Mapping[str, Any], quiet: bool | None) -> Reading:
    """Read the records, after making what vectors of frozen towers (or of a teacher) are missing."""
    from panoglot.networks._kinds import Kinds
    from panoglot.networks._needs import judged_of, reads_of, taken_of
    from panoglot.training._dataset import captions_where, read_records
    from panoglot.training._settings import stored_towers

    what = {"lang": asked["lang"], "kinds": asked["kinds"], "sources": asked["sources"]}
    takes = taken_of(row)
    assign = str(row.sampler.get("assign") or "")
    reading = read_records(
        data, **what, held_out=asked["held_out"], takes=takes, assign=assign, **judged_of(row)
    )  # mistakes are known before anything is encoded
    towers = stored_towers(row)
    if (teacher := asked.get("teacher")) and any("teacher" in reads_of(n, spec) for n, spec in row.parts.items()):
        for side, name in towers.items():
            if name != teacher:
                raise UserError(f"the frozen {side} tower '{name}' must be the teacher '{teacher}' itself, or learn.")
        towers = dict.fromkeys(("image", "text"), teacher)
    names: dict[str, str] = {}
    where = {"image": None, "text": captions_where(data, **what)}
    for side, encoder in towers.items():
        if side == "image" or "caption" in takes:
            names[side] = _encode(data, encoder, "images" if side == "image" else "captions", where[side], quiet)
    many = bool(Kinds("sampler").declares(str(row.sampler.get("kind")), "many_vectors", False))
    questions = towers.get("text") if "triple" in takes else None
    reading.add_vectors(data, **names, encoder=questions, many=many)
    return reading


def _encode(data: Dataset, encoder: str, of: str, where: str | None, quiet: bool | None) -> str:
    """Store the vectors that are missing of an encoder; returns their name."""
    from panoglot.running import encode_stage, run_stage
    from panoglot.running._runs import finish_run, running

    stage = encode_stage(data, encoder, of=of, where=where)
    assert stage.vectors is not None
    name = stage.vectors[0]
    if is_main() and _missing(data, name, of, where):
        with data.writer():
            run_id = data.start_run({"train": {"encode": of, "encoder": encoder}}, _versions())
            with running(data, run_id):
                done = run_stage(data, stage, run_id, quiet=quiet)
            finish_run(data, run_id, "done", [done], seconds=done.seconds)
        data.tidy()
    _wait()
    return name


def _missing(data: Dataset, name: str, of: str, where: str | None) -> bool:
    table = data.captions if of == "captions" else data.images
    key = table.key
    wanted = {id_ for batch in table.batches([key], where, 65_536) for id_ in batch[key].to_pylist()}
    for batch in data.vectors(name).batches(["id"], f"of = '{of[:-1]}'", 65_536):
        wanted.difference_update(batch["id"].to_pylist())
    return bool(wanted)


def _wait() -> None:
    """Of several processes: let the others wait for the one that writes."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo")
        dist.barrier()


def _finish(
    folder: Path,
    data: Dataset,
    reading: Reading,
    trainer: Trainer,
    settings: Mapping[str, Any],
    quiet: bool | None,
    first: Checked,
) -> Trained:
    """Measure, write card and plots, store the pictures' vectors."""
    from panoglot.networks._checkpoint import write
    from panoglot.providers import load_model
    from panoglot.training._card import make_card
    from panoglot.training._drawings import draw
    from panoglot.training._plot import plot_run

    row = trainer.row
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    result = Trained(folder, row, trainer.step, trainer.total, data.address, loss=log[-1]["loss"] if log else None)
    result.seconds = sum(float(line["seconds"]) for line in log)
    result.notes += _notes(row, reading, trainer)
    encoder = None
    model = trainer.model
    if model.can("score") and not model.can("encode"):
        result.figures = {"why": "the method scores pairs; recall is of vectors"} | _pairs(trainer, reading)
    elif not model.can("encode") and model.writes:
        result.figures = {"why": "the method writes texts; recall is of vectors"}
    elif row.image is None or row.text is None or not model.can("encode"):
        result.figures = {"why": "the method has no two towers to compare"}
    else:
        encoder = load_model(f"pano:{folder}", "encoder")
    # not documents, not triples
    pairs = [r for r in reading.held_out if r.image is not None and r.texts and r.loader != "triples"]
    if encoder is not None and pairs:
        from panoglot.training._figures import measure

        result.figures = measure(encoder, pairs)
    queries = [r for r in reading.held_out if r.loader == "triples" and r.pictures]
    if encoder is not None and queries and encoder.composes:
        from panoglot.training._queries import measure_queries

        result.figures["queries"] = measure_queries(encoder, queries)
    products = [r for r in reading.held_out if r.loader == "documents" and any(t.role == "answer" for t in r.turns)]
    if encoder is not None and products and model.many:
        from panoglot.training._queries import measure_products

        result.figures["queries"] = measure_products(encoder, products)
    write(folder / "figures.json", json.dumps(result.figures, ensure_ascii=False, indent=1).encode())
    name = folder.resolve().name
    write(folder / "plot.svg", plot_run(log, result.figures, f"{name}: {row.method}").encode())
    drawings = draw(model, reading, name)
    for file, svg in drawings.items():
        write(folder / file, svg.encode())
    facts = {
        "name": name,
        "drawings": list(drawings),
        "folder": f"{name}/",
        "writes": model.writes and not model.can("encode"),
        "captions": not model.writes and model.can("write"),
        "data": {**settings["data"], "dataset": data.name},
        "training": settings["training"],
        "steps": trainer.step,
        "total": trainer.total,
        "versions": _versions(),
        "reading": {
            "train": len(reading.train),
            "held_out": len(reading.held_out),
            "captions": [[*key, count] for key, count in sorted(reading.captions.items())],
            "licences": dict(reading.licences),
            "left_out": {key: count for key, count in reading.left_out.items() if count},
            "skipped": dict(trainer.data.skipped),
            "seen": first.losses,
            "items": first.items,
            "cut": {lang: [n, total] for lang, (n, total) in first.cut.items()},
        },
    }
    write(folder / "README.md", make_card(row, facts, log, result.figures, trainer.describe()).encode())
    if encoder is not None and settings["training"]["encode"]:
        result.vectors = _store(data, folder, encoder, quiet)
    return result


def _store(data: Dataset, folder: Path, encoder: Any, quiet: bool | None) -> str:
    """Store the vectors of the dataset's pictures; those of a frozen tower need only pass its head."""
    from panoglot.table import vector_id
    from panoglot.training._settings import stored_towers

    base = stored_towers(encoder.row).get("image")
    if base is None:
        return _encode(data, encoder.name, "images", None, quiet)
    from panoglot.running import encode_stage

    source = encode_stage(data, base).vectors
    assert source is not None
    name = data.add_vectors(encoder.name, encoder.fingerprint, encoder.dim)
    table = data.vectors(name)
    with data.writer():
        for batch in data.vectors(source[0]).batches(["id", "vector"], "of = 'image'", 4096):
            rows = batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, source[1])
            vectors = encoder.encode_image_vectors(rows)
            table.insert(
                [
                    {
                        "vector_id": vector_id(key, encoder.fingerprint, 0),
                        "id": key,
                        "of": "image",
                        "lang": "und",
                        "vector": row.astype("float16"),
                        "run_id": "",
                    }
                    for key, row in zip(batch["id"].to_pylist(), vectors, strict=True)
                ]
            )
    return name


def _notes(row: Row, reading: Reading, trainer: Trainer) -> list[str]:
    from panoglot.networks._kinds import Kinds

    out = []
    same = Kinds("sampler").declares(str(row.sampler.get("kind")), "always_the_same", False)
    if same and len(reading.languages) > 1:
        out.append(
            f"{row.method} shows one text a picture, always the same; there are {len(reading.languages)} languages: "
            "--set sampler.kind=each, or translation, shows all of them."
        )
    cut = getattr(getattr(trainer.model.text, "tokens", None), "cut", 0)
    if cut:
        out.append(f"{cut:,} texts were longer than the text tower reads, and were cut.")
    out += trainer.notes
    for reason, count in trainer.data.skipped.items():
        out.append(f"{count:,} pictures could not be used: {reason}.")
    return out


def _versions() -> dict[str, str]:
    from panoglot._version import __version__

    found = {"panoglot": __version__, "python": platform.python_version()}
    for package in ("torch", "transformers", "timm", "accelerate", "onnxruntime"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
