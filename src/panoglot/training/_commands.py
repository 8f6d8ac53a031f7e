"""`panoglot train`: a method, a dataset, a folder in which everything about the run is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.checks import several
from panoglot.errors import UserError, command, did_you_mean, require, verb
from panoglot.identity import completed
from panoglot.table import Dataset, is_dataset, open_dataset
from panoglot.training._run import TRAINING, Trained, alone, is_main, run

if TYPE_CHECKING:
    from panoglot.networks._row import Row
    from panoglot.training._check import Checked

__all__ = ["Trained", "TrainingMethod", "train"]

#: What a run that goes on may be told anew; everything else is as it was.
_ANEW = (
    "dataset",
    "device",
    "workers",
    "save_every",
    "checkpointing",
    "compile",
    "shard",
    "encode",
    "idle",
    "export",
    "log",
    "quiet",
    "resume",
)


@dataclass(frozen=True, slots=True)
class TrainingMethod:
    """A line of `panoglot train --list`.

    Attributes:
        name: what a user types.
        about: one line.
        source: the paper.
        presets: names for `--preset`.
    """

    name: str
    about: str
    source: str
    presets: tuple[str, ...]


@verb
def train(
    method: str | os.PathLike[str] | None = None,
    dataset: str | os.PathLike[str] | Dataset | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    image_tower: str | None = None,
    text_tower: str | None = None,
    teacher: str | None = None,
    freeze: str | Sequence[str] = (),
    set: str | Sequence[str] = (),
    epochs: int | None = None,
    batch: int | None = None,
    lang: str | Sequence[str] = (),
    kinds: str | Sequence[str] = (),
    sources: str | Sequence[str] = (),
    held_out: float = 0.1,
    encode: bool = True,
    augment: bool = True,
    seed: int = 0,
    save_every: int = 100,
    workers: int = 2,
    device: str | None = None,
    precision: str = "float32",
    checkpointing: bool = False,
    compile: bool = False,
    shard: bool = False,
    idle: str | Sequence[str] = (),
    export: str | Sequence[str] = (),
    log: str | Sequence[str] = (),
    start: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    list: bool = False,
    print_config: bool = False,
    check: bool = False,
    quiet: bool | None = None,
) -> Any:
    """Train a model on the kept captions of a dataset. What it learns is the encoder pano:FOLDER.

    Args:
        method: a method (--list names them), or a row of your own (.yaml).
        dataset: a dataset.
        output: the folder of the run: checkpoint, settings, log, model card, plots.
        preset: paper (its settings; the default) or small (one CPU). Without one, two frozen towers get settings for
            heads on a laptop.
        image_tower: vit, timm:NAME or hf:NAME learn; any other encoder, such as embedded:efficientnet-lite2 or
            stored:hf:NAME, is frozen: it is asked once for its vectors, which are kept in the dataset.
        text_tower: hashed, transformer, hf:NAME …, or a frozen encoder such as embedded:e5 or st:NAME.
        teacher: encoder that a method with a teacher (dc-clip) learns from.
        freeze: towers (all but the heads), or patterns of parameters.
        set: any setting of the row, as PATH=VALUE: losses.contrast.smoothing=0.1. Wins over all else.
        epochs: how long.
        batch: items a step.
        lang: only captions in these languages; the first comes first where a method takes one text a picture.
        kinds: only captions of these kinds: human, alt, short, dense …
        sources: only captions by these models, or human, web.
        held_out: share of pictures that are not trained on, for the figures of the model card.
        encode: at the end, store the vectors of the dataset's pictures, so that they can be searched with the model.
        augment: random crops of pictures.
        seed: of everything random.
        save_every: steps between checkpoints.
        workers: threads that load the pictures of the next step.
        device: cpu or cuda; default: a GPU where there is one.
        precision: float32 or bf16.
        checkpointing: compute activations again instead of keeping them: less memory, more time.
        compile: compile the towers with torch.compile.
        shard: in several processes (torchrun), cut the parameters over them.
        idle: losses that may learn from nothing (`sampler`: it may show another kind of text than the method's); any
            other one that does stops the run.
        export: write the trained towers for other libraries too, into FOLDER/export: transformers, open_clip,
            sentence-transformers, onnx (--check says which can read them). A run that is finished is exported with
            --resume FOLDER --export onnx.
        log: show the figures of every step, and recall at the end, to tensorboard (FOLDER/tensorboard) or mlflow too
            (FOLDER/mlflow.db, or where MLFLOW_TRACKING_URI says). log.jsonl in the folder has them in any case.
        start: the folder of a run whose weights this one begins with, wherever name and shape agree: to fine-tune; or
            open_clip:NAME, weights of open_clip on the hub (or in a folder); or lavis:FILE, those of SPRC's own code.
        resume: the folder of a run to go on with, exactly where it stopped; needs nothing else.
        list: name the methods, and nothing else.
        print_config: print the resolved row, which is a file for --method, and nothing else.
        check: say what the method would learn from in the dataset, and what is missing; nothing is loaded or trained.
        quiet: no progress bars.

    Returns:
        What the run came to (`Trained`); a list of `TrainingMethod` with `list`; the `Row` with `print_config`; what
        there is and what is missing (`Checked`) with `check`.

    Raises:
        UserError: a wrong name, setting or path, nothing to train on, a folder that holds another run or is in use.
    """
    given = dict(locals())
    if list:
        return _methods()
    if resume is None:
        row = _look(given)
        if check:
            return _checked(row, given)
    require("torch", "panoglot[train]", "panoglot train")
    return _begin(given) if resume is None else _resume(Path(resume), given)


def _checked(row: Row, given: Mapping[str, Any]) -> Checked:
    """Say what a row would learn from."""
    from panoglot.training._check import check

    if given["dataset"] is None:
        raise UserError(f"name a dataset: panoglot train {given['method']} X.pano --check")
    asked: dict[str, Any] = {name: [*several(given[name])] for name in ("lang", "kinds", "sources")}
    asked |= {"held_out": given["held_out"], "teacher": given["teacher"]}
    return check(open_dataset(given["dataset"]), row, asked)


def _look(given: Mapping[str, Any]) -> Row:
    """Find mistakes in names and settings before anything heavy is loaded; returns the row as far as it is known."""
    from panoglot.training._settings import look_over

    method, dataset = given["method"], given["dataset"]
    if method is None:
        raise UserError("name a method and a dataset: panoglot train clip X.pano -o run/ (panoglot train --list).")
    if isinstance(dataset, str) and "=" not in dataset and dataset.endswith((".yaml", ".yml")):
        raise UserError(f"'{dataset}' is no dataset: {command('train', dataset, 'X.pano')}")
    return look_over({**given, "method": os.fspath(method)})


def _begin(given: Mapping[str, Any]) -> Any:
    """Begin a run, from the arguments of `train`."""
    from panoglot.training._settings import encoder_name, need_encoders, resolve

    method, dataset, output = given["method"], given["dataset"], given["output"]
    row = resolve(
        os.fspath(method),
        given["preset"],
        **{name: given[name] for name in ("image_tower", "text_tower", "epochs", "batch", "teacher")},
        freeze=[*several(given["freeze"])],
        settings=[given["set"]] if isinstance(given["set"], str) else given["set"],
    )
    if given["print_config"]:
        return row
    need_encoders(row)
    if dataset is None:
        raise UserError(f"name a dataset: {command('train', method, 'X.pano', '-o', 'run/')}")
    if output is None:
        raise UserError(f"name the folder of the run: {command('train', method, dataset, '-o', 'run/')}")
    data = open_dataset(dataset)
    teacher = given["teacher"]
    settings = {
        "data": {
            "dataset": data.store.absolute,
            **{name: [*several(given[name])] for name in ("lang", "kinds", "sources")},
            "held_out": given["held_out"],
            "teacher": None if teacher is None else encoder_name(teacher),
            "start": None if given["start"] is None else _start(given["start"]),
        },
        "training": {name: given[name] for name in (*TRAINING, "encode")},
    }
    folder = Path(output)
    if "?" in str(folder):
        raise UserError(f"'{folder}': a run is named pano:FOLDER, where ? begins options; give a folder without it.")
    how = {name: given[name] for name in ("quiet", "device", "shard")} | _lists(given)
    with alone(folder):
        if (folder / "run.json").exists() and is_main():
            raise UserError(f"'{folder}' holds a run already: panoglot train --resume {folder}, or another folder.")
        return run(folder, data, row, settings, **how)


def _start(given: Any) -> str:
    """Return what a run begins with, as it is understood from any folder."""
    name = str(given)
    kind, _, rest = name.partition(":")
    if kind not in ("open_clip", "lavis"):
        return str(Path(name).absolute())
    path = Path(rest).expanduser()
    return f"{kind}:{path.absolute()}" if path.exists() else name


def _lists(given: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: [*several(given[name])] for name in ("idle", "export", "log")}


def _methods() -> list[TrainingMethod]:
    from panoglot.networks._row import list_presets, list_rows, load_row

    return [
        TrainingMethod(name, about, load_row(name).source, ("paper", *list_presets(name)))
        for name, about in list_rows().items()
    ]


def _resume(folder: Path, given: Mapping[str, Any]) -> Trained:
    """Go on with a run: settings come from its folder."""
    import inspect

    import yaml

    from panoglot.networks._row import stored_row

    try:
        settings = yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))
        row = stored_row(folder)
        data_settings, training = settings["data"], settings["training"]
        for name, was in completed(train, {}).items():  # options that came after the run was begun
            (training if name in (*TRAINING, "encode") else data_settings).setdefault(name, was)
    except (OSError, TypeError, KeyError, yaml.YAMLError):
        runs = [str(p.parent) for p in folder.parent.glob("*/settings.yaml")] if folder.parent.is_dir() else []
        near = did_you_mean(str(folder), runs) if runs else ""
        raise UserError(f"'{folder}' holds no run of panoglot train.{near}") from None
    usual = {name: p.default for name, p in inspect.signature(train).parameters.items()}
    for name, value in given.items():
        if name == "method" and value == row.method:
            continue
        if name == "output" and value is not None and Path(value).resolve() == folder.resolve():
            continue
        if name not in _ANEW and value != usual[name]:
            flag = name if name in ("method", "output") else f"--{name.replace('_', '-')}"
            raise UserError(f"a run goes on with its own settings ({folder}/row.yaml): leave out {flag}.")
        if name in training and value != usual[name]:
            training[name] = value
    place = given["dataset"] if given["dataset"] is not None else data_settings["dataset"]
    if given["dataset"] is None and not is_dataset(place):
        raise UserError(
            f"the dataset of '{folder}' is no longer at {place}: panoglot train --resume {folder} --dataset X.pano"
        )
    data = open_dataset(place)
    data_settings["dataset"] = data.store.absolute
    how = {name: given[name] for name in ("quiet", "device", "shard")} | _lists(given)
    with alone(folder):
        return run(folder, data, row, settings, **how)
