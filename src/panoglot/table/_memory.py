"""Memory that batches of pictures needed and that is free again: handed back, not kept by the allocator."""

from __future__ import annotations

import contextlib

__all__ = ["few_arenas", "give_back_memory"]


def give_back_memory() -> None:
    """Hand free memory back to the system."""
    import ctypes

    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def few_arenas() -> None:
    """Let the threads of this process share two heaps instead of keeping eight a core; for our own processes only."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX
