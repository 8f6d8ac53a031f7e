"""A text, a picture, or both, to one unit vector; which vectors of a dataset to search, and who made them."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError, command, did_you_mean
from panoglot.formats import as_image
from panoglot.pictures import Image
from panoglot.providers import finish, load_model
from panoglot.retrieval._filter import Tags
from panoglot.table import Dataset, find_image, sql_in

if TYPE_CHECKING:
    import numpy as np

__all__ = ["choose", "no_vectors_of_captions", "query_vector"]


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


def query_vector(
    dataset: Dataset, name: str, model: Any, text: str | None, image: Any, weight: float, lang: Tags
) -> tuple[np.ndarray, Any]:
    """Return the unit vector of a query, float32 `[dim]`, and the model if it had to be loaded.

    Raises:
        UserError: nothing asked, a picture that cannot be read, a weight outside 0..1, an encoder without that side.
    """
    import numpy as np

    if text is not None and not text.strip():
        raise UserError("the text to search for is empty.")
    if text is None and image is None:
        raise UserError('say what to search for: a text, an image, or both: panoglot search X.pano "a red bird".')
    if not 0 <= weight <= 1:
        raise UserError(f"weight={weight} must be between 0 (only the image) and 1 (only the text).")
    own = _named(dataset, image)
    stored = _stored(dataset, name, own)
    picture = None
    if image is not None and stored is None:
        picture = _picture(dataset, image, own)
    if (text is not None or picture is not None) and (model is None or isinstance(model, str)):
        model = _load(dataset, name, model)
    parts = []
    if text is not None:
        tag = lang[0] if len(lang) == 1 else "und"
        parts.append((weight, _unit(_ask(model.encode_texts, [text], [tag]), f"the text '{text}'")))
    if image is not None:
        vector = stored if stored is not None else _ask(model.encode_images, [picture])
        parts.append((1 - weight, _unit(vector, "the image")))
    if len(parts) == 1:
        return parts[0][1], model
    mixed = np.sum([share * vector for share, vector in parts], axis=0)
    if not np.linalg.norm(mixed):
        raise UserError("text and image point in opposite directions: give another weight.")
    return _unit(mixed, "the query"), model


def _load(dataset: Dataset, name: str, model: str | None) -> Any:
    if model is None:
        raise UserError(f"nobody knows which model made the vectors '{name}': give it, encoder=load_model(…).")
    loaded = load_model(model, "encoder")
    if loaded.fingerprint != dataset.vector_model(name)["fingerprint"]:
        again = command("build", "PICTURES", "-o", dataset.address, "--encoder", model)
        raise UserError(f"'{model}' has changed since it made the vectors '{name}': make them anew, {again}")
    return loaded


def _ask(method: Any, *batch: Any) -> np.ndarray:
    import numpy as np

    try:
        return np.asarray(finish(method(*batch)), np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"the encoder did not answer with vectors, all of one size: {error}") from None


def _unit(vectors: np.ndarray, what: str) -> np.ndarray:
    import numpy as np

    vector = np.asarray(vectors, np.float32)
    vector = vector.reshape(-1, vector.shape[-1]).mean(axis=0)  # several vectors a text: their mean
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or not length:
        raise UserError(f"the encoder has no vector for {what}.")
    found: np.ndarray = vector / length
    return found


def _named(dataset: Dataset, image: Any) -> str | None:
    """The id of the image of the dataset that a word names; None for a picture from elsewhere, a file first of all."""
    if not isinstance(image, str) or os.path.exists(image):
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


def _stored(dataset: Dataset, name: str, image_id: str | None) -> np.ndarray | None:
    """The stored vector of an image."""
    import numpy as np

    if image_id is None:
        return None
    rows = dataset.vectors(name).read(["vector"], sql_in("id", [image_id]) + " and of = 'image'")
    return np.array(rows["vector"].to_pylist(), np.float32) if rows.num_rows else None


def _picture(dataset: Dataset, image: Any, image_id: str | None) -> Image:
    if image_id is not None:  # of this dataset, but without a vector of this encoder
        return Image(dataset.images.get([image_id], ["data"])["data"][0].as_py())
    try:
        return as_image(image)
    except RowError as error:
        what = f"'{image}'" if isinstance(image, str | os.PathLike) else "that was given"
        raise UserError(f"the image {what} cannot be read: {error}.") from None
    except OSError as error:
        raise UserError(f"the image '{image}' cannot be read: {error.strerror or error}") from None
