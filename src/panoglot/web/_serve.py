"""`panoglot serve`: the API and the page over HTTP, on this machine alone unless a token is set."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from socketserver import TCPServer
from typing import Any

from panoglot.errors import UserError, command, verb
from panoglot.retrieval import Searcher
from panoglot.table import Dataset
from panoglot.table._visible import terminal
from panoglot.web._api import Api, problem_of
from panoglot.web._http import HEADERS, Answer, Gate, Problem, Request, is_loopback, other_method
from panoglot.web._meter import Meter
from panoglot.web._routes import of_dataset, openapi

__all__ = ["Server", "serve"]

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: Seconds until a client that says nothing is left, requests at once, and seconds that they have when the server ends.
_PATIENCE, _AT_ONCE, _GRACE = 30, 64, 10
#: Seconds that a client may keep us waiting when others want its place.
_PLACE = 0.5
#: Shortest token beyond this machine.
_SHORTEST = 16


@cache
def _page() -> dict[str, tuple[bytes, str, str]]:
    """Address to file, type and tag."""
    found = {}
    for file in resources.files("panoglot.web").joinpath("page").iterdir():
        data, ending = file.read_bytes(), "." + file.name.rpartition(".")[2]
        where = "/" if file.name == "index.html" else f"/a/{file.name}"
        if ending in _TYPES:
            tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            found[where] = data, f"{_TYPES[ending]}; charset=utf-8", tag
    return found


class Server:
    """A running server; `url` is where the page is.

    with Server(searcher) as server:
        print(server.url)
    """

    def __init__(
        self,
        searcher: Searcher | Sequence[Searcher],
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        read_only: bool = False,
        rate: float | None = None,
    ) -> None:
        """Listen.

        Args:
            searcher: over the dataset, or several; they open no files (`files=False`).
            host: address to listen at.
            port: 0 takes a free one.
            token: what clients must know; needed beyond this machine.
            read_only: no route writes.
            rate: searches and writes a second of one client, in the long run; None: no limit.

        Raises:
            UserError: no token, or a short one, beyond this machine; a port that is taken.
        """
        if not is_loopback(host) and (token is None or len(token) < _SHORTEST):
            raise UserError(
                f"beyond this machine a token of at least {_SHORTEST} characters is needed: --token …; "
                "or listen at --host 127.0.0.1."
            )
        searchers = [searcher] if isinstance(searcher, Searcher) else list(searcher)
        if any(one._files for one in searchers):
            raise UserError("a server takes a Searcher(…, files=False): no path of a client may be opened.")
        self.apis = _named([Api(one, read_only=read_only) for one in searchers])
        for one in self.apis.values():
            one.beside = self._images
        self.api, self.read_only, self.meter = next(iter(self.apis.values())), read_only, Meter()
        try:
            self._listener = _listener(self, host, port)
        except OSError as error:
            other = command("serve", self.api.data.address, "--port", port + 1 if port < 65535 else 8080)
            raise UserError(f"port {port} of {host} cannot be had ({error.strerror or error}): {other}") from None
        self.host, self.port = host, int(self._listener.server_address[1])
        self.gate = Gate(host, self.port, token, rate)
        self.ending = False
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the page is; with a token, in the part that browsers do not send."""
        host = _own_address(self.host) if self.host in ("0.0.0.0", "::") else self.host
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}/" + (f"#{self.gate.token}" if self.gate.token else "")

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._end()

    def wait(self) -> None:
        """Serve until somebody stops it; what is being answered then has some seconds to finish."""
        try:
            self._listener.serve_forever(0.5)
        finally:
            self._end()

    def _end(self) -> None:
        self.ending = True  # connections close after their answer
        self._listener.server_close()  # nobody new
        self.meter.wait_idle(_GRACE)

    def answer(self, request: Request) -> Answer:
        """Answer a request, and write the name of its route into it.

        Raises:
            Problem: it cannot be answered.
        """
        page = _page()
        if request.path in page:
            request.route = "page"
            return _file(request, *page[request.path])
        if request.path == "/favicon.ico":
            return Answer(status=204)
        if request.path == "/session":
            request.route = "session"
            if request.method != "POST":
                raise other_method("POST")
            cookie = self.gate.session(str(request.json().get("code", "")))
            return Answer(status=204, headers={"Set-Cookie": cookie})
        if request.path in ("/healthz", "/openapi.json", "/metrics"):
            if request.method not in ("GET", "HEAD"):
                raise other_method("GET")
            request.route = request.path.strip("/").partition(".")[0]
            return self._about(request.path)
        name, path = of_dataset(request.path)
        if name is not None and name not in self.apis:
            raise Problem(404, f"there is no such dataset here: {', '.join(self.apis)}.")
        api = self.api if name is None else self.apis[name]
        request.route, run = api.find(request, path)
        if request.method not in ("GET", "HEAD"):
            self.gate.limit(request)
        return run()

    def _images(self) -> dict[str, int]:
        """Pictures of every dataset."""
        return {name: len(api.data.images) for name, api in self.apis.items()}

    def _about(self, path: str) -> Answer:
        if path == "/healthz":
            return Answer.of({"ok": True})
        if path == "/openapi.json":
            return Answer.of(openapi(self.read_only))
        return Answer(self.meter.text(self._images()).encode(), "text/plain; version=0.0.4; charset=utf-8")


def _named(apis: Sequence[Api]) -> dict[str, Api]:
    """Every dataset under a name of its own."""
    found: dict[str, Api] = {}
    for api in apis:
        name, n = api.data.name, 2
        while name in found:
            name, n = f"{api.data.name}-{n}", n + 1
        found[name] = api
    return found


def _file(request: Request, data: bytes, kind: str, tag: str) -> Answer:
    if request.method not in ("GET", "HEAD"):
        raise other_method("GET")
    headers = {"Cache-Control": "no-cache", "ETag": tag}
    if request.headers.get("If-None-Match") == tag:
        return Answer(status=304, headers=headers)
    return Answer(data, kind, headers=headers)


def _listener(server: Server, host: str, port: int) -> ThreadingHTTPServer:
    """A thread a connection, and not more than so many."""

    class Handler(_Handler):
        def setup(self) -> None:
            self.server_of_ours = server
            super().setup()

    class Listener(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = _AT_ONCE
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        slots = threading.BoundedSemaphore(_AT_ONCE)

        def __init__(self, *given: Any) -> None:
            self._waiting: dict[Any, float] = {}
            self._lock = threading.Lock()
            super().__init__(*given)

        def server_bind(self) -> None:
            """As of any TCP server: that of HTTP asks the network for its own name."""
            TCPServer.server_bind(self)

        def process_request(self, request: Any, client_address: Any) -> None:
            until = time.monotonic() + _PATIENCE
            while not self.slots.acquire(timeout=0.05):
                self.leave_slow()
                if time.monotonic() > until:
                    self.shutdown_request(request)
                    return
            super().process_request(request, client_address)

        def waits(self, request: Any, now: bool) -> None:
            """Note that a connection waits for its client, or that it does not."""
            with self._lock:
                if now:
                    self._waiting[request] = time.monotonic()
                else:
                    self._waiting.pop(request, None)

        def leave_slow(self) -> None:
            """No place is free: end the connections that wait for their clients, but those that came just now."""
            with self._lock:
                now = time.monotonic()
                slow = [one for one, since in self._waiting.items() if now - since >= _PLACE]
                for one in slow:
                    del self._waiting[one]
            for one in slow:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                self.waits(request, False)
                self.slots.release()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away is no error."""

    return Listener((host, port), Handler)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "panoglot", ""
    timeout = _PATIENCE
    #: an answer leaves in one piece: head and body in two wait for the client's acknowledgement of the first
    wbufsize, disable_nagle_algorithm = 1 << 16, True
    server_of_ours: Server
    server: Any

    def handle_one_request(self) -> None:
        """Wait for the next request of a connection, and answer it."""
        self.server.waits(self.connection, True)
        super().handle_one_request()

    def _read(self, most: int) -> bytes:
        """Some of the body."""
        self.server.waits(self.connection, True)
        try:
            return self.rfile.read1(most)
        finally:
            self.server.waits(self.connection, False)

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_GET

    def _answer(self) -> None:
        server = self.server_of_ours
        self.server.waits(self.connection, False)
        request: Request | None = None
        began = server.meter.begin()
        try:
            request = Request(self.command, self.path, self.headers, self._read, client=self.client_address[0])
            server.gate.check(request)
            answer = server.answer(request)
        except ConnectionError:
            answer = Problem(400, "the client is gone.").answer()
        except Exception as error:
            problem = problem_of(error)
            if problem.status >= 500:
                line = f"panoglot serve: {problem.more.get('log')}: {type(error).__name__}: {error}"
                print(terminal(line), file=sys.stderr)
            answer = problem.answer()
        if server.ending or (self.command not in ("GET", "HEAD") and answer.status >= 400):
            self.close_connection = True  # the body may not have been read
        try:
            self._send(answer)
        finally:
            server.meter.end(began, request.route if request else "none", answer.status)

    def _send(self, answer: Answer) -> None:
        try:
            self.send_response(answer.status)
            empty = answer.status in (204, 304)
            if not empty:
                self.send_header("Content-Type", answer.type)
                self.send_header("Content-Length", str(len(answer.body)))
            for name, value in {**HEADERS, **answer.headers}.items():
                self.send_header(name, value)
            if self.close_connection:
                self.send_header("Connection", "close")
            self.server.waits(self.connection, True)
            self.end_headers()
            if not empty and self.command != "HEAD":
                self.wfile.write(answer.body)
            self.wfile.flush()
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client is gone

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: an access log has searches in it, which are the user's."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors of the protocol, in the same form and with the same headers."""
        self.close_connection = True
        self.command = getattr(self, "command", None) or "GET"
        self._send(Problem(code, message or "not understood").answer())


def _own_address(every: str) -> str:
    """Where others reach a machine that listens at every address; nothing is sent, only the route is looked up."""
    six = ":" in every
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("2001:db8::1" if six else "192.0.2.1", 9))  # addresses of documentation
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


@verb
def serve(
    dataset: Dataset | str | os.PathLike[str],
    *others: str,
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str | None = None,
    read_only: bool = False,
    rate: float | None = None,
    encoder: Any = None,
    model: Sequence[str] = (),
    prices: str | None = None,
    max_cost: float | None = None,
) -> None:
    """Serve datasets: an HTTP API (/openapi.json) and a page to search, look through, review, compare and correct them.

    Args:
        dataset: a dataset, or its path.
        others: more of them; the page has a choice, and the API has each under `/api/v1/d/NAME/…`.
        host: address to listen at; beyond this machine (`0.0.0.0`) a token is needed.
        port: 0 takes a free one.
        token: what clients must know: `Authorization: Bearer …`; the page gets it by the address that is printed.
        read_only: nobody corrects or forgets.
        rate: searches and writes a second that one client may ask for, in the long run; without it there is no limit.
        encoder: as in `search`.
        model: models of presets, as `llm=PROVIDER:NAME`.
        prices: file of prices of the models.
        max_cost: most US dollars of one search.

    Raises:
        UserError: no token beyond this machine, a port that is taken.
    """
    if not 0 <= port <= 65_535:
        raise UserError(f"port={port} must be 0 to 65535.")
    searchers = [
        Searcher(one, encoder, model=model, prices=prices, max_cost=max_cost, files=False) for one in (dataset, *others)
    ]
    server = Server(searchers, host=host, port=port, token=token, read_only=read_only, rate=rate)
    print(json.dumps({"url": server.url}) if not sys.stdout.isatty() else f"{server.url}   (Ctrl-C stops)", flush=True)
    server.wait()
