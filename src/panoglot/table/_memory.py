"""Memory that batches of pictures needed and that is free again: handed back, not kept by the allocator."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["few_arenas", "give_back_memory", "no_collection"]


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Let the collector of cycles rest while many rows are made: they have none, and it would look at all every time.

    >>> with no_collection():
    ...     gc.isenabled()
    False
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def give_back_memory() -> None:
    """Hand free memory back to the system."""
    import ctypes

    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def few_arenas() -> None:
    """Let the threads of this process share two heaps instead of keeping eight a core; for our own processes only.

    Freed memory stays in them up to 64 MB, the most that the allocator would come to by itself: buffers of pictures
    that are mapped, filled with zeros and unmapped again for every few rows cost as much as reading the rows.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # glibc only
        set_option = ctypes.CDLL(None).mallopt
        set_option(-8, 2)  # M_ARENA_MAX
        set_option(-3, 32 * 2**20)  # M_MMAP_THRESHOLD
        set_option(-1, 64 * 2**20)  # M_TRIM_THRESHOLD
