"""A text, a picture, or both, to one unit vector; which vectors of a dataset to search, and who made them."""

from __future__ import annotations

import inspect
import os
import re
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.table import Dataset, sql_in

if TYPE_CHECKING:
    import numpy as np

__all__ = ["choose", "query_vector"]


def choose(dataset: Dataset, encoder: Any) -> tuple[str, Any]:
    """Name the vectors to search, and who can encode the query: a model, or the name of one that is loaded when needed.

    Raises:
        UserError: none, several to choose from, or none by that name.
    """
    names = dataset.vector_names()
    if not names:
        raise UserError(
            f"{dataset.path} has no vectors to search. Make them: panoglot build PICTURES -o {dataset.path}"
        )
    made = {name: _made_by(dataset, name) for name in names}
    model = None
    if encoder is None:
        # a frozen text tower's vectors are of captions only: nobody searches pictures with them
        fit = [n for n in names if dataset.vectors(n).count("of = 'image'")] if len(names) > 1 else names
        fit = fit or names
    elif isinstance(encoder, str):
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
        raise UserError(f"{dataset.path} has no vectors of encoder '{encoder}'.{did_you_mean(encoder, known)}")
    if len(fit) > 1:
        models = [made[name].get("model") or name for name in fit]
        shown = models if len(set(models)) == len(models) else fit
        raise UserError(f"{dataset.path} has vectors of several encoders: say which, encoder={' or '.join(shown)}.")
    return fit[0], model if model is not None else made[fit[0]].get("model")


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
    dataset: Dataset, name: str, model: Any, text: str | None, image: Any, weight: float, lang: str | None
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
    stored = _stored(dataset, name, image)
    picture = None
    if image is not None and stored is None:
        picture = _picture(dataset, image)
    if (text is not None or picture is not None) and (model is None or isinstance(model, str)):
        model = _load(dataset, name, model)
    parts = []
    if text is not None:
        parts.append((weight, _unit(_ask(model.encode_texts, [text], [lang or "und"]), f"the text '{text}'")))
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
        raise UserError(
            f"'{model}' has changed since it made the vectors '{name}': make them anew, "
            f"panoglot build … -o {dataset.path} --encoder {model}"
        )
    return loaded


def _ask(method: Any, *batch: Any) -> np.ndarray:
    import asyncio

    import numpy as np

    answer = method(*batch)
    return np.asarray(asyncio.run(answer) if inspect.iscoroutine(answer) else answer, np.float32)


def _unit(vectors: np.ndarray, what: str) -> np.ndarray:
    import numpy as np

    vector = np.asarray(vectors, np.float32)
    vector = vector.reshape(-1, vector.shape[-1]).mean(axis=0)  # several vectors a text: their mean
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or not length:
        raise UserError(f"the encoder has no vector for {what}.")
    return vector / length


def _stored(dataset: Dataset, name: str, image: Any) -> np.ndarray | None:
    """The stored vector of an image that is named by its id."""
    import numpy as np

    if not isinstance(image, str) or not re.fullmatch(r"[0-9a-f]{32}", image) or os.path.exists(image):
        return None
    rows = dataset.vectors(name).read(["vector"], sql_in("id", [image]) + " and of = 'image'")
    if not rows.num_rows:
        raise UserError(f"{dataset.path} has no image {image} with a vector '{name}'.")
    return np.array(rows["vector"].to_pylist(), np.float32)


def _picture(dataset: Dataset, image: Any) -> Image:
    if isinstance(image, Image):
        return image
    try:
        if isinstance(image, bytes):
            return Image(image)
        return Image.from_path(os.fspath(image))
    except RowError as error:
        raise UserError(f"the image {image if not isinstance(image, bytes) else ''} cannot be read: {error}") from None
    except OSError as error:
        raise UserError(f"the image '{image}' cannot be read: {error.strerror or error}") from None
