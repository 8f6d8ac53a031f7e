"""What every request passes before a route sees it: host, origin, token, size, form; and how answers and errors look.

Nothing that a client writes becomes a path, a filter of the engine, or markup. Errors are `application/problem+json`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from panoglot.errors import UserError

__all__ = ["HEADERS", "Answer", "Gate", "Problem", "Request", "is_loopback"]

#: On every answer.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Bytes of a body: JSON, and a picture.
MOST_JSON, MOST_PICTURE = 256 * 1024, 50 * 2**20
#: Seconds that a body may take, and seconds' worth of requests that a client may ask for at once.
SLOWEST, BURST = 60, 5
COOKIE = "panoglot"
#: Wrong tokens a minute, of all clients together.
_TRIES = 20


def _no_constant(name: str) -> None:
    """Refuse `NaN` and `Infinity`, which Python reads and JSON does not have."""
    raise ValueError(name)


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers or {}, more

    def answer(self) -> Answer:
        """The problem as JSON."""
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, **self.more}
        raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        return Answer(raw, "application/problem+json", self.status, dict(self.headers))


@dataclass
class Answer:
    """What goes back."""

    body: bytes = b""
    type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
        """JSON."""
        try:
            body = msgspec.json.encode(data)
        except (TypeError, ValueError, UnicodeEncodeError):  # half a surrogate pair, or a number of another library
            body = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
        return cls(body, "application/json", status, headers or {})


@dataclass
class Request:
    """What came."""

    method: str
    target: str
    headers: Any
    read: Any
    path: str = ""
    client: str = ""
    #: name of its route, for what is counted
    route: str = "none"

    def __post_init__(self) -> None:
        try:
            self.path = unquote(urlsplit(self.target).path, errors="replace")
        except ValueError:
            raise Problem(400, "the address is not understood.") from None

    def query(self) -> dict[str, str]:
        """What follows the `?`; each name once.

        Raises:
            Problem: a name stands there twice, or too many.
        """
        try:
            pairs = parse_qsl(urlsplit(self.target).query, keep_blank_values=True, max_num_fields=40, errors="replace")
        except ValueError:
            raise Problem(400, "too much follows the question mark.") from None
        found = dict(pairs)
        if len(found) < len(pairs):
            raise Problem(422, "a name stands twice after the question mark.")
        return found

    def body(self, most: int) -> bytes:
        """The body, read piece by piece: who sends it too slowly is left.

        Raises:
            Problem: no length, too long, too slow, cut off.
        """
        left, pieces, until = self.length(most), [], time.monotonic() + SLOWEST
        while left:
            try:
                piece = self.read(min(left, 65_536))
            except TimeoutError:
                raise Problem(408, "nothing more of the body came.") from None
            if not piece:
                raise Problem(400, "the body ended before its length.")
            if time.monotonic() > until:
                raise Problem(408, f"the body did not come within {SLOWEST} seconds.")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def length(self, most: int) -> int:
        """How long the body says it is.

        Raises:
            Problem: it does not say, or it is too long.
        """
        given = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not (given.isascii() and given.isdecimal()):
            raise Problem(411, "say how long the body is (Content-Length).")
        if len(given) > 15 or int(given) > most:
            raise Problem(413, f"at most {most:,} bytes are read here.")
        return int(given)

    def json(self) -> dict[str, Any]:
        """The body as an object.

        Raises:
            Problem: it is none.
        """
        if self.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise Problem(415, "send application/json.")
        raw = self.body(MOST_JSON)
        try:
            data = json.loads(raw, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Problem(400, "the body is no JSON.") from None
        if not isinstance(data, dict):
            raise Problem(422, "the body must be a JSON object.")
        return data

    def picture(self) -> bytes:
        """The body as bytes of a picture.

        Raises:
            Problem: another type, too long.
        """
        if not self.headers.get("Content-Type", "").lower().startswith("image/"):
            raise Problem(415, "send a picture: image/jpeg, image/png …")
        return self.body(MOST_PICTURE)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    return host in ("localhost", "::1") or host.startswith("127.")


class Gate:
    """Who may come in."""

    def __init__(self, host: str, port: int, token: str | None, rate: float | None = None) -> None:
        if rate is not None and not rate > 0:
            raise UserError(f"rate={rate} must be more than 0.")
        own = f"[{host}]" if ":" in host else host.lower()
        names = {own, "localhost", "127.0.0.1", "[::1]"} if is_loopback(host) else {own}
        self.hosts = None if host in ("0.0.0.0", "::", "") else {f"{name}:{port}" for name in names}
        if self.hosts is not None and port == 80:
            self.hosts |= names
        self.token = token
        self._key = secrets.token_bytes(32)
        self._wrong: list[float] = []
        self._rate, self._buckets, self._lock = rate, OrderedDict[str, tuple[float, float]](), threading.Lock()

    def limit(self, request: Request) -> None:
        """Count a search or a write of a client: a bucket of `BURST` seconds' worth that fills at the rate.

        Raises:
            Problem: 429, with when to try again.
        """
        if self._rate is None:
            return
        now, most = time.monotonic(), max(1.0, self._rate * BURST)
        with self._lock:
            at, level = self._buckets.pop(request.client, (now, most))
            level = min(most, level + (now - at) * self._rate)
            self._buckets[request.client] = now, level - (level >= 1)
            while len(self._buckets) > 10_000:
                self._buckets.popitem(last=False)
        if level < 1:
            wait = math.ceil((1 - level) / self._rate)
            raise Problem(
                429, f"too many requests of this client; try again in {wait} s.", headers={"Retry-After": str(wait)}
            )

    def check(self, request: Request) -> None:
        """Refuse other hosts and origins, and who has no token.

        Raises:
            Problem: 403 or 401.
        """
        host = request.headers.get("Host", "").lower()
        if self.hosts is not None and host not in self.hosts:
            raise Problem(403, "this server answers under its own name alone.")
        if request.method not in ("GET", "HEAD"):
            origin = request.headers.get("Origin")
            if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
                raise Problem(403, "writes come from this server's own page, or from programs that send no Origin.")
            if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
                raise Problem(403, "writes come from this server's own page.")
        if self.token is None or request.path in ("/healthz", "/session") or _is_static(request.path):
            return
        if not (self._bearer(request) or self._cookie(request)):
            raise Problem(
                401, "a token is needed: Authorization: Bearer …, or open the address that the server printed."
            )

    def session(self, code: str) -> str:
        """The cookie of a session.

        Raises:
            Problem: a wrong token; too many of them.
        """
        now = time.monotonic()
        self._wrong = [at for at in self._wrong if now - at < 60]
        if len(self._wrong) >= _TRIES:
            raise Problem(429, "too many wrong tokens; wait a minute.")
        if self.token is None or not hmac.compare_digest(code.encode(), self.token.encode()):
            self._wrong.append(now)
            raise Problem(401, "that is not the token.")
        return f"{COOKIE}={self._seal()}; HttpOnly; SameSite=Strict; Path=/"

    def _seal(self) -> str:
        return hmac.new(self._key, (self.token or "").encode(), hashlib.sha256).hexdigest()

    def _bearer(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), (self.token or "").encode())

    def _cookie(self, request: Request) -> bool:
        try:
            found = SimpleCookie(request.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._seal().encode())


def _is_static(path: str) -> bool:
    """The page without any data."""
    return path in ("/", "/favicon.ico") or path.startswith("/a/")
