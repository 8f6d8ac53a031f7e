"""Which vectors of a dataset to search, and who made them; what of the dataset a word of a query names."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, command, did_you_mean
from panoglot.providers import load_model
from panoglot.table import Dataset, find_image, sql_in

if TYPE_CHECKING:
    import numpy as np

__all__ = ["choose", "loaded_encoder", "named_image", "no_vectors_of_captions", "stored_vector"]


def choose(dataset: Dataset, encoder: Any) -> tuple[str, Any]:
    """Name the vectors to search, and who can encode the query: a model, or the name of one that is loaded when needed.

    Raises:
        UserError: none, several of that name, or none by that name.
    """
    names = dataset.vector_names()
    if not names:
        make = command("build", "PICTURES", "-o", dataset.address)
        raise UserError(f"{dataset.address} has no vectors to search. Make them: {make}")
    made = {name: _made_by(dataset, name) for name in names}
    if encoder is None:
        name = dataset.searched_vectors() or names[0]
        return name, made[name].get("model")
    model = None
    if isinstance(encoder, str):
        fit = [name for name in names if encoder in (name, made[name].get("model"))]
        if len(fit) != 1 and (found := _load_named(encoder)) is not None:  # another way to write a model's name
            model = found
            fit = [name for name in names if made[name].get("fingerprint") == found.fingerprint]
    else:
        model = encoder
        fit = [n for n in names if made[n].get("fingerprint") == encoder.fingerprint]
        fit = fit or [
            n for n in names if not made[n] and dataset.vectors(n).schema.field("vector").type.list_size == encoder.dim
        ]
        encoder = encoder.name
    if not fit:
        known = {value for name in names for value in (name, made[name].get("model")) if value}
        raise UserError(f"{dataset.address} has no vectors of encoder '{encoder}'.{did_you_mean(encoder, known)}")
    if len(fit) > 1:
        models = [made[name].get("model") or name for name in fit]
        shown = models if len(set(models)) == len(models) else fit
        raise UserError(
            f"{dataset.address} has several vectors of '{encoder}': say which, encoder={' or '.join(shown)}."
        )
    return fit[0], model if model is not None else made[fit[0]].get("model")


def no_vectors_of_captions(dataset: Dataset, name: str) -> str:
    """Say that captions were not encoded, and the command that does it."""
    model = _made_by(dataset, name).get("model") or "NAME"
    where, model_ = json.dumps(dataset.store.absolute, ensure_ascii=False), json.dumps(model)
    recipe = f"{{output: {where}, steps: [encode: {{encoder: {model_}, of: captions}}]}}"
    line = f"echo {shlex.quote(recipe)} > encode.yaml && {command('build', 'encode.yaml')}"
    return f"{dataset.address} has no vectors of captions by {model}; search over images, or make them: {line}"


def _load_named(encoder: str) -> Any:
    """The model that a name loads, None where it loads none."""
    try:
        return load_model(encoder, "encoder")
    except UserError:
        return None


def _made_by(dataset: Dataset, name: str) -> dict[str, Any]:
    try:
        return dataset.vector_model(name)
    except OSError:  # vectors that somebody put there by hand
        return {}


def loaded_encoder(dataset: Dataset, name: str, model: str | None) -> Any:
    """Load the encoder that made some vectors.

    Raises:
        UserError: nobody knows which it was, or it answers otherwise now.
    """
    if model is None:
        raise UserError(f"nobody knows which model made the vectors '{name}': give it, encoder=load_model(…).")
    loaded = load_model(model, "encoder")
    if loaded.fingerprint != dataset.vector_model(name)["fingerprint"]:
        again = command("build", "PICTURES", "-o", dataset.address, "--encoder", model)
        raise UserError(f"'{model}' has changed since it made the vectors '{name}': make them anew, {again}")
    return loaded


def named_image(dataset: Dataset, image: Any, *, files: bool = True) -> str | None:
    """The id of the image of the dataset that a word names; None for a picture from elsewhere, a file first of all.

    Args:
        dataset: the dataset.
        image: what was given.
        files: a path may be meant.

    Raises:
        UserError: a word that names none.
    """
    if not isinstance(image, str) or (files and os.path.exists(image)):
        return None
    try:
        return find_image(dataset, image)
    except UserError as error:
        if re.fullmatch(r"[0-9a-f]+", image) or "fits several" in str(error):
            raise
        near = str(error).partition("Did you mean")
        hint = f" Did you mean{near[2]}" if near[1] else ""
        raise UserError(
            f"the image '{image}' is no file, and {dataset.address} has none of that id, name or uri.{hint}"
        ) from None


def stored_vector(dataset: Dataset, name: str, image_id: str | None) -> np.ndarray | None:
    """The stored vectors of an image, float32 `[views, dim]`, or None."""
    import numpy as np

    if image_id is None:
        return None
    rows = dataset.vectors(name).read(["vector"], sql_in("id", [image_id]) + " and of = 'image'")
    return np.array(rows["vector"].to_pylist(), np.float32) if rows.num_rows else None
