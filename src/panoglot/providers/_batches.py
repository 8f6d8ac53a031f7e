"""What every local model needs: safe decoding of pictures, halving of batches that fail, unit rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from panoglot.errors import PanoglotError, RowError
from panoglot.vectors import unit_rows

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

    from panoglot.pictures import Image

__all__ = ["chunks", "decode", "encode_rows", "halving", "is_out_of_memory"]

logger = logging.getLogger("panoglot.providers")

T = TypeVar("T")
Answered = TypeVar("Answered")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the device or the machine has no memory left."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut `items` into pieces of at most `size`.

    >>> chunks([1, 2, 3], 2)
    [[1, 2], [3]]
    """
    return [items[n : n + size] for n in range(0, len(items), size)]


def halving(
    items: Sequence[T],
    call: Callable[[Sequence[T]], Sequence[Answered | RowError]],
    on_out_of_memory: Callable[[int], None] | None = None,
) -> list[Answered | RowError]:
    """Call a batch; when it raises, halve it until the item that is to blame stands alone with a `RowError`.

    Args:
        items: the batch.
        call: answers a batch in its order.
        on_out_of_memory: told the size of a batch that did not fit.

    Raises:
        PanoglotError: mistakes of the user (a `RowError` is kept as the answer of its item).

    >>> halving([1, 0, 2], lambda batch: [2 // n for n in batch])
    [2, RowError('model_failed: ZeroDivisionError: integer division or modulo by zero'), 1]
    """
    if not items:
        return []
    try:
        return list(call(items))
    except RowError as error:
        failure = error
    except PanoglotError:
        raise
    except Exception as error:
        memory = is_out_of_memory(error)
        message = f"{type(error).__name__}: {error}"
        logger.warning("batch of %d failed%s: %s", len(items), ", halving it" if len(items) > 1 else "", message)
        failure = RowError("out_of_memory" if memory else "model_failed", message[:1000])
        if memory and on_out_of_memory is not None:
            on_out_of_memory(len(items))
    if len(items) == 1:  # outside of the handler: the traceback that holds the batch's tensors is gone
        return [failure]
    middle = len(items) // 2
    return halving(items[:middle], call, on_out_of_memory) + halving(items[middle:], call, on_out_of_memory)


def decode(
    images: Sequence[Image], min_side: int | None = None, max_pixels: int | None = None
) -> list[PIL.Image.Image | RowError]:
    """Decode pictures to RGB; a broken one is a `RowError` in its place.

    Args:
        images: the pictures.
        min_side: see `Image.pil`.
        max_pixels: shrink larger ones (aspect kept) to at most that many pixels.
    """
    import PIL.Image

    decoded: list[PIL.Image.Image | RowError] = []
    for image in images:
        try:
            picture = image.pil(min_side)
        except RowError as error:
            decoded.append(error)
            continue
        if max_pixels and picture.width * picture.height > max_pixels:
            scale = (max_pixels / (picture.width * picture.height)) ** 0.5
            size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
            picture = picture.resize(size, PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
        decoded.append(picture)
    return decoded


def encode_rows(
    items: Sequence[Any],
    call: Callable[[Sequence[Any]], Any],
    dim: int | tuple[int, ...],
    batch_size: int,
    on_out_of_memory: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Encode in batches; what is a `RowError` already, or cannot be encoded, is a row of NaN.

    Args:
        items: what `call` takes, or a `RowError` in the place of an item.
        call: a batch to `[n, dim]`.
        dim: length of a vector; of several vectors an item their shape.
        batch_size: most items a call.
        on_out_of_memory: see `halving`.

    Returns:
        float32 unit rows `[N, dim]`.
    """
    import numpy as np

    rows = np.full((len(items), *((dim,) if isinstance(dim, int) else dim)), np.nan, dtype=np.float32)
    good = [n for n, item in enumerate(items) if not isinstance(item, RowError)]
    for part in chunks(good, batch_size):
        for n, row in zip(part, halving([items[n] for n in part], call, on_out_of_memory), strict=True):
            if not isinstance(row, RowError):
                rows[n] = unit_rows(row)
    return rows
