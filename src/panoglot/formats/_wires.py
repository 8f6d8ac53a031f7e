"""TCP and TLS by asyncio itself for the HTTP library's connections: its own way, through anyio, costs twice as much."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore2

__all__ = ["Wire", "connect"]

_AHEAD = 2**18  # bytes that are read before somebody asks for them


class Wire(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """A connection to one address."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._ended = False
        self._lost: Exception | None = None
        self._paused = False
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    # -- what the loop says ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._data += data
        if len(self._data) > _AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._ended, self._lost = True, exc
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        """What is written waits already."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """There is room again."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    # -- what the library asks -------------------------------------------------------------------------------------

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Bytes that came, at most so many; none at the end.

        Raises:
            httpcore2.ReadError, httpcore2.ReadTimeout: the connection broke; nothing came in time.
        """
        if not self._data and not self._ended:
            self._readable = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._readable
            except TimeoutError:
                raise httpcore2.ReadTimeout(f"nothing in {timeout:g} s") from None
            finally:
                self._readable = None
        if not self._data and self._lost is not None:
            raise httpcore2.ReadError(str(self._lost) or type(self._lost).__name__)
        if len(self._data) <= max_bytes:
            found, self._data = bytes(self._data), bytearray()
        else:
            found = bytes(self._data[:max_bytes])
            del self._data[:max_bytes]
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return found

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes.

        Raises:
            httpcore2.WriteError, httpcore2.WriteTimeout: the connection broke; it took them not in time.
        """
        if not buffer:
            return
        if self._transport is None or self._ended:
            raise httpcore2.WriteError("the connection is closed")
        self._transport.write(buffer)
        if self._writable is not None:
            try:
                async with asyncio.timeout(timeout):
                    await asyncio.shield(self._writable)
            except TimeoutError:
                raise httpcore2.WriteTimeout(f"not sent in {timeout:g} s") from None
        if self._lost is not None:
            raise httpcore2.WriteError(str(self._lost) or type(self._lost).__name__)

    async def aclose(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Wire:
        """Speak TLS from here on.

        Raises:
            httpcore2.ConnectError, httpcore2.ConnectTimeout: no certificate that is trusted, no answer.
        """
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                inner = await loop.start_tls(self._transport, self, ssl_context, server_hostname=server_hostname)
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"no TLS in {timeout:g} s") from None
        except OSError as error:  # ssl.SSLError is one
            await self.aclose()
            raise httpcore2.ConnectError(str(error) or type(error).__name__) from None
        if inner is None:
            raise httpcore2.ConnectError("the server closed the connection")
        self._transport = inner
        return self

    def get_extra_info(self, info: str) -> Any:
        """What the library wants to know of the connection."""
        if info == "is_readable":  # of one that waits for its next request: the server closed it, or says too much
            return self._ended or bool(self._data)
        names = {"ssl_object": "ssl_object", "client_addr": "sockname", "server_addr": "peername", "socket": "socket"}
        return self._transport.get_extra_info(names[info]) if self._transport is not None and info in names else None


async def connect(
    address: str, port: int, timeout: float | None = None, local: str | None = None, options: Iterable[Any] = ()
) -> Wire:
    """Connect to one address.

    Args:
        address: an IP address: nothing is looked up here.
        port: of it.
        timeout: seconds.
        local: the address to ask from.
        options: of the socket, as `setsockopt` takes them.

    Raises:
        httpcore2.ConnectError, httpcore2.ConnectTimeout: it does not answer.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            where = (local, 0) if local is not None else None
            _, wire = await loop.create_connection(Wire, address, port, local_addr=where)
    except TimeoutError:
        raise httpcore2.ConnectTimeout(f"no answer in {timeout} s") from None
    except OSError as error:
        raise httpcore2.ConnectError(str(error) or type(error).__name__) from None
    for option in options:
        wire.get_extra_info("socket").setsockopt(*option)
    return wire
