"""An OpenAI-compatible server on loopback that misbehaves on demand and counts what it was paid for.

    with FaultyServer(script=[status(429, {"Retry-After": "1"}), drop(), hang(5)]) as server:
        ...  # the first three requests meet these faults, in order of arrival; the others are answered

A fault is a function of the request handler; it returns False when it has answered, True to let the answer through.
`decide(body)` may choose a fault by what is asked instead. The answers are a function of the question alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[["_Handler"], bool]


def status(code: int, headers: dict[str, str] | None = None, body: Any = None) -> Fault:
    """Answer with an HTTP status."""

    def fault(handler: _Handler) -> bool:
        handler.reply(code, {"error": {"message": f"scripted {code}"}} if body is None else body, headers)
        return False

    return fault


def hang(seconds: float) -> Fault:
    """Answer late."""

    def fault(handler: _Handler) -> bool:
        handler.fake.stopping.wait(seconds)
        return not handler.fake.stopping.is_set()

    return fault


def drop(reset: bool = False) -> Fault:
    """Close the connection without a word (or with a TCP reset)."""

    def fault(handler: _Handler) -> bool:
        if reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.connection.close() if reset else handler.connection.shutdown(socket.SHUT_RDWR)
        return False

    return fault


def drop_midway() -> Fault:
    """Promise more bytes than are sent."""

    def fault(handler: _Handler) -> bool:
        raw = json.dumps(handler.answer()).encode()
        handler.send_response(200)
        handler.send_header("content-length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw[: len(raw) // 2])
        handler.close_connection = True
        return False

    return fault


def truncated_json() -> Fault:
    """Send half an answer as if it were whole."""

    def fault(handler: _Handler) -> bool:
        raw = json.dumps(handler.answer()).encode()
        handler.reply(200, raw[: len(raw) // 2])
        return False

    return fault


def answer_with(body: Any) -> Fault:
    """Send this with status 200."""
    return status(200, body=body)


def huge(size: int) -> Fault:
    """Send a sound answer of `size` bytes and more."""

    def fault(handler: _Handler) -> bool:
        handler.reply(200, {**handler.answer(), "padding": "x" * size})
        return False

    return fault


def redirect(url: str) -> Fault:
    """Send the client elsewhere."""
    return status(307, {"Location": url}, {})


def echo_key(code: int) -> Fault:
    """Repeat the client's key in the message."""

    def fault(handler: _Handler) -> bool:
        said = handler.headers.get("authorization", "") + " " + handler.headers.get("api-key", "")
        handler.reply(code, {"error": {"message": f"bad credentials {said} at http://u:pw@h/v1?api_key=abcdef"}})
        return False

    return fault


def key_in_answer() -> Fault:
    """Repeat the client's key in the answer itself."""

    def fault(handler: _Handler) -> bool:
        handler.reply(200, handler.answer("your key is " + handler.headers["authorization"].split()[-1]))
        return False

    return fault


class FaultyServer:
    """The server; a context manager.

    Attributes:
        url: base URL, ending in `/v1`.
        requests: every POST in order: path, lower-case headers, body.
        paid: question text to the number of whole answers given to it.
        most_at_once: most POSTs in progress at one time.
        times: monotonic arrival times of the POSTs.
    """

    def __init__(
        self,
        script: Iterable[Fault | None] = (),
        *,
        decide: Callable[[dict[str, Any]], Fault | None] | None = None,
        models: Iterable[str] = ("tiny", "tiny-vision"),
        key: str | None = None,
        delay: float = 0.0,
        vllm: bool = False,
        port: int = 0,
    ) -> None:
        self.script, self.decide, self.models = deque(script), decide, list(models)
        self.key, self.delay, self.vllm = key, delay, vllm
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.paid: Counter[str] = Counter()
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self.open: set[socket.socket] = set()
        self.lock, self.stopping = threading.Lock(), threading.Event()
        handler = type("Handler", (_Handler,), {"fake": self})
        self.server = _Server(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def __enter__(self) -> FaultyServer:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        with self.lock:  # kept-alive connections end too, as they do when a real server dies
            for connection in self.open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def port(self) -> int:
        return self.server.server_address[1]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are the point of this server


class _Handler(BaseHTTPRequestHandler):
    fake: FaultyServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        with self.fake.lock:
            self.fake.open.add(self.connection)

    def finish(self) -> None:
        with self.fake.lock:
            self.fake.open.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, code: int, body: Any, headers: dict[str, str] | None = None) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self.reply(200, {"object": "list", "data": [{"id": m} for m in self.fake.models]})
        else:
            self.reply(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        fake = self.fake
        self.body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with fake.lock:
            fake.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, self.body))
            fake.times.append(time.monotonic())
            fake.at_once += 1
            fake.most_at_once = max(fake.most_at_once, fake.at_once)
            fault = fake.script.popleft() if fake.script else None
        try:
            fault = fault or (fake.decide(self.body) if fake.decide else None)
            if fake.key and self.headers.get("authorization") != f"Bearer {fake.key}":
                self.reply(401, {"error": {"message": "Invalid API Key"}})
            elif fault is None or fault(self):
                fake.stopping.wait(fake.delay) if fake.delay else None
                self.ordinary()
        finally:
            with fake.lock:
                fake.at_once -= 1

    def ordinary(self) -> None:
        fake = self.fake
        if self.path not in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            self.reply(404, {"error": {"message": "no such path"}})
        elif self.body["model"] not in fake.models:
            message = f"The model `{self.body['model']}` does not exist."
            self.reply(404, {"error": {"message": message, "code": "model_not_found"}})
        else:
            answer, asked = self.answer(), question(self.body)
            with fake.lock:  # before the reply: who has the answer may look at once
                fake.paid[asked] += 1
            try:
                self.reply(200, answer)
            except OSError:
                with fake.lock:
                    fake.paid[asked] -= 1
                raise

    def answer(self, text: str | None = None) -> dict[str, Any]:
        body = self.body
        if self.path.endswith("/embeddings"):
            return self._embeddings()
        chat = self.path.endswith("/chat/completions")
        asked = question(body)
        if text is None:
            text = '{"colour": "red"}' if "response_format" in body else f"answer to: {asked}"
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        if body.get("logprobs"):
            words = text.split()
            choice["logprobs"] = (
                {"content": [{"token": w, "logprob": -0.5} for w in words]}
                if chat
                else {"tokens": words, "token_logprobs": [-0.5] * len(words)}
            )
        given = _tokens(body)
        usage = {"prompt_tokens": len(given), "completion_tokens": len(text.split())}
        usage["total_tokens"] = sum(usage.values())
        reply: dict[str, Any] = {"model": body["model"], "choices": [choice], "usage": usage}
        if self.fake.vllm and "prompt_logprobs" in body:
            places: list[Any] = [None]
            places += [
                {str(n): {"logprob": -float(len(t)), "rank": 1, "decoded_token": t}} for n, t in enumerate(given[1:])
            ]
            (reply if chat else choice)["prompt_logprobs"] = places
        return reply

    def _embeddings(self) -> dict[str, Any]:
        if "messages" in self.body:
            given = [json.dumps(self.body["messages"], sort_keys=True)]
        else:
            given = self.body["input"]
        size = self.body.get("dimensions", 8)
        rows = [{"index": n, "embedding": vector(text, size)} for n, text in enumerate(given)]
        return {"data": rows[::-1], "usage": {"prompt_tokens": 1, "total_tokens": 1}}  # order is told by index alone


def vector(text: str, size: int) -> list[float]:
    """Return numbers that depend on the text alone."""
    raw = hashlib.sha256(text.encode()).digest() * (size // 32 + 1)
    return [byte - 127.5 for byte in raw[:size]]


def question(body: dict[str, Any]) -> str:
    """Return the text that was asked, whatever the endpoint."""
    if "prompt" in body:
        return body["prompt"]
    if "messages" in body:
        content = body["messages"][-1]["content"]
        return content if isinstance(content, str) else " ".join(p["text"] for p in content if p["type"] == "text")
    return "\n".join(body["input"])


def _tokens(body: dict[str, Any]) -> list[str]:
    """A toy tokeniser that sees turns, pictures and words, as a chat template does."""
    if "prompt" in body:
        return ["<s>", *_words(body["prompt"])]
    found = ["<s>"]
    for message in body["messages"]:
        found.append(f"<{message['role']}>")
        for part in message["content"] if isinstance(message["content"], list) else [message["content"]]:
            found += (
                _words(part) if isinstance(part, str) else _words(part["text"]) if "text" in part else ["<img>"] * 7
            )
        found.append("</s>")
    if body.get("continue_final_message"):
        return found[:-1]
    return [*found, "<assistant>"]


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [words[0], *(f" {w}" for w in words[1:])]
