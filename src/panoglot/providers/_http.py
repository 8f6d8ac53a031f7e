"""One patient, bounded, secret-keeping way to ask a model server over HTTP.

What goes wrong is one of three things: the server's passing trouble (asked again, then a `RowError`), a question it
does not take (`RowError` at once), or something only the user can mend (`UserError`: the run stops, its rows stay
pending).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import email.utils
import hashlib
import json
import os
import random
import re
import time
import weakref
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.providers._limits import Limits, shared_limits
from panoglot.providers._secrets import clean_body, redact
from panoglot.providers._stop import refuse_when_stopping
from panoglot.table._visible import plain

if TYPE_CHECKING:
    import httpx2

__all__ = ["Endpoint", "Policy", "as_count", "ask_each", "redact", "wait_from_headers"]

#: Calls in a row that may fail for the server's reasons before the run is stopped instead of rejecting row after row.
MAX_FAILED_CALLS = 50
#: Characters of a server's words that are looked at for a message.
CLEANED = 1 << 16
#: A server that says it read or wrote so many tokens is mistaken.
MOST_TOKENS = 10**9
#: Longest pause between two tries, where the server does not say how long.
MAX_BACKOFF = 30.0

_NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "quota_exceeded")
#: Endpoints of which this coroutine holds a slot: what it asks inside needs no second one.
_HELD: contextvars.ContextVar[frozenset[int]] = contextvars.ContextVar("held", default=frozenset())


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


def as_count(value: Any) -> int | None:
    """Read a number of tokens as a server wrote it; None when it is no number of tokens.

    >>> [as_count(v) for v in (7, "7", 7.0, 7.5, True, [7], -1, 10**30, None)]
    [7, 7, 7, None, None, None, None, None, None]
    """
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < MOST_TOKENS else None


class _Again(Exception):
    """This try failed; another may work."""

    def __init__(self, reason: str, message: str, wait: float | None = None, unreachable: bool = False) -> None:
        super().__init__(message)
        self.reason, self.message, self.wait, self.unreachable = reason, message, wait, unreachable


@dataclass(frozen=True)
class Policy:
    """How patiently a server is asked.

    Attributes:
        timeout: seconds that one try may take.
        deadline: seconds that a call may take with all its tries (waiting for a free slot not counted).
        retries: further tries after the first.
        backoff: seconds before the first further try; doubles each time, with jitter.
        patience: seconds that a server which has answered before may be gone before the run stops.
        max_bytes: largest answer, unpacked.
    """

    timeout: float = 120.0
    deadline: float = 600.0
    retries: int = 5
    backoff: float = 0.5
    patience: float = 60.0
    max_bytes: int = 16 * 2**20


@lru_cache(maxsize=1)
def _tls() -> Any:
    import httpx2

    return httpx2.create_ssl_context()  # a third of a second: once a process, not once an event loop


class Endpoint:
    """A model on a server: `post` a JSON body to a path, get the JSON answer.

    Args:
        url: base URL, http or https, without password or query.
        model: the model's name there, for limits and messages.
        key_env: environment variable with the key; read at every request, kept nowhere.
        auth: how the key is sent: `bearer`, `basic` (the key is `user:password`) or `api-key` (a header of that name).
        policy: timeouts and retries.
        concurrency: most requests at once, over all instances in the process.
        rpm: most requests a minute.
        tpm: most tokens a minute.

    Raises:
        UserError: a URL that is not http(s), or that carries a password.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_env: str = "OPENAI_API_KEY",
        auth: str = "bearer",
        policy: Policy | None = None,
        concurrency: int = 16,
        rpm: float = 0,
        tpm: float = 0,
    ) -> None:
        if "@" in url or "?" in url:
            raise UserError(
                f"'{redact(url)}' carries a password or a query, which would end up in the dataset's records: "
                f"export it as {key_env}=user:password and add the option auth=basic."
            )
        try:
            parts = urlsplit(url)
            sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is no number, a bracket that is not closed
            sound = False
        if not sound:
            raise UserError(f"'{url}' is not a server's URL: write http://HOST:PORT/v1 or https://HOST/v1.")
        if auth not in ("bearer", "basic", "api-key"):
            raise UserError(f"auth={auth!r} must be bearer, basic or api-key.")
        self.url, self.model, self.key_env, self.auth = url.rstrip("/"), model, key_env, auth
        self.policy = policy or Policy()
        self._wanted = (concurrency, rpm, tpm)
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._clients: weakref.WeakKeyDictionary[Any, httpx2.AsyncClient] = weakref.WeakKeyDictionary()
        self.limits: Limits = shared_limits(self.url, self.model, *self._wanted)

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.model!r})"

    def __getstate__(self) -> dict[str, Any]:
        kept = ("url", "model", "key_env", "auth", "policy", "_wanted")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    # -- secrets -------------------------------------------------------------------------------------------------

    def key(self) -> str:
        """Return the key, or an empty string. A hook: never store or print what it returns."""
        key = os.environ.get(self.key_env, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"the key in ${self.key_env} has characters that no HTTP header may have.")
        return key

    def clean(self, text: str, limit: int = 300) -> str:
        """Make a server's words fit for a message: one line, short, without secrets."""
        text = plain(redact(text[:CLEANED], self.key()))
        return text if len(text) <= limit else text[: limit - 1] + "…"

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if key := self.key():
            if self.auth == "api-key":
                headers["api-key"] = key
            elif self.auth == "basic":
                headers["authorization"] = "Basic " + base64.b64encode(key.encode()).decode()
            else:
                headers["authorization"] = f"Bearer {key}"
        return headers

    # -- one try -------------------------------------------------------------------------------------------------

    def _client(self) -> httpx2.AsyncClient:
        """Return the client of the running event loop: connections belong to the loop that opened them."""
        import httpx2

        if self._pid != os.getpid():  # forked: the parent's sockets and locks are not ours
            self._reset()
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            host, secure = urlsplit(self.url).hostname or "", self.url.startswith("https")
            local = host in ("localhost", "::1") or host.startswith("127.")
            client = self._clients[loop] = httpx2.AsyncClient(
                timeout=httpx2.Timeout(self.policy.timeout, connect=min(10.0, self.policy.timeout), pool=None),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self._wanted[0]),
                follow_redirects=False,  # the key goes to the named host alone
                trust_env=not local,  # a proxy of the environment knows nothing of this machine's loopback
                verify=_tls() if secure else False,
            )
        return client

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _send(
        self, method: str, path: str, payload: bytes | None, seconds: float, kind: str = "", raw_most: int = 0
    ) -> dict[str, Any]:
        """One try. `kind` is the type of the payload where it is not JSON; with `raw_most` the answer is any bytes, at
        most so many, under the key `raw`."""
        import httpx2

        headers = {**self._headers(), **({"content-type": kind} if kind else {})}

        try:
            async with (
                asyncio.timeout(seconds),
                self._client().stream(method, self.url + path, content=payload, headers=headers) as response,
            ):
                raw = await _body(response, raw_most or self.policy.max_bytes)
                if raw_most and 200 <= response.status_code < 300:
                    return {"raw": raw}
                return self._judge(response.status_code, response.headers, raw, path)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            text = self.clean(str(error)) or type(error).__name__
            if "CERTIFICATE" in text.upper():
                raise UserError(f"{self.url} has no certificate that this machine trusts: {text}") from None
            raise _Again("unreachable", text, unreachable=True) from None
        except (TimeoutError, httpx2.TimeoutException):
            raise _Again("timeout", f"no answer in {seconds:.0f} s") from None
        except httpx2.TransportError as error:  # reset, closed half-way, not HTTP
            raise _Again("connection_dropped", self.clean(str(error)) or type(error).__name__) from None
        except zlib.error:
            raise _Again("bad_response", "the answer's compression is broken") from None

    def _judge(self, status: int, headers: Mapping[str, str], raw: bytes, path: str) -> dict[str, Any]:
        """Return the answer, or raise what the status means."""
        self.limits.health.seen()
        try:
            body = json.loads(raw)
            body = clean_body(body, self.key())
        except (ValueError, RecursionError):
            body = None
        error = _error_in(body) if isinstance(body, dict) else None
        coded = as_count(error.get("code")) if isinstance(error, dict) else None
        if 200 <= status < 300 and coded is not None and 400 <= coded < 600:
            status = coded  # some proxies wrap a failure in a success
        elif 200 <= status < 300 and error:
            raise _Again("server_error", self.clean(str(error.get("message") if isinstance(error, dict) else error)))
        elif 200 <= status < 300:
            if body is None:
                raise _Again("truncated_answer", f"{len(raw):,} bytes that are not JSON")
            if not isinstance(body, dict):
                raise _Again("bad_response", f"a JSON {type(body).__name__} instead of an object")
            return body
        detail = error if isinstance(error, dict) else body if isinstance(body, dict) else {}
        code = f"{detail.get('code')} {detail.get('type')}"
        said = self.clean(
            str(detail.get("message") or error or detail.get("detail") or raw[:CLEANED].decode("utf-8", "replace"))
        )
        words, wait = f"HTTP {status}: {said}", wait_from_headers(headers)

        if 300 <= status < 400:
            to = self.clean(headers.get("location", "?"))
            raise UserError(f"{self.url} redirects to {to}; name the final URL (a key is never sent to another place).")
        if status in (401, 403):
            how = f"the key in ${self.key_env} was refused" if self.key() else f"no key: export {self.key_env}=…"
            raise UserError(f"{self.url}: {how} ({words}).")
        if status == 402 or any(c in code for c in _NO_QUOTA):
            raise UserError(f"{self.url}: the account has no quota left ({words}).")
        if status in (404, 405) or "model_not_found" in code:
            raise _NotFound(words)
        if status == 501 or (status == 500 and "input is not supported" in said):
            raise UserError(f"{self.model} at {self.url} cannot do this ({words}).")
        if status == 429:
            raise _Again("rate_limited", words, wait)
        if status in (408, 409, 425) or status >= 500:
            raise _Again("timeout" if status in (408, 504) else "server_error", words, wait)
        if "content_filter" in code or "content_policy" in code:
            raise RowError("content_filter", words)
        if status == 413:
            raise RowError("request_too_large", words)
        if "context_length" in code or "exceed_context" in code or "maximum context length" in said:
            raise RowError("prompt_too_long", words)
        raise RowError("bad_request", words)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the places of those who may ask at once; inside, `post` needs no other.

        What goes before a request (preparing pictures) and after it (storing the answer) belongs inside: then no more
        is ever under way, prepared or unstored than may be asked at once.

        Raises:
            Stopped: the run was told to stop.
        """
        self._client()  # after a fork: fresh limits before they are used
        mine = id(self.limits)
        if mine in _HELD.get():
            yield
            return
        async with self.limits.slots:
            refuse_when_stopping()
            before = _HELD.set(_HELD.get() | {mine})
            try:
                yield
            finally:
                _HELD.reset(before)

    # -- a whole call --------------------------------------------------------------------------------------------

    async def post(self, path: str, body: dict[str, Any], tokens: int = 0) -> dict[str, Any]:
        """Ask, patiently.

        Args:
            path: below the base URL, for example `/chat/completions`.
            body: the JSON body.
            tokens: how many tokens it may need, for the tokens-a-minute limit.

        Raises:
            RowError: after all tries `rate_limited`, `timeout`, `server_error`, `connection_dropped`,
                `truncated_answer`, `bad_response`; at once `bad_request`, `request_too_large`, `prompt_too_long`,
                `content_filter`, `answer_too_large`.
            UserError: key refused, unknown model or path, no quota, redirect, server gone.
            Stopped: the run was told to stop before this was sent.
        """
        return await self.call("POST", path, json.dumps(body).encode(), tokens=tokens)

    async def call(
        self,
        method: str,
        path: str,
        payload: bytes | None,
        *,
        tokens: int = 0,
        retries: int | None = None,
        kind: str = "",
        raw_most: int = 0,
    ) -> dict[str, Any]:
        """The same for any method and payload.

        Args:
            method: `GET` or `POST`.
            path: below the base URL.
            payload: the body, JSON unless `kind` says otherwise.
            tokens: as in `post`.
            retries: further tries, where they are not those of the policy.
            kind: type of the payload.
            raw_most: the answer is any bytes, at most so many, under the key `raw`.
        """
        async with self.slot():
            limits, policy = self.limits, self.policy
            if retries is not None:
                policy = replace(policy, retries=retries)
            end = time.monotonic() + policy.deadline
            tries = 0
            while True:
                await limits.turn(tokens)
                refuse_when_stopping()
                seconds = min(policy.timeout, max(1.0, end - time.monotonic()))
                try:
                    answer = await self._send(method, path, payload, seconds, kind, raw_most)
                except _NotFound as error:
                    raise await self._not_found(path, str(error)) from None
                except _Again as again:
                    limits.settle(tokens, 0)
                    tries += 1
                    await self._wait(again, tries, end, policy)
                    continue
                except (RowError, UserError) as error:
                    limits.settle(tokens, 0)
                    if isinstance(error, RowError):  # the server is well, the question is not
                        limits.health.good()
                    raise
                limits.health.good()
                used = answer.get("usage")
                limits.settle(tokens, as_count(used.get("total_tokens")) if isinstance(used, dict) else None)
                return answer

    async def _wait(self, again: _Again, tries: int, end: float, policy: Policy) -> None:
        """Sleep before the next try, or raise: there is none."""
        limits, health = self.limits, self.limits.health
        wait = min(MAX_BACKOFF, policy.backoff * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)
        if again.unreachable:
            gone = health.unreachable()
            if gone > policy.patience or (not health.answered and tries > min(3, policy.retries)):
                raise UserError(
                    f"{self.url} cannot be reached ({again.message}): start the server or correct the URL, then run "
                    "the same command again; what was not asked stays pending."
                )
            await asyncio.sleep(min(wait, policy.patience / 4))  # a restart is waited for; no row pays for it
            return
        if again.wait is not None:
            if again.wait > policy.deadline:
                raise UserError(
                    f"{self.url} asks to come back in {again.wait:.0f} s ({again.message}): run the same command again "
                    "then; what was not asked stays pending."
                )
            wait = again.wait * random.uniform(1.0, 1.1)
            limits.pause(again.wait)
        if tries > policy.retries or time.monotonic() + wait > end:
            health.failed_calls += 1
            if health.failed_calls >= MAX_FAILED_CALLS:
                raise UserError(
                    f"{self.url} failed {health.failed_calls} calls in a row, each after several tries; the last: "
                    f"{again.reason}: {again.message}. Look after the server, then run the same command again."
                )
            raise RowError(again.reason, f"{again.message} ({tries} {'try' if tries == 1 else 'tries'})")
        await asyncio.sleep(wait)

    async def upload(self, path: str, name: str, data: bytes, fields: Mapping[str, str]) -> dict[str, Any]:
        """Send a file as a form (`multipart/form-data`), patiently; raises as `post`."""
        mark = f"panoglot-{hashlib.sha256(data).hexdigest()[:24]}"
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{v}\r\n' for key, v in fields.items()
        ]
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        body = "".join([*parts, head, "Content-Type: application/jsonl\r\n\r\n"]).encode() + data
        kind = f"multipart/form-data; boundary={mark}"
        return await self.call("POST", path, body + f"\r\n--{mark}--\r\n".encode(), kind=kind)

    async def content(self, path: str, most: int = 2**30) -> bytes:
        """Return the bytes of a file on the server, at most `most`; raises as `post`."""
        found: bytes = (await self.call("GET", path, None, raw_most=most))["raw"]
        return found

    async def try_delete(self, path: str) -> None:
        """Delete what is no longer needed; a server that does not is none the worse."""
        with contextlib.suppress(_Again, _NotFound, RowError, UserError):
            await self._send("DELETE", path, None, 30.0)

    def judge(self, status: int, raw: bytes) -> dict[str, Any]:
        """Return an answer that came in a file, or raise what its status means.

        Raises:
            RowError, UserError: as `post`; nothing is tried again.
        """
        try:
            return self._judge(status, {}, raw, "")
        except _Again as again:
            raise RowError(again.reason, again.message) from None
        except _NotFound as error:
            raise UserError(f"{self.url}: {error}.") from None

    async def list_models(self, seconds: float = 10.0) -> list[str]:
        """Return the names of the models that the server offers; empty when it does not say."""
        try:
            answer = await self._send("GET", "/models", None, seconds)
            return sorted(self.clean(str(m["id"])) for m in answer["data"])
        except (_Again, _NotFound, RowError, UserError, KeyError, TypeError):
            return []

    async def _not_found(self, path: str, words: str) -> UserError:
        offered = await self.list_models()
        if self.model in offered:
            return UserError(f"{self.url} has the model '{self.model}' but not {path} ({words}).")
        if offered:
            return UserError(f"{self.url} has no model '{self.model}'.{did_you_mean(self.model, offered)}")
        hint = "" if urlsplit(self.url).path.strip("/") else f" Perhaps {self.url}/v1 is meant?"
        return UserError(f"{self.url}{path}: not found ({words}).{hint}")


def _error_in(body: dict[str, Any]) -> Any:
    """What a body says went wrong: its `error`, that of its first choice, or itself (older vLLM)."""
    if body.get("error"):
        return body["error"]
    if body.get("object") == "error":
        return body
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first.get("error") if isinstance(first, dict) else None


async def _body(response: httpx2.Response, most: int) -> bytes:
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


async def ask_each(ask: Any, items: Sequence[Any]) -> list[Any]:
    """Ask for all items at once; a `RowError` stands in the place of its answer, anything else stops the rest."""

    async def one(item: Any) -> Any:
        try:
            return await ask(item)
        except RowError as error:
            return error

    if len(items) == 1:
        return [await one(items[0])]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


class _NotFound(Exception):
    """The path or the model is unknown to the server."""
