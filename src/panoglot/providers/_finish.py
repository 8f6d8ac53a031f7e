"""Calling a model's method from code that is not a coroutine."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["finish"]


def finish(result: Any) -> Any:
    """Return what a model's method answered, waiting for it when the model is a server's (`async def`).

    Works inside a running event loop too (notebooks): the waiting is done on another thread.

    >>> async def encode(): return [1.0]
    >>> finish([1.0]) == finish(encode())
    True
    """
    if not inspect.isawaitable(result):
        return result

    async def wait() -> Any:
        return await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, wait()).result()
