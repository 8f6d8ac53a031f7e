"""Pictures by their addresses: politely, within limits, and never from a private network.

Every address is resolved here and its connection goes to the address that was checked: a name that answers otherwise
the second time (DNS rebinding), and a redirect to a private place, meet the same check. Bodies are asked for unpacked
and refused packed, so nothing grows on the way.
"""

from __future__ import annotations

import asyncio
import ipaddress
import queue
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError
from panoglot.formats._files import reject
from panoglot.formats._opt_out import OptOut
from panoglot.formats._robots import AGENT, Robots, check_headers
from panoglot.formats._sample import Address, Sample, Unused
from panoglot.pictures import may_be_picture
from panoglot.table import Reject, Triple

if TYPE_CHECKING:
    import httpcore2
    import httpx2

__all__ = ["Downloads", "Limits", "is_public"]


@dataclass(frozen=True)
class Limits:
    """What a download may take.

    Attributes:
        bytes: most bytes of a picture.
        seconds: most seconds of one try, redirects and all.
        redirects: most redirects.
        retries: further tries after a failure that may pass: no connection, 429, 5xx, a body that ends too early.
        connections: at once, over all hosts.
        waiting: rows that are read ahead.
    """

    bytes: int = 20 * 2**20
    seconds: float = 30.0
    redirects: int = 5
    retries: int = 2
    connections: int = 64
    waiting: int = 512


#: What is asked with, of a robots.txt and of a picture.
_HEADERS = [
    [
        (b"User-Agent", f"{AGENT}/0.1 (image-text datasets)".encode()),
        (b"Accept", accept + b",*/*;q=0.1"),
        (b"Accept-Encoding", b"identity"),
    ]
    for accept in (b"text/plain", b"image/*")
]
_ROBOTS_BYTES = 512 * 1024
_HELD = 256 * 2**20  # bytes of pictures that wait to be taken
_PASSING = frozenset(("connection_failed", "download_timeout", "truncated_download", "http_429", "http_5xx"))
#: Networks whose last 32 bits are an address of version 4: compatible, mapped, translated, NAT64.
_WRAPPED = [ipaddress.ip_network(one) for one in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")]
_OWN = ipaddress.ip_network("64:ff9b:1::/48")


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the public network, also where one of version 4 is wrapped in it.

    It may be mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`), translated (RFC 2765, 6052), of 6to4 or of ISATAP;
    where Teredo leads nobody can say here, and a prefix of one's own network for NAT64 is none of the public one.

    >>> [is_public(one) for one in ("93.184.216.34", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "::127.0.0.1")]
    [True, False, False, False, False]
    >>> [is_public(one) for one in ("64:ff9b::7f00:1", "2002:7f00:1::", "2a00::5efe:10.0.0.1", "64:ff9b::5db8:d822")]
    [False, False, False, True]
    """
    ip: Any = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 4:
        return bool(ip.is_global and not ip.is_multicast)
    inner = ip.sixtofour
    if inner is None and (any(ip in one for one in _WRAPPED) or (int(ip) >> 32) & 0xFCFFFFFF == 0x5EFE):
        inner = ipaddress.ip_address(int(ip) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(str(inner))
    return bool(ip.is_global and not (ip.is_multicast or ip.is_site_local or ip.teredo or ip in _OWN))


class Downloads:
    """Fetches the pictures of samples that have an address; one for all parts that a worker reads.

    Attributes:
        taken: pictures that came, by where from: `downloaded`, or `kept` where an earlier run had fetched them.
        bytes: bytes that came.
        seconds: seconds in which something was asked for.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        have: Callable[[Sample], bytes | None] | None = None,
        opt_out: OptOut | None = None,
    ) -> None:
        self.limits, self._have = limits or Limits(), have or (lambda sample: None)
        self._opt_out = opt_out or OptOut()
        self.taken: Counter[str] = Counter()
        self.bytes, self.seconds = 0, 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._todo: deque[tuple[Sample, Address]] = deque()
        self._told = False  # the loop will look there
        self._done: queue.SimpleQueue[list[tuple[Sample, bytes | RowError]]] = queue.SimpleQueue()
        self._came: list[tuple[Sample, bytes | RowError]] = []  # that the loop gives away at its next turn
        self._here: deque[tuple[Sample, bytes | RowError]] = deque()  # that were given and not taken yet
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, found: Iterable[Sample | Reject | Unused | Triple]) -> Iterator[Sample | Reject | Unused | Triple]:
        """The finds of a part, with the pictures of their addresses, as they come; one that does not is a reject."""
        waiting, started = 0, time.monotonic()
        for one in found:
            if not isinstance(one, Sample) or one.address is None:
                yield one
                continue
            known = self._have(one)
            if known is not None:
                self.taken["kept"] += 1
                one.data, one.address = known, None
                yield one
                continue
            if not waiting:
                started = time.monotonic()
            self._submit(one, one.address)
            waiting += 1
            while waiting and (waiting >= self.limits.waiting or self._here or not self._done.empty()):
                yield self._take()
                waiting -= 1
            if not waiting:
                self.seconds += time.monotonic() - started
        while waiting:
            yield self._take()
            waiting -= 1
            if not waiting:
                self.seconds += time.monotonic() - started

    def counts(self) -> Counter[str]:
        """What was fetched so far, for the notes of a stage: pictures, bytes, milliseconds, refusals by reason."""
        facts = {"download_bytes": self.bytes, "download_milliseconds": round(1000 * self.seconds)}
        return Counter({f"download_{name}": count for name, count in self.taken.items()} | facts)

    def close(self) -> None:
        """End the thread that fetches."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None

    def _submit(self, sample: Sample, address: Address) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._fetcher = _Fetcher(self.limits, self._opt_out)
            threading.Thread(target=self._loop.run_forever, name="panoglot-download", daemon=True).start()

        self._todo.append((sample, address))
        if not self._told:  # else the loop takes all at its next turn: waking it costs as much as a request
            self._told = True
            self._loop.call_soon_threadsafe(self._start, self._loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._told = False  # before it looks: what is added from now on tells it again
        while self._todo:
            task = loop.create_task(self._go(loop, *self._todo.popleft()))
            self._tasks.add(task)  # a loop holds its tasks weakly
            task.add_done_callback(self._tasks.discard)

    async def _go(self, loop: asyncio.AbstractEventLoop, sample: Sample, address: Address) -> None:
        try:
            result: bytes | RowError = await self._fetcher.fetch(address)
        except RowError as error:
            result = error
        except Exception as error:  # a row's fault, whatever it is
            result = RowError("connection_failed", f"{type(error).__name__}: {error}")
        if not self._came:
            loop.call_soon(self._give)
        self._came.append((sample, result))

    def _give(self) -> None:
        came, self._came = self._came, []
        self._done.put(came)

    def _take(self) -> Sample | Reject:
        while not self._here:
            with suppress(queue.Empty):  # in pieces: an interrupt is seen
                self._here.extend(self._done.get(timeout=0.5))
        sample, result = self._here.popleft()
        url = sample.address.url if sample.address else ""
        if isinstance(result, RowError):
            self.taken[result.reason] += 1
            return reject(sample.uri, result.reason, f"{url[:200]}: {result.message}")
        self._fetcher.held -= len(result)
        self.taken["downloaded"] += 1
        self.bytes += len(result)
        sample.data, sample.address = result, None
        return sample


@dataclass
class _Fetcher:
    """The part that runs on the loop: pools, slots of hosts, robots."""

    limits: Limits
    opt_out: OptOut
    held: int = 0
    _connections: dict[bool, _Connections] = field(default_factory=dict)
    _robots: dict[bool, Robots] = field(default_factory=dict)
    _hosts: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    _all: asyncio.Semaphore | None = None

    async def fetch(self, address: Address) -> bytes:
        """The bytes of a picture; what fails and may pass is tried again.

        Raises:
            RowError: why not.
        """
        import httpx2

        try:
            url = httpx2.URL(address.url.strip())
        except (httpx2.InvalidURL, ValueError, TypeError):
            raise RowError("unsupported_address", "it is no address") from None
        if self._all is None:
            self._all = asyncio.Semaphore(self.limits.connections)
        if len(self._hosts) > 100_000:
            self._hosts = {name: slots for name, slots in self._hosts.items() if slots.locked()}
        slots = self._hosts.setdefault(url.host, asyncio.Semaphore(max(1, address.per_host)))
        for attempt in range(self.limits.retries + 1):
            try:
                async with slots:
                    return await self._try(url, address.allow_private)
            except RowError as error:
                if error.reason not in _PASSING or attempt == self.limits.retries:
                    raise
                wait = getattr(error, "after", None)
            await asyncio.sleep(min(wait if wait is not None else 0.25 * 4**attempt, 20.0))
        raise AssertionError("unreachable")

    async def _try(self, url: httpx2.URL, private: bool) -> bytes:
        try:
            robots = self._robots.get(private)
            if robots is None:
                robots = self._robots[private] = Robots(lambda page: self._page(page, private))
            for _ in range(self.limits.redirects + 1):
                if url.scheme not in ("http", "https") or not url.host:
                    raise RowError("unsupported_address", f"{url.scheme or 'nothing'}:// is not fetched")
                self.opt_out.check(str(url))  # a redirect may lead to somebody who opted out
                await robots.check(_site(url), str(url))  # a delay that a site asks for is no part of the time
                assert self._all is not None
                async with self._all, asyncio.timeout(self.limits.seconds):
                    status, answer = await self._get(url, private, self.limits.bytes, picture=True)
                if isinstance(answer, bytes):
                    if status == 200:
                        self.held += len(answer)
                        return answer
                    raise _failed(status)
                url = answer
            raise RowError("too_many_redirects", f"more than {self.limits.redirects}")
        except TimeoutError:
            raise RowError("download_timeout", f"more than {self.limits.seconds:g} seconds") from None

    async def _page(self, page: str, private: bool) -> tuple[int, bytes]:
        """A robots.txt: its status and text."""
        import httpx2

        url = httpx2.URL(page)
        try:
            async with asyncio.timeout(self.limits.seconds):
                for _ in range(self.limits.redirects + 1):
                    status, answer = await self._get(url, private, _ROBOTS_BYTES, picture=False)
                    if isinstance(answer, bytes):
                        return status, answer
                    url = answer
        except TimeoutError:
            raise RowError("download_timeout", f"more than {self.limits.seconds:g} seconds") from None
        raise RowError("too_many_redirects", f"more than {self.limits.redirects}")

    async def _get(self, url: httpx2.URL, private: bool, most: int, *, picture: bool) -> tuple[int, bytes | httpx2.URL]:
        """One request: its status with the body, or where it is sent to."""
        import httpcore2

        path = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        request = httpcore2.Request("GET", path, headers=[(b"Host", url.netloc), *_HEADERS[picture]])
        connections = self._connections.get(private)
        if connections is None:
            connections = self._connections[private] = _Connections(_guarded(private), self.limits.connections)
        try:
            async with connections.one(path.origin) as connection:
                response = await connection.handle_async_request(request)
                try:
                    return await self._answer(url, response, most, picture)
                finally:
                    await response.aclose()
        except httpcore2.TimeoutException:
            raise RowError("download_timeout", f"more than {self.limits.seconds:g} seconds") from None
        except (httpcore2.RemoteProtocolError, httpcore2.ReadError) as error:
            raise RowError("truncated_download", str(error) or type(error).__name__) from None
        except (httpcore2.ConnectError, httpcore2.NetworkError, httpcore2.ProtocolError, OSError, ValueError) as error:
            raise RowError("connection_failed", str(error) or type(error).__name__) from None

    async def _answer(
        self, url: httpx2.URL, response: httpcore2.Response, most: int, picture: bool
    ) -> tuple[int, bytes | httpx2.URL]:
        import httpx2

        said = {name.lower(): value for name, value in response.headers}
        if response.status in (301, 302, 303, 307, 308):
            try:
                return response.status, url.join(said[b"location"].decode("latin-1"))
            except (KeyError, httpx2.InvalidURL, ValueError):
                raise RowError("connection_failed", "a redirect to nowhere") from None
        if response.status != 200:
            if picture:
                raise _failed(response.status, said.get(b"retry-after"))
            return response.status, b""
        if picture:
            check_headers(response.headers)
            kind = said.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if kind.startswith((b"text/", b"video/", b"audio/")) or kind in (b"application/json", b"application/pdf"):
                raise RowError("not_an_image", f"the server sends {kind.decode('latin-1')[:60]}")
        if said.get(b"content-encoding", b"identity").lower() not in (b"", b"identity"):
            raise RowError("unsupported_format", "the server packs what it was asked to send unpacked")
        stated = said.get(b"content-length", b"")
        if stated.isdigit() and int(stated) > most:
            raise RowError("too_many_bytes", f"{int(stated):,} bytes, the limit is {most:,}")
        while picture and self.held > _HELD:  # until some of what came is taken
            await asyncio.sleep(0.05)
        body = bytearray()
        async for piece in response.aiter_stream():
            if not body and picture and len(piece) > 12 and not may_be_picture(bytes(piece[:4096]), len(piece)):
                raise RowError("not_an_image", f"it begins with {bytes(piece[:12])!r}")
            body += piece
            if len(body) > most:
                if picture:
                    raise RowError("too_many_bytes", f"the limit is {most:,}")
                break  # of a robots.txt the beginning counts
        return 200, bytes(body)


def _failed(status: int, after: bytes | None = None) -> RowError:
    reason = "http_5xx" if status >= 500 else f"http_{status}"
    error = RowError(reason, f"the server answers {status}")
    if after is not None and after.strip().isdigit():
        error.after = float(after)  # type: ignore[attr-defined]
    return error


def _site(url: httpx2.URL) -> str:
    port = f":{url.port}" if url.port is not None else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}{port}"


class _Connections:
    """Connections that are kept for the next request to the same site, the one that was used last first.

    The library's own pool looks at all its connections, and asks their sockets, twice a request: with many of them that
    is a third of what a small picture costs.

    Args:
        backend: what connects.
        most: connections that are kept while nobody uses them.
    """

    def __init__(self, backend: Any, most: int) -> None:
        self._backend, self._most = backend, most
        self._idle: dict[Any, httpcore2.Origin] = {}  # connection to site, in the order in which they became idle
        self._of_site: dict[tuple[bytes, bytes, int], list[Any]] = {}

    @asynccontextmanager
    async def one(self, site: httpcore2.Origin) -> AsyncIterator[httpcore2.AsyncHTTPConnection]:
        """A connection to a site that nobody else uses meanwhile; it is made when something is asked."""
        import httpcore2

        connection = None
        while connection is None and (idle := self._of_site.get(_key(site))):
            self._strike(connection := idle[-1])
            if connection.has_expired() or not connection.is_available():
                await connection.aclose()
                connection = None
        if connection is None:
            connection = httpcore2.AsyncHTTPConnection(site, keepalive_expiry=10, network_backend=self._backend)
        try:
            yield connection
        finally:
            if connection.is_available():
                self._idle[connection] = site
                self._of_site.setdefault(_key(site), []).append(connection)
            if len(self._idle) > self._most:
                self._strike(oldest := next(iter(self._idle)))
                await oldest.aclose()

    def _strike(self, connection: Any) -> None:
        key = _key(self._idle.pop(connection))
        self._of_site[key].remove(connection)
        if not self._of_site[key]:
            del self._of_site[key]


def _key(site: httpcore2.Origin) -> tuple[bytes, bytes, int]:
    return site.scheme, site.host, site.port


def _guarded(private: bool) -> Any:
    """What connects, to addresses that were checked."""
    import httpcore2

    from panoglot.formats._wires import connect

    class Guarded(httpcore2.AsyncNetworkBackend):
        """Resolves names itself and connects to what it checked."""

        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Any = None,
        ) -> httpcore2.AsyncNetworkStream:
            """Connect to the first of a host's addresses that answers; none of them may be private."""
            loop = asyncio.get_running_loop()
            try:
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):
                raise RowError("unknown_host", f"there is no host {host[:100]!r}") from None
            addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
            hidden = [one for one in addresses if not private and not is_public(one)]
            if hidden or not addresses:
                shown = "" if hidden == [host] else f" ({', '.join(hidden)[:100]})"
                raise RowError("private_address", f"{host[:100]}{shown} is no public host; --option allow_private=true")
            failed: Exception | None = None
            for address in addresses[:4]:
                try:
                    return await connect(address, port, timeout, local_address, socket_options or ())
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                    failed = error
            raise failed or httpcore2.ConnectError("no address")

        async def sleep(self, seconds: float) -> None:
            """Wait."""
            await asyncio.sleep(seconds)

    return Guarded()
