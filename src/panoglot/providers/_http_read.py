"""What a server's answer says before it is read as JSON: how long to wait, and its bytes, unpacked within bounds."""

from __future__ import annotations

import email.utils
import re
import time
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from panoglot.errors import RowError
from panoglot.table._visible import plain

if TYPE_CHECKING:
    import httpx2

__all__ = ["read_body", "wait_from_headers"]


def wait_from_headers(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait: `Retry-After` (seconds or a date), `x-ratelimit-reset-*`.

    >>> wait_from_headers({"retry-after": "2"}), wait_from_headers({"x-ratelimit-reset-tokens": "1m30s"})
    (2.0, 90.0)
    """
    if (value := headers.get("retry-after-ms", "")) and value.isdigit():
        return int(value) / 1000
    if value := headers.get("retry-after", "").strip():
        try:
            return max(0.0, float(value)) if float(value) < 1e9 else None
        except ValueError:
            try:
                return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
            except (TypeError, ValueError, OverflowError):
                return None
    waits = []
    for what in ("requests", "tokens"):
        # only what is used up counts: the other one's reset is no reason to wait
        if headers.get(f"x-ratelimit-remaining-{what}", "0").strip() not in ("0", ""):
            continue
        parts = re.findall(r"([\d.]+)(ms|s|m|h|d)", headers.get(f"x-ratelimit-reset-{what}", ""))
        unit = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
        if parts:
            waits.append(sum(float(n) * unit[u] for n, u in parts))
    return max(waits) if waits else None


async def read_body(response: httpx2.Response, most: int) -> bytes:
    """Read an answer of at most `most` bytes, unpacked; a bomb is not unpacked further than that.

    Raises:
        RowError: `answer_too_large`, `unknown_encoding`. zlib.error: it cannot be unpacked.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower() or "identity"
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise RowError("unknown_encoding", f"compressed as '{plain(encoding)[:40]}', which was not asked for")
    unpack = None if encoding == "identity" else zlib.decompressobj(47 if "gzip" in encoding else 15)
    raw = bytearray()
    async for chunk in response.aiter_raw(1 << 16):
        raw += chunk if unpack is None else unpack.decompress(chunk, most + 1 - len(raw))
        if len(raw) > most:
            raise RowError("answer_too_large", f"more than {most:,} bytes")
    return bytes(raw)
