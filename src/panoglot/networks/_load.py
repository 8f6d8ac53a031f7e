"""What a run has learnt, as an encoder: its last weights, their moving average, or the sum of its snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from panoglot.errors import UserError
from panoglot.networks._checkpoint import read_manifest, read_state
from panoglot.networks._model import Model, make_model
from panoglot.networks._row import stored_row
from panoglot.networks.towers import unit

__all__ = ["Ensemble", "begin_with", "load_run"]


class Ensemble:
    """Several models as one encoder, whose similarity is the mean of theirs.

    A vector is the vectors of all models side by side, divided by the root of their number: unit again, and the dot
    product of two of them is the mean of the models' cosines. (Adding the vectors themselves compares every
    model's pictures with every other model's texts, whose spaces may have little to do with each other.)

    Args:
        models: of one row.
        summed: add the unit vectors of all models instead, and make the sum unit: as long as one model's. It is what
            the paper does, whose snapshots all come from one start.

    Source: snapshot ensembles for max-margin training, Merkx & Frank 2019 (arXiv 1903.11393).
    """

    def __init__(self, models: Sequence[Model], summed: bool = False) -> None:
        if not models:
            raise UserError("An ensemble needs at least one model.")
        self.models, self.summed = list(models), summed

    def join(self, vectors: Sequence[Tensor]) -> Tensor:
        """Return the vectors of the ensemble of those of its models, each [N, D]."""
        if self.summed:
            return unit(torch.stack(list(vectors)).sum(0))
        found: Tensor = torch.cat(list(vectors), -1) / len(vectors) ** 0.5
        return found

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None, batch_size: int = 64) -> Tensor:
        """Return unit vectors [N, models · D] of texts."""
        return self.join([m.encode_texts(texts, langs, batch_size) for m in self.models])

    def encode_pixels(self, pixels: Tensor, batch_size: int = 64) -> Tensor:
        """Return unit vectors [N, models · D] of normalised pictures [N, 3, H, W] (or stored vectors [N, Dv])."""
        return self.join([m.encode_pixels(pixels, batch_size) for m in self.models])


def load_run(run: str | Path, *, snapshots: bool | str = False, device: Any = "cpu") -> Model | Ensemble:
    """Return the encoder that a run has come to: the moving average where its row asks for one.

    Args:
        run: its folder.
        snapshots: the models at the ends of the learning rate's periods instead: True, their vectors side by side;
            `sum`, added.
        device: where to put it.

    Raises:
        UserError: no run there, a damaged file, or no snapshots.
    """
    run = Path(run)
    manifest = read_manifest(run)
    row = stored_row(run)

    def model(state: dict[str, Tensor]) -> Model:
        out = make_model(row)
        out.load_state_dict(state)
        return out.to(device).eval()

    if not snapshots:
        state = read_state(run / manifest["file"], manifest.get("hash"), device)
        return model(state["average" if manifest.get("average") else "model"])
    kept = [p for p in sorted(run.glob("snapshot-*.pt")) if int(p.stem.rpartition("-")[2]) <= manifest["step"]]
    if not kept:
        raise UserError(f"'{run}' has no snapshots: its row says no 'snapshots: true', or no period has ended yet.")
    return Ensemble([model(read_state(p, None, device)["model"]) for p in kept], snapshots == "sum")


def begin_with(model: Model, run: str | Path) -> list[str]:
    """Give a fresh model what a run has learnt: every tensor of the same name and shape; or published weights.

    What a loss copied of the model (a moving average) is copied anew, where the run has none.

    Args:
        model: changed in place.
        run: folder of the run, of another method too, when its towers are the same; or `open_clip:NAME`, weights of
            open_clip on the hub, or in a folder; or `lavis:FILE`, weights of SPRC's code.

    Returns:
        Names of the model's tensors that stay fresh.

    Raises:
        UserError: no run there, a damaged file, or not one tensor that fits.
    """
    if str(run).startswith("open_clip:"):
        from panoglot.networks._published import begin_with_open_clip

        return _copied(model, begin_with_open_clip(model, str(run).partition(":")[2]))
    if str(run).startswith("lavis:"):
        from panoglot.networks._published_sprc import begin_with_lavis

        return _copied(model, begin_with_lavis(model, str(run).partition(":")[2]))
    learnt = load_run(run)
    assert isinstance(learnt, Model)
    known, own = learnt.state_dict(), model.state_dict()
    taken = {name: known[name] for name, value in own.items() if name in known and known[name].shape == value.shape}
    if not taken:
        raise UserError(f"the run '{run}' has no tensor of a name and shape of '{model.row.method}': give its towers.")
    model.load_state_dict(taken, strict=False)
    return _copied(model, sorted(own.keys() - taken.keys()))


def _copied(model: Model, fresh: list[str]) -> list[str]:
    """Let losses whose copy of the model is fresh copy it again; returns what is fresh then."""
    again = {name for name in model.active if any(key.startswith(f"parts.{name}.teacher.") for key in fresh)}
    for name in again:
        model.parts[name].start(model)
    copies = tuple(f"parts.{name}.teacher." for name in again)
    return [key for key in fresh if not copies or not key.startswith(copies)]
