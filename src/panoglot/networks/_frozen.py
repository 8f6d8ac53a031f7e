"""Frozen towers: encoders that are not trained, and whose vectors are."""

from __future__ import annotations

from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.providers import finish, load_model

__all__ = ["load_tower"]


def load_tower(side: str, name: str, fingerprint: str | None = None) -> Any:
    """Load an encoder that is a frozen tower, and see that it does what it must.

    Raises:
        UserError: it cannot be loaded, has no such side, gives several vectors, or is not the one that was trained on.
    """

    import PIL.Image

    from panoglot.pictures import Image

    model = load_model(name, "encoder")
    if fingerprint and model.fingerprint != fingerprint:
        raise UserError(f"'{name}' has changed since it was trained on: its weights or settings are not the same.")
    if side == "image":
        found = finish(model.encode_images([Image.from_pil(PIL.Image.new("RGB", (32, 32), "white"))]))
    else:
        found = finish(model.encode_texts(["a red bird"], ["en"]))
    if isinstance(found[0], RowError) or getattr(found, "shape", (1, model.dim)) != (1, model.dim):
        raise UserError(f"'{name}' gives no single vector of {model.dim} numbers for {side}s; take another encoder.")
    return model
