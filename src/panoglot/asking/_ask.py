"""Ask local or remote models from metrics: batches for `def`, bounded concurrency for `async def`.

A picture that cannot be read costs the questions about it: `open_picture` gives its error, `call` answers with it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.vectors import unit_rows

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Answer, Encoder, Generator, Prompt

__all__ = ["ask", "call", "encode_images", "encode_texts", "open_picture", "unit"]


def open_picture(path: str | os.PathLike[str]) -> Any:
    """The picture of a file, or the `RowError` that says why it cannot be read.

    Raises:
        UserError: no such file.
    """
    from panoglot.pictures import Image

    try:
        return Image.from_path(os.fspath(path))
    except RowError as error:
        return error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"the picture {os.fspath(path)} cannot be read ({reason}).") from None


def _broken(item: Any) -> RowError | None:
    """The error of an unreadable picture, or of the first in a prompt."""
    return next((one for one in (item, *getattr(item, "images", ())) if isinstance(one, RowError)), None)


def call(model: Any, method: str, *columns: Sequence[Any], concurrency: int = 8) -> list[Any]:
    """Call a batch method of a model on columns of equal length; answers in order.

    `async def` methods are called with one item at a time, `concurrency` at once. A row with an unreadable picture is
    not asked; its error is the answer.

    Raises:
        UserError: called inside a running event loop with an `async` model; another number of answers than questions.
    """
    errors = [_broken(item) for item in columns[0]]
    if any(error is not None for error in errors):
        whole = [n for n, error in enumerate(errors) if error is None]
        answers = iter(
            call(model, method, *([column[n] for n in whole] for column in columns), concurrency=concurrency)
        )
        return [next(answers) if error is None else error for error in errors]
    function, count = getattr(model, method), len(columns[0])
    if not count:
        return []
    if not inspect.iscoroutinefunction(function):
        size = max(int(getattr(model, "batch_size", 32) or 32), 1)
        found: list[Any] = []
        for start in range(0, count, size):
            found += list(function(*(list(column[start : start + size]) for column in columns)))
        if len(found) != count:
            name = getattr(model, "name", type(model).__name__)
            raise UserError(f"{name} gave {len(found)} answers to {count} rows of {method}: it must give one for each.")
        return found

    async def every() -> list[Any]:
        gate = asyncio.Semaphore(concurrency)

        async def one(n: int) -> Any:
            async with gate:
                return (await function(*([column[n]] for column in columns)))[0]

        return list(await asyncio.gather(*(one(n) for n in range(count))))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(every())
    raise UserError(
        "metrics that ask a remote model cannot run inside an event loop: call them with asyncio.to_thread."
    )


def ask(generator: Generator, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
    """Answer prompts in order.

    Raises:
        UserError: the model answers with something else.
    """
    answers = call(generator, "generate", prompts)
    odd = next((one for one in answers if not isinstance(one, RowError) and not hasattr(one, "text")), answers)
    if odd is not answers:
        name = getattr(generator, "name", type(generator).__name__)
        raise UserError(f"{name} answered with {type(odd).__name__}; a generator gives an Answer or a RowError.")
    return answers


def encode_texts(encoder: Encoder, texts: Sequence[str], lang: str) -> np.ndarray:
    """Unit vectors `[N, dim]` of texts; every distinct text is encoded once. A failed row is NaN."""
    return _encode(encoder, "encode_texts", texts, lang)


def encode_images(encoder: Encoder, images: Sequence[Image]) -> np.ndarray:
    """Unit vectors `[N, dim]` of images. A failed row is NaN."""
    return _encode(encoder, "encode_images", images, None)


def _encode(encoder: Encoder, method: str, items: Sequence[Any], lang: str | None) -> np.ndarray:
    import numpy as np

    distinct = list(dict.fromkeys(items)) if lang is not None else list(items)
    columns = (distinct,) if lang is None else (distinct, [lang] * len(distinct))
    rows = call(encoder, method, *columns)
    if any(isinstance(row, RowError) for row in rows):
        wide = next((len(row) for row in rows if not isinstance(row, RowError)), 1)
        rows = [np.full(wide, np.nan) if isinstance(row, RowError) else row for row in rows]
    vectors = np.asarray(rows, dtype=np.float64).reshape(len(distinct), -1)
    if lang is not None and len(distinct) < len(items):
        place = {text: n for n, text in enumerate(distinct)}
        vectors = vectors[[place[text] for text in items]]
    return unit(vectors)


def unit(vectors: Any) -> np.ndarray:
    """Rows scaled to length 1; a zero row becomes NaN (it has no direction).

    Raises:
        UserError: not a matrix.
    """
    import numpy as np

    found = np.asarray(vectors, dtype=np.float64)
    if found.ndim != 2:
        raise UserError(f"vectors must be a matrix [N, dim], not of shape {list(found.shape)}.")
    return unit_rows(found, dtype=np.float64)
