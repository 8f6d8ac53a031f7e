"""The picture that a part of a query names."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.pictures import Image

__all__ = ["NAMED", "open_picture", "picture_of"]

#: How names are looked up while a planner works: the pictures of the dataset that is searched.
NAMED: ContextVar[Callable[[Any], Image] | None] = ContextVar("named", default=None)


def picture_of(value: Any) -> Image:
    """The picture of a part: itself, of the dataset that is searched, or of a file.

    Raises:
        RowError: it cannot be read.
    """
    if isinstance(value, Image):
        return value
    look = NAMED.get()
    if look is not None:
        return look(value)
    return open_picture(value)


def open_picture(value: Any) -> Image:
    """The picture of a file, or of an object of Pillow, an array, bytes.

    Raises:
        UserError: it cannot be read.
    """
    from panoglot.formats import as_image

    try:
        return as_image(value)
    except RowError as error:
        what = f"'{value}'" if isinstance(value, str | os.PathLike) else "that was given"
        raise UserError(f"the image {what} cannot be read: {error}.") from None
    except OSError as error:
        raise UserError(f"the image '{value}' cannot be read: {error.strerror or error}") from None
