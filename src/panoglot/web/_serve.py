"""`panoglot serve`: the API and the page over HTTP, on this machine alone unless a token is set."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from panoglot.errors import UserError, command, verb
from panoglot.retrieval import Searcher
from panoglot.table import Dataset
from panoglot.table._visible import terminal
from panoglot.web._api import Api, openapi, problem_of
from panoglot.web._http import HEADERS, Answer, Gate, Problem, Request, is_loopback

__all__ = ["Server", "serve"]

_FILES = {"/": ("index.html", "text/html; charset=utf-8"), "/a/app.js": ("app.js", "text/javascript; charset=utf-8")}
_FILES |= {"/a/app.css": ("app.css", "text/css; charset=utf-8")}
#: Seconds until a client that says nothing is left, and requests at once.
_PATIENCE, _AT_ONCE = 30, 64
#: Shortest token beyond this machine.
_SHORTEST = 16


class Server:
    """A running server; `url` is where the page is.

    with Server(searcher) as server:
        print(server.url)
    """

    def __init__(
        self,
        searcher: Searcher,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        read_only: bool = False,
    ) -> None:
        """Listen.

        Args:
            searcher: over the dataset; one that opens no files (`files=False`).
            host: address to listen at.
            port: 0 takes a free one.
            token: what clients must know; needed beyond this machine.
            read_only: no route writes.

        Raises:
            UserError: no token, or a short one, beyond this machine; a port that is taken.
        """
        if not is_loopback(host) and (token is None or len(token) < _SHORTEST):
            raise UserError(
                f"beyond this machine a token of at least {_SHORTEST} characters is needed: --token …; "
                "or listen at --host 127.0.0.1."
            )
        if searcher._files:
            raise UserError("a server takes a Searcher(…, files=False): no path of a client may be opened.")
        self.api = Api(searcher, read_only=read_only)
        server = self

        class Handler(_Handler):
            def setup(self) -> None:
                self.api, self.gate = server.api, server.gate
                super().setup()

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            slots = threading.BoundedSemaphore(_AT_ONCE)

            def process_request(self, request: Any, client_address: Any) -> None:
                if not self.slots.acquire(timeout=_PATIENCE):
                    self.shutdown_request(request)
                    return
                super().process_request(request, client_address)

            def process_request_thread(self, request: Any, client_address: Any) -> None:
                try:
                    super().process_request_thread(request, client_address)
                finally:
                    self.slots.release()

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away is no error."""

        try:
            self._listener = Listener((host, port), Handler)
        except OSError as error:
            other = command("serve", searcher.dataset.address, "--port", port + 1 if port < 65535 else 8080)
            raise UserError(f"port {port} of {host} cannot be had ({error.strerror or error}): {other}") from None
        self.host, self.port = host, int(self._listener.server_address[1])
        self.gate = Gate(host, self.port, token)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the page is; with a token, in the part that browsers do not send."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}/" + (f"#{self.gate.token}" if self.gate.token else "")

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()

    def wait(self) -> None:
        """Serve until somebody stops it."""
        try:
            self._listener.serve_forever(0.5)
        finally:
            self._listener.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "panoglot", ""
    timeout = _PATIENCE
    api: Api
    gate: Gate

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def _answer(self) -> None:
        try:
            request = Request(self.command, self.path, self.headers, self.rfile.read)
            self.gate.check(request)
            answer = self._route(request)
        except Exception as error:
            problem = problem_of(error)
            if problem.status >= 500:
                line = f"panoglot serve: {problem.more.get('log')}: {type(error).__name__}: {error}"
                print(terminal(line), file=sys.stderr)
            answer = problem.answer()
        if self.command not in ("GET", "HEAD") and answer.status >= 400:
            self.close_connection = True  # the body may not have been read
        self._send(answer)

    def _route(self, request: Request) -> Answer:
        if request.path in _FILES:
            if request.method not in ("GET", "HEAD"):
                raise Problem(405, "use GET here.")
            name, kind = _FILES[request.path]
            data = resources.files("panoglot.web").joinpath("page", name).read_bytes()
            return Answer(data, kind, headers={"Cache-Control": "no-cache"})
        if request.path == "/favicon.ico":
            return Answer(status=204)
        if request.path == "/healthz":
            return Answer.of({"ok": True})
        if request.path == "/session":
            if request.method != "POST":
                raise Problem(405, "use POST here.")
            cookie = self.gate.session(str(request.json().get("code", "")))
            return Answer(status=204, headers={"Set-Cookie": cookie})
        if request.path == "/openapi.json":
            return Answer.of(openapi(self.api.read_only))
        return self.api.find(request)()

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
            self.end_headers()
            if not empty and self.command != "HEAD":
                self.wfile.write(answer.body)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client is gone

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: an access log has searches in it, which are the user's."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors of the protocol, in the same form and with the same headers."""
        self.close_connection = True
        self.command = getattr(self, "command", None) or "GET"
        self._send(Problem(code, message or "not understood").answer())


@verb
def serve(
    dataset: Dataset | str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str | None = None,
    read_only: bool = False,
    encoder: Any = None,
    model: Sequence[str] = (),
    prices: str | None = None,
    max_cost: float | None = None,
) -> None:
    """Serve a dataset: an HTTP API (/openapi.json) and one page to search, look, correct and forget.

    Args:
        dataset: a dataset, or its path.
        host: address to listen at; beyond this machine (`0.0.0.0`) a token is needed.
        port: 0 takes a free one.
        token: what clients must know: `Authorization: Bearer …`; the page gets it by the address that is printed.
        read_only: nobody corrects or forgets.
        encoder: as in `search`.
        model: models of presets, as `llm=PROVIDER:NAME`.
        prices: file of prices of the models.
        max_cost: most US dollars of one search.

    Raises:
        UserError: no token beyond this machine, a port that is taken.
    """
    searcher = Searcher(dataset, encoder, model=model, prices=prices, max_cost=max_cost, files=False)
    server = Server(searcher, host=host, port=port, token=token, read_only=read_only)
    print(json.dumps({"url": server.url}) if not sys.stdout.isatty() else f"{server.url}   (Ctrl-C stops)", flush=True)
    server.wait()
